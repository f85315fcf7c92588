//! The door: which namespaces are open, and the way into one.
//!
//! Promises one opening of a namespace at a time whoever asks, that one which does not open fails
//! alone, and that memory above the budget is given back by namespaces nobody holds. There is no
//! method here that reads a document.

use crate::{Cpu, Error, Room, Totals, namespace::Namespace, open, upkeep};
use access::{Action, Grant, Manage};
use journal::Storage;
use kernel::{AuditSink, Clock, Code, Entropy, Incarnation, NamespaceName, NamespaceSettings, NamespaceUuid};
use segment::Spec;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::OwnedMutexGuard;
use tokio_util::task::TaskTracker;
use vault::{Directory, Home};

/// What namespaces stand on.
pub struct StoresConfig {
    /// The data folder.
    pub storage: Storage,
    /// Where homes come from.
    pub directory: Arc<dyn Directory>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Where audit lines go.
    pub sink: Arc<dyn AuditSink>,
    /// Where long work runs.
    pub cpu: Arc<dyn Cpu>,
    /// Who waits for background tasks.
    pub tracker: TaskTracker,
    /// A memtable above this is flushed, bytes.
    pub flush_bytes_max: u64,
    /// A memtable above this is flushed, rows.
    pub flush_rows_max: u64,
    /// Open namespaces above this are closed when nobody holds them, bytes.
    pub memory_bytes_max: u64,
}

/// Numbers for metrics. No names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoresStats {
    /// Open namespaces.
    pub open: u64,
    /// Their heap estimate.
    pub memory_bytes: u64,
    /// Since the start.
    pub flushes: u64,
    /// Since the start.
    pub compactions: u64,
    /// Flushes and compactions that were put off, since the start.
    pub upkeep_failures: u64,
    /// Namespaces closed for memory, since the start.
    pub evictions: u64,
}

/// See the module.
pub struct Stores {
    shared: Arc<Shared>,
    /// In an order of their own, so that a simulation repeats.
    slots: Mutex<BTreeMap<NamespaceUuid, Arc<Slot>>>,
    closing: AtomicBool,
    ticks: AtomicU64,
}

/// What every open namespace shares: parts and counters, nothing of a tenant's.
pub(crate) struct Shared {
    pub(crate) config: StoresConfig,
    pub(crate) memory: AtomicU64,
    pub(crate) open: AtomicU64,
    pub(crate) flushes: AtomicU64,
    pub(crate) compactions: AtomicU64,
    pub(crate) upkeep_failures: AtomicU64,
    evictions: AtomicU64,
}

/// A namespace's place among the open ones. Kept while the process lives, so that nobody opens
/// one namespace under two of them; it holds no key, so that a closed namespace's can be destroyed.
pub(crate) struct Slot {
    uuid: NamespaceUuid,
    incarnation: Incarnation,
    state: Mutex<State>,
    /// Held by who opens, closes or destroys.
    opening: Arc<tokio::sync::Mutex<()>>,
}

enum State {
    Closed,
    Open(Arc<Namespace>),
    /// It did not open: what was said, and the monotonic time from which it is tried again.
    Unopened {
        again: Duration,
        code: Code,
        message: String,
    },
    Destroyed,
}

impl Stores {
    /// Opens nothing.
    pub fn new(config: StoresConfig) -> Self {
        let shared = Shared {
            config,
            memory: AtomicU64::new(0),
            open: AtomicU64::new(0),
            flushes: AtomicU64::new(0),
            compactions: AtomicU64::new(0),
            upkeep_failures: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
        };
        Self {
            shared: Arc::new(shared),
            slots: Mutex::default(),
            closing: AtomicBool::new(false),
            ticks: AtomicU64::new(0),
        }
    }

    /// Enters the namespace that the grant names; opens it if it is not open. Cost: nothing when
    /// it is, else its checkpoint, its objects and its log.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Unopened`] for one that did not open a moment ago.
    pub async fn enter<A: Action>(&self, grant: &Grant<A>, settings: &NamespaceSettings) -> Result<Room<A>, Error> {
        let home = Home::enter(grant, &*self.shared.config.directory).map_err(passed)?;
        let spec = spec(settings);
        let (slot, namespace) = self.reach(home, grant.incarnation(), spec).await?;
        Ok(Room::new(namespace, slot, spec))
    }

    /// Numbers of another namespace of the grant's tenant, for lists and quotas.
    ///
    /// # Errors
    /// As [`Stores::enter`].
    pub async fn totals<A: Action>(
        &self,
        grant: &Grant<A>,
        name: &NamespaceName,
        settings: &NamespaceSettings,
    ) -> Result<Totals, Error> {
        let home = self.shared.config.directory.namespace(grant.incarnation(), name).map_err(passed)?;
        let home = home.ok_or(Error::NotFound)?;
        let (_, namespace) = self.reach(home, grant.incarnation(), spec(settings)).await?;
        Ok(namespace.totals())
    }

