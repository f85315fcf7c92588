//! From the bytes on disk to a writer that may go on, or to an error that says where it breaks.
//!
//! The newest log file's opening names the newest checkpoint and the file before it; so the chain
//! is walked back until it reaches what the checkpoint covers, then read forward. Every file but
//! the newest must end exactly where its successor says. In the newest a group that does not
//! authenticate is a torn write only if nothing of ours stands behind it.

use super::{
    group::{Group, HEADER, Header},
    opening::{End, Opening, Pointer},
    part,
    writer::{Known, Mark, Writer},
};
use crate::{
    Error, Stopped,
    error::io_error,
    local::{Listing, Local},
    log::{Place, corrupt},
    names::{Name, PartId},
};
use kernel::{LogEpoch, Plaintext};
use std::sync::Arc;
use vault::{FrameOpener, ObjectKind};

/// What stood there.
pub(crate) struct Found {
    pub(crate) writer: Writer,
    pub(crate) checkpoint: Option<Plaintext>,
    pub(crate) entries: Vec<(u64, Plaintext)>,
    pub(crate) dropped: bool,
}

/// Reads the place. Claims nothing; makes durable what it found, so that nobody acts on bytes that
/// a power cut could still take back; removes files that never got their name. Behind the mark of a
/// clean end all is durable but the mark: then nothing is flushed before the writer begins.
pub(crate) fn recover(place: &Arc<Place>, local: &Arc<Local>) -> Result<Found, Error> {
    let listing = local.list(&place.prefix).map_err(|source| io_error("listing a place", source))?;
    let newest = listing.names.iter().filter_map(|name| name.epoch()).max().unwrap_or_default();
    if listing.names.contains(&Name::Tombstone) {
        return Ok(Found { dropped: true, ..empty(place, local, newest, true) });
    }
    for unfinished in &listing.unfinished {
        let removed = local.delete(&format!("{}{unfinished}", place.prefix));
        removed.map_err(|source| io_error("removing an unfinished file", source))?;
    }
    let Some(Read { log, stale, dropped }) = read_log(place, local, &listing)? else {
        return nothing_yet(place, local, &listing, newest);
    };
    let pointer = log.checkpoint;
    let mut found = empty(place, local, newest, dropped);
    if let Some(pointer) = pointer {
        found.checkpoint = Some(match log.body {
            Some(body) => body,
            None => read_checkpoint(place, local, pointer)?,
        });
    }
    found.writer.tail = Some(log.end);
    found.writer.mark = log.mark;
    found.writer.parts = log.parts;
    found.writer.stale = stale;
    found.writer.checkpoint = pointer;
    found.writer.last = log.last;
    found.entries = log.entries;
    Ok(found)
}

fn read_checkpoint(place: &Place, local: &Local, pointer: Pointer) -> Result<Plaintext, Error> {
    let name = Name::Checkpoint(pointer.id);
    let wrong = |why| corrupt(place, name, pointer.id.epoch, 0, why);
    let io = |source| io_error("reading a checkpoint", source);
    let sealed = local.open_source(&place.name(name)).map_err(io)?;
    let sealed = sealed.ok_or_else(|| wrong("the checkpoint that the log names is not there"))?;
    let uuid = pointer.uuid.ok_or_else(|| wrong("the checkpoint stands in the log and is not there"))?;
    match place.home.open_whole_from(ObjectKind::Checkpoint, uuid, &sealed) {
        Err(vault::Error::Unreadable { source, .. }) => Err(io(source)),
        opened => opened.map_err(|_| wrong("the checkpoint does not open")),
    }
}

struct Read {
    log: Log,
    stale: Vec<PartId>,
    dropped: bool,
}

/// What the files from the checkpoint on hold.
struct Log {
    entries: Vec<(u64, Plaintext)>,
    last: u64,
    parts: Vec<Known>,
    checkpoint: Option<Pointer>,
    end: End,
    /// The checkpoint's, if it stands in the log.
    body: Option<Plaintext>,
    /// The mark of a clean end, if it is the last that stands there.
    mark: Option<Mark>,
}

fn read_log(place: &Place, local: &Local, listing: &Listing) -> Result<Option<Read>, Error> {
    let all: Vec<PartId> =
        listing.names.iter().filter_map(|name| if let Name::Log(id) = name { Some(*id) } else { None }).collect();
    let Some(newest) = all.last() else { return Ok(None) };
    let chain = walk_back(place, local, *newest)?;
    let oldest = chain.first().map_or(*newest, |part| part.id);
    let (mut log, dropped) = read_forward(place, local, chain)?;
    let holder = log.checkpoint.and_then(|pointer| pointer.holder());
    if let Some(holder) = holder.filter(|_| log.body.is_none()) {
        let mut part = Part::read(place, local, holder)?;
        log.body = part.opening.body.take();
        log.parts.insert(0, Known { id: holder, before: part.opening.before, bytes: 0 });
    }
    let stale = all.into_iter().filter(|id| *id < oldest && Some(*id) != holder).collect();
    Ok(Some(Read { log, stale, dropped }))
}

/// The files from the one that holds the first uncovered entry to the newest.
fn walk_back(place: &Place, local: &Local, newest: PartId) -> Result<Vec<Part>, Error> {
    let mut chain = vec![Part::read(place, local, newest)?];
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
        let mut previous = Part::read(place, local, end.id)?;
        previous.end = Some(end);
        chain.push(previous);
    }
    chain.reverse();
    Ok(chain)
}

