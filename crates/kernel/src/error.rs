//! What crosses a floor's border: a code that says what the caller does now.
//!
//! Each crate keeps its own rich error and turns it into this one at its edge. A message never
//! holds document text, a key, a vector or a path of the server's disk.

use std::{fmt, time::Duration};

/// The closed list of `error.code` in the HTTP contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request is malformed; `param` names the field.
    InvalidRequest,
    /// A member that the contract does not know.
    UnknownField,
    /// No credential, or none that is valid.
    Unauthenticated,
    /// Right tenant, wrong scope.
    Forbidden,
    /// Not this tenant's, not this principal's, or never was.
    NotFound,
    /// The name is taken.
    AlreadyExists,
    /// A retry may cure it.
    Conflict,
    /// Fixed once the namespace holds documents.
    Immutable,
    /// Larger than a stated limit.
    TooLarge,
    /// A vector of the wrong length.
    DimensionMismatch,
    /// The mode needs a model and none serves.
    ModelUnavailable,
    /// A tenant's quota is used up.
    QuotaExceeded,
    /// Too many requests in this minute.
    RateLimited,
    /// A bounded queue is full.
    Overloaded,
    /// An operator suspended the tenant.
    TenantSuspended,
    /// The tenant must be suspended first.
    NotSuspended,
    /// The tenant's key cannot be had.
    KeyUnavailable,
    /// What is stored is older than what the audit has recorded of it; an operator decides.
    RolledBack,
    /// The disk is full; nothing was stored.
    StorageFull,
    /// It took longer than the server works for one request.
    TimedOut,
    /// A fault of ours, or bytes on disk that do not open.
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

/// An error as the floor above sees it.
#[derive(Debug)]
pub struct Error {
    /// What the caller does now.
    pub code: Code,
    /// For people: lower case, no full stop, no customer text.
    pub message: String,
    /// The field that is wrong, as the caller wrote it (`documents[3].vector`).
    pub param: Option<String>,
    /// How long to wait before trying again.
    pub retry_after: Option<Duration>,
    /// A write may or may not have happened.
    pub outcome_unknown: bool,
    /// The chain, for the log.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Result with the border error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with a code and a message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), param: None, retry_after: None, outcome_unknown: false, source: None }
    }

    /// 400 that names the field.
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, message).with_param(param)
    }

    /// The uniform 404. Every "not yours" and "never was" is this very value.
    pub fn not_found() -> Self {
        Self::new(Code::NotFound, "no such resource")
    }

    /// A fault of ours.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }

    /// Full: come back later.
    pub fn overloaded(message: impl Into<String>, retry_after: Duration) -> Self {
        let mut error = Self::new(Code::Overloaded, message);
        error.retry_after = Some(retry_after);
        error
    }

    /// Names the field.
    #[must_use]
    pub fn with_param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// Keeps the cause for the log.
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
