//! Errors of a namespace. No message contains customer text.

use kernel::{Code, CommitNo};
use std::time::Duration;

/// A fault of one namespace, or the reason why it refuses a request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The namespace does not exist.
    #[error("no such resource")]
    NotFound,
    /// The server is shutting down, or the tenant was suspended.
    #[error("the namespace is being closed; try again")]
    Closing,
    /// The queue of the namespace's writer is full.
    #[error("{0} writes are already waiting for this namespace; try again")]
    QueueFull(usize),
    /// The memtable grows faster than it can be flushed.
    #[error("{0} bytes of the namespace have not been flushed yet; try again")]
    MemtableFull(u64),
    /// The tenant's audit log accepts no records; writes without audit are bounded.
    #[error("{0} audit records of this namespace are waiting; try again")]
    AuditBacklog(usize),
    /// `min_commit` was not published in time.
    #[error("commit {requested} is not published yet, the newest is {newest}; try again")]
    NotPublished {
        /// Commit that was asked for.
        requested: CommitNo,
        /// Newest commit that is published.
        newest: CommitNo,
    },
    /// The namespace's files are older than what the tenant's audit log has recorded, or have another history.
    #[error(
        "the namespace was rolled back: its newest commit is {found}, but the audit log has recorded commit {recorded}; \
         restore its newer files, or have an operator accept it as it is"
    )]
    RolledBack {
        /// The newest commit that the audit log has recorded.
        recorded: CommitNo,
        /// The newest commit in the files.
        found: CommitNo,
    },
    /// Opening the namespace failed a moment ago.
    #[error("the namespace cannot be opened: {message}")]
    OpenFailed {
        /// Error code of that attempt.
        code: Code,
        /// Error message of that attempt.
        message: String,
    },
    /// A log entry or manifest authenticates but does not decode, which is a bug.
    #[error("{what} is corrupt at byte {at}")]
    Corrupt {
        /// `log entry`, `manifest` or another structure.
        what: &'static str,
        /// Byte position, or number of the entry.
        at: usize,
    },
    /// The bytes have another version of the format.
    #[error("{what} has format version {found}; this program only reads version {known}")]
    Version {
        /// `log entry` or `manifest`.
        what: &'static str,
        /// Version in the bytes.
        found: u8,
        /// Version that this program reads.
        known: u8,
    },
    /// A vector does not match the dimensions that the namespace stores.
    #[error(
        "has {found} vector values where the namespace stores {expected}; send vectors with the namespace's dimensions"
    )]
    Dimensions {
        /// Index of the document in the request.
        document: usize,
        /// Expected number of values.
        expected: usize,
        /// Number of values that were sent.
        found: usize,
    },
    /// One commit would become too large.
    #[error("the selection matches more than {limit} {what}; narrow it and send several requests")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// Upper limit.
        limit: u64,
    },
    /// The tenant would exceed a quota.
    #[error(
        "the tenant's quota is exhausted: it may store {max} {quota}, and this write adds {more} to those that are stored or \
         being stored; delete documents, or ask an operator to raise the quota"
    )]
    Quota {
        /// `documents` or `bytes`.
        quota: &'static str,
        /// Amount that is stored or reserved by writes in progress. No message shows it: it includes what the caller
        /// may not see.
        used: u64,
        /// Amount that the write would add.
        more: u64,
        /// Quota of the tenant.
        max: u64,
    },
    /// The append failed; the next request opens the namespace again.
    #[error("the write failed: {message}")]
    Append {
        /// Error code of the log.
        code: Code,
        /// Error message of the log.
        message: String,
        /// Whether the bytes may be durable nevertheless.
        outcome_unknown: bool,
    },
    /// The address is not among the eligible rows of this snapshot.
    #[error("the passage is not among the eligible rows of this snapshot")]
    NotEligible,
    /// Work on the pool panicked or was dropped.
    #[error("work on the namespace ended early")]
    Panicked,
    /// Not everything could be re-encrypted.
    #[error("{0} objects of the namespace are still under an older key; try again")]
    NotReencrypted(u64),
    /// The patch of a document is invalid.
    #[error(transparent)]
    Patch(#[from] intake::Error),
    /// Error of an index.
    #[error("segment of the namespace")]
    Segment(#[from] segment::Error),
    /// Error of the log or of an object.
    #[error("journal of the namespace")]
    Journal(#[from] journal::Error),
    /// Error of the directory, the vault, the write memory or the audit sink, passed on unchanged.
    #[error(transparent)]
    External(kernel::Error),
}

impl Error {
    /// Whether bytes of the namespace are not what was written.
    pub(crate) fn is_corrupt(&self) -> bool {
        matches!(self, Error::Segment(source) if source.is_corrupt())
    }

    /// Whether the request was interrupted and nothing is wrong.
    pub(crate) fn is_interrupted(&self) -> bool {
        matches!(self, Error::Segment(source) if source.is_interrupted())
    }

    /// Whether something could not be read this time, and nothing is known to be wrong with it.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Error::Segment(source) if source.is_transient())
    }

    /// Whether the namespace should be opened again: its bytes are not what was written, or one of its objects is
    /// missing, as when another server took over the namespace.
    pub(crate) fn needs_reopening(&self) -> bool {
        let is_missing = |source: &segment::Error| matches!(source, segment::Error::Unreadable(source) if source.kind() == std::io::ErrorKind::NotFound);
        self.is_corrupt() || matches!(self, Error::Segment(source) if is_missing(source))
    }
}

impl From<Error> for kernel::Error {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::NotFound => kernel::Error::not_found(),
            Error::Closing
            | Error::QueueFull(_)
            | Error::MemtableFull(_)
            | Error::AuditBacklog(_)
            | Error::NotPublished { .. } => kernel::Error::overloaded(message, Duration::from_secs(1)),
            Error::RolledBack { .. } => kernel::Error::new(Code::RolledBack, message),
            Error::OpenFailed { code, .. } => kernel::Error::new(code, message),
            Error::Dimensions { document, .. } => {
                kernel::Error::new(Code::DimensionMismatch, message).with_param(format!("documents[{document}].vector"))
            }
            Error::Quota { quota, .. } => {
                kernel::Error::new(Code::QuotaExceeded, message).with_param(format!("quotas.{quota}"))
            }
            Error::TooLarge { .. } => kernel::Error::new(Code::TooLarge, message),
            Error::Append { code, outcome_unknown, .. } => {
                let mut out = kernel::Error::new(code, message);
                out.outcome_unknown = outcome_unknown;
                out
            }
            Error::Patch(source) => source.into(),
            Error::Segment(source) => source.into(),
            Error::Journal(source) => source.into(),
            Error::External(source) => source,
            other => kernel::Error::internal(message).with_source(other),
        }
    }
}
