//! The model threads: each takes a unit, embeds or scores it with a session of its own, answers, and looks again.
//!
//! A panic in a model or in whoever takes the vectors ends one job, not a thread.

use crate::{
    Error, Kind, ModelStats, Stats,
    embedder::{Embedded, Embedder, Model},
    pending::{Pending, Unit},
    schedule::{Schedule, Shape, Taken},
};
use kernel::Code;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// What the threads and the front share.
pub(crate) struct Shared {
    pub(crate) models: Vec<Model>,
    queue: Mutex<Queue>,
    wake: Condvar,
    running: AtomicUsize,
    counters: Vec<Counters>,
}

struct Queue {
    schedule: Schedule,
    closed: bool,
}

#[derive(Default)]
struct Counters {
    texts: AtomicU64,
    tokens: AtomicU64,
    busy_ns: AtomicU64,
}

impl Shared {
    pub(crate) fn new(models: Vec<Model>, queue_max: usize) -> Self {
        let counters = models.iter().map(|_| Counters::default()).collect();
        Self {
            models,
            queue: Mutex::new(Queue { schedule: Schedule::new(queue_max), closed: false }),
            wake: Condvar::new(),
            running: AtomicUsize::new(0),
            counters,
        }
    }

    /// Queues a job.
    pub(crate) fn push(&self, job: Pending) -> kernel::Result<()> {
        let mut queue = self.lock();
        if queue.closed {
            return Err(stopping());
        }
        let kind = job.kind;
        if !queue.schedule.push(Arc::new(job)) {
            let message = match kind {
                Kind::Query => "too many queries wait to be embedded; try again shortly",
                Kind::Passage => "too many passages wait to be embedded; send fewer at once or try again shortly",
            };
            return Err(kernel::Error::overloaded(message, RETRY_AFTER));
        }
        drop(queue);
        self.wake.notify_all();
        Ok(())
    }

    /// Refuses new jobs and fails the queued ones. What is running ends by itself.
    pub(crate) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        let waiting = queue.schedule.drain();
        drop(queue);
        self.wake.notify_all();
        for job in waiting {
            job.fail(stopping());
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let models = self.models.iter().zip(&self.counters).map(|(model, counters)| ModelStats {
            name: model.info.name.clone(),
            texts_total: counters.texts.load(Ordering::Relaxed),
            tokens_total: counters.tokens.load(Ordering::Relaxed),
            busy_ns: counters.busy_ns.load(Ordering::Relaxed),
        });
        Stats {
            waiting: self.lock().schedule.waiting(),
            running: self.running.load(Ordering::Relaxed),
            models: models.collect(),
        }
    }

    /// Wakes every thread that has nothing to do.
    pub(crate) fn rouse(&self) {
        let _nobody_falls_asleep = self.lock();
        self.wake.notify_all();
    }

    /// Waits for work. `None` once closed.
    fn next(&self) -> Option<Unit> {
        let mut queue = self.lock();
        loop {
            if queue.closed {
                return None;
            }
            let Taken { unit, skipped } = queue.schedule.take(|model| self.shape(model));
            if !skipped.is_empty() {
                drop(queue);
                skipped.iter().for_each(|job| job.skip());
                if unit.is_some() {
                    return unit;
                }
                queue = self.lock();
                continue;
            }
            if unit.is_some() {
                return unit;
            }
            kernel::wipe_stack_if_asked();
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn shape(&self, model: usize) -> Shape {
        let model = &self.models[model];
        Shape { batch_max: model.batch_max, tokens_max: model.info.max_tokens }
    }

    fn count(&self, unit: &Unit, embedded: &Embedded) {
        let counters = &self.counters[unit.pending.model];
        counters.texts.fetch_add(unit.range.len() as u64, Ordering::Relaxed);
        counters.tokens.fetch_add(embedded.tokens as u64, Ordering::Relaxed);
        counters.busy_ns.fetch_add(u64::try_from(embedded.busy.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.lock().schedule.settle(unit, embedded.tokens);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the threads.
pub(crate) fn start(shared: &Arc<Shared>, threads: usize) -> Result<Vec<JoinHandle<()>>, Error> {
    let mut handles = Vec::with_capacity(threads);
    for i in 0..threads {
        let mine = Arc::clone(shared);
        match std::thread::Builder::new().name(format!("model-{i}")).spawn(move || run(&mine)) {
            Ok(handle) => handles.push(handle),
            Err(source) => {
                shared.close();
                return Err(Error::Thread(source));
            }
        }
    }
    Ok(handles)
}

fn run(shared: &Shared) {
    let mut embedders: Vec<Option<Box<dyn Embedder>>> = shared.models.iter().map(|_| None).collect();
    while let Some(unit) = shared.next() {
        let texts = unit.range.len();
        shared.running.fetch_add(texts, Ordering::Relaxed);
        serve(shared, &unit, &mut embedders[unit.pending.model]);
        shared.running.fetch_sub(texts, Ordering::Relaxed);
    }
}

fn serve(shared: &Shared, unit: &Unit, embedder: &mut Option<Box<dyn Embedder>>) {
    if unit.pending.is_over() {
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
            // Its state is unknown now: the next unit opens a fresh one. The payload might quote a text.
            *embedder = None;
            tracing::error!(model = %shared.models[unit.pending.model].info.name, "a model call panicked");
            unit.pending.fail(kernel::Error::internal("the model failed on this input"));
        }
    }
}

fn embed(shared: &Shared, unit: &Unit, slot: &mut Option<Box<dyn Embedder>>) -> Result<Embedded, Error> {
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

/// A full queue of short texts empties in seconds.
const RETRY_AFTER: Duration = Duration::from_secs(1);
