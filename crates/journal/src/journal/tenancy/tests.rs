//! A place in a bucket that its writer leaves and comes back to.

use super::Tenancy;
use crate::{
    Error, Stopped,
    names::{Name, PartId},
    object_log::tests::{Door, Node, World, stopped},
};
use kernel::{LogEpoch, limits};
use object_store::ObjectStoreExt;
use vault::ObjectKind;

/// Claims, and objects of the log that no point, entry or checkpoint of the first epoch is.
async fn foreign(world: &World) -> (usize, usize) {
    let names = world.names().await;
    let claims = names.iter().filter(|name| matches!(name, Name::Claim(_))).count();
    let others = names.iter().filter(|name| matches!(name, Name::Log(id) if id.epoch > LogEpoch(1))).count();
    (claims, others)
}

async fn back(world: &World, left: Tenancy) -> Node {
    world.open_over(world.store.clone(), Some(left)).await.unwrap()
}

/// A node that owns the place, has written, and has left.
async fn away(world: &World, body: &[u8]) -> (Node, Tenancy) {
    let mut node = world.open().await.unwrap();
    node.append(body).await.unwrap();
    let left = node.journal.leave().expect("it leaves in peace");
    (node, left)
}

#[tokio::test]
async fn whoever_leaves_and_comes_back_claims_and_seals_nothing() {
    for large in [0, limits::CHECKPOINT_INLINE_BYTES_MAX] {
        let world = World::new(20);
        let (mut node, mut left) = away(&world, &vec![7; large]).await;
        for round in 0..12u8 {
            let before = node.state;
            node = back(&world, left).await;
            assert_eq!(node.state, before);
            node.append(&[round; 40]).await.unwrap();
            if round % 4 == 3 {
                node.checkpoint(node.state.len() - usize::from(round % 8 == 3)).await.unwrap();
            }
            node.journal.check().await.unwrap();
            left = node.journal.leave().expect("it leaves in peace");
        }
        assert_eq!(foreign(&world).await, (1, 0), "one claim, one epoch");
        let mut node = back(&world, left).await;
        node.checkpoint(13).await.unwrap();
        let logs = world.names().await.into_iter().filter(|name| matches!(name, Name::Log(_))).count();
        assert_eq!(logs, 1, "the log is cut as ever");
        node.append(b"and on").await.unwrap();
        assert_eq!(world.open().await.unwrap().state, node.state);
    }
}

#[tokio::test]
async fn whoever_was_overtaken_while_it_was_away_claims_like_anybody() {
    let world = World::new(21);
    let (_, left) = away(&world, b"one").await;
    let mut other = world.open().await.unwrap();
    other.append(b"two").await.unwrap();
    let mut node = back(&world, left).await;
    assert_eq!(node.state, other.state);
    node.append(b"three").await.unwrap();
    assert_eq!(node.journal.claim().await.unwrap(), LogEpoch(3));
    stopped(other.append(b"never").await, Stopped::Fenced);
    assert_eq!(world.open().await.unwrap().state, node.state);
}

/// A claimer that died before it sealed, one that died behind its seal, and a log that ends earlier than it did.
#[tokio::test]
async fn anything_that_changed_meanwhile_ends_what_was_left() {
    for change in 0..4 {
        let world = World::new(22);
        let (_, left) = away(&world, b"one").await;
        let last = world.key(Name::Log(PartId { epoch: LogEpoch(1), part: 2 }));
        match change {
            0 => {
                let claim = world.key(Name::Claim(LogEpoch(2)));
                world.store.put(&claim, "ringfence claim 0\n".into()).await.unwrap();
            }
            1 => {
                let other = Door::new(world.store.clone());
                let node = world.open_over(other.clone(), None).await.unwrap();
                other.shut_behind(2, false);
                node.journal.claim().await.unwrap_err();
                // What is not listed any more leaves its seal.
                world.store.delete(&world.key(Name::Claim(LogEpoch(2)))).await.unwrap();
            }
            2 => world.store.delete(&last).await.unwrap(),
            // The same end in other bytes.
            _ => {
                world.store.delete(&last).await.unwrap();
                let entropy = kernel::SeededEntropy::new(99);
                let record = crate::object_log::slot::Record::Entries(1, vec![b"one"[..].into()]);
                world.forge(PartId { epoch: LogEpoch(1), part: 2 }, record, entropy).await;
            }
        }
        let node = back(&world, left).await;
        assert_eq!(node.journal.sweep(&[]).await.unwrap(), 0);
        let epoch = node.journal.claim().await.unwrap();
        assert!(epoch > LogEpoch(1), "change {change}: {epoch}");
    }
}

#[tokio::test]
async fn whoever_is_overtaken_after_it_came_back_is_fenced() {
    let world = World::new(23);
    let (_, left) = away(&world, b"one").await;
    let mut node = back(&world, left).await;
    let mut other = world.open().await.unwrap();
    other.append(b"two").await.unwrap();
    stopped(node.append(b"never").await, Stopped::Fenced);
    assert!(node.journal.leave().is_none(), "who was fenced leaves nothing");
    let world = World::new(24);
    let (_, left) = away(&world, b"one").await;
    let node = back(&world, left).await;
    world.open().await.unwrap().append(b"two").await.unwrap();
    stopped(node.journal.check().await, Stopped::Fenced);
}

