//! Jobs of many tenants on a few threads, round robin over tenants, which it knows as opaque ids only.
//!
//! Promises: tenants with jobs are served in turn, whatever the number of jobs each has. A tenant that was alone for a
//! second may use every core; as soon as another has a job, one core is left to the others. There is one thread more
//! than cores, so that a new job does not wait for a running one. Of one tenant, four answers run before a waiting
//! write. The queue is bounded, in all and for each tenant; a refusal says when to try again. A job that waits for a
//! network ([`kernel::blocking`]) lets another thread compute meanwhile, and then waits for its tenant's turn again; so
//! does one that computes for long ([`kernel::yield_to_others`]) while others wait.

use kernel::{Clock, Code, Error, Incarnation, PoolHooks, Turns, limits};
use parking_lot::{Condvar, Mutex};
use std::{
    cell::Cell,
    collections::{HashMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Which of a tenant's jobs run first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// A request that waits for an answer.
    Answer,
    /// A write.
    Write,
}

pub(crate) type CpuJob = Box<dyn FnOnce() + Send>;
/// An incarnation of a tenant; `None` is the server itself.
pub(crate) type WorkOwner = Option<Incarnation>;

/// The threads and their queues. When it is dropped the threads end, and jobs that have not started are dropped.
pub(crate) struct FairExecutor(Arc<ExecutorShared>);

struct ExecutorShared {
    state: Mutex<State>,
    wake: Condvar,
    clock: Arc<dyn Clock>,
    cores: usize,
    /// Threads that compute at the same time.
    slots: usize,
    waiting_max: usize,
    fair: bool,
}

/// Limits on jobs that run and wait.
pub(crate) struct ExecutorConfig {
    pub(crate) cores: usize,
    pub(crate) waiting_max: usize,
    pub(crate) clock: Arc<dyn Clock>,
    /// Whether tenants take turns. `false` runs all jobs in the order of their arrival, as the control of a benchmark.
    pub(crate) fair: bool,
}

#[derive(Default)]
struct State {
    queues: HashMap<WorkOwner, TenantQueue>,
    /// Tenants with waiting jobs.
    turns: Turns<WorkOwner>,
    waiting: usize,
    /// All threads.
    threads: usize,
    /// Threads that compute.
    computing: usize,
    /// Threads that wait inside a job, for a network or for their tenant's next turn.
    suspended: usize,
    latest: LastJob,
    /// The latest job of another tenant.
    previous: LastJob,
    closed: bool,
}

/// The last job of a tenant, and when it came.
#[derive(Clone, Copy, Default)]
struct LastJob {
    owner: WorkOwner,
    at: Option<Duration>,
}

#[derive(Default)]
struct TenantQueue {
    answers: VecDeque<CpuJob>,
    writes: VecDeque<CpuJob>,
    running: usize,
    /// Jobs that wait for a network.
    blocked: usize,
    /// Jobs that have waited and can continue. They run first.
    resumed: VecDeque<Arc<Ticket>>,
    /// Answers that ran since the last write.
    answers_since_write: usize,
}

/// Signals a waiting job that its turn has come.
#[derive(Default)]
struct Ticket {
    granted: AtomicBool,
    wake: Condvar,
}

impl FairExecutor {
    /// Starts the threads.
    ///
    /// # Errors
    /// `internal` when the system gives no thread.
    pub(crate) fn new(config: ExecutorConfig) -> Result<Self, Error> {
        let ExecutorConfig { cores, waiting_max, clock, fair } = config;
        let cores = cores.max(1);
        let (state, wake) = (Mutex::default(), Condvar::new());
        let slots = cores + usize::from(fair);
        let executor = Self(Arc::new(ExecutorShared { state, wake, clock, cores, slots, waiting_max, fair }));
        for _ in 0..slots {
            let mut state = executor.0.state.lock();
            executor.0.spawn(&mut state).map_err(|e| Error::internal("worker threads do not start").with_source(e))?;
        }
        Ok(executor)
    }

    /// Queues a job.
    ///
    /// # Errors
    /// `overloaded` when the queue is full; `rate_limited` when this owner's jobs fill half of it.
    pub(crate) fn push(&self, owner: WorkOwner, priority: Priority, job: CpuJob) -> Result<(), Error> {
        let owner = self.0.queue_of(owner);
        let mut state = self.0.state.lock();
        if state.waiting >= self.0.waiting_max {
            return Err(Error::overloaded("the work queue is full", RETRY));
        }
        let queue = state.queues.entry(owner).or_default();
        if self.0.fair && queue.waiting() >= self.0.waiting_max / 2 {
            let mut error = Error::new(Code::RateLimited, "too much work of this tenant waits already");
            error.retry_after = Some(RETRY);
            return Err(error);
        }
        state.note_active(owner, self.0.clock.monotonic());
        state.enqueue(owner, priority, job);
        drop(state);
        self.0.wake.notify_one();
        Ok(())
    }

    /// Queues a job without a limit: the caller has bounded how many there are.
    pub(crate) fn push_bounded(&self, owner: WorkOwner, priority: Priority, job: CpuJob) {
        let owner = self.0.queue_of(owner);
        let mut state = self.0.state.lock();
        state.note_active(owner, self.0.clock.monotonic());
        state.enqueue(owner, priority, job);
        drop(state);
        self.0.wake.notify_one();
    }

    /// Notes that a request of this tenant runs outside the pool.
    pub(crate) fn note_active(&self, owner: WorkOwner) {
        let now = self.0.clock.monotonic();
        self.0.state.lock().note_active(self.0.queue_of(owner), now);
    }

    /// Whether any tenant was active since this moment.
    pub(crate) fn was_active_since(&self, at: Duration) -> bool {
        self.0.state.lock().latest.at.is_some_and(|latest| latest >= at)
    }

    /// Jobs that wait for a thread.
    pub(crate) fn waiting(&self) -> usize {
        self.0.state.lock().waiting
    }
}

impl FairExecutor {
    /// Wakes every idle thread.
    pub(crate) fn wake_all(&self) {
        let _no_thread_goes_to_sleep = self.0.state.lock();
        self.0.wake.notify_all();
    }
}

impl Drop for FairExecutor {
    fn drop(&mut self) {
        let unrun = {
            let mut state = self.0.state.lock();
            state.closed = true;
            state.turns = Turns::default();
            std::mem::take(&mut state.queues)
        };
        self.0.wake.notify_all();
        // A job that waits for its turn continues without one, to its end.
        for ticket in unrun.values().flat_map(|queue| &queue.resumed) {
            ticket.wake.notify_all();
        }
        drop(unrun);
    }
}

impl ExecutorShared {
    /// Starts one more thread.
    fn spawn(self: &Arc<Self>, state: &mut State) -> std::io::Result<()> {
        let shared = self.clone();
        let name = format!("cpu-{}", state.threads);
        std::thread::Builder::new().name(name).spawn(move || shared.work())?;
        state.threads += 1;
        Ok(())
    }

    fn work(self: Arc<Self>) {
        let worker = Rc::new(Worker { shared: self.clone(), owner: Cell::new(None), keeps_slot: Cell::new(true) });
        kernel::set_pool_hooks(worker.clone());
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return;
            }
            let now = self.clock.monotonic();
            let next = state.next(self.slots, |state, owner| self.each_max(state, owner, now));
            let Some((owner, job)) = next else {
                // Other threads were started while this one waited inside a job.
                if state.threads - state.suspended > self.slots {
                    state.threads -= 1;
                    return;
                }
                // Under the lock, so that a caller which checks and then wakes all threads misses none that goes to
                // sleep.
                kernel::wipe_stack_if_requested();
                self.wake.wait(&mut state);
                continue;
            };
            drop(state);
            worker.owner.set(Some(owner));
            // A panic ends this job only: its caller learns of it because the channel is dropped.
            let _ = catch_unwind(AssertUnwindSafe(job));
            worker.owner.set(None);
            state = self.state.lock();
            state.finish(owner);
        }
    }

    /// How many jobs of one owner may run at once.
    fn each_max(&self, state: &State, owner: WorkOwner, now: Duration) -> usize {
        if self.fair && state.others_are_active(owner, now) { self.cores.saturating_sub(1).max(1) } else { self.cores }
    }

    fn queue_of(&self, owner: WorkOwner) -> WorkOwner {
        owner.filter(|_| self.fair)
    }
}

