//! Tests of the process's sockets under attack: connections that stay open, ambiguous heads, growing bodies, and few
//! files that may be opened.

use crate::in_process::{ALL_SCOPES, TestServer};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};
use testkit::{Http, Server, ServerBuilder};

/// A socket with timeouts, so that a server that does not answer fails the test instead of hanging it.
fn socket(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    stream.set_write_timeout(Some(Duration::from_secs(20))).expect("set");
    stream
}

/// Sends these bytes and reads everything until the server closes.
fn exchange_raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = socket(address);
    // The server may refuse and close while the request is still being sent.
    let _ = stream.write_all(bytes);
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    String::from_utf8_lossy(&reply).into_owned()
}

/// Creates a tenant and a key.
fn key(server: &TestServer) -> String {
    server.tenant("acme");
    server.key("acme", ALL_SCOPES, json!({}))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Peak memory of the process as the system reports it, bytes.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") << 10
}

#[test]
fn connections_that_never_read_exclude_no_client() {
    let server = crate::server().env("RINGFENCE__LIMITS__CONNECTIONS", "16").start();
    server.tenant("acme");
    let mut known = server.api(&server.key("acme", &["search", "ingest"], &[]));
    assert_eq!(known.send("GET", "/v1/whoami", &Value::Null).expect("an answer").status, 200);
    for plane in [server.data_address(), server.control_address()] {
        let crowd: Vec<TcpStream> = (0..40)
            .map(|_| {
                let mut stream = socket(plane);
                let _ = stream.write_all("GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(40).as_bytes());
                stream
            })
            .collect();
        let reply = exchange_raw(plane, b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
        // A client that has shown its credential keeps its connection, idle or not.
        assert_eq!(known.send("GET", "/v1/whoami", &Value::Null).expect("the same connection").status, 200);
        assert_eq!(server.control().send("GET", "/admin/v1/tenants", &Value::Null).expect("an answer").status, 200);
        drop(crowd);
    }
}

#[test]
fn heads_that_two_servers_may_parse_differently_are_refused() {
    let server = TestServer::start_default();
    let address = server.data_address();
    let key = key(&server);
    for (head, status) in [
        ("GET /healthz HTTP/1.1\nhost: x\nconnection: close\n\n".to_owned(), "400"),
        ("GET /healthz HTTP/1.1\r\nhost: x\nconnection: close\r\n\r\n".to_owned(), "400"),
        ("GET /healthz HTTP/1.1\r\nhost: x\r\n\n".to_owned(), "400"),
        ("GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n".to_owned(), "400"),
        ("GET /healthz HTTP/1.1\r\nhost: x\r\nhost: y\r\nconnection: close\r\n\r\n".to_owned(), "400"),
        ("GET /healthz HTTP/1.1\r\nhost: a b\r\nconnection: close\r\n\r\n".to_owned(), "400"),
        ("GET /healthz HTTP/1.0\r\n\r\n".to_owned(), "200"),
        (format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(70_000)), "431"),
        (format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{}\r\n", "x: y\r\n".repeat(12_000)), "431"),
        (format!("GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx: {}\r\n\r\n", "y".repeat(60_000)), "200"),
        (
            "POST /v1/namespaces/ns/search HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
                .to_owned(),
            "400",
        ),
        (
            "POST /v1/namespaces/ns/search HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n".to_owned(),
            "400",
        ),
    ] {
        let reply = exchange_raw(address, head.as_bytes());
        assert!(reply.starts_with(&format!("HTTP/1.{} {status}", &head[head.find("/1.").unwrap() + 3..][..1])), "{}: {reply}", &head[..60]);
    }
    let without_host = exchange_raw(address, b"GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n");
    assert!(without_host.contains(r#""param":"host""#), "{without_host}");
    // Bodies may contain any bytes, in chunks too, and what follows them is the next request.
    let body = "{\n\n\"query\":\n\"q\"}\r\n\r\n\n";
    let head = format!("POST /v1/namespaces/none/search HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n");
    let next = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    for sent in [
        format!("{head}content-length: {}\r\n\r\n{body}{next}", body.len()),
        format!("{head}transfer-encoding: chunked\r\n\r\n{:x};a=b\r\n{body}\r\n0\r\nt: v\r\n\r\n{next}", body.len()),
    ] {
        let reply = exchange_raw(address, sent.as_bytes());
        assert!(reply.starts_with("HTTP/1.1 404") && reply.contains("HTTP/1.1 200"), "{reply}");
    }
}

#[test]
fn an_invalid_document_fails_alone_and_the_others_are_stored() {
    let server = TestServer::start_default();
    let mut http = server.data(Some(&key(&server)));
    let long = "x".repeat(5_000);
    let many: Value = (0..65).map(|n| (format!("a{n}"), json!(n))).collect::<serde_json::Map<_, _>>().into();
    let documents = json!({ "documents": [
        { "id": "first", "text": "the first" },
        { "id": "long", "text": "t", "attributes": { "a": long } },
        { "id": "many", "text": "t", "attributes": many },
        { "id": "nested", "text": "t", "attributes": { "a": { "b": 1 } } },
        { "id": "reader", "text": "t", "readers": ["alice"] },
        { "id": "time", "text": "t", "expires_at": "soon" },
        { "id": "", "text": "t" },
        { "id": "last", "text": "the last" },
    ] });
    let path = "/v1/namespaces/ns/documents";
    let reply = http.send("POST", path, &documents).expect("an answer").ok();
    let results: Vec<(&str, &str, &str)> = reply["results"]
        .as_array()
        .expect("results")
        .iter()
        .map(|r| (text(&r["id"]), text(&r["status"]), text(&r["error"]["param"])))
        .collect();
    assert_eq!(
        results,
        [
            ("first", "indexed", ""),
            ("long", "failed", "documents[1].attributes.a"),
            ("many", "failed", "documents[2].attributes"),
            ("nested", "failed", "documents[3].attributes.a"),
            ("reader", "failed", "documents[4].readers[0]"),
            ("time", "failed", "documents[5].expires_at"),
            ("", "failed", "documents[6].id"),
            ("last", "indexed", ""),
        ]
    );
    assert_eq!(reply["counts"], json!({ "indexed": 2, "failed": 6 }));
    let listed = http.send("POST", &format!("{path}/list"), &json!({})).expect("an answer").ok();
    assert_eq!(listed["total"], 2);
    // A duplicate key makes the whole request invalid.
    let twice = br#"{"documents":[{"id":"a","text":"t","attributes":{"k":1,"k":2}}]}"#;
    let reply = http.send_bytes("POST", path, twice, &[]).expect("an answer");
    assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!("documents[0].attributes.k")));
    // All documents are wrong: nothing is stored, and the reply says so for each.
    let none = json!({ "documents": [{ "id": "a" }, { "id": "b", "text": "t", "attributes": { "$x": 1 } }] });
    let reply = http.send("POST", "/v1/namespaces/other/documents", &none).expect("an answer").ok();
    assert_eq!(reply["counts"], json!({ "failed": 2 }));
    // A vector of an impossible length does not determine the namespace's dimensions.
    for (namespace, documents, counts) in [
        (
            "vectors",
            json!([{ "id": "a", "text": "t", "vector": [1] }, { "id": "b", "text": "t", "vector": [1, 2, 3] }]),
            json!({ "failed": 1, "indexed": 1 }),
        ),
        (
            "texts",
            json!([{ "id": "a", "text": "t", "vector": [1] }, { "id": "b", "text": "t" }]),
            json!({ "failed": 1, "indexed": 1 }),
        ),
    ] {
        let path = format!("/v1/namespaces/{namespace}/documents");
        let reply = http.send("POST", &path, &json!({ "documents": documents })).expect("an answer").ok();
        assert_eq!(reply["counts"], counts, "{reply}");
        assert!(text(&reply["results"][0]["error"]["param"]).contains("vector"), "{reply}");
    }
}

#[test]
fn a_body_takes_little_more_memory_than_it_has_bytes() {
    let server = crate::server().start();
    server.tenant("acme");
    let key = server.key("acme", &["search", "ingest"], &[]);
    let mut http = server.api(&key);
    let put = json!({ "documents": [{ "id": "a", "text": "t" }] });
    http.send("POST", "/v1/namespaces/ns/documents", &put).expect("an answer").ok();
    let before = peak(server.pid());
    let ones = "1,".repeat(8 << 20);
    for (path, body) in [
        ("search", format!("{{\"query\":\"x\",\"filter\":[{ones}1]}}")),
        ("documents/patch", format!("{{\"ids\":[\"a\"],\"attributes\":{{\"a\":[{ones}1]}}}}")),
        ("documents", format!("{{\"documents\":[{}1]}}", "{},".repeat(5 << 20))),
        ("search", format!("{{\"query\":\"x\",\"rerank\":[{ones}1]}}")),
    ] {
        let reply =
            http.send_bytes("POST", &format!("/v1/namespaces/ns/{path}"), body.as_bytes(), &[]).expect("an answer");
        assert_eq!(reply.status, 400, "{path}");
        let grown = peak(server.pid()).saturating_sub(before);
        assert!(grown < 8 * body.len() as u64, "{path}: {grown} bytes for {}", body.len());
    }
}

/// A server whose process may open at most `allowed` files.
fn with_files(allowed: u32, folder: &Path) -> Server {
    let script = folder.join("few-files");
    let binary = std::env::var("RINGFENCE_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_ringfence").to_owned());
    std::fs::write(
        &script,
        format!("#!/bin/sh\nulimit -Sn {allowed} && ulimit -Hn {allowed} && exec {binary} \"$@\"\n"),
    )
    .expect("written");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("set");
    ServerBuilder::new(script).start()
}

#[test]
fn with_few_open_files_one_tenants_namespaces_do_not_stop_anothers() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_files(256, folder.path());
    let log = server.stderr();
    assert!(log.contains("open files") && log.contains("256"), "the log of the start names the limit: {log}");
    let write = |http: &mut Http, ns: usize| {
        let body = json!({ "documents": [{ "id": "a", "text": format!("text of {ns}") }] });
        http.send("POST", &format!("/v1/namespaces/n{ns}/documents"), &body).expect("an answer")
    };
    for tenant in ["many", "few"] {
        server.tenant(tenant);
    }
    let (many, few) = (server.key("many", &["search", "ingest"], &[]), server.key("few", &["search", "ingest"], &[]));
    std::thread::scope(|scope| {
        for part in 0..6 {
            let (server, many) = (&server, &many);
            scope.spawn(move || {
                let mut http = server.api(many);
                for n in (0..50).map(|n| part * 50 + n) {
                    let reply = write(&mut http, n);
                    assert!(matches!(reply.status, 200 | 429 | 503), "{n}: {}", String::from_utf8_lossy(&reply.body));
                }
            });
        }
        let mut http = server.api(&few);
        for n in 0..20 {
            let reply = write(&mut http, n);
            assert_eq!(reply.status, 200, "{n}: {}", String::from_utf8_lossy(&reply.body));
            let query = json!({ "query": "text", "mode": "text" });
            let found =
                http.send("POST", &format!("/v1/namespaces/n{}/search", n / 2), &query).expect("an answer").ok();
            assert_eq!(found["hits"][0]["document_id"], "a");
        }
    });
    // Every acknowledged document is there, in each namespace.
    let mut http = server.api(&many);
    for n in (0..300).step_by(7) {
        assert_eq!(
            http.send("GET", &format!("/v1/namespaces/n{n}/documents/a"), &Value::Null).expect("an answer").status,
            200
        );
    }
}

