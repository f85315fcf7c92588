//! An engine in a folder with one tenant and many namespaces, and searches that start on a fixed schedule, whether or
//! not the previous one has ended, so that a pause shows in all searches that start during it.

use access::{Action, Grant, Ingest, Operator, RequestInfo, Search};
use anyhow::{Context, Result, anyhow, ensure};
use engine::{
    Engine, EngineConfig, Include, IngestRequest, Mode, NewApiKey, NewTenant, OnConflict, RawBody, RawDocument,
    SearchRequest,
};
use futures::{StreamExt, stream};
use journal::Storage;
use kernel::{
    Attributes, CancelFlag, DocumentId, Entropy, NamespaceName, OsEntropy, Scope, SeededEntropy, SystemClock, TenantId,
    Untrusted,
};
use models::Models;
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio_util::task::TaskTracker;
use vault::LocalProvider;
use zeroize::Zeroizing;

#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) namespaces: usize,
    pub(crate) passages: usize,
    pub(crate) objects: usize,
    pub(crate) rate: usize,
    pub(crate) seconds: usize,
    pub(crate) hot: usize,
}

pub(crate) struct RotationFixture {
    pub(crate) engine: Engine,
    pub(crate) operator: Operator,
    pub(crate) tenant: TenantId,
    pub(crate) sizes: Sizes,
    pub(crate) clock: SystemClock,
    pub(crate) tasks: TaskTracker,
    pub(crate) key: String,
}

impl Sizes {
    /// Reads the sizes from the environment: `RINGFENCE_{bench}_NAMESPACES` and so on.
    ///
    /// # Errors
    /// When a value is not a number.
    pub(crate) fn read(bench: &str) -> Result<Self> {
        let number = |name: &str, default: usize| match std::env::var(format!("RINGFENCE_{bench}_{name}")) {
            Ok(text) => text.parse().with_context(|| format!("RINGFENCE_{bench}_{name} must be a number")),
            Err(_) => Ok(default),
        };
        let sizes = Self {
            namespaces: number("NAMESPACES", 300)?,
            passages: number("PASSAGES", 20)?,
            objects: number("OBJECTS", 0)?,
            rate: number("RATE", 100)?,
            seconds: number("SECONDS", 20)?,
            hot: number("HOT", 50)?,
        };
        ensure!(sizes.objects <= 8, "RINGFENCE_{bench}_OBJECTS must be at most 8: more are merged");
        Ok(sizes)
    }
}

/// Durations of searches in milliseconds.
#[derive(Default)]
pub(crate) struct Times {
    sorted: Vec<f64>,
    pub(crate) failed: u64,
}

