//! The command line against a running server: what it prints, what it makes, how it exits.

use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;
use testkit::Server;

/// A server with one tenant, and the command line as that tenant would use it.
struct Desk {
    server: Server,
    key: String,
    folder: TempDir,
}

/// How a command ended.
struct End {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Desk {
    fn new() -> Self {
        let server = crate::server().start();
        let mut desk = Self { server, key: String::new(), folder: TempDir::new().expect("a folder") };
        desk.run(&["tenant", "create", "acme"]).ok();
        let scope = "search,ingest,delete,manage,review,audit,act_as,vectors";
        let key = desk.run(&["api-key", "create", "--tenant", "acme", "--scope", scope]).ok();
        desk.key = key.stdout.trim().to_owned();
        assert!(desk.key.starts_with("rf_"), "the secret stands alone on stdout: {}", key.stdout);
        assert!(key.stderr.contains("not shown again"), "{}", key.stderr);
        desk
    }

    fn run(&self, arguments: &[&str]) -> End {
        let output = Command::new(env!("CARGO_BIN_EXE_ringfence"))
            .args(arguments)
            .env_clear()
            .env("RINGFENCE_URL", format!("http://{}", self.server.data_address()))
            .env("RINGFENCE_ADMIN_URL", format!("http://{}", self.server.control_address()))
            .env("RINGFENCE_OPERATOR_TOKEN", self.server.operator_token())
            .env("RINGFENCE_API_KEY", &self.key)
            .stdin(Stdio::null())
            .output();
        End::of(output.expect("the binary runs"))
    }

    /// With `--json`: stdout is one JSON document and nothing else.
    fn json(&self, arguments: &[&str]) -> Value {
        let end = self.run(&[arguments, &["--json"]].concat()).ok();
        serde_json::from_str(&end.stdout)
            .unwrap_or_else(|e| panic!("{arguments:?} printed no JSON ({e}): {}", end.stdout))
    }

    fn ingest(&self, namespace: &str, path: &Path) -> Value {
        self.json(&["ingest", "--namespace", namespace, text(path)])
    }

