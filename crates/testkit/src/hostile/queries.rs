//! Attacks with queries that are expensive to answer, and with reads whose length the caller chooses.

use super::{Act, Attack, Request, Size, filters::store};
use kernel::limits::{
    CONTEXT_TOKENS_MAX, DIVERSE_TOP_K_MAX, PHRASES_PER_QUERY_MAX, QUERY_BYTES_MAX, RECALL_QUERIES_MAX, SHORT_LIST_MAX,
    TOP_K_MAX,
};
use serde_json::{Value, json};

const NAMESPACE: &str = "/v1/namespaces/questions";
/// Documents in one request.
const BATCH: usize = 500;

pub(super) fn attacks() -> Vec<Attack> {
    let attack = |name, limits, requests| Attack {
        name,
        limits,
        stored: passages,
        act: Act::Requests(requests),
        statuses: &[200, 400],
    };
    vec![
        attack("stars_and_phrases", &["PHRASES_PER_QUERY_MAX", "PREFIX_WORDS_MAX", "PREFIX_CHARS_MIN"], stars),
        attack("long_question", &["QUERY_BYTES_MAX", "TOP_K_MAX", "HIGHLIGHTS_PER_HIT_MAX", "TITLE_WEIGHT_MAX"], long),
        attack("diversity", &["DIVERSE_TOP_K_MAX"], diverse),
        attack("recall", &["RECALL_QUERIES_MAX", "RECALL_ROWS_MAX", "RECALL_WORK_MAX"], recall),
        attack("context", &["CONTEXT_TOKENS_MAX"], context),
        attack("short_lists", &["SHORT_LIST_MAX"], short_lists),
        Attack { statuses: &[200, 400, 503], ..attack("min_commit", &["MIN_COMMIT_WAIT"], min_commit) },
        attack("audit_readers", &["LIST_LIMIT_MAX", "AUDIT_PAGE_BYTES_MAX", "AUDIT_PAGE_CHUNKS_MAX"], audit),
        Attack { statuses: &[200, 400, 404, 422], ..attack("whoami", &[], whoami) },
    ]
}

/// Stores passages of words with a common prefix, each with a vector.
fn passages(size: Size) -> Vec<Request> {
    let vector = |n: usize| (0..64).map(|d| ((n * 31 + d * 17) % 97) as i32 - 48).collect::<Vec<_>>();
    let document = |n: usize| {
        let words: String = (0..40).map(|w| format!("ab{:03} ", (n * 41 + w * 7) % 1_000)).collect();
        json!({ "id": format!("p{n}"), "title": format!("ab{:03}", n % 1_000), "text": words, "vector": vector(n) })
    };
    let all: Vec<Value> = (0..size.of(4_000)).map(document).collect();
    let mut requests = vec![Request::put(NAMESPACE, json!({ "embedding": { "dimensions": 64 } }).to_string())];
    requests.extend(all.chunks(BATCH).map(|batch| store(NAMESPACE, batch)));
    requests
}

fn search(body: Value) -> Request {
    Request::post(&format!("{NAMESPACE}/search"), body.to_string())
}

fn stars(size: Size) -> Vec<Request> {
    let n = size.of(PHRASES_PER_QUERY_MAX);
    let stars: String = (0..n).map(|n| format!("ab{}* ", n % 10)).collect();
    let phrases: String = (0..n).map(|n| format!("\"ab{:03} ab{:03}\" ", n * 7, n * 7 + 7)).collect();
    let many_prefixes = "ab* ".repeat(size.of(QUERY_BYTES_MAX / 4 - 1));
    let quoted = "\"ab001 ab008\" ".repeat(size.of(QUERY_BYTES_MAX / 14 - 1));
    [stars + &phrases, many_prefixes, quoted]
        .into_iter()
        .map(|query| search(json!({ "query": query, "mode": "text", "top_k": 100, "include": ["text", "highlights"] })))
        .collect()
}

fn long(size: Size) -> Vec<Request> {
    let words: String = (0..size.of(QUERY_BYTES_MAX / 6 - 1)).map(|n| format!("ab{:03} ", n % 1_000)).collect();
    let body = |query: &str| {
        json!({ "query": query, "mode": "text", "top_k": TOP_K_MAX, "title_weight": 10.0,
                "include": ["text", "highlights", "attributes", "explain"] })
    };
    let one = "q".repeat(size.of(QUERY_BYTES_MAX));
    let code = "a1-".repeat(size.of(QUERY_BYTES_MAX / 3));
    vec![search(body(&words)), search(body(&one)), search(body(&code))]
}

fn diverse(size: Size) -> Vec<Request> {
    let vector: Vec<usize> = (0..64).collect();
    let body = json!({ "vector": vector, "query": "ab001 ab002", "mode": "hybrid", "top_k": size.of(DIVERSE_TOP_K_MAX),
                       "diversity": { "lambda": 0.1 }, "max_per_document": 1, "max_per_source": 1 });
    vec![search(body)]
}

fn recall(size: Size) -> Vec<Request> {
    let vector = |n: usize| (0..64).map(|d| ((n * 13 + d * 17) % 97) as i32 - 48).collect::<Vec<_>>();
    let n = size.of(RECALL_QUERIES_MAX);
    let vectors: Vec<_> = (0..n).map(vector).collect();
    vec![
        Request::post(&format!("{NAMESPACE}/recall"), json!({ "samples": n, "top_k": TOP_K_MAX }).to_string()),
        Request::post(&format!("{NAMESPACE}/recall"), json!({ "vectors": vectors, "top_k": TOP_K_MAX }).to_string()),
    ]
}

fn context(size: Size) -> Vec<Request> {
    let of = |rendering: &str| {
        json!({ "query": "ab001 ab002 ab003", "mode": "text", "top_k": TOP_K_MAX, "rendering": rendering,
                "max_tokens": size.of(CONTEXT_TOKENS_MAX) })
    };
    ["datamarked", "base64", "delimited"]
        .iter()
        .map(|rendering| Request::post(&format!("{NAMESPACE}/context"), of(rendering).to_string()))
        .collect()
}

fn short_lists(size: Size) -> Vec<Request> {
    let include = vec!["text"; size.of(SHORT_LIST_MAX)];
    vec![search(json!({ "query": "ab001", "mode": "text", "include": include }))]
}

/// A search that waits for a commit that never comes.
fn min_commit(_: Size) -> Vec<Request> {
    vec![search(json!({ "query": "ab001", "mode": "text", "min_commit": 1_u64 << 40 }))]
}

/// Reads of the whole audit whose filters match nothing.
fn audit(_: Size) -> Vec<Request> {
    ["", "&document=nowhere", "&principal=user:nowhere", "&since=2020-01-01T00:00:00Z"]
        .iter()
        .map(|filter| Request::get(&format!("/v1/audit?limit=1000{filter}")))
        .collect()
}

/// Many namespaces, and requests that list them all.
fn whoami(size: Size) -> Vec<Request> {
    let mut requests: Vec<Request> =
        (0..size.of(200)).map(|n| Request::put(&format!("/v1/namespaces/many-{n}"), "{}")).collect();
    for _ in 0..size.of(200) {
        requests.extend([Request::get("/v1/whoami"), Request::get("/v1/namespaces?limit=1000")]);
    }
    requests
}
