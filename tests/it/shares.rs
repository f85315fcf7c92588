//! Tests of what one tenant, or one address, may take of shared resources: file descriptors, connections, memory for
//! bodies, quotas.

use crate::in_process::TestServer;
use kernel::limits;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use testkit::{
    Server,
    hostile::{Act, AnswerSummary, Attacker, Size, attacker, attacks, run},
};

/// Number of namespaces of the other tenant that stay closed until they are requested.
const COLD: usize = 40;

/// While one tenant writes to hundreds of namespaces, another one opens its own.
fn check_files(limit: &str) {
    let server = crate::server().ulimit(limit).start();
    server.tenant("quiet");
    let mut quiet = server.api(&server.key("quiet", &["search", "ingest"], &[]));
    let documents_path = |n: usize| format!("/v1/namespaces/cold-{n}/documents");
    let document = |text: &str| json!({ "documents": [{ "id": "a", "text": text }] });
    for n in 0..COLD {
        quiet.send("POST", &documents_path(n), &document("first")).unwrap().ok();
    }
    let all = attacks();
    let attack = all.iter().find(|attack| attack.name == "many_namespaces").unwrap();
    let (summary, hostile) = (AnswerSummary::default(), attacker(&server, "hostile", 2));
    run(attack, &hostile, Size(70), 2, Duration::ZERO, &summary);
    for n in 0..COLD {
        let shown = quiet.send("GET", &format!("{}/a?include=text", documents_path(n)), &Value::Null).unwrap();
        assert_eq!(shown.ok()["text"], "first", "namespace {n}");
        let stored = quiet.send("POST", &documents_path(n), &document("second")).unwrap().ok();
        assert_eq!(stored["results"][0]["status"], "indexed", "namespace {n}");
    }
    assert!(summary.wrong().is_empty(), "{:#?}", summary.wrong());
    check_new_connection(&server);
}

/// Checks that a new connection is served.
fn check_new_connection(server: &Server) {
    assert_eq!(
        testkit::Http::new(server.data_address(), None).send("GET", "/healthz", &Value::Null).unwrap().status,
        200
    );
}

#[test]
fn a_low_limit_of_files_is_raised_to_what_the_system_allows() {
    let server = crate::server().ulimit("-S -n 256").start();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<&str> = files.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers[0], numbers[1], "{files}");
}

#[test]
fn one_tenants_namespaces_do_not_take_anothers_files_under_a_soft_limit() {
    check_files("-S -n 256");
}

#[test]
fn one_tenants_namespaces_do_not_take_anothers_files_under_a_hard_limit() {
    check_files("-n 256");
}

/// Bodies of one key fill the memory for bodies and then stop: other tenants, and operators, can still send theirs.
#[test]
fn bodies_that_stop_halfway_leave_memory_for_others() {
    let server = crate::server().start();
    server.tenant("quiet");
    let mut quiet = server.api(&server.key("quiet", &["search", "ingest"], &[]));
    server.tenant("hostile");
    let key = server.key("hostile", &["ingest"], &[]);
    let head = format!(
        "POST /v1/namespaces/ns/documents HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        limits::BODY_BYTES_MAX
    );
    let most = vec![b' '; limits::BODY_BYTES_MAX - 1];
    let mut holder = Vec::new();
    for _ in 0..=limits::BODIES_BYTES_MAX / limits::BODY_BYTES_MAX {
        let mut stream = TcpStream::connect(server.data_address()).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        // A server that refuses the body may stop reading.
        let _ = stream.write_all(&most);
        holder.push(stream);
    }
    let document = json!({ "documents": [{ "id": "a", "text": "small" }] });
    let stored = quiet.send("POST", "/v1/namespaces/ns/documents", &document).unwrap();
    assert_eq!(stored.status, 200, "{}", String::from_utf8_lossy(&stored.body));
    let found = quiet.send("POST", "/v1/namespaces/ns/search", &json!({ "query": "small", "mode": "text" })).unwrap();
    assert_eq!(found.status, 200, "{}", String::from_utf8_lossy(&found.body));
    let created = server.control().send("POST", "/admin/v1/tenants", &json!({ "id": "new" })).unwrap();
    assert_eq!(created.status, 201, "{}", String::from_utf8_lossy(&created.body));
}

/// Sends `count` requests at the same moment. Returns the number of answers by status.
fn at_once(server: &Server, key: &str, count: usize, body: impl Fn(usize) -> Value + Sync) -> BTreeMap<u16, usize> {
    let statuses: Mutex<BTreeMap<u16, usize>> = Mutex::default();
    let barrier = std::sync::Barrier::new(count);
    thread::scope(|scope| {
        for n in 0..count {
            let (barrier, statuses, body) = (&barrier, &statuses, &body);
            scope.spawn(move || {
                let mut http = server.api(key);
                http.send("GET", "/healthz", &Value::Null).unwrap();
                barrier.wait();
                let reply = http.send("POST", "/v1/namespaces/ns/documents", &body(n)).unwrap();
                *statuses.lock().unwrap().entry(reply.status).or_default() += 1;
            });
        }
    });
    statuses.into_inner().unwrap()
}