    fn found(&self, namespace: &str, question: &str) -> Vec<String> {
        let reply = self.json(&["search", "--namespace", namespace, question]);
        let hits = reply["hits"].as_array().expect("hits");
        hits.iter().map(|h| h["document_id"].as_str().expect("an id").to_owned()).collect()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl End {
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
        assert!(self.stderr.contains(with), "{with:?} is not said: {}", self.stderr);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn dataset(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets").join(name)
}

#[test]
fn a_folder_goes_in_once_and_its_pages_are_found() {
    let desk = Desk::new();
    let failures = desk.file("failures");
    let first =
        desk.json(&["ingest", "--namespace", "book", "--failures", text(&failures), text(&dataset("demo/acme"))]);
    assert_eq!(
        (&first["files"], &first["indexed"], &first["quarantined"]),
        (&19.into(), &18.into(), &1.into()),
        "{first}"
    );
    let line: Value = serde_json::from_str(fs::read_to_string(&failures).expect("a file").trim()).expect("one line");
    assert_eq!((&line["id"], &line["status"]), (&"supplier-portal.html".into(), &"quarantined".into()));
    let second = desk.ingest("book", &dataset("demo/acme"));
    assert_eq!((&second["unchanged"], &second["passages"]), (&19.into(), &0.into()), "{second}");

    let found = desk.found("book", "how many days of annual leave");
    assert_eq!(found.first().map(String::as_str), Some("holidays.md"));
    assert!(desk.found("book", "salary bands").contains(&"hr/salary-bands.md".to_owned()), "an id is a path");
    assert!(!desk.found("book", "supplier portal").contains(&"supplier-portal.html".to_owned()));

    let context = ["context", "--namespace", "book", "--max-tokens", "400", "annual leave"];
    let context = desk.run(&context).ok();
    assert!(context.stdout.contains("27 days of annual leave"), "{}", context.stdout);
    assert!(context.stderr.contains("holidays.md") && !context.stdout.contains("system prompt"), "{}", context.stderr);
}

#[test]
fn files_that_cannot_go_in_are_counted_and_make_the_command_fail() {
    let desk = Desk::new();
    fs::write(desk.file("good.txt"), "a page about turnips").expect("written");
    fs::write(desk.file("picture.png"), b"\x89PNG\0\xff").expect("written");
    let skipped = desk.ingest("ns", desk.folder.path());
    assert_eq!((&skipped["indexed"], &skipped["skipped"]), (&1.into(), &1.into()), "{skipped}");

    // One name that can be no id stops no other file.
    fs::write(desk.file("bad\nname.txt"), "a page about parsnips").expect("written");
    fs::write(desk.file("more.txt"), "a page about carrots").expect("written");
    let end = desk.run(&["ingest", "--namespace", "ns", text(desk.folder.path())]);
    assert!(end.stdout.contains("1 indexed") && end.stdout.contains("1 unchanged"), "{}", end.stdout);
    end.fails(1, "1 files failed");
    assert_eq!(desk.found("ns", "carrots"), ["more.txt"]);
    desk.run(&["ingest", "--namespace", "ns", "/nonexistent/folder"]).fails(1, "cannot be read");
}

#[test]
fn documents_are_listed_changed_reviewed_and_deleted() {
    let desk = Desk::new();
    desk.ingest("book", &dataset("demo/acme"));
    let document = |verb: &[&str]| desk.run(&[&["document", "--namespace", "book"], verb].concat());
    let held = document(&["list", "--status", "quarantined"]).ok();
    assert!(held.stdout.contains("supplier-portal.html") && !held.stdout.contains("travel.md"), "{}", held.stdout);
    document(&["patch", "travel.md", "--set", "year=2026", "--set", "team=sales"]).ok();
    let filter = r#"{"type": "eq", "key": "team", "value": "sales"}"#;
    let listed = desk.json(&["document", "list", "--namespace", "book", "--filter", filter]);
    assert_eq!((&listed["total"], &listed["documents"][0]["attributes"]["year"]), (&1.into(), &2026.into()));

    document(&["delete", "travel.md"]).fails(1, "--yes");
    document(&["show", "travel.md"]).ok();
    document(&["delete", "travel.md", "--yes"]).ok();
    document(&["show", "travel.md"]).fails(1, "404");
    assert!(!desk.found("book", "hotel room train journey").contains(&"travel.md".to_owned()));

    document(&["release", "supplier-portal.html", "--note", "known page"]).ok();
    assert!(desk.found("book", "supplier portal").contains(&"supplier-portal.html".to_owned()));
    document(&["release", "supplier-portal.html"]).fails(1, "not in quarantine");
    // A usage error, seen before anything is sent.
    document(&["delete", "--yes"]).fails(2, "Usage");
}

#[test]
fn rows_go_out_and_come_in_again() {
    let desk = Desk::new();
    desk.ingest("book", &dataset("demo/acme/hr"));
    let readers =
        ["document", "patch", "--namespace", "book", "salary-bands.md", "--readers", "group:hr", "--set", "level=3"];
    desk.run(&readers).ok();
    let hr = ["--as", "group:hr"];
    let shown = |namespace: &str| {
        let list = desk.json(&[&["document", "list", "--namespace", namespace], &hr[..]].concat());
        let documents = list["documents"].as_array().expect("a list").clone();
        let kept = |d: &Value| ["id", "title", "readers", "attributes"].map(|m| d[m].clone());
        documents.iter().map(kept).collect::<Vec<_>>()
    };
    for ending in ["ndjson", "parquet"] {
        let (file, into) = (desk.file(&format!("rows.{ending}")), format!("copy-{ending}"));
        // A key that stands for nobody exports what everybody may see.
        let count = desk.json(&["export", "--namespace", "book", text(&file)]);
        assert_eq!(count["documents"], 1, "{count}");
        desk.run(&["export", "--namespace", "book", text(&file)]).fails(1, "exists");
        fs::remove_file(&file).expect("removed");

        let key = desk.server.key("acme", &["search", "read_all"], &[]);
        desk.run(&["export", "--namespace", "book", text(&file), "--api-key", &key]).ok();
        let end = desk.json(&["import", "--namespace", &into, text(&file)]);
        assert_eq!((&end["rows"], &end["counts"]["indexed"]), (&2.into(), &2.into()), "{end}");
        assert_eq!(shown(&into), shown("book"), "{ending}");
        assert_eq!(desk.found(&into, "promotion round panel").first().map(String::as_str), Some("promotion-round.md"));
    }
    desk.run(&["import", "--namespace", "x", text(&dataset("demo/questions.tsv"))]).fails(1, ".parquet");
}

#[test]
fn quality_is_measured_and_a_worse_one_fails() {
    let desk = Desk::new();
    let (beir, output) = (dataset("tiny-beir"), desk.file("out"));
    let measure = ["eval", "retrieval", "--dataset", text(&beir), "--mode", "text"];
    let report = desk.json(&[&measure[..], &["--output", text(&output)]].concat());
    let ndcg = report["modes"][0]["ndcg@10"].as_f64().expect("a figure");
    assert!(ndcg > 0.7 && ndcg < 1.0, "{report}");
    let run = fs::read_to_string(output.join("run.trec")).expect("written");
    assert!(run.lines().all(|l| l.split(' ').count() == 6) && run.lines().count() > 15);
    let baseline = output.join("report.json");
    desk.run(&[&measure[..], &["--baseline", text(&baseline)]].concat()).ok();
    let mut better: Value = serde_json::from_slice(&fs::read(&baseline).expect("written")).expect("JSON");
    better["modes"][0]["ndcg@10"] = 1.0.into();
    fs::write(&baseline, better.to_string()).expect("written");
    desk.run(&[&measure[..], &["--baseline", text(&baseline)]].concat()).fails(1, "worse");
    desk.ingest("full", &dataset("demo/acme/hr"));
    desk.run(&[&measure[..], &["--namespace", "full"]].concat()).fails(1, "holds 42 documents");
    // Without a model there are no vectors: nothing is sampled, and a question is refused.
    let recall = desk.json(&["eval", "recall", "--namespace", "full", "--at-least", "0.9"]);
    assert_eq!((&recall["recall"], &recall["queries"]), (&Value::from(1.0), &Value::from(0)));
    desk.run(&["eval", "recall", "--namespace", "full"]).ok();
    let questions = desk.file("questions");
    fs::write(&questions, "how many days of leave\n\n").expect("written");
    desk.run(&["eval", "recall", "--namespace", "full", "--queries", text(&questions)]).fails(1, "model_unavailable");
    // It says so instead of measuring something else.
    desk.run(&["eval", "retrieval", "--dataset", text(&beir), "--mode", "vector"]).fails(1, "model_unavailable");
}

#[test]
fn the_audit_comes_out_whole_and_a_changed_line_is_named() {
    let desk = Desk::new();
    desk.ingest("book", &dataset("demo/acme/hr"));
    desk.found("book", "salary");
    let file = desk.file("audit.ndjson");
    desk.run(&["audit", "export", "--tenant", "acme", "--output", text(&file)]).ok();
    let intact = desk.json(&["audit", "verify", text(&file)]);
    assert!(intact["lines"].as_u64() >= Some(2) && intact["first"] == 1, "{intact}");
    let lines = fs::read_to_string(&file).expect("written");
    let forged = lines.replacen("\"sequence\":2", "\"sequence\":3", 1);
    assert_ne!(lines, forged);
    fs::write(&file, forged).expect("written");
    desk.run(&["audit", "verify", text(&file)]).fails(1, "line 2");
    desk.run(&["audit", "export", "--tenant", "zenith"]).fails(1, "another tenant");
}

#[test]
fn a_quota_that_is_not_named_stays() {
    let desk = Desk::new();
    desk.json(&["tenant", "update", "acme", "--max-documents", "100", "--requests-per-minute", "6000"]);
    let changed = desk.json(&["tenant", "update", "acme", "--max-bytes", "1000000"]);
    let quotas = &changed["quotas"];
    assert_eq!((&quotas["documents"], &quotas["bytes"]), (&100.into(), &1_000_000.into()), "{quotas}");
    assert_eq!((&quotas["requests_per_minute"], &quotas["namespaces"]), (&6_000.into(), &Value::Null), "{quotas}");
}

#[test]
fn exit_codes_and_remedies() {
    let desk = Desk::new();
    desk.run(&["search"]).fails(2, "Usage");
    desk.run(&["no-such-command"]).fails(2, "Usage");
    desk.run(&["search", "--namespace", "none", "question"]).fails(1, "404");
    desk.run(&["search", "--namespace", "none", "--filter", "[]", "question"]).fails(1, "--filter takes a JSON object");
    desk.run(&["tenant", "delete", "acme"]).fails(1, "--yes");
    desk.run(&["tenant", "list", "--operator-token", &desk.key]).fails(1, "401");
    desk.run(&["namespace", "list", "--url", "http://127.0.0.1:1"]).fails(1, "ringfence serve");
    let status = desk.json(&["key", "rotate", "acme", "--wait"]);
    assert_eq!((&status["status"], &status["result"]["epoch"]), (&"succeeded".into(), &2.into()), "{status}");
    assert_eq!(desk.json(&["key", "status", "acme"])["current"], 2);
    assert_eq!(desk.json(&["tenant", "show", "acme"])["id"], "acme");
    for list in [["tenant", "list"], ["namespace", "list"], ["operation", "list"], ["operator", "list"]] {
        assert!(desk.json(&list).is_array(), "{list:?}");
    }
}
