//! What goes wrong with keys and sealed bytes. No variant holds a key or a byte of content.

use std::path::PathBuf;

/// This crate's error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key provider does not answer, or not now.
    #[error("key provider {provider} is unavailable: {reason}")]
    Unavailable {
        /// Its name.
        provider: String,
        /// What it said, without secrets.
        reason: String,
    },
    /// A key provider refuses, or the wrapped key is another's: wrong root key, or altered bytes.
    #[error("key provider {provider} does not open this key: is it the root key that this data was created with?")]
    Denied {
        /// Its name.
        provider: String,
    },
    /// A wrap names a key epoch that the ring does not hold (destroyed, or not loaded).
    #[error("key epoch {0} is not in the tenant's key ring")]
    NoEpoch(kernel::KeyEpoch),
    /// Bytes that do not authenticate as what they should be.
    #[error("sealed {what} {uuid} does not open as version {expected}: {why}", expected = crate::FORMAT_VERSION)]
    Corrupt {
        /// What it should be: `segment`, `place key`, `log frame`.
        what: &'static str,
        /// Which one: the object's or the place's uuid.
        uuid: String,
        /// What did not fit.
        why: &'static str,
    },
    /// The bytes of an object cannot be had.
    #[error("sealed {what} {uuid} cannot be read")]
    Unreadable {
        /// What it should be.
        what: &'static str,
        /// Which one.
        uuid: String,
        /// What the source said.
        #[source]
        source: std::io::Error,
    },
    /// A home was asked for with another tenant's keys, or the other way round.
    #[error("{0} belongs to another place or another life of the tenant")]
    Misplaced(&'static str),
    /// More than one sealed piece may hold.
    #[error("a {what} of {bytes} bytes is over the limit of {max}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// How large.
        bytes: usize,
        /// How large it may be.
        max: usize,
    },
    /// A log's key has sealed as many frames as it may.
    #[error("the log's key is used up; start another log")]
    UsedUp,
    /// The root key file cannot be used. `remedy` says what to do.
    #[error("root key file {path}: {problem}; {remedy}", path = path.display())]
    KeyFile {
        /// The file, as it was named.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
        /// What to do.
        remedy: &'static str,
        /// What the system said.
        #[source]
        source: Option<std::io::Error>,
    },
    /// `RINGFENCE_ROOT_KEY` is no key.
    #[error(
        "RINGFENCE_ROOT_KEY must be 32 bytes as 64 hexadecimal digits or as base64; make one with 'openssl rand -hex 32'"
    )]
    KeyValue,
}

impl Error {
    pub(crate) fn corrupt(what: &'static str, uuid: impl std::fmt::Display, why: &'static str) -> Self {
        Error::Corrupt { what, uuid: uuid.to_string(), why }
    }
}

impl From<Error> for kernel::Error {
    fn from(error: Error) -> Self {
        let (code, message) = match &error {
            Error::Unavailable { .. } | Error::Denied { .. } | Error::NoEpoch(_) => {
                (kernel::Code::KeyUnavailable, "the tenant's key cannot be had")
            }
            Error::TooLarge { .. } => (kernel::Code::TooLarge, "more than one sealed object may hold"),
            Error::Unreadable { .. } => (kernel::Code::Internal, "a sealed object cannot be read"),
            Error::Corrupt { .. } => (kernel::Code::Internal, "a sealed object does not open"),
            Error::Misplaced(_) => (kernel::Code::Internal, "a key does not belong here"),
            Error::UsedUp => (kernel::Code::Internal, "a log's key is used up"),
            Error::KeyFile { .. } | Error::KeyValue => (kernel::Code::Internal, "the root key cannot be used"),
        };
        kernel::Error::new(code, message).with_source(error)
    }
}
