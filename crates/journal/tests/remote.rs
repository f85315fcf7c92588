//! The object store clients against servers: real ones for the probe and for failures in a cluster, and a fake one for
//! every way in which an answer can go wrong.
#![cfg(feature = "s3")]
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use journal::{PROBE_ROUNDS, ProbeError, RemoteOptions, RemoteUrl, RetryLimits, StorageCredentials, connect, probe};
use kernel::OsEntropy;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, path::Path};
use std::{sync::Arc, time::Duration};
use testkit::{Ceph, FakeS3, Fault, Moto, Op, S3sFs, StoreKey, When};
use zeroize::Zeroizing;

#[tokio::test]
async fn moto_passes_the_probe() {
    let Some(moto) = Moto::start() else { return };
    let store = store(&moto.endpoint(), moto.bucket(), &moto.credentials(), options());
    probe(&*store, &OsEntropy, PROBE_ROUNDS).await.unwrap();
}

#[tokio::test]
async fn a_server_that_checks_before_it_writes_is_refused() {
    let Some(s3s) = S3sFs::start() else { return };
    let store = store(&s3s.endpoint(), s3s.bucket(), &s3s.credentials(), options());
    // A round may pass by chance: of 20, one did. With 40 rounds in a row none would.
    let error = probe(&*store, &OsEntropy, 40).await.unwrap_err();
    assert!(matches!(error, ProbeError::ManyWinners { .. } | ProbeError::WrongBytes), "{error}");
    assert!(error.to_string().contains("Ringfence would lose writes on it"), "{error}");
}

#[tokio::test]
async fn ceph_passes_the_probe_and_survives_the_failure_of_one_part() {
    let Some(mut ceph) = Ceph::start() else { return };
    // A cluster on a busy machine needs time to notice a failure.
    let patient = RemoteOptions { request_timeout: Duration::from_secs(60), ..options() };
    let store = store(&ceph.endpoint(), ceph.bucket(), &ceph.credentials(), patient);
    probe(&*store, &OsEntropy, PROBE_ROUNDS).await.unwrap();
    let name = |i: usize| format!("log/{i}");
    let mut written = 0;
    // Each one fails once during writes: at any time two have everything that was acknowledged.
    for osd in 0..ceph.osds() {
        ceph.kill_osd(osd);
        for _ in 0..5 {
            write(&*store, &name(written), &name(written)).await;
            written += 1;
        }
        ceph.start_osd(osd);
    }
    ceph.kill_gateway();
    let once = options_with(RetryLimits::NONE);
    let impatient = self::store(&ceph.endpoint(), ceph.bucket(), &ceph.credentials(), once);
    let lost = create(&*impatient, "lost", "x").await.unwrap_err();
    assert!(matches!(lost, Error::Generic { .. }), "{lost}");
    ceph.start_gateway();
    for i in 0..written {
        let bytes = store.get(&Path::from(name(i))).await.unwrap().bytes().await.unwrap();
        assert_eq!(bytes, name(i).as_bytes());
        assert!(matches!(create(&*store, &name(i), "other").await, Err(Error::AlreadyExists { .. })));
    }
}

#[tokio::test]
async fn the_fake_passes_the_probe_in_pages() {
    let fake = FakeS3::start();
    fake.page(2);
    let store = fake_store(&fake, options());
    probe(&*store, &OsEntropy, PROBE_ROUNDS).await.unwrap();
    assert_eq!(fake.keys(), Vec::<String>::new());
}

#[tokio::test]
async fn names_stay_below_the_prefix() {
    let fake = FakeS3::start();
    fake.put_directly("elsewhere/x", b"another's");
    let store = fake_store(&fake, options());
    create(&*store, "log/1", "x").await.unwrap();
    assert_eq!(fake.keys(), ["elsewhere/x", "prefix/log/1"]);
    let listed = store.list_with_delimiter(None).await.unwrap();
    assert_eq!(listed.common_prefixes, [Path::from("log")]);
}

/// Result that the caller of a create-if-absent gets.
#[derive(Clone, Copy, Debug, PartialEq)]
enum CreateResult {
    Created,
    AlreadyExists,
    Denied,
    Unauthenticated,
    Failed,
}

/// One fault on the first PUT: the result, the number of PUTs that the client sent, and whether the object exists
/// afterwards.
struct Row(Fault, RetryLimits, CreateResult, usize, bool);

