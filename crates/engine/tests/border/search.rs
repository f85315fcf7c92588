//! Search: what each reader finds, and which requests are refused.

use crate::fixture::{BorderFixture, HELD, START, document, read_by, readers, summary, tenant, with_vector, with_year};
use access::Search;
use engine::{
    Diversity, Fusion, FusionMethod, FusionWeights, Include, MinScores, Mode, OnConflict, RawDocument, Rerank,
    SearchRequest,
};
use kernel::{Filter, Untrusted};
use serde_json::json;
use std::time::Duration;

/// A search for a text, for ten hits.
fn text(query: &str) -> SearchRequest {
    SearchRequest { query: Some(Untrusted::new(query)), top_k: 10, ..SearchRequest::default() }
}

/// A search for what all documents contain.
fn blue() -> SearchRequest {
    text("blue")
}

fn vector(vector: &[f32]) -> SearchRequest {
    SearchRequest { vector: Some(vector.to_vec()), top_k: 10, ..SearchRequest::default() }
}

fn filter(value: &serde_json::Value) -> Option<Filter> {
    Some(Filter::parse(value).unwrap())
}

fn fused(method: FusionMethod, weights: Option<(f32, f32)>) -> Option<Fusion> {
    Some(Fusion { method, weights: weights.map(|(text, vector)| FusionWeights { text, vector }) })
}

type Row = (&'static str, &'static str, &'static str, SearchRequest, &'static str);

