//! What goes into this crate and what it says of itself: settings, jobs, facts, counters.

use kernel::Untrusted;
use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

/// One model that serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    /// The name of its folder.
    pub name: String,
    /// Floats per vector; 0 where it gives none and only reranks.
    pub dimensions: usize,
    /// Tokens that it reads of one text, special ones included and its own prefix left out. The rest is cut.
    pub max_tokens: usize,
    /// How it can rank passages again, if it can.
    pub reranks: Option<Reranks>,
    /// What truly serves: `cpu`, `cuda` or `fake`.
    pub provider: &'static str,
    /// Of `model.onnx`, hex; empty for the fake.
    pub sha256: String,
}

/// How a model judges a passage against a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reranks {
    /// It reads both together and gives one number (`logits`), brought to 0 to 1 by the logistic function.
    CrossEncoder,
    /// It reads each by itself; the score is the mean over the question's tokens of the greatest cosine with a token
    /// of the passage, -1 to 1 (Khattab & Zaharia, SIGIR 2020, who take the sum).
    LateInteraction,
}

impl Reranks {
    /// The name in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Reranks::CrossEncoder => "cross_encoder",
            Reranks::LateInteraction => "late_interaction",
        }
    }
}

/// Where the arithmetic happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// The processor.
    Cpu,
    /// An NVIDIA GPU. Loading fails when it cannot be had, unless `allow_cpu`.
    Cuda {
        /// Device number.
        device: i32,
        /// Serve from the processor, and say so, when the GPU cannot be had.
        allow_cpu: bool,
    },
}

/// How to load models. Paths come from the caller: this crate reads no environment variable.
#[derive(Clone, Debug)]
pub struct ModelsConfig {
    /// `libonnxruntime.so`, 1.24 or later.
    pub runtime: Option<PathBuf>,
    /// One folder per model inside: `model.onnx`, `tokenizer.json`, `config.json`.
    pub folder: Option<PathBuf>,
    /// The model for namespaces that name none.
    pub default: String,
    /// The model for searches that want to be reranked and name none; absent: the first cross-encoder, by name.
    pub reranker: Option<String>,
    /// Where to compute.
    pub provider: Provider,
    /// Model threads, each with a session of its own; 0 chooses from the cores.
    pub threads: usize,
    /// Threads inside one ONNX Runtime call; 0 means 1, which gives the most passages per second.
    pub intra_threads: usize,
    /// Texts that may wait, all tenants together; 0 means the limit in `kernel::limits`.
    pub queue_max: usize,
}

impl Default for ModelsConfig {
    fn default() -> Self {
        Self {
            runtime: None,
            folder: None,
            default: "all-MiniLM-L6-v2".to_owned(),
            reranker: None,
            provider: Provider::Cpu,
            threads: 0,
            intra_threads: 0,
            queue_max: 0,
        }
    }
}

/// An opaque tenant lane. Lanes take turns, by tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lane(pub [u8; 16]);

/// Someone waits for a query; passages can wait a little longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Goes first.
    Query,
    /// Gets every fourth turn at least.
    Passage,
}

/// Takes delivery of the vectors or scores, or of the reason why there are none.
pub type Done = Box<dyn FnOnce(kernel::Result<Vec<f32>>) + Send>;

/// Texts to embed or to score, and what to do with what comes out.
pub struct Job {
    /// Which model.
    pub model: String,
    /// Whose turn it uses.
    pub lane: Lane,
    /// Urgency.
    pub kind: Kind,
    /// One vector each, in this order; with a question, one score each.
    pub texts: Vec<Untrusted>,
    /// What the texts are scored against.
    pub question: Option<Untrusted>,
    /// Set by the asker when it has gone; what has not begun is then skipped.
    pub cancelled: Arc<AtomicBool>,
    /// Runs once on a model thread (on the caller's of [`crate::Models::stop`] for what was still queued) with
    /// `texts.len() * dimensions` floats, or with a question `texts.len()`. Must be quick: it holds up the thread.
    pub done: Done,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("kind", &self.kind).field("texts", &self.texts.len()).finish_non_exhaustive()
    }
}

/// Load and work so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Texts waiting now.
    pub waiting: usize,
    /// Texts being embedded now.
    pub running: usize,
    /// Per model, in the order of [`crate::Models::list`].
    pub models: Vec<ModelStats>,
}

/// Totals of one model since it was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelStats {
    /// The model's name.
    pub name: String,
    /// Texts embedded.
    pub texts_total: u64,
    /// Tokens embedded, special ones included, after the cut.
    pub tokens_total: u64,
    /// Nanoseconds inside ONNX Runtime, summed over threads.
    pub busy_ns: u64,
}
