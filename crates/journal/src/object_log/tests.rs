//! A keyspace in a bucket, with one writer and with several that do not know of each other.

mod destroy;
mod faulty_store;

use super::slot::{LogSlot, Record, digest};
use crate::{
    Blocking, Error, Journal, Recovered, Seq, Stopped, Storage, WriterSession,
    log::JournalEnv,
    names::{LogFileId, Name},
};
pub(crate) use faulty_store::FaultyStore;
use futures::TryStreamExt;
use kernel::{Incarnation, ManualClock, NamespaceUuid, Plaintext, SeededEntropy, Timestamp, limits};
use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory, path::Path as Key};
use std::sync::Arc;
use vault::{Keyspace, KeyspaceKind, LocalProvider, ObjectKind, TenantKeys};

pub(crate) struct BucketFixture {
    pub(crate) store: Arc<InMemory>,
    keyspace: Arc<Keyspace>,
    clock: Arc<ManualClock>,
    entropy: Arc<SeededEntropy>,
}

/// A server's view of the keyspace.
pub(crate) struct Node {
    pub(crate) journal: Journal,
    pub(crate) state: Vec<Vec<u8>>,
    dropped: bool,
}

impl BucketFixture {
    pub(crate) fn new(seed: u64) -> Self {
        let entropy = Arc::new(SeededEntropy::new(seed));
        let provider = LocalProvider::from_env_value(&"07".repeat(32), entropy.clone()).unwrap();
        let (keys, _) = TenantKeys::create(&provider, Incarnation::random(&*entropy), &*entropy).unwrap();
        let uuid = NamespaceUuid::random(&*entropy);
        let (keyspace, _) = Keyspace::create(&keys, KeyspaceKind::Namespace, uuid, &*entropy).unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000)));
        Self { store: Arc::new(InMemory::new()), keyspace: Arc::new(keyspace), clock, entropy }
    }

    pub(crate) async fn open(&self) -> Result<Node, Error> {
        self.open_over(self.store.clone(), None).await
    }

    /// Opens the keyspace through `store`, optionally resuming a session.
    pub(crate) async fn open_over(
        &self,
        store: Arc<dyn ObjectStore>,
        session: Option<WriterSession>,
    ) -> Result<Node, Error> {
        let storage = Storage::remote(store.clone(), store, Blocking::Inline).await?;
        let (keyspace, clock, entropy) = (self.keyspace.clone(), self.clock.clone(), self.entropy.clone());
        let opened = Journal::resume(&storage, keyspace, clock, entropy, session).await?;
        let (journal, Recovered { checkpoint, entries, dropped }) = opened;
        let mut state = checkpoint.map(|body| decode(&body)).unwrap_or_default();
        for (seq, body) in entries {
            assert_eq!(seq.0, state.len() as u64 + 1, "entries follow the checkpoint without a gap");
            state.push(body.to_vec());
        }
        assert_eq!(journal.last().0, state.len() as u64);
        Ok(Node { journal, state, dropped })
    }

    pub(crate) async fn names(&self) -> Vec<Name> {
        let prefix = self.keyspace.prefix();
        let metas: Vec<_> = self.store.list(Some(&Key::from(prefix.as_str()))).try_collect().await.unwrap();
        let mut names: Vec<_> =
            metas.iter().map(|m| Name::parse(m.location.as_ref().strip_prefix(&prefix).unwrap()).unwrap()).collect();
        names.sort_unstable();
        names
    }

    pub(crate) fn key(&self, name: Name) -> Key {
        Key::from(format!("{}{name}", self.keyspace.prefix()))
    }

    /// Puts an object after the one before it, which requires the key.
    pub(crate) async fn forge(&self, id: LogFileId, record: Record, entropy: SeededEntropy) {
        let storage = Storage::remote(self.store.clone(), self.store.clone(), Blocking::Inline).await.unwrap();
        let (keyspace, prefix) = (self.keyspace.clone(), self.keyspace.prefix());
        let env = JournalEnv { storage, keyspace, clock: self.clock.clone(), entropy: Arc::new(entropy), prefix };
        let before = self.key(Name::Log(LogFileId { number: id.number - 1, ..id }));
        let before = self.store.get(&before).await.unwrap().bytes().await.unwrap();
        let bytes = LogSlot { id, previous: digest(&env, &before), record }.seal(&env).unwrap();
        self.store.put(&self.key(Name::Log(id)), bytes.into()).await.unwrap();
    }
}

