//! An open namespace: its journal, its published version and the queue of its writer.
//!
//! The published version changes only under the publish lock: the writer holds it for a whole batch, maintenance only
//! while it replaces segments. Readers take the version without waiting.

use crate::{
    Error, Totals, WriteOutcome,
    audit_queue::AuditQueue,
    cost,
    cpu::{TaskClass, on_cpu, run_inline},
    merge::MergeTracker,
    prepare::QueuedWrite,
    stores::Shared,
    tenant_counter::{Reservation, TenantCounter},
    version::Version,
};
use journal::{Journal, Seq};
use kernel::{Audience, CancelFlag, CommitNo, Incarnation, Retention, cost::RunOn, limits};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use vault::Keyspace;

/// State of an open namespace; see the module documentation.
pub(crate) struct Namespace {
    pub(crate) shared: Arc<Shared>,
    pub(crate) keyspace: Arc<Keyspace>,
    /// Tenant of the namespace: maintenance is fair between tenants.
    pub(crate) incarnation: Incarnation,
    /// Counter of what the tenant stores in all its namespaces.
    pub(crate) counter: Arc<TenantCounter>,
    /// Whether the published totals count towards the tenant's. False after a failure, when another opening has
    /// replaced this one.
    is_counted: AtomicBool,
    pub(crate) journal: Journal,
    pub(crate) ownership: crate::ownership::OwnershipCheck,
    pub(crate) audit: AuditQueue,
    /// Lock under which the published version changes. Holds the number of the last log entry that the version
    /// contains.
    pub(crate) publish_lock: tokio::sync::Mutex<Seq>,
    /// Lock that allows one maintenance job at a time, with the state that jobs share.
    pub(crate) maintenance: tokio::sync::Mutex<crate::maintenance::MaintenanceState>,
    pub(crate) maintenance_running: AtomicBool,
    /// Whether a check found no orphaned object in the keyspace, and no checkpoint has been written since then.
    pub(crate) orphan_free: AtomicBool,
    /// The large merge that runs, if any.
    pub(crate) merging: MergeTracker,
    /// Held by a large merge while it uses the journal. Acquired before the maintenance lock.
    pub(crate) merge_puts: tokio::sync::Mutex<()>,
    /// Cancelled when the namespace closes or fails.
    closed: CancellationToken,
    /// Time before which maintenance is not retried after a failure, in monotonic milliseconds.
    pub(crate) maintenance_not_before: AtomicU64,
    pub(crate) last_used: AtomicU64,
    /// Lock that allows one batch of the memtable to be indexed at a time. A flush chooses its segments while it holds
    /// this.
    pub(crate) indexing: tokio::sync::Mutex<()>,
    pub(crate) indexing_runs: AtomicBool,
    delivery: tokio::sync::Mutex<()>,
    delivery_queued: AtomicBool,
    version: Mutex<(Arc<Version>, VersionStats)>,
    commits: watch::Sender<CommitNo>,
    queue: Mutex<WriteQueue>,
    state: AtomicU8,
    /// Retention in days; 0 if there is none.
    retention_days: AtomicU32,
}

/// Contribution of a version to the sums over all namespaces.
#[derive(Clone, Copy, Default)]
pub(crate) struct VersionStats {
    pub(crate) bytes: u64,
    pub(crate) documents: u64,
    pub(crate) deleted: u64,
    pub(crate) graphless: u64,
}

impl VersionStats {
    fn of(version: &Version) -> Self {
        let (deleted, documents) = version.tombstones();
        Self { bytes: version.bytes(), documents, deleted, graphless: version.graphless_rows() }
    }
}

#[derive(Default)]
struct WriteQueue {
    waiting: VecDeque<QueuedWrite>,
    writer_running: bool,
}

/// Accepts reads and writes.
const OPEN: u8 = 0;
/// Completes accepted writes and refuses new ones.
const CLOSING: u8 = 1;
/// A write or an index failed. Requests that already hold the published version can still read it; the next request
/// opens the namespace again.
const FAILED: u8 = 2;

