//! Tests of the process and its sockets: signals, TLS, and requests that break off.

use crate::in_process::{ALL_SCOPES, TestServer};
use rustls::pki_types::{ServerName, pem::PemObject};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::Arc,
};

#[test]
fn a_signal_drains_and_a_restart_finds_everything() {
    let mut server = crate::server().start();
    server.tenant("acme");
    let key = server.key("acme", &["search", "ingest"], &[]);
    let body = json!({ "documents": [{ "id": "a", "text": "kept over a restart" }] });
    server.api(&key).send("POST", "/v1/namespaces/ns/documents", &body).expect("an answer").ok();
    assert_eq!(server.stop(), Some(0), "{}", server.stderr());
    server.restart();
    let shown = server.api(&key).send("GET", "/v1/namespaces/ns/documents/a?include=text", &Value::Null);
    assert_eq!(shown.expect("an answer").ok()["text"], "kept over a restart");
    let log = server.stderr();
    assert!(!log.contains("kept over") && !log.contains(&key), "the log contains nothing of a customer");
    let requests =
        log.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok()).filter(|l| l["message"] == "request").count();
    assert!(requests > 0, "JSON lines when stderr is no terminal: {log}");
}

#[test]
fn tls_is_spoken_where_it_is_configured() {
    let certificate = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, certificate.cert.pem()).expect("written");
    std::fs::write(&key, certificate.signing_key.serialize_pem()).expect("written");
    let path = |p: &std::path::Path| p.to_str().expect("utf-8").to_owned();
    let server = TestServer::start_with(&[
        ("RINGFENCE__DATA_PLANE__TLS_CERT", &path(&cert)),
        ("RINGFENCE__DATA_PLANE__TLS_KEY", &path(&key)),
    ]);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_file(&cert).expect("read")).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let session = rustls::ClientConnection::new(Arc::new(config), name).expect("a session");
    let mut stream = rustls::StreamOwned::new(session, TcpStream::connect(server.data_address()).expect("connects"));
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("sent");
    let mut reply = String::new();
    // The peer may close without a TLS close_notify; what came before counts.
    let _ = stream.read_to_string(&mut reply);
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    let plain = server.data(None).send("GET", "/healthz", &Value::Null);
    assert!(plain.is_err(), "no plain text on a TLS listener");
}

/// Sends bytes, closes the sending side, and reads the reply.
fn exchange_and_close(server: &TestServer, bytes: &[u8]) -> String {
    exchange(server, bytes, true)
}

fn exchange(server: &TestServer, bytes: &[u8], close: bool) -> String {
    let mut stream = TcpStream::connect(server.data_address()).expect("connects");
    // The server may refuse and close while the request is still being sent.
    let _ = stream.write_all(bytes);
    if close {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    String::from_utf8_lossy(&reply).into_owned()
}

#[test]
fn truncated_and_false_requests_do_no_harm() {
    let server = TestServer::start_default();
    server.tenant("acme");
    let key = server.key("acme", ALL_SCOPES, json!({}));
    let head = |length: &str| {
        format!(
            "POST /v1/namespaces/ns/documents HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    // These requests have fewer bytes than announced, an invalid length, a head that never ends, or no HTTP at all.
    let short = exchange_and_close(&server, (head("1000") + r#"{"documents":[{"id":"half","#).as_bytes());
    assert!(short.is_empty() || short.starts_with("HTTP/1.1 400"), "{short}");
    assert!(exchange_and_close(&server, head("ten").as_bytes()).starts_with("HTTP/1.1 400"));
    let endless = format!("GET /healthz HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(200_000));
    let endless = exchange_and_close(&server, endless.as_bytes());
    assert!(endless.is_empty() || endless.starts_with("HTTP/1.1 4"), "{endless}");
    let _ = exchange_and_close(&server, b"\x16\x03\x01 this is no HTTP\r\n\r\n");
    let mut http = server.data(Some(&key));
    assert_eq!(
        http.send("GET", "/v1/namespaces/ns", &Value::Null).expect("an answer").status,
        404,
        "nothing was stored"
    );
    // Bytes beyond the announced length are the next request, and not JSON of this one.
    let body = r#"{"documents":[{"id":"a","text":"t"}]}"#;
    let next = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let replies = exchange(&server, (head(&body.len().to_string()) + body + next).as_bytes(), false);
    assert_eq!(replies.matches("HTTP/1.1 200").count(), 2, "{replies}");
}