#[tokio::test]
async fn who_reads_or_has_left_leaves_nothing_and_writes_no_more() {
    let world = World::new(25);
    let mut reader = world.open().await.unwrap();
    assert!(reader.journal.leave().is_none());
    stopped(reader.append(b"never").await, Stopped::Left);
    let (mut node, left) = away(&world, b"one").await;
    assert!(node.journal.leave().is_none(), "there is one to come back");
    stopped(node.append(b"never").await, Stopped::Left);
    stopped(node.checkpoint(1).await, Stopped::Left);
    stopped(node.journal.sweep(&[]).await, Stopped::Left);
    stopped(node.journal.check().await, Stopped::Left);
    assert_eq!(back(&world, left).await.state, [b"one".to_vec()]);
}

/// An entry, and the point of a checkpoint: never sent or never heard of.
#[tokio::test]
async fn nothing_is_left_behind_an_unknown_outcome() {
    for lands in [false, true] {
        for point in [false, true] {
            let world = World::new(26);
            let door = Door::new(world.store.clone());
            let mut node = world.open_over(door.clone(), None).await.unwrap();
            node.append(b"one").await.unwrap();
            door.shut_behind(0, lands);
            let outcome = if point { node.checkpoint(1).await } else { node.append(b"two").await };
            // A point that is found where it belongs was stored.
            assert_eq!(outcome.is_ok(), lands && point, "{outcome:?}");
            assert_eq!(node.journal.leave().is_some(), lands && point);
            assert!(world.open().await.unwrap().state.starts_with(&[b"one".to_vec()]));
        }
    }
}

#[tokio::test]
async fn nothing_is_left_while_something_is_on_its_way() {
    let world = World::new(27);
    let door = Door::new(world.store.clone());
    let mut node = world.open_over(door.clone(), None).await.unwrap();
    node.append(b"one").await.unwrap();
    door.hold(true);
    let second = node.journal.append(&b"two"[..]);
    let mut second = std::pin::pin!(second);
    assert!(futures::poll!(second.as_mut()).is_pending());
    tokio::task::yield_now().await;
    assert!(node.journal.leave().is_none(), "a put is on its way");
    door.hold(false);
    second.await.unwrap();
    door.hold(true);
    let checkpoint = node.journal.checkpoint(b"body", crate::Seq(2));
    let mut checkpoint = std::pin::pin!(checkpoint);
    assert!(futures::poll!(checkpoint.as_mut()).is_pending());
    tokio::task::yield_now().await;
    assert!(node.journal.leave().is_none(), "a checkpoint is");
    door.hold(false);
    checkpoint.await.unwrap();
    assert!(node.journal.leave().is_some(), "nothing ended while it was not left");
}

#[tokio::test]
async fn a_checkpoint_number_is_not_given_again_by_who_comes_back() {
    let world = World::new(28);
    let door = Door::new(world.store.clone());
    let mut node = world.open_over(door.clone(), None).await.unwrap();
    node.append(&vec![7; limits::CHECKPOINT_INLINE_BYTES_MAX]).await.unwrap();
    door.shut_behind(0, true);
    assert!(matches!(node.checkpoint(1).await, Err(Error::Store { .. })), "its object stands, and nobody heard of it");
    let mut node = back(&world, node.journal.leave().expect("the log goes on")).await;
    node.checkpoint(1).await.unwrap();
    node.append(b"and on").await.unwrap();
    assert_eq!(world.open().await.unwrap().state, node.state);
    let names = world.names().await;
    assert_eq!(names.iter().filter(|name| matches!(name, Name::Checkpoint(_))).count(), 1, "{names:?}");
}

#[tokio::test]
async fn a_log_that_could_not_be_cut_is_cut_by_who_comes_back() {
    for passes in 1..5 {
        let world = World::new(29);
        let door = Door::new(world.store.clone());
        let mut node = world.open_over(door.clone(), None).await.unwrap();
        for i in 0..4u8 {
            node.append(&[i; 30]).await.unwrap();
        }
        door.shut_behind(passes, false);
        node.checkpoint(4).await.unwrap();
        assert!(door.refused());
        let mut node = back(&world, node.journal.leave().unwrap()).await;
        node.append(b"and on").await.unwrap();
        node.checkpoint(5).await.unwrap();
        let names = world.names().await;
        assert_eq!(names.iter().filter(|name| matches!(name, Name::Log(_))).count(), 1, "{passes}: {names:?}");
        assert_eq!(world.open().await.unwrap().state, node.state);
    }
}

#[tokio::test]
async fn a_sweep_of_before_takes_nothing_that_was_put_since() {
    let world = World::new(30);
    let mut node = world.open().await.unwrap();
    node.append(b"one").await.unwrap();
    let litter = node.journal.put(ObjectKind::Segment, b"nothing names it").await.unwrap();
    assert_eq!(node.journal.sweep(&[]).await.unwrap(), 0, "it may be about to be named");
    let again = back(&world, node.journal.leave().unwrap()).await;
    let fresh = again.journal.put(ObjectKind::Segment, b"about to be named").await.unwrap();
    stopped(node.journal.sweep(&[]).await, Stopped::Left);
    assert_eq!(*again.journal.get(&fresh).await.unwrap(), *b"about to be named");
    assert_eq!(again.journal.sweep(&[]).await.unwrap(), 1, "who put it has gone without naming it");
    assert!(matches!(again.journal.get(&litter).await, Err(Error::Corrupt { .. })));
}
