//! The bound on erasure: copies of documents that were deleted, overwritten, patched or rejected or that have expired
//! are in no object and no log file after the bound, with or without further writes; and they are not rewritten earlier
//! without another cause.

use super::fixture::{Draft, INJECTION, Limits, NAMESPACES, TestEnv, UNLIMITED, copied, id, line, settings};
use crate::{Decision, ListOptions, MaintenanceReport, Reviewed, ReviewedState, Selection};
use access::{Delete, Ingest, Patch, Review, Search};
use futures::TryStreamExt;
use intake::{RawPatch, screen_patch};
use journal::{Blocking, Storage};
use kernel::{Audience, Clock, Screening, Status, Untrusted, limits};
use object_store::{ObjectStore, memory::InMemory};
use segment::TextQuery;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

const NAMESPACE: (&str, &str) = NAMESPACES[0];
const INLINE: Limits = Limits { inline_bytes_max: 240 << 10, ..UNLIMITED };
const NEEDLE: &[u8] = b"xylophonist";
const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);
/// Age at which a rewrite is due.
const DUE: Duration = Duration::from_secs(18 * 3_600);

async fn write(env: &TestEnv, draft: Draft) {
    env.enter::<Ingest>(NAMESPACE).await.append(vec![draft.upsert()], &Audience::Everything, line()).await.unwrap();
}

async fn store(env: &TestEnv, name: &str, text: &str) {
    write(env, Draft::new(name, text)).await;
}

async fn delete(env: &TestEnv, name: &str) {
    let which = Selection::Ids(vec![id(name)]);
    env.enter::<Delete>(NAMESPACE).await.delete(&which, &Audience::Everything, line()).await.unwrap();
}

/// Nine other documents, so that one deleted document does not cause a merge.
async fn others(env: &TestEnv) {
    for n in 0..9 {
        store(env, &format!("kept-{n}"), "some other words").await;
    }
}

async fn maintain(env: &TestEnv) -> MaintenanceReport {
    let report = env.stores.maintain(env.keyspace(NAMESPACE), &settings(super::fixture::DIMENSIONS)).await.unwrap();
    env.wait_idle().await;
    report
}

async fn holds_needle(env: &TestEnv) -> bool {
    env.decrypted(NAMESPACE).await.iter().any(|bytes| bytes.windows(NEEDLE.len()).any(|window| window == NEEDLE))
}

fn files(env: &TestEnv) -> Vec<PathBuf> {
    env.objects().into_iter().chain(env.logs()).collect()
}

/// Every answer that a reader can get: documents found by a word, with scores, and the list.
async fn answers(env: &TestEnv) -> Vec<(String, u32)> {
    let snapshot = env.enter::<Search>(NAMESPACE).await.snapshot(None).await.unwrap();
    let eligible = snapshot.eligible(&Audience::Everything, None, &[Status::Indexed], env.clock.now()).unwrap();
    let hits = snapshot.text(&TextQuery::new("words xylophonist"), &eligible, 1_000).unwrap();
    let name = |hit: &crate::Hit| snapshot.tie(hit.at).0.unwrap().as_str().to_owned();
    let mut found: Vec<_> = hits.iter().map(|hit| (name(hit), hit.score.to_bits())).collect();
    found.sort();
    let (all, total, _) = snapshot.list(&eligible, &ListOptions { limit: 1_000, ..ListOptions::default() }).unwrap();
    assert_eq!(all.len() as u64, total);
    found.extend(all.into_iter().map(|doc| (doc.id.as_str().to_owned(), 0)));
    found
}

/// Advances the clock to the bound: nothing is rewritten before it is due, and afterwards none of the previous files is
/// left.
async fn assert_erased_when_due(env: &mut TestEnv, deleted_at: Duration) {
    let before = answers(env).await;
    env.wait_idle().await;
    let held = files(env);
    env.clock.advance(DUE - deleted_at - MINUTE);
    maintain(env).await;
    assert_eq!(files(env), held, "nothing gave cause to rewrite anything");
    assert!(holds_needle(env).await, "the scan can see");
    env.clock.advance(2 * MINUTE);
    let report = maintain(env).await;
    assert_eq!(report, MaintenanceReport { opened: true, ..MaintenanceReport::default() });
    assert!(held.iter().all(|file| !file.exists()), "every file that held it is gone");
    assert!(!holds_needle(env).await);
    assert_eq!(answers(env).await, before, "and no answer has changed");
    env.reopen().await;
    assert_eq!(answers(env).await, before);
    assert_eq!(env.objects().len(), env.stores.object_count());
}

