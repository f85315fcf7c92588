//! kill -9 on the real binary at random moments, counted by phase: every acknowledged document
//! is found, none that was deleted, no half document, and the data folder opens again.
//!
//! `RINGFENCE_KILLS` sets how many (100 by default), `RINGFENCE_KILLS_FROM` the first seed. The seed of a failing cycle is printed.

use crate::server;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use testkit::{Rng, Server};

const NAMESPACE: &str = "/v1/namespaces/kill";

/// What a document is, as far as the client knows.
#[derive(Clone, Debug, PartialEq)]
enum Known {
    /// Acknowledged: must be there with this text.
    Stored(u64),
    /// Acknowledged deletion: must be absent.
    Deleted,
    /// A write was under way: before or after, never between.
    Either(Box<Known>, Box<Known>),
}

#[derive(Default, Debug)]
struct Phases {
    ingest: u32,
    flush: u32,
    compaction: u32,
    rotation: u32,
}

#[test]
fn acknowledged_writes_survive_kills_at_random_moments() {
    let kills: u64 = std::env::var("RINGFENCE_KILLS").ok().and_then(|v| v.parse().ok()).unwrap_or(100);
    let from: u64 = std::env::var("RINGFENCE_KILLS_FROM").ok().and_then(|v| v.parse().ok()).unwrap_or(0);
    // A tiny memtable makes flushes and merges frequent enough to be hit.
    let mut server = server().env("RINGFENCE__LIMITS__FLUSH_ROWS", "8").start();
    server.tenant("acme");
    let key = server.key("acme", &["search", "ingest", "delete", "manage", "read_all"], &[]);
    server.api(&key).send("PUT", NAMESPACE, &json!({"embedding": {"dimensions": 8}})).unwrap().ok();
    let mut known: BTreeMap<String, Known> = BTreeMap::new();
    let mut phases = Phases::default();
    for cycle in from..from + kills {
        let rng = Rng::new(cycle);
        let before = metrics(&server);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| write(&server, &key, &mut known, cycle, &stop));
            if cycle % 4 == 3 {
                let _ = server.control().send("POST", "/admin/v1/tenants/acme/keys/rotate", &json!({"mode": "rewrap"}));
            }
            std::thread::sleep(Duration::from_micros(2_000 + rng.below(300_000)));
            count(&mut phases, &before, &metrics(&server), cycle);
            kill(&server);
            stop.store(true, Ordering::Relaxed);
            writer.join().unwrap();
        });
        server.kill();
        assert!(server.try_restart(), "cycle {cycle}: does not start again: {}", server.stderr());
        verify(&server, &key, &mut known, cycle);
    }
    println!("kills: {kills}, by phase reached in the cycle: {phases:?}, documents known: {}", known.len());
    assert!(phases.flush > 0 && phases.ingest > 0, "{phases:?}");
}

/// Kills without waiting, so that the writer meets the break.
fn kill(server: &Server) {
    let _ = std::process::Command::new("kill").args(["-9", &server.pid().to_string()]).status();
}

/// Counters that tell how far the cycle came before its kill.
fn metrics(server: &Server) -> BTreeMap<String, f64> {
    let Ok(reply) = server.control().send("GET", "/metrics", &Value::Null) else { return BTreeMap::new() };
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    let number = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    text.lines().filter(|l| !l.starts_with('#')).filter_map(number).collect()
}

fn count(phases: &mut Phases, before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>, cycle: u64) {
    let grew = |part: &str| {
        after.iter().any(|(name, value)| name.contains(part) && *value > before.get(name).copied().unwrap_or(0.0))
    };
    phases.ingest += 1;
    phases.flush += u32::from(grew("flushes"));
    phases.compaction += u32::from(grew("compactions"));
    phases.rotation += u32::from(cycle % 4 == 3);
}

fn document(id: &str, version: u64) -> Value {
    json!({"id": id, "text": text(version), "vector": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, version as f64 / 7.0 + 1.0],
        "attributes": {"version": version}})
}

fn text(version: u64) -> String {
    format!(
        "version {version} of this page: {}",
        "a sentence about durable things. ".repeat((version % 13) as usize + 1)
    )
}

fn write(server: &Server, key: &str, known: &mut BTreeMap<String, Known>, cycle: u64, stop: &AtomicBool) {
    let mut api = server.api(key);
    let rng = Rng::new(cycle + 1_000_000);
    let mut version = cycle * 10_000;
    while !stop.load(Ordering::Relaxed) {
        version += 1;
        let ids: Vec<String> = (0..=rng.below(5)).map(|_| format!("page-{}", rng.below(120))).collect();
        let delete = rng.below(5) == 0;
        let after = if delete { Known::Deleted } else { Known::Stored(version) };
        let (path, body) = match delete {
            true => ("documents/delete", json!({"ids": ids})),
            false => ("documents", json!({"documents": ids.iter().map(|i| document(i, version)).collect::<Vec<_>>()})),
        };
        let reply = api.send("POST", &format!("{NAMESPACE}/{path}"), &body);
        let acknowledged = matches!(&reply, Ok(r) if r.status == 200);
        for id in ids {
            let before = known.get(&id).cloned().unwrap_or(Known::Deleted);
            let now = match acknowledged {
                true => after.clone(),
                false => Known::Either(Box::new(before), Box::new(after.clone())),
            };
            known.insert(id, now);
        }
        if !acknowledged {
            return;
        }
    }
}

fn verify(server: &Server, key: &str, known: &mut BTreeMap<String, Known>, cycle: u64) {
    let mut api = server.api(key);
    let body = json!({"limit": 1000, "include": ["text", "attributes"]});
    let listed = api.send("POST", &format!("{NAMESPACE}/documents/list"), &body).unwrap().ok();
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    for doc in listed["documents"].as_array().unwrap() {
        let version = doc["attributes"]["version"].as_u64().unwrap();
        let whole = doc["text"].as_str().unwrap().trim() == text(version).trim();
        assert!(whole, "cycle {cycle}: half a document: {doc}");
        found.insert(doc["id"].as_str().unwrap().to_owned(), version);
    }
    for (id, state) in known.iter_mut() {
        let now = found.get(id).map_or(Known::Deleted, |v| Known::Stored(*v));
        assert!(fits(state, &now), "cycle {cycle}: {id} should be {state:?} and is {now:?}");
        *state = now;
    }
    let strangers: Vec<_> = found.keys().filter(|id| !known.contains_key(*id)).collect();
    assert!(strangers.is_empty(), "cycle {cycle}: documents that nobody wrote: {strangers:?}");
    searchable(&mut api, &found, cycle);
}

fn fits(state: &Known, now: &Known) -> bool {
    match state {
        Known::Either(before, after) => fits(before, now) || fits(after, now),
        exact => exact == now,
    }
}

/// What is listed is found by both arms, and each document once.
fn searchable(api: &mut testkit::Http, found: &BTreeMap<String, u64>, cycle: u64) {
    let body = json!({"query": "durable sentence page", "mode": "text", "top_k": 1000, "max_per_document": 1});
    let answer = api.send("POST", &format!("{NAMESPACE}/search"), &body).unwrap().ok();
    let mut ids: Vec<&str> =
        answer["hits"].as_array().unwrap().iter().map(|h| h["document_id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, found.keys().map(String::as_str).collect::<Vec<_>>(), "cycle {cycle}: text search and list differ");
}
