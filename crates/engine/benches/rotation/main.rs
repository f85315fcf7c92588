//! Searches while keys are rotated: how long they take before, during a rewrap, and during a re-encryption, and how many
//! fail; and how long both take for each namespace.
//!
//! One tenant in a folder. Sizes come from the environment: `RINGFENCE_ROTATION_NAMESPACES` (300), `_PASSAGES` (20, with
//! vectors), `_OBJECTS` (so many objects of so many passages in each, at most 8: more are merged; 0: what a small namespace
//! has, a log with all in it), `_RATE` (searches a second, 100), `_SECONDS` (before each rotation, and of rewraps one after
//! another, 20), `_HOT` (namespaces that are searched, 50). Searches come at their own times, whether or not the one before
//! has ended, so that a pause shows in all that came meanwhile.
//!
//! This is a measurement, not a test: it judges nothing but that no search fails.

#![expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]

use access::{Action, Ask, Grant, Ingest, Operator, Search};
use anyhow::{Context, Result, anyhow, ensure};
use engine::{
    Body, Engine, EngineConfig, Include, IngestRequest, Mode, NewKey, NewTenant, OnConflict, RawDocument, RotateMode,
    SearchRequest,
};
use futures::{StreamExt, stream};
use journal::Storage;
use kernel::{
    Attributes, Clock, DocumentId, Entropy, NamespaceName, OsEntropy, Presence, Scope, SeededEntropy, SystemClock,
    TenantId, Untrusted,
};
use models::Models;
use std::{
    fmt::Write as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio_util::task::TaskTracker;
use vault::LocalProvider;

struct Sizes {
    namespaces: usize,
    passages: usize,
    objects: usize,
    rate: usize,
    seconds: usize,
    hot: usize,
}

struct World {
    engine: Engine,
    operator: Operator,
    tenant: TenantId,
    key: String,
    sizes: Sizes,
    clock: SystemClock,
    tasks: TaskTracker,
}

fn main() -> Result<()> {
    let number = |name: &str, default: usize| match std::env::var(format!("RINGFENCE_ROTATION_{name}")) {
        Ok(text) => text.parse().with_context(|| format!("RINGFENCE_ROTATION_{name} must be a number")),
        Err(_) => Ok(default),
    };
    let sizes = Sizes {
        namespaces: number("NAMESPACES", 300)?,
        passages: number("PASSAGES", 20)?,
        objects: number("OBJECTS", 0)?,
        rate: number("RATE", 100)?,
        seconds: number("SECONDS", 20)?,
        hot: number("HOT", 50)?,
    };
    ensure!(sizes.objects <= 8, "RINGFENCE_ROTATION_OBJECTS must be at most 8: more are merged");
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(sizes))
}

async fn run(sizes: Sizes) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let world = Arc::new(World::make(sizes, folder.path()).await?);
    println!(
        "{} namespaces of {} passages, {} searches a second in {} of them",
        world.sizes.namespaces, world.sizes.passages, world.sizes.rate, world.sizes.hot
    );
    println!("{} files of namespaces, each under a key of its own", files(&folder.path().join("data/ns"))?);
    // Opens what is searched; not counted.
    world.search_for(Duration::from_secs(5)).await;
    let time = Duration::from_secs(world.sizes.seconds as u64);
    // One rewrap is seen by few searches: they follow one another for as long as the searches before were counted.
    for (name, mode, time) in
        [("rewrap", RotateMode::Rewrap, time), ("reencrypt", RotateMode::Reencrypt(None), Duration::ZERO)]
    {
        let before = world.search_for(Duration::from_secs(world.sizes.seconds as u64)).await;
        let stop = Arc::new(AtomicBool::new(false));
        let searching = world.tasks.spawn(world.clone().search_until(stop.clone()));
        let begun = world.clock.monotonic();
        let mut took = vec![world.rotate(mode).await?];
        while world.clock.monotonic() - begun < time {
            took.push(world.rotate(mode).await?);
        }
        let whole = world.clock.monotonic() - begun;
        stop.store(true, Ordering::Relaxed);
        let during = searching.await?;
        took.sort();
        let (median, places) = (took[took.len() / 2], world.sizes.namespaces + 2);
        println!(
            "{name}: {} in {:.2} s; the median takes {:.3} s, {:.4} ms a namespace",
            took.len(),
            whole.as_secs_f64(),
            median.as_secs_f64(),
            median.as_secs_f64() * 1e3 / places as f64
        );
        println!("  searches before: {}", before.row());
        println!("  searches during: {}", during.row());
        println!("  p99 during / before: {:.2}", during.at(0.99) / before.at(0.99));
        ensure!(during.failed == 0 && before.failed == 0, "searches failed");
    }
    let mut load = String::new();
    let _ =
        write!(load, "{}", std::fs::read_to_string("/proc/loadavg")?.split(' ').take(3).collect::<Vec<_>>().join(" "));
    println!("load average: {load}");
    world.engine.close(Duration::from_secs(60)).await;
    Ok(())
}

