//! A keyspace in a bucket whose writer detaches and resumes.

use super::WriterSession;
use crate::{
    Error, Stopped,
    names::{LogFileId, Name},
    object_log::tests::{BucketFixture, FaultyStore, Node, assert_stopped},
};
use kernel::{LogEpoch, limits};
use object_store::ObjectStoreExt;
use vault::ObjectKind;

/// Number of claims, and number of objects of the log that belong to a later epoch than the first.
async fn count_claims_and_later_objects(fixture: &BucketFixture) -> (usize, usize) {
    let names = fixture.names().await;
    let claims = names.iter().filter(|name| matches!(name, Name::Claim(_))).count();
    let others = names.iter().filter(|name| matches!(name, Name::Log(id) if id.epoch > LogEpoch(1))).count();
    (claims, others)
}

async fn resume(fixture: &BucketFixture, session: WriterSession) -> Node {
    fixture.open_over(fixture.store.clone(), Some(session)).await.unwrap()
}

/// A node that claimed the keyspace, wrote to it and detached.
async fn detached_node(fixture: &BucketFixture, body: &[u8]) -> (Node, WriterSession) {
    let mut node = fixture.open().await.unwrap();
    node.append(body).await.unwrap();
    let session = node.journal.detach().expect("it detaches");
    (node, session)
}

#[tokio::test]
async fn resuming_a_session_claims_and_seals_nothing() {
    for large in [0, limits::CHECKPOINT_INLINE_BYTES_MAX] {
        let fixture = BucketFixture::new(20);
        let (mut node, mut session) = detached_node(&fixture, &vec![7; large]).await;
        for round in 0..12u8 {
            let before = node.state;
            node = resume(&fixture, session).await;
            assert_eq!(node.state, before);
            node.append(&[round; 40]).await.unwrap();
            if round % 4 == 3 {
                node.checkpoint(node.state.len() - usize::from(round % 8 == 3)).await.unwrap();
            }
            node.journal.check().await.unwrap();
            session = node.journal.detach().expect("it detaches");
        }
        assert_eq!(count_claims_and_later_objects(&fixture).await, (1, 0), "one claim, one epoch");
        let mut node = resume(&fixture, session).await;
        node.checkpoint(13).await.unwrap();
        let logs = fixture.names().await.into_iter().filter(|name| matches!(name, Name::Log(_))).count();
        assert_eq!(logs, 1, "the log is truncated as usual");
        node.append(b"and on").await.unwrap();
        assert_eq!(fixture.open().await.unwrap().state, node.state);
    }
}

#[tokio::test]
async fn an_overtaken_session_claims_a_new_epoch() {
    let fixture = BucketFixture::new(21);
    let (_, session) = detached_node(&fixture, b"one").await;
    let mut other = fixture.open().await.unwrap();
    other.append(b"two").await.unwrap();
    let mut node = resume(&fixture, session).await;
    assert_eq!(node.state, other.state);
    node.append(b"three").await.unwrap();
    assert_eq!(node.journal.claim().await.unwrap(), LogEpoch(3));
    assert_stopped(other.append(b"never").await, Stopped::Fenced);
    assert_eq!(fixture.open().await.unwrap().state, node.state);
}

