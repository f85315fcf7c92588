//! `ringfence export` and `ringfence import`: a namespace's documents as rows of a file, NDJSON or Parquet. Exported
//! text is what the server keeps: the visible text, without markup.

use super::{
    connection::ConnectionArgs,
    output::{bar, note},
};
use anyhow::{Context, Result, bail};
use clap::Args;
use client::{Client, Row, RowReader, RowWriter, encode};
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Namespace.
    #[arg(long, env = "RINGFENCE_NAMESPACE")]
    namespace: String,
    /// Include vectors (scope vectors). A document with several passages has no vector of its own.
    #[arg(long)]
    vectors: bool,
    /// Filter as JSON: only documents that match.
    #[arg(long)]
    filter: Option<String>,
    /// File to create: .ndjson, .jsonl or .parquet.
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// Namespace.
    #[arg(long, env = "RINGFENCE_NAMESPACE")]
    namespace: String,
    /// File to read: .ndjson, .jsonl or .parquet.
    file: PathBuf,
}

/// Number of documents per reply of an export: with their texts the reply stays small.
const PAGE: usize = 100;

/// Number of rows per request of an import.
const BATCH_ROWS: usize = 64;

/// Size of text per request of an import in bytes, unless a single row is larger.
const BATCH_BYTES: usize = 4 << 20;

pub(super) fn export(args: &ExportArgs, connection: &ConnectionArgs) -> Result<()> {
    let client = connection.data()?;
    let mut body = json!({"limit": PAGE, "include": ["text", "attributes"]});
    if args.vectors {
        body["include"] = json!(["text", "attributes", "vector"]);
    }
    if let Some(filter) = &args.filter {
        body["filter"] = super::connection::object("--filter", filter)?;
    }
    let path = format!("/v1/namespaces/{}/documents/list", encode(&args.namespace));
    // The first page is read before the file is created, so that a refusal leaves no file.
    let mut page = client.call("POST", &path, Some(&body))?;
    let mut out = RowWriter::create(&args.file)?;
    let bar = bar(page["total"].as_u64().unwrap_or(0), "export");
    let (mut count, mut without, mut textless, mut quarantined) = (0u64, 0u64, 0u64, 0u64);
    loop {
        for document in page["documents"].as_array().into_iter().flatten() {
            // Only reviewers get the content of a quarantined document: there is nothing to write.
            if document["status"] == "quarantined" && document.get("commit").is_none() {
                quarantined += 1;
                continue;
            }
            let row = row(document)?;
            without += u64::from(args.vectors && row.vector.is_none());
            textless += u64::from(row.text.is_none() && row.vector.is_none());
            out.write(row)?;
            count += 1;
        }
        bar.set_position(count);
        if page["next"].is_null() {
            break;
        }
        body["after"] = page["next"].take();
        page = client.call("POST", &path, Some(&body))?;
    }
    out.finish()?;
    bar.finish_and_clear();
    let end = json!({"documents": count, "without_vector": without, "file": args.file});
    connection.print(&end, |_| format!("{count} documents in {}", args.file.display()))?;
    if quarantined > 0 {
        note(&format!("{quarantined} are quarantined and were skipped: use a key with the scope review"));
    }
    if textless > 0 {
        note(&format!("{textless} have a vector but no text, and cannot be imported from this file: use --vectors"));
    }
    if without > 0 {
        note(&format!(
            "{without} have several passages and therefore no vector of their own; an import embeds them again"
        ));
    }
    Ok(())
}

/// Keeps the members of a listed document that an import needs.
fn row(document: &Value) -> Result<Row> {
    let imported = ["id", "title", "uri", "text", "attributes", "readers", "vector", "expires_at"];
    let members = document.as_object().context("the server did not send an object")?;
    // A document that consists only of a vector shows an empty text, and has no text to send.
    let is_set = |value: &Value| !value.is_null() && value != "";
    let row = members.iter().filter(|(name, value)| imported.contains(&name.as_str()) && is_set(value));
    let row: serde_json::Map<String, Value> = row.map(|(name, value)| (name.clone(), value.clone())).collect();
    serde_json::from_value(row.into()).context("the server sent a document in an unexpected form")
}

pub(super) fn import(args: &ImportArgs, connection: &ConnectionArgs) -> Result<()> {
    let rows = RowReader::open(&args.file)?;
    let mut import = ImportRun {
        client: connection.data()?,
        namespace: &args.namespace,
        bar: bar(0, "import"),
        batch: Vec::new(),
        bytes: 0,
        first: 1,
        counts: client::Counts::new(),
        bad: Vec::new(),
    };
    for row in rows {
        import.take(row?)?;
    }
    import.send()?;
    import.bar.finish_and_clear();
    import.end(connection)
}

struct ImportRun<'a> {
    client: Client,
    namespace: &'a str,
    bar: indicatif::ProgressBar,
    batch: Vec<Value>,
    bytes: usize,
    /// Number of the batch's first row, from 1.
    first: u64,
    counts: client::Counts,
    bad: Vec<String>,
}

impl ImportRun<'_> {
    fn take(&mut self, row: Row) -> Result<()> {
        let bytes = row.text.as_ref().map_or(0, String::len) + row.vector.as_ref().map_or(0, |v| v.len() * 10);
        if self.batch.len() == BATCH_ROWS || self.bytes + bytes > BATCH_BYTES {
            self.send()?;
        }
        self.bytes += bytes;
        self.batch.push(serde_json::to_value(row)?);
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let last = self.first + self.batch.len() as u64 - 1;
        let rows = || format!("rows {} to {last}; the rows before them are stored", self.first);
        let reply = self.client.upsert(self.namespace, &self.batch).with_context(rows)?;
        for (row, result) in (self.first..).zip(&reply.results) {
            *self.counts.entry(result.status.clone()).or_default() += 1;
            if !matches!(result.status.as_str(), "indexed" | "unchanged") {
                let why = result.error.as_ref().and_then(|e| e["message"].as_str()).unwrap_or("by its screens");
                self.bad.push(format!("row {row} {}: {why}", result.status));
            }
        }
        self.bar.inc(reply.results.len() as u64);
        self.first = last + 1;
        self.bytes = 0;
        self.batch.clear();
        Ok(())
    }

    fn end(self, connection: &ConnectionArgs) -> Result<()> {
        let rows = self.first - 1;
        let counts_text: Vec<String> = self.counts.iter().map(|(status, n)| format!("{n} {status}")).collect();
        connection.print(&json!({"rows": rows, "counts": self.counts}), |_| {
            format!("{rows} rows: {}", counts_text.join(", "))
        })?;
        for bad in self.bad.iter().take(10) {
            note(bad);
        }
        match self.counts.get("failed") {
            Some(n) => bail!("{n} of {rows} rows failed"),
            None => Ok(()),
        }
    }
}
