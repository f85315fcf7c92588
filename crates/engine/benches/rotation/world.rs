//! An engine in a folder with one tenant and many namespaces, and searches that come at their own times, whether or not the
//! one before has ended, so that a pause shows in all that came meanwhile.

use access::{Action, Ask, Grant, Ingest, Operator, Search};
use anyhow::{Context, Result, anyhow, ensure};
use engine::{
    Body, Engine, EngineConfig, Include, IngestRequest, Mode, NewKey, NewTenant, OnConflict, RawDocument, SearchRequest,
};
use futures::{StreamExt, stream};
use journal::Storage;
use kernel::{
    Attributes, DocumentId, Entropy, NamespaceName, OsEntropy, Presence, Scope, SeededEntropy, SystemClock, TenantId,
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

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) operator: Operator,
    pub(crate) tenant: TenantId,
    pub(crate) sizes: Sizes,
    pub(crate) clock: SystemClock,
    pub(crate) tasks: TaskTracker,
    pub(crate) key: String,
}

impl Sizes {
    /// From the environment: `RINGFENCE_{bench}_NAMESPACES` and so on.
    ///
    /// # Errors
    /// One that is no number.
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

/// Times of searches, ms.
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

impl World {
    /// A new one, filled.
    pub(crate) async fn make(sizes: Sizes, folder: &Path) -> Result<Self> {
        // Nobody walks meanwhile.
        let (engine, token) = opened(sizes, folder, Duration::ZERO).await?;
        let token = token.context("the folder is not new")?;
        let operator = engine.gate().operator(Some(&token), &[], engine.request_id()).map_err(|r| said(r.error))?;
        let tenant = TenantId::parse("tenant").map_err(said)?;
        engine.create_tenant(&operator, NewTenant::named(tenant.clone())).await.map_err(said)?;
        let new = NewKey {
            name: "bench".to_owned(),
            scopes: Scope::ALL.to_vec(),
            principals: Vec::new(),
            namespaces: Vec::new(),
            expires_at: None,
        };
        let (_, secret) = engine.create_api_key(&operator, &tenant, new).await.map_err(said)?;
        let world = Self {
            engine,
            operator,
            tenant,
            key: (*secret).clone(),
            sizes,
            clock: SystemClock::new(),
            tasks: TaskTracker::new(),
        };
        let fill = stream::iter(0..world.sizes.namespaces).map(|n| world.fill(n)).buffer_unordered(16);
        fill.collect::<Vec<Result<()>>>().await.into_iter().collect::<Result<Vec<()>>>()?;
        Ok(world)
    }

    async fn fill(&self, namespace: usize) -> Result<()> {
        let document = |n: usize| {
            Ok(RawDocument {
                id: Some(DocumentId::parse(&format!("document-{n}")).map_err(said)?),
                body: Body::Text(Untrusted::new(format!("passage {n} of namespace {namespace} and little else"))),
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
            let stored = reply.map_err(|e| said(e.into_body()))?.into_body().results.len();
            ensure!(stored == passages, "{stored} passages were stored");
            if self.sizes.objects > 0 {
                // The flush behind it ends before the next batch comes.
                loop {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    let stores = self.engine.health().stores;
                    if stores.upkeep_running + stores.upkeep_waiting == 0 {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    async fn grant<A: Action>(&self, namespace: usize) -> Result<Grant<A>> {
        let name = NamespaceName::parse(&format!("namespace-{namespace:06}")).map_err(said)?;
        let request = self.engine.request_id();
        let ask = Ask { namespace: Some(name), request, trace: None, presence: Presence::default() };
        self.engine.admit::<A>(Some(&self.key), ask).await.map_err(|refusal| said(refusal.error))
    }

    pub(crate) async fn search_for(self: &Arc<Self>, time: Duration) -> Times {
        let stop = Arc::new(AtomicBool::new(false));
        let searching = self.tasks.spawn(self.clone().search_until(stop.clone()));
        tokio::time::sleep(time).await;
        stop.store(true, Ordering::Relaxed);
        searching.await.unwrap_or_default()
    }

    /// Begins a search at each tick and waits for all in the end.
    pub(crate) async fn search_until(self: Arc<Self>, stop: Arc<AtomicBool>) -> Times {
        let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / self.sizes.rate as f64));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
        let failed = Arc::new(AtomicU64::new(0));
        let mut running = Vec::new();
        let mut n = 0;
        while !stop.load(Ordering::Relaxed) {
            let due = ticks.tick().await.into_std();
            n += 1;
            let (world, failed) = (self.clone(), failed.clone());
            running.push(self.tasks.spawn(async move {
                if let Err(error) = world.search(n % world.sizes.hot.min(world.sizes.namespaces)).await {
                    println!("failed: {error:#}");
                    failed.fetch_add(1, Ordering::Relaxed);
                }
                // From when it should have begun.
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
        let reply = reply.map_err(|e| said(e.into_body()))?.into_body();
        ensure!(!reply.hits.is_empty(), "a search found nothing");
        Ok(())
    }
}

/// What lies there, or a new one and its first token.
pub(crate) async fn opened(
    sizes: Sizes,
    folder: &Path,
    erase_within: Duration,
) -> Result<(Engine, Option<Zeroizing<String>>)> {
    let provider = LocalProvider::from_env_value(&"5a".repeat(32), Arc::new(OsEntropy))?;
    let storage = Storage::open(&folder.join("data")).await.map_err(|e| said(e.into()))?;
    let config = EngineConfig {
        memory_bytes_max: 1 << 30,
        // Each batch becomes an object.
        flush_rows_max: if sizes.objects > 0 { sizes.passages as u64 - 1 } else { 20_000 },
        inline_bytes_max: if sizes.objects > 0 { 0 } else { 240 << 10 },
        erase_within,
        ..EngineConfig::new(storage, provider, Models::unavailable("a benchmark"))
    };
    Engine::open(config).await.map_err(said)
}

fn vector(seed: u64) -> Vec<f32> {
    let mut bytes = vec![0; 384];
    SeededEntropy::new(seed).fill(&mut bytes);
    bytes.iter().map(|b| f32::from(*b) / 128.0 - 1.0).collect()
}

pub(crate) fn said(error: kernel::Error) -> anyhow::Error {
    anyhow!(error)
}
