//! The table of open tenants.
//!
//! A tenant is opened by its first request, in a task that continues if the client disconnects; each tenant has one
//! opening at a time. After a failure it is not retried for a while, and the other tenants are served. When open
//! tenants exceed the budget, those that no request holds are closed, the least recently used first, and their keys are
//! zeroised. A closed tenant takes no memory here.
//!
//! Two writers of one directory in one process would both write to the same log. So a tenant is closed only when no
//! request holds it and no write to its journal is in progress, and it is opened again only after that, under the
//! slot's transition lock. A sealed tenant is opened again only after its earlier requests have ended; a tenant whose
//! slot was emptied is never opened again.
//!
//! Order of the locks: `evicting`, a slot's transition lock, `table`, a slot's `state`.

use crate::{Error, Result, open_tenant::OpenTenant};
use kernel::{Code, Incarnation, limits};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use vault::KeyFailure;

/// The tenants of a server, by incarnation.
pub(crate) struct TenantSlots {
    table: RwLock<HashMap<Incarnation, Arc<TenantSlot>>>,
    ticks: AtomicU64,
    evictions: AtomicU64,
    /// Estimated bytes of open tenants: increased by each opening, reduced by each closing and
    /// recounted by each eviction.
    bytes_held: AtomicU64,
    /// Estimated bytes above which idle tenants are closed.
    budget: AtomicU64,
    /// Number of open tenants, counted in the same way.
    open: AtomicU64,
    /// Number of open tenants above which idle ones are closed, because each may hold a file open.
    open_max: AtomicU64,
    /// Lock of the eviction in progress.
    pub(crate) evicting: tokio::sync::Mutex<()>,
}

/// Figures for metrics, without names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantStats {
    /// Number of open tenants.
    pub open: u64,
    /// Number of tenants that did not open or were sealed.
    pub unopened: u64,
    /// Number of those whose key provider refuses the key or does not answer.
    pub sealed: u64,
    /// Number of open tenants whose key provider refuses the key or does not answer, and whose lease is running out.
    pub unavailable: u64,
    /// Estimated bytes of all open tenants.
    pub memory_bytes: u64,
    /// Number of tenants closed to free memory, since the start.
    pub evictions: u64,
}

/// The entry of one tenant.
pub(crate) struct TenantSlot {
    state: Mutex<TenantSlotState>,
    /// Lock of the task that opens or closes the tenant.
    pub(crate) transition_lock: Arc<tokio::sync::Mutex<()>>,
    last_used: AtomicU64,
}

enum TenantSlotState {
    Closed,
    Open(Arc<OpenTenant>),
    Unopened(Unopened),
}

/// Why a directory did not open, and when it is tried again.
#[derive(Clone)]
struct Unopened {
    retry_at: Duration,
    backoff: Duration,
    code: Code,
    why: String,
    /// Answer of its key provider, if the keys are what is missing.
    trouble: Option<KeyFailure>,
    /// The tenant that was sealed here. It is not opened again while a request still holds this.
    earlier: Weak<OpenTenant>,
}

impl TenantSlots {
    pub(crate) fn new() -> Self {
        Self {
            table: RwLock::default(),
            ticks: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
            bytes_held: AtomicU64::new(0),
            budget: AtomicU64::new(limits::DIRECTORIES_BYTES_MAX),
            open: AtomicU64::new(0),
            open_max: AtomicU64::new(limits::TENANTS_OPEN_MAX),
            evicting: tokio::sync::Mutex::default(),
        }
    }

    /// Returns the slot of a tenant that exists, and creates it if needed.
    pub(crate) fn slot(&self, incarnation: Incarnation) -> Arc<TenantSlot> {
        if let Some(slot) = self.slot_if_known(incarnation) {
            return slot;
        }
        let fresh = || {
            Arc::new(TenantSlot {
                state: Mutex::new(TenantSlotState::Closed),
                transition_lock: Arc::default(),
                last_used: AtomicU64::new(0),
            })
        };
        write(&self.table).entry(incarnation).or_insert_with(fresh).clone()
    }