impl Namespace {
    pub(crate) fn new(
        shared: Arc<Shared>,
        keyspace: Arc<Keyspace>,
        incarnation: Incarnation,
        journal: Journal,
        version: Version,
        audit: AuditQueue,
        maintenance: crate::maintenance::MaintenanceState,
    ) -> Self {
        let stats = VersionStats::of(&version);
        let counter = shared.tenants.of(incarnation);
        counter.publish(keyspace.uuid(), version.totals(), None);
        shared.counters.replace_stats(VersionStats::default(), stats);
        shared.counters.open.fetch_add(1, Ordering::Relaxed);
        Self {
            ownership: crate::ownership::OwnershipCheck::default(),
            audit,
            publish_lock: tokio::sync::Mutex::new(journal.last()),
            maintenance: tokio::sync::Mutex::new(maintenance),
            maintenance_running: AtomicBool::new(false),
            orphan_free: AtomicBool::new(false),
            merging: MergeTracker::default(),
            merge_puts: tokio::sync::Mutex::default(),
            closed: CancellationToken::new(),
            maintenance_not_before: AtomicU64::new(0),
            last_used: AtomicU64::new(0),
            delivery: tokio::sync::Mutex::default(),
            delivery_queued: AtomicBool::new(false),
            indexing: tokio::sync::Mutex::default(),
            indexing_runs: AtomicBool::new(false),
            commits: watch::Sender::new(version.commit),
            version: Mutex::new((Arc::new(version), stats)),
            queue: Mutex::default(),
            state: AtomicU8::new(OPEN),
            retention_days: AtomicU32::new(0),
            shared,
            keyspace,
            incarnation,
            counter,
            is_counted: AtomicBool::new(true),
            journal,
        }
    }

    /// Retention that the writer applies.
    pub(crate) fn retention(&self) -> Retention {
        let days = self.retention_days.load(Ordering::Acquire);
        Retention { days: (days > 0).then_some(days) }
    }

    /// Changes the retention from the next batch on.
    pub(crate) fn set_retention(&self, retention: Retention) {
        self.retention_days.store(retention.days.unwrap_or(0), Ordering::Release);
    }

    /// The version that is published now.
    pub(crate) fn version(&self) -> Arc<Version> {
        self.published().0.clone()
    }

    fn published(&self) -> MutexGuard<'_, (Arc<Version>, VersionStats)> {
        // Safe after a panic: only single assignments happen under this lock.
        self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes a version. The caller holds the publish lock.
    pub(crate) fn publish(&self, version: Version) {
        self.publish_write(version, None);
    }

    /// Publishes the version of a write, and turns its reservation into stored totals.
    pub(crate) fn publish_write(&self, version: Version, reserved: Option<Reservation>) {
        if self.is_counted.load(Ordering::Acquire) {
            self.counter.publish(self.keyspace.uuid(), version.totals(), reserved);
        } else if let Some(reserved) = reserved {
            reserved.assume_stored(self.keyspace.uuid());
        }
        let (commit, stats) = (version.commit, VersionStats::of(&version));
        self.merging.cancel_if_stale(&version);
        let (_, before) = std::mem::replace(&mut *self.published(), (Arc::new(version), stats));
        self.shared.counters.replace_stats(before, stats);
        self.commits.send_replace(commit);
    }

    /// Updates the counters after the published version has changed in size: an index was built, or pages were read.
    pub(crate) fn refresh_stats(&self) {
        let mut published = self.published();
        let now = VersionStats::of(&published.0);
        let previous = std::mem::replace(&mut published.1, now);
        drop(published);
        self.shared.counters.replace_stats(previous, now);
        if now.bytes > previous.bytes {
            self.shared.evict_if_over_budget();
        }
    }

    /// Stops counting the namespace towards the tenant's totals, because it is destroyed.
    pub(crate) fn stop_counting(&self) {
        self.is_counted.store(false, Ordering::Release);
        self.counter.remove(self.keyspace.uuid());
    }

    /// Exact totals of the published version.
    pub(crate) fn totals(&self) -> Totals {
        self.version().totals()
    }