/// Starts the binary as a service manager would, with stderr in a file. Returns the process and the address of its
/// control plane.
fn serve(folder: &Path, more: &[(&str, &Path)]) -> (std::process::Child, SocketAddr) {
    let free = || std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
    let control = free();
    let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).expect("a log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
    command
        .args(["serve", "--data"])
        .arg(folder.join("data"))
        .env_clear()
        .env("HOME", folder)
        .env("RINGFENCE_ROOT_KEY", "5c".repeat(32))
        .env("RINGFENCE__DATA_PLANE__LISTEN", free().to_string())
        .env("RINGFENCE__CONTROL_PLANE__LISTEN", control.to_string())
        .env("RINGFENCE__MODELS__ENABLED", "false")
        .envs(more.iter().copied())
        .stdout(Stdio::null())
        .stderr(log);
    (command.spawn().expect("it starts"), control)
}

/// Waits until the server is ready, and then calls `then` at once.
fn when_ready<T>(control: SocketAddr, then: impl FnOnce() -> T) -> T {
    for _ in 0..3_000 {
        let reply = Http::new(control, None).send("GET", "/readyz", &Value::Null);
        if reply.is_ok_and(|r| r.status == 200) {
            return then();
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    panic!("it is not ready");
}

#[test]
fn the_first_operators_token_is_in_its_file_before_the_server_is_ready_and_never_in_a_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("operator.token");
    let mut tokens = Vec::new();
    // The second start uses the token that the first one wrote.
    for _ in 0..2 {
        let (mut child, control) = serve(folder.path(), &[("RINGFENCE_OPERATOR_TOKEN_FILE", &file)]);
        let (text, mode) = when_ready(control, || {
            let mode = std::fs::metadata(&file).expect("it is there").permissions().mode();
            (std::fs::read_to_string(&file).expect("read"), mode & 0o777)
        });
        let listed = Http::new(control, Some(text.trim())).send("GET", "/admin/v1/operators", &Value::Null);
        let listed = listed.expect("an answer").ok();
        child.kill().expect("killed");
        child.wait().expect("gone");
        assert_eq!((mode, listed["operators"].as_array().map(Vec::len)), (0o600, Some(1)));
        tokens.push(text);
    }
    assert_eq!(tokens[0], tokens[1]);
    let log = std::fs::read_to_string(folder.path().join("log")).expect("a log");
    assert!(!log.contains("rfop_"), "{log}");

    let other = tempfile::tempdir().expect("a folder");
    let (mut child, control) = serve(other.path(), &[]);
    let log = when_ready(control, || std::fs::read_to_string(other.path().join("log")).expect("a log"));
    child.kill().expect("killed");
    child.wait().expect("gone");
    assert!(!log.contains("rfop_") && log.contains("operator recover"), "the log says how to get one: {log}");
}
