//! Reading a keyspace's log from a bucket while other processes may write to it, delete from it or take it over.
//!
//! A listing is not a snapshot of one moment: it contains what was put before it began, and may or may not contain what
//! was put or deleted during it. The run of objects after the newest checkpoint record is therefore followed by
//! requesting the next object until there is none, and if anything vanishes during the read, the read starts again.

use super::slot::{Digest, LogSlot, Record, digest};
use crate::{
    Error, WriterSession,
    bucket::Bucket,
    file_log::file_header::CheckpointRef,
    log::{JournalEnv, corrupt},
    names::{LogFileId, Name},
};
use futures::{StreamExt, TryStreamExt};
use kernel::{LogEpoch, Plaintext};
use std::collections::{BTreeMap, BTreeSet};
use vault::ObjectKind;

/// An object that a replay needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetainedObject {
    pub(crate) id: LogFileId,
    /// Number of the last entry in this object or before it.
    pub(crate) last: u64,
    /// Sealed size in bytes.
    pub(crate) bytes: u64,
}

/// Contents of a keyspace.
#[derive(Debug, Default)]
pub(crate) struct LogSnapshot {
    /// The last object of the run after the newest checkpoint record; `None` for a new keyspace.
    pub(crate) end: Option<LogFileId>,
    /// Digest of that object.
    pub(crate) end_digest: Digest,
    /// The newest checkpoint.
    pub(crate) checkpoint: Option<CheckpointRef>,
    /// Body of the newest checkpoint.
    pub(crate) body: Option<Plaintext>,
    /// Entries after the checkpoint.
    pub(crate) entries: Vec<(u64, Plaintext)>,
    /// Number of the last entry.
    pub(crate) last: u64,
    /// Objects from the floor to the end, in order.
    pub(crate) retained: Vec<RetainedObject>,
    /// Every object of the log that the listing showed or that the run added.
    pub(crate) known: BTreeSet<LogFileId>,
    /// The newest checkpoint record and its digest: while it exists, nothing after it was deleted.
    pub(crate) anchor: Option<(LogFileId, Digest)>,
    /// Whether something of the log was deleted once.
    pub(crate) truncated: bool,
    /// The newest epoch of anything in the keyspace.
    pub(crate) newest: LogEpoch,
    /// Whether the epoch of the end is over, because a seal follows it.
    pub(crate) sealed: bool,
    /// Whether the keyspace is being destroyed.
    pub(crate) dropped: bool,
}

impl LogSnapshot {
    /// Whether no process has written, sealed, claimed or destroyed since the session detached.
    pub(crate) fn is_unchanged_since(&self, session: &WriterSession) -> bool {
        !self.dropped
            && !self.sealed
            && self.newest == session.end.epoch
            && self.end == Some(session.end)
            && self.end_digest == session.end_digest
    }
}

/// An opened object, with its digest and size.
pub(crate) struct OpenedSlot {
    pub(crate) slot: LogSlot,
    pub(crate) digest: Digest,
    pub(crate) bytes: u64,
}

/// Reads the keyspace.
///
/// # Errors
/// `Corrupt`, `Store`.
pub(crate) async fn read_snapshot(env: &JournalEnv, bucket: &Bucket) -> Result<LogSnapshot, Error> {
    let (mut inconsistency, mut repeats) = (None, 0);
    for _ in 0..READ_ATTEMPTS_MAX {
        let names = bucket.list(&env.prefix, "", "listing a keyspace").await?;
        let why = match read_once(env, bucket, &names).await? {
            Ok(state) => return Ok(state),
            Err(why) => Some(why),
        };
        repeats = if inconsistency == why { repeats + 1 } else { 1 };
        inconsistency = why;
        if let Some((id, why)) = inconsistency.filter(|_| repeats == SAME_INCONSISTENCY_MAX) {
            return Err(corrupt(env, Name::Log(id), id.epoch, 0, why));
        }
    }
    let source = "the keyspace changes faster than it can be read".into();
    let source = object_store::Error::Generic { store: "object store", source };
    Err(Error::Store { what: "reading a keyspace", source })
}

