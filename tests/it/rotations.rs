//! kill -9 on the real binary in the middle of rotations of both kinds: everything opens at each start, finished work
//! stays finished, and in the end nothing is sealed under a destroyed key.
//!
//! `RINGFENCE_ROTATION_KILLS` sets the number of kills (16 by default).

use crate::{load::setting, server};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};
use testkit::{Moto, Rng, Server};

const NAMESPACES: usize = 12;
const DOCUMENTS: usize = 24;
const KEYS: &str = "/admin/v1/tenants/acme/keys";

#[test]
fn rotations_survive_kills_at_random_moments() {
    let kills = setting("RINGFENCE_ROTATION_KILLS", 16);
    // Tiny flushes create objects; a tiny budget closes namespaces, so that some are cold when they are re-encrypted.
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
    let (mut interrupted, mut kept) = ([0; 2], 0);
    for cycle in 0..kills {
        let rng = Rng::new(cycle);
        let mode = cycle as usize % 2;
        let body = json!({ "mode": if mode == 0 { "rewrap" } else { "reencrypt" } });
        let stop = AtomicBool::new(false);
        let done = std::thread::scope(|scope| {
            scope.spawn(|| write(&server, &key, &extra, &stop));
            // A rotation of the other kind may still run; then it continues.
            let _ = server.control().send("POST", &format!("{KEYS}/rotate"), &body);
            std::thread::sleep(Duration::from_micros(rng.below(700_000)));
            let done = progress(&server);
            server.kill_now();
            stop.store(true, Ordering::Relaxed);
            done
        });
        server.kill();
        assert!(server.try_restart(), "cycle {cycle}: the server does not restart: {}", server.stderr());
        // After the restart the rotation continues at once; finished keyspaces are not rotated again.
        if let (Some((before, _)), after) = (done, progress(&server)) {
            interrupted[mode] += 1;
            assert!(
                after.is_none_or(|(after, _)| after >= before),
                "cycle {cycle}: {before} keyspaces were done, {after:?} are"
            );
            kept += usize::from(before > 0);
        }
        verify(&server, &key, &extra, cycle);
    }
    for mode in ["rewrap", "reencrypt"] {
        wait_for_operations(&server);
        let started = server.control().send("POST", &format!("{KEYS}/rotate"), &json!({ "mode": mode })).unwrap().ok();
        wait_for_operations(&server);
        let path = format!("/admin/v1/operations/{}", started["operation"].as_str().unwrap());
        let ended = server.control().send("GET", &path, &Value::Null).unwrap().ok();
        assert_eq!(ended["status"], "succeeded", "{ended:#}");
    }
    verify(&server, &key, &extra, kills);
    let keys = server.control().send("GET", KEYS, &Value::Null).unwrap().ok();
    assert_eq!(keys["epochs"].as_array().map(Vec::len), Some(1), "{keys:#}");
    let under = keyspace_epochs(&server.data_folder());
    assert!(under.values().all(|epochs| epochs.len() == 1), "a keyspace is sealed under one key: {under:?}");
    assert!(under.values().filter(|epochs| epochs.iter().all(|e| *e > 1)).count() >= NAMESPACES, "{under:?}");
    server.kill();
    assert!(server.try_restart());
    verify(&server, &key, &extra, kills);
    println!(
        "kills: {kills}, in the middle of a rewrap {}, of a re-encryption {}; with keyspaces done {kept}",
        interrupted[0], interrupted[1]
    );
    assert!(interrupted.iter().sum::<usize>() > 0, "no kill interrupted a rotation");
}

fn document(n: usize, d: usize) -> Value {
    json!({ "id": format!("d{d}"), "text": format!("namespace {n} document {d} {}", "long words fill it up ".repeat(600)) })
}

/// Writes until `stop` is set, and counts the acknowledged writes.
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

/// Number of finished keyspaces and of all of them, while a rotation runs.
fn progress(server: &Server) -> Option<(u64, u64)> {
    let keys = server.control().send("GET", KEYS, &Value::Null).ok()?;
    let rotating = keys.json()["rotating"].clone();
    Some((rotating["done"].as_u64()?, rotating["total"].as_u64()?))
}

fn wait_for_operations(server: &Server) {
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
        let expected = DOCUMENTS as u64 + if n == 0 { extra.load(Ordering::Relaxed) } else { 0 };
        assert!(total >= expected && total <= expected + 1, "cycle {cycle}, n{n}: {total} of {expected}");
        let path = format!("/v1/namespaces/n{n}/documents/d{}?include=text", cycle as usize % DOCUMENTS);
        let text = api.send("GET", &path, &Value::Null).unwrap().ok()["text"].as_str().unwrap().to_owned();
        assert!(text.starts_with(&format!("namespace {n} document")), "cycle {cycle}");
    }
    let lines = api.send("GET", "/v1/audit?limit=5", &Value::Null).unwrap();
    assert_eq!(lines.status, 200, "cycle {cycle}: the audit opens");
}

/// Epochs of the keyspace keys that seal logs and checkpoints, by keyspace.
fn keyspace_epochs(folder: &Path) -> BTreeMap<String, BTreeSet<u32>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(keyspace_epochs(&path));
        } else if let Some(epoch) = std::fs::read(&path).ok().and_then(|bytes| vault::epoch_of(&bytes)) {
            let keyspace = path.parent().unwrap().display().to_string();
            found.entry(keyspace).or_insert_with(BTreeSet::new).insert(epoch.0);
        }
    }
    found
}

