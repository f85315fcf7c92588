//! Work that needs a core. Three bounded pools: one for requests, and two small ones for the store's
//! flushes and for its large merges, so that neither takes the last core from a search, nor a merge
//! the one of flushes.

use kernel::Error;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::oneshot;

/// The pools.
#[derive(Clone)]
pub(crate) struct Work {
    requests: Arc<rayon::ThreadPool>,
    background: Arc<rayon::ThreadPool>,
    merges: Arc<rayon::ThreadPool>,
    waiting: Arc<AtomicUsize>,
    queue_max: usize,
}

impl Work {
    /// Starts the threads.
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
            requests: pool(threads, "cpu")?,
            background: pool(threads.div_ceil(2), "background")?,
            merges: pool(threads.div_ceil(2), "merge")?,
            waiting: Arc::default(),
            queue_max,
        })
    }

    /// Runs `f` on a request thread. Skipped when the asker has gone before its turn.
    ///
    /// # Errors
    /// `overloaded` when the queue is full; `internal` when `f` panicked.
    pub(crate) async fn cpu<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let place = Place::take(&self.waiting, self.queue_max)?;
        let (send, receive) = oneshot::channel();
        self.requests.spawn(move || {
            drop(place);
            if send.is_closed() {
                return;
            }
            // A panic ends this request only: the sender drops and the asker sees `internal`.
            if let Ok(value) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)) {
                let _ = send.send(value);
            }
        });
        receive.await.map_err(|_| Error::internal("the work for this request failed"))
    }

    /// Runs `f` where upkeep runs; nobody waits for it.
    pub(crate) fn aside(&self, f: impl FnOnce() + Send + 'static) {
        Self::on(&self.background, Box::new(f));
    }

    /// Jobs that wait for a thread.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

impl store::Cpu for Work {
    /// What a request waits for: planning and indexing a write, opening a namespace.
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        Self::on(&self.requests, work);
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
    /// The store bounds what it hands over: one batch a namespace, one upkeep a namespace.
    fn on(pool: &rayon::ThreadPool, work: Box<dyn FnOnce() + Send>) {
        pool.spawn(move || {
            // A panic drops the work's reply; the namespace is closed and recovered by whoever enters next.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        });
    }
}

/// A place in the queue, given back when the job starts or never runs.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(waiting: &Arc<AtomicUsize>, max: usize) -> Result<Self, Error> {
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        let place = Self(waiting.clone());
        if before >= max {
            return Err(Error::overloaded("the work queue is full", Duration::from_secs(1)));
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
