//! An open namespace: its core, the queues of its writer and its maintenance task, and the ownership check.

use crate::{
    Error, MaintenanceReport, MakeAuditRecord, NamespaceReencryption, Totals, WriteOutcome, cost,
    cpu::{TaskClass, on_cpu, run_inline},
    entry::ownership::OwnershipCheck,
    maintenance::{self, MaintenanceQueue, MaintenanceState},
    state::core::NamespaceCore,
    write::{WriteQueue, plan::WriteOp},
};
use kernel::{Audience, CancelFlag, Timestamp, cost::RunOn};
use std::sync::{Arc, atomic::AtomicU64};

/// An open namespace; see the module documentation. Requests hold it while they use it.
pub(crate) struct Namespace {
    pub(crate) core: Arc<NamespaceCore>,
    pub(crate) maintenance: MaintenanceQueue,
    writer: WriteQueue,
    ownership: OwnershipCheck,
    /// Tick of the last use.
    pub(crate) last_used: AtomicU64,
}

impl Namespace {
    /// Starts the tasks of a namespace that was read, and what is due in it.
    pub(crate) fn start(core: NamespaceCore, state: MaintenanceState) -> Self {
        let maintenance = maintenance::start(state);
        let writer = WriteQueue::start(maintenance.clone());
        let core = Arc::new(core);
        if core.outbox.waiting() > 0 {
            core.deliver_audit_soon();
        }
        maintenance.start_if_due(&core);
        writer.start_indexing_if_due(&core);
        Self { core, maintenance, writer, ownership: OwnershipCheck::default(), last_used: AtomicU64::new(0) }
    }

    /// Whether nothing uses the namespace but the caller, who holds one reference.
    pub(crate) fn is_idle(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) == 1 && Arc::strong_count(&self.core) == 1
    }

    /// Exact totals of what an audience sees in the published version now.
    ///
    /// # Errors
    /// Fails if an index cannot be read; [`Error::Panicked`] if the pool shuts down.
    pub(crate) async fn totals_for(&self, audience: &Audience) -> Result<Totals, Error> {
        let (version, config) = (self.core.version(), &self.core.shared.config);
        let now = config.clock.now();
        if let RunOn::Caller(short) = cost::of_totals(&version, audience).run_on() {
            return run_inline(&short, || version.totals_for(audience, now))?;
        }
        let audience = audience.clone();
        on_cpu(&*config.cpu, TaskClass::Open(self.core.incarnation), move || version.totals_for(&audience, now)).await?
    }

    /// Hands a request to the writer and waits.
    ///
    /// # Errors
    /// As [`WriteQueue::write`]; [`Error::RolledBack`] if the tenant's audit log has recorded another history.
    pub(crate) async fn write(
        &self,
        op: WriteOp,
        record: MakeAuditRecord,
        cancel: CancelFlag,
    ) -> Result<WriteOutcome, Error> {
        let core = &self.core;
        if let Err(error) = core.outbox.ensure_checked(&*core.shared.config.sink).await {
            if matches!(error, Error::RolledBack { .. }) {
                // The next opening reads the namespace again and reports the rollback to every request.
                core.fail();
            }
            return Err(error);
        }
        self.writer.write(core, op, record, cancel).await
    }

    /// Checks that the namespace is the state that the storage holds, unless a recent check has shown that.
    ///
    /// # Errors
    /// Fails if another server has written the namespace, which must then be opened again, or if the storage does not
    /// answer.
    pub(crate) async fn ensure_current(&self) -> Result<(), journal::Error> {
        self.ownership.ensure_current(&self.core.shared.config, &self.core.journal).await
    }

    /// Flushes the memtable whatever its size.
    ///
    /// # Errors
    /// As [`MaintenanceQueue::flush`].
    pub(crate) async fn flush(&self) -> Result<(), Error> {
        self.maintenance.flush(&self.core).await
    }

    /// Runs what is due and waits for it.
    ///
    /// # Errors
    /// As [`MaintenanceQueue::sweep`].
    pub(crate) async fn sweep(&self) -> Result<MaintenanceReport, Error> {
        self.maintenance.sweep(&self.core).await
    }

    /// Re-encrypts everything that is not under the keyspace's newest key.
    ///
    /// # Errors
    /// As [`MaintenanceQueue::reencrypt`].
    pub(crate) async fn reencrypt(&self) -> Result<NamespaceReencryption, Error> {
        self.maintenance.reencrypt(&self.core).await
    }

    /// Completes accepted writes and refuses new ones. When this returns, nothing uses the journal any more.
    pub(crate) async fn shut(&self) {
        let core = &self.core;
        core.begin_closing();
        self.writer.close(core).await;
        self.maintenance.close(core).await;
        if let Err(error) = core.outbox.deliver(&*core.shared.config.sink).await {
            tracing::warn!(namespace = %core.keyspace.uuid(), %error, "audit records stay in the log until the next open");
        }
        if let Err(error) = core.journal.close().await {
            tracing::warn!(namespace = %core.keyspace.uuid(), %error, "the log has no clean-shutdown mark");
        }
    }

    /// Since when something in it is deleted, as a hint for when it is closed; `None` if it must be examined.
    pub(crate) fn idle_hint(&self) -> Option<Option<Timestamp>> {
        let is_clean = !self.core.has_failed() && self.maintenance.is_clean();
        is_clean.then(|| self.core.version().deleted_since())
    }

    /// Whether its next opening would replay much.
    pub(crate) fn opens_slowly(&self) -> bool {
        self.core.journal.log_bytes() > SLOW_LOG_BYTES && self.core.version().memtable_size().0 > 0
    }
}

/// Size in bytes above which a log is flushed before its namespace is closed.
const SLOW_LOG_BYTES: u64 = 64 << 10;
