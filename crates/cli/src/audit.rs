//! `ringfence audit`: exports an audit log, and verifies an export or a certificate without a server.

use super::{connection::ConnectionArgs, output::members};
use anyhow::Result;
use clap::{Args, Subcommand};
use std::path::PathBuf;

mod certificate;
mod export;

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Write an audit as NDJSON, oldest record first, with a signed head at the end. By default the audit of the API
    /// key's tenant (scope audit).
    Export(AuditExport),
    /// Check without a server that the records of an export are those that the server wrote and that none is missing,
    /// or that a certificate is what the server signed.
    Verify {
        /// NDJSON from `audit export` without --document or --principal, or a certificate.
        file: PathBuf,
        /// The server's public key, as `ringfence key public` shows it. Without it, only the order of the records among
        /// themselves is checked.
        #[arg(long, env = "RINGFENCE_SIGNING_KEY")]
        key: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct AuditExport {
    /// Tenant that the API key must belong to.
    #[arg(long, conflicts_with = "operators")]
    tenant: Option<String>,
    /// Export the operators' audit instead (operator token with role auditor or admin).
    #[arg(long)]
    operators: bool,
    /// Only records from this time on (RFC 3339).
    #[arg(long)]
    since: Option<String>,
    /// Only records about this document. Such an export has no signed head.
    #[arg(long, conflicts_with = "operators")]
    document: Option<String>,
    /// Only records of this principal. Such an export has no signed head.
    #[arg(long, conflicts_with = "operators")]
    principal: Option<String>,
    /// Write to this file instead of stdout.
    #[arg(long)]
    output: Option<PathBuf>,
}

pub(crate) fn run(command: AuditCommand, connection: &ConnectionArgs) -> Result<()> {
    match command {
        AuditCommand::Export(args) => export::run(&args, connection),
        AuditCommand::Verify { file, key } => match certificate::read(&file)? {
            Some(note) => certificate::verify(&file, &note, key.as_deref(), connection),
            None => connection.print(&export::verify(&file, key.as_deref())?, members),
        },
    }
}
