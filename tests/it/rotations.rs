//! kill -9 on the real binary in the middle of rotations of both kinds: everything opens at each start, what was done
//! stays done, and in the end nothing stands under a key that was destroyed.
//!
//! `RINGFENCE_ROTATION_KILLS` sets how many (16 by default).

use crate::{load::setting, server};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};
use testkit::{Rng, Server};

const NAMESPACES: usize = 12;
const DOCUMENTS: usize = 24;
const KEYS: &str = "/admin/v1/tenants/acme/keys";

#[test]
fn rotations_survive_kills_at_random_moments() {
    let kills = setting("RINGFENCE_ROTATION_KILLS", 16);
    // Tiny flushes make objects; a tiny budget closes namespaces, so that some are cold when they are sealed anew.
    let mut server =
        server().env("RINGFENCE__LIMITS__FLUSH_ROWS", "64").env("RINGFENCE__LIMITS__MEMORY_MIB", "8").start();
    server.tenant("acme");
    let key = server.key("acme", &["search", "ingest", "read_all", "audit"], &[]);
    for n in 0..NAMESPACES {
        let documents: Vec<_> = (0..DOCUMENTS).map(|d| document(n, d)).collect();
        let path = format!("/v1/namespaces/n{n}/documents");
        server.api(&key).send("POST", &path, &json!({ "documents": documents })).unwrap().ok();
    }
    let extra = AtomicU64::new(0);
    let (mut caught, mut kept) = ([0; 2], 0);
    for cycle in 0..kills {
        let rng = Rng::new(cycle);
        let mode = cycle as usize % 2;
        let body = json!({ "mode": if mode == 0 { "rewrap" } else { "reencrypt" } });
        let stop = AtomicBool::new(false);
        let done = std::thread::scope(|scope| {
            scope.spawn(|| write(&server, &key, &extra, &stop));
            // One of the other kind may still be under way: then it goes on.
            let _ = server.control().send("POST", &format!("{KEYS}/rotate"), &body);
            std::thread::sleep(Duration::from_micros(rng.below(700_000)));
            let done = progress(&server);
            server.kill_now();
            stop.store(true, Ordering::Relaxed);
            done
        });
        server.kill();
        assert!(server.try_restart(), "cycle {cycle}: does not start again: {}", server.stderr());
        // Behind the restart it goes on at once; what was done before is not done again.
        if let (Some((before, _)), after) = (done, progress(&server)) {
            caught[mode] += 1;
            assert!(
                after.is_none_or(|(after, _)| after >= before),
                "cycle {cycle}: {before} places were done, {after:?} are"
            );
            kept += usize::from(before > 0);
        }
        verify(&server, &key, &extra, cycle);
    }
    for mode in ["rewrap", "reencrypt"] {
        settle(&server);
        let begun = server.control().send("POST", &format!("{KEYS}/rotate"), &json!({ "mode": mode })).unwrap().ok();
        settle(&server);
        let path = format!("/admin/v1/operations/{}", begun["operation"].as_str().unwrap());
        let ended = server.control().send("GET", &path, &Value::Null).unwrap().ok();
        assert_eq!(ended["status"], "succeeded", "{ended:#}");
    }
    verify(&server, &key, &extra, kills);
    let keys = server.control().send("GET", KEYS, &Value::Null).unwrap().ok();
    assert_eq!(keys["epochs"].as_array().map(Vec::len), Some(1), "{keys:#}");
    let under = place_epochs(&server.data_folder());
    assert!(under.values().all(|epochs| epochs.len() == 1), "a place stands under one key: {under:?}");
    assert!(under.values().filter(|epochs| epochs.iter().all(|e| *e > 1)).count() >= NAMESPACES, "{under:?}");
    server.kill();
    assert!(server.try_restart());
    verify(&server, &key, &extra, kills);
    println!(
        "kills: {kills}, in the middle of a rewrap {}, of a re-encryption {}; with places done {kept}",
        caught[0], caught[1]
    );
    assert!(caught.iter().sum::<usize>() > 0, "no kill met a rotation");
}

fn document(n: usize, d: usize) -> Value {
    json!({ "id": format!("d{d}"), "text": format!("namespace {n} document {d} {}", "long words fill it up ".repeat(600)) })
}

/// Writes until it is told to stop; counts what was acknowledged.
fn write(server: &Server, key: &str, extra: &AtomicU64, stop: &AtomicBool) {
    let mut api = server.api(key);
    while !stop.load(Ordering::Relaxed) {
        let next = extra.load(Ordering::Relaxed);
        let body = json!({ "documents": [{ "id": format!("x{next}"), "text": "written in the middle" }] });
        match api.send("POST", "/v1/namespaces/n0/documents", &body) {
            Ok(reply) if reply.status == 200 => extra.store(next + 1, Ordering::Relaxed),
            _ => return,
        }
    }
}

/// Places done and all of them, while a rotation is under way.
fn progress(server: &Server) -> Option<(u64, u64)> {
    let keys = server.control().send("GET", KEYS, &Value::Null).ok()?;
    let rotating = keys.json()["rotating"].clone();
    Some((rotating["done"].as_u64()?, rotating["total"].as_u64()?))
}

fn settle(server: &Server) {
    for _ in 0..1_200 {
        let list = server.control().send("GET", "/admin/v1/operations", &Value::Null).unwrap().ok();
        let open = |o: &&Value| matches!(o["status"].as_str(), Some("pending" | "running"));
        if list["operations"].as_array().unwrap().iter().find(open).is_none() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("a rotation does not end: {}", server.stderr());
}

fn verify(server: &Server, key: &str, extra: &AtomicU64, cycle: u64) {
    let mut api = server.api(key);
    for n in 0..NAMESPACES {
        let listed = api.send("POST", &format!("/v1/namespaces/n{n}/documents/list"), &json!({ "limit": 0 })).unwrap();
        let total = listed.ok()["total"].as_u64().unwrap();
        let wanted = DOCUMENTS as u64 + if n == 0 { extra.load(Ordering::Relaxed) } else { 0 };
        assert!(total >= wanted && total <= wanted + 1, "cycle {cycle}, n{n}: {total} of {wanted}");
        let path = format!("/v1/namespaces/n{n}/documents/d{}?include=text", cycle as usize % DOCUMENTS);
        let text = api.send("GET", &path, &Value::Null).unwrap().ok()["text"].as_str().unwrap().to_owned();
        assert!(text.starts_with(&format!("namespace {n} document")), "cycle {cycle}");
    }
    let lines = api.send("GET", "/v1/audit?limit=5", &Value::Null).unwrap();
    assert_eq!(lines.status, 200, "cycle {cycle}: the audit opens");
}

/// The epochs of place keys that logs and checkpoints stand under, by place.
fn place_epochs(folder: &Path) -> BTreeMap<String, BTreeSet<u32>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(place_epochs(&path));
        } else if let Some(epoch) = std::fs::read(&path).ok().and_then(|bytes| vault::epoch_of(&bytes)) {
            let place = path.parent().unwrap().display().to_string();
            found.entry(place).or_insert_with(BTreeSet::new).insert(epoch.0);
        }
    }
    found
}
