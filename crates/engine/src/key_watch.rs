//! The watch over tenants' keys: has leases renewed, and drops what is left in memory of a tenant whose keys were taken
//! away.

use crate::Engine;
use kernel::{Error, OperationId, TenantId, limits};
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
        for (operation, tenant) in self.inner.registry.overdue() {
            if rotations.late.insert(operation) {
                tracing::warn!(%operation, "a re-encryption has not ended by its deadline; it goes on");
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

    async fn begin_due(&self, tenant: &TenantId, turn: OwnedSemaphorePermit) -> Result<(), Error> {
        self.inner.trail.server_act("key.rotate", Some(tenant), None).await?;
        let begun = self.inner.registry.begin_operation(tenant, OperationKind::RotateKey).await?;
        if let Begun::Fresh(operation) = begun {
            let engine = self.clone();
            self.inner.tracker.spawn(async move {
                let _turn = turn;
                engine.run_rotation(operation).await;
            });
        }
        Ok(())
    }

    async fn watch_keys(&self) {
        for lapsed in self.inner.registry.watch_keys().await {
            let engine = self.clone();
            self.inner.tracker.spawn(async move { engine.drop_lapsed(lapsed).await });
        }
        for event in self.inner.registry.key_events() {
            let why = event.why.map(vault::KeyTrouble::as_str);
            if let Err(error) = self.inner.trail.server_act(event.what, Some(&event.tenant), why).await {
                tracing::warn!(event = event.what, %error, "what happened to a tenant's key is in no audit line");
            }
        }
    }

    /// Graphs, texts and caches go at once; the audit chain when the requests of before have written their lines.
    async fn drop_lapsed(&self, lapsed: Lapsed) {
        self.inner.stores.forget(lapsed.incarnation).await;
        for _ in 0..LINGER.as_millis() / LOOK.as_millis() {
            if lapsed.is_gone() {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        self.inner.trail.forget(lapsed.incarnation).await;
        self.wipe_stacks();
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
/// A rotation that a rule wants and that failed is begun again after so long.
const ROTATE_AGAIN: Duration = Duration::from_secs(3_600);
