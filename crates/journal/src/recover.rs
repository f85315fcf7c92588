//! From the bytes on disk to a writer that may go on, or to an error that says where it breaks.
//!
//! The newest log file's opening names the newest checkpoint and the file before it; so the chain
//! is walked back until it reaches what the checkpoint covers, then read forward. Every file but
//! the newest must end exactly where its successor says. In the newest a group that does not
//! authenticate is a torn write only if nothing of ours stands behind it.

use crate::{
    Error,
    error::io_error,
    file,
    group::{Group, HEADER, Header},
    names::{self, PartId},
    opening::{End, Opening},
    storage::list_folder,
    writer::{Known, Place, Writer},
};
use kernel::LogEpoch;
use std::{fs, path::Path, sync::Arc};
use vault::{FrameOpener, ObjectKind};
use zeroize::Zeroizing;

/// What stood there.
pub(crate) struct Found {
    pub(crate) writer: Writer,
    pub(crate) checkpoint: Option<Zeroizing<Vec<u8>>>,
    pub(crate) entries: Vec<(u64, Zeroizing<Vec<u8>>)>,
    pub(crate) dropped: bool,
}

/// Reads the place. Claims nothing; makes durable what it found, so that nobody acts on bytes that
/// a power cut could still take back.
pub(crate) async fn recover(place: Arc<Place>) -> Result<Found, Error> {
    let storage = place.storage.clone();
    let newest = newest_claim(&place).await?;
    if storage.read(&place.name(names::DELETED), "reading the tombstone").await?.is_some() {
        return Ok(empty(place, newest, true));
    }
    let place_for_log = Arc::clone(&place);
    let read = storage.tasks().disk(move || read_log(&place_for_log)).await??;
    let Some(Read { log, stale, dropped }) = read else {
        return nothing_yet(place, newest).await;
    };
    let newest = newest.max(log.last_opening.id.epoch);
    let pointer = log.last_opening.checkpoint;
    let mut checkpoint = None;
    if let Some(pointer) = pointer {
        let inside = pointer.id.checkpoint_name();
        let wrong = |why| corrupt(&place, &inside, pointer.id.epoch, 0, why);
        let sealed = storage.read(&place.name(&inside), "reading a checkpoint").await?;
        let sealed = sealed.ok_or_else(|| wrong("the checkpoint that the log names is not there"))?;
        let opened = place.home.open_whole(ObjectKind::Checkpoint, pointer.uuid, &sealed);
        checkpoint = Some(opened.map_err(|_| wrong("the checkpoint does not open"))?);
    }
    let mut writer = empty(place, newest, dropped).writer;
    writer.tail = Some(log.end);
    writer.parts = log.parts;
    writer.stale = stale;
    writer.checkpoint = pointer;
    writer.last = log.last;
    Ok(Found { writer, checkpoint, entries: log.entries, dropped })
}

struct Read {
    log: Log,
    stale: Vec<PartId>,
    dropped: bool,
}

/// What the files from the checkpoint on hold.
struct Log {
    entries: Vec<(u64, Zeroizing<Vec<u8>>)>,
    last: u64,
    parts: Vec<Known>,
    last_opening: Opening,
    end: End,
}

fn read_log(place: &Place) -> Result<Option<Read>, Error> {
    let all = list_parts(&place.storage.path(&place.name("log")))?;
    let Some(newest) = all.last() else { return Ok(None) };
    let chain = walk_back(place, *newest)?;
    let oldest = chain.first().map_or(*newest, |part| part.id);
    let stale = all.into_iter().filter(|id| *id < oldest).collect();
    let (log, dropped) = read_forward(place, chain)?;
    Ok(Some(Read { log, stale, dropped }))
}

/// The files from the one that holds the first uncovered entry to the newest.
fn walk_back(place: &Place, newest: PartId) -> Result<Vec<Part>, Error> {
    let mut chain = vec![Part::read(place, newest)?];
    let covers = chain[0].opening.checkpoint.map_or(0, |pointer| pointer.covers);
    if chain[0].opening.before < covers {
        return Err(chain[0].corrupt(place, 0, "the file begins before what its checkpoint covers"));
    }
    while let Some(oldest) = chain.last().filter(|part| part.opening.before > covers) {
        let wrong = |why| oldest.corrupt(place, 0, why);
        let end = oldest.opening.previous.ok_or_else(|| wrong("the log does not reach back to its checkpoint"))?;
        if end.id >= oldest.id {
            return Err(wrong("the file before this one is not older"));
        }
        let mut previous = Part::read(place, end.id)?;
        previous.end = Some(end);
        chain.push(previous);
    }
    chain.reverse();
    Ok(chain)
}

