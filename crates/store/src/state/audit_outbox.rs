//! Outbox of audit records on their way from a durable commit to the tenant's audit log.
//!
//! Guarantees their order, and that a record leaves the outbox only when the sink has it. Until then the namespace's log
//! has it too: maintenance truncates the log only up to delivered records, and replay delivers the others again.
//!
//! Each record is sent with a digest over all records of the namespace up to it. The audit log keeps the newest digest,
//! so that a namespace whose files were restored from a copy, or that has another history, is distinguished from one
//! whose records are delivered again.

use crate::{Error, Totals, single_task::SingleTask};
use kernel::{AuditOutboxRecord, AuditPosition, AuditSink, CommitNo, Incarnation, Pseudonymiser};
use parking_lot::{Mutex, MutexGuard};
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use vault::Keyspace;

/// Outbox of the audit records of one namespace; see the module documentation.
pub(crate) struct AuditOutbox {
    incarnation: Incarnation,
    keyspace: Arc<Keyspace>,
    state: Mutex<State>,
    /// Held by the one task that delivers records, so that their order is kept.
    delivering: tokio::sync::Mutex<()>,
    /// The task that delivers records in the background.
    pub(crate) delivery: SingleTask,
    /// Whether the audit log was asked what it has recorded of this namespace, and it matches.
    is_checked: AtomicBool,
}

struct State {
    /// Mark of the newest checkpoint.
    base: AuditPosition,
    /// Marks of the commits since then, oldest first.
    marks: VecDeque<AuditPosition>,
    /// Records of the newest of them that the audit log has not acknowledged. After a restart it may have some of them.
    pending: VecDeque<(AuditPosition, Vec<u8>)>,
}

/// Result of comparing a namespace with what the audit log has recorded of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HistoryCheck {
    /// What is recorded is part of its history.
    Matches,
    /// It is older than what is recorded, or has another history.
    RolledBack,
}

impl AuditOutbox {
    /// Creates an outbox. `base` says what the newest checkpoint covers; records of later commits are pushed.
    pub(crate) fn new(incarnation: Incarnation, keyspace: Arc<Keyspace>, base: AuditPosition) -> Self {
        let state = State { base, marks: VecDeque::new(), pending: VecDeque::new() };
        let (delivering, is_checked) = (tokio::sync::Mutex::default(), AtomicBool::new(false));
        let delivery = SingleTask::default();
        Self { incarnation, keyspace, state: Mutex::new(state), delivering, delivery, is_checked }
    }

    /// Adds records of durable commits, in order. `totals` are those after the last of them, which each of them gets: a
    /// checkpoint covers a batch as a whole. Only the writer calls this, one batch after the other.
    pub(crate) fn push(&self, records: Vec<(CommitNo, Vec<u8>)>, totals: Totals) {
        let mut digest = self.newest().digest;
        let mut marked = Vec::with_capacity(records.len());
        for (commit, record) in records {
            digest = self.keyspace.pseudonym(&[b"line", &digest, &commit.0.to_le_bytes(), &record]);
            let mark = AuditPosition { commit, digest, documents: totals.documents, bytes: totals.bytes };
            marked.push((mark, record));
        }
        let mut state = self.state();
        state.marks.extend(marked.iter().map(|(mark, _)| *mark));
        state.pending.extend(marked);
    }

    /// Number of records that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.state().pending.len()
    }

    /// Mark of the newest commit.
    pub(crate) fn newest(&self) -> AuditPosition {
        let state = self.state();
        *state.marks.back().unwrap_or(&state.base)
    }

    /// Mark of the newest checkpoint.
    pub(crate) fn base(&self) -> AuditPosition {
        self.state().base
    }

    /// Mark of a commit that is the newest checkpoint's or a later one.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for an older commit, which would be a bug.
    pub(crate) fn at(&self, commit: CommitNo) -> Result<AuditPosition, Error> {
        self.state().find(commit).ok_or(Error::Corrupt { what: "digest of a commit", at: 0 })
    }

    /// Moves the base to a commit up to which a new checkpoint covers everything. Its records have been delivered.
    pub(crate) fn covered(&self, commit: CommitNo) {
        let mut state = self.state();
        if let Some(base) = state.find(commit) {
            state.base = base;
            state.marks.retain(|mark| mark.commit > commit);
        }
    }

    /// Compares the namespace with what the audit log had recorded before the namespace was read.
    pub(crate) fn compare(&self, recorded: Option<AuditPosition>) -> HistoryCheck {
        let state = self.state();
        let matches = recorded.is_none_or(|recorded| {
            // The audit log is older than the checkpoint only if the audit log itself was restored from a copy. That is
            // not the namespace's fault, and its records since then are delivered again.
            recorded.commit < state.base.commit
                || state.find(recorded.commit).is_some_and(|mark| mark.digest == recorded.digest)
        });
        if matches { HistoryCheck::Matches } else { HistoryCheck::RolledBack }
    }

    /// Allows records to be delivered from here on.
    pub(crate) fn mark_checked(&self) {
        self.is_checked.store(true, Ordering::Release);
    }

    /// Makes sure that the audit log matches this namespace: asks it on each call until one check succeeds.
    ///
    /// # Errors
    /// [`Error::RolledBack`]; errors of the sink.
    pub(crate) async fn ensure_checked(&self, sink: &dyn AuditSink) -> Result<(), Error> {
        if self.is_checked.load(Ordering::Acquire) {
            return Ok(());
        }
        let recorded = sink.recorded(self.incarnation, self.keyspace.uuid()).await.map_err(Error::External)?;
        match self.compare(recorded) {
            HistoryCheck::Matches => self.mark_checked(),
            HistoryCheck::RolledBack => {
                let recorded = recorded.map_or(CommitNo(0), |mark| mark.commit);
                return Err(Error::RolledBack { recorded, found: self.newest().commit });
            }
        }
        Ok(())
    }

    /// Delivers records until none waits.
    ///
    /// # Errors
    /// Errors of the sink; that record and later ones stay queued.
    pub(crate) async fn deliver(&self, sink: &dyn AuditSink) -> Result<(), Error> {
        self.deliver_through(sink, CommitNo(u64::MAX)).await
    }

    /// Delivers records up to a commit, so that a flush does not deliver those that arrived after it froze the memtable.
    /// It may wait for a delivery that runs. The sink ignores a record whose commit it has.
    ///
    /// # Errors
    /// As [`deliver`](Self::deliver).
    pub(crate) async fn deliver_through(&self, sink: &dyn AuditSink, last: CommitNo) -> Result<(), Error> {
        let _delivering = self.delivering.lock().await;
        loop {
            // The record is removed only after the sink has it; a cancelled delivery repeats it.
            let next = self.state().pending.front().filter(|(mark, _)| mark.commit <= last).cloned();
            let Some((mark, record)) = next else { return Ok(()) };
            self.ensure_checked(sink).await?;
            let entry = AuditOutboxRecord {
                incarnation: self.incarnation,
                namespace: self.keyspace.uuid(),
                mark,
                line: record,
            };
            sink.append_from_outbox(entry).await.map_err(Error::External)?;
            self.state().pending.pop_front();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn find(&self, commit: CommitNo) -> Option<AuditPosition> {
        if commit == self.base.commit {
            return Some(self.base);
        }
        // Commit numbers are consecutive.
        let at = commit.0.checked_sub(self.base.commit.0)?.checked_sub(1)?;
        self.marks.get(usize::try_from(at).ok()?).copied().filter(|mark| mark.commit == commit)
    }
}