/// The thread that runs a job, for waits inside that job.
struct Worker {
    shared: Arc<ExecutorShared>,
    /// The tenant whose job it runs.
    owner: Cell<Option<WorkOwner>>,
    /// Whether the thread keeps its slot while it waits, because no other thread can compute instead.
    keeps_slot: Cell<bool>,
}

impl PoolHooks for Worker {
    fn release_slot(&self) {
        self.keeps_slot.set(true);
        let Some(owner) = self.owner.get() else { return };
        let mut state = self.shared.state.lock();
        if state.closed || state.suspended >= limits::BLOCKED_JOBS_MAX {
            return;
        }
        // Another thread computes instead.
        if state.threads - (state.suspended + 1) < self.shared.slots && self.shared.spawn(&mut state).is_err() {
            return;
        }
        let Some(queue) = state.queues.get_mut(&owner) else { return };
        queue.running -= 1;
        queue.blocked += 1;
        state.computing -= 1;
        state.suspended += 1;
        self.keeps_slot.set(false);
        drop(state);
        self.shared.wake.notify_one();
    }

    fn acquire_slot(&self) {
        let Some(owner) = self.owner.get().filter(|_| !self.keeps_slot.get()) else { return };
        let mut state = self.shared.state.lock();
        let Some(queue) = state.queues.get_mut(&owner) else { return };
        let ticket = Arc::new(Ticket::default());
        queue.blocked -= 1;
        queue.resumed.push_back(ticket.clone());
        state.turns.join(owner);
        self.shared.wake.notify_one();
        while !ticket.granted.load(Ordering::Relaxed) && !state.closed {
            ticket.wake.wait(&mut state);
        }
    }

