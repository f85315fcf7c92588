//! Watches tenants' keys: has leases renewed, starts rotations that are due, and drops from memory the data of a tenant
//! whose keys are no longer available.

use crate::Engine;
use kernel::{Error, Incarnation, OperationId, TenantId, Timestamp, limits};
use registry::{BegunOperation, LapsedTenant, OperationKind};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// The background task that watches keys; see the module.
#[derive(Default)]
pub(crate) struct KeyWatch {
    stop: CancellationToken,
    /// Held while events are recorded, so that they are recorded in order.
    reporting: Arc<tokio::sync::Mutex<()>>,
}

impl KeyWatch {
    /// Starts the task. Between two checks it holds no engine, so that a dropped engine is freed.
    pub(crate) fn start(&self, engine: &Engine) {
        let (inner, stop) = (Arc::downgrade(&engine.inner), self.stop.clone());
        engine.inner.tracker.spawn(async move {
            let mut rotations = RotationSchedule::default();
            loop {
                tokio::select! {
                    () = tokio::time::sleep(limits::KEY_CHECK) => {}
                    () = stop.cancelled() => return,
                }
                let Some(inner) = inner.upgrade() else { return };
                let engine = Engine { inner };
                engine.watch_keys().await;
                engine.rotate_due(&mut rotations).await;
                engine.continue_bulk_rotation(&mut rotations).await;
            }
        });
    }

    /// Stops the task.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }
}

/// What the task remembers of rotations that it has started.
#[derive(Default)]
struct RotationSchedule {
    /// Monotonic time of the next check for due rotations.
    next_check: Duration,
    /// One permit for each rotation by rule that may run at the same time.
    open: Option<Arc<Semaphore>>,
    /// Tenants whose rotation by rule was started recently, and when, so that one that fails is not started again at
    /// once.
    begun: HashMap<TenantId, Duration>,
    /// The bulk rotation in progress: when it began, the tenants that were started, and its permits.
    bulk_rotation: Option<(Timestamp, HashSet<TenantId>, Arc<Semaphore>)>,
    /// Operations that were reported as overdue.
    late: HashSet<OperationId>,
}

impl Engine {
    /// Starts the rotations that are due by a rule, and reports operations that are overdue.
    async fn rotate_due(&self, rotations: &mut RotationSchedule) {
        let now = self.inner.clock.monotonic();
        if now < rotations.next_check {
            return;
        }
        rotations.next_check = now + limits::ROTATION_CHECK;
        self.resume_server_rotation();
        for (operation, tenant) in self.inner.registry.overdue_operations() {
            if rotations.late.insert(operation) {
                tracing::warn!(%operation, "a re-encryption has not ended by its deadline; it continues");
                if let Err(error) = self.inner.audit_log.server_act("key.reencrypt.overdue", Some(&tenant), None).await
                {
                    tracing::warn!(%error, "an overdue operation could not be recorded in the audit");
                }
            }
        }
        rotations.begun.retain(|_, at| now < *at + ROTATION_RETRY_PAUSE);
        let open = rotations.open.get_or_insert_with(|| Arc::new(Semaphore::new(limits::ROTATIONS_AT_ONCE)));
        for tenant in self.inner.registry.rotations_due() {
            if rotations.begun.contains_key(&tenant) {
                continue;
            }
            let Ok(turn) = open.clone().try_acquire_owned() else { return };
            if let Err(error) = self.begin_due(&tenant, turn).await {
                tracing::warn!(%error, "a rotation that is due could not be started");
            }
            rotations.begun.insert(tenant, now);
        }
    }

    /// Starts the next tenants of a bulk rotation, each once, with at most its concurrency at the same time. Ends it
    /// when all tenants had their turn; failures are in the tenants' operations.
    async fn continue_bulk_rotation(&self, rotations: &mut RotationSchedule) {
        let Some(bulk_rotation) = self.inner.registry.bulk_rotation() else {
            rotations.bulk_rotation = None;
            return;
        };
        if rotations.bulk_rotation.as_ref().is_none_or(|(since, ..)| *since != bulk_rotation.begun_at) {
            let open = Arc::new(Semaphore::new(bulk_rotation.concurrency as usize));
            rotations.bulk_rotation = Some((bulk_rotation.begun_at, HashSet::new(), open));
        }
        let Some((_, begun, open)) = &mut rotations.bulk_rotation else { return };
        // `busy`: some tenant's rotation is in progress, so the bulk rotation has not ended yet.
        let (due, busy) = self.inner.registry.bulk_rotation_due();
        let mut left = false;
        for tenant in due.into_iter().filter(|tenant| !begun.contains(tenant)).collect::<Vec<_>>() {
            let Ok(turn) = open.clone().try_acquire_owned() else {
                left = true;
                break;
            };
            let kind = if bulk_rotation.reencrypt { OperationKind::Reencrypt } else { OperationKind::RotateKey };
            if let Err(error) = self.begin_kind(&tenant, kind, turn).await {
                tracing::warn!(%error, "a bulk rotation could not start with a tenant");
            }
            left = true;
            begun.insert(tenant);
        }
        if left || busy {
            return;
        }
        if let Err(error) = self.inner.registry.end_bulk_rotation().await {
            tracing::warn!(%error, "the end of a bulk rotation could not be recorded");
        }
    }

