//! The same documents by different ways: written at once, in small lots that are flushed and merged, and after a past
//! of other versions and deletions. Every search answers alike, in every mode, to the last digit; and under a filter
//! that few pass it answers with all of them.

use crate::house::{ALL, House};
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
    for some in documents.chunks(at_once) {
        let reply = post(http, DOCUMENTS, &json!({ "documents": some }));
        assert_eq!(reply["counts"], json!({ "indexed": some.len() }));
    }
}

fn year(kind: &str, year: u64) -> Value {
    json!({ "type": kind, "key": "year", "value": year })
}

/// What searches answer: modes, filters, readers, sizes.
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
                    let mut ask = json!({ "query": query, "vector": vector, "mode": mode, "top_k": top_k,
                        "include": ["text", "attributes"], "as": acting_as });
                    if let Some(filter) = filter {
                        ask["filter"] = filter.clone();
                    }
                    let reply = post(http, SEARCH, &ask);
                    assert_eq!((&reply["mode"], reply["hits"] == json!([])), (&json!(mode), false), "{ask}");
                    all.push(json!({ "ask": ask, "hits": reply["hits"] }));
                }
            }
        }
    }
    all
}

#[test]
fn every_mode_answers_alike_however_documents_came() {
    let random = Rng::new(21);
    let documents: Vec<Value> = (0..COUNT).map(|n| document(n, &random)).collect();

    let whole = House::open();
    whole.tenant("acme");
    let mut http = whole.data(Some(&whole.key("acme", ALL, json!({}))));
    store(&mut http, &documents, COUNT);
    let expected = answers(&mut http);

    let mut lots = House::open_with(&[("RINGFENCE__LIMITS__FLUSH_ROWS", "10")]);
    lots.tenant("acme");
    let key = lots.key("acme", ALL, json!({}));
    let mut http = lots.data(Some(&key));
    store(&mut http, &documents, 7);
    assert_eq!(answers(&mut http), expected, "in small lots");
    lots.stop();
    lots.start();
    assert_eq!(answers(&mut lots.data(Some(&key))), expected, "in small lots, opened again");

    let mut past = House::open_with(&[("RINGFENCE__LIMITS__FLUSH_ROWS", "40")]);
    past.tenant("acme");
    let key = past.key("acme", ALL, json!({}));
    let mut http = past.data(Some(&key));
    // Numbers that nobody has in the end, and other versions of a third.
    let other = |n: usize| document(if n.is_multiple_of(3) { n } else { n + 1_000 }, &random);
    store(&mut http, &(0..COUNT).map(other).collect::<Vec<_>>(), 30);
    let gone = post(
        &mut http,
        &format!("{DOCUMENTS}/delete"),
        &json!({ "filter": { "type": "gte", "key": "number", "value": 1_000 } }),
    );
    assert_eq!(gone["deleted"], COUNT - COUNT.div_ceil(3));
    store(&mut http, &documents, 40);
    assert_eq!(answers(&mut http), expected, "after a past");
    past.stop();
    past.start();
    assert_eq!(answers(&mut past.data(Some(&key))), expected, "after a past, opened again");
}

#[test]
fn no_mode_is_short_of_what_passes_a_filter() {
    let random = Rng::new(22);
    let documents: Vec<Value> = (0..COUNT).map(|n| document(n, &random)).collect();
    let house = House::open_with(&[("RINGFENCE__LIMITS__FLUSH_ROWS", "60")]);
    house.tenant("acme");
    let mut http = house.data(Some(&house.key("acme", ALL, json!({}))));
    store(&mut http, &documents, 50);
    for number in [1, 2, 9, 10, 11, 40, 120] {
        let filter = json!({ "type": "lt", "key": "number", "value": number });
        let list = post(&mut http, &format!("{DOCUMENTS}/list"), &json!({ "filter": filter, "limit": 1 }));
        assert_eq!(list["total"], number, "the total counts all, the page has one");
        for (mode, top_k) in [("hybrid", 10), ("vector", 10), ("hybrid", 1_000), ("vector", 1_000)] {
            // One word is in few of them: the vectors bring the others.
            let ask = json!({ "query": "security", "vector": [1, 0, -1, 2, 0, 0, 1, 1], "mode": mode, "top_k": top_k, "filter": filter });
            let hits = post(&mut http, SEARCH, &ask)["hits"].as_array().expect("hits").len();
            assert_eq!(hits, number.min(top_k), "{mode}, {top_k} of {number}");
        }
        let ask = json!({ "query": "security", "mode": "text", "top_k": 1_000, "filter": filter });
        let says = |doc: &&Value| format!("{} {}", doc["title"], doc["text"]).contains("security");
        let expected = documents.iter().take(number).filter(says).count();
        assert_eq!(post(&mut http, SEARCH, &ask)["hits"].as_array().expect("hits").len(), expected);
    }
}
