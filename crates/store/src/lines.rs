//! Audit lines on their way from a durable commit to the tenant's chain.
//!
//! Promises order, and that a line leaves here only when the sink has it. Until then the log has
//! it too: upkeep cuts the log behind absorbed lines alone, and replay hands them over again.

use crate::Error;
use kernel::{Absorbed, AuditSink, CommitNo, Incarnation, NamespaceUuid};
use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

/// See the module.
pub(crate) struct Lines {
    incarnation: Incarnation,
    namespace: NamespaceUuid,
    pending: Mutex<VecDeque<(CommitNo, Vec<u8>)>>,
    /// One at a time hands over, so that order holds.
    handing: tokio::sync::Mutex<()>,
}

impl Lines {
    pub(crate) fn new(incarnation: Incarnation, namespace: NamespaceUuid) -> Self {
        Self { incarnation, namespace, pending: Mutex::default(), handing: tokio::sync::Mutex::default() }
    }

    /// Adds lines of durable commits, in order.
    pub(crate) fn push(&self, lines: Vec<(CommitNo, Vec<u8>)>) {
        self.pending().extend(lines);
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.pending().len()
    }

    /// Hands over until none waits.
    ///
    /// # Errors
    /// The sink's; that line and those behind it stay.
    pub(crate) async fn absorb(&self, sink: &dyn AuditSink) -> Result<(), Error> {
        self.absorb_through(sink, CommitNo(u64::MAX)).await
    }

    /// The same, up to this commit: a flush does not wait for lines that came after it cut the log.
    ///
    /// # Errors
    /// As [`absorb`](Self::absorb).
    pub(crate) async fn absorb_through(&self, sink: &dyn AuditSink, last: CommitNo) -> Result<(), Error> {
        let _turn = self.handing.lock().await;
        loop {
            let next = self.pending().front().filter(|(commit, _)| *commit <= last).cloned();
            let Some((commit, line)) = next else { return Ok(()) };
            let from = Absorbed { incarnation: self.incarnation, namespace: self.namespace, commit, line };
            sink.absorb(from).await.map_err(Error::Passed)?;
            self.pending().pop_front();
        }
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, VecDeque<(CommitNo, Vec<u8>)>> {
        // Pushes and pops leave the queue whole wherever they end.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
