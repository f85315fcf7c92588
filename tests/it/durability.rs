//! kill -9 on the real binary at random moments, counted by phase: every acknowledged document is found, no deleted one
//! and no incomplete one, and the data folder opens again.
//!
//! Small pages are stored inside a checkpoint, long ones in objects that are merged; the two namespaces together exceed
//! the memory budget, so that one is evicted for the other. `RINGFENCE_KILLS` sets the number of kills (100 by
//! default), `RINGFENCE_KILLS_FROM` the first seed. The seed of a failing cycle is printed.

use crate::{
    load::{ExpectedState, outcome_of, setting},
    server,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use testkit::{Rng, Server};

/// A namespace, with the number and the length of its pages.
struct TestNamespace {
    path: &'static str,
    pages: u64,
    /// Number of sentences in the longest page.
    sentences: u64,
    /// Whether each page has a vector. It is for pages of one passage.
    vectors: bool,
    expected: ExpectedState,
}

/// Numbers of cycles that reached each phase before their kill.
#[derive(Default, Debug)]
struct Phases {
    ingest: u32,
    flush: u32,
    /// A flush that created no object: the segment is in the checkpoint.
    inline: u32,
    /// A new object.
    object: u32,
    compaction: u32,
    eviction: u32,
    rotation: u32,
    /// The kill came during a flush or a merge.
    in_maintenance: u32,
}

#[test]
fn acknowledged_writes_survive_kills_at_random_moments() {
    let (kills, from) = (setting("RINGFENCE_KILLS", 100), setting("RINGFENCE_KILLS_FROM", 0));
    // A tiny write buffer makes flushes and merges frequent enough to be hit, and a tiny budget evictions.
    let mut server =
        server().env("RINGFENCE__LIMITS__FLUSH_ROWS", "8").env("RINGFENCE__LIMITS__MEMORY_MIB", "1").start();
    server.tenant("acme");
    let key = server.key("acme", &["search", "ingest", "delete", "manage", "read_all"], &[]);
    let namespace = |path, pages, sentences, vectors| TestNamespace {
        path,
        pages,
        sentences,
        vectors,
        expected: ExpectedState::default(),
    };
    let mut namespaces =
        [namespace("/v1/namespaces/kill", 120, 13, true), namespace("/v1/namespaces/long", 100, 400, false)];
    for (namespace, settings) in
        namespaces.iter().zip([json!({"embedding": {"dimensions": 8}}), json!({"require_readers": false})])
    {
        server.api(&key).send("PUT", namespace.path, &settings).unwrap().ok();
    }
    let mut phases = Phases::default();
    for cycle in from..from + kills {
        let rng = Rng::new(cycle);
        let before = (metrics(&server), objects(&server.data_folder()));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // The cycles alternate: only small pages, only long ones, both.
            for (n, namespace) in namespaces.iter_mut().enumerate().filter(|(n, _)| cycle % 3 != *n as u64) {
                let (server, key, stop) = (&server, &key, &stop);
                scope.spawn(move || write(server, key, namespace, cycle * 2 + n as u64, stop));
            }
            if cycle % 4 == 3 {
                let _ = server.control().send(
                    "POST",
                    "/admin/v1/tenants/acme/keys/rotate",
                    &json!({"mode": if cycle % 8 == 3 { "rewrap" } else { "reencrypt" }}),
                );
            }
            // Cycles with only long pages get enough time to build an object.
            let most = if cycle % 3 == 0 { 3_000_000 } else { 300_000 };
            std::thread::sleep(Duration::from_micros(2_000 + rng.below(most)));
            count(&mut phases, &before, &(metrics(&server), objects(&server.data_folder())), cycle);
            server.kill_now();
            stop.store(true, Ordering::Relaxed);
        });
        server.kill();
        assert!(server.try_restart(), "cycle {cycle}: the server does not restart: {}", server.stderr());
        for namespace in &mut namespaces {
            verify(&server, &key, namespace, cycle);
        }
    }
    let known: Vec<usize> = namespaces.iter().map(|namespace| namespace.expected.len()).collect();
    println!("kills: {kills}, cycles that reached a phase: {phases:?}, documents known: {known:?}");
    assert!(phases.flush > 0 && phases.ingest > 0, "{phases:?}");
    // After this many kills every phase was likely reached, on a slow build too.
    let Phases { inline, object, compaction, eviction, .. } = phases;
    assert!(kills < 500 || [inline, object, compaction, eviction].iter().all(|n| *n > 0), "{phases:?}");
}

/// Objects of segments in the data folder.
fn objects(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            found.extend(objects(&entry.path()));
        } else if name.starts_with("seg-") {
            found.insert(name);
        }
    }
    found
}

