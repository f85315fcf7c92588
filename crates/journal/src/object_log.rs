//! The log in a bucket: one object per entry, put if absent; epochs exclude other writers.
//!
//! The argument uses no clock and no lock. A writer has claimed an epoch that no other process has, has sealed every
//! older epoch after its last object, and then puts its own objects one after the other. A writer that was overtaken
//! finds a seal where its next object belongs, and nothing that it does from then on is ever acknowledged.
//! `schemas/log-protocol.md` has the rules, their model and its mutants.

mod read;
pub(crate) mod slot;
mod take_over;

use crate::{
    Error, Stopped, WriterSession,
    bucket::{Bucket, CreateOutcome},
    file_log::file_header::CheckpointRef,
    log::{Checkpoint, CommitLog, JournalEnv, LogStatus, OpenedLog, Truncation},
    names::{LogFileId, Name},
};
use futures::future::BoxFuture;
use kernel::{LogEpoch, Plaintext};
use read::{LogSnapshot, RetainedObject};
use slot::{Digest, LogSlot, Record, digest};
use std::{collections::BTreeSet, sync::Arc};
use take_over::orphans;

/// Log in a bucket; see the module.
pub(crate) struct ObjectLog {
    env: Arc<JournalEnv>,
    bucket: Arc<Bucket>,
    /// The last object of the log, read or written by this process.
    end: Option<LogFileId>,
    end_digest: Digest,
    checkpoint: Option<CheckpointRef>,
    /// Number of the last durable entry.
    last: u64,
    /// Objects that a replay needs, in order.
    retained: Vec<RetainedObject>,
    /// Obsolete objects that earlier owners left.
    orphans: Vec<LogFileId>,
    /// Objects of the log when it was read. A reader is outdated as soon as there is any other.
    known: BTreeSet<LogFileId>,
    /// The newest checkpoint record when the log was read. A reader is outdated as soon as it is gone.
    anchor: Option<(LogFileId, Digest)>,
    /// Whether the marker is known to exist that says that something of the log was deleted once.
    truncated: bool,
    /// The newest epoch of anything in the keyspace.
    newest: LogEpoch,
    /// Epoch of this writer.
    epoch: Option<LogEpoch>,
    /// The last number that was given to a checkpoint's object. No number is given twice, so the outcome of an earlier
    /// put need not be known.
    last_checkpoint_number: u64,
    stopped: Option<Stopped>,
}

impl ObjectLog {
    /// Reads the keyspace and claims nothing. Continues in the epoch of `session` if the keyspace is unchanged since
    /// then.
    pub(crate) async fn open(
        env: Arc<JournalEnv>,
        bucket: Arc<Bucket>,
        session: Option<WriterSession>,
    ) -> Result<OpenedLog, Error> {
        let state = read::read_snapshot(&env, &bucket).await?;
        let ours = session.filter(|session| state.is_unchanged_since(session));
        let LogSnapshot {
            end,
            end_digest,
            checkpoint,
            body,
            entries,
            last,
            retained,
            known,
            anchor,
            truncated,
            newest,
            dropped,
            ..
        } = state;
        // Deletions that were pending when the session detached are found again from the listing, as in a take-over.
        let floor = ours.as_ref().and(retained.first()).map(|first| first.id);
        let log = Self {
            env,
            bucket,
            end,
            end_digest,
            checkpoint,
            last,
            retained,
            orphans: floor.map_or_else(Vec::new, |floor| orphans(&known, floor)),
            known,
            anchor,
            truncated,
            newest,
            epoch: ours.as_ref().map(|session| session.end.epoch),
            last_checkpoint_number: ours.map_or(0, |session| session.last_checkpoint_number),
            stopped: dropped.then_some(Stopped::Dropped),
        };
        Ok(OpenedLog { log: Box::new(log), checkpoint: body, entries, dropped })
    }

    fn ensure_running(&self) -> Result<(), Error> {
        self.stopped.map_or(Ok(()), |why| Err(Error::Stopped { why, source: None }))
    }

    fn stop(&mut self, why: Stopped) -> Error {
        self.stopped = Some(why);
        tracing::error!(keyspace = ?self.env.keyspace.kind(), uuid = %self.env.keyspace.uuid(), %why, "journal stopped");
        Error::Stopped { why, source: None }
    }