impl Node {
    pub(crate) async fn append(&mut self, body: &[u8]) -> Result<(), Error> {
        let seq = self.journal.append(Plaintext::from(body)).await?;
        self.state.push(body.to_vec());
        assert_eq!(seq.0, self.state.len() as u64);
        Ok(())
    }

    pub(crate) async fn checkpoint(&self, covers: usize) -> Result<(), Error> {
        self.journal.checkpoint(&encode(&self.state[..covers]), Seq(covers as u64)).await
    }
}

fn encode(state: &[Vec<u8>]) -> Vec<u8> {
    state.iter().flat_map(|body| [&(body.len() as u32).to_le_bytes()[..], body].concat()).collect()
}

fn decode(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let (body, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        out.push(body.to_vec());
        bytes = rest;
    }
    out
}

pub(crate) fn assert_stopped<T: std::fmt::Debug>(outcome: Result<T, Error>, expected: Stopped) {
    assert!(matches!(&outcome, Err(Error::Stopped { why, .. }) if *why == expected), "{outcome:?}");
}

#[tokio::test]
async fn reading_leaves_no_object_and_writing_one_per_group() {
    let fixture = BucketFixture::new(1);
    drop(fixture.open().await.unwrap());
    assert_eq!(fixture.names().await, []);
    let mut node = fixture.open().await.unwrap();
    for i in 0..5u8 {
        node.append(&[i; 50]).await.unwrap();
    }
    assert_eq!(fixture.names().await.len(), 1 + 1 + 5, "the claim, the first point, and one object an entry");
    assert_eq!(fixture.open().await.unwrap().state, node.state);
}

#[tokio::test]
async fn a_checkpoint_truncates_the_log_and_keeps_what_it_does_not_cover() {
    for large in [0, limits::CHECKPOINT_INLINE_BYTES_MAX] {
        let fixture = BucketFixture::new(2);
        let mut node = fixture.open().await.unwrap();
        node.append(&vec![7; large]).await.unwrap();
        for i in 0..6u8 {
            node.append(&[i; 50]).await.unwrap();
        }
        node.checkpoint(5).await.unwrap();
        assert_eq!(fixture.open().await.unwrap().state, node.state);
        node.append(b"after it").await.unwrap();
        let before = fixture.names().await.len();
        node.checkpoint(8).await.unwrap();
        let names = fixture.names().await;
        assert!(names.len() < before, "{names:?}");
        let is_object = usize::from(large > 0);
        assert_eq!(names.iter().filter(|name| matches!(name, Name::Checkpoint(_))).count(), is_object);
        assert_eq!(names.iter().filter(|name| matches!(name, Name::Log(_))).count(), 1, "the point alone");
        // An immediate second checkpoint that covers nothing new must not lose its object to the sweep.
        node.checkpoint(8).await.unwrap();
        assert_eq!(fixture.open().await.unwrap().state, node.state);
    }
}

/// Regression test: a checkpoint's object was stored but its reply was lost. The next checkpoint at the same position
/// used to take the same name, and the log then named bytes that did not open.
#[tokio::test]
async fn an_orphaned_checkpoint_object_is_not_reused() {
    let fixture = BucketFixture::new(12);
    let mut node = fixture.open().await.unwrap();
    node.append(&vec![7; limits::CHECKPOINT_INLINE_BYTES_MAX]).await.unwrap();
    let orphan = fixture.key(Name::Checkpoint(crate::names::LogFileId { epoch: kernel::LogEpoch(1), number: 3 }));
    fixture.store.put(&orphan, "sealed by an attempt of unknown outcome".into()).await.unwrap();
    let outcome = node.checkpoint(1).await;
    assert_eq!(fixture.open().await.unwrap().state, node.state, "{outcome:?}");
    node.checkpoint(1).await.unwrap();
    node.append(b"and on").await.unwrap();
    assert_eq!(fixture.open().await.unwrap().state, node.state);
}

