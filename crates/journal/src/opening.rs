//! The first group of a log file: where it stands in the place's life, and the newest checkpoint.
//!
//! It is written before the file gets its name, so a file that can be seen has a whole one. It
//! says where the file before it ended, so whatever stands behind that end was never acknowledged
//! and is never read again; and only the newest file's end is ever in question.

use crate::{names::PartId, objects::take};
use kernel::{LogEpoch, ObjectUuid};

/// What the first group says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    /// This file.
    pub(crate) id: PartId,
    /// Last entry before this file.
    pub(crate) before: u64,
    /// The file before it, and where it ended.
    pub(crate) previous: Option<End>,
    /// The newest checkpoint when the file was started.
    pub(crate) checkpoint: Option<Pointer>,
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
    /// Its name.
    pub(crate) id: PartId,
    /// Its identity in the seal.
    pub(crate) uuid: ObjectUuid,
    /// Everything up to this entry is in it.
    pub(crate) covers: u64,
}

impl Opening {
    /// `version u8 ‖ id 12 ‖ before u64 ‖ (0 | 1 ‖ id 12 ‖ groups u64 ‖ offset u64) ‖ (0 | 1 ‖ id 12 ‖ uuid 16 ‖ covers u64)`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_id(&mut out, self.id);
        out.extend_from_slice(&self.before.to_le_bytes());
        out.push(u8::from(self.previous.is_some()));
        if let Some(end) = self.previous {
            put_id(&mut out, end.id);
            out.extend_from_slice(&end.groups.to_le_bytes());
            out.extend_from_slice(&end.offset.to_le_bytes());
        }
        out.push(u8::from(self.checkpoint.is_some()));
        if let Some(pointer) = self.checkpoint {
            put_id(&mut out, pointer.id);
            out.extend_from_slice(pointer.uuid.as_bytes());
            out.extend_from_slice(&pointer.covers.to_le_bytes());
        }
        out
    }

    /// `None` when the bytes are no opening of this version, whole and alone.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let rest = &mut bytes;
        if take::<1>(rest)?[0] != VERSION {
            return None;
        }
        let id = take_id(rest)?;
        let before = u64::from_le_bytes(take(rest)?);
        let previous = match take::<1>(rest)?[0] {
            0 => None,
            1 => Some(End {
                id: take_id(rest)?,
                groups: u64::from_le_bytes(take(rest)?),
                offset: u64::from_le_bytes(take(rest)?),
            }),
            _ => return None,
        };
        let checkpoint = match take::<1>(rest)?[0] {
            0 => None,
            1 => Some(Pointer {
                id: take_id(rest)?,
                uuid: ObjectUuid::from_bytes(take(rest)?),
                covers: u64::from_le_bytes(take(rest)?),
            }),
            _ => return None,
        };
        rest.is_empty().then_some(Self { id, before, previous, checkpoint })
    }
}

fn put_id(out: &mut Vec<u8>, id: PartId) {
    out.extend_from_slice(&id.epoch.0.to_le_bytes());
    out.extend_from_slice(&id.part.to_le_bytes());
}

fn take_id(bytes: &mut &[u8]) -> Option<PartId> {
    let epoch = LogEpoch(u32::from_le_bytes(take(bytes)?));
    Some(PartId { epoch, part: u64::from_le_bytes(take(bytes)?) })
}

const VERSION: u8 = 0;
