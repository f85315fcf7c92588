//! Plans of a table of requests: what each request becomes under the obligations of its grant.

use super::*;
use crate::{Engine, EngineConfig, FusionMethod, FusionWeights, Include, NewApiKey, NewTenant};
use access::RequestInfo;
use journal::Storage;
use kernel::{CancelFlag, NamespaceName, OsEntropy, Principal, Scope, TenantId};
use serde_json::json;
use std::{fmt::Write, sync::Arc, time::Duration};
use vault::{LocalProvider, Providers};

/// A grant to search, of a key that reads as one principal and may name others.
async fn grant_of_alice(engine: &Engine, token: &str) -> Grant<Search> {
    let operator = engine.gate().operator(Some(token), &[], engine.request_id()).map_err(|r| r.error).unwrap();
    let tenant = TenantId::parse("acme").unwrap();
    engine.create_tenant(&operator, NewTenant::named(tenant.clone())).await.unwrap();
    let key = NewApiKey {
        name: "test".to_owned(),
        scopes: vec![Scope::Search, Scope::ActAs, Scope::Vectors],
        principals: vec![Principal::parse("user:alice").unwrap()],
        namespaces: Vec::new(),
        expires_at: None,
    };
    let (_, secret) = engine.create_api_key(&operator, &tenant, key).await.unwrap();
    let ask = RequestInfo {
        namespace: NamespaceName::parse("n").ok(),
        request: engine.request_id(),
        trace: None,
        cancel: CancelFlag::default(),
    };
    engine.admit(Some(&secret), ask).await.map_err(|refusal| refusal.error).unwrap()
}

fn text() -> SearchRequest {
    SearchRequest { query: Some(Untrusted::new("leave policy")), top_k: 10, ..SearchRequest::default() }
}

fn vector() -> SearchRequest {
    SearchRequest { vector: Some(vec![1.0, 0.0]), top_k: 10, ..SearchRequest::default() }
}

fn settings(embedding: Embedding) -> NamespaceSettings {
    NamespaceSettings { embedding, ..NamespaceSettings::default() }
}

/// Name, settings of the namespace and request of each case.
fn table() -> Vec<(&'static str, NamespaceSettings, SearchRequest)> {
    let model = || settings(Embedding::Model { name: "fake".to_owned(), dimensions: 8 });
    let gone = || settings(Embedding::Model { name: "gone".to_owned(), dimensions: 8 });
    let own = || settings(Embedding::Own { dimensions: 2 });
    let texts = || settings(Embedding::Own { dimensions: 0 });
    let strict = || NamespaceSettings { require_readers: true, ..model() };
    let filter = json!({"type": "or", "filters": [
        {"type": "prefix", "key": "team", "value": "private"}, {"type": "gte", "key": "year", "value": 2024}]});
    let weights = FusionWeights { text: 1.0, vector: 3.0 };
    vec![
        ("a text", model(), text()),
        ("a text, one hit", model(), SearchRequest { top_k: 1, ..text() }),
        ("a text, most hits", model(), SearchRequest { top_k: 1_000, ..text() }),
        ("mode text", model(), SearchRequest { mode: Some(Mode::Text), ..text() }),
        ("mode vector", model(), SearchRequest { mode: Some(Mode::Vector), ..text() }),
        ("a text and a vector", own(), SearchRequest { vector: vector().vector, ..text() }),
        ("a vector", own(), vector()),
        ("a text for callers' own vectors", own(), text()),
        ("a text for a namespace of texts", texts(), text()),
        ("a text for an empty namespace", settings(Embedding::Default), text()),
        ("a text for a model that does not serve", gone(), text()),
        ("mode hybrid for a model that does not serve", gone(), SearchRequest { mode: Some(Mode::Hybrid), ..text() }),
        ("readers are required", strict(), text()),
        (
            "as others",
            model(),
            SearchRequest { acting_as: Some(vec![Principal::parse("user:bob").unwrap()]), ..text() },
        ),
        ("as no one", strict(), SearchRequest { acting_as: Some(Vec::new()), ..text() }),
        ("a filter", model(), SearchRequest { filter: Filter::parse(&filter).ok(), ..text() }),
        (
            "one passage of each document",
            model(),
            SearchRequest { mode: Some(Mode::Text), max_per_document: Some(1), ..text() },
        ),
        ("two passages of each source", own(), SearchRequest { max_per_source: Some(2), ..vector() }),
        (
            "weights",
            model(),
            SearchRequest { fusion: Some(Fusion { method: FusionMethod::Weighted, weights: Some(weights) }), ..text() },
        ),
        (
            "reciprocal ranks",
            model(),
            SearchRequest { fusion: Some(Fusion { method: FusionMethod::Rrf, weights: None }), ..text() },
        ),
        ("diversity", own(), SearchRequest { diversity: Some(Diversity { lambda: 0.5 }), ..vector() }),
        (
            "reranked",
            model(),
            SearchRequest { rerank: Some(Rerank { model: Some("fake".to_owned()), depth: None }), ..text() },
        ),
        (
            "reranked, many hits",
            model(),
            SearchRequest { rerank: Some(Rerank { model: Some("fake".to_owned()), depth: None }), top_k: 80, ..text() },
        ),
        (
            "reranked and diverse",
            model(),
            SearchRequest {
                rerank: Some(Rerank { model: Some("fake".to_owned()), depth: Some(200) }),
                diversity: Some(Diversity { lambda: 0.0 }),
                ..text()
            },
        ),
        (
            "no such reranker",
            model(),
            SearchRequest { rerank: Some(Rerank { model: Some("none".to_owned()), depth: None }), ..text() },
        ),
        (
            "everything else",
            model(),
            SearchRequest {
                include: Include { text: true, attributes: true, vector: true, explain: true, highlights: true },
                min_scores: MinScores { vector: Some(0.5), text: Some(1.0), rerank: None },
                phrases: Phrases::Require,
                min_commit: Some(CommitNo(7)),
                title_weight: Some(0.0),
                ..text()
            },
        ),
    ]
}