fn with_quotas(server: &Server, quotas: Value) -> String {
    server.tenant("limited");
    let body = json!({ "quotas": quotas });
    server.control().send("PATCH", "/admin/v1/tenants/limited", &body).unwrap().ok();
    server.key("limited", &["search", "ingest"], &[])
}

#[test]
fn a_quota_of_documents_holds_for_simultaneous_requests() {
    let server = crate::server().start();
    let key = with_quotas(&server, json!({ "documents": 10 }));
    let one = |n: usize| json!({ "documents": [{ "id": format!("d{n}"), "text": format!("text {n}") }] });
    let statuses = at_once(&server, &key, 30, one);
    let mut http = server.api(&key);
    let total = |http: &mut testkit::Http| {
        http.send("POST", "/v1/namespaces/ns/documents/list", &json!({ "limit": 0 })).unwrap().ok()["total"].as_u64()
    };
    let stored = total(&mut http).unwrap();
    assert!(stored <= 10, "{stored} documents of 10 are stored, {statuses:?}");
    assert!(statuses.keys().all(|status| [200, 429, 503].contains(status)), "{statuses:?}");
    // All ten documents can be stored one after another.
    let codes: Vec<(u16, String)> = (100..112)
        .map(|n| http.send("POST", "/v1/namespaces/ns/documents", &one(n)).unwrap())
        .map(|reply| (reply.status, reply.code()))
        .collect();
    assert_eq!(total(&mut http), Some(10), "{codes:?}");
    assert_eq!(codes.last(), Some(&(429, "quota_exceeded".to_owned())));
}

#[test]
fn a_quota_of_bytes_counts_all_that_is_stored() {
    let server = crate::server().start();
    let key = with_quotas(&server, json!({ "bytes": 10_000 }));
    let mut http = server.api(&key);
    let long = "v".repeat(4_000);
    let attributes: serde_json::Map<String, Value> = (0..10).map(|n| (format!("k{n}"), json!(long))).collect();
    let vector: Vec<f32> = (0..4_096_u16).map(f32::from).collect();
    let readers: Vec<String> = (0..200).map(|n| format!("group:{n:04}{}", "r".repeat(200))).collect();
    let heavy = [
        ("attributes", json!({ "id": "a", "text": "x", "attributes": attributes })),
        ("vector", json!({ "id": "b", "vector": vector })),
        ("readers", json!({ "id": "c", "text": "x", "readers": readers })),
        ("text", json!({ "id": "d", "text": "word ".repeat(3_000) })),
    ];
    for (what, document) in heavy {
        let path = format!("/v1/namespaces/{what}/documents");
        let reply = http.send("POST", &path, &json!({ "documents": [document] })).unwrap();
        assert_eq!((reply.status, reply.code().as_str()), (429, "quota_exceeded"), "{what}");
    }
    let small = json!({ "documents": [{ "id": "small", "text": "fits" }] });
    http.send("POST", "/v1/namespaces/text/documents", &small).unwrap().ok();
}

/// Sends one request over a TLS connection of its own.
fn request_over_tls(server: SocketAddr, config: &Arc<rustls::ClientConfig>) -> std::io::Result<String> {
    let name = ServerName::try_from("localhost").expect("a name");
    let session = rustls::ClientConnection::new(config.clone(), name).expect("a session");
    let socket = TcpStream::connect_timeout(&server, Duration::from_secs(5))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut stream = rustls::StreamOwned::new(session, socket);
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
    let mut reply = String::new();
    // The peer may close without a TLS close_notify; what came before counts.
    match stream.read_to_string(&mut reply) {
        Err(error) if reply.is_empty() => Err(error),
        _ => Ok(reply),
    }
}

/// Handshakes stop halfway on as many connections of one address as there may be: another address still gets one.
#[test]
fn handshakes_that_stop_leave_connections_for_others() {
    let created = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, created.cert.pem()).expect("written");
    std::fs::write(&key, created.signing_key.serialize_pem()).expect("written");
    let server = TestServer::start_with(&[
        ("RINGFENCE__DATA_PLANE__TLS_CERT", cert.to_str().expect("UTF-8")),
        ("RINGFENCE__DATA_PLANE__TLS_KEY", key.to_str().expect("UTF-8")),
        ("RINGFENCE__LIMITS__CONNECTIONS", "200"),
    ]);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&cert).expect("read")).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (config, stop) = (Arc::new(config), AtomicBool::new(false));
    let all = attacks();
    let attack = all.iter().find(|attack| attack.name == "half_handshakes").unwrap();
    let Act::Connections(hold) = attack.act else { panic!("the attack holds connections") };
    let replies: Vec<_> = thread::scope(|scope| {
        let holder = scope.spawn(|| hold(&Attacker::new(server.data_address(), 9, None), Size(30), &stop));
        thread::park_timeout(Duration::from_millis(500));
        let replies = (0..5).map(|_| request_over_tls(server.data_address(), &config)).collect();
        stop.store(true, Ordering::Relaxed);
        holder.join().expect("the attack does not panic");
        replies
    });
    assert!(replies.iter().all(|reply| reply.as_ref().is_ok_and(|r| r.starts_with("HTTP/1.1 200"))), "{replies:?}");
}
