//! Tests of the command line against a running server: its output, its effects and its exit codes.

use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;
use testkit::Server;

/// A server with one tenant, with the command line as that tenant uses it.
struct CliFixture {
    server: Server,
    key: String,
    folder: TempDir,
}

/// Result of a command.
struct CommandResult {
    code: i32,
    stdout: String,
    stderr: String,
}

impl CliFixture {
    fn new() -> Self {
        let server = crate::server().start();
        let mut cli = Self { server, key: String::new(), folder: TempDir::new().expect("a folder") };
        cli.run(&["tenant", "create", "acme"]).ok();
        let scope = "search,ingest,delete,manage,review,audit,act_as,vectors";
        let key = cli.run(&["api-key", "create", "--tenant", "acme", "--scope", scope]).ok();
        cli.key = key.stdout.trim().to_owned();
        assert!(cli.key.starts_with("rf_"), "stdout contains only the secret: {}", key.stdout);
        assert!(key.stderr.contains("not shown again"), "{}", key.stderr);
        cli
    }

    fn run(&self, arguments: &[&str]) -> CommandResult {
        let output = Command::new(env!("CARGO_BIN_EXE_ringfence"))
            .args(arguments)
            .env_clear()
            .env("RINGFENCE_URL", format!("http://{}", self.server.data_address()))
            .env("RINGFENCE_ADMIN_URL", format!("http://{}", self.server.control_address()))
            .env("RINGFENCE_OPERATOR_TOKEN", self.server.operator_token())
            .env("RINGFENCE_API_KEY", &self.key)
            .stdin(Stdio::null())
            .output();
        CommandResult::of(output.expect("the binary runs"))
    }

    /// Runs a command with `--json`: stdout is one JSON document and nothing else.
    fn json(&self, arguments: &[&str]) -> Value {
        let result = self.run(&[arguments, &["--json"]].concat()).ok();
        serde_json::from_str(&result.stdout)
            .unwrap_or_else(|e| panic!("{arguments:?} printed no JSON ({e}): {}", result.stdout))
    }

    fn ingest(&self, namespace: &str, path: &Path) -> Value {
        self.json(&["ingest", "--namespace", namespace, text(path)])
    }

