//! ONNX Runtime: loads the library, opens sessions on a provider, and determines what a model returns.
//!
//! Only this module and its submodules use `ort`. A missing, wrong or old library is an error here, where `ort` may
//! panic.

mod late;
mod session;

use crate::{Error, Provider, Reranks, TaskKind, embedder::Embedder, pending::Question, tokens::Encoder};
use kernel::Untrusted;
use ort::{
    environment::Environment,
    ep::CUDA,
    logging::LogLevel,
    session::{Session, builder::GraphOptimizationLevel},
};
use parking_lot::Mutex;
use session::OnnxEmbedder;
use std::{
    panic::catch_unwind,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Prefix of the operators whose result for one row depends on the other rows, because their scale is computed over the
/// whole batch: `DynamicQuantizeLinear`, `…MatMul`, `…LSTM`.
pub(crate) const MIXES_ROWS: &str = "DynamicQuantize";

/// The loaded library. A process has one, and never unloads it.
#[derive(Clone)]
pub(crate) struct Runtime(Arc<Environment>);

static LOADED: Mutex<Option<(PathBuf, Runtime)>> = Mutex::new(None);

impl Runtime {
    /// Loads the library on the first call.
    pub(crate) fn load(path: &Path) -> Result<Self, Error> {
        let real = path.canonicalize().map_err(|_| Error::RuntimeMissing { path: path.to_path_buf() })?;
        let mut loaded = LOADED.lock();
        // A second library in one process is refused.
        if let Some((loaded_path, runtime)) = &*loaded {
            if *loaded_path == real {
                return Ok(runtime.clone());
            }
            return Err(Error::RuntimeConflict { loaded: loaded_path.clone(), asked: real });
        }
        let unusable = |why: String| Error::RuntimeUnusable { path: path.to_path_buf(), why };
        // `ort` panics on a library without the expected interface.
        let environment = match catch_unwind(|| Self::environment(&real)) {
            Ok(Ok(environment)) => environment,
            Ok(Err(why)) => return Err(unusable(why)),
            Err(_panic) => return Err(unusable("it does not offer the interface of ONNX Runtime 1.24".to_owned())),
        };
        let runtime = Self(Arc::new(environment));
        *loaded = Some((real, runtime.clone()));
        Ok(runtime)
    }

    fn environment(path: &Path) -> Result<Environment, String> {
        let builder = ort::init_from(path).map_err(|e| e.to_string())?;
        let environment = builder.with_name("ringfence").with_telemetry(false).build().map_err(|e| e.to_string())?;
        // Its own log does not know our rules and goes to stderr; errors are also returned as results.
        environment.set_log_level(LogLevel::Fatal);
        Ok(environment)
    }
}

/// Everything that a thread needs to open its session.
pub(crate) struct SessionOpener {
    pub(crate) runtime: Runtime,
    pub(crate) path: PathBuf,
    pub(crate) encoder: Arc<Encoder>,
    pub(crate) intra_threads: usize,
}

/// Results of a first run.
#[derive(Clone, Copy)]
pub(crate) struct CheckResult {
    /// Values per vector; 0 if the model returns no vectors.
    pub(crate) dimensions: usize,
    pub(crate) reranks: Option<Reranks>,
    /// The provider that serves; `Cpu` when the GPU was unavailable and the fallback was allowed.
    pub(crate) provider: Provider,
    /// Whether a text's vector or score is the same alone and in a batch.
    rows_independent: bool,
}

impl CheckResult {
    pub(crate) fn provider_name(&self) -> &'static str {
        match self.provider {
            Provider::Cpu => "cpu",
            Provider::Cuda { .. } => "cuda",
        }
    }

    /// Texts per call. On a CPU, 8 at once are 4 % cheaper than one by one, and 32 are more expensive; a query that
    /// arrives meanwhile waits for all of them.
    pub(crate) fn batch_max(&self) -> usize {
        match self.provider {
            _ if !self.rows_independent => 1,
            Provider::Cpu => 4,
            Provider::Cuda { .. } => 32,
        }
    }
}

impl SessionOpener {
    /// Opens the model once and runs it, to determine that it works and on which provider.
    pub(crate) fn check(&self, provider: Provider, may_batch: bool) -> Result<CheckResult, Error> {
        match self.try_check(provider, may_batch) {
            Err(error @ Error::Cuda { .. }) if matches!(provider, Provider::Cuda { allow_cpu: true, .. }) => {
                tracing::warn!(%error, "the GPU cannot serve; models run on the CPU, as `models.allow_cpu` permits");
                self.try_check(Provider::Cpu, may_batch)
            }
            checked => checked,
        }
    }

