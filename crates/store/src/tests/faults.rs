//! A fault affects only the namespace that has it, and acknowledged documents survive.

use super::fixture::{Draft, NAMESPACES, TestEnv, UNLIMITED, line};
use crate::Error;
use access::{Ingest, Search};
use kernel::{Audience, Code};
use std::{sync::atomic::Ordering, time::Duration};

const NAMESPACE: (&str, &str) = NAMESPACES[0];

async fn store(env: &TestEnv, at: (&'static str, &str), name: &str) {
    let upserts = vec![Draft::new(name, "some words").upsert()];
    env.enter::<Ingest>(at).await.append(upserts, &Audience::Everything, line()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_object_fails_its_namespace_alone() {
    let mut env = TestEnv::new(UNLIMITED).await;
    store(&env, NAMESPACE, "a").await;
    env.stores.flush_all().await.unwrap();
    let broken = env.objects().remove(0);
    for other in &NAMESPACES[1..] {
        store(&env, *other, "a").await;
    }
    env.stores.flush_all().await.unwrap();
    env.reopen().await;
    let whole = std::fs::read(&broken).unwrap();
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    std::fs::write(&broken, &changed).unwrap();

    let error = env.try_enter::<Search>(NAMESPACE).await.err().unwrap();
    assert_eq!(error.code, Code::Internal);
    for other in &NAMESPACES[1..] {
        assert_eq!(env.enter::<Search>(*other).await.totals().documents, 1);
        store(&env, *other, "b").await;
    }
    assert_eq!(env.stores.stats().quarantined, 1);
    // A request during the pause gets the same error at once; after it, the opening is tried again, and the pause
    // doubles.
    for pause in [1, 2, 4] {
        let said = env.stores.enter(&env.grant::<Search>(NAMESPACE.0, NAMESPACE.1), &super::fixture::settings(4)).await;
        assert!(matches!(said.err(), Some(Error::OpenFailed { code: Code::Internal, .. })), "pause {pause}");
        env.clock.advance(Duration::from_millis(pause * 1_000 - 1));
        let said = env.stores.enter(&env.grant::<Search>(NAMESPACE.0, NAMESPACE.1), &super::fixture::settings(4)).await;
        assert!(matches!(said.err(), Some(Error::OpenFailed { .. })), "pause {pause}");
        env.clock.advance(Duration::from_millis(1));
        let said = env.stores.enter(&env.grant::<Search>(NAMESPACE.0, NAMESPACE.1), &super::fixture::settings(4)).await;
        assert!(matches!(said.err(), Some(Error::External(_))), "tried after pause {pause}");
    }
    // Once the object is restored and the pause is over, the namespace is served.
    std::fs::write(&broken, &whole).unwrap();
    env.clock.advance(Duration::from_secs(8));
    assert_eq!(env.enter::<Search>(NAMESPACE).await.totals().documents, 1);
    assert_eq!(env.stores.stats().quarantined, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_closes_the_namespace_and_the_next_request_opens_it() {
    let env = TestEnv::new(UNLIMITED).await;
    store(&env, NAMESPACE, "a").await;
    let handle = env.enter::<Ingest>(NAMESPACE).await;
    let line: crate::MakeAuditRecord = Box::new(|_| panic!("a record that cannot be written"));
    let error = handle.append(vec![Draft::new("b", "lost").upsert()], &Audience::Everything, line).await.unwrap_err();
    assert_eq!(kernel::Error::from(error).code, Code::Internal);
    env.wait_idle().await;
    let refused = handle
        .append(vec![Draft::new("c", "late").upsert()], &Audience::Everything, super::fixture::line())
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Closing));
    store(&env, NAMESPACE, "d").await;
    assert_eq!(env.enter::<Search>(NAMESPACE).await.totals().documents, 2);
    assert_eq!(handle.totals().documents, 1, "who held the old one reads what was published there");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_not_truncated_before_its_audit_records_are_delivered() {
    let mut env = TestEnv::new(UNLIMITED).await;
    // It is opened while its audit log can be read: what that has recorded is checked before the first write.
    env.enter::<Search>(NAMESPACE).await;
    env.wait_idle().await;
    env.audit.refuses.store(true, Ordering::SeqCst);
    for name in ["a", "b", "c"] {
        store(&env, NAMESPACE, name).await;
    }
    assert!(env.stores.flush_all().await.is_err());
    assert!(env.objects().is_empty() && env.audit.lines.lock().unwrap().is_empty());
    assert_eq!(env.enter::<Search>(NAMESPACE).await.totals().documents, 3, "writes go on");

    // After a crash, replay delivers the records, once each however often it is repeated.
    env.audit.refuses.store(false, Ordering::SeqCst);
    for _ in 0..2 {
        env.reopen().await;
        env.enter::<Search>(NAMESPACE).await;
        env.wait_idle().await;
        let lines = env.audit.lines.lock().unwrap();
        assert_eq!(lines.values().map(Vec::as_slice).collect::<Vec<_>>(), [b"1: 1", b"2: 1", b"3: 1"]);
    }
    env.stores.flush_all().await.unwrap();
    assert_eq!(env.objects().len(), 1);
    let calls = env.audit.calls.load(Ordering::SeqCst);
    env.reopen().await;
    env.enter::<Search>(NAMESPACE).await;
    env.wait_idle().await;
    assert_eq!(env.audit.calls.load(Ordering::SeqCst), calls, "after the truncation nothing is delivered again");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_no_checkpoint_names_are_swept() {
    let mut env = TestEnv::new(UNLIMITED).await;
    store(&env, NAMESPACE, "a").await;
    env.stores.flush_all().await.unwrap();
    let named = env.objects();
    env.reopen().await;
    let stray = named[0].with_file_name("11111111-2222-4333-8444-555555555555");
    std::fs::write(&stray, b"left by a crash").unwrap();
    env.enter::<Search>(NAMESPACE).await;
    assert_eq!(env.objects(), named);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closing_server_finishes_accepted_writes() {
    let mut env = TestEnv::new(UNLIMITED).await;
    let handle = env.enter::<Ingest>(NAMESPACE).await;
    let core = env.stores.only().core.clone();
    let publishing = core.published.lock().await;
    let mut write = Box::pin(handle.append(vec![Draft::new("a", "words").upsert()], &Audience::Everything, line()));
    assert!(futures::poll!(write.as_mut()).is_pending(), "the writer waits for the publish lock");
    let mut closing = Box::pin(env.stores.close());
    assert!(futures::poll!(closing.as_mut()).is_pending(), "closing waits for the writer");
    drop(publishing);
    drop(core);
    closing.await;
    write.await.unwrap();
    let late = handle.append(vec![Draft::new("b", "words").upsert()], &Audience::Everything, line()).await.unwrap_err();
    assert!(matches!(late, Error::Closing));
    assert_eq!(env.try_enter::<Search>(NAMESPACE).await.err().unwrap().code, Code::Overloaded);
    drop(handle);
    env.reopen().await;
    assert_eq!(env.enter::<Search>(NAMESPACE).await.totals().documents, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_tenant_opens_again() {
    let env = TestEnv::new(UNLIMITED).await;
    store(&env, NAMESPACE, "a").await;
    store(&env, NAMESPACES[2], "a").await;
    let incarnation = env.grant::<Search>(NAMESPACE.0, NAMESPACE.1).incarnation();
    env.stores.close_tenant(incarnation).await;
    assert_eq!(env.stores.stats().open, 1, "the other tenant's stays");
    assert_eq!(env.enter::<Search>(NAMESPACE).await.totals().documents, 1);
}

/// At every stop of a flush and of a compaction: a kill leaves everything acknowledged, and losing the work in progress
/// leaves the namespace available.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_or_lost_work_at_any_stop_of_maintenance_loses_nothing() {
    // The stops are before the flush's object, before its checkpoint, and the same two of the compaction that the ninth
    // object makes due.
    for stop in 0..4 {
        let env = TestEnv::new(UNLIMITED).await;
        for n in 0..9 {
            if n > 0 {
                env.stores.flush_all().await.unwrap();
            }
            store(&env, NAMESPACE, &n.to_string()).await;
        }
        env.wait_idle().await;
        env.pool.let_pass.store(stop, Ordering::SeqCst);
        env.pool.hold_next.store(true, Ordering::SeqCst);
        let kill = async {
            let work = env.held().await;
            let crashed = env.crashed().await;
            assert_eq!(crashed.enter::<Search>(NAMESPACE).await.totals().documents, 9, "stop {stop}");
            if stop < 2 {
                assert_eq!(crashed.objects().len(), 8, "what no checkpoint names is swept");
            }
            crashed.wait_idle().await;
            drop(work);
        };
        let (flushed, ()) = tokio::join!(env.stores.flush_all(), kill);
        assert!(matches!(flushed, Err(Error::Panicked)), "stop {stop}");
        assert_eq!(env.enter::<Search>(NAMESPACE).await.totals().documents, 9);
        env.stores.flush_all().await.unwrap();
        assert!(env.objects().len() <= 8);
        assert_eq!(env.crashed().await.enter::<Search>(NAMESPACE).await.totals().documents, 9);
    }
}
