//! A caller that disconnects: work that was not started for it is not done, and the audit says so.

use kernel::{Clock, SystemClock};
use serde_json::{Value, json};
use std::{io::Write, net::TcpStream, time::Duration};

/// Number of recall queries in one request. Each is a job of its own, and the server waits for it before it starts the
/// next.
const MEASURED: usize = 1_000;

#[test]
fn no_work_is_done_for_a_disconnected_caller() {
    let server = crate::server().start();
    server.tenant("acme");
    let key = server.key("acme", &["search", "ingest", "audit"], &[]);
    let mut http = server.api(&key);
    let vector = |n: usize| (0..64).map(|d| ((n * 31 + d * 17) % 97) as f32 - 48.0).collect::<Vec<f32>>();
    for from in (0..4_000).step_by(1_000) {
        let documents: Vec<Value> =
            (from..from + 1_000).map(|n| json!({ "id": n.to_string(), "text": "x", "vector": vector(n) })).collect();
        http.send("POST", "/v1/namespaces/docs/documents", &json!({ "documents": documents })).unwrap().ok();
    }
    let body = json!({ "vectors": (0..MEASURED).map(vector).collect::<Vec<_>>() }).to_string();
    let head = format!(
        "POST /v1/namespaces/docs/recall HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut caller = TcpStream::connect(server.data_address()).unwrap();
    caller.write_all(head.as_bytes()).unwrap();
    caller.write_all(body.as_bytes()).unwrap();
    drop(caller);
    // The audit record appears when the request has ended, one way or the other.
    let (clock, limit) = (SystemClock::new(), Duration::from_secs(60));
    let line = loop {
        let audit = String::from_utf8(http.send("GET", "/v1/audit", &Value::Null).unwrap().body).unwrap();
        let lines = audit.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        if let Some(line) = lines.into_iter().find(|line| line["api"]["operation"] == "search") {
            break line;
        }
        assert!(clock.monotonic() < limit, "the request left no record in the audit");
    };
    assert_eq!((&line["status"], &line["status_code"]), (&json!("Failure"), &json!("overloaded")), "{line}");
}
