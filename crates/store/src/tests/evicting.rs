//! Eviction: which namespaces are evicted, when, and in what state; and the numbers that metrics show.

use super::fixture::{Draft, Limits, NAMESPACES, TestEnv, UNLIMITED, line};
use access::{Delete, Ingest, Search};
use kernel::{Audience, Clock, Status};
use segment::TextQuery;

async fn store(env: &TestEnv, at: (&'static str, &str), name: &str, text: &str) {
    env.enter::<Ingest>(at)
        .await
        .append(vec![Draft::new(name, text).upsert()], &Audience::Everything, line())
        .await
        .unwrap();
    env.wait_idle().await;
}

/// Memory of a namespace with one small document.
async fn weight() -> u64 {
    let env = TestEnv::new(UNLIMITED).await;
    store(&env, NAMESPACES[0], "a", "words").await;
    env.stores.stats().memory_bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn the_least_recently_used_is_evicted_first() {
    let one = weight().await;
    let env = TestEnv::new(Limits { memory_bytes_max: 2 * one + one / 2, ..UNLIMITED }).await;
    for at in &NAMESPACES[..2] {
        store(&env, *at, "a", "words").await;
    }
    drop(env.enter::<Search>(NAMESPACES[0]).await);
    store(&env, NAMESPACES[2], "a", "words").await;
    assert_eq!(env.stores.stats().evictions, 1);
    let open = env.stores.open_uuids();
    assert!(!open.contains(&env.keyspace(NAMESPACES[1]).uuid()), "the second was used longest ago");
    assert_eq!(open.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_evicts_too() {
    let one = weight().await;
    let env = TestEnv::new(Limits { memory_bytes_max: 3 * one, ..UNLIMITED }).await;
    for at in &NAMESPACES[..2] {
        store(&env, *at, "a", "words").await;
    }
    assert_eq!(env.stores.stats().evictions, 0);
    let handle = env.enter::<Ingest>(NAMESPACES[0]).await;
    let long = "many words ".repeat(1_000);
    handle.append(vec![Draft::new("b", &long).upsert()], &Audience::Everything, line()).await.unwrap();
    env.wait_idle().await;
    assert_eq!(env.stores.open_uuids(), [env.keyspace(NAMESPACES[0]).uuid()], "who is held stays");
}

/// Found by kill tests of the real binary: a search that indexed rows for the first time ended in a panic, and
/// afterwards no namespace was ever evicted.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_indexes_evicts_from_a_thread_without_a_runtime() {
    let one = weight().await;
    let env = TestEnv::new(Limits { memory_bytes_max: 3 * one, ..UNLIMITED }).await;
    store(&env, NAMESPACES[0], "a", "words").await;
    store(&env, NAMESPACES[1], "a", "words").await;
    let snapshot = env.enter::<Search>(NAMESPACES[1]).await.snapshot(None).await.unwrap();
    let now = env.clock.now();
    let searched = std::thread::spawn(move || {
        let eligible = snapshot.eligible(&Audience::Everything, None, &[Status::Indexed], now).unwrap();
        snapshot.text(&TextQuery::new("words"), &eligible, 10).unwrap().len()
    });
    assert_eq!(searched.join().expect("no panic"), 1);
    env.wait_idle().await;
    assert!(env.stores.stats().evictions > 0, "its index weighs more than what is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_log_is_flushed_before_its_namespace_is_evicted() {
    let env = TestEnv::new(Limits { memory_bytes_max: 1, ..UNLIMITED }).await;
    let handle = env.enter::<Ingest>(NAMESPACES[0]).await;
    let long = "many words ".repeat(8_000);
    handle.append(vec![Draft::new("a", &long).upsert()], &Audience::Everything, line()).await.unwrap();
    assert!(env.stores.log_bytes() > 64 << 10);
    assert_eq!(env.stores.stats().flushes, 0);
    drop(handle);
    store(&env, NAMESPACES[1], "a", "words").await;
    assert!(!env.stores.open_uuids().contains(&env.keyspace(NAMESPACES[0]).uuid()));
    assert_eq!(env.stores.stats().flushes, 1);
    assert_eq!(env.objects().len(), 1);
    assert_eq!(env.enter::<Search>(NAMESPACES[0]).await.totals().documents, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_requests_share_one_opening() {
    let mut env = TestEnv::new(UNLIMITED).await;
    store(&env, NAMESPACES[0], "a", "words").await;
    env.reopen().await;
    env.pool.hold_next.store(true, std::sync::atomic::Ordering::SeqCst);
    let mut requests: Vec<_> = (0..16).map(|_| Box::pin(env.enter::<Search>(NAMESPACES[0]))).collect();
    for request in &mut requests {
        assert!(futures::poll!(request.as_mut()).is_pending());
    }
    let held = env.held().await;
    held();
    let handles = futures::future::join_all(requests).await;
    assert!(handles.iter().all(|handle| handle.totals().documents == 1));
    assert_eq!(env.stores.stats().open, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stats_count_deleted_documents_and_written_bytes() {
    let env = TestEnv::new(UNLIMITED).await;
    for n in 0..4 {
        store(&env, NAMESPACES[0], &n.to_string(), "some words").await;
    }
    env.stores.flush_all().await.unwrap();
    let before = env.stores.stats();
    assert_eq!((before.documents, before.tombstones, before.writes_waiting), (4, 0, 0));
    assert!(before.bytes_accepted > 0 && before.write_amplification() > 1.0);
    let which = crate::Selection::Ids(vec![super::fixture::id("1")]);
    env.enter::<Delete>(NAMESPACES[0]).await.delete(&which, &Audience::Everything, line()).await.unwrap();
    let after = env.stores.stats();
    assert_eq!((after.documents, after.tombstones), (4, 1));
    assert!((after.tombstone_share() - 0.25).abs() < f64::EPSILON);
    env.stores.close().await;
    env.wait_idle().await;
    let closed = env.stores.stats();
    assert_eq!((closed.documents, closed.tombstones, closed.memory_bytes), (0, 0, 0));
}