/// In a bucket no request may read a deleted object, and each object of the log has keys of its own.
#[test]
fn a_bucket_is_reencrypted_while_it_is_read_and_written() {
    let Some(moto) = Moto::start() else { return };
    let url = format!("s3://{}/rotations", moto.bucket());
    let mut server = server().env("RINGFENCE__LIMITS__FLUSH_ROWS", "64");
    server = server.bucket(&moto.endpoint(), &url, &moto.credentials());
    let mut server = server.start();
    server.tenant("acme");
    let key = server.key("acme", &["search", "ingest", "read_all", "audit"], &[]);
    for n in 0..3 {
        let documents: Vec<_> = (0..DOCUMENTS).map(|d| document(n, d)).collect();
        let path = format!("/v1/namespaces/n{n}/documents");
        server.api(&key).send("POST", &path, &json!({ "documents": documents })).unwrap().ok();
    }
    let (extra, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        // Moto answers one request after another.
        scope.spawn(|| {
            let body = json!({ "query": "document", "mode": "text" });
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
                let next = extra.fetch_add(1, Ordering::Relaxed);
                let written = json!({ "documents": [{ "id": format!("x{next}"), "text": "written in the middle" }] });
                server.api(&key).send("POST", "/v1/namespaces/n0/documents", &written).unwrap().ok();
                server.api(&key).send("POST", "/v1/namespaces/n1/search", &body).unwrap().ok();
            }
        });
        let body = json!({ "mode": "reencrypt" });
        let started = server.control().send("POST", &format!("{KEYS}/rotate"), &body).unwrap().ok();
        wait_for_operations(&server);
        let path = format!("/admin/v1/operations/{}", started["operation"].as_str().unwrap());
        let ended = server.control().send("GET", &path, &Value::Null).unwrap().ok();
        assert_eq!(ended["status"], "succeeded", "{ended:#}");
        assert_eq!(ended["result"]["epoch"], 2, "{ended:#}");
        stop.store(true, Ordering::Relaxed);
    });
    server.kill();
    assert!(server.try_restart());
    for n in 0..3 {
        let path = format!("/v1/namespaces/n{n}/documents/d1");
        server.api(&key).send("GET", &path, &Value::Null).unwrap().ok();
    }
}

#[test]
fn all_tenants_are_rotated_a_few_at_a_time() {
    let server = server().start();
    let ids = ["a", "b", "c", "d", "e"];
    let mut keys = Vec::new();
    for id in ids {
        server.tenant(id);
        let key = server.key(id, &["search", "ingest", "read_all"], &[]);
        server
            .api(&key)
            .send("POST", "/v1/namespaces/n/documents", &json!({ "documents": [document(0, 0)] }))
            .unwrap()
            .ok();
        keys.push(key);
    }
    let mut control = server.control();
    let all = "/admin/v1/keys/rotate";
    assert_eq!(control.send("GET", all, &Value::Null).unwrap().status, 404);
    for (mode, epoch) in [("rewrap", 2), ("reencrypt", 3)] {
        let body = json!({ "mode": mode, "concurrency": 2 });
        let started = control.send("POST", all, &body).unwrap();
        assert_eq!((started.status, started.json()["progress"]["total"].clone()), (202, json!(5)));
        assert_eq!(control.send("POST", all, &body).unwrap().status, 409, "one at a time");
        for _ in 0..600 {
            if control.send("GET", all, &Value::Null).unwrap().status == 404 {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        for (id, key) in ids.iter().zip(&keys) {
            let status = control.send("GET", &format!("/admin/v1/tenants/{id}/keys"), &Value::Null).unwrap().ok();
            assert_eq!(
                (&status["current"], status["epochs"].as_array().map(Vec::len)),
                (&json!(epoch), Some(1)),
                "{id}"
            );
            server.api(key).send("GET", "/v1/namespaces/n/documents/d0", &Value::Null).unwrap().ok();
        }
    }
    let found = control.send("GET", "/admin/v1/certificates", &Value::Null).unwrap().ok();
    assert_eq!(found["certificates"].as_array().map(Vec::len), Some(10), "a statement for each tenant and rotation");
}

/// The new keys open none of the objects that were copied before a re-encryption and put back.
#[test]
fn a_copy_from_before_opens_nothing_under_the_new_keys() {
    let mut server = server().start();
    server.tenant("acme");
    let key = server.key("acme", &["search", "ingest", "read_all"], &[]);
    let documents: Vec<_> = (0..DOCUMENTS).map(|d| document(0, d)).collect();
    let path = "/v1/namespaces/n0/documents";
    server.api(&key).send("POST", path, &json!({ "documents": documents })).unwrap().ok();
    assert_eq!(server.stop(), Some(0));
    let (live, before, after) = (
        server.data_folder().join("ns"),
        server.data_folder().join("../before"),
        server.data_folder().join("../after"),
    );
    copy(&live, &before);
    server.restart();
    server.control().send("POST", &format!("{KEYS}/rotate"), &json!({ "mode": "reencrypt" })).unwrap().ok();
    wait_for_operations(&server);
    assert_eq!(server.stop(), Some(0));

    std::fs::rename(&live, &after).unwrap();
    copy(&before, &live);
    server.restart();
    let one = format!("{path}/d1?include=text");
    let refused = server.api(&key).send("GET", &one, &Value::Null).unwrap();
    assert_eq!((refused.status, refused.code()), (500, "internal".to_owned()), "{}", refused.json());
    let body = json!({ "query": "document", "mode": "text" });
    assert_eq!(server.api(&key).send("POST", "/v1/namespaces/n0/search", &body).unwrap().status, 500);
    assert_eq!(server.stop(), Some(0));

    std::fs::remove_dir_all(&live).unwrap();
    std::fs::rename(&after, &live).unwrap();
    server.restart();
    server.api(&key).send("GET", &one, &Value::Null).unwrap().ok();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).unwrap();
        }
    }
}
