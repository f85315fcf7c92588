//! Attacks with filters: many leaves on long attributes, deep nesting, and JSON that is no filter at all.

use super::{Act, Attack, Request, Size, no_requests};
use kernel::limits::{
    ATTRIBUTE_LIST_MAX, ATTRIBUTE_VALUE_BYTES_MAX, ATTRIBUTES_MAX, BODY_BYTES_MAX, DOCUMENT_ID_BYTES_MAX,
    FILTER_DEPTH_MAX, FILTER_NODES_MAX, FILTER_VALUES_MAX, FILTER_VALUES_TOTAL_MAX, IDS_PER_REQUEST_MAX,
};
use serde_json::{Value, json};

const NAMESPACE: &str = "/v1/namespaces/filters";
/// Number of documents with long attributes, of one megabyte each.
const DOCUMENTS: usize = 2;

pub(super) fn attacks() -> Vec<Attack> {
    let filter = |name, limits, requests| Attack {
        name,
        limits,
        stored: long_attributes,
        act: Act::Requests(requests),
        // A server may refuse a filter that is too expensive.
        statuses: &[200, 400, 413],
    };
    vec![
        filter("match_words", &["FILTER_NODES_MAX", "ATTRIBUTE_VALUE_BYTES_MAX", "ATTRIBUTE_LIST_MAX"], matches),
        filter("contains", &["FILTER_NODES_MAX", "FILTER_BYTES_MAX", "ANSWER_WORK_MAX"], contains),
        filter("in_values", &["FILTER_VALUES_MAX", "FILTER_VALUES_TOTAL_MAX"], in_values),
        filter("instants", &[], instants),
        filter("deep_filter", &["FILTER_DEPTH_MAX"], deep),
        filter(
            "write_by_filter",
            &["PATCHES_PER_COMMIT_MAX", "DELETES_PER_COMMIT_MAX", "SELECTION_WORK_MAX"],
            write_by_filter,
        ),
        Attack { stored: no_requests, ..filter("filter_of_numbers", &["BODY_BYTES_MAX"], numbers) },
        Attack { stored: no_requests, ..filter("deep_json", &["BODY_BYTES_MAX"], deep_json) },
        Attack {
            statuses: &[200, 400, 404, 413],
            ..filter("many_ids", &["IDS_PER_REQUEST_MAX", "DOCUMENT_ID_BYTES_MAX"], ids)
        },
        Attack {
            statuses: &[200, 400, 413],
            ..filter("attribute_keys", &["ATTRIBUTE_KEY_BYTES_MAX", "ATTRIBUTES_MAX"], attribute_keys)
        },
    ]
}

/// Stores documents with a megabyte of strings in a list, and one long string. Most of the strings repeat the same
/// word, which a comparison word by word would check again for each word of a filter.
fn long_attributes(size: Size) -> Vec<Request> {
    let list = size.of(ATTRIBUTE_LIST_MAX);
    // No two strings are equal: equal values are evaluated once.
    let repeated = |n: usize| format!("n{n:04} {}b", "a ".repeat(ATTRIBUTE_VALUE_BYTES_MAX / 2 - 8));
    let letters = "a".repeat(ATTRIBUTE_VALUE_BYTES_MAX - 4);
    let value = |n: usize| if n.is_multiple_of(4) { format!("{letters}{n:04}") } else { repeated(n) };
    let values: Vec<String> = (0..list).map(value).collect();
    let times: Vec<String> = (0..list).map(|n| format!("2026-01-01T00:00:00.{n:06}Z")).collect();
    let document = |n: usize| {
        json!({ "id": format!("long-{n}"), "text": format!("word {n}"),
                "attributes": { "list": values, "string": repeated(0), "times": times, "n": n } })
    };
    // The last request finds the documents, so that they are indexed when the attack begins.
    let found = json!({ "query": "word", "mode": "text" });
    let mut requests: Vec<Request> = (0..DOCUMENTS).map(|n| store(NAMESPACE, &[document(n)])).collect();
    requests.push(Request::post(&format!("{NAMESPACE}/search"), found.to_string()));
    requests
}

