//! The engine: its parts, how it opens and how it closes.

use crate::{
    EngineConfig, Flow,
    eraser::{Eraser, ErasureHealth},
    key_watch::KeyWatch,
    ownership::Ownership,
    recall::Recalled,
    turnstile::{Pass, Turnstile},
    work::{Asker, LanesConfig, Work},
};
use access::{Action, Ask, Gate, Grant, Refusal};
use kernel::{Clock, Code, CommitNo, Entropy, Error, Incarnation, RequestId, Timestamp, limits};
use ledger::{Deed, Trail};
use models::Models;
use registry::Registry;
use std::{sync::Arc, time::Duration};
use store::{Stores, StoresConfig, StoresStats};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use zeroize::Zeroizing;

/// All parts of a server without its network. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) gate: Gate,
    pub(crate) registry: Registry,
    pub(crate) stores: Stores,
    pub(crate) trail: Trail,
    pub(crate) models: Models,
    pub(crate) work: Work,
    pub(crate) searches: Turnstile,
    /// Memory that answers take while they are made, and until they are written.
    pub(crate) search_bytes: Turnstile,
    /// Memory that writes take until they are committed.
    pub(crate) write_bytes: Turnstile,
    pub(crate) recalled: Recalled,
    pub(crate) writes: Turnstile,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) tracker: TaskTracker,
    pub(crate) strict_audit: bool,
    pub(crate) ownership: Ownership,
    pub(crate) key_watch: KeyWatch,
    pub(crate) eraser: Eraser,
    /// Long work ends between two steps.
    pub(crate) stopping: CancellationToken,
}

/// Numbers for metrics and `doctor`. No names.
#[derive(Debug)]
pub struct Health {
    /// The namespaces.
    pub stores: StoresStats,
    /// The tenants.
    pub tenants: registry::SeatStats,
    /// The key providers.
    pub providers: Vec<registry::ProviderHealth>,
    /// The models.
    pub models: models::Stats,
    /// Namespaces that are refused because they are not what their tenants' audits have recorded.
    pub rollbacks: u64,
    /// Audit logs that are open.
    pub audit_chains: u64,
    /// Neighbours that measurements of recall wanted, and those that the serving path found.
    pub recalled: (u64, u64),
    /// CPU jobs that wait.
    pub cpu_waiting: usize,
    /// Searches under way.
    pub searches: u64,
    /// Bytes that their answers take.
    pub search_bytes: u64,
    /// Writes under way.
    pub writes: u64,
    /// What the last walk over all namespaces found of the dead.
    pub erasures: ErasureHealth,
}

