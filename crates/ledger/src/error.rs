//! Errors of audit chains.

use kernel::CommitNo;

/// Error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A record is not the one that was written after its predecessor.
    #[error("record {index} (sequence {sequence}) breaks the chain: {why}")]
    Broken {
        /// Index of the record among those that were checked, from 0.
        index: u64,
        /// Sequence number that the record should have; 0 when it is not known.
        sequence: u64,
        /// What is wrong with the record.
        why: &'static str,
    },
    /// Stored bytes have a format that this version does not write.
    #[error("a stored {what} has a format that this version does not write")]
    Form {
        /// What the bytes should be.
        what: &'static str,
    },
    /// A commit carries an audit record that no [`crate::RecordWriter`] wrote.
    #[error("a commit carries an audit record that the ledger did not write")]
    ForeignRecord,
    /// The directory returned a keyspace other than that of the tenant's audit log.
    #[error("the directory returned a keyspace other than the tenant's audit keyspace")]
    WrongKeyspace,
    /// The chain still lacks the record of an earlier commit of the namespace.
    #[error("the record of an earlier commit of that namespace must be written first")]
    OutOfOrder,
    /// The chain contains this commit number of the namespace with different content.
    #[error("the audit log has commit {0} of the namespace with different content: its files were rolled back")]
    CommitConflict(CommitNo),
    /// Not everything could be re-encrypted, because a reader uses the log or something could not be deleted.
    #[error("the audit log could not be re-encrypted completely; try again")]
    NotReencrypted,
    /// The chain was closed before the record was written.
    #[error("the audit log closed before the record was written")]
    Closed,
}

impl From<Error> for kernel::Error {
    fn from(error: Error) -> Self {
        let code =
            if matches!(error, Error::CommitConflict(_)) { kernel::Code::RolledBack } else { kernel::Code::Internal };
        kernel::Error::new(code, error.to_string()).with_source(error)
    }
}

/// Copies an error for another waiter. The cause stays with the first copy and in the server's log.
pub(crate) fn copy(error: &kernel::Error) -> kernel::Error {
    let mut copy = kernel::Error::new(error.code, error.message.clone());
    copy.retry_after = error.retry_after;
    copy.outcome_unknown = error.outcome_unknown;
    copy
}
