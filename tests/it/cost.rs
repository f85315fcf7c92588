//! Tests of what a request may cost others: filters of a thousand leaves on a document of a megabyte, and searches that
//! wait for a bucket. Also, numbers and times are stored and compared exactly, on every way in and out.

use serde_json::{Value, json};
use std::{sync::mpsc, thread, time::Duration};
use testkit::{FakeS3, Fault, Http, Op, Server, StoreKey, When};

const DOCUMENTS: &str = "/v1/namespaces/docs/documents";

/// A server, and a client with a key of one tenant for all that these tests do.
fn server_and_client() -> (Server, Http) {
    let server = crate::server().start();
    server.tenant("acme");
    let key = server.key("acme", &["search", "ingest", "delete"], &[]);
    let http = server.api(&key);
    (server, http)
}

fn put(http: &mut Http, documents: Value) {
    http.send("POST", DOCUMENTS, &json!({ "documents": documents })).unwrap().ok();
}

/// Ids of the documents that a filter accepts, from a list.
fn accepted(http: &mut Http, filter: Value) -> Vec<String> {
    let body = json!({ "filter": filter, "include": [] });
    let page = http.send("POST", &format!("{DOCUMENTS}/list"), &body).unwrap().ok();
    page["documents"].as_array().unwrap().iter().map(|d| d["id"].as_str().unwrap().to_owned()).collect()
}

fn leaf(kind: &str, key: &str, value: Value) -> Value {
    json!({ "type": kind, "key": key, "value": value })
}

#[test]
fn integers_are_stored_and_compared_to_the_last_digit() {
    let (_server, mut http) = server_and_client();
    let numbers = [
        ("two53", json!(9_007_199_254_740_992_u64)),
        ("next", json!(9_007_199_254_740_993_u64)),
        ("most", json!(u64::MAX)),
        ("before", json!(u64::MAX - 1)),
        ("least", json!(i64::MIN)),
        ("half", json!(0.5)),
        ("huge", json!(1e300)),
    ];
    let document = |(id, n): &(&str, Value)| json!({"id": id, "text": "x", "vector": [1, 2], "attributes": {"n": n}});
    put(&mut http, numbers.iter().map(document).collect());
    for (id, n) in &numbers {
        let shown = http.send("GET", &format!("{DOCUMENTS}/{id}"), &Value::Null).unwrap().ok();
        assert_eq!(shown["attributes"]["n"].to_string(), n.to_string(), "{id} is returned as it was sent");
        assert_eq!(accepted(&mut http, leaf("eq", "n", n.clone())), [*id], "and matches no neighbour");
        assert_eq!(accepted(&mut http, leaf("in", "n", json!([n, "x"]))), [*id]);
    }
    // A float is compared by its exact value.
    assert_eq!(accepted(&mut http, leaf("eq", "n", json!(9_007_199_254_740_992.0))), ["two53"]);
    assert_eq!(
        accepted(&mut http, leaf("gt", "n", json!(9_007_199_254_740_992.0))),
        ["before", "huge", "most", "next"]
    );
    assert_eq!(accepted(&mut http, leaf("gte", "n", json!(u64::MAX))), ["huge", "most"]);
    assert_eq!(accepted(&mut http, leaf("lt", "n", json!(0.25))), ["least"]);
    // A search, which uses another index, gives the same.
    let body = json!({"vector": [1, 2], "filter": leaf("lte", "n", json!(9_007_199_254_740_992_u64))});
    let reply = http.send("POST", "/v1/namespaces/docs/search", &body).unwrap().ok();
    let mut ids: Vec<_> = reply["hits"].as_array().unwrap().iter().map(|h| h["document_id"].clone()).collect();
    ids.sort_by_key(Value::to_string);
    assert_eq!(ids, [json!("half"), json!("least"), json!("two53")]);
}

