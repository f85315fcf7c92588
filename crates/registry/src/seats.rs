//! Which tenants are open.
//!
//! A tenant is opened by its first request: one opening at a time for each, in a task of
//! its own that ends even if the caller goes away. A tenant that does not open is not tried again for
//! a while, and the others are served. When the open ones exceed the budget, those that no request
//! holds are closed, the longest unused first; their keys are zeroised with that. A tenant that is
//! closed takes no memory here.
//!
//! Two writers of one directory in one process would be two owners of one log. So a seat is closed
//! only when no request holds it and nothing is on its way to its journal, and it is opened again only
//! behind that, under the same lock.

use crate::{Error, Result, residence::Residence};
use kernel::{Code, Incarnation, limits};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use vault::KeyTrouble;

/// The seats of a server.
pub(crate) struct Seats {
    table: RwLock<HashMap<Incarnation, Arc<Seat>>>,
    ticks: AtomicU64,
    evictions: AtomicU64,
    /// Estimated bytes of the open ones, as counted when they were opened; counted again by each round of closing.
    held: AtomicU64,
    /// Estimated bytes above which idle ones are closed.
    budget: AtomicU64,
    /// Open ones, as counted when they were opened; counted again by each round of closing.
    open: AtomicU64,
    /// Open ones above which idle ones are closed: each may hold a file open.
    open_max: AtomicU64,
    /// One round at a time.
    pub(crate) evicting: tokio::sync::Mutex<()>,
}

/// Numbers for metrics. No names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeatStats {
    /// Open tenants.
    pub open: u64,
    /// Tenants whose directory did not open.
    pub unopened: u64,
    /// Tenants among them whose key provider refuses the key or does not answer.
    pub sealed: u64,
    /// Open tenants whose key provider does, and whose lease runs out.
    pub unavailable: u64,
    /// Estimated bytes that the open ones hold.
    pub memory_bytes: u64,
    /// Closed to give memory back, since the start.
    pub evictions: u64,
}

/// One tenant's.
pub(crate) struct Seat {
    state: Mutex<State>,
    /// Held by who opens or closes.
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
    used: AtomicU64,
}

enum State {
    Closed,
    Open(Arc<Residence>),
    Unopened(Unopened),
}

/// Why a directory did not open, and from when it is tried again.
#[derive(Clone)]
struct Unopened {
    again: Duration,
    pause: Duration,
    code: Code,
    why: String,
    /// What its key provider said, if it is for want of keys.
    trouble: Option<KeyTrouble>,
    /// The tenant that was sealed here: while a request still holds it, it is not opened again.
    before: Weak<Residence>,
}

impl Seats {
    pub(crate) fn new() -> Self {
        Self {
            table: RwLock::default(),
            ticks: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
            held: AtomicU64::new(0),
            budget: AtomicU64::new(limits::DIRECTORIES_BYTES_MAX),
            open: AtomicU64::new(0),
            open_max: AtomicU64::new(limits::TENANTS_OPEN_MAX),
            evicting: tokio::sync::Mutex::default(),
        }
    }

    /// The seat of a tenant that exists.
    pub(crate) fn seat(&self, incarnation: Incarnation) -> Arc<Seat> {
        if let Some(seat) = self.seat_if_known(incarnation) {
            return seat;
        }
        let fresh =
            || Arc::new(Seat { state: Mutex::new(State::Closed), turn: Arc::default(), used: AtomicU64::new(0) });
        write(&self.table).entry(incarnation).or_insert_with(fresh).clone()
    }

    /// The open tenant, if it is open.
    pub(crate) fn open(&self, incarnation: Incarnation) -> Option<Arc<Residence>> {
        let seat = self.seat_if_known(incarnation)?;
        let residence = seat.open()?;
        seat.used.store(self.ticks.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        Some(residence)
    }

    /// Why the last attempt to open the tenant failed.
    pub(crate) fn unopened(&self, incarnation: Incarnation) -> Option<(Code, String)> {
        match &*lock(&self.seat_if_known(incarnation)?.state) {
            State::Unopened(failed) => Some((failed.code, failed.why.clone())),
            _ => None,
        }
    }

    /// Every tenant that is open or was tried, the longest unused first.
    pub(crate) fn all(&self) -> Vec<(Incarnation, Arc<Seat>)> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = table.iter().map(|(incarnation, seat)| (*incarnation, seat.clone())).collect();
        drop(table);
        // Cached: others use seats meanwhile, and an order that changes under the sort is none.
        all.sort_by_cached_key(|(_, seat)| seat.used.load(Ordering::Relaxed));
        all
    }

