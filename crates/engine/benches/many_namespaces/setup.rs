//! The data of this benchmark: sizes, the engine's components, and names and vectors on which both phases agree.

use access::{Action, Grant, RequestInfo};
use anyhow::{Context, Result, anyhow};
use engine::{Engine, EngineConfig};
use kernel::{Clock, Entropy, NamespaceName, OsEntropy, SeededEntropy, SystemClock};
use models::Models;
use std::{path::Path, sync::Arc, time::Duration};
use vault::LocalProvider;

pub(crate) struct Sizes {
    pub(crate) tenants: usize,
    pub(crate) namespaces: usize,
    pub(crate) passages: usize,
    pub(crate) searches: usize,
    /// Dimensions of the callers' vectors.
    pub(crate) dimensions: usize,
    /// Rows at which a memtable is flushed.
    flush_rows: usize,
}

impl Sizes {
    pub(crate) fn from_environment() -> Result<Self> {
        let number = |name: &str, default: usize| match std::env::var(format!("RINGFENCE_MANY_{name}")) {
            Ok(text) => text.parse().with_context(|| format!("RINGFENCE_MANY_{name} must be a number")),
            Err(_) => Ok(default),
        };
        Ok(Self {
            tenants: number("TENANTS", 10)?,
            namespaces: number("NAMESPACES", 20)?,
            passages: number("PASSAGES", 20)?,
            searches: number("SEARCHES", 100)?,
            dimensions: number("DIMENSIONS", 384)?,
            flush_rows: number("FLUSH_ROWS", 20_000)?,
        })
    }
}

pub(crate) async fn open(sizes: &Sizes, folder: &Path) -> Result<(Engine, Option<zeroize::Zeroizing<String>>)> {
    let provider = LocalProvider::from_env_value(&"5a".repeat(32), Arc::new(OsEntropy))?;
    let storage = crate::stores::storage(folder).await?;
    let config = EngineConfig {
        memory_bytes_max: 1 << 30,
        flush_rows_max: sizes.flush_rows as u64,
        ..EngineConfig::new(storage, provider, Models::unavailable("a benchmark"))
    };
    Engine::open(config).await.map_err(flow_error)
}

/// Admits a request as the HTTP layer does.
pub(crate) async fn grant<A: Action>(engine: &Engine, key: &str, namespace: usize) -> Result<Grant<A>> {
    let ask = RequestInfo {
        namespace: Some(name(namespace)?),
        request: engine.request_id(),
        trace: None,
        cancel: kernel::CancelFlag::default(),
    };
    engine.admit::<A>(Some(key), ask).await.map_err(|refusal| flow_error(refusal.error))
}

pub(crate) fn name(n: usize) -> Result<NamespaceName> {
    NamespaceName::parse(&format!("namespace-{n:06}")).map_err(flow_error)
}

/// A random direction that both phases can reproduce.
pub(crate) fn vector(seed: u64, dimensions: usize) -> Vec<f32> {
    let mut bytes = vec![0; dimensions];
    SeededEntropy::new(seed).fill(&mut bytes);
    bytes.iter().map(|b| f32::from(*b) / 128.0 - 1.0).collect()
}

pub(crate) fn flow_error(error: kernel::Error) -> anyhow::Error {
    anyhow!(error)
}

/// A clock for durations.
pub(crate) struct Stopwatch(SystemClock, Duration);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        let clock = SystemClock::new();
        let now = clock.monotonic();
        Self(clock, now)
    }

    pub(crate) fn read(&self) -> Duration {
        self.0.monotonic() - self.1
    }
}
