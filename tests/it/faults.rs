//! The real binary on an object store that answers what it should not, or nothing: each fault, once
//! and for as long as it lasts, is a clear error or a success after retries. Once it is over, the
//! server mends itself and nothing that was acknowledged is missing.

#![expect(clippy::print_stdout, reason = "figures of a run, which the test runner shows")]

use crate::load::{Client, SCOPES, Told, patiently, told};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::{FakeS3, Fault, Http, Op, Server, ServerBuilder, StoreKey, Tenant, When};

/// What a store does instead of what it should.
const TABLE: [Fault; 13] = [
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

/// One request only, and every one until it is healed.
const TIMES: [usize; 2] = [1, usize::MAX];

/// A server that soon loses patience with its store.
fn on(fake: &FakeS3) -> ServerBuilder {
    let key = StoreKey { id: "id".to_owned(), secret: "secret".to_owned() };
    crate::server()
        .bucket(&fake.endpoint(), &format!("s3://{}/node", fake.bucket()), &key)
        .env("RINGFENCE__STORAGE__RETRIES", "2")
        .env("RINGFENCE__STORAGE__RETRY_TIMEOUT_S", "3")
        .env("RINGFENCE__STORAGE__REQUEST_TIMEOUT_S", "1")
        .env("RINGFENCE__STORAGE__CONNECT_TIMEOUT_S", "1")
        .env("RINGFENCE__LIMITS__FLUSH_ROWS", "16")
}

/// A success, or an error that says what it is.
fn clear(http: &mut Http, path: &str, body: &Value, when: &str) -> u16 {
    let reply = http.send("POST", path, body).unwrap_or_else(|e| panic!("{when}: no answer: {e}"));
    let said = reply.json();
    assert!(matches!(reply.status, 200 | 409 | 429 | 503), "{when}: {} {said}", reply.status);
    assert!(reply.status == 200 || !reply.code().is_empty(), "{when}: {said}");
    reply.status
}

/// Gives each thread some of the faults, for most of the time is spent waiting.
fn in_parallel(test: impl Fn(&[Fault]) + Sync) {
    std::thread::scope(|scope| {
        for faults in TABLE.chunks(3) {
            let test = &test;
            scope.spawn(move || test(faults));
        }
    });
}

#[test]
fn a_writer_meets_every_fault() {
    in_parallel(write_under);
}

fn write_under(faults: &[Fault]) {
    let fake = FakeS3::start();
    let mut server = on(&fake).start();
    let mut clients = Client::make(&server, 1);
    let address = server.data_address();
    for (fault, times) in faults.iter().flat_map(|fault| TIMES.map(|times| (*fault, times))) {
        let when = format!("{fault:?} for PUT, {times} times");
        let client = &mut clients[usize::from(times == 1)];
        let mut http = client.reader.http(address);
        // In memory from now on, whatever the fault before did.
        client.verify(address, &when);
        fake.fail(When::op(Op::Put).times(times), fault);
        client.write(&mut http);
        let question = json!({"query": "rule"});
        let read = http.send("POST", &format!("{}/search", client.reader.path), &question).expect("an answer");
        assert_eq!(read.status, 200, "{when}: what is in memory is not served: {}", read.json());
        fake.heal();
        mend(client, &mut http, &when);
        client.verify(address, &when);
        assert!(server.runs(), "{when}: the server ended: {}", server.stderr());
    }
    server.kill();
    let second = server.twin().start();
    clients.iter_mut().for_each(|client| client.verify(second.data_address(), "on a second server"));
    println!("{faults:?}: {}", crate::load::counted(clients.iter().map(|c| &c.book)));
}

/// Writes until one is acknowledged.
fn mend(client: &mut Client, http: &mut Http, when: &str) {
    for _ in 0..200 {
        if client.write(http) == Told::Acknowledged {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{when}: no write for 20 s after it was over");
}

#[test]
fn a_namespace_that_opens_meets_every_fault() {
    in_parallel(open_under);
}

fn open_under(faults: &[Fault]) {
    let fake = FakeS3::start();
    let mut server = on(&fake).start();
    let tenant = Tenant::Acme.id();
    server.tenant(tenant);
    let key = server.key(tenant, SCOPES, &[]);
    // One namespace for each row, so that each is cold when its turn comes.
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
        assert_eq!(told(&reply), Told::Acknowledged);
    }
    server.kill();
    let mut server = server.twin().start();
    let mut api = server.api(&key);
    // The tenant is open, its namespaces are not.
    api.send("GET", "/v1/namespaces", &Value::Null).unwrap().ok();
    let question = json!({"query": "cold", "mode": "text", "include": ["text"]});
    for (n, (op, fault, times)) in cases.iter().enumerate() {
        let when = format!("{fault:?} for {op:?}, {times} times");
        fake.fail(When::op(*op).times(*times), *fault);
        clear(&mut api, &format!("{}/search", path(n)), &question, &when);
        clear(&mut api, &format!("{}/documents", path(n)), &document(n, "b"), &when);
        fake.heal();
        let answer = patiently(&mut api, &format!("{}/search", path(n)), &question).ok();
        assert!(answer["hits"].as_array().is_some_and(|hits| !hits.is_empty()), "{when}: {answer}");
        patiently(&mut api, &format!("{}/documents", path(n)), &document(n, "c")).ok();
        assert!(server.runs(), "{when}: the server ended: {}", server.stderr());
    }
    let found = |api: &mut Http, n| {
        let listed = patiently(api, &format!("{}/documents/list", path(n)), &json!({})).ok();
        listed["documents"].as_array().unwrap().iter().map(|d| d["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    server.kill();
    let last = server.twin().start();
    let mut api = last.api(&key);
    for (n, case) in cases.iter().enumerate() {
        let ids = found(&mut api, n);
        assert!(["a", "c"].iter().all(|id| ids.iter().any(|i| i == id)), "{case:?}: {ids:?}");
    }
}

#[test]
fn a_start_meets_every_fault() {
    in_parallel(start_under);
}

fn start_under(faults: &[Fault]) {
    let fake = FakeS3::start();
    let mut server = on(&fake).start();
    let mut clients = Client::make(&server, 1);
    for client in &mut clients {
        let mut http = client.reader.http(server.data_address());
        (0..5).for_each(|_| assert_eq!(client.write(&mut http), Told::Acknowledged));
    }
    let mut refused = 0;
    for op in [Op::Put, Op::Get, Op::List] {
        for fault in faults.iter().copied() {
            for times in TIMES {
                let when = format!("{fault:?} for {op:?}, {times} times");
                server.kill();
                fake.fail(When::op(op).times(times), fault);
                let said = server.stderr().len();
                let started = server.try_restart();
                fake.heal();
                if !started {
                    refused += 1;
                    ended_well(&mut server, said, &when);
                    server.restart();
                }
                clients.iter_mut().for_each(|client| client.verify(server.data_address(), &when));
            }
        }
    }
    println!("{faults:?}: {refused} of {} starts refused", 3 * faults.len() * TIMES.len());
}

/// It ended with an error code, and its last words name the store.
fn ended_well(server: &mut Server, said: usize, when: &str) {
    let status = server.ended(Duration::from_secs(10)).unwrap_or_else(|| panic!("{when}: neither serves nor ends"));
    let words = server.stderr()[said..].to_owned();
    assert!(status.code().is_some_and(|code| code != 0), "{when}: it ends with {status}");
    assert!(words.contains("s3://") || words.contains("object store"), "{when}: it does not say what failed: {words}");
}

#[test]
fn a_folder_that_cannot_be_written_is_refused_and_loses_nothing() {
    let mut server = crate::server().start();
    let mut clients = Client::make(&server, 1);
    for client in &mut clients {
        let mut http = client.reader.http(server.data_address());
        (0..20).for_each(|_| assert_eq!(client.write(&mut http), Told::Acknowledged));
    }
    server.kill();
    server.read_only(true);
    let said = server.stderr().len();
    assert!(!server.try_restart(), "it starts on a disk that takes no writes");
    let status = server.ended(Duration::from_secs(10)).expect("it ends by itself");
    let words = server.stderr()[said..].to_owned();
    assert!(
        status.code().is_some_and(|code| code != 0) && words.contains("Read-only file system"),
        "{status}: {words}"
    );
    server.read_only(false);
    server.restart();
    clients.iter_mut().for_each(|client| client.verify(server.data_address(), "with the right to write again"));
}
