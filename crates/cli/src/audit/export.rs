//! An export: the records of an audit, followed by its head as the server signed it.

use crate::{
    connection::ConnectionArgs,
    output::{note, print_text},
};
use anyhow::{Context, Result, anyhow, bail};
use api::account::Whoami;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use client::{Client, encode};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
};
use vault::PublicKey;

/// Number of records per request: the maximum of a list.
const PAGE: usize = kernel::limits::LIST_LIMIT_MAX;
/// Member of an export's last line.
const SIGNED_HEAD: &str = "signed_head";

/// Writes an export to a file or to stdout.
pub(super) fn run(args: &super::AuditExport, connection: &ConnectionArgs) -> Result<()> {
    let (client, path) = match args.operators {
        true => (connection.control()?, "/admin/v1/audit"),
        false => (connection.data()?, "/v1/audit"),
    };
    if let Some(tenant) = &args.tenant
        && client.call::<Whoami>("GET", "/v1/whoami")?.tenant != *tenant
    {
        bail!("the API key belongs to another tenant, not to {tenant}: a tenant's audit is read with its own key");
    }
    let mut filter = String::new();
    for (name, value) in [("document", &args.document), ("principal", &args.principal)] {
        if let Some(value) = value {
            filter.push_str(&format!("&{name}={}", encode(value)));
        }
    }
    let (mut lines, head) = fetch(&client, path, args.since.as_deref(), &filter)?;
    let count = lines.len();
    match head {
        Some(head) if filter.is_empty() => lines.push(json!({ SIGNED_HEAD: head })),
        _ => note(
            "this is a part of the audit: it does not show whether records are missing between those in the export. An \
             export without --document and --principal, with a key that is not limited to namespaces, ends with a \
             signed \
             head, which shows it",
        ),
    }
    let text = if connection.json { serde_json::to_string_pretty(&lines)? } else { ndjson(&lines) };
    match &args.output {
        None => print_text(text.trim_end()),
        Some(file) => {
            let write = || fs::File::create(file)?.write_all((text.trim_end().to_owned() + "\n").as_bytes());
            write().with_context(|| format!("cannot write {}", file.display()))?;
            note(&format!("{count} records in {}", file.display()));
            Ok(())
        }
    }
}