#[tokio::test]
async fn every_fault_of_a_create_has_the_result_in_the_table() {
    use CreateResult::{AlreadyExists, Created, Denied, Failed, Unauthenticated};
    use Fault::{CloseAfter, CloseBefore, HangAfter, HangBefore, Status, StatusAfter};
    let once = RetryLimits::NONE;
    let often = quick_retry();
    let rows = [
        // Not retried: refusals, and both codes for "another object exists". 409 does not prove that an object exists.
        Row(Status(401), often, Unauthenticated, 1, false),
        Row(Status(403), often, Denied, 1, false),
        Row(Status(409), often, AlreadyExists, 1, false),
        Row(Status(412), often, AlreadyExists, 1, false),
        // Retried by the client itself.
        Row(Status(408), often, Created, 2, true),
        Row(Status(429), often, Created, 2, true),
        Row(Status(500), often, Created, 2, true),
        Row(Status(503), often, Created, 2, true),
        Row(CloseBefore, often, Created, 2, true),
        // Retried although it was applied: the client then finds its own object.
        Row(StatusAfter(500), often, AlreadyExists, 2, true),
        Row(StatusAfter(503), often, AlreadyExists, 2, true),
        Row(CloseAfter, often, AlreadyExists, 2, true),
        // A create that timed out is not retried: its outcome is unknown.
        Row(HangBefore, often, Failed, 1, false),
        Row(HangAfter, often, Failed, 1, true),
        // Without retries each of these is one failure of unknown outcome.
        Row(Status(500), once, Failed, 1, false),
        Row(Status(429), once, Failed, 1, false),
        Row(StatusAfter(500), once, Failed, 1, true),
        Row(CloseBefore, once, Failed, 1, false),
        Row(CloseAfter, once, Failed, 1, true),
    ];
    for Row(fault, retry, expected, puts, there) in rows {
        let fake = FakeS3::start();
        fake.fail(When::op(Op::Put).times(1), fault);
        let hangs = matches!(fault, HangBefore | HangAfter);
        let options = if hangs { short_timeout() } else { options_with(retry) };
        let answer = create(&*fake_store(&fake, options), "log/1", "x").await;
        let retries = retry.retries_max;
        assert_eq!(result_kind(&answer), expected, "{fault:?}, {retries} retries: {answer:?}");
        assert_eq!(fake.count(Op::Put), puts, "{fault:?}, {retries} retries");
        assert_eq!(fake.object("prefix/log/1").is_some(), there, "{fault:?}, {retries} retries");
    }
}

#[tokio::test]
async fn retries_are_bounded() {
    let fake = FakeS3::start();
    fake.fail(When::op(Op::Put), Fault::Status(503));
    let store = fake_store(&fake, options_with(quick_retry()));
    let answer = create(&*store, "log/1", "x").await;
    assert_eq!(result_kind(&answer), CreateResult::Failed, "{answer:?}");
    assert_eq!(fake.count(Op::Put), 1 + quick_retry().retries_max);
    fake.clear_faults();
    create(&*store, "log/1", "x").await.unwrap();
}

#[tokio::test]
async fn a_held_create_does_not_overtake() {
    let fake = FakeS3::start();
    fake.fail(When::op(Op::Put).times(1), Fault::Hold);
    let store = fake_store(&fake, options());
    let first = create(&*store, "log/1", "first");
    let second = async {
        // There are two connections, and the store may receive either request first.
        while fake.held() == 0 {
            tokio::task::yield_now().await;
        }
        while fake.object("prefix/log/1").is_none() {
            let _ = create(&*store, "log/1", "second").await;
        }
        fake.release();
    };
    let (first, ()) = futures::join!(first, second);
    assert_eq!(result_kind(&first), CreateResult::AlreadyExists, "{first:?}");
    assert_eq!(fake.object("prefix/log/1").unwrap(), b"second");
}

#[tokio::test]
async fn reads_and_lists_are_retried_after_any_lost_answer() {
    for fault in [Fault::Status(500), Fault::Status(429), Fault::CloseBefore, Fault::HangBefore] {
        let fake = FakeS3::start();
        fake.put_directly("prefix/a", b"bytes");
        fake.fail(When::op(Op::Get).times(1), fault);
        fake.fail(When::op(Op::List).times(1), fault);
        let store = fake_store(&fake, short_timeout());
        let got = store.get(&Path::from("a")).await.unwrap().bytes().await.unwrap();
        assert_eq!((&got[..], fake.count(Op::Get)), (&b"bytes"[..], 2), "{fault:?}");
        let listed = store.list_with_delimiter(None).await.unwrap();
        assert_eq!((listed.objects.len(), fake.count(Op::List)), (1, 2), "{fault:?}");
    }
}

