//! Long-running operations.

use super::Convert;
use api::operations::{Failure, Operation, OperationList, Progress};
use engine::{ListPage, OperationView};

impl Convert<Operation> for OperationView {
    fn convert(self) -> Operation {
        Operation {
            id: self.id.to_string(),
            kind: self.kind.as_str().into(),
            tenant: self.tenant.as_str().to_owned(),
            status: self.status.as_str().into(),
            progress: Progress {
                done: self.progress.done,
                total: self.progress.total,
                unit: self.progress.unit.into(),
            },
            created_at: self.created_at.to_string(),
            finished_at: self.finished_at.map(|t| t.to_string()),
            deadline: self.deadline.map(|t| t.to_string()),
            result: self.result,
            error: self.error.map(|e| Failure { code: e.code, message: e.message }),
            waits_for: self.waits_for.map(|code| code.as_str().into()),
        }
    }
}

impl Convert<OperationList> for ListPage<OperationView> {
    fn convert(self) -> OperationList {
        OperationList { operations: self.items.into_iter().map(Convert::convert).collect(), next: self.next }
    }
}
