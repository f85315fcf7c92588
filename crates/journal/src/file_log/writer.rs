//! The only writer of a keyspace in a folder: starts log files and commits groups.
//!
//! Blocking code for blocking threads. The folder's lock keeps other processes out, so creating the first log file,
//! whose name must be free, claims the epoch.

use super::{
    file_header::{CheckpointRef, FileHeader, LogFileEnd},
    group::{GROUP_HEADER_BYTES, Group, GroupHeader},
    log_file::{self, Growth, LogFile, StartError, size_for},
};
use crate::{
    Error, Stopped,
    data_folder::DataFolder,
    error::{io_error, is_full},
    faults::Step,
    log::JournalEnv,
    names::{LogFileId, Name},
};
use kernel::{LogEpoch, ObjectUuid, Plaintext};
use std::{io, sync::Arc};
use vault::{FRAME_OVERHEAD_BYTES, FrameSealer};

/// A log file of this keyspace that is still needed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogFileInfo {
    pub(crate) id: LogFileId,
    /// Number of the last entry before the file.
    pub(crate) before: u64,
    /// Bytes of the groups after the header.
    pub(crate) bytes: u64,
}

/// Complete state of the writer.
pub(crate) struct LogWriter {
    pub(crate) env: Arc<JournalEnv>,
    pub(crate) data_folder: Arc<DataFolder>,
    /// The file that takes the next group, once an epoch is claimed.
    pub(crate) open_file: Option<OpenLogFile>,
    /// Where the newest file ended when the keyspace was recovered.
    pub(crate) recovered_end: Option<LogFileEnd>,
    /// The mark of a clean shutdown in that file, as long as it may not be durable.
    pub(crate) clean_mark: Option<CleanMark>,
    /// Files that a recovery needs, oldest first, the open one last.
    pub(crate) log_files: Vec<LogFileInfo>,
    /// Files that no recovery needs.
    pub(crate) obsolete: Vec<LogFileId>,
    /// The newest checkpoint.
    pub(crate) checkpoint: Option<CheckpointRef>,
    /// Number of the last durable entry.
    pub(crate) last: u64,
    /// The newest epoch of anything in the keyspace.
    pub(crate) newest: LogEpoch,
    /// Epoch of this writer.
    pub(crate) epoch: Option<LogEpoch>,
    /// Number of the next file or checkpoint in our epoch. No number is used twice, even after a failure.
    pub(crate) next_number: u64,
    /// Why nothing more is written, with the system error that caused it.
    pub(crate) stopped: Option<(Stopped, Option<Arc<io::Error>>)>,
}

/// A group that states that everything before it is durable.
pub(crate) struct CleanMark {
    pub(crate) id: LogFileId,
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
}

/// A log file that takes groups.
pub(crate) struct OpenLogFile {
    file: LogFile,
    sealer: FrameSealer,
    prologue: Vec<u8>,
    id: LogFileId,
    groups: u64,
    /// Whether the last group marks a clean shutdown.
    is_marked_clean: bool,
}

impl LogWriter {
    /// Fails when the journal has stopped.
    pub(crate) fn ensure_running(&self) -> Result<(), Error> {
        match &self.stopped {
            Some((why, source)) => Err(Error::Stopped { why: *why, source: source.clone() }),
            None => Ok(()),
        }
    }

    /// Returns our epoch: the one after the newest of anything in the keyspace.
    pub(crate) fn claim(&mut self) -> Result<LogEpoch, Error> {
        self.ensure_running()?;
        if self.epoch.is_none() {
            self.newest = self.newest.next();
            self.epoch = Some(self.newest);
        }
        Ok(self.newest)
    }

    /// Takes a number for a file or checkpoint of our epoch.
    pub(crate) fn next_id(&mut self, epoch: LogEpoch) -> LogFileId {
        let number = self.next_number;
        self.next_number += 1;
        LogFileId { epoch, number }
    }

