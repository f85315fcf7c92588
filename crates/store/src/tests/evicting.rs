//! Eviction: who goes, when, and in what state; and the numbers that metrics show.

use super::fixture::{Draft, NAMESPACES, ROOMY, Sizes, World, line};
use access::{Delete, Ingest, Search};
use kernel::{Audience, Clock, Status};
use segment::TextQuery;

async fn store(world: &World, at: (&'static str, &str), name: &str, text: &str) {
    world
        .enter::<Ingest>(at)
        .await
        .append(vec![Draft::new(name, text).upsert()], &Audience::Everything, line())
        .await
        .unwrap();
    world.settle().await;
}

/// What one namespace with one small document weighs.
async fn weight() -> u64 {
    let world = World::new(ROOMY).await;
    store(&world, NAMESPACES[0], "a", "words").await;
    world.stores.stats().memory_bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_unused_goes_first() {
    let one = weight().await;
    let world = World::new(Sizes { memory_bytes_max: 2 * one + one / 2, ..ROOMY }).await;
    for at in &NAMESPACES[..2] {
        store(&world, *at, "a", "words").await;
    }
    drop(world.enter::<Search>(NAMESPACES[0]).await);
    store(&world, NAMESPACES[2], "a", "words").await;
    assert_eq!(world.stores.stats().evictions, 1);
    let open = world.stores.open_ones();
    assert!(!open.contains(&world.home(NAMESPACES[1]).uuid()), "the second was used longest ago");
    assert_eq!(open.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_makes_room_too() {
    let one = weight().await;
    let world = World::new(Sizes { memory_bytes_max: 3 * one, ..ROOMY }).await;
    for at in &NAMESPACES[..2] {
        store(&world, *at, "a", "words").await;
    }
    assert_eq!(world.stores.stats().evictions, 0);
    let room = world.enter::<Ingest>(NAMESPACES[0]).await;
    let long = "many words ".repeat(1_000);
    room.append(vec![Draft::new("b", &long).upsert()], &Audience::Everything, line()).await.unwrap();
    world.settle().await;
    assert_eq!(world.stores.open_ones(), [world.home(NAMESPACES[0]).uuid()], "who is held stays");
}

/// Found by the kills of the real binary: a search that indexed what nobody had yet ended in a panic, and after it no
/// namespace was closed any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_indexes_makes_room_from_a_thread_without_a_runtime() {
    let one = weight().await;
    let world = World::new(Sizes { memory_bytes_max: 3 * one, ..ROOMY }).await;
    store(&world, NAMESPACES[0], "a", "words").await;
    store(&world, NAMESPACES[1], "a", "words").await;
    let snapshot = world.enter::<Search>(NAMESPACES[1]).await.snapshot(None).await.unwrap();
    let now = world.clock.now();
    let searched = std::thread::spawn(move || {
        let eligible = snapshot.eligible(&Audience::Everything, None, &[Status::Indexed], now).unwrap();
        snapshot.text(&TextQuery::new("words"), &eligible, 10).unwrap().len()
    });
    assert_eq!(searched.join().expect("no panic"), 1);
    world.settle().await;
    assert!(world.stores.stats().evictions > 0, "its index weighs more than what is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_log_is_flushed_before_its_namespace_goes() {
    let world = World::new(Sizes { memory_bytes_max: 1, ..ROOMY }).await;
    let room = world.enter::<Ingest>(NAMESPACES[0]).await;
    let long = "many words ".repeat(8_000);
    room.append(vec![Draft::new("a", &long).upsert()], &Audience::Everything, line()).await.unwrap();
    assert!(world.stores.log_bytes_of() > 64 << 10);
    assert_eq!(world.stores.stats().flushes, 0);
    drop(room);
    store(&world, NAMESPACES[1], "a", "words").await;
    assert!(!world.stores.open_ones().contains(&world.home(NAMESPACES[0]).uuid()));
    assert_eq!(world.stores.stats().flushes, 1);
    assert_eq!(world.objects().len(), 1);
    assert_eq!(world.enter::<Search>(NAMESPACES[0]).await.totals().documents, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_at_once_share_one_opening() {
    let mut world = World::new(ROOMY).await;
    store(&world, NAMESPACES[0], "a", "words").await;
    world.reopen().await;
    world.pool.hold_next.store(true, std::sync::atomic::Ordering::SeqCst);
    let mut askers: Vec<_> = (0..16).map(|_| Box::pin(world.enter::<Search>(NAMESPACES[0]))).collect();
    for asker in &mut askers {
        assert!(futures::poll!(asker.as_mut()).is_pending());
    }
    let held = world.held().await;
    held();
    let rooms = futures::future::join_all(askers).await;
    assert!(rooms.iter().all(|room| room.totals().documents == 1));
    assert_eq!(world.stores.stats().open, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_say_what_is_dead_and_what_was_written() {
    let world = World::new(ROOMY).await;
    for n in 0..4 {
        store(&world, NAMESPACES[0], &n.to_string(), "some words").await;
    }
    world.stores.flush_all().await.unwrap();
    let before = world.stores.stats();
    assert_eq!((before.documents, before.tombstones, before.writes_waiting), (4, 0, 0));
    assert!(before.bytes_accepted > 0 && before.write_amplification() > 1.0);
    let which = crate::Selection::Ids(vec![super::fixture::id("1")]);
    world.enter::<Delete>(NAMESPACES[0]).await.delete(&which, &Audience::Everything, line()).await.unwrap();
    let after = world.stores.stats();
    assert_eq!((after.documents, after.tombstones), (4, 1));
    assert!((after.tombstone_share() - 0.25).abs() < f64::EPSILON);
    world.stores.close().await;
    world.settle().await;
    let closed = world.stores.stats();
    assert_eq!((closed.documents, closed.tombstones, closed.memory_bytes), (0, 0, 0));
}
