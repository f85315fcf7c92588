//! Turns text into vectors or scores for async flows: a bridge to the models' own threads and fair queue.

use crate::Engine;
use access::{Action, Grant};
use kernel::{Code, Error, Untrusted};
use models::{EmbedJob, TaskKind, TenantQueueId};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tokio::sync::oneshot;

impl Engine {
    /// Embeds texts for the grant's tenant. When the caller's future is dropped, texts that have not started are
    /// dropped too.
    ///
    /// # Errors
    /// `model_unavailable`; `overloaded` when the queue is full; `rate_limited` when the tenant's tokens are used up;
    /// `internal` when the runtime fails.
    pub(crate) async fn embed<A: Action>(
        &self,
        grant: &Grant<A>,
        model: &str,
        kind: TaskKind,
        texts: Vec<Untrusted>,
    ) -> Result<Vec<f32>, Error> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        self.embed_later(grant, model, kind, texts)?.wait().await
    }

    /// Scores how well each text answers the question; otherwise like [`Engine::embed`].
    ///
    /// # Errors
    /// As [`Engine::embed`].
    pub(crate) async fn score_texts<A: Action>(
        &self,
        grant: &Grant<A>,
        model: &str,
        question: Untrusted,
        texts: Vec<Untrusted>,
    ) -> Result<Vec<f32>, Error> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        self.submit(grant, model, TaskKind::Query, (texts, Some(question)))?.wait().await
    }

    /// Queues texts and returns at once, so that many documents can wait in the queue together.
    pub(crate) fn embed_later<A: Action>(
        &self,
        grant: &Grant<A>,
        model: &str,
        kind: TaskKind,
        texts: Vec<Untrusted>,
    ) -> Result<PendingInference, Error> {
        self.submit(grant, model, kind, (texts, None))
    }

    fn submit<A: Action>(
        &self,
        grant: &Grant<A>,
        model: &str,
        kind: TaskKind,
        (texts, question): (Vec<Untrusted>, Option<Untrusted>),
    ) -> Result<PendingInference, Error> {
        let cancelled = Arc::new(AtomicBool::new(false));
        let (send, receive) = oneshot::channel();
        self.inner.models.submit(EmbedJob {
            model: model.to_owned(),
            queue: TenantQueueId(*grant.incarnation().as_bytes()),
            kind,
            texts,
            question,
            cancelled: cancelled.clone(),
            done: Box::new(move |result| {
                let _ = send.send(result);
            }),
        })?;
        Ok(PendingInference { cancelled, receive })
    }

    /// Checks that the model can embed now.
    ///
    /// # Errors
    /// `model_unavailable` with the reason.
    pub(crate) fn ensure_model_serves(&self, model: &str) -> Result<(), Error> {
        if self.inner.models.embedder(model).is_some() {
            return Ok(());
        }
        let why = self.inner.models.reason().unwrap_or_else(|| "it is not loaded".to_owned());
        Err(Error::new(Code::ModelUnavailable, format!("the namespace's embedding model does not serve: {why}")))
    }
}

/// Queued texts, whose vectors or scores are pending. Dropping it cancels them.
pub(crate) struct PendingInference {
    cancelled: Arc<AtomicBool>,
    receive: oneshot::Receiver<Result<Vec<f32>, Error>>,
}

impl PendingInference {
    /// Waits for the vectors or scores.
    pub(crate) async fn wait(mut self) -> Result<Vec<f32>, Error> {
        match (&mut self.receive).await {
            Ok(result) => result,
            Err(_) => Err(Error::new(Code::ModelUnavailable, "the model stopped before this text's turn")),
        }
    }
}

impl Drop for PendingInference {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}
