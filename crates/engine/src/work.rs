//! Work that needs a core. Three bounded pools: one for requests, in which tenants take turns, and two small ones for
//! the store's flushes and for its large merges, so that neither takes the last core from a search, nor a merge the one
//! of flushes.

use access::{Action, Grant};
use kernel::{Clock, Error, Incarnation, Interrupt, Presence, cost::Inline, limits};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};
use store::Errand;
use tokio::sync::oneshot;

mod lanes;

pub(crate) use lanes::LanesConfig;
use lanes::{Lanes, Urgency};

/// The request or tenant that a job belongs to.
pub(crate) struct Asker {
    owner: Incarnation,
    urgency: Urgency,
    presence: Presence,
    /// How long it may take at most, its time in the queue included.
    wait: Duration,
    end: End,
}

/// When work ends before it is done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// When its caller goes or its deadline passes.
    Early,
    /// Never: it is part of something that is done whole.
    Whole,
}

impl Asker {
    /// A request that waits for an answer.
    pub(crate) fn answer<A: Action>(grant: &Grant<A>) -> Self {
        let presence = grant.presence().clone();
        Self {
            owner: grant.incarnation(),
            urgency: Urgency::Answer,
            presence,
            wait: limits::ANSWER_WORK_MAX,
            end: End::Early,
        }
    }

    /// The same with another deadline.
    pub(crate) fn within(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }

    /// A write. It is finished even if its client has disconnected.
    pub(crate) fn write<A: Action>(grant: &Grant<A>) -> Self {
        let presence = grant.presence().clone();
        Self { owner: grant.incarnation(), urgency: Urgency::Write, presence, wait: Duration::MAX, end: End::Whole }
    }

    /// The part of a write before the store has it. It ends with its client, which will send it again.
    pub(crate) fn prepare<A: Action>(grant: &Grant<A>) -> Self {
        Self { wait: limits::PREPARE_WORK_MAX, end: End::Early, ..Self::write(grant) }
    }

    /// A request that waits for an answer from data of this owner.
    pub(crate) fn on_behalf(owner: Incarnation, presence: &Presence) -> Self {
        let presence = presence.clone();
        Self { owner, urgency: Urgency::Answer, presence, wait: limits::ANSWER_WORK_MAX, end: End::Early }
    }

    /// What ends the work for it early.
    fn interrupt(&self, clock: &Arc<dyn Clock>) -> Interrupt {
        let presence = match self.end {
            End::Early => self.presence.clone(),
            End::Whole => Presence::default(),
        };
        Interrupt::new(presence, clock.clone(), self.wait)
    }
}

/// The pools.
#[derive(Clone)]
pub(crate) struct Work {
    requests: Arc<Lanes>,
    clock: Arc<dyn Clock>,
    background: Arc<rayon::ThreadPool>,
    merges: Arc<rayon::ThreadPool>,
}