pub(super) fn store(at: &str, documents: &[Value]) -> Request {
    Request::post(&format!("{at}/documents"), json!({ "documents": documents }).to_string())
}

/// A JSON list with `count` items.
pub(super) fn list(count: usize, item: impl Fn(usize) -> String) -> String {
    let items: Vec<String> = (0..count).map(item).collect();
    format!("[{}]", items.join(","))
}

/// Stores `count` documents, each given as JSON text. Writing large ones as text takes less time than building them as
/// values.
pub(super) fn store_all(at: &str, count: usize, document: impl Fn(usize) -> String) -> Request {
    Request::post(&format!("{at}/documents"), format!(r#"{{"documents":{}}}"#, list(count, document)))
}

/// A search whose filter is an `or` of leaves that do not hold, so that each leaf is evaluated.
fn search(leaves: Vec<Value>) -> Request {
    let body = json!({ "query": "word", "mode": "text", "top_k": 1, "filter": { "type": "or", "filters": leaves } });
    Request::post(&format!("{NAMESPACE}/search"), body.to_string())
}

fn leaves(size: Size, leaf: impl Fn(usize) -> Value) -> Vec<Value> {
    (0..size.of(FILTER_NODES_MAX - 1)).map(leaf).collect()
}

fn matches(size: Size) -> Vec<Request> {
    let few = |n| {
        let words = format!("{}c{}", "b ".repeat(ATTRIBUTE_VALUE_BYTES_MAX / 2 - 8), n);
        json!({ "type": "match", "key": "list", "value": words })
    };
    vec![search((0..4).map(few).collect()), search(leaves(size, few))]
}

fn contains(size: Size) -> Vec<Request> {
    let letters = "a".repeat(ATTRIBUTE_VALUE_BYTES_MAX - 8);
    let member = |n: usize| json!({ "type": "contains", "key": "list", "value": format!("{letters}x{n:07}") });
    let substring =
        |n: usize| json!({ "type": "contains", "key": "string", "value": format!("{}{n}", "a ".repeat(900)) });
    let prefix = |n: usize| json!({ "type": "prefix", "key": "list", "value": format!("{letters}{n}") });
    vec![search(leaves(size, member)), search(leaves(size, substring)), search(leaves(size, prefix))]
}

/// Half as many leaves as nodes are allowed: with all of them the body takes a third of what a body may.
fn in_values(size: Size) -> Vec<Request> {
    let leaf = |n: usize| {
        let values = list(FILTER_VALUES_MAX, |v| format!(r#""a{n:04}{v:04}""#));
        format!(r#"{{"type":"{}","key":"list","value":{values}}}"#, if n.is_multiple_of(2) { "in" } else { "nin" })
    };
    // `nin` holds; in an `and` with a leaf that does not hold, both are evaluated.
    let pair = |n: usize| format!(r#"{{"type":"and","filters":[{},{}]}}"#, leaf(2 * n + 1), leaf(2 * n));
    let pairs = list(size.of(FILTER_NODES_MAX / 4), pair);
    let body = format!(r#"{{"query":"word","mode":"text","filter":{{"type":"or","filters":{pairs}}}}}"#);
    // A second filter has as many values as all lists together may have.
    let allowed = list(size.of(FILTER_VALUES_TOTAL_MAX / FILTER_VALUES_MAX), leaf);
    let allowed = format!(r#"{{"query":"word","mode":"text","filter":{{"type":"or","filters":{allowed}}}}}"#);
    vec![Request::post(&format!("{NAMESPACE}/search"), body), Request::post(&format!("{NAMESPACE}/search"), allowed)]
}

fn instants(size: Size) -> Vec<Request> {
    let leaf = |n: usize| json!({ "type": "gt", "key": "times", "value": format!("2030-01-01T00:00:00.{n:06}Z") });
    let number = |n: usize| json!({ "type": "lt", "key": "n", "value": -1.0 - n as f64 });
    vec![search(leaves(size, leaf)), search(leaves(size, number))]
}

fn deep(size: Size) -> Vec<Request> {
    let nested = |depth: usize| {
        let mut filter = json!({ "type": "match", "key": "list", "value": "b c" });
        for _ in 1..depth {
            filter = json!({ "type": "not", "filters": [filter] });
        }
        search(vec![filter])
    };
    vec![nested(size.of(FILTER_DEPTH_MAX - 1)), nested(FILTER_DEPTH_MAX * 2)]
}

/// Patches and deletes that match nothing in the end, but evaluate each document.
fn write_by_filter(size: Size) -> Vec<Request> {
    let words = |n| json!({ "type": "match", "key": "list", "value": format!("{}c{n}", "b ".repeat(2_000)) });
    let filter = json!({ "type": "or", "filters": leaves(Size(size.0.div_ceil(8)), words) });
    let patch = json!({ "filter": filter, "attributes": { "touched": 1 } });
    let list = json!({ "filter": filter, "limit": 1000, "include": ["attributes"] });
    vec![
        Request::post(&format!("{NAMESPACE}/documents/patch"), patch.to_string()),
        Request::post(&format!("{NAMESPACE}/documents/delete"), json!({ "filter": filter }).to_string()),
        Request::post(&format!("{NAMESPACE}/documents/list"), list.to_string()),
    ]
}

/// Arrays of numbers instead of a filter: a server that parses one completely first holds many times its length.
fn numbers(size: Size) -> Vec<Request> {
    // The arrays have sixteen megabytes, or half of that. A list that is refused at its first element costs no more for
    // being long.
    let ones = "1,".repeat(size.of(BODY_BYTES_MAX / 8).max(4 << 20));
    let filter = format!(r#"{{"query":"x","filter":[{ones}1]}}"#);
    let attributes = format!(r#"{{"documents":[{{"text":"x","attributes":{{"a":[{ones}1]}}}}]}}"#);
    vec![
        Request::post(&format!("{NAMESPACE}/search"), filter),
        Request::post(&format!("{NAMESPACE}/documents"), attributes),
    ]
}

fn deep_json(size: Size) -> Vec<Request> {
    let n = size.of(BODY_BYTES_MAX / 16);
    let lists = format!(r#"{{"query":"x","filter":{}"#, "[".repeat(n));
    let objects = format!(r#"{{"query":"x","filter":{}"#, r#"{"a":"#.repeat(n / 5));
    let closed =
        format!(r#"{{"documents":[{{"text":"x","attributes":{{"a":{}1{}}}}}]}}"#, "[".repeat(n / 2), "]".repeat(n / 2));
    vec![
        Request::post(&format!("{NAMESPACE}/search"), lists),
        Request::post(&format!("{NAMESPACE}/search"), objects),
        Request::post(&format!("{NAMESPACE}/documents"), closed),
    ]
}

fn ids(size: Size) -> Vec<Request> {
    let id = |n: usize| format!("{n:08}{}", "i".repeat(DOCUMENT_ID_BYTES_MAX - 8));
    let ids: Vec<String> = (0..size.of(IDS_PER_REQUEST_MAX)).map(id).collect();
    let routes = [
        ("list", json!({ "ids": ids })),
        ("delete", json!({ "ids": ids })),
        ("patch", json!({ "ids": ids, "attributes": { "x": 1 } })),
        ("review", json!({ "ids": ids, "decision": "reject" })),
    ];
    routes
        .into_iter()
        .map(|(route, body)| Request::post(&format!("{NAMESPACE}/documents/{route}"), body.to_string()))
        .collect()
}

fn attribute_keys(size: Size) -> Vec<Request> {
    let key = |n: usize| format!("{n:04}{}", "k".repeat(kernel::limits::ATTRIBUTE_KEY_BYTES_MAX - 4));
    let document = |d: usize| {
        let members: Vec<String> = (0..ATTRIBUTES_MAX).map(|n| format!(r#""{}":{n}"#, key(d % 7 * 100 + n))).collect();
        format!(r#"{{"id":"keys-{d}","text":"x","attributes":{{{}}}}}"#, members.join(","))
    };
    let documents = store_all(NAMESPACE, size.of(1_000), document);
    let exists = |n: usize| json!({ "type": "exists", "key": key(900 + n) });
    vec![documents, search(leaves(size, exists))]
}