/// Times of searches, ms.
#[derive(Default)]
struct Times {
    sorted: Vec<f64>,
    failed: u64,
}

impl Times {
    fn at(&self, share: f64) -> f64 {
        let at = (self.sorted.len() as f64 * share) as usize;
        self.sorted.get(at.min(self.sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    }

    fn row(&self) -> String {
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
    async fn make(sizes: Sizes, folder: &Path) -> Result<Self> {
        let provider = LocalProvider::from_env_value(&"5a".repeat(32), Arc::new(OsEntropy))?;
        let storage = Storage::open(&folder.join("data")).await.map_err(|e| said(e.into()))?;
        let config = EngineConfig {
            memory_bytes_max: 1 << 30,
            // Each batch becomes an object.
            flush_rows_max: if sizes.objects > 0 { sizes.passages as u64 - 1 } else { 20_000 },
            inline_bytes_max: if sizes.objects > 0 { 0 } else { 240 << 10 },
            ..EngineConfig::new(storage, provider, Models::unavailable("a benchmark"))
        };
        let (engine, token) = Engine::open(config).await.map_err(said)?;
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
            let documents = (batch * passages..(batch + 1) * passages).map(document).collect::<Result<_>>()?;
            let request = IngestRequest { documents, on_conflict: OnConflict::Overwrite };
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

    /// Rotates to the end; how long that took, to some milliseconds.
    async fn rotate(&self, mode: RotateMode) -> Result<Duration> {
        let begun = self.clock.monotonic();
        let (id, _) = self.engine.rotate_keys(&self.operator, &self.tenant, mode, None).await.map_err(said)?;
        loop {
            let view = self.engine.operation_for(&self.operator, id).map_err(said)?;
            if view.finished_at.is_some() {
                ensure!(view.error.is_none(), "the rotation failed: {:?}", view.error);
                return Ok(self.clock.monotonic() - begun);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn search_for(self: &Arc<Self>, time: Duration) -> Times {
        let stop = Arc::new(AtomicBool::new(false));
        let searching = self.tasks.spawn(self.clone().search_until(stop.clone()));
        tokio::time::sleep(time).await;
        stop.store(true, Ordering::Relaxed);
        searching.await.unwrap_or_default()
    }

    /// Begins a search at each tick and waits for all in the end.
    async fn search_until(self: Arc<Self>, stop: Arc<AtomicBool>) -> Times {
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

fn files(folder: &Path) -> std::io::Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        count += if entry.file_type()?.is_dir() { files(&entry.path())? } else { 1 };
    }
    Ok(count)
}

fn vector(seed: u64) -> Vec<f32> {
    let mut bytes = vec![0; 384];
    SeededEntropy::new(seed).fill(&mut bytes);
    bytes.iter().map(|b| f32::from(*b) / 128.0 - 1.0).collect()
}

fn said(error: kernel::Error) -> anyhow::Error {
    anyhow!(error)
}
