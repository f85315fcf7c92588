//! ONNX Runtime, all of it: loading the library, opening sessions on a provider, running them.
//!
//! The only file that knows `ort`. A missing, wrong or old library is an error here, where `ort` may panic.

use crate::{
    Error, Provider,
    embedder::{Embedded, Embedder, normalise},
    tokens::{Batch, Encoder},
};
use kernel::{Clock, SystemClock};
use ort::{
    environment::Environment,
    ep::CUDA,
    logging::LogLevel,
    session::{Session, SessionInputValue, builder::GraphOptimizationLevel},
    value::TensorRef,
};
use std::{
    panic::catch_unwind,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// How the operators begin whose result for one row depends on the other rows, since their scale is taken over the
/// whole batch: `DynamicQuantizeLinear`, `…MatMul`, `…LSTM`.
pub(crate) const MIXES_ROWS: &str = "DynamicQuantize";

/// The loaded library. There is one in a process, and it stays.
#[derive(Clone)]
pub(crate) struct Runtime(Arc<Environment>);

static LOADED: Mutex<Option<(PathBuf, Runtime)>> = Mutex::new(None);

impl Runtime {
    /// Loads the library, once.
    pub(crate) fn load(path: &Path) -> Result<Self, Error> {
        let real = path.canonicalize().map_err(|_| Error::RuntimeMissing { path: path.to_path_buf() })?;
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((there, runtime)) = &*loaded {
            if *there == real {
                return Ok(runtime.clone());
            }
            return Err(Error::RuntimeOther { loaded: there.clone(), asked: real });
        }
        let unusable = |why: String| Error::RuntimeUnusable { path: path.to_path_buf(), why };
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
        // Its own log knows nothing of ours and goes to stderr; errors also come back as results.
        environment.set_log_level(LogLevel::Fatal);
        Ok(environment)
    }
}

/// All that a thread needs to open its session.
pub(crate) struct Opening {
    pub(crate) runtime: Runtime,
    pub(crate) path: PathBuf,
    pub(crate) encoder: Arc<Encoder>,
    pub(crate) intra_threads: usize,
}

/// What a first run showed.
#[derive(Clone, Copy)]
pub(crate) struct Checked {
    pub(crate) dimensions: usize,
    /// The one that serves; `Cpu` where the GPU could not be had and that was allowed.
    pub(crate) provider: Provider,
    /// A vector is the same alone and in a batch.
    rows_independent: bool,
}

impl Checked {
    pub(crate) fn provider_name(&self) -> &'static str {
        match self.provider {
            Provider::Cpu => "cpu",
            Provider::Cuda { .. } => "cuda",
        }
    }

    /// Texts per call. On a processor 8 at once are 4 % cheaper than one by one, 32 dearer, and a query that comes
    /// meanwhile waits for all of them.
    pub(crate) fn batch_max(&self) -> usize {
        match self.provider {
            _ if !self.rows_independent => 1,
            Provider::Cpu => 4,
            Provider::Cuda { .. } => 32,
        }
    }
}

impl Opening {
    /// Opens the model once and runs it, to know that it works and on what.
    pub(crate) fn check(&self, provider: Provider, may_batch: bool) -> Result<Checked, Error> {
        match self.try_check(provider, may_batch) {
            Err(error @ Error::Cuda { .. }) if matches!(provider, Provider::Cuda { allow_cpu: true, .. }) => {
                tracing::warn!(%error, "the GPU cannot serve; models run on the CPU, as `models.allow_cpu` permits");
                self.try_check(Provider::Cpu, may_batch)
            }
            checked => checked,
        }
    }

    /// A session for one thread.
    pub(crate) fn open(&self, provider: Provider) -> Result<Box<dyn Embedder>, Error> {
        Ok(Box::new(self.session(provider)?))
    }

    fn try_check(&self, provider: Provider, may_batch: bool) -> Result<Checked, Error> {
        let mut onnx = self.session(provider)?;
        let alone = onnx.embed(&[PROBE[0]]).map_err(|e| self.unusable(&e.to_string()))?.vectors;
        let dimensions = alone.len();
        if dimensions == 0 || !alone.iter().all(|x| x.is_finite()) {
            return Err(self.unusable("it gives no finite vector"));
        }
        // Too many positions in its configuration would only show on the first long text.
        onnx.embed(&[&PROBE[0].repeat(self.encoder.max_tokens())]).map_err(|e| {
            let limit = self.encoder.max_tokens();
            self.unusable(&format!("it fails at {limit} tokens, see max_seq_length in sentence_bert_config.json: {e}"))
        })?;
        let rows_independent = may_batch && onnx.embed(&PROBE).is_ok_and(|among| is_same(&alone, &among.vectors));
        Ok(Checked { dimensions, provider, rows_independent })
    }

