//! Reading a place's log from a bucket while others may write to it, collect it or take it over.
//!
//! A listing is not one moment's picture: what was put before it began is in it, what was put or
//! deleted meanwhile may be. So the run of objects behind the newest point is followed by asking for
//! the next one until there is none, and whatever vanishes while it is read means: begin again.

use super::slot::{Digest, Record, Slot, digest};
use crate::{
    Error, Tenancy,
    bucket::Bucket,
    file_log::opening::Pointer,
    log::{Place, corrupt},
    names::{Name, PartId},
};
use futures::{StreamExt, TryStreamExt};
use kernel::{LogEpoch, Plaintext};
use std::collections::{BTreeMap, BTreeSet};
use vault::ObjectKind;

/// An object that a replay needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) id: PartId,
    /// Last entry in it or before it.
    pub(crate) last: u64,
    /// Sealed size.
    pub(crate) bytes: u64,
}

/// What a place holds.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The last object of the run behind the newest point; none for a new place.
    pub(crate) end: Option<PartId>,
    /// Of that object.
    pub(crate) end_digest: Digest,
    /// The newest checkpoint.
    pub(crate) checkpoint: Option<Pointer>,
    /// Its body.
    pub(crate) body: Option<Plaintext>,
    /// Entries behind it.
    pub(crate) entries: Vec<(u64, Plaintext)>,
    /// Last entry.
    pub(crate) last: u64,
    /// Objects from the floor to the end, in order.
    pub(crate) kept: Vec<Kept>,
    /// Every object of the log that the listing showed or the run added.
    pub(crate) seen: BTreeSet<PartId>,
    /// The newest point and its digest: while it stands, nothing behind it was collected.
    pub(crate) anchor: Option<(PartId, Digest)>,
    /// Something of the log was deleted once.
    pub(crate) cut: bool,
    /// The newest epoch that anything stands under.
    pub(crate) newest: LogEpoch,
    /// The epoch of the end is over: a seal stands behind it.
    pub(crate) sealed: bool,
    /// The place is being destroyed.
    pub(crate) dropped: bool,
}

impl State {
    /// Whether nobody has written, sealed, claimed or destroyed since the place was left.
    pub(crate) fn is_as_left(&self, left: &Tenancy) -> bool {
        !self.dropped
            && !self.sealed
            && self.newest == left.end.epoch
            && self.end == Some(left.end)
            && self.end_digest == left.end_digest
    }
}

/// An object, opened, with what is needed of its bytes.
pub(crate) struct Opened {
    pub(crate) slot: Slot,
    pub(crate) digest: Digest,
    pub(crate) bytes: u64,
}

/// Reads the place.
///
/// # Errors
/// `Corrupt`, `Store`.
pub(crate) async fn read_state(place: &Place, bucket: &Bucket) -> Result<State, Error> {
    let (mut odd, mut times) = (None, 0);
    for _ in 0..LOOKS_MAX {
        let names = bucket.list(&place.prefix, "", "listing a place").await?;
        let why = match look(place, bucket, &names).await? {
            Ok(state) => return Ok(state),
            Err(why) => Some(why),
        };
        times = if odd == why { times + 1 } else { 1 };
        odd = why;
        if let Some((id, why)) = odd.filter(|_| times == SAME_LOOKS) {
            return Err(corrupt(place, Name::Log(id), id.epoch, 0, why));
        }
    }
    let source = "the place changes faster than it can be read".into();
    let source = object_store::Error::Generic { store: "object store", source };
    Err(Error::Store { what: "reading a place", source })
}

