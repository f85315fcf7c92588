//! The table of open values.
//!
//! Order of the locks: a pass of eviction, an entry's `transition`, `entries`, an entry's `state`. The last two are held
//! for a few assignments only.

use crate::{Backoff, Guard};
use kernel::Clock;
use parking_lot::{Mutex, MutexGuard, RwLock};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{AcqRel, Relaxed, Release},
        },
    },
    time::Duration,
};
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard, OwnedMutexGuard};
use tokio_util::task::TaskTracker;

/// A value that an [`OpenTable`] opens and closes.
pub trait Openable: Send + Sync + Sized + 'static {
    /// Why an opening failed.
    type Failure: Clone + Send + Sync + 'static;

    /// Pauses before a key is opened again after this failure; `None` if the failure is not remembered.
    fn backoff(failure: &Self::Failure) -> Option<Backoff>;

    /// Share of the table's weight limit that it takes.
    fn weight(&self) -> u64 {
        0
    }

    /// Whether it may be handed out. One that may not is replaced by the next opening of its key.
    fn is_usable(&self) -> bool {
        true
    }

    /// Whether it may be evicted if no guard exists. Called under a lock, so it must not wait.
    fn is_idle(&self) -> bool {
        true
    }

    /// Prepares its eviction; `false` refuses it. Callers may still enter meanwhile, which keeps it open.
    fn before_eviction(&self) -> impl Future<Output = bool> + Send;

    /// Makes it write nothing more, because it has left the table. Returns whether it has ended, so that another value
    /// of its key may open while guards of this one remain. May be called again, until it returns `true`.
    fn end(&self) -> impl Future<Output = bool> + Send;
}

/// The open values of a server by key. Cloning it is cheap.
pub struct OpenTable<K, T: Openable>(Arc<Inner<K, T>>);

struct Inner<K, T: Openable> {
    /// Ordered, so that simulations repeat.
    entries: RwLock<BTreeMap<K, Arc<TableEntry<T>>>>,
    counters: Arc<TableCounters>,
    clock: Arc<dyn Clock>,
    tracker: TaskTracker,
    eviction_pass: AsyncMutex<()>,
    /// Whether a pass was requested that has not begun.
    eviction_requested: AtomicBool,
}

#[derive(Default)]
struct TableCounters {
    /// Logical clock of uses.
    ticks: AtomicU64,
    open: AtomicU64,
    /// Number of openings in progress.
    opening: AtomicU64,
    weight: AtomicU64,
    evictions: AtomicU64,
    open_max: AtomicU64,
    weight_max: AtomicU64,
}

struct TableEntry<T: Openable> {
    state: Mutex<State<T>>,
    /// Held while the value is opened, evicted or taken out.
    transition: Arc<AsyncMutex<()>>,
    /// Tick of the last use.
    last_used: AtomicU64,
}

struct State<T: Openable> {
    phase: Phase<T>,
    /// A value that was taken out and has not ended. The next opening waits until it has.
    earlier: Weak<T>,
}

enum Phase<T: Openable> {
    Closed,
    Open {
        value: Arc<T>,
        /// Weight that the counters contain.
        weight: u64,
    },
    Failed(FailedOpening<T::Failure>),
}

/// The last opening of a key, which failed.
#[derive(Clone)]
pub struct FailedOpening<F> {
    /// Why it failed.
    pub failure: F,
    /// Monotonic time of the next attempt; zero if an immediate one was requested.
    pub retry_at: Duration,
    pause: Duration,
}

/// Why no guard was given.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused<F> {
    /// The opening failed, now or a moment ago.
    Failed(F),
    /// An earlier value of the key is still used and has not ended.
    InUse,
    /// The opening panicked, or the runtime is shutting down.
    Lost,
}

/// Figures for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableStats {
    /// Number of open values.
    pub open: u64,
    /// Number of keys whose last opening failed.
    pub failed: u64,
    /// Weight of all open values.
    pub weight: u64,
    /// Number of evicted values since the start.
    pub evictions: u64,
}

