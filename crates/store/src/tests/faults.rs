//! A fault stays with the namespace that has it, and what was acknowledged stays.

use super::fixture::{Draft, NAMESPACES, ROOMY, World, line};
use crate::Error;
use access::{Ingest, Search};
use kernel::{Audience, Code};
use std::{sync::atomic::Ordering, time::Duration};

const HOME: (&str, &str) = NAMESPACES[0];

async fn store(world: &World, at: (&'static str, &str), name: &str) {
    let upserts = vec![Draft::new(name, "some words").upsert()];
    world.enter::<Ingest>(at).await.append(upserts, &Audience::Everything, line()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_object_fails_its_namespace_alone() {
    let mut world = World::new(ROOMY).await;
    store(&world, HOME, "a").await;
    world.stores.flush_all().await.unwrap();
    let broken = world.objects().remove(0);
    for other in &NAMESPACES[1..] {
        store(&world, *other, "a").await;
    }
    world.stores.flush_all().await.unwrap();
    world.reopen().await;
    let whole = std::fs::read(&broken).unwrap();
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    std::fs::write(&broken, &changed).unwrap();

    let error = world.try_enter::<Search>(HOME).await.err().unwrap();
    assert_eq!(error.code, Code::Internal);
    for other in &NAMESPACES[1..] {
        assert_eq!(world.enter::<Search>(*other).await.totals().documents, 1);
        store(&world, *other, "b").await;
    }
    assert_eq!(world.stores.stats().quarantined, 1);
    // Asked again at once it says the same; later it is tried again, and the pause doubles.
    for pause in [1, 2, 4] {
        let said = world.stores.enter(&world.grant::<Search>(HOME.0, HOME.1), &super::fixture::settings(4)).await;
        assert!(matches!(said.err(), Some(Error::Unopened { code: Code::Internal, .. })), "pause {pause}");
        world.clock.advance(Duration::from_millis(pause * 1_000 - 1));
        let said = world.stores.enter(&world.grant::<Search>(HOME.0, HOME.1), &super::fixture::settings(4)).await;
        assert!(matches!(said.err(), Some(Error::Unopened { .. })), "pause {pause}");
        world.clock.advance(Duration::from_millis(1));
        let said = world.stores.enter(&world.grant::<Search>(HOME.0, HOME.1), &super::fixture::settings(4)).await;
        assert!(matches!(said.err(), Some(Error::Passed(_))), "tried after pause {pause}");
    }
    // Mended and asked later it serves.
    std::fs::write(&broken, &whole).unwrap();
    world.clock.advance(Duration::from_secs(8));
    assert_eq!(world.enter::<Search>(HOME).await.totals().documents, 1);
    assert_eq!(world.stores.stats().quarantined, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_closes_the_namespace_and_the_next_enter_opens_it() {
    let world = World::new(ROOMY).await;
    store(&world, HOME, "a").await;
    let room = world.enter::<Ingest>(HOME).await;
    let line: crate::Line = Box::new(|_| panic!("a line that cannot be written"));
    let error = room.append(vec![Draft::new("b", "lost").upsert()], &Audience::Everything, line).await.unwrap_err();
    assert_eq!(kernel::Error::from(error).code, Code::Internal);
    world.settle().await;
    let refused = room
        .append(vec![Draft::new("c", "late").upsert()], &Audience::Everything, super::fixture::line())
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Closing));
    store(&world, HOME, "d").await;
    assert_eq!(world.enter::<Search>(HOME).await.totals().documents, 2);
    assert_eq!(room.totals().documents, 1, "who held the old one reads what was published there");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_not_cut_before_its_audit_lines_are_kept() {
    let mut world = World::new(ROOMY).await;
    // It opens while its audit can be read: what that has recorded is looked at before the first write.
    world.enter::<Search>(HOME).await;
    world.settle().await;
    world.chain.refuses.store(true, Ordering::SeqCst);
    for name in ["a", "b", "c"] {
        store(&world, HOME, name).await;
    }
    assert!(world.stores.flush_all().await.is_err());
    assert!(world.objects().is_empty() && world.chain.lines.lock().unwrap().is_empty());
    assert_eq!(world.enter::<Search>(HOME).await.totals().documents, 3, "writes go on");

    // A crash now: replay hands the lines over, once each however often.
    world.chain.refuses.store(false, Ordering::SeqCst);
    for _ in 0..2 {
        world.reopen().await;
        world.enter::<Search>(HOME).await;
        world.settle().await;
        let lines = world.chain.lines.lock().unwrap();
        assert_eq!(lines.values().map(Vec::as_slice).collect::<Vec<_>>(), [b"1: 1", b"2: 1", b"3: 1"]);
    }
    world.stores.flush_all().await.unwrap();
    assert_eq!(world.objects().len(), 1);
    let calls = world.chain.calls.load(Ordering::SeqCst);
    world.reopen().await;
    world.enter::<Search>(HOME).await;
    world.settle().await;
    assert_eq!(world.chain.calls.load(Ordering::SeqCst), calls, "behind the cut nothing is handed over again");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_no_checkpoint_names_are_swept() {
    let mut world = World::new(ROOMY).await;
    store(&world, HOME, "a").await;
    world.stores.flush_all().await.unwrap();
    let named = world.objects();
    world.reopen().await;
    let stray = named[0].with_file_name("11111111-2222-4333-8444-555555555555");
    std::fs::write(&stray, b"left by a crash").unwrap();
    world.enter::<Search>(HOME).await;
    assert_eq!(world.objects(), named);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closing_server_finishes_what_it_took() {
    let mut world = World::new(ROOMY).await;
    let room = world.enter::<Ingest>(HOME).await;
    let mut write = Box::pin(room.append(vec![Draft::new("a", "words").upsert()], &Audience::Everything, line()));
    assert!(futures::poll!(write.as_mut()).is_pending());
    world.stores.close().await;
    write.await.unwrap();
    let late = room.append(vec![Draft::new("b", "words").upsert()], &Audience::Everything, line()).await.unwrap_err();
    assert!(matches!(late, Error::Closing));
    assert_eq!(world.try_enter::<Search>(HOME).await.err().unwrap().code, Code::Overloaded);
    drop(room);
    world.reopen().await;
    assert_eq!(world.enter::<Search>(HOME).await.totals().documents, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_tenant_opens_again() {
    let world = World::new(ROOMY).await;
    store(&world, HOME, "a").await;
    store(&world, NAMESPACES[2], "a").await;
    let life = world.grant::<Search>(HOME.0, HOME.1).incarnation();
    world.stores.forget(life).await;
    assert_eq!(world.stores.stats().open, 1, "the other tenant's stays");
    assert_eq!(world.enter::<Search>(HOME).await.totals().documents, 1);
}

/// At every stop of a flush and of a compaction: a kill leaves all that was acknowledged, and work
/// that is lost on the way leaves the namespace serving.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_or_a_loss_at_any_stop_of_upkeep_loses_nothing() {
    // Before the flush's object, before its checkpoint, and the same two of the compaction that
    // the ninth object makes due.
    for stop in 0..4 {
        let world = World::new(ROOMY).await;
        for n in 0..9 {
            if n > 0 {
                world.stores.flush_all().await.unwrap();
            }
            store(&world, HOME, &n.to_string()).await;
        }
        world.settle().await;
        world.pool.let_pass.store(stop, Ordering::SeqCst);
        world.pool.hold_next.store(true, Ordering::SeqCst);
        let kill = async {
            let work = world.held().await;
            let killed = world.killed().await;
            assert_eq!(killed.enter::<Search>(HOME).await.totals().documents, 9, "stop {stop}");
            if stop < 2 {
                assert_eq!(killed.objects().len(), 8, "what no checkpoint names is swept");
            }
            killed.settle().await;
            drop(work);
        };
        let (flushed, ()) = tokio::join!(world.stores.flush_all(), kill);
        assert!(matches!(flushed, Err(Error::Panicked)), "stop {stop}");
        assert_eq!(world.enter::<Search>(HOME).await.totals().documents, 9);
        world.stores.flush_all().await.unwrap();
        assert!(world.objects().len() <= 8);
        assert_eq!(world.killed().await.enter::<Search>(HOME).await.totals().documents, 9);
    }
}
