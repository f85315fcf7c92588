//! The engine: its components, how it opens and how it closes.

use crate::{
    EngineConfig, FlowResult,
    admission::{AdmissionLimiter, Permit},
    key_watch::KeyWatch,
    ownership::Ownership,
    recall::RecallCounters,
    sweeper::{ErasureHealth, RetentionSweeper},
    work::{ExecutorConfig, TaskContext, Work},
};
use access::{Action, Gate, Grant, Refusal, RequestInfo};
use kernel::{Clock, Code, CommitNo, Entropy, Error, Incarnation, RequestId, Timestamp, limits};
use ledger::{AuditEvent, AuditLog};
use models::Models;
use registry::Registry;
use std::{sync::Arc, time::Duration};
use store::{Stores, StoresConfig, StoresStats};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use zeroize::Zeroizing;

/// A server without its network. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) gate: Gate,
    pub(crate) registry: Registry,
    pub(crate) stores: Stores,
    pub(crate) audit_log: AuditLog,
    pub(crate) models: Models,
    pub(crate) work: Work,
    pub(crate) searches: AdmissionLimiter,
    /// Memory that replies take while they are made, and until the connection has written them.
    pub(crate) search_bytes: AdmissionLimiter,
    /// Memory that writes take until they are committed, in bytes.
    pub(crate) write_bytes: AdmissionLimiter,
    pub(crate) recalled: RecallCounters,
    pub(crate) writes: AdmissionLimiter,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) tracker: TaskTracker,
    pub(crate) strict_audit: bool,
    pub(crate) ownership: Ownership,
    pub(crate) key_watch: KeyWatch,
    pub(crate) sweeper: RetentionSweeper,
    /// Cancelled when the engine closes; long work then ends between two steps.
    pub(crate) stopping: CancellationToken,
}

/// Numbers for metrics and `doctor`. It contains no names.
#[derive(Debug)]
pub struct EngineHealth {
    /// Statistics of the namespaces.
    pub stores: StoresStats,
    /// Statistics of the tenants.
    pub tenants: registry::TenantStats,
    /// State of each key provider.
    pub providers: Vec<registry::ProviderHealth>,
    /// Statistics of the models.
    pub models: models::QueueStats,
    /// Namespaces that are refused because their commits differ from those in their tenants' audits.
    pub rollbacks: u64,
    /// Audit logs that are open.
    pub open_audit_logs: u64,
    /// Exact neighbours over all measurements of recall, and how many of them the serving path found.
    pub recalled: (u64, u64),
    /// CPU jobs that wait for a thread.
    pub cpu_waiting: usize,
    /// Searches in progress.
    pub searches: u64,
    /// Bytes that replies take.
    pub search_bytes: u64,
    /// Writes in progress.
    pub writes: u64,
    /// What the last sweep over all namespaces found.
    pub erasures: ErasureHealth,
}

