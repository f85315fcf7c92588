//! A kill after every step of a flush, a compaction, an erasure and a deletion: everything acknowledged survives, and
//! garbage is removed once the namespace is open again.

use super::fixture::{DIMENSIONS, Draft, Limits, NAMESPACES, TestEnv, UNLIMITED, copied, line, settings};
use access::{Delete, Ingest, Manage, Search};
use kernel::{Audience, Clock, Code, Status};
use segment::TextQuery;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

const NAMESPACE: (&str, &str) = NAMESPACES[0];
const INLINE: Limits = Limits { inline_bytes_max: 240 << 10, ..UNLIMITED };

type Copies = Arc<Mutex<Vec<(&'static str, TempDir)>>>;

async fn store(env: &TestEnv, name: &str) {
    env.enter::<Ingest>(NAMESPACE)
        .await
        .append(vec![Draft::new(name, "some words").upsert()], &Audience::Everything, line())
        .await
        .unwrap();
}

async fn found(env: &TestEnv) -> usize {
    let snapshot = env.enter::<Search>(NAMESPACE).await.snapshot(None).await.unwrap();
    let eligible = snapshot.eligible(&Audience::Everything, None, &[Status::Indexed], env.clock.now()).unwrap();
    snapshot.text(&TextQuery::new("words"), &eligible, 1_000).unwrap().len()
}

/// Copies the folder at every step from here on.
fn copy_at_every_step(env: &TestEnv) -> Copies {
    let copies = Copies::default();
    let (kept, folder) = (copies.clone(), env.folder.path().to_path_buf());
    env.stores.steps().on(move |step| kept.lock().unwrap().push((step, copied(&folder))));
    copies
}

/// Checks that every copy is complete, holds nothing that no checkpoint names, and can be written again.
async fn check(env: &TestEnv, copies: &Copies, documents: impl Fn(usize) -> usize) -> Vec<&'static str> {
    let mut steps = Vec::new();
    let copies = std::mem::take(&mut *copies.lock().unwrap());
    for (at, (step, folder)) in copies.into_iter().enumerate() {
        let mut crashed = env.with_separate_audit(folder).await;
        assert_eq!(found(&crashed).await, documents(at), "killed after {step}, step {at}");
        crashed.wait_idle().await;
        assert_eq!(crashed.objects().len(), crashed.stores.object_count(), "garbage after {step}, step {at}");
        store(&crashed, "later").await;
        crashed.stores.flush_all().await.unwrap();
        crashed.reopen().await;
        assert_eq!(found(&crashed).await, documents(at) + 1, "killed after {step}, step {at}, then continued");
        crashed.wait_idle().await;
        assert_eq!(crashed.objects().len(), crashed.stores.object_count());
        steps.push(step);
    }
    steps
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_after_any_step_of_flush_and_compaction_loses_nothing() {
    let env = TestEnv::new(UNLIMITED).await;
    for n in 0..9 {
        store(&env, &n.to_string()).await;
        if n < 8 {
            env.stores.flush_all().await.unwrap();
        }
    }
    let copies = copy_at_every_step(&env);
    env.stores.flush_all().await.unwrap();
    let steps = check(&env, &copies, |_| 9).await;
    let flush = ["freeze", "build", "object", "checkpoint", "replace"];
    assert_eq!(steps[..5], flush);
    assert_eq!(steps[5..10], flush, "then the compaction");
    assert!(steps[10..].len() >= 4 && steps[10..].iter().all(|step| *step == "delete"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_after_any_step_of_reencryption_loses_nothing_and_can_be_continued() {
    for sizes in [UNLIMITED, INLINE] {
        let env = TestEnv::new(sizes).await;
        for n in 0..4 {
            store(&env, &n.to_string()).await;
            env.stores.flush_all().await.unwrap();
        }
        // In the log, under the old key.
        store(&env, "logged").await;
        let keyspace = env.keyspace(NAMESPACE);
        env.rekey(&keyspace, true);
        let copies = copy_at_every_step(&env);
        let report = env.stores.reencrypt(keyspace.clone(), &settings(DIMENSIONS)).await.unwrap();
        let objects = if sizes.inline_bytes_max == 0 { 4 } else { 0 };
        assert_eq!((report.objects, report.under.keys().collect::<Vec<_>>()), (objects, vec![&keyspace.epoch()]));
        let copies = std::mem::take(&mut *copies.lock().unwrap());
        let steps: Vec<_> = copies.iter().map(|(step, _)| *step).collect();
        assert!(steps.len() >= 3 && steps.contains(&"replace") && steps.contains(&"checkpoint"), "{steps:?}");
        assert_eq!(steps.iter().filter(|step| **step == "delete").count() >= 4, objects == 4, "{steps:?}");

        let mut survivors = Vec::new();
        for (step, folder) in copies {
            let crashed = env.with_separate_audit(folder).await;
            assert_eq!(found(&crashed).await, 5, "killed after {step}: both keys open it");
            let continued = crashed.stores.reencrypt(keyspace.clone(), &settings(DIMENSIONS)).await.unwrap();
            assert_eq!(continued.under.keys().collect::<Vec<_>>(), [&keyspace.epoch()], "killed after {step}");
            crashed.wait_idle().await;
            assert_eq!(crashed.objects().len(), crashed.stores.object_count(), "garbage after {step}");
            survivors.push((step, crashed));
        }
        // Nothing needs the old key any more.
        env.rekey(&keyspace, false);
        for (step, mut crashed) in survivors {
            crashed.reopen().await;
            assert_eq!(found(&crashed).await, 5, "killed after {step}, continued, the old key forgotten");
            store(&crashed, "later").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_namespace_lives_in_its_checkpoint_and_survives_any_kill() {
    let mut env = TestEnv::new(INLINE).await;
    for n in 0..3 {
        store(&env, &n.to_string()).await;
        let copies = copy_at_every_step(&env);
        env.stores.flush_all().await.unwrap();
        assert_eq!(check(&env, &copies, |_| n + 1).await, ["freeze", "build", "checkpoint", "replace"]);
        assert!(env.objects().is_empty());
        assert_eq!(env.stores.segments_of(), 1, "one inline segment at most");
        env.reopen().await;
        assert_eq!(found(&env).await, n + 1);
    }
    let which = crate::Selection::Ids(vec![super::fixture::id("1")]);
    env.enter::<Delete>(NAMESPACE).await.delete(&which, &Audience::Everything, line()).await.unwrap();
    env.reopen().await;
    assert_eq!(found(&env).await, 2, "its deaths are in the log");
    env.stores.flush_all().await.unwrap();
    env.reopen().await;
    assert_eq!(found(&env).await, 2, "and in the checkpoint");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_grows_moves_from_its_checkpoint_to_an_object() {
    let mut env = TestEnv::new(Limits { inline_bytes_max: 8_000, ..UNLIMITED }).await;
    store(&env, "small").await;
    env.stores.flush_all().await.unwrap();
    assert_eq!((env.objects().len(), env.stores.segments_of()), (0, 1));
    let long = "words and words ".repeat(1_000);
    let large = Draft::new("large", &long).upsert();
    env.enter::<Ingest>(NAMESPACE).await.append(vec![large], &Audience::Everything, line()).await.unwrap();
    let copies = copy_at_every_step(&env);
    env.stores.flush_all().await.unwrap();
    assert_eq!((env.objects().len(), env.stores.segments_of()), (1, 1), "what was inline went along");
    let all = found(&env).await;
    assert!(check(&env, &copies, |_| all).await.contains(&"object"));
    store(&env, "again small").await;
    env.stores.flush_all().await.unwrap();
    env.reopen().await;
    assert_eq!(found(&env).await, all + 1);
    assert_eq!((env.objects().len(), env.stores.segments_of()), (1, 2), "a small one stands beside it");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_without_live_documents_is_deleted_without_a_rewrite() {
    let env = TestEnv::new(UNLIMITED).await;
    for name in ["a", "b"] {
        store(&env, name).await;
        env.stores.flush_all().await.unwrap();
    }
    let copies = copy_at_every_step(&env);
    let which = crate::Selection::Ids(vec![super::fixture::id("a")]);
    env.enter::<Delete>(NAMESPACE).await.delete(&which, &Audience::Everything, line()).await.unwrap();
    env.wait_idle().await;
    env.stores.flush_all().await.unwrap();
    let steps = check(&env, &copies, |_| 1).await;
    assert!(steps.contains(&"delete") && !steps.contains(&"build") && !steps.contains(&"object"), "{steps:?}");
    assert_eq!(env.objects().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_destruction_continues_or_leaves_everything() {
    let env = TestEnv::new(UNLIMITED).await;
    store(&env, "a").await;
    env.stores.flush_all().await.unwrap();
    store(&env, "b").await;
    let copies = copy_at_every_step(&env);
    env.enter::<Manage>(NAMESPACE).await.destroy().await.unwrap();
    // Nothing is deleted before the log says so.
    let before = std::mem::take(&mut *copies.lock().unwrap());
    assert_eq!(before.iter().map(|(step, _)| *step).collect::<Vec<_>>(), ["shut", "destroyed"]);
    for (step, folder) in before {
        let crashed = env.with_separate_audit(folder).await;
        let entered = crashed.try_enter::<Search>(NAMESPACE).await;
        match step {
            "shut" => {
                assert_eq!(entered.unwrap().totals().documents, 2);
                crashed.enter::<Manage>(NAMESPACE).await.destroy().await.unwrap();
            }
            // The directory forgets the namespace first: a request finds it empty.
            _ => assert_eq!(entered.map_or(0, |handle| handle.totals().documents), 0),
        }
        assert!(crashed.objects().is_empty());
    }
    assert_eq!(env.try_enter::<Search>(NAMESPACE).await.err().unwrap().code, Code::NotFound);
}