    /// Starts the next log file, which names `checkpoint` as the newest; [`LogFile::start`] lists the steps. Until the
    /// file has its name the previous one is the log and stays usable. From then on only the new one is, and if its
    /// name may not be durable the journal stops.
    pub(crate) fn start_log_file(
        &mut self,
        id: LogFileId,
        checkpoint: Option<CheckpointRef>,
        body: Option<Plaintext>,
    ) -> Result<(), Error> {
        self.ensure_running()?;
        self.flush_clean_mark()?;
        let env = Arc::clone(&self.env);
        let object = ObjectUuid::random(&*env.entropy);
        let (prologue, mut sealer) = env.keyspace.start_log(object, id.epoch, &*env.entropy)?;
        let file_header = FileHeader { id, before: self.last, previous: self.current_end(), checkpoint, body };
        let frame = sealer.seal(0, &Group::file_header(&file_header.encode()), &*env.entropy)?;
        let offset = prologue.len() as u64;
        let size = size_for((prologue.len() + GROUP_HEADER_BYTES + frame.len()) as u64);
        let header = GroupHeader { frame: frame_length(&frame)?, index: 0, size };
        let mut first = prologue.clone();
        first.extend_from_slice(&header.seal(&env.keyspace, &prologue, offset));
        first.extend_from_slice(&frame);

        let path = self.data_folder.path(&env.name(Name::Log(id)));
        let file = match LogFile::start(&self.data_folder, &path, &first, Arc::clone(env.storage.faults())) {
            Ok(file) => file,
            Err(StartError { taken: true, source, .. }) => return Err(self.stop(Stopped::Fenced, Some(source))),
            Err(StartError { visible: true, source, .. }) => return Err(self.stop_on_write_error(source)),
            Err(StartError { source, .. }) => return Err(io_error("starting a log file", source)),
        };
        self.log_files.push(LogFileInfo { id, before: self.last, bytes: 0 });
        self.open_file = Some(OpenLogFile { file, sealer, prologue, id, groups: 1, is_marked_clean: false });
        self.checkpoint = checkpoint;
        Ok(())
    }

    /// Commits `bodies` as one group and returns the number of the first entry. Requires a claimed epoch.
    ///
    /// 1. Start a log file if none is open: see [`LogWriter::start_log_file`].
    /// 2. Reserve space. A full disk is noticed here, before anything of the group exists, and the journal continues;
    ///    after any other error it stops.
    /// 3. Write header and frame. A crash leaves a torn or a complete group, with nothing after it.
    /// 4. Flush. Only now may the callers be answered.
    pub(crate) fn commit(&mut self, bodies: &[Plaintext]) -> Result<u64, Error> {
        let first = self.last + 1;
        let growth = if bodies.is_empty() { Growth::Exact } else { Growth::Doubling };
        self.write(&Group::entries(first, bodies), growth)?;
        self.last += bodies.len() as u64;
        Ok(first)
    }

    /// Marks a clean shutdown with one empty group. Everything before it is durable.
    pub(crate) fn mark_clean(&mut self) -> Result<(), Error> {
        self.commit(&[])?;
        if let Some(open) = &mut self.open_file {
            open.is_marked_clean = true;
        }
        Ok(())
    }

    /// Whether groups were written since the last mark of a clean shutdown.
    pub(crate) fn needs_clean_mark(&self) -> bool {
        self.stopped.is_none() && self.open_file.as_ref().is_some_and(|open| !open.is_marked_clean)
    }

    /// Records in the log that the keyspace is to be destroyed; afterwards the log accepts nothing.
    pub(crate) fn drop_keyspace(&mut self) -> Result<(), Error> {
        self.write(&Group::drop_keyspace(), Growth::Exact)?;
        self.env.storage.faults().after(Step::DropWritten).map_err(|source| self.stop_on_write_error(source))?;
        self.stopped = Some((Stopped::Dropped, None));
        Ok(())
    }

