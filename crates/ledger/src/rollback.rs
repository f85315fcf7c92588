//! Namespaces that differ from what their tenant's audit log recorded of them. Each is reported once, and stays listed
//! until an operator accepts it.

use kernel::{CommitNo, Incarnation, NamespaceUuid};
use parking_lot::Mutex;
use std::collections::{HashSet, VecDeque};

/// Operation of a record that reports a rolled-back namespace.
pub(crate) const ROLLED_BACK: &str = "namespace.rolled_back";
/// Operation of the record for an operator's acceptance.
pub(crate) const ACCEPTED: &str = "namespace.accept_rollback";

/// A namespace that differs from what its tenant's audit log recorded of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollback {
    /// Incarnation of its tenant.
    pub incarnation: Incarnation,
    /// Uuid of the namespace's log.
    pub namespace: NamespaceUuid,
    /// The newest commit of which the audit log has a record.
    pub recorded: CommitNo,
    /// The newest commit in the namespace's files, or the commit that arrived with different content.
    pub found: CommitNo,
}

/// See the [module](self).
#[derive(Default)]
pub(crate) struct Rollbacks(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    known: HashSet<NamespaceUuid>,
    unreported: VecDeque<Rollback>,
}

impl Rollbacks {
    /// Adds a rollback. Returns whether the namespace was not listed yet.
    pub(crate) fn note(&self, rollback: Rollback) -> bool {
        let mut inner = self.0.lock();
        let is_new = inner.known.insert(rollback.namespace);
        if is_new {
            tracing::error!(
                incarnation = %rollback.incarnation, namespace = %rollback.namespace,
                recorded = rollback.recorded.0, found = rollback.found.0,
                "a namespace differs from what its tenant's audit log recorded"
            );
            inner.unreported.push_back(rollback);
        }
        is_new
    }

    /// Removes a namespace that an operator has accepted or that was deleted.
    pub(crate) fn resolve(&self, namespace: NamespaceUuid) {
        self.0.lock().known.remove(&namespace);
    }

    /// Number of listed namespaces.
    pub(crate) fn count(&self) -> u64 {
        self.0.lock().known.len() as u64
    }

    /// The next rollback that the operators' audit log does not report yet; the same one until
    /// [`mark_reported`](Self::mark_reported).
    pub(crate) fn unreported(&self) -> Option<Rollback> {
        self.0.lock().unreported.front().copied()
    }

    /// Marks the first unreported rollback as reported.
    pub(crate) fn mark_reported(&self) {
        self.0.lock().unreported.pop_front();
    }
}
