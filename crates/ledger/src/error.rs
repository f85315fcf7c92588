//! What can go wrong with a chain of lines.

use kernel::CommitNo;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A line is not the one that was written after the line before it.
    #[error("line {index} (sequence {sequence}) breaks the chain: {why}")]
    Broken {
        /// Which of the lines that were looked at, from 0.
        index: u64,
        /// The number that it should have, 0 when that is not known.
        sequence: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Stored bytes have another form than this version writes.
    #[error("a stored {what} has another form than this version writes")]
    Form {
        /// What was read.
        what: &'static str,
    },
    /// A mutation's line that was not made by a [`crate::Pen`].
    #[error("a commit carries an audit line that the ledger did not write")]
    Foreign,
    /// The directory handed out another place than the tenant's audit.
    #[error("the directory handed out another place than the tenant's audit")]
    Misplaced,
    /// A line of an earlier commit of that namespace is not in the chain yet.
    #[error("the line of an earlier commit of that namespace must be handed over first")]
    Held,
    /// A commit number that stands in the chain with other content.
    #[error("commit {0} of the namespace stands in the audit with other content: its files were put back")]
    Clash(CommitNo),
    /// Not everything could be re-encrypted: a reader uses it, or something could not be deleted.
    #[error("the audit could not be re-encrypted completely; ask again")]
    Unrenewed,
    /// The chain was closed before the line was written.
    #[error("the audit closed before the line was written")]
    Closed,
}

impl From<Error> for kernel::Error {
    fn from(error: Error) -> Self {
        let code = if matches!(error, Error::Clash(_)) { kernel::Code::RolledBack } else { kernel::Code::Internal };
        kernel::Error::new(code, error.to_string()).with_source(error)
    }
}

/// The same error for another waiter. The cause stays with the first and in the log.
pub(crate) fn copy(error: &kernel::Error) -> kernel::Error {
    let mut copy = kernel::Error::new(error.code, error.message.clone());
    copy.retry_after = error.retry_after;
    copy.outcome_unknown = error.outcome_unknown;
    copy
}
