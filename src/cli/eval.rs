//! `ringfence eval`, against a running server: `retrieval`, quality on a collection in BEIR layout; `recall`, what
//! vector search gives of the exact answer on a namespace as it is.

use super::remote::{Remote, bar, note, object};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use eval::{Collection, Options, Report};
use kernel::Clock;
use serde_json::Value;
use std::{
    cell::RefCell,
    path::{Path, PathBuf},
};

#[derive(Debug, Subcommand)]
pub(super) enum Eval {
    /// Fill a namespace with a collection, ask its queries, measure the rankings.
    Retrieval(Retrieval),
    /// Search for stored vectors (or questions) as every search does and exactly, and compare.
    Recall(Recall),
}

#[derive(Debug, Args)]
pub(super) struct Recall {
    /// The namespace.
    #[arg(long, env = "RINGFENCE_NAMESPACE")]
    namespace: String,
    /// Stored vectors to search for, evenly spread over all that the key may see; 100 by default.
    #[arg(long, conflicts_with = "queries")]
    samples: Option<usize>,
    /// A file with a question a line, to be asked instead.
    #[arg(long)]
    queries: Option<PathBuf>,
    /// Nearest passages that count.
    #[arg(long, default_value_t = 10)]
    top_k: usize,
    /// A filter as JSON: {"type": "gte", "key": "year", "value": 2024}.
    #[arg(long)]
    filter: Option<String>,
    /// Fail below this.
    #[arg(long)]
    at_least: Option<f64>,
}

impl Recall {
    fn run(&self, remote: &Remote) -> Result<()> {
        let mut body = serde_json::json!({"top_k": self.top_k});
        if let Some(samples) = self.samples {
            body["samples"] = samples.into();
        }
        if let Some(path) = &self.queries {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            body["queries"] = text.lines().filter(|line| !line.trim().is_empty()).collect();
        }
        if let Some(filter) = &self.filter {
            body["filter"] = object("--filter", filter)?;
        }
        let path = format!("/v1/namespaces/{}/recall", client::encode(&self.namespace));
        let reply = remote.data()?.call("POST", &path, Some(&body))?;
        remote.print(&reply, told)?;
        let recall = reply["recall"].as_f64().unwrap_or(0.0);
        match self.at_least {
            Some(least) if recall < least => bail!("recall {recall:.4} is below {least}"),
            _ => Ok(()),
        }
    }
}

/// The reply, for people.
fn told(reply: &Value) -> String {
    let number = |key: &str| reply[key].as_f64().unwrap_or(0.0);
    let mut out = format!(
        "recall@{} {:.4}, lowest {:.4}, over {} queries\n{} of {} passages were eligible\n",
        reply["top_k"],
        number("recall"),
        number("lowest"),
        reply["queries"],
        reply["eligible_rows"],
        reply["rows"],
    );
    if let Some(share) = reply["compared_share"].as_f64() {
        out.push_str(&format!("{:.1} % of them were compared\n", 100.0 * share));
    }
    for (way, times) in reply["ways"].as_object().into_iter().flatten() {
        out.push_str(&format!("segments searched by {way}: {times}\n"));
    }
    out
}

#[derive(Debug, Args)]
pub(super) struct Retrieval {
    /// Folder with corpus.jsonl, queries.jsonl and qrels/test.tsv.
    #[arg(long)]
    dataset: PathBuf,
    /// Namespace to fill; it should hold nothing else. By default eval- and the folder's name.
    #[arg(long)]
    namespace: Option<String>,
    /// An older report.json: fail where nDCG@10 is lower by more than 0.005.
    #[arg(long)]
    baseline: Option<PathBuf>,
    /// Write report.json and run.trec here.
    #[arg(long)]
    output: Option<PathBuf>,
    /// text, vector, hybrid, or hybrid with a fusion and the weight of text: hybrid:rrf, hybrid:convex:0.3; each may
    /// end with +rerank or +rerank:MODEL. By default text, vector, hybrid, hybrid:rrf and hybrid:convex.
    #[arg(long, value_delimiter = ',')]
    mode: Vec<String>,
}

/// Documents in one request.
const BATCH: usize = 64;

pub(crate) fn run(command: Eval, remote: &Remote) -> Result<()> {
    let args = match command {
        Eval::Retrieval(args) => args,
        Eval::Recall(args) => return args.run(remote),
    };
    let baseline = args.baseline.as_deref().map(read_report).transpose()?;
    let collection = Collection::read(&args.dataset)?;
    let name = folder_name(&args.dataset)?;
    let modes = match args.mode.is_empty() {
        true => ["text", "vector", "hybrid", "hybrid:rrf", "hybrid:convex"].map(str::to_owned).to_vec(),
        false => args.mode,
    };
    let namespace = args.namespace.unwrap_or_else(|| format!("eval-{}", sanitised(&name)));
    let report = measure(remote, &collection, &name, &Options { namespace, batch: BATCH, modes })?;
    if let Some(folder) = &args.output {
        report.write(folder)?;
        note(&format!("report.json and run.trec are in {}", folder.display()));
    }
    remote.print(&serde_json::to_value(&report)?, |_| report.table())?;
    match baseline.map(|b| report.worse_than(&b)).unwrap_or_default() {
        worse if worse.is_empty() => Ok(()),
        worse => bail!("nDCG@10 is worse than the baseline's by more than 0.005 in: {}", worse.join(", ")),
    }
}

fn measure(remote: &Remote, collection: &Collection, name: &str, options: &Options) -> Result<Report> {
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
    let report = eval::retrieval(&remote.data()?, collection, name, options, &|| clock.monotonic(), &progress);
    shown.borrow().1.finish_and_clear();
    Ok(report?)
}

fn read_report(path: &Path) -> Result<Value> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("--baseline {} cannot be read", path.display()))?;
    let report: Value =
        serde_json::from_str(&text).with_context(|| format!("--baseline {} is no report.json", path.display()))?;
    // A comparison with nothing would pass every run.
    if report["modes"].as_array().is_none_or(Vec::is_empty) {
        bail!("--baseline {} is no report.json: it has no modes", path.display());
    }
    Ok(report)
}

fn folder_name(folder: &Path) -> Result<String> {
    let folder = folder.canonicalize().with_context(|| format!("--dataset {} is not there", folder.display()))?;
    Ok(folder.file_name().map_or_else(|| "dataset".to_owned(), |n| n.to_string_lossy().into_owned()))
}

/// What a namespace's name may hold.
fn sanitised(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).take(100).collect()
}
