//! Slot of a namespace in the set of open ones: closed, open, failed to open, or destroyed.
//!
//! A slot is kept for the life of the process, so that a namespace is never opened under two slots. It holds no key, so
//! that the keys of a closed namespace can be destroyed. A namespace that cannot be opened because its bytes are not
//! what was written is quarantined: requests fail at once, it is retried after growing pauses, and other namespaces are
//! not affected.

use crate::{Error, counters::Counters, entry::namespace::Namespace, shared::Shared};
use journal::{Journal, Stopped, WriterSession};
use kernel::{Code, Incarnation, NamespaceUuid, Timestamp};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::sync::OwnedMutexGuard;

/// Slot of one namespace; see the module documentation.
pub(crate) struct Slot {
    uuid: NamespaceUuid,
    incarnation: Incarnation,
    state: Mutex<SlotState>,
    /// Hint for a closed namespace: since when something in it has been deleted, as of when it was last open or
    /// examined. It has not changed since then. `None` if unknown.
    idle_hint: Mutex<Option<Option<Timestamp>>>,
    /// Held while the namespace is opened, closed or destroyed. Contains what the last opening left for the next one.
    opening: Arc<tokio::sync::Mutex<SavedSession>>,
}

/// Writer session that lets the next opening of a namespace in a bucket remain its writer. The next opening takes it,
/// so two openings never have it.
pub(crate) type SavedSession = Option<WriterSession>;

pub(crate) enum SlotState {
    Closed,
    Open(Arc<Namespace>),
    OpenFailed(OpenFailure),
    Destroyed,
}

/// A failed opening: its error, how often it failed, and the monotonic time of the next attempt.
pub(crate) struct OpenFailure {
    retry_at: Duration,
    tries: u32,
    code: Code,
    message: String,
}

impl OpenFailure {
    /// A failure after `before` attempts with the same kind of error. A full disk or an unavailable key may be over
    /// soon; corrupt bytes rarely recover.
    pub(crate) fn after(before: u32, error: &kernel::Error, now: Duration) -> Self {
        let tries = if error.code == Code::Internal { before.saturating_add(1) } else { 0 };
        let pause = OPEN_AGAIN_AFTER.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(OPEN_AGAIN_AFTER_MAX);
        Self { retry_at: now + pause, tries, code: error.code, message: error.message.clone() }
    }
}

impl SlotState {
    fn quarantined(&self) -> bool {
        matches!(self, SlotState::OpenFailed(failure) if failure.tries > 0)
    }
}

impl Slot {
    pub(crate) fn new(uuid: NamespaceUuid, incarnation: Incarnation) -> Self {
        Self {
            uuid,
            incarnation,
            state: Mutex::new(SlotState::Closed),
            idle_hint: Mutex::default(),
            opening: Arc::default(),
        }
    }

