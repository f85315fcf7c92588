//! Effect of overwriting: recall and bytes on disk while a fifth of a namespace is overwritten ten times.
//!
//! `cargo bench --workspace --bench churn`. `RINGFENCE_CHURN_ROWS` documents (100,000 by default) of 1 KiB and one
//! vector each; in each round a random fifth of them gets another text and another vector. After the background work of
//! a round it reports recall@10 of the serving path compared with a scan that scores every row, the size of the
//! namespace's files, and that of a namespace which was filled with the same documents once. Finally it compares the
//! recall of both for the same queries. `RINGFENCE_GRAPH_VECTORS` names a folder with `base.f32` and `query.f32` to be
//! used instead of random vectors; if it has fewer than three times as many vectors as documents, documents reuse each
//! other's.
//!
//! The size of live data is given twice: as text and values alone (2,560 bytes a document), and as stored by a fresh
//! namespace.

#![expect(clippy::print_stdout, reason = "a table for people is what it is for")]

#[path = "../write_speed/env.rs"]
mod env;
#[path = "../write_speed/pool.rs"]
mod pool;

use access::{Ingest, Search};
use env::BenchEnv;
use kernel::{Audience, Clock, Status, SystemClock};
use std::{collections::BTreeMap, fs, path::Path, time::Duration};
use store::{Eligible, Snapshot, Upsert};
use testkit::{Mixture, Rng, VALUES, read_vectors};

const ROUNDS: usize = 10;
const QUERIES: usize = 200;
const K: usize = 10;
/// Documents of one commit.
const AT_ONCE: usize = 500;
/// The namespace that is overwritten, and the one that is filled once.
const CHURNED: usize = 0;
const FRESH: usize = 1;

/// Measurements of one namespace.
struct Measurement {
    recall: f64,
    strategies: BTreeMap<&'static str, usize>,
    segments: usize,
}