/// In the namespace `n` each reader has a document of its own. The results name the hits in order of id, the mode in
/// which they were ranked, and the number of warnings if there are any.
fn rows() -> Vec<Row> {
    let of_2026 = json!({"type": "eq", "key": "year", "value": 2026});
    let of_nothing = json!({"type": "eq", "key": "absent", "value": 1});
    vec![
        // Without a model each search for a text alone is ranked by text, and says so.
        ("a reader", "alice", "n", blue(), "alices open (text) 1 warnings"),
        ("another reader", "bob", "n", blue(), "bobs open (text) 1 warnings"),
        ("a key without principals", "reader", "n", blue(), "open (text) 1 warnings"),
        ("a key that reads all", "all", "n", blue(), "alices bobs open (text) 1 warnings"),
        ("mode text", "bob", "n", SearchRequest { mode: Some(Mode::Text), ..blue() }, "bobs open (text)"),
        ("held back from everyone", "all", "n", text("instructions"), " (text) 1 warnings"),
        ("expired", "all", "n", text("brief"), " (text) 1 warnings"),
        ("no hits are no error", "all", "n", text("nothing of this"), " (text) 1 warnings"),
        ("one hit", "reader", "n", SearchRequest { top_k: 1, ..blue() }, "open (text) 1 warnings"),
        (
            "as another reader",
            "all",
            "n",
            SearchRequest { acting_as: Some(readers(&["user:bob"])), ..blue() },
            "bobs open (text) 1 warnings",
        ),
        ("as no reader", "all", "n", SearchRequest { acting_as: Some(Vec::new()), ..blue() }, "open (text) 1 warnings"),
        (
            "as another without the scope",
            "alice",
            "n",
            SearchRequest { acting_as: Some(readers(&["user:bob"])), ..blue() },
            "forbidden as",
        ),
        (
            "as oneself without the scope",
            "alice",
            "n",
            SearchRequest { acting_as: Some(readers(&["user:alice"])), ..blue() },
            "forbidden as",
        ),
        ("a filter", "all", "n", SearchRequest { filter: filter(&of_2026), ..blue() }, "alices (text) 1 warnings"),
        (
            "a filter shows nothing of others",
            "bob",
            "n",
            SearchRequest { filter: filter(&of_2026), ..blue() },
            " (text) 2 warnings",
        ),
        (
            "a filter by an unknown key",
            "all",
            "n",
            SearchRequest { filter: filter(&of_nothing), ..blue() },
            " (text) 2 warnings",
        ),
        // Vectors of the caller.
        ("vectors", "all", "v", vector(&[1.0, 0.1]), "x y (vector)"),
        (
            "vectors with a text",
            "all",
            "v",
            SearchRequest { query: Some(Untrusted::new("blue")), ..vector(&[1.0, 0.1]) },
            "x y (hybrid)",
        ),
        ("a text in a namespace of vectors", "all", "v", blue(), "x y (text) 1 warnings"),
        ("too long a vector", "all", "v", vector(&[1.0, 0.0, 0.0]), "dimension_mismatch vector"),
        ("not a number", "all", "v", vector(&[1.0, f32::NAN]), "invalid_request vector"),
        ("no direction", "all", "v", vector(&[0.0, 0.0]), "invalid_request vector"),
        ("a vector in a namespace of texts", "all", "n", vector(&[1.0, 0.0]), "invalid_request vector"),
        (
            "a vector is missing",
            "all",
            "v",
            SearchRequest { mode: Some(Mode::Hybrid), ..blue() },
            "invalid_request vector",
        ),
        (
            "vectors are shown with the scope",
            "all",
            "v",
            SearchRequest { include: Include { vector: true, ..Include::default() }, ..vector(&[1.0, 0.0]) },
            "x y (vector)",
        ),
        (
            "vectors are not shown without it",
            "alice",
            "v",
            SearchRequest { include: Include { vector: true, ..Include::default() }, ..vector(&[1.0, 0.0]) },
            "forbidden include",
        ),
        // Refused requests name the member.
        ("no question", "all", "n", SearchRequest { top_k: 1, ..SearchRequest::default() }, "invalid_request query"),
        ("an empty question", "all", "n", text(""), "invalid_request query"),
        ("the longest question", "all", "n", text(&"x".repeat(32 << 10)), " (text) 1 warnings"),
        ("too long a question", "all", "n", text(&"x".repeat((32 << 10) + 1)), "too_large query"),
        ("no hits asked for", "all", "n", SearchRequest { top_k: 0, ..blue() }, "invalid_request top_k"),
        ("most hits", "bob", "n", SearchRequest { top_k: 1_000, ..blue() }, "bobs open (text) 1 warnings"),
        ("too many hits", "all", "n", SearchRequest { top_k: 1_001, ..blue() }, "invalid_request top_k"),
        (
            "mode vector without a model",
            "all",
            "n",
            SearchRequest { mode: Some(Mode::Vector), ..blue() },
            "model_unavailable",
        ),
        (
            "mode text without a text",
            "all",
            "v",
            SearchRequest { mode: Some(Mode::Text), ..vector(&[1.0, 0.0]) },
            "invalid_request query",
        ),
        (
            "no passages of a document",
            "all",
            "n",
            SearchRequest { max_per_document: Some(0), ..blue() },
            "invalid_request max_per_document",
        ),
        (
            "no passages of a source",
            "all",
            "n",
            SearchRequest { max_per_source: Some(0), ..blue() },
            "invalid_request max_per_source",
        ),
        (
            "weight below zero",
            "all",
            "n",
            SearchRequest { title_weight: Some(-0.1), ..blue() },
            "invalid_request title_weight",
        ),
        (
            "no weight",
            "all",
            "n",
            SearchRequest { title_weight: Some(f32::NAN), ..blue() },
            "invalid_request title_weight",
        ),
        (
            "lambda beyond 1",
            "all",
            "v",
            SearchRequest { diversity: Some(Diversity { lambda: 1.1 }), ..vector(&[1.0, 0.0]) },
            "invalid_request diversity.lambda",
        ),
        (
            "diversity without vectors",
            "all",
            "n",
            SearchRequest { diversity: Some(Diversity { lambda: 0.5 }), ..blue() },
            "invalid_request diversity",
        ),
        (
            "diversity of many hits",
            "all",
            "v",
            SearchRequest { diversity: Some(Diversity { lambda: 0.5 }), top_k: 101, ..vector(&[1.0, 0.0]) },
            "invalid_request diversity",
        ),
        (
            "fusion of one ranking",
            "all",
            "n",
            SearchRequest { mode: Some(Mode::Text), fusion: fused(FusionMethod::Rrf, None), ..blue() },
            "invalid_request fusion",
        ),
        (
            "weights that have no effect",
            "all",
            "n",
            SearchRequest { fusion: fused(FusionMethod::Rrf, Some((1.0, 1.0))), ..blue() },
            "invalid_request fusion.weights",
        ),
        (
            "weights of nothing",
            "all",
            "n",
            SearchRequest { fusion: fused(FusionMethod::Convex, Some((0.0, 0.0))), ..blue() },
            "invalid_request fusion.weights",
        ),
        (
            "no reranker serves",
            "all",
            "n",
            SearchRequest { rerank: Some(Rerank::default()), ..blue() },
            "model_unavailable rerank",
        ),
        (
            "reranking without a question",
            "all",
            "v",
            SearchRequest { rerank: Some(Rerank::default()), ..vector(&[1.0, 0.0]) },
            "invalid_request query",
        ),
        (
            "a score of no reranker",
            "all",
            "n",
            SearchRequest { min_scores: MinScores { rerank: Some(0.5), ..MinScores::default() }, ..blue() },
            "invalid_request min_scores.rerank",
        ),
        // Refused callers.
        ("no such namespace", "all", "none", blue(), "not_found"),
        ("a namespace beyond the fence", "fenced", "n", blue(), "not_found"),
        ("the namespace of another tenant", "small", "n", blue(), "not_found"),
        ("no key", "none", "n", blue(), "unauthenticated"),
    ]
}

