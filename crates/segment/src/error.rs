//! Errors of segments. No message contains customer text.

use std::time::Duration;

/// An error in what is to be indexed or in bytes that are read back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are no segment, or were changed after they were written.
    #[error("segment bytes are corrupt: {what} at byte {at}")]
    Corrupt {
        /// The structure that is invalid.
        what: &'static str,
        /// Byte offset from the start of that structure.
        at: usize,
    },
    /// The bytes were written by another version of the format.
    #[error("{what} has format version {found}; this program reads version {known} only")]
    Version {
        /// Kind of the bytes: segment or document.
        what: &'static str,
        /// Version in the bytes.
        found: u16,
        /// Version that this program reads.
        known: u16,
    },
    /// The segment was opened for another vector length, distance or language than it was written for.
    #[error(
        "segment was written for {found} dimensions and opened for {expected}, or for another distance or language"
    )]
    Spec {
        /// Dimensions of the spec that it was opened with.
        expected: usize,
        /// Dimensions in the bytes.
        found: usize,
    },
    /// A vector of the wrong length.
    #[error("document {document} has {found} vector values; {expected} are expected")]
    VectorLength {
        /// Number of the document, counted from 0 in the order given.
        document: u32,
        /// Expected number of values: passages × dimensions.
        expected: usize,
        /// Number of values given.
        found: usize,
    },
    /// A vector contains NaN or an infinite value, which cannot be compared.
    #[error("document {document} has a vector value that is not finite")]
    VectorValue {
        /// Number of the document, counted from 0 in the order given.
        document: u32,
    },
    /// There is more than the format can count; write several segments.
    #[error("a segment holds at most {limit} {what}")]
    TooLarge {
        /// What exceeds the limit.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// Part of an opened segment cannot be read, or is not what was written; the source error says which.
    #[error("part of a segment cannot be read")]
    Unreadable(#[source] std::io::Error),
    /// The caller no longer needs the result ([`crate::StopFlag`]).
    #[error("writing the segment was cancelled")]
    Stopped,
    /// The request must end ([`kernel::checkpoint`]).
    #[error(transparent)]
    Interrupted(#[from] kernel::Interrupted),
    /// The segment has no such document.
    #[error("segment has no document {0}")]
    NoDocument(u32),
    /// The text index failed.
    #[error("text index failed")]
    Text(#[source] Box<tantivy::TantivyError>),
}

impl Error {
    /// Whether the bytes differ from what was written, so that no retry can read them.
    pub fn is_corrupt(&self) -> bool {
        match self {
            Error::Corrupt { .. } => true,
            Error::Unreadable(source) => source.kind() == std::io::ErrorKind::InvalidData,
            _ => false,
        }
    }

    /// Whether the request must end and nothing else is wrong.
    pub fn is_interrupted(&self) -> bool {
        match self {
            Error::Interrupted(_) => true,
            Error::Unreadable(source) => interrupted(source).is_some(),
            _ => false,
        }
    }

    /// Whether a part could not be read this time, so that a retry may succeed.
    pub fn is_transient(&self) -> bool {
        use std::io::ErrorKind::{InvalidData, NotFound};
        if self.is_interrupted() {
            return true;
        }
        matches!(self, Error::Unreadable(source) if !matches!(source.kind(), InvalidData | NotFound))
    }

    pub(crate) fn corrupt(what: &'static str, at: usize) -> Self {
        Error::Corrupt { what, at }
    }
}

/// The interruption that ended a wait for a remote source, if that is why it failed.
fn interrupted(source: &std::io::Error) -> Option<kernel::Interrupted> {
    source.get_ref().and_then(|inner| inner.downcast_ref()).copied()
}

impl From<kernel::MalformedBytes> for Error {
    fn from(kernel::MalformedBytes { what, at }: kernel::MalformedBytes) -> Self {
        Error::Corrupt { what, at }
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Error::Unreadable(error)
    }
}

impl From<tantivy::TantivyError> for Error {
    fn from(error: tantivy::TantivyError) -> Self {
        Error::Text(Box::new(error))
    }
}

impl From<Error> for kernel::Error {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::VectorLength { .. } => kernel::Error::new(kernel::Code::DimensionMismatch, message),
            Error::VectorValue { .. } => kernel::Error::invalid("vector", message),
            Error::TooLarge { .. } => kernel::Error::new(kernel::Code::TooLarge, message),
            Error::Interrupted(why) => why.into(),
            Error::Unreadable(source) if interrupted(&source).is_some() => match interrupted(&source) {
                Some(why) => why.into(),
                None => kernel::Error::internal(message).with_source(source),
            },
            // A remote source does not answer at the moment.
            Error::Unreadable(source) if source.kind() == std::io::ErrorKind::TimedOut => {
                let message = "part of the namespace cannot be read at the moment; try again";
                kernel::Error::overloaded(message, Duration::from_secs(1)).with_source(source)
            }
            other => kernel::Error::internal(message).with_source(other),
        }
    }
}
