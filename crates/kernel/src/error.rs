//! The error that crosses the borders of crates. Its code says what the caller should do next.
//!
//! Each crate has a rich error of its own and converts it to this one at its border. A message never holds document
//! text, a key, a vector or a path on the server's disk.

use std::{fmt, time::Duration};

/// The closed list of `error.code` in the HTTP contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request is malformed; `param` names the field.
    InvalidRequest,
    /// The request has a member that the contract does not know.
    UnknownField,
    /// There is no credential, or no valid one.
    Unauthenticated,
    /// The credential is the tenant's, but lacks the scope.
    Forbidden,
    /// The resource belongs to another tenant, is not visible to these principals, or never existed.
    NotFound,
    /// The name is taken.
    AlreadyExists,
    /// A retry may succeed.
    Conflict,
    /// The setting is fixed once the namespace holds documents.
    Immutable,
    /// The request exceeds a documented limit.
    TooLarge,
    /// A vector has the wrong length.
    DimensionMismatch,
    /// The mode needs a model, and none is available.
    ModelUnavailable,
    /// A tenant's quota is used up.
    QuotaExceeded,
    /// The tenant sent too many requests in this minute.
    RateLimited,
    /// A bounded queue is full.
    Overloaded,
    /// An operator suspended the tenant.
    TenantSuspended,
    /// The tenant must be suspended first.
    NotSuspended,
    /// The tenant's key is not available.
    KeyUnavailable,
    /// The stored data is older than the audit's record of it; an operator has to decide.
    RolledBack,
    /// The disk is full; nothing was stored.
    StorageFull,
    /// The request took longer than the server works for one.
    TimedOut,
    /// The server has a fault, or bytes on disk do not decrypt.
    Internal,
}

impl Code {
    /// Every code, in the order of the contract.
    pub const ALL: [Code; 21] = [
        Code::InvalidRequest,
        Code::UnknownField,
        Code::Unauthenticated,
        Code::Forbidden,
        Code::NotFound,
        Code::AlreadyExists,
        Code::Conflict,
        Code::Immutable,
        Code::TooLarge,
        Code::DimensionMismatch,
        Code::ModelUnavailable,
        Code::QuotaExceeded,
        Code::RateLimited,
        Code::Overloaded,
        Code::TenantSuspended,
        Code::NotSuspended,
        Code::KeyUnavailable,
        Code::RolledBack,
        Code::StorageFull,
        Code::TimedOut,
        Code::Internal,
    ];

    /// The name in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::InvalidRequest => "invalid_request",
            Code::UnknownField => "unknown_field",
            Code::Unauthenticated => "unauthenticated",
            Code::Forbidden => "forbidden",
            Code::NotFound => "not_found",
            Code::AlreadyExists => "already_exists",
            Code::Conflict => "conflict",
            Code::Immutable => "immutable",
            Code::TooLarge => "too_large",
            Code::DimensionMismatch => "dimension_mismatch",
            Code::ModelUnavailable => "model_unavailable",
            Code::QuotaExceeded => "quota_exceeded",
            Code::RateLimited => "rate_limited",
            Code::Overloaded => "overloaded",
            Code::TenantSuspended => "tenant_suspended",
            Code::NotSuspended => "not_suspended",
            Code::KeyUnavailable => "key_unavailable",
            Code::RolledBack => "rolled_back",
            Code::StorageFull => "storage_full",
            Code::TimedOut => "timed_out",
            Code::Internal => "internal",
        }
    }
}

/// An error as the calling crate sees it.
#[derive(Debug)]
pub struct Error {
    /// What the caller should do next.
    pub code: Code,
    /// Message for people: in lower case, without a full stop and without customer text.
    pub message: String,
    /// The invalid field, as the caller wrote it (`documents[3].vector`).
    pub param: Option<String>,
    /// Time to wait before a retry.
    pub retry_after: Option<Duration>,
    /// Whether a write may have happened although it failed.
    pub outcome_unknown: bool,
    /// Chain of causes, for the log.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Result with the error that crosses crate borders.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Creates an error with a code and a message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), param: None, retry_after: None, outcome_unknown: false, source: None }
    }

    /// Creates a 400 that names the field.
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, message).with_param(param)
    }

    /// Creates the uniform 404. Every "not yours" and "never existed" is this value.
    pub fn not_found() -> Self {
        Self::new(Code::NotFound, "no such resource")
    }

    /// Creates the error of an internal fault.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }

    /// Creates the error of a full queue, with the time to wait before a retry.
    pub fn overloaded(message: impl Into<String>, retry_after: Duration) -> Self {
        let mut error = Self::new(Code::Overloaded, message);
        error.retry_after = Some(retry_after);
        error
    }

    /// Adds the name of the field.
    #[must_use]
    pub fn with_param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// Adds the cause, for the log.
    #[must_use]
    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.param {
            Some(param) => write!(f, "{param}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|s| &**s as &(dyn std::error::Error + 'static))
    }
}