#[tokio::test]
async fn deletes_are_retried_unless_they_timed_out() {
    let faults = [(Fault::Status(500), 2), (Fault::CloseBefore, 2), (Fault::CloseAfter, 2), (Fault::HangBefore, 1)];
    for (fault, requests) in faults {
        let fake = FakeS3::start();
        fake.put_directly("prefix/a", b"bytes");
        fake.fail(When::op(Op::BulkDelete).times(1), fault);
        let done = fake_store(&fake, short_timeout()).delete(&Path::from("a")).await;
        assert_eq!((done.is_ok(), fake.count(Op::BulkDelete)), (requests == 2, requests), "{fault:?}: {done:?}");
        assert_eq!(fake.keys().is_empty(), requests == 2, "{fault:?}");
    }
}

#[tokio::test]
async fn a_truncated_object_is_an_error() {
    let fake = FakeS3::start();
    fake.put_directly("prefix/a", &[7; 1000]);
    fake.fail(When::op(Op::Get), Fault::Truncate);
    let store = fake_store(&fake, options_with(RetryLimits::NONE));
    let read = match store.get(&Path::from("a")).await {
        Ok(answer) => answer.bytes().await,
        Err(error) => Err(error),
    };
    assert!(read.is_err(), "{read:?}");
}

#[tokio::test]
async fn an_error_shows_no_secret() {
    let fake = FakeS3::start();
    fake.fail(When::any(), Fault::Status(403));
    let store = fake_store(&fake, options_with(RetryLimits::NONE));
    let error = create(&*store, "log/1", "plain text").await.unwrap_err();
    let text = format!("{error} {error:?} {store} {store:?}");
    assert!(text.contains("403"), "{text}");
    assert!(!text.contains("plain text"), "{text}");
    assert!(!format!("{error} {error:?}").contains("testsecret"), "{text}");
}

fn result_kind(answer: &object_store::Result<()>) -> CreateResult {
    match answer {
        Ok(()) => CreateResult::Created,
        Err(Error::AlreadyExists { .. }) => CreateResult::AlreadyExists,
        Err(Error::PermissionDenied { .. }) => CreateResult::Denied,
        Err(Error::Unauthenticated { .. }) => CreateResult::Unauthenticated,
        Err(_) => CreateResult::Failed,
    }
}

/// Writes as a log does: a failed create may have been applied, so the same bytes are sent again, and `AlreadyExists`
/// is success when the stored bytes are ours.
async fn write(store: &dyn ObjectStore, key: &str, body: &str) {
    for _ in 0..5 {
        match create(store, key, body).await {
            Ok(()) => return,
            Err(Error::AlreadyExists { .. }) => {
                let there = store.get(&Path::from(key)).await.unwrap().bytes().await.unwrap();
                assert_eq!(there, body.as_bytes(), "no other writer exists");
                return;
            }
            Err(_) => {}
        }
    }
    panic!("{key} could not be written five times in a row");
}

async fn create(store: &dyn ObjectStore, key: &str, body: &str) -> object_store::Result<()> {
    let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    store.put_opts(&Path::from(key), body.to_owned().into(), create).await.map(|_| ())
}

fn fake_store(fake: &FakeS3, options: RemoteOptions) -> Arc<dyn ObjectStore> {
    let key = StoreKey { id: "testkey".to_owned(), secret: "testsecret".to_owned() };
    store(&fake.endpoint(), &format!("{}/prefix", fake.bucket()), &key, options)
}

fn store(endpoint: &str, location: &str, key: &StoreKey, options: RemoteOptions) -> Arc<dyn ObjectStore> {
    let secret = Zeroizing::new(key.secret.clone());
    let options = RemoteOptions {
        endpoint: Some(endpoint.to_owned()),
        credentials: StorageCredentials::Key { id: key.id.clone(), secret, token: None },
        allow_http: true,
        ..options
    };
    connect(&RemoteUrl::parse(&format!("s3://{location}")).unwrap(), &options).unwrap()
}

fn options() -> RemoteOptions {
    RemoteOptions::default()
}

fn options_with(retry: RetryLimits) -> RemoteOptions {
    RemoteOptions { retry, ..RemoteOptions::default() }
}

/// Up to three retries, and at most half a second per answer.
fn short_timeout() -> RemoteOptions {
    RemoteOptions { request_timeout: Duration::from_millis(500), ..options_with(quick_retry()) }
}

/// Up to three retries without delay.
fn quick_retry() -> RetryLimits {
    let wait = Duration::from_millis(1);
    RetryLimits { retries_max: 3, timeout: Duration::from_secs(20), backoff_first: wait, backoff_max: wait }
}
