//! Errors of documents and patches. Every message names the field and the remedy, and none contains text of the
//! document.

use kernel::Code;

/// The reason why a document or a patch was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field is malformed.
    #[error("{param}: {remedy}")]
    Invalid {
        /// Name of the field in the API.
        param: &'static str,
        /// What the caller should do about it.
        remedy: String,
    },
    /// A field is larger than a stated limit.
    #[error("{param}: {remedy}")]
    TooLarge {
        /// Name of the field in the API.
        param: &'static str,
        /// What the caller should do about it.
        remedy: String,
    },
    /// The vectors' length does not match the namespace and the number of passages.
    #[error("documents[].vector: {got} numbers came where {expected} belong")]
    DimensionMismatch {
        /// Number of values that the passages need.
        expected: usize,
        /// Number of values received.
        got: usize,
    },
    /// The caller used this crate's functions in the wrong order.
    #[error("intake was used out of order: {0}")]
    OutOfOrder(&'static str),
}

impl Error {
    pub(crate) fn invalid(param: &'static str, remedy: impl Into<String>) -> Self {
        Self::Invalid { param, remedy: remedy.into() }
    }

    pub(crate) fn too_large(param: &'static str, remedy: impl Into<String>) -> Self {
        Self::TooLarge { param, remedy: remedy.into() }
    }
}

impl From<Error> for kernel::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid { param, remedy } => kernel::Error::invalid(param, remedy),
            Error::TooLarge { param, remedy } => kernel::Error::new(Code::TooLarge, remedy).with_param(param),
            Error::DimensionMismatch { expected, got } => {
                let text = format!("{got} numbers came where {expected} belong");
                kernel::Error::new(Code::DimensionMismatch, text).with_param("documents[].vector")
            }
            Error::OutOfOrder(_) => kernel::Error::internal(error.to_string()),
        }
    }
}