/// An object that does not fit, and why: either it changed during the read, or it is damaged.
type Inconsistency = (LogFileId, &'static str);

async fn read_once(
    env: &JournalEnv,
    bucket: &Bucket,
    names: &[Name],
) -> Result<Result<LogSnapshot, Inconsistency>, Error> {
    let newest = names.iter().filter_map(|name| name.epoch()).max().unwrap_or_default();
    let known: BTreeSet<LogFileId> = names.iter().filter_map(log_id).collect();
    if names.contains(&Name::Tombstone) {
        return Ok(Ok(LogSnapshot { dropped: true, newest, known, ..LogSnapshot::default() }));
    }
    let mut slots = BTreeMap::new();
    let Some(record_id) = newest_checkpoint_record(env, bucket, &known, &mut slots).await? else {
        // The listing may show neither the old log, already deleted, nor the new one, put during the listing. In that
        // case the marker exists.
        if let Some(inconsistency) = names.iter().find_map(checkpoint_without_log) {
            return Ok(Err(inconsistency));
        }
        if is_truncated(env, bucket).await? {
            return Ok(Err((NO_FILE, "part of a log was deleted, and no checkpoint record exists")));
        }
        return Ok(Ok(LogSnapshot { newest, known, ..LogSnapshot::default() }));
    };
    let Some(OpenedSlot { slot: LogSlot { record: Record::Checkpoint { floor, .. }, .. }, digest, .. }) =
        slots.get(&record_id)
    else {
        return Ok(Err((record_id, "the newest checkpoint record vanished")));
    };
    let (floor, anchor) = (*floor, (record_id, *digest));
    // Newer objects other than seals belong to a newer state, of which the listing showed only some.
    let newer = known.range(record_id..).skip(1).filter(|id| id.epoch > record_id.epoch);
    for id in newer {
        if !matches!(slots.get(id).map(|opened| &opened.slot.record), Some(Record::Seal(_))) {
            return Ok(Err((*id, "a record of a newer epoch without its checkpoint record")));
        }
    }
    if let Some(missing) = known.range(record_id..).find(|id| id.epoch == record_id.epoch && !slots.contains_key(id)) {
        return Ok(Err((*missing, "an object of the log vanished")));
    }
    // Read the older objects that the replay needs; the replay itself detects gaps.
    let missing: Vec<LogFileId> =
        known.range(floor..).filter(|id| **id <= record_id && !slots.contains_key(id)).copied().collect();
    read_slots(env, bucket, &missing, &mut slots).await?;
    let mut next = LogFileId { epoch: record_id.epoch, number: record_id.number + 1 };
    // Follow the run after the record, also past the listing, to the first missing object or seal.
    loop {
        if !slots.contains_key(&next) {
            read_slots(env, bucket, &[next], &mut slots).await?;
        }
        match slots.get(&next).map(|opened| &opened.slot.record) {
            None | Some(Record::Seal(_)) => break,
            // Another checkpoint was installed during the read; what it made obsolete may be deleted already.
            Some(Record::Checkpoint { .. }) => {
                return Ok(Err((next, "a checkpoint record newer than the newest listed one")));
            }
            Some(_) => next.number += 1,
        }
    }
    // A writer has one object in flight at a time, so no object can follow the first missing one.
    let follower = known.range(next..).find(|id| id.epoch == next.epoch && **id != next);
    if let Some(follower) = follower {
        return Ok(Err((*follower, "the object before it is missing")));
    }
    let truncated = names.contains(&Name::TruncationMarker);
    let sealed = slots.contains_key(&next);
    let state = LogSnapshot { newest, known, truncated, sealed, anchor: Some(anchor), ..LogSnapshot::default() };
    let state = replay(env, bucket, slots, floor, next, state).await?;
    // Missing objects may have been deleted during the read, but not while this checkpoint record is the newest.
    if state.is_ok() && !still_exists(env, bucket, anchor).await? {
        return Ok(Err((record_id, "the newest checkpoint record was deleted during the read")));
    }
    Ok(state)
}

/// Whether the checkpoint record still exists with the same bytes: a seal may have replaced it.
pub(crate) async fn still_exists(
    env: &JournalEnv,
    bucket: &Bucket,
    anchor: (LogFileId, Digest),
) -> Result<bool, Error> {
    let bytes = bucket.read(&env.name(Name::Log(anchor.0)), "reading the log").await?;
    Ok(bytes.is_some_and(|bytes| digest(env, &bytes) == anchor.1))
}

/// Whether something of the log was deleted once.
pub(crate) async fn is_truncated(env: &JournalEnv, bucket: &Bucket) -> Result<bool, Error> {
    Ok(bucket.read(&env.name(Name::TruncationMarker), "reading the truncation marker").await?.is_some())
}

/// Replays the objects from `floor` up to but not including `end`.
async fn replay(
    env: &JournalEnv,
    bucket: &Bucket,
    slots: BTreeMap<LogFileId, OpenedSlot>,
    floor: LogFileId,
    end: LogFileId,
    mut state: LogSnapshot,
) -> Result<Result<LogSnapshot, Inconsistency>, Error> {
    let mut chain = RecordChain { last: None, previous: None };
    let mut bodies = BTreeMap::new();
    let mut sealed = None;
    for (id, opened) in slots.into_iter().filter(|(id, _)| (floor..end).contains(id)) {
        state.known.insert(id);
        if sealed == Some(id.epoch) {
            // Objects after a seal were never acknowledged.
            continue;
        }
        if matches!(opened.slot.record, Record::Seal(_)) {
            sealed = Some(id.epoch);
            continue;
        }
        if state.dropped {
            return Ok(Err((id, "a record after the destruction of the keyspace")));
        }
        if let Err(why) = chain.follow(&opened) {
            return Ok(Err((id, why)));
        }
        match opened.slot.record {
            Record::Checkpoint { checkpoint, body, .. } => {
                state.checkpoint = checkpoint;
                bodies.extend(body.map(|body| (id, body)));
            }
            Record::Entries(first, bodies) => state.entries.extend((first..).zip(bodies)),
            Record::Seal(_) => {}
            Record::Drop => state.dropped = true,
        }
        state.last = chain.last.unwrap_or(0);
        (state.end, state.end_digest) = (Some(id), opened.digest);
        state.retained.push(RetainedObject { id, last: state.last, bytes: opened.bytes });
    }
    let covers = state.checkpoint.map_or(0, |pointer| pointer.covers);
    state.entries.retain(|(seq, _)| *seq > covers);
    if state.entries.first().map_or(state.last, |(first, _)| first - 1) != covers {
        return Ok(Err((floor, "the log does not reach back to its checkpoint")));
    }
    let Some(pointer) = state.checkpoint else { return Ok(Ok(state)) };
    state.body = match pointer.uuid {
        None => bodies.remove(&pointer.id),
        Some(uuid) => {
            let name = Name::Checkpoint(pointer.id);
            let sealed = bucket.read(&env.name(name), "reading a checkpoint").await?;
            let wrong = |_| corrupt(env, name, pointer.id.epoch, 0, "the checkpoint does not open");
            sealed
                .map(|sealed| env.keyspace.open_whole(ObjectKind::Checkpoint, uuid, &sealed).map_err(wrong))
                .transpose()?
        }
    };
    if state.body.is_none() {
        return Ok(Err((pointer.id, "the checkpoint that the log names is missing")));
    }
    Ok(Ok(state))
}

/// State that the next record must follow.
struct RecordChain {
    last: Option<u64>,
    previous: Option<(LogFileId, Digest)>,
}

impl RecordChain {
    fn follow(&mut self, opened: &OpenedSlot) -> Result<(), &'static str> {
        let id = opened.slot.id;
        if let Some((previous, digest)) = self.previous {
            let next = id.epoch == previous.epoch && id.number == previous.number + 1;
            let follows_take_over = id.epoch > previous.epoch && id.number == 1;
            if !next && !follows_take_over {
                return Err("an object of the log is missing");
            }
            if opened.slot.previous != digest {
                return Err("it does not follow the previous object");
            }
        }
        let range = match &opened.slot.record {
            Record::Checkpoint { before, .. } => (*before, *before),
            Record::Entries(first, bodies) => (first.saturating_sub(1), first.saturating_sub(1) + bodies.len() as u64),
            Record::Seal(_) | Record::Drop => (self.last.unwrap_or(0), self.last.unwrap_or(0)),
        };
        if self.last.is_some_and(|last| last != range.0) {
            return Err("its entries do not follow the previous ones");
        }
        self.last = Some(range.1);
        self.previous = Some((id, opened.digest));
        Ok(())
    }
}

