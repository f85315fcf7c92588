//! Measures many namespaces on one node: the duration of a start, the memory of an idle server, the cost of a cold
//! first search and the directory's share of it, and the disk space of a namespace.
//!
//! `just bench-many` makes the large data set; without arguments a small one is made. One process makes the data and
//! another measures it, so that only the system's caches are warm; the pages of the data folder are dropped from the
//! page cache before the searches. Sizes come from the environment: `RINGFENCE_MANY_TENANTS`, `_NAMESPACES` (of each
//! tenant), `_PASSAGES`, `_SEARCHES`, `_FOLDER` (kept, and reused if it exists; else a temporary one). With
//! `RINGFENCE_MANY_STORE` the data is in a bucket instead: see `stores`.
//!
//! This is a measurement, not a test: it checks nothing.

#![expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]

mod make;
mod measure;
mod setup;
mod stores;

use anyhow::{Context, Result};
use setup::Sizes;
use std::{collections::BTreeMap, path::PathBuf, process::Command};
use stores::ObjectStoreServer;

fn main() -> Result<()> {
    let sizes = Sizes::from_environment()?;
    match std::env::var("RINGFENCE_MANY_PHASE").as_deref() {
        Ok("make") => runtime()?.block_on(make::make(&sizes, &folder()?)),
        Ok("measure") => runtime()?.block_on(measure::measure(&sizes, &folder()?)),
        _ => both(&sizes),
    }
}

/// Runs this binary twice, once for each phase.
fn both(sizes: &Sizes) -> Result<()> {
    let server = ObjectStoreServer::from_environment()?;
    let kept = std::env::var_os("RINGFENCE_MANY_FOLDER").map(PathBuf::from);
    let temporary = tempfile::tempdir()?;
    // A bucket ends with its server, and its keys are useless afterwards.
    let folder = kept.filter(|_| server.is_none()).unwrap_or_else(|| temporary.path().to_owned());
    println!("{} tenants x {} namespaces x {} passages", sizes.tenants, sizes.namespaces, sizes.passages);
    for phase in ["make", "measure"] {
        let made = phase == "make" && folder.join("keys").exists();
        if made {
            println!("the folder holds a setup already; it is measured as it is");
            continue;
        }
        let before = server.as_ref().and_then(ObjectStoreServer::requests).unwrap_or_default();
        let mut child = Command::new(std::env::current_exe()?);
        child.env("RINGFENCE_MANY_PHASE", phase).env("RINGFENCE_MANY_FOLDER", &folder);
        if let Some(server) = &server {
            server.pass_to(&mut child);
        }
        anyhow::ensure!(child.status()?.success(), "the phase '{phase}' failed");
        if let Some(server) = &server {
            bucket(sizes, phase, server, &before);
        }
        let load = std::fs::read_to_string("/proc/loadavg")?;
        println!("load average after '{phase}': {}", load.split(' ').take(3).collect::<Vec<_>>().join(" "));
    }
    Ok(())
}

/// Prints the requests of a phase to the store, and the objects that are there.
fn bucket(sizes: &Sizes, phase: &str, server: &ObjectStoreServer, before: &BTreeMap<String, u64>) {
    let namespaces = sizes.tenants * sizes.namespaces;
    let (what, times) = match phase {
        "make" => ("namespace", namespaces),
        _ => ("cold search", namespaces.min(sizes.searches)),
    };
    let asked = server.requests().unwrap_or_default().into_iter().filter(|(request, _)| !request.ends_with("probe"));
    let each = |(request, count): (String, u64)| {
        let count = count - before.get(&request).copied().unwrap_or(0);
        format!("{request} {:.2}", count as f64 / times as f64)
    };
    let asked: Vec<String> = asked.map(each).collect();
    if !asked.is_empty() {
        println!("requests while we {phase}, for each {what}: {}", asked.join(", "));
    }
    for (kind, (objects, bytes)) in server.objects().filter(|_| phase == "make").unwrap_or_default() {
        let each = |n: u64| n as f64 / namespaces as f64;
        println!("bucket, {kind}: {:.1} objects, {:.0} bytes for each namespace", each(objects), each(bytes));
    }
}

fn folder() -> Result<PathBuf> {
    std::env::var_os("RINGFENCE_MANY_FOLDER").map(PathBuf::from).context("RINGFENCE_MANY_FOLDER")
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
