//! The real binary on an object store that answers wrongly or not at all: each fault, once and while it lasts, is a
//! clear error or a success after retries. Once it is over, the server recovers by itself and no acknowledged write is
//! missing.

#![expect(clippy::print_stdout, reason = "figures of a run, which the test runner shows")]

use crate::load::{LoadClient, Outcome, SCOPES, outcome_of, send_with_retries};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::{FakeS3, Fault, Http, Op, Server, ServerBuilder, StoreKey, TwinTenant, When};

/// Faults of the store.
const FAULTS: [Fault; 13] = [
    Fault::Status(403),
    Fault::Status(409),
    Fault::Status(412),
    Fault::Status(429),
    Fault::Status(500),
    Fault::Status(503),
    Fault::StatusAfter(500),
    Fault::StatusAfter(503),
    Fault::CloseBefore,
    Fault::CloseAfter,
    Fault::HangBefore,
    Fault::HangAfter,
    Fault::Truncate,
];

/// The fault affects one request only, or every one until it is removed.
const TIMES: [usize; 2] = [1, usize::MAX];

/// A server that soon gives up on its store.
fn server_on(fake: &FakeS3) -> ServerBuilder {
    let key = StoreKey { id: "id".to_owned(), secret: "secret".to_owned() };
    crate::server()
        .bucket(&fake.endpoint(), &format!("s3://{}/node", fake.bucket()), &key)
        .env("RINGFENCE__STORAGE__RETRIES", "2")
        .env("RINGFENCE__STORAGE__RETRY_TIMEOUT_S", "3")
        .env("RINGFENCE__STORAGE__REQUEST_TIMEOUT_S", "1")
        .env("RINGFENCE__STORAGE__CONNECT_TIMEOUT_S", "1")
        .env("RINGFENCE__LIMITS__FLUSH_ROWS", "16")
}

/// Sends a request and checks that the answer is a success or a clear error. Returns the status.
fn send_and_check(http: &mut Http, path: &str, body: &Value, when: &str) -> u16 {
    let reply = http.send("POST", path, body).unwrap_or_else(|e| panic!("{when}: no answer: {e}"));
    let body_json = reply.json();
    assert!(matches!(reply.status, 200 | 409 | 429 | 503), "{when}: {} {body_json}", reply.status);
    assert!(reply.status == 200 || !reply.code().is_empty(), "{when}: {body_json}");
    reply.status
}

/// Runs the test in several threads, each with some of the faults: most of the time is spent waiting.
fn in_parallel(test: impl Fn(&[Fault]) + Sync) {
    std::thread::scope(|scope| {
        for faults in FAULTS.chunks(3) {
            let test = &test;
            scope.spawn(move || test(faults));
        }
    });
}

#[test]
fn writes_survive_every_fault() {
    in_parallel(write_with_faults);
}

fn write_with_faults(faults: &[Fault]) {
    let fake = FakeS3::start();
    let mut server = server_on(&fake).start();
    let mut clients = LoadClient::create(&server, 1);
    let address = server.data_address();
    for (fault, times) in faults.iter().flat_map(|fault| TIMES.map(|times| (*fault, times))) {
        let when = format!("{fault:?} for PUT, {times} times");
        let client = &mut clients[usize::from(times == 1)];
        let mut http = client.reader.http(address);
        // The namespace is in memory from now on, whatever the previous fault did.
        client.verify(address, &when);
        fake.fail(When::op(Op::Put).times(times), fault);
        client.write(&mut http);
        let question = json!({"query": "rule"});
        let read = http.send("POST", &format!("{}/search", client.reader.path), &question).expect("an answer");
        assert_eq!(read.status, 200, "{when}: data in memory is not served: {}", read.json());
        fake.clear_faults();
        write_until_acknowledged(client, &mut http, &when);
        client.verify(address, &when);
        assert!(server.runs(), "{when}: the server ended: {}", server.stderr());
    }
    server.kill();
    let second = server.sibling().start();
    clients.iter_mut().for_each(|client| client.verify(second.data_address(), "on a second server"));
    println!("{faults:?}: {}", crate::load::write_counts(clients.iter().map(|c| &c.expected)));
}

