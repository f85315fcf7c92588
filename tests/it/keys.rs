//! Tests of keys that customers hold, through HTTP and a real OpenBao: withdrawn, restored, destroyed and changed.

mod canary;

use crate::in_process::{ALL_SCOPES, TestServer, local};
use canary::Canary;
use kernel::{Clock as _, SystemClock};
use registry::KeyConfig;
use serde_json::{Value, json};
use std::{process::Command, sync::Arc, thread, time::Duration};
use testkit::{Http, OpenBao, ProxyMode, SlowProxy};
use vault::{Providers, PublicKey, TransitConfig, TransitProvider, TransitToken};
use zeroize::Zeroizing;

/// The times are as short as a configuration allows, so that the tests take seconds.
const LEASE: Duration = Duration::from_secs(3);
const OUTAGE: Duration = Duration::from_secs(7);

/// A server whose tenants may have their keys in an OpenBao behind a proxy.
struct KeyFixture {
    server: TestServer,
    bao: OpenBao,
    proxy: SlowProxy,
}

impl KeyFixture {
    fn open() -> Option<Self> {
        Self::open_with(LEASE, OUTAGE)
    }

    fn open_with(lease: Duration, outage_max: Duration) -> Option<Self> {
        let bao = OpenBao::start()?;
        let proxy = SlowProxy::in_front_of(bao.socket());
        let transit = |name: &str, key_per_tenant| {
            let config = TransitConfig {
                name: name.to_owned(),
                address: proxy.address(),
                mount: "transit".to_owned(),
                namespace: None,
                key: "ringfence".to_owned(),
                key_per_tenant,
                token: TransitToken::Value(Zeroizing::new(bao.token().to_owned())),
                ca_certificates: None,
                timeout: Duration::from_secs(1),
            };
            Arc::new(TransitProvider::new(config).unwrap())
        };
        let providers = Providers::from(local()).with(transit("bao", false)).with(transit("own", true));
        let keys = KeyConfig { lease, outage_max, ..KeyConfig::from(providers) };
        Some(Self { server: TestServer::start_with_keys(keys, &[]), bao, proxy })
    }

    /// Creates a tenant with this key, and stores one document.
    fn tenant(&self, id: &str, key: &Value, text: &str) -> KeyTenant {
        let mut admin = self.server.admin();
        admin.send("POST", "/admin/v1/tenants", &json!({ "id": id, "key": key })).unwrap().ok();
        let tenant = KeyTenant { id: id.to_owned(), key: self.server.key(id, ALL_SCOPES, json!({})) };
        tenant.put(&self.server, "one", text);
        tenant
    }

    /// Creates a tenant whose key `id` is created in OpenBao as a customer would do it.
    fn customer(&self, id: &str, text: &str) -> KeyTenant {
        self.bao.create_key(id, true);
        self.tenant(id, &json!({ "provider": "bao", "name": id }), text)
    }

    fn key_state(&self, id: &str) -> Value {
        self.server.admin().send("GET", &format!("/admin/v1/tenants/{id}/keys"), &Value::Null).unwrap().ok()["key"]
            .clone()
    }

    fn wait_for(&self, what: &str, most: Duration, mut ready: impl FnMut() -> bool) -> Duration {
        let started = now();
        while !ready() {
            assert!(now() - started < most, "{what} took longer than {most:?}");
            thread::sleep(Duration::from_millis(50));
        }
        now() - started
    }

    /// Operations on a tenant's key in the operators' audit, oldest first.
    fn key_operations(&self, id: &str) -> Vec<String> {
        let lines = self.server.admin().send("GET", "/admin/v1/audit?limit=1000", &Value::Null).unwrap().body;
        let lines = String::from_utf8(lines).unwrap();
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let of_tenant = lines.filter(|line| line["unmapped"]["tenant"] == id);
        let acts = of_tenant.map(|line| line["api"]["operation"].as_str().unwrap_or_default().to_owned());
        acts.filter(|act| matches!(&**act, "key.denied" | "key.outage" | "key.sealed" | "key.restored")).collect()
    }

