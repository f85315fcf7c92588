//! Errors between a keyspace and its bytes, with what an operator needs to diagnose them.
//!
//! File names in errors are relative to the data folder and contain random ids only.

use kernel::{Code, LogEpoch};
use std::{io, sync::Arc};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process holds the data folder.
    #[error("the data folder is in use by another server (process {holder}); stop it first or choose another folder")]
    InUse {
        /// Content of the lock file: a process id, or `unknown`.
        holder: String,
    },
    /// The folder was written by a version whose format this one cannot read.
    #[error("the data folder has format {found:?}, this server reads {expected:?}; use the version that wrote it")]
    Format {
        /// Content of the format marker.
        found: String,
        /// Format that this version reads.
        expected: &'static str,
    },
    /// The disk returned an error.
    #[error("{what} failed")]
    Io {
        /// Operation that failed.
        what: &'static str,
        /// Error of the system.
        #[source]
        source: io::Error,
    },
    /// The object store returned an error.
    #[error("{what} failed")]
    Store {
        /// Operation that failed.
        what: &'static str,
        /// Error of the store.
        #[source]
        source: object_store::Error,
    },
    /// The disk is full. Nothing of the write is visible; the caller may retry once there is space.
    #[error("the disk is full: {what}")]
    Full {
        /// Operation that failed.
        what: &'static str,
    },
    /// The stored bytes are not what this keyspace wrote.
    #[error("{file} does not contain what was written to it (epoch {epoch}, offset {offset}): {why}")]
    Corrupt {
        /// Name of the file, relative to the data folder.
        file: String,
        /// Log epoch of the file.
        epoch: LogEpoch,
        /// Offset in the file, in bytes.
        offset: u64,
        /// What does not match.
        why: &'static str,
    },
    /// The journal refuses writes until the keyspace is opened again.
    #[error("this keyspace takes no writes until it is opened again: {why}")]
    Stopped {
        /// Reason of the stop.
        why: Stopped,
        /// System error that caused the stop.
        #[source]
        source: Option<Arc<io::Error>>,
    },
    /// The entry is larger than a log entry may be.
    #[error("an entry of {bytes} bytes exceeds the limit of {max} bytes")]
    TooLarge {
        /// Size of the entry in bytes.
        bytes: usize,
        /// Maximum size in bytes.
        max: usize,
    },
    /// Bug in the caller: the checkpoint covers entries that were never written, or fewer than the one before it.
    #[error("a checkpoint claims to cover entry {covers}, but the last entry is {last}")]
    CoversAhead {
        /// Last entry that the checkpoint covers.
        covers: u64,
        /// Last durable entry.
        last: u64,
    },
    /// The server is shutting down, or the writing task was dropped during shutdown.
    #[error("the server is shutting down")]
    Closing,
    /// Error of the vault.
    #[error(transparent)]
    Vault(#[from] vault::Error),
}

/// Why a journal accepts no more writes until the keyspace is opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// The disk became full in the middle of a write. The log is intact up to the last acknowledged entry.
    #[error("the disk is full")]
    Full,
    /// A write failed.
    #[error("a write failed")]
    Write,
    /// A flush to the disk failed. It is never repeated: the system may have dropped the bytes.
    #[error("flushing to the disk failed")]
    Sync,
    /// Another server has taken the keyspace over.
    #[error("another server has taken this keyspace over")]
    Fenced,
    /// Another writer wrote between our read and our claim.
    #[error("another server has written since this one last read")]
    Outdated,
    /// The keyspace was destroyed.
    #[error("the keyspace was destroyed")]
    Dropped,
    /// This opening of the keyspace has ended.
    #[error("the keyspace was closed")]
    Detached,
}

impl From<Error> for kernel::Error {
    fn from(error: Error) -> Self {
        if let Error::Vault(inner) = error {
            return inner.into();
        }
        let code = match &error {
            _ if error.is_store_failure() => Code::Overloaded,
            Error::Full { .. } | Error::Stopped { why: Stopped::Full, .. } => Code::StorageFull,
            Error::Stopped { why: Stopped::Dropped, .. } => return kernel::Error::not_found(),
            Error::TooLarge { .. } => Code::TooLarge,
            Error::Closing | Error::Stopped { why: Stopped::Detached, .. } => Code::Overloaded,
            Error::Io { source, .. } if is_out_of_file_handles(source) => Code::Overloaded,
            Error::Stopped { why: Stopped::Fenced | Stopped::Outdated, .. } => Code::Conflict,
            _ => Code::Internal,
        };
        let message = match &error {
            _ if error.is_store_failure() => "the object store is not responding correctly; try again".to_owned(),
            Error::Full { .. } | Error::Stopped { why: Stopped::Full, .. } => {
                "the disk is full and nothing was stored; free space and try again".to_owned()
            }
            Error::Corrupt { .. } => "stored data cannot be opened; see the server's log".to_owned(),
            Error::Io { source, .. } if is_out_of_file_handles(source) => {
                "the server has reached its limit of open files; try again".to_owned()
            }
            Error::Io { .. } => "the disk returned an error; see the server's log".to_owned(),
            other => other.to_string(),
        };
        let mut out = kernel::Error::new(code, message);
        out.outcome_unknown =
            matches!(error, Error::Closing | Error::Stopped { why: Stopped::Sync | Stopped::Write, .. });
        out.with_source(error)
    }
}

impl Error {
    /// Whether the object store failed, in which case a later attempt may succeed.
    fn is_store_failure(&self) -> bool {
        match self {
            Self::Store { .. } => true,
            Self::Stopped { why: Stopped::Write, source: Some(source) } => {
                source.get_ref().and_then(|inner| inner.downcast_ref::<Self>()).is_some_and(Self::is_store_failure)
            }
            _ => false,
        }
    }
}

/// Converts a system error; a full disk gets its own variant because the operator can fix it.
pub(crate) fn io_error(what: &'static str, source: io::Error) -> Error {
    if is_full(&source) { Error::Full { what } } else { Error::Io { what, source } }
}

/// Whether the process or the system has reached its limit of open files: EMFILE or ENFILE, which have no
/// [`io::ErrorKind`].
fn is_out_of_file_handles(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24))
}

/// Whether the system reports a full disk or quota.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_without_file_handles_is_overloaded() {
        for (number, code) in [(24, Code::Overloaded), (23, Code::Overloaded), (5, Code::Internal)] {
            let error = io_error("starting a log file", io::Error::from_raw_os_error(number));
            assert_eq!(kernel::Error::from(error).code, code, "errno {number}");
        }
    }
}
