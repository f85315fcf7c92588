//! The watch over tenants' keys: has leases renewed, and drops what is left in memory of a tenant whose keys were taken
//! away.

use crate::Engine;
use kernel::{Error, Incarnation, OperationId, TenantId, Timestamp, limits};
use registry::{Begun, Lapsed, OperationKind};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// See the module.
#[derive(Default)]
pub(crate) struct KeyWatch {
    stop: CancellationToken,
    /// Held while events are written down: one after the other.
    telling: Arc<tokio::sync::Mutex<()>>,
}

impl KeyWatch {
    /// Begins. It holds no engine, so that one which is dropped is gone.
    pub(crate) fn start(&self, engine: &Engine) {
        let (inner, stop) = (Arc::downgrade(&engine.inner), self.stop.clone());
        engine.inner.tracker.spawn(async move {
            let mut rotations = Rotations::default();
            loop {
                tokio::select! {
                    () = tokio::time::sleep(limits::KEY_CHECK) => {}
                    () = stop.cancelled() => return,
                }
                let Some(inner) = inner.upgrade() else { return };
                let engine = Engine { inner };
                engine.watch_keys().await;
                engine.rotate_due(&mut rotations).await;
                engine.go_on_with_campaign(&mut rotations).await;
            }
        });
    }

    /// Ends it.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }
}

/// What the watch remembers of rotations that a rule wants.
#[derive(Default)]
struct Rotations {
    /// Monotonic time from which it looks again.
    look_at: Duration,
    /// Rotations of a rule at once.
    open: Option<Arc<Semaphore>>,
    /// Tenants for which one was begun lately: one that fails is not begun again at once.
    begun: HashMap<TenantId, Duration>,
    /// Tenants that the rotation of all has begun with, since when it began.
    campaign: Option<(Timestamp, HashSet<TenantId>, Arc<Semaphore>)>,
    /// Operations that were told to be late.
    late: HashSet<OperationId>,
}

impl Engine {
    /// Begins the rotations that a rule wants.
    async fn rotate_due(&self, rotations: &mut Rotations) {
        let now = self.inner.clock.monotonic();
        if now < rotations.look_at {
            return;
        }
        rotations.look_at = now + limits::ROTATION_CHECK;
        self.go_on_with_server_rotation();
        for (operation, tenant) in self.inner.registry.overdue() {
            if rotations.late.insert(operation) {
                tracing::warn!(%operation, "a re-encryption has not ended by its deadline; it continues");
                if let Err(error) = self.inner.trail.server_act("key.reencrypt.overdue", Some(&tenant), None).await {
                    tracing::warn!(%error, "an overdue operation is in no audit line");
                }
            }
        }
        rotations.begun.retain(|_, at| now < *at + ROTATE_AGAIN);
        let open = rotations.open.get_or_insert_with(|| Arc::new(Semaphore::new(limits::ROTATIONS_AT_ONCE)));
        for tenant in self.inner.registry.rotations_due() {
            if rotations.begun.contains_key(&tenant) {
                continue;
            }
            let Ok(turn) = open.clone().try_acquire_owned() else { return };
            if let Err(error) = self.begin_due(&tenant, turn).await {
                tracing::warn!(%error, "a rotation that is due could not be begun");
            }
            rotations.begun.insert(tenant, now);
        }
    }