    fn operation(&self, started: &Value) -> Value {
        let path = format!("/admin/v1/operations/{}", started["operation"].as_str().unwrap());
        let mut last = Value::Null;
        self.wait_for("the operation", Duration::from_secs(30), || {
            last = self.server.admin().send("GET", &path, &Value::Null).unwrap().ok();
            !matches!(last["status"].as_str(), Some("pending" | "running"))
        });
        last
    }
}

struct KeyTenant {
    id: String,
    key: String,
}

impl KeyTenant {
    fn data(&self, server: &TestServer) -> Http {
        server.data(Some(&self.key))
    }

    fn put(&self, server: &TestServer, id: &str, text: &str) {
        let body = json!({ "documents": [{ "id": id, "text": text }] });
        self.data(server).send("POST", "/v1/namespaces/docs/documents", &body).unwrap().ok();
    }

    /// Status of a search. If it is 200, the text must be found.
    fn search(&self, server: &TestServer) -> u16 {
        let body = json!({ "query": "quarterly figures", "mode": "text" });
        let reply = self.data(server).send("POST", "/v1/namespaces/docs/search", &body).unwrap();
        if reply.status == 200 {
            assert_eq!(reply.json()["hits"].as_array().map(Vec::len), Some(1), "nothing was lost");
        } else {
            assert_eq!((reply.status, reply.code()), (423, "key_unavailable".to_owned()));
        }
        reply.status
    }
}

const TEXT: &str = "the quarterly figures of a customer";

/// Real time, in which the server's own clock runs.
fn now() -> Duration {
    static CLOCK: std::sync::OnceLock<SystemClock> = std::sync::OnceLock::new();
    CLOCK.get_or_init(SystemClock::new).monotonic()
}

#[test]
fn a_withdrawn_key_ends_reading_within_the_lease_and_leaves_nothing_in_memory() {
    let Some(fixture) = KeyFixture::open() else { return };
    let server = &fixture.server;
    let canary = Canary::new();
    let victim = canary.with("the quarterly figures of ", |text| fixture.customer("victim", text));
    let other = fixture.customer("other", TEXT);
    let local_tenant = fixture.tenant("home", &Value::Null, TEXT);
    assert_eq!([victim.search(server), other.search(server), local_tenant.search(server)], [200; 3]);
    assert!(canary.in_memory() > 0, "the scan finds the text while the server holds it");

    fixture.bao.soft_delete("victim");
    let taken = now();
    let mut last_read = taken;
    fixture.wait_for("the end of reading", LEASE + Duration::from_secs(3), || {
        assert_eq!([other.search(server), local_tenant.search(server)], [200; 2], "other tenants are not affected");
        // The time of the request counts, since an answer may take long.
        let sent = now();
        let reads = victim.search(server) == 200;
        if reads {
            last_read = sent;
        }
        !reads
    });
    let lasted = last_read - taken;
    assert!(lasted <= LEASE, "read for {lasted:?} with a lease of {LEASE:?}");
    fixture.wait_for("the seal", Duration::from_secs(3), || fixture.key_state("victim")["state"] == "sealed");
    assert_eq!(fixture.key_state("victim")["why"], "disabled");
    fixture.wait_for("the canary's end", Duration::from_secs(10), || canary.in_memory() == 0);
    assert_eq!([other.search(server), local_tenant.search(server)], [200; 2]);

    fixture.bao.soft_restore("victim");
    let back = fixture.wait_for("the return", Duration::from_secs(15), || victim.search(server) == 200);
    eprintln!("read for {lasted:?} after the key was disabled, and again {back:?} after it was restored");
    assert_eq!(fixture.key_state("victim")["state"], "active");
    canary.with("the quarterly figures of ", |text| victim.put(server, "one", text));
    let key_operations = || fixture.key_operations("victim");
    fixture.wait_for("the audit", Duration::from_secs(5), || key_operations().len() >= 3);
    assert_eq!(key_operations(), ["key.denied", "key.sealed", "key.restored"], "each once, in order");
    assert_eq!(fixture.key_operations("other"), [""; 0]);
}

