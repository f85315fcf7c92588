//! Recovery of a log in a folder: from the bytes on disk to a writer that can continue, or to an error that says where
//! the log is damaged.
//!
//! The header of the newest log file names the newest checkpoint and the previous file. Recovery follows the chain back
//! until it reaches what the checkpoint covers, then reads forward. Every file but the newest must end exactly where
//! its successor says. In the newest file a group that does not authenticate is a torn write only if none of our groups
//! follows it.

use super::{
    file_header::{CheckpointRef, FileHeader, LogFileEnd},
    group::{GROUP_HEADER_BYTES, Group, GroupHeader},
    log_file,
    writer::{CleanMark, LogFileInfo, LogWriter},
};
use crate::{
    Error, Stopped,
    data_folder::{DataFolder, Listing},
    error::io_error,
    log::{JournalEnv, corrupt},
    names::{LogFileId, Name},
};
use kernel::{LogEpoch, Plaintext};
use std::sync::Arc;
use vault::{FrameOpener, ObjectKind};

/// A recovered writer and what its log held.
pub(crate) struct RecoveredLog {
    pub(crate) writer: LogWriter,
    pub(crate) checkpoint: Option<Plaintext>,
    pub(crate) entries: Vec<(u64, Plaintext)>,
    pub(crate) dropped: bool,
}

/// Reads the keyspace and claims nothing. Makes durable what it found, so that no caller acts on bytes that a power cut
/// could still undo, and removes files that never got their final name. After the mark of a clean shutdown everything
/// but the mark is durable, so nothing is flushed until the first write.
pub(crate) fn recover(env: &Arc<JournalEnv>, data_folder: &Arc<DataFolder>) -> Result<RecoveredLog, Error> {
    let listing = data_folder.list(&env.prefix).map_err(|source| io_error("listing a keyspace", source))?;
    let newest = listing.names.iter().filter_map(|name| name.epoch()).max().unwrap_or_default();
    if listing.names.contains(&Name::Tombstone) {
        return Ok(RecoveredLog { dropped: true, ..empty_log(env, data_folder, newest, true) });
    }
    for unfinished in &listing.unfinished {
        let removed = data_folder.delete(&format!("{}{unfinished}", env.prefix));
        removed.map_err(|source| io_error("removing an unfinished file", source))?;
    }
    let Some(LogScan { log, obsolete, dropped }) = read_log(env, data_folder, &listing)? else {
        return without_log(env, data_folder, &listing, newest);
    };
    let pointer = log.checkpoint;
    let mut found = empty_log(env, data_folder, newest, dropped);
    if let Some(pointer) = pointer {
        found.checkpoint = Some(match log.body {
            Some(body) => body,
            None => read_checkpoint(env, data_folder, pointer)?,
        });
    }
    found.writer.recovered_end = Some(log.end);
    found.writer.clean_mark = log.clean_mark;
    found.writer.log_files = log.files;
    found.writer.obsolete = obsolete;
    found.writer.checkpoint = pointer;
    found.writer.last = log.last;
    found.entries = log.entries;
    Ok(found)
}

fn read_checkpoint(env: &JournalEnv, data_folder: &DataFolder, pointer: CheckpointRef) -> Result<Plaintext, Error> {
    let name = Name::Checkpoint(pointer.id);
    let wrong = |why| corrupt(env, name, pointer.id.epoch, 0, why);
    let io = |source| io_error("reading a checkpoint", source);
    let sealed = data_folder.open_source(&env.name(name)).map_err(io)?;
    let sealed = sealed.ok_or_else(|| wrong("the checkpoint that the log names is missing"))?;
    let uuid = pointer.uuid.ok_or_else(|| wrong("the checkpoint should be in the log but is missing"))?;
    match env.keyspace.open_whole_from(ObjectKind::Checkpoint, uuid, &sealed) {
        Err(vault::Error::Unreadable { source, .. }) => Err(io(source)),
        opened => opened.map_err(|_| wrong("the checkpoint does not open")),
    }
}

struct LogScan {
    log: LogContents,
    obsolete: Vec<LogFileId>,
    dropped: bool,
}