fn read_forward(place: &Place, chain: Vec<Part>) -> Result<(Log, bool), Error> {
    let mut entries = Vec::new();
    let mut parts = Vec::new();
    let mut last = chain.first().map_or(0, |part| part.opening.before);
    let mut dropped = false;
    let mut finish = None;
    for mut part in chain {
        if part.opening.before != last || dropped {
            return Err(part.corrupt(place, 0, "the file does not go on where the one before it ended"));
        }
        let covers = part.opening.checkpoint.map_or(0, |pointer| pointer.covers);
        while let Some(group) = part.next(place)? {
            let at = part.offset;
            match group {
                _ if dropped => return Err(part.corrupt(place, at, "a group after the place was dropped")),
                Group::Entries(first, bodies) if first == last + 1 => {
                    last += bodies.len() as u64;
                    entries.extend((first..).zip(bodies).filter(|(seq, _)| *seq > covers));
                }
                Group::Drop => dropped = true,
                _ => return Err(part.corrupt(place, at, "a group that does not follow the one before it")),
            }
        }
        part.harden(place)?;
        parts.push(Known { id: part.id, before: part.opening.before, bytes: part.offset });
        finish = Some((part.opening.clone(), End { id: part.id, groups: part.groups, offset: part.offset }));
    }
    let (last_opening, end) = finish.ok_or(Error::Closing)?;
    let covers = last_opening.checkpoint.map_or(0, |pointer| pointer.covers);
    entries.retain(|(seq, _)| *seq > covers);
    Ok((Log { entries, last, parts, last_opening, end }, dropped))
}

/// One log file being read.
struct Part {
    id: PartId,
    bytes: Vec<u8>,
    prologue: usize,
    opener: FrameOpener,
    opening: Opening,
    /// Where it must end; unknown for the newest.
    end: Option<End>,
    groups: u64,
    offset: u64,
    last_group: u64,
}

impl Part {
    /// Reads the file and its opening. Both were durable before the file had its name, so nothing
    /// here is ever a torn write.
    fn read(place: &Place, id: PartId) -> Result<Self, Error> {
        let name = id.log_name();
        let wrong = |why| corrupt(place, &name, id.epoch, 0, why);
        let bytes = match fs::read(place.storage.path(&place.name(&name))) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(wrong("a log file that a later one needs is not there"));
            }
            Err(source) => return Err(io_error("reading a log file", source)),
        };
        let (mut opener, prologue) = place.home.open_log(&bytes).map_err(|_| wrong("the prologue does not open"))?;
        let head = bytes.get(..prologue).ok_or_else(|| wrong("the prologue is cut"))?;
        let header = Header::open(&place.home, head, prologue as u64, bytes.get(prologue..).unwrap_or_default());
        let header =
            header.filter(|header| header.index == 0).ok_or_else(|| wrong("the first header does not open"))?;
        if header.size > bytes.len() as u64 {
            return Err(wrong("the file was cut"));
        }
        let begin = prologue + HEADER;
        let frame = bytes.get(begin..begin + header.frame as usize).ok_or_else(|| wrong("the opening is cut"))?;
        let group = open_frame(&mut opener, frame, 0).ok_or_else(|| wrong("the opening does not open"))?;
        let Group::Opening(encoded) = group else { return Err(wrong("the first group is no opening")) };
        let opening = Opening::decode(&encoded).ok_or_else(|| wrong("the opening has another form"))?;
        if opening.id != id {
            return Err(wrong("the file belongs under another name"));
        }
        let offset = (begin + frame.len()) as u64;
        Ok(Self { id, prologue, opener, opening, end: None, groups: 1, offset, last_group: prologue as u64, bytes })
    }

    /// The next group; `None` at the end.
    fn next(&mut self, place: &Place) -> Result<Option<Group>, Error> {
        if let Some(end) = self.end.filter(|end| self.groups == end.groups || self.offset >= end.offset) {
            let exact = self.groups == end.groups && self.offset == end.offset;
            return if exact {
                Ok(None)
            } else {
                Err(self.corrupt(place, self.offset, "it ends elsewhere than its successor says"))
            };
        }
        let at = usize::try_from(self.offset).unwrap_or(usize::MAX);
        let rest = self.bytes.get(at..).unwrap_or_default();
        let header = Header::open(&place.home, &self.bytes[..self.prologue], self.offset, rest);
        let header = header.filter(|header| header.index == self.groups);
        if header.is_some_and(|header| header.size > self.bytes.len() as u64) {
            return Err(self.corrupt(place, self.offset, "the file was cut"));
        }
        let frame = header.and_then(|header| rest.get(HEADER..HEADER + header.frame as usize));
        let group =
            frame.and_then(|frame| open_frame(&mut self.opener, frame, self.groups).map(|group| (group, frame.len())));
        let Some((group, frame)) = group else { return self.torn(place).map(|()| None) };
        self.last_group = self.offset;
        self.offset += (HEADER + frame) as u64;
        self.groups += 1;
        Ok(Some(group))
    }

    /// Accepts what stands here as the remains of a write that never finished, or says why it
    /// cannot be: only the newest file's end can be torn, and a later group proves that this one
    /// was flushed before it.
    fn torn(&self, place: &Place) -> Result<(), Error> {
        if self.end.is_some() {
            return Err(self.corrupt(place, self.offset, "a group that was acknowledged does not authenticate"));
        }
        let behind = self.offset + 1;
        let rest = usize::try_from(behind).ok().and_then(|at| self.bytes.get(at..)).unwrap_or_default();
        if Header::any_in(&place.home, &self.bytes[..self.prologue], behind, rest) {
            return Err(self.corrupt(
                place,
                self.offset,
                "a group does not authenticate and later ones stand behind it",
            ));
        }
        Ok(())
    }

    /// Only the newest file can hold bytes that are not on the disk yet.
    fn harden(&self, place: &Place) -> Result<(), Error> {
        if self.end.is_some() {
            return Ok(());
        }
        let range = usize::try_from(self.last_group).unwrap_or(0)..usize::try_from(self.offset).unwrap_or(0);
        let bytes = self.bytes.get(range).unwrap_or_default();
        let path = place.storage.path(&place.name(&self.id.log_name()));
        file::harden(&path, bytes, self.last_group).map_err(|source| io_error("flushing what was recovered", source))
    }

    fn corrupt(&self, place: &Place, offset: u64, why: &'static str) -> Error {
        corrupt(place, &self.id.log_name(), self.id.epoch, offset, why)
    }
}