/// Changes since the detach: a claimer that crashed before it sealed, one that crashed after its seal, and a log that
/// ends earlier or in other bytes.
#[tokio::test]
async fn any_change_invalidates_the_session() {
    for change in 0..4 {
        let fixture = BucketFixture::new(22);
        let (_, session) = detached_node(&fixture, b"one").await;
        let last = fixture.key(Name::Log(LogFileId { epoch: LogEpoch(1), number: 2 }));
        match change {
            0 => {
                let claim = fixture.key(Name::Claim(LogEpoch(2)));
                fixture.store.put(&claim, "ringfence claim 0\n".into()).await.unwrap();
            }
            1 => {
                let other = FaultyStore::new(fixture.store.clone());
                let node = fixture.open_over(other.clone(), None).await.unwrap();
                other.fail_after(2, false);
                node.journal.claim().await.unwrap_err();
                // Only the seal remains of the claimer.
                fixture.store.delete(&fixture.key(Name::Claim(LogEpoch(2)))).await.unwrap();
            }
            2 => fixture.store.delete(&last).await.unwrap(),
            // A log of the same length that ends in other bytes.
            _ => {
                fixture.store.delete(&last).await.unwrap();
                let entropy = kernel::SeededEntropy::new(99);
                let record = crate::object_log::slot::Record::Entries(1, vec![b"one"[..].into()]);
                fixture.forge(LogFileId { epoch: LogEpoch(1), number: 2 }, record, entropy).await;
            }
        }
        let node = resume(&fixture, session).await;
        assert_eq!(node.journal.sweep(&[]).await.unwrap(), 0);
        let epoch = node.journal.claim().await.unwrap();
        assert!(epoch > LogEpoch(1), "change {change}: {epoch}");
    }
}

#[tokio::test]
async fn a_resumed_writer_that_is_overtaken_is_fenced() {
    let fixture = BucketFixture::new(23);
    let (_, session) = detached_node(&fixture, b"one").await;
    let mut node = resume(&fixture, session).await;
    let mut other = fixture.open().await.unwrap();
    other.append(b"two").await.unwrap();
    assert_stopped(node.append(b"never").await, Stopped::Fenced);
    assert!(node.journal.detach().is_none(), "a fenced writer leaves no session");
    let fixture = BucketFixture::new(24);
    let (_, session) = detached_node(&fixture, b"one").await;
    let node = resume(&fixture, session).await;
    fixture.open().await.unwrap().append(b"two").await.unwrap();
    assert_stopped(node.journal.check().await, Stopped::Fenced);
}

#[tokio::test]
async fn a_reader_or_a_detached_writer_gets_no_session_and_writes_nothing() {
    let fixture = BucketFixture::new(25);
    let mut reader = fixture.open().await.unwrap();
    assert!(reader.journal.detach().is_none());
    assert_stopped(reader.append(b"never").await, Stopped::Detached);
    let (mut node, session) = detached_node(&fixture, b"one").await;
    assert!(node.journal.detach().is_none(), "the session was returned already");
    assert_stopped(node.append(b"never").await, Stopped::Detached);
    assert_stopped(node.checkpoint(1).await, Stopped::Detached);
    assert_stopped(node.journal.sweep(&[]).await, Stopped::Detached);
    assert_stopped(node.journal.check().await, Stopped::Detached);
    assert_eq!(resume(&fixture, session).await.state, [b"one".to_vec()]);
}

/// An entry or the record of a checkpoint, whose request is lost or whose reply is lost.
#[tokio::test]
async fn an_unknown_outcome_yields_no_session() {
    for reply_lost in [false, true] {
        for is_checkpoint in [false, true] {
            let fixture = BucketFixture::new(26);
            let store = FaultyStore::new(fixture.store.clone());
            let mut node = fixture.open_over(store.clone(), None).await.unwrap();
            node.append(b"one").await.unwrap();
            store.fail_after(0, reply_lost);
            let outcome = if is_checkpoint { node.checkpoint(1).await } else { node.append(b"two").await };
            // The writer reads a checkpoint record back after a lost reply, so it knows that the record was stored.
            assert_eq!(outcome.is_ok(), reply_lost && is_checkpoint, "{outcome:?}");
            assert_eq!(node.journal.detach().is_some(), reply_lost && is_checkpoint);
            assert!(fixture.open().await.unwrap().state.starts_with(&[b"one".to_vec()]));
        }
    }
}

