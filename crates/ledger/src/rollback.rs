//! Namespaces that are not what their tenant's audit has recorded of them: told once each, until an operator takes
//! them as they are.

use kernel::{CommitNo, Incarnation, NamespaceUuid};
use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The operation of a line that tells of such a namespace.
pub(crate) const ROLLED_BACK: &str = "namespace.rolled_back";
/// The operation of the line with which an operator takes one as it is.
pub(crate) const ACCEPTED: &str = "namespace.accept_rollback";

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollback {
    /// Whose.
    pub incarnation: Incarnation,
    /// Which namespace's log.
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
    /// Notes one; whether it is news.
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

    /// An operator took it as it is, or it is gone.
    pub(crate) fn settled(&self, namespace: NamespaceUuid) {
        self.lock().known.remove(&namespace);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.lock().known.len() as u64
    }

    /// The next that operators were not told of; it stays until [`told`](Self::told).
    pub(crate) fn untold(&self) -> Option<Rollback> {
        self.lock().untold.front().copied()
    }

    /// The first of those was told.
    pub(crate) fn told(&self) {
        self.lock().untold.pop_front();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Insertions and pops leave both whole wherever they end.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
