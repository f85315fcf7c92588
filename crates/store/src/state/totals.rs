//! Totals of segments and namespaces.

use kernel::CommitNo;

/// Totals of a namespace. Expired documents count until compaction removes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Number of documents, including quarantined ones.
    pub documents: u64,
    /// Number of their passages.
    pub passages: u64,
    /// Stored bytes without indexes: ids, titles, uris, attributes, readers, findings, text and vectors. Byte quotas
    /// count these.
    pub bytes: u64,
    /// Number of quarantined documents.
    pub quarantined: u64,
    /// The newest commit.
    pub commit: CommitNo,
}

impl Totals {
    pub(crate) fn without(self, other: Self) -> Self {
        Self {
            documents: self.documents - other.documents,
            passages: self.passages - other.passages,
            bytes: self.bytes - other.bytes,
            quarantined: self.quarantined - other.quarantined,
            commit: self.commit,
        }
    }

    /// Adds the totals of another segment or namespace.
    pub fn add(&mut self, other: Self) {
        self.documents += other.documents;
        self.passages += other.passages;
        self.bytes += other.bytes;
        self.quarantined += other.quarantined;
    }
}
