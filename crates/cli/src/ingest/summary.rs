//! Result of an ingest run.

use super::files::Unsent;
use crate::output::note;
use anyhow::{Context, Result};
use api::documents::Stored;
use serde::Serialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, io::Write, path::Path, time::Duration};

/// Maximum number of files that are listed on the screen; the others are only counted.
const SHOWN_MAX: usize = 5;

/// Counts, and each file that is not searchable.
#[derive(Default)]
pub(super) struct IngestSummary {
    counts: BTreeMap<String, u64>,
    passages: u64,
    failures: Vec<FailureRow>,
}

/// One line of the file that --failures names.
#[derive(Serialize)]
struct FailureRow {
    id: String,
    status: &'static str,
    code: String,
    message: String,
}

impl IngestSummary {
    /// Adds the results of one reply.
    pub(super) fn add(&mut self, reply: &Stored) {
        for result in &reply.results {
            let id = result.id.as_deref().unwrap_or_default();
            let status = match &*result.status {
                "indexed" => {
                    self.passages += result.passages as u64;
                    self.count("indexed");
                    continue;
                }
                "unchanged" => {
                    self.count("unchanged");
                    continue;
                }
                "quarantined" => "quarantined",
                "rejected" => "rejected",
                "skipped" => "skipped",
                _ => "failed",
            };
            match &result.error {
                Some(error) => self.put(id, status, &error.code, &error.message),
                None => {
                    let rules: Vec<&str> = result.findings.iter().map(|f| f.rule.as_str()).collect();
                    let code = if status == "failed" { "internal" } else { "screened" };
                    self.put(id, status, code, &rules.join(", "));
                }
            }
        }
    }

    /// Adds a file that was not sent.
    pub(super) fn unsent(&mut self, name: &str, unsent: &Unsent) {
        self.put(name, if unsent.failed { "failed" } else { "skipped" }, unsent.code, &unsent.why);
    }

    /// Adds a file that failed.
    pub(super) fn failure(&mut self, id: &str, code: &str, message: &str) {
        self.put(id, "failed", code, message);
    }

    fn put(&mut self, id: &str, status: &'static str, code: &str, message: &str) {
        self.count(status);
        self.failures.push(FailureRow {
            id: id.to_owned(),
            status,
            code: code.to_owned(),
            message: message.to_owned(),
        });
    }

    fn count(&mut self, status: &str) {
        *self.counts.entry(status.to_owned()).or_default() += 1;
    }

    fn of(&self, status: &str) -> u64 {
        self.counts.get(status).copied().unwrap_or(0)
    }

    /// Number of files that failed.
    pub(super) fn failed(&self) -> u64 {
        self.of("failed")
    }

    fn files(&self) -> u64 {
        self.counts.values().sum()
    }

    /// The summary as JSON.
    pub(super) fn to_json(&self, took: Duration) -> Value {
        let seconds = took.as_secs_f64();
        json!({
            "files": self.files(),
            "indexed": self.of("indexed"),
            "unchanged": self.of("unchanged"),
            "quarantined": self.of("quarantined"),
            "rejected": self.of("rejected"),
            "skipped": self.of("skipped"),
            "failed": self.failed(),
            "passages": self.passages,
            "seconds": (seconds * 1e3).round() / 1e3,
            "documents_per_second": (self.rate(took) * 10.0).round() / 10.0,
        })
    }

    fn rate(&self, took: Duration) -> f64 {
        self.files() as f64 / took.as_secs_f64().max(1e-3)
    }

    /// The summary as text for people.
    pub(super) fn text(&self, took: Duration) -> String {
        let mut parts: Vec<String> = Vec::new();
        for status in ["indexed", "unchanged", "quarantined", "rejected", "skipped", "failed"] {
            if self.of(status) > 0 {
                parts.push(format!("{} {status}", self.of(status)));
            }
        }
        let (files, seconds) = (self.files(), took.as_secs_f64());
        let mut text = format!("{files} files: {}; {} passages stored", parts.join(", "), self.passages);
        text.push_str(&format!("; {seconds:.1} s, {:.1} documents per second", self.rate(took)));
        if self.of("unchanged") > 0 {
            text.push_str(&format!("\n{} were already stored and were not embedded again", self.of("unchanged")));
        }
        text
    }

    /// Lists the first files that are not searchable.
    pub(super) fn print_failures(&self, file: Option<&Path>) {
        for failure in self.failures.iter().take(SHOWN_MAX) {
            note(&format!("{}: {} ({})", failure.status, failure.id.escape_debug(), failure.message));
        }
        if self.failures.len() > SHOWN_MAX {
            note(&format!("and {} more", self.failures.len() - SHOWN_MAX));
        }
        match file {
            Some(path) if !self.failures.is_empty() => note(&format!("all are listed in {}", path.display())),
            None if self.failures.len() > SHOWN_MAX => note("use --failures FILE to list all of them"),
            _ => {}
        }
    }

    /// Writes the failures as NDJSON; the file is empty if everything is searchable.
    pub(super) fn write_failures(&self, file: &Path) -> Result<()> {
        let write = || -> Result<()> {
            let mut out = std::io::BufWriter::new(fs::File::create(file)?);
            for failure in &self.failures {
                writeln!(out, "{}", serde_json::to_string(failure)?)?;
            }
            Ok(out.flush()?)
        };
        write().with_context(|| format!("--failures {} cannot be written", file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_not_searchable_are_listed_with_the_reason_and_without_text() {
        let reply = json!({"commit": 1, "counts": {}, "results": [
            {"id": "a", "status": "indexed", "passages": 3, "findings": []},
            {"id": "b", "status": "quarantined", "passages": 1,
             "findings": [{"kind": "injection", "rule": "injection.x", "severity": "high", "count": 1, "action": "quarantine"}]},
            {"id": "c", "status": "failed", "passages": 0, "findings": [], "error": {
                "code": "too_large", "message": "text is too long", "type": "invalid_request_error", "param": "text",
            }},
        ]});
        let mut summary = IngestSummary::default();
        summary.add(&serde_json::from_value(reply).unwrap());
        summary.failure("d", "not_text", "is not UTF-8 text; convert it first");
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("failures");
        summary.write_failures(&file).unwrap();
        let lines: Vec<Value> =
            fs::read_to_string(&file).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines[0], json!({"id": "b", "status": "quarantined", "code": "screened", "message": "injection.x"}));
        assert_eq!(lines[1]["code"], "too_large");
        assert_eq!((&lines[2]["status"], &lines[2]["code"]), (&json!("failed"), &json!("not_text")));
        let summary = summary.to_json(Duration::from_secs(2));
        assert_eq!((&summary["files"], &summary["passages"], &summary["failed"]), (&json!(4), &json!(3), &json!(2)));
        assert_eq!(summary["documents_per_second"], 2.0);
    }
}
