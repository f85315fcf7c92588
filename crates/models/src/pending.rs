//! A job in progress: handed out in units, filled in by several threads, answered once.

use crate::{EmbedJob, TaskKind, TenantQueueId, config::Callback};
use kernel::{Code, Error, Untrusted};
use parking_lot::{Mutex, MutexGuard};
use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// The work of a model thread between two visits to the queue.
pub(crate) struct Unit {
    pub(crate) pending: Arc<Pending>,
    /// Positions in [`Pending::order`].
    pub(crate) range: Range<usize>,
    /// Tokens that the tenant's queue was charged for it.
    pub(crate) charged: usize,
}

/// The query that texts are scored against, and its token vectors, which several calls share.
pub(crate) struct Question {
    text: Untrusted,
    /// For late interaction: one vector per token.
    pub(crate) tokens: OnceLock<Vec<f32>>,
}

impl Question {
    pub(crate) fn new(text: Untrusted) -> Self {
        Self { text, tokens: OnceLock::new() }
    }

    /// The text, for the model.
    pub(crate) fn text(&self) -> &str {
        self.text.expose()
    }
}

/// A job that is queued or in progress.
pub(crate) struct Pending {
    /// Index of the model.
    pub(crate) model: usize,
    pub(crate) queue: TenantQueueId,
    pub(crate) kind: TaskKind,
    pub(crate) question: Option<Question>,
    texts: Vec<Untrusted>,
    /// Indexes of the texts in the order in which they are served: by length, so that a batch has little padding.
    order: Vec<usize>,
    /// Floats for each text: the length of a vector, or 1 for a score.
    width: usize,
    cancelled: Arc<AtomicBool>,
    result: Mutex<PendingResult>,
}

struct PendingResult {
    values: Vec<f32>,
    remaining: usize,
    done: Option<Callback>,
}

impl Pending {
    /// Accepts a job. Texts for a model with `batched` calls are served by length.
    pub(crate) fn new(job: EmbedJob, model: usize, dimensions: usize, batched: bool) -> Self {
        let mut order: Vec<usize> = (0..job.texts.len()).collect();
        if batched {
            order.sort_by_key(|i| job.texts[*i].len());
        }
        let result = PendingResult { values: Vec::new(), remaining: job.texts.len(), done: Some(job.done) };
        Self {
            model,
            queue: job.queue,
            kind: job.kind,
            width: if job.question.is_some() { 1 } else { dimensions },
            question: job.question.map(Question::new),
            texts: job.texts,
            order,
            cancelled: job.cancelled,
            result: Mutex::new(result),
        }
    }

    /// Number of texts.
    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    /// Estimated tokens of the text at this position, from its length, and at most `max`. The actual cost is charged
    /// later.
    pub(crate) fn estimated_tokens(&self, position: usize, max: usize) -> usize {
        let bytes = self.order.get(position).map_or(0, |i| self.texts[*i].len());
        // About four bytes per token, and two special tokens.
        let question_bytes = self.question.as_ref().map_or(0, |question| question.text.len());
        ((bytes + question_bytes) / 4 + 2).min(max)
    }

    /// The texts of a unit.
    pub(crate) fn texts(&self, range: &Range<usize>) -> Vec<&str> {
        self.order[range.clone()].iter().map(|i| self.texts[*i].expose()).collect()
    }

    /// Whether further work on it is useless: the caller cancelled it, or it was answered.
    pub(crate) fn is_finished(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed) || self.result.lock().done.is_none()
    }

    /// Stores the result of a unit; answers the job after the last one.
    pub(crate) fn deliver(&self, range: &Range<usize>, values: &[f32]) {
        let whole = values.len() == range.len() * self.width && values.iter().all(|x| x.is_finite());
        if !whole {
            return self.fail(Error::internal("the embedding model gave an unusable result"));
        }
        let mut result = self.result.lock();
        result.values.resize(self.texts.len() * self.width, 0.0);
        for (row, i) in self.order[range.clone()].iter().enumerate() {
            let from = &values[row * self.width..][..self.width];
            result.values[i * self.width..][..self.width].copy_from_slice(from);
        }
        result.remaining -= range.len();
        if result.remaining > 0 {
            return;
        }
        let values = std::mem::take(&mut result.values);
        Self::finish(result, Ok(values));
    }

    /// Answers with an error, unless the job was answered before.
    pub(crate) fn fail(&self, error: Error) {
        Self::finish(self.result.lock(), Err(error));
    }

    /// Answers a job that its caller cancelled.
    pub(crate) fn skip(&self) {
        self.fail(Error::new(Code::Conflict, "the request was cancelled before its text was embedded"));
    }

    fn finish(mut pending: MutexGuard<'_, PendingResult>, result: kernel::Result<Vec<f32>>) {
        let done = pending.done.take();
        pending.values = Vec::new();
        drop(pending);
        // The callback runs without the lock, and a panic in it must not end the model thread.
        if let Some(done) = done
            && catch_unwind(AssertUnwindSafe(|| done(result))).is_err()
        {
            tracing::error!("the callback for vectors panicked; the model thread continues");
        }
    }
}
