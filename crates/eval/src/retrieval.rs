//! `eval retrieval`: fills a namespace, sends every query in every mode, measures the rankings and reports.

use crate::{Collection, Error, Measures, measure};
use api::{
    common::word,
    documents::{NewDocument, UpsertRequest},
    namespaces::NamespaceInfo,
    search::Search,
};
use client::Client;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
    time::Duration,
};

/// Options of an evaluation.
#[derive(Clone, Debug)]
pub struct Options {
    /// Namespace that is filled and searched.
    pub namespace: String,
    /// Documents in one request.
    pub batch: usize,
    /// Modes to evaluate: `text`, `vector`, `hybrid`, or hybrid with a fusion (`hybrid:rrf`, `hybrid:convex:0.3`). Each
    /// may be followed by `+rerank` or `+rerank:MODEL` to have the best candidates reranked.
    pub modes: Vec<String>,
}

/// Results of one mode.
#[derive(Clone, Debug, Serialize)]
pub struct ModeReport {
    /// Mode as in [`Options::modes`].
    pub mode: String,
    /// Measures, averaged over queries.
    #[serde(flatten)]
    pub measures: Measures,
    /// Median time of a query as this client sees it, milliseconds.
    pub p50_ms: f64,
    /// 99th percentile of the same time, milliseconds.
    pub p99_ms: f64,
}

/// Results of an evaluation.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Name of the collection's folder.
    pub dataset: String,
    /// Number of documents.
    pub documents: usize,
    /// Number of queries with a judgement.
    pub queries: usize,
    /// Number of ingested documents by status.
    pub ingest: BTreeMap<String, u64>,
    /// Results by mode.
    pub modes: Vec<ModeReport>,
    /// Ranked lists in TREC format. They go to a file next to the report, not into it.
    #[serde(skip)]
    pub run: String,
}

/// An earlier report, as far as it is compared with a new one.
#[derive(Debug, Deserialize)]
pub struct Baseline {
    /// Results by mode.
    pub modes: Vec<BaselineMode>,
}

/// Results of one mode in an earlier report.
#[derive(Debug, Deserialize)]
pub struct BaselineMode {
    /// Mode as in [`Options::modes`].
    pub mode: String,
    /// nDCG@10, averaged over queries.
    #[serde(rename = "ndcg@10")]
    pub ndcg_10: f64,
}

/// Runs the evaluation. `progress(what, done, total)` is called while documents are ingested and queries are sent;
/// `clock` returns the time since a fixed start.
///
/// # Errors
/// A document was not indexed (a quarantined one would falsify the figures), or the server refused a request.
pub fn retrieval(
    client: &Client,
    collection: &Collection,
    dataset: &str,
    options: &Options,
    clock: &dyn Fn() -> Duration,
    progress: &dyn Fn(&str, usize, usize),
) -> Result<Report, Error> {
    let ingest = fill(client, collection, options, progress)?;
    let mut report = Report {
        dataset: dataset.to_owned(),
        documents: collection.corpus.len(),
        queries: collection.queries.len(),
        ingest,
        modes: Vec::new(),
        run: String::new(),
    };
    for mode in &options.modes {
        let line = run_mode(client, collection, options, mode, clock, progress, &mut report.run)?;
        report.modes.push(line);
    }
    Ok(report)
}

impl Report {
    /// Writes `report.json` and `run.trec` into a folder, which is created if needed.
    ///
    /// # Errors
    /// An error that names the file.
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Output { path, source }
        };
        fs::create_dir_all(folder).map_err(failed(folder))?;
        let (report, run) = (folder.join("report.json"), folder.join("run.trec"));
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        fs::write(&report, text + "\n").map_err(failed(&report))?;
        fs::write(&run, &self.run).map_err(failed(&run))
    }

    /// The results as a table for people.
    pub fn table(&self) -> String {
        let mut out = format!("{}: {} documents, {} queries\n", self.dataset, self.documents, self.queries);
        let width = self.modes.iter().map(|line| line.mode.len()).fold(20, usize::max);
        let _ = writeln!(
            out,
            "{:<width$} {:>8} {:>10} {:>11} {:>7} {:>11} {:>9} {:>9}",
            "mode", "nDCG@10", "recall@10", "recall@100", "MRR", "mismatch@1", "p50 ms", "p99 ms"
        );
        for ModeReport { mode, measures: m, p50_ms, p99_ms } in &self.modes {
            let _ = writeln!(
                out,
                "{mode:<width$} {:>8.4} {:>10.4} {:>11.4} {:>7.4} {:>11.4} {p50_ms:>9.2} {p99_ms:>9.2}",
                m.ndcg_10, m.recall_10, m.recall_100, m.mrr, m.mismatch_1
            );
        }
        out
    }

    /// Modes whose nDCG@10 is more than 0.005 lower than in an older report.
    pub fn worse_than(&self, baseline: &Baseline) -> Vec<String> {
        let before = |mode: &str| baseline.modes.iter().find(|m| m.mode == mode).map(|m| m.ndcg_10);
        let worse = |m: &&ModeReport| before(&m.mode).is_some_and(|b| m.measures.ndcg_10 < b - 0.005);
        self.modes.iter().filter(worse).map(|m| m.mode.clone()).collect()
    }
}

