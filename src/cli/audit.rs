//! `ringfence audit`: take a chain of audit lines out, and check one without a server.

use super::remote::{Remote, members};
use anyhow::Result;
use clap::{Args, Subcommand};
use std::path::PathBuf;

mod certificate;
mod export;

#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Write an audit as NDJSON, oldest line first, with a signed head at the end. By default that of the API key's
    /// tenant (scope audit).
    Export(Export),
    /// Check, without a server, that the lines of an export are the ones that the server wrote, with none missing; or
    /// that a certificate is what the server signed.
    Verify {
        /// NDJSON as `audit export` wrote it, without --document or --principal; or a certificate.
        file: PathBuf,
        /// The server's public key, as `ringfence key public` shows it. Without it the lines of an export are only in
        /// order among themselves.
        #[arg(long, env = "RINGFENCE_SIGNING_KEY")]
        key: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// The tenant that the API key must belong to.
    #[arg(long, conflicts_with = "operators")]
    tenant: Option<String>,
    /// The operators' audit instead (an operator's token of role auditor or admin).
    #[arg(long)]
    operators: bool,
    /// From this time on (RFC 3339).
    #[arg(long)]
    since: Option<String>,
    /// Only lines about this document. Such an export has no signed head.
    #[arg(long, conflicts_with = "operators")]
    document: Option<String>,
    /// Only lines of this principal. Such an export has no signed head.
    #[arg(long, conflicts_with = "operators")]
    principal: Option<String>,
    /// Write here instead of to stdout.
    #[arg(long)]
    output: Option<PathBuf>,
}

pub(crate) fn run(command: Audit, remote: &Remote) -> Result<()> {
    match command {
        Audit::Export(args) => export::run(&args, remote),
        Audit::Verify { file, key } => match certificate::read(&file)? {
            Some(note) => certificate::verify(&file, &note, key.as_deref(), remote),
            None => remote.print(&export::verify(&file, key.as_deref())?, members),
        },
    }
}
