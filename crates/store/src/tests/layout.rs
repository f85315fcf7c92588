//! Flushes, compaction and eviction: what changes on disk and in memory, and what does not.

use super::fixture::{Draft, NAMESPACES, ROOMY, Sizes, World, id, line};
use crate::Selection;
use access::{Delete, Ingest, Search};
use kernel::{Audience, Clock, Status};
use segment::TextQuery;
use std::{sync::atomic::Ordering, time::Duration};

const HOME: (&str, &str) = NAMESPACES[0];

async fn store(world: &World, drafts: &[Draft]) {
    let upserts = drafts.iter().map(Draft::upsert).collect();
    world.enter::<Ingest>(HOME).await.append(upserts, &Audience::Everything, line()).await.unwrap();
}

async fn delete(world: &World, ids: &[&str]) {
    let which = Selection::Ids(ids.iter().map(|text| id(text)).collect());
    let outcome = world.enter::<Delete>(HOME).await.delete(&which, &Audience::Everything, line()).await.unwrap();
    assert_eq!(outcome.deleted, ids.len() as u64);
}

async fn found(world: &World, text: &str) -> Vec<String> {
    let snapshot = world.enter::<Search>(HOME).await.snapshot(None).await.unwrap();
    let eligible = snapshot.eligible(&Audience::Everything, None, &[Status::Indexed], world.clock.now()).unwrap();
    let hits = snapshot.text(&TextQuery::new(text), &eligible, 1_000).unwrap();
    let mut ids: Vec<String> = hits.iter().map(|h| snapshot.tie(h.at).0.unwrap().as_str().to_owned()).collect();
    ids.sort();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_during_a_flush_is_kept() {
    let mut world = World::new(ROOMY).await;
    store(&world, &[Draft::new("a", "word"), Draft::new("b", "word"), Draft::new("c", "word")]).await;
    world.settle().await;
    world.pool.hold_next.store(true, Ordering::SeqCst);
    let flush = world.stores.flush_all();
    let meanwhile = async {
        let held = world.held().await;
        // The flush has read its documents' names and not written its object.
        delete(&world, &["b"]).await;
        store(&world, &[Draft::new("c", "other"), Draft::new("d", "word")]).await;
        held();
    };
    let (flushed, ()) = tokio::join!(flush, meanwhile);
    flushed.unwrap();
    assert_eq!(world.objects().len(), 1);
    for _ in 0..2 {
        assert_eq!(found(&world, "word").await, ["a", "d"]);
        assert_eq!(world.enter::<Search>(HOME).await.totals().documents, 3);
        world.reopen().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_merge_and_old_ones_leave_the_disk() {
    let mut world = World::new(ROOMY).await;
    for n in 0..20 {
        store(&world, &[Draft::new(&format!("doc-{n:02}"), "common word")]).await;
        world.stores.flush_all().await.unwrap();
        assert!(world.objects().len() <= 8, "{} objects after {n} flushes", world.objects().len());
    }
    let stats = world.stores.stats();
    assert_eq!(stats.flushes, 20);
    assert!(stats.compactions >= 2 && stats.upkeep_failures == 0, "{stats:?}");
    assert_eq!(found(&world, "common").await.len(), 20);
    world.reopen().await;
    assert_eq!(found(&world, "common").await.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mostly_dead_object_is_rewritten_and_an_empty_one_dropped() {
    let world = World::new(ROOMY).await;
    let drafts: Vec<Draft> = (0..6).map(|n| Draft::new(&n.to_string(), "word")).collect();
    store(&world, &drafts).await;
    world.stores.flush_all().await.unwrap();
    let before = world.objects();
    delete(&world, &["0", "1", "2"]).await;
    world.stores.flush_all().await.unwrap();
    let after = world.objects();
    assert_eq!((before.len(), after.len()), (1, 1));
    assert_ne!(before, after);
    delete(&world, &["3", "4", "5"]).await;
    world.stores.flush_all().await.unwrap();
    assert!(world.objects().is_empty());
    assert!(found(&world, "word").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_expired_are_hidden_at_once_and_leave_with_compaction() {
    let mut world = World::new(ROOMY).await;
    let soon = Some(world.clock.now().plus(Duration::from_secs(60)));
    store(&world, &[Draft { expires_at: soon, ..Draft::new("a", "word") }, Draft::new("b", "word")]).await;
    world.stores.flush_all().await.unwrap();
    assert_eq!(found(&world, "word").await, ["a", "b"]);
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(found(&world, "word").await, ["b"]);
    assert_eq!(world.enter::<Search>(HOME).await.totals().documents, 2, "still on disk");
    world.stores.flush_all().await.unwrap();
    assert_eq!(world.enter::<Search>(HOME).await.totals().documents, 1, "gone from disk");
    world.reopen().await;
    assert_eq!(world.enter::<Search>(HOME).await.totals().documents, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_memtable_flushes_by_itself() {
    let world = World::new(Sizes { flush_rows_max: 8, ..ROOMY }).await;
    for n in 0..40 {
        store(&world, &[Draft::new(&n.to_string(), "word")]).await;
    }
    world.settle().await;
    assert!(world.stores.stats().flushes >= 1);
    assert!(!world.objects().is_empty());
    assert_eq!(found(&world, "word").await.len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memtable_stays_in_few_segments() {
    let world = World::new(Sizes { flush_rows_max: 100_000, ..ROOMY }).await;
    for n in 0..150 {
        store(&world, &[Draft::new(&n.to_string(), "word")]).await;
        let parts = world.stores.parts_of();
        assert!(parts <= 16, "{parts} segments after {n} writes");
    }
    assert_eq!(found(&world, "word").await.len(), 150);
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_nobody_holds_make_room() {
    let world = World::new(Sizes { memory_bytes_max: 1, ..ROOMY }).await;
    store(&world, &[Draft::new("a", "word")]).await;
    world.settle().await;
    // The write itself may have let it go: from here on it is held.
    let home = world.home(HOME).uuid();
    let held = world.enter::<Search>(HOME).await.snapshot(None).await.unwrap();
    let other = world.enter::<Search>(NAMESPACES[1]).await;
    world.settle().await;
    assert!(world.stores.open_ones().contains(&home), "held");
    let before = world.stores.stats().evictions;
    drop((held, other));
    let third = world.enter::<Search>(NAMESPACES[2]).await;
    world.settle().await;
    assert!(!world.stores.open_ones().contains(&home));
    assert!(world.stores.stats().evictions > before);
    drop(third);
    assert_eq!(found(&world, "word").await, ["a"], "opened again");
    world.stores.close().await;
    world.settle().await;
    assert_eq!((world.stores.stats().open, world.stores.stats().memory_bytes), (0, 0));
}
