//! `ringfence export` and `ringfence import`: a namespace's documents as rows of a file, NDJSON or Parquet. Exported
//! text is what the server keeps: the visible text, without markup.

use super::{
    connection::{self, ConnectionArgs},
    output::{bar, note},
};
use anyhow::{Context, Result, bail};
use api::{
    documents::{DocumentList, DocumentPage, NewDocument, ShownDocument, UpsertRequest, WholeDocument},
    strict::BoundedList,
};
use clap::Args;
use client::{Client, Row, RowReader, RowWriter, encode};
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::PathBuf};

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
    let mut include = vec!["text".to_owned(), "attributes".to_owned()];
    if args.vectors {
        include.push("vector".to_owned());
    }
    let mut request = DocumentList {
        limit: Some(PAGE),
        include: Some(BoundedList(include)),
        filter: args.filter.as_deref().map(|text| connection::filter("--filter", text)).transpose()?,
        ..DocumentList::default()
    };
    let path = format!("/v1/namespaces/{}/documents/list", encode(&args.namespace));
    // The first page is read before the file is created, so that a refusal leaves no file.
    let mut page: DocumentPage = client.send("POST", &path, &request)?;
    let mut out = RowWriter::create(&args.file)?;
    let bar = bar(page.total, "export");
    let (mut count, mut without, mut textless, mut quarantined) = (0u64, 0u64, 0u64, 0u64);
    loop {
        for document in page.documents {
            // Only reviewers get the content of a quarantined document: there is nothing to write.
            let ShownDocument::Whole(document) = document else {
                quarantined += 1;
                continue;
            };
            let row = row(*document)?;
            without += u64::from(args.vectors && row.vector.is_none());
            textless += u64::from(row.text.is_none() && row.vector.is_none());
            out.write(row)?;
            count += 1;
        }
        bar.set_position(count);
        if page.next.is_none() {
            break;
        }
        request.after = page.next;
        page = client.send("POST", &path, &request)?;
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
fn row(document: WholeDocument) -> Result<Row> {
    let attributes = match serde_json::to_value(document.attributes)? {
        Value::Object(attributes) => attributes,
        _ => serde_json::Map::new(),
    };
    Ok(Row {
        id: Some(document.id),
        title: document.title,
        uri: document.uri,
        // A document that consists only of a vector shows an empty text, and has no text to send.
        text: document.text.filter(|text| !text.is_empty()),
        attributes,
        readers: document.readers,
        vector: document.vector,
        expires_at: document.expires_at,
    })
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
        counts: BTreeMap::new(),
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
    batch: Vec<NewDocument>,
    bytes: usize,
    /// Number of the batch's first row, from 1.
    first: u64,
    counts: BTreeMap<String, u64>,
    bad: Vec<String>,
}

impl ImportRun<'_> {
    fn take(&mut self, row: Row) -> Result<()> {
        let bytes = row.text.as_ref().map_or(0, String::len) + row.vector.as_ref().map_or(0, |v| v.len() * 10);
        if self.batch.len() == BATCH_ROWS || self.bytes + bytes > BATCH_BYTES {
            self.send()?;
        }
        match row.into_document() {
            Ok(document) => {
                self.bytes += bytes;
                self.batch.push(document);
            }
            // Such a row fails alone, as one that the server refuses.
            Err(error) => {
                self.send()?;
                self.refuse(self.first, "failed", &error.to_string());
                self.bar.inc(1);
                self.first += 1;
            }
        }
        Ok(())
    }

    fn refuse(&mut self, row: u64, status: &str, why: &str) {
        self.bad.push(format!("row {row} {status}: {why}"));
        *self.counts.entry(status.to_owned()).or_default() += 1;
    }

    fn send(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let last = self.first + self.batch.len() as u64 - 1;
        let rows = || format!("rows {} to {last}; the rows before them are stored", self.first);
        let request = UpsertRequest { documents: BoundedList(std::mem::take(&mut self.batch)), on_conflict: None };
        let reply = self.client.upsert(self.namespace, &request).with_context(rows)?;
        for (row, result) in (self.first..).zip(&reply.results) {
            match &*result.status {
                done @ ("indexed" | "unchanged") => *self.counts.entry(done.to_owned()).or_default() += 1,
                status => {
                    let why = result.error.as_ref().map_or("by its screens", |error| &error.message);
                    self.refuse(row, status, why);
                }
            }
        }
        self.bar.inc(reply.results.len() as u64);
        self.first = last + 1;
        self.bytes = 0;
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
