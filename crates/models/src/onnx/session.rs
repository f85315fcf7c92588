//! One session: the inputs and outputs of its graph, and running it.

use super::late;
use crate::{
    Error, Reranks, TaskKind,
    embedder::{Embedded, Embedder, normalise},
    pending::Question,
    tokens::{Batch, Encoder},
};
use kernel::{Clock, SystemClock};
use ort::{
    session::{HasSelectedOutputs, OutputSelector, RunOptions, Session, SessionInputValue},
    value::TensorRef,
};
use std::sync::Arc;

pub(super) struct OnnxEmbedder {
    session: Session,
    encoder: Arc<Encoder>,
    takes_types: bool,
    vectors: Option<Output>,
    scores: Option<Output>,
    clock: SystemClock,
}

/// What a model can be used for.
pub(super) struct Capabilities {
    pub(super) embeds: bool,
    pub(super) reranks: Option<Reranks>,
}

/// An output of a graph.
struct Output {
    name: &'static str,
    /// Options that compute this output only.
    run_options: RunOptions<HasSelectedOutputs>,
}

impl Output {
    /// The first of these outputs that the session has.
    fn first(session: &Session, names: &[&'static str]) -> Result<Option<Self>, ort::Error> {
        let has = |name: &&&'static str| session.outputs().iter().any(|o| o.name() == **name);
        let Some(name) = names.iter().find(has) else { return Ok(None) };
        let run_options = RunOptions::new()?.with_outputs(OutputSelector::no_default().with(*name));
        Ok(Some(Self { name, run_options }))
    }

    fn reranks(&self) -> Reranks {
        if self.name == LOGITS { Reranks::CrossEncoder } else { Reranks::LateInteraction }
    }
}

impl OnnxEmbedder {
    /// # Errors
    /// A message that says why the graph is neither an embedder nor a reranker.
    pub(super) fn new(session: Session, encoder: Arc<Encoder>) -> Result<Self, String> {
        let inputs: Vec<&str> = session.inputs().iter().map(|i| i.name()).collect();
        // A graph with an unknown input cannot be run.
        if let Some(other) = inputs.iter().find(|i| ![IDS, MASK, TYPES].contains(i)) {
            return Err(format!("it requires an input `{other}`; only {IDS}, {MASK} and {TYPES} are available"));
        }
        if !inputs.contains(&IDS) || !inputs.contains(&MASK) {
            return Err(format!("it has no inputs {IDS} and {MASK}"));
        }
        let vectors = Output::first(&session, &[SENTENCE, HIDDEN]).map_err(|e| e.to_string())?;
        let scores = Output::first(&session, &[LOGITS, TOKENS, HIDDEN]).map_err(|e| e.to_string())?;
        if vectors.is_none() && scores.is_none() {
            return Err(format!("it has none of the outputs {SENTENCE}, {HIDDEN}, {TOKENS} and {LOGITS}"));
        }
        let takes_types = inputs.contains(&TYPES);
        Ok(Self { session, encoder, takes_types, vectors, scores, clock: SystemClock::new() })
    }

    pub(super) fn capabilities(&self) -> Capabilities {
        Capabilities { embeds: self.vectors.is_some(), reranks: self.scores.as_ref().map(Output::reranks) }
    }
}

impl Embedder for OnnxEmbedder {
    fn embed(&mut self, kind: TaskKind, texts: &[&str]) -> Result<Embedded, Error> {
        let Some(output) = &self.vectors else { return Err(Error::Run(format!("it has no output {SENTENCE}"))) };
        let batch = self.encoder.batch(kind, texts)?;
        let start = self.clock.monotonic();
        let mut vectors = run(&mut self.session, output, &batch, self.takes_types, |values| match output.name {
            HIDDEN => pool(values, &batch),
            _ => values.to_vec(),
        })?;
        let busy = self.clock.monotonic().saturating_sub(start);
        let dimensions = vectors.len() / batch.rows.max(1);
        vectors.chunks_exact_mut(dimensions.max(1)).for_each(normalise);
        Ok(Embedded { values: vectors, tokens: batch.tokens, busy })
    }