fn main() {
    let rows = std::env::var("RINGFENCE_CHURN_ROWS").map_or(100_000, |n| n.parse().expect("a number of rows"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    let folder = tempfile::tempdir_in(std::env::var("BENCH_DIR").unwrap_or_else(|_| ".".into())).expect("a folder");
    let clock = SystemClock::new();
    segment::calibrate(|| clock.monotonic());
    runtime.block_on(churn(rows, folder.path()));
}

async fn churn(rows: usize, folder: &Path) {
    let (vectors, queries) = vectors(rows);
    let env = BenchEnv::new(folder, 2, 4 << 30, kernel::limits::ERASE_WITHIN).await;
    // Vector and text that each document has now.
    let mut content: Vec<usize> = (0..rows).collect();
    let upsert = |n: usize, content: usize| env.upsert(n, content, vectors[content % vectors.len()].clone());
    println!("{rows} documents, {} vectors, {QUERIES} queries, {ROUNDS} rounds of a fifth", vectors.len());
    println!(
        "| round | recall@{K} | strategies | segments | MB on disk | / text and values | s of CPU |\n|---|---|---|---|---|---|---|"
    );
    let live = (rows * (1_024 + 4 * VALUES)) as f64;
    let random = Rng::new(3);
    let mut largest = 0u64;
    for round in 0..=ROUNDS {
        let began = cpu_time();
        let overwritten: Vec<usize> = match round {
            0 => (0..rows).collect(),
            _ => chosen(rows, rows / 5, &random),
        };
        for (n, document) in overwritten.iter().enumerate() {
            content[*document] = if round == 0 { *document } else { rows + (round - 1) * (rows / 5) + n };
        }
        fill(&env, CHURNED, &overwritten, |n| upsert(n, content[n])).await;
        env.wait_idle().await;
        let bytes = bytes_of(folder);
        largest = largest.max(bytes);
        let measured = measure(&env, CHURNED, &queries).await;
        println!(
            "| {round} | {:.4} | {:?} | {} | {:.1} | {:.2} | {:.0} |",
            measured.recall,
            measured.strategies,
            measured.segments,
            bytes as f64 / 1e6,
            bytes as f64 / live,
            (cpu_time() - began).as_secs_f64()
        );
    }
    let before = bytes_of(folder);
    let churned = measure(&env, CHURNED, &queries).await;
    fill(&env, FRESH, &(0..rows).collect::<Vec<_>>(), |n| upsert(n, content[n])).await;
    env.wait_idle().await;
    let (fresh, bytes) = (measure(&env, FRESH, &queries).await, bytes_of(folder) - before);
    println!(
        "fresh: recall@{K} {:.4}, {:?}, {} segments, {:.1} MB",
        fresh.recall,
        fresh.strategies,
        fresh.segments,
        bytes as f64 / 1e6
    );
    println!("recall, churned / fresh: {:.4} (goal 0.97)", churned.recall / fresh.recall);
    println!("disk, largest after a round / fresh: {:.2} (goal 2.0)", largest as f64 / bytes as f64);
    println!("{:?}", env.stores.stats());
    println!("load average: {}", fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
}

/// Vectors for all contents that will be written, and queries.
fn vectors(rows: usize) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let all = rows + ROUNDS * (rows / 5);
    if let Ok(folder) = std::env::var("RINGFENCE_GRAPH_VECTORS") {
        let read = |name: &str, n| read_vectors(&Path::new(&folder).join(name), n).expect("a file of vectors");
        return (read("base.f32", all), read("query.f32", QUERIES));
    }
    let mixture = Mixture::new(7);
    let mut points: Vec<Vec<f32>> = (0..all + QUERIES).map(|_| mixture.point()).collect();
    let queries = points.split_off(all);
    (points, queries)
}

/// `count` different numbers below `of`.
fn chosen(of: usize, count: usize, random: &Rng) -> Vec<usize> {
    let mut all: Vec<usize> = (0..of).collect();
    for at in 0..count {
        all.swap(at, at + random.below((of - at) as u64) as usize);
    }
    all.truncate(count);
    all
}

async fn fill(env: &BenchEnv, namespace: usize, documents: &[usize], upsert: impl Fn(usize) -> Upsert) {
    let handle = env.enter::<Ingest>(namespace).await;
    for some in documents.chunks(AT_ONCE) {
        env::write(&handle, some.iter().map(|n| upsert(*n)).collect()).await;
    }
}

async fn measure(env: &BenchEnv, namespace: usize, queries: &[Vec<f32>]) -> Measurement {
    let snapshot = env.enter::<Search>(namespace).await.snapshot(None).await.expect("it is there");
    let now = SystemClock::new().now();
    let eligible = snapshot.eligible(&Audience::Everything, None, &[Status::Indexed], now).expect("it reads");
    let (mut right, mut strategies, mut segments) = (0, BTreeMap::new(), 0);
    for query in queries {
        let (hits, stats) = snapshot.vector(query, &eligible, K).expect("it reads");
        let exact = snapshot.vector_exact(query, &eligible, K).expect("it reads");
        right += hits.iter().filter(|hit| exact.iter().any(|best| best.at == hit.at)).count();
        segments = stats.len();
        stats.iter().for_each(|measure| *strategies.entry(measure.trace.strategy.as_str()).or_default() += 1);
    }
    check(&snapshot, &eligible);
    Measurement { recall: right as f64 / (queries.len() * K) as f64, strategies, segments }
}

/// Checks that every document is there once: figures of a namespace that lost some would be worthless.
fn check(snapshot: &Snapshot, eligible: &Eligible) {
    assert_eq!(snapshot.totals().documents, eligible.documents());
    assert_eq!(snapshot.totals().passages, eligible.rows());
}

/// Total length of all files.
fn bytes_of(folder: &Path) -> u64 {
    let length = |entry: fs::DirEntry| {
        let path = entry.path();
        if path.is_dir() { bytes_of(&path) } else { entry.metadata().map_or(0, |about| about.len()) }
    };
    fs::read_dir(folder).expect("a folder").filter_map(Result::ok).map(length).sum()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// CPU time of this process so far, as the kernel counts it: in hundredths of a second.
fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}
