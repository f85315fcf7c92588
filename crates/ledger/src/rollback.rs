//! Namespaces that are not what their tenant's audit has recorded of them. Each is reported once, until an operator
//! accepts it.

use kernel::{CommitNo, Incarnation, NamespaceUuid};
use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The operation of a line that reports such a namespace.
pub(crate) const ROLLED_BACK: &str = "namespace.rolled_back";
/// The operation of the line for an operator's acceptance.
pub(crate) const ACCEPTED: &str = "namespace.accept_rollback";

/// One such namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollback {
    /// Its tenant.
    pub incarnation: Incarnation,
    /// Uuid of the namespace's log.
    pub namespace: NamespaceUuid,
    /// The newest commit of which the audit has a line.
    pub recorded: CommitNo,
    /// The newest commit in the namespace's files, or the one that came with other content.
    pub found: CommitNo,
}

/// See the [module](self).
#[derive(Default)]
pub(crate) struct Rollbacks(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    known: HashSet<NamespaceUuid>,
    untold: VecDeque<Rollback>,
}

impl Rollbacks {
    /// Notes one; says whether it is new.
    pub(crate) fn note(&self, rollback: Rollback) -> bool {
        let mut inner = self.lock();
        let news = inner.known.insert(rollback.namespace);
        if news {
            tracing::error!(
                incarnation = %rollback.incarnation, namespace = %rollback.namespace,
                recorded = rollback.recorded.0, found = rollback.found.0,
                "a namespace is not what its tenant's audit has recorded of it"
            );
            inner.untold.push_back(rollback);
        }
        news
    }

    /// It was accepted by an operator, or deleted.
    pub(crate) fn settled(&self, namespace: NamespaceUuid) {
        self.lock().known.remove(&namespace);
    }

    /// Number of them.
    pub(crate) fn count(&self) -> u64 {
        self.lock().known.len() as u64
    }

    /// The next one that is not in the operators' audit; it stays until [`told`](Self::told).
    pub(crate) fn untold(&self) -> Option<Rollback> {
        self.lock().untold.front().copied()
    }

    /// The first of those is recorded.
    pub(crate) fn told(&self) {
        self.lock().untold.pop_front();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Insertions and pops leave both whole wherever they end.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
