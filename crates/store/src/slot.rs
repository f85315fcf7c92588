//! A namespace's place among the open ones: closed, open, not to be opened for a while, or gone.
//!
//! Kept while the process lives, so that one namespace is never opened under two of them; it holds no
//! key, so that a closed namespace's can be destroyed. One that does not open because its bytes
//! are not what was written is quarantined: it says so at once, is tried again after growing
//! pauses, and other namespaces are not affected.

use crate::{
    Error,
    counters::Counters,
    namespace::Namespace,
    stores::{Shared, lock},
};
use journal::{Journal, Stopped, Tenancy};
use kernel::{Code, Incarnation, NamespaceUuid, Timestamp};
use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};
use tokio::sync::OwnedMutexGuard;

/// See the module.
pub(crate) struct Slot {
    uuid: NamespaceUuid,
    incarnation: Incarnation,
    state: Mutex<State>,
    /// Since when something in it is dead, as of the moment at which it was last open or examined; it has not been
    /// changed since then. `None`: not known.
    rests: Mutex<Option<Option<Timestamp>>>,
    /// Held by who opens, closes or destroys: what the last opening left for the next.
    opening: Arc<tokio::sync::Mutex<Left>>,
}

/// With this the next opening of a namespace in a bucket stays its writer. Taken by the next opening:
/// never two have it.
pub(crate) type Left = Option<Tenancy>;

pub(crate) enum State {
    Closed,
    Open(Arc<Namespace>),
    Unopened(Unopened),
    Destroyed,
}

/// It did not open: what was said, how often, and the monotonic time from which it is tried again.
pub(crate) struct Unopened {
    again: Duration,
    tries: u32,
    code: Code,
    message: String,
}

impl Unopened {
    /// After `before` tries that failed like this one. A full disk or a key that cannot be had
    /// may be over soon; bytes that do not open seldom mend themselves.
    pub(crate) fn after(before: u32, error: &kernel::Error, now: Duration) -> Self {
        let tries = if error.code == Code::Internal { before.saturating_add(1) } else { 0 };
        let pause = OPEN_AGAIN_AFTER.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(OPEN_AGAIN_AFTER_MAX);
        Self { again: now + pause, tries, code: error.code, message: error.message.clone() }
    }
}

impl State {
    fn quarantined(&self) -> bool {
        matches!(self, State::Unopened(unopened) if unopened.tries > 0)
    }
}

impl Slot {
    pub(crate) fn new(uuid: NamespaceUuid, incarnation: Incarnation) -> Self {
        Self { uuid, incarnation, state: Mutex::new(State::Closed), rests: Mutex::default(), opening: Arc::default() }
    }

