//! The real binary on a disk whose flush fails once: the affected write is an error that leaves its outcome open, the
//! server never relies on a second flush of the same descriptor, the namespace opens again from the durable state, and
//! no other tenant notices.
//!
//! On a disk whose flushes hang for one tenant, the operator who suspends that tenant is answered all the same.
//!
//! The flush fails or hangs in a library that is loaded before the system's (`failing_flush.c`) and compiled here with
//! `cc`; without a compiler the test skips itself, unless `RINGFENCE_SERVERS=required`.

#![expect(clippy::print_stderr, reason = "a test that skips itself says why")]

use crate::load::{LoadClient, Outcome, SCOPES, send_with_retries};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};
use tempfile::TempDir;
use testkit::{Http, Server};

const PATH: &str = "/v1/namespaces/notes";
const ROUNDS: usize = 8;

/// The library, and the folder through which it is controlled.
struct Flushes {
    folder: TempDir,
}

/// One line of the library's log.
#[derive(Debug)]
struct Call {
    name: String,
    descriptor: String,
    result: String,
    path: String,
}

impl Flushes {
    fn new() -> Option<Self> {
        let folder = TempDir::new().expect("a folder");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/failing_flush.c");
        let library = folder.path().join("flush.so");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).arg(source).arg("-ldl");
        match cc.output() {
            Ok(created) => assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr)),
            Err(error) => {
                let required = std::env::var("RINGFENCE_SERVERS").is_ok_and(|v| v == "required");
                assert!(!required, "no C compiler and RINGFENCE_SERVERS=required: {error}");
                eprintln!("skipped: no C compiler: {error}");
                return None;
            }
        }
        Some(Self { folder })
    }

    fn server(&self) -> Server {
        let text = |path: PathBuf| path.to_str().expect("utf-8").to_owned();
        crate::server()
            .env("LD_PRELOAD", &text(self.folder.path().join("flush.so")))
            .env("FLUSH_FOLDER", &text(self.folder.path().to_owned()))
            .start()
    }

    /// Makes the next such call fail on a path that contains this.
    fn fail(&self, call: &str, part: &str) {
        let file = self.folder.path().join("fail");
        fs::write(file.with_extension("new"), format!("{call} {part}")).expect("written");
        fs::rename(file.with_extension("new"), file).expect("renamed");
    }

    /// Makes flushes wait on paths that contain one of these, until [`resume`](Self::resume).
    fn hang(&self, parts: &BTreeSet<&str>) {
        let parts: Vec<&str> = parts.iter().copied().collect();
        let file = self.folder.path().join("hang");
        fs::write(file.with_extension("new"), parts.join("\n")).expect("written");
        fs::rename(file.with_extension("new"), file).expect("renamed");
    }

    fn resume(&self) {
        fs::remove_file(self.folder.path().join("hang")).expect("flushes hang");
    }

    /// Whether a flush of a file whose path contains this has waited.
    fn has_hung(&self, part: &str) -> bool {
        self.calls().iter().any(|call| call.result == "hangs" && call.path.contains(part))
    }

    fn has_failed(&self) -> bool {
        !self.folder.path().join("fail").exists()
    }

    fn calls(&self) -> Vec<Call> {
        let text = fs::read_to_string(self.folder.path().join("calls")).expect("the library writes its log");
        let call = |line: &str| {
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            let [name, descriptor, result, path] = words[..] else { panic!("{line}") };
            let [name, descriptor, result, path] = [name, descriptor, result, path].map(str::to_owned);
            Call { name, descriptor, result, path }
        };
        text.lines().map(call).collect()
    }

    /// Checks that no failed flush was repeated with the same descriptor, and that the folder was then flushed with
    /// another one. Returns the number of failed flushes.
    fn assert_none_was_repeated(&self) -> usize {
        let calls = self.calls();
        let failed: Vec<usize> = (0..calls.len()).filter(|at| calls[*at].result == "EIO").collect();
        for at in &failed {
            let (call, later) = (&calls[*at], &calls[at + 1..]);
            let closed = later.iter().position(|c| c.name == "close" && c.descriptor == call.descriptor);
            let open = &later[..closed.unwrap_or(later.len())];
            let repeated = open.iter().find(|c| c.descriptor == call.descriptor && c.name != "close");
            assert!(repeated.is_none(), "{call:?} was repeated: {repeated:?}");
            let folder = call.path.rsplit_once('/').expect("a file in a folder").0;
            let reopened = later.iter().find(|c| c.path.starts_with(folder));
            assert!(reopened.is_some_and(|c| c.result == "ok"), "after {call:?}: {reopened:?}");
        }
        failed.len()
    }
}