/// Contents of the log files, starting at the checkpoint.
struct LogContents {
    entries: Vec<(u64, Plaintext)>,
    last: u64,
    files: Vec<LogFileInfo>,
    checkpoint: Option<CheckpointRef>,
    end: LogFileEnd,
    /// Body of the checkpoint, if it is in the log.
    body: Option<Plaintext>,
    /// The mark of a clean shutdown, if it is the last group.
    clean_mark: Option<CleanMark>,
}

fn read_log(env: &JournalEnv, data_folder: &DataFolder, listing: &Listing) -> Result<Option<LogScan>, Error> {
    let all: Vec<LogFileId> =
        listing.names.iter().filter_map(|name| if let Name::Log(id) = name { Some(*id) } else { None }).collect();
    let Some(newest) = all.last() else { return Ok(None) };
    let chain = walk_back(env, data_folder, *newest)?;
    let oldest = chain.first().map_or(*newest, |file| file.id);
    let (mut log, dropped) = read_forward(env, data_folder, chain)?;
    let holder = log.checkpoint.and_then(|pointer| pointer.holder());
    // The checkpoint may be in an older file than the first uncovered entry. Then only the body of that file is needed.
    if let Some(holder) = holder.filter(|_| log.body.is_none()) {
        let mut file = LogFileReader::read(env, data_folder, holder)?;
        log.body = file.header.body.take();
        log.files.insert(0, LogFileInfo { id: holder, before: file.header.before, bytes: 0 });
    }
    let obsolete = all.into_iter().filter(|id| *id < oldest && Some(*id) != holder).collect();
    Ok(Some(LogScan { log, obsolete, dropped }))
}

/// Reads the headers back from the newest file to the one that holds the first uncovered entry. Returns the files in
/// ascending order.
fn walk_back(env: &JournalEnv, data_folder: &DataFolder, newest: LogFileId) -> Result<Vec<LogFileReader>, Error> {
    let mut chain = vec![LogFileReader::read(env, data_folder, newest)?];
    let covers = chain[0].header.checkpoint.map_or(0, |pointer| pointer.covers);
    if chain[0].header.before < covers {
        return Err(chain[0].corrupt(env, 0, "the file begins before what its checkpoint covers"));
    }
    while let Some(oldest) = chain.last().filter(|file| file.header.before > covers) {
        let wrong = |why| oldest.corrupt(env, 0, why);
        let end = oldest.header.previous.ok_or_else(|| wrong("the log does not reach back to its checkpoint"))?;
        if end.id >= oldest.id {
            return Err(wrong("the file before this one is not older"));
        }
        let mut previous = LogFileReader::read(env, data_folder, end.id)?;
        previous.end = Some(end);
        chain.push(previous);
    }
    chain.reverse();
    Ok(chain)
}

fn read_forward(
    env: &JournalEnv,
    data_folder: &DataFolder,
    chain: Vec<LogFileReader>,
) -> Result<(LogContents, bool), Error> {
    let mut entries = Vec::new();
    let mut files = Vec::new();
    let mut last = chain.first().map_or(0, |file| file.header.before);
    let mut dropped = false;
    let mut last_file: Option<(Option<CheckpointRef>, LogFileEnd)> = None;
    let (mut checkpoint_bodies, mut clean_mark) = (Vec::new(), None);
    for mut file in chain {
        if file.header.before != last || dropped {
            return Err(file.corrupt(env, 0, "the file does not continue where the previous one ended"));
        }
        let covers = file.header.checkpoint.map_or(0, |pointer| pointer.covers);
        let mut clean = false;
        while let Some(group) = file.next(env)? {
            let at = file.offset;
            clean = matches!(&group, Group::Entries(_, bodies) if bodies.is_empty());
            match group {
                _ if dropped => return Err(file.corrupt(env, at, "a group after the destruction of the keyspace")),
                Group::Entries(first, bodies) if last.checked_add(1) == Some(first) => {
                    let full = || file.corrupt(env, at, "entry numbers exceed the maximum");
                    let end = last.checked_add(bodies.len() as u64).filter(|end| *end < u64::MAX - 1);
                    last = end.ok_or_else(full)?;
                    entries.extend((first..).zip(bodies).filter(|(seq, _)| *seq > covers));
                }
                Group::Drop => dropped = true,
                _ => return Err(file.corrupt(env, at, "a group does not follow the previous one")),
            }
        }
        if clean && file.end.is_none() {
            // When the mark was written, every group before it and the name of the file had been flushed.
            clean_mark = Some(file.clean_mark());
        } else {
            file.make_durable(env, data_folder)?;
        }
        checkpoint_bodies.extend(file.header.body.take().map(|body| (file.id, body)));
        files.push(LogFileInfo { id: file.id, before: file.header.before, bytes: file.offset - file.first });
        last_file =
            Some((file.header.checkpoint, LogFileEnd { id: file.id, groups: file.groups, offset: file.offset }));
    }
    let (checkpoint, end) = last_file.ok_or(Error::Closing)?;
    let covers = checkpoint.map_or(0, |pointer| pointer.covers);
    entries.retain(|(seq, _)| *seq > covers);
    let holder = checkpoint.and_then(|pointer| pointer.holder());
    let body = checkpoint_bodies.into_iter().find(|(id, _)| Some(*id) == holder).map(|(_, body)| body);
    Ok((LogContents { entries, last, files, checkpoint, end, body, clean_mark }, dropped))
}

