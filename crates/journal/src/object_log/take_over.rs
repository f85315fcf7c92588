//! Becoming the writer of a place in a bucket.
//!
//! 1. claim: an epoch that nobody has, put if absent: a crash leaves a claim that nobody uses
//! 2. seal: every older epoch, from the newest that holds a point, gets a seal behind its last
//!    object. Its writer may go on until then; from then on it may not. A seal counts only if it
//!    stands there after another look: meanwhile the writer may have cut its log, and the seal would
//!    stand in the part that is gone.
//! 3. what stands there now must be what we have read: otherwise this place is opened again
//! 4. our first object: a newer claimer may have sealed this epoch before it began
//!
//! A crash anywhere leaves claims and seals, which cost a name each and are kept: a writer that
//! sleeps for a year must find the seal when it wakes.

use super::{
    ObjectLog,
    read::{log_id, newest_point, read_slots},
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

        let seen: BTreeSet<PartId> = names.iter().filter_map(log_id).collect();
        let base = newest_point(&self.place, &self.bucket, &seen, &mut BTreeMap::new()).await?;
        let first = base.map_or(LogEpoch(1), |point| point.epoch);
        let mut end = None;
        let mut litter = Vec::new();
        for older in (first.0..epoch.0).map(LogEpoch) {
            let sealed = self.seal(older, epoch).await?;
            end = sealed.end.or(end);
            litter.extend(sealed.below);
        }
        if end != self.end {
            return Err(self.stop(Stopped::Behind));
        }
        // Of epochs that were sealed long ago everything but the seal, which stands last.
        litter.extend(
            seen.iter().filter(|id| id.epoch < first && seen.range(**id..).nth(1).is_some_and(|n| n.epoch == id.epoch)),
        );
        litter.sort_unstable();

        let id = PartId { epoch, part: 1 };
        let checkpoint = self.checkpoint;
        let floor = self.floor(checkpoint.as_ref(), id);
        litter.retain(|id| *id < floor && !self.kept.iter().any(|kept| kept.id == *id));
        self.litter = litter;
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

    /// Ends an older epoch.
    async fn seal(&self, older: LogEpoch, by: LogEpoch) -> Result<Sealed, Error> {
        let mut slots = BTreeMap::new();
        loop {
            let names = self.bucket.list(&self.place.prefix, "log", "listing the log").await?;
            let seen: BTreeSet<PartId> = names.iter().filter_map(log_id).filter(|id| id.epoch == older).collect();
            let ids: Vec<PartId> = seen.iter().copied().collect();
            read_slots(&self.place, &self.bucket, &ids, &mut slots).await?;
            // What was read once and is no longer listed was collected below a point that is.
            let point = seen.iter().rev().find(|id| matches!(record(&slots, **id), Some(Record::Point { .. })));
            let mut next = point.map_or(1, |id| id.part + 1);
            let at = |part| PartId { epoch: older, part };
            while matches!(record(&slots, at(next)), Some(Record::Entries(..) | Record::Drop)) {
                next += 1;
            }
            if matches!(record(&slots, at(next)), Some(Record::Seal(_))) {
                let end = (next > 1).then(|| at(next - 1));
                let below = point.map(|point| seen.range(..*point).copied().collect()).unwrap_or_default();
                return Ok(Sealed { end, below });
            }
            let seal = Slot { id: at(next), previous: [0; 32], record: Record::Seal(by) }.seal(&self.place)?;
            let name = self.place.name(Name::Log(at(next)));
            // Whether it was created or somebody came first, the next look tells what counts.
            self.bucket.create(&name, seal, "sealing an epoch").await?;
        }
    }
}

/// An epoch that has ended.
struct Sealed {
    /// Its last object before the seal.
    end: Option<PartId>,
    /// Objects below its newest point.
    below: Vec<PartId>,
}

fn record(slots: &BTreeMap<PartId, super::read::Opened>, id: PartId) -> Option<&Record> {
    slots.get(&id).map(|opened| &opened.slot.record)
}
