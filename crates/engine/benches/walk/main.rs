//! Measures the sweep that enforces the bound on erasure, over cold namespaces: its cost for each, and its effect on
//! searches.
//!
//! One tenant in a folder is filled, stopped and started again. The first sweep examines each namespace without opening
//! it; the second one knows the results of the first. Sizes come from the environment: `RINGFENCE_WALK_NAMESPACES` and
//! so on, as for the benchmark `rotation`. CPU time is that of the process, less that of the same searches without a
//! sweep.
//!
//! This is a measurement, not a test: it checks only that no search fails.

#![expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]

#[path = "../rotation/fixture.rs"]
mod fixture;

use anyhow::{Result, ensure};
use fixture::{RotationFixture, Sizes, open_engine};
use kernel::Clock;
use rustix::time::{ClockId, clock_gettime};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Bound on erasure under which nothing is due during two sweeps, which begin a minute after the start and a hundred
/// seconds later.
const BOUND: Duration = Duration::from_secs(800);

fn main() -> Result<()> {
    // Cargo's test runs start benchmarks too.
    if !std::env::args().any(|arg| arg == "--bench") {
        return Ok(());
    }
    let sizes = Sizes::read("WALK")?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(sizes))
}

async fn run(sizes: Sizes) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let fixture = RotationFixture::make(sizes, folder.path()).await?.restarted(folder.path(), BOUND).await?;
    let fixture = Arc::new(fixture);
    println!("{} namespaces, {} searches a second in {} of them", sizes.namespaces, sizes.rate, sizes.hot);
    let time = Duration::from_secs(sizes.seconds as u64);
    // Opens the searched namespaces first; this is not measured.
    fixture.search_for(Duration::from_secs(5)).await;
    for sweep in 1..=2 {
        let cpu = cpu_time();
        let before = fixture.search_for(time).await;
        let idle = (cpu_time() - cpu).as_secs_f64() / time.as_secs_f64();
        until(|| fixture.engine.health().erasures.started == sweep).await;
        let (began, cpu) = (fixture.clock.monotonic(), cpu_time());
        let stop = Arc::new(AtomicBool::new(false));
        let searching = fixture.tasks.spawn(fixture.clone().search_until(stop.clone()));
        until(|| fixture.engine.health().erasures.sweeps == sweep).await;
        let (took, cpu) = ((fixture.clock.monotonic() - began).as_secs_f64(), (cpu_time() - cpu).as_secs_f64());
        stop.store(true, Ordering::Relaxed);
        let during = searching.await?;
        let seen = fixture.engine.health().erasures.namespaces;
        let each = (cpu - idle * took) * 1e3 / seen as f64;
        println!("sweep {sweep}: {seen} namespaces in {took:.2} s, {each:.3} ms of CPU a namespace");
        println!("  searches before: {}, {idle:.3} cores", before.row());
        println!("  searches during: {}", during.row());
        println!("  p99 during / before: {:.2}", during.at(0.99) / before.at(0.99));
        ensure!(seen == sizes.namespaces as u64, "not every namespace was looked at");
        ensure!(during.failed == 0 && before.failed == 0, "searches failed");
    }
    println!("load average: {}", std::fs::read_to_string("/proc/loadavg")?.trim());
    fixture.engine.close(Duration::from_secs(60)).await;
    Ok(())
}

impl RotationFixture {
    /// Stops the engine and starts it again with this bound on erasure.
    async fn restarted(self, folder: &Path, erase_within: Duration) -> Result<Self> {
        self.engine.close(Duration::from_secs(60)).await;
        let Self { engine, operator, tenant, sizes, clock, tasks, key } = self;
        drop(engine);
        let (engine, _) = open_engine(sizes, folder, erase_within).await?;
        Ok(Self { engine, operator, tenant, sizes, clock, tasks, key })
    }
}

async fn until(so: impl Fn() -> bool) {
    while !so() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