    /// Opens a session for one thread.
    pub(crate) fn open(&self, provider: Provider) -> Result<Box<dyn Embedder>, Error> {
        Ok(Box::new(self.session(provider)?))
    }

    fn try_check(&self, provider: Provider, may_batch: bool) -> Result<CheckResult, Error> {
        let mut onnx = self.session(provider)?;
        let capabilities = onnx.capabilities();
        // A configuration with too many positions would otherwise fail only on the first long text.
        let long = PROBE[0].repeat(self.encoder.max_tokens());
        let at_limit = |e: Error| {
            let limit = self.encoder.max_tokens();
            self.unusable(&format!("it fails at {limit} tokens, see max_seq_length in sentence_bert_config.json: {e}"))
        };
        let (mut dimensions, mut rows_independent) = (0, may_batch);
        if capabilities.embeds {
            let alone = onnx.embed(TaskKind::Passage, &PROBE[..1]).map_err(|e| self.unusable(&e.to_string()))?.values;
            dimensions = alone.len();
            if dimensions == 0 || !alone.iter().all(|x| x.is_finite()) {
                return Err(self.unusable("it returns no finite vector"));
            }
            onnx.embed(TaskKind::Passage, &[&long]).map_err(at_limit)?;
            rows_independent = rows_independent
                && onnx.embed(TaskKind::Passage, &PROBE).is_ok_and(|in_batch| is_same(&alone, &in_batch.values));
        }
        if capabilities.reranks.is_some() {
            let question = Question::new(Untrusted::new(PROBE[1]));
            let alone = onnx.score(&question, &PROBE[..1]).map_err(|e| self.unusable(&e.to_string()))?.values;
            if alone.len() != 1 || !alone.iter().all(|x| x.is_finite()) {
                return Err(self.unusable("its output is not a single finite score for a query and a passage"));
            }
            onnx.score(&question, &[&long]).map_err(at_limit)?;
            rows_independent = rows_independent
                && onnx.score(&question, &PROBE).is_ok_and(|in_batch| is_same(&alone, &in_batch.values));
        }
        Ok(CheckResult { dimensions, reranks: capabilities.reranks, provider, rows_independent })
    }

    fn session(&self, provider: Provider) -> Result<OnnxEmbedder, Error> {
        let run = |e: ort::Error| self.unusable(&e.to_string());
        let mut builder = Session::builder(&self.runtime.0)
            .map_err(run)?
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(|e| self.unusable(&e.to_string()))?
            .with_intra_threads(self.intra_threads)
            .map_err(|e| self.unusable(&e.to_string()))?
            .with_intra_op_spinning(false)
            .map_err(|e| self.unusable(&e.to_string()))?
            // Without VNNI the fast int8 kernels saturate silently. These do not, and on other machines nothing
            // changes.
            .with_config_entry("session.x64quantprecision", "1")
            .map_err(|e| self.unusable(&e.to_string()))?
            // Otherwise every text length would leave a plan and its memory behind.
            .with_memory_pattern(false)
            .map_err(|e| self.unusable(&e.to_string()))?;
        if let Provider::Cuda { device, .. } = provider {
            let cuda = CUDA::default().with_device_id(device).build().error_on_failure();
            builder =
                builder.with_execution_providers([cuda]).map_err(|e| Error::Cuda { device, why: e.to_string() })?;
        }
        let session = builder.commit_from_file(&self.path).map_err(|e| match provider {
            Provider::Cpu => self.unusable(&e.to_string()),
            Provider::Cuda { device, .. } => Error::Cuda { device, why: e.to_string() },
        })?;
        OnnxEmbedder::new(session, Arc::clone(&self.encoder)).map_err(|why| self.unusable(&why))
    }

    fn unusable(&self, why: &str) -> Error {
        Error::Unusable { path: self.path.clone(), why: why.to_owned() }
    }
}

fn is_same(alone: &[f32], in_batch: &[f32]) -> bool {
    in_batch.len() == alone.len() * PROBE.len() && alone.iter().zip(in_batch).all(|(a, b)| (a - b).abs() <= SAME)
}

/// Two texts of unequal length and kind: if rows mix, the short one reveals it.
const PROBE: [&str; 2] = [
    "The quick brown fox jumps over the lazy dog.",
    "Store keys in a vault & rotate them every 90 days; §7(b) applies. 密钥 🔑 — never e-mail them, never print them, \
     and never leave them in a log file where a neighbour may read them in 2031.",
];

/// Rounding differs by batch shape; a mixed row differs by far more.
const SAME: f32 = 1e-5;