    fn session(&self, provider: Provider) -> Result<Onnx, Error> {
        let run = |e: ort::Error| self.unusable(&e.to_string());
        let mut builder = Session::builder(&self.runtime.0)
            .map_err(run)?
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(|e| self.unusable(&e.to_string()))?
            .with_intra_threads(self.intra_threads)
            .map_err(|e| self.unusable(&e.to_string()))?
            .with_intra_op_spinning(false)
            .map_err(|e| self.unusable(&e.to_string()))?
            // Without VNNI the fast int8 kernels saturate in silence; these do not, and elsewhere nothing changes.
            .with_config_entry("session.x64quantprecision", "1")
            .map_err(|e| self.unusable(&e.to_string()))?
            // Every length of text would leave a plan and its memory behind.
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
        Onnx::new(session, Arc::clone(&self.encoder)).map_err(|why| self.unusable(&why))
    }

    fn unusable(&self, why: &str) -> Error {
        Error::Unusable { path: self.path.clone(), why: why.to_owned() }
    }
}

struct Onnx {
    session: Session,
    encoder: Arc<Encoder>,
    wants_types: bool,
    output: Output,
    clock: SystemClock,
}

/// What the graph ends in.
#[derive(Clone, Copy)]
enum Output {
    /// One vector per text.
    Sentence,
    /// One vector per token: averaged here.
    Hidden,
}

impl Output {
    fn name(self) -> &'static str {
        match self {
            Output::Sentence => "sentence_embedding",
            Output::Hidden => "last_hidden_state",
        }
    }
}

impl Onnx {
    fn new(session: Session, encoder: Arc<Encoder>) -> Result<Self, String> {
        let inputs: Vec<&str> = session.inputs().iter().map(|i| i.name()).collect();
        if let Some(other) = inputs.iter().find(|i| ![IDS, MASK, TYPES].contains(i)) {
            return Err(format!("it wants an input `{other}`; {IDS}, {MASK} and {TYPES} can be given"));
        }
        if !inputs.contains(&IDS) || !inputs.contains(&MASK) {
            return Err(format!("it has no inputs {IDS} and {MASK}"));
        }
        let has = |output: &Output| session.outputs().iter().any(|o| o.name() == output.name());
        let output = [Output::Sentence, Output::Hidden].into_iter().find(has);
        let output = output.ok_or("it has neither an output sentence_embedding nor last_hidden_state")?;
        let wants_types = inputs.contains(&TYPES);
        Ok(Self { session, encoder, wants_types, output, clock: SystemClock::new() })
    }

    fn run(&mut self, batch: &Batch) -> Result<Vec<f32>, ort::Error> {
        let shape = [batch.rows, batch.columns];
        let mut inputs: Vec<(&str, SessionInputValue<'_>)> = vec![
            (IDS, TensorRef::from_array_view((shape, &batch.ids[..]))?.into()),
            (MASK, TensorRef::from_array_view((shape, &batch.mask[..]))?.into()),
        ];
        if self.wants_types {
            inputs.push((TYPES, TensorRef::from_array_view((shape, &batch.types[..]))?.into()));
        }
        let outputs = self.session.run(inputs)?;
        let (_, values) = outputs[self.output.name()].try_extract_tensor::<f32>()?;
        Ok(match self.output {
            Output::Sentence => values.to_vec(),
            Output::Hidden => pool(values, batch),
        })
    }
}

impl Embedder for Onnx {
    fn embed(&mut self, texts: &[&str]) -> Result<Embedded, Error> {
        let batch = self.encoder.batch(texts)?;
        let start = self.clock.monotonic();
        let mut vectors = self.run(&batch).map_err(|e| Error::Run(e.to_string()))?;
        let busy = self.clock.monotonic().saturating_sub(start);
        let dimensions = vectors.len() / batch.rows.max(1);
        vectors.chunks_exact_mut(dimensions.max(1)).for_each(normalise);
        Ok(Embedded { vectors, tokens: batch.tokens, busy })
    }
}

/// The mean of each text's tokens, padding left out.
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
    // Not divided by the count: the direction is what counts, the length becomes 1.
    pooled
}

fn is_same(alone: &[f32], among: &[f32]) -> bool {
    among.len() == alone.len() * PROBE.len() && alone.iter().zip(among).all(|(a, b)| (a - b).abs() <= SAME)
}

/// Two texts of unequal length and kind: where rows mix, the short one shows it.
const PROBE: [&str; 2] = [
    "The quick brown fox jumps over the lazy dog.",
    "Store keys in a vault & rotate them every 90 days; §7(b) applies. 密钥 🔑 — never e-mail them, never print them, \
     and never leave them in a log file where a neighbour may read them in 2031.",
];

/// Rounding differs by batch shape; a mixed row differs by far more.
const SAME: f32 = 1e-5;

const IDS: &str = "input_ids";
const MASK: &str = "attention_mask";
const TYPES: &str = "token_type_ids";