    fn score(&mut self, question: &Question, texts: &[&str]) -> Result<Embedded, Error> {
        let Some(output) = &self.scores else { return Err(Error::Run(format!("it has no output {LOGITS}"))) };
        let start = self.clock.monotonic();
        let (session, types) = (&mut self.session, self.takes_types);
        let (values, tokens) = match output.reranks() {
            Reranks::CrossEncoder => {
                let batch = self.encoder.pairs(question.text(), texts)?;
                let scores =
                    run(session, output, &batch, types, |values| values.iter().map(|x| logistic(*x)).collect())?;
                (scores, batch.tokens)
            }
            Reranks::LateInteraction => {
                let mut read = 0;
                // All calls of a job share the question's token vectors once they are computed.
                let question_tokens = match question.tokens.get() {
                    Some(question_tokens) => question_tokens,
                    None => {
                        let batch = self.encoder.batch(TaskKind::Query, &[question.text()])?;
                        read = batch.tokens;
                        let tokens =
                            run(session, output, &batch, types, |values| late::tokens(values, &batch).concat())?;
                        question.tokens.get_or_init(|| tokens)
                    }
                };
                let batch = self.encoder.batch(TaskKind::Passage, texts)?;
                let scores = run(session, output, &batch, types, |values| {
                    let width = values.len() / (batch.rows * batch.columns).max(1);
                    late::tokens(values, &batch)
                        .iter()
                        .map(|passage| late::score(question_tokens, passage, width))
                        .collect()
                })?;
                (scores, read + batch.tokens)
            }
        };
        Ok(Embedded { values, tokens, busy: self.clock.monotonic().saturating_sub(start) })
    }
}

/// Runs the graph for one output and passes its numbers to `take`.
fn run<T>(
    session: &mut Session,
    output: &Output,
    batch: &Batch,
    takes_types: bool,
    take: impl FnOnce(&[f32]) -> T,
) -> Result<T, Error> {
    let run = || {
        let shape = [batch.rows, batch.columns];
        let mut inputs: Vec<(&str, SessionInputValue<'_>)> = vec![
            (IDS, TensorRef::from_array_view((shape, &batch.ids[..]))?.into()),
            (MASK, TensorRef::from_array_view((shape, &batch.mask[..]))?.into()),
        ];
        if takes_types {
            inputs.push((TYPES, TensorRef::from_array_view((shape, &batch.types[..]))?.into()));
        }
        let outputs = session.run_with_options(inputs, &output.run_options)?;
        let (_, values) = outputs[output.name].try_extract_tensor::<f32>()?;
        Ok(take(values))
    };
    run().map_err(|e: ort::Error| Error::Run(e.to_string()))
}

/// The sum of each text's token vectors without padding, which has the direction of their mean.
fn pool(hidden: &[f32], batch: &Batch) -> Vec<f32> {
    let width = hidden.len() / (batch.rows * batch.columns).max(1);
    let mut pooled = vec![0.0; batch.rows * width];
    for (token, vector) in hidden.chunks_exact(width.max(1)).enumerate() {
        if batch.mask.get(token) != Some(&1) {
            continue;
        }
        let row = &mut pooled[token / batch.columns * width..][..width];
        row.iter_mut().zip(vector).for_each(|(sum, x)| *sum += x);
    }
    // The sum is not divided by the count: only the direction matters, and the length becomes 1.
    pooled
}

fn logistic(x: f32) -> f32 {
    (1.0 / (1.0 + (-f64::from(x)).exp())) as f32
}

const IDS: &str = "input_ids";
const MASK: &str = "attention_mask";
const TYPES: &str = "token_type_ids";

/// One vector per text.
const SENTENCE: &str = "sentence_embedding";
/// One vector per token: averaged here, or compared one by one.
const HIDDEN: &str = "last_hidden_state";
/// One vector per token, for comparison.
const TOKENS: &str = "token_embeddings";
/// One number per pair of texts.
const LOGITS: &str = "logits";