    /// Returns the tenant if it is open.
    pub(crate) fn open(&self, incarnation: Incarnation) -> Option<Arc<OpenTenant>> {
        let slot = self.slot_if_known(incarnation)?;
        let open_tenant = slot.open()?;
        slot.last_used.store(self.ticks.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        Some(open_tenant)
    }

    /// Returns why the last attempt to open the tenant failed.
    pub(crate) fn unopened(&self, incarnation: Incarnation) -> Option<(Code, String)> {
        match &*lock(&self.slot_if_known(incarnation)?.state) {
            TenantSlotState::Unopened(failed) => Some((failed.code, failed.why.clone())),
            _ => None,
        }
    }

    /// Whether the last attempt to open the tenant failed and no immediate retry was requested since
    /// ([`TenantSlot::reset_backoff`]).
    pub(crate) fn failed_to_open(&self, incarnation: Incarnation) -> bool {
        let Some(slot) = self.slot_if_known(incarnation) else { return false };
        matches!(&*lock(&slot.state), TenantSlotState::Unopened(failed) if !failed.retry_at.is_zero())
    }

    /// Returns every tenant that is open or was tried, the least recently used first.
    pub(crate) fn all(&self) -> Vec<(Incarnation, Arc<TenantSlot>)> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = table.iter().map(|(incarnation, slot)| (*incarnation, slot.clone())).collect();
        drop(table);
        // The keys are cached: other tasks use slots meanwhile, and the order must not change during the sort.
        all.sort_by_cached_key(|(_, slot)| slot.last_used.load(Ordering::Relaxed));
        all
    }

