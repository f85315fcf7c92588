//! What can go wrong with a namespace. No message holds customer text.

use kernel::{Code, CommitNo};
use std::time::Duration;

/// A fault of one namespace, or a request that it refuses.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such namespace.
    #[error("no such resource")]
    NotFound,
    /// The server stops, or the tenant was suspended.
    #[error("the namespace is being closed; try again")]
    Closing,
    /// The writers' queue is full.
    #[error("{0} writes wait for this namespace already; try again")]
    QueueFull(usize),
    /// What is in memory only cannot be flushed as fast as it grows.
    #[error("the namespace has {0} bytes that are not flushed yet; try again")]
    Behind(u64),
    /// The tenant's audit takes no lines, and writes without audit end somewhere.
    #[error("{0} audit lines of this namespace wait; try again")]
    Unaudited(usize),
    /// `min_commit` did not come in time.
    #[error("commit {wanted} is not here yet, the newest is {newest}; try again")]
    NotYet {
        /// Asked for.
        wanted: CommitNo,
        /// What there is.
        newest: CommitNo,
    },
    /// Its files are older than what the tenant's audit has recorded of them, or another history.
    #[error(
        "the namespace was rolled back: its newest commit is {found}, and the audit has recorded commit {recorded}; \
         put its newer files back, or have an operator accept it as it is"
    )]
    RolledBack {
        /// The newest commit of which the audit has a line.
        recorded: CommitNo,
        /// The newest commit in the files.
        found: CommitNo,
    },
    /// It did not open a moment ago.
    #[error("the namespace cannot be opened: {message}")]
    Unopened {
        /// What the first attempt said.
        code: Code,
        /// Its message.
        message: String,
    },
    /// A log entry or manifest that authenticates but does not read: a fault of ours.
    #[error("{what} is corrupt at byte {at}")]
    Corrupt {
        /// Log entry or manifest.
        what: &'static str,
        /// Where.
        at: usize,
    },
    /// Written by another version of the format.
    #[error("{what} has format version {found}; this program reads version {known} only")]
    Version {
        /// Log entry or manifest.
        what: &'static str,
        /// In the bytes.
        found: u8,
        /// Known here.
        known: u8,
    },
    /// A vector does not fit what the namespace holds.
    #[error("has {found} vector values where the namespace stores {expected}; send vectors of its dimensions")]
    Dimensions {
        /// Which document of the request.
        document: usize,
        /// Values due.
        expected: usize,
        /// Values sent.
        found: usize,
    },
    /// One commit would grow too large.
    #[error("the selection matches more than {limit} {what}; narrow it and ask several times")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The tenant would store more than it may.
    #[error(
        "the tenant's quota of {quota} is used up: {used} of {max} are stored or being stored, and this write adds {more}; \
         delete documents, or ask an operator to raise it"
    )]
    Quota {
        /// `documents` or `bytes`.
        quota: &'static str,
        /// Stored, and reserved by writes under way.
        used: u64,
        /// What the write would add.
        more: u64,
        /// What the tenant may store.
        max: u64,
    },
    /// The append failed; the namespace is opened again by the next request.
    #[error("the write failed: {message}")]
    Append {
        /// What the log said.
        code: Code,
        /// Its message.
        message: String,
        /// Whether the bytes may be durable all the same.
        outcome_unknown: bool,
    },
    /// An address that is not among the eligible rows of this snapshot.
    #[error("the passage is not among the eligible rows of this snapshot")]
    NotEligible,
    /// Work on the pool panicked or was dropped.
    #[error("work on the namespace ended early")]
    Panicked,
    /// Not everything could be re-encrypted.
    #[error("{0} objects of the namespace still stand under an older key; ask again")]
    Unrenewed(u64),
    /// A document's patch is wrong.
    #[error(transparent)]
    Patch(#[from] intake::Error),
    /// An index.
    #[error("segment of the namespace")]
    Segment(#[from] segment::Error),
    /// The log or an object.
    #[error("journal of the namespace")]
    Journal(#[from] journal::Error),
    /// Another floor's answer, passed on: the directory, the vault, the audit sink.
    #[error(transparent)]
    Passed(kernel::Error),
}

impl Error {
    /// Whether bytes of the namespace are not what was written.
    pub(crate) fn is_corrupt(&self) -> bool {
        matches!(self, Error::Segment(source) if source.is_corrupt())
    }

    /// Whether the request that it was for is to end, and nothing is wrong.
    pub(crate) fn is_interrupted(&self) -> bool {
        matches!(self, Error::Segment(source) if source.is_interrupted())
    }

    /// Whether something could not be read this time, and nothing is known to be wrong with it.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Error::Segment(source) if source.is_transient())
    }

    /// Whether the namespace should be opened again: its bytes are not what was written, or an object that it
    /// stands on is gone, as when another server took the place over.
    pub(crate) fn wants_reopening(&self) -> bool {
        let gone = |source: &segment::Error| matches!(source, segment::Error::Unreadable(source) if source.kind() == std::io::ErrorKind::NotFound);
        self.is_corrupt() || matches!(self, Error::Segment(source) if gone(source))
    }
}

impl From<Error> for kernel::Error {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::NotFound => kernel::Error::not_found(),
            Error::Closing | Error::QueueFull(_) | Error::Behind(_) | Error::Unaudited(_) | Error::NotYet { .. } => {
                kernel::Error::overloaded(message, Duration::from_secs(1))
            }
            Error::RolledBack { .. } => kernel::Error::new(Code::RolledBack, message),
            Error::Unopened { code, .. } => kernel::Error::new(code, message),
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
            Error::Passed(source) => source,
            other => kernel::Error::internal(message).with_source(other),
        }
    }
}