#[test]
fn every_kind_of_refusal_ends_reading() {
    let Some(fixture) = KeyFixture::open() else { return };
    let server = &fixture.server;
    let retired = fixture.customer("retired", TEXT);
    let deleted = fixture.customer("deleted", TEXT);
    fixture.bao.rotate("retired");
    fixture.bao.set_min_decryption_version("retired", 2);
    fixture.bao.delete("deleted");
    fixture.wait_for("the end of reading", LEASE + Duration::from_secs(3), || {
        retired.search(server) == 423 && deleted.search(server) == 423
    });
    assert_eq!(fixture.key_state("retired")["why"], "disabled");
    assert_eq!(fixture.key_state("deleted")["why"], "missing");
    fixture.bao.set_min_decryption_version("retired", 1);
    fixture.wait_for("the return", Duration::from_secs(15), || retired.search(server) == 200);
    // Another key of the same name does not unwrap.
    fixture.bao.create_key("deleted", true);
    fixture.wait_for("another answer", Duration::from_secs(15), || {
        deleted.search(server);
        fixture.key_state("deleted")["why"] == "not_authentic"
    });
}

#[test]
fn an_outage_is_tolerated_up_to_its_limit() {
    let Some(fixture) = KeyFixture::open() else { return };
    let server = &fixture.server;
    let tenant = fixture.customer("acme", TEXT);
    for mode in [ProxyMode::Refuse, ProxyMode::Hang, ProxyMode::Delay(Duration::from_millis(700))] {
        fixture.proxy.set(mode);
        let until = now() + LEASE + Duration::from_secs(1);
        while now() < until {
            assert_eq!(tenant.search(server), 200, "{mode:?}");
            thread::sleep(Duration::from_millis(100));
        }
        fixture.proxy.set(ProxyMode::Pass);
        fixture.wait_for("the answer", Duration::from_secs(10), || {
            tenant.search(server) == 200 && fixture.key_state("acme")["state"] == "active"
        });
    }
    fixture.proxy.set(ProxyMode::Hang);
    let started = now();
    fixture.wait_for("the limit", OUTAGE + Duration::from_secs(4), || tenant.search(server) == 423);
    assert!(now() - started + LEASE > OUTAGE, "not before: {:?}", now() - started);
    fixture.wait_for("the seal", Duration::from_secs(3), || fixture.key_state("acme")["state"] == "sealed");
    assert_eq!(fixture.key_state("acme")["why"], "outage");
    fixture.proxy.set(ProxyMode::Pass);
    fixture.wait_for("the return", Duration::from_secs(15), || tenant.search(server) == 200);
}

#[test]
fn a_restart_of_the_provider_is_an_outage() {
    let Some(mut fixture) = KeyFixture::open() else { return };
    let tenant = fixture.customer("acme", TEXT);
    fixture.bao.kill();
    thread::sleep(Duration::from_secs(2));
    assert_eq!(tenant.search(&fixture.server), 200);
    fixture.bao.restart();
    thread::sleep(LEASE);
    assert_eq!(tenant.search(&fixture.server), 200);
    fixture.wait_for("the answer", Duration::from_secs(10), || {
        tenant.search(&fixture.server);
        fixture.key_state("acme")["state"] == "active"
    });
}

