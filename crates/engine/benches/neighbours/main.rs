//! Measures two tenants on one server: the latency of one while the other searches and writes as fast as it can.
//!
//! One process runs twice over the same data: with tenants in turns, as in the product, and with all jobs in one queue,
//! which must be slower, otherwise this benchmark detects nothing. The quiet tenant searches two namespaces at a steady
//! pace: a small one, which is searched on its request's thread, and one that takes a job on the pool. Prints its
//! latency alone and with the noisy tenant, and the ratio of both.
//!
//! `RINGFENCE_NEIGHBOURS_SECONDS` (of each measurement), `_ROWS` (of the noisy tenant's namespace), `_LOOPS` (its
//! concurrent searches; a fourth as many writes). Before that, it measures the cost of a search of the small namespace
//! in process, without HTTP: admission, search, texts and audit.

#![expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]

mod tenants;

use anyhow::Result;
use engine::Engine;
use kernel::{Clock, SystemClock};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tenants::{TenantClient, close_when_idle, open};
use tokio_util::task::TaskTracker;

const SMALL: usize = 1_700;
const MIDDLE: usize = 9_900;
/// Hits of the noisy tenant's searches, enough that each takes a job.
const MANY: usize = 500;

/// Searches that are measured together.
const COSTED: u64 = 2_000;

struct Sizes {
    seconds: u64,
    rows: usize,
    loops: usize,
}

fn main() -> Result<()> {
    let number = |name: &str, default: usize| {
        std::env::var(format!("RINGFENCE_NEIGHBOURS_{name}")).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let sizes = Sizes { seconds: number("SECONDS", 5) as u64, rows: number("ROWS", 9_900), loops: number("LOOPS", 16) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(compare(&sizes))
}

async fn compare(sizes: &Sizes) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let tenants = tenants::make(folder.path(), &[("small", SMALL), ("middle", MIDDLE)], sizes.rows).await?;
    println!(
        "{:9} {:7} {:>9} {:>9} {:>9} {:>9} {:>7}",
        "threads", "asked", "p50 alone", "p50", "p99 alone", "p99", "ratio"
    );
    for turns in [true, false] {
        let engine = open(folder.path(), turns).await?.0;
        let (quiet, noisy) = (TenantClient::new(&engine, &tenants.quiet), TenantClient::new(&engine, &tenants.noisy));
        for namespace in ["small", "middle"] {
            quiet.search(namespace, 10, 0).await?;
            noisy.search("noise", MANY, 0).await?;
            if turns && namespace == "small" {
                cost(&quiet).await?;
            }
            let alone = steady(&quiet, namespace, sizes.seconds).await?;
            let (beside, done) = beside(&engine, &quiet, &noisy, namespace, sizes).await?;
            let row = if turns { "in turns" } else { "one row" };
            println!(
                "{row:9} {namespace:7} {:9.2} {:9.2} {:9.2} {:9.2} {:7.2}   noise: {} searches, {} documents a second",
                millis(&alone, 50),
                millis(&beside, 50),
                millis(&alone, 99),
                millis(&beside, 99),
                millis(&beside, 99) / millis(&alone, 99),
                done.0 / sizes.seconds,
                done.1 / sizes.seconds,
            );
        }
        close_when_idle(engine).await;
    }
    Ok(())
}

/// CPU time of sequential searches, by the clock of the process.
async fn cost(quiet: &TenantClient) -> Result<()> {
    quiet.search("small", 10, 0).await?;
    let cpu = || {
        let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        spent.tv_sec as f64 * 1e3 + spent.tv_nsec as f64 / 1e6
    };
    let mut runs = Vec::new();
    for _ in 0..5 {
        let before = cpu();
        for seed in 0..COSTED {
            quiet.search("small", 10, seed).await?;
        }
        runs.push((cpu() - before) / COSTED as f64);
    }
    runs.sort_by(f64::total_cmp);
    println!("in process: {:.3} ms of CPU a search of {SMALL} passages (median of 5 x {COSTED})", runs[2]);
    Ok(())
}

/// Latencies of the quiet tenant while the noisy one works as fast as it can.
async fn beside(
    engine: &Engine,
    quiet: &TenantClient,
    noisy: &TenantClient,
    namespace: &str,
    sizes: &Sizes,
) -> Result<(Vec<Duration>, (u64, u64))> {
    let (stop, searched, written) =
        (Arc::new(AtomicBool::new(false)), Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let loops = TaskTracker::new();
    for n in 0..sizes.loops {
        let (noisy, stop, searched) = (noisy.clone(), stop.clone(), searched.clone());
        loops.spawn(async move {
            let mut seed = n as u64;
            while !stop.load(Ordering::Relaxed) {
                seed += 1_000;
                // Refusals are expected, because the noisy tenant requests more than its share.
                if noisy.search("noise", MANY, seed).await.is_ok() {
                    searched.fetch_add(1, Ordering::Relaxed);
                } else {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        });
    }
    for n in 0..sizes.loops.div_ceil(4) {
        let (noisy, stop, written) = (noisy.clone(), stop.clone(), written.clone());
        loops.spawn(async move {
            let mut from = 1_000_000 * (n + 1);
            while !stop.load(Ordering::Relaxed) {
                from += 100;
                if noisy.write("writes", from..from + 100).await.is_ok() {
                    written.fetch_add(100, Ordering::Relaxed);
                } else {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        });
    }
    loops.close();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = (searched.load(Ordering::Relaxed), written.load(Ordering::Relaxed));
    let felt = steady(quiet, namespace, sizes.seconds).await?;
    let done = (searched.load(Ordering::Relaxed) - before.0, written.load(Ordering::Relaxed) - before.1);
    stop.store(true, Ordering::Relaxed);
    loops.wait().await;
    tenants::wait_until_idle(engine).await;
    Ok((felt, done))
}

/// A search every five milliseconds, or when the last one has ended.
async fn steady(quiet: &TenantClient, namespace: &str, seconds: u64) -> Result<Vec<Duration>> {
    let clock = SystemClock::new();
    let started = clock.monotonic();
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut took = Vec::new();
    while clock.monotonic() - started < Duration::from_secs(seconds) {
        pace.tick().await;
        let asked = clock.monotonic();
        quiet.search(namespace, 10, took.len() as u64).await?;
        took.push(clock.monotonic() - asked);
    }
    took.sort_unstable();
    Ok(took)
}

fn millis(sorted: &[Duration], percent: usize) -> f64 {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(0.0, Duration::as_secs_f64) * 1e3
}
