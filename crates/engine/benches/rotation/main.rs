//! Measures searches while keys are rotated: their duration before, during a rewrap, and during a re-encryption, the
//! number that fail, and how long both rotations take for each namespace.
//!
//! One tenant in a folder. Sizes come from the environment: `RINGFENCE_ROTATION_NAMESPACES` (300), `_PASSAGES` (20,
//! with vectors), `_OBJECTS` (objects in each namespace, each with `_PASSAGES` passages, at most 8, since more are
//! merged; 0: everything is in the log, as in a small namespace), `_RATE` (searches per second, 100), `_SECONDS`
//! (before each rotation, and of consecutive rewraps, 20), `_HOT` (namespaces that are searched, 50). Searches start on
//! a fixed schedule, whether or not the previous one has ended, so that a pause shows in all searches that start during
//! it.
//!
//! This is a measurement, not a test: it checks only that no search fails.

#![expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]

mod fixture;

use anyhow::{Result, ensure};
use engine::RotateMode;
use fixture::{RotationFixture, Sizes, flow_error};
use kernel::Clock;
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

fn main() -> Result<()> {
    let sizes = Sizes::read("ROTATION")?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(sizes))
}

async fn run(sizes: Sizes) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let fixture = Arc::new(RotationFixture::make(sizes, folder.path()).await?);
    println!(
        "{} namespaces of {} passages, {} searches a second in {} of them",
        fixture.sizes.namespaces, fixture.sizes.passages, fixture.sizes.rate, fixture.sizes.hot
    );
    println!("{} files of namespaces, each under a key of its own", files(&folder.path().join("data/ns"))?);
    // Opens the searched namespaces first; this is not measured.
    fixture.search_for(Duration::from_secs(5)).await;
    let time = Duration::from_secs(fixture.sizes.seconds as u64);
    // Few searches run during one rewrap, so rewraps are repeated for as long as the searches before were measured.
    for (name, mode, time) in
        [("rewrap", RotateMode::Rewrap, time), ("reencrypt", RotateMode::Reencrypt(None), Duration::ZERO)]
    {
        let before = fixture.search_for(Duration::from_secs(fixture.sizes.seconds as u64)).await;
        let stop = Arc::new(AtomicBool::new(false));
        let searching = fixture.tasks.spawn(fixture.clone().search_until(stop.clone()));
        let begun = fixture.clock.monotonic();
        let mut took = vec![fixture.rotate(mode).await?];
        while fixture.clock.monotonic() - begun < time {
            took.push(fixture.rotate(mode).await?);
        }
        let whole = fixture.clock.monotonic() - begun;
        stop.store(true, Ordering::Relaxed);
        let during = searching.await?;
        took.sort();
        let (median, places) = (took[took.len() / 2], fixture.sizes.namespaces + 2);
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
    fixture.engine.close(Duration::from_secs(60)).await;
    Ok(())
}

impl RotationFixture {
    /// Runs a rotation to its end, and returns its duration, accurate to some milliseconds.
    async fn rotate(&self, mode: RotateMode) -> Result<Duration> {
        let begun = self.clock.monotonic();
        let (id, _) = self.engine.rotate_keys(&self.operator, &self.tenant, mode, None).await.map_err(flow_error)?;
        loop {
            let view = self.engine.operation_for(&self.operator, id).map_err(flow_error)?;
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