/// JSON parsers turn these numbers into floats.
#[test]
fn integers_of_more_than_64_bits_are_refused_by_name() {
    let (_server, mut http) = server_and_client();
    for number in ["18446744073709551616", "-9223372036854775809", "100000000000000000000000"] {
        let body = format!(
            r#"{{"documents":[{{"id":"a","text":"x","vector":[1,2],"attributes":{{"n":1e300}}}},
                {{"id":"b","text":"x","vector":[1,2],"attributes":{{"list":[1,{number}]}}}}]}}"#
        );
        let results = http.send_bytes("POST", DOCUMENTS, body.as_bytes(), &[]).unwrap().ok()["results"].clone();
        assert_ne!(results[0]["status"], "failed", "a number written as a float is accepted: {results}");
        assert_eq!(results[1]["status"], "failed", "{number}: {results}");
        assert_eq!(results[1]["error"]["param"], "documents[1].attributes.list");
        let filter = format!(r#"{{"filter":{{"type":"eq","key":"n","value":{number}}}}}"#);
        let reply = http.send_bytes("POST", &format!("{DOCUMENTS}/list"), filter.as_bytes(), &[]).unwrap();
        assert_eq!(reply.status, 400, "{number}");
        assert!(reply.json()["error"]["message"].as_str().unwrap().contains("64 bits"), "{}", reply.json());
    }
}

#[test]
fn a_valid_time_is_accepted_everywhere() {
    let (_server, mut http) = server_and_client();
    let times = [
        ("a", "0000-01-01T00:00:00Z"),
        ("b", "1990-12-31T23:59:60Z"),
        ("c", "1991-01-01T00:00:00Z"),
        ("d", "2026-06-01t12:00:00.000000001z"),
        ("e", "2026-06-01T14:00:00.1+02:00"),
        ("f", "9999-12-31T23:59:59Z"),
        ("g", "9999-12-31T23:59:59.999-23:59"),
    ];
    let document =
        |(id, until): &(&str, &str)| json!({"id": id, "text": "x", "vector": [1, 2], "attributes": {"until": until}});
    put(&mut http, times.iter().map(document).collect());
    for (at, (id, until)) in times.iter().enumerate() {
        let ids = |range: &[(&str, &str)]| range.iter().map(|(id, _)| (*id).to_owned()).collect::<Vec<_>>();
        assert_eq!(accepted(&mut http, leaf("gt", "until", json!(until))), ids(&times[at + 1..]), "after {until}");
        assert_eq!(accepted(&mut http, leaf("lte", "until", json!(until))), ids(&times[..=at]), "up to {until}");
        // The expiry of a document is tested, too.
        let end = json!([{"id": "end", "text": "x", "vector": [1, 2], "expires_at": until}]);
        put(&mut http, end);
        let found = accepted(&mut http, leaf("eq", "$expires_at", json!(until)));
        assert_eq!(found.len(), usize::from(*id >= "f"), "an expired document is gone, another is found: {until}");
    }
    let shown = http.send("GET", &format!("{DOCUMENTS}/end"), &Value::Null).unwrap().ok();
    assert_eq!(shown["expires_at"], "9999-12-31T00:00:58.999-23:59".replace("00:00:58.999", "23:59:59.999"));
    let body = json!({"filter": leaf("gt", "until", json!("2026-02-30T00:00:00Z"))});
    assert_eq!(http.send("POST", &format!("{DOCUMENTS}/list"), &body).unwrap().status, 400);
}

/// Filters that once froze a server for seconds per leaf get the right answer.
#[test]
fn a_thousand_leaves_over_a_megabyte_of_attributes() {
    let (_server, mut http) = server_and_client();
    let value = |n: usize| (0..585).map(|w| format!("w{:05x}", n * 585 + w)).collect::<Vec<_>>().join(" ");
    let large: Vec<String> = (0..256).map(value).collect();
    put(
        &mut http,
        json!([{"id": "large", "text": "x", "vector": [1, 2], "attributes": {"k": large, "one": large[0]}}]),
    );
    let words = |n: usize| (0..585).map(|w| format!("w{:05x}", (n % 256) * 585 + w)).collect::<Vec<_>>();
    // Each leaf requires words of one value and a word that is nowhere, except the last.
    let matches = (0..1_020).map(|n| leaf("match", "k", json!(format!("{} nowhere{n}", words(n)[..500].join(" ")))));
    let last = leaf("match", "k", json!(words(7)[..500].join(" ").to_uppercase()));
    let any = |leaves: Vec<Value>| json!({"type": "or", "filters": leaves});
    assert!(accepted(&mut http, any(matches.clone().collect())).is_empty());
    assert_eq!(accepted(&mut http, any(matches.chain([last]).collect())), ["large"]);
    let inside = (0..1_020).map(|n| leaf("contains", "one", json!(format!("{} {n}", words(0)[n % 500]))));
    assert!(accepted(&mut http, any(inside.clone().collect())).is_empty());
    assert_eq!(
        accepted(&mut http, any(inside.chain([leaf("contains", "one", json!("00 w00001"))]).collect())),
        ["large"]
    );
    let values = |n: usize| (0..1_024).map(|v| json!(format!("{n}-{v}"))).collect::<Vec<_>>();
    // Together the lists have as many values as one filter may have.
    let lists = (0..15).map(|n| leaf("in", "k", json!(values(n))));
    assert!(accepted(&mut http, any(lists.clone().collect())).is_empty());
    assert_eq!(accepted(&mut http, any(lists.chain([leaf("in", "k", json!([large[255]]))]).collect())), ["large"]);
}