    /// Closes the grant's namespace if it holds nothing, so that it opens with its new settings.
    pub async fn reshape(&self, grant: &Grant<Manage>) {
        let Ok(home) = Home::enter(grant, &*self.shared.config.directory) else { return };
        let slot = lock(&self.slots).get(&home.uuid()).cloned();
        if let Some(slot) = slot {
            slot.close(&self.shared, |namespace| namespace.totals().documents == 0).await;
        }
    }

    /// Drops a tenant's namespaces from memory: it was suspended, erased, or its keys changed.
    pub async fn forget(&self, incarnation: Incarnation) {
        for slot in self.all().into_iter().filter(|slot| slot.incarnation == incarnation) {
            slot.close(&self.shared, |_| true).await;
        }
    }

    /// Writes every open memtable into objects and cuts the logs.
    ///
    /// # Errors
    /// The last failure; the other namespaces are flushed all the same.
    pub async fn flush_all(&self) -> Result<(), Error> {
        let mut outcome = Ok(());
        for slot in self.all() {
            let Some(namespace) = slot.current() else { continue };
            if let Err(error) = upkeep::flush(&namespace).await {
                outcome = Err(error);
            }
        }
        outcome
    }

    /// Nobody enters any more; what was accepted ends. A long log becomes an object first, so
    /// that the next start is quick.
    pub async fn close(&self) {
        self.closing.store(true, Ordering::Release);
        for slot in self.all() {
            if let Some(namespace) = slot.current().filter(|n| n.journal.log_bytes() > CLOSE_FLUSH_LOG_BYTES) {
                // Nothing is lost: the log holds it.
                if let Err(error) = upkeep::flush(&namespace).await {
                    tracing::warn!(namespace = %namespace.home.uuid(), %error, "not flushed at close");
                }
            }
            slot.close(&self.shared, |_| true).await;
        }
    }

