//! Tests of the server's own keys on the real binary: the runbook for a change of the root key file, step by step, and
//! `kill -9` in the middle of rotations.

use crate::{load::setting, server};
use serde_json::{Value, json};
use std::{path::Path, process::Command, time::Duration};
use testkit::{Rng, Server};
use vault::PublicKey;

const SERVER: &str = "/admin/v1/keys/server";

fn searches(server: &Server, key: &str) -> bool {
    let body = json!({ "query": "figures", "mode": "text" });
    let found = server.api(key).send("POST", "/v1/namespaces/docs/search", &body).unwrap().ok();
    found["hits"].as_array().is_some_and(|hits| hits.len() == 1)
}

fn fill(server: &Server) -> String {
    server.tenant("acme");
    let key = server.key("acme", &["search", "ingest", "read_all", "audit"], &[]);
    let body = json!({ "documents": [{ "id": "one", "text": "quarterly figures" }] });
    server.api(&key).send("POST", "/v1/namespaces/docs/documents", &body).unwrap().ok();
    assert!(searches(server, &key));
    key
}

/// Runs a command as an operator would type it.
fn ringfence(server: &Server, folder: &Path, args: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
    let out = command
        .env_clear()
        .env("HOME", folder)
        .env("RINGFENCE_ADMIN_URL", format!("http://{}", server.control_address()))
        .env("RINGFENCE_OPERATOR_TOKEN", server.operator_token())
        .args(args)
        .output()
        .unwrap();
    (out.status.success(), String::from_utf8([out.stdout, out.stderr].concat()).unwrap())
}

#[test]
fn a_root_key_file_is_changed_by_the_runbook() {
    let folder = tempfile::tempdir().unwrap();
    let [old, new] = ["old.key", "new.key"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    let mut server = server().env("RINGFENCE_ROOT_KEY", "").env("RINGFENCE_ROOT_KEY_FILE", &old).start();
    let key = fill(&server);
    let run = |server: &Server, args: &[&str]| {
        let (ok, output) = ringfence(server, folder.path(), args);
        assert!(ok, "{args:?}: {output}");
        output
    };
    let public = run(&server, &["key", "public"]);

    // With a new file in addition to the old one, the new key wraps and both open.
    server.stop();
    server.set_env("RINGFENCE_ROOT_KEY_FILE", &new);
    server.set_env("RINGFENCE_OLD_ROOT_KEY_FILE", &old);
    server.restart();
    assert!(searches(&server, &key));
    let note = run(&server, &["--json", "key", "rotate", "--server", "--reencrypt"]);
    let note: Value = serde_json::from_str(&note).unwrap();
    let public = PublicKey::parse(public.trim()).unwrap();
    let stated: Value = serde_json::from_str(public.open(note["note"].as_str().unwrap()).unwrap()).unwrap();
    assert_eq!((&stated["mode"], &note["kind"]), (&json!("reencrypt"), &json!("server.rotated")), "{stated:#}");
    let status = run(&server, &["key", "status", "--server"]);
    assert!(
        status.contains("control keyspace: key root of provider local") && status.contains("epochs [2]"),
        "{status}"
    );
    run(&server, &["key", "rotate", "--all"]);
    for _ in 0..200 {
        if !ringfence(&server, folder.path(), &["key", "rotating"]).0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(!ringfence(&server, folder.path(), &["key", "rotating"]).0, "every tenant is done");
    let status = run(&server, &["key", "status", "acme"]);
    assert!(status.contains("current epoch 2"), "{status}");

    // The old file is no longer needed, and opens nothing.
    server.stop();
    server.set_env("RINGFENCE_OLD_ROOT_KEY_FILE", "");
    server.restart();
    assert!(searches(&server, &key));
    let acts = server.control().send("GET", "/admin/v1/audit?limit=1000", &Value::Null).unwrap().body;
    let acts = String::from_utf8(acts).unwrap();
    assert!(acts.contains("tenant.create") && acts.contains("key.reencrypt.server"), "{acts}");
    server.stop();
    server.set_env("RINGFENCE_ROOT_KEY_FILE", &old);
    assert!(!server.try_restart(), "the old file opens nothing");
    server.kill();
    server.set_env("RINGFENCE_ROOT_KEY_FILE", &new);
    // A missing old file is an error, and none is created in its place.
    server.set_env("RINGFENCE_OLD_ROOT_KEY_FILE", folder.path().join("none.key").to_str().unwrap());
    assert!(!server.try_restart());
    assert!(!folder.path().join("none.key").exists());
}

#[test]
fn rotations_of_the_servers_own_keys_survive_kills_at_random_moments() {
    let kills = setting("RINGFENCE_SERVER_ROTATION_KILLS", 12);
    let mut server = server().start();
    let key = fill(&server);
    let mut interrupted = 0;
    for cycle in 0..kills {
        let rng = Rng::new(cycle);
        let body = json!({ "mode": if cycle % 2 == 0 { "reencrypt" } else { "rewrap" } });
        std::thread::scope(|scope| {
            let (server, body) = (&server, &body);
            // The reply is lost when the server is killed.
            scope.spawn(move || server.control().send("POST", &format!("{SERVER}/rotate"), body));
            std::thread::sleep(Duration::from_micros(rng.below(40_000)));
            server.kill_now();
        });
        server.kill();
        assert!(server.try_restart(), "cycle {cycle}: the server does not restart: {}", server.stderr());
        let status = |server: &Server| server.control().send("GET", SERVER, &Value::Null).unwrap().ok();
        interrupted += u64::from(!status(&server)["rotating"].is_null());
        let mut last = Value::Null;
        for _ in 0..100 {
            last = status(&server);
            if last["rotating"].is_null() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let one = |list: &Value| list.as_array().map(Vec::len) == Some(1);
        assert!(last["rotating"].is_null() && one(&last["control_epochs"]) && one(&last["audit_epochs"]), "{last:#}");
        assert!(searches(&server, &key), "cycle {cycle}");
        let acts = server.control().send("GET", "/admin/v1/audit?limit=1000", &Value::Null).unwrap();
        assert_eq!(acts.status, 200, "the operators' audit opens");
    }
    let done =
        server.control().send("POST", &format!("{SERVER}/rotate"), &json!({ "mode": "reencrypt" })).unwrap().ok();
    assert_eq!(done["kind"], "server.rotated");
    eprintln!("{interrupted} of {kills} kills left a rotation that the next start continued");
}
