//! Measures data that another process made.

use crate::{
    make::content_bytes,
    setup::{Sizes, Stopwatch, flow_error, grant, open, vector},
    stores,
};
use access::Search;
use anyhow::{Context, Result, ensure};
use engine::{Engine, Include, Mode, SearchRequest};
use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt, path::Path, time::Duration};

mod cache;

pub(crate) async fn measure(sizes: &Sizes, folder: &Path) -> Result<()> {
    let keys = fs::read_to_string(folder.join("keys"))?;
    let keys: Vec<&str> = keys.lines().collect();
    if !stores::in_bucket() {
        disk(sizes, folder)?;
        cache::drop_pages(&folder.join("data"))?;
    }
    let bare = resident()?;
    let watch = Stopwatch::start();
    let (engine, _) = open(sizes, folder).await?;
    println!("start: {:.1} ms", millis(watch.read()));
    println!("resident, idle: {:.1} MiB ({:.1} MiB before the start)", mib(resident()?), mib(bare));
    searches(sizes, &engine, &keys).await?;
    engine.close(Duration::from_secs(60)).await;
    Ok(())
}

/// Runs cold first searches, each in a namespace that was not opened yet, spread over tenants and names.
async fn searches(sizes: &Sizes, engine: &Engine, keys: &[&str]) -> Result<()> {
    let total = keys.len() * sizes.namespaces;
    let before = resident()?;
    let (mut first, mut known, mut whole, mut warm) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut parts: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    let mut tenants = std::collections::HashSet::new();
    // A stride that is coprime to the number of namespaces visits each once.
    let stride = [7_919, 7_907, 7_901, 7_883].into_iter().find(|p| !total.is_multiple_of(*p)).unwrap_or(1);
    for n in (0..total.min(sizes.searches)).map(|i| i * stride % total) {
        let (tenant, namespace) = (n % keys.len(), n / keys.len());
        let fresh = tenants.insert(tenant);
        let (door, all, timings) = search(engine, keys[tenant], namespace, vector(n as u64, sizes.dimensions)).await?;
        if fresh { &mut first } else { &mut known }.push(door);
        whole.push(all);
        for (part, millis) in timings {
            parts.entry(part).or_default().push(Duration::from_secs_f64(millis / 1e3));
        }
        warm.push(search(engine, keys[tenant], namespace, vector(n as u64, sizes.dimensions)).await?.1);
    }
    let opened = whole.len();
    row("admission, a tenant's first request (opens its directory)", &mut first);
    row("admission, a tenant that is open", &mut known);
    row("cold first search of a namespace, admission included", &mut whole);
    for (part, mut times) in parts {
        row(&format!("  of that, '{part}'"), &mut times);
    }
    row("the same search again", &mut warm);
    let health = engine.health();
    println!("tenants: {:?}", health.tenants);
    println!("namespaces: {:?}", health.stores);
    let grown = resident()?.saturating_sub(before);
    println!(
        "resident, {opened} namespaces of {} tenants opened: {:.1} MiB, {:.1} KiB for each",
        tenants.len(),
        mib(resident()?),
        grown as f64 / 1024.0 / opened as f64
    );
    Ok(())
}

/// Runs one search. Returns the durations of admission and of the whole search, and the reply's timings.
async fn search(
    engine: &Engine,
    key: &str,
    namespace: usize,
    vector: Vec<f32>,
) -> Result<(Duration, Duration, Timings)> {
    let watch = Stopwatch::start();
    let grant = grant::<Search>(engine, key, namespace).await?;
    let door = watch.read();
    let request = SearchRequest {
        vector: Some(vector),
        top_k: 10,
        mode: Some(Mode::Vector),
        include: Include { text: true, ..Include::default() },
        ..SearchRequest::default()
    };
    let reply = engine.search(grant, request).await.map_err(|e| flow_error(e.into_body()))?.into_body();
    ensure!(!reply.hits.is_empty(), "a search found nothing");
    Ok((door, watch.read(), reply.timings))
}

type Timings = Vec<(&'static str, f64)>;

fn row(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |share: f64| times.get(((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1)));
    let at = |share: f64| at(share).map_or(f64::NAN, |t| millis(*t));
    println!("{what}: p50 {:.3} ms, p99 {:.3} ms, {} times", at(0.5), at(0.99), times.len());
}

/// Bytes under the data folder by the first part of the path: as file sizes and as disk blocks.
fn disk(sizes: &Sizes, folder: &Path) -> Result<()> {
    let data = folder.join("data");
    let mut kinds: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
    let mut waiting = vec![data.clone()];
    while let Some(place) = waiting.pop() {
        for entry in fs::read_dir(place)? {
            let path = entry?.path();
            let about = fs::symlink_metadata(&path)?;
            let kind = path.strip_prefix(&data)?.iter().next().map(|k| k.to_string_lossy().into_owned());
            let sum = kinds.entry(kind.unwrap_or_default()).or_default();
            sum.0 += 1;
            sum.1 += if about.is_file() { about.len() } else { 0 };
            sum.2 += about.blocks() * 512;
            if about.is_dir() {
                waiting.push(path);
            }
        }
    }
    let namespaces = (sizes.tenants * sizes.namespaces) as f64;
    println!("content of a namespace: {} bytes", content_bytes(sizes));
    for (kind, (names, bytes, blocks)) in &kinds {
        println!(
            "disk, {kind}: {:.1} names, {:.0} bytes, {:.0} in blocks for each namespace",
            *names as f64 / namespaces,
            *bytes as f64 / namespaces,
            *blocks as f64 / namespaces
        );
    }
    Ok(())
}

/// Resident bytes of this process.
fn resident() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).context("VmRSS in /proc/self/status")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib << 10)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
