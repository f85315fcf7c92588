//! The real binary on a disk whose flush fails once: the write that met it is an error that leaves
//! its outcome open, nobody believes a second flush of the same descriptor, the namespace opens
//! again from what is durable, and no other tenant notices.
//!
//! The flush fails in a library that is loaded before the system's (`failing_flush.c`), made here
//! with `cc`; without one the test skips itself, unless `RINGFENCE_SERVERS=required`.

#![expect(clippy::print_stderr, reason = "a test that skips itself says why")]

use crate::load::{Client, SCOPES, Told, patiently};
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

/// The library, and the folder that it is steered by.
struct Flushes {
    folder: TempDir,
}

/// One line of what it saw.
#[derive(Debug)]
struct Call {
    name: String,
    descriptor: String,
    said: String,
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
            Ok(made) => assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr)),
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

    /// The next such call on a path with this in it fails.
    fn fail(&self, call: &str, part: &str) {
        let file = self.folder.path().join("fail");
        fs::write(file.with_extension("new"), format!("{call} {part}")).expect("written");
        fs::rename(file.with_extension("new"), file).expect("renamed");
    }

    fn has_failed(&self) -> bool {
        !self.folder.path().join("fail").exists()
    }

    fn calls(&self) -> Vec<Call> {
        let text = fs::read_to_string(self.folder.path().join("calls")).expect("it is loaded and writes down");
        let call = |line: &str| {
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            let [name, descriptor, said, path] = words[..] else { panic!("{line}") };
            let [name, descriptor, said, path] = [name, descriptor, said, path].map(str::to_owned);
            Call { name, descriptor, said, path }
        };
        text.lines().map(call).collect()
    }

    /// What was flushed in vain was not flushed again under the same descriptor, and then the place
    /// was flushed under another one.
    fn none_was_tried_again(&self) -> usize {
        let calls = self.calls();
        let failed: Vec<usize> = (0..calls.len()).filter(|at| calls[*at].said == "EIO").collect();
        for at in &failed {
            let (call, later) = (&calls[*at], &calls[at + 1..]);
            let closed = later.iter().position(|c| c.name == "close" && c.descriptor == call.descriptor);
            let open = &later[..closed.unwrap_or(later.len())];
            let again = open.iter().find(|c| c.descriptor == call.descriptor && c.name != "close");
            assert!(again.is_none(), "{call:?} was tried again: {again:?}");
            let place = call.path.rsplit_once('/').expect("a file in a folder").0;
            let anew = later.iter().find(|c| c.path.starts_with(place));
            assert!(anew.is_some_and(|c| c.said == "ok"), "behind {call:?}: {anew:?}");
        }
        failed.len()
    }
}

/// Every log file below.
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