impl Engine {
    /// Opens what the storage holds: reads what exists and continues what a crash left
    /// unfinished. Tenants and namespaces open with their first request. The token is that of the first
    /// operator, on the first start only.
    ///
    /// # Errors
    /// When the root key does not open it, or it does not read.
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
        let work = Work::new(LanesConfig {
            cores: config.cpu_threads,
            waiting_max: config.cpu_queue_max,
            clock: config.clock.clone(),
            turns: config.turns,
        })?;
        let clock = config.clock.clone();
        work.aside(move || segment::calibrate(|| clock.monotonic()));
        let trail = Trail::new(ledger::TrailConfig {
            storage: storage.clone(),
            directory: registry.directory(),
            control: registry.audit_home(),
            clock: config.clock.clone(),
            entropy: config.entropy.clone(),
            tracker: tracker.clone(),
            chains_open_max: config.audit_chains_open_max,
        });
        let write_bytes =
            Turnstile::new((config.memory_bytes_max / 8).max(limits::WRITES_BYTES_MIN), "bytes in writes");
        let stores = Stores::new(StoresConfig {
            storage,
            directory: registry.directory(),
            clock: config.clock.clone(),
            entropy: config.entropy.clone(),
            sink: trail.sink(),
            cpu: Arc::new(work.clone()),
            tracker: tracker.clone(),
            flush_bytes_max: config.flush_bytes_max,
            flush_rows_max: config.flush_rows_max,
            memory_bytes_max: config.memory_bytes_max,
            stale_reads_max: kernel::limits::STALE_READS_MAX,
            // As many as the background pool has threads, in a quarter of what namespaces may hold.
            upkeep_jobs_max: config.cpu_threads.div_ceil(2),
            upkeep_bytes_max: config.memory_bytes_max / 4,
            short_merge_bytes_max: store::SHORT_MERGE_BYTES_MAX,
            erase_within: config.erase_within,
            graphs: if config.reference_graphs { segment::Links::Reference } else { segment::Links::Built },
            inline_bytes_max: config.inline_bytes_max,
        })
        .bounded(config.namespaces_open_max, config.files_max)
        .counted(Arc::new(write_bytes.clone()));
        registry.bound_open(config.tenants_open_max);
        let ownership = Ownership::watch(&config.storage, &registry, &config.clock, &tracker);
        let gate = Gate::new(registry.credentials(), config.clock.clone());
        let engine = Self {
            inner: Arc::new(Inner {
                gate,
                registry,
                stores,
                trail,
                models: config.models,
                work,
                searches: Turnstile::new(config.searches_max as u64, "searches"),
                search_bytes: Turnstile::new(
                    (config.memory_bytes_max / 8).max(limits::REPLIES_BYTES_MIN),
                    "bytes in replies",
                ),
                write_bytes,
                recalled: Recalled::default(),
                writes: Turnstile::new(config.writes_max as u64, "writes"),
                clock: config.clock,
                entropy: config.entropy,
                tracker,
                strict_audit: config.strict_audit,
                ownership,
                key_watch: KeyWatch::default(),
                eraser: Eraser::new(config.erase_within),
                stopping: CancellationToken::new(),
            }),
        };
        engine.inner.key_watch.start(&engine);
        engine.inner.eraser.start(&engine);
        engine.resume_operations();
        Ok((engine, token))
    }

    /// Runs `f` on a request thread, in the turn of its tenant: reading a large request, say.
    ///
    /// # Errors
    /// `overloaded` and `rate_limited` when the queue is full; `overloaded` when the caller has gone; `internal` when `f`
    /// panicked.
    pub async fn in_turn<A: Action, T: Send + 'static>(
        &self,
        grant: &Grant<A>,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.inner.work.cpu(Asker::answer(grant), f).await
    }

    /// Lets running work end, at most `wait`, then makes what is queued durable.
    pub async fn close(&self, wait: Duration) {
        let inner = &self.inner;
        inner.stopping.cancel();
        inner.ownership.stop();
        inner.key_watch.stop();
        inner.eraser.stop();
        inner.stores.close().await;
        self.tell_events().await;
        inner.trail.close().await;
        if tokio::time::timeout(wait, inner.registry.close()).await.is_err() {
            tracing::warn!("not every directory's log was ended in time; their next openings take longer");
        }
        inner.tracker.close();
        if tokio::time::timeout(wait, inner.tracker.wait()).await.is_err() {
            tracing::warn!("background work did not end in time; a restart continues it");
        }
        inner.models.stop();
    }

    /// Judges an API key, with its tenant opened first where the secret is right. One that does not
    /// open is the gate's to refuse; anything else that is wrong has opened nothing.
    ///
    /// # Errors
    /// The gate's refusal.
    pub async fn admit<A: Action>(&self, bearer: Option<&str>, ask: Ask) -> Result<Grant<A>, Refusal> {
        let inner = &self.inner;
        inner.ownership.sure().map_err(Refusal::of_all)?;
        // Held until the grant holds it itself.
        let _open = match inner.gate.recognise(bearer) {
            Some(incarnation) => inner.registry.prepare(incarnation).await,
            None => None,
        };
        inner.gate.admit(bearer, ask).map_err(|mut refusal| {
            let tenant = refusal.known.as_ref().filter(|_| refusal.error.code == Code::KeyUnavailable);
            let why = tenant.and_then(|(_, incarnation, _)| inner.registry.unopened(*incarnation));
            // Nothing is wrong with its keys: the storage does not answer now.
            if let Some((Code::Overloaded, why)) = why {
                refusal.error = Error::new(Code::Overloaded, why);
            }
            refusal
        })
    }

    /// Comes when another server has taken the storage over: this one must stop, for what it says may
    /// be old by now. Never for a folder, which is locked.
    pub async fn taken_over(&self) {
        self.inner.ownership.lost().await;
    }

    /// Who judges operators, and API keys of tenants that are open: see [`Engine::admit`].
    pub fn gate(&self) -> &Gate {
        &self.inner.gate
    }

    /// Where deeds are written.
    pub fn trail(&self) -> &Trail {
        &self.inner.trail
    }

    /// What embeds.
    pub fn models(&self) -> &Models {
        &self.inner.models
    }

    /// Wall time.
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
    /// What stands in the way.
    pub fn ready(&self) -> Result<(), Error> {
        self.inner.ownership.sure()?;
        self.inner.registry.ready()
    }

    /// A permit for the memory of a reply of this length, taken before the work begins.
    ///
    /// # Errors
    /// `overloaded`, `rate_limited`, `too_large`: see the gate of searches.
    pub fn reply_permit<A: Action>(&self, grant: &Grant<A>, bytes: u64) -> Result<Pass, Error> {
        self.inner.search_bytes.enter(grant.incarnation(), bytes)
    }

    /// Runs `f`, which makes a long reply, in the turn of the tenant whose memory the reply takes.
    ///
    /// # Errors
    /// `internal` when `f` panicked, or the server has stopped.
    pub async fn reply_in_turn<T: Send + 'static>(
        &self,
        memory: &Pass,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.inner.work.last(memory.who(), f).await
    }

    /// Counts the memory of a reply to what was done already: it cannot be refused. `None` is an operator.
    pub fn hold_reply(&self, who: Option<Incarnation>, bytes: u64) -> Pass {
        self.inner.search_bytes.hold(who.unwrap_or(Incarnation::from_bytes([0; 16])), bytes)
    }

    /// Numbers for metrics.
    pub fn health(&self) -> Health {
        let inner = &self.inner;
        Health {
            stores: inner.stores.stats(),
            tenants: inner.registry.stats(),
            providers: inner.registry.providers(),
            models: inner.models.stats(),
            audit_chains: inner.trail.open_chains(),
            rollbacks: inner.trail.rollbacks(),
            cpu_waiting: inner.work.waiting(),
            searches: inner.searches.count(),
            search_bytes: inner.search_bytes.count(),
            recalled: inner.recalled.sums(),
            writes: inner.writes.count(),
            erasures: inner.eraser.health(),
        }
    }

    /// Ends a flow that read: its line is queued, or waited for where audit is strict.
    pub(crate) async fn settle<A: Action, T>(&self, grant: Grant<A>, end: Result<(T, Deed), Error>) -> Flow<T> {
        let trail = &self.inner.trail;
        match end {
            Ok((body, deed)) if self.inner.strict_audit => match trail.seal_durable(grant, deed, body).await {
                Ok(sealed) => Ok(sealed),
                Err(refused) => Err(refused),
            },
            Ok((body, deed)) => Ok(trail.seal(grant, deed, body).await),
            Err(error) => Err(trail.refuse(grant, error).await),
        }
    }

    /// Ends a flow that wrote: its line rides in the commit.
    pub(crate) async fn settle_commit<A: Action, T>(
        &self,
        grant: Grant<A>,
        end: Result<(T, CommitNo), Error>,
    ) -> Flow<T> {
        match end {
            Ok((body, commit)) => Ok(self.inner.trail.sealed_by_commit(grant, commit, body)),
            Err(error) => Err(self.inner.trail.refuse(grant, error).await),
        }
    }
}
