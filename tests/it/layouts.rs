//! The same documents stored in different ways: in one write, in small batches that are flushed and merged, and after a
//! history of other versions and deletions. Every search answers identically, in every mode, to the last digit; under a
//! filter that few documents pass, it returns all of them.

use crate::in_process::{ALL_SCOPES, TestServer};
use serde_json::{Value, json};
use testkit::{Http, Rng};

const DOCUMENTS: &str = "/v1/namespaces/layouts/documents";
const SEARCH: &str = "/v1/namespaces/layouts/search";
const WORDS: [&str; 10] =
    ["leave", "policy", "travel", "train", "flight", "budget", "summer", "office", "security", "the"];
const COUNT: usize = 150;

fn document(n: usize, random: &Rng) -> Value {
    let words = |count: u64| (0..count).map(|_| *random.pick(&WORDS)).collect::<Vec<_>>().join(" ");
    let mut document = json!({
        "id": format!("doc-{n:04}"), "title": words(2), "text": words(3 + random.below(30)),
        "vector": (0..8).map(|_| random.below(7) as f64 - 2.9).collect::<Vec<_>>(),
        "attributes": { "year": 2020 + random.below(6), "number": n },
    });
    if random.below(4) == 0 {
        document["readers"] = json!([format!("user:{}", random.below(2))]);
    }
    document
}

fn post(http: &mut Http, path: &str, body: &Value) -> Value {
    http.send("POST", path, body).expect("an answer").ok()
}

fn store(http: &mut Http, documents: &[Value], at_once: usize) {
    for batch in documents.chunks(at_once) {
        let reply = post(http, DOCUMENTS, &json!({ "documents": batch }));
        assert_eq!(reply["counts"], json!({ "indexed": batch.len() }));
    }
}

fn year(kind: &str, year: u64) -> Value {
    json!({ "type": kind, "key": "year", "value": year })
}

/// Answers of searches over modes, filters, readers and sizes.
fn answers(http: &mut Http) -> Vec<Value> {
    let filters = [None, Some(year("gte", 2024)), Some(json!({ "type": "lt", "key": "number", "value": 7 }))];
    let mut all = Vec::new();
    for (query, vector) in
        [("annual leave and train travel", [1, 0, -1, 2, 0, 0, 1, 1]), ("the budget", [0, 3, 0, 0, -1, 1, 0, 2])]
    {
        for mode in ["hybrid", "text", "vector"] {
            for filter in &filters {
                for (top_k, acting_as) in [
                    (1, json!({ "principals": ["user:2", "group:a"] })),
                    (10, json!({ "principals": ["user:1"] })),
                    (1_000, json!({ "principals": ["user:0"] })),
                ] {
                    let mut request = json!({ "query": query, "vector": vector, "mode": mode, "top_k": top_k,
                        "include": ["text", "attributes"], "as": acting_as });
                    if let Some(filter) = filter {
                        request["filter"] = filter.clone();
                    }
                    let reply = post(http, SEARCH, &request);
                    assert_eq!((&reply["mode"], reply["hits"] == json!([])), (&json!(mode), false), "{request}");
                    all.push(json!({ "request": request, "hits": reply["hits"] }));
                }
            }
        }
    }
    all
}

#[test]
fn every_mode_answers_identically_however_documents_were_stored() {
    let random = Rng::new(21);
    let documents: Vec<Value> = (0..COUNT).map(|n| document(n, &random)).collect();

    let at_once_server = TestServer::start_default();
    at_once_server.tenant("acme");
    let mut http = at_once_server.data(Some(&at_once_server.key("acme", ALL_SCOPES, json!({}))));
    store(&mut http, &documents, COUNT);
    let expected = answers(&mut http);

    let mut batches = TestServer::start_with(&[("RINGFENCE__LIMITS__FLUSH_ROWS", "10")]);
    batches.tenant("acme");
    let key = batches.key("acme", ALL_SCOPES, json!({}));
    let mut http = batches.data(Some(&key));
    store(&mut http, &documents, 7);
    assert_eq!(answers(&mut http), expected, "in small batches");
    batches.stop();
    batches.start();
    assert_eq!(answers(&mut batches.data(Some(&key))), expected, "in small batches, opened again");

    let mut history = TestServer::start_with(&[("RINGFENCE__LIMITS__FLUSH_ROWS", "40")]);
    history.tenant("acme");
    let key = history.key("acme", ALL_SCOPES, json!({}));
    let mut http = history.data(Some(&key));
    // The history holds numbers that no document has in the end, and other versions of a third of the documents.
    let other = |n: usize| document(if n.is_multiple_of(3) { n } else { n + 1_000 }, &random);
    store(&mut http, &(0..COUNT).map(other).collect::<Vec<_>>(), 30);
    let deletion = post(
        &mut http,
        &format!("{DOCUMENTS}/delete"),
        &json!({ "filter": { "type": "gte", "key": "number", "value": 1_000 } }),
    );
    assert_eq!(deletion["deleted"], COUNT - COUNT.div_ceil(3));
    store(&mut http, &documents, 40);
    assert_eq!(answers(&mut http), expected, "after a history");
    history.stop();
    history.start();
    assert_eq!(answers(&mut history.data(Some(&key))), expected, "after a history, opened again");
}

#[test]
fn no_mode_omits_what_passes_a_filter() {
    let random = Rng::new(22);
    let documents: Vec<Value> = (0..COUNT).map(|n| document(n, &random)).collect();
    let server = TestServer::start_with(&[("RINGFENCE__LIMITS__FLUSH_ROWS", "60")]);
    server.tenant("acme");
    let mut http = server.data(Some(&server.key("acme", ALL_SCOPES, json!({}))));
    store(&mut http, &documents, 50);
    for number in [1, 2, 9, 10, 11, 40, 120] {
        let filter = json!({ "type": "lt", "key": "number", "value": number });
        let list = post(&mut http, &format!("{DOCUMENTS}/list"), &json!({ "filter": filter, "limit": 1 }));
        assert_eq!(list["total"], number, "the total counts all, the page has one");
        for (mode, top_k) in [("hybrid", 10), ("vector", 10), ("hybrid", 1_000), ("vector", 1_000)] {
            // Few documents contain the word: the vectors bring the others.
            let request = json!({ "query": "security", "vector": [1, 0, -1, 2, 0, 0, 1, 1], "mode": mode, "top_k": top_k, "filter": filter });
            let hits = post(&mut http, SEARCH, &request)["hits"].as_array().expect("hits").len();
            assert_eq!(hits, number.min(top_k), "{mode}, {top_k} of {number}");
        }
        let request = json!({ "query": "security", "mode": "text", "top_k": 1_000, "filter": filter });
        let contains_word = |doc: &&Value| format!("{} {}", doc["title"], doc["text"]).contains("security");
        let expected = documents.iter().take(number).filter(contains_word).count();
        assert_eq!(post(&mut http, SEARCH, &request)["hits"].as_array().expect("hits").len(), expected);
    }
}
