//! The bound on erasure: what was deleted plainly, overwritten, patched, rejected or has expired is in no object and no
//! log file behind it, whether or not anybody writes; and not before without another cause.

use super::fixture::{Draft, INJECTION, NAMESPACES, ROOMY, Sizes, World, copied, id, line, settings};
use crate::{Decision, Listed, Reviewed, ReviewedState, Selection, Tended};
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

const HOME: (&str, &str) = NAMESPACES[0];
const INLINE: Sizes = Sizes { inline_bytes_max: 240 << 10, ..ROOMY };
const NEEDLE: &[u8] = b"xylophonist";
const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);
/// When a rewrite is due.
const DUE: Duration = Duration::from_secs(18 * 3_600);

async fn write(world: &World, draft: Draft) {
    world.enter::<Ingest>(HOME).await.append(vec![draft.upsert()], &Audience::Everything, line()).await.unwrap();
}

async fn store(world: &World, name: &str, text: &str) {
    write(world, Draft::new(name, text)).await;
}

async fn delete(world: &World, name: &str) {
    let which = Selection::Ids(vec![id(name)]);
    world.enter::<Delete>(HOME).await.delete(&which, &Audience::Everything, line()).await.unwrap();
}

/// Nine others, so that one that dies is no cause of a merge.
async fn others(world: &World) {
    for n in 0..9 {
        store(world, &format!("kept-{n}"), "some other words").await;
    }
}

async fn tend(world: &World) -> Tended {
    let tended = world.stores.tend(world.home(HOME), &settings(super::fixture::DIMENSIONS)).await.unwrap();
    world.settle().await;
    tended
}

async fn holds_needle(world: &World) -> bool {
    world.plain(HOME).await.iter().any(|bytes| bytes.windows(NEEDLE.len()).any(|window| window == NEEDLE))
}

fn files(world: &World) -> Vec<PathBuf> {
    world.objects().into_iter().chain(world.logs()).collect()
}

/// Every answer that there is: who is found by a word, with scores, and in the list.
async fn answers(world: &World) -> Vec<(String, u32)> {
    let snapshot = world.enter::<Search>(HOME).await.snapshot(None).await.unwrap();
    let eligible = snapshot.eligible(&Audience::Everything, None, &[Status::Indexed], world.clock.now()).unwrap();
    let hits = snapshot.text(&TextQuery::new("words xylophonist"), &eligible, 1_000).unwrap();
    let name = |hit: &crate::Hit| snapshot.tie(hit.at).0.unwrap().as_str().to_owned();
    let mut found: Vec<_> = hits.iter().map(|hit| (name(hit), hit.score.to_bits())).collect();
    found.sort();
    let (all, total, _) = snapshot.list(&eligible, &Listed { limit: 1_000, ..Listed::default() }).unwrap();
    assert_eq!(all.len() as u64, total);
    found.extend(all.into_iter().map(|doc| (doc.id.as_str().to_owned(), 0)));
    found
}

/// From now until the bound: nothing happens before a rewrite is due, and then no file of before is left.
async fn goes_when_due(world: &mut World, died: Duration) {
    let before = answers(world).await;
    world.settle().await;
    let held = files(world);
    world.clock.advance(DUE - died - MINUTE);
    tend(world).await;
    assert_eq!(files(world), held, "nothing gave cause to rewrite anything");
    assert!(holds_needle(world).await, "the scan can see");
    world.clock.advance(2 * MINUTE);
    let tended = tend(world).await;
    assert_eq!(tended, Tended { opened: true, ..Tended::default() });
    assert!(held.iter().all(|file| !file.exists()), "every file that held it is gone");
    assert!(!holds_needle(world).await);
    assert_eq!(answers(world).await, before, "and no answer has changed");
    world.reopen().await;
    assert_eq!(answers(world).await, before);
    assert_eq!(world.objects().len(), world.stores.named_of());
}