    /// Puts our next object. Once the request is sent, any result but success leaves an object of unknown outcome, so
    /// the journal stops.
    async fn put(&mut self, id: LogFileId, record: Record) -> Result<(), Error> {
        let entries = if let Record::Entries(_, bodies) = &record { bodies.len() as u64 } else { 0 };
        let is_checkpoint = matches!(record, Record::Checkpoint { .. });
        let bytes = LogSlot { id, previous: self.end_digest, record }.seal(&self.env)?;
        let (length, digest) = (bytes.len() as u64, digest(&self.env, &bytes));
        self.stopped = Some(Stopped::Write);
        let name = self.env.name(Name::Log(id));
        // No copy of a checkpoint record may arrive late: readers rely on a deleted one not coming back.
        let created = if is_checkpoint {
            self.bucket.create_once(&name, bytes, "writing the log").await
        } else {
            self.bucket.create(&name, bytes, "writing the log").await
        };
        match created {
            Ok(CreateOutcome::Ours) => {}
            Ok(CreateOutcome::Taken) => return Err(self.stop(Stopped::Fenced)),
            Err(error) => {
                tracing::error!(keyspace = ?self.env.keyspace.kind(), uuid = %self.env.keyspace.uuid(), %error, "journal stopped");
                let source = Some(Arc::new(std::io::Error::other(error)));
                return Err(Error::Stopped { why: Stopped::Write, source });
            }
        }
        self.stopped = None;
        self.last += entries;
        (self.end, self.end_digest) = (Some(id), digest);
        self.retained.push(RetainedObject { id, last: self.last, bytes: length });
        Ok(())
    }

    /// Name of our next object.
    fn next_id(&self) -> Result<LogFileId, Error> {
        self.ensure_running()?;
        match (self.epoch, self.end) {
            (Some(epoch), Some(end)) if end.epoch == epoch => Ok(LogFileId { epoch, number: end.number + 1 }),
            _ => Err(Error::Closing),
        }
    }

    /// The first object that a replay from this checkpoint needs, if the record `own` names the checkpoint.
    fn floor(&self, checkpoint: Option<&CheckpointRef>, own: LogFileId) -> LogFileId {
        let covers = checkpoint.map_or(0, |pointer| pointer.covers);
        let uncovered =
            self.retained.iter().find(|retained| retained.last > covers).map_or(own, |retained| retained.id);
        let holder = checkpoint.and_then(CheckpointRef::holder).unwrap_or(own);
        uncovered.min(holder).min(own)
    }

    async fn install_checkpoint(&mut self, checkpoint: Checkpoint, covers: u64) -> Result<Truncation, Error> {
        let id = self.next_id()?;
        let (pointer, body) = match checkpoint {
            Checkpoint::Inline(body) => (CheckpointRef { id, uuid: None, covers }, Some(body)),
            Checkpoint::Object(named, uuid) => (CheckpointRef { id: named, uuid: Some(uuid), covers }, None),
        };
        let floor = self.floor(Some(&pointer), id);
        let record = Record::Checkpoint { before: self.last, floor, checkpoint: Some(pointer), body };
        self.put(id, record).await?;
        self.checkpoint = Some(pointer);
        // Delete only what is below the floor, and never the seals of older epochs, which these lists do not contain.
        // Delete oldest first: a checkpoint record that still exists proves that everything after it still exists too,
        // so it must go before any of that does.
        let mut covered = std::mem::take(&mut self.orphans);
        covered.extend(self.retained.iter().map(|retained| retained.id).filter(|id| *id < floor));
        covered.sort_unstable();
        self.retained.retain(|retained| retained.id >= floor);
        if !covered.is_empty() && !self.mark_truncated().await {
            self.orphans = std::mem::take(&mut covered);
        }
        Ok(Truncation { checkpoint: pointer.id, covered })
    }

    /// Puts the marker before anything of the log is deleted for the first time: from then on an empty listing does not
    /// mean an empty keyspace. Returns whether objects may be deleted.
    async fn mark_truncated(&mut self) -> bool {
        if !self.truncated {
            let text = b"ringfence cut 0\n".to_vec();
            let marked =
                self.env.storage.create(&self.env.name(Name::TruncationMarker), text, "marking a truncated log").await;
            self.truncated = marked.is_ok();
        }
        self.truncated
    }

