//! Large merges concurrent with everything else: flushes, deletes, erasure, closing, and a kill at every step.

use super::fixture::{Draft, Limits, NAMESPACES, TestEnv, UNLIMITED, copied, id, line};
use crate::Selection;
use access::{Delete, Ingest, Search};
use kernel::{Audience, Clock, Status};
use segment::TextQuery;
use std::sync::{Arc, Mutex, atomic::Ordering};

const NAMESPACE: (&str, &str) = NAMESPACES[0];
/// Limits at which every merge is a large one.
const LARGE: Limits = Limits { short_merge_bytes_max: 0, ..UNLIMITED };
/// Number of objects from which a merge is due.
const OBJECTS: usize = 9;

async fn store(env: &TestEnv, name: &str, text: &str) {
    env.enter::<Ingest>(NAMESPACE)
        .await
        .append(vec![Draft::new(name, text).upsert()], &Audience::Everything, line())
        .await
        .unwrap();
}

async fn found(env: &TestEnv) -> Vec<String> {
    let snapshot = env.enter::<Search>(NAMESPACE).await.snapshot(None).await.unwrap();
    let eligible = snapshot.eligible(&Audience::Everything, None, &[Status::Indexed], env.clock.now()).unwrap();
    let hits = snapshot.text(&TextQuery::new("words"), &eligible, 1_000).unwrap();
    let mut ids: Vec<String> = hits.iter().map(|hit| snapshot.tie(hit.at).0.unwrap().as_str().to_owned()).collect();
    ids.sort();
    ids
}

/// Prepares an environment whose merge is running and held. Documents 0 to 8 are each in an object.
async fn merging(env: &TestEnv) -> Box<dyn FnOnce() + Send> {
    env.pool.hold_merges.store(true, Ordering::SeqCst);
    for n in 0..OBJECTS {
        store(env, &n.to_string(), &format!("some words of number{n}")).await;
        env.stores.flush_all().await.unwrap();
    }
    env.held().await
}

#[tokio::test(flavor = "multi_thread")]
async fn flushes_and_deletes_continue_while_a_merge_is_built() {
    let mut env = TestEnv::new(LARGE).await;
    let release = merging(&env).await;
    for name in ["later-1", "later-2"] {
        store(&env, name, "more words").await;
        env.stores.flush_all().await.unwrap();
    }
    let which = Selection::Ids(vec![id("3")]);
    env.enter::<Delete>(NAMESPACE).await.delete(&which, &Audience::Everything, line()).await.unwrap();
    store(&env, "4", "other words").await;
    env.stores.flush_all().await.unwrap();
    assert!(env.objects().len() > OBJECTS, "nothing waited for the merge");
    let expected = ["0", "1", "2", "4", "5", "6", "7", "8", "later-1", "later-2"];
    assert_eq!(found(&env).await, expected);
    release();
    env.wait_idle().await;
    assert!(env.objects().len() < OBJECTS, "{} objects", env.objects().len());
    assert_eq!(env.stores.stats().compactions, 1);
    assert_eq!(found(&env).await, expected);
    env.reopen().await;
    assert_eq!(found(&env).await, expected);
    assert_eq!(env.objects().len(), env.stores.object_count());
}