    async fn begin_due(&self, tenant: &TenantId, turn: OwnedSemaphorePermit) -> Result<(), Error> {
        self.begin_kind(tenant, OperationKind::RotateKey, turn).await
    }

    async fn begin_kind(
        &self,
        tenant: &TenantId,
        kind: OperationKind,
        turn: OwnedSemaphorePermit,
    ) -> Result<(), Error> {
        self.inner.audit_log.server_act(kind.as_str(), Some(tenant), None).await?;
        let late = (kind == OperationKind::Reencrypt).then(|| self.now().plus(limits::REENCRYPT_DEADLINE));
        let begun = self.inner.registry.begin_operation_until(tenant, kind, late).await?;
        if let BegunOperation::Fresh(operation) = begun {
            let engine = self.clone();
            self.inner.tracker.spawn(async move { engine.run_rotation(operation, Some(turn)).await });
        }
        Ok(())
    }

    async fn watch_keys(&self) {
        for lapsed in self.inner.registry.watch_keys().await {
            let engine = self.clone();
            self.inner.tracker.spawn(async move { engine.drop_lapsed(lapsed).await });
        }
        // In a task of its own, because a disk that hangs must not keep leases from being renewed.
        let engine = self.clone();
        self.inner.tracker.spawn(async move { engine.report_key_events().await });
    }

    /// Records events of tenants' keys and namespaces in the operators' audit, in order. An event that cannot be
    /// recorded waits, and so do those after it.
    pub(crate) async fn report_key_events(&self) {
        let Ok(_turn) = self.inner.key_watch.reporting.try_lock() else { return };
        let (registry, audit_log) = (&self.inner.registry, &self.inner.audit_log);
        while let Some(event) = registry.key_event() {
            let why = event.why.map(vault::KeyFailure::as_str);
            if let Err(error) = audit_log.server_act(event.what, Some(&event.tenant), why).await {
                tracing::warn!(event = event.what, %error, "an event of a tenant's key could not be recorded in the audit yet");
                return;
            }
            registry.key_event_reported();
        }
        while let Some(rollback) = audit_log.unreported_rollback() {
            let tenant = registry.tenant_name(rollback.incarnation);
            if let Err(error) = audit_log.report_rollback(rollback, tenant.as_ref()).await {
                tracing::warn!(%error, "a rolled-back namespace could not be recorded in the audit yet");
                return;
            }
        }
    }

    /// Drops graphs, texts and caches at once, and the audit log when earlier requests have written their records.
    async fn drop_lapsed(&self, lapsed: LapsedTenant) {
        let registry = &self.inner.registry;
        self.inner.stores.close_tenant_while(lapsed.incarnation, || !registry.is_active(lapsed.incarnation)).await;
        self.close_audit(lapsed.incarnation, || lapsed.is_gone()).await;
        self.wipe_stacks();
    }

    /// Closes a tenant's audit log once `ready` returns true and no request uses it, unless the tenant is served again.
    pub(crate) async fn close_audit(&self, incarnation: Incarnation, ready: impl Fn() -> bool) {
        for _ in 0..AUDIT_CLOSE_TIMEOUT.as_millis() / AUDIT_CLOSE_POLL.as_millis() {
            if self.inner.registry.is_active(incarnation) {
                return;
            }
            // The entry stays, because the tenant may be served again soon and an audit must have only one log.
            if ready() && self.inner.audit_log.release(incarnation).await {
                return;
            }
            tokio::time::sleep(AUDIT_CLOSE_POLL).await;
        }
        if !self.inner.audit_log.release(incarnation).await {
            tracing::warn!(%incarnation, "the audit log of a suspended or sealed tenant stays open");
        }
    }

    /// Wipes what finished work has left on the stacks of threads that keep running.
    pub(crate) fn wipe_stacks(&self) {
        self.inner.work.wipe_stacks();
        self.inner.models.wake();
        // The runtime's workers wipe their stacks when they become idle. Those that are idle already are woken by a
        // task.
        for _ in 0..WAKE_TASKS {
            self.inner.tracker.spawn(tokio::task::yield_now());
        }
    }
}

/// How long to wait for requests in progress before an audit log stays open.
const AUDIT_CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// Tasks that wake the runtime's workers, a few for each.
const WAKE_TASKS: usize = 64;
/// How often to check whether an audit log can be closed.
const AUDIT_CLOSE_POLL: Duration = Duration::from_millis(20);
/// Pause before a rotation by rule that failed is started again.
const ROTATION_RETRY_PAUSE: Duration = Duration::from_secs(3_600);
