//! Configuration of the engine. Its clock, entropy, key provider and models are passed in.

use journal::Storage;
use kernel::{Clock, Entropy, OsEntropy, SystemClock, limits};
use models::Models;
use registry::KeyConfig;
use std::{sync::Arc, time::Duration};

/// Components and limits of an engine.
pub struct EngineConfig {
    /// The storage.
    pub storage: Storage,
    /// The providers that wrap tenants' keys, and how long unwrapped keys are used before a provider is asked again.
    pub keys: KeyConfig,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The embedding and reranking models.
    pub models: Models,
    /// The operator token to adopt instead of generating one.
    pub adopt_operator: Option<String>,
    /// Threads for searches and screening.
    pub cpu_threads: usize,
    /// Most CPU jobs that may wait.
    pub cpu_queue_max: usize,
    /// Most concurrent searches of all tenants; one tenant gets at most half.
    pub searches_max: usize,
    /// Most concurrent writes of all tenants; one tenant gets at most half.
    pub writes_max: usize,
    /// Bytes that open namespaces may hold before idle ones are closed.
    pub memory_bytes_max: u64,
    /// Bytes of text in memory before a namespace is flushed.
    pub flush_bytes_max: u64,
    /// Rows in memory before a namespace is flushed.
    pub flush_rows_max: u64,
    /// Number of open namespaces above which idle ones are closed.
    pub namespaces_open_max: u64,
    /// Number of open audit logs above which idle ones are closed.
    pub audit_logs_open_max: u64,
    /// Number of open tenants' directories above which idle ones are closed.
    pub tenants_open_max: u64,
    /// Most log files and objects that this process may have open.
    pub files_max: u64,
    /// A flushed segment up to this size in bytes is stored in the checkpoint itself. 0 for a benchmark that needs many
    /// objects.
    #[doc(hidden)]
    pub inline_bytes_max: usize,
    /// Time after which a deleted document is in no object and no log. Zero sets no bound: merges remove it eventually.
    pub erase_within: Duration,
    /// Whether tenants take turns for threads. `false` only in a benchmark, as its control.
    #[doc(hidden)]
    pub fair_scheduling: bool,
    /// Whether `hnsw_rs` builds the graphs of large segments instead of our own builder. It costs ten times as much.
    pub reference_graphs: bool,
    /// Whether a read waits until its audit record is durable.
    pub strict_audit: bool,
}

impl EngineConfig {
    /// Default limits for a small machine.
    pub fn new(storage: Storage, keys: impl Into<KeyConfig>, models: Models) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            storage,
            keys: keys.into(),
            clock: Arc::new(SystemClock::new()),
            entropy: Arc::new(OsEntropy),
            models,
            adopt_operator: None,
            cpu_threads: cores,
            cpu_queue_max: 1_024,
            searches_max: 512,
            writes_max: 256,
            memory_bytes_max: 4 << 30,
            flush_bytes_max: 16 << 20,
            flush_rows_max: 20_000,
            namespaces_open_max: limits::NAMESPACES_OPEN_MAX,
            audit_logs_open_max: limits::AUDIT_LOGS_OPEN_MAX,
            tenants_open_max: limits::TENANTS_OPEN_MAX,
            files_max: u64::MAX,
            inline_bytes_max: store::INLINE_BYTES_MAX,
            erase_within: limits::ERASE_WITHIN,
            fair_scheduling: true,
            reference_graphs: false,
            strict_audit: false,
        }
    }
}
