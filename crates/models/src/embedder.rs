//! The interface that a model thread drives: one embedder per model and thread, ONNX or fake.

use crate::{Error, ModelInfo, TaskKind, pending::Question};
use kernel::Tokens;
use std::{sync::Arc, time::Duration};

/// One loaded model.
pub(crate) struct Model {
    pub(crate) info: ModelInfo,
    pub(crate) tokens: Arc<dyn Tokens>,
    /// Texts per call; 1 for a model whose vectors would depend on other texts of the batch.
    pub(crate) batch_max: usize,
    /// Creates an embedder for one thread.
    pub(crate) open: Box<dyn Fn() -> Result<Box<dyn Embedder>, Error> + Send + Sync>,
}

/// Turns texts into vectors or scores, on one thread.
pub(crate) trait Embedder: Send {
    /// Returns one vector of unit length per text, concatenated.
    fn embed(&mut self, kind: TaskKind, texts: &[&str]) -> Result<Embedded, Error>;

    /// Returns one score per text: how well it answers the question. Higher is better.
    fn score(&mut self, question: &Question, texts: &[&str]) -> Result<Embedded, Error>;
}

/// The result of a call and its cost.
#[derive(Default)]
pub(crate) struct Embedded {
    /// Vectors, or scores.
    pub(crate) values: Vec<f32>,
    /// Tokens read, special ones included.
    pub(crate) tokens: usize,
    /// Time inside the model.
    pub(crate) busy: Duration,
}

/// Scales to length 1 in place. A vector of length 0 is left unchanged.
pub(crate) fn normalise(vector: &mut [f32]) {
    let length = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    if length > 0.0 {
        for x in vector {
            *x = (f64::from(*x) / length) as f32;
        }
    }
}
