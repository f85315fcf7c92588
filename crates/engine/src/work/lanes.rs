//! Jobs of many tenants on a few threads, in turns.
//!
//! Promises: threads go round between the tenants that have jobs, whatever the number of jobs each has; one tenant's
//! jobs hold all threads but one at most, so that somebody else's next job begins at once; of one tenant, answers go
//! before writes. Bounded, for all and for each; who is refused is told when to come back.
//! Knows tenants as opaque ids and jobs as closures.

use kernel::{Code, Error, Incarnation};
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
    threads: usize,
    waiting_max: usize,
}

#[derive(Default)]
struct State {
    lanes: HashMap<Owner, Lane>,
    /// Who has jobs that wait; whoever stands first is served next.
    turns: VecDeque<Owner>,
    waiting: usize,
    closed: bool,
}

#[derive(Default)]
struct Lane {
    answers: VecDeque<Job>,
    writes: VecDeque<Job>,
    running: usize,
}

impl Lanes {
    /// Starts `threads` (at least two, so that one is left for others) that are called so.
    ///
    /// # Errors
    /// `internal` when the system gives no thread.
    pub(crate) fn new(threads: usize, waiting_max: usize, name: &str) -> Result<Self, Error> {
        let threads = threads.max(2);
        let shared = Arc::new(Shared { state: Mutex::default(), come: Condvar::new(), threads, waiting_max });
        let lanes = Self(shared);
        for i in 0..threads {
            let shared = lanes.0.clone();
            std::thread::Builder::new()
                .name(format!("{name}-{i}"))
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
        let mut state = self.0.lock();
        if state.waiting >= self.0.waiting_max {
            return Err(Error::overloaded("the work queue is full", RETRY));
        }
        let lane = state.lanes.entry(owner).or_default();
        if lane.waiting() >= self.0.waiting_max / 2 {
            let mut error = Error::new(Code::RateLimited, "too much work of this tenant waits already");
            error.retry_after = Some(RETRY);
            return Err(error);
        }
        state.take(owner, urgency, job);
        drop(state);
        self.0.come.notify_one();
        Ok(())
    }

    /// Takes a job that whoever hands it over has bounded already.
    pub(crate) fn push_bounded(&self, owner: Owner, urgency: Urgency, job: Job) {
        self.0.lock().take(owner, urgency, job);
        self.0.come.notify_one();
    }

    /// Jobs that wait for a thread.
    pub(crate) fn waiting(&self) -> usize {
        self.0.lock().waiting
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
            // All but one, where there is more than one.
            let Some((owner, job)) = state.next(self.threads - 1) else {
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

    /// The next job of the first owner who has fewer than `each_max` running. That owner goes to the end of the row.
    fn next(&mut self, each_max: usize) -> Option<(Owner, Job)> {
        let at = self.turns.iter().position(|owner| self.lanes.get(owner).is_some_and(|l| l.running < each_max))?;
        let owner = self.turns.remove(at)?;
        let lane = self.lanes.get_mut(&owner)?;
        let job = lane.answers.pop_front().or_else(|| lane.writes.pop_front())?;
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
    fn waiting(&self) -> usize {
        self.answers.len() + self.writes.len()
    }
}

/// When a refused caller may come back.
const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
