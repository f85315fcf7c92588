//! A job on its way: handed out in units, filled in from several threads, answered once.

use crate::{Job, Kind, Lane, config::Done};
use kernel::{Code, Error, Untrusted};
use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// What one model thread does between two looks at the queue.
pub(crate) struct Unit {
    pub(crate) pending: Arc<Pending>,
    /// Positions in [`Pending::order`].
    pub(crate) range: Range<usize>,
    /// What the lane was charged for it, tokens.
    pub(crate) charged: usize,
}

/// What texts are scored against, and what a model made of it: several calls share that.
pub(crate) struct Question {
    text: Untrusted,
    /// Of late interaction: one vector per token.
    pub(crate) tokens: OnceLock<Vec<f32>>,
}

impl Question {
    pub(crate) fn new(text: Untrusted) -> Self {
        Self { text, tokens: OnceLock::new() }
    }

    /// For the model.
    pub(crate) fn text(&self) -> &str {
        self.text.expose()
    }
}

/// A job in the queue or in work.
pub(crate) struct Pending {
    /// Index of the model.
    pub(crate) model: usize,
    pub(crate) lane: Lane,
    pub(crate) kind: Kind,
    pub(crate) question: Option<Question>,
    texts: Vec<Untrusted>,
    /// Texts in the order in which they are served: by length, so that a batch wastes little padding.
    order: Vec<usize>,
    /// Floats for each text: a vector's, or 1 for a score.
    width: usize,
    cancelled: Arc<AtomicBool>,
    answer: Mutex<Answer>,
}

struct Answer {
    values: Vec<f32>,
    left: usize,
    done: Option<Done>,
}

impl Pending {
    /// Takes a job in. `batched` models are served by length.
    pub(crate) fn new(job: Job, model: usize, dimensions: usize, batched: bool) -> Self {
        let mut order: Vec<usize> = (0..job.texts.len()).collect();
        if batched {
            order.sort_by_key(|i| job.texts[*i].len());
        }
        let answer = Answer { values: Vec::new(), left: job.texts.len(), done: Some(job.done) };
        Self {
            model,
            lane: job.lane,
            kind: job.kind,
            width: if job.question.is_some() { 1 } else { dimensions },
            question: job.question.map(Question::new),
            texts: job.texts,
            order,
            cancelled: job.cancelled,
            answer: Mutex::new(answer),
        }
    }

    /// How many texts.
    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    /// Tokens that the text at this position will cost at most `max`, guessed from its length. Settled later.
    pub(crate) fn guess(&self, position: usize, max: usize) -> usize {
        let bytes = self.order.get(position).map_or(0, |i| self.texts[*i].len());
        let asked = self.question.as_ref().map_or(0, |question| question.text.len());
        ((bytes + asked) / 4 + 2).min(max)
    }

    /// The texts of a unit.
    pub(crate) fn texts(&self, range: &Range<usize>) -> Vec<&str> {
        self.order[range.clone()].iter().map(|i| self.texts[*i].expose()).collect()
    }

    /// Whether work on it would be for nothing: the asker has gone, or it was answered.
    pub(crate) fn is_over(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed) || self.lock().done.is_none()
    }

    /// Takes in what came of a unit; answers when it was the last one.
    pub(crate) fn deliver(&self, range: &Range<usize>, values: &[f32]) {
        let whole = values.len() == range.len() * self.width && values.iter().all(|x| x.is_finite());
        if !whole {
            return self.fail(Error::internal("the embedding model gave an unusable result"));
        }
        let mut answer = self.lock();
        answer.values.resize(self.texts.len() * self.width, 0.0);
        for (row, i) in self.order[range.clone()].iter().enumerate() {
            let from = &values[row * self.width..][..self.width];
            answer.values[i * self.width..][..self.width].copy_from_slice(from);
        }
        answer.left -= range.len();
        if answer.left > 0 {
            return;
        }
        let values = std::mem::take(&mut answer.values);
        Self::finish(answer, Ok(values));
    }

    /// Answers with an error, unless it was answered before.
    pub(crate) fn fail(&self, error: Error) {
        Self::finish(self.lock(), Err(error));
    }

    /// Answers a job whose asker has gone.
    pub(crate) fn skip(&self) {
        self.fail(Error::new(Code::Conflict, "the request was cancelled before its text was embedded"));
    }

    fn finish(mut answer: MutexGuard<'_, Answer>, result: kernel::Result<Vec<f32>>) {
        let done = answer.done.take();
        answer.values = Vec::new();
        drop(answer);
        if let Some(done) = done
            && catch_unwind(AssertUnwindSafe(|| done(result))).is_err()
        {
            tracing::error!("taking delivery of vectors panicked; the model thread goes on");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Answer> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