/// What does not fit together: either it changed while we read, or somebody damaged it.
type Odd = (PartId, &'static str);

async fn look(place: &Place, bucket: &Bucket, names: &[Name]) -> Result<Result<State, Odd>, Error> {
    let newest = names.iter().filter_map(|name| name.epoch()).max().unwrap_or_default();
    let seen: BTreeSet<PartId> = names.iter().filter_map(log_id).collect();
    if names.contains(&Name::Tombstone) {
        return Ok(Ok(State { dropped: true, newest, seen, ..State::default() }));
    }
    let mut slots = BTreeMap::new();
    let Some(point) = newest_point(place, bucket, &seen, &mut slots).await? else {
        // A listing may show the old log too late and the new one too early. Then the mark stands.
        if let Some(odd) = names.iter().find_map(orphan) {
            return Ok(Err(odd));
        }
        if is_cut(place, bucket).await? {
            return Ok(Err((NOWHERE, "there was a log and no point of it is there")));
        }
        return Ok(Ok(State { newest, seen, ..State::default() }));
    };
    let Some(Opened { slot: Slot { record: Record::Point { floor, .. }, .. }, digest, .. }) = slots.get(&point) else {
        return Ok(Err((point, "the newest point vanished")));
    };
    let (floor, anchor) = (*floor, (point, *digest));
    // What stands behind it and is no seal is a newer state, which we did not see whole.
    let newer = seen.range(point..).skip(1).filter(|id| id.epoch > point.epoch);
    for id in newer {
        if !matches!(slots.get(id).map(|opened| &opened.slot.record), Some(Record::Seal(_))) {
            return Ok(Err((*id, "a record of a newer epoch without its point")));
        }
    }
    if let Some(gone) = seen.range(point..).find(|id| id.epoch == point.epoch && !slots.contains_key(id)) {
        return Ok(Err((*gone, "an object of the log vanished")));
    }
    let missing: Vec<PartId> =
        seen.range(floor..).filter(|id| **id <= point && !slots.contains_key(id)).copied().collect();
    read_slots(place, bucket, &missing, &mut slots).await?;
    let mut next = PartId { epoch: point.epoch, part: point.part + 1 };
    loop {
        if !slots.contains_key(&next) {
            read_slots(place, bucket, &[next], &mut slots).await?;
        }
        match slots.get(&next).map(|opened| &opened.slot.record) {
            None | Some(Record::Seal(_)) => break,
            // Another checkpoint while we read: what it made needless may be gone already.
            Some(Record::Point { .. }) => return Ok(Err((next, "a newer point than the newest"))),
            Some(_) => next.part += 1,
        }
    }
    // One object is on its way at a time, so behind the first that is not there none is.
    let behind = seen.range(next..).find(|id| id.epoch == next.epoch && **id != next);
    if let Some(behind) = behind {
        return Ok(Err((*behind, "the object before it is not there")));
    }
    let cut = names.contains(&Name::Cut);
    let sealed = slots.contains_key(&next);
    let state = State { newest, seen, cut, sealed, anchor: Some(anchor), ..State::default() };
    let state = replay(place, bucket, slots, floor, next, state).await?;
    // What was not there may have been collected; but not while this point is the newest.
    if state.is_ok() && !stands(place, bucket, anchor).await? {
        return Ok(Err((point, "the newest point was collected meanwhile")));
    }
    Ok(state)
}

/// Whether the point is still there, and still that one: a seal may stand in its place.
pub(crate) async fn stands(place: &Place, bucket: &Bucket, anchor: (PartId, Digest)) -> Result<bool, Error> {
    let bytes = bucket.read(&place.name(Name::Log(anchor.0)), "reading the log").await?;
    Ok(bytes.is_some_and(|bytes| digest(place, &bytes) == anchor.1))
}

/// Whether something of the log was deleted once.
pub(crate) async fn is_cut(place: &Place, bucket: &Bucket) -> Result<bool, Error> {
    Ok(bucket.read(&place.name(Name::Cut), "reading a mark").await?.is_some())
}

/// Puts what was read in order, from the floor to `end` (not in it).
async fn replay(
    place: &Place,
    bucket: &Bucket,
    slots: BTreeMap<PartId, Opened>,
    floor: PartId,
    end: PartId,
    mut state: State,
) -> Result<Result<State, Odd>, Error> {
    let mut run = Run { last: None, before: None };
    let mut bodies = BTreeMap::new();
    let mut sealed = None;
    for (id, opened) in slots.into_iter().filter(|(id, _)| (floor..end).contains(id)) {
        state.seen.insert(id);
        if sealed == Some(id.epoch) {
            // Behind a seal: never acknowledged.
            continue;
        }
        if matches!(opened.slot.record, Record::Seal(_)) {
            sealed = Some(id.epoch);
            continue;
        }
        if state.dropped {
            return Ok(Err((id, "a record behind the end of the place")));
        }
        if let Err(why) = run.follow(&opened) {
            return Ok(Err((id, why)));
        }
        match opened.slot.record {
            Record::Point { checkpoint, body, .. } => {
                state.checkpoint = checkpoint;
                bodies.extend(body.map(|body| (id, body)));
            }
            Record::Entries(first, bodies) => state.entries.extend((first..).zip(bodies)),
            Record::Seal(_) => {}
            Record::Drop => state.dropped = true,
        }
        state.last = run.last.unwrap_or(0);
        (state.end, state.end_digest) = (Some(id), opened.digest);
        state.kept.push(Kept { id, last: state.last, bytes: opened.bytes });
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
            let sealed = bucket.read(&place.name(name), "reading a checkpoint").await?;
            let wrong = |_| corrupt(place, name, pointer.id.epoch, 0, "the checkpoint does not open");
            sealed
                .map(|sealed| place.home.open_whole(ObjectKind::Checkpoint, uuid, &sealed).map_err(wrong))
                .transpose()?
        }
    };
    if state.body.is_none() {
        return Ok(Err((pointer.id, "the checkpoint that the log names is not there")));
    }
    Ok(Ok(state))
}

