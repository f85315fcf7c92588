//! Tests of the time limit for erasure on the real server: after it, no file contains what was deleted, although no
//! request opens its namespace after a start; and operators are notified where the limit is exceeded.

use crate::in_process::{ALL_SCOPES, TestServer};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

const HOUR: Duration = Duration::from_secs(3_600);
/// Number of documents with which a namespace is stored in an object.
const MANY: usize = 300;

/// All files of all namespaces, with their bytes.
fn namespaces(server: &TestServer) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![server.folder().join("ns")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.clone(), fs::read(path).unwrap());
            }
        }
    }
    files
}

fn has_prefix(path: &Path, kind: &str) -> bool {
    path.file_name().unwrap().to_str().unwrap().starts_with(kind)
}

/// Fills a namespace with one document more than `others`, and returns the key to it.
fn fill(server: &TestServer, tenant: &str, others: usize) -> String {
    server.tenant(tenant);
    let key = server.key(tenant, ALL_SCOPES, json!({}));
    let text = |n: usize| format!("some words about number {n}. ").repeat(if others < MANY { 1 } else { 40 });
    let mut documents: Vec<_> = (0..others).map(|n| json!({ "id": n.to_string(), "text": text(n) })).collect();
    documents.push(json!({ "id": "gone", "text": "the xylophonist" }));
    for batch in documents.chunks(50) {
        let body = json!({ "documents": batch });
        server.data(Some(&key)).send("POST", "/v1/namespaces/docs/documents", &body).unwrap().ok();
    }
    key
}

fn delete(server: &TestServer, key: &str) {
    let body = json!({ "ids": ["gone"] });
    let deleted = server.data(Some(key)).send("POST", "/v1/namespaces/docs/documents/delete", &body).unwrap().ok();
    assert_eq!(deleted["deleted"], 1, "{deleted:#}");
}

fn search(server: &TestServer, key: &str) -> Value {
    let body = json!({ "query": "words xylophonist", "mode": "text", "top_k": 20 });
    server.data(Some(key)).send("POST", "/v1/namespaces/docs/search", &body).unwrap().ok()["hits"].clone()
}

fn metric(server: &TestServer, name: &str) -> u64 {
    let page = server.admin().send("GET", "/metrics", &Value::Null).unwrap().body;
    let page = String::from_utf8(page).unwrap();
    let line = page.lines().find(|line| line.split(' ').next() == Some(name)).unwrap_or_else(|| panic!("no {name}"));
    line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64
}

/// Waits for a sweep that starts from now on and ends.
fn wait_for_sweep(server: &TestServer) {
    let before = metric(server, "ringfence_erasure_sweeps_total");
    server.advance_clock(3 * HOUR);
    for _ in 0..1_200 {
        if metric(server, "ringfence_erasure_sweeps_total") > before {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("no sweep ends within a minute");
}

fn overdue_notices(server: &TestServer) -> usize {
    let acts = server.admin().send("GET", "/admin/v1/audit?limit=1000", &Value::Null).unwrap().body;
    String::from_utf8(acts).unwrap().matches("erase.overdue").count()
}

#[test]
fn deleted_documents_leave_every_file_without_further_requests() {
    let mut server = TestServer::start_default();
    // The namespaces are in an object, inline in a checkpoint, and of a tenant that is suspended.
    let keys: Vec<_> = [("acme", MANY), ("umbra", 9), ("wayne", MANY)].map(|(t, n)| fill(&server, t, n)).into();
    server.stop();
    server.start();
    for key in &keys {
        delete(&server, key);
    }
    let before = search(&server, &keys[0]);
    server.admin().send("POST", "/admin/v1/tenants/wayne/suspend", &json!({})).unwrap().ok();
    server.stop();
    let held = namespaces(&server);
    assert_eq!(held.keys().filter(|path| has_prefix(path, "seg-")).count(), 2);
    assert!(held.keys().filter(|path| has_prefix(path, "log-")).count() >= 3);

    server.start();
    wait_for_sweep(&server);
    assert_eq!(metric(&server, "ringfence_erasure_namespaces"), 3);
    assert!(metric(&server, "ringfence_erasure_oldest_seconds") >= 3 * 3_600);
    assert_eq!(namespaces(&server), held, "nothing is due, and a sweep changes nothing");
    assert_eq!(metric(&server, "ringfence_namespaces_open"), 0, "and opens nothing");

    server.advance_clock(15 * HOUR);
    wait_for_sweep(&server);
    let after = namespaces(&server);
    let remaining: Vec<_> = held
        .keys()
        .filter(|path| has_prefix(path, "seg-") || has_prefix(path, "log-"))
        .filter(|p| after.contains_key(*p))
        .collect();
    assert_eq!(remaining, Vec::<&PathBuf>::new(), "every file that held the document is gone");
    assert_eq!(after.keys().filter(|path| has_prefix(path, "seg-")).count(), 2);
    let numbers =
        ["overdue", "unexamined", "oldest_seconds"].map(|name| metric(&server, &format!("ringfence_erasure_{name}")));
    assert_eq!((numbers, overdue_notices(&server)), ([0; 3], 0));
    assert_eq!(search(&server, &keys[0]), before, "no answer has changed");
    server.admin().send("POST", "/admin/v1/tenants/wayne/resume", &json!({})).unwrap().ok();
    assert_eq!(search(&server, &keys[2]).as_array().unwrap().len(), 20);

    // The old files are put back: nothing references them, and they are removed.
    server.stop();
    for (path, bytes) in held.iter().filter(|(path, _)| has_prefix(path, "seg-")) {
        fs::write(path, bytes).unwrap();
    }
    server.start();
    wait_for_sweep(&server);
    assert!(held.keys().filter(|path| has_prefix(path, "seg-")).all(|path| !path.exists()));
    assert_eq!(search(&server, &keys[0]), before);
}

#[test]
fn operators_are_notified_when_the_limit_is_exceeded() {
    let mut server = TestServer::start_default();
    let keys: Vec<_> = ["acme", "umbra"].map(|tenant| fill(&server, tenant, MANY)).into();
    server.stop();
    server.start();
    delete(&server, &keys[0]);
    server.stop();
    // Its object cannot be read, so that it cannot be rewritten.
    let held = namespaces(&server);
    let objects: Vec<_> = held.keys().filter(|path| has_prefix(path, "seg-")).collect();
    assert_eq!(objects.len(), 2);
    objects.iter().for_each(|path| fs::rename(path, path.with_extension("away")).unwrap());
    server.start();
    server.advance_clock(18 * HOUR);
    wait_for_sweep(&server);
    assert_eq!(
        (metric(&server, "ringfence_erasure_unexamined"), overdue_notices(&server)),
        (1, 0),
        "it may still be erased in time"
    );
    for _ in 0..3 {
        wait_for_sweep(&server);
    }
    assert_eq!((metric(&server, "ringfence_erasure_unexamined"), overdue_notices(&server)), (1, 1), "once");
    server.stop();
    objects.iter().for_each(|path| fs::rename(path.with_extension("away"), path).unwrap());
    server.start();
    wait_for_sweep(&server);
    assert_eq!(metric(&server, "ringfence_erasure_unexamined"), 0);
    assert_eq!(objects.iter().filter(|path| path.exists()).count(), 1, "that of the other tenant stays as it is");
}