/// One log file being read.
struct LogFileReader {
    id: LogFileId,
    bytes: Vec<u8>,
    prologue: usize,
    opener: FrameOpener,
    header: FileHeader,
    /// Where the file must end; unknown for the newest one.
    end: Option<LogFileEnd>,
    groups: u64,
    offset: u64,
    /// Offset of the first byte after the header.
    first: u64,
    last_group: u64,
}

impl LogFileReader {
    /// Reads the file and its header. Both were durable before the file had its name, so a defect here is never a torn
    /// write.
    fn read(env: &JournalEnv, data_folder: &DataFolder, id: LogFileId) -> Result<Self, Error> {
        let name = Name::Log(id);
        let wrong = |why| corrupt(env, name, id.epoch, 0, why);
        let bytes = data_folder.read(&env.name(name)).map_err(|source| io_error("reading a log file", source))?;
        let bytes = bytes.ok_or_else(|| wrong("a log file that a later one needs is missing"))?;
        let (mut opener, prologue) = env.keyspace.open_log(&bytes).map_err(|_| wrong("the prologue does not open"))?;
        let prologue_bytes = bytes.get(..prologue).ok_or_else(|| wrong("the prologue is truncated"))?;
        let header = GroupHeader::open(
            &env.keyspace,
            prologue_bytes,
            prologue as u64,
            bytes.get(prologue..).unwrap_or_default(),
        );
        let header =
            header.filter(|header| header.index == 0).ok_or_else(|| wrong("the first group header does not open"))?;
        if header.size > bytes.len() as u64 {
            return Err(wrong("the file was truncated"));
        }
        let begin = prologue + GROUP_HEADER_BYTES;
        let frame =
            bytes.get(begin..begin + header.frame as usize).ok_or_else(|| wrong("the file header is truncated"))?;
        let group = open_frame(&mut opener, frame, 0).ok_or_else(|| wrong("the file header does not open"))?;
        let Group::FileHeader(encoded) = group else { return Err(wrong("the first group is not a file header")) };
        let file_header = FileHeader::decode(&encoded).map_err(|_| wrong("the file header has an unknown form"))?;
        if file_header.id != id {
            return Err(wrong("the file belongs to another name"));
        }
        let offset = (begin + frame.len()) as u64;
        Ok(Self {
            id,
            prologue,
            opener,
            header: file_header,
            end: None,
            groups: 1,
            offset,
            first: offset,
            last_group: prologue as u64,
            bytes,
        })
    }

    /// Reads the next group; `None` at the end.
    fn next(&mut self, env: &JournalEnv) -> Result<Option<Group>, Error> {
        // A finished file must end where its successor says, in groups and in bytes.
        if let Some(end) = self.end.filter(|end| self.groups == end.groups || self.offset >= end.offset) {
            let exact = self.groups == end.groups && self.offset == end.offset;
            return if exact {
                Ok(None)
            } else {
                Err(self.corrupt(env, self.offset, "the file does not end where its successor says"))
            };
        }
        let at = usize::try_from(self.offset).unwrap_or(usize::MAX);
        let rest = self.bytes.get(at..).unwrap_or_default();
        let header = GroupHeader::open(&env.keyspace, &self.bytes[..self.prologue], self.offset, rest);
        let header = header.filter(|header| header.index == self.groups);
        if header.is_some_and(|header| header.size > self.bytes.len() as u64) {
            return Err(self.corrupt(env, self.offset, "the file was truncated"));
        }
        let frame = header.and_then(|header| rest.get(GROUP_HEADER_BYTES..GROUP_HEADER_BYTES + header.frame as usize));
        let group =
            frame.and_then(|frame| open_frame(&mut self.opener, frame, self.groups).map(|group| (group, frame.len())));
        // Without a valid header and frame, the rest may be a torn write.
        let Some((group, frame)) = group else { return self.check_torn(env).map(|()| None) };
        self.last_group = self.offset;
        self.offset += (GROUP_HEADER_BYTES + frame) as u64;
        self.groups += 1;
        Ok(Some(group))
    }

