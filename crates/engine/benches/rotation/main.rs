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

mod world;

use anyhow::{Result, ensure};
use engine::RotateMode;
use kernel::Clock;
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use world::{Sizes, World, said};

fn main() -> Result<()> {
    let sizes = Sizes::read("ROTATION")?;
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
    println!("load average: {}", std::fs::read_to_string("/proc/loadavg")?.trim());
    world.engine.close(Duration::from_secs(60)).await;
    Ok(())
}

impl World {
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
}

fn files(folder: &Path) -> std::io::Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        count += if entry.file_type()?.is_dir() { files(&entry.path())? } else { 1 };
    }
    Ok(count)
}
