//! The first group of a log file: where it stands in the place's life, and the newest checkpoint.
//!
//! It is written before the file gets its name, so a file that can be seen has a whole one. It
//! says where the file before it ended, so whatever stands behind that end was never acknowledged
//! and is never read again; and only the newest file's end is ever in question.

use crate::{
    names::PartId,
    objects::{take, take_slice},
};
use kernel::{LogEpoch, ObjectUuid, Plaintext};
use zeroize::Zeroizing;

/// What the first group says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    /// This file.
    pub(crate) id: PartId,
    /// Last entry before this file.
    pub(crate) before: u64,
    /// The file before it, and where it ended.
    pub(crate) previous: Option<End>,
    /// The newest checkpoint when the file was started.
    pub(crate) checkpoint: Option<Pointer>,
    /// Its body, if it stands here.
    pub(crate) body: Option<Plaintext>,
}

/// Where a finished log file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Which file.
    pub(crate) id: PartId,
    /// Groups in it, the opening one counted.
    pub(crate) groups: u64,
    /// First byte behind the last group.
    pub(crate) offset: u64,
}

/// Names a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    /// The object's name, or the part of the log whose beginning holds it.
    pub(crate) id: PartId,
    /// Its identity in the seal, if it is an object; none when it stands in the log.
    pub(crate) uuid: Option<ObjectUuid>,
    /// Everything up to this entry is in it.
    pub(crate) covers: u64,
}

impl Pointer {
    /// The part of the log that holds it.
    pub(crate) fn holder(&self) -> Option<PartId> {
        self.uuid.is_none().then_some(self.id)
    }

    /// `0 ‖ id 12 ‖ covers u64` in the log, `1 ‖ id 12 ‖ uuid 16 ‖ covers u64` as an object.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.uuid.is_some()));
        put_id(out, self.id);
        if let Some(uuid) = self.uuid {
            out.extend_from_slice(uuid.as_bytes());
        }
        out.extend_from_slice(&self.covers.to_le_bytes());
    }

    pub(crate) fn decode(rest: &mut &[u8]) -> Option<Self> {
        let object = flag(rest)?;
        let id = take_id(rest)?;
        let uuid = if object { Some(ObjectUuid::from_bytes(take(rest)?)) } else { None };
        Some(Self { id, uuid, covers: u64::from_le_bytes(take(rest)?) })
    }
}

impl Opening {
    /// `version u8 ‖ id 12 ‖ before u64 ‖ (0 | 1 ‖ id 12 ‖ groups u64 ‖ offset u64) ‖ (0 | 1 ‖ pointer) ‖
    /// (0 | 1 ‖ length u32 ‖ body)`. One allocation of the right size: what the allocator throws away
    /// is not zeroised.
    pub(crate) fn encode(&self) -> Plaintext {
        let mut out = Zeroizing::new(Vec::with_capacity(OPENING_MOST + self.body.as_ref().map_or(0, |b| b.len())));
        out.push(VERSION);
        put_id(&mut out, self.id);
        out.extend_from_slice(&self.before.to_le_bytes());
        out.push(u8::from(self.previous.is_some()));
        if let Some(end) = self.previous {
            put_id(&mut out, end.id);
            out.extend_from_slice(&end.groups.to_le_bytes());
            out.extend_from_slice(&end.offset.to_le_bytes());
        }
        put_checkpoint(&mut out, self.checkpoint.as_ref(), self.body.as_ref());
        out.into()
    }

    /// `None` when the bytes are no opening of this version, whole and alone.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let rest = &mut bytes;
        if take::<1>(rest)?[0] != VERSION {
            return None;
        }
        let id = take_id(rest)?;
        let before = u64::from_le_bytes(take(rest)?);
        let previous = match flag(rest)? {
            false => None,
            true => Some(End {
                id: take_id(rest)?,
                groups: u64::from_le_bytes(take(rest)?),
                offset: u64::from_le_bytes(take(rest)?),
            }),
        };
        let (checkpoint, body) = take_checkpoint(rest, id)?;
        rest.is_empty().then_some(Self { id, before, previous, checkpoint, body })
    }
}

/// `(0 | 1 ‖ pointer) ‖ (0 | 1 ‖ length u32 ‖ body)`.
pub(crate) fn put_checkpoint(out: &mut Vec<u8>, checkpoint: Option<&Pointer>, body: Option<&Plaintext>) {
    out.push(u8::from(checkpoint.is_some()));
    if let Some(pointer) = checkpoint {
        pointer.encode(out);
    }
    out.push(u8::from(body.is_some()));
    if let Some(body) = body {
        let length = u32::try_from(body.len()).expect("only a small body stands in the log");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(body);
    }
}

/// What [`put_checkpoint`] wrote into part `id`. A body stands where its pointer says, nowhere else.
pub(crate) fn take_checkpoint(rest: &mut &[u8], id: PartId) -> Option<(Option<Pointer>, Option<Plaintext>)> {
    let checkpoint = if flag(rest)? { Some(Pointer::decode(rest)?) } else { None };
    let mut body = None;
    if flag(rest)? {
        let length = usize::try_from(u32::from_le_bytes(take(rest)?)).ok()?;
        body = Some(Plaintext::from(take_slice(rest, length)?));
    }
    let here = checkpoint.and_then(|pointer| pointer.holder()) == Some(id);
    (here == body.is_some()).then_some((checkpoint, body))
}

fn flag(rest: &mut &[u8]) -> Option<bool> {
    match take::<1>(rest)?[0] {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

pub(crate) fn put_id(out: &mut Vec<u8>, id: PartId) {
    out.extend_from_slice(&id.epoch.0.to_le_bytes());
    out.extend_from_slice(&id.part.to_le_bytes());
}

pub(crate) fn take_id(bytes: &mut &[u8]) -> Option<PartId> {
    let epoch = LogEpoch(u32::from_le_bytes(take(bytes)?));
    Some(PartId { epoch, part: u64::from_le_bytes(take(bytes)?) })
}

const VERSION: u8 = 0;
/// Everything but the body, at most.
const OPENING_MOST: usize = 128;