/// Finds the newest checkpoint record: the last one of the newest epoch that has one. Adds all objects that it reads to
/// `slots`.
pub(crate) async fn newest_checkpoint_record(
    env: &JournalEnv,
    bucket: &Bucket,
    known: &BTreeSet<LogFileId>,
    slots: &mut BTreeMap<LogFileId, OpenedSlot>,
) -> Result<Option<LogFileId>, Error> {
    let epochs: BTreeSet<LogEpoch> = known.iter().map(|id| id.epoch).collect();
    for epoch in epochs.into_iter().rev() {
        let ids: Vec<LogFileId> = known.iter().filter(|id| id.epoch == epoch).copied().collect();
        read_slots(env, bucket, &ids, slots).await?;
        let record_id = ids
            .into_iter()
            .rev()
            .find(|id| slots.get(id).is_some_and(|opened| matches!(opened.slot.record, Record::Checkpoint { .. })));
        if record_id.is_some() {
            return Ok(record_id);
        }
    }
    Ok(None)
}

/// Reads those of the objects that exist and are not in `slots` yet.
pub(crate) async fn read_slots(
    env: &JournalEnv,
    bucket: &Bucket,
    ids: &[LogFileId],
    slots: &mut BTreeMap<LogFileId, OpenedSlot>,
) -> Result<(), Error> {
    let reads = ids.iter().filter(|id| !slots.contains_key(id)).map(|id| read_slot(env, bucket, *id));
    let reads: Vec<_> = reads.collect();
    let read: Vec<Option<OpenedSlot>> =
        futures::stream::iter(reads).buffer_unordered(READS_AT_ONCE).try_collect().await?;
    slots.extend(read.into_iter().flatten().map(|opened| (opened.slot.id, opened)));
    Ok(())
}