/// What is there now.
fn listed(http: &mut Http) -> BTreeSet<String> {
    let body = json!({"limit": 1000});
    let reply = http.send("POST", &format!("{PATH}/documents/list"), &body).expect("an answer").ok();
    reply["documents"].as_array().unwrap().iter().map(|d| d["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_flush_that_fails_once_is_an_open_outcome_and_costs_nobody_else() {
    let Some(flushes) = Flushes::new() else { return };
    let mut server = flushes.server();
    let mut others = Client::make(&server, 1);
    let key = server.key("acme", SCOPES, &[]);
    let mut http = server.api(&key);
    http.send("PUT", PATH, &json!({"require_readers": false})).expect("an answer").ok();
    // All but the audit's, whose lines come when they come.
    let audit = server.data_folder().join("audit");
    let before = logs(&server.data_folder());
    put(&mut http, "first").ok();
    let after = logs(&server.data_folder());
    let made: Vec<PathBuf> = after.difference(&before).filter(|path| !path.starts_with(&audit)).cloned().collect();
    let place = made.iter().find_map(|path| path.parent()).expect("a log file").to_str().unwrap().to_owned();
    assert_eq!(made.len(), 1, "the namespace's alone: {made:?}");

    let mut acknowledged = BTreeSet::from(["first".to_owned()]);
    let mut open = BTreeSet::new();
    let (stop, address) = (AtomicBool::new(false), server.data_address());
    let (met, told) = std::thread::scope(|scope| {
        let neighbours = scope.spawn(|| {
            let mut told = 0;
            while !stop.load(Ordering::Relaxed) || told == 0 {
                for client in &mut others {
                    let mut http = client.reader.http(address);
                    assert_eq!(client.write(&mut http), Told::Acknowledged, "a neighbour was refused");
                    let found = http.send("POST", &format!("{}/search", client.reader.path), &json!({"query": "rule"}));
                    assert_eq!(found.expect("an answer").status, 200, "a neighbour's search failed");
                    told += 1;
                }
            }
            told
        });
        // Whatever happens here, the neighbours end.
        let met = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            (0..ROUNDS)
                .map(|round| meet(&flushes, &mut http, &place, round, &mut acknowledged, &mut open))
                .sum::<usize>()
        }));
        stop.store(true, Ordering::Relaxed);
        let told = neighbours.join();
        (met.unwrap_or_else(|panic| std::panic::resume_unwind(panic)), told.expect("the neighbours were served"))
    });
    assert!(server.runs(), "{}", server.stderr());
    assert_eq!(flushes.none_was_tried_again(), ROUNDS);
    let log = server.stderr();
    assert!(log.contains("flushing to the disk failed"), "the operator is told");
    assert!(!log.contains("was noted under"), "and of no text");
    server.kill();
    server.restart();
    let mut http = server.api(&key);
    let found = listed(&mut http);
    assert!(found.is_superset(&acknowledged), "missing: {:?}", acknowledged.difference(&found));
    let known = |id: &String| acknowledged.contains(id) || open.contains(id);
    assert!(found.iter().all(known), "{found:?}");
    others.iter_mut().for_each(|client| client.verify(server.data_address(), "after the restart"));
    let there = open.intersection(&found).count();
    println!("flushes that failed: {ROUNDS}, {met} documents acknowledged around them, {told} writes of neighbours");
    println!("of {} documents whose outcome was left open, {there} are there", open.len());
}

/// A write meets a failed flush; what comes behind it does not.
fn meet(
    flushes: &Flushes,
    http: &mut Http,
    place: &str,
    round: usize,
    acknowledged: &mut BTreeSet<String>,
    open: &mut BTreeSet<String>,
) -> usize {
    // The flush of a group, or the one that makes room for it: nothing of it is written then.
    let call = if round.is_multiple_of(2) { "fdatasync" } else { "fsync" };
    flushes.fail(call, place);
    let mut sure = 0;
    let refused = loop {
        let id = format!("{round}-{sure}");
        let reply = put(http, &id);
        if reply.status != 200 {
            break (id, reply);
        }
        acknowledged.insert(id);
        sure += 1;
        assert!(sure < 200, "no {call} met {place}");
    };
    let (id, reply) = refused;
    let said = reply.json();
    assert!(flushes.has_failed(), "{said}");
    assert_eq!((reply.status, reply.code().as_str()), (500, "internal"), "{said}");
    if call == "fdatasync" {
        assert_eq!(said["outcome"], "unknown", "{said}");
        assert!(said["request_id"].is_string(), "the log has the cause under the request: {said}");
        open.insert(id);
    } else {
        assert_ne!(said["outcome"], "unknown", "{said}");
        assert!(!listed(http).contains(&id), "it was refused");
    }
    // Nobody has to wait or to ask twice: the next request opens it again.
    let found = listed(http);
    assert!(found.is_superset(acknowledged), "round {round}: {:?} are gone", acknowledged.difference(&found));
    let next = format!("{round}-next");
    patiently(http, &format!("{PATH}/documents"), &document(&next)).ok();
    acknowledged.insert(next);
    sure + 1
}
