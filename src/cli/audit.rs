//! `ringfence audit`: take a chain of audit lines out, and check one without a server.

use super::remote::{Remote, members, note, say};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use client::{Client, encode};
use kernel::Timestamp;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
};

mod certificate;

#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Write the audit as NDJSON, oldest line first: the tenant's own, with an API key of scope audit.
    Export(Export),
    /// Check, without a server, that the lines of an export are the ones that were written, with none missing between
    /// them; or that a certificate is what the server signed.
    Verify {
        /// NDJSON as `audit export` wrote it, without --document or --principal; or a certificate.
        file: PathBuf,
        /// For a certificate: the server's public key, as `ringfence key public` shows it.
        #[arg(long, env = "RINGFENCE_SIGNING_KEY")]
        key: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// The tenant that the API key must belong to.
    #[arg(long, conflicts_with = "operators")]
    tenant: Option<String>,
    /// Instead: what operators did (operator's token, role auditor or admin).
    #[arg(long)]
    operators: bool,
    /// From this time on (RFC 3339).
    #[arg(long)]
    since: Option<String>,
    /// Only lines about this document.
    #[arg(long, conflicts_with = "operators")]
    document: Option<String>,
    /// Only lines of this principal.
    #[arg(long, conflicts_with = "operators")]
    principal: Option<String>,
    /// Write here instead of to stdout.
    #[arg(long)]
    output: Option<PathBuf>,
}

/// Lines of one request: the most that a list gives.
const PAGE: usize = kernel::limits::LIST_LIMIT_MAX;

pub(crate) fn run(command: Audit, remote: &Remote) -> Result<()> {
    match command {
        Audit::Export(args) => export(&args, remote),
        Audit::Verify { file, key } => {
            if let Some(note) = certificate::read(&file)? {
                return certificate::verify(&file, &note, key.as_deref(), remote);
            }
            let lines = read(&file)?;
            let report = match ledger::verify_lines(&lines) {
                Ok(report) => report,
                Err(ledger::Error::Broken { index, sequence, why }) => {
                    bail!("{} line {}: {why} (its number should be {sequence})", file.display(), index + 1)
                }
                Err(other) => return Err(other.into()),
            };
            let value = json!({"intact": true, "first": report.first, "lines": report.lines, "head": report.head});
            remote.print(&value, members)
        }
    }
}

fn export(args: &Export, remote: &Remote) -> Result<()> {
    let (client, path) = match args.operators {
        true => (remote.control()?, "/admin/v1/audit"),
        false => (remote.data()?, "/v1/audit"),
    };
    if let Some(tenant) = &args.tenant {
        let own = client.call("GET", "/v1/whoami", None)?;
        if own["tenant"] != tenant.as_str() {
            bail!(
                "the API key belongs to another tenant than {tenant}: the audit of a tenant is read with its own key"
            );
        }
    }
    let mut filter = String::new();
    for (name, value) in [("document", &args.document), ("principal", &args.principal)] {
        if let Some(value) = value {
            filter.push_str(&format!("&{name}={}", encode(value)));
        }
    }
    let lines = pages(&client, path, args.since.clone(), &filter)?;
    let text = if remote.json { serde_json::to_string_pretty(&lines)? } else { ndjson(&lines) };
    match &args.output {
        None => say(text.trim_end()),
        Some(file) => {
            let write = || fs::File::create(file)?.write_all((text.trim_end().to_owned() + "\n").as_bytes());
            write().with_context(|| format!("cannot write {}", file.display()))?;
            note(&format!("{} lines in {}", lines.len(), file.display()));
            Ok(())
        }
    }
}

fn ndjson(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// All lines: each page begins at the time of the last line, and what was seen already is dropped.
fn pages(client: &Client, path: &str, mut since: Option<String>, filter: &str) -> Result<Vec<Value>> {
    let mut seen = BTreeSet::new();
    let mut lines = Vec::new();
    loop {
        let from = since.as_ref().map_or_else(String::new, |t| format!("&since={}", encode(t)));
        let page = client.lines(&format!("{path}?limit={PAGE}{from}{filter}"))?;
        let (full, before) = (page.len() == PAGE, lines.len());
        let last = page.last().and_then(|line| line["time"].as_i64());
        lines.extend(page.into_iter().filter(|line| seen.insert(line["record_integrity"]["sequence"].as_u64())));
        match last {
            Some(time) if full => since = Some(Timestamp::from_millis(time).to_string()),
            _ => return Ok(lines),
        }
        if lines.len() == before {
            bail!("more than {PAGE} audit lines stand in one millisecond; they cannot be paged through");
        }
    }
}

fn read(file: &std::path::Path) -> Result<Vec<Value>> {
    let open = fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut lines = Vec::new();
    for (at, line) in BufReader::new(open).lines().enumerate() {
        let line = line.with_context(|| format!("{} line {} cannot be read", file.display(), at + 1))?;
        if !line.trim().is_empty() {
            let value = serde_json::from_str(&line)
                .with_context(|| format!("{} line {} is no JSON", file.display(), at + 1))?;
            lines.push(value);
        }
    }
    if lines.is_empty() {
        bail!("{} holds no line", file.display());
    }
    Ok(lines)
}
