//! kill -9 on the real binary at random moments, counted by phase: every acknowledged document
//! is found, none that was deleted, no half document, and the data folder opens again.
//!
//! Small pages end inside a checkpoint, long ones in objects that are merged; the two places together are
//! more than the memory budget, so that one is let go for the other.
//! `RINGFENCE_KILLS` sets how many (100 by default), `RINGFENCE_KILLS_FROM` the first seed. The seed of a failing cycle is printed.

use crate::{
    load::{Book, setting, told},
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

/// A namespace, how many pages it has and how long they are.
struct Place {
    path: &'static str,
    pages: u64,
    /// Sentences in the longest page.
    sentences: u64,
    /// Whether each page brings a vector, which is for pages of one passage.
    vectors: bool,
    book: Book,
}

/// Cycles that came so far before their kill.
#[derive(Default, Debug)]
struct Phases {
    ingest: u32,
    flush: u32,
    /// A flush that made no object: the segment stands in the checkpoint.
    inline: u32,
    /// A new object.
    object: u32,
    compaction: u32,
    eviction: u32,
    rotation: u32,
    /// Killed while a flush or a merge was under way.
    in_upkeep: u32,
}

#[test]
fn acknowledged_writes_survive_kills_at_random_moments() {
    let (kills, from) = (setting("RINGFENCE_KILLS", 100), setting("RINGFENCE_KILLS_FROM", 0));
    // A tiny memtable makes flushes and merges frequent enough to be hit, a tiny budget evictions.
    let mut server =
        server().env("RINGFENCE__LIMITS__FLUSH_ROWS", "8").env("RINGFENCE__LIMITS__MEMORY_MIB", "1").start();
    server.tenant("acme");
    let key = server.key("acme", &["search", "ingest", "delete", "manage", "read_all"], &[]);
    let place = |path, pages, sentences, vectors| Place { path, pages, sentences, vectors, book: Book::default() };
    let mut places = [place("/v1/namespaces/kill", 120, 13, true), place("/v1/namespaces/long", 100, 400, false)];
    for (place, settings) in
        places.iter().zip([json!({"embedding": {"dimensions": 8}}), json!({"require_readers": false})])
    {
        server.api(&key).send("PUT", place.path, &settings).unwrap().ok();
    }
    let mut phases = Phases::default();
    for cycle in from..from + kills {
        let rng = Rng::new(cycle);
        let before = (metrics(&server), objects(&server.data_folder()));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Small pages alone, long ones alone, both.
            for (n, place) in places.iter_mut().enumerate().filter(|(n, _)| cycle % 3 != *n as u64) {
                let (server, key, stop) = (&server, &key, &stop);
                scope.spawn(move || write(server, key, place, cycle * 2 + n as u64, stop));
            }
            if cycle % 4 == 3 {
                let _ = server.control().send(
                    "POST",
                    "/admin/v1/tenants/acme/keys/rotate",
                    &json!({"mode": if cycle % 8 == 3 { "rewrap" } else { "reencrypt" }}),
                );
            }
            // Long pages alone get time enough for an object to be built.
            let most = if cycle % 3 == 0 { 3_000_000 } else { 300_000 };
            std::thread::sleep(Duration::from_micros(2_000 + rng.below(most)));
            count(&mut phases, &before, &(metrics(&server), objects(&server.data_folder())), cycle);
            server.kill_now();
            stop.store(true, Ordering::Relaxed);
        });
        server.kill();
        assert!(server.try_restart(), "cycle {cycle}: does not start again: {}", server.stderr());
        for place in &mut places {
            verify(&server, &key, place, cycle);
        }
    }
    let known: Vec<usize> = places.iter().map(|place| place.book.len()).collect();
    println!("kills: {kills}, cycles that reached a phase: {phases:?}, documents known: {known:?}");
    assert!(phases.flush > 0 && phases.ingest > 0, "{phases:?}");
    // By then every one has had its chances, on a slow build too.
    let Phases { inline, object, compaction, eviction, .. } = phases;
    assert!(kills < 500 || [inline, object, compaction, eviction].iter().all(|n| *n > 0), "{phases:?}");
}