    fn yield_to_others(&self) {
        let Some(owner) = self.owner.get() else { return };
        let (shared, now) = (&self.shared, self.shared.clock.monotonic());
        let others =
            shared.state.lock().others_can_run(owner, shared.slots, |state, owner| shared.each_max(state, owner, now));
        if others {
            self.release_slot();
            self.acquire_slot();
        }
    }
}

impl State {
    /// Whether a job of another owner could start or continue if a thread were free.
    fn others_can_run(&self, mine: WorkOwner, slots: usize, each_max: impl Fn(&State, WorkOwner) -> usize) -> bool {
        let may = |owner: &WorkOwner| {
            let queue = self.queues.get(owner).filter(|_| *owner != mine);
            queue.is_some_and(|queue| queue.running < each_max(self, *owner) && queue.may_begin())
        };
        self.computing >= slots && self.turns.first(may).is_some()
    }

    fn enqueue(&mut self, owner: WorkOwner, priority: Priority, job: CpuJob) {
        if self.closed {
            return;
        }
        let queue = self.queues.entry(owner).or_default();
        match priority {
            Priority::Answer => queue.answers.push_back(job),
            Priority::Write => queue.writes.push_back(job),
        }
        self.turns.join(owner);
        self.waiting += 1;
    }

    fn note_active(&mut self, owner: WorkOwner, now: Duration) {
        if self.latest.owner != owner {
            self.previous = self.latest;
        }
        self.latest = LastJob { owner, at: Some(now) };
    }

    /// Whether another tenant was active within the last second.
    fn others_are_active(&self, owner: WorkOwner, now: Duration) -> bool {
        let other = if self.latest.owner == owner { self.previous } else { self.latest };
        other.at.is_some_and(|at| now.saturating_sub(at) < OTHERS_ACTIVE_WITHIN)
    }

    /// Returns the next job of the first tenant that has fewer running than allowed, and moves that tenant to the end
    /// of the queue. Jobs that have waited continue first, on their own threads.
    fn next(&mut self, slots: usize, each_max: impl Fn(&State, WorkOwner) -> usize) -> Option<(WorkOwner, CpuJob)> {
        while self.computing < slots {
            let may = |owner: &WorkOwner| {
                self.queues.get(owner).is_some_and(|queue| queue.running < each_max(self, *owner) && queue.may_begin())
            };
            let owner = self.turns.first(may)?;
            let queue = self.queues.get_mut(&owner)?;
            // Resumed jobs count as started already, so only a new job lowers `waiting`.
            let resumed = queue.resumed.pop_front();
            let job = if resumed.is_none() { queue.pop() } else { None };
            queue.running += 1;
            self.computing += 1;
            if queue.waits() {
                self.turns.end_turn(owner);
            } else {
                self.turns.leave(owner);
            }
            let Some(ticket) = resumed else {
                self.waiting -= 1;
                return job.map(|job| (owner, job));
            };
            self.suspended -= 1;
            ticket.granted.store(true, Ordering::Relaxed);
            ticket.wake.notify_one();
        }
        None
    }

    /// Notes that a job has ended. The calling thread looks for another job at once, so no other thread has to be
    /// woken.
    fn finish(&mut self, owner: WorkOwner) {
        self.computing = self.computing.saturating_sub(1);
        let Some(queue) = self.queues.get_mut(&owner) else { return };
        queue.running -= 1;
        if queue.running == 0 && queue.blocked == 0 && !queue.waits() {
            self.queues.remove(&owner);
        }
    }
}

impl TenantQueue {
    /// Answers run first, but a waiting write runs after some of them; otherwise a tenant that searches all the time
    /// would never store anything.
    fn pop(&mut self) -> Option<CpuJob> {
        let write =
            self.answers.is_empty() || (self.answers_since_write >= ANSWERS_BEFORE_A_WRITE && !self.writes.is_empty());
        self.answers_since_write = if write { 0 } else { self.answers_since_write + 1 };
        if write { self.writes.pop_front() } else { self.answers.pop_front() }
    }

    fn waiting(&self) -> usize {
        self.answers.len() + self.writes.len()
    }

    /// Whether any of its jobs waits for a thread.
    fn waits(&self) -> bool {
        self.waiting() > 0 || !self.resumed.is_empty()
    }

    /// Whether one more of its jobs may start, though it might wait for a network.
    fn may_begin(&self) -> bool {
        !self.resumed.is_empty() || self.blocked < limits::BLOCKED_JOBS_PER_TENANT_MAX
    }
}

/// Answers of a tenant that run before its waiting write.
const ANSWERS_BEFORE_A_WRITE: usize = 4;
/// How long after a tenant's last job a core is kept for its next one.
const OTHERS_ACTIVE_WITHIN: Duration = Duration::from_secs(1);
/// How long a refused caller should wait before it tries again.
const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