    /// Bytes of groups that a recovery reads.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.log_files.iter().map(|file| file.bytes).sum()
    }

    /// Removes and returns the files that a recovery from the checkpoint does not need, oldest first. The file that
    /// holds the checkpoint stays.
    pub(crate) fn take_covered(&mut self) -> Vec<LogFileId> {
        let covers = self.checkpoint.map_or(0, |pointer| pointer.covers);
        let holder = self.checkpoint.and_then(|pointer| pointer.holder());
        let mut covered = std::mem::take(&mut self.obsolete);
        let log_files = std::mem::take(&mut self.log_files);
        for (i, file) in log_files.iter().enumerate() {
            // A file is covered if the next one begins at or before what the checkpoint covers.
            let is_covered = log_files.get(i + 1).is_some_and(|next| next.before <= covers);
            if is_covered && Some(file.id) != holder { covered.push(file.id) } else { self.log_files.push(*file) }
        }
        covered
    }

    /// Writes a group. With [`Growth::Exact`] no space is reserved for later groups.
    fn write(&mut self, body: &[u8], growth: Growth) -> Result<(), Error> {
        self.ensure_running()?;
        if self.open_file.is_none() {
            let epoch = self.epoch.ok_or(Error::Closing)?;
            let id = self.next_id(epoch);
            self.start_log_file(id, self.checkpoint, None)?;
        }
        let env = Arc::clone(&self.env);
        let open = self.open_file.as_mut().ok_or(Error::Closing)?;
        let bytes_max = (GROUP_HEADER_BYTES + body.len() + FRAME_OVERHEAD_BYTES) as u64;
        if let Err(source) = open.file.reserve(bytes_max, growth) {
            if !is_full(&source) {
                // Nothing of the group is written, but later flushes of this file cannot be trusted.
                self.stopped = Some((Stopped::Sync, None));
            }
            return Err(io_error("reserving space in the log", source));
        }

        // From here on any result but success leaves bytes of unknown state, so the journal stops.
        self.stopped = Some((Stopped::Write, None));
        let frame = open.sealer.seal(open.groups, body, &*env.entropy)?;
        let header = GroupHeader { frame: frame_length(&frame)?, index: open.groups, size: open.file.size };
        let mut bytes = header.seal(&env.keyspace, &open.prologue, open.file.end).to_vec();
        bytes.extend_from_slice(&frame);
        assert!(bytes.len() as u64 <= bytes_max, "a frame exceeds the space that was reserved for it");
        if let Err(source) = open.file.write(&bytes) {
            let why = if is_full(&source) { Stopped::Full } else { Stopped::Write };
            return Err(self.stop(why, Some(source)));
        }
        if let Err(source) = open.file.sync(bytes.len() as u64) {
            return Err(self.stop(Stopped::Sync, Some(source)));
        }
        open.groups += 1;
        open.is_marked_clean = false;
        if let Some(file) = self.log_files.last_mut() {
            file.bytes = open.file.groups_bytes();
        }
        self.stopped = None;
        Ok(())
    }

    /// Makes the mark durable: the next file states the end of this one including the mark, so the mark must not
    /// disappear.
    fn flush_clean_mark(&mut self) -> Result<(), Error> {
        let Some(mark) = &self.clean_mark else { return Ok(()) };
        let path = self.data_folder.path(&self.env.name(Name::Log(mark.id)));
        log_file::rewrite_and_flush(&**self.data_folder.disk(), &path, &mark.bytes, mark.offset)
            .map_err(|source| io_error("flushing what was recovered", source))?;
        self.clean_mark = None;
        Ok(())
    }

    /// Where the log ends now.
    fn current_end(&self) -> Option<LogFileEnd> {
        match &self.open_file {
            Some(open) => Some(LogFileEnd { id: open.id, groups: open.groups, offset: open.file.end }),
            None => self.recovered_end,
        }
    }

    fn stop_on_write_error(&mut self, source: io::Error) -> Error {
        self.stop(Stopped::Write, Some(source))
    }

    fn stop(&mut self, why: Stopped, source: Option<io::Error>) -> Error {
        let source = source.map(Arc::new);
        self.stopped = Some((why, source.clone()));
        tracing::error!(keyspace = ?self.env.keyspace.kind(), uuid = %self.env.keyspace.uuid(), %why, "journal stopped");
        Error::Stopped { why, source }
    }
}

fn frame_length(frame: &[u8]) -> Result<u32, Error> {
    u32::try_from(frame.len())
        .map_err(|_| Error::TooLarge { bytes: frame.len(), max: kernel::limits::LOG_ENTRY_BYTES_MAX })
}