    /// Returns every open tenant, in no particular order.
    pub(crate) fn open_tenants(&self) -> Vec<(Incarnation, Arc<OpenTenant>)> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.iter().filter_map(|(incarnation, slot)| Some((*incarnation, slot.open()?))).collect()
    }

    /// Returns why the keys of a tenant that is not open are unavailable.
    pub(crate) fn trouble(&self, incarnation: Incarnation) -> Option<KeyFailure> {
        match &*lock(&self.slot_if_known(incarnation)?.state) {
            TenantSlotState::Unopened(failed) => failed.trouble,
            _ => None,
        }
    }

    /// Seals an open tenant whose keys may no longer be used. Returns whether this one was open.
    pub(crate) async fn seal(
        &self,
        open_tenant: Arc<OpenTenant>,
        now: Duration,
        why: &str,
        trouble: KeyFailure,
    ) -> bool {
        let Some(slot) = self.slot_if_known(open_tenant.incarnation()) else { return false };
        let _transition_lock = slot.transition_lock.lock().await;
        if !slot.open().is_some_and(|open| Arc::ptr_eq(&open, &open_tenant)) {
            return false;
        }
        open_tenant.seal();
        let (retry_at, backoff, code) = (now + limits::REOPEN_WAIT_MIN, limits::REOPEN_WAIT_MIN, Code::KeyUnavailable);
        let earlier = Arc::downgrade(&open_tenant);
        let sealed = Unopened { retry_at, backoff, code, why: why.to_owned(), trouble: Some(trouble), earlier };
        *lock(&slot.state) = TenantSlotState::Unopened(sealed);
        true
    }

    /// Closes a tenant that no request uses. Returns whether it was closed.
    pub(crate) async fn close_idle(&self, incarnation: Incarnation) -> bool {
        let Some(slot) = self.slot_if_known(incarnation) else { return false };
        let Some(freed) = slot.close_if_idle().await else { return false };
        self.bytes_held.fetch_sub(freed.min(self.bytes_held.load(Ordering::Relaxed)), Ordering::Relaxed);
        self.open.fetch_sub(1.min(self.open.load(Ordering::Relaxed)), Ordering::Relaxed);
        self.prune(incarnation, slot);
        true
    }

    pub(crate) fn stats(&self) -> TenantStats {
        let mut stats = TenantStats { evictions: self.evictions.load(Ordering::Relaxed), ..TenantStats::default() };
        for (_, slot) in self.all() {
            match &*lock(&slot.state) {
                TenantSlotState::Open(open_tenant) => {
                    stats.open += 1;
                    stats.unavailable += u64::from(open_tenant.lease.trouble().is_some());
                    stats.memory_bytes += open_tenant.bytes();
                }
                TenantSlotState::Unopened(failed) => {
                    stats.unopened += 1;
                    stats.sealed += u64::from(failed.trouble.is_some());
                }
                TenantSlotState::Closed => {}
            }
        }
        stats
    }

    /// Whether idle tenants should be closed.
    pub(crate) fn over_budget(&self) -> bool {
        let exceeds = |now: &AtomicU64, max: &AtomicU64| now.load(Ordering::Relaxed) > max.load(Ordering::Relaxed);
        exceeds(&self.bytes_held, &self.budget) || exceeds(&self.open, &self.open_max)
    }

    /// Counts a tenant that was opened.
    pub(crate) fn add_opened(&self, open_tenant: &OpenTenant) {
        self.bytes_held.fetch_add(open_tenant.bytes(), Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// Sets the number above which idle tenants are closed.
    pub(crate) fn set_open_max(&self, open_max: u64) {
        self.open_max.store(open_max.max(1), Ordering::Relaxed);
    }

    /// Closes idle tenants until the budget is met. No request waits for this.
    pub(crate) async fn evict(&self) {
        let Ok(_one) = self.evicting.try_lock() else { return };
        // An eighth more is freed, so that the next opening does not start another eviction.
        let budget = self.budget.load(Ordering::Relaxed);
        let open_max = self.open_max.load(Ordering::Relaxed);
        let (target, open_target) = (budget - budget / 8, open_max - open_max / 8);
        // Open directories grow and shrink, so the totals are recounted.
        let stats = self.stats();
        let (mut bytes_held, mut open) = (stats.memory_bytes, stats.open);
        self.bytes_held.store(bytes_held, Ordering::Relaxed);
        self.open.store(open, Ordering::Relaxed);
        if bytes_held <= budget && open <= open_max {
            return;
        }
        for (incarnation, slot) in self.all() {
            if bytes_held <= target && open <= open_target {
                return;
            }
            if let Some(freed) = slot.close_if_idle().await {
                bytes_held = bytes_held.saturating_sub(freed);
                open = open.saturating_sub(1);
                self.bytes_held.store(bytes_held, Ordering::Relaxed);
                self.open.store(open, Ordering::Relaxed);
                self.evictions.fetch_add(1, Ordering::Relaxed);
            }
            self.prune(incarnation, slot);
        }
    }

    /// Sets the slot to closed once the task that opens or closes the tenant has finished, although requests may hold
    /// the tenant. The caller ensures that it is never opened again.
    pub(crate) async fn empty(&self, incarnation: Incarnation) {
        let Some(slot) = self.slot_if_known(incarnation) else { return };
        {
            let _transition_lock = slot.transition_lock.lock().await;
            *lock(&slot.state) = TenantSlotState::Closed;
        }
        self.prune(incarnation, slot);
    }

    /// Removes a closed slot that no request waits for.
    fn prune(&self, incarnation: Incarnation, slot: Arc<TenantSlot>) {
        let mut table = write(&self.table);
        // One reference is the table's and one is ours; under the table's lock there can be no other.
        if Arc::strong_count(&slot) == 2 && matches!(&*lock(&slot.state), TenantSlotState::Closed) {
            table.remove(&incarnation);
        }
    }

    /// Returns the tenant's slot, if the table has one.
    pub(crate) fn slot_if_known(&self, incarnation: Incarnation) -> Option<Arc<TenantSlot>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).get(&incarnation).cloned()
    }

    #[cfg(test)]
    pub(crate) fn set_budget(&self, bytes: u64) {
        self.budget.store(bytes, Ordering::Relaxed);
    }
}

impl TenantSlot {
    pub(crate) fn open(&self) -> Option<Arc<OpenTenant>> {
        match &*lock(&self.state) {
            TenantSlotState::Open(open_tenant) => Some(open_tenant.clone()),
            _ => None,
        }
    }