    /// Numbers for metrics.
    pub fn stats(&self) -> StoresStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StoresStats {
            open: read(&self.shared.open),
            memory_bytes: read(&self.shared.memory),
            flushes: read(&self.shared.flushes),
            compactions: read(&self.shared.compactions),
            upkeep_failures: read(&self.shared.upkeep_failures),
            evictions: read(&self.shared.evictions),
        }
    }

    async fn reach(
        &self,
        home: Arc<Home>,
        incarnation: Incarnation,
        spec: Spec,
    ) -> Result<(Arc<Slot>, Arc<Namespace>), Error> {
        if self.closing.load(Ordering::Acquire) {
            return Err(Error::Closing);
        }
        // The directory was asked for this incarnation's namespace; anything else is a fault there.
        if home.incarnation() != Some(incarnation) {
            return Err(Error::Passed(kernel::Error::internal("the directory gave the home of another tenant")));
        }
        let slot = self.slot(home.uuid(), incarnation);
        let namespace = match slot.ready(&self.shared)? {
            Some(namespace) => namespace,
            None => self.open(&slot, home, spec).await?,
        };
        namespace.used.store(self.ticks.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        Ok((slot, namespace))
    }

    async fn open(&self, slot: &Arc<Slot>, home: Arc<Home>, spec: Spec) -> Result<Arc<Namespace>, Error> {
        let opening = slot.opening.clone().lock_owned().await;
        if let Some(namespace) = slot.ready(&self.shared)? {
            return Ok(namespace);
        }
        // A task of its own: whoever asked may go, and the next finds it open.
        let task = open_slot(self.shared.clone(), slot.clone(), home, spec, opening);
        let opened = self.shared.config.tracker.spawn(task).await.map_err(|_| Error::Panicked)??;
        self.evict();
        Ok(opened)
    }

    /// Closes namespaces nobody holds, the longest unused first, until the budget is kept.
    fn evict(&self) {
        let mut slots = self.all();
        slots.sort_by_key(|slot| slot.used());
        for slot in slots {
            if self.shared.memory.load(Ordering::Relaxed) <= self.shared.config.memory_bytes_max {
                return;
            }
            if slot.let_go() {
                self.shared.evictions.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn slot(&self, uuid: NamespaceUuid, incarnation: Incarnation) -> Arc<Slot> {
        let fresh = || Arc::new(Slot { uuid, incarnation, state: Mutex::new(State::Closed), opening: Arc::default() });
        lock(&self.slots).entry(uuid).or_insert_with(fresh).clone()
    }

    fn all(&self) -> Vec<Arc<Slot>> {
        lock(&self.slots).values().cloned().collect()
    }
}

/// Opens a slot's namespace. Whoever used it before has gone when this begins.
async fn open_slot(
    shared: Arc<Shared>,
    slot: Arc<Slot>,
    home: Arc<Home>,
    spec: Spec,
    _opening: OwnedMutexGuard<()>,
) -> Result<Arc<Namespace>, Error> {
    let before = slot.take();
    if let Some(failed) = before {
        failed.shut().await;
    }
    match open::open(shared.clone(), home, slot.incarnation, spec).await {
        Ok(namespace) => {
            *lock(&slot.state) = State::Open(namespace.clone());
            Ok(namespace)
        }
        Err(error) => {
            tracing::error!(namespace = %slot.uuid, error = &error as &dyn std::error::Error, "a namespace does not open");
            let error = kernel::Error::from(error);
            let again = shared.config.clock.monotonic() + OPEN_AGAIN_AFTER;
            *lock(&slot.state) = State::Unopened { again, code: error.code, message: error.message.clone() };
            Err(Error::Passed(error))
        }
    }
}

#[cfg(test)]
impl Stores {
    fn only(&self) -> Arc<Namespace> {
        self.all().iter().find_map(|slot| slot.current()).expect("one namespace is open")
    }

    /// Log entries of the open namespace.
    pub(crate) fn log_of(&self) -> u64 {
        self.only().journal.last().0
    }

    /// Segments of the open namespace.
    pub(crate) fn parts_of(&self) -> usize {
        self.only().view().parts.len()
    }
}

impl Slot {
    /// The open namespace; `None` when it must be opened first.
    fn ready(&self, shared: &Shared) -> Result<Option<Arc<Namespace>>, Error> {
        match &*lock(&self.state) {
            State::Open(namespace) if namespace.is_open() => Ok(Some(namespace.clone())),
            State::Unopened { again, code, message } if shared.config.clock.monotonic() < *again => {
                Err(Error::Unopened { code: *code, message: message.clone() })
            }
            State::Destroyed => Err(Error::NotFound),
            _ => Ok(None),
        }
    }

    fn current(&self) -> Option<Arc<Namespace>> {
        match &*lock(&self.state) {
            State::Open(namespace) if namespace.is_open() => Some(namespace.clone()),
            _ => None,
        }
    }

    fn used(&self) -> u64 {
        self.current().map_or(u64::MAX, |namespace| namespace.used.load(Ordering::Relaxed))
    }

    fn take(&self) -> Option<Arc<Namespace>> {
        let mut state = lock(&self.state);
        match std::mem::replace(&mut *state, State::Closed) {
            State::Open(namespace) => Some(namespace),
            other => {
                *state = other;
                None
            }
        }
    }

    /// Closes it in peace, if it is open and `when` holds.
    async fn close(&self, shared: &Shared, when: impl Fn(&Namespace) -> bool) {
        let opening = self.opening.clone().lock_owned().await;
        if self.current().is_some_and(|namespace| !when(&namespace)) {
            return;
        }
        let Some(namespace) = self.take() else { return };
        // A task of its own: if whoever asked goes, nobody opens it before it has ended.
        let shut = shared.config.tracker.spawn(async move {
            namespace.shut().await;
            drop(opening);
        });
        if shut.await.is_err() {
            tracing::error!(namespace = %self.uuid, "the runtime went away while a namespace was closed");
        }
    }

    /// Drops it from memory if nobody holds it; whether that was so.
    fn let_go(&self) -> bool {
        let Ok(_opening) = self.opening.try_lock() else { return false };
        let mut state = lock(&self.state);
        // Under the lock nobody gets another hold of it; one count is ours.
        let idle = matches!(&*state, State::Open(namespace) if Arc::strong_count(namespace) == 1);
        if idle {
            *state = State::Closed;
        }
        idle
    }

    /// Deletes its bytes. From here on nobody enters.
    pub(crate) async fn destroy(&self, namespace: Arc<Namespace>) -> Result<(), Error> {
        let opening = self.opening.clone().lock_owned().await;
        *lock(&self.state) = State::Destroyed;
        let tracker = namespace.shared.config.tracker.clone();
        let destroy = async move {
            let _opening = opening;
            namespace.shut().await;
            Ok(namespace.journal.destroy().await?)
        };
        tracker.spawn(destroy).await.map_err(|_| Error::Panicked)?
    }
}

fn spec(settings: &NamespaceSettings) -> Spec {
    Spec { dimensions: settings.embedding.dimensions(), distance: settings.distance }
}

fn passed(error: kernel::Error) -> Error {
    if error.code == Code::NotFound { Error::NotFound } else { Error::Passed(error) }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under these locks is one assignment or one insertion.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A namespace that did not open is left in peace for so long.
const OPEN_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// A log above this is flushed at close, bytes. Replaying a megabyte takes well under a second.
const CLOSE_FLUSH_LOG_BYTES: u64 = 1 << 20;