/// All log files below a folder.
fn logs(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(logs(&path));
        } else if entry.file_name().to_string_lossy().starts_with("log-") {
            found.insert(path);
        }
    }
    found
}

fn document(id: &str) -> Value {
    json!({"documents": [{"id": id, "text": format!("What was noted under {id}. {}", "More of it. ".repeat(20))}]})
}

fn put(http: &mut Http, id: &str) -> testkit::Reply {
    http.send("POST", &format!("{PATH}/documents"), &document(id)).expect("an answer")
}

/// Ids of the stored documents.
fn listed(http: &mut Http) -> BTreeSet<String> {
    let body = json!({"limit": 1000});
    let reply = http.send("POST", &format!("{PATH}/documents/list"), &body).expect("an answer").ok();
    reply["documents"].as_array().unwrap().iter().map(|d| d["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_flush_that_fails_once_leaves_an_open_outcome_and_affects_no_other_tenant() {
    let Some(flushes) = Flushes::new() else { return };
    let mut server = flushes.server();
    let mut others = LoadClient::create(&server, 1);
    let key = server.key("acme", SCOPES, &[]);
    let mut http = server.api(&key);
    http.send("PUT", PATH, &json!({"require_readers": false})).expect("an answer").ok();
    // The audit's logs are left out, because its records are written at other times.
    let audit = server.data_folder().join("audit");
    let before = logs(&server.data_folder());
    put(&mut http, "first").ok();
    let after = logs(&server.data_folder());
    let created: Vec<PathBuf> = after.difference(&before).filter(|path| !path.starts_with(&audit)).cloned().collect();
    let folder = created.iter().find_map(|path| path.parent()).expect("a log file").to_str().unwrap().to_owned();
    assert_eq!(created.len(), 1, "the namespace's alone: {created:?}");

    let mut acknowledged = BTreeSet::from(["first".to_owned()]);
    let mut open = BTreeSet::new();
    let (stop, address) = (AtomicBool::new(false), server.data_address());
    let (around_failures, served) = std::thread::scope(|scope| {
        let neighbours = scope.spawn(|| {
            let mut served = 0;
            while !stop.load(Ordering::Relaxed) || served == 0 {
                for client in &mut others {
                    let mut http = client.reader.http(address);
                    assert_eq!(client.write(&mut http), Outcome::Acknowledged, "a neighbour was refused");
                    let found = http.send("POST", &format!("{}/search", client.reader.path), &json!({"query": "rule"}));
                    assert_eq!(found.expect("an answer").status, 200, "a neighbour's search failed");
                    served += 1;
                }
            }
            served
        });
        // The neighbours have to end whatever happens here.
        let around_failures = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            (0..ROUNDS)
                .map(|round| write_until_failure(&flushes, &mut http, &folder, round, &mut acknowledged, &mut open))
                .sum::<usize>()
        }));
        stop.store(true, Ordering::Relaxed);
        let served = neighbours.join();
        (
            around_failures.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            served.expect("the neighbours were served"),
        )
    });
    assert!(server.runs(), "{}", server.stderr());
    assert_eq!(flushes.assert_none_was_repeated(), ROUNDS);
    let log = server.stderr();
    assert!(log.contains("flushing to the disk failed"), "the log tells the operator");
    assert!(!log.contains("was noted under"), "the log contains no text");
    server.kill();
    server.restart();
    let mut http = server.api(&key);
    let found = listed(&mut http);
    assert!(found.is_superset(&acknowledged), "missing: {:?}", acknowledged.difference(&found));
    let known = |id: &String| acknowledged.contains(id) || open.contains(id);
    assert!(found.iter().all(known), "{found:?}");
    others.iter_mut().for_each(|client| client.verify(server.data_address(), "after the restart"));
    let there = open.intersection(&found).count();
    println!(
        "flushes that failed: {ROUNDS}, {around_failures} documents acknowledged around them, {served} writes of neighbours"
    );
    println!("of {} documents whose outcome was left open, {there} are there", open.len());
}