#[test]
fn a_tenant_moves_between_keys_and_providers() {
    let Some(fixture) = KeyFixture::open() else { return };
    let server = &fixture.server;
    let tenant = fixture.tenant("acme", &Value::Null, TEXT);
    fixture.bao.create_key("theirs", true);
    let rotate = |key: Value| {
        let body = json!({ "mode": "rewrap", "key": key });
        let started = server.admin().send("POST", "/admin/v1/tenants/acme/keys/rotate", &body).unwrap().ok();
        fixture.operation(&started)
    };
    let done = rotate(json!({ "provider": "bao", "name": "theirs" }));
    assert_eq!(done["status"], "succeeded", "{done:#}");
    assert_eq!(tenant.search(server), 200);
    fixture.bao.soft_delete("theirs");
    fixture.wait_for("the end of reading", LEASE + Duration::from_secs(3), || tenant.search(server) == 423);
    fixture.bao.soft_restore("theirs");
    fixture.wait_for("the return", Duration::from_secs(15), || tenant.search(server) == 200);

    let done = rotate(json!({ "provider": "local" }));
    assert_eq!(done["status"], "succeeded", "{done:#}");
    fixture.bao.delete("theirs");
    thread::sleep(LEASE + Duration::from_secs(1));
    assert_eq!(tenant.search(server), 200, "nothing is wrapped under the old key");

    let body = json!({ "mode": "rewrap", "key": { "provider": "nobody" } });
    let refused = server.admin().send("POST", "/admin/v1/tenants/acme/keys/rotate", &body).unwrap();
    assert_eq!(refused.status, 400, "{:?}", refused.json());
    let body = json!({ "mode": "rewrap", "key": { "provider": "bao", "name": "mistyped" } });
    let refused = server.admin().send("POST", "/admin/v1/tenants/acme/keys/rotate", &body).unwrap();
    assert_eq!((refused.status, refused.code()), (423, "key_unavailable".to_owned()));
    assert_eq!(tenant.search(server), 200, "the refused requests changed nothing");
    fixture.bao.create_key("flat", false);
    let body = json!({ "id": "b", "key": { "provider": "bao", "name": "flat" } });
    let refused = server.admin().send("POST", "/admin/v1/tenants", &body).unwrap();
    assert!(refused.status == 400 && refused.json().to_string().contains("derived=true"), "{:?}", refused.json());
}

#[test]
fn an_operator_of_role_keys_may_not_name_another_tenants_key() {
    let Some(fixture) = KeyFixture::open() else { return };
    let server = &fixture.server;
    let tenant = fixture.customer("acme", TEXT);
    fixture.customer("other", TEXT);
    fixture.tenant("owner", &json!({ "provider": "own" }), TEXT);
    let made = fixture.key_state("owner")["name"].as_str().unwrap().to_owned();
    fixture.bao.create_key("acme-next", true);
    let body = json!({ "name": "rotator", "role": "keys" });
    let rotator = server.admin().send("POST", "/admin/v1/operators", &body).unwrap().ok();
    let rotator = rotator["token"].as_str().unwrap();
    let rotate = |mut operator: Http, id: &str, provider: &str, name: &str| {
        let body = json!({ "mode": "rewrap", "key": { "provider": provider, "name": name } });
        operator.send("POST", &format!("/admin/v1/tenants/{id}/keys/rotate"), &body).unwrap()
    };
    let refused = |reply: testkit::Reply| {
        assert_eq!((reply.status, reply.code()), (403, "forbidden".to_owned()), "{:?}", reply.json());
        assert_eq!(reply.json()["error"]["param"], "key.name");
    };
    // This holds for every provider: two of them reach the same service.
    for provider in ["bao", "own"] {
        refused(rotate(server.control(Some(rotator)), "acme", provider, "other"));
        refused(rotate(server.control(Some(rotator)), "acme", provider, &made));
        refused(rotate(server.admin(), "acme", provider, &made));
        let body = json!({ "id": "late", "key": { "provider": provider, "name": &made } });
        refused(server.admin().send("POST", "/admin/v1/tenants", &body).unwrap());
        let body = json!({ "mode": "rewrap", "key": { "provider": provider, "name": "other" } });
        refused(server.control(Some(rotator)).send("POST", "/admin/v1/keys/server/rotate", &body).unwrap());
    }
    let started = rotate(server.control(Some(rotator)), "acme", "bao", "acme-next");
    assert_eq!(started.status, 202, "{:?}", started.json());
    assert_eq!(fixture.operation(&started.json())["status"], "succeeded");
    assert_eq!((tenant.search(server), &fixture.key_state("acme")["name"]), (200, &json!("acme-next")));
    // Only an admin decides whether two tenants share a key.
    refused(rotate(server.control(Some(rotator)), "other", "bao", "acme-next"));
    let started = rotate(server.admin(), "other", "bao", "acme-next");
    assert_eq!(fixture.operation(&started.json())["status"], "succeeded");
}