/// Reads one object of the log; `None` if it does not exist.
pub(crate) async fn read_slot(env: &JournalEnv, bucket: &Bucket, id: LogFileId) -> Result<Option<OpenedSlot>, Error> {
    let Some(bytes) = bucket.read(&env.name(Name::Log(id)), "reading the log").await? else { return Ok(None) };
    let slot = LogSlot::open(env, id, &bytes)?;
    Ok(Some(OpenedSlot { slot, digest: digest(env, &bytes), bytes: bytes.len() as u64 }))
}

pub(crate) fn log_id(name: &Name) -> Option<LogFileId> {
    if let Name::Log(id) = name { Some(*id) } else { None }
}

/// Reports a checkpoint in a keyspace without any log.
fn checkpoint_without_log(name: &Name) -> Option<Inconsistency> {
    if let Name::Checkpoint(id) = name { Some((*id, "there are checkpoints and no log")) } else { None }
}

/// Maximum number of attempts to read a keyspace that changes during each of them.
const READ_ATTEMPTS_MAX: usize = 20;
/// Number of consecutive attempts with the same inconsistency that prove damage.
const SAME_INCONSISTENCY_MAX: usize = 3;
/// Stands for an object without a name in errors.
const NO_FILE: LogFileId = LogFileId { epoch: LogEpoch(0), number: 0 };
/// Maximum number of concurrent requests.
const READS_AT_ONCE: usize = 16;
