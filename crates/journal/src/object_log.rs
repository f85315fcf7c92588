//! The log in a bucket: one object a group, put if absent; epochs against other writers.
//!
//! No clock and no lock is part of the argument. Who writes has claimed an epoch that nobody else
//! has, has sealed every older one behind its last object, and puts its own objects one behind the
//! other. A writer that was overtaken finds a seal where its next object should stand, and nothing
//! it does from then on is ever acknowledged. The rules, their model and the mutants of it:
//! `docs/adr/0009-sealed-epoch-log.md`.

mod read;
pub(crate) mod slot;
mod take_over;

use crate::{
    Error, Stopped, Tenancy,
    bucket::{Bucket, Created},
    file_log::opening::Pointer,
    log::{Checkpoint, CommitLog, Found, Place, Standing, Turned},
    names::{Name, PartId},
};
use futures::future::BoxFuture;
use kernel::{LogEpoch, Plaintext};
use read::{Kept, State};
use slot::{Digest, Record, Slot, digest};
use std::{collections::BTreeSet, sync::Arc};
use take_over::litter;

/// See the module.
pub(crate) struct ObjectLog {
    place: Arc<Place>,
    bucket: Arc<Bucket>,
    /// The last object of the log, ours or read.
    end: Option<PartId>,
    end_digest: Digest,
    checkpoint: Option<Pointer>,
    /// Last durable entry.
    last: u64,
    /// Objects that a replay needs.
    kept: Vec<Kept>,
    /// Objects that earlier owners left behind.
    litter: Vec<PartId>,
    /// What stood in the log when it was read. For a reader: anything else is news.
    seen: BTreeSet<PartId>,
    /// The newest point when it was read. For a reader: if it is gone, there is news.
    anchor: Option<(PartId, Digest)>,
    /// The mark stands that says that something of the log was deleted once.
    cut: bool,
    /// The newest epoch that anything stood under.
    newest: LogEpoch,
    /// Ours.
    epoch: Option<LogEpoch>,
    /// The last number that was given to a checkpoint's object. None is given twice: what became of
    /// an earlier object need not be known.
    numbered: u64,
    stopped: Option<Stopped>,
}

impl ObjectLog {
    /// Reads the place and claims nothing. Goes on in the epoch of `tenancy` if the place is as it was left.
    pub(crate) async fn open(place: Arc<Place>, bucket: Arc<Bucket>, tenancy: Option<Tenancy>) -> Result<Found, Error> {
        let state = read::read_state(&place, &bucket).await?;
        let ours = tenancy.filter(|left| state.is_as_left(left));
        let State {
            end, end_digest, checkpoint, body, entries, last, kept, seen, anchor, cut, newest, dropped, ..
        } = state;
        // What was to be deleted when it was left is found again by looking, as at a take-over.
        let floor = ours.as_ref().and(kept.first()).map(|first| first.id);
        let log = Self {
            place,
            bucket,
            end,
            end_digest,
            checkpoint,
            last,
            kept,
            litter: floor.map_or_else(Vec::new, |floor| litter(&seen, floor)),
            seen,
            anchor,
            cut,
            newest,
            epoch: ours.as_ref().map(|left| left.end.epoch),
            numbered: ours.map_or(0, |left| left.numbered),
            stopped: dropped.then_some(Stopped::Dropped),
        };
        Ok(Found { log: Box::new(log), checkpoint: body, entries, dropped })
    }

    fn going(&self) -> Result<(), Error> {
        self.stopped.map_or(Ok(()), |why| Err(Error::Stopped { why, source: None }))
    }

    fn stop(&mut self, why: Stopped) -> Error {
        self.stopped = Some(why);
        tracing::error!(place = ?self.place.home.kind(), uuid = %self.place.home.uuid(), %why, "journal stopped");
        Error::Stopped { why, source: None }
    }

    /// Puts our next object. From the first byte on, anything but success leaves something that this
    /// process cannot vouch for.
    async fn put(&mut self, id: PartId, record: Record) -> Result<(), Error> {
        let entries = if let Record::Entries(_, bodies) = &record { bodies.len() as u64 } else { 0 };
        let is_point = matches!(record, Record::Point { .. });
        let bytes = Slot { id, previous: self.end_digest, record }.seal(&self.place)?;
        let (length, digest) = (bytes.len() as u64, digest(&self.place, &bytes));
        self.stopped = Some(Stopped::Write);
        let name = self.place.name(Name::Log(id));
        let created = if is_point {
            self.bucket.create_once(&name, bytes, "writing the log").await
        } else {
            self.bucket.create(&name, bytes, "writing the log").await
        };
        match created {
            Ok(Created::Ours) => {}
            Ok(Created::Taken) => return Err(self.stop(Stopped::Fenced)),
            Err(error) => {
                tracing::error!(place = ?self.place.home.kind(), uuid = %self.place.home.uuid(), %error, "journal stopped");
                let source = Some(Arc::new(std::io::Error::other(error)));
                return Err(Error::Stopped { why: Stopped::Write, source });
            }
        }
        self.stopped = None;
        self.last += entries;
        (self.end, self.end_digest) = (Some(id), digest);
        self.kept.push(Kept { id, last: self.last, bytes: length });
        Ok(())
    }

    /// Where our next object goes.
    fn next(&self) -> Result<PartId, Error> {
        self.going()?;
        match (self.epoch, self.end) {
            (Some(epoch), Some(end)) if end.epoch == epoch => Ok(PartId { epoch, part: end.part + 1 }),
            _ => Err(Error::Closing),
        }
    }