fn fill(
    client: &Client,
    collection: &Collection,
    options: &Options,
    progress: &dyn Fn(&str, usize, usize),
) -> Result<BTreeMap<String, u64>, Error> {
    let total = collection.corpus.len();
    let mut counts = BTreeMap::new();
    let mut not_indexed: Vec<String> = Vec::new();
    let mut sent = BTreeSet::new();
    for (at, batch) in collection.corpus.chunks(options.batch).enumerate() {
        progress("ingest", at * options.batch, total);
        let items = batch.iter().filter(|d| !d.text.is_empty() || !d.title.is_empty());
        sent.extend(items.clone().map(|item| item.id.clone()));
        let request = UpsertRequest { documents: items.map(document).collect(), on_conflict: None };
        let reply = client.upsert(&options.namespace, &request)?;
        for result in reply.results {
            if !matches!(&*result.status, "indexed" | "unchanged") {
                not_indexed.push(format!("{} {}", result.id.as_deref().unwrap_or("?"), result.status));
            }
        }
        for (status, n) in reply.counts {
            *counts.entry(status.into_owned()).or_default() += n;
        }
    }
    progress("ingest", total, total);
    match not_indexed.first() {
        Some(first) => Err(Error::NotIndexed { count: not_indexed.len(), total, first: first.clone() }),
        None => check_is_unmixed(client, &options.namespace, sent.len() as u64).map(|()| counts),
    }
}

/// Checks that the namespace holds the collection and nothing else.
fn check_is_unmixed(client: &Client, namespace: &str, expected: u64) -> Result<(), Error> {
    let path = format!("/v1/namespaces/{}", client::encode(namespace));
    let found = client.call::<NamespaceInfo>("GET", &path)?.documents;
    if found == expected {
        return Ok(());
    }
    Err(Error::Mixed { namespace: namespace.to_owned(), found, expected })
}

fn document(item: &crate::Item) -> NewDocument {
    let text = if item.text.is_empty() { &item.title } else { &item.text };
    NewDocument {
        id: Some(item.id.clone()),
        title: Some(item.title.clone()),
        text: Some(text.clone()),
        media_type: Some("text/plain".to_owned()),
        ..NewDocument::default()
    }
}

fn run_mode(
    client: &Client,
    collection: &Collection,
    options: &Options,
    mode: &str,
    clock: &dyn Fn() -> Duration,
    progress: &dyn Fn(&str, usize, usize),
    run: &mut String,
) -> Result<ModeReport, Error> {
    let mut measures = Vec::new();
    let mut times = Vec::new();
    for (at, query) in collection.queries.iter().enumerate() {
        progress(mode, at, collection.queries.len());
        let request = request(&query.text, mode)?;
        let start = clock();
        let reply = client.search(&options.namespace, &request)?;
        times.push((clock().saturating_sub(start)).as_secs_f64() * 1e3);
        let ranking: Vec<String> = reply.hits.iter().map(|h| h.document_id.clone()).collect();
        for (rank, hit) in reply.hits.iter().enumerate() {
            let _ = writeln!(run, "{} Q0 {} {} {} ringfence-{mode}", query.id, hit.document_id, rank + 1, hit.score);
        }
        if let Some(relevant) = collection.judgements.get(&query.id) {
            measures.push(measure(&ranking, relevant));
        }
    }
    progress(mode, collection.queries.len(), collection.queries.len());
    times.sort_by(f64::total_cmp);
    Ok(ModeReport {
        mode: mode.to_owned(),
        measures: Measures::mean(&measures),
        p50_ms: percentile(&times, 0.50),
        p99_ms: percentile(&times, 0.99),
    })
}

/// Search request of a query in a mode.
fn request(query: &str, spec: &str) -> Result<Search, Error> {
    let (ranking, rerank) = match spec.split_once('+') {
        Some((ranking, rerank)) => (ranking, Some(rerank)),
        None => (spec, None),
    };
    let (mode, fusion) = match ranking.split_once(':') {
        Some((mode, fusion)) => (mode, Some(fusion)),
        None => (ranking, None),
    };
    let invalid = |why| Error::Mode { mode: spec.to_owned(), why };
    let mut request = Search {
        query: Some(query.to_owned()),
        mode: Some(word(mode).map_err(invalid)?),
        top_k: Some(100),
        max_per_document: Some(1),
        fusion: fusion.map(client::fusion).transpose().map_err(invalid)?,
        ..Search::default()
    };
    match rerank.map(|rerank| rerank.split_once(':').unwrap_or((rerank, ""))) {
        None => {}
        Some(("rerank", model)) => request.rerank = Some(client::rerank(model)),
        Some(_) => {
            return Err(invalid("a mode can be followed only by +rerank or +rerank:MODEL".to_owned()));
        }
    }
    Ok(request)
}

/// Nearest-rank percentile of sorted values; 0 if there are none.
fn percentile(sorted: &[f64], p: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank inside the list")]
    let at = ((sorted.len() as f64 * p).ceil() as usize).saturating_sub(1);
    sorted.get(at).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests;
