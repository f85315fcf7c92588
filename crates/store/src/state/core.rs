//! Core of an open namespace: what its writer, its maintenance task and its readers share.
//!
//! Each of them has state of its own, which no other touches. A task without work holds no reference to the core: every
//! message brings one. Thus a namespace that nothing uses has exactly one reference, its slot's, and can be evicted.
//!
//! There are three locks. In the order in which they are acquired: `indexing`, the publish lock, the outbox's own.

use crate::{
    Error, Totals,
    shared::Shared,
    state::{audit_outbox::AuditOutbox, published::Published, version::Version},
};
use journal::Journal;
use kernel::{Incarnation, Retention};
use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
};
use tokio_util::{sync::CancellationToken, task::task_tracker::TaskTrackerToken};
use vault::Keyspace;

/// Core of an open namespace; see the module documentation.
pub(crate) struct NamespaceCore {
    pub(crate) shared: Arc<Shared>,
    pub(crate) keyspace: Arc<Keyspace>,
    /// Tenant of the namespace: work is fair between tenants.
    pub(crate) incarnation: Incarnation,
    pub(crate) journal: Journal,
    pub(crate) published: Published,
    pub(crate) outbox: AuditOutbox,
    /// Lock that allows one batch of the memtable to be indexed at a time. A flush chooses its segments while it holds
    /// this.
    pub(crate) indexing: tokio::sync::Mutex<()>,
    state: AtomicU8,
    /// Cancelled when the namespace closes or fails.
    closed: CancellationToken,
    /// Retention in days; 0 if there is none.
    retention_days: AtomicU32,
}

/// Accepts reads and writes.
const OPEN: u8 = 0;
/// Completes accepted writes and refuses new ones.
const CLOSING: u8 = 1;
/// A write or an index failed. Requests that already hold the published version can still read it; the next request
/// opens the namespace again.
const FAILED: u8 = 2;

impl NamespaceCore {
    /// Creates the core of a namespace that was read up to the journal's last entry.
    pub(crate) fn new(
        shared: Arc<Shared>,
        keyspace: Arc<Keyspace>,
        incarnation: Incarnation,
        journal: Journal,
        version: Version,
        outbox: AuditOutbox,
    ) -> Self {
        let counter = shared.tenants.of(incarnation);
        Self {
            published: Published::new(shared.clone(), keyspace.uuid(), counter, version, journal.last()),
            shared,
            keyspace,
            incarnation,
            journal,
            outbox,
            indexing: tokio::sync::Mutex::default(),
            state: AtomicU8::new(OPEN),
            closed: CancellationToken::new(),
            retention_days: AtomicU32::new(0),
        }
    }

    /// The version that is published now.
    pub(crate) fn version(&self) -> Arc<Version> {
        self.published.version()
    }

    /// Exact totals of the published version.
    pub(crate) fn totals(&self) -> Totals {
        self.version().totals()
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

    /// Whether it accepts writes.
    pub(crate) fn is_open(&self) -> bool {
        self.state.load(Ordering::Acquire) == OPEN
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.state.load(Ordering::Acquire) == FAILED
    }

    /// Refuses further writes; the next request opens the namespace again.
    pub(crate) fn fail(&self) {
        self.state.store(FAILED, Ordering::Release);
        self.published.freeze_totals();
        self.closed.cancel();
    }

    /// Refuses new writes; those that are accepted are completed.
    pub(crate) fn begin_closing(&self) {
        let _previous = self.state.compare_exchange(OPEN, CLOSING, Ordering::AcqRel, Ordering::Acquire);
        self.closed.cancel();
    }

    /// Runs `work`. Returns `None` if the namespace closes or fails first.
    pub(crate) async fn unless_closed<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.closed.run_until_cancelled(work).await
    }

    /// Delivers waiting audit records in the background.
    pub(crate) fn deliver_audit_soon(self: &Arc<Self>) {
        if !self.outbox.delivery.request() {
            return;
        }
        let core = self.clone();
        self.shared.config.tracker.spawn(async move {
            loop {
                if let Err(error) = core.outbox.deliver(&*core.shared.config.sink).await {
                    let waiting = core.outbox.waiting();
                    tracing::warn!(namespace = %core.keyspace.uuid(), waiting, %error, "audit records wait");
                }
                if !core.outbox.delivery.again() {
                    return;
                }
            }
        });
    }
}

/// Reference to a namespace that a message brings to a task: a shutdown waits for the message, and not for a task
/// without work.
pub(crate) struct HeldCore {
    core: Arc<NamespaceCore>,
    _token: TaskTrackerToken,
}

impl HeldCore {
    pub(crate) fn new(core: &Arc<NamespaceCore>) -> Self {
        Self { core: core.clone(), _token: core.shared.config.tracker.token() }
    }

    /// Ends the use of the namespace and answers its caller. Then closes namespaces that nothing uses, this one too, if
    /// a budget is exceeded.
    pub(crate) fn release(self, answer: impl FnOnce()) {
        let Self { core, _token } = self;
        let shared = core.shared.clone();
        drop(core);
        answer();
        shared.evict_if_over_budget();
    }
}

impl Deref for HeldCore {
    type Target = Arc<NamespaceCore>;

    fn deref(&self) -> &Self::Target {
        &self.core
    }
}

/// Starts a task that waits for messages until no sender is left.
pub(crate) fn spawn_receiver(task: impl Future<Output = ()> + Send + 'static) {
    // Outside the tracker, which a shutdown waits for: each message holds a token of it instead.
    tokio::runtime::Handle::current().spawn(task);
}

/// Fails the namespace if the task that holds this panics: what it was changing may be half changed, and the next
/// request reads the namespace again.
pub(crate) struct FailOnPanic<'a>(pub(crate) &'a NamespaceCore);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail();
        }
    }
}

/// Error for a caller whose task went away before it answered.
pub(crate) fn task_ended<E>(_: E) -> Error {
    Error::Closing
}