#[test]
fn a_tenants_own_key_is_destroyed_with_it_and_that_is_certified() {
    let Some(fixture) = KeyFixture::open() else { return };
    let server = &fixture.server;
    let own = json!({ "provider": "own" });
    let tenant = fixture.tenant("acme", &own, TEXT);
    let name = fixture.key_state("acme")["name"].as_str().unwrap().to_owned();
    assert_eq!(fixture.bao.key_info(&name)["derived"], true);
    let body = json!({ "mode": "rewrap" });
    let started = server.admin().send("POST", "/admin/v1/tenants/acme/keys/rotate", &body).unwrap().ok();
    assert_eq!(fixture.operation(&started)["status"], "succeeded");
    assert_eq!(
        fixture.bao.key_info(&name)["min_available_version"],
        2,
        "the previous version is gone at the provider too"
    );
    assert_eq!(tenant.search(server), 200);

    let mut admin = server.admin();
    admin.send("POST", "/admin/v1/tenants/acme/suspend", &json!({})).unwrap().ok();
    let started = admin.send("DELETE", "/admin/v1/tenants/acme", &Value::Null).unwrap().ok();
    let done = fixture.operation(&started);
    assert_eq!(done["status"], "succeeded", "{done:#}");
    let key = admin.send("GET", "/admin/v1/signing-key", &Value::Null).unwrap().ok();
    let key = PublicKey::parse(key["key"].as_str().unwrap()).unwrap();
    let note = done["result"]["certificate"].as_str().unwrap();
    let stated: Value = serde_json::from_str(key.open(note).unwrap()).unwrap();
    assert_eq!(stated["provider_receipts"][0]["destroyed"], true, "{stated:#}");
    let list = |name: &str| stated[name].as_array().unwrap().clone();
    assert!(list("attempts").iter().all(|a| a["refused"] == true), "{stated:#}");
    assert_eq!(list("attempts").len(), 4, "the journal twice, the provider for the key and for what it wrapped");
    let checks = [list("sampled_objects"), vec![stated["canary"].clone()]].concat();
    assert!(checks.len() > 3, "{stated:#}");
    assert!(checks.iter().all(|t| t["opened_before"] == true && t["refused"] == true), "{stated:#}");
    let status_of_key = |name: &str| {
        let path = format!("transit/keys/{name}");
        fixture.bao.request(fixture.bao.token(), "GET", &path, &Value::Null).unwrap().status
    };
    assert_eq!(status_of_key(&name), 404, "the provider no longer has the key");

    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("erased.note");
    let verify = |note: &str, more: &[&str]| {
        std::fs::write(&file, note).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
        let out = command.env_clear().args(["audit", "verify"]).arg(&file).args(more).output().unwrap();
        (out.status.code(), String::from_utf8([out.stdout, out.stderr].concat()).unwrap())
    };
    let pinned = key.to_string();
    let (code, output) = verify(note, &["--key", &pinned]);
    assert!(
        code == Some(0) && output.contains("the signature holds") && output.contains("no longer knows the key"),
        "{output}"
    );
    assert!(output.contains("canary:") && output.contains("opened before, then refused"), "{output}");
    let (code, output) = verify(&note.replace("acme", "acne"), &["--key", &pinned]);
    assert!(code == Some(1) && output.contains("is invalid"), "{output}");
    let (code, output) = verify(note, &[]);
    assert!(code == Some(1) && output.contains("ringfence key public"), "{output}");

    let recreated = fixture.tenant("acme", &own, TEXT);
    let second = fixture.key_state(&recreated.id)["name"].as_str().unwrap().to_owned();
    assert_ne!(second, name, "another incarnation has another key");
    // The tenant's own key is also destroyed when the tenant moves to another key.
    let body = json!({ "mode": "rewrap", "key": { "provider": "local" } });
    let started = server.admin().send("POST", "/admin/v1/tenants/acme/keys/rotate", &body).unwrap().ok();
    assert_eq!(fixture.operation(&started)["status"], "succeeded");
    assert_eq!(status_of_key(&second), 404);
    assert_eq!(recreated.search(server), 200);
    assert_eq!(tenant.data(server).send("GET", "/v1/whoami", &Value::Null).unwrap().status, 401);
}

