//! Guarantees of namespace handles: fixed snapshots, isolation, exact statistics, shared fsyncs.

use super::fixture::{Draft, INJECTION, NAMESPACES, TestEnv, UNLIMITED, id, line};
use crate::{Error, ExistingDocument, Quarantine, Selection, UpsertStatus};
use access::{Delete, Ingest, Manage, Read, Review, Search};
use kernel::{Audience, Clock, Code, CommitNo, Status};
use segment::TextQuery;
use std::sync::Arc;

const NAMESPACE: (&str, &str) = NAMESPACES[0];

async fn store(env: &TestEnv, at: (&'static str, &str), drafts: &[Draft]) -> crate::WriteOutcome {
    let upserts = drafts.iter().map(Draft::upsert).collect();
    env.enter::<Ingest>(at).await.append(upserts, &Audience::Everything, line()).await.unwrap()
}

async fn scores(env: &TestEnv, at: (&'static str, &str), text: &str) -> Vec<(String, f32)> {
    let snapshot = env.enter::<Search>(at).await.snapshot(None).await.unwrap();
    let eligible = snapshot.eligible(&Audience::Everything, None, &[Status::Indexed], env.clock.now()).unwrap();
    let hits = snapshot.text(&TextQuery::new(text), &eligible, 100).unwrap();
    hits.iter().map(|h| (snapshot.tie(h.at).0.unwrap().as_str().to_owned(), h.score)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_stays_while_others_write() {
    let env = TestEnv::new(UNLIMITED).await;
    store(&env, NAMESPACE, &[Draft::new("a", "red fox"), Draft::new("b", "red hen")]).await;
    let snapshot = env.enter::<Search>(NAMESPACE).await.snapshot(None).await.unwrap();
    let now = env.clock.now();
    let read = || {
        let eligible = snapshot.eligible(&Audience::Everything, None, &[Status::Indexed], now).unwrap();
        let hits = snapshot.text(&TextQuery::new("red"), &eligible, 10).unwrap();
        let passage = |h: &crate::Hit| snapshot.passage(&eligible, h.at, false).unwrap().text.into_exposed();
        (
            hits.iter().map(passage).collect::<Vec<_>>(),
            hits.iter().map(|h| h.score).collect::<Vec<_>>(),
            snapshot.totals(),
        )
    };
    let before = read();
    store(&env, NAMESPACE, &[Draft::new("a", "red wolf"), Draft::new("c", "red red")]).await;
    let which = Selection::Ids(vec![id("b")]);
    env.enter::<Delete>(NAMESPACE).await.delete(&which, &Audience::Everything, line()).await.unwrap();
    env.stores.flush_all().await.unwrap();
    assert_eq!(read(), before);
    assert_eq!(scores(&env, NAMESPACE, "red").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_ids_of_two_tenants_are_independent() {
    let mut env = TestEnv::new(UNLIMITED).await;
    for (tenant, name) in NAMESPACES {
        store(&env, (tenant, name), &[Draft::new("same", &format!("secret of {tenant} {name}"))]).await;
    }
    for flushed in [false, true] {
        for (tenant, name) in NAMESPACES {
            let snapshot = env.enter::<Read>((tenant, name)).await.snapshot(None).await.unwrap();
            let doc = snapshot
                .get(&id("same"), &Audience::Everything, false, Quarantine::Shown, env.clock.now())
                .unwrap()
                .unwrap();
            assert_eq!(doc.text.expose(), format!("secret of {tenant} {name}"), "flushed: {flushed}");
        }
        let which = Selection::Ids(vec![id("same")]);
        if flushed {
            env.enter::<Delete>(NAMESPACE).await.delete(&which, &Audience::Everything, line()).await.unwrap();
        }
        env.stores.flush_all().await.unwrap();
        env.reopen().await;
    }
    assert_eq!(env.enter::<Search>(NAMESPACE).await.totals().documents, 0);
    assert_eq!(env.enter::<Search>(NAMESPACES[2]).await.totals().documents, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_and_quarantined_documents_do_not_count_in_scores() {
    let env = TestEnv::new(UNLIMITED).await;
    let kept =
        [Draft::new("a", "granite bridge"), Draft::new("b", "granite granite tower"), Draft::new("c", "a tower")];
    for draft in &kept {
        store(&env, NAMESPACE, std::slice::from_ref(draft)).await;
        store(&env, NAMESPACES[1], std::slice::from_ref(draft)).await;
    }
    let clean = scores(&env, NAMESPACE, "granite tower").await;
    let noise: Vec<Draft> = (0..6).map(|n| Draft::new(&format!("n{n}"), "granite granite tower tower tower")).collect();
    store(&env, NAMESPACES[1], &noise).await;
    assert_ne!(scores(&env, NAMESPACES[1], "granite tower").await, clean);
    let poisoned = Draft::new("q", &format!("granite tower {INJECTION}"));
    assert_eq!(store(&env, NAMESPACES[1], &[poisoned]).await.results[0].status, UpsertStatus::Quarantined);
    let which = Selection::Ids(noise.iter().map(|d| id(&d.id)).collect());
    env.enter::<Delete>(NAMESPACES[1]).await.delete(&which, &Audience::Everything, line()).await.unwrap();
    assert_eq!(scores(&env, NAMESPACES[1], "granite tower").await, clean);
    env.stores.flush_all().await.unwrap();
    assert_eq!(scores(&env, NAMESPACES[1], "granite tower").await, clean);
    assert_eq!(env.enter::<Review>(NAMESPACES[1]).await.totals().quarantined, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_writers_share_entries_and_are_all_durable() {
    let mut env = TestEnv::new(UNLIMITED).await;
    let handle = Arc::new(env.enter::<Ingest>(NAMESPACE).await);
    // The first writer's batch is large enough for the pool, and waits there until the others are in the queue.
    let text = |n: u32| "some words ".repeat(if n == 0 { 20_000 } else { 1 });
    env.pool.hold_next.store(true, std::sync::atomic::Ordering::SeqCst);
    let write = |n: u32| {
        let handle = handle.clone();
        async move {
            handle
                .append(vec![Draft::new(&n.to_string(), &text(n)).upsert()], &Audience::Everything, line())
                .await
                .unwrap()
                .commit
        }
    };
    let mut writers: Vec<_> = (0..64).map(|n| Box::pin(write(n))).collect();
    for writer in &mut writers {
        assert!(futures::poll!(writer.as_mut()).is_pending());
    }
    let held = env.held().await;
    held();
    let mut commits: Vec<u64> = futures::future::join_all(writers).await.into_iter().map(|c| c.0).collect();
    commits.sort_unstable();
    assert_eq!(commits, (1..=64).collect::<Vec<_>>(), "a commit each");
    let entries = env.stores.last_entry();
    assert!(entries <= 4, "{entries} entries for 64 writers");
    drop(handle);
    env.reopen().await;
    assert_eq!(env.enter::<Search>(NAMESPACE).await.totals().documents, 64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_caller_disconnects_is_complete_or_absent() {
    let env = TestEnv::new(UNLIMITED).await;
    let handle = env.enter::<Ingest>(NAMESPACE).await;
    // Large enough for the pool.
    let drafts = [Draft::new("a", &"one ".repeat(50_000)), Draft::new("b", "two")];
    env.pool.hold_next.store(true, std::sync::atomic::Ordering::SeqCst);
    let mut write = Box::pin(handle.append(drafts.iter().map(Draft::upsert).collect(), &Audience::Everything, line()));
    assert!(futures::poll!(write.as_mut()).is_pending());
    let held = env.held().await;
    drop(write);
    held();
    store(&env, NAMESPACE, &[Draft::new("c", "three")]).await;
    // It had not begun when its caller disconnected, so it never begins.
    assert_eq!(handle.totals().documents, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn min_commit_waits_for_the_write() {
    let env = TestEnv::new(UNLIMITED).await;
    let (reader, writer) = (env.enter::<Search>(NAMESPACE).await, env.enter::<Ingest>(NAMESPACE).await);
    let (snapshot, outcome) = tokio::join!(
        reader.snapshot(Some(CommitNo(1))),
        writer.append(vec![Draft::new("a", "late").upsert()], &Audience::Everything, line()),
    );
    assert_eq!((snapshot.unwrap().commit(), outcome.unwrap().commit), (CommitNo(1), CommitNo(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn known_distinguishes_equal_from_changed_content() {
    let env = TestEnv::new(UNLIMITED).await;
    let draft = Draft::new("a", "first text");
    store(&env, NAMESPACE, std::slice::from_ref(&draft)).await;
    let hash = *draft.admit().content_hash();
    let handle = env.enter::<Ingest>(NAMESPACE).await;
    let known =
        handle.known(&[(id("a"), hash), (id("a"), [1; 32]), (id("b"), hash)], &Audience::Everything).await.unwrap();
    assert!(
        matches!(&known[..], [ExistingDocument::Same(head), ExistingDocument::Other(_), ExistingDocument::Absent] if head.passages.len() == 1)
    );
    assert_eq!(store(&env, NAMESPACE, std::slice::from_ref(&draft)).await.results[0].status, UpsertStatus::Unchanged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vector_of_the_wrong_length_refuses_only_its_request() {
    let env = TestEnv::new(UNLIMITED).await;
    let short = Draft { vector: Some(vec![1.0, 2.0, 3.0]), ..Draft::new("x", "text") };
    let handle = env.enter::<Ingest>(NAMESPACE).await;
    let refused = handle
        .append(vec![Draft::new("y", "fine").upsert(), short.upsert()], &Audience::Everything, line())
        .await
        .unwrap_err();
    let error = kernel::Error::from(refused);
    assert_eq!((error.code, error.param.as_deref()), (Code::DimensionMismatch, Some("documents[1].vector")));
    assert!(!error.outcome_unknown);
    assert_eq!(store(&env, NAMESPACE, &[Draft::new("z", "good")]).await.commit, CommitNo(1));
    assert_eq!(handle.totals().documents, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_another_reader_is_refused() {
    let env = TestEnv::new(UNLIMITED).await;
    let readers = Some(vec![kernel::Principal::parse("user:eve").unwrap()]);
    store(&env, NAMESPACE, &[Draft { readers, ..Draft::new("a", "private words") }]).await;
    let snapshot = env.enter::<Search>(NAMESPACE).await.snapshot(None).await.unwrap();
    let now = env.clock.now();
    let audience_of = |audience: &Audience| snapshot.eligible(audience, None, &[Status::Indexed], now).unwrap();
    let (all, open) = (audience_of(&Audience::Everything), audience_of(&Audience::Principals(vec![])));
    let at = snapshot.text(&TextQuery::new("private"), &all, 1).unwrap()[0].at;
    assert!(snapshot.passage(&all, at, false).is_ok());
    assert!(matches!(snapshot.passage(&open, at, false), Err(Error::NotEligible)));
    let unknown = |audience| snapshot.unknown_attributes(vec!["year", "nothing"], &audience, now).unwrap();
    assert_eq!(unknown(Audience::Everything), ["nothing"]);
    assert_eq!(unknown(Audience::Principals(vec![])), ["year", "nothing"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_namespace_takes_other_vectors() {
    let mut env = TestEnv::new(UNLIMITED).await;
    let two = |name: &str| Draft { vector: Some(vec![1.0, 2.0]), ..Draft::new(name, "pair") };
    store(&env, NAMESPACE, &[Draft { vector: Some(vec![1.0; 4]), ..Draft::new("a", "four") }]).await;
    env.stores.flush_all().await.unwrap();
    let which = Selection::Ids(vec![id("a")]);
    env.enter::<Delete>(NAMESPACE).await.delete(&which, &Audience::Everything, line()).await.unwrap();
    for reopened in [false, true] {
        let other = super::fixture::settings(2);
        let handle = env.stores.enter(&env.grant::<Ingest>(NAMESPACE.0, NAMESPACE.1), &other).await.unwrap();
        handle.append(vec![two(&format!("b{reopened}")).upsert()], &Audience::Everything, line()).await.unwrap();
        let snapshot = env.enter::<Search>(NAMESPACE).await.snapshot(None).await.unwrap();
        let eligible = snapshot.eligible(&Audience::Everything, None, &[Status::Indexed], env.clock.now()).unwrap();
        assert_eq!(snapshot.vector(&[0.6, 0.8], &eligible, 9).unwrap().0.len(), 1 + usize::from(reopened));
        assert!(snapshot.vector(&[0.5; 4], &eligible, 9).unwrap().0.is_empty());
        drop((snapshot, handle));
        env.reopen().await;
    }
    env.stores.flush_all().await.unwrap();
    assert_eq!(env.enter::<Search>(NAMESPACE).await.totals().documents, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destroyed_namespace_leaves_no_object_and_cannot_be_entered() {
    let env = TestEnv::new(UNLIMITED).await;
    store(&env, NAMESPACE, &[Draft::new("a", "words")]).await;
    env.stores.flush_all().await.unwrap();
    assert_eq!(env.objects().len(), 1);
    env.enter::<Manage>(NAMESPACE).await.destroy().await.unwrap();
    assert!(env.objects().is_empty());
    assert_eq!(env.try_enter::<Search>(NAMESPACE).await.err().unwrap().code, Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_the_directory_lacks_is_not_found() {
    let env = TestEnv::new(UNLIMITED).await;
    assert_eq!(env.try_enter::<Search>(("umbra", "mail")).await.err().unwrap().code, Code::NotFound);
}
