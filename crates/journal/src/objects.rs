//! Immutable sealed objects and how a checkpoint names them.

use crate::names::Name;
use kernel::{KeyEpoch, LogEpoch, ObjectUuid};
use vault::{ObjectKind, WrappedKey};

/// Names one immutable object and holds its wrapped key. Who has it and the place can open it.
#[derive(Clone, PartialEq, Eq)]
pub struct ObjectRef {
    /// What it is.
    pub kind: ObjectKind,
    /// Which one.
    pub uuid: ObjectUuid,
    /// The log epoch of who put it: part of its name, so that nobody ever sweeps a successor's.
    pub writer: LogEpoch,
    /// Its key, under the place's key.
    pub key: WrappedKey,
    /// Its size on disk, bytes.
    pub bytes: u64,
}

impl ObjectRef {
    /// Inside the place.
    pub(crate) fn name(&self) -> Name {
        Name::Object(self.writer, self.uuid)
    }

    /// Appends `kind u8 ‖ uuid 16 ‖ writer u32 ‖ key epoch u32 ‖ key length u16 ‖ key ‖ bytes u64`, little-endian.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(kind_byte(self.kind));
        out.extend_from_slice(self.uuid.as_bytes());
        out.extend_from_slice(&self.writer.0.to_le_bytes());
        out.extend_from_slice(&self.key.epoch.0.to_le_bytes());
        let length = u16::try_from(self.key.bytes.len()).expect("a wrapped key is under 64 KiB by the vault's format");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&self.key.bytes);
        out.extend_from_slice(&self.bytes.to_le_bytes());
    }

    /// Reads what [`ObjectRef::encode`] wrote from the front of `bytes` and moves on behind it.
    /// `None` when it is not that.
    pub fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let kind = kind_of(take::<1>(bytes)?[0])?;
        let uuid = ObjectUuid::from_bytes(take(bytes)?);
        let writer = LogEpoch(u32::from_le_bytes(take(bytes)?));
        let epoch = KeyEpoch(u32::from_le_bytes(take(bytes)?));
        let length = usize::from(u16::from_le_bytes(take(bytes)?));
        let key = WrappedKey { epoch, bytes: take_slice(bytes, length)?.to_vec() };
        Some(Self { kind, uuid, writer, key, bytes: u64::from_le_bytes(take(bytes)?) })
    }
}

impl std::fmt::Debug for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ObjectRef({}, {} bytes)", self.uuid, self.bytes)
    }
}

/// Takes `N` bytes off the front.
pub(crate) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

/// Takes `length` bytes off the front.
pub(crate) fn take_slice<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(head)
}

fn kind_byte(kind: ObjectKind) -> u8 {
    match kind {
        ObjectKind::Segment => 1,
        ObjectKind::Checkpoint => 2,
        ObjectKind::AuditChunk => 3,
        ObjectKind::Control => 4,
    }
}

fn kind_of(byte: u8) -> Option<ObjectKind> {
    match byte {
        1 => Some(ObjectKind::Segment),
        2 => Some(ObjectKind::Checkpoint),
        3 => Some(ObjectKind::AuditChunk),
        4 => Some(ObjectKind::Control),
        _ => None,
    }
}