    /// Exact totals of what an audience sees in the published version now.
    ///
    /// # Errors
    /// Fails if an index cannot be read; [`Error::Panicked`] if the pool shuts down.
    pub(crate) async fn totals_for(&self, audience: &Audience) -> Result<Totals, Error> {
        let (version, config) = (self.version(), &self.shared.config);
        let now = config.clock.now();
        if let RunOn::Caller(short) = cost::of_totals(&version, audience).run_on() {
            return run_inline(&short, || version.totals_for(audience, now))?;
        }
        let audience = audience.clone();
        on_cpu(&*config.cpu, TaskClass::Open(self.incarnation), move || version.totals_for(&audience, now)).await?
    }

    /// Waits until a commit is published.
    ///
    /// # Errors
    /// [`Error::NotPublished`] after [`limits::MIN_COMMIT_WAIT`].
    pub(crate) async fn wait_for_commit(&self, min_commit: CommitNo) -> Result<(), Error> {
        let mut commits = self.commits.subscribe();
        let result = tokio::time::timeout(limits::MIN_COMMIT_WAIT, commits.wait_for(|now| *now >= min_commit)).await;
        match result {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Error::NotPublished { requested: min_commit, newest: self.version().commit }),
        }
    }

    /// Hands a request to the writer and waits. Once queued, the request is carried out in full even if the caller
    /// disconnects; only the evaluation of a selection stops with its caller.
    ///
    /// # Errors
    /// The writer's error; before that [`Error::QueueFull`], [`Error::MemtableFull`].
    pub(crate) async fn write(
        self: &Arc<Self>,
        op: crate::plan::WriteOp,
        record: crate::MakeAuditRecord,
        cancel: CancelFlag,
    ) -> Result<WriteOutcome, Error> {
        if let Err(error) = self.audit.ensure_checked(&*self.shared.config.sink).await {
            if matches!(error, Error::RolledBack { .. }) {
                // The next opening reads the namespace again and reports the rollback to every request.
                self.fail();
            }
            return Err(error);
        }
        let (reply, answer) = oneshot::channel();
        // The memory of an append was already counted when the request arrived.
        let memory =
            self.shared.write_memory.as_ref().filter(|_| !matches!(op.action, crate::plan::WriteAction::Append(..)));
        let permit = memory.map(|memory| memory.enter(self.incarnation));
        self.enqueue(QueuedWrite { op, record, reply, cancel, permit })?;
        answer.await.unwrap_or_else(|_| {
            let message = "the writer ended early".to_owned();
            Err(Error::Append { code: kernel::Code::Internal, message, outcome_unknown: true })
        })
    }

    fn enqueue(self: &Arc<Self>, write: QueuedWrite) -> Result<(), Error> {
        let (_, unflushed) = self.version().memtable_size();
        if unflushed > self.shared.config.flush_bytes_max.saturating_mul(MEMTABLE_REFUSE_FACTOR) {
            return Err(Error::MemtableFull(unflushed));
        }
        if self.audit.waiting() > AUDIT_RECORDS_WAITING_MAX {
            return Err(Error::AuditBacklog(self.audit.waiting()));
        }
        let mut queue = self.queue();
        // Checked under the queue's lock, because closing drains the queue under the same lock.
        if self.state.load(Ordering::Acquire) != OPEN {
            return Err(Error::Closing);
        }
        if queue.waiting.len() >= limits::WRITES_QUEUED_MAX {
            return Err(Error::QueueFull(queue.waiting.len()));
        }
        queue.waiting.push_back(write);
        self.shared.counters.queued.fetch_add(1, Ordering::Relaxed);
        if !queue.writer_running {
            queue.writer_running = true;
            self.shared.config.tracker.spawn(crate::writer::run(self.clone()));
        }
        Ok(())
    }

    /// Takes the writes of the next entry. If there are none, the writer's task ends, and the next request starts a new
    /// one.
    pub(crate) fn next_batch(&self) -> VecDeque<QueuedWrite> {
        let mut queue = self.queue();
        let n = queue.waiting.len().min(limits::WRITES_PER_ENTRY_MAX);
        let batch: VecDeque<QueuedWrite> = queue.waiting.drain(..n).collect();
        self.shared.counters.queued.fetch_sub(n as u64, Ordering::Relaxed);
        if batch.is_empty() {
            queue.writer_running = false;
        }
        batch
    }

    /// Puts writes that did not fit into the entry back at the front of the queue.
    pub(crate) fn put_back(&self, remaining: VecDeque<QueuedWrite>) {
        let mut queue = self.queue();
        self.shared.counters.queued.fetch_add(remaining.len() as u64, Ordering::Relaxed);
        for write in remaining.into_iter().rev() {
            queue.waiting.push_front(write);
        }
    }

    /// Refuses further writes; the next request opens the namespace again.
    pub(crate) fn fail(&self) {
        self.state.store(FAILED, Ordering::Release);
        self.is_counted.store(false, Ordering::Release);
        self.closed.cancel();
        let waiting = std::mem::take(&mut self.queue().waiting);
        self.shared.counters.queued.fetch_sub(waiting.len() as u64, Ordering::Relaxed);
        for write in waiting {
            let _caller_has_gone = write.reply.send(Err(Error::Closing));
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state.load(Ordering::Acquire) == OPEN
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.state.load(Ordering::Acquire) == FAILED
    }

    /// Completes accepted writes and refuses new ones. When this returns, nothing uses the journal any more.
    pub(crate) async fn shut(self: &Arc<Self>) {
        {
            let _queue = self.queue();
            let _previous = self.state.compare_exchange(OPEN, CLOSING, Ordering::AcqRel, Ordering::Acquire);
        }
        self.closed.cancel();
        while crate::writer::step(self).await {}
        // Tasks that use the journal end first.
        drop(self.merge_puts.lock().await);
        drop(self.maintenance.lock().await);
        if let Err(error) = self.audit.deliver(&*self.shared.config.sink).await {
            tracing::warn!(namespace = %self.keyspace.uuid(), %error, "audit records stay in the log until the next open");
        }
        if let Err(error) = self.journal.close().await {
            tracing::warn!(namespace = %self.keyspace.uuid(), %error, "the log has no clean-shutdown mark");
        }
    }

    /// Runs `work`. Returns `None` if the namespace closes or fails first.
    pub(crate) async fn unless_closed<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.closed.run_until_cancelled(work).await
    }

    /// Makes the writer wait while many audit records have not reached the tenant's audit log.
    pub(crate) async fn throttle_on_audit(&self) {
        if self.audit.waiting() > AUDIT_RECORDS_WAITING_SOFT {
            // A failure is reported once the hard limit is reached; until then writes are durable in this log.
            let _retried_later = self.audit.deliver(&*self.shared.config.sink).await;
        }
    }

    /// Delivers waiting audit records in the background. At most one task waits while another runs.
    pub(crate) fn deliver_audit_soon(self: &Arc<Self>) {
        if self.delivery_queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let namespace = self.clone();
        self.shared.config.tracker.spawn(async move {
            let _delivery = namespace.delivery.lock().await;
            // Cleared before the queue is read, so that records which arrive later start the next task.
            namespace.delivery_queued.store(false, Ordering::Release);
            if let Err(error) = namespace.audit.deliver(&*namespace.shared.config.sink).await {
                let waiting = namespace.audit.waiting();
                tracing::warn!(namespace = %namespace.keyspace.uuid(), waiting, %error, "audit records wait");
            }
        });
    }

    fn queue(&self) -> MutexGuard<'_, WriteQueue> {
        // Safe after a panic: an interrupted push or drain leaves a valid queue.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.shared.counters.replace_stats(self.published().1, VersionStats::default());
        self.shared.counters.open.fetch_sub(1, Ordering::Relaxed);
        self.shared.counters.queued.fetch_sub(self.queue().waiting.len() as u64, Ordering::Relaxed);
    }
}

/// Writes are refused when the memtable exceeds the flush threshold by this factor.
const MEMTABLE_REFUSE_FACTOR: u64 = 4;
/// Audit records that may wait for the tenant's audit log before the writer waits for them.
const AUDIT_RECORDS_WAITING_SOFT: usize = 1_024;
/// Audit records that may wait before writes are refused.
const AUDIT_RECORDS_WAITING_MAX: usize = 16_384;