/// Searches of one tenant that waited for a bucket once held every computing thread of the server.
#[test]
fn searches_that_wait_for_a_bucket_delay_no_other_tenant() {
    let fake = FakeS3::start();
    let key = StoreKey { id: "id".to_owned(), secret: "secret".to_owned() };
    let url = format!("s3://{}/node", fake.bucket());
    let server =
        crate::server().bucket(&fake.endpoint(), &url, &key).env("RINGFENCE__LIMITS__FLUSH_ROWS", "900").start();
    let [cold, warm] = ["cold", "warm"].map(|tenant| {
        server.tenant(tenant);
        server.key(tenant, &["search", "ingest"], &[])
    });
    // The segment is larger than what is read at opening: a search has to fetch the heads and texts of its hits.
    let vector = |n: usize| {
        let mut vector = vec![0; 4_096];
        // Each document has a direction of its own, so that each search finds another document first.
        (vector[0], vector[1 + n]) = (1, 3);
        vector
    };
    // The texts are so long that few of them are in one fetched block.
    let text = "word ".repeat(800);
    let mut http = server.api(&cold);
    for from in [0, 1_000] {
        let documents: Vec<Value> =
            (from..from + 1_000).map(|n| json!({"id": n.to_string(), "text": text, "vector": vector(n)})).collect();
        put(&mut http, documents.into());
    }
    put(&mut server.api(&warm), json!([{"id": "a", "text": "x", "vector": vector(2)}]));
    let mut server = server;
    assert_eq!(server.stop(), Some(0));
    server.restart();
    let search = |key: &str, n: usize| {
        let mut http = server.api(key);
        let body = json!({"vector": vector(n), "top_k": 3});
        thread::spawn(move || http.send("POST", "/v1/namespaces/docs/search", &body).unwrap().ok())
    };
    // Both namespaces are opened.
    search(&cold, 0).join().unwrap();
    search(&warm, 0).join().unwrap();
    let large = fake.keys().into_iter().filter(|key| key.contains("seg/")).filter_map(|key| fake.object(&key));
    assert!(large.map(|object| object.len()).max() > Some(26 << 20), "a segment that is read page by page");
    // This holds reads of segments, and nothing that the server reads by itself.
    fake.fail(When::op(Op::Get).key("seg/"), Fault::Hold);
    let waiting: Vec<_> = (1..9).map(|n| search(&cold, n * 230)).collect();
    // Three are more than a machine of two cores has threads for.
    while fake.held() < 3 && !waiting.iter().any(thread::JoinHandle::is_finished) {
        thread::yield_now();
    }
    assert!(fake.held() >= 3, "searches wait for their texts");
    let (sender, receiver) = mpsc::channel();
    let mut http = server.api(&warm);
    thread::spawn(move || {
        let page = http.send("POST", &format!("{DOCUMENTS}/list"), &json!({})).unwrap().ok();
        let _ = sender.send(page);
    });
    let page = receiver.recv_timeout(Duration::from_secs(20));
    fake.clear_faults();
    let (ended, stop) = mpsc::channel::<()>();
    let held = &fake;
    thread::scope(|scope| {
        // New requests are no longer held; those that are held are released.
        scope.spawn(move || {
            while stop.recv_timeout(Duration::from_millis(20)) == Err(mpsc::RecvTimeoutError::Timeout) {
                held.release();
            }
        });
        for search in waiting {
            assert_eq!(search.join().unwrap()["hits"].as_array().unwrap().len(), 3);
        }
        drop(ended);
    });
    assert_eq!(page.expect("the other tenant is answered while they wait")["total"], 1);
}