    pub(crate) fn uuid(&self) -> NamespaceUuid {
        self.uuid
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Acquires the right to open, close or destroy the namespace.
    pub(crate) async fn opening(&self) -> OwnedMutexGuard<SavedSession> {
        self.opening.clone().lock_owned().await
    }

    /// Since when something in the closed namespace has been deleted, if that is known.
    pub(crate) fn idle_hint(&self) -> Option<Option<Timestamp>> {
        *self.idle_hint.lock()
    }

    /// Sets the hint. The caller holds the right to open the namespace.
    pub(crate) fn set_idle_hint(&self, deleted_since: Option<Option<Timestamp>>) {
        *self.idle_hint.lock() = deleted_since;
    }

    /// Sets the state, and clears the hint.
    pub(crate) fn set(&self, counters: &Counters, state: SlotState) {
        self.set_idle_hint(None);
        let now = state.quarantined();
        let before = std::mem::replace(&mut *self.state.lock(), state);
        match (before.quarantined(), now) {
            (false, true) => drop(counters.quarantined.fetch_add(1, Ordering::Relaxed)),
            (true, false) => drop(counters.quarantined.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
    }

    /// Number of consecutive openings that failed because of the namespace's bytes.
    pub(crate) fn tries(&self) -> u32 {
        match &*self.state.lock() {
            SlotState::OpenFailed(failure) => failure.tries,
            _ => 0,
        }
    }

    /// The open namespace; `None` if it must be opened first.
    pub(crate) fn ready(&self, shared: &Shared) -> Result<Option<Arc<Namespace>>, Error> {
        match &*self.state.lock() {
            SlotState::Open(namespace) if namespace.core.is_open() => Ok(Some(namespace.clone())),
            SlotState::OpenFailed(failure) if shared.config.clock.monotonic() < failure.retry_at => {
                Err(Error::OpenFailed { code: failure.code, message: failure.message.clone() })
            }
            SlotState::Destroyed => Err(Error::NotFound),
            _ => Ok(None),
        }
    }

    /// Whether a namespace is in memory, including one that has failed.
    pub(crate) fn is_loaded(&self) -> bool {
        matches!(&*self.state.lock(), SlotState::Open(_))
    }

    pub(crate) fn current(&self) -> Option<Arc<Namespace>> {
        match &*self.state.lock() {
            SlotState::Open(namespace) if namespace.core.is_open() => Some(namespace.clone()),
            _ => None,
        }
    }

    /// Tick of the last use, if the namespace is open.
    pub(crate) fn used(&self) -> Option<u64> {
        self.current().map(|namespace| namespace.last_used.load(Ordering::Relaxed))
    }

    /// Whether the namespace is open and no request uses it.
    pub(crate) fn is_idle(&self) -> bool {
        // While the lock is held no request can take another reference; one reference belongs to the slot.
        matches!(&*self.state.lock(), SlotState::Open(namespace) if namespace.is_idle())
    }

    pub(crate) fn take(&self) -> Option<Arc<Namespace>> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, SlotState::Closed) {
            SlotState::Open(namespace) => Some(namespace),
            other => {
                *state = other;
                None
            }
        }
    }

    /// Closes the namespace cleanly if it is open and `when` returns true.
    pub(crate) async fn close(self: &Arc<Self>, shared: &Shared, when: impl Fn(&Namespace) -> bool) {
        let mut opening = self.opening().await;
        if self.current().is_some_and(|namespace| !when(&namespace)) {
            return;
        }
        // From here on `ready` finds no namespace, and an opening waits for the guard.
        let Some(namespace) = self.take() else { return };
        // Runs in a separate task: even if the caller disconnects, the namespace is not opened again before this has
        // ended.
        let slot = self.clone();
        let closed = shared.config.tracker.spawn(async move {
            namespace.shut().await;
            slot.set_idle_hint(namespace.idle_hint());
            *opening = namespace.core.journal.detach();
        });
        if closed.await.is_err() {
            tracing::error!(namespace = %self.uuid, "the runtime went away while a namespace was closed");
        }
    }

    /// Drops the namespace from memory if no request uses it. Returns whether it did.
    pub(crate) fn evict_if_idle(&self) -> bool {
        let Ok(mut opening) = self.opening.try_lock() else { return false };
        let mut state = self.state.lock();
        // While the lock is held no request can take another reference; one reference belongs to the slot.
        let SlotState::Open(namespace) = &*state else { return false };
        if !namespace.is_idle() {
            return false;
        }
        self.set_idle_hint(namespace.idle_hint());
        *opening = namespace.core.journal.detach();
        *state = SlotState::Closed;
        true
    }

    /// Deletes the namespace's bytes. From then on no request enters: each gets [`Error::NotFound`].
    pub(crate) async fn destroy(&self, namespace: Arc<Namespace>) -> Result<(), Error> {
        let mut opening = self.opening().await;
        self.set(&namespace.core.shared.counters, SlotState::Destroyed);
        let tracker = namespace.core.shared.config.tracker.clone();
        let destroy = async move {
            namespace.shut().await;
            namespace.core.published.remove_totals();
            namespace.core.shared.step("shut");
            if namespace.core.journal.failed() == Some(Stopped::Detached) {
                // It was closed after the destroying request had taken its handle.
                let (config, keyspace) = (&namespace.core.shared.config, namespace.core.keyspace.clone());
                let (clock, entropy) = (config.clock.clone(), config.entropy.clone());
                let left = opening.take();
                Journal::resume(&config.storage, keyspace, clock, entropy, left).await?.0.destroy().await?;
            } else {
                namespace.core.journal.destroy().await?;
            }
            namespace.core.shared.step("destroyed");
            Ok(())
        };
        tracker.spawn(destroy).await.map_err(|_| Error::Panicked)?
    }
}

/// The namespaces that have had a request, in a fixed order so that simulations are reproducible.
#[derive(Default)]
pub(crate) struct Slots(Mutex<BTreeMap<NamespaceUuid, Arc<Slot>>>);

impl Slots {
    pub(crate) fn get(&self, uuid: NamespaceUuid) -> Option<Arc<Slot>> {
        self.0.lock().get(&uuid).cloned()
    }

    pub(crate) fn get_or_insert(&self, uuid: NamespaceUuid, incarnation: Incarnation) -> Arc<Slot> {
        self.0.lock().entry(uuid).or_insert_with(|| Arc::new(Slot::new(uuid, incarnation))).clone()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Slot>> {
        self.0.lock().values().cloned().collect()
    }
}

/// First pause before a failed opening is retried; it doubles each time.
const OPEN_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Longest pause between attempts.
const OPEN_AGAIN_AFTER_MAX: Duration = Duration::from_secs(300);
