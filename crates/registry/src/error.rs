//! Errors of the registry, and their translation for callers.

use kernel::{Code, Incarnation};

/// Result with this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An error of the caller, in the words of the API.
    #[error(transparent)]
    Refused(#[from] kernel::Error),
    /// An error of keys or sealed bytes.
    #[error(transparent)]
    Vault(#[from] vault::Error),
    /// An error of the log or the storage.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// Another server started on the same bucket.
    #[error("another server has taken this bucket over; this one has to stop")]
    TakenOver,
    /// An entry or a checkpoint that decrypts but is not in the format that this server writes.
    #[error("an entry of the {what} is not what this server writes")]
    Misread {
        /// Name of the journal.
        what: &'static str,
        /// The parser's error. It has names and positions, but no text of a customer.
        #[source]
        source: serde_json::Error,
    },
    /// An entry of another version.
    #[error("the {what} has version {found}, this server reads version {reads}; use the version that wrote it", reads = crate::codec::VERSION)]
    Version {
        /// Name of the journal.
        what: &'static str,
        /// Version of the entry.
        found: u32,
    },
    /// A tenant whose directory did not open, while the others are served.
    #[error("the directory of tenant incarnation {incarnation} is closed: {why}")]
    Closed {
        /// Incarnation of the tenant.
        incarnation: Incarnation,
        /// Error code that callers get.
        code: Code,
        /// The message of the error that closed it.
        why: String,
    },
    /// A stored record contradicts itself.
    #[error("the registry is damaged: {0}")]
    Damaged(&'static str),
    /// Stored bytes are not what this server writes.
    #[error("the registry is damaged: {0}")]
    Malformed(#[from] kernel::MalformedBytes),
}

impl From<Error> for kernel::Error {
    fn from(error: Error) -> Self {
        let code = match error {
            Error::Refused(inner) => return inner,
            Error::Vault(inner) => return inner.into(),
            Error::Journal(inner) => return inner.into(),
            Error::Closed { code, .. } => code,
            Error::TakenOver => Code::Overloaded,
            Error::Misread { .. } | Error::Version { .. } | Error::Damaged(_) | Error::Malformed(_) => Code::Internal,
        };
        kernel::Error::new(code, error.to_string()).with_source(error)
    }
}
