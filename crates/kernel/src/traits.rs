//! Small traits that let a lower crate use a higher one.

use std::{io, ops::Range};

/// Bytes that are stored elsewhere and read in pieces: sealed bytes in a file, a remote object or memory, or the
/// decrypted bytes of a sealed object. They never change while this is held. Readers on several threads do not wait for
/// each other.
pub trait ReadAt: Send + Sync {
    /// Number of bytes.
    fn size(&self) -> u64;

    /// Fills `into` with the bytes that start at `offset`. Blocks.
    ///
    /// # Errors
    /// `UnexpectedEof` if the bytes end earlier; `InvalidData` for bytes that are not those that were written, which
    /// another read does not cure; otherwise the error of the medium.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// Hints that these ranges are read next, so that a remote source can fetch them together.
    fn will_read(&self, ranges: &[Range<u64>]) {
        let _ = ranges;
    }
}

impl ReadAt for Vec<u8> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(into.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(self.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Byte range of one token in its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenSpan {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// The tokeniser of a model, as the chunker and the context budget use it.
pub trait Tokens: Send + Sync {
    /// Tokens of `text` without special ones, in order. Ranges end on character boundaries.
    fn spans(&self, text: &str) -> Vec<TokenSpan>;

    /// Number of tokens without special ones.
    fn count(&self, text: &str) -> usize {
        self.spans(text).len()
    }

    /// Name of the tokeniser's model, e.g. `all-MiniLM-L6-v2`.
    fn name(&self) -> &str;
}

/// Makes one-way pseudonyms under the audit key of one tenant. Equal inputs give equal pseudonyms within the tenant;
/// without the key they can neither be reversed nor compared across tenants.
pub trait Pseudonymiser: Send + Sync {
    /// Pseudonym of the parts: 16 bytes of HMAC-SHA-256 over the length-prefixed parts.
    fn pseudonym(&self, parts: &[&[u8]]) -> [u8; 16];
}

/// Position of the audit log in a namespace's history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditPosition {
    /// Newest commit that the log has recorded.
    pub commit: crate::CommitNo,
    /// Keyed digest over the audit records of all commits up to this one, in order. The digests of two histories of one
    /// namespace differ from the first commit on in which the histories differ.
    pub digest: [u8; 16],
    /// Documents in the namespace.
    pub documents: u64,
    /// Bytes of these documents that count towards quotas.
    pub bytes: u64,
}

/// Audit record of a mutation, which its commit appended to the audit outbox and hands to the tenant's audit log.
pub struct AuditOutboxRecord {
    /// Incarnation of the tenant.
    pub incarnation: crate::Incarnation,
    /// Namespace whose log holds the commit.
    pub namespace: crate::NamespaceUuid,
    /// Position after the commit and its record. There is one record for each commit; records are handed over in order
    /// and at least once.
    pub mark: AuditPosition,
    /// The record, as the ledger encoded it.
    pub line: Vec<u8>,
}

/// Memory budget for writes whose size is known only while they are prepared: patches, reviews and deletions.
pub trait WriteMemory: Send + Sync {
    /// Creates a permit for one write of this tenant. It holds nothing yet.
    fn enter(&self, incarnation: crate::Incarnation) -> Box<dyn WritePermit>;
}

/// Share of one write in the memory budget, until it is dropped.
pub trait WritePermit: Send {
    /// Takes more memory, before the write reads or creates that much.
    ///
    /// # Errors
    /// `rate_limited`, `overloaded` or `too_large`. The write must end.
    fn grow(&mut self, bytes: u64) -> Result<(), crate::Error>;
}

/// A boxed future, so that kernel needs no runtime.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Receives audit records once their commit is durable. The store truncates its log only up to what has been appended
/// here.
pub trait AuditSink: Send + Sync {
    /// Makes the record durable in the tenant's audit log, once however often it is called. It is an error, and never
    /// skipped, if the log has the commit with other content.
    fn append_from_outbox(&self, line: AuditOutboxRecord) -> BoxFuture<'_, Result<(), crate::Error>>;

    /// Position up to which the audit log has recorded a namespace; `None` if it has no record of it.
    fn recorded(
        &self,
        incarnation: crate::Incarnation,
        namespace: crate::NamespaceUuid,
    ) -> BoxFuture<'_, Result<Option<AuditPosition>, crate::Error>>;

    /// Reports that a namespace differs from the audit log's record of it: its newest commit is older, or has other
    /// content.
    fn rolled_back(
        &self,
        incarnation: crate::Incarnation,
        namespace: crate::NamespaceUuid,
        recorded: AuditPosition,
        found: crate::CommitNo,
    );
}