    /// The first object that a replay from this checkpoint needs, if `own` is the one that names it.
    fn floor(&self, checkpoint: Option<&Pointer>, own: PartId) -> PartId {
        let covers = checkpoint.map_or(0, |pointer| pointer.covers);
        let uncovered = self.kept.iter().find(|kept| kept.last > covers).map_or(own, |kept| kept.id);
        let holder = checkpoint.and_then(Pointer::holder).unwrap_or(own);
        uncovered.min(holder).min(own)
    }

    async fn point(&mut self, checkpoint: Checkpoint, covers: u64) -> Result<Turned, Error> {
        let id = self.next()?;
        let (pointer, body) = match checkpoint {
            Checkpoint::Inline(body) => (Pointer { id, uuid: None, covers }, Some(body)),
            Checkpoint::Object(named, uuid) => (Pointer { id: named, uuid: Some(uuid), covers }, None),
        };
        let floor = self.floor(Some(&pointer), id);
        let record = Record::Point { before: self.last, floor, checkpoint: Some(pointer), body };
        self.put(id, record).await?;
        self.checkpoint = Some(pointer);
        // Only what is below the floor, and of older epochs never the seal, which is not among these.
        // Oldest first: a point vouches for what stands behind it, so it goes before that does.
        let mut covered = std::mem::take(&mut self.litter);
        covered.extend(self.kept.iter().map(|kept| kept.id).filter(|id| *id < floor));
        covered.sort_unstable();
        self.kept.retain(|kept| kept.id >= floor);
        if !covered.is_empty() && !self.mark_cut().await {
            self.litter = std::mem::take(&mut covered);
        }
        Ok(Turned { checkpoint: pointer.id, covered })
    }

    /// Before anything of the log is deleted for the first time: an empty listing is no empty place
    /// from then on. `false`: nothing may be deleted.
    async fn mark_cut(&mut self) -> bool {
        if !self.cut {
            let text = b"ringfence cut 0\n".to_vec();
            let marked = self.place.storage.create(&self.place.name(Name::Cut), text, "marking a cut log").await;
            self.cut = marked.is_ok();
        }
        self.cut
    }

    async fn check(&mut self) -> Result<(), Error> {
        self.going()?;
        let what = "asking who owns a place";
        if self.epoch.is_some() {
            let next = Name::Log(self.next()?);
            return match self.bucket.read(&self.place.name(next), what).await? {
                None => Ok(()),
                Some(_) => Err(self.stop(Stopped::Fenced)),
            };
        }
        let names = self.bucket.list(&self.place.prefix, "log", what).await?;
        let mut news = names.iter().filter_map(read::log_id).any(|id| !self.seen.contains(&id));
        if !news {
            news = match self.anchor {
                Some(anchor) => !read::stands(&self.place, &self.bucket, anchor).await?,
                None => read::is_cut(&self.place, &self.bucket).await?,
            };
        }
        if news { Err(self.stop(Stopped::Behind)) } else { Ok(()) }
    }
}

impl CommitLog for ObjectLog {
    fn claim(&mut self) -> BoxFuture<'_, Result<LogEpoch, Error>> {
        Box::pin(async {
            self.going()?;
            match self.epoch {
                Some(epoch) => Ok(epoch),
                None => self.take_over().await,
            }
        })
    }

    fn commit(&mut self, bodies: Vec<Plaintext>) -> BoxFuture<'_, Result<u64, Error>> {
        Box::pin(async {
            let first = self.last + 1;
            let id = self.next()?;
            self.put(id, Record::Entries(first, bodies)).await?;
            Ok(first)
        })
    }

    /// At least the number of the record that will name it, so that names follow the records; never
    /// one that was given before.
    fn number(&mut self) -> BoxFuture<'_, Result<PartId, Error>> {
        Box::pin(async {
            let next = self.next()?;
            self.numbered = next.part.max(self.numbered + 1);
            Ok(PartId { part: self.numbered, ..next })
        })
    }

    fn point(&mut self, checkpoint: Checkpoint, covers: u64) -> BoxFuture<'_, Result<Turned, Error>> {
        Box::pin(self.point(checkpoint, covers))
    }

    fn drop_place(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async {
            let id = self.next()?;
            self.put(id, Record::Drop).await?;
            self.stopped = Some(Stopped::Dropped);
            Ok(())
        })
    }

    /// An object is whole or not there: there is nothing to mark.
    fn end(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    fn check(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.check())
    }

    /// Whoever stopped, also in the middle of a request, has nothing to leave.
    fn leave(&mut self) -> Option<Tenancy> {
        self.going().ok()?;
        self.stopped = Some(Stopped::Left);
        let end = self.end.filter(|end| Some(end.epoch) == self.epoch)?;
        Some(Tenancy { end, end_digest: self.end_digest, numbered: self.numbered })
    }

    fn needless(&self, names: &[Name]) -> usize {
        let Some(floor) = self.kept.first() else { return 0 };
        let seen = names.iter().filter_map(|name| if let Name::Log(id) = name { Some(*id) } else { None }).collect();
        let old = |name: &&Name| matches!(name, Name::Checkpoint(id) if self.checkpoint.is_some_and(|p| *id < p.id));
        litter(&seen, floor.id).len() + names.iter().filter(old).count()
    }

    fn standing(&self) -> Standing {
        let covers = self.checkpoint.map_or(0, |pointer| pointer.covers);
        // A request costs as much as reading some bytes.
        let log_bytes = self.kept.iter().filter(|k| k.last > covers).map(|k| k.bytes.max(REQUEST_BYTES)).sum();
        Standing { last: self.last, covers, log_bytes, newest: self.newest, epoch: self.epoch, stopped: self.stopped }
    }
}

/// What reading one object weighs at least, as bytes of log.
const REQUEST_BYTES: u64 = 4 << 10;

#[cfg(test)]
pub(crate) mod tests;
