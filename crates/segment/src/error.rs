//! What can go wrong with a segment. No message holds customer text.

use std::time::Duration;

/// A fault in what is to be indexed or in bytes that are read back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are no segment, or were changed after they were written.
    #[error("segment bytes are corrupt: {what} at byte {at}")]
    Corrupt {
        /// Which part does not hold.
        what: &'static str,
        /// Where in that part, bytes from its start.
        at: usize,
    },
    /// Written by another version of the format.
    #[error("{what} has format version {found}; this program reads version {known} only")]
    Version {
        /// Segment or document.
        what: &'static str,
        /// The version in the bytes.
        found: u16,
        /// The version that is known here.
        known: u16,
    },
    /// Opened for another vector length, distance or language than it was written for.
    #[error("segment was written for {found} dimensions, opened for {expected}, another distance or another language")]
    Spec {
        /// Dimensions asked for.
        expected: usize,
        /// Dimensions in the bytes.
        found: usize,
    },
    /// A vector of the wrong length.
    #[error("document {document} has {found} vector values where {expected} are due")]
    VectorLength {
        /// Which document, counted from 0 in the order given.
        document: u32,
        /// Values due: passages × dimensions.
        expected: usize,
        /// Values found.
        found: usize,
    },
    /// NaN or infinite values cannot be compared.
    #[error("document {document} has a vector value that is not finite")]
    VectorValue {
        /// Which document, counted from 0 in the order given.
        document: u32,
    },
    /// More than the format can count; write several segments.
    #[error("a segment holds at most {limit} {what}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// Part of an opened segment cannot be read, or is not what was written: the source says which.
    #[error("part of a segment cannot be read")]
    Unreadable(#[source] std::io::Error),
    /// The caller no longer needs it ([`crate::Stop`]).
    #[error("the work was stopped before its end")]
    Stopped,
    /// The request that it was for is to end ([`kernel::checkpoint`]).
    #[error(transparent)]
    Interrupted(#[from] kernel::Interrupted),
    /// No such document in this segment.
    #[error("segment has no document {0}")]
    NoDocument(u32),
    /// The text index failed.
    #[error("text index failed")]
    Text(#[source] Box<tantivy::TantivyError>),
}

impl Error {
    /// Whether the bytes are not what was written, so that no other try will read them.
    pub fn is_corrupt(&self) -> bool {
        match self {
            Error::Corrupt { .. } => true,
            Error::Unreadable(source) => source.kind() == std::io::ErrorKind::InvalidData,
            _ => false,
        }
    }

    /// Whether the request that it was for is to end, and nothing is wrong.
    pub fn is_interrupted(&self) -> bool {
        match self {
            Error::Interrupted(_) => true,
            Error::Unreadable(source) => interrupted(source).is_some(),
            _ => false,
        }
    }

    /// Whether a part could not be read this time: another try may.
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

/// What ended a wait for a distant source, if that was a request's end.
fn interrupted(source: &std::io::Error) -> Option<kernel::Interrupted> {
    source.get_ref().and_then(|inner| inner.downcast_ref()).copied()
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
            // A distant source that does not answer just now.
            Error::Unreadable(source) if source.kind() == std::io::ErrorKind::TimedOut => {
                let message = "part of the namespace cannot be read just now; try again";
                kernel::Error::overloaded(message, Duration::from_secs(1)).with_source(source)
            }
            other => kernel::Error::internal(message).with_source(other),
        }
    }
}