/// An input is erased meanwhile: the merge must not bring the document back, and its bytes are nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_stops_a_useless_merge() {
    let env = TestEnv::new(LARGE).await;
    let release = merging(&env).await;
    let handle = env.enter::<Delete>(NAMESPACE).await;
    let erasing = handle.erase(&[id("5")], &Audience::Everything, line()).await.unwrap();
    erasing.erased().await.unwrap();
    drop(handle);
    let steps = Arc::<Mutex<Vec<_>>>::default();
    let noted = steps.clone();
    env.stores.steps().on(move |step| noted.lock().unwrap().push(step));
    release();
    env.wait_idle().await;
    assert_eq!(steps.lock().unwrap().first(), None, "it was stopped, not built to the end");
    assert_eq!(found(&env).await, ["0", "1", "2", "3", "4", "6", "7", "8"]);
    assert_eq!(env.objects().len(), env.stores.object_count());
    let holds = |bytes: &Vec<u8>| bytes.windows(7).any(|window| window == b"number5");
    assert!(!env.decrypted(NAMESPACE).await.iter().any(holds));
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_does_not_wait_for_a_merge() {
    let mut env = TestEnv::new(LARGE).await;
    let release = merging(&env).await;
    env.stores.close().await;
    env.wait_idle().await;
    let before = env.objects();
    release();
    env.wait_idle().await;
    assert_eq!(env.objects(), before, "it wrote nothing after the end");
    env.reopen().await;
    assert_eq!(found(&env).await.len(), OBJECTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_after_any_step_of_a_merge_loses_nothing() {
    let env = TestEnv::new(LARGE).await;
    let release = merging(&env).await;
    let copies = Arc::<Mutex<Vec<_>>>::default();
    let (kept, folder) = (copies.clone(), env.folder.path().to_path_buf());
    env.stores.steps().on(move |step| kept.lock().unwrap().push((step, copied(&folder))));
    release();
    env.wait_idle().await;
    let copies = std::mem::take(&mut *copies.lock().unwrap());
    let mut steps = Vec::new();
    for (step, folder) in copies {
        let crashed = env.with_separate_audit(folder).await;
        assert_eq!(found(&crashed).await.len(), OBJECTS, "killed after {step}");
        crashed.wait_idle().await;
        assert_eq!(crashed.objects().len(), crashed.stores.object_count(), "garbage after {step}");
        steps.push(step);
    }
    assert_eq!(steps[..4], ["merged", "object", "checkpoint", "replace"]);
    assert!(steps[4..].len() == OBJECTS && steps[4..].iter().all(|step| *step == "delete"), "{steps:?}");
}

/// A failed merge is reported and postponed; its inputs stay in use.
#[tokio::test(flavor = "multi_thread")]
async fn a_merge_whose_work_is_lost_is_postponed() {
    let env = TestEnv::new(LARGE).await;
    drop(merging(&env).await);
    env.wait_idle().await;
    assert_eq!((env.stores.stats().compactions, env.stores.stats().maintenance_failures), (0, 1));
    assert_eq!(found(&env).await.len(), OBJECTS);
    env.clock.advance(std::time::Duration::from_secs(60));
    store(&env, "later", "more words").await;
    env.wait_idle().await;
    assert_eq!(env.stores.stats().compactions, 1, "tried again");
    assert_eq!(found(&env).await.len(), OBJECTS + 1);
}

/// Many rows at once: the flush does not build their graph, a merge does, and nothing waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_flush_gets_its_graph_later() {
    let mut env = TestEnv::new(Limits { flush_rows_max: u64::MAX, ..UNLIMITED }).await;
    env.pool.hold_merges.store(true, Ordering::SeqCst);
    let rows = kernel::limits::GRAPH_ROWS_MIN + 2;
    let graphless = |env: &TestEnv| env.stores.stats().rows_without_graph as usize;
    let draft = |n: usize| Draft { vector: Some(vec![n as f32, 1.0, 2.0, 3.0]), ..Draft::new(&n.to_string(), "words") };
    for batch in (0..rows).collect::<Vec<_>>().chunks(2_000) {
        let upserts = batch.iter().map(|n| draft(*n).upsert()).collect();
        env.enter::<Ingest>(NAMESPACE).await.append(upserts, &Audience::Everything, line()).await.unwrap();
    }
    env.stores.flush_all().await.unwrap();
    let release = env.held().await;
    assert_eq!((env.objects().len(), graphless(&env)), (1, rows));
    store(&env, "later", "more words").await;
    env.stores.flush_all().await.unwrap();
    assert_eq!((env.objects().len(), graphless(&env)), (2, rows), "a flush beside it");
    release();
    env.wait_idle().await;
    assert_eq!((env.objects().len(), graphless(&env)), (2, 0));
    assert_eq!(env.stores.stats().compactions, 1);

    // An erasure also rewrites the segment without a graph. The next opening finds that.
    env.pool.hold_merges.store(true, Ordering::SeqCst);
    let handle = env.enter::<Delete>(NAMESPACE).await;
    let erasing = handle.erase(&[id("7")], &Audience::Everything, line()).await.unwrap();
    erasing.erased().await.unwrap();
    drop(handle);
    assert_eq!(graphless(&env), rows - 1);
    let release = env.held().await;
    env.stores.close().await;
    release();
    env.wait_idle().await;
    env.reopen().await;
    assert_eq!(found(&env).await.len(), 1_000);
    env.wait_idle().await;
    assert_eq!((env.objects().len(), graphless(&env)), (2, 0));
}
