//! What the engine is built from. Parts (clock, entropy, provider, models) are given, not named.

use journal::Storage;
use kernel::{Clock, Entropy, OsEntropy, SystemClock, limits};
use models::Models;
use registry::KeyConfig;
use std::{sync::Arc, time::Duration};

/// Parts and bounds.
pub struct EngineConfig {
    /// Where everything is kept.
    pub storage: Storage,
    /// Who wraps tenants' keys, and for how long they are used without asking again.
    pub keys: KeyConfig,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// What embeds.
    pub models: Models,
    /// An operator token to adopt instead of minting one.
    pub adopt_operator: Option<String>,
    /// Threads for searches and screening.
    pub cpu_threads: usize,
    /// CPU jobs that may wait.
    pub cpu_queue_max: usize,
    /// Searches at once, all tenants; one tenant gets at most half.
    pub searches_max: usize,
    /// Writes at once, all tenants; one tenant gets at most half.
    pub writes_max: usize,
    /// Bytes that open namespaces may hold before idle ones are closed.
    pub memory_bytes_max: u64,
    /// Bytes of text in memory before a namespace is flushed.
    pub flush_bytes_max: u64,
    /// Rows in memory before a namespace is flushed.
    pub flush_rows_max: u64,
    /// Open namespaces, audit logs and tenants' directories above which idle ones are closed, each.
    pub namespaces_open_max: u64,
    /// See `namespaces_open_max`.
    pub audit_chains_open_max: u64,
    /// See `namespaces_open_max`.
    pub tenants_open_max: u64,
    /// Log files and objects that this process may have open.
    pub files_max: u64,
    /// A flushed segment up to this stands in the checkpoint itself, bytes. A benchmark that wants many objects says 0.
    #[doc(hidden)]
    pub inline_bytes_max: usize,
    /// By when a deleted document is in no object and no log. Zero: whenever merges get there.
    pub erase_within: Duration,
    /// Whether tenants take turns for threads. Only a benchmark says no, to have something to compare with.
    #[doc(hidden)]
    pub turns: bool,
    /// Whether `hnsw_rs` builds the graphs of large segments, instead of our own builder: ten times as dear.
    pub reference_graphs: bool,
    /// Whether a read waits until its audit line is durable.
    pub strict_audit: bool,
}

impl EngineConfig {
    /// Defaults for a small machine.
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
            audit_chains_open_max: limits::AUDIT_CHAINS_OPEN_MAX,
            tenants_open_max: limits::TENANTS_OPEN_MAX,
            files_max: u64::MAX,
            inline_bytes_max: store::INLINE_BYTES_MAX,
            erase_within: limits::ERASE_WITHIN,
            turns: true,
            reference_graphs: false,
            strict_audit: false,
        }
    }
}
