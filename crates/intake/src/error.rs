//! What can be wrong with a document. Every message names the field and the remedy, and none
//! holds a word of the document.

use kernel::Code;

/// Why a document or a patch was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field is malformed.
    #[error("{param}: {remedy}")]
    Invalid {
        /// The field, as the contract writes it.
        param: &'static str,
        /// What to do about it.
        remedy: String,
    },
    /// A field is larger than a stated limit.
    #[error("{param}: {remedy}")]
    TooLarge {
        /// The field, as the contract writes it.
        param: &'static str,
        /// What to do about it.
        remedy: String,
    },
    /// Vectors whose length does not fit the namespace and the passages.
    #[error("documents[].vector: {got} numbers came where {expected} belong")]
    DimensionMismatch {
        /// Numbers that the passages need.
        expected: usize,
        /// Numbers that came.
        got: usize,
    },
    /// The floor above called in the wrong order.
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
