//! Kinds of keyspaces and of objects, with their codes on disk. Codes are never reused.

use crate::crypto::sha256;
use kernel::NamespaceUuid;

/// Kind of a keyspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyspaceKind {
    /// The server's own records: tenants, credentials, operations.
    Control,
    /// A tenant's directory: its namespaces and their keys.
    Directory,
    /// A namespace.
    Namespace,
    /// A tenant's audit log.
    Audit,
}

impl KeyspaceKind {
    pub(crate) fn code(self) -> u8 {
        match self {
            KeyspaceKind::Control => 1,
            KeyspaceKind::Directory => 2,
            KeyspaceKind::Namespace => 3,
            KeyspaceKind::Audit => 4,
        }
    }

    /// Prefix of the objects of the keyspace with this uuid. See [`Keyspace::prefix`](crate::Keyspace::prefix).
    pub fn prefix(self, uuid: NamespaceUuid) -> String {
        let shard = sha256(uuid.as_bytes())[0];
        format!("{}/{shard:02x}/{uuid}/", self.folder())
    }

    fn folder(self) -> &'static str {
        match self {
            KeyspaceKind::Control => "ctl",
            KeyspaceKind::Directory => "dir",
            KeyspaceKind::Namespace => "ns",
            KeyspaceKind::Audit => "audit",
        }
    }
}

/// Kind of a sealed object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    /// An index of passages.
    Segment,
    /// A keyspace's state up to a sequence number.
    Checkpoint,
    /// Older audit records.
    AuditChunk,
    /// An object of the control keyspace.
    Control,
}

impl ObjectKind {
    /// Code of the kind on disk, for callers that write references to objects.
    pub fn code(self) -> u8 {
        match self {
            ObjectKind::Segment => 1,
            ObjectKind::Checkpoint => 2,
            ObjectKind::AuditChunk => 3,
            ObjectKind::Control => 4,
        }
    }

    /// Kind with the given code on disk.
    pub fn from_code(code: u8) -> Option<Self> {
        [ObjectKind::Segment, ObjectKind::Checkpoint, ObjectKind::AuditChunk, ObjectKind::Control]
            .into_iter()
            .find(|kind| kind.code() == code)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            ObjectKind::Segment => "segment",
            ObjectKind::Checkpoint => "checkpoint",
            ObjectKind::AuditChunk => "audit chunk",
            ObjectKind::Control => "control object",
        }
    }
}
