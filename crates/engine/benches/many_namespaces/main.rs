//! Many namespaces on one node: how long a start takes, what an idle server holds, what a cold
//! first search costs and how much of it is the directory's, and what a namespace takes on disk.
//!
//! `just bench-many` makes the large world; without arguments a small one is made. The world is
//! made by one process and measured by another, so that nothing is warm but what the system keeps;
//! the data folder's pages are dropped from the page cache before the searches. Sizes come from
//! the environment: `RINGFENCE_MANY_TENANTS`, `_NAMESPACES` (of each tenant), `_PASSAGES`,
//! `_SEARCHES`, `_FOLDER` (kept, and used again if it is there; else a temporary one).
//!
//! This is a measurement, not a test: it judges nothing.

#![expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]

mod make;
mod measure;
mod world;

use anyhow::{Context, Result};
use std::{path::PathBuf, process::Command};
use world::Sizes;

fn main() -> Result<()> {
    let sizes = Sizes::from_environment()?;
    match std::env::var("RINGFENCE_MANY_PHASE").as_deref() {
        Ok("make") => runtime()?.block_on(make::make(&sizes, &folder()?)),
        Ok("measure") => runtime()?.block_on(measure::measure(&sizes, &folder()?)),
        _ => both(&sizes),
    }
}

/// Runs itself twice.
fn both(sizes: &Sizes) -> Result<()> {
    let kept = std::env::var_os("RINGFENCE_MANY_FOLDER").map(PathBuf::from);
    let temporary = tempfile::tempdir()?;
    let folder = kept.unwrap_or_else(|| temporary.path().to_owned());
    println!("{} tenants x {} namespaces x {} passages", sizes.tenants, sizes.namespaces, sizes.passages);
    for phase in ["make", "measure"] {
        let made = phase == "make" && folder.join("keys").exists();
        if made {
            println!("the folder holds a world already; it is measured as it is");
            continue;
        }
        let mut child = Command::new(std::env::current_exe()?);
        child.env("RINGFENCE_MANY_PHASE", phase).env("RINGFENCE_MANY_FOLDER", &folder);
        anyhow::ensure!(child.status()?.success(), "the phase '{phase}' failed");
    }
    Ok(())
}

fn folder() -> Result<PathBuf> {
    std::env::var_os("RINGFENCE_MANY_FOLDER").map(PathBuf::from).context("RINGFENCE_MANY_FOLDER")
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
