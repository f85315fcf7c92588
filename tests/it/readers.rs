//! Tests of a namespace's rules at every entry point: which key overwrites what, how long documents are kept, who reads
//! them, and what a stricter policy reaches.

use crate::{
    api::{get, post},
    in_process::TestServer,
};
use serde_json::{Value, json};
use testkit::Http;

const NS: &str = "/v1/namespaces/handbook";
const DOCS: &str = "/v1/namespaces/handbook/documents";

fn put(http: &mut Http, settings: Value) -> Value {
    http.send("PUT", NS, &settings).expect("an answer").ok()
}

fn store(http: &mut Http, document: Value) -> Value {
    post(http, DOCS, json!({ "documents": [document] })).ok()["results"][0].clone()
}

#[test]
fn the_scope_overwrite_replaces_documents_that_the_key_does_not_see() {
    let server = TestServer::start_default();
    server.tenant("acme");
    let key = |scopes: &[&str], principals: &[&str]| server.key("acme", scopes, json!({ "principals": principals }));
    let mut board = server.data(Some(&key(&["search", "ingest"], &["group:board"])));
    let mut member = server.data(Some(&key(&["search", "ingest"], &[])));
    let mut pipeline = server.data(Some(&key(&["ingest", "overwrite"], &[])));
    let plan = |text: &str| json!({ "id": "plan", "text": text, "readers": ["group:board"] });
    store(&mut board, plan("the merger"));
    let text = |http: &mut Http| get(http, &format!("{DOCS}/plan?include=text")).json()["text"].clone();

    assert_eq!(store(&mut member, json!({ "id": "plan", "text": "lunch" }))["status"], "indexed");
    assert_eq!((text(&mut member), text(&mut board)), (json!("lunch"), json!("the merger")));
    assert_eq!(get(&mut member, NS).ok()["documents"], 1);

    assert_eq!(store(&mut pipeline, plan("the merger is off"))["status"], "indexed");
    assert_eq!(text(&mut board), "the merger is off");
    assert_eq!(get(&mut member, &format!("{DOCS}/plan")).status, 404, "the write replaced all documents of this id");
    assert_eq!(store(&mut pipeline, plan("the merger is off"))["status"], "unchanged");
    assert_eq!(get(&mut pipeline, &format!("{DOCS}/plan")).status, 403, "the right to overwrite is no right to read");
}

#[test]
fn a_stricter_policy_reaches_content_that_is_sent_again() {
    let server = TestServer::start_default();
    server.tenant("acme");
    let mut http = server.data(Some(&server.key("acme", &["search", "ingest", "manage"], json!({}))));
    let document = json!({ "id": "contact", "text": "Write to jane.doe@example.com about the valve." });
    put(&mut http, json!({ "screening": { "pii": "tag" } }));
    assert_eq!(store(&mut http, document.clone())["status"], "indexed");
    assert_eq!(store(&mut http, document.clone())["status"], "unchanged");
    put(&mut http, json!({ "screening": { "pii": "quarantine" } }));
    assert_eq!(store(&mut http, document.clone())["status"], "quarantined");
    assert_eq!(store(&mut http, document)["status"], "unchanged", "after this policy has judged it");
    // An id that is derived from the document stays the same.
    let nameless = json!({ "text": "Some words about a boiler." });
    let first = store(&mut http, nameless.clone())["id"].clone();
    put(&mut http, json!({ "screening": { "pii": "reject" } }));
    assert_eq!(store(&mut http, nameless)["id"], first);
    assert_eq!(get(&mut http, NS).ok()["documents"], 2);
}