/// The objects of segments that lie in the data folder.
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

type Seen = (BTreeMap<String, f64>, BTreeSet<String>);

fn count(phases: &mut Phases, before: &Seen, after: &Seen, cycle: u64) {
    let value = |of: &Seen, part: &str| -> f64 { of.0.iter().filter(|(n, _)| n.contains(part)).map(|(_, v)| v).sum() };
    let grew = |part: &str| value(after, part) > value(before, part);
    let object = after.1.difference(&before.1).next().is_some();
    phases.ingest += 1;
    phases.flush += u32::from(grew("ringfence_flushes"));
    phases.inline += u32::from(grew("ringfence_flushes") && !object);
    phases.object += u32::from(object);
    phases.compaction += u32::from(grew("ringfence_compactions"));
    phases.eviction += u32::from(grew("ringfence_evictions"));
    phases.rotation += u32::from(cycle % 4 == 3);
    phases.in_upkeep += u32::from(value(after, "ringfence_upkeep_running") > 0.0);
}

fn document(id: &str, version: u64, place: &Place) -> Value {
    let mut json = json!({"id": id, "text": text(version, place.sentences), "attributes": {"version": version}});
    if place.vectors {
        json["vector"] = json!([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, version as f64 / 7.0 + 1.0]);
    }
    json
}

/// Words that do not repeat: what could be packed to nothing would never leave a checkpoint.
fn text(version: u64, sentences: u64) -> String {
    let mut text = format!("version {version} of this page:");
    for n in 0..=version * 7 % sentences {
        let word = (version * 1_000 + n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        text.push_str(&format!(" a sentence about durable things {word:x}."));
    }
    text
}

fn write(server: &Server, key: &str, place: &mut Place, seed: u64, stop: &AtomicBool) {
    let mut api = server.api(key);
    let rng = Rng::new(seed + 1_000_000);
    let mut version = seed * 10_000;
    while !stop.load(Ordering::Relaxed) {
        version += 1;
        let ids: BTreeSet<String> = (0..=rng.below(5)).map(|_| format!("page-{}", rng.below(place.pages))).collect();
        let ids: Vec<String> = ids.into_iter().collect();
        let delete = rng.below(5) == 0;
        let (path, body) = if delete {
            ("documents/delete", json!({"ids": ids}))
        } else {
            let documents: Vec<Value> = ids.iter().map(|id| document(id, version, place)).collect();
            ("documents", json!({"documents": documents}))
        };
        let reply = api.send("POST", &format!("{}/{path}", place.path), &body);
        place.book.note(&ids, (!delete).then_some(version), told(&reply));
        if reply.is_err() {
            return;
        }
    }
}

fn verify(server: &Server, key: &str, place: &mut Place, cycle: u64) {
    let mut api = server.api(key);
    let body = json!({"limit": 1000, "include": ["text", "attributes"]});
    let listed = api.send("POST", &format!("{}/documents/list", place.path), &body).unwrap().ok();
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    for doc in listed["documents"].as_array().unwrap() {
        let version = doc["attributes"]["version"].as_u64().unwrap();
        let whole = doc["text"].as_str().unwrap().trim() == text(version, place.sentences).trim();
        assert!(whole, "cycle {cycle}: half a document: {doc}");
        found.insert(doc["id"].as_str().unwrap().to_owned(), version);
    }
    place.book.settle(&found, &format!("cycle {cycle}, {}", place.path));
    searchable(&mut api, place.path, &found, cycle);
}

/// What is listed is found by both arms, and each document once.
fn searchable(api: &mut testkit::Http, path: &str, found: &BTreeMap<String, u64>, cycle: u64) {
    let body = json!({"query": "durable sentence page", "mode": "text", "top_k": 1000, "max_per_document": 1});
    let answer = api.send("POST", &format!("{path}/search"), &body).unwrap().ok();
    let mut ids: Vec<&str> =
        answer["hits"].as_array().unwrap().iter().map(|h| h["document_id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, found.keys().map(String::as_str).collect::<Vec<_>>(), "cycle {cycle}: text search and list differ");
}
