//! Tests of data at rest: no plain byte of a document, title, attribute, id, vector, term, tenant name or key is on the
//! disk; the scan works (it finds them in an unsealed copy); and bytes that were swapped, truncated or flipped make one
//! namespace fail clearly while the others serve.

use crate::server;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};
use testkit::{Rng, Server};

/// Byte sequences that must not be found, with a description of each.
struct Canaries(Vec<(String, Vec<u8>)>);

impl Canaries {
    fn text(&mut self, what: &str, text: &str) {
        self.0.push((format!("{what} {text}"), text.as_bytes().to_vec()));
    }
}

const LETTERS: &[u8] = b"bcdfgklmnprstvz";
const VOWELS: &[u8] = b"aeiou";

/// A pronounceable word that occurs nowhere else, with a suffix that a stemmer removes.
fn word(rng: &Rng) -> String {
    let mut word = String::new();
    for _ in 0..5 {
        word.push(char::from(*rng.pick(LETTERS)));
        word.push(char::from(*rng.pick(VOWELS)));
    }
    word + "ings"
}

fn vector(rng: &Rng) -> Vec<f32> {
    (0..24).map(|_| rng.signed()).collect()
}

/// Fills two tenants, and adds their data to the canaries. Returns a key and a namespace's path for each.
fn fill(server: &Server, canaries: &mut Canaries) -> Vec<(String, String)> {
    fill_with(server, canaries, 50)
}

