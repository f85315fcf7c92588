//! Work that needs a core, on three bounded pools: one for requests, in which tenants take turns, and two small ones
//! for the store's flushes and for its large merges. Neither of these takes the last core from a search, and a merge
//! takes none from flushes.

use access::{Action, Grant};
use kernel::{CancelFlag, Clock, Error, Incarnation, Interrupt, cost::Inline, limits};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};
use store::TaskClass;
use tokio::sync::oneshot;

mod executor;

pub(crate) use executor::ExecutorConfig;
use executor::{FairExecutor, Priority};

/// The tenant and priority of a job, and when it ends early.
pub(crate) struct TaskContext {
    owner: Incarnation,
    priority: Priority,
    cancel: CancelFlag,
    /// Most time that the job may take, its time in the queue included.
    time_limit: Duration,
    cancel_policy: CancelPolicy,
}

/// Whether a job ends before it is done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CancelPolicy {
    /// The job ends when its client disconnects or its deadline passes.
    Early,
    /// The job never ends early, because it is part of a change that must be completed.
    Whole,
}

impl TaskContext {
    /// A request that waits for an answer.
    pub(crate) fn answer<A: Action>(grant: &Grant<A>) -> Self {
        let cancel = grant.cancel_flag().clone();
        Self {
            owner: grant.incarnation(),
            priority: Priority::Answer,
            cancel,
            time_limit: limits::ANSWER_WORK_MAX,
            cancel_policy: CancelPolicy::Early,
        }
    }

    /// The same with another deadline.
    pub(crate) fn within(self, time_limit: Duration) -> Self {
        Self { time_limit, ..self }
    }

    /// A write. It is finished even if its client has disconnected.
    pub(crate) fn write<A: Action>(grant: &Grant<A>) -> Self {
        let cancel = grant.cancel_flag().clone();
        Self {
            owner: grant.incarnation(),
            priority: Priority::Write,
            cancel,
            time_limit: Duration::MAX,
            cancel_policy: CancelPolicy::Whole,
        }
    }

    /// The part of a write before the store has accepted it. It ends when its client disconnects, since the client will
    /// send it again.
    pub(crate) fn prepare<A: Action>(grant: &Grant<A>) -> Self {
        Self { time_limit: limits::PREPARE_WORK_MAX, cancel_policy: CancelPolicy::Early, ..Self::write(grant) }
    }

    /// A request that waits for an answer from this owner's data.
    pub(crate) fn on_behalf(owner: Incarnation, cancel: &CancelFlag) -> Self {
        let cancel = cancel.clone();
        Self {
            owner,
            priority: Priority::Answer,
            cancel,
            time_limit: limits::ANSWER_WORK_MAX,
            cancel_policy: CancelPolicy::Early,
        }
    }

    /// The signal that ends its work early.
    fn interrupt(&self, clock: &Arc<dyn Clock>) -> Interrupt {
        let cancel = match self.cancel_policy {
            CancelPolicy::Early => self.cancel.clone(),
            CancelPolicy::Whole => CancelFlag::default(),
        };
        Interrupt::new(cancel, clock.clone(), self.time_limit)
    }
}

/// The pools.
#[derive(Clone)]
pub(crate) struct Work {
    requests: Arc<FairExecutor>,
    clock: Arc<dyn Clock>,
    background: Arc<rayon::ThreadPool>,
    merges: Arc<rayon::ThreadPool>,
}

