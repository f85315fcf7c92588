//! The client of object stores against servers: real ones for the probe and for what dies in a
//! cluster, and a fake one for every way in which an answer can go wrong.
#![cfg(feature = "s3")]
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use journal::{Credentials, PROBE_ROUNDS, ProbeError, RemoteOptions, RemoteUrl, Retry, connect, probe};
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
async fn a_server_that_looks_before_it_writes_is_refused() {
    let Some(s3s) = S3sFs::start() else { return };
    let store = store(&s3s.endpoint(), s3s.bucket(), &s3s.credentials(), options());
    // By chance a round may pass: of 20, one did. Of 40 in a row none would.
    let error = probe(&*store, &OsEntropy, 40).await.unwrap_err();
    assert!(matches!(error, ProbeError::ManyWinners { .. } | ProbeError::NotTheWinners), "{error}");
    assert!(error.to_string().contains("Ringfence would lose writes on it"), "{error}");
}

#[tokio::test]
async fn ceph_passes_the_probe_and_goes_on_while_one_of_it_is_dead() {
    let Some(mut ceph) = Ceph::start() else { return };
    // A cluster on a busy machine takes its time to notice a death.
    let patient = RemoteOptions { request_timeout: Duration::from_secs(60), ..options() };
    let store = store(&ceph.endpoint(), ceph.bucket(), &ceph.credentials(), patient);
    probe(&*store, &OsEntropy, PROBE_ROUNDS).await.unwrap();
    let name = |i: usize| format!("log/{i}");
    let mut written = 0;
    // Each dies once while there are writes: at any time two have everything that was acknowledged.
    for osd in 0..ceph.osds() {
        ceph.kill_osd(osd);
        for _ in 0..5 {
            write(&*store, &name(written), &name(written)).await;
            written += 1;
        }
        ceph.start_osd(osd);
    }
    ceph.kill_gateway();
    let once = options_with(Retry::NONE);
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
    fake.plant("elsewhere/x", b"another's");
    let store = fake_store(&fake, options());
    create(&*store, "log/1", "x").await.unwrap();
    assert_eq!(fake.keys(), ["elsewhere/x", "prefix/log/1"]);
    let listed = store.list_with_delimiter(None).await.unwrap();
    assert_eq!(listed.common_prefixes, [Path::from("log")]);
}

/// What a caller of create-if-absent is told.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    Created,
    AlreadyExists,
    Denied,
    Unauthenticated,
    Failed,
}

/// One fault on the first PUT. What is told, how many PUTs the client sent, and whether the object is there then.
struct Row(Fault, Retry, Told, usize, bool);

#[tokio::test]
async fn every_fault_of_a_create_is_told_as_the_table_says() {
    use Fault::{CloseAfter, CloseBefore, HangAfter, HangBefore, Status, StatusAfter};
    use Told::{AlreadyExists, Created, Denied, Failed, Unauthenticated};
    let once = Retry::NONE;
    let often = quick_retry();
    let rows = [
        // Never tried again: refusals, and both words for "somebody else". 409 does not mean that it exists.
        Row(Status(401), often, Unauthenticated, 1, false),
        Row(Status(403), often, Denied, 1, false),
        Row(Status(409), often, AlreadyExists, 1, false),
        Row(Status(412), often, AlreadyExists, 1, false),
        // Tried again by the client itself.
        Row(Status(408), often, Created, 2, true),
        Row(Status(429), often, Created, 2, true),
        Row(Status(500), often, Created, 2, true),
        Row(Status(503), often, Created, 2, true),
        Row(CloseBefore, often, Created, 2, true),
        // Tried again although it was applied: the client then meets its own object.
        Row(StatusAfter(500), often, AlreadyExists, 2, true),
        Row(StatusAfter(503), often, AlreadyExists, 2, true),
        Row(CloseAfter, often, AlreadyExists, 2, true),
        // A time-out of a create is not tried again: the outcome is unknown.
        Row(HangBefore, often, Failed, 1, false),
        Row(HangAfter, often, Failed, 1, true),
        // Without retries everything of these is one failure of unknown outcome.
        Row(Status(500), once, Failed, 1, false),
        Row(Status(429), once, Failed, 1, false),
        Row(StatusAfter(500), once, Failed, 1, true),
        Row(CloseBefore, once, Failed, 1, false),
        Row(CloseAfter, once, Failed, 1, true),
    ];
    for Row(fault, retry, told, puts, there) in rows {
        let fake = FakeS3::start();
        fake.fail(When::op(Op::Put).times(1), fault);
        let hangs = matches!(fault, HangBefore | HangAfter);
        let options = if hangs { hasty() } else { options_with(retry) };
        let answer = create(&*fake_store(&fake, options), "log/1", "x").await;
        let retries = retry.retries_max;
        assert_eq!(kind(&answer), told, "{fault:?}, {retries} retries: {answer:?}");
        assert_eq!(fake.count(Op::Put), puts, "{fault:?}, {retries} retries");
        assert_eq!(fake.object("prefix/log/1").is_some(), there, "{fault:?}, {retries} retries");
    }
}

#[tokio::test]
async fn retries_end() {
    let fake = FakeS3::start();
    fake.fail(When::op(Op::Put), Fault::Status(503));
    let store = fake_store(&fake, options_with(quick_retry()));
    let answer = create(&*store, "log/1", "x").await;
    assert_eq!(kind(&answer), Told::Failed, "{answer:?}");
    assert_eq!(fake.count(Op::Put), 1 + quick_retry().retries_max);
    fake.heal();
    create(&*store, "log/1", "x").await.unwrap();
}

