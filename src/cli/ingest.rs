//! `ringfence ingest`: the files of folders into a namespace. A file's id is its path, so a second
//! run sends the same ids: the server answers `unchanged` for what it has and embeds nothing.

mod files;
mod send;
mod tally;

use super::remote::{Remote, bar};
use anyhow::{Result, bail};
use clap::Args;
use kernel::Clock;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct Ingest {
    /// The namespace; made with defaults when there is none of this name.
    #[arg(long, env = "RINGFENCE_NAMESPACE")]
    namespace: String,
    /// Who may read these documents, such as group:hr; by default the whole tenant.
    #[arg(long, value_name = "PRINCIPAL")]
    readers: Vec<String>,
    /// Write every file that is not searchable now, and why, into this file (NDJSON, no text).
    #[arg(long, value_name = "FILE")]
    failures: Option<PathBuf>,
    /// Files and folders. Hidden files are left out, links are not followed.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

pub(crate) fn run(args: &Ingest, remote: &Remote) -> Result<()> {
    let client = remote.data()?;
    let found = files::walk(&args.paths)?;
    if found.is_empty() {
        bail!("there is no file in what was named");
    }
    let clock = kernel::SystemClock::new();
    let bar = bar(found.len() as u64, "ingest");
    let job = send::Job { client: &client, namespace: &args.namespace, readers: &args.readers, bar: &bar };
    let (tally, stopped) = job.run(found);
    bar.finish_and_clear();
    if let Some(file) = &args.failures {
        tally.write_failures(file)?;
    }
    let summary = tally.summary(clock.monotonic());
    remote.print(&summary, |_| tally.text(clock.monotonic()))?;
    tally.tell(args.failures.as_deref());
    match (stopped, tally.failed()) {
        (Some(error), _) => Err(anyhow::Error::new(error).context("stopped; run the same command again to continue")),
        (None, 0) => Ok(()),
        (None, n) => bail!("{n} files failed"),
    }
}