    async fn check(&mut self) -> Result<(), Error> {
        self.ensure_running()?;
        let what = "checking the ownership of a keyspace";
        if self.epoch.is_some() {
            let next_name = Name::Log(self.next_id()?);
            return match self.bucket.read(&self.env.name(next_name), what).await? {
                None => Ok(()),
                Some(_) => Err(self.stop(Stopped::Fenced)),
            };
        }
        let names = self.bucket.list(&self.env.prefix, "log", what).await?;
        let mut changed = names.iter().filter_map(read::log_id).any(|id| !self.known.contains(&id));
        if !changed {
            changed = match self.anchor {
                Some(anchor) => !read::still_exists(&self.env, &self.bucket, anchor).await?,
                None => read::is_truncated(&self.env, &self.bucket).await?,
            };
        }
        if changed { Err(self.stop(Stopped::Outdated)) } else { Ok(()) }
    }
}

impl CommitLog for ObjectLog {
    fn claim(&mut self) -> BoxFuture<'_, Result<LogEpoch, Error>> {
        Box::pin(async {
            self.ensure_running()?;
            match self.epoch {
                Some(epoch) => Ok(epoch),
                None => self.take_over().await,
            }
        })
    }

    fn commit(&mut self, body: Plaintext) -> BoxFuture<'_, Result<u64, Error>> {
        Box::pin(async {
            let seq = self.last + 1;
            let id = self.next_id()?;
            self.put(id, Record::Entries(seq, vec![body])).await?;
            Ok(seq)
        })
    }

    /// Returns at least the number of the record that will name the checkpoint, so that the names follow the records,
    /// and never a number that was given before.
    fn reserve_checkpoint_id(&mut self) -> BoxFuture<'_, Result<LogFileId, Error>> {
        Box::pin(async {
            let next_id = self.next_id()?;
            self.last_checkpoint_number = next_id.number.max(self.last_checkpoint_number + 1);
            Ok(LogFileId { number: self.last_checkpoint_number, ..next_id })
        })
    }

    fn install_checkpoint(&mut self, checkpoint: Checkpoint, covers: u64) -> BoxFuture<'_, Result<Truncation, Error>> {
        Box::pin(self.install_checkpoint(checkpoint, covers))
    }

    fn drop_keyspace(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async {
            let id = self.next_id()?;
            self.put(id, Record::Drop).await?;
            self.stopped = Some(Stopped::Dropped);
            Ok(())
        })
    }

    /// An object is complete or missing, so there is nothing to mark.
    fn mark_clean(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    fn check(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.check())
    }

    /// A log that has stopped, even in the middle of a request, leaves no session.
    fn detach(&mut self) -> Option<WriterSession> {
        self.ensure_running().ok()?;
        self.stopped = Some(Stopped::Detached);
        let end = self.end.filter(|end| Some(end.epoch) == self.epoch)?;
        Some(WriterSession { end, end_digest: self.end_digest, last_checkpoint_number: self.last_checkpoint_number })
    }

    fn count_obsolete(&self, names: &[Name]) -> usize {
        let Some(floor) = self.retained.first() else { return 0 };
        let listed = names.iter().filter_map(|name| if let Name::Log(id) = name { Some(*id) } else { None }).collect();
        let is_obsolete =
            |name: &&Name| matches!(name, Name::Checkpoint(id) if self.checkpoint.is_some_and(|p| *id < p.id));
        orphans(&listed, floor.id).len() + names.iter().filter(is_obsolete).count()
    }

    fn status(&self) -> LogStatus {
        let covers = self.checkpoint.map_or(0, |pointer| pointer.covers);
        // One request costs as much as reading some bytes.
        let log_bytes = self.retained.iter().filter(|k| k.last > covers).map(|k| k.bytes.max(REQUEST_BYTES)).sum();
        LogStatus { last: self.last, covers, log_bytes, newest: self.newest, epoch: self.epoch, stopped: self.stopped }
    }
}

/// Minimum weight of one object in the size of the log, in bytes.
const REQUEST_BYTES: u64 = 4 << 10;

#[cfg(test)]
pub(crate) mod tests;