impl Engine {
    /// Opens the storage and continues operations that a crash left unfinished. Tenants and namespaces open with their
    /// first request. The token is that of the first operator and is returned on the first start only.
    ///
    /// # Errors
    /// When the root key does not decrypt the system's keys, or the storage cannot be read.
    pub async fn open(config: EngineConfig) -> Result<(Self, Option<Zeroizing<String>>), Error> {
        let storage = config.storage.clone();
        let tracker = TaskTracker::new();
        let (registry, token) = Registry::open(
            storage.clone(),
            config.keys.clone(),
            config.clock.clone(),
            config.entropy.clone(),
            tracker.clone(),
            config.adopt_operator.as_deref(),
        )
        .await?;
        let work = Work::new(ExecutorConfig {
            cores: config.cpu_threads,
            waiting_max: config.cpu_queue_max,
            clock: config.clock.clone(),
            fair: config.fair_scheduling,
        })?;
        let clock = config.clock.clone();
        work.spawn_background(move || segment::calibrate(|| clock.monotonic()));
        let audit_log = AuditLog::new(ledger::AuditLogConfig {
            storage: storage.clone(),
            directory: registry.directory(),
            control: registry.audit_keyspace(),
            clock: config.clock.clone(),
            entropy: config.entropy.clone(),
            tracker: tracker.clone(),
            chains_open_max: config.audit_logs_open_max,
        });
        let write_bytes =
            AdmissionLimiter::new((config.memory_bytes_max / 8).max(limits::WRITES_BYTES_MIN), "bytes in writes");
        let stores = Stores::new(StoresConfig {
            storage,
            directory: registry.directory(),
            clock: config.clock.clone(),
            entropy: config.entropy.clone(),
            sink: audit_log.sink(),
            cpu: Arc::new(work.clone()),
            tracker: tracker.clone(),
            flush_bytes_max: config.flush_bytes_max,
            flush_rows_max: config.flush_rows_max,
            memory_bytes_max: config.memory_bytes_max,
            stale_reads_max: kernel::limits::STALE_READS_MAX,
            // One job for each thread of the background pool, within a quarter of the memory of namespaces.
            maintenance_jobs_max: config.cpu_threads.div_ceil(2),
            maintenance_bytes_max: config.memory_bytes_max / 4,
            short_merge_bytes_max: store::SHORT_MERGE_BYTES_MAX,
            erase_within: config.erase_within,
            graphs: if config.reference_graphs { segment::GraphMode::Reference } else { segment::GraphMode::Built },
            inline_bytes_max: config.inline_bytes_max,
        })
        .with_open_limits(config.namespaces_open_max, config.files_max)
        .with_write_memory(Arc::new(write_bytes.clone()));
        registry.bound_open(config.tenants_open_max);
        let ownership = Ownership::watch(&config.storage, &registry, &config.clock, &tracker);
        let gate = Gate::new(registry.credentials(), config.clock.clone());
        let engine = Self {
            inner: Arc::new(Inner {
                gate,
                registry,
                stores,
                audit_log,
                models: config.models,
                work,
                searches: AdmissionLimiter::new(config.searches_max as u64, "searches"),
                search_bytes: AdmissionLimiter::new(
                    (config.memory_bytes_max / 8).max(limits::REPLIES_BYTES_MIN),
                    "bytes in replies",
                ),
                write_bytes,
                recalled: RecallCounters::default(),
                writes: AdmissionLimiter::new(config.writes_max as u64, "writes"),
                clock: config.clock,
                entropy: config.entropy,
                tracker,
                strict_audit: config.strict_audit,
                ownership,
                key_watch: KeyWatch::default(),
                sweeper: RetentionSweeper::new(config.erase_within),
                stopping: CancellationToken::new(),
            }),
        };
        engine.inner.key_watch.start(&engine);
        engine.inner.sweeper.start(&engine);
        engine.resume_operations();
        Ok((engine, token))
    }