/// In an object or inline, flushed or in the log only; the namespace open, or closed by another process before.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_document_is_in_no_file_behind_the_bound() {
    for sizes in [ROOMY, INLINE] {
        for (flushed, reopened) in [(true, false), (true, true), (false, false), (false, true)] {
            let mut world = World::new(sizes).await;
            others(&world).await;
            store(&world, "gone", "the xylophonist").await;
            if flushed {
                world.stores.flush_all().await.unwrap();
            }
            delete(&world, "gone").await;
            if reopened {
                world.reopen().await;
            }
            goes_when_due(&mut world, Duration::ZERO).await;
        }
    }
}

/// The moment of a death is kept, whatever is flushed and closed in between, and whoever asks later.
#[tokio::test(flavor = "multi_thread")]
async fn since_when_it_is_dead_survives_flushes_and_starts() {
    for sizes in [ROOMY, INLINE] {
        let mut world = World::new(sizes).await;
        others(&world).await;
        store(&world, "gone", "the xylophonist").await;
        world.stores.flush_all().await.unwrap();
        delete(&world, "gone").await;
        let died = world.clock.now();
        world.clock.advance(HOUR);
        store(&world, "later", "more words").await;
        world.stores.flush_all().await.unwrap();
        world.reopen().await;
        let seen = tend(&world).await;
        if sizes.inline_bytes_max == 0 {
            assert_eq!(seen, Tended { dead_from: Some(died), ..Tended::default() });
            goes_when_due_if_object(&mut world).await;
        } else {
            assert_eq!(seen, Tended::default(), "what is inline goes along with every flush");
            assert!(!holds_needle(&world).await);
        }
        assert!(world.stores.open_ones().len() <= 1);
    }
}

