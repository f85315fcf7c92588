//! Becoming the writer of a keyspace in a bucket.
//!
//! 1. Claim an epoch that no other process has, with a put if absent. A crash leaves a claim that is never used.
//! 2. Seal the epoch of the newest checkpoint record after its last object, and every later epoch at number 1,
//!    in ascending order. Until then their writers may continue; from then on they cannot. A listing is not a snapshot
//!    of one moment, and a writer may truncate its log during it, so after each seal everything is listed and read
//!    again. The step is complete when one such pass finds every seal where it belongs.
//! 3. Check that the log is still what this process has read; otherwise the keyspace must be opened again.
//! 4. Put our first object. A newer claimer may have sealed our epoch before it began.
//!
//! A crash at any point leaves claims and seals. They cost one name each and are kept, since a writer that sleeps for a
//! year must find the seal when it wakes up.

use super::{
    ObjectLog,
    read::{OpenedSlot, is_truncated, log_id, newest_checkpoint_record, read_slots},
    slot::{LogSlot, Record},
};
use crate::{
    Error, Stopped,
    bucket::CreateOutcome,
    names::{LogFileId, Name},
};
use kernel::{LogEpoch, ObjectUuid};
use std::collections::{BTreeMap, BTreeSet};

impl ObjectLog {
    /// Takes the keyspace over; see the module.
    ///
    /// # Errors
    /// `Stopped`: open the keyspace again, as after any failure of step 4. `Store`: nothing of ours was put into the log
    /// except seals, and the caller may retry.
    pub(super) async fn take_over(&mut self) -> Result<LogEpoch, Error> {
        let names = self.bucket.list(&self.env.prefix, "", "listing a keyspace").await?;
        if names.contains(&Name::Tombstone) {
            return Err(self.stop(Stopped::Dropped));
        }
        let newest = names.iter().filter_map(|name| name.epoch()).max().unwrap_or_default();
        let epoch = self.put_claim(newest.max(self.newest).next()).await?;
        self.newest = epoch;
        let sealed = self.seal_older(epoch).await?;
        if sealed.end != self.end {
            return Err(self.stop(Stopped::Outdated));
        }
        let id = LogFileId { epoch, number: 1 };
        let checkpoint = self.checkpoint;
        let floor = self.floor(checkpoint.as_ref(), id);
        self.orphans = orphans(&sealed.listed, floor);
        self.orphans.retain(|id| !self.retained.iter().any(|retained| retained.id == *id));
        self.put(id, Record::Checkpoint { before: self.last, floor, checkpoint, body: None }).await?;
        self.epoch = Some(epoch);
        tracing::debug!(keyspace = ?self.env.keyspace.kind(), uuid = %self.env.keyspace.uuid(), %epoch, "took a keyspace over");
        Ok(epoch)
    }

    /// Claims this epoch, or the next one that is free.
    async fn put_claim(&self, mut epoch: LogEpoch) -> Result<LogEpoch, Error> {
        loop {
            let nonce = ObjectUuid::random(&*self.env.entropy);
            let text = format!("ringfence claim 0\nnonce {nonce}\nat {}\n", self.env.clock.now());
            let name = self.env.name(Name::Claim(epoch));
            match self.bucket.create(&name, text.into_bytes(), "claiming an epoch").await? {
                CreateOutcome::Ours => return Ok(epoch),
                CreateOutcome::Taken => epoch = epoch.next(),
            }
        }
    }

    /// Seals every older epoch that has not ended yet.
    async fn seal_older(&mut self, ours: LogEpoch) -> Result<SealedLog, Error> {
        loop {
            let names = self.bucket.list(&self.env.prefix, "log", "listing the log").await?;
            let listed: BTreeSet<LogFileId> = names.iter().filter_map(log_id).collect();
            if listed.last().is_some_and(|id| id.epoch >= ours) {
                return Err(self.stop(Stopped::Fenced));
            }
            // Read after every listing: what an earlier pass found may have been deleted since.
            let mut slots = BTreeMap::new();
            let newest_record = newest_checkpoint_record(&self.env, &self.bucket, &listed, &mut slots).await?;
            if newest_record.is_none() && is_truncated(&self.env, &self.bucket).await? {
                return Err(self.stop(Stopped::Outdated));
            }
            let mut end = newest_record;
            let mut at = newest_record.map_or(LogFileId { epoch: LogEpoch(1), number: 1 }, after);
            // Walk through the run after the record and the first slots of the later epochs to the first missing seal.
            let missing = loop {
                if at.epoch >= ours {
                    break None;
                }
                if !slots.contains_key(&at) {
                    read_slots(&self.env, &self.bucket, &[at], &mut slots).await?;
                }
                match record(&slots, at) {
                    Some(Record::Seal(_)) => at = LogFileId { epoch: at.epoch.next(), number: 1 },
                    Some(Record::Entries(..) | Record::Drop) if end.is_some_and(|end| after(end) == at) => {
                        end = Some(at);
                        at = after(at);
                    }
                    None => break Some(at),
                    // This is a newer state than the listing showed.
                    Some(_) => return Err(self.stop(Stopped::Outdated)),
                }
            };
            let Some(at) = missing else { return Ok(SealedLog { end, listed }) };
            let seal = LogSlot { id: at, previous: [0; 32], record: Record::Seal(ours) }.seal(&self.env)?;
            // Whether this seal was created or another object came first, the next pass decides on what is stored.
            self.bucket.create(&self.env.name(Name::Log(at)), seal, "sealing an epoch").await?;
        }
    }
}

/// The log after every older epoch has ended.
struct SealedLog {
    /// The last object before the seals.
    end: Option<LogFileId>,
    /// Objects in the last listing.
    listed: BTreeSet<LogFileId>,
}

/// Objects that earlier owners did not delete: everything below the floor except the seals. In an epoch entirely below
/// the floor the last object is the seal.
pub(super) fn orphans(listed: &BTreeSet<LogFileId>, floor: LogFileId) -> Vec<LogFileId> {
    let is_last = |id: LogFileId| listed.range(after(id)..).next().is_none_or(|next| next.epoch != id.epoch);
    listed.range(..floor).copied().filter(|id| id.epoch == floor.epoch || !is_last(*id)).collect()
}

fn after(id: LogFileId) -> LogFileId {
    LogFileId { number: id.number + 1, ..id }
}

fn record(slots: &BTreeMap<LogFileId, OpenedSlot>, id: LogFileId) -> Option<&Record> {
    slots.get(&id).map(|opened| &opened.slot.record)
}
