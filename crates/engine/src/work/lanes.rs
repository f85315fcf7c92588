//! Jobs of many tenants on a few threads, in turns.
//!
//! Promises: tenants with jobs are served in turn, whatever the number of jobs each has. A tenant that was alone for a
//! second may use every core; as soon as another comes, one core is left to the others. There is one thread more than
//! cores, so that a new job does not wait for a running one. Of one tenant, four answers go before a waiting write. The
//! queue is bounded, in all and for each tenant; a refusal says when to come back. A job that waits for a network
//! ([`kernel::blocking`]) lets another thread compute meanwhile, and then takes its tenant's turn again; so does one that
//! computes for long ([`kernel::give_way`]) while others wait.
//! Knows tenants as opaque ids and jobs as closures.

use kernel::{Clock, Code, Error, HandBack, Incarnation, limits};
use std::{
    cell::Cell,
    collections::{HashMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// The kind of request that waits for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// A request that waits for an answer.
    Answer,
    /// A write.
    Write,
}

pub(crate) type Job = Box<dyn FnOnce() + Send>;
/// An incarnation of a tenant; `None` is the server itself.
pub(crate) type Owner = Option<Incarnation>;

/// See the module. The threads end when it is dropped; jobs that have not begun are dropped unrun.
pub(crate) struct Lanes(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    come: Condvar,
    clock: Arc<dyn Clock>,
    cores: usize,
    /// Threads that compute at the same time.
    slots: usize,
    waiting_max: usize,
    turns: bool,
}

/// Limits on jobs that run and wait.
pub(crate) struct LanesConfig {
    pub(crate) cores: usize,
    pub(crate) waiting_max: usize,
    pub(crate) clock: Arc<dyn Clock>,
    /// `false` serves all jobs in the order of their arrival: the control of a benchmark.
    pub(crate) turns: bool,
}

#[derive(Default)]
struct State {
    lanes: HashMap<Owner, Lane>,
    /// Tenants with waiting jobs, in the order in which they are served.
    turns: VecDeque<Owner>,
    waiting: usize,
    /// All threads.
    threads: usize,
    /// Threads that compute.
    computing: usize,
    /// Threads that wait inside a job, for a network or for their turn after it.
    away: usize,
    latest: Seen,
    /// The latest job of any other tenant.
    before: Seen,
    closed: bool,
}

/// A tenant and the time of its last job.
#[derive(Clone, Copy, Default)]
struct Seen {
    owner: Owner,
    at: Option<Duration>,
}

#[derive(Default)]
struct Lane {
    answers: VecDeque<Job>,
    writes: VecDeque<Job>,
    running: usize,
    /// Jobs that wait for a network.
    blocked: usize,
    /// Jobs that have waited and are ready to continue: they come first.
    resumed: VecDeque<Arc<Ticket>>,
    /// Answers since the last write.
    answered: usize,
}

/// Signals a waiting job that its turn has come.
#[derive(Default)]
struct Ticket {
    granted: AtomicBool,
    come: Condvar,
}

impl Lanes {
    /// Starts the threads.
    ///
    /// # Errors
    /// `internal` when the system gives no thread.
    pub(crate) fn new(config: LanesConfig) -> Result<Self, Error> {
        let LanesConfig { cores, waiting_max, clock, turns } = config;
        let cores = cores.max(1);
        let (state, come) = (Mutex::default(), Condvar::new());
        let slots = cores + usize::from(turns);
        let lanes = Self(Arc::new(Shared { state, come, clock, cores, slots, waiting_max, turns }));
        for _ in 0..slots {
            let mut state = lanes.0.lock();
            lanes.0.spawn(&mut state).map_err(|e| Error::internal("worker threads do not start").with_source(e))?;
        }
        Ok(lanes)
    }

    /// Takes a job.
    ///
    /// # Errors
    /// `overloaded` when as many wait as may; `rate_limited` when half of them would be this owner's.
    pub(crate) fn push(&self, owner: Owner, urgency: Urgency, job: Job) -> Result<(), Error> {
        let owner = self.0.row_of(owner);
        let mut state = self.0.lock();
        if state.waiting >= self.0.waiting_max {
            return Err(Error::overloaded("the work queue is full", RETRY));
        }
        let lane = state.lanes.entry(owner).or_default();
        if self.0.turns && lane.waiting() >= self.0.waiting_max / 2 {
            let mut error = Error::new(Code::RateLimited, "too much work of this tenant waits already");
            error.retry_after = Some(RETRY);
            return Err(error);
        }
        state.saw(owner, self.0.clock.monotonic());
        state.take(owner, urgency, job);
        drop(state);
        self.0.come.notify_one();
        Ok(())
    }

    /// Takes a job whose number the caller has bounded already.
    pub(crate) fn push_bounded(&self, owner: Owner, urgency: Urgency, job: Job) {
        let owner = self.0.row_of(owner);
        let mut state = self.0.lock();
        state.saw(owner, self.0.clock.monotonic());
        state.take(owner, urgency, job);
        drop(state);
        self.0.come.notify_one();
    }

    /// Notes a tenant that is at work without a thread of this pool.
    pub(crate) fn saw(&self, owner: Owner) {
        let now = self.0.clock.monotonic();
        self.0.lock().saw(self.0.row_of(owner), now);
    }

    /// Whether any tenant was active since then.
    pub(crate) fn saw_since(&self, at: Duration) -> bool {
        self.0.lock().latest.at.is_some_and(|seen| seen >= at)
    }

    /// Jobs that wait for a thread.
    pub(crate) fn waiting(&self) -> usize {
        self.0.lock().waiting
    }
}

impl Lanes {
    /// Wakes every thread that has nothing to do.
    pub(crate) fn rouse(&self) {
        let _nobody_falls_asleep = self.0.lock();
        self.0.come.notify_all();
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        let unrun = {
            let mut state = self.0.lock();
            state.closed = true;
            state.turns.clear();
            std::mem::take(&mut state.lanes)
        };
        self.0.come.notify_all();
        // A job that waits inside continues without a turn, to its end.
        unrun.values().flat_map(|lane| &lane.resumed).for_each(|ticket| ticket.come.notify_all());
        drop(unrun);
    }
}

impl Shared {
    /// Starts one more thread.
    fn spawn(self: &Arc<Self>, state: &mut State) -> std::io::Result<()> {
        let shared = self.clone();
        let name = format!("cpu-{}", state.threads);
        std::thread::Builder::new().name(name).spawn(move || shared.work())?;
        state.threads += 1;
        Ok(())
    }

    fn work(self: Arc<Self>) {
        let worker = Rc::new(Worker { shared: self.clone(), owner: Cell::new(None), keeps: Cell::new(true) });
        kernel::on_blocking(worker.clone());
        let mut state = self.lock();
        loop {
            if state.closed {
                return;
            }
            let now = self.clock.monotonic();
            let next = state.next(self.slots, |state, owner| self.each_max(state, owner, now));
            let Some((owner, job)) = next else {
                // Others came while this one waited inside a job.
                if state.threads - state.away > self.slots {
                    state.threads -= 1;
                    return;
                }
                // Under the lock, so that a caller which checks and then wakes all threads misses none that goes to
                // sleep.
                kernel::wipe_stack_if_asked();
                state = self.come.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            worker.owner.set(Some(owner));
            // A panic ends this job only: its caller learns of it because the channel is dropped.
            let _ = catch_unwind(AssertUnwindSafe(job));
            worker.owner.set(None);
            state = self.lock();
            state.done(owner);
        }
    }

    /// Jobs of one owner at once.
    fn each_max(&self, state: &State, owner: Owner, now: Duration) -> usize {
        if self.turns && state.is_in_company(owner, now) { self.cores.saturating_sub(1).max(1) } else { self.cores }
    }

    fn row_of(&self, owner: Owner) -> Owner {
        owner.filter(|_| self.turns)
    }

    /// Nothing panics while holding this lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread, as seen from a wait inside its job.
struct Worker {
    shared: Arc<Shared>,
    /// The tenant whose job it runs.
    owner: Cell<Option<Owner>>,
    /// Whether it keeps its slot while it waits, because too many jobs wait to start another thread.
    keeps: Cell<bool>,
}

impl HandBack for Worker {
    fn leave(&self) {
        self.keeps.set(true);
        let Some(owner) = self.owner.get() else { return };
        let mut state = self.shared.lock();
        if state.closed || state.away >= limits::BLOCKED_JOBS_MAX {
            return;
        }
        // Another thread has to compute instead.
        if state.threads - (state.away + 1) < self.shared.slots && self.shared.spawn(&mut state).is_err() {
            return;
        }
        let Some(lane) = state.lanes.get_mut(&owner) else { return };
        lane.running -= 1;
        lane.blocked += 1;
        state.computing -= 1;
        state.away += 1;
        self.keeps.set(false);
        drop(state);
        self.shared.come.notify_one();
    }

    fn rejoin(&self) {
        let Some(owner) = self.owner.get().filter(|_| !self.keeps.get()) else { return };
        let mut state = self.shared.lock();
        let Some(lane) = state.lanes.get_mut(&owner) else { return };
        let ticket = Arc::new(Ticket::default());
        let waited = lane.waits();
        lane.blocked -= 1;
        lane.resumed.push_back(ticket.clone());
        if !waited {
            state.turns.push_back(owner);
        }
        self.shared.come.notify_one();
        while !ticket.granted.load(Ordering::Relaxed) && !state.closed {
            state = ticket.come.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn give_way(&self) {
        let Some(owner) = self.owner.get() else { return };
        let (shared, now) = (&self.shared, self.shared.clock.monotonic());
        let others = shared.lock().others_wait(owner, shared.slots, |state, owner| shared.each_max(state, owner, now));
        if others {
            self.leave();
            self.rejoin();
        }
    }
}

impl State {
    /// Whether another owner's job could begin, or go on, if a thread were free.
    fn others_wait(&self, mine: Owner, slots: usize, each_max: impl Fn(&State, Owner) -> usize) -> bool {
        let may = |owner: &Owner| {
            let lane = self.lanes.get(owner).filter(|_| *owner != mine);
            lane.is_some_and(|lane| lane.running < each_max(self, *owner) && lane.may_begin())
        };
        self.computing >= slots && self.turns.iter().any(may)
    }

    fn take(&mut self, owner: Owner, urgency: Urgency, job: Job) {
        if self.closed {
            return;
        }
        let lane = self.lanes.entry(owner).or_default();
        if !lane.waits() {
            self.turns.push_back(owner);
        }
        match urgency {
            Urgency::Answer => lane.answers.push_back(job),
            Urgency::Write => lane.writes.push_back(job),
        }
        self.waiting += 1;
    }

    fn saw(&mut self, owner: Owner, now: Duration) {
        if self.latest.owner != owner {
            self.before = self.latest;
        }
        self.latest = Seen { owner, at: Some(now) };
    }

    /// Whether another tenant was active a moment ago.
    fn is_in_company(&self, owner: Owner, now: Duration) -> bool {
        let other = if self.latest.owner == owner { self.before } else { self.latest };
        other.at.is_some_and(|at| now.saturating_sub(at) < COMPANY)
    }

    /// The next job of the first tenant that has fewer running than allowed; that tenant goes to the end of the queue. Jobs
    /// that have waited inside continue first, on their own threads.
    fn next(&mut self, slots: usize, each_max: impl Fn(&State, Owner) -> usize) -> Option<(Owner, Job)> {
        while self.computing < slots {
            let may = |owner: &Owner| {
                self.lanes.get(owner).is_some_and(|lane| lane.running < each_max(self, *owner) && lane.may_begin())
            };
            let at = self.turns.iter().position(may)?;
            let owner = self.turns.remove(at)?;
            let lane = self.lanes.get_mut(&owner)?;
            let resumed = lane.resumed.pop_front();
            let job = if resumed.is_none() { lane.pop() } else { None };
            lane.running += 1;
            self.computing += 1;
            if lane.waits() {
                self.turns.push_back(owner);
            }
            let Some(ticket) = resumed else {
                self.waiting -= 1;
                return job.map(|job| (owner, job));
            };
            self.away -= 1;
            ticket.granted.store(true, Ordering::Relaxed);
            ticket.come.notify_one();
        }
        None
    }

    /// The calling thread looks for another job at once, so no other thread has to be woken.
    fn done(&mut self, owner: Owner) {
        self.computing = self.computing.saturating_sub(1);
        let Some(lane) = self.lanes.get_mut(&owner) else { return };
        lane.running -= 1;
        if lane.running == 0 && lane.blocked == 0 && !lane.waits() {
            self.lanes.remove(&owner);
        }
    }
}

impl Lane {
    /// Answers come first, but a waiting write comes after some of them; otherwise a tenant that always searches would
    /// never store.
    fn pop(&mut self) -> Option<Job> {
        let write = self.answers.is_empty() || (self.answered >= ANSWERS_BEFORE_A_WRITE && !self.writes.is_empty());
        self.answered = if write { 0 } else { self.answered + 1 };
        if write { self.writes.pop_front() } else { self.answers.pop_front() }
    }

    fn waiting(&self) -> usize {
        self.answers.len() + self.writes.len()
    }

    /// Whether anything of it waits for a thread.
    fn waits(&self) -> bool {
        self.waiting() > 0 || !self.resumed.is_empty()
    }

    /// Whether one more of its jobs may wait for a network.
    fn may_begin(&self) -> bool {
        !self.resumed.is_empty() || self.blocked < limits::BLOCKED_JOBS_PER_TENANT_MAX
    }
}

/// Answers of a tenant that go before its waiting write.
const ANSWERS_BEFORE_A_WRITE: usize = 4;
/// How long after a tenant's last job a core is kept for its next one.
const COMPANY: Duration = Duration::from_secs(1);
/// When a refused caller may come back.
const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
