//! A place in a bucket whose destruction is cut short behind each of its requests.

use super::{Door, Node, World};
use crate::{Error, names::Name};
use kernel::limits;
use vault::ObjectKind;

/// A place with all that there can be in one: two epochs, a checkpoint and a segment as objects, a
/// log in front of it that was cut, entries behind it.
async fn full(world: &World) -> Node {
    let mut first = world.open().await.unwrap();
    first.append(&vec![7; limits::CHECKPOINT_INLINE_BYTES_MAX]).await.unwrap();
    first.journal.put(ObjectKind::Segment, b"object").await.unwrap();
    first.checkpoint(1).await.unwrap();
    let mut second = world.open().await.unwrap();
    for i in 0..3u8 {
        second.append(&[i; 40]).await.unwrap();
    }
    second
}

#[tokio::test]
async fn a_destruction_that_is_cut_short_leaves_all_or_nothing() {
    for lands in [false, true] {
        let (mut passes, mut whole, mut dropped) = (0, 0, 0);
        loop {
            let world = World::new(40);
            let state = full(&world).await.state;
            let door = Door::new(world.store.clone());
            let node = world.open_over(door.clone(), None).await.unwrap();
            door.shut_behind(passes, lands);
            let ended = node.journal.destroy().await;
            let names = world.names().await;
            if ended.is_ok() {
                assert_eq!(names, []);
                break;
            }
            // Whoever asks before the next start: this opening says no.
            assert!(node.journal.append(&b"no"[..]).await.is_err());
            if names.is_empty() {
                assert!(lands, "the last reply was lost");
            }
            let again = world.open().await.unwrap_or_else(|e| panic!("behind {passes} ({lands}): {e:?}, {names:?}"));
            let is_gone = again.dropped || names.is_empty();
            assert!(is_gone || again.state == state, "behind {passes}: neither whole nor gone: {names:?}");
            // Once the log says so, nothing comes back.
            assert!(is_gone || !names.contains(&Name::Tombstone), "{names:?}");
            whole += usize::from(!is_gone);
            dropped += usize::from(is_gone);
            again.journal.destroy().await.unwrap();
            assert_eq!(world.names().await, [], "behind {passes}");
            passes += 1;
        }
        assert!(whole > 0 && dropped > 8, "{whole} {dropped}");
    }
}

/// The process goes on: asked again, the same opening ends what it began.
#[tokio::test]
async fn a_destruction_that_was_refused_is_ended_when_it_is_asked_for_again() {
    let mut refused = 0;
    for passes in 0.. {
        let world = World::new(41);
        full(&world).await;
        let door = Door::new(world.store.clone());
        let node = world.open_over(door.clone(), None).await.unwrap();
        door.shut_behind(passes, false);
        let ended = node.journal.destroy().await;
        if ended.is_ok() {
            break;
        }
        door.open();
        match node.journal.destroy().await {
            Ok(()) => refused += 1,
            // An object of the log of unknown outcome: the place is opened again first.
            Err(Error::Stopped { .. }) => world.open().await.unwrap().journal.destroy().await.unwrap(),
            Err(other) => panic!("{other:?}"),
        }
        assert_eq!(world.names().await, [], "behind {passes}");
    }
    assert!(refused > 8, "{refused}");
}
