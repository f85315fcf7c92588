//! What can go wrong between a place and its bytes, with what one needs at three in the morning.
//!
//! File names here are relative to the data folder and hold random ids only.

use kernel::{Code, LogEpoch};
use std::{io, sync::Arc};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process holds the data folder.
    #[error("the data folder is in use by another server (process {holder}); stop it first or choose another folder")]
    InUse {
        /// What the lock file says: a process id, or `unknown`.
        holder: String,
    },
    /// The folder was written by a version that this one cannot read.
    #[error("the data folder has format {found:?}, this server reads {expected:?}; use the version that wrote it")]
    Format {
        /// What the marker says.
        found: String,
        /// What we read.
        expected: &'static str,
    },
    /// The disk answered with an error.
    #[error("{what} failed")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The object store answered with an error.
    #[error("{what} failed")]
    Store {
        /// What was tried.
        what: &'static str,
        /// Its answer.
        #[source]
        source: object_store::Error,
    },
    /// No room. Nothing of the write is visible; it may be tried again when there is.
    #[error("the disk is full: {what}")]
    Full {
        /// What was tried.
        what: &'static str,
    },
    /// Bytes that are not what this place wrote.
    #[error("{file} does not hold what was written there (epoch {epoch}, offset {offset}): {why}")]
    Corrupt {
        /// Name relative to the data folder.
        file: String,
        /// The log epoch it belongs to.
        epoch: LogEpoch,
        /// Where in the file, bytes.
        offset: u64,
        /// What was expected and found.
        why: &'static str,
    },
    /// The journal refuses writes until it is opened again.
    #[error("this place takes no writes until it is opened again: {why}")]
    Stopped {
        /// Why.
        why: Stopped,
        /// The system's answer that stopped it.
        #[source]
        source: Option<Arc<io::Error>>,
    },
    /// Larger than a log entry may be.
    #[error("an entry of {bytes} bytes is above the limit of {max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A caller's mistake: a checkpoint that covers what was never written.
    #[error("a checkpoint claims to cover entry {covers}, the last one is {last}")]
    CoversAhead {
        /// What it claims.
        covers: u64,
        /// The last entry.
        last: u64,
    },
    /// The server is shutting down, or the task that wrote was lost with it.
    #[error("the server is shutting down")]
    Closing,
    /// The group that an entry was in was not written.
    #[error("the group that the entry was in was not written")]
    Group(#[source] Arc<Error>),
    /// The vault's own.
    #[error(transparent)]
    Vault(#[from] vault::Error),
}

/// Why a journal takes no more writes until it is opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// A write met a full disk in the middle. The log is whole up to what was acknowledged.
    #[error("the disk is full")]
    Full,
    /// A write failed.
    #[error("a write failed")]
    Write,
    /// A flush to the disk failed. It is never tried again: the system may have dropped the bytes.
    #[error("flushing to the disk failed")]
    Sync,
    /// Another server has taken the place over.
    #[error("another server has taken this place over")]
    Fenced,
    /// Another writer wrote between our reading and our claim.
    #[error("another server has written here since it was read")]
    Behind,
    /// The place was destroyed.
    #[error("the place was destroyed")]
    Dropped,
    /// This opening of the place has ended.
    #[error("the place was closed")]
    Left,
}

impl From<Error> for kernel::Error {
    fn from(error: Error) -> Self {
        let root = error.root();
        let code = match root {
            _ if error.is_stores() => Code::Overloaded,
            Error::Full { .. } | Error::Stopped { why: Stopped::Full, .. } => Code::StorageFull,
            Error::Stopped { why: Stopped::Dropped, .. } => return kernel::Error::not_found(),
            Error::TooLarge { .. } => Code::TooLarge,
            Error::Closing | Error::Stopped { why: Stopped::Left, .. } => Code::Overloaded,
            Error::Io { source, .. } if has_no_more_files(source) => Code::Overloaded,
            Error::Stopped { why: Stopped::Fenced | Stopped::Behind, .. } => Code::Conflict,
            Error::Vault(_) if matches!(error, Error::Vault(_)) => {
                let Error::Vault(inner) = error else { unreachable!("matched above") };
                return inner.into();
            }
            _ => Code::Internal,
        };
        let message = match root {
            _ if error.is_stores() => "the object store does not answer as it should; try again".to_owned(),
            Error::Full { .. } | Error::Stopped { why: Stopped::Full, .. } => {
                "the disk is full and nothing was stored; free space and try again".to_owned()
            }
            Error::Corrupt { .. } => "stored bytes do not open; see the server's log".to_owned(),
            Error::Io { source, .. } if has_no_more_files(source) => {
                "the server has as many files open as it may; try again".to_owned()
            }
            Error::Io { .. } => "the disk answered with an error; see the server's log".to_owned(),
            other => other.to_string(),
        };
        let mut out = kernel::Error::new(code, message);
        out.outcome_unknown =
            matches!(root, Error::Closing | Error::Stopped { why: Stopped::Sync | Stopped::Write, .. });
        out.with_source(error)
    }
}

impl Error {
    /// What went wrong with the group that this one waited for, or itself.
    fn root(&self) -> &Error {
        match self {
            Self::Group(inner) => inner.root(),
            own => own,
        }
    }

    /// Whether the object store is what failed, and may do better in a moment.
    fn is_stores(&self) -> bool {
        match self.root() {
            Self::Store { .. } => true,
            Self::Stopped { why: Stopped::Write, source: Some(source) } => {
                source.get_ref().and_then(|inner| inner.downcast_ref::<Self>()).is_some_and(Self::is_stores)
            }
            _ => false,
        }
    }

    /// What each of those who waited for one group is told.
    pub(crate) fn of_group(error: &Arc<Error>) -> Self {
        match &**error {
            Self::Full { what } => Self::Full { what },
            Self::Stopped { why, source } => Self::Stopped { why: *why, source: source.clone() },
            _ => Self::Group(Arc::clone(error)),
        }
    }
}

/// Sorts a system error: a full disk is something the operator can cure.
pub(crate) fn io_error(what: &'static str, source: io::Error) -> Error {
    if is_full(&source) { Error::Full { what } } else { Error::Io { what, source } }
}

/// Whether the process, or the system, may open no more files: EMFILE and ENFILE, which have no kind of their own.
fn has_no_more_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24))
}

/// Whether the system says that there is no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_may_open_no_more_files_is_busy_and_not_broken() {
        for (number, code) in [(24, Code::Overloaded), (23, Code::Overloaded), (5, Code::Internal)] {
            let error = io_error("starting a log file", io::Error::from_raw_os_error(number));
            assert_eq!(kernel::Error::from(error).code, code, "errno {number}");
        }
    }
}