#[test]
fn a_tenant_whose_key_is_gone_is_erased_with_every_object() {
    let Some(fixture) = KeyFixture::open() else { return };
    let server = &fixture.server;
    let tenant = fixture.customer("gone", TEXT);
    let other = fixture.customer("other", TEXT);
    let namespaces = || {
        let shards = std::fs::read_dir(server.folder().join("ns")).unwrap();
        shards.map(|shard| std::fs::read_dir(shard.unwrap().path()).unwrap().count()).sum::<usize>()
    };
    assert_eq!(namespaces(), 2);
    fixture.bao.delete("gone");
    fixture.wait_for("the end of reading", LEASE + Duration::from_secs(3), || tenant.search(server) == 423);
    fixture.wait_for("the seal", Duration::from_secs(3), || fixture.key_state("gone")["state"] == "sealed");
    let mut admin = server.admin();
    admin.send("POST", "/admin/v1/tenants/gone/suspend", &json!({})).unwrap().ok();
    let started = admin.send("DELETE", "/admin/v1/tenants/gone", &Value::Null).unwrap().ok();
    let done = fixture.operation(&started);
    assert_eq!(done["status"], "succeeded", "{done:#}");
    assert_eq!(namespaces(), 1, "its namespace was found by its number");
    assert_eq!(other.search(server), 200);
    let key = admin.send("GET", "/admin/v1/signing-key", &Value::Null).unwrap().ok();
    let key = PublicKey::parse(key["key"].as_str().unwrap()).unwrap();
    let stated: Value =
        serde_json::from_str(key.open(done["result"]["certificate"].as_str().unwrap()).unwrap()).unwrap();
    let checks = stated["sampled_objects"].as_array().unwrap();
    let is_refused = |t: &Value| t["opened_before"] == false && t["refused"] == true;
    assert!(!checks.is_empty() && checks.iter().all(is_refused) && stated["canary"].is_null(), "{stated:#}");
    assert_eq!(stated["keyspaces_found_by_id"].as_array().map(Vec::len), Some(1), "{stated:#}");
}

#[test]
fn a_tenant_that_is_suspended_and_resumed_under_load_keeps_one_audit() {
    let server = TestServer::start_default();
    server.tenant("acme");
    let key = server.key("acme", ALL_SCOPES, json!({}));
    let done = std::sync::atomic::AtomicBool::new(false);
    let written: usize = thread::scope(|scope| {
        let (server, key, done) = (&server, &key, &done);
        let write = move |n: usize| {
            let (mut data, mut written) = (server.data(Some(key)), 0);
            // The number of writes is limited, so that all records are on one page of the audit.
            for _ in 0..200 {
                if done.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                thread::sleep(Duration::from_millis(2));
                let body = json!({ "documents": [{ "id": format!("d{n}"), "text": TEXT }] });
                let reply = data.send("POST", "/v1/namespaces/docs/documents", &body).unwrap();
                match reply.status {
                    200 => written += 1,
                    // The namespace is being closed, or is closed.
                    status => {
                        let code = reply.code();
                        assert!(matches!(&*code, "tenant_suspended" | "overloaded"), "{status} {code}");
                    }
                }
            }
            written
        };
        let writers: Vec<_> = (0..4).map(|n| scope.spawn(move || write(n))).collect();
        let mut admin = server.admin();
        for _ in 0..12 {
            for act in ["suspend", "resume"] {
                thread::sleep(Duration::from_millis(30));
                admin.send("POST", &format!("/admin/v1/tenants/acme/{act}"), &json!({})).unwrap().ok();
            }
        }
        thread::sleep(Duration::from_millis(100));
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    });
    let lines = server.data(Some(&key)).send("GET", "/v1/audit?limit=1000", &Value::Null).unwrap().body;
    let lines = String::from_utf8(lines).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    testkit::verify_records(&lines).unwrap();
    let upserts = lines.iter().filter(|l| l["api"]["operation"] == "document.upsert" && l["status"] == "Success");
    assert!(written > 0);
    assert!(upserts.count() >= written, "each acknowledged write has a record");
}

