//! Long-running operations.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use utoipa::ToSchema;

/// Work that continues after the reply of the request that started it.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct Operation {
    pub id: String,
    pub kind: Cow<'static, str>,
    pub tenant: String,
    /// Status: `pending`, `running`, `succeeded`, `failed` or `cancelled`.
    pub status: Cow<'static, str>,
    pub progress: Progress,
    pub created_at: String,
    pub finished_at: Option<String>,
    /// Time by which the operation should finish.
    pub deadline: Option<String>,
    #[schema(value_type = Option<Object>)]
    pub result: Option<serde_json::Value>,
    pub error: Option<Failure>,
    /// Code of the temporary error that the operation is waiting out, such as `key_unavailable`; a rotation continues
    /// when the error has passed.
    pub waits_for: Option<Cow<'static, str>>,
}

/// Why an operation failed.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct Failure {
    pub code: String,
    pub message: String,
}

/// A page of operations, newest first.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct OperationList {
    pub operations: Vec<Operation>,
    /// Value of `after` for the next page. Null on the last page.
    pub next: Option<String>,
}

/// Progress of an operation.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct Progress {
    pub done: u64,
    pub total: u64,
    pub unit: Cow<'static, str>,
}
