//! The public interface: the models that serve, their tokenisers, and the submission of jobs.

use crate::{
    EmbedJob, Error, ModelInfo, ModelsConfig, QueueStats, Reranks,
    embedder::Model,
    fake, folder,
    pending::Pending,
    work::{self, WorkShared},
};
use kernel::{Code, Tokens, limits};
use parking_lot::Mutex;
use std::{
    fmt,
    sync::Arc,
    thread::{self, JoinHandle},
};

/// The models of a server. Cloning is cheap; the threads end with the last clone or with [`Models::stop`].
#[derive(Clone)]
pub struct Models(Arc<Inner>);

struct Inner {
    /// Why no model serves; `None` if models serve.
    reason: Option<String>,
    /// Index of the reranker for callers that name none.
    reranker: Option<usize>,
    shared: Arc<WorkShared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Models {
    /// Loads every model of the folder and starts the threads. Takes about a second per model.
    ///
    /// # Errors
    /// The error names what is missing or unusable, its setting and the remedy. A model that cannot be used, other than
    /// the default one, is left out with a warning.
    pub fn load(config: &ModelsConfig) -> Result<Self, Error> {
        let models = folder::load(config)?;
        let queue_max = if config.queue_max == 0 { limits::MODEL_QUEUE_TEXTS_MAX } else { config.queue_max };
        Self::serve(models, config.reranker.as_deref(), threads(config.threads), queue_max)
    }

    /// Serves no model; requests get `reason`.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            reason: Some(reason.into()),
            reranker: None,
            shared: Arc::new(WorkShared::new(Vec::new(), 1)),
            threads: Mutex::default(),
        }))
    }

    /// A model named `fake` for tests: deterministic hashed bags of words, so that related texts are near.
    pub fn fake(dimensions: usize) -> Self {
        let shared = Arc::new(WorkShared::new(vec![fake::model(dimensions)], limits::MODEL_QUEUE_TEXTS_MAX));
        match work::start(&shared, 1) {
            Ok(threads) => Self::running(shared, Some(fake::NAME), threads),
            Err(error) => Self::unavailable(error.to_string()),
        }
    }

    /// The model for callers that name none.
    pub fn default_model(&self) -> Option<ModelInfo> {
        self.0.shared.models.first().map(|m| m.info.clone())
    }

    /// The embedding model of this name.
    pub fn embedder(&self, name: &str) -> Option<ModelInfo> {
        self.find(name).map(|(_, m)| m.info.clone()).filter(|info| info.dimensions > 0)
    }

    /// The reranker of this name. For `None`, it is `models.reranker`, or else the first cross-encoder.
    pub fn reranker(&self, name: Option<&str>) -> Option<ModelInfo> {
        let found = match name {
            Some(name) => self.find(name).map(|(_, m)| m),
            None => self.0.reranker.and_then(|at| self.0.shared.models.get(at)),
        };
        found.map(|m| m.info.clone()).filter(|info| info.reranks.is_some())
    }

    /// All models that serve, the default one first.
    pub fn list(&self) -> Vec<ModelInfo> {
        self.0.shared.models.iter().map(|m| m.info.clone()).collect()
    }

    /// Why no model serves, if none does.
    pub fn reason(&self) -> Option<String> {
        self.0.reason.clone()
    }

    /// The model's own tokeniser: it accepts any length, truncates nothing and adds no special tokens.
    pub fn tokens(&self, model: &str) -> Option<Arc<dyn Tokens>> {
        self.find(model).map(|(_, m)| Arc::clone(&m.tokens))
    }

    /// Queues texts. `job.done` receives the vectors, unless this returns an error.
    ///
    /// # Errors
    /// `model_unavailable` when no such model serves or the server is stopping; `overloaded` when the queue is full.
    pub fn submit(&self, job: EmbedJob) -> kernel::Result<()> {
        if self.0.reason.is_some() {
            return Err(kernel::Error::new(Code::ModelUnavailable, "no model serves"));
        }
        let Some((index, model)) = self.find(&job.model) else {
            return Err(kernel::Error::new(Code::ModelUnavailable, "no model of this name serves").with_param("model"));
        };
        let able = if job.question.is_some() { model.info.reranks.is_some() } else { model.info.dimensions > 0 };
        if !able {
            let what =
                if job.question.is_some() { "this model cannot rerank" } else { "this model returns no vectors" };
            return Err(kernel::Error::new(Code::ModelUnavailable, what).with_param("model"));
        }
        self.0.shared.push(Pending::new(job, index, model.info.dimensions, model.batch_max > 1))
    }

    /// Current load and totals.
    pub fn stats(&self) -> QueueStats {
        self.0.shared.stats()
    }

    /// Refuses new jobs, fails the queued ones, lets running calls finish, and joins the threads.
    pub fn stop(&self) {
        self.0.stop();
    }

    /// Makes every idle model thread return to rest once, so that it wipes its stack if that was requested.
    pub fn wake(&self) {
        self.0.shared.wake();
    }

    pub(crate) fn serve(
        models: Vec<Model>,
        reranker: Option<&str>,
        threads: usize,
        queue_max: usize,
    ) -> Result<Self, Error> {
        let shared = Arc::new(WorkShared::new(models, queue_max));
        let threads = work::start(&shared, threads)?;
        Ok(Self::running(shared, reranker, threads))
    }

    fn running(shared: Arc<WorkShared>, reranker: Option<&str>, threads: Vec<JoinHandle<()>>) -> Self {
        let is_one = |m: &Model| match reranker {
            Some(name) => m.info.name == name,
            None => m.info.reranks == Some(Reranks::CrossEncoder),
        };
        let reranker = shared.models.iter().position(is_one);
        Self(Arc::new(Inner { reason: None, reranker, shared, threads: Mutex::new(threads) }))
    }

    fn find(&self, name: &str) -> Option<(usize, &Model)> {
        self.0.shared.models.iter().enumerate().find(|(_, m)| m.info.name == name)
    }
}

impl fmt::Debug for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Models").field("models", &self.list()).field("reason", &self.0.reason).finish()
    }
}

impl Inner {
    fn stop(&self) {
        self.shared.close();
        let threads = std::mem::take(&mut *self.threads.lock());
        for handle in threads {
            // A `done` callback on a model thread may drop the last clone, and a thread cannot wait for itself.
            if handle.thread().id() != thread::current().id() && handle.join().is_err() {
                tracing::error!("a model thread panicked");
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Number of threads for a configured 0: all of up to two cores, and three quarters of more, so that searches find a
/// core too.
fn threads(configured: usize) -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    if configured == 0 { cores - cores / 4 } else { configured }
}

#[cfg(test)]
mod tests;
