//! `ringfence eval`, against a running server: `retrieval` measures quality on a collection in BEIR layout; `recall`
//! measures the share of the exact answer that vector search finds in an existing namespace.

use super::{
    connection::{self, ConnectionArgs},
    output::{bar, note},
};
use anyhow::{Context, Result, bail};
use api::recall::{Recall, RecallResults};
use clap::{Args, Subcommand};
use eval::{Baseline, Collection, Options, Report};
use kernel::Clock;
use std::{
    cell::RefCell,
    path::{Path, PathBuf},
};

#[derive(Debug, Subcommand)]
pub(super) enum EvalCommand {
    /// Load a collection into a namespace, run its queries, and measure the rankings.
    Retrieval(RetrievalArgs),
    /// Search for stored vectors (or questions) both as usual and exactly, and compare the results.
    Recall(RecallArgs),
}

#[derive(Debug, Args)]
pub(super) struct RecallArgs {
    /// Namespace.
    #[arg(long, env = "RINGFENCE_NAMESPACE")]
    namespace: String,
    /// Number of stored vectors to search for, spread evenly over all that the key may see. Default: 100.
    #[arg(long, conflicts_with = "queries")]
    samples: Option<usize>,
    /// File with one question per line, to be used instead of stored vectors.
    #[arg(long)]
    queries: Option<PathBuf>,
    /// Number of nearest passages that count.
    #[arg(long, default_value_t = 10)]
    top_k: usize,
    /// Filter as JSON: {"type": "gte", "key": "year", "value": 2024}.
    #[arg(long)]
    filter: Option<String>,
    /// Fail if the recall is lower.
    #[arg(long)]
    at_least: Option<f64>,
}

impl RecallArgs {
    fn run(&self, connection: &ConnectionArgs) -> Result<()> {
        let read = |path: &PathBuf| {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            anyhow::Ok(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect())
        };
        let request = Recall {
            samples: self.samples,
            queries: self.queries.as_ref().map(read).transpose()?,
            top_k: Some(self.top_k),
            filter: self.filter.as_deref().map(|text| connection::filter("--filter", text)).transpose()?,
            ..Recall::default()
        };
        let path = format!("/v1/namespaces/{}/recall", client::encode(&self.namespace));
        let reply: RecallResults = connection.data()?.send("POST", &path, &request)?;
        connection.print(&reply, recall_text)?;
        let recall = reply.recall;
        match self.at_least {
            Some(least) if recall < least => bail!("recall {recall:.4} is below {least}"),
            _ => Ok(()),
        }
    }
}

/// The reply as text for people.
fn recall_text(reply: &RecallResults) -> String {
    let RecallResults { recall, lowest, queries, top_k, rows, eligible_rows, .. } = reply;
    let mut out = format!(
        "recall@{top_k} {recall:.4}, lowest {lowest:.4}, over {queries} queries\n{eligible_rows} of {rows} passages were \
         eligible\n"
    );
    if let Some(share) = reply.compared_share {
        out.push_str(&format!("{:.1} % of them were compared\n", 100.0 * share));
    }
    for (method, times) in &reply.ways {
        out.push_str(&format!("segments searched by {method}: {times}\n"));
    }
    out
}

#[derive(Debug, Args)]
pub(super) struct RetrievalArgs {
    /// Folder with corpus.jsonl, queries.jsonl and qrels/test.tsv.
    #[arg(long)]
    dataset: PathBuf,
    /// Namespace to load; it should hold nothing else. Default: eval- followed by the folder's name.
    #[arg(long)]
    namespace: Option<String>,
    /// An earlier report.json: fail if nDCG@10 of a mode is lower by more than 0.005.
    #[arg(long)]
    baseline: Option<PathBuf>,
    /// Folder for report.json and run.trec.
    #[arg(long)]
    output: Option<PathBuf>,
    /// Modes: text, vector, hybrid, or hybrid with a fusion and the weight of text, such as hybrid:rrf or
    /// hybrid:convex:0.3; each may end with +rerank or +rerank:MODEL. Default: text, vector, hybrid, hybrid:rrf and
    /// hybrid:convex.
    #[arg(long, value_delimiter = ',')]
    mode: Vec<String>,
}

/// Number of documents per request.
const BATCH: usize = 64;

pub(crate) fn run(command: EvalCommand, connection: &ConnectionArgs) -> Result<()> {
    let args = match command {
        EvalCommand::Retrieval(args) => args,
        EvalCommand::Recall(args) => return args.run(connection),
    };
    let baseline = args.baseline.as_deref().map(read_report).transpose()?;
    let collection = Collection::read(&args.dataset)?;
    let name = folder_name(&args.dataset)?;
    let modes = match args.mode.is_empty() {
        true => ["text", "vector", "hybrid", "hybrid:rrf", "hybrid:convex"].map(str::to_owned).to_vec(),
        false => args.mode,
    };
    let namespace = args.namespace.unwrap_or_else(|| format!("eval-{}", sanitised(&name)));
    let report = measure(connection, &collection, &name, &Options { namespace, batch: BATCH, modes })?;
    if let Some(folder) = &args.output {
        report.write(folder)?;
        note(&format!("report.json and run.trec are in {}", folder.display()));
    }
    connection.print(&report, Report::table)?;
    match baseline.map(|b| report.worse_than(&b)).unwrap_or_default() {
        worse if worse.is_empty() => Ok(()),
        worse => bail!("nDCG@10 is worse than the baseline's by more than 0.005 in: {}", worse.join(", ")),
    }
}

fn measure(connection: &ConnectionArgs, collection: &Collection, name: &str, options: &Options) -> Result<Report> {
    let clock = kernel::SystemClock::new();
    let shown = RefCell::new((String::new(), bar(0, "")));
    let progress = |what: &str, done: usize, total: usize| {
        let mut shown = shown.borrow_mut();
        if shown.0 != what {
            shown.1.finish_and_clear();
            *shown = (what.to_owned(), bar(total as u64, what));
        }
        shown.1.set_position(done as u64);
    };
    let report = eval::retrieval(&connection.data()?, collection, name, options, &|| clock.monotonic(), &progress);
    shown.borrow().1.finish_and_clear();
    Ok(report?)
}

fn read_report(path: &Path) -> Result<Baseline> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("--baseline {} cannot be read", path.display()))?;
    let report: Baseline =
        serde_json::from_str(&text).with_context(|| format!("--baseline {} is not a report.json", path.display()))?;
    // A comparison with an empty report would always pass.
    if report.modes.is_empty() {
        bail!("--baseline {} is not a report.json: it has no modes", path.display());
    }
    Ok(report)
}

fn folder_name(folder: &Path) -> Result<String> {
    let folder = folder.canonicalize().with_context(|| format!("--dataset {} does not exist", folder.display()))?;
    Ok(folder.file_name().map_or_else(|| "dataset".to_owned(), |n| n.to_string_lossy().into_owned()))
}

/// Replaces characters that a namespace's name may not contain.
fn sanitised(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).take(100).collect()
}
