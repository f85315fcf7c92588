//! `ringfence ingest`: stores the files of folders in a namespace. A file's id is its path, so a second run sends the
//! same ids: the server answers `unchanged` for documents that it has, and embeds nothing again.

mod files;
mod send;
mod summary;

use super::{connection::ConnectionArgs, output::bar};
use anyhow::{Result, bail};
use api::common::name;
use clap::Args;
use kernel::{Clock, Principal};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct IngestArgs {
    /// Namespace; created with defaults if it does not exist.
    #[arg(long, env = "RINGFENCE_NAMESPACE")]
    namespace: String,
    /// Principal that may read these documents, such as group:hr; may be repeated. Default: the whole tenant.
    #[arg(long, value_name = "PRINCIPAL", value_parser = name::<Principal>)]
    readers: Vec<Principal>,
    /// Write each file that is not searchable, with the reason, to this file (NDJSON, without text).
    #[arg(long, value_name = "FILE")]
    failures: Option<PathBuf>,
    /// Files and folders. Hidden files are skipped, and links are not followed.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

pub(crate) fn run(args: &IngestArgs, connection: &ConnectionArgs) -> Result<()> {
    let client = connection.data()?;
    let found = files::walk(&args.paths)?;
    if found.is_empty() {
        bail!("there are no files in the given paths");
    }
    let clock = kernel::SystemClock::new();
    let bar = bar(found.len() as u64, "ingest");
    let run = send::IngestRun { client: &client, namespace: &args.namespace, readers: &args.readers, bar: &bar };
    let (summary, stopped) = run.run(found);
    bar.finish_and_clear();
    if let Some(file) = &args.failures {
        summary.write_failures(file)?;
    }
    connection.print(&summary.to_json(clock.monotonic()), |_| summary.text(clock.monotonic()))?;
    summary.print_failures(args.failures.as_deref());
    match (stopped, summary.failed()) {
        (Some(error), _) => {
            Err(anyhow::Error::new(error).context("stopped early; run the same command again to continue"))
        }
        (None, 0) => Ok(()),
        (None, n) => bail!("{n} files failed"),
    }
}
