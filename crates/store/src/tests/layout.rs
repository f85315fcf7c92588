//! Flushes, compaction and eviction: what they change on disk and in memory, and what they do not.

use super::fixture::{Draft, Limits, NAMESPACES, TestEnv, UNLIMITED, id, line};
use crate::Selection;
use access::{Delete, Ingest, Search};
use kernel::{Audience, Clock, Status};
use segment::TextQuery;
use std::{sync::atomic::Ordering, time::Duration};

const NAMESPACE: (&str, &str) = NAMESPACES[0];

async fn store(env: &TestEnv, drafts: &[Draft]) {
    let upserts = drafts.iter().map(Draft::upsert).collect();
    env.enter::<Ingest>(NAMESPACE).await.append(upserts, &Audience::Everything, line()).await.unwrap();
}

async fn delete(env: &TestEnv, ids: &[&str]) {
    let which = Selection::Ids(ids.iter().map(|text| id(text)).collect());
    let outcome = env.enter::<Delete>(NAMESPACE).await.delete(&which, &Audience::Everything, line()).await.unwrap();
    assert_eq!(outcome.deleted, ids.len() as u64);
}

async fn found(env: &TestEnv, text: &str) -> Vec<String> {
    let snapshot = env.enter::<Search>(NAMESPACE).await.snapshot(None).await.unwrap();
    let eligible = snapshot.eligible(&Audience::Everything, None, &[Status::Indexed], env.clock.now()).unwrap();
    let hits = snapshot.text(&TextQuery::new(text), &eligible, 1_000).unwrap();
    let mut ids: Vec<String> = hits.iter().map(|h| snapshot.tie(h.at).0.unwrap().as_str().to_owned()).collect();
    ids.sort();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_during_a_flush_is_kept() {
    let mut env = TestEnv::new(UNLIMITED).await;
    store(&env, &[Draft::new("a", "word"), Draft::new("b", "word"), Draft::new("c", "word")]).await;
    env.wait_idle().await;
    env.pool.hold_next.store(true, Ordering::SeqCst);
    let flush = env.stores.flush_all();
    let meanwhile = async {
        let held = env.held().await;
        // The flush has read the ids of its documents but not written its object.
        delete(&env, &["b"]).await;
        store(&env, &[Draft::new("c", "other"), Draft::new("d", "word")]).await;
        held();
    };
    let (flushed, ()) = tokio::join!(flush, meanwhile);
    flushed.unwrap();
    assert_eq!(env.objects().len(), 1);
    for _ in 0..2 {
        assert_eq!(found(&env, "word").await, ["a", "d"]);
        assert_eq!(env.enter::<Search>(NAMESPACE).await.totals().documents, 3);
        env.reopen().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_merged_and_old_ones_deleted() {
    let mut env = TestEnv::new(UNLIMITED).await;
    for n in 0..20 {
        store(&env, &[Draft::new(&format!("doc-{n:02}"), "common word")]).await;
        env.stores.flush_all().await.unwrap();
        assert!(env.objects().len() <= 8, "{} objects after {n} flushes", env.objects().len());
    }
    let stats = env.stores.stats();
    assert_eq!(stats.flushes, 20);
    assert!(stats.compactions >= 2 && stats.maintenance_failures == 0, "{stats:?}");
    assert_eq!(found(&env, "common").await.len(), 20);
    env.reopen().await;
    assert_eq!(found(&env, "common").await.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mostly_deleted_object_is_rewritten_and_an_empty_one_dropped() {
    let env = TestEnv::new(UNLIMITED).await;
    let drafts: Vec<Draft> = (0..6).map(|n| Draft::new(&n.to_string(), "word")).collect();
    store(&env, &drafts).await;
    env.stores.flush_all().await.unwrap();
    let before = env.objects();
    delete(&env, &["0", "1", "2"]).await;
    env.stores.flush_all().await.unwrap();
    let after = env.objects();
    assert_eq!((before.len(), after.len()), (1, 1));
    assert_ne!(before, after);
    delete(&env, &["3", "4", "5"]).await;
    env.stores.flush_all().await.unwrap();
    assert!(env.objects().is_empty());
    assert!(found(&env, "word").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_documents_are_hidden_at_once_and_removed_by_compaction() {
    let mut env = TestEnv::new(UNLIMITED).await;
    let soon = Some(env.clock.now().plus(Duration::from_secs(60)));
    store(&env, &[Draft { expires_at: soon, ..Draft::new("a", "word") }, Draft::new("b", "word")]).await;
    env.stores.flush_all().await.unwrap();
    assert_eq!(found(&env, "word").await, ["a", "b"]);
    env.clock.advance(Duration::from_secs(60));
    assert_eq!(found(&env, "word").await, ["b"]);
    assert_eq!(env.enter::<Search>(NAMESPACE).await.totals().documents, 2, "still on disk");
    env.stores.flush_all().await.unwrap();
    assert_eq!(env.enter::<Search>(NAMESPACE).await.totals().documents, 1, "gone from disk");
    env.reopen().await;
    assert_eq!(env.enter::<Search>(NAMESPACE).await.totals().documents, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_memtable_flushes_by_itself() {
    let env = TestEnv::new(Limits { flush_rows_max: 8, ..UNLIMITED }).await;
    for n in 0..40 {
        store(&env, &[Draft::new(&n.to_string(), "word")]).await;
    }
    env.wait_idle().await;
    assert!(env.stores.stats().flushes >= 1);
    assert!(!env.objects().is_empty());
    assert_eq!(found(&env, "word").await.len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memtable_stays_in_few_segments() {
    let env = TestEnv::new(Limits { flush_rows_max: 100_000, ..UNLIMITED }).await;
    for n in 0..150 {
        store(&env, &[Draft::new(&n.to_string(), "word")]).await;
        let segments = env.stores.segments_of();
        assert!(segments <= 16, "{segments} segments after {n} writes");
    }
    assert_eq!(found(&env, "word").await.len(), 150);
}

#[tokio::test(flavor = "multi_thread")]
async fn unused_namespaces_are_evicted() {
    let env = TestEnv::new(Limits { memory_bytes_max: 1, ..UNLIMITED }).await;
    store(&env, &[Draft::new("a", "word")]).await;
    env.wait_idle().await;
    // The write itself may have been evicted; from here on the namespace is in use.
    let keyspace = env.keyspace(NAMESPACE).uuid();
    let held = env.enter::<Search>(NAMESPACE).await.snapshot(None).await.unwrap();
    let other = env.enter::<Search>(NAMESPACES[1]).await;
    env.wait_idle().await;
    assert!(env.stores.open_uuids().contains(&keyspace), "held");
    let before = env.stores.stats().evictions;
    drop((held, other));
    let third = env.enter::<Search>(NAMESPACES[2]).await;
    env.wait_idle().await;
    assert!(!env.stores.open_uuids().contains(&keyspace));
    assert!(env.stores.stats().evictions > before);
    drop(third);
    assert_eq!(found(&env, "word").await, ["a"], "opened again");
    env.stores.close().await;
    env.wait_idle().await;
    assert_eq!((env.stores.stats().open, env.stores.stats().memory_bytes), (0, 0));
}