fn ndjson(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Fetches the records from this time on, and the signed head that they lead up to.
fn fetch(client: &Client, path: &str, since: Option<&str>, filter: &str) -> Result<(Vec<Value>, Option<String>)> {
    let since = since.map_or_else(String::new, |time| format!("&since={}", encode(time)));
    // Times may be slightly out of order. Therefore only the first record is found by its time, and all records that
    // follow it are taken, or they would not lead up to the head.
    let first = client.page(&format!("{path}?limit=1{since}{filter}"))?;
    let head = first.audit_head.map(|head| decoded(&head)).transpose()?;
    let last = head.as_deref().and_then(|note| Some(stated(note).ok()?.lines)).unwrap_or(u64::MAX);
    let Some(sequence) = first.lines.first().and_then(sequence) else { return Ok((Vec::new(), head)) };
    let (mut lines, mut after) = (Vec::new(), Some((sequence - 1).to_string()));
    while let Some(from) = after {
        let page = client.page(&format!("{path}?limit={PAGE}&after={}{filter}", encode(&from)))?;
        after = page.next_after;
        for line in page.lines {
            // Records after the head, including those of this export itself, belong to the next export.
            if self::sequence(&line).is_none_or(|number| number > last) {
                return Ok((lines, head));
            }
            lines.push(line);
        }
    }
    Ok((lines, head))
}

/// The part of a record that ties it to the one before it.
#[derive(Deserialize)]
struct ChainedRecord {
    record_integrity: RecordIntegrity,
}

#[derive(Deserialize)]
struct RecordIntegrity {
    sequence: u64,
    chain_uid: String,
}

fn integrity(line: &Value) -> Option<RecordIntegrity> {
    ChainedRecord::deserialize(line).ok().map(|record| record.record_integrity)
}

fn sequence(line: &Value) -> Option<u64> {
    integrity(line).map(|record| record.sequence)
}

/// What the server signs about the end of an audit.
#[derive(Deserialize)]
struct HeadStatement {
    statement: String,
    chain: String,
    lines: u64,
    head: String,
    at: String,
}

fn decoded(head: &str) -> Result<String> {
    let bytes = BASE64_STANDARD.decode(head).context("the server's signed head is not base64")?;
    String::from_utf8(bytes).context("the server's signed head is not text")
}

/// The statement of a note, without checking the signature.
fn stated(note: &str) -> Result<HeadStatement> {
    let (text, _) = note.rsplit_once("\n\n").context("it is not a signed note")?;
    serde_json::from_str(text).context("its statement is not that of an audit's head")
}

/// Verifies an export. Records that a signed head covers are exactly those that the server wrote, with none missing.
/// Without a head, or without the key that signed it, the records are only in order among themselves, and the author of
/// the file may have invented all of them.
pub(super) fn verify(file: &Path, key: Option<&str>) -> Result<Value> {
    let (lines, head) = read(file)?;
    let report = match ledger::verify_records(&lines) {
        Ok(report) => report,
        Err(ledger::Error::Broken { index, sequence, why }) => {
            bail!("{} line {}: {why} (its number should be {sequence})", file.display(), index + 1)
        }
        Err(other) => return Err(other.into()),
    };
    let value = |intact: bool, says: String| {
        let (first, lines, head) = (report.first, report.lines, &report.head);
        json!({ "intact": intact, "in_order": true, "first": first, "lines": lines, "head": head, "says": says })
    };
    let among_themselves = |why: &str| value(false, format!("the records are in order among themselves; {why}"));
    let Some(note) = head else {
        return Ok(among_themselves(
            "no signed head confirms that the server wrote exactly these records: export them with 'ringfence audit \
             export'",
        ));
    };
    let Some(key) = key else {
        return Ok(among_themselves(
            "give --key, as 'ringfence key public' shows it, to check the signed head at the end of the export",
        ));
    };
    let key = PublicKey::parse(key).context("--key is not a public key: it must have the form name+id+key")?;
    key.open(&note).map_err(|e| anyhow!("{}: its signed head: {e}", file.display()))?;
    let stated = stated(&note)?;
    let chain = lines.last().and_then(integrity).map(|record| record.chain_uid).unwrap_or_default();
    let last = report.first + report.lines - 1;
    if stated.statement != "audit head" || stated.chain != chain {
        bail!("{}: its signed head belongs to another audit", file.display());
    }
    if stated.lines != last || stated.head != report.head {
        bail!(
            "{}: its signed head covers {} records and does not match these, which end with record {last}: records \
             were \
             removed, added or changed",
            file.display(),
            stated.lines
        );
    }
    let before = match report.first {
        1 => "from the first record on".to_owned(),
        first => format!("from record {first} on; nothing is shown about the records before it"),
    };
    let at = stated.at;
    Ok(value(true, format!("these are all the records that the server wrote up to {at}, {before}")))
}

fn read(file: &Path) -> Result<(Vec<Value>, Option<String>)> {
    let open = fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let (mut lines, mut head) = (Vec::new(), None);
    for (at, line) in BufReader::new(open).lines().enumerate() {
        let line = line.with_context(|| format!("{} line {} cannot be read", file.display(), at + 1))?;
        if line.trim().is_empty() {
            continue;
        }
        if head.is_some() {
            bail!(
                "{} line {}: there are lines after the signed head, which must be the end of an export",
                file.display(),
                at + 1
            );
        }
        let value: Value =
            serde_json::from_str(&line).with_context(|| format!("{} line {} is not JSON", file.display(), at + 1))?;
        match value.get(SIGNED_HEAD) {
            Some(note) => head = Some(note.as_str().context("the signed head is not text")?.to_owned()),
            None => lines.push(value),
        }
    }
    if lines.is_empty() {
        bail!("{} contains no record", file.display());
    }
    Ok((lines, head))
}
