//! Text to vectors or scores, from async flows: a bridge to the models' own threads and fair queue.

use crate::Engine;
use access::{Action, Grant};
use kernel::{Code, Error, Untrusted};
use models::{Job, Kind, Lane};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tokio::sync::oneshot;

impl Engine {
    /// Embeds texts for the grant's tenant. When the asker goes away, what is not yet begun is dropped.
    ///
    /// # Errors
    /// `model_unavailable`, `overloaded` when the queue is full, `rate_limited` when the tenant's
    /// tokens are used up, `internal` when the runtime fails.
    pub(crate) async fn embed<A: Action>(
        &self,
        grant: &Grant<A>,
        model: &str,
        kind: Kind,
        texts: Vec<Untrusted>,
    ) -> Result<Vec<f32>, Error> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        self.embed_later(grant, model, kind, texts)?.wait().await
    }

    /// One score for each text, of how well it answers the question; else as [`Engine::embed`].
    ///
    /// # Errors
    /// As [`Engine::embed`].
    pub(crate) async fn judge<A: Action>(
        &self,
        grant: &Grant<A>,
        model: &str,
        question: Untrusted,
        texts: Vec<Untrusted>,
    ) -> Result<Vec<f32>, Error> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        self.submit(grant, model, Kind::Query, (texts, Some(question)))?.wait().await
    }

    /// Queues texts and returns at once, so that many documents wait together.
    pub(crate) fn embed_later<A: Action>(
        &self,
        grant: &Grant<A>,
        model: &str,
        kind: Kind,
        texts: Vec<Untrusted>,
    ) -> Result<Embedding, Error> {
        self.submit(grant, model, kind, (texts, None))
    }

    fn submit<A: Action>(
        &self,
        grant: &Grant<A>,
        model: &str,
        kind: Kind,
        (texts, question): (Vec<Untrusted>, Option<Untrusted>),
    ) -> Result<Embedding, Error> {
        let cancelled = Arc::new(AtomicBool::new(false));
        let (send, receive) = oneshot::channel();
        self.inner.models.submit(Job {
            model: model.to_owned(),
            lane: Lane(*grant.incarnation().as_bytes()),
            kind,
            texts,
            question,
            cancelled: cancelled.clone(),
            done: Box::new(move |result| {
                let _ = send.send(result);
            }),
        })?;
        Ok(Embedding { cancelled, receive })
    }

    /// The model's name if it serves.
    ///
    /// # Errors
    /// `model_unavailable` with the reason.
    pub(crate) fn serving(&self, model: &str) -> Result<(), Error> {
        if self.inner.models.embedder(model).is_some() {
            return Ok(());
        }
        let why = self.inner.models.reason().unwrap_or_else(|| "it is not loaded".to_owned());
        Err(Error::new(Code::ModelUnavailable, format!("the namespace's embedding model does not serve: {why}")))
    }
}

/// Vectors or scores to come. Dropped: cancelled.
pub(crate) struct Embedding {
    cancelled: Arc<AtomicBool>,
    receive: oneshot::Receiver<Result<Vec<f32>, Error>>,
}

impl Embedding {
    /// Waits for them.
    pub(crate) async fn wait(mut self) -> Result<Vec<f32>, Error> {
        match (&mut self.receive).await {
            Ok(result) => result,
            Err(_) => Err(Error::new(Code::ModelUnavailable, "the model stopped before this text's turn")),
        }
    }
}

impl Drop for Embedding {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}