/// Covers objects and inline segments, flushed documents and those only in the log, and namespaces that are open or
/// were closed by another process.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_document_is_in_no_file_after_the_bound() {
    for sizes in [UNLIMITED, INLINE] {
        for (flushed, reopened) in [(true, false), (true, true), (false, false), (false, true)] {
            let mut env = TestEnv::new(sizes).await;
            others(&env).await;
            store(&env, "gone", "the xylophonist").await;
            if flushed {
                env.stores.flush_all().await.unwrap();
            }
            delete(&env, "gone").await;
            if reopened {
                env.reopen().await;
            }
            assert_erased_when_due(&mut env, Duration::ZERO).await;
        }
    }
}

/// The time of a deletion is kept through flushes and restarts.
#[tokio::test(flavor = "multi_thread")]
async fn the_deletion_time_survives_flushes_and_restarts() {
    for sizes in [UNLIMITED, INLINE] {
        let mut env = TestEnv::new(sizes).await;
        others(&env).await;
        store(&env, "gone", "the xylophonist").await;
        env.stores.flush_all().await.unwrap();
        delete(&env, "gone").await;
        let deleted_at = env.clock.now();
        env.clock.advance(HOUR);
        store(&env, "later", "more words").await;
        env.stores.flush_all().await.unwrap();
        env.reopen().await;
        let examined = maintain(&env).await;
        if sizes.inline_bytes_max == 0 {
            assert_eq!(examined, MaintenanceReport { deleted_since: Some(deleted_at), ..MaintenanceReport::default() });
            assert_object_erased_when_due(&mut env).await;
        } else {
            assert_eq!(examined, MaintenanceReport::default(), "what is inline goes along with every flush");
            assert!(!holds_needle(&env).await);
        }
        assert!(env.stores.open_uuids().len() <= 1);
    }
}