/// The right to publish the value of a key. While it exists, the key's entry does not change otherwise.
pub struct Opening<T: Openable> {
    entry: Arc<TableEntry<T>>,
    counters: Arc<TableCounters>,
    _transition: Arc<OwnedMutexGuard<()>>,
}

impl<T: Openable> Opening<T> {
    /// Hands the value out from now on. If the opener fails afterwards, the value is taken out again.
    pub fn publish(self, value: T) -> Guard<T> {
        let (weight, value) = (value.weight(), Arc::new(value));
        self.counters.replace(&mut self.entry.lock(), Phase::Open { value: value.clone(), weight });
        self.entry.touch(&self.counters);
        Guard(value)
    }
}

impl<T: Openable> Drop for Opening<T> {
    fn drop(&mut self) {
        self.counters.opening.fetch_sub(1, Relaxed);
    }
}

impl<K: Ord + Clone + Send + Sync + 'static, T: Openable> OpenTable<K, T> {
    /// An empty table. Values that are not used are evicted if more than `open_max` are open or their weight exceeds
    /// `weight_max`. `tracker` owns the openings and the evictions.
    pub fn new(open_max: u64, weight_max: u64, clock: Arc<dyn Clock>, tracker: TaskTracker) -> Self {
        let table = Self(Arc::new(Inner {
            entries: RwLock::default(),
            counters: Arc::default(),
            clock,
            tracker,
            eviction_pass: AsyncMutex::default(),
            eviction_requested: AtomicBool::new(false),
        }));
        table.set_limits(open_max, weight_max);
        table
    }

    /// Returns a guard of the value if it is open. It counts as a use.
    pub fn get(&self, key: &K) -> Option<Guard<T>> {
        let entry = self.find(key)?;
        let guard = entry.current()?;
        entry.touch(&self.0.counters);
        Some(guard)
    }

    /// Returns a guard of the value, which `open` opens if necessary. The opener publishes it, and may do more
    /// afterwards; other callers see the value already then.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn enter<F>(
        &self,
        key: &K,
        open: impl FnOnce(Opening<T>) -> F + Send + 'static,
    ) -> Result<Guard<T>, Refused<T::Failure>>
    where
        F: Future<Output = Result<Guard<T>, T::Failure>> + Send + 'static,
    {
        let entry = self.find_or_insert(key);
        if let Some(guard) = self.ready(&entry)? {
            return Ok(guard);
        }
        let transition = entry.transition.clone().lock_owned().await;
        // Another caller may have opened it meanwhile, or failed to.
        if let Some(guard) = self.ready(&entry)? {
            return Ok(guard);
        }
        let task = self.clone().open_entry(key.clone(), entry, transition, open);
        self.0.tracker.spawn(task).await.map_err(|_| Refused::Lost)?
    }

    /// Takes a value out of the table although guards of it remain, as if its opening had failed. Returns `false` if the
    /// table no longer has this value.
    pub async fn withdraw(&self, key: &K, value: Guard<T>, failure: T::Failure) -> bool {
        let Some(entry) = self.find(key) else { return false };
        let _transition = entry.transition.lock().await;
        if !matches!(&entry.lock().phase, Phase::Open { value: open, .. } if Arc::ptr_eq(open, &value.0)) {
            return false;
        }
        self.fail(&entry, failure).await;
        true
    }

    /// Takes the key's value out of the table although guards of it remain, and forgets a failure.
    pub async fn close(&self, key: &K) {
        let Some(entry) = self.find(key) else { return };
        {
            let _transition = entry.transition.lock().await;
            self.take_out(&entry, Phase::Closed).await;
        }
        self.prune(key, entry);
    }

    /// Evicts the key's value if it is not used. Returns whether it was evicted.
    pub async fn close_unused(&self, key: &K) -> bool {
        let Some(entry) = self.find(key) else { return false };
        let evicted = self.evict_entry(&entry).await;
        self.prune(key, entry);
        evicted
    }

    /// Sets the number of values and the weight above which unused values are evicted.
    pub fn set_limits(&self, open_max: u64, weight_max: u64) {
        self.0.counters.open_max.store(open_max.max(1), Relaxed);
        self.0.counters.weight_max.store(weight_max, Relaxed);
    }

    /// The key's last opening, if it failed.
    pub fn failed(&self, key: &K) -> Option<FailedOpening<T::Failure>> {
        match &self.find(key)?.lock().phase {
            Phase::Failed(failed) => Some(failed.clone()),
            _ => None,
        }
    }

    /// Lets the next caller try a failed opening again at once.
    pub fn retry_now(&self, key: &K) {
        if let Some(entry) = self.find(key)
            && let Phase::Failed(failed) = &mut entry.lock().phase
        {
            failed.retry_at = Duration::ZERO;
        }
    }

    /// Returns the keys that are open or whose opening has failed.
    pub fn keys(&self) -> Vec<K> {
        self.all().into_iter().map(|(key, _)| key).collect()
    }

    /// Returns a guard of each open value. It does not count as a use.
    pub fn values(&self) -> Vec<(K, Guard<T>)> {
        self.all().into_iter().filter_map(|(key, entry)| Some((key, entry.current()?))).collect()
    }

    /// Calls `each` for every open value and every failure, without a guard. It is called under a lock, so it must not
    /// wait.
    pub fn inspect(&self, mut each: impl FnMut(Result<&T, &T::Failure>)) {
        for (_, entry) in self.all() {
            match &entry.lock().phase {
                Phase::Open { value, .. } => each(Ok(value)),
                Phase::Failed(failed) => each(Err(&failed.failure)),
                Phase::Closed => {}
            }
        }
    }

    /// Figures for metrics.
    pub fn stats(&self) -> TableStats {
        let mut stats = TableStats { evictions: self.0.counters.evictions.load(Relaxed), ..TableStats::default() };
        self.inspect(|found| match found {
            Ok(value) => (stats.open, stats.weight) = (stats.open + 1, stats.weight + value.weight()),
            Err(_) => stats.failed += 1,
        });
        stats
    }

    /// Evicts unused values, the least recently used first, until a sixteenth of both budgets is free: a pass visits every
    /// value, so it must not be due again at the next opening.
    pub async fn evict(&self) {
        self.evict_in_pass(&self.0.eviction_pass.lock().await).await;
    }

    /// Starts [`OpenTable::evict`] in the background if a budget is exceeded. Openings in progress count as open.
    pub fn evict_if_over(&self) {
        // A pass that has been requested and has not begun will find what is over budget now.
        if !self.0.counters.is_over(0) || self.0.eviction_requested.swap(true, AcqRel) {
            return;
        }
        let table = self.clone();
        self.0.tracker.spawn(async move {
            let pass = table.0.eviction_pass.lock().await;
            table.0.eviction_requested.store(false, Release);
            table.evict_in_pass(&pass).await;
        });
    }

    async fn evict_in_pass(&self, _pass: &AsyncMutexGuard<'_, ()>) {
        let mut candidates = Vec::new();
        for (key, entry) in self.all() {
            // Open values grow and shrink, so they are weighed again.
            self.0.counters.weigh(&mut entry.lock());
            candidates.push((entry.last_used.load(Relaxed), key, entry));
        }
        candidates.sort_by_key(|(last_used, ..)| *last_used);
        for (last_used, key, entry) in candidates {
            if !self.0.counters.is_over(SPARE_SHARE) {
                return;
            }
            // A caller may have used it meanwhile; then it is no longer the least recently used.
            if entry.last_used.load(Relaxed) == last_used && self.evict_entry(&entry).await {
                self.0.counters.evictions.fetch_add(1, Relaxed);
            }
            self.prune(&key, entry);
        }
    }

    /// Evicts the entry's value if it is not used. Returns whether it was evicted.
    async fn evict_entry(&self, entry: &TableEntry<T>) -> bool {
        let Ok(_transition) = entry.transition.try_lock() else { return false };
        let value = match &entry.lock().phase {
            Phase::Open { value, .. } if Arc::strong_count(value) == 1 => value.clone(),
            _ => return false,
        };
        if value.is_usable() && !value.before_eviction().await {
            return false;
        }
        let mut state = entry.lock();
        // One reference is the table's and one is ours. Under the lock no caller can get another.
        if Arc::strong_count(&value) > 2 || !value.is_idle() {
            return false;
        }
        self.0.counters.replace(&mut state, Phase::Closed);
        true
    }

    /// Runs an opening. The transition's guard is released when it has ended and its failure is recorded.
    async fn open_entry<F>(
        self,
        key: K,
        entry: Arc<TableEntry<T>>,
        transition: OwnedMutexGuard<()>,
        open: impl FnOnce(Opening<T>) -> F,
    ) -> Result<Guard<T>, Refused<T::Failure>>
    where
        F: Future<Output = Result<Guard<T>, T::Failure>>,
    {
        let transition = Arc::new(transition);
        // `ready` has found that an open value is not usable.
        if entry.is_open() {
            self.take_out(&entry, Phase::Closed).await;
        }
        if !entry.end_earlier().await {
            return Err(Refused::InUse);
        }
        let opening =
            Opening { entry: entry.clone(), counters: self.0.counters.clone(), _transition: transition.clone() };
        // It counts as open, so others may have to close.
        self.0.counters.opening.fetch_add(1, Relaxed);
        self.evict_if_over();
        match open(opening).await {
            Ok(guard) => {
                self.evict_if_over();
                Ok(guard)
            }
            Err(failure) => {
                self.fail(&entry, failure.clone()).await;
                self.prune(&key, entry);
                Err(Refused::Failed(failure))
            }
        }
    }

    /// Returns the value if it is open, and `None` if it should be opened now.
    fn ready(&self, entry: &TableEntry<T>) -> Result<Option<Guard<T>>, Refused<T::Failure>> {
        match &entry.lock().phase {
            Phase::Open { value, .. } if value.is_usable() => {
                entry.touch(&self.0.counters);
                Ok(Some(Guard(value.clone())))
            }
            Phase::Failed(failed) if self.0.clock.monotonic() < failed.retry_at => {
                Err(Refused::Failed(failed.failure.clone()))
            }
            _ => Ok(None),
        }
    }

    /// Records a failure. A value that was published before it is taken out.
    async fn fail(&self, entry: &TableEntry<T>, failure: T::Failure) {
        let next = match T::backoff(&failure) {
            None => Phase::Closed,
            Some(backoff) => {
                let pause = backoff.next(entry.pause());
                let retry_at = self.0.clock.monotonic().saturating_add(pause);
                Phase::Failed(FailedOpening { failure, retry_at, pause })
            }
        };
        self.take_out(entry, next).await;
    }

    /// Sets the phase, and asks a value that was open to end. The caller holds the transition. If the caller is
    /// cancelled, the next opening asks again.
    async fn take_out(&self, entry: &TableEntry<T>, next: Phase<T>) {
        let taken = {
            let mut state = entry.lock();
            let Phase::Open { value, .. } = self.0.counters.replace(&mut state, next) else { return };
            state.earlier = Arc::downgrade(&value);
            value
        };
        entry.end_earlier().await;
        drop(taken);
    }

    /// Removes a closed entry that no caller waits for.
    fn prune(&self, key: &K, entry: Arc<TableEntry<T>>) {
        let mut entries = self.0.entries.write();
        // One reference is the table's and one is ours. Under the table's lock no caller can get another.
        if Arc::strong_count(&entry) == 2 && entry.is_spent() {
            entries.remove(key);
        }
    }

    fn find(&self, key: &K) -> Option<Arc<TableEntry<T>>> {
        self.0.entries.read().get(key).cloned()
    }

    fn find_or_insert(&self, key: &K) -> Arc<TableEntry<T>> {
        self.find(key).unwrap_or_else(|| {
            let mut entries = self.0.entries.write();
            entries.entry(key.clone()).or_insert_with(|| Arc::new(TableEntry::new())).clone()
        })
    }

    fn all(&self) -> Vec<(K, Arc<TableEntry<T>>)> {
        let entries = self.0.entries.read();
        entries.iter().map(|(key, entry)| (key.clone(), entry.clone())).collect()
    }
}

