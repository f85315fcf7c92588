//! The one writer of a place in a folder: starts log files, commits groups.
//!
//! Blocking code, run on threads that may block. The folder's lock keeps other processes out, so an
//! epoch is claimed by its first log file, whose name must be free.

use super::{
    group::{Group, HEADER, Header},
    opening::{End, Opening, Pointer},
    part::{self, NotStarted, PartFile, size_for},
};
use crate::{
    Error, Stopped,
    error::{io_error, is_full},
    faults::Step,
    local::Local,
    log::Place,
    names::{Name, PartId},
};
use kernel::{LogEpoch, ObjectUuid, Plaintext};
use std::{io, sync::Arc};
use vault::{FRAME_OVERHEAD_BYTES, FrameSealer};

/// A log file of this place that still counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) id: PartId,
    /// Last entry before it.
    pub(crate) before: u64,
    /// Bytes of the groups behind its opening.
    pub(crate) bytes: u64,
}

/// The writer's whole state.
pub(crate) struct Writer {
    pub(crate) place: Arc<Place>,
    pub(crate) local: Arc<Local>,
    /// The file that takes the next group, once an epoch is ours.
    pub(crate) open: Option<Open>,
    /// Where the newest file ended when the place was recovered.
    pub(crate) tail: Option<End>,
    /// The mark of a clean end in that file, while it may not be durable.
    pub(crate) mark: Option<Mark>,
    /// Files that a recovery needs, oldest first, the open one last.
    pub(crate) parts: Vec<Known>,
    /// Files that no recovery needs.
    pub(crate) stale: Vec<PartId>,
    /// The newest checkpoint.
    pub(crate) checkpoint: Option<Pointer>,
    /// Last durable entry.
    pub(crate) last: u64,
    /// The newest epoch that anything stands under.
    pub(crate) newest: LogEpoch,
    /// Ours.
    pub(crate) epoch: Option<LogEpoch>,
    /// Number of the next file or checkpoint of our epoch. Never used twice, also after a failure.
    pub(crate) next_part: u64,
    /// Why nothing more is written.
    pub(crate) stopped: Option<(Stopped, Option<Arc<io::Error>>)>,
}

/// A group that says that all before it is durable.
pub(crate) struct Mark {
    pub(crate) id: PartId,
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
}

/// A log file that takes groups.
pub(crate) struct Open {
    file: PartFile,
    sealer: FrameSealer,
    prologue: Vec<u8>,
    id: PartId,
    groups: u64,
    /// The last group marks a clean end.
    ended: bool,
}