    /// Accepts the bytes at the current offset as the remains of an unfinished write, or says why they cannot be: only
    /// the end of the newest file can be torn, and a later group proves that this one was flushed before it.
    fn check_torn(&self, env: &JournalEnv) -> Result<(), Error> {
        if self.end.is_some() {
            return Err(self.corrupt(env, self.offset, "a group that was acknowledged does not authenticate"));
        }
        let after = self.offset + 1;
        let rest = usize::try_from(after).ok().and_then(|at| self.bytes.get(at..)).unwrap_or_default();
        if GroupHeader::exists_in(&env.keyspace, &self.bytes[..self.prologue], after, rest) {
            return Err(self.corrupt(env, self.offset, "a group does not authenticate and later ones follow it"));
        }
        Ok(())
    }

    /// The last group, to be made durable before anything relies on it.
    fn clean_mark(&self) -> CleanMark {
        CleanMark { id: self.id, offset: self.last_group, bytes: self.last_bytes().to_vec() }
    }

    fn last_bytes(&self) -> &[u8] {
        let range = usize::try_from(self.last_group).unwrap_or(0)..usize::try_from(self.offset).unwrap_or(0);
        self.bytes.get(range).unwrap_or_default()
    }

    /// Makes the last group durable. Only the newest file can contain bytes that are not on the disk yet.
    fn make_durable(&self, env: &JournalEnv, data_folder: &DataFolder) -> Result<(), Error> {
        if self.end.is_some() {
            return Ok(());
        }
        let path = data_folder.path(&env.name(Name::Log(self.id)));
        let io = |source| io_error("flushing what was recovered", source);
        path.parent().map_or(Ok(()), |folder| data_folder.make_folders(folder)).map_err(io)?;
        log_file::rewrite_and_flush(&**data_folder.disk(), &path, self.last_bytes(), self.last_group).map_err(io)
    }

    fn corrupt(&self, env: &JournalEnv, offset: u64, why: &'static str) -> Error {
        corrupt(env, Name::Log(self.id), self.id.epoch, offset, why)
    }
}

fn open_frame(opener: &mut FrameOpener, frame: &[u8], index: u64) -> Option<Group> {
    let (seq, body, used) = opener.open(frame).ok()??;
    (seq == index && used == frame.len()).then(|| Group::decode(&body).ok())?
}

/// The result without any log file: the keyspace is new, or its first process crashed before its first write.
fn without_log(
    env: &Arc<JournalEnv>,
    data_folder: &Arc<DataFolder>,
    listing: &Listing,
    newest: LogEpoch,
) -> Result<RecoveredLog, Error> {
    if listing.names.iter().any(|name| matches!(name, Name::Checkpoint(_))) {
        let nowhere = Name::Log(LogFileId { epoch: newest, number: 0 });
        return Err(corrupt(env, nowhere, newest, 0, "there are checkpoints and no log"));
    }
    Ok(empty_log(env, data_folder, newest, false))
}

fn empty_log(env: &Arc<JournalEnv>, data_folder: &Arc<DataFolder>, newest: LogEpoch, dropped: bool) -> RecoveredLog {
    let writer = LogWriter {
        env: Arc::clone(env),
        data_folder: Arc::clone(data_folder),
        open_file: None,
        recovered_end: None,
        clean_mark: None,
        log_files: Vec::new(),
        obsolete: Vec::new(),
        checkpoint: None,
        last: 0,
        newest,
        epoch: None,
        next_number: 1,
        stopped: dropped.then_some((Stopped::Dropped, None)),
    };
    RecoveredLog { writer, checkpoint: None, entries: Vec::new(), dropped }
}
