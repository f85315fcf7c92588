//! Immutable sealed objects and how a checkpoint names them.

use crate::names::Name;
use kernel::{ByteReader, KeyEpoch, LogEpoch, MalformedBytes, ObjectUuid};
use vault::{ObjectKind, WrappedKey};

/// Reference to one immutable object, with its wrapped key. It opens the object together with the keys of the keyspace.
#[derive(Clone, PartialEq, Eq)]
pub struct ObjectRef {
    /// Kind of the object.
    pub kind: ObjectKind,
    /// Uuid of the object.
    pub uuid: ObjectUuid,
    /// Log epoch of the writer that put the object. It is part of the name, so that no writer ever sweeps the objects
    /// of a successor.
    pub writer: LogEpoch,
    /// Key of the object, wrapped under a key of the keyspace.
    pub key: WrappedKey,
    /// Sealed size in bytes.
    pub bytes: u64,
}

impl ObjectRef {
    /// Name of the object inside the keyspace.
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

    /// Decodes the reference at the reader's position.
    ///
    /// # Errors
    /// [`MalformedBytes`] when the bytes are not what [`ObjectRef::encode`] wrote.
    pub fn decode(r: &mut ByteReader<'_>) -> Result<Self, MalformedBytes> {
        let kind = kind_of(r.u8()?).ok_or_else(|| r.malformed())?;
        let uuid = ObjectUuid::from_bytes(r.array()?);
        let writer = LogEpoch(r.u32()?);
        let epoch = KeyEpoch(r.u32()?);
        let length = usize::from(r.u16()?);
        let key = WrappedKey { epoch, bytes: r.take(length)?.to_vec() };
        Ok(Self { kind, uuid, writer, key, bytes: r.u64()? })
    }
}

impl std::fmt::Debug for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ObjectRef({}, {} bytes)", self.uuid, self.bytes)
    }
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
