//! Large merges beside everything else: flushes, deletes, erasure, closing, and a kill at every step.

use super::fixture::{Draft, NAMESPACES, ROOMY, Sizes, World, copied, id, line};
use crate::Selection;
use access::{Delete, Ingest, Search};
use kernel::{Audience, Clock, Status};
use segment::TextQuery;
use std::sync::{Arc, Mutex, atomic::Ordering};

const HOME: (&str, &str) = NAMESPACES[0];
/// Every merge is a large one.
const LARGE: Sizes = Sizes { short_merge_bytes_max: 0, ..ROOMY };
/// Objects from which a merge is due.
const OBJECTS: usize = 9;

async fn store(world: &World, name: &str, text: &str) {
    world
        .enter::<Ingest>(HOME)
        .await
        .append(vec![Draft::new(name, text).upsert()], &Audience::Everything, line())
        .await
        .unwrap();
}

async fn found(world: &World) -> Vec<String> {
    let snapshot = world.enter::<Search>(HOME).await.snapshot(None).await.unwrap();
    let eligible = snapshot.eligible(&Audience::Everything, None, &[Status::Indexed], world.clock.now()).unwrap();
    let hits = snapshot.text(&TextQuery::new("words"), &eligible, 1_000).unwrap();
    let mut ids: Vec<String> = hits.iter().map(|hit| snapshot.tie(hit.at).0.unwrap().as_str().to_owned()).collect();
    ids.sort();
    ids
}

/// A world whose merge is under way and held. Documents 0 to 8, each in an object.
async fn merging(world: &World) -> Box<dyn FnOnce() + Send> {
    world.pool.hold_merges.store(true, Ordering::SeqCst);
    for n in 0..OBJECTS {
        store(world, &n.to_string(), &format!("some words of number{n}")).await;
        world.stores.flush_all().await.unwrap();
    }
    world.held().await
}

#[tokio::test(flavor = "multi_thread")]
async fn flushes_and_deletes_go_on_while_a_merge_is_built() {
    let mut world = World::new(LARGE).await;
    let go = merging(&world).await;
    for name in ["later-1", "later-2"] {
        store(&world, name, "more words").await;
        world.stores.flush_all().await.unwrap();
    }
    let which = Selection::Ids(vec![id("3")]);
    world.enter::<Delete>(HOME).await.delete(&which, &Audience::Everything, line()).await.unwrap();
    store(&world, "4", "other words").await;
    world.stores.flush_all().await.unwrap();
    assert!(world.objects().len() > OBJECTS, "nothing waited for the merge");
    let expected = ["0", "1", "2", "4", "5", "6", "7", "8", "later-1", "later-2"];
    assert_eq!(found(&world).await, expected);
    go();
    world.settle().await;
    assert!(world.objects().len() < OBJECTS, "{} objects", world.objects().len());
    assert_eq!(world.stores.stats().compactions, 1);
    assert_eq!(found(&world).await, expected);
    world.reopen().await;
    assert_eq!(found(&world).await, expected);
    assert_eq!(world.objects().len(), world.stores.named_of());
}

