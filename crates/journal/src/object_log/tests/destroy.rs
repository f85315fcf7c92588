//! Destruction of a keyspace in a bucket, interrupted after each of its requests.

use super::{BucketFixture, FaultyStore, Node};
use crate::{Error, names::Name};
use kernel::limits;
use vault::ObjectKind;

/// A keyspace with everything that one can contain: two epochs, a checkpoint and a segment as objects, a truncated log
/// before them, and entries after them.
async fn full_keyspace(fixture: &BucketFixture) -> Node {
    let mut first = fixture.open().await.unwrap();
    first.append(&vec![7; limits::CHECKPOINT_INLINE_BYTES_MAX]).await.unwrap();
    first.journal.put(ObjectKind::Segment, b"object").await.unwrap();
    first.checkpoint(1).await.unwrap();
    let mut second = fixture.open().await.unwrap();
    for i in 0..3u8 {
        second.append(&[i; 40]).await.unwrap();
    }
    second
}

#[tokio::test]
async fn an_interrupted_destruction_leaves_all_or_nothing() {
    for reply_lost in [false, true] {
        let (mut changes, mut intact, mut dropped) = (0, 0, 0);
        loop {
            let fixture = BucketFixture::new(40);
            let state = full_keyspace(&fixture).await.state;
            let store = FaultyStore::new(fixture.store.clone());
            let node = fixture.open_over(store.clone(), None).await.unwrap();
            store.fail_after(changes, reply_lost);
            let ended = node.journal.destroy().await;
            let names = fixture.names().await;
            if ended.is_ok() {
                assert_eq!(names, []);
                break;
            }
            // Until the next start, this opening refuses writes.
            assert!(node.journal.append(&b"no"[..]).await.is_err());
            if names.is_empty() {
                assert!(reply_lost, "the last reply was lost");
            }
            let again =
                fixture.open().await.unwrap_or_else(|e| panic!("after {changes} ({reply_lost}): {e:?}, {names:?}"));
            let is_gone = again.dropped || names.is_empty();
            assert!(is_gone || again.state == state, "after {changes}: neither intact nor gone: {names:?}");
            // Once the log records the destruction, nothing comes back.
            assert!(is_gone || !names.contains(&Name::Tombstone), "{names:?}");
            intact += usize::from(!is_gone);
            dropped += usize::from(is_gone);
            again.journal.destroy().await.unwrap();
            assert_eq!(fixture.names().await, [], "after {changes}");
            changes += 1;
        }
        assert!(intact > 0 && dropped > 8, "{intact} {dropped}");
    }
}

/// While the process lives, a repeated call on the same opening completes the destruction.
#[tokio::test]
async fn a_failed_destruction_completes_when_repeated() {
    let mut failed = 0;
    for changes in 0.. {
        let fixture = BucketFixture::new(41);
        full_keyspace(&fixture).await;
        let store = FaultyStore::new(fixture.store.clone());
        let node = fixture.open_over(store.clone(), None).await.unwrap();
        store.fail_after(changes, false);
        let ended = node.journal.destroy().await;
        if ended.is_ok() {
            break;
        }
        store.heal();
        match node.journal.destroy().await {
            Ok(()) => failed += 1,
            // The outcome of an object of the log is unknown, so the keyspace is opened again first.
            Err(Error::Stopped { .. }) => fixture.open().await.unwrap().journal.destroy().await.unwrap(),
            Err(other) => panic!("{other:?}"),
        }
        assert_eq!(fixture.names().await, [], "after {changes}");
    }
    assert!(failed > 8, "{failed}");
}
