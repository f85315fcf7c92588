//! What became of the files.

use super::files::Unsent;
use crate::cli::remote::note;
use anyhow::{Context, Result};
use client::{Counts, UpsertReply};
use serde::Serialize;
use serde_json::{Value, json};
use std::{fs, io::Write, path::Path, time::Duration};

/// Files that are named one by one on the screen; the rest is counted.
const TOLD_MAX: usize = 5;

/// Counts, and every file that is not searchable now.
#[derive(Default)]
pub(super) struct Tally {
    counts: Counts,
    passages: u64,
    failures: Vec<Failure>,
}

/// One line of the file of failures.
#[derive(Serialize)]
struct Failure {
    id: String,
    status: &'static str,
    code: String,
    message: String,
}

impl Tally {
    /// Takes in one reply.
    pub(super) fn add(&mut self, reply: &UpsertReply) {
        for result in &reply.results {
            let id = result.id.as_deref().unwrap_or_default();
            let status = match result.status.as_str() {
                "indexed" => {
                    self.passages += result.passages;
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
            let error = result.error.as_ref().unwrap_or(&Value::Null);
            let rules: Vec<&str> = result.findings.iter().map(|f| f.rule.as_str()).collect();
            let code = error["code"].as_str().unwrap_or(if status == "failed" { "internal" } else { "screened" });
            let message = error["message"].as_str().map_or_else(|| rules.join(", "), str::to_owned);
            self.put(id, status, code, &message);
        }
    }

    /// A file that was not sent.
    pub(super) fn unsent(&mut self, name: &str, unsent: &Unsent) {
        self.put(name, if unsent.failed { "failed" } else { "skipped" }, unsent.code, &unsent.why);
    }

    /// A file that failed.
    pub(super) fn failure(&mut self, id: &str, code: &str, message: &str) {
        self.put(id, "failed", code, message);
    }

    fn put(&mut self, id: &str, status: &'static str, code: &str, message: &str) {
        self.count(status);
        self.failures.push(Failure { id: id.to_owned(), status, code: code.to_owned(), message: message.to_owned() });
    }

    fn count(&mut self, status: &str) {
        *self.counts.entry(status.to_owned()).or_default() += 1;
    }

    fn of(&self, status: &str) -> u64 {
        self.counts.get(status).copied().unwrap_or(0)
    }

    /// How many failed.
    pub(super) fn failed(&self) -> u64 {
        self.of("failed")
    }

    fn files(&self) -> u64 {
        self.counts.values().sum()
    }

    /// One JSON document.
    pub(super) fn summary(&self, took: Duration) -> Value {
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

    /// The same for people.
    pub(super) fn text(&self, took: Duration) -> String {
        let mut ends: Vec<String> = Vec::new();
        for status in ["indexed", "unchanged", "quarantined", "rejected", "skipped", "failed"] {
            if self.of(status) > 0 {
                ends.push(format!("{} {status}", self.of(status)));
            }
        }
        let (files, seconds) = (self.files(), took.as_secs_f64());
        let mut text = format!("{files} files: {}; {} passages stored", ends.join(", "), self.passages);
        text.push_str(&format!("; {seconds:.1} s, {:.1} documents a second", self.rate(took)));
        if self.of("unchanged") > 0 {
            text.push_str(&format!(
                "\n{} were there already: nothing of them was embedded again",
                self.of("unchanged")
            ));
        }
        text
    }

    /// Names the first files that are not searchable.
    pub(super) fn tell(&self, file: Option<&Path>) {
        for failure in self.failures.iter().take(TOLD_MAX) {
            note(&format!("{}: {} ({})", failure.status, failure.id.escape_debug(), failure.message));
        }
        if self.failures.len() > TOLD_MAX {
            note(&format!("and {} more", self.failures.len() - TOLD_MAX));
        }
        match file {
            Some(path) if !self.failures.is_empty() => note(&format!("all of them are in {}", path.display())),
            None if self.failures.len() > TOLD_MAX => note("name a file with --failures to have all of them"),
            _ => {}
        }
    }

    /// Writes NDJSON; an empty file when everything is searchable.
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
    fn what_is_not_searchable_is_listed_with_its_reason_and_without_text() {
        let reply = json!({"commit": 1, "counts": {}, "results": [
            {"id": "a", "status": "indexed", "passages": 3},
            {"id": "b", "status": "quarantined", "passages": 1,
             "findings": [{"kind": "injection", "rule": "injection.x", "severity": "high", "count": 1, "action": "quarantine"}]},
            {"id": "c", "status": "failed", "error": {"code": "too_large", "message": "text is too long"}},
        ]});
        let mut tally = Tally::default();
        tally.add(&serde_json::from_value(reply).unwrap());
        tally.failure("d", "not_text", "is no UTF-8 text; convert it first");
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("failures");
        tally.write_failures(&file).unwrap();
        let lines: Vec<Value> =
            fs::read_to_string(&file).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines[0], json!({"id": "b", "status": "quarantined", "code": "screened", "message": "injection.x"}));
        assert_eq!(lines[1]["code"], "too_large");
        assert_eq!((&lines[2]["status"], &lines[2]["code"]), (&json!("failed"), &json!("not_text")));
        let summary = tally.summary(Duration::from_secs(2));
        assert_eq!((&summary["files"], &summary["passages"], &summary["failed"]), (&json!(4), &json!(3), &json!(2)));
        assert_eq!(summary["documents_per_second"], 2.0);
    }
}
