//! An export: the lines of an audit, and after them its head, as the server signed it.

use crate::cli::remote::{Remote, note, say};
use anyhow::{Context, Result, anyhow, bail};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use client::{Client, encode};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
};
use vault::PublicKey;

/// Lines of one request: the most that a list gives.
const PAGE: usize = kernel::limits::LIST_LIMIT_MAX;
/// The member of an export's last line.
const SIGNED_HEAD: &str = "signed_head";

/// Writes an export to a file or to stdout.
pub(super) fn run(args: &super::Export, remote: &Remote) -> Result<()> {
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
    let (mut lines, head) = fetch(&client, path, args.since.as_deref(), &filter)?;
    let count = lines.len();
    match head {
        Some(head) if filter.is_empty() => lines.push(json!({ SIGNED_HEAD: head })),
        _ => note(
            "these are some of the lines: nothing shows that none is missing between them. An export without --document \
             and --principal, with a key that is not limited to namespaces, ends with a signed head, which does",
        ),
    }
    let text = if remote.json { serde_json::to_string_pretty(&lines)? } else { ndjson(&lines) };
    match &args.output {
        None => say(text.trim_end()),
        Some(file) => {
            let write = || fs::File::create(file)?.write_all((text.trim_end().to_owned() + "\n").as_bytes());
            write().with_context(|| format!("cannot write {}", file.display()))?;
            note(&format!("{count} lines in {}", file.display()));
            Ok(())
        }
    }
}

fn ndjson(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The lines from the first of that time on, and the signed head that they lead up to.
fn fetch(client: &Client, path: &str, since: Option<&str>, filter: &str) -> Result<(Vec<Value>, Option<String>)> {
    let since = since.map_or_else(String::new, |time| format!("&since={}", encode(time)));
    // Times may stand a little out of order. So only the first line is looked for by its time: what follows it is taken
    // whole, or the lines would not lead up to the head.
    let first = client.page(&format!("{path}?limit=1{since}{filter}"))?;
    let head = first.audit_head.map(|head| decoded(&head)).transpose()?;
    let last = head.as_deref().and_then(|note| stated(note).ok()?["lines"].as_u64()).unwrap_or(u64::MAX);
    let Some(sequence) = first.lines.first().and_then(sequence) else { return Ok((Vec::new(), head)) };
    let (mut lines, mut after) = (Vec::new(), Some((sequence - 1).to_string()));
    while let Some(from) = after {
        let page = client.page(&format!("{path}?limit={PAGE}&after={}{filter}", encode(&from)))?;
        after = page.next_after;
        for line in page.lines {
            // Lines after the head, those of this export among them, belong to the next export.
            if self::sequence(&line).is_none_or(|number| number > last) {
                return Ok((lines, head));
            }
            lines.push(line);
        }
    }
    Ok((lines, head))
}

fn sequence(line: &Value) -> Option<u64> {
    line["record_integrity"]["sequence"].as_u64()
}

fn decoded(head: &str) -> Result<String> {
    let bytes = BASE64_STANDARD.decode(head).context("the server's signed head is no base64")?;
    String::from_utf8(bytes).context("the server's signed head is no text")
}

/// What a note states, signed or not.
fn stated(note: &str) -> Result<Value> {
    let (text, _) = note.rsplit_once("\n\n").context("it is no signed note")?;
    serde_json::from_str(text).context("what it states is no JSON")
}

/// Checks an export. What a signed head covers is what the server wrote, whole; without one, or without the key that it
/// was signed with, the lines are in order among themselves, and the maker of the file may have made all of them.
pub(super) fn verify(file: &Path, key: Option<&str>) -> Result<Value> {
    let (lines, head) = read(file)?;
    let report = match ledger::verify_lines(&lines) {
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
    let among_themselves = |why: &str| value(false, format!("the lines are in order among themselves; {why}"));
    let Some(note) = head else {
        return Ok(among_themselves(
            "no signed head says that they are the ones that the server wrote: export them with 'ringfence audit export'",
        ));
    };
    let Some(key) = key else {
        return Ok(among_themselves(
            "give --key, as 'ringfence key public' showed it, to check the signed head that the export ends with",
        ));
    };
    let key = PublicKey::parse(key).context("--key is no public key: it must read name+id+key")?;
    key.open(&note).map_err(|e| anyhow!("{}: its signed head: {e}", file.display()))?;
    let stated = stated(&note)?;
    let chain = lines.last().map(|line| line["record_integrity"]["chain_uid"].clone()).unwrap_or_default();
    let last = report.first + report.lines - 1;
    if stated["statement"] != "audit head" || stated["chain"] != chain {
        bail!("{}: its signed head is of another audit", file.display());
    }
    if stated["lines"] != last || stated["head"] != report.head.as_str() {
        bail!(
            "{}: its signed head covers {} lines and ends otherwise than these, which end with line {last}: lines were \
             removed, added or changed",
            file.display(),
            stated["lines"]
        );
    }
    let before = match report.first {
        1 => "from the first line on".to_owned(),
        first => format!("from line {first} on; of what stands before it nothing is shown"),
    };
    let at = stated["at"].as_str().unwrap_or("-");
    Ok(value(true, format!("these are the lines that the server wrote up to {at}, all of them, {before}")))
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
                "{} line {}: lines follow the signed head, which stands at the end of an export",
                file.display(),
                at + 1
            );
        }
        let value: Value =
            serde_json::from_str(&line).with_context(|| format!("{} line {} is no JSON", file.display(), at + 1))?;
        match value.get(SIGNED_HEAD) {
            Some(note) => head = Some(note.as_str().context("the signed head is no text")?.to_owned()),
            None => lines.push(value),
        }
    }
    if lines.is_empty() {
        bail!("{} holds no line", file.display());
    }
    Ok((lines, head))
}
