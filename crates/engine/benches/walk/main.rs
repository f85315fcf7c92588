//! The walk that keeps the bound on erasure, over cold namespaces: what it costs for each, and what searches notice of it.
//!
//! One tenant in a folder, filled, stopped and started again. The first walk looks at each namespace from outside, the
//! second one knows what the first has seen. Sizes come from the environment: `RINGFENCE_WALK_NAMESPACES` and so on, as
//! those of the bench `rotation`. CPU is the process's, less what the same searches take without a walk.
//!
//! This is a measurement, not a test: it judges nothing but that no search fails.

#![expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]

#[path = "../rotation/world.rs"]
mod world;

use anyhow::{Result, ensure};
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
use world::{Sizes, World, opened};

/// So that nothing is due in the time of two walks: they begin a minute after the start, and a hundred seconds later.
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
    let world = World::make(sizes, folder.path()).await?.restarted(folder.path(), BOUND).await?;
    let world = Arc::new(world);
    println!("{} namespaces, {} searches a second in {} of them", sizes.namespaces, sizes.rate, sizes.hot);
    let time = Duration::from_secs(sizes.seconds as u64);
    // Opens what is searched; not counted.
    world.search_for(Duration::from_secs(5)).await;
    for walk in 1..=2 {
        let cpu = cpu_time();
        let before = world.search_for(time).await;
        let idle = (cpu_time() - cpu).as_secs_f64() / time.as_secs_f64();
        until(|| world.engine.health().erasures.begun == walk).await;
        let (began, cpu) = (world.clock.monotonic(), cpu_time());
        let stop = Arc::new(AtomicBool::new(false));
        let searching = world.tasks.spawn(world.clone().search_until(stop.clone()));
        until(|| world.engine.health().erasures.walks == walk).await;
        let (took, cpu) = ((world.clock.monotonic() - began).as_secs_f64(), (cpu_time() - cpu).as_secs_f64());
        stop.store(true, Ordering::Relaxed);
        let during = searching.await?;
        let seen = world.engine.health().erasures.namespaces;
        let each = (cpu - idle * took) * 1e3 / seen as f64;
        println!("walk {walk}: {seen} namespaces in {took:.2} s, {each:.3} ms of CPU a namespace");
        println!("  searches before: {}, {idle:.3} cores", before.row());
        println!("  searches during: {}", during.row());
        println!("  p99 during / before: {:.2}", during.at(0.99) / before.at(0.99));
        ensure!(seen == sizes.namespaces as u64, "not every namespace was looked at");
        ensure!(during.failed == 0 && before.failed == 0, "searches failed");
    }
    println!("load average: {}", std::fs::read_to_string("/proc/loadavg")?.trim());
    world.engine.close(Duration::from_secs(60)).await;
    Ok(())
}

impl World {
    /// The same, stopped and started again with this bound on erasure.
    async fn restarted(self, folder: &Path, erase_within: Duration) -> Result<Self> {
        self.engine.close(Duration::from_secs(60)).await;
        let Self { engine, operator, tenant, sizes, clock, tasks, key } = self;
        drop(engine);
        let (engine, _) = opened(sizes, folder, erase_within).await?;
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