fn parts(include: Include) -> String {
    let Include { text, attributes, vector, explain, highlights } = include;
    let all = [("text", text), ("attributes", attributes), ("vector", vector), ("explain", explain)];
    let included = all.into_iter().chain([("highlights", highlights)]).filter(|(_, included)| *included);
    included.map(|(name, _)| name).collect::<Vec<_>>().join(", ")
}

/// Everything that a plan decides, without what the caller wrote.
fn describe(plan: &SearchPlan) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    let source = match plan.vector() {
        VectorSource::None => "none".to_owned(),
        VectorSource::Given(numbers) => format!("given, {} numbers", numbers.len()),
        VectorSource::Model(name) => format!("of model {name}"),
    };
    writeln!(out, "  mode {}, words {}, vector {source}", plan.mode().as_str(), plan.words().is_some())?;
    writeln!(out, "  audience {:?}", plan.audience())?;
    writeln!(out, "  filter {:?}", plan.filter())?;
    let (needed, depth, first) = (plan.candidates_needed(), plan.depth(), plan.first_depth());
    writeln!(out, "  hits {}, candidates {needed}, depth {depth}, first depth {first}", plan.top_k())?;
    let document = plan.max_per_document;
    writeln!(out, "  capped {}: document {document:?}, source {:?}", plan.is_capped(), plan.max_per_source())?;
    writeln!(out, "  {:?}", plan.fusion())?;
    let rerank = plan.rerank().map(|rerank| (&rerank.model, rerank.method, rerank.depth));
    writeln!(out, "  diversity {:?}, rerank {rerank:?}", plan.diversity().map(|diversity| diversity.lambda))?;
    writeln!(out, "  phrases required {}, title weight {}", plan.requires_phrases(), plan.title_weight())?;
    writeln!(out, "  {:?}, commit {:?}", plan.min_scores(), plan.min_commit().map(|commit| commit.0))?;
    writeln!(out, "  shows [{}], reads [{}]", parts(plan.include()), parts(plan.include_for_ranking()))?;
    for warning in &plan.warnings {
        writeln!(out, "  warning: {warning}")?;
    }
    Ok(out)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open(&folder.path().join("data")).await.unwrap();
    let root = LocalProvider::from_env_value(&"5a".repeat(32), Arc::new(OsEntropy)).unwrap();
    let config = EngineConfig::new(storage, Providers::new(Arc::new(root)), Models::fake(8));
    let (engine, token) = Engine::open(config).await.unwrap();
    let grant = grant_of_alice(&engine, &token.unwrap()).await;
    let mut all = String::new();
    for (name, settings, request) in table() {
        let plan = match compile(&grant, &settings, engine.models(), request) {
            Ok(plan) => describe(&plan).unwrap(),
            Err(error) => format!("  {}: {error}\n", error.code.as_str()),
        };
        writeln!(all, "{name}\n{plan}").unwrap();
    }
    assert!(!all.contains("private") && !all.contains("alice"), "a plan shows nothing that a caller wrote");
    insta::assert_snapshot!(all);
    drop(grant);
    engine.close(Duration::from_secs(30)).await;
}