impl Work {
    /// Starts the threads. Those for background work have a lower priority.
    ///
    /// # Errors
    /// `internal` when the system gives no thread.
    pub(crate) fn new(config: ExecutorConfig) -> Result<Self, Error> {
        let (threads, clock) = (config.cores, config.clock.clone());
        let pool = |n: usize, name: &'static str| {
            rayon::ThreadPoolBuilder::new()
                .num_threads(n.max(1))
                .thread_name(move |i| format!("{name}-{i}"))
                .start_handler(|_| lower_priority())
                .build()
                .map(Arc::new)
                .map_err(|e| Error::internal("worker threads do not start").with_source(e))
        };
        Ok(Self {
            requests: Arc::new(FairExecutor::new(config)?),
            clock,
            background: pool(threads.div_ceil(2), "background")?,
            merges: pool(threads.div_ceil(2), "merge")?,
        })
    }

    /// Runs `f` on a request thread, in the turn of its tenant. A job whose client has disconnected, or whose deadline
    /// has passed, is not started; if it runs already, it ends at its next [`kernel::checkpoint`].
    ///
    /// # Errors
    /// `overloaded` and `rate_limited` when the queue is full; `overloaded` when the client has disconnected;
    /// `timed_out` when its deadline passed; `internal` when `f` panicked.
    pub(crate) async fn cpu<T: Send + 'static>(
        &self,
        context: TaskContext,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (send, receive) = oneshot::channel();
        let interrupt = context.interrupt(&self.clock);
        let job_interrupt = interrupt.clone();
        let job = move || {
            if job_interrupt.check().is_err() {
                return;
            }
            // A panic ends this request only: the sender drops and the caller gets `internal`.
            if let Ok(value) = catch_unwind(AssertUnwindSafe(|| job_interrupt.scope(f))) {
                let _ = send.send(value);
            }
        };
        self.requests.push(Some(context.owner), context.priority, Box::new(job))?;
        receive.await.map_err(|_| match interrupt.check() {
            Err(why) => why.into(),
            Ok(()) => Error::internal("the work for this request failed"),
        })
    }

    /// Runs `f` to its end on a request thread, in this tenant's turn and without a limit on the queue. It is for the
    /// last step of requests whose number is already bounded.
    ///
    /// # Errors
    /// `internal` when `f` panicked, or the pool was stopped.
    pub(crate) async fn run_final_step<T: Send + 'static>(
        &self,
        owner: Incarnation,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (send, receive) = oneshot::channel();
        let job = move || {
            if let Ok(value) = catch_unwind(AssertUnwindSafe(f)) {
                let _ = send.send(value);
            }
        };
        self.requests.push_bounded(Some(owner), Priority::Answer, Box::new(job));
        receive.await.map_err(|_| Error::internal("the work for this request failed"))
    }

    /// Runs `f` on the calling thread, for work whose cost bound is small.
    ///
    /// # Errors
    /// `internal` when `f` panicked.
    pub(crate) fn run_inline<T>(
        &self,
        context: &TaskContext,
        _short: &Inline,
        f: impl FnOnce() -> T,
    ) -> Result<T, Error> {
        self.requests.note_active(Some(context.owner));
        catch_unwind(AssertUnwindSafe(f)).map_err(|_| Error::internal("the work for this request failed"))
    }

    /// Runs `f` on the threads of background maintenance.
    pub(crate) fn spawn_background(&self, f: impl FnOnce() + Send + 'static) {
        Self::on(&self.background, Box::new(f));
    }

    /// Has every thread wipe its stack of what earlier work has left; busy threads do so when they become idle.
    pub(crate) fn wipe_stacks(&self) {
        kernel::request_stack_wipes();
        self.requests.wake_all();
        for pool in [&self.background, &self.merges] {
            pool.spawn_broadcast(|_| kernel::wipe_stack_if_requested());
        }
    }

    /// Whether any request was served since this moment of the monotonic clock.
    pub(crate) fn was_active_since(&self, at: std::time::Duration) -> bool {
        self.requests.was_active_since(at)
    }

    /// Jobs that wait for a thread.
    pub(crate) fn waiting(&self) -> usize {
        self.requests.waiting()
    }
}

/// Lowers the priority of the calling thread. The thread works at normal priority too, so a refusal is no error.
fn lower_priority() {
    if rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE).is_err() {
        tracing::debug!("a background thread runs at normal priority");
    }
}

/// Nice value of background threads: a ninth of the share of a request's thread when both want a core.
const NICE: i32 = 10;

/// The store bounds the number of its jobs: one batch and one maintenance job for each namespace.
impl store::CpuPool for Work {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        self.requests.push_bounded(None, Priority::Write, work);
    }

    /// Runs work that a request waits for: planning and indexing a write, or opening a namespace.
    fn run_for(&self, class: TaskClass, work: Box<dyn FnOnce() + Send>) {
        let (owner, priority) = match class {
            TaskClass::OpenInBackground => return self.run_maintenance(work),
            TaskClass::Open(owner) => (owner, Priority::Answer),
            TaskClass::Write(owner) => (owner, Priority::Write),
        };
        self.requests.push_bounded(Some(owner), priority, work);
    }

    /// Runs a flush or a short compaction.
    fn run_maintenance(&self, work: Box<dyn FnOnce() + Send>) {
        Self::on(&self.background, work);
    }

    /// Runs a large merge. A flush queued after one would wait for minutes.
    fn run_merge(&self, work: Box<dyn FnOnce() + Send>) {
        Self::on(&self.merges, work);
    }
}

impl Work {
    fn on(pool: &rayon::ThreadPool, work: Box<dyn FnOnce() + Send>) {
        pool.spawn(move || {
            // A panic drops the work's reply; the namespace is closed and recovered by the next request.
            let _ = catch_unwind(AssertUnwindSafe(work));
        });
    }
}

#[cfg(test)]
mod tests;
