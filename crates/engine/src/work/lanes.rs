//! Jobs of many tenants on a few threads, in turns.
//!
//! Promises: threads go round between the tenants that have jobs, whatever the number of jobs each has. A tenant that
//! was alone for a second may use every core; as soon as another comes, one core is the others'. There is one thread
//! more than cores, so that who comes does not wait for a job that runs. Of one tenant, four answers go before a write that waits.
//! Bounded, for all and for each; who is refused is told when to come back.
//! Knows tenants as opaque ids and jobs as closures.

use kernel::{Clock, Code, Error, Incarnation};
use std::{
    collections::{HashMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What waits for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Somebody who asked.
    Answer,
    /// Somebody who stores.
    Write,
}

pub(crate) type Job = Box<dyn FnOnce() + Send>;
/// A tenant's life; `None` is the server itself.
pub(crate) type Owner = Option<Incarnation>;

/// See the module. The threads end when it is dropped; jobs that have not begun are dropped unrun.
pub(crate) struct Lanes(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    come: Condvar,
    clock: Arc<dyn Clock>,
    cores: usize,
    waiting_max: usize,
    turns: bool,
}

/// How many jobs run and wait.
pub(crate) struct LanesConfig {
    pub(crate) cores: usize,
    pub(crate) waiting_max: usize,
    pub(crate) clock: Arc<dyn Clock>,
    /// `false` puts all in one row, first come first served: what a benchmark compares with.
    pub(crate) turns: bool,
}

#[derive(Default)]
struct State {
    lanes: HashMap<Owner, Lane>,
    /// Who has jobs that wait; whoever stands first is served next.
    turns: VecDeque<Owner>,
    waiting: usize,
    latest: Seen,
    /// The latest of somebody else than that.
    before: Seen,
    closed: bool,
}

/// Who came, and when.
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
    /// Answers since the last write.
    answered: usize,
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
        let lanes = Self(Arc::new(Shared { state, come, clock, cores, waiting_max, turns }));
        for i in 0..cores + usize::from(turns) {
            let shared = lanes.0.clone();
            std::thread::Builder::new()
                .name(format!("cpu-{i}"))
                .spawn(move || shared.work())
                .map_err(|e| Error::internal("worker threads do not start").with_source(e))?;
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

    /// Takes a job that whoever hands it over has bounded already.
    pub(crate) fn push_bounded(&self, owner: Owner, urgency: Urgency, job: Job) {
        let owner = self.0.row_of(owner);
        let mut state = self.0.lock();
        state.saw(owner, self.0.clock.monotonic());
        state.take(owner, urgency, job);
        drop(state);
        self.0.come.notify_one();
    }

    /// Somebody is at work who needs no thread of ours.
    pub(crate) fn saw(&self, owner: Owner) {
        let now = self.0.clock.monotonic();
        self.0.lock().saw(self.0.row_of(owner), now);
    }

    /// Whether anybody was seen since then.
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
        drop(unrun);
    }
}

impl Shared {
    fn work(&self) {
        let mut state = self.lock();
        loop {
            if state.closed {
                return;
            }
            let now = self.clock.monotonic();
            let Some((owner, job)) = state.next(|state, owner| self.each_max(state, owner, now)) else {
                // Under the lock, so that whoever asks and then wakes everybody finds nobody on the way to sleep.
                kernel::wipe_stack_if_asked();
                state = self.come.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            // A panic ends this job only: who waits for it is told by what it drops.
            let _ = catch_unwind(AssertUnwindSafe(job));
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

impl State {
    fn take(&mut self, owner: Owner, urgency: Urgency, job: Job) {
        if self.closed {
            return;
        }
        let lane = self.lanes.entry(owner).or_default();
        if lane.waiting() == 0 {
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

    /// Whether somebody else came a moment ago.
    fn is_in_company(&self, owner: Owner, now: Duration) -> bool {
        let other = if self.latest.owner == owner { self.before } else { self.latest };
        other.at.is_some_and(|at| now.saturating_sub(at) < COMPANY)
    }

    /// The next job of the first owner who has fewer running than may. That owner goes to the end of the row.
    fn next(&mut self, each_max: impl Fn(&State, Owner) -> usize) -> Option<(Owner, Job)> {
        let may = |owner: &Owner| self.lanes.get(owner).is_some_and(|lane| lane.running < each_max(self, *owner));
        let at = self.turns.iter().position(may)?;
        let owner = self.turns.remove(at)?;
        let lane = self.lanes.get_mut(&owner)?;
        let job = lane.pop()?;
        lane.running += 1;
        self.waiting -= 1;
        if lane.waiting() > 0 {
            self.turns.push_back(owner);
        }
        Some((owner, job))
    }

    /// The thread that calls this looks for another job right away: nobody has to be woken.
    fn done(&mut self, owner: Owner) {
        let Some(lane) = self.lanes.get_mut(&owner) else { return };
        lane.running -= 1;
        if lane.running == 0 && lane.waiting() == 0 {
            self.lanes.remove(&owner);
        }
    }
}

impl Lane {
    /// Answers first, but a write that waits comes behind some of them: else who searches without end never stores.
    fn pop(&mut self) -> Option<Job> {
        let write = self.answers.is_empty() || (self.answered >= ANSWERS_BEFORE_A_WRITE && !self.writes.is_empty());
        self.answered = if write { 0 } else { self.answered + 1 };
        if write { self.writes.pop_front() } else { self.answers.pop_front() }
    }

    fn waiting(&self) -> usize {
        self.answers.len() + self.writes.len()
    }
}

/// Answers of a tenant that go before a write of it that waits.
const ANSWERS_BEFORE_A_WRITE: usize = 4;
/// How long after somebody's last job a core is kept for the next one.
const COMPANY: Duration = Duration::from_secs(1);
/// When a refused caller may come back.
const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