    /// Returns the open tenant; `None` when it should be opened now.
    ///
    /// # Errors
    /// [`Error::Closed`] when an opening failed a moment ago.
    pub(crate) fn ready(&self, incarnation: Incarnation, now: Duration) -> Result<Option<Arc<OpenTenant>>> {
        match &*lock(&self.state) {
            TenantSlotState::Open(open_tenant) => Ok(Some(open_tenant.clone())),
            TenantSlotState::Unopened(failed) if now < failed.retry_at => {
                Err(Error::Closed { incarnation, code: failed.code, why: failed.why.clone() })
            }
            _ => Ok(None),
        }
    }

    /// Publishes an opened tenant. The caller holds the transition lock.
    pub(crate) fn publish(&self, open_tenant: Arc<OpenTenant>) {
        *lock(&self.state) = TenantSlotState::Open(open_tenant);
    }

    /// Records that the tenant did not open. The pause before the next attempt doubles with each failure. The caller
    /// holds the transition lock.
    pub(crate) fn fail(&self, now: Duration, code: Code, why: String, trouble: Option<KeyFailure>) {
        let mut state = lock(&self.state);
        let (longer, earlier, known) = match &*state {
            TenantSlotState::Unopened(failed) => (failed.backoff * 2, failed.earlier.clone(), failed.trouble),
            // It was published already, so another request may hold it: that request's writes end here, and no second
            // writer opens its directory while it does.
            TenantSlotState::Open(open_tenant) => {
                open_tenant.seal();
                (limits::REOPEN_WAIT_MIN, Arc::downgrade(open_tenant), None)
            }
            TenantSlotState::Closed => (limits::REOPEN_WAIT_MIN, Weak::new(), None),
        };
        // While earlier requests end, the provider is not asked: its last answer still holds.
        let trouble = trouble.or(known.filter(|_| earlier.strong_count() > 0));
        let longest = if code == Code::KeyUnavailable { limits::KEY_REOPEN_WAIT_MAX } else { limits::REOPEN_WAIT_MAX };
        let backoff = longer.min(longest);
        *state = TenantSlotState::Unopened(Unopened { retry_at: now + backoff, backoff, code, why, trouble, earlier });
    }

    /// Whether a request still holds the tenant that was sealed here.
    pub(crate) fn has_earlier_requests(&self) -> bool {
        matches!(&*lock(&self.state), TenantSlotState::Unopened(failed) if failed.earlier.strong_count() > 0)
    }

    /// Lets the next request try at once.
    pub(crate) fn reset_backoff(&self) {
        if let TenantSlotState::Unopened(failed) = &mut *lock(&self.state) {
            failed.retry_at = Duration::ZERO;
        }
    }

    /// Closes the tenant if no request holds it. Returns the estimated bytes that were freed.
    async fn close_if_idle(&self) -> Option<u64> {
        let _transition_lock = self.transition_lock.try_lock().ok()?;
        let open_tenant = self.open()?;
        if Arc::strong_count(&open_tenant) > IDLE_REFERENCES {
            return None;
        }
        // A write that a dropped request left in progress must end before the tenant is opened again.
        if let Err(error) = open_tenant.directory().mark_clean().await {
            tracing::warn!(incarnation = %open_tenant.incarnation(), error = %error, "an idle directory stays open");
            return None;
        }
        let mut state = lock(&self.state);
        // Under the lock no request can get another reference.
        if Arc::strong_count(&open_tenant) > IDLE_REFERENCES || !open_tenant.directory().is_idle() {
            return None;
        }
        *state = TenantSlotState::Closed;
        drop(state);
        Some(open_tenant.bytes())
    }
}

/// Number of references to an idle tenant: that of the slot and that of the task which closes it.
pub(crate) const IDLE_REFERENCES: usize = 2;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under these locks is one assignment, so a panic cannot leave a half-made change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(table: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    table.write().unwrap_or_else(PoisonError::into_inner)
}