    /// Every open tenant, in no order.
    pub(crate) fn each_open(&self) -> Vec<(Incarnation, Arc<Residence>)> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.iter().filter_map(|(incarnation, seat)| Some((*incarnation, seat.open()?))).collect()
    }

    /// What stands between a tenant that is not open and its keys.
    pub(crate) fn trouble(&self, incarnation: Incarnation) -> Option<KeyTrouble> {
        match &*lock(&self.seat_if_known(incarnation)?.state) {
            State::Unopened(failed) => failed.trouble,
            _ => None,
        }
    }

    /// Shuts an open tenant whose keys may not be used any more. Says whether that was this one.
    pub(crate) async fn seal(&self, residence: Arc<Residence>, now: Duration, why: &str, trouble: KeyTrouble) -> bool {
        let Some(seat) = self.seat_if_known(residence.incarnation()) else { return false };
        let _turn = seat.turn.lock().await;
        if !seat.open().is_some_and(|open| Arc::ptr_eq(&open, &residence)) {
            return false;
        }
        residence.seal();
        let (again, pause, code) = (now + limits::REOPEN_WAIT_MIN, limits::REOPEN_WAIT_MIN, Code::KeyUnavailable);
        let before = Arc::downgrade(&residence);
        let sealed = Unopened { again, pause, code, why: why.to_owned(), trouble: Some(trouble), before };
        *lock(&seat.state) = State::Unopened(sealed);
        true
    }

    /// Closes one that no request uses; says whether that was done.
    pub(crate) async fn close_idle(&self, incarnation: Incarnation) -> bool {
        let Some(seat) = self.seat_if_known(incarnation) else { return false };
        let Some(freed) = seat.let_go().await else { return false };
        self.held.fetch_sub(freed.min(self.held.load(Ordering::Relaxed)), Ordering::Relaxed);
        self.open.fetch_sub(1.min(self.open.load(Ordering::Relaxed)), Ordering::Relaxed);
        self.prune(incarnation, seat);
        true
    }

    pub(crate) fn stats(&self) -> SeatStats {
        let mut stats = SeatStats { evictions: self.evictions.load(Ordering::Relaxed), ..SeatStats::default() };
        for (_, seat) in self.all() {
            match &*lock(&seat.state) {
                State::Open(residence) => {
                    stats.open += 1;
                    stats.unavailable += u64::from(residence.lease.trouble().is_some());
                    stats.memory_bytes += residence.bytes();
                }
                State::Unopened(failed) => {
                    stats.unopened += 1;
                    stats.sealed += u64::from(failed.trouble.is_some());
                }
                State::Closed => {}
            }
        }
        stats
    }

    /// Whether idle tenants should be closed.
    pub(crate) fn over_budget(&self) -> bool {
        let passed = |now: &AtomicU64, max: &AtomicU64| now.load(Ordering::Relaxed) > max.load(Ordering::Relaxed);
        passed(&self.held, &self.budget) || passed(&self.open, &self.open_max)
    }

    /// Counts a tenant that was opened.
    pub(crate) fn count(&self, residence: &Residence) {
        self.held.fetch_add(residence.bytes(), Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// Bounds the number of open ones.
    pub(crate) fn bound_open(&self, open_max: u64) {
        self.open_max.store(open_max.max(1), Ordering::Relaxed);
    }

    /// Closes idle tenants until the budget is kept. No request waits for this.
    pub(crate) async fn evict(&self) {
        let Ok(_one) = self.evicting.try_lock() else { return };
        // An eighth more, so that the next opening does not begin another round.
        let budget = self.budget.load(Ordering::Relaxed);
        let open_max = self.open_max.load(Ordering::Relaxed);
        let (goal, open_goal) = (budget - budget / 8, open_max - open_max / 8);
        let stats = self.stats();
        let (mut held, mut open) = (stats.memory_bytes, stats.open);
        self.held.store(held, Ordering::Relaxed);
        self.open.store(open, Ordering::Relaxed);
        if held <= budget && open <= open_max {
            return;
        }
        for (incarnation, seat) in self.all() {
            if held <= goal && open <= open_goal {
                return;
            }
            if let Some(freed) = seat.let_go().await {
                held = held.saturating_sub(freed);
                open = open.saturating_sub(1);
                self.held.store(held, Ordering::Relaxed);
                self.open.store(open, Ordering::Relaxed);
                self.evictions.fetch_add(1, Ordering::Relaxed);
            }
            self.prune(incarnation, seat);
        }
    }

    /// Empties a tenant's seat, once a task that opens or closes it has finished.
    pub(crate) async fn leave(&self, incarnation: Incarnation) {
        let Some(seat) = self.seat_if_known(incarnation) else { return };
        {
            let _turn = seat.turn.lock().await;
            *lock(&seat.state) = State::Closed;
        }
        self.prune(incarnation, seat);
    }

    /// Forgets a closed seat that no request waits for.
    fn prune(&self, incarnation: Incarnation, seat: Arc<Seat>) {
        let mut table = write(&self.table);
        // One reference is the table's, one ours; under the table's lock there can be no other.
        if Arc::strong_count(&seat) == 2 && matches!(&*lock(&seat.state), State::Closed) {
            table.remove(&incarnation);
        }
    }

    /// The seat of a tenant that was asked for since the start.
    pub(crate) fn seat_if_known(&self, incarnation: Incarnation) -> Option<Arc<Seat>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).get(&incarnation).cloned()
    }

    #[cfg(test)]
    pub(crate) fn set_budget(&self, bytes: u64) {
        self.budget.store(bytes, Ordering::Relaxed);
    }
}

