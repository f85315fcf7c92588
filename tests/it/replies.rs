//! Tests that replies have a limit and stay counted until they are read, and that quotas hold for simultaneous
//! requests.

use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
};
use testkit::{Http, Server};

const DOCS: &str = "/v1/namespaces/docs/documents";

fn post(http: &mut Http, path: &str, body: &Value) -> testkit::Reply {
    http.send("POST", path, body).unwrap()
}

/// A document of some hundred passages with 2 MB of attributes.
fn heavy() -> Value {
    let list = vec!["v".repeat(4_000); 256];
    let text: String =
        (0..700).map(|n| format!("The valve number {n} of the boiler is checked each day.\n\n")).collect();
    json!({ "id": "heavy", "text": text.repeat(3), "attributes": { "a": list, "b": list } })
}

/// Stores documents whose vectors are long and take many digits.
fn vectors(http: &mut Http, count: usize) {
    let vector = |n: usize| (0..4_096).map(|d| ((n * 31 + d * 17) % 97) as f32 / 96.3 + 0.01).collect::<Vec<f32>>();
    for from in (0..count).step_by(60) {
        let documents: Vec<Value> =
            (from..count.min(from + 60)).map(|n| json!({ "id": format!("d{n}"), "vector": vector(n) })).collect();
        post(http, "/v1/namespaces/vectors/documents", &json!({ "documents": documents })).ok();
    }
}