/// Writes until a write is acknowledged.
fn write_until_acknowledged(client: &mut LoadClient, http: &mut Http, when: &str) {
    for _ in 0..200 {
        if client.write(http) == Outcome::Acknowledged {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{when}: no write for 20 s after it was over");
}

#[test]
fn opening_a_namespace_survives_every_fault() {
    in_parallel(open_with_faults);
}

fn open_with_faults(faults: &[Fault]) {
    let fake = FakeS3::start();
    let mut server = server_on(&fake).start();
    let tenant = TwinTenant::Acme.id();
    server.tenant(tenant);
    let key = server.key(tenant, SCOPES, &[]);
    // Each case has a namespace of its own, so that it is cold when its turn comes.
    let cases: Vec<(Op, Fault, usize)> = [Op::Get, Op::List]
        .iter()
        .flat_map(|op| faults.iter().flat_map(|fault| TIMES.iter().map(|times| (*op, *fault, *times))))
        .collect();
    let path = |n: usize| format!("/v1/namespaces/cold-{n}");
    let document =
        |n: usize, id: &str| json!({"documents": [{"id": id, "text": format!("the {n}th of the cold ones")}]});
    let mut api = server.api(&key);
    for n in 0..cases.len() {
        let reply = api.send("POST", &format!("{}/documents", path(n)), &document(n, "a"));
        assert_eq!(outcome_of(&reply), Outcome::Acknowledged);
    }
    server.kill();
    let mut server = server.sibling().start();
    let mut api = server.api(&key);
    // The tenant is open, but its namespaces are not.
    api.send("GET", "/v1/namespaces", &Value::Null).unwrap().ok();
    let question = json!({"query": "cold", "mode": "text", "include": ["text"]});
    for (n, (op, fault, times)) in cases.iter().enumerate() {
        let when = format!("{fault:?} for {op:?}, {times} times");
        fake.fail(When::op(*op).times(*times), *fault);
        send_and_check(&mut api, &format!("{}/search", path(n)), &question, &when);
        send_and_check(&mut api, &format!("{}/documents", path(n)), &document(n, "b"), &when);
        fake.clear_faults();
        let answer = send_with_retries(&mut api, &format!("{}/search", path(n)), &question).ok();
        assert!(answer["hits"].as_array().is_some_and(|hits| !hits.is_empty()), "{when}: {answer}");
        send_with_retries(&mut api, &format!("{}/documents", path(n)), &document(n, "c")).ok();
        assert!(server.runs(), "{when}: the server ended: {}", server.stderr());
    }
    let found = |api: &mut Http, n| {
        let listed = send_with_retries(api, &format!("{}/documents/list", path(n)), &json!({})).ok();
        listed["documents"].as_array().unwrap().iter().map(|d| d["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    server.kill();
    let last = server.sibling().start();
    let mut api = last.api(&key);
    for (n, case) in cases.iter().enumerate() {
        let ids = found(&mut api, n);
        assert!(["a", "c"].iter().all(|id| ids.iter().any(|i| i == id)), "{case:?}: {ids:?}");
    }
}

#[test]
fn starts_survive_every_fault() {
    in_parallel(start_with_faults);
}

fn start_with_faults(faults: &[Fault]) {
    let fake = FakeS3::start();
    let mut server = server_on(&fake).start();
    let mut clients = LoadClient::create(&server, 1);
    for client in &mut clients {
        let mut http = client.reader.http(server.data_address());
        (0..5).for_each(|_| assert_eq!(client.write(&mut http), Outcome::Acknowledged));
    }
    let mut refused = 0;
    for op in [Op::Put, Op::Get, Op::List] {
        for fault in faults.iter().copied() {
            for times in TIMES {
                let when = format!("{fault:?} for {op:?}, {times} times");
                server.kill();
                fake.fail(When::op(op).times(times), fault);
                let log_start = server.stderr().len();
                let started = server.try_restart();
                fake.clear_faults();
                if !started {
                    refused += 1;
                    check_that_it_ended_with_an_error(&mut server, log_start, &when);
                    server.restart();
                }
                clients.iter_mut().for_each(|client| client.verify(server.data_address(), &when));
            }
        }
    }
    println!("{faults:?}: {refused} of {} starts refused", 3 * faults.len() * TIMES.len());
}

/// Checks that the server ended with an error code and that its last lines name the store.
fn check_that_it_ended_with_an_error(server: &mut Server, log_start: usize, when: &str) {
    let status = server.ended(Duration::from_secs(10)).unwrap_or_else(|| panic!("{when}: neither serves nor ends"));
    let log = server.stderr()[log_start..].to_owned();
    assert!(status.code().is_some_and(|code| code != 0), "{when}: the server ends with {status}");
    assert!(log.contains("s3://") || log.contains("object store"), "{when}: the log does not say what failed: {log}");
}

#[test]
fn a_folder_that_cannot_be_written_is_refused_and_loses_nothing() {
    let mut server = crate::server().start();
    let mut clients = LoadClient::create(&server, 1);
    for client in &mut clients {
        let mut http = client.reader.http(server.data_address());
        (0..20).for_each(|_| assert_eq!(client.write(&mut http), Outcome::Acknowledged));
    }
    server.kill();
    server.read_only(true);
    let log_start = server.stderr().len();
    assert!(!server.try_restart(), "the server starts on a read-only disk");
    let status = server.ended(Duration::from_secs(10)).expect("the server ends by itself");
    let log = server.stderr()[log_start..].to_owned();
    assert!(status.code().is_some_and(|code| code != 0) && log.contains("Read-only file system"), "{status}: {log}");
    server.read_only(false);
    server.restart();
    clients.iter_mut().for_each(|client| client.verify(server.data_address(), "after the disk is writable again"));
}
