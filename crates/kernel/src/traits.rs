//! Small traits handed downward: what a low floor needs from a higher one.

use std::{io, ops::Range};

/// Bytes that lie somewhere and are read in pieces: sealed ones in a file, a remote object or memory; opened ones
/// in a sealed object. They never change while this is held. Readers on several threads do not wait for each other.
pub trait ReadAt: Send + Sync {
    /// How many.
    fn size(&self) -> u64;

    /// Fills `into` with the bytes from `offset` on. Blocks.
    ///
    /// # Errors
    /// `UnexpectedEof` when they end before; `InvalidData` for bytes that are not what was written, which
    /// reading again does not mend; else what the medium says.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// Says that these ranges are read next, so that a distant source can fetch them together. A hint.
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

/// One token of a text: byte range in that text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenSpan {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// A model's own tokeniser, as the chunker and the context budget see it.
pub trait Tokens: Send + Sync {
    /// Tokens of `text` without special ones, in order. Ranges lie on char borders.
    fn spans(&self, text: &str) -> Vec<TokenSpan>;

    /// How many there are.
    fn count(&self, text: &str) -> usize {
        self.spans(text).len()
    }

    /// What the counts mean, e.g. `all-MiniLM-L6-v2`.
    fn name(&self) -> &str;
}

/// A keyed one-way name under one tenant's audit key: equal inputs give equal names inside the
/// tenant; without the key they can neither be reversed nor compared across tenants.
pub trait Pseudonymiser: Send + Sync {
    /// 16 bytes of HMAC-SHA-256 over the length-prefixed parts.
    fn pseudonym(&self, parts: &[&[u8]]) -> [u8; 16];
}

/// How far the audit lines of a namespace reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditMark {
    /// The newest commit.
    pub commit: crate::CommitNo,
    /// Keyed digest over the lines of all commits up to it, in order. Two histories of one namespace differ in it from
    /// the first commit on in which they differ.
    pub digest: [u8; 16],
    /// Documents that the namespace holds.
    pub documents: u64,
    /// Bytes that they count for quotas.
    pub bytes: u64,
}

/// A mutation's audit line, handed from the commit that carried it to the tenant's chain.
pub struct Absorbed {
    /// Whose.
    pub incarnation: crate::Incarnation,
    /// Which namespace's log carried it.
    pub namespace: crate::NamespaceUuid,
    /// The commit that carried it, and the lines up to it. One line a commit; handed over at least once, in order.
    pub mark: AuditMark,
    /// The line, as the ledger wrote it.
    pub line: Vec<u8>,
}

/// Memory for writes whose size shows only while they are planned: patches, reviews, deletions.
pub trait WriteMemory: Send + Sync {
    /// A permit for one write of this tenant, of nothing yet.
    fn enter(&self, incarnation: crate::Incarnation) -> Box<dyn WritePermit>;
}

/// What one write holds of that memory, until it is dropped.
pub trait WritePermit: Send {
    /// Takes more, before that much is read or made.
    ///
    /// # Errors
    /// `rate_limited`, `overloaded` or `too_large`: the write is to end.
    fn grow(&mut self, bytes: u64) -> Result<(), crate::Error>;
}

/// A future in a box, so that kernel needs no runtime.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where lines go once their commit is durable. The store truncates its log only up to what was absorbed.
pub trait AuditSink: Send + Sync {
    /// Makes the line durable in the tenant's chain, once however often it is called. A commit that the chain has with
    /// other content is an error, never left out.
    fn absorb(&self, line: Absorbed) -> BoxFuture<'_, Result<(), crate::Error>>;

    /// How far the chain has recorded a namespace; `None` for one of which it has no line.
    fn recorded(
        &self,
        incarnation: crate::Incarnation,
        namespace: crate::NamespaceUuid,
    ) -> BoxFuture<'_, Result<Option<AuditMark>, crate::Error>>;

    /// Tells that a namespace is not what the chain has recorded of it: its newest commit is older, or stands for
    /// something else.
    fn rolled_back(
        &self,
        incarnation: crate::Incarnation,
        namespace: crate::NamespaceUuid,
        recorded: AuditMark,
        found: crate::CommitNo,
    );
}