    pub(crate) fn uuid(&self) -> NamespaceUuid {
        self.uuid
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The right to open, close or destroy it.
    pub(crate) async fn opening(&self) -> OwnedMutexGuard<Left> {
        self.opening.clone().lock_owned().await
    }

    /// Since when something in it is dead, if it is closed and that is known.
    pub(crate) fn rests(&self) -> Option<Option<Timestamp>> {
        *lock(&self.rests)
    }

    /// Notes it. The caller has the right to open it.
    pub(crate) fn rest(&self, dead_from: Option<Option<Timestamp>>) {
        *lock(&self.rests) = dead_from;
    }

    /// Changes what it is.
    pub(crate) fn set(&self, counters: &Counters, state: State) {
        self.rest(None);
        let now = state.quarantined();
        let before = std::mem::replace(&mut *lock(&self.state), state);
        match (before.quarantined(), now) {
            (false, true) => drop(counters.quarantined.fetch_add(1, Ordering::Relaxed)),
            (true, false) => drop(counters.quarantined.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
    }

    /// How often in a row its bytes did not open.
    pub(crate) fn tries(&self) -> u32 {
        match &*lock(&self.state) {
            State::Unopened(unopened) => unopened.tries,
            _ => 0,
        }
    }

    /// The open namespace; `None` when it must be opened first.
    pub(crate) fn ready(&self, shared: &Shared) -> Result<Option<Arc<Namespace>>, Error> {
        match &*lock(&self.state) {
            State::Open(namespace) if namespace.is_open() => Ok(Some(namespace.clone())),
            State::Unopened(it) if shared.config.clock.monotonic() < it.again => {
                Err(Error::Unopened { code: it.code, message: it.message.clone() })
            }
            State::Destroyed => Err(Error::NotFound),
            _ => Ok(None),
        }
    }

    /// Whether a namespace is in memory, also one that has failed.
    pub(crate) fn holds(&self) -> bool {
        matches!(&*lock(&self.state), State::Open(_))
    }

    pub(crate) fn current(&self) -> Option<Arc<Namespace>> {
        match &*lock(&self.state) {
            State::Open(namespace) if namespace.is_open() => Some(namespace.clone()),
            _ => None,
        }
    }

    /// When it was entered last, if it is open.
    pub(crate) fn used(&self) -> Option<u64> {
        self.current().map(|namespace| namespace.used.load(Ordering::Relaxed))
    }

    /// Whether it is open and no request holds it.
    pub(crate) fn is_idle(&self) -> bool {
        // Under the lock no request gets another hold of it; one count is ours.
        matches!(&*lock(&self.state), State::Open(namespace) if Arc::strong_count(namespace) == 1)
    }

    pub(crate) fn take(&self) -> Option<Arc<Namespace>> {
        let mut state = lock(&self.state);
        match std::mem::replace(&mut *state, State::Closed) {
            State::Open(namespace) => Some(namespace),
            other => {
                *state = other;
                None
            }
        }
    }

    /// Closes it cleanly, if it is open and `when` holds.
    pub(crate) async fn close(self: &Arc<Self>, shared: &Shared, when: impl Fn(&Namespace) -> bool) {
        let mut opening = self.opening().await;
        if self.current().is_some_and(|namespace| !when(&namespace)) {
            return;
        }
        let Some(namespace) = self.take() else { return };
        // A task of its own: even if the caller goes, it is not opened again before this has ended.
        let slot = self.clone();
        let shut = shared.config.tracker.spawn(async move {
            namespace.shut().await;
            slot.rest(namespace.rests());
            *opening = namespace.journal.leave();
        });
        if shut.await.is_err() {
            tracing::error!(namespace = %self.uuid, "the runtime went away while a namespace was closed");
        }
    }

    /// Drops it from memory if no request holds it; says whether it did.
    pub(crate) fn let_go(&self) -> bool {
        let Ok(mut opening) = self.opening.try_lock() else { return false };
        let mut state = lock(&self.state);
        // Under the lock no request gets another hold of it; one count is ours.
        let State::Open(namespace) = &*state else { return false };
        if Arc::strong_count(namespace) > 1 {
            return false;
        }
        self.rest(namespace.rests());
        *opening = namespace.journal.leave();
        *state = State::Closed;
        true
    }

    /// Deletes its bytes. From here on no request enters.
    pub(crate) async fn destroy(&self, namespace: Arc<Namespace>) -> Result<(), Error> {
        let mut opening = self.opening().await;
        self.set(&namespace.shared.counters, State::Destroyed);
        let tracker = namespace.shared.config.tracker.clone();
        let destroy = async move {
            namespace.shut().await;
            namespace.count_no_more();
            namespace.shared.step("shut");
            if namespace.journal.failed() == Some(Stopped::Left) {
                // It was closed after the destroying task came in.
                let (config, home) = (&namespace.shared.config, namespace.home.clone());
                let (clock, entropy) = (config.clock.clone(), config.entropy.clone());
                let left = opening.take();
                Journal::resume(&config.storage, home, clock, entropy, left).await?.0.destroy().await?;
            } else {
                namespace.journal.destroy().await?;
            }
            namespace.shared.step("destroyed");
            Ok(())
        };
        tracker.spawn(destroy).await.map_err(|_| Error::Panicked)?
    }
}

/// First pause before a namespace that did not open is tried again; it doubles each time.
const OPEN_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// And never longer.
const OPEN_AGAIN_AFTER_MAX: Duration = Duration::from_secs(300);
