//! The header of a log file, which is its first group: the file's position in the log, and the newest checkpoint.
//!
//! It is written before the file gets its name, so every visible file has a complete header. It states where the
//! previous file ended, so anything after that end was never acknowledged and is never read again; only the end of the
//! newest file can be in doubt.

use super::group::read_body;
use crate::names::LogFileId;
use kernel::{ByteReader, LogEpoch, MalformedBytes, ObjectUuid, Plaintext};
use zeroize::Zeroizing;

/// Content of the first group.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    /// Name of this file.
    pub(crate) id: LogFileId,
    /// Number of the last entry before this file.
    pub(crate) before: u64,
    /// End of the previous file.
    pub(crate) previous: Option<LogFileEnd>,
    /// The newest checkpoint when the file was started.
    pub(crate) checkpoint: Option<CheckpointRef>,
    /// Body of that checkpoint, if this file holds it.
    pub(crate) body: Option<Plaintext>,
}

/// Where a finished log file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogFileEnd {
    /// Name of the file.
    pub(crate) id: LogFileId,
    /// Number of groups in the file, including the header.
    pub(crate) groups: u64,
    /// Offset of the first byte after the last group.
    pub(crate) offset: u64,
}

/// Reference to a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CheckpointRef {
    /// Name of the object, or of the log file whose beginning holds the checkpoint.
    pub(crate) id: LogFileId,
    /// Uuid under which the object is sealed; `None` if the checkpoint is in the log.
    pub(crate) uuid: Option<ObjectUuid>,
    /// Number of the last entry that the checkpoint covers.
    pub(crate) covers: u64,
}

impl CheckpointRef {
    /// The log file that holds the checkpoint, if it is in the log.
    pub(crate) fn holder(&self) -> Option<LogFileId> {
        self.uuid.is_none().then_some(self.id)
    }

    /// Encodes `0 ‖ id 12 ‖ covers u64` for a checkpoint in the log, `1 ‖ id 12 ‖ uuid 16 ‖ covers u64` for an object.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.uuid.is_some()));
        put_id(out, self.id);
        if let Some(uuid) = self.uuid {
            out.extend_from_slice(uuid.as_bytes());
        }
        out.extend_from_slice(&self.covers.to_le_bytes());
    }

    pub(crate) fn decode(r: &mut ByteReader<'_>) -> Result<Self, MalformedBytes> {
        let object = r.flag()?;
        let id = read_id(r)?;
        let uuid = if object { Some(ObjectUuid::from_bytes(r.array()?)) } else { None };
        Ok(Self { id, uuid, covers: r.u64()? })
    }
}

impl FileHeader {
    /// Encodes `version u8 ‖ id 12 ‖ before u64 ‖ (0 | 1 ‖ id 12 ‖ groups u64 ‖ offset u64) ‖ checkpoint`, where the
    /// checkpoint is that of [`put_checkpoint`]. Makes one allocation of sufficient size: memory that a reallocation
    /// frees is not zeroised.
    pub(crate) fn encode(&self) -> Plaintext {
        let mut out =
            Zeroizing::new(Vec::with_capacity(FILE_HEADER_BYTES_MAX + self.body.as_ref().map_or(0, |b| b.len())));
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

    /// Decodes bytes that are exactly one header of this version.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, MalformedBytes> {
        let mut r = ByteReader::new(bytes, "file header");
        if r.u8()? != VERSION {
            return Err(r.malformed());
        }
        let id = read_id(&mut r)?;
        let before = r.u64()?;
        let mut previous = None;
        if r.flag()? {
            previous = Some(LogFileEnd { id: read_id(&mut r)?, groups: r.u64()?, offset: r.u64()? });
        }
        let (checkpoint, body) = read_checkpoint(&mut r, id)?;
        r.end()?;
        Ok(Self { id, before, previous, checkpoint, body })
    }
}

/// Encodes `(0 | 1 ‖ reference) ‖ (0 | 1 ‖ length u32 ‖ body)`.
pub(crate) fn put_checkpoint(out: &mut Vec<u8>, checkpoint: Option<&CheckpointRef>, body: Option<&Plaintext>) {
    out.push(u8::from(checkpoint.is_some()));
    if let Some(pointer) = checkpoint {
        pointer.encode(out);
    }
    out.push(u8::from(body.is_some()));
    if let Some(body) = body {
        let length = u32::try_from(body.len()).expect("only a small body is in the log");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(body);
    }
}

/// Reads what [`put_checkpoint`] wrote into log file `id`. There is a body exactly if the reference names this file.
pub(crate) fn read_checkpoint(
    r: &mut ByteReader<'_>,
    id: LogFileId,
) -> Result<(Option<CheckpointRef>, Option<Plaintext>), MalformedBytes> {
    let checkpoint = if r.flag()? { Some(CheckpointRef::decode(r)?) } else { None };
    let body = if r.flag()? { Some(Plaintext::from(read_body(r)?)) } else { None };
    let is_here = checkpoint.and_then(|pointer| pointer.holder()) == Some(id);
    if is_here == body.is_some() { Ok((checkpoint, body)) } else { Err(r.malformed()) }
}

pub(crate) fn put_id(out: &mut Vec<u8>, id: LogFileId) {
    out.extend_from_slice(&id.epoch.0.to_le_bytes());
    out.extend_from_slice(&id.number.to_le_bytes());
}

pub(crate) fn read_id(r: &mut ByteReader<'_>) -> Result<LogFileId, MalformedBytes> {
    Ok(LogFileId { epoch: LogEpoch(r.u32()?), number: r.u64()? })
}

const VERSION: u8 = 0;
/// Maximum encoded size without the body, in bytes.
const FILE_HEADER_BYTES_MAX: usize = 128;