    fn found(&self, namespace: &str, query: &str) -> Vec<String> {
        let reply = self.json(&["search", "--namespace", namespace, query]);
        let hits = reply["hits"].as_array().expect("hits");
        hits.iter().map(|h| h["document_id"].as_str().expect("an id").to_owned()).collect()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl CommandResult {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Self {
            code: output.status.code().expect("no signal"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self
    }

    fn fails(self, code: i32, with: &str) {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        assert!(self.stderr.contains(with), "stderr lacks {with:?}: {}", self.stderr);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn dataset(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets").join(name)
}

#[test]
fn a_folder_is_ingested_once_and_its_pages_are_found() {
    let cli = CliFixture::new();
    let failures = cli.file("failures");
    let first =
        cli.json(&["ingest", "--namespace", "book", "--failures", text(&failures), text(&dataset("demo/acme"))]);
    assert_eq!(
        (&first["files"], &first["indexed"], &first["quarantined"]),
        (&19.into(), &18.into(), &1.into()),
        "{first}"
    );
    let line: Value = serde_json::from_str(fs::read_to_string(&failures).expect("a file").trim()).expect("one line");
    assert_eq!((&line["id"], &line["status"]), (&"supplier-portal.html".into(), &"quarantined".into()));
    let second = cli.ingest("book", &dataset("demo/acme"));
    assert_eq!((&second["unchanged"], &second["passages"]), (&19.into(), &0.into()), "{second}");

    let found = cli.found("book", "how many days of annual leave");
    assert_eq!(found.first().map(String::as_str), Some("holidays.md"));
    assert!(cli.found("book", "salary bands").contains(&"hr/salary-bands.md".to_owned()), "an id is a path");
    assert!(!cli.found("book", "supplier portal").contains(&"supplier-portal.html".to_owned()));

    let context = ["context", "--namespace", "book", "--max-tokens", "400", "annual leave"];
    let context = cli.run(&context).ok();
    assert!(context.stdout.contains("27 days of annual leave"), "{}", context.stdout);
    assert!(context.stderr.contains("holidays.md") && !context.stdout.contains("system prompt"), "{}", context.stderr);
}

#[test]
fn files_that_cannot_be_ingested_are_counted_and_fail_the_command() {
    let cli = CliFixture::new();
    fs::write(cli.file("good.txt"), "a page about turnips").expect("written");
    fs::write(cli.file("picture.png"), b"\x89PNG\0\xff").expect("written");
    let skipped = cli.ingest("ns", cli.folder.path());
    assert_eq!((&skipped["indexed"], &skipped["skipped"]), (&1.into(), &1.into()), "{skipped}");

    // A name that is no valid id stops no other file.
    fs::write(cli.file("bad\nname.txt"), "a page about parsnips").expect("written");
    fs::write(cli.file("more.txt"), "a page about carrots").expect("written");
    let result = cli.run(&["ingest", "--namespace", "ns", text(cli.folder.path())]);
    assert!(result.stdout.contains("1 indexed") && result.stdout.contains("1 unchanged"), "{}", result.stdout);
    result.fails(1, "1 files failed");
    assert_eq!(cli.found("ns", "carrots"), ["more.txt"]);
    cli.run(&["ingest", "--namespace", "ns", "/nonexistent/folder"]).fails(1, "cannot be read");
}

#[test]
fn documents_are_listed_changed_reviewed_and_deleted() {
    let cli = CliFixture::new();
    cli.ingest("book", &dataset("demo/acme"));
    let document = |verb: &[&str]| cli.run(&[&["document", "--namespace", "book"], verb].concat());
    let quarantined = document(&["list", "--status", "quarantined"]).ok();
    assert!(
        quarantined.stdout.contains("supplier-portal.html") && !quarantined.stdout.contains("travel.md"),
        "{}",
        quarantined.stdout
    );
    document(&["patch", "travel.md", "--set", "year=2026", "--set", "team=sales"]).ok();
    let filter = r#"{"type": "eq", "key": "team", "value": "sales"}"#;
    let listed = cli.json(&["document", "list", "--namespace", "book", "--filter", filter]);
    assert_eq!((&listed["total"], &listed["documents"][0]["attributes"]["year"]), (&1.into(), &2026.into()));

    document(&["delete", "travel.md"]).fails(1, "--yes");
    document(&["show", "travel.md"]).ok();
    document(&["delete", "travel.md", "--yes"]).ok();
    document(&["show", "travel.md"]).fails(1, "404");
    assert!(!cli.found("book", "hotel room train journey").contains(&"travel.md".to_owned()));

    document(&["release", "supplier-portal.html", "--note", "known page"]).ok();
    assert!(cli.found("book", "supplier portal").contains(&"supplier-portal.html".to_owned()));
    document(&["release", "supplier-portal.html"]).fails(1, "not in quarantine");
    // This is a usage error, found before anything is sent.
    document(&["delete", "--yes"]).fails(2, "Usage");
}

#[test]
fn rows_are_exported_and_imported_again() {
    let cli = CliFixture::new();
    cli.ingest("book", &dataset("demo/acme/hr"));
    let readers =
        ["document", "patch", "--namespace", "book", "salary-bands.md", "--readers", "group:hr", "--set", "level=3"];
    cli.run(&readers).ok();
    let hr = ["--as", "group:hr"];
    let shown = |namespace: &str| {
        let list = cli.json(&[&["document", "list", "--namespace", namespace], &hr[..]].concat());
        let documents = list["documents"].as_array().expect("a list").clone();
        let kept = |d: &Value| ["id", "title", "readers", "attributes"].map(|m| d[m].clone());
        documents.iter().map(kept).collect::<Vec<_>>()
    };
    for extension in ["ndjson", "parquet"] {
        let (file, into) = (cli.file(&format!("rows.{extension}")), format!("copy-{extension}"));
        // A key without principals exports what everybody may see.
        let count = cli.json(&["export", "--namespace", "book", text(&file)]);
        assert_eq!(count["documents"], 1, "{count}");
        cli.run(&["export", "--namespace", "book", text(&file)]).fails(1, "exists");
        fs::remove_file(&file).expect("removed");

        let key = cli.server.key("acme", &["search", "read_all"], &[]);
        cli.run(&["export", "--namespace", "book", text(&file), "--api-key", &key]).ok();
        let result = cli.json(&["import", "--namespace", &into, text(&file)]);
        assert_eq!((&result["rows"], &result["counts"]["indexed"]), (&2.into(), &2.into()), "{result}");
        assert_eq!(shown(&into), shown("book"), "{extension}");
        assert_eq!(cli.found(&into, "promotion round panel").first().map(String::as_str), Some("promotion-round.md"));
    }
    cli.run(&["import", "--namespace", "x", text(&dataset("demo/questions.tsv"))]).fails(1, ".parquet");
}

#[test]
fn quality_is_measured_and_a_regression_fails() {
    let cli = CliFixture::new();
    let (beir, output) = (dataset("tiny-beir"), cli.file("out"));
    let measure = ["eval", "retrieval", "--dataset", text(&beir), "--mode", "text"];
    let report = cli.json(&[&measure[..], &["--output", text(&output)]].concat());
    let ndcg = report["modes"][0]["ndcg@10"].as_f64().expect("a figure");
    assert!(ndcg > 0.7 && ndcg < 1.0, "{report}");
    let run = fs::read_to_string(output.join("run.trec")).expect("written");
    assert!(run.lines().all(|l| l.split(' ').count() == 6) && run.lines().count() > 15);
    let baseline = output.join("report.json");
    cli.run(&[&measure[..], &["--baseline", text(&baseline)]].concat()).ok();
    let mut better: Value = serde_json::from_slice(&fs::read(&baseline).expect("written")).expect("JSON");
    better["modes"][0]["ndcg@10"] = 1.0.into();
    fs::write(&baseline, better.to_string()).expect("written");
    cli.run(&[&measure[..], &["--baseline", text(&baseline)]].concat()).fails(1, "worse");
    cli.ingest("full", &dataset("demo/acme/hr"));
    cli.run(&[&measure[..], &["--namespace", "full"]].concat()).fails(1, "holds 42 documents");
    // Without a model there are no vectors: nothing is sampled, and a query is refused.
    let recall = cli.json(&["eval", "recall", "--namespace", "full", "--at-least", "0.9"]);
    assert_eq!((&recall["recall"], &recall["queries"]), (&Value::from(1.0), &Value::from(0)));
    cli.run(&["eval", "recall", "--namespace", "full"]).ok();
    let questions = cli.file("questions");
    fs::write(&questions, "how many days of leave\n\n").expect("written");
    cli.run(&["eval", "recall", "--namespace", "full", "--queries", text(&questions)]).fails(1, "model_unavailable");
    // The command reports it instead of measuring something else.
    cli.run(&["eval", "retrieval", "--dataset", text(&beir), "--mode", "vector"]).fails(1, "model_unavailable");
}

#[test]
fn the_audit_is_exported_completely_and_a_changed_record_is_named() {
    let cli = CliFixture::new();
    cli.ingest("book", &dataset("demo/acme/hr"));
    cli.found("book", "salary");
    let file = cli.file("audit.ndjson");
    cli.run(&["audit", "export", "--tenant", "acme", "--output", text(&file)]).ok();
    let intact = cli.json(&["audit", "verify", text(&file)]);
    assert!(intact["lines"].as_u64() >= Some(2) && intact["first"] == 1, "{intact}");
    let lines = fs::read_to_string(&file).expect("written");
    let forged = lines.replacen("\"sequence\":2", "\"sequence\":3", 1);
    assert_ne!(lines, forged);
    fs::write(&file, forged).expect("written");
    cli.run(&["audit", "verify", text(&file)]).fails(1, "line 2");
    cli.run(&["audit", "export", "--tenant", "zenith"]).fails(1, "another tenant");
}

#[test]
fn a_quota_that_is_not_named_is_kept() {
    let cli = CliFixture::new();
    cli.json(&["tenant", "update", "acme", "--max-documents", "100", "--requests-per-minute", "6000"]);
    let changed = cli.json(&["tenant", "update", "acme", "--max-bytes", "1000000"]);
    let quotas = &changed["quotas"];
    assert_eq!((&quotas["documents"], &quotas["bytes"]), (&100.into(), &1_000_000.into()), "{quotas}");
    assert_eq!((&quotas["requests_per_minute"], &quotas["namespaces"]), (&6_000.into(), &Value::Null), "{quotas}");
}

#[test]
fn exit_codes_and_remedies() {
    let cli = CliFixture::new();
    cli.run(&["search"]).fails(2, "Usage");
    cli.run(&["no-such-command"]).fails(2, "Usage");
    cli.run(&["search", "--namespace", "none", "question"]).fails(1, "404");
    cli.run(&["search", "--namespace", "none", "--filter", "[]", "question"]).fails(1, "--filter takes a JSON object");
    cli.run(&["tenant", "delete", "acme"]).fails(1, "--yes");
    cli.run(&["tenant", "list", "--operator-token", &cli.key]).fails(1, "401");
    cli.run(&["namespace", "list", "--url", "http://127.0.0.1:1"]).fails(1, "ringfence serve");
    let status = cli.json(&["key", "rotate", "acme", "--wait"]);
    assert_eq!((&status["status"], &status["result"]["epoch"]), (&"succeeded".into(), &2.into()), "{status}");
    assert_eq!(cli.json(&["key", "status", "acme"])["current"], 2);
    assert_eq!(cli.json(&["tenant", "show", "acme"])["id"], "acme");
    for list in [["tenant", "list"], ["namespace", "list"], ["operation", "list"], ["operator", "list"]] {
        assert!(cli.json(&list).is_array(), "{list:?}");
    }
}