/// What it read is erased meanwhile: the merge must not bring it back, and its bytes are nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_makes_a_merge_vain() {
    let world = World::new(LARGE).await;
    let go = merging(&world).await;
    let room = world.enter::<Delete>(HOME).await;
    let erasing = room.erase(&[id("5")], &Audience::Everything, line()).await.unwrap();
    erasing.erased().await.unwrap();
    drop(room);
    let steps = Arc::<Mutex<Vec<_>>>::default();
    let noted = steps.clone();
    world.stores.steps().on(move |step| noted.lock().unwrap().push(step));
    go();
    world.settle().await;
    assert_eq!(steps.lock().unwrap().first(), None, "it was stopped, not built to the end");
    assert_eq!(found(&world).await, ["0", "1", "2", "3", "4", "6", "7", "8"]);
    assert_eq!(world.objects().len(), world.stores.named_of());
    let holds = |bytes: &Vec<u8>| bytes.windows(7).any(|window| window == b"number5");
    assert!(!world.plain(HOME).await.iter().any(holds));
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_does_not_wait_for_a_merge() {
    let mut world = World::new(LARGE).await;
    let go = merging(&world).await;
    world.stores.close().await;
    world.settle().await;
    let before = world.objects();
    go();
    world.settle().await;
    assert_eq!(world.objects(), before, "it wrote nothing after the end");
    world.reopen().await;
    assert_eq!(found(&world).await.len(), OBJECTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_after_any_step_of_a_merge_loses_nothing() {
    let world = World::new(LARGE).await;
    let go = merging(&world).await;
    let copies = Arc::<Mutex<Vec<_>>>::default();
    let (kept, folder) = (copies.clone(), world.folder.path().to_path_buf());
    world.stores.steps().on(move |step| kept.lock().unwrap().push((step, copied(&folder))));
    go();
    world.settle().await;
    let copies = std::mem::take(&mut *copies.lock().unwrap());
    let mut steps = Vec::new();
    for (step, folder) in copies {
        let killed = world.apart(folder).await;
        assert_eq!(found(&killed).await.len(), OBJECTS, "killed after {step}");
        killed.settle().await;
        assert_eq!(killed.objects().len(), killed.stores.named_of(), "garbage after {step}");
        steps.push(step);
    }
    assert_eq!(steps[..4], ["merged", "object", "checkpoint", "swap"]);
    assert!(steps[4..].len() == OBJECTS && steps[4..].iter().all(|step| *step == "delete"), "{steps:?}");
}

/// A failure of a merge is told and put off; what it read stays in use.
#[tokio::test(flavor = "multi_thread")]
async fn a_merge_whose_work_is_lost_is_put_off() {
    let world = World::new(LARGE).await;
    drop(merging(&world).await);
    world.settle().await;
    assert_eq!((world.stores.stats().compactions, world.stores.stats().upkeep_failures), (0, 1));
    assert_eq!(found(&world).await.len(), OBJECTS);
    world.clock.advance(std::time::Duration::from_secs(60));
    store(&world, "later", "more words").await;
    world.settle().await;
    assert_eq!(world.stores.stats().compactions, 1, "tried again");
    assert_eq!(found(&world).await.len(), OBJECTS + 1);
}

/// Many rows at once: the flush does not build their graph, a merge does, and nothing waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_flush_gets_its_graph_later() {
    let mut world = World::new(Sizes { flush_rows_max: u64::MAX, ..ROOMY }).await;
    world.pool.hold_merges.store(true, Ordering::SeqCst);
    let rows = kernel::limits::GRAPH_ROWS_MIN + 2;
    let graphless = |world: &World| world.stores.stats().rows_without_graph as usize;
    let draft = |n: usize| Draft { vector: Some(vec![n as f32, 1.0, 2.0, 3.0]), ..Draft::new(&n.to_string(), "words") };
    for lot in (0..rows).collect::<Vec<_>>().chunks(2_000) {
        let upserts = lot.iter().map(|n| draft(*n).upsert()).collect();
        world.enter::<Ingest>(HOME).await.append(upserts, &Audience::Everything, line()).await.unwrap();
    }
    world.stores.flush_all().await.unwrap();
    let go = world.held().await;
    assert_eq!((world.objects().len(), graphless(&world)), (1, rows));
    store(&world, "later", "more words").await;
    world.stores.flush_all().await.unwrap();
    assert_eq!((world.objects().len(), graphless(&world)), (2, rows), "a flush beside it");
    go();
    world.settle().await;
    assert_eq!((world.objects().len(), graphless(&world)), (2, 0));
    assert_eq!(world.stores.stats().compactions, 1);

    // An erasure rewrites it without one too. The next opening finds it so.
    world.pool.hold_merges.store(true, Ordering::SeqCst);
    let room = world.enter::<Delete>(HOME).await;
    let erasing = room.erase(&[id("7")], &Audience::Everything, line()).await.unwrap();
    erasing.erased().await.unwrap();
    drop(room);
    assert_eq!(graphless(&world), rows - 1);
    let go = world.held().await;
    world.stores.close().await;
    go();
    world.settle().await;
    world.reopen().await;
    assert_eq!(found(&world).await.len(), 1_000);
    world.settle().await;
    assert_eq!((world.objects().len(), graphless(&world)), (2, 0));
}