fn open_frame(opener: &mut FrameOpener, frame: &[u8], index: u64) -> Option<Group> {
    let (seq, body, used) = opener.open(frame).ok()??;
    (seq == index && used == frame.len()).then(|| Group::decode(&body))?
}

fn corrupt(place: &Place, inside: &str, epoch: LogEpoch, offset: u64, why: &'static str) -> Error {
    tracing::error!(place = ?place.home.kind(), uuid = %place.home.uuid(), %epoch, offset, why, "corrupt");
    Error::Corrupt { file: place.name(inside), epoch, offset, why }
}

/// Every log file, oldest first.
fn list_parts(log: &Path) -> Result<Vec<PartId>, Error> {
    let io = |source| io_error("listing the log", source);
    let mut parts = Vec::new();
    for folder in list_folder(log).map_err(io)? {
        let Some(epoch) = names::parse_epoch(&folder) else { continue };
        for name in list_folder(&log.join(&folder)).map_err(io)? {
            parts.extend(names::parse_part(&name).map(|part| PartId { epoch, part }));
        }
    }
    parts.sort_unstable();
    Ok(parts)
}

async fn newest_claim(place: &Place) -> Result<LogEpoch, Error> {
    let claims = place.storage.list(&place.name("claim")).await?;
    Ok(claims.iter().filter_map(|name| names::parse_epoch(name)).max().unwrap_or_default())
}

/// No log file: the place is new, or its first process fell before its first write.
async fn nothing_yet(place: Arc<Place>, newest: LogEpoch) -> Result<Found, Error> {
    if !place.storage.list(&place.name("ckpt")).await?.is_empty() {
        return Err(corrupt(&place, "log", newest, 0, "there are checkpoints and no log"));
    }
    Ok(empty(place, newest, false))
}

fn empty(place: Arc<Place>, newest: LogEpoch, dropped: bool) -> Found {
    let writer = Writer {
        place,
        open: None,
        tail: None,
        parts: Vec::new(),
        stale: Vec::new(),
        checkpoint: None,
        last: 0,
        newest,
        epoch: None,
        next_part: 1,
        stopped: dropped.then_some((crate::Stopped::Dropped, None)),
    };
    Found { writer, checkpoint: None, entries: Vec::new(), dropped }
}