#[test]
fn no_document_is_kept_beyond_the_retention() {
    let server = TestServer::start_default();
    server.tenant("acme");
    let mut http = server.data(Some(&server.key("acme", &["search", "ingest", "manage"], json!({}))));
    store(&mut http, json!({ "id": "before", "text": "stored before there was a retention" }));
    put(&mut http, json!({ "retention": { "days": 30 } }));
    store(&mut http, json!({ "id": "after", "text": "stored under it", "expires_at": "2999-01-01T00:00:00Z" }));
    let ends = |http: &mut Http| {
        ["before", "after"].map(|id| get(http, &format!("{DOCS}/{id}")).ok()["expires_at"].as_str().map(str::to_owned))
    };
    let bound = ends(&mut http);
    assert!(bound.iter().all(|end| end.as_ref().is_some_and(|end| end.as_str() < "2999")), "{bound:?}");
    for end in [Value::Null, json!("2998-01-01T00:00:00Z")] {
        let patch = json!({ "ids": ["before", "after"], "expires_at": end });
        assert_eq!(post(&mut http, &format!("{DOCS}/patch"), patch).ok()["matched"], 2);
        assert_eq!(ends(&mut http), bound);
    }
    put(&mut http, json!({ "retention": { "days": 3 } }));
    let shorter = ends(&mut http);
    assert!(shorter.iter().zip(&bound).all(|(shorter, bound)| shorter < bound), "{shorter:?} {bound:?}");
    let refused = http.send("PUT", NS, &json!({ "retention": { "original": "drop" } })).expect("an answer");
    assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!("retention.original")));
    put(&mut http, json!({ "retention": { "original": "keep" } }));
}

#[test]
fn requiring_readers_later_hides_documents_without_readers() {
    let server = TestServer::start_default();
    server.tenant("acme");
    let key =
        |scopes: &[&str]| server.data(Some(&server.key("acme", scopes, json!({ "principals": ["group:staff"] }))));
    let mut member = key(&["search", "ingest", "delete", "manage"]);
    let mut owner = key(&["search", "ingest", "read_all"]);
    store(&mut member, json!({ "id": "open", "text": "open to everyone" }));
    store(&mut member, json!({ "id": "staff", "text": "open to the staff", "readers": ["group:staff"] }));
    let total = |http: &mut Http| post(http, &format!("{DOCS}/list"), json!({ "limit": 0 })).ok()["total"].clone();
    assert_eq!(total(&mut member), 2);
    put(&mut member, json!({ "require_readers": true }));
    assert_eq!((total(&mut member), total(&mut owner)), (json!(1), json!(2)));
    assert_eq!(get(&mut member, &format!("{DOCS}/open")).status, 404);
    let found = post(&mut member, &format!("{NS}/search"), json!({ "query": "open", "mode": "text" })).ok();
    assert_eq!(found["hits"].as_array().map(Vec::len), Some(1));
    assert_eq!(get(&mut member, NS).ok()["documents"], 1);
    let deletion = post(&mut member, &format!("{DOCS}/delete"), json!({ "ids": ["open"] })).ok();
    assert_eq!(deletion["deleted"], 0);
    // With readers, the document is visible again.
    let patch = json!({ "ids": ["open"], "readers": ["group:staff"] });
    assert_eq!(post(&mut owner, &format!("{DOCS}/patch"), patch).ok()["matched"], 1);
    assert_eq!(total(&mut member), 2);
}

/// Three searches were once enough to compute the number of hidden passages with a word.
#[test]
fn scores_and_counts_reveal_nothing_hidden() {
    let server = TestServer::start_default();
    server.tenant("acme");
    let mut owner = server.data(Some(&server.key("acme", &["search", "ingest", "read_all"], json!({}))));
    let mut member = server.data(Some(&server.key("acme", &["search"], json!({}))));
    for n in 0..6 {
        let word = ["valve", "boiler", "valve boiler gasket"][n % 3];
        store(&mut owner, json!({ "id": format!("open-{n}"), "text": format!("{word} number {n}") }));
    }
    let figures = |http: &mut Http| {
        let mut all = vec![get(http, NS).ok()["passages"].clone()];
        for query in ["valve", "boiler", "gasket", "merger"] {
            let ask = json!({ "query": query, "mode": "text", "include": ["explain"] });
            let reply = post(http, &format!("{NS}/search"), ask).ok();
            all.extend([reply["hits"].clone(), reply["explain"].clone()]);
        }
        all
    };
    let before = figures(&mut member);
    let owners = figures(&mut owner);
    for n in 0..9 {
        let text = format!("valve valve merger {n} of a length that no open document has, by far");
        store(&mut owner, json!({ "id": format!("hidden-{n}"), "text": text, "readers": ["user:ada"] }));
    }
    assert_eq!(figures(&mut member), before);
    assert_ne!(figures(&mut owner), owners, "a key that sees them gets their figures");
}