async fn goes_when_due_if_object(world: &mut World) {
    let held = world.objects();
    world.clock.advance(DUE - HOUR - MINUTE);
    assert!(!tend(world).await.opened, "one that is closed is looked at from outside");
    assert!(world.stores.open_ones().is_empty() && world.objects() == held);
    world.clock.advance(2 * MINUTE);
    assert_eq!(tend(world).await, Tended { opened: true, ..Tended::default() });
    // The one with the later document stays.
    assert_eq!(held.iter().filter(|file| file.exists()).count(), 1);
    assert!(!holds_needle(world).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_document_goes_too() {
    for sizes in [ROOMY, INLINE] {
        for flushed in [true, false] {
            let mut world = World::new(sizes).await;
            others(&world).await;
            let expires_at = Some(world.clock.now().plus(HOUR));
            write(&world, Draft { expires_at, ..Draft::new("gone", "the xylophonist") }).await;
            if flushed {
                world.stores.flush_all().await.unwrap();
            }
            world.clock.advance(2 * HOUR);
            goes_when_due(&mut world, HOUR).await;
        }
    }
}

/// One that had expired before it came counts from when it came: else whoever sends such has everything rewritten.
#[tokio::test(flavor = "multi_thread")]
async fn what_expired_long_ago_is_due_like_what_was_deleted_when_it_came() {
    for sizes in [ROOMY, INLINE] {
        let mut world = World::new(sizes).await;
        others(&world).await;
        world.clock.advance(100 * HOUR);
        let expires_at = Some(kernel::Timestamp::from_millis(5));
        for n in 0..9 {
            write(&world, Draft { expires_at, ..Draft::new(&n.to_string(), "the xylophonist") }).await;
        }
        goes_when_due(&mut world, Duration::ZERO).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_what_was_overwritten_patched_or_rejected() {
    for sizes in [ROOMY, INLINE] {
        for deed in 0..3 {
            let mut world = World::new(sizes).await;
            others(&world).await;
            let text = if deed == 2 { format!("the xylophonist. {INJECTION}") } else { "the xylophonist".to_owned() };
            store(&world, "gone", &text).await;
            world.stores.flush_all().await.unwrap();
            match deed {
                0 => store(&world, "gone", "somebody else").await,
                1 => {
                    let raw = RawPatch { uri: Some(Some(Untrusted::new("elsewhere"))), ..RawPatch::default() };
                    let patch = screen_patch(raw, &Screening::default()).unwrap();
                    let which = Selection::Ids(vec![id("gone")]);
                    let room = world.enter::<Patch>(HOME).await;
                    room.patch(&which, &Audience::Everything, patch, line()).await.unwrap();
                    // The living one has its text still.
                    drop(room);
                    assert_eq!(tend(&world).await.dead_from, Some(world.clock.now()));
                    store(&world, "gone", "somebody else").await;
                }
                _ => {
                    let room = world.enter::<Review>(HOME).await;
                    let state = ReviewedState::Commit(room.commit());
                    let which = [Reviewed { id: id("gone"), state }];
                    room.decide(&which, &Audience::Everything, Decision::Reject, line()).await.unwrap();
                }
            }
            goes_when_due(&mut world, Duration::ZERO).await;
        }
    }
}

/// Deletes that never end rewrite an object once in three quarters of the bound, and each is gone within it.
#[tokio::test(flavor = "multi_thread")]
async fn a_trickle_of_deletes_rewrites_as_rarely_as_the_bound_allows() {
    let world = World::new(ROOMY).await;
    for n in 0..500 {
        store(&world, &n.to_string(), "some words").await;
    }
    world.stores.flush_all().await.unwrap();
    let before = world.stores.stats();
    for hour in 0..72 {
        delete(&world, &hour.to_string()).await;
        world.clock.advance(HOUR);
        if hour % 3 == 2 {
            let oldest = tend(&world).await.dead_from;
            let bound = world.clock.now().as_millis() - (limits::ERASE_WITHIN.as_millis() as i64);
            assert!(oldest.is_none_or(|from| from.as_millis() > bound), "hour {hour}: {oldest:?}");
        }
    }
    let after = world.stores.stats();
    assert_eq!(after.compactions - before.compactions, 4, "72 hours are four times 18");
    assert!(after.flushes - before.flushes <= 4);
}

/// Entries that come while the log is begun anew keep the file of before, which holds the dead: it is begun once more.
#[tokio::test(flavor = "multi_thread")]
async fn entries_that_come_meanwhile_do_not_keep_the_old_log() {
    let world = World::new(INLINE).await;
    others(&world).await;
    store(&world, "gone", "the xylophonist").await;
    delete(&world, "gone").await;
    world.settle().await;
    let held = world.logs();
    world.clock.advance(DUE);
    world.pool.hold_next.store(true, Ordering::SeqCst);
    let (home, settings) = (world.home(HOME), settings(super::fixture::DIMENSIONS));
    let tended = world.stores.tend(home, &settings);
    let meanwhile = async {
        let build = world.held().await;
        store(&world, "meanwhile", "more words").await;
        build();
    };
    let (tended, ()) = tokio::join!(tended, meanwhile);
    assert_eq!(tended.unwrap(), Tended { opened: true, ..Tended::default() });
    world.settle().await;
    assert!(held.iter().all(|file| !file.exists()) && !holds_needle(&world).await);
    assert_eq!(answers(&world).await.len(), 2 * 10);
}

/// A flush, and an entry that comes while its segment is built.
async fn flush_while_written(world: &World) {
    world.pool.hold_next.store(true, Ordering::SeqCst);
    let meanwhile = async {
        let build = world.held().await;
        store(world, "meanwhile", "more words").await;
        build();
    };
    let (flushed, ()) = tokio::join!(world.stores.flush_all(), meanwhile);
    flushed.unwrap();
}

/// The same when a flush for another reason had left the old file there, and the process ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_outlived_its_checkpoint_is_known_after_a_start() {
    let mut world = World::new(ROOMY).await;
    others(&world).await;
    store(&world, "gone", "the xylophonist").await;
    delete(&world, "gone").await;
    world.settle().await;
    let died = world.clock.now();
    world.clock.advance(HOUR);
    let held = world.logs();
    flush_while_written(&world).await;
    assert!(held.iter().any(|file| file.exists()), "the entry that came meanwhile stands in it");
    world.reopen().await;
    assert_eq!(tend(&world).await.dead_from, Some(died));
    world.clock.advance(DUE - HOUR);
    assert_eq!(tend(&world).await, Tended { opened: true, ..Tended::default() });
    assert!(held.iter().all(|file| !file.exists()));
    assert_eq!(answers(&world).await.len(), 2 * 10);
}

/// The same of a document that stood inline in the checkpoint with which the file begins, and had expired by then.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_holds_what_has_expired_is_known_after_a_start() {
    let mut world = World::new(INLINE).await;
    others(&world).await;
    let expires = world.clock.now().plus(HOUR);
    write(&world, Draft { expires_at: Some(expires), ..Draft::new("gone", "the xylophonist") }).await;
    world.stores.flush_all().await.unwrap();
    store(&world, "later", "some words").await;
    world.settle().await;
    world.clock.advance(2 * HOUR);
    let held = world.logs();
    flush_while_written(&world).await;
    assert!(held.iter().any(|file| file.exists()), "the entry that came meanwhile stands in it");
    world.reopen().await;
    assert_eq!(tend(&world).await.dead_from, Some(expires));
    world.clock.advance(DUE - HOUR);
    assert_eq!(tend(&world).await, Tended { opened: true, ..Tended::default() });
    assert!(held.iter().all(|file| !file.exists()));
}

/// What nothing needs is found although a search came first, whose opening sweeps nothing in a bucket; and what this
/// process itself has put and will not name.
#[tokio::test]
async fn an_opening_does_not_hide_what_lies_there_for_nothing() {
    let bucket = Arc::new(InMemory::new());
    let storage = Storage::remote(bucket.clone(), bucket.clone(), Blocking::Threads).await.unwrap();
    let mut world = World::on(ROOMY, tempfile::tempdir().unwrap(), storage.clone()).await;
    others(&world).await;
    world.stores.flush_all().await.unwrap();
    let entropy = Arc::new(kernel::SeededEntropy::new(8));
    let (journal, _) =
        journal::Journal::recover(&storage, world.home(HOME), world.clock.clone(), entropy).await.unwrap();
    journal.put(vault::ObjectKind::Segment, b"the xylophonist").await.unwrap();
    drop(journal);
    world.reopen().await;
    assert_eq!(answers(&world).await.len(), 2 * 9);
    world.stores.forget(world.home(HOME).incarnation().unwrap()).await;
    assert!(world.stores.open_ones().is_empty());
    assert_eq!(names(&bucket, "/seg/").await, 2);
    assert!(tend(&world).await.opened);
    assert_eq!(names(&bucket, "/seg/").await, 1);

    world.stores.only().journal.put(vault::ObjectKind::Segment, b"the xylophonist").await.unwrap();
    store(&world, "more", "words").await;
    world.stores.flush_all().await.unwrap();
    assert_eq!(names(&bucket, "/seg/").await, 3);
    assert!(!tend(&world).await.litter);
    assert_eq!(names(&bucket, "/seg/").await, 2);
    assert_eq!(answers(&world).await.len(), 2 * 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_step_leaves_what_the_next_look_removes() {
    for sizes in [ROOMY, INLINE, Sizes { short_merge_bytes_max: 0, ..ROOMY }] {
        let world = World::new(sizes).await;
        others(&world).await;
        store(&world, "gone", "the xylophonist").await;
        world.stores.flush_all().await.unwrap();
        delete(&world, "gone").await;
        let before = answers(&world).await;
        let held = files(&world);
        let names: Vec<_> = held.iter().map(|file| file.file_name().unwrap().to_owned()).collect();
        world.clock.advance(DUE);
        let copies = Arc::<Mutex<Vec<_>>>::default();
        let (kept, folder) = (copies.clone(), world.folder.path().to_path_buf());
        world.stores.steps().on(move |step| kept.lock().unwrap().push((step, copied(&folder))));
        tend(&world).await;
        let copies = std::mem::take(&mut *copies.lock().unwrap());
        assert!(copies.len() >= 4);
        for (step, folder) in copies {
            let mut killed = world.apart(folder).await;
            let tended = tend(&killed).await;
            assert_eq!((tended.dead_from, tended.litter), (None, false), "killed after {step}");
            let left = files(&killed).into_iter().filter(|file| names.contains(&file.file_name().unwrap().to_owned()));
            assert_eq!(left.count(), 0, "killed after {step}");
            assert!(!holds_needle(&killed).await);
            assert_eq!(answers(&killed).await, before, "killed after {step}");
            killed.reopen().await;
            assert_eq!(answers(&killed).await, before, "killed after {step}");
            assert_eq!(killed.objects().len(), killed.stores.named_of(), "garbage after {step}");
        }
    }
}

/// The last that a namespace held is deleted, and it takes vectors of another kind: its objects are in no view any more.
#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_namespace_does_not_forget_its_objects() {
    let world = World::new(ROOMY).await;
    store(&world, "gone", "the xylophonist").await;
    world.stores.flush_all().await.unwrap();
    let held = files(&world);
    let room = world.stores.enter(&world.grant::<Ingest>(HOME.0, HOME.1), &settings(8)).await.unwrap();
    // Nothing may come between the two.
    let (deleted, written) = tokio::join!(
        delete(&world, "gone"),
        room.append(
            vec![Draft { vector: Some(vec![1.0; 8]), ..Draft::new("new", "words") }.upsert()],
            &Audience::Everything,
            line()
        )
    );
    drop((deleted, room));
    written.unwrap();
    world.clock.advance(DUE);
    tend(&world).await;
    assert!(held.iter().all(|file| !file.exists()) && !holds_needle(&world).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_bound_nothing_is_due() {
    let mut world = World::new(Sizes { erase_within: Duration::ZERO, ..ROOMY }).await;
    others(&world).await;
    store(&world, "gone", "the xylophonist").await;
    world.stores.flush_all().await.unwrap();
    delete(&world, "gone").await;
    world.reopen().await;
    let held = files(&world);
    world.clock.advance(1_000 * HOUR);
    tend(&world).await;
    store(&world, "more", "words").await;
    world.settle().await;
    assert!(held.iter().all(|file| file.exists()) && holds_needle(&world).await);
}

/// Whoever writes has it done as well: no walk is needed.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_finds_what_is_due() {
    let world = World::new(ROOMY).await;
    others(&world).await;
    store(&world, "gone", "the xylophonist").await;
    world.stores.flush_all().await.unwrap();
    delete(&world, "gone").await;
    let held = files(&world);
    world.clock.advance(DUE);
    store(&world, "more", "words").await;
    world.settle().await;
    assert!(held.iter().all(|file| !file.exists()) && !holds_needle(&world).await);
}

async fn names(bucket: &InMemory, part: &str) -> usize {
    let all: Vec<_> = bucket.list(None).try_collect().await.unwrap();
    all.iter().filter(|meta| meta.location.as_ref().contains(part)).count()
}

/// In a bucket a look claims nothing, and what an earlier writer left is removed although nothing else is due.
#[tokio::test]
async fn in_a_bucket_looking_costs_no_claim_and_litter_goes() {
    let bucket = Arc::new(InMemory::new());
    let storage = Storage::remote(bucket.clone(), bucket.clone(), Blocking::Threads).await.unwrap();
    let mut world = World::on(ROOMY, tempfile::tempdir().unwrap(), storage.clone()).await;
    others(&world).await;
    store(&world, "gone", "the xylophonist").await;
    world.stores.flush_all().await.unwrap();
    delete(&world, "gone").await;
    world.reopen().await;
    let claims = names(&bucket, "/claim/").await;
    for _ in 0..3 {
        assert!(!tend(&world).await.opened);
    }
    assert_eq!(names(&bucket, "/claim/").await, claims);
    world.clock.advance(DUE);
    assert_eq!(tend(&world).await, Tended { opened: true, ..Tended::default() });
    assert!(!holds_needle(&world).await);
    assert_eq!(names(&bucket, "/seg/").await, 1);

    // An object that a writer put and did not come to name.
    let entropy = Arc::new(kernel::SeededEntropy::new(8));
    let (journal, _) =
        journal::Journal::recover(&storage, world.home(HOME), world.clock.clone(), entropy).await.unwrap();
    journal.put(vault::ObjectKind::Segment, b"the xylophonist").await.unwrap();
    drop(journal);
    world.reopen().await;
    assert_eq!(names(&bucket, "/seg/").await, 2);
    assert!(tend(&world).await.opened);
    assert_eq!(names(&bucket, "/seg/").await, 1);
    assert_eq!(answers(&world).await.len(), 2 * 9);
}

/// An object that somebody reads in a bucket waits for the reader, and the next look takes it away.
#[tokio::test]
async fn a_reader_in_a_bucket_is_not_disturbed_and_does_not_keep_it_for_ever() {
    let bucket = Arc::new(InMemory::new());
    let storage = Storage::remote(bucket.clone(), bucket.clone(), Blocking::Threads).await.unwrap();
    let world = World::on(ROOMY, tempfile::tempdir().unwrap(), storage).await;
    others(&world).await;
    store(&world, "gone", "the xylophonist").await;
    world.stores.flush_all().await.unwrap();
    let snapshot = world.enter::<Search>(HOME).await.snapshot(None).await.unwrap();
    delete(&world, "gone").await;
    world.clock.advance(DUE);
    assert!(tend(&world).await.litter);
    assert_eq!(names(&bucket, "/seg/").await, 2);
    drop(snapshot);
    assert!(!tend(&world).await.litter);
    assert_eq!(names(&bucket, "/seg/").await, 1);
}

/// A large segment is rewritten once, beside everything else, and goes on with the graph that it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_object_keeps_its_graph() {
    let world = World::new(Sizes { flush_rows_max: u64::MAX, ..ROOMY }).await;
    let rows = limits::GRAPH_ROWS_MIN + 2;
    let draft = |n: usize| Draft { vector: Some(vec![n as f32, 1.0, 2.0, 3.0]), ..Draft::new(&n.to_string(), "words") };
    for lot in (0..rows).collect::<Vec<_>>().chunks(2_000) {
        let upserts = lot.iter().map(|n| draft(*n).upsert()).collect();
        world.enter::<Ingest>(HOME).await.append(upserts, &Audience::Everything, line()).await.unwrap();
    }
    world.stores.flush_all().await.unwrap();
    world.settle().await;
    let before = world.stores.stats();
    assert_eq!(before.rows_without_graph, 0);
    delete(&world, "7").await;
    let held = files(&world);
    world.clock.advance(DUE);
    world.pool.hold_merges.store(true, Ordering::SeqCst);
    let (home, settings) = (world.home(HOME), settings(super::fixture::DIMENSIONS));
    let meanwhile = async {
        let build = world.held().await;
        store(&world, "meanwhile", "words").await;
        delete(&world, "8").await;
        build();
    };
    let (tended, ()) = tokio::join!(world.stores.tend(home, &settings), meanwhile);
    let now = world.clock.now();
    assert_eq!(tended.unwrap(), Tended { dead_from: Some(now), opened: true, ..Tended::default() }, "the other's time");
    world.settle().await;
    let after = world.stores.stats();
    assert_eq!((after.compactions - before.compactions, after.rows_without_graph), (1, 0));
    assert!(held.iter().all(|file| !file.exists()));
}