impl<K, T: Openable> Clone for OpenTable<K, T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Openable> TableEntry<T> {
    fn new() -> Self {
        let state = State { phase: Phase::Closed, earlier: Weak::new() };
        Self { state: Mutex::new(state), transition: Arc::default(), last_used: AtomicU64::new(0) }
    }

    fn current(&self) -> Option<Guard<T>> {
        match &self.lock().phase {
            Phase::Open { value, .. } if value.is_usable() => Some(Guard(value.clone())),
            _ => None,
        }
    }

    fn is_open(&self) -> bool {
        matches!(self.lock().phase, Phase::Open { .. })
    }

    /// Whether it holds nothing that a later opening needs.
    fn is_spent(&self) -> bool {
        let state = self.lock();
        matches!(state.phase, Phase::Closed) && state.earlier.strong_count() == 0
    }

    /// Pause of the last failure, if the last opening failed.
    fn pause(&self) -> Option<Duration> {
        match &self.lock().phase {
            Phase::Failed(failed) => Some(failed.pause),
            _ => None,
        }
    }

    /// Asks a value that was taken out to end. Returns whether it has, or is gone.
    async fn end_earlier(&self) -> bool {
        let Some(earlier) = self.lock().earlier.upgrade() else { return true };
        let ended = earlier.end().await;
        if ended {
            self.lock().earlier = Weak::new();
        }
        ended
    }