async fn found(fixture: &BorderFixture, key: &str, namespace: &str, request: SearchRequest) -> String {
    let grant = match fixture.admit::<Search>(key, namespace).await {
        Ok(grant) => grant,
        Err(error) => return crate::fixture::shown(&error),
    };
    summary(fixture.engine.search(grant, request).await, |reply| {
        let mut ids: Vec<&str> = reply.hits.iter().map(|hit| hit.document_id.as_str()).collect();
        ids.sort_unstable();
        let warnings = match reply.warnings.len() {
            0 => String::new(),
            n => format!(" {n} warnings"),
        };
        format!("{} ({}){warnings}", ids.join(" "), reply.mode.as_str())
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn search() {
    let mut fixture = BorderFixture::new().await;
    fixture.add_key("writer", "acme", &[kernel::Scope::Ingest], &[], &[]).await;
    let brief = RawDocument {
        expires_at: Some(START.plus(Duration::from_secs(60))),
        ..document("expired", "a brief blue note")
    };
    let documents = vec![
        document("open", "the blue whale"),
        read_by("user:alice", with_year(2026, document("alices", "the blue sky"))),
        read_by("user:bob", document("bobs", "the blue sea")),
        document("held", HELD),
        brief,
    ];
    let stored = "open indexed, alices indexed, bobs indexed, held quarantined, expired indexed";
    assert_eq!(fixture.ingest("all", "n", documents, OnConflict::Overwrite).await, stored);
    let documents =
        vec![with_vector(&[1.0, 0.0], document("x", "blue")), with_vector(&[0.0, 1.0], document("y", "light blue"))];
    assert_eq!(fixture.ingest("all", "v", documents, OnConflict::Overwrite).await, "x indexed, y indexed");
    assert_eq!(found(&fixture, "all", "n", text("brief")).await, "expired (text) 1 warnings", "it is not expired yet");
    fixture.clock.advance(Duration::from_secs(60));
    for (name, key, namespace, request, expected) in rows() {
        assert_eq!(found(&fixture, key, namespace, request).await, expected, "{name}");
    }
    assert_eq!(found(&fixture, "writer", "n", blue()).await, "forbidden");
    fixture.engine.suspend_tenant(&fixture.operator, &tenant("acme")).await.unwrap();
    assert_eq!(found(&fixture, "alice", "n", blue()).await, "tenant_suspended");
    fixture.engine.resume_tenant(&fixture.operator, &tenant("acme")).await.unwrap();
    assert_eq!(found(&fixture, "alice", "n", blue()).await, "alices open (text) 1 warnings");
}