#[tokio::test]
async fn pending_work_prevents_a_detach() {
    let fixture = BucketFixture::new(27);
    let store = FaultyStore::new(fixture.store.clone());
    let mut node = fixture.open_over(store.clone(), None).await.unwrap();
    node.append(b"one").await.unwrap();
    store.hold(true);
    let second = node.journal.append(&b"two"[..]);
    let mut second = std::pin::pin!(second);
    assert!(futures::poll!(second.as_mut()).is_pending());
    tokio::task::yield_now().await;
    assert!(node.journal.detach().is_none(), "a put is pending");
    store.hold(false);
    second.await.unwrap();
    store.hold(true);
    let checkpoint = node.journal.checkpoint(b"body", crate::Seq(2));
    let mut checkpoint = std::pin::pin!(checkpoint);
    assert!(futures::poll!(checkpoint.as_mut()).is_pending());
    tokio::task::yield_now().await;
    assert!(node.journal.detach().is_none(), "a checkpoint is pending");
    store.hold(false);
    checkpoint.await.unwrap();
    assert!(node.journal.detach().is_some(), "the failed attempts to detach ended nothing");
}

#[tokio::test]
async fn a_resumed_writer_reuses_no_checkpoint_number() {
    let fixture = BucketFixture::new(28);
    let store = FaultyStore::new(fixture.store.clone());
    let mut node = fixture.open_over(store.clone(), None).await.unwrap();
    node.append(&vec![7; limits::CHECKPOINT_INLINE_BYTES_MAX]).await.unwrap();
    store.fail_after(0, true);
    assert!(
        matches!(node.checkpoint(1).await, Err(Error::Store { .. })),
        "its object is stored, but the reply was lost"
    );
    let mut node = resume(&fixture, node.journal.detach().expect("the log still runs")).await;
    node.checkpoint(1).await.unwrap();
    node.append(b"and on").await.unwrap();
    assert_eq!(fixture.open().await.unwrap().state, node.state);
    let names = fixture.names().await;
    assert_eq!(names.iter().filter(|name| matches!(name, Name::Checkpoint(_))).count(), 1, "{names:?}");
}

#[tokio::test]
async fn a_resumed_writer_completes_a_failed_truncation() {
    for changes in 1..5 {
        let fixture = BucketFixture::new(29);
        let store = FaultyStore::new(fixture.store.clone());
        let mut node = fixture.open_over(store.clone(), None).await.unwrap();
        for i in 0..4u8 {
            node.append(&[i; 30]).await.unwrap();
        }
        store.fail_after(changes, false);
        node.checkpoint(4).await.unwrap();
        assert!(store.exhausted());
        let mut node = resume(&fixture, node.journal.detach().unwrap()).await;
        node.append(b"and on").await.unwrap();
        node.checkpoint(5).await.unwrap();
        let names = fixture.names().await;
        assert_eq!(names.iter().filter(|name| matches!(name, Name::Log(_))).count(), 1, "{changes}: {names:?}");
        assert_eq!(fixture.open().await.unwrap().state, node.state);
    }
}

#[tokio::test]
async fn a_sweep_from_before_the_detach_deletes_nothing_put_since() {
    let fixture = BucketFixture::new(30);
    let mut node = fixture.open().await.unwrap();
    node.append(b"one").await.unwrap();
    let orphan = node.journal.put(ObjectKind::Segment, b"nothing names it").await.unwrap();
    assert_eq!(node.journal.sweep(&[]).await.unwrap(), 0, "it may be about to be named");
    let again = resume(&fixture, node.journal.detach().unwrap()).await;
    let fresh = again.journal.put(ObjectKind::Segment, b"about to be named").await.unwrap();
    assert_stopped(node.journal.sweep(&[]).await, Stopped::Detached);
    assert_eq!(*again.journal.get(&fresh).await.unwrap(), *b"about to be named");
    assert_eq!(again.journal.sweep(&[]).await.unwrap(), 1, "the session that put it ended without naming it");
    assert!(matches!(again.journal.get(&orphan).await, Err(Error::Corrupt { .. })));
}