    fn touch(&self, counters: &TableCounters) {
        self.last_used.store(counters.ticks.fetch_add(1, Relaxed), Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock()
    }
}

impl TableCounters {
    /// Sets an entry's phase, and counts what is open.
    fn replace<T: Openable>(&self, state: &mut State<T>, next: Phase<T>) -> Phase<T> {
        if let Phase::Open { weight, .. } = &next {
            self.open.fetch_add(1, Relaxed);
            self.weight.fetch_add(*weight, Relaxed);
        }
        let previous = std::mem::replace(&mut state.phase, next);
        if let Phase::Open { weight, .. } = &previous {
            self.open.fetch_sub(1, Relaxed);
            self.weight.fetch_sub(*weight, Relaxed);
        }
        previous
    }

    fn weigh<T: Openable>(&self, state: &mut State<T>) {
        if let Phase::Open { value, weight } = &mut state.phase {
            let before = std::mem::replace(weight, value.weight());
            self.weight.fetch_add(*weight, Relaxed);
            self.weight.fetch_sub(before, Relaxed);
        }
    }

    /// Whether a budget is exceeded when one part in `spare` of it (0: none) is to stay free.
    fn is_over(&self, spare: u64) -> bool {
        let open = self.open.load(Relaxed) + self.opening.load(Relaxed);
        let exceeds = |now: u64, max: &AtomicU64| {
            let max = max.load(Relaxed);
            now > max - max.checked_div(spare).unwrap_or(0)
        };
        exceeds(open, &self.open_max) || exceeds(self.weight.load(Relaxed), &self.weight_max)
    }
}

/// A pass continues until one part in this number of both budgets is free.
const SPARE_SHARE: u64 = 16;

#[cfg(test)]
mod tests;