#[tokio::test]
async fn a_held_create_does_not_overtake() {
    let fake = FakeS3::start();
    fake.fail(When::op(Op::Put).times(1), Fault::Hold);
    let store = fake_store(&fake, options());
    let first = create(&*store, "log/1", "first");
    let second = async {
        // Two connections: which of them the store hears first is for nobody to say.
        while fake.held() == 0 {
            tokio::task::yield_now().await;
        }
        while fake.object("prefix/log/1").is_none() {
            let _ = create(&*store, "log/1", "second").await;
        }
        fake.release();
    };
    let (first, ()) = futures::join!(first, second);
    assert_eq!(kind(&first), Told::AlreadyExists, "{first:?}");
    assert_eq!(fake.object("prefix/log/1").unwrap(), b"second");
}

#[tokio::test]
async fn reads_and_lists_are_tried_again_after_any_lost_answer() {
    for fault in [Fault::Status(500), Fault::Status(429), Fault::CloseBefore, Fault::HangBefore] {
        let fake = FakeS3::start();
        fake.plant("prefix/a", b"bytes");
        fake.fail(When::op(Op::Get).times(1), fault);
        fake.fail(When::op(Op::List).times(1), fault);
        let store = fake_store(&fake, hasty());
        let got = store.get(&Path::from("a")).await.unwrap().bytes().await.unwrap();
        assert_eq!((&got[..], fake.count(Op::Get)), (&b"bytes"[..], 2), "{fault:?}");
        let listed = store.list_with_delimiter(None).await.unwrap();
        assert_eq!((listed.objects.len(), fake.count(Op::List)), (1, 2), "{fault:?}");
    }
}

#[tokio::test]
async fn deletes_are_tried_again_unless_they_timed_out() {
    let faults = [(Fault::Status(500), 2), (Fault::CloseBefore, 2), (Fault::CloseAfter, 2), (Fault::HangBefore, 1)];
    for (fault, requests) in faults {
        let fake = FakeS3::start();
        fake.plant("prefix/a", b"bytes");
        fake.fail(When::op(Op::BulkDelete).times(1), fault);
        let done = fake_store(&fake, hasty()).delete(&Path::from("a")).await;
        assert_eq!((done.is_ok(), fake.count(Op::BulkDelete)), (requests == 2, requests), "{fault:?}: {done:?}");
        assert_eq!(fake.keys().is_empty(), requests == 2, "{fault:?}");
    }
}

#[tokio::test]
async fn half_an_object_is_never_taken_for_the_whole() {
    let fake = FakeS3::start();
    fake.plant("prefix/a", &[7; 1000]);
    fake.fail(When::op(Op::Get), Fault::Truncate);
    let store = fake_store(&fake, options_with(Retry::NONE));
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
    let store = fake_store(&fake, options_with(Retry::NONE));
    let error = create(&*store, "log/1", "plain text").await.unwrap_err();
    let text = format!("{error} {error:?} {store} {store:?}");
    assert!(text.contains("403"), "{text}");
    assert!(!text.contains("plain text"), "{text}");
    assert!(!format!("{error} {error:?}").contains("testsecret"), "{text}");
}

fn kind(answer: &object_store::Result<()>) -> Told {
    match answer {
        Ok(()) => Told::Created,
        Err(Error::AlreadyExists { .. }) => Told::AlreadyExists,
        Err(Error::PermissionDenied { .. }) => Told::Denied,
        Err(Error::Unauthenticated { .. }) => Told::Unauthenticated,
        Err(_) => Told::Failed,
    }
}

/// Writes as a log does: what failed may have happened, so the same bytes are tried again, and
/// `AlreadyExists` is success when the bytes are ours.
async fn write(store: &dyn ObjectStore, key: &str, body: &str) {
    for _ in 0..5 {
        match create(store, key, body).await {
            Ok(()) => return,
            Err(Error::AlreadyExists { .. }) => {
                let there = store.get(&Path::from(key)).await.unwrap().bytes().await.unwrap();
                assert_eq!(there, body.as_bytes(), "nobody else writes");
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

fn store(endpoint: &str, place: &str, key: &StoreKey, options: RemoteOptions) -> Arc<dyn ObjectStore> {
    let secret = Zeroizing::new(key.secret.clone());
    let options = RemoteOptions {
        endpoint: Some(endpoint.to_owned()),
        credentials: Credentials::Key { id: key.id.clone(), secret, token: None },
        allow_http: true,
        ..options
    };
    connect(&RemoteUrl::parse(&format!("s3://{place}")).unwrap(), &options).unwrap()
}

fn options() -> RemoteOptions {
    RemoteOptions::default()
}

fn options_with(retry: Retry) -> RemoteOptions {
    RemoteOptions { retry, ..RemoteOptions::default() }
}

/// Tries three times more and waits for no answer longer than half a second.
fn hasty() -> RemoteOptions {
    RemoteOptions { request_timeout: Duration::from_millis(500), ..options_with(quick_retry()) }
}

/// Three more tries, at once.
fn quick_retry() -> Retry {
    let wait = Duration::from_millis(1);
    Retry { retries_max: 3, timeout: Duration::from_secs(20), backoff_first: wait, backoff_max: wait }
}