    /// Begins with the next tenants of a rotation of all, as many at once as it allows; each once. Ends it when all have
    /// had their turn: those that failed are told by their operations.
    async fn go_on_with_campaign(&self, rotations: &mut Rotations) {
        let Some(campaign) = self.inner.registry.campaign() else {
            rotations.campaign = None;
            return;
        };
        if rotations.campaign.as_ref().is_none_or(|(since, ..)| *since != campaign.begun_at) {
            let open = Arc::new(Semaphore::new(campaign.concurrency as usize));
            rotations.campaign = Some((campaign.begun_at, HashSet::new(), open));
        }
        let Some((_, begun, open)) = &mut rotations.campaign else { return };
        let (due, busy) = self.inner.registry.campaign_due();
        let mut left = false;
        for tenant in due.into_iter().filter(|tenant| !begun.contains(tenant)).collect::<Vec<_>>() {
            let Ok(turn) = open.clone().try_acquire_owned() else {
                left = true;
                break;
            };
            let kind = if campaign.reencrypt { OperationKind::Reencrypt } else { OperationKind::RotateKey };
            if let Err(error) = self.begin_kind(&tenant, kind, turn).await {
                tracing::warn!(%error, "a tenant of a rotation of all could not be begun with");
            }
            left = true;
            begun.insert(tenant);
        }
        if left || busy {
            return;
        }
        if let Err(error) = self.inner.registry.end_campaign().await {
            tracing::warn!(%error, "the end of a rotation of all tenants could not be written");
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
        self.inner.trail.server_act(kind.as_str(), Some(tenant), None).await?;
        let late = (kind == OperationKind::Reencrypt).then(|| self.now().plus(limits::REENCRYPT_DEADLINE));
        let begun = self.inner.registry.begin_operation_until(tenant, kind, late).await?;
        if let Begun::Fresh(operation) = begun {
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
        // Beside the watch: a disk that hangs must not keep leases from being renewed.
        let engine = self.clone();
        self.inner.tracker.spawn(async move { engine.tell_events().await });
    }

    /// Writes what happened to tenants' keys and namespaces into the operators' audit, in order. What cannot be written
    /// waits, and what follows it waits too.
    pub(crate) async fn tell_events(&self) {
        let Ok(_turn) = self.inner.key_watch.telling.try_lock() else { return };
        let (registry, trail) = (&self.inner.registry, &self.inner.trail);
        while let Some(event) = registry.key_event() {
            let why = event.why.map(vault::KeyTrouble::as_str);
            if let Err(error) = trail.server_act(event.what, Some(&event.tenant), why).await {
                tracing::warn!(event = event.what, %error, "what happened to a tenant's key is in no audit line yet");
                return;
            }
            registry.key_event_told();
        }
        while let Some(rollback) = trail.untold_rollback() {
            let tenant = registry.name_of(rollback.incarnation);
            if let Err(error) = trail.tell_rollback(rollback, tenant.as_ref()).await {
                tracing::warn!(%error, "a namespace that was rolled back is in no audit line yet");
                return;
            }
        }
    }

    /// Drops graphs, texts and caches at once, and the audit log when earlier requests have written their lines.
    async fn drop_lapsed(&self, lapsed: Lapsed) {
        self.inner.stores.forget(lapsed.incarnation).await;
        self.close_audit(lapsed.incarnation, || lapsed.is_gone()).await;
        self.wipe_stacks();
    }

    /// Closes a tenant's audit log once this holds and no request uses it.
    pub(crate) async fn close_audit(&self, incarnation: Incarnation, ready: impl Fn() -> bool) {
        for _ in 0..LINGER.as_millis() / LOOK.as_millis() {
            // The entry stays: the tenant may be served again already, and an audit must have one log only.
            if ready() && self.inner.trail.release(incarnation).await {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
        if !self.inner.trail.release(incarnation).await {
            tracing::warn!(%incarnation, "an audit log stays open of a tenant that is suspended or sealed");
        }
    }

    /// What ended work has left on the stacks of threads that go on.
    pub(crate) fn wipe_stacks(&self) {
        self.inner.work.wipe_stacks();
        self.inner.models.rouse();
        // The runtime's workers wipe when they come to rest; those that rest already are woken by having something to do.
        for _ in 0..ROUSED {
            self.inner.tracker.spawn(tokio::task::yield_now());
        }
    }
}

/// How long requests that had begun may take to end.
const LINGER: Duration = Duration::from_secs(10);
/// Tasks that wake the runtime's workers: a few for each.
const ROUSED: usize = 64;
const LOOK: Duration = Duration::from_millis(20);
/// Pause before a rotation by rule that failed is started again.
const ROTATE_AGAIN: Duration = Duration::from_secs(3_600);