impl Work {
    /// Starts the threads. Those for background work have a lower priority.
    ///
    /// # Errors
    /// `internal` when the system gives no thread.
    pub(crate) fn new(lanes: LanesConfig) -> Result<Self, Error> {
        let (threads, clock) = (lanes.cores, lanes.clock.clone());
        let pool = |n: usize, name: &'static str| {
            rayon::ThreadPoolBuilder::new()
                .num_threads(n.max(1))
                .thread_name(move |i| format!("{name}-{i}"))
                .start_handler(|_| give_way())
                .build()
                .map(Arc::new)
                .map_err(|e| Error::internal("worker threads do not start").with_source(e))
        };
        Ok(Self {
            requests: Arc::new(Lanes::new(lanes)?),
            clock,
            background: pool(threads.div_ceil(2), "background")?,
            merges: pool(threads.div_ceil(2), "merge")?,
        })
    }

    /// Runs `f` on a request thread, in the turn of its tenant. A job whose client has disconnected is not begun, and
    /// ends at its next [`kernel::checkpoint`]; so does one whose deadline has passed.
    ///
    /// # Errors
    /// `overloaded` and `rate_limited` when the queue is full; `overloaded` when the caller has gone; `timed_out` when it
    /// waited past its deadline; `internal` when `f` panicked.
    pub(crate) async fn cpu<T: Send + 'static>(
        &self,
        asker: Asker,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (send, receive) = oneshot::channel();
        let interrupt = asker.interrupt(&self.clock);
        let theirs = interrupt.clone();
        let job = move || {
            if theirs.check().is_err() {
                return;
            }
            // A panic ends this request only: the sender drops and the caller gets `internal`.
            if let Ok(value) = catch_unwind(AssertUnwindSafe(|| theirs.scope(f))) {
                let _ = send.send(value);
            }
        };
        self.requests.push(Some(asker.owner), asker.urgency, Box::new(job))?;
        receive.await.map_err(|_| match interrupt.check() {
            Err(why) => why.into(),
            Ok(()) => Error::internal("the work for this request failed"),
        })
    }

    /// Runs `f` on a request thread, in the turn of this tenant, to its end and without a queue's limit: for the end of
    /// work whose number is bounded already.
    ///
    /// # Errors
    /// `internal` when `f` panicked, or the pool was stopped.
    pub(crate) async fn last<T: Send + 'static>(
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
        self.requests.push_bounded(Some(owner), Urgency::Answer, Box::new(job));
        receive.await.map_err(|_| Error::internal("the work for this request failed"))
    }

    /// Runs `f` on the calling thread: for work that is proven to be short.
    ///
    /// # Errors
    /// `internal` when `f` panicked.
    pub(crate) fn here<T>(&self, asker: &Asker, _short: &Inline, f: impl FnOnce() -> T) -> Result<T, Error> {
        self.requests.saw(Some(asker.owner));
        catch_unwind(AssertUnwindSafe(f)).map_err(|_| Error::internal("the work for this request failed"))
    }

    /// Runs `f` on the threads of background maintenance.
    pub(crate) fn aside(&self, f: impl FnOnce() + Send + 'static) {
        Self::on(&self.background, Box::new(f));
    }

    /// Has every thread wipe its stack of what earlier work has left; busy threads do so when they become idle.
    pub(crate) fn wipe_stacks(&self) {
        kernel::ask_to_wipe_stacks();
        self.requests.rouse();
        for pool in [&self.background, &self.merges] {
            pool.spawn_broadcast(|_| kernel::wipe_stack_if_asked());
        }
    }

    /// Whether any request was at work since this moment of the monotonic clock.
    pub(crate) fn was_asked_since(&self, at: std::time::Duration) -> bool {
        self.requests.saw_since(at)
    }

    /// Jobs that wait for a thread.
    pub(crate) fn waiting(&self) -> usize {
        self.requests.waiting()
    }
}

/// Lowers the priority of the calling thread. It works without that too, so a refusal is no error.
fn give_way() {
    if rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE).is_err() {
        tracing::debug!("a background thread runs at normal priority");
    }
}

/// Nice value of background threads: a ninth of the share of a request's thread when both want a core.
const NICE: i32 = 10;

/// The store bounds what it hands over: one batch a namespace, one upkeep a namespace.
impl store::Cpu for Work {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        self.requests.push_bounded(None, Urgency::Write, work);
    }

    /// What a request waits for: planning and indexing a write, opening a namespace.
    fn run_for(&self, errand: Errand, work: Box<dyn FnOnce() + Send>) {
        let (owner, urgency) = match errand {
            Errand::OpenAside => return self.run_upkeep(work),
            Errand::Open(owner) => (owner, Urgency::Answer),
            Errand::Write(owner) => (owner, Urgency::Write),
        };
        self.requests.push_bounded(Some(owner), urgency, work);
    }

    /// Flush and short compaction.
    fn run_upkeep(&self, work: Box<dyn FnOnce() + Send>) {
        Self::on(&self.background, work);
    }

    /// Large merges: a flush after one would wait for minutes.
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
