//! The bound on erasure, on the real server: what was deleted plainly is in no file of before behind it, although nobody
//! asks for its namespace after a start; and operators are told where that does not hold.

use crate::house::{ALL, House};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

const HOUR: Duration = Duration::from_secs(3_600);
/// Long enough that a namespace of them stands in an object.
const MANY: usize = 300;

/// Every file of every namespace, with its bytes.
fn namespaces(house: &House) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![house.folder().join("ns")];
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

fn is(path: &Path, kind: &str) -> bool {
    path.file_name().unwrap().to_str().unwrap().starts_with(kind)
}

/// A namespace with one document more than `others`, and the key to it.
fn fill(house: &House, tenant: &str, others: usize) -> String {
    house.tenant(tenant);
    let key = house.key(tenant, ALL, json!({}));
    let text = |n: usize| format!("some words about number {n}. ").repeat(if others < MANY { 1 } else { 40 });
    let mut documents: Vec<_> = (0..others).map(|n| json!({ "id": n.to_string(), "text": text(n) })).collect();
    documents.push(json!({ "id": "gone", "text": "the xylophonist" }));
    for some in documents.chunks(50) {
        let body = json!({ "documents": some });
        house.data(Some(&key)).send("POST", "/v1/namespaces/docs/documents", &body).unwrap().ok();
    }
    key
}

fn delete(house: &House, key: &str) {
    let body = json!({ "ids": ["gone"] });
    let deleted = house.data(Some(key)).send("POST", "/v1/namespaces/docs/documents/delete", &body).unwrap().ok();
    assert_eq!(deleted["deleted"], 1, "{deleted:#}");
}

fn search(house: &House, key: &str) -> Value {
    let body = json!({ "query": "words xylophonist", "mode": "text", "top_k": 20 });
    house.data(Some(key)).send("POST", "/v1/namespaces/docs/search", &body).unwrap().ok()["hits"].clone()
}

fn metric(house: &House, name: &str) -> u64 {
    let page = house.admin().send("GET", "/metrics", &Value::Null).unwrap().body;
    let page = String::from_utf8(page).unwrap();
    let line = page.lines().find(|line| line.split(' ').next() == Some(name)).unwrap_or_else(|| panic!("no {name}"));
    line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64
}

/// Waits for a walk that begins from here on, and ends.
fn walk(house: &House) {
    let before = metric(house, "ringfence_erasure_walks_total");
    house.pass(3 * HOUR);
    for _ in 0..1_200 {
        if metric(house, "ringfence_erasure_walks_total") > before {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("no walk ends within a minute");
}

fn told(house: &House) -> usize {
    let acts = house.admin().send("GET", "/admin/v1/audit?limit=1000", &Value::Null).unwrap().body;
    String::from_utf8(acts).unwrap().matches("erase.overdue").count()
}

#[test]
fn what_was_deleted_leaves_every_file_although_nobody_comes_back() {
    let mut house = House::open();
    // In an object, inline in a checkpoint, and of a tenant that is suspended.
    let keys: Vec<_> = [("acme", MANY), ("umbra", 9), ("wayne", MANY)].map(|(t, n)| fill(&house, t, n)).into();
    house.stop();
    house.start();
    for key in &keys {
        delete(&house, key);
    }
    let before = search(&house, &keys[0]);
    house.admin().send("POST", "/admin/v1/tenants/wayne/suspend", &json!({})).unwrap().ok();
    house.stop();
    let held = namespaces(&house);
    assert_eq!(held.keys().filter(|path| is(path, "seg-")).count(), 2);
    assert!(held.keys().filter(|path| is(path, "log-")).count() >= 3);

    house.start();
    walk(&house);
    assert_eq!(metric(&house, "ringfence_erasure_namespaces"), 3);
    assert!(metric(&house, "ringfence_erasure_oldest_seconds") >= 3 * 3_600);
    assert_eq!(namespaces(&house), held, "nothing is due, and a look changes nothing");
    assert_eq!(metric(&house, "ringfence_namespaces_open"), 0, "and opens nothing");

    house.pass(15 * HOUR);
    walk(&house);
    let after = namespaces(&house);
    let still: Vec<_> =
        held.keys().filter(|path| is(path, "seg-") || is(path, "log-")).filter(|p| after.contains_key(*p)).collect();
    assert_eq!(still, Vec::<&PathBuf>::new(), "every file that held it is gone");
    assert_eq!(after.keys().filter(|path| is(path, "seg-")).count(), 2);
    let numbers =
        ["overdue", "unseen", "oldest_seconds"].map(|name| metric(&house, &format!("ringfence_erasure_{name}")));
    assert_eq!((numbers, told(&house)), ([0; 3], 0));
    assert_eq!(search(&house, &keys[0]), before, "no answer has changed");
    house.admin().send("POST", "/admin/v1/tenants/wayne/resume", &json!({})).unwrap().ok();
    assert_eq!(search(&house, &keys[2]).as_array().unwrap().len(), 20);

    // The bytes of before, put back: nothing names them, and they go.
    house.stop();
    for (path, bytes) in held.iter().filter(|(path, _)| is(path, "seg-")) {
        fs::write(path, bytes).unwrap();
    }
    house.start();
    walk(&house);
    assert!(held.keys().filter(|path| is(path, "seg-")).all(|path| !path.exists()));
    assert_eq!(search(&house, &keys[0]), before);
}

#[test]
fn operators_are_told_when_the_bound_may_not_hold() {
    let mut house = House::open();
    let keys: Vec<_> = ["acme", "umbra"].map(|tenant| fill(&house, tenant, MANY)).into();
    house.stop();
    house.start();
    delete(&house, &keys[0]);
    house.stop();
    // Its object cannot be read, so it cannot be rewritten.
    let held = namespaces(&house);
    let objects: Vec<_> = held.keys().filter(|path| is(path, "seg-")).collect();
    assert_eq!(objects.len(), 2);
    objects.iter().for_each(|path| fs::rename(path, path.with_extension("away")).unwrap());
    house.start();
    house.pass(18 * HOUR);
    walk(&house);
    assert_eq!((metric(&house, "ringfence_erasure_unseen"), told(&house)), (1, 0), "it may still be done in time");
    for _ in 0..3 {
        walk(&house);
    }
    assert_eq!((metric(&house, "ringfence_erasure_unseen"), told(&house)), (1, 1), "once");
    house.stop();
    objects.iter().for_each(|path| fs::rename(path.with_extension("away"), path).unwrap());
    house.start();
    walk(&house);
    assert_eq!(metric(&house, "ringfence_erasure_unseen"), 0);
    assert_eq!(objects.iter().filter(|path| path.exists()).count(), 1, "that of the other tenant stays as it is");
}