impl Writer {
    /// Refuses when the journal has stopped.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match &self.stopped {
            Some((why, source)) => Err(Error::Stopped { why: *why, source: source.clone() }),
            None => Ok(()),
        }
    }

    /// Our epoch: the one after the newest that anything stands under.
    pub(crate) fn claim(&mut self) -> Result<LogEpoch, Error> {
        self.check()?;
        if self.epoch.is_none() {
            self.newest = self.newest.next();
            self.epoch = Some(self.newest);
        }
        Ok(self.newest)
    }

    /// A number for a file or checkpoint of our epoch.
    pub(crate) fn number(&mut self, epoch: LogEpoch) -> PartId {
        let part = self.next_part;
        self.next_part += 1;
        PartId { epoch, part }
    }

    /// Starts the next log file, which names `checkpoint` as the newest. [`PartFile::start`] has the
    /// steps. Until the file has its name the one before it is the log and stays usable; from then
    /// on only the new one is, and if its name may not be durable the journal stops.
    pub(crate) fn start_part(
        &mut self,
        id: PartId,
        checkpoint: Option<Pointer>,
        body: Option<Plaintext>,
    ) -> Result<(), Error> {
        self.check()?;
        self.harden_mark()?;
        let place = Arc::clone(&self.place);
        let object = ObjectUuid::random(&*place.entropy);
        let (prologue, mut sealer) = place.home.start_log(object, id.epoch, &*place.entropy)?;
        let opening = Opening { id, before: self.last, previous: self.reached(), checkpoint, body };
        let frame = sealer.seal(0, &Group::opening(&opening.encode()), &*place.entropy)?;
        let offset = prologue.len() as u64;
        let size = size_for((prologue.len() + HEADER + frame.len()) as u64);
        let header = Header { frame: frame_length(&frame)?, index: 0, size };
        let mut first = prologue.clone();
        first.extend_from_slice(&header.seal(&place.home, &prologue, offset));
        first.extend_from_slice(&frame);

        let path = self.local.path(&place.name(Name::Log(id)));
        let file = match PartFile::start(&self.local, &path, &first, Arc::clone(place.storage.faults())) {
            Ok(file) => file,
            Err(NotStarted { taken: true, source, .. }) => return Err(self.stop(Stopped::Fenced, Some(source))),
            Err(NotStarted { visible: true, source, .. }) => return Err(self.broken(source)),
            Err(NotStarted { source, .. }) => return Err(io_error("starting a log file", source)),
        };
        self.parts.push(Known { id, before: self.last, bytes: 0 });
        self.open = Some(Open { file, sealer, prologue, id, groups: 1, ended: false });
        self.checkpoint = checkpoint;
        Ok(())
    }

    /// Commits `bodies` as one group and gives the first one's number. The epoch is ours already.
    ///
    /// 1. a log file, if none is open: see [`Writer::start_part`]
    /// 2. room: a full disk is met here, before anything of the group exists; the journal goes on, but
    ///    not behind another error
    /// 3. header and frame written: a crash leaves a torn or a whole group, nothing behind it
    /// 4. flushed: now the callers may be told
    pub(crate) fn commit(&mut self, bodies: &[Plaintext]) -> Result<u64, Error> {
        let first = self.last + 1;
        self.write(&Group::entries(first, bodies), bodies.is_empty())?;
        self.last += bodies.len() as u64;
        Ok(first)
    }

    /// Marks a clean end, unless that was the last thing written: one empty group. What stands before it is durable.
    pub(crate) fn end(&mut self) -> Result<(), Error> {
        self.commit(&[])?;
        if let Some(open) = &mut self.open {
            open.ended = true;
        }
        Ok(())
    }

    /// Whether there is an end to be marked.
    pub(crate) fn may_end(&self) -> bool {
        self.stopped.is_none() && self.open.as_ref().is_some_and(|open| !open.ended)
    }

    /// Says in the log that the place is to be destroyed; from here on it takes nothing.
    pub(crate) fn drop_place(&mut self) -> Result<(), Error> {
        self.write(&Group::drop_place(), true)?;
        self.place.storage.faults().after(Step::DropWritten).map_err(|source| self.broken(source))?;
        self.stopped = Some((Stopped::Dropped, None));
        Ok(())
    }

    /// Bytes of groups that a recovery reads.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// Takes the files out that a recovery from the checkpoint does not need, oldest first. The one
    /// that holds the checkpoint stays.
    pub(crate) fn take_covered(&mut self) -> Vec<PartId> {
        let covers = self.checkpoint.map_or(0, |pointer| pointer.covers);
        let holder = self.checkpoint.and_then(|pointer| pointer.holder());
        let mut covered = std::mem::take(&mut self.stale);
        let parts = std::mem::take(&mut self.parts);
        for (i, part) in parts.iter().enumerate() {
            let over = parts.get(i + 1).is_some_and(|next| next.before <= covers);
            if over && Some(part.id) != holder { covered.push(part.id) } else { self.parts.push(*part) }
        }
        covered
    }

    /// Writes a group. Behind the `last` one for now no room is made for others.
    fn write(&mut self, body: &[u8], last: bool) -> Result<(), Error> {
        self.check()?;
        if self.open.is_none() {
            let epoch = self.epoch.ok_or(Error::Closing)?;
            let id = self.number(epoch);
            self.start_part(id, self.checkpoint, None)?;
        }
        let place = Arc::clone(&self.place);
        let open = self.open.as_mut().ok_or(Error::Closing)?;
        let most = (HEADER + body.len() + FRAME_OVERHEAD_BYTES) as u64;
        if let Err(source) = open.file.reserve(most, last) {
            if !is_full(&source) {
                // Nothing of the group is written; but no later flush of this file is believed.
                self.stopped = Some((Stopped::Sync, None));
            }
            return Err(io_error("making room in the log", source));
        }

        // From here on anything but success leaves bytes that this process cannot vouch for.
        self.stopped = Some((Stopped::Write, None));
        let frame = open.sealer.seal(open.groups, body, &*place.entropy)?;
        let header = Header { frame: frame_length(&frame)?, index: open.groups, size: open.file.size };
        let mut bytes = header.seal(&place.home, &open.prologue, open.file.end).to_vec();
        bytes.extend_from_slice(&frame);
        assert!(bytes.len() as u64 <= most, "a frame is larger than the room that was made for it");
        if let Err(source) = open.file.write(&bytes) {
            let why = if is_full(&source) { Stopped::Full } else { Stopped::Write };
            return Err(self.stop(why, Some(source)));
        }
        if let Err(source) = open.file.sync(bytes.len() as u64) {
            return Err(self.stop(Stopped::Sync, Some(source)));
        }
        open.groups += 1;
        open.ended = false;
        if let Some(part) = self.parts.last_mut() {
            part.bytes = open.file.groups_bytes();
        }
        self.stopped = None;
        Ok(())
    }

    /// The next file says where this one ends, the mark counted: so the mark has to stay there.
    fn harden_mark(&mut self) -> Result<(), Error> {
        let Some(mark) = &self.mark else { return Ok(()) };
        let path = self.local.path(&self.place.name(Name::Log(mark.id)));
        part::harden(&**self.local.disk(), &path, &mark.bytes, mark.offset)
            .map_err(|source| io_error("flushing what was recovered", source))?;
        self.mark = None;
        Ok(())
    }

    /// Where the log ends now.
    fn reached(&self) -> Option<End> {
        match &self.open {
            Some(open) => Some(End { id: open.id, groups: open.groups, offset: open.file.end }),
            None => self.tail,
        }
    }

    fn broken(&mut self, source: io::Error) -> Error {
        self.stop(Stopped::Write, Some(source))
    }

    fn stop(&mut self, why: Stopped, source: Option<io::Error>) -> Error {
        let source = source.map(Arc::new);
        self.stopped = Some((why, source.clone()));
        tracing::error!(place = ?self.place.home.kind(), uuid = %self.place.home.uuid(), %why, "journal stopped");
        Error::Stopped { why, source }
    }
}

fn frame_length(frame: &[u8]) -> Result<u32, Error> {
    u32::try_from(frame.len())
        .map_err(|_| Error::TooLarge { bytes: frame.len(), max: kernel::limits::LOG_ENTRY_BYTES_MAX })
}