impl Seat {
    pub(crate) fn open(&self) -> Option<Arc<Residence>> {
        match &*lock(&self.state) {
            State::Open(residence) => Some(residence.clone()),
            _ => None,
        }
    }

    /// The open tenant; `None` when it is to be opened now.
    ///
    /// # Errors
    /// [`Error::Closed`] when it did not open a moment ago.
    pub(crate) fn ready(&self, incarnation: Incarnation, now: Duration) -> Result<Option<Arc<Residence>>> {
        match &*lock(&self.state) {
            State::Open(residence) => Ok(Some(residence.clone())),
            State::Unopened(failed) if now < failed.again => {
                Err(Error::Closed { incarnation, code: failed.code, why: failed.why.clone() })
            }
            _ => Ok(None),
        }
    }

    /// Takes an opened tenant. The task that opens it holds the turn.
    pub(crate) fn take(&self, residence: Arc<Residence>) {
        *lock(&self.state) = State::Open(residence);
    }

    /// It did not open: the next try is later, and later still after each failure.
    pub(crate) fn fail(&self, now: Duration, code: Code, why: String, trouble: Option<KeyTrouble>) {
        let mut state = lock(&self.state);
        let (longer, before, known) = match &*state {
            State::Unopened(failed) => (failed.pause * 2, failed.before.clone(), failed.trouble),
            _ => (limits::REOPEN_WAIT_MIN, Weak::new(), None),
        };
        // While earlier requests end, the provider is not asked: its last answer still holds.
        let trouble = trouble.or(known.filter(|_| before.strong_count() > 0));
        let longest = if code == Code::KeyUnavailable { limits::KEY_REOPEN_WAIT_MAX } else { limits::REOPEN_WAIT_MAX };
        let pause = longer.min(longest);
        *state = State::Unopened(Unopened { again: now + pause, pause, code, why, trouble, before });
    }

    /// Whether a request still holds what was sealed here.
    pub(crate) fn lingers(&self) -> bool {
        matches!(&*lock(&self.state), State::Unopened(failed) if failed.before.strong_count() > 0)
    }

    /// Lets the next one try at once.
    pub(crate) fn forgive(&self) {
        if let State::Unopened(failed) = &mut *lock(&self.state) {
            failed.again = Duration::ZERO;
        }
    }

    /// Closes it if no request holds it; says what that freed.
    async fn let_go(&self) -> Option<u64> {
        let _turn = self.turn.try_lock().ok()?;
        let residence = self.open()?;
        if Arc::strong_count(&residence) > OURS {
            return None;
        }
        // What a request that was dropped left on its way is written before it is opened again.
        if let Err(error) = residence.book().rest().await {
            tracing::warn!(incarnation = %residence.incarnation(), error = %error, "an idle directory stays open");
            return None;
        }
        let mut state = lock(&self.state);
        // Under the lock no request gets another hold of it.
        if Arc::strong_count(&residence) > OURS || !residence.book().at_rest() {
            return None;
        }
        *state = State::Closed;
        drop(state);
        Some(residence.bytes())
    }
}

/// One count of an idle residence is the seat's, one is that of who closes it.
pub(crate) const OURS: usize = 2;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under these locks is one assignment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(table: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    table.write().unwrap_or_else(PoisonError::into_inner)
}