/// Does the same with `count` documents for each tenant.
fn fill_with(server: &Server, canaries: &mut Canaries, count: usize) -> Vec<(String, String)> {
    let mut keys = Vec::new();
    for (seed, tenant) in [(1, "canarycorp-acme"), (2, "canarycorp-zenith")] {
        let rng = Rng::new(seed);
        server.tenant(tenant);
        canaries.text("tenant", tenant);
        let key = server.key(tenant, &["search", "ingest", "manage", "read_all"], &[]);
        canaries.text("api key", &key);
        let mut api = server.api(&key);
        let namespace = format!("Secretnamespace{seed}");
        canaries.text("namespace", &namespace);
        let path = format!("/v1/namespaces/{namespace}");
        api.send("PUT", &path, &json!({"embedding": {"dimensions": 24}, "distance": "dot"})).unwrap().ok();
        for n in 0..count {
            let words: Vec<String> = (0..10).map(|_| word(&rng)).collect();
            let (id, title, value) =
                (format!("canary-id-{}", word(&rng)), format!("Canarytitle {}", word(&rng)), word(&rng));
            let vector = vector(&rng);
            for w in &words {
                canaries.text("word", w);
                canaries.text("stem", w.trim_end_matches("ings"));
            }
            canaries.text("id", &id);
            canaries.text("title", &title);
            canaries.text("attribute", &value);
            canaries.0.push((format!("vector {n}"), vector[3..7].iter().flat_map(|x| x.to_le_bytes()).collect()));
            let document = json!({"id": id, "title": title, "text": words.join(" "), "vector": vector,
                "attributes": {"canarykey": value}, "readers": ["user:canaryreader"]});
            api.send("POST", &format!("{path}/documents"), &json!({"documents": [document]})).unwrap().ok();
        }
        keys.push((key, path));
    }
    canaries.text("reader", "canaryreader");
    canaries.text("attribute key", "canarykey");
    canaries.text("operator token", server.operator_token());
    canaries.0.push(("root key".into(), vec![0x7a; 32]));
    canaries.text("root key in hexadecimal", &server.root_key());
    keys
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// Canaries that a file or a file name in a folder contains.
fn scan(folder: &Path, canaries: &Canaries) -> Vec<String> {
    let mut bytes = Vec::new();
    for file in files(folder) {
        bytes.extend_from_slice(file.to_string_lossy().as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(&fs::read(&file).unwrap());
        bytes.push(0);
    }
    // An index may store words in another case.
    let lower = bytes.to_ascii_lowercase();
    let is_found = |needle: &[u8]| contains(&bytes, needle) || contains(&lower, &needle.to_ascii_lowercase());
    canaries.0.iter().filter(|(_, needle)| is_found(needle)).map(|(what, _)| what.clone()).collect()
}

fn contains(hay: &[u8], needle: &[u8]) -> bool {
    let Some(first) = needle.first() else { return false };
    let mut rest = hay;
    while let Some(at) = rest.iter().position(|b| b == first) {
        if rest[at..].starts_with(needle) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

#[test]
fn no_plain_byte_is_on_disk_and_the_scan_works() {
    let mut server = server().env("RINGFENCE__LIMITS__FLUSH_ROWS", "20").start();
    let mut canaries = Canaries(Vec::new());
    let keys = fill(&server, &mut canaries);
    assert!(canaries.0.len() > 2_000);
    // Searches and reads leave traces of their own (audit, caches), so some are made.
    for (key, path) in &keys {
        let mut api = server.api(key);
        api.send("POST", &format!("{path}/search"), &json!({"query": "anything", "mode": "text"})).unwrap().ok();
        api.send("POST", &format!("{path}/documents/list"), &json!({"include": ["text"]})).unwrap().ok();
    }
    assert_eq!(scan(&server.data_folder(), &canaries), Vec::<String>::new(), "while it runs");
    assert_eq!(server.stop(), Some(0));
    assert_eq!(scan(&server.data_folder(), &canaries), Vec::<String>::new(), "after it stopped");
    let log = server.stderr();
    let leaked: Vec<_> = canaries.0.iter().filter(|(_, n)| contains(log.as_bytes(), n)).map(|(w, _)| w).collect();
    assert!(leaked.is_empty(), "the log contains {leaked:?}");

    // This is the positive control: the same kind of bytes, unsealed.
    let unsealed = tempfile::tempdir().unwrap();
    write_unsealed(unsealed.path());
    let mut control = Canaries(Vec::new());
    let rng = Rng::new(9);
    for _ in 0..20 {
        control.text("word", &word(&rng));
    }
    control.text("title", "Canarytitle in plain");
    control.text("id", "canary-id-plain");
    control.0.push(("vector".into(), vector(&Rng::new(10))[3..7].iter().flat_map(|x| x.to_le_bytes()).collect()));
    assert_eq!(scan(unsealed.path(), &control).len(), control.0.len(), "the scan does not find everything");
}

/// Writes a segment as the store builds it, without its seal.
fn write_unsealed(folder: &Path) {
    let rng = Rng::new(9);
    let text: Vec<String> = (0..20).map(|_| word(&rng)).collect();
    let vector = vector(&Rng::new(10));
    let bytes = testkit::unsealed_segment("canary-id-plain", "Canarytitle in plain", &text.join(" "), &vector);
    fs::write(folder.join("segment"), bytes).unwrap();
}

/// The documents of one tenant as a list returns them, or the status of the refusal.
fn answers(server: &Server, key: &str, path: &str) -> Result<String, u16> {
    let mut api = server.api(key);
    let listed = api
        .send("POST", &format!("{path}/documents/list"), &json!({"include": ["text", "attributes"], "limit": 1000}))
        .unwrap();
    if listed.status != 200 {
        assert_eq!(listed.code(), "internal", "{:?}", listed.json());
        return Err(listed.status);
    }
    Ok(listed.json()["documents"].to_string())
}

#[test]
fn swapped_truncated_and_flipped_objects_fail_clearly_and_alone() {
    let mut server = server().env("RINGFENCE__LIMITS__FLUSH_ROWS", "20").start();
    // The data exceeds what a checkpoint holds, so that segments are objects of their own.
    let keys = fill_with(&server, &mut Canaries(Vec::new()), 400);
    let originals: Vec<String> = keys.iter().map(|(k, p)| answers(&server, k, p).unwrap()).collect();
    assert_eq!(server.stop(), Some(0));

    let objects: Vec<PathBuf> =
        files(&server.data_folder().join("ns")).into_iter().filter(|p| fs::metadata(p).unwrap().len() > 0).collect();
    assert!(objects.len() >= 4, "{objects:?}");
    let rng = Rng::new(4);
    let mut refused = 0;
    for object in &objects {
        let original = fs::read(object).unwrap();
        for damage in ["flip first", "flip any", "flip last", "cut", "swap"] {
            let mut bytes = original.clone();
            let any = usize::try_from(rng.below(bytes.len() as u64)).unwrap();
            let last = bytes.len() - 1;
            match damage {
                "flip first" => bytes[0] ^= 1,
                "flip any" => bytes[any] ^= 0x10,
                "flip last" => bytes[last] ^= 1,
                "cut" => bytes.truncate(any),
                _ => bytes = fs::read(other_tenants(&objects, object)).unwrap(),
            }
            fs::write(object, &bytes).unwrap();
            server.restart();
            let now: Vec<Result<String, u16>> = keys.iter().map(|(k, p)| answers(&server, k, p)).collect();
            assert!(server.stop().is_some());
            fs::write(object, &original).unwrap();
            let broken = now.iter().filter(|a| a.is_err()).count();
            assert!(broken <= 1, "{damage} in {object:?} broke more than its namespace");
            refused += broken;
            for (answer, before) in now.iter().zip(&originals) {
                // The answer is either complete or a clear error, and nothing in between.
                assert!(
                    answer.as_ref().map_or_else(|status| *status == 500, |a| a == before),
                    "{damage} in {object:?}: {answer:?}"
                );
            }
        }
    }
    assert!(refused > objects.len(), "damage was rarely detected: {refused} of {}", objects.len() * 5);
    server.restart();
    let after: Vec<String> = keys.iter().map(|(k, p)| answers(&server, k, p).unwrap()).collect();
    assert_eq!(after, originals, "with the bytes restored, all answers are as before");
}

/// An object of the same kind in another folder.
fn other_tenants<'a>(objects: &'a [PathBuf], one: &'a Path) -> &'a Path {
    let kind = |p: &Path| p.parent().unwrap().file_name().unwrap().to_owned();
    let folder = |p: &Path| p.components().rev().nth(2).map(|c| c.as_os_str().to_owned());
    objects.iter().find(|o| kind(o) == kind(one) && folder(o) != folder(one)).map_or(one, |p| p.as_path())
}

#[test]
fn a_full_disk_is_reported_and_loses_nothing() {
    // The data folder is a file system of 3 MiB in a mount namespace of its own.
    let is_supported = std::process::Command::new("unshare").args(["-rm", "true"]).status().is_ok_and(|s| s.success());
    assert!(is_supported, "this test needs `unshare -rm` (util-linux, user namespaces)");
    let mut server = server().small_disk("3m").start();
    server.tenant("acme");
    let key = server.key("acme", &["search", "ingest", "delete", "read_all"], &[]);
    let mut api = server.api(&key);
    let mut stored = Vec::new();
    let mut refusal = None;
    for n in 0..400 {
        let id = format!("page-{n}");
        let body = json!({"documents": [{"id": id, "text": format!("{n} {}", "filling the disk ".repeat(1_000))}]});
        let reply = api.send("POST", "/v1/namespaces/full/documents", &body).unwrap();
        match reply.status {
            200 => stored.push(id),
            _ => {
                refusal = Some(reply);
                break;
            }
        }
    }
    let refusal = refusal.expect("3 MiB are full before 400 documents of 17 kB");
    assert_eq!(refusal.code(), "storage_full", "{}", refusal.json());
    let list = |api: &mut testkit::Http| -> Vec<String> {
        let body = json!({"limit": 1000});
        let reply = api.send("POST", "/v1/namespaces/full/documents/list", &body).unwrap().ok();
        reply["documents"].as_array().unwrap().iter().map(|d| d["id"].as_str().unwrap().to_owned()).collect()
    };
    let have = list(&mut api);
    assert!(stored.iter().all(|id| have.contains(id)), "an acknowledged document is gone while the disk is full");
    assert!(server.runs());
    let _: Value = server.control().send("GET", "/admin/v1/tenants", &Value::Null).unwrap().ok();
}