fn gauge(server: &Server, name: &str) -> f64 {
    let metrics = server.control().send("GET", "/metrics", &Value::Null).unwrap();
    let text = String::from_utf8(metrics.body).unwrap();
    let line = text.lines().find(|line| !line.starts_with('#') && line.contains(name));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[test]
fn a_search_a_list_and_a_context_end_at_the_limit_of_a_reply() {
    let server = crate::server().start();
    server.tenant("acme");
    let key = server.key("acme", &["search", "ingest", "vectors"], &[]);
    let mut http = server.api(&key);
    post(&mut http, DOCS, &json!({ "documents": [heavy()] })).ok();
    let search = |top_k: usize| json!({ "query": "valve boiler", "mode": "text", "top_k": top_k });
    let reply = post(&mut http, "/v1/namespaces/docs/search", &search(150));
    let length = reply.body.len();
    let found = reply.ok();
    let hits = found["hits"].as_array().unwrap();
    assert!((2..20).contains(&hits.len()) && length <= 16 << 20, "{} hits in {length} bytes", hits.len());
    assert_eq!(found["incomplete"], true);
    assert!(found["warnings"][0].as_str().unwrap().contains("top_k"), "{}", found["warnings"]);
    let all = json!({ "query": "valve boiler", "mode": "text", "top_k": 100, "include": ["text"] });
    let found = post(&mut http, "/v1/namespaces/docs/search", &all).ok();
    assert_eq!((found["hits"].as_array().unwrap().len(), &found["incomplete"]), (100, &json!(false)));
    let context = json!({ "query": "valve boiler", "mode": "text", "top_k": 100, "max_tokens": 5_000 });
    assert!(!post(&mut http, "/v1/namespaces/docs/context", &context).ok()["sources"].as_array().unwrap().is_empty());

    vectors(&mut server.api(&key), 300);
    let (mut received, mut pages, mut after) = (0, 0, Value::Null);
    loop {
        let mut list = json!({ "include": ["vector"], "limit": 1_000 });
        if !after.is_null() {
            list["after"] = after;
        }
        let reply = post(&mut server.api(&key), "/v1/namespaces/vectors/documents/list", &list);
        assert!(reply.body.len() <= 16 << 20, "{} bytes", reply.body.len());
        let page = reply.ok();
        assert_eq!(page["total"], 300);
        (received, pages) = (received + page["documents"].as_array().unwrap().len(), pages + 1);
        after = page["next"].clone();
        if after.is_null() {
            break;
        }
    }
    assert!(received == 300 && (2..5).contains(&pages), "{received} documents in {pages} pages");
}

#[test]
fn an_unread_reply_stays_counted_until_its_client_disconnects() {
    // The memory for replies has its smallest size: 256 MiB, half of it for one tenant.
    let server = crate::server().env("RINGFENCE__LIMITS__MEMORY_MIB", "64").start();
    server.tenant("acme");
    server.tenant("umbra");
    let key = server.key("acme", &["search", "ingest", "vectors"], &[]);
    let other = server.key("umbra", &["search", "ingest"], &[]);
    vectors(&mut server.api(&key), 240);
    post(&mut server.api(&other), DOCS, &json!({ "documents": [{ "id": "a", "text": "a valve" }] })).ok();
    let send_request = |connection: &mut TcpStream| {
        let body = r#"{"include":["vector"],"limit":1000}"#;
        let head = format!(
            "POST /v1/namespaces/vectors/documents/list HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.write_all(head.as_bytes()).unwrap();
        let mut status = [0; 12];
        connection.read_exact(&mut status).unwrap();
        String::from_utf8(status[9..].to_vec()).unwrap()
    };
    let connections: Vec<TcpStream> = thread::scope(|scope| {
        let one = || {
            let mut connection = TcpStream::connect(server.data_address()).unwrap();
            assert_eq!(send_request(&mut connection), "200");
            connection
        };
        let connections: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
        connections.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let unread = gauge(&server, "search_bytes");
    assert!(unread > (16 << 20) as f64, "{unread} bytes are counted for four unread replies");
    let search = json!({ "query": "valve", "mode": "text" });
    let found = post(&mut server.api(&other), "/v1/namespaces/docs/search", &search).ok();
    assert_eq!(found["hits"].as_array().unwrap().len(), 1);
    drop(connections);
    // The server notices it when it continues to write.
    let mut tries = 0;
    while gauge(&server, "search_bytes") > 0.0 {
        tries += 1;
        assert!(tries < 10_000, "memory of closed connections stays counted");
    }
}

#[test]
fn a_quota_holds_for_simultaneous_requests_over_all_namespaces() {
    let server = crate::server().start();
    let tenant = json!({ "id": "acme", "quotas": { "documents": 10 } });
    assert_eq!(server.control().send("POST", "/admin/v1/tenants", &tenant).unwrap().status, 201);
    let key = server.key("acme", &["search", "ingest", "delete"], &[]);
    let write = |n: usize| {
        let body = json!({ "documents": [{ "id": format!("d{n}"), "text": "some words" }] });
        post(&mut server.api(&key), &format!("/v1/namespaces/n{}/documents", n % 3), &body)
    };
    let replies: Vec<_> = thread::scope(|scope| {
        let writers: Vec<_> = (0..30).map(|n| scope.spawn(move || write(n))).collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 10);
    let refused = replies.iter().find(|reply| reply.status != 200).unwrap().json();
    assert_eq!(
        (&refused["error"]["code"], &refused["error"]["param"]),
        (&json!("quota_exceeded"), &json!("quotas.documents"))
    );
    assert!(refused["error"]["message"].as_str().unwrap().contains("10 documents"), "{refused}");
    let me = server.api(&key).send("GET", "/v1/whoami", &Value::Null).unwrap().ok();
    assert_eq!(me["usage"]["documents"], 10);
}

#[test]
fn a_quota_of_bytes_counts_all_that_documents_hold() {
    let mut server = crate::server().start();
    let tenant = json!({ "id": "acme", "quotas": { "bytes": 10_000 } });
    assert_eq!(server.control().send("POST", "/admin/v1/tenants", &tenant).unwrap().status, 201);
    let key = server.key("acme", &["search", "ingest"], &[]);
    let attributes = json!({ "documents": [{ "id": "a", "text": "x", "attributes": { "note": "v".repeat(4_000), "more": "v".repeat(4_000), "most": "v".repeat(4_000) } }] });
    let vector = json!({ "documents": [{ "id": "b", "vector": vec![0.5; 4_096] }] });
    let title = json!({ "documents": [{ "id": "c", "text": "x", "title": "t".repeat(1_000) }] });
    for (namespace, body) in [("a", &attributes), ("b", &vector)] {
        let refused = post(&mut server.api(&key), &format!("/v1/namespaces/{namespace}/documents"), body);
        assert_eq!((refused.status, refused.json()["error"]["param"].as_str()), (429, Some("quotas.bytes")));
    }
    let mut http = server.api(&key);
    post(&mut http, "/v1/namespaces/c/documents", &title).ok();
    let shown = http.send("GET", "/v1/namespaces/c", &Value::Null).unwrap().ok()["bytes"].as_u64().unwrap();
    assert!((1_000..1_300).contains(&shown), "{shown}");
    let patch = |length: usize| json!({ "ids": ["c"], "attributes": { "x": "v".repeat(length), "y": "v".repeat(length), "z": "v".repeat(length) } });
    let refused = post(&mut http, "/v1/namespaces/c/documents/patch", &patch(4_000));
    assert_eq!((refused.status, refused.json()["error"]["param"].as_str()), (429, Some("quotas.bytes")));
    post(&mut http, "/v1/namespaces/c/documents/patch", &patch(2_000)).ok();
    server.stop();
    server.restart();
    let refused = post(
        &mut server.api(&key),
        "/v1/namespaces/d/documents",
        &json!({ "documents": [{ "id": "d", "text": "w ".repeat(2_000) }] }),
    );
    assert_eq!(
        (refused.status, refused.json()["error"]["param"].as_str()),
        (429, Some("quotas.bytes")),
        "after a restart"
    );
}