async fn assert_object_erased_when_due(env: &mut TestEnv) {
    let held = env.objects();
    env.clock.advance(DUE - HOUR - MINUTE);
    assert!(!maintain(env).await.opened, "one that is closed is looked at from outside");
    assert!(env.stores.open_uuids().is_empty() && env.objects() == held);
    env.clock.advance(2 * MINUTE);
    assert_eq!(maintain(env).await, MaintenanceReport { opened: true, ..MaintenanceReport::default() });
    // The object with the later document stays.
    assert_eq!(held.iter().filter(|file| file.exists()).count(), 1);
    assert!(!holds_needle(env).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_document_is_erased_too() {
    for sizes in [UNLIMITED, INLINE] {
        for flushed in [true, false] {
            let mut env = TestEnv::new(sizes).await;
            others(&env).await;
            let expires_at = Some(env.clock.now().plus(HOUR));
            write(&env, Draft { expires_at, ..Draft::new("gone", "the xylophonist") }).await;
            if flushed {
                env.stores.flush_all().await.unwrap();
            }
            env.clock.advance(2 * HOUR);
            assert_erased_when_due(&mut env, HOUR).await;
        }
    }
}

/// A document that had expired before it was written counts from its write: otherwise a client could force rewrites by
/// sending such documents.
#[tokio::test(flavor = "multi_thread")]
async fn documents_that_expired_before_their_write_count_from_their_write() {
    for sizes in [UNLIMITED, INLINE] {
        let mut env = TestEnv::new(sizes).await;
        others(&env).await;
        env.clock.advance(100 * HOUR);
        let expires_at = Some(kernel::Timestamp::from_millis(5));
        for n in 0..9 {
            write(&env, Draft { expires_at, ..Draft::new(&n.to_string(), "the xylophonist") }).await;
        }
        assert_erased_when_due(&mut env, Duration::ZERO).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn overwritten_patched_and_rejected_documents_are_erased_too() {
    for sizes in [UNLIMITED, INLINE] {
        for op in 0..3 {
            let mut env = TestEnv::new(sizes).await;
            others(&env).await;
            let text = if op == 2 { format!("the xylophonist. {INJECTION}") } else { "the xylophonist".to_owned() };
            store(&env, "gone", &text).await;
            env.stores.flush_all().await.unwrap();
            match op {
                0 => store(&env, "gone", "somebody else").await,
                1 => {
                    let raw = RawPatch { uri: Some(Some(Untrusted::new("elsewhere"))), ..RawPatch::default() };
                    let patch = screen_patch(raw, &Screening::default()).unwrap();
                    let which = Selection::Ids(vec![id("gone")]);
                    let handle = env.enter::<Patch>(NAMESPACE).await;
                    handle.patch(&which, &Audience::Everything, patch, line()).await.unwrap();
                    // The patched document still has its text.
                    drop(handle);
                    assert_eq!(maintain(&env).await.deleted_since, Some(env.clock.now()));
                    store(&env, "gone", "somebody else").await;
                }
                _ => {
                    let handle = env.enter::<Review>(NAMESPACE).await;
                    let state = ReviewedState::Commit(handle.commit());
                    let which = [Reviewed { id: id("gone"), state }];
                    handle.decide(&which, &Audience::Everything, Decision::Reject, line()).await.unwrap();
                }
            }
            assert_erased_when_due(&mut env, Duration::ZERO).await;
        }
    }
}

/// With continuous deletes an object is rewritten once in three quarters of the bound, and each copy is erased within
/// it.
#[tokio::test(flavor = "multi_thread")]
async fn continuous_deletes_rewrite_as_rarely_as_the_bound_allows() {
    let env = TestEnv::new(UNLIMITED).await;
    for n in 0..500 {
        store(&env, &n.to_string(), "some words").await;
    }
    env.stores.flush_all().await.unwrap();
    let before = env.stores.stats();
    for hour in 0..72 {
        delete(&env, &hour.to_string()).await;
        env.clock.advance(HOUR);
        if hour % 3 == 2 {
            let oldest = maintain(&env).await.deleted_since;
            let bound = env.clock.now().as_millis() - (limits::ERASE_WITHIN.as_millis() as i64);
            assert!(oldest.is_none_or(|from| from.as_millis() > bound), "hour {hour}: {oldest:?}");
        }
    }
    let after = env.stores.stats();
    assert_eq!(after.compactions - before.compactions, 4, "72 hours are four times 18");
    assert!(after.flushes - before.flushes <= 4);
}

/// Entries that arrive while the log is restarted keep the previous file, which holds deleted documents: the log is
/// restarted once more.
#[tokio::test(flavor = "multi_thread")]
async fn entries_that_arrive_meanwhile_do_not_keep_the_old_log() {
    let env = TestEnv::new(INLINE).await;
    others(&env).await;
    store(&env, "gone", "the xylophonist").await;
    delete(&env, "gone").await;
    env.wait_idle().await;
    let held = env.logs();
    env.clock.advance(DUE);
    env.pool.hold_next.store(true, Ordering::SeqCst);
    let (keyspace, settings) = (env.keyspace(NAMESPACE), settings(super::fixture::DIMENSIONS));
    let report = env.stores.maintain(keyspace, &settings);
    let meanwhile = async {
        let build = env.held().await;
        store(&env, "meanwhile", "more words").await;
        build();
    };
    let (report, ()) = tokio::join!(report, meanwhile);
    assert_eq!(report.unwrap(), MaintenanceReport { opened: true, ..MaintenanceReport::default() });
    env.wait_idle().await;
    assert!(held.iter().all(|file| !file.exists()) && !holds_needle(&env).await);
    assert_eq!(answers(&env).await.len(), 2 * 10);
}

/// Flushes, with an entry that arrives while the segment is built.
async fn flush_while_written(env: &TestEnv) {
    env.pool.hold_next.store(true, Ordering::SeqCst);
    let meanwhile = async {
        let build = env.held().await;
        store(env, "meanwhile", "more words").await;
        build();
    };
    let (flushed, ()) = tokio::join!(env.stores.flush_all(), meanwhile);
    flushed.unwrap();
}

/// The same if a flush for another reason had left the old file, and the process was restarted.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_file_that_outlived_its_checkpoint_is_known_after_a_restart() {
    let mut env = TestEnv::new(UNLIMITED).await;
    others(&env).await;
    store(&env, "gone", "the xylophonist").await;
    delete(&env, "gone").await;
    env.wait_idle().await;
    let deleted_at = env.clock.now();
    env.clock.advance(HOUR);
    let held = env.logs();
    flush_while_written(&env).await;
    assert!(held.iter().any(|file| file.exists()), "the entry that came meanwhile stands in it");
    env.reopen().await;
    assert_eq!(maintain(&env).await.deleted_since, Some(deleted_at));
    env.clock.advance(DUE - HOUR);
    assert_eq!(maintain(&env).await, MaintenanceReport { opened: true, ..MaintenanceReport::default() });
    assert!(held.iter().all(|file| !file.exists()));
    assert_eq!(answers(&env).await.len(), 2 * 10);
}

/// The same for a document that was inline in the checkpoint with which the file begins, and had expired by then.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_file_with_an_expired_document_is_known_after_a_restart() {
    let mut env = TestEnv::new(INLINE).await;
    others(&env).await;
    let expires = env.clock.now().plus(HOUR);
    write(&env, Draft { expires_at: Some(expires), ..Draft::new("gone", "the xylophonist") }).await;
    env.stores.flush_all().await.unwrap();
    store(&env, "later", "some words").await;
    env.wait_idle().await;
    env.clock.advance(2 * HOUR);
    let held = env.logs();
    flush_while_written(&env).await;
    assert!(held.iter().any(|file| file.exists()), "the entry that came meanwhile stands in it");
    env.reopen().await;
    assert_eq!(maintain(&env).await.deleted_since, Some(expires));
    env.clock.advance(DUE - HOUR);
    assert_eq!(maintain(&env).await, MaintenanceReport { opened: true, ..MaintenanceReport::default() });
    assert!(held.iter().all(|file| !file.exists()));
}

/// Orphans are found even if a search opened the namespace first, because opening sweeps nothing in a bucket; so are
/// objects that this process has put and will not name.
#[tokio::test]
async fn opening_does_not_hide_orphans() {
    let bucket = Arc::new(InMemory::new());
    let storage = Storage::remote(bucket.clone(), bucket.clone(), Blocking::Threads).await.unwrap();
    let mut env = TestEnv::on(UNLIMITED, tempfile::tempdir().unwrap(), storage.clone()).await;
    others(&env).await;
    env.stores.flush_all().await.unwrap();
    let entropy = Arc::new(kernel::SeededEntropy::new(8));
    let (journal, _) =
        journal::Journal::recover(&storage, env.keyspace(NAMESPACE), env.clock.clone(), entropy).await.unwrap();
    journal.put(vault::ObjectKind::Segment, b"the xylophonist").await.unwrap();
    drop(journal);
    env.reopen().await;
    assert_eq!(answers(&env).await.len(), 2 * 9);
    env.stores.close_tenant(env.keyspace(NAMESPACE).incarnation().unwrap()).await;
    assert!(env.stores.open_uuids().is_empty());
    assert_eq!(names(&bucket, "/seg/").await, 2);
    assert!(maintain(&env).await.opened);
    assert_eq!(names(&bucket, "/seg/").await, 1);

    env.stores.only().core.journal.put(vault::ObjectKind::Segment, b"the xylophonist").await.unwrap();
    store(&env, "more", "words").await;
    env.stores.flush_all().await.unwrap();
    assert_eq!(names(&bucket, "/seg/").await, 3);
    assert!(!maintain(&env).await.orphans);
    assert_eq!(names(&bucket, "/seg/").await, 2);
    assert_eq!(answers(&env).await.len(), 2 * 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_step_leaves_only_what_the_next_maintenance_removes() {
    for sizes in [UNLIMITED, INLINE, Limits { short_merge_bytes_max: 0, ..UNLIMITED }] {
        let env = TestEnv::new(sizes).await;
        others(&env).await;
        store(&env, "gone", "the xylophonist").await;
        env.stores.flush_all().await.unwrap();
        delete(&env, "gone").await;
        let before = answers(&env).await;
        let held = files(&env);
        let names: Vec<_> = held.iter().map(|file| file.file_name().unwrap().to_owned()).collect();
        env.clock.advance(DUE);
        let copies = Arc::<Mutex<Vec<_>>>::default();
        let (kept, folder) = (copies.clone(), env.folder.path().to_path_buf());
        env.stores.steps().on(move |step| kept.lock().unwrap().push((step, copied(&folder))));
        maintain(&env).await;
        let copies = std::mem::take(&mut *copies.lock().unwrap());
        assert!(copies.len() >= 4);
        for (step, folder) in copies {
            let mut crashed = env.with_separate_audit(folder).await;
            let report = maintain(&crashed).await;
            assert_eq!((report.deleted_since, report.orphans), (None, false), "killed after {step}");
            let left = files(&crashed).into_iter().filter(|file| names.contains(&file.file_name().unwrap().to_owned()));
            assert_eq!(left.count(), 0, "killed after {step}");
            assert!(!holds_needle(&crashed).await);
            assert_eq!(answers(&crashed).await, before, "killed after {step}");
            crashed.reopen().await;
            assert_eq!(answers(&crashed).await, before, "killed after {step}");
            assert_eq!(crashed.objects().len(), crashed.stores.object_count(), "garbage after {step}");
        }
    }
}

/// The last document is deleted and the namespace takes vectors of other dimensions: its objects are in no version any
/// more.
#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_namespace_does_not_forget_its_objects() {
    let env = TestEnv::new(UNLIMITED).await;
    store(&env, "gone", "the xylophonist").await;
    env.stores.flush_all().await.unwrap();
    let held = files(&env);
    let handle = env.stores.enter(&env.grant::<Ingest>(NAMESPACE.0, NAMESPACE.1), &settings(8)).await.unwrap();
    // Both requests must be in one batch.
    let (deleted, written) = tokio::join!(
        delete(&env, "gone"),
        handle.append(
            vec![Draft { vector: Some(vec![1.0; 8]), ..Draft::new("new", "words") }.upsert()],
            &Audience::Everything,
            line()
        )
    );
    drop((deleted, handle));
    written.unwrap();
    env.clock.advance(DUE);
    maintain(&env).await;
    assert!(held.iter().all(|file| !file.exists()) && !holds_needle(&env).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_bound_nothing_is_due() {
    let mut env = TestEnv::new(Limits { erase_within: Duration::ZERO, ..UNLIMITED }).await;
    others(&env).await;
    store(&env, "gone", "the xylophonist").await;
    env.stores.flush_all().await.unwrap();
    delete(&env, "gone").await;
    env.reopen().await;
    let held = files(&env);
    env.clock.advance(1_000 * HOUR);
    maintain(&env).await;
    store(&env, "more", "words").await;
    env.wait_idle().await;
    assert!(held.iter().all(|file| file.exists()) && holds_needle(&env).await);
}

/// A write starts due maintenance too: no sweep is needed.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_finds_what_is_due() {
    let env = TestEnv::new(UNLIMITED).await;
    others(&env).await;
    store(&env, "gone", "the xylophonist").await;
    env.stores.flush_all().await.unwrap();
    delete(&env, "gone").await;
    let held = files(&env);
    env.clock.advance(DUE);
    store(&env, "more", "words").await;
    env.wait_idle().await;
    assert!(held.iter().all(|file| !file.exists()) && !holds_needle(&env).await);
}

async fn names(bucket: &InMemory, part: &str) -> usize {
    let all: Vec<_> = bucket.list(None).try_collect().await.unwrap();
    all.iter().filter(|meta| meta.location.as_ref().contains(part)).count()
}

/// In a bucket an examination claims nothing, and what an earlier writer left is removed even if nothing else is due.
#[tokio::test]
async fn in_a_bucket_an_examination_claims_nothing_and_orphans_are_removed() {
    let bucket = Arc::new(InMemory::new());
    let storage = Storage::remote(bucket.clone(), bucket.clone(), Blocking::Threads).await.unwrap();
    let mut env = TestEnv::on(UNLIMITED, tempfile::tempdir().unwrap(), storage.clone()).await;
    others(&env).await;
    store(&env, "gone", "the xylophonist").await;
    env.stores.flush_all().await.unwrap();
    delete(&env, "gone").await;
    env.reopen().await;
    let claims = names(&bucket, "/claim/").await;
    for _ in 0..3 {
        assert!(!maintain(&env).await.opened);
    }
    assert_eq!(names(&bucket, "/claim/").await, claims);
    env.clock.advance(DUE);
    assert_eq!(maintain(&env).await, MaintenanceReport { opened: true, ..MaintenanceReport::default() });
    assert!(!holds_needle(&env).await);
    assert_eq!(names(&bucket, "/seg/").await, 1);

    // An object that a writer put but never named.
    let entropy = Arc::new(kernel::SeededEntropy::new(8));
    let (journal, _) =
        journal::Journal::recover(&storage, env.keyspace(NAMESPACE), env.clock.clone(), entropy).await.unwrap();
    journal.put(vault::ObjectKind::Segment, b"the xylophonist").await.unwrap();
    drop(journal);
    env.reopen().await;
    assert_eq!(names(&bucket, "/seg/").await, 2);
    assert!(maintain(&env).await.opened);
    assert_eq!(names(&bucket, "/seg/").await, 1);
    assert_eq!(answers(&env).await.len(), 2 * 9);
}

/// An object that a snapshot reads from a bucket is kept for the reader, and the next maintenance deletes it.
#[tokio::test]
async fn a_reader_in_a_bucket_delays_a_deletion_but_does_not_prevent_it() {
    let bucket = Arc::new(InMemory::new());
    let storage = Storage::remote(bucket.clone(), bucket.clone(), Blocking::Threads).await.unwrap();
    let env = TestEnv::on(UNLIMITED, tempfile::tempdir().unwrap(), storage).await;
    others(&env).await;
    store(&env, "gone", "the xylophonist").await;
    env.stores.flush_all().await.unwrap();
    let snapshot = env.enter::<Search>(NAMESPACE).await.snapshot(None).await.unwrap();
    delete(&env, "gone").await;
    env.clock.advance(DUE);
    assert!(maintain(&env).await.orphans);
    assert_eq!(names(&bucket, "/seg/").await, 2);
    drop(snapshot);
    assert!(!maintain(&env).await.orphans);
    assert_eq!(names(&bucket, "/seg/").await, 1);
}

/// A large segment is rewritten once, concurrently with everything else, and its graph is reused.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_object_keeps_its_graph() {
    let env = TestEnv::new(Limits { flush_rows_max: u64::MAX, ..UNLIMITED }).await;
    let rows = limits::GRAPH_ROWS_MIN + 2;
    let draft = |n: usize| Draft { vector: Some(vec![n as f32, 1.0, 2.0, 3.0]), ..Draft::new(&n.to_string(), "words") };
    for batch in (0..rows).collect::<Vec<_>>().chunks(2_000) {
        let upserts = batch.iter().map(|n| draft(*n).upsert()).collect();
        env.enter::<Ingest>(NAMESPACE).await.append(upserts, &Audience::Everything, line()).await.unwrap();
    }
    env.stores.flush_all().await.unwrap();
    env.wait_idle().await;
    let before = env.stores.stats();
    assert_eq!(before.rows_without_graph, 0);
    delete(&env, "7").await;
    let held = files(&env);
    env.clock.advance(DUE);
    env.pool.hold_merges.store(true, Ordering::SeqCst);
    let (keyspace, settings) = (env.keyspace(NAMESPACE), settings(super::fixture::DIMENSIONS));
    let meanwhile = async {
        let build = env.held().await;
        store(&env, "meanwhile", "words").await;
        delete(&env, "8").await;
        build();
    };
    let (report, ()) = tokio::join!(env.stores.maintain(keyspace, &settings), meanwhile);
    let now = env.clock.now();
    assert_eq!(
        report.unwrap(),
        MaintenanceReport { deleted_since: Some(now), opened: true, ..MaintenanceReport::default() },
        "the other's time"
    );
    env.wait_idle().await;
    let after = env.stores.stats();
    assert_eq!((after.compactions - before.compactions, after.rows_without_graph), (1, 0));
    assert!(held.iter().all(|file| !file.exists()));
}
