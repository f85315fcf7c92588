//! The kinds of places and of objects, with their codes on disk. Codes are never reused.

use crate::crypto::sha256;
use kernel::NamespaceUuid;

/// What kind of place a home is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PlaceKind {
    /// The server's own: tenants, credentials, operations.
    Control,
    /// What a tenant has: namespaces and their keys.
    Directory,
    /// A namespace.
    Namespace,
    /// A tenant's audit.
    Audit,
}

impl PlaceKind {
    pub(crate) fn code(self) -> u8 {
        match self {
            PlaceKind::Control => 1,
            PlaceKind::Directory => 2,
            PlaceKind::Namespace => 3,
            PlaceKind::Audit => 4,
        }
    }

    /// Where the objects of the place with this uuid lie. See [`Home::prefix`](crate::Home::prefix).
    pub fn prefix(self, uuid: NamespaceUuid) -> String {
        let shard = sha256(uuid.as_bytes())[0];
        format!("{}/{shard:02x}/{uuid}/", self.folder())
    }

    fn folder(self) -> &'static str {
        match self {
            PlaceKind::Control => "ctl",
            PlaceKind::Directory => "dir",
            PlaceKind::Namespace => "ns",
            PlaceKind::Audit => "audit",
        }
    }
}

/// What kind of object is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    /// An index of passages.
    Segment,
    /// A place's state up to a sequence number.
    Checkpoint,
    /// Old audit lines.
    AuditChunk,
    /// Something of the control place.
    Control,
}

impl ObjectKind {
    /// Its code on disk, for those who write references to objects.
    pub fn code(self) -> u8 {
        match self {
            ObjectKind::Segment => 1,
            ObjectKind::Checkpoint => 2,
            ObjectKind::AuditChunk => 3,
            ObjectKind::Control => 4,
        }
    }

    /// Reads a code.
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
