//! Attacks with replies that are many times as long as the data they are built from, and with namespaces that hold
//! files open.

use super::{Act, Attack, Request, Size, filters::store, no_requests};
use kernel::limits::{
    ATTRIBUTE_VALUE_BYTES_MAX, DOCUMENT_BYTES_MAX, LIST_LIMIT_MAX, NAMESPACES_PER_KEY_MAX, TOP_K_MAX,
};
use serde_json::{Value, json};

const NAMESPACE: &str = "/v1/namespaces/replies";

pub(super) fn attacks() -> Vec<Attack> {
    let reads = |name, limits, stored, requests| Attack {
        name,
        limits,
        stored,
        act: Act::Requests(requests),
        statuses: &[200, 400, 413],
    };
    vec![
        reads("reply_attributes", &["TOP_K_MAX", "ATTRIBUTES_MAX", "REPLY_BYTES_SOFT"], heavy_document, hits),
        reads("reply_text", &["LIST_LIMIT_MAX", "DOCUMENT_BYTES_MAX", "REPLY_BYTES_MAX"], long_documents, texts),
        reads("many_namespaces", &["NAMESPACES_OPEN_MAX", "LOG_FILE_BYTES_MIN"], no_requests, namespaces),
        reads(
            "many_small_writes",
            &["WRITES_QUEUED_MAX", "WRITES_PER_ENTRY_MAX", "AUDIT_QUEUE_RECORDS_MAX"],
            no_requests,
            small_writes,
        ),
    ]
}

/// Stores one document of 900 passages, whose attributes each hit repeats.
fn heavy_document(size: Size) -> Vec<Request> {
    let text: String = (0..900)
        .map(|n| format!("The valve number {n} of the boiler is checked each day. {}\n\n", "It is so. ".repeat(4)))
        .collect();
    let list = vec!["v".repeat(ATTRIBUTE_VALUE_BYTES_MAX); 256];
    let attributes: serde_json::Map<String, Value> = (0..size.of(4)).map(|n| (format!("k{n}"), json!(list))).collect();
    vec![
        Request::put(NAMESPACE, json!({ "chunking": { "max_tokens": 20 } }).to_string()),
        store(NAMESPACE, &[json!({ "id": "heavy", "text": text, "attributes": attributes })]),
    ]
}

fn hits(size: Size) -> Vec<Request> {
    let of = |top_k: usize| json!({ "query": "valve boiler", "mode": "text", "top_k": top_k, "include": ["text", "attributes"] });
    let context = json!({ "query": "valve boiler", "mode": "text", "top_k": 1000, "max_tokens": 200_000 });
    vec![
        Request::post(&format!("{NAMESPACE}/search"), of(150).to_string()),
        Request::post(&format!("{NAMESPACE}/search"), of(size.of(TOP_K_MAX)).to_string()),
        Request::post(&format!("{NAMESPACE}/context"), context.to_string()),
    ]
}

/// Stores long texts of one repeated word, which a list returns completely.
fn long_documents(size: Size) -> Vec<Request> {
    let text = "long ".repeat(size.of(DOCUMENT_BYTES_MAX / 8) / 5);
    (0..16).map(|n| store("/v1/namespaces/texts", &[json!({ "id": format!("long-{n}"), "text": text })])).collect()
}

fn texts(size: Size) -> Vec<Request> {
    let list = json!({ "limit": size.of(LIST_LIMIT_MAX), "include": ["text", "attributes", "vector"] });
    vec![
        Request::post("/v1/namespaces/texts/documents/list", list.to_string()),
        Request::get("/v1/namespaces/texts/documents/long-3?include=text,vector"),
    ]
}

/// Writes to many namespaces, each of which then holds its log file open.
fn namespaces(size: Size) -> Vec<Request> {
    let document = json!({ "id": "a", "text": "one of many" });
    (0..size.of(NAMESPACES_PER_KEY_MAX / 2))
        .map(|n| store(&format!("/v1/namespaces/file-{n}"), std::slice::from_ref(&document)))
        .collect()
}

fn small_writes(size: Size) -> Vec<Request> {
    (0..size.of(400))
        .map(|n| {
            store("/v1/namespaces/small", &[json!({ "id": format!("s{}", n % 50), "text": format!("small {n}") })])
        })
        .collect()
}