impl Times {
    pub(crate) fn at(&self, share: f64) -> f64 {
        let at = (self.sorted.len() as f64 * share) as usize;
        self.sorted.get(at.min(self.sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn row(&self) -> String {
        let Self { sorted, failed } = self;
        format!(
            "p50 {:.3} ms, p99 {:.3} ms, most {:.1} ms, {} searches, {failed} failed",
            self.at(0.5),
            self.at(0.99),
            self.at(1.0),
            sorted.len()
        )
    }
}

impl RotationFixture {
    /// Creates the engine and fills its namespaces.
    pub(crate) async fn make(sizes: Sizes, folder: &Path) -> Result<Self> {
        // No sweep runs meanwhile.
        let (engine, token) = open_engine(sizes, folder, Duration::ZERO).await?;
        let token = token.context("the folder is not new")?;
        let operator =
            engine.gate().operator(Some(&token), &[], engine.request_id()).map_err(|r| flow_error(r.error))?;
        let tenant = TenantId::parse("tenant").map_err(flow_error)?;
        engine.create_tenant(&operator, NewTenant::named(tenant.clone())).await.map_err(flow_error)?;
        let new = NewApiKey {
            name: "bench".to_owned(),
            scopes: Scope::ALL.to_vec(),
            principals: Vec::new(),
            namespaces: Vec::new(),
            expires_at: None,
        };
        let (_, secret) = engine.create_api_key(&operator, &tenant, new).await.map_err(flow_error)?;
        let fixture = Self {
            engine,
            operator,
            tenant,
            key: (*secret).clone(),
            sizes,
            clock: SystemClock::new(),
            tasks: TaskTracker::new(),
        };
        let fill = stream::iter(0..fixture.sizes.namespaces).map(|n| fixture.fill(n)).buffer_unordered(16);
        fill.collect::<Vec<Result<()>>>().await.into_iter().collect::<Result<Vec<()>>>()?;
        Ok(fixture)
    }

    async fn fill(&self, namespace: usize) -> Result<()> {
        let document = |n: usize| {
            Ok(RawDocument {
                id: Some(DocumentId::parse(&format!("document-{n}")).map_err(flow_error)?),
                body: RawBody::Text(Untrusted::new(format!("passage {n} of namespace {namespace} and little else"))),
                media_type: None,
                title: None,
                uri: None,
                attributes: Attributes::default(),
                readers: None,
                vector: Some(vector((namespace * 131 + n) as u64)),
                expires_at: None,
            })
        };
        let passages = self.sizes.passages;
        for batch in 0..self.sizes.objects.max(1) {
            let documents = (batch * passages..(batch + 1) * passages).map(document).collect::<Result<Vec<_>>>()?;
            let request =
                IngestRequest { documents: documents.into(), refused: Vec::new(), on_conflict: OnConflict::Overwrite };
            let reply = self.engine.ingest(self.grant::<Ingest>(namespace).await?, request).await;
            let stored = reply.map_err(|e| flow_error(e.into_body()))?.into_body().results.len();
            ensure!(stored == passages, "{stored} passages were stored");
            if self.sizes.objects > 0 {
                // The flush ends before the next batch starts.
                loop {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    let stores = self.engine.health().stores;
                    if stores.maintenance_jobs_running + stores.maintenance_waiting == 0 {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    async fn grant<A: Action>(&self, namespace: usize) -> Result<Grant<A>> {
        let name = NamespaceName::parse(&format!("namespace-{namespace:06}")).map_err(flow_error)?;
        let request = self.engine.request_id();
        let ask = RequestInfo { namespace: Some(name), request, trace: None, cancel: CancelFlag::default() };
        self.engine.admit::<A>(Some(&self.key), ask).await.map_err(|refusal| flow_error(refusal.error))
    }

    pub(crate) async fn search_for(self: &Arc<Self>, time: Duration) -> Times {
        let stop = Arc::new(AtomicBool::new(false));
        let searching = self.tasks.spawn(self.clone().search_until(stop.clone()));
        tokio::time::sleep(time).await;
        stop.store(true, Ordering::Relaxed);
        searching.await.unwrap_or_default()
    }

    /// Starts a search at each tick and waits for all of them at the end.
    pub(crate) async fn search_until(self: Arc<Self>, stop: Arc<AtomicBool>) -> Times {
        let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / self.sizes.rate as f64));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
        let failed = Arc::new(AtomicU64::new(0));
        let mut running = Vec::new();
        let mut n = 0;
        while !stop.load(Ordering::Relaxed) {
            let due = ticks.tick().await.into_std();
            n += 1;
            let (fixture, failed) = (self.clone(), failed.clone());
            running.push(self.tasks.spawn(async move {
                if let Err(error) = fixture.search(n % fixture.sizes.hot.min(fixture.sizes.namespaces)).await {
                    println!("failed: {error:#}");
                    failed.fetch_add(1, Ordering::Relaxed);
                }
                // Measured from the time at which the search should have started.
                due.elapsed().as_secs_f64() * 1e3
            }));
        }
        let mut sorted = Vec::new();
        for search in running {
            sorted.extend(search.await);
        }
        sorted.sort_by(f64::total_cmp);
        Times { sorted, failed: failed.load(Ordering::Relaxed) }
    }

    async fn search(&self, namespace: usize) -> Result<()> {
        let request = SearchRequest {
            vector: Some(vector((namespace * 131) as u64)),
            top_k: 10,
            mode: Some(Mode::Vector),
            include: Include { text: true, ..Include::default() },
            ..SearchRequest::default()
        };
        let reply = self.engine.search(self.grant::<Search>(namespace).await?, request).await;
        let reply = reply.map_err(|e| flow_error(e.into_body()))?.into_body();
        ensure!(!reply.hits.is_empty(), "a search found nothing");
        Ok(())
    }
}

/// Opens the engine in the folder, or creates one and returns its first token.
pub(crate) async fn open_engine(
    sizes: Sizes,
    folder: &Path,
    erase_within: Duration,
) -> Result<(Engine, Option<Zeroizing<String>>)> {
    let provider = LocalProvider::from_env_value(&"5a".repeat(32), Arc::new(OsEntropy))?;
    let storage = Storage::open(&folder.join("data")).await.map_err(|e| flow_error(e.into()))?;
    let config = EngineConfig {
        memory_bytes_max: 1 << 30,
        // Each batch becomes an object.
        flush_rows_max: if sizes.objects > 0 { sizes.passages as u64 - 1 } else { 20_000 },
        inline_bytes_max: if sizes.objects > 0 { 0 } else { 240 << 10 },
        erase_within,
        ..EngineConfig::new(storage, provider, Models::unavailable("a benchmark"))
    };
    Engine::open(config).await.map_err(flow_error)
}

fn vector(seed: u64) -> Vec<f32> {
    let mut bytes = vec![0; 384];
    SeededEntropy::new(seed).fill(&mut bytes);
    bytes.iter().map(|b| f32::from(*b) / 128.0 - 1.0).collect()
}

pub(crate) fn flow_error(error: kernel::Error) -> anyhow::Error {
    anyhow!(error)
}
