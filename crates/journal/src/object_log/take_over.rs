//! Becoming the writer of a place in a bucket.
//!
//! 1. claim: an epoch that nobody has, put if absent: a crash leaves a claim that nobody uses
//! 2. seal: the epoch of the newest point behind its last object, and every later one at its first,
//!    in ascending order. Their writers may go on until then; from then on they may not. A listing is
//!    no moment's picture, and a writer may cut its log while we look at it: so after each seal all is
//!    looked at again, and it is done when one look finds every seal where it belongs.
//! 3. what stands there now must be what we have read: otherwise this place is opened again
//! 4. our first object: a newer claimer may have sealed this epoch before it began
//!
//! A crash anywhere leaves claims and seals, which cost a name each and are kept: a writer that
//! sleeps for a year must find the seal when it wakes.

use super::{
    ObjectLog,
    read::{Opened, is_cut, log_id, newest_point, read_slots},
    slot::{Record, Slot},
};
use crate::{
    Error, Stopped,
    bucket::Created,
    names::{Name, PartId},
};
use kernel::{LogEpoch, ObjectUuid};
use std::collections::{BTreeMap, BTreeSet};

impl ObjectLog {
    /// Takes the place over; see the module.
    ///
    /// # Errors
    /// `Stopped`: open the place again. `Store`: it may be tried again.
    pub(super) async fn take_over(&mut self) -> Result<LogEpoch, Error> {
        let names = self.bucket.list(&self.place.prefix, "", "listing a place").await?;
        if names.contains(&Name::Tombstone) {
            return Err(self.stop(Stopped::Dropped));
        }
        let newest = names.iter().filter_map(|name| name.epoch()).max().unwrap_or_default();
        let epoch = self.put_claim(newest.max(self.newest).next()).await?;
        self.newest = epoch;
        let sealed = self.seal_older(epoch).await?;
        if sealed.end != self.end {
            return Err(self.stop(Stopped::Behind));
        }
        let id = PartId { epoch, part: 1 };
        let checkpoint = self.checkpoint;
        let floor = self.floor(checkpoint.as_ref(), id);
        self.litter = litter(&sealed.seen, floor);
        self.litter.retain(|id| !self.kept.iter().any(|kept| kept.id == *id));
        self.put(id, Record::Point { before: self.last, floor, checkpoint, body: None }).await?;
        self.epoch = Some(epoch);
        tracing::debug!(place = ?self.place.home.kind(), uuid = %self.place.home.uuid(), %epoch, "took a place over");
        Ok(epoch)
    }

    /// Claims this epoch, or the first one behind it that is free.
    async fn put_claim(&self, mut epoch: LogEpoch) -> Result<LogEpoch, Error> {
        loop {
            let nonce = ObjectUuid::random(&*self.place.entropy);
            let text = format!("ringfence claim 0\nnonce {nonce}\nat {}\n", self.place.clock.now());
            let name = self.place.name(Name::Claim(epoch));
            match self.bucket.create(&name, text.into_bytes(), "claiming an epoch").await? {
                Created::Ours => return Ok(epoch),
                Created::Taken => epoch = epoch.next(),
            }
        }
    }

    /// Ends every older epoch that is not over yet.
    async fn seal_older(&mut self, ours: LogEpoch) -> Result<Sealed, Error> {
        loop {
            let names = self.bucket.list(&self.place.prefix, "log", "listing the log").await?;
            let seen: BTreeSet<PartId> = names.iter().filter_map(log_id).collect();
            if seen.last().is_some_and(|id| id.epoch >= ours) {
                return Err(self.stop(Stopped::Fenced));
            }
            // Read after the listing, each time: what an earlier look found may be collected by now.
            let mut slots = BTreeMap::new();
            let point = newest_point(&self.place, &self.bucket, &seen, &mut slots).await?;
            if point.is_none() && is_cut(&self.place, &self.bucket).await? {
                return Err(self.stop(Stopped::Behind));
            }
            let mut end = point;
            let mut at = point.map_or(PartId { epoch: LogEpoch(1), part: 1 }, behind);
            let missing = loop {
                if at.epoch >= ours {
                    break None;
                }
                if !slots.contains_key(&at) {
                    read_slots(&self.place, &self.bucket, &[at], &mut slots).await?;
                }
                match record(&slots, at) {
                    Some(Record::Seal(_)) => at = PartId { epoch: at.epoch.next(), part: 1 },
                    Some(Record::Entries(..) | Record::Drop) if end.is_some_and(|end| behind(end) == at) => {
                        end = Some(at);
                        at = behind(at);
                    }
                    None => break Some(at),
                    // A newer state than the listing showed.
                    Some(_) => return Err(self.stop(Stopped::Behind)),
                }
            };
            let Some(at) = missing else { return Ok(Sealed { end, seen }) };
            let seal = Slot { id: at, previous: [0; 32], record: Record::Seal(ours) }.seal(&self.place)?;
            // Whether it was created or somebody came first, the next look tells what counts.
            self.bucket.create(&self.place.name(Name::Log(at)), seal, "sealing an epoch").await?;
        }
    }
}

/// The log when every older epoch has ended.
struct Sealed {
    /// The last object before the seals.
    end: Option<PartId>,
    /// What the last look listed.
    seen: BTreeSet<PartId>,
}

/// What earlier owners did not come to delete: everything below the floor but the seals. Of an epoch
/// that the floor has left the last object is its seal.
pub(super) fn litter(seen: &BTreeSet<PartId>, floor: PartId) -> Vec<PartId> {
    let is_last = |id: PartId| seen.range(behind(id)..).next().is_none_or(|next| next.epoch != id.epoch);
    seen.range(..floor).copied().filter(|id| id.epoch == floor.epoch || !is_last(*id)).collect()
}

fn behind(id: PartId) -> PartId {
    PartId { part: id.part + 1, ..id }
}

fn record(slots: &BTreeMap<PartId, Opened>, id: PartId) -> Option<&Record> {
    slots.get(&id).map(|opened| &opened.slot.record)
}