/// A write fails because of a failed flush; the following ones do not. Returns the number of acknowledged documents.
fn write_until_failure(
    flushes: &Flushes,
    http: &mut Http,
    folder: &str,
    round: usize,
    acknowledged: &mut BTreeSet<String>,
    open: &mut BTreeSet<String>,
) -> usize {
    // Either the flush of a group fails, or the one that makes space for it, in which case nothing of the group is
    // written.
    let call = if round.is_multiple_of(2) { "fdatasync" } else { "fsync" };
    flushes.fail(call, folder);
    let mut count = 0;
    let refused = loop {
        let id = format!("{round}-{count}");
        let reply = put(http, &id);
        if reply.status != 200 {
            break (id, reply);
        }
        acknowledged.insert(id);
        count += 1;
        assert!(count < 200, "no {call} on {folder} failed");
    };
    let (id, reply) = refused;
    let result = reply.json();
    assert!(flushes.has_failed(), "{result}");
    assert_eq!((reply.status, reply.code().as_str()), (500, "internal"), "{result}");
    if call == "fdatasync" {
        assert_eq!(result["outcome"], "unknown", "{result}");
        assert!(result["request_id"].is_string(), "the log has the cause under the request: {result}");
        open.insert(id);
    } else {
        assert_ne!(result["outcome"], "unknown", "{result}");
        assert!(!listed(http).contains(&id), "it was refused");
    }
    // No client has to wait or to retry: the next request opens the namespace again.
    let found = listed(http);
    assert!(found.is_superset(acknowledged), "round {round}: {:?} are gone", acknowledged.difference(&found));
    let next = format!("{round}-next");
    send_with_retries(http, &format!("{PATH}/documents"), &document(&next)).ok();
    acknowledged.insert(next);
    count + 1
}

#[test]
fn a_disk_that_hangs_for_one_tenant_delays_no_operator() {
    let Some(flushes) = Flushes::new() else { return };
    let server = flushes.server();
    let mut others = LoadClient::create(&server, 1);
    let before = logs(&server.data_folder());
    server.tenant("hung");
    let key = server.key("hung", &[SCOPES, &["audit"]].concat(), &[]);
    let mut http = server.api(&key);
    http.send("PUT", PATH, &json!({"require_readers": false})).expect("an answer").ok();
    put(&mut http, "first").ok();
    // These are the logs of its directory, its audit and its namespace.
    let after = logs(&server.data_folder());
    let folders: BTreeSet<&str> = after.difference(&before).filter_map(|path| path.parent()?.to_str()).collect();
    assert_eq!(folders.len(), 3, "{folders:?}");
    flushes.hang(&folders);
    let address = server.data_address();
    std::thread::scope(|scope| {
        let written = scope.spawn(|| put(&mut server.api(&key), "second"));
        let waits = || folders.iter().filter(|folder| flushes.has_hung(folder)).count();
        // Its write waits for its namespace, and the records of its reads for its audit.
        for _ in 0..1_000 {
            let search = json!({"query": "noted"});
            server.api(&key).send("POST", &format!("{PATH}/search"), &search).expect("an answer").ok();
            if waits() >= 2 {
                break;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
        assert!(waits() >= 2, "two of its logs hang");
        let mut admin = server.control();
        let suspend = "/admin/v1/tenants/hung/suspend";
        assert_eq!(admin.send("POST", suspend, &Value::Null).expect("an answer").ok()["state"], "suspended");
        let refused = http.send("POST", &format!("{PATH}/search"), &json!({"query": "noted"})).expect("an answer");
        assert_eq!(refused.status, 423);
        for client in &mut others {
            let mut http = client.reader.http(address);
            assert_eq!(client.write(&mut http), Outcome::Acknowledged, "a neighbour was refused");
        }
        assert_eq!(admin.send("GET", "/healthz", &Value::Null).expect("an answer").status, 200);
        assert!(!written.is_finished(), "the write still hangs");
        flushes.resume();
        written.join().expect("it was answered").ok();
        admin.send("POST", "/admin/v1/tenants/hung/resume", &Value::Null).expect("an answer").ok();
    });
    assert_eq!(listed(&mut http), BTreeSet::from(["first".to_owned(), "second".to_owned()]));
    let lines = http.send("GET", "/v1/audit?limit=1000", &Value::Null).expect("an answer");
    let served = String::from_utf8_lossy(&lines.body).into_owned();
    assert!(served.contains("tenant.suspend") && served.contains("tenant.resume"), "{served}");
}