    /// Runs `f` on a request thread in its tenant's turn, for example to parse a large request.
    ///
    /// # Errors
    /// `overloaded` and `rate_limited` when the queue is full; `overloaded` when the client has disconnected;
    /// `internal` when `f` panicked.
    pub async fn run_in_turn<A: Action, T: Send + 'static>(
        &self,
        grant: &Grant<A>,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.inner.work.cpu(TaskContext::answer(grant), f).await
    }

    /// Makes queued records durable and waits for running work to end: up to `wait` for the directories' logs, then up
    /// to `wait` again for background tasks.
    pub async fn close(&self, wait: Duration) {
        let inner = &self.inner;
        inner.stopping.cancel();
        inner.ownership.stop();
        inner.key_watch.stop();
        inner.sweeper.stop();
        inner.stores.close().await;
        self.report_key_events().await;
        inner.audit_log.close().await;
        if tokio::time::timeout(wait, inner.registry.close()).await.is_err() {
            tracing::warn!("not every directory's log was ended in time; their next openings take longer");
        }
        inner.tracker.close();
        if tokio::time::timeout(wait, inner.tracker.wait()).await.is_err() {
            tracing::warn!("background work did not end in time; a restart continues it");
        }
        inner.models.stop();
    }

    /// Authenticates an API key and authorizes the request. If the secret is right, the tenant is opened first; a
    /// tenant that does not open is refused by the gate. A request with a wrong secret opens nothing.
    ///
    /// # Errors
    /// The gate's refusal.
    pub async fn admit<A: Action>(&self, bearer: Option<&str>, ask: RequestInfo) -> Result<Grant<A>, Refusal> {
        let inner = &self.inner;
        inner.ownership.check().map_err(Refusal::of_all)?;
        // Held until the grant holds the tenant open itself.
        let _open = match inner.gate.recognise(bearer) {
            Some(incarnation) => inner.registry.prepare(incarnation).await,
            None => None,
        };
        inner.gate.admit(bearer, ask).map_err(|mut refusal| {
            let tenant = refusal.known.as_ref().filter(|_| refusal.error.code == Code::KeyUnavailable);
            let why = tenant.and_then(|(_, incarnation, _)| inner.registry.unopened(*incarnation));
            // The keys are fine: it is the storage that does not answer now.
            if let Some((Code::Overloaded, why)) = why {
                refusal.error = Error::new(Code::Overloaded, why);
            }
            refusal
        })
    }

    /// Resolves when another server has taken over the storage. This server must then stop, since its answers may be
    /// stale. Never resolves for a folder, which is locked.
    pub async fn taken_over(&self) {
        self.inner.ownership.taken_over().await;
    }

    /// The gate, which authenticates operators, and API keys of open tenants: see [`Engine::admit`].
    pub fn gate(&self) -> &Gate {
        &self.inner.gate
    }

    /// The audit log.
    pub fn audit_log(&self) -> &AuditLog {
        &self.inner.audit_log
    }

    /// The embedding and reranking models.
    pub fn models(&self) -> &Models {
        &self.inner.models
    }

    /// The wall-clock time.
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// A fresh request id.
    pub fn request_id(&self) -> RequestId {
        RequestId::random(&*self.inner.entropy)
    }

    /// Whether requests can be served.
    ///
    /// # Errors
    /// The reason why they cannot.
    pub fn ready(&self) -> Result<(), Error> {
        self.inner.ownership.check()?;
        self.inner.registry.ready()
    }

    /// Acquires a permit for the memory of a reply of this length, before the work begins.
    ///
    /// # Errors
    /// `overloaded`, `rate_limited` and `too_large`, as the limiter of reply memory.
    pub fn reply_permit<A: Action>(&self, grant: &Grant<A>, bytes: u64) -> Result<Permit, Error> {
        self.inner.search_bytes.acquire(grant.incarnation(), bytes)
    }

    /// Runs `f`, which makes a long reply, in the turn of the tenant that holds the permit for the reply's memory.
    ///
    /// # Errors
    /// `internal` when `f` panicked, or the server has stopped.
    pub async fn run_reply_in_turn<T: Send + 'static>(
        &self,
        memory: &Permit,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.inner.work.run_final_step(memory.tenant(), f).await
    }

    /// Counts the memory of a reply to work that is already done, and so cannot be refused. `None` is an operator.
    pub fn count_reply(&self, tenant: Option<Incarnation>, bytes: u64) -> Permit {
        self.inner.search_bytes.force(tenant.unwrap_or(Incarnation::from_bytes([0; 16])), bytes)
    }

    /// Returns the numbers for metrics.
    pub fn health(&self) -> EngineHealth {
        let inner = &self.inner;
        EngineHealth {
            stores: inner.stores.stats(),
            tenants: inner.registry.stats(),
            providers: inner.registry.providers(),
            models: inner.models.stats(),
            open_audit_logs: inner.audit_log.open_chains(),
            rollbacks: inner.audit_log.rollbacks(),
            cpu_waiting: inner.work.waiting(),
            searches: inner.searches.count(),
            search_bytes: inner.search_bytes.count(),
            recalled: inner.recalled.sums(),
            writes: inner.writes.count(),
            erasures: inner.sweeper.health(),
        }
    }

    /// Finishes a flow that read. Its audit record is queued; if the audit is strict, this waits until it is durable.
    pub(crate) async fn finish_read<A: Action, T>(
        &self,
        grant: Grant<A>,
        end: Result<(T, AuditEvent), Error>,
    ) -> FlowResult<T> {
        let audit_log = &self.inner.audit_log;
        match end {
            Ok((body, event)) if self.inner.strict_audit => match audit_log.seal_durable(grant, event, body).await {
                Ok(sealed) => Ok(sealed),
                Err(refused) => Err(refused),
            },
            Ok((body, event)) => Ok(audit_log.seal(grant, event, body).await),
            Err(error) => Err(audit_log.refuse(grant, error).await),
        }
    }

    /// Finishes a flow that wrote. Its audit record is part of the commit.
    pub(crate) async fn finish_write<A: Action, T>(
        &self,
        grant: Grant<A>,
        end: Result<(T, CommitNo), Error>,
    ) -> FlowResult<T> {
        match end {
            Ok((body, commit)) => Ok(self.inner.audit_log.sealed_by_commit(grant, commit, body)),
            Err(error) => Err(self.inner.audit_log.refuse(grant, error).await),
        }
    }
}