#[test]
fn documents_are_erased_with_a_certificate() {
    let server = TestServer::start_default();
    server.tenant("acme");
    let key = server.key("acme", ALL_SCOPES, json!({}));
    let mut data = server.data(Some(&key));
    let documents = "/v1/namespaces/docs/documents";
    let body = json!({ "documents": [{ "id": "a", "text": TEXT }, { "id": "b", "text": TEXT }] });
    data.send("POST", documents, &body).unwrap().ok();
    let erase = |data: &mut Http, ids: Value| {
        data.send("POST", &format!("{documents}/delete"), &json!({ "ids": ids, "erase": true })).unwrap().ok()
    };
    let erased = erase(&mut data, json!(["a", "never"]));
    let public = server.admin().send("GET", "/admin/v1/signing-key", &Value::Null).unwrap().ok();
    let public = PublicKey::parse(public["key"].as_str().unwrap()).unwrap();
    let stated = |erased: &Value| -> Value {
        serde_json::from_str(public.open(erased["certificate"].as_str().unwrap()).unwrap()).unwrap()
    };
    assert_eq!((&stated(&erased)["documents"], &stated(&erased)["deleted"]), (&json!(["a", "never"]), &json!(1)));
    // A document was deleted earlier and not erased. A second request erases its bytes, and is certified as well.
    let deleted = data.send("POST", &format!("{documents}/delete"), &json!({ "ids": ["b"] })).unwrap().ok();
    assert_eq!((&deleted["deleted"], deleted.get("certificate")), (&json!(1), None));
    let second_erasure = stated(&erase(&mut data, json!(["b"])));
    assert_eq!(
        (&second_erasure["deleted"], second_erasure["clean_from_commit"].as_u64() >= deleted["commit"].as_u64()),
        (&json!(0), true)
    );
    let by_filter = json!({ "filter": { "type": "eq", "key": "x", "value": 1 }, "erase": true });
    let refused = data.send("POST", &format!("{documents}/delete"), &by_filter).unwrap();
    assert_eq!((refused.status, refused.json()["error"]["param"].clone()), (400, json!("erase")));
}

#[test]
#[ignore = "takes two minutes, for manual runs: measures the promise to customers at the default lease"]
fn twenty_keys_are_withdrawn_at_the_default_lease() {
    let Some(fixture) = KeyFixture::open_with(kernel::limits::KEY_LEASE, kernel::limits::KEY_OUTAGE_MAX) else {
        return;
    };
    let tenants: Vec<_> = (0..20).map(|n| fixture.customer(&format!("customer-{n}"), TEXT)).collect();
    let other = fixture.customer("other", TEXT);
    let lasted = std::sync::Mutex::new(Vec::new());
    thread::scope(|scope| {
        for (n, tenant) in tenants.iter().enumerate() {
            let (fixture, lasted) = (&fixture, &lasted);
            scope.spawn(move || {
                // Each key is withdrawn at another point of its lease.
                let begins = now() + Duration::from_millis(2_700 * n as u64);
                while now() < begins {
                    assert_eq!(tenant.search(&fixture.server), 200);
                    thread::sleep(Duration::from_millis(200));
                }
                fixture.bao.soft_delete(&tenant.id);
                let taken = now();
                let mut last = taken;
                while tenant.search(&fixture.server) == 200 {
                    last = now();
                    thread::sleep(Duration::from_millis(50));
                }
                lasted.lock().unwrap().push(last - taken);
            });
        }
    });
    assert_eq!(other.search(&fixture.server), 200);
    let mut lasted = lasted.into_inner().unwrap();
    lasted.sort();
    println!("from the key's withdrawal to the last read, 20 runs: {lasted:.1?}");
    assert!(lasted.last().is_some_and(|longest| *longest <= Duration::from_secs(60)));
}
