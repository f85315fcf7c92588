//! Wire types of long-running operations.

use engine::{ListPage, OperationView};
use serde::Serialize;
use utoipa::ToSchema;

/// Work that continues after the reply of the request that started it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Operation {
    id: String,
    kind: &'static str,
    tenant: String,
    /// Status: `pending`, `running`, `succeeded`, `failed` or `cancelled`.
    status: &'static str,
    progress: Progress,
    created_at: String,
    finished_at: Option<String>,
    /// Time by which the operation should finish.
    deadline: Option<String>,
    #[schema(value_type = Option<Object>)]
    result: Option<serde_json::Value>,
    error: Option<Failure>,
    /// Code of the temporary error that the operation is waiting out, such as `key_unavailable`; a rotation continues
    /// when the error has passed.
    waits_for: Option<&'static str>,
}

/// Why an operation failed.
#[derive(Serialize, ToSchema)]
pub(crate) struct Failure {
    code: String,
    message: String,
}

impl From<OperationView> for Operation {
    fn from(view: OperationView) -> Self {
        Self {
            id: view.id.to_string(),
            kind: view.kind.as_str(),
            tenant: view.tenant.as_str().to_owned(),
            status: view.status.as_str(),
            progress: Progress { done: view.progress.done, total: view.progress.total, unit: view.progress.unit },
            created_at: view.created_at.to_string(),
            finished_at: view.finished_at.map(|t| t.to_string()),
            deadline: view.deadline.map(|t| t.to_string()),
            result: view.result,
            error: view.error.map(|e| Failure { code: e.code, message: e.message }),
            waits_for: view.waits_for.map(kernel::Code::as_str),
        }
    }
}

/// A page of operations, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct OperationList {
    operations: Vec<Operation>,
    /// Value of `after` for the next page. Null on the last page.
    next: Option<String>,
}

impl From<ListPage<OperationView>> for OperationList {
    fn from(page: ListPage<OperationView>) -> Self {
        Self { operations: page.items.into_iter().map(Operation::from).collect(), next: page.next }
    }
}

/// Progress of an operation.
#[derive(Serialize, ToSchema)]
pub(crate) struct Progress {
    pub(super) done: u64,
    pub(super) total: u64,
    pub(super) unit: &'static str,
}