/// Counters that tell which phases the cycle reached before its kill.
fn metrics(server: &Server) -> BTreeMap<String, f64> {
    let Ok(reply) = server.control().send("GET", "/metrics", &Value::Null) else { return BTreeMap::new() };
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    let number = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    text.lines().filter(|l| !l.starts_with('#')).filter_map(number).collect()
}

type Observed = (BTreeMap<String, f64>, BTreeSet<String>);

fn count(phases: &mut Phases, before: &Observed, after: &Observed, cycle: u64) {
    let value =
        |of: &Observed, part: &str| -> f64 { of.0.iter().filter(|(n, _)| n.contains(part)).map(|(_, v)| v).sum() };
    let grew = |part: &str| value(after, part) > value(before, part);
    let object = after.1.difference(&before.1).next().is_some();
    phases.ingest += 1;
    phases.flush += u32::from(grew("ringfence_flushes"));
    phases.inline += u32::from(grew("ringfence_flushes") && !object);
    phases.object += u32::from(object);
    phases.compaction += u32::from(grew("ringfence_compactions"));
    phases.eviction += u32::from(grew("ringfence_evictions"));
    phases.rotation += u32::from(cycle % 4 == 3);
    phases.in_maintenance += u32::from(value(after, "ringfence_maintenance_running") > 0.0);
}

fn document(id: &str, version: u64, namespace: &TestNamespace) -> Value {
    let mut json = json!({"id": id, "text": text(version, namespace.sentences), "attributes": {"version": version}});
    if namespace.vectors {
        json["vector"] = json!([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, version as f64 / 7.0 + 1.0]);
    }
    json
}

/// A text of words that do not repeat: a text that compresses well would never leave a checkpoint.
fn text(version: u64, sentences: u64) -> String {
    let mut text = format!("version {version} of this page:");
    for n in 0..=version * 7 % sentences {
        let word = (version * 1_000 + n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        text.push_str(&format!(" a sentence about durable things {word:x}."));
    }
    text
}

fn write(server: &Server, key: &str, namespace: &mut TestNamespace, seed: u64, stop: &AtomicBool) {
    let mut api = server.api(key);
    let rng = Rng::new(seed + 1_000_000);
    let mut version = seed * 10_000;
    while !stop.load(Ordering::Relaxed) {
        version += 1;
        let ids: BTreeSet<String> =
            (0..=rng.below(5)).map(|_| format!("page-{}", rng.below(namespace.pages))).collect();
        let ids: Vec<String> = ids.into_iter().collect();
        let delete = rng.below(5) == 0;
        let (path, body) = if delete {
            ("documents/delete", json!({"ids": ids}))
        } else {
            let documents: Vec<Value> = ids.iter().map(|id| document(id, version, namespace)).collect();
            ("documents", json!({"documents": documents}))
        };
        let reply = api.send("POST", &format!("{}/{path}", namespace.path), &body);
        namespace.expected.note(&ids, (!delete).then_some(version), outcome_of(&reply));
        if reply.is_err() {
            return;
        }
    }
}

fn verify(server: &Server, key: &str, namespace: &mut TestNamespace, cycle: u64) {
    let mut api = server.api(key);
    let body = json!({"limit": 1000, "include": ["text", "attributes"]});
    let listed = api.send("POST", &format!("{}/documents/list", namespace.path), &body).unwrap().ok();
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    for doc in listed["documents"].as_array().unwrap() {
        let version = doc["attributes"]["version"].as_u64().unwrap();
        let is_complete = doc["text"].as_str().unwrap().trim() == text(version, namespace.sentences).trim();
        assert!(is_complete, "cycle {cycle}: incomplete document: {doc}");
        found.insert(doc["id"].as_str().unwrap().to_owned(), version);
    }
    namespace.expected.check(&found, &format!("cycle {cycle}, {}", namespace.path));
    check_search(&mut api, namespace.path, &found, cycle);
}

/// Checks that the text search finds all listed documents, each once.
fn check_search(api: &mut testkit::Http, path: &str, found: &BTreeMap<String, u64>, cycle: u64) {
    let body = json!({"query": "durable sentence page", "mode": "text", "top_k": 1000, "max_per_document": 1});
    let answer = api.send("POST", &format!("{path}/search"), &body).unwrap().ok();
    let mut ids: Vec<&str> =
        answer["hits"].as_array().unwrap().iter().map(|h| h["document_id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, found.keys().map(String::as_str).collect::<Vec<_>>(), "cycle {cycle}: text search and list differ");
}
