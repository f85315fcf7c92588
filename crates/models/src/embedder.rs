//! What a model thread drives: one of its own per model, ONNX or fake.

use crate::{Error, Kind, ModelInfo, pending::Question};
use kernel::Tokens;
use std::{sync::Arc, time::Duration};

/// One loaded model.
pub(crate) struct Model {
    pub(crate) info: ModelInfo,
    pub(crate) tokens: Arc<dyn Tokens>,
    /// Texts per call. 1 where a vector would depend on its neighbours.
    pub(crate) batch_max: usize,
    /// Makes an embedder for one thread.
    pub(crate) open: Box<dyn Fn() -> Result<Box<dyn Embedder>, Error> + Send + Sync>,
}

/// Texts to vectors or scores, on one thread.
pub(crate) trait Embedder: Send {
    /// One vector of unit length per text, one after the other.
    fn embed(&mut self, kind: Kind, texts: &[&str]) -> Result<Embedded, Error>;

    /// One score per text: how well it answers the question. Higher is better.
    fn score(&mut self, question: &Question, texts: &[&str]) -> Result<Embedded, Error>;
}

/// What came out and what it cost.
#[derive(Default)]
pub(crate) struct Embedded {
    /// Vectors, or scores.
    pub(crate) values: Vec<f32>,
    /// Tokens read, special ones included.
    pub(crate) tokens: usize,
    /// Time inside the model.
    pub(crate) busy: Duration,
}

/// Scales to length 1 in place. A vector of length 0 stays as it is.
pub(crate) fn normalise(vector: &mut [f32]) {
    let length = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    if length > 0.0 {
        for x in vector {
            *x = (f64::from(*x) / length) as f32;
        }
    }
}