/// What the next record must fit to.
struct Run {
    last: Option<u64>,
    before: Option<(PartId, Digest)>,
}

impl Run {
    fn follow(&mut self, opened: &Opened) -> Result<(), &'static str> {
        let id = opened.slot.id;
        if let Some((before, digest)) = self.before {
            let next = id.epoch == before.epoch && id.part == before.part + 1;
            let taken_over = id.epoch > before.epoch && id.part == 1;
            if !next && !taken_over {
                return Err("an object of the log is not there");
            }
            if opened.slot.previous != digest {
                return Err("it does not follow the one before it");
            }
        }
        let stands = match &opened.slot.record {
            Record::Point { before, .. } => (*before, *before),
            Record::Entries(first, bodies) => (first.saturating_sub(1), first.saturating_sub(1) + bodies.len() as u64),
            Record::Seal(_) | Record::Drop => (self.last.unwrap_or(0), self.last.unwrap_or(0)),
        };
        if self.last.is_some_and(|last| last != stands.0) {
            return Err("its entries do not follow those before it");
        }
        self.last = Some(stands.1);
        self.before = Some((id, opened.digest));
        Ok(())
    }
}

/// The newest point: of the newest epoch that has one. What was read on the way goes into `slots`.
pub(crate) async fn newest_point(
    place: &Place,
    bucket: &Bucket,
    seen: &BTreeSet<PartId>,
    slots: &mut BTreeMap<PartId, Opened>,
) -> Result<Option<PartId>, Error> {
    let epochs: BTreeSet<LogEpoch> = seen.iter().map(|id| id.epoch).collect();
    for epoch in epochs.into_iter().rev() {
        let ids: Vec<PartId> = seen.iter().filter(|id| id.epoch == epoch).copied().collect();
        read_slots(place, bucket, &ids, slots).await?;
        let point = ids
            .into_iter()
            .rev()
            .find(|id| slots.get(id).is_some_and(|opened| matches!(opened.slot.record, Record::Point { .. })));
        if point.is_some() {
            return Ok(point);
        }
    }
    Ok(None)
}

/// Reads those that are there.
pub(crate) async fn read_slots(
    place: &Place,
    bucket: &Bucket,
    ids: &[PartId],
    slots: &mut BTreeMap<PartId, Opened>,
) -> Result<(), Error> {
    let reads = ids.iter().filter(|id| !slots.contains_key(id)).map(|id| read_slot(place, bucket, *id));
    let reads: Vec<_> = reads.collect();
    let read: Vec<Option<Opened>> = futures::stream::iter(reads).buffer_unordered(READS_AT_ONCE).try_collect().await?;
    slots.extend(read.into_iter().flatten().map(|opened| (opened.slot.id, opened)));
    Ok(())
}

/// One object of the log; `None` when it is not there.
pub(crate) async fn read_slot(place: &Place, bucket: &Bucket, id: PartId) -> Result<Option<Opened>, Error> {
    let Some(bytes) = bucket.read(&place.name(Name::Log(id)), "reading the log").await? else { return Ok(None) };
    let slot = Slot::open(place, id, &bytes)?;
    Ok(Some(Opened { slot, digest: digest(place, &bytes), bytes: bytes.len() as u64 }))
}

pub(crate) fn log_id(name: &Name) -> Option<PartId> {
    if let Name::Log(id) = name { Some(*id) } else { None }
}

/// A checkpoint without any log.
fn orphan(name: &Name) -> Option<Odd> {
    if let Name::Checkpoint(id) = name { Some((*id, "there are checkpoints and no log")) } else { None }
}

/// Looks at a place that changes under each of them.
const LOOKS_MAX: usize = 20;
/// The same oddity so often in a row is damage.
const SAME_LOOKS: usize = 3;
/// For what has no name.
const NOWHERE: PartId = PartId { epoch: LogEpoch(0), part: 0 };
/// Requests under way at once.
const READS_AT_ONCE: usize = 16;
