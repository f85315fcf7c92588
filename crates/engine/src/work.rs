//! Work that needs a core. Three bounded pools: one for requests, in which tenants take turns, and two small ones for
//! the store's flushes and for its large merges, so that neither takes the last core from a search, nor a merge the one
//! of flushes.

use access::{Action, Grant};
use kernel::{Error, Incarnation, Presence};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};
use store::Errand;
use tokio::sync::oneshot;

mod lanes;

use lanes::Lanes;
use lanes::Urgency;

/// For whom a job is.
pub(crate) struct Asker {
    owner: Incarnation,
    urgency: Urgency,
    presence: Presence,
}

impl Asker {
    /// Somebody who waits for an answer.
    pub(crate) fn answer<A: Action>(grant: &Grant<A>) -> Self {
        Self { owner: grant.incarnation(), urgency: Urgency::Answer, presence: grant.presence().clone() }
    }

    /// Somebody who stores. It is stored, waited for or not.
    pub(crate) fn write<A: Action>(grant: &Grant<A>) -> Self {
        Self { owner: grant.incarnation(), urgency: Urgency::Write, presence: grant.presence().clone() }
    }

    fn has_gone(&self) -> bool {
        self.urgency == Urgency::Answer && self.presence.is_gone()
    }
}

/// The pools.
#[derive(Clone)]
pub(crate) struct Work {
    requests: Arc<Lanes>,
    background: Arc<rayon::ThreadPool>,
    merges: Arc<rayon::ThreadPool>,
}

impl Work {
    /// Starts the threads: for requests one more than `threads`, because no tenant gets all of them.
    ///
    /// # Errors
    /// `internal` when the system gives no thread.
    pub(crate) fn new(threads: usize, queue_max: usize) -> Result<Self, Error> {
        let pool = |n: usize, name: &'static str| {
            rayon::ThreadPoolBuilder::new()
                .num_threads(n.max(1))
                .thread_name(move |i| format!("{name}-{i}"))
                .build()
                .map(Arc::new)
                .map_err(|e| Error::internal("worker threads do not start").with_source(e))
        };
        Ok(Self {
            requests: Arc::new(Lanes::new(threads + 1, queue_max, "cpu")?),
            background: pool(threads.div_ceil(2), "background")?,
            merges: pool(threads.div_ceil(2), "merge")?,
        })
    }

    /// Runs `f` on a request thread, in the turn of its tenant. An answer that nobody waits for any more is not begun.
    ///
    /// # Errors
    /// `overloaded` and `rate_limited` when the queue is full; `overloaded` when the caller has gone; `internal` when `f` panicked.
    pub(crate) async fn cpu<T: Send + 'static>(
        &self,
        asker: Asker,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (send, receive) = oneshot::channel();
        let (owner, urgency, presence) = (asker.owner, asker.urgency, asker.presence.clone());
        let job = move || {
            if asker.has_gone() {
                return;
            }
            // A panic ends this request only: the sender drops and the asker sees `internal`.
            if let Ok(value) = catch_unwind(AssertUnwindSafe(f)) {
                let _ = send.send(value);
            }
        };
        self.requests.push(Some(owner), urgency, Box::new(job))?;
        receive.await.map_err(|_| match presence.check() {
            Err(gone) => gone,
            Ok(()) => Error::internal("the work for this request failed"),
        })
    }

    /// Runs `f` at once, on the thread that asks: for work that takes less time than a hop to the pool.
    ///
    /// # Errors
    /// `internal` when `f` panicked.
    pub(crate) fn here<T>(f: impl FnOnce() -> T) -> Result<T, Error> {
        catch_unwind(AssertUnwindSafe(f)).map_err(|_| Error::internal("the work for this request failed"))
    }

    /// Runs `f` where upkeep runs; nobody waits for it.
    pub(crate) fn aside(&self, f: impl FnOnce() + Send + 'static) {
        Self::on(&self.background, Box::new(f));
    }

    /// Jobs that wait for a thread.
    pub(crate) fn waiting(&self) -> usize {
        self.requests.waiting()
    }
}

/// The store bounds what it hands over: one batch a namespace, one upkeep a namespace.
impl store::Cpu for Work {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        self.requests.push_bounded(None, Urgency::Write, work);
    }

    /// What a request waits for: planning and indexing a write, opening a namespace.
    fn run_for(&self, errand: Errand, work: Box<dyn FnOnce() + Send>) {
        let (owner, urgency) = match errand {
            Errand::Open(owner) => (owner, Urgency::Answer),
            Errand::Write(owner) => (owner, Urgency::Write),
        };
        self.requests.push_bounded(Some(owner), urgency, work);
    }

    /// Flush and short compaction.
    fn run_upkeep(&self, work: Box<dyn FnOnce() + Send>) {
        Self::on(&self.background, work);
    }

    /// Large merges: a flush behind one would wait for minutes.
    fn run_merge(&self, work: Box<dyn FnOnce() + Send>) {
        Self::on(&self.merges, work);
    }
}

impl Work {
    fn on(pool: &rayon::ThreadPool, work: Box<dyn FnOnce() + Send>) {
        pool.spawn(move || {
            // A panic drops the work's reply; the namespace is closed and recovered by whoever enters next.
            let _ = catch_unwind(AssertUnwindSafe(work));
        });
    }
}
