//! What can go wrong in the registry, and what the floor above is told of it.

use kernel::{Code, Incarnation};

/// Result with this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller's: said in the contract's own words.
    #[error(transparent)]
    Refused(#[from] kernel::Error),
    /// Keys or sealed bytes.
    #[error(transparent)]
    Vault(#[from] vault::Error),
    /// The log or the disk.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// Another server started on the same bucket.
    #[error("another server has taken this bucket over; this one has to stop")]
    TakenOver,
    /// An entry or a checkpoint opened, but does not say what we write.
    #[error("an entry of the {what} is not what this server writes")]
    Misread {
        /// Which journal.
        what: &'static str,
        /// The parser's answer: names and positions, no customer's text.
        #[source]
        source: serde_json::Error,
    },
    /// An entry of another version.
    #[error("the {what} has version {found}, this server reads version {reads}; use the version that wrote it", reads = crate::codec::VERSION)]
    Version {
        /// Which journal.
        what: &'static str,
        /// What it says.
        found: u32,
    },
    /// A tenant whose directory did not open; the others serve.
    #[error("the directory of tenant incarnation {incarnation} is closed: {why}")]
    Closed {
        /// Whose.
        incarnation: Incarnation,
        /// What the border says of it.
        code: Code,
        /// The message of the error that closed it.
        why: String,
    },
    /// A stored record contradicts itself.
    #[error("the registry is damaged: {0}")]
    Damaged(&'static str),
}

impl From<Error> for kernel::Error {
    fn from(error: Error) -> Self {
        let code = match error {
            Error::Refused(inner) => return inner,
            Error::Vault(inner) => return inner.into(),
            Error::Journal(inner) => return inner.into(),
            Error::Closed { code, .. } => code,
            Error::TakenOver => Code::Overloaded,
            Error::Misread { .. } | Error::Version { .. } | Error::Damaged(_) => Code::Internal,
        };
        kernel::Error::new(code, error.to_string()).with_source(error)
    }
}