fn read_forward(place: &Place, local: &Local, chain: Vec<Part>) -> Result<(Log, bool), Error> {
    let mut entries = Vec::new();
    let mut parts = Vec::new();
    let mut last = chain.first().map_or(0, |part| part.opening.before);
    let mut dropped = false;
    let mut finish: Option<(Option<Pointer>, End)> = None;
    let (mut bodies_of, mut mark) = (Vec::new(), None);
    for mut part in chain {
        if part.opening.before != last || dropped {
            return Err(part.corrupt(place, 0, "the file does not go on where the one before it ended"));
        }
        let covers = part.opening.checkpoint.map_or(0, |pointer| pointer.covers);
        let mut clean = false;
        while let Some(group) = part.next(place)? {
            let at = part.offset;
            clean = matches!(&group, Group::Entries(_, bodies) if bodies.is_empty());
            match group {
                _ if dropped => return Err(part.corrupt(place, at, "a group after the place was dropped")),
                Group::Entries(first, bodies) if last.checked_add(1) == Some(first) => {
                    let full = || part.corrupt(place, at, "entries have numbers beyond the last");
                    let end = last.checked_add(bodies.len() as u64).filter(|end| *end < u64::MAX - 1);
                    last = end.ok_or_else(full)?;
                    entries.extend((first..).zip(bodies).filter(|(seq, _)| *seq > covers));
                }
                Group::Drop => dropped = true,
                _ => return Err(part.corrupt(place, at, "a group that does not follow the one before it")),
            }
        }
        if clean && part.end.is_none() {
            // It was written when every group before it, and the file's name, had been flushed.
            mark = Some(part.mark());
        } else {
            part.harden(place, local)?;
        }
        bodies_of.extend(part.opening.body.take().map(|body| (part.id, body)));
        parts.push(Known { id: part.id, before: part.opening.before, bytes: part.offset - part.first });
        finish = Some((part.opening.checkpoint, End { id: part.id, groups: part.groups, offset: part.offset }));
    }
    let (checkpoint, end) = finish.ok_or(Error::Closing)?;
    let covers = checkpoint.map_or(0, |pointer| pointer.covers);
    entries.retain(|(seq, _)| *seq > covers);
    let holder = checkpoint.and_then(|pointer| pointer.holder());
    let body = bodies_of.into_iter().find(|(id, _)| Some(*id) == holder).map(|(_, body)| body);
    Ok((Log { entries, last, parts, checkpoint, end, body, mark }, dropped))
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
    /// First byte behind the opening.
    first: u64,
    last_group: u64,
}

impl Part {
    /// Reads the file and its opening. Both were durable before the file had its name, so nothing
    /// here is ever a torn write.
    fn read(place: &Place, local: &Local, id: PartId) -> Result<Self, Error> {
        let name = Name::Log(id);
        let wrong = |why| corrupt(place, name, id.epoch, 0, why);
        let bytes = local.read(&place.name(name)).map_err(|source| io_error("reading a log file", source))?;
        let bytes = bytes.ok_or_else(|| wrong("a log file that a later one needs is not there"))?;
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
        Ok(Self {
            id,
            prologue,
            opener,
            opening,
            end: None,
            groups: 1,
            offset,
            first: offset,
            last_group: prologue as u64,
            bytes,
        })
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

    /// The last group, to be made durable before anything relies on it.
    fn mark(&self) -> Mark {
        Mark { id: self.id, offset: self.last_group, bytes: self.last_bytes().to_vec() }
    }

    fn last_bytes(&self) -> &[u8] {
        let range = usize::try_from(self.last_group).unwrap_or(0)..usize::try_from(self.offset).unwrap_or(0);
        self.bytes.get(range).unwrap_or_default()
    }

    /// Only the newest file can hold bytes that are not on the disk yet.
    fn harden(&self, place: &Place, local: &Local) -> Result<(), Error> {
        if self.end.is_some() {
            return Ok(());
        }
        let path = local.path(&place.name(Name::Log(self.id)));
        let io = |source| io_error("flushing what was recovered", source);
        path.parent().map_or(Ok(()), |folder| local.make_folders(folder)).map_err(io)?;
        part::harden(&**local.disk(), &path, self.last_bytes(), self.last_group).map_err(io)
    }

    fn corrupt(&self, place: &Place, offset: u64, why: &'static str) -> Error {
        corrupt(place, Name::Log(self.id), self.id.epoch, offset, why)
    }
}

fn open_frame(opener: &mut FrameOpener, frame: &[u8], index: u64) -> Option<Group> {
    let (seq, body, used) = opener.open(frame).ok()??;
    (seq == index && used == frame.len()).then(|| Group::decode(&body))?
}

/// No log file: the place is new, or its first process fell before its first write.
fn nothing_yet(place: &Arc<Place>, local: &Arc<Local>, listing: &Listing, newest: LogEpoch) -> Result<Found, Error> {
    if listing.names.iter().any(|name| matches!(name, Name::Checkpoint(_))) {
        let nowhere = Name::Log(PartId { epoch: newest, part: 0 });
        return Err(corrupt(place, nowhere, newest, 0, "there are checkpoints and no log"));
    }
    Ok(empty(place, local, newest, false))
}

fn empty(place: &Arc<Place>, local: &Arc<Local>, newest: LogEpoch, dropped: bool) -> Found {
    let writer = Writer {
        place: Arc::clone(place),
        local: Arc::clone(local),
        open: None,
        tail: None,
        mark: None,
        parts: Vec::new(),
        stale: Vec::new(),
        checkpoint: None,
        last: 0,
        newest,
        epoch: None,
        next_part: 1,
        stopped: dropped.then_some((Stopped::Dropped, None)),
    };
    Found { writer, checkpoint: None, entries: Vec::new(), dropped }
}
