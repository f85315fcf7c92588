//! The model threads. Each takes a unit, embeds or scores it with a session of its own, answers, and returns to the
//! queue.
//!
//! A panic in a model or in the callback for the vectors ends one job, not a thread.

use crate::{
    Error, ModelStats, QueueStats, TaskKind,
    embedder::{Embedded, Embedder, Model},
    pending::{Pending, Unit},
    schedule::{FairScheduler, ModelLimits, NextWork},
};
use kernel::Code;
use parking_lot::{Condvar, Mutex};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// State that the threads and [`crate::Models`] share.
pub(crate) struct WorkShared {
    pub(crate) models: Vec<Model>,
    queue: Mutex<JobQueue>,
    work_available: Condvar,
    running: AtomicUsize,
    counters: Vec<ModelCounters>,
}

struct JobQueue {
    schedule: FairScheduler,
    closed: bool,
}

#[derive(Default)]
struct ModelCounters {
    texts: AtomicU64,
    tokens: AtomicU64,
    busy_ns: AtomicU64,
}

impl WorkShared {
    pub(crate) fn new(models: Vec<Model>, queue_max: usize) -> Self {
        let counters = models.iter().map(|_| ModelCounters::default()).collect();
        Self {
            models,
            queue: Mutex::new(JobQueue { schedule: FairScheduler::new(queue_max), closed: false }),
            work_available: Condvar::new(),
            running: AtomicUsize::new(0),
            counters,
        }
    }

    /// Queues a job.
    pub(crate) fn push(&self, job: Pending) -> kernel::Result<()> {
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err(stopping());
        }
        let kind = job.kind;
        if !queue.schedule.push(Arc::new(job)) {
            let message = match kind {
                TaskKind::Query => "too many queries are waiting to be embedded; try again shortly",
                TaskKind::Passage => {
                    "too many passages are waiting to be embedded; send fewer at once or try again shortly"
                }
            };
            return Err(kernel::Error::overloaded(message, RETRY_AFTER));
        }
        drop(queue);
        self.work_available.notify_all();
        Ok(())
    }

    /// Refuses new jobs and fails the queued ones. Running calls finish.
    pub(crate) fn close(&self) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        let waiting = queue.schedule.drain();
        drop(queue);
        self.work_available.notify_all();
        for job in waiting {
            job.fail(stopping());
        }
    }

    pub(crate) fn stats(&self) -> QueueStats {
        let models = self.models.iter().zip(&self.counters).map(|(model, counters)| ModelStats {
            name: model.info.name.clone(),
            texts_total: counters.texts.load(Ordering::Relaxed),
            tokens_total: counters.tokens.load(Ordering::Relaxed),
            busy_ns: counters.busy_ns.load(Ordering::Relaxed),
        });
        QueueStats {
            waiting: self.queue.lock().schedule.waiting(),
            running: self.running.load(Ordering::Relaxed),
            models: models.collect(),
        }
    }

    /// Wakes every idle thread.
    pub(crate) fn wake(&self) {
        // With the lock held, no thread is between its look into the queue and its wait, where it would miss this.
        let _queue = self.queue.lock();
        self.work_available.notify_all();
    }

    /// Waits for work. `None` once the queue is closed.
    fn next(&self) -> Option<Unit> {
        let mut queue = self.queue.lock();
        loop {
            if queue.closed {
                return None;
            }
            let NextWork { unit, skipped } = queue.schedule.take(|model| self.limits(model));
            // Callbacks of skipped jobs run without the lock.
            if !skipped.is_empty() {
                drop(queue);
                skipped.iter().for_each(|job| job.skip());
                if unit.is_some() {
                    return unit;
                }
                queue = self.queue.lock();
                continue;
            }
            if unit.is_some() {
                return unit;
            }
            kernel::wipe_stack_if_requested();
            self.work_available.wait(&mut queue);
        }
    }

    fn limits(&self, model: usize) -> ModelLimits {
        let model = &self.models[model];
        ModelLimits { batch_max: model.batch_max, tokens_max: model.info.max_tokens }
    }

    fn count(&self, unit: &Unit, embedded: &Embedded) {
        let counters = &self.counters[unit.pending.model];
        counters.texts.fetch_add(unit.range.len() as u64, Ordering::Relaxed);
        counters.tokens.fetch_add(embedded.tokens as u64, Ordering::Relaxed);
        counters.busy_ns.fetch_add(u64::try_from(embedded.busy.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.queue.lock().schedule.charge(unit, embedded.tokens);
    }
}

/// Starts the model threads.
pub(crate) fn start(shared: &Arc<WorkShared>, threads: usize) -> Result<Vec<JoinHandle<()>>, Error> {
    let mut handles = Vec::with_capacity(threads);
    for i in 0..threads {
        let thread_shared = Arc::clone(shared);
        match std::thread::Builder::new().name(format!("model-{i}")).spawn(move || run(&thread_shared)) {
            Ok(handle) => handles.push(handle),
            Err(source) => {
                shared.close();
                return Err(Error::Thread(source));
            }
        }
    }
    Ok(handles)
}

fn run(shared: &WorkShared) {
    let mut embedders: Vec<Option<Box<dyn Embedder>>> = shared.models.iter().map(|_| None).collect();
    while let Some(unit) = shared.next() {
        let texts = unit.range.len();
        shared.running.fetch_add(texts, Ordering::Relaxed);
        serve(shared, &unit, &mut embedders[unit.pending.model]);
        shared.running.fetch_sub(texts, Ordering::Relaxed);
    }
}

fn serve(shared: &WorkShared, unit: &Unit, embedder: &mut Option<Box<dyn Embedder>>) {
    if unit.pending.is_finished() {
        return unit.pending.skip();
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| embed(shared, unit, embedder)));
    match outcome {
        Ok(Ok(embedded)) => {
            shared.count(unit, &embedded);
            unit.pending.deliver(&unit.range, &embedded.values);
        }
        Ok(Err(error)) => {
            tracing::error!(model = %shared.models[unit.pending.model].info.name, %error, "a model call failed");
            unit.pending.fail(error.into());
        }
        Err(_panic) => {
            // The embedder's state is unknown now, so the next unit opens a new one. The panic payload might quote a
            // text.
            *embedder = None;
            tracing::error!(model = %shared.models[unit.pending.model].info.name, "a model call panicked");
            unit.pending.fail(kernel::Error::internal("the model failed on this input"));
        }
    }
}

fn embed(shared: &WorkShared, unit: &Unit, slot: &mut Option<Box<dyn Embedder>>) -> Result<Embedded, Error> {
    if unit.range.is_empty() {
        return Ok(Embedded::default());
    }
    let embedder = match slot {
        Some(embedder) => embedder,
        None => slot.insert((shared.models[unit.pending.model].open)()?),
    };
    let texts = unit.pending.texts(&unit.range);
    match &unit.pending.question {
        None => embedder.embed(unit.pending.kind, &texts),
        Some(question) => embedder.score(question, &texts),
    }
}

fn stopping() -> kernel::Error {
    kernel::Error::new(Code::ModelUnavailable, "the server is stopping")
}

/// A full queue of short texts empties within seconds.
const RETRY_AFTER: Duration = Duration::from_secs(1);
