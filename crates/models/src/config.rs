//! Inputs of this crate and what it reports: settings, jobs, model properties, counters.

use kernel::Untrusted;
use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

/// A model that serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    /// Name of its folder.
    pub name: String,
    /// Floats per vector; 0 for a model that only reranks.
    pub dimensions: usize,
    /// Tokens that it reads of one text, with special tokens and without its own prefix. Further tokens are cut.
    pub max_tokens: usize,
    /// How it reranks passages, if it can.
    pub reranks: Option<Reranks>,
    /// The provider that actually serves: `cpu`, `cuda` or `fake`.
    pub provider: &'static str,
    /// SHA-256 of `model.onnx` in hex; empty for the fake.
    pub sha256: String,
}

/// How a model scores a passage for a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reranks {
    /// It reads both together and returns one number (`logits`), mapped to 0 to 1 by the logistic function.
    CrossEncoder,
    /// It reads each by itself. The score is the mean, over the query's tokens, of the greatest cosine with a token of
    /// the passage, -1 to 1 (Khattab & Zaharia, SIGIR 2020, who take the sum).
    LateInteraction,
}

impl Reranks {
    /// Its name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Reranks::CrossEncoder => "cross_encoder",
            Reranks::LateInteraction => "late_interaction",
        }
    }
}

/// The device that computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// The CPU.
    Cpu,
    /// An NVIDIA GPU. Loading fails when it is unavailable, unless `allow_cpu` is set.
    Cuda {
        /// Device number.
        device: i32,
        /// Whether to serve from the CPU, and report it, when the GPU is unavailable.
        allow_cpu: bool,
    },
}

/// How to load models. Paths come from the caller: this crate reads no environment variable.
#[derive(Clone, Debug)]
pub struct ModelsConfig {
    /// Path of `libonnxruntime.so`, 1.24 or later.
    pub runtime: Option<PathBuf>,
    /// A folder with one folder per model: `model.onnx`, `tokenizer.json`, `config.json`.
    pub folder: Option<PathBuf>,
    /// The model of namespaces that name none.
    pub default: String,
    /// The model of searches that rerank and name none; if `None`, the first cross-encoder by name.
    pub reranker: Option<String>,
    /// The device that computes.
    pub provider: Provider,
    /// Number of model threads, each with a session of its own; 0 derives it from the number of cores.
    pub threads: usize,
    /// Threads inside one ONNX Runtime call; 0 means 1, which gives the most passages per second.
    pub intra_threads: usize,
    /// Maximum number of queued texts of all tenants; 0 means the limit in `kernel::limits`.
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

/// Opaque key of a tenant's queue. Queues are served in round robin, by tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TenantQueueId(pub [u8; 16]);

/// Class of a job: a user waits for a query, while passages can wait a little longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskKind {
    /// Served first.
    Query,
    /// Served at least every fourth turn.
    Passage,
}

/// Receives the vectors or scores, or the reason why there are none.
pub type Callback = Box<dyn FnOnce(kernel::Result<Vec<f32>>) + Send>;

/// Texts to embed or to score, and the callback for the result.
pub struct EmbedJob {
    /// Name of the model.
    pub model: String,
    /// The tenant's queue.
    pub queue: TenantQueueId,
    /// Class of the job.
    pub kind: TaskKind,
    /// Each gets one vector, in this order, or one score if there is a question.
    pub texts: Vec<Untrusted>,
    /// The query that the texts are scored against.
    pub question: Option<Untrusted>,
    /// Set when the caller no longer needs the result; texts that have not started are then skipped.
    pub cancelled: Arc<AtomicBool>,
    /// Called once on a model thread (for jobs that are still queued, on the thread that calls [`crate::Models::stop`])
    /// with `texts.len() * dimensions` floats, or with `texts.len()` scores if there is a question. It must be quick,
    /// because it blocks that thread.
    pub done: Callback,
}

impl fmt::Debug for EmbedJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("kind", &self.kind).field("texts", &self.texts.len()).finish_non_exhaustive()
    }
}

/// Current load and totals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Texts that wait now.
    pub waiting: usize,
    /// Texts that are being embedded now.
    pub running: usize,
    /// Totals by model, in the order of [`crate::Models::list`].
    pub models: Vec<ModelStats>,
}

/// Totals of one model since it was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelStats {
    /// The model's name.
    pub name: String,
    /// Number of texts embedded.
    pub texts_total: u64,
    /// Number of tokens embedded after truncation, special ones included.
    pub tokens_total: u64,
    /// Nanoseconds inside ONNX Runtime, summed over threads.
    pub busy_ns: u64,
}