#[tokio::test]
async fn an_overtaken_writer_stops_and_nothing_is_lost() {
    let fixture = BucketFixture::new(3);
    let mut old = fixture.open().await.unwrap();
    old.append(b"one").await.unwrap();
    old.journal.check().await.unwrap();
    let mut new = fixture.open().await.unwrap();
    old.append(b"two").await.unwrap();
    assert_stopped(new.append(b"three").await, Stopped::Outdated);
    let mut new = fixture.open().await.unwrap();
    assert_eq!(new.state, [b"one".to_vec(), b"two".to_vec()]);
    new.append(b"three").await.unwrap();
    assert_stopped(old.journal.check().await, Stopped::Fenced);
    assert_stopped(old.append(b"never").await, Stopped::Fenced);
    assert_stopped(old.checkpoint(1).await, Stopped::Fenced);
    assert_eq!(fixture.open().await.unwrap().state, new.state);
}

#[tokio::test]
async fn an_overtaken_writer_finds_a_seal_at_its_next_write() {
    let fixture = BucketFixture::new(4);
    let mut old = fixture.open().await.unwrap();
    old.append(b"one").await.unwrap();
    let mut new = fixture.open().await.unwrap();
    new.append(b"two").await.unwrap();
    assert_stopped(old.append(b"never").await, Stopped::Fenced);
    let mut third = fixture.open().await.unwrap();
    third.append(b"three").await.unwrap();
    assert_stopped(new.checkpoint(2).await, Stopped::Fenced);
    assert_eq!(fixture.open().await.unwrap().state, [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
}

#[tokio::test]
async fn a_reader_detects_later_writes() {
    let fixture = BucketFixture::new(5);
    let mut writer = fixture.open().await.unwrap();
    let empty = fixture.open().await.unwrap();
    empty.journal.check().await.unwrap();
    writer.append(b"one").await.unwrap();
    assert_stopped(empty.journal.check().await, Stopped::Outdated);
    let reader = fixture.open().await.unwrap();
    reader.journal.check().await.unwrap();
    writer.append(b"two").await.unwrap();
    writer.checkpoint(2).await.unwrap();
    assert_stopped(reader.journal.check().await, Stopped::Outdated);
}

#[tokio::test]
async fn many_take_overs_leave_a_claim_and_a_seal_each() {
    let fixture = BucketFixture::new(6);
    let mut state = Vec::new();
    for round in 0..8u8 {
        let mut node = fixture.open().await.unwrap();
        assert_eq!(node.state, state);
        node.append(&[round; 20]).await.unwrap();
        if round % 3 == 2 {
            node.checkpoint(node.state.len() - 1).await.unwrap();
        }
        state = node.state.clone();
    }
    let mut node = fixture.open().await.unwrap();
    node.append(b"last").await.unwrap();
    node.checkpoint(9).await.unwrap();
    let names = fixture.names().await;
    assert_eq!(names.iter().filter(|name| matches!(name, Name::Claim(_))).count(), 9);
    assert_eq!(names.iter().filter(|name| matches!(name, Name::Log(_))).count(), 8 + 1, "{names:?}");
    assert_eq!(fixture.open().await.unwrap().state, node.state);
}

#[tokio::test]
async fn a_sweep_never_deletes_objects_of_a_live_writer() {
    let fixture = BucketFixture::new(7);
    let mut owner = fixture.open().await.unwrap();
    owner.append(b"one").await.unwrap();
    let orphan = owner.journal.put(ObjectKind::Segment, b"left by a crash").await.unwrap();
    drop(owner);
    let mut owner = fixture.open().await.unwrap();
    let reader = fixture.open().await.unwrap();
    owner.append(b"two").await.unwrap();
    let kept = owner.journal.put(ObjectKind::Segment, b"kept").await.unwrap();
    assert_eq!(reader.journal.sweep(&[]).await.unwrap(), 0, "a journal without a claim sweeps nothing");
    let mut next = fixture.open().await.unwrap();
    next.append(b"three").await.unwrap();
    let fresh = next.journal.put(ObjectKind::Segment, b"a successor's").await.unwrap();
    assert_eq!(
        owner.journal.sweep(std::slice::from_ref(&kept)).await.unwrap(),
        1,
        "it does not know of its successor yet"
    );
    assert_eq!(*next.journal.get(&fresh).await.unwrap(), *b"a successor's");
    assert!(matches!(next.journal.get(&orphan).await, Err(Error::Corrupt { .. })));
    assert_eq!(next.journal.sweep(std::slice::from_ref(&fresh)).await.unwrap(), 1, "the object of its predecessor");
}

#[tokio::test]
async fn a_destroyed_keyspace_is_gone_for_every_process() {
    let fixture = BucketFixture::new(8);
    let mut node = fixture.open().await.unwrap();
    node.append(b"one").await.unwrap();
    node.checkpoint(1).await.unwrap();
    node.journal.put(ObjectKind::Segment, b"object").await.unwrap();
    let mut other = fixture.open().await.unwrap();
    node.journal.destroy().await.unwrap();
    assert_eq!(fixture.names().await, []);
    assert_stopped(node.append(b"no").await, Stopped::Dropped);
    // This node may write into the removed keyspace, which no process opens again, since its key is gone by then.
    drop(other.append(b"late").await);

    let fixture = BucketFixture::new(9);
    let mut node = fixture.open().await.unwrap();
    node.append(b"one").await.unwrap();
    let tombstone = fixture.key(Name::Tombstone);
    fixture.store.put(&tombstone, "ringfence tombstone 0\n".into()).await.unwrap();
    let again = fixture.open().await.unwrap();
    assert!(again.dropped);
    again.journal.destroy().await.unwrap();
    assert_eq!(fixture.names().await, []);
    assert_stopped(other.journal.check().await, Stopped::Outdated);
}

#[tokio::test]
async fn every_changed_lost_or_moved_object_is_detected() {
    let fixture = BucketFixture::new(10);
    let mut node = fixture.open().await.unwrap();
    for i in 0..3u8 {
        node.append(&[i; 30]).await.unwrap();
    }
    node.checkpoint(2).await.unwrap();
    node.append(&[3; 30]).await.unwrap();
    let mut node = fixture.open().await.unwrap();
    for i in 4..7u8 {
        node.append(&[i; 30]).await.unwrap();
    }
    let state = node.state.clone();
    let logs: Vec<Name> = fixture.names().await.into_iter().filter(|name| matches!(name, Name::Log(_))).collect();
    let newest = *logs.last().unwrap();
    let seal = logs.iter().rfind(|name| name.epoch() < newest.epoch());
    let mut others = logs.iter().cycle().skip(1);
    let mut detected = 0;
    for name in &logs {
        let key = fixture.key(*name);
        let good = fixture.store.get(&key).await.unwrap().bytes().await.unwrap();
        let mut bad: Vec<Vec<u8>> = (0..good.len()).map(|at| flipped(&good, at)).collect();
        bad.push(good[..good.len() - 1].to_vec());
        bad.push([&good[..], b"x"].concat());
        let other = fixture.key(*others.next().unwrap());
        bad.push(fixture.store.get(&other).await.unwrap().bytes().await.unwrap().to_vec());
        for bytes in bad {
            fixture.store.put(&key, bytes.into()).await.unwrap();
            let found = fixture.open().await.map(|node| node.state);
            assert!(matches!(found, Err(Error::Corrupt { .. })), "{name}: {found:?}");
            detected += 1;
        }
        fixture.store.delete(&key).await.unwrap();
        match fixture.open().await.map(|node| node.state) {
            Err(Error::Corrupt { .. }) => {}
            // Without its last object the keyspace is in an older state, which cannot be detected from inside. A seal
            // is there for a writer that wakes up, not for readers.
            Ok(older) if *name == newest => assert_eq!(older, state[..6]),
            Ok(same) => assert!(Some(name) == seal && same == state, "{name} is gone"),
            Err(other) => panic!("{other:?}"),
        }
        fixture.store.put(&key, good.into()).await.unwrap();
    }
    assert!(detected > 1_000, "{detected}");
    assert_eq!(fixture.open().await.unwrap().state, state);
}

fn flipped(good: &[u8], at: usize) -> Vec<u8> {
    let mut bad = good.to_vec();
    bad[at] ^= 1 << (at % 8);
    bad
}

#[tokio::test]
async fn another_format_is_refused_by_name() {
    let store = Arc::new(InMemory::new());
    store.put(&Key::from("FORMAT"), "ringfence data, format 7\n".into()).await.unwrap();
    let refused = Storage::remote(store.clone(), store, Blocking::Inline).await.err().unwrap();
    assert!(refused.to_string().contains("format 7"), "{refused}");
}
