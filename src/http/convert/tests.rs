//! Valid and invalid bodies as callers send them: which are accepted, and which member an error names.

use crate::http::request_data::RequestBody;
use api::{admin, context, documents, keys, namespaces, search};
use kernel::{Code, Error};

mod memory;

/// Parses and checks a body as the server does.
fn read<B: RequestBody>(text: &str) -> Result<B::Checked, Error> {
    let body: B = api::strict::json(text.as_bytes()).map_err(|c| {
        let code = if c.unknown { Code::UnknownField } else { Code::InvalidRequest };
        Error::new(code, c.rule).with_param(c.path)
    })?;
    body.check()
}

fn refused<B: RequestBody>(text: &str) -> String {
    match read::<B>(text) {
        Ok(_) => panic!("was accepted: {text}"),
        Err(e) => format!("{} {}", e.code.as_str(), e.param.unwrap_or_default()),
    }
}

#[test]
fn a_complete_upsert_is_accepted() {
    let text = r#"{"documents":[{"id":"a/b c.md","text":"t","media_type":"text/markdown","title":"T","uri":"u",
        "attributes":{"year":2024,"tags":["x",1,true],"gone":null},"readers":["user:alice"],"vector":[1,-2.5e-3],
        "expires_at":"2030-01-01T00:00:00Z"},{"content_base64":"aGk="},{"vector":[1,2]}],"on_conflict":"skip"}"#;
    let request = read::<documents::UpsertRequest>(text).expect("fits");
    assert_eq!(request.documents.len(), 3);
    assert_eq!(request.documents[0].attributes.len(), 2, "null is absence");
    assert_eq!(request.documents[0].vector.as_deref(), Some(&[1.0, -2.5e-3][..]));
    assert!(matches!(request.on_conflict, engine::OnConflict::Skip));
}

#[test]
fn an_api_key_may_name_as_many_namespaces_as_its_limit_says() {
    let body = |count: usize| {
        let names: Vec<String> = (0..count).map(|n| format!(r#""ns-{n}""#)).collect();
        format!(r#"{{"name":"k","namespaces":[{}]}}"#, names.join(","))
    };
    let most = kernel::limits::NAMESPACES_PER_KEY_MAX;
    assert_eq!(read::<admin::ApiKeyNew>(&body(most)).expect("fits").namespaces.len(), most);
    assert_eq!(refused::<admin::ApiKeyNew>(&body(most + 1)), "invalid_request namespaces");
    assert_eq!(refused::<admin::ApiKeyNew>(&body(0)), "invalid_request namespaces");
}

#[test]
fn a_malformed_upsert_names_the_member() {
    for (document, expected) in [
        (r#"{"text":"t","vektor":[1]}"#, "unknown_field documents[0].vektor"),
        (r#"{"text":7}"#, "invalid_request documents[0].text"),
        (r#"{"text":"t","attributes":7}"#, "invalid_request documents[0].attributes"),
        (r#"{"text":"t","attributes":{"a":1,"b":2,"a":1}}"#, "invalid_request documents[0].attributes.a"),
        (r#"{"text":"t","readers":[]}"#, "invalid_request documents[0].readers"),
        (r#"{"text":"t","readers":[7]}"#, "invalid_request documents[0].readers[0]"),
        (r#"{"text":"t","vector":[1e999]}"#, "invalid_request documents[0].vector[0]"),
        (r#"{"text":"t","vector":[NaN]}"#, "invalid_request documents[0].vector[0]"),
        (r#"{"text":"t","vector":["1"]}"#, "invalid_request documents[0].vector[0]"),
        (r#"{"text":"t","text":"u"}"#, "invalid_request documents[0].text"),
    ] {
        assert_eq!(
            refused::<documents::UpsertRequest>(&format!(r#"{{"documents":[{document}]}}"#)),
            expected,
            "{document}"
        );
    }
    assert_eq!(refused::<documents::UpsertRequest>(r#"{"documents":[]}"#), "invalid_request documents");
    let many = vec![r#"{"text":"t"}"#; 1_001].join(",");
    assert_eq!(
        refused::<documents::UpsertRequest>(&format!(r#"{{"documents":[{many}]}}"#)),
        "invalid_request documents"
    );
    assert_eq!(
        refused::<documents::UpsertRequest>(r#"{"documents":[{"text":"t"}],"on_conflict":"merge"}"#),
        "invalid_request on_conflict"
    );
    let values = format!("[{}]", vec!["1"; 256].join(","));
    let attributes = (0..64).map(|n| format!(r#""a{n}":{values}"#)).collect::<Vec<_>>().join(",");
    let documents = vec![format!(r#"{{"text":"t","attributes":{{{attributes}}}}}"#); 65].join(",");
    assert_eq!(
        refused::<documents::UpsertRequest>(&format!(r#"{{"documents":[{documents}]}}"#)),
        "invalid_request documents"
    );
}

#[test]
fn an_invalid_document_fails_alone_and_names_the_member() {
    let long = "x".repeat(5_000);
    let values = vec!["1"; 257].join(",");
    let members = (0..65).map(|n| format!(r#""a{n}":1"#)).collect::<Vec<_>>().join(",");
    let numbers = vec!["1"; 4_097].join(",");
    let readers = vec![r#""user:a""#; 257].join(",");
    for (document, param) in [
        (r#"{"id":"a"}"#, "text"),
        (r#"{"id":"","text":"t"}"#, "id"),
        (r#"{"id":"a\u0000","text":"t"}"#, "id"),
        (&format!(r#"{{"id":"{long}","text":"t"}}"#), "id"),
        (r#"{"text":"t","content_base64":"aGk="}"#, "content_base64"),
        (r#"{"content_base64":"%%%"}"#, "content_base64"),
        (r#"{"text":"t","readers":["user:a","alice"]}"#, "readers[1]"),
        (&format!(r#"{{"text":"t","readers":[{readers}]}}"#), "readers"),
        (r#"{"text":"t","vector":[1,1e39]}"#, "vector[1]"),
        (&format!(r#"{{"text":"t","vector":[{numbers}]}}"#), "vector"),
        (r#"{"text":"t","expires_at":"tomorrow"}"#, "expires_at"),
        (r#"{"text":"t","attributes":{"a":{"b":1}}}"#, "attributes.a"),
        (r#"{"text":"t","attributes":{"a":[1,[2,[3]],4],"b":2}}"#, "attributes.a"),
        (r#"{"text":"t","attributes":{"a":[null]}}"#, "attributes.a"),
        (&format!(r#"{{"text":"t","attributes":{{"a":"{long}"}}}}"#), "attributes.a"),
        (&format!(r#"{{"text":"t","attributes":{{"a":["{long}"]}}}}"#), "attributes.a"),
        (&format!(r#"{{"text":"t","attributes":{{"a":[{values}],"b":{{}}}}}}"#), "attributes.a"),
        (&format!(r#"{{"text":"t","attributes":{{"{long}":1}}}}"#), "attributes"),
        (&format!(r#"{{"text":"t","attributes":{{{members}}}}}"#), "attributes"),
        (r#"{"text":"t","attributes":{"$a":1}}"#, "attributes"),
        (r#"{"text":"t","attributes":{"":1,"x":[[{"y":[]}]]}}"#, "attributes"),
    ] {
        let body = format!(r#"{{"documents":[{{"id":"x","text":"t"}},{document},{{"id":"y","text":"t"}}]}}"#);
        let request = read::<documents::UpsertRequest>(&body).unwrap_or_else(|e| panic!("{document}: {e}"));
        assert_eq!(request.documents.len(), 2, "{document}");
        let [(at, result)] = request.refused.as_slice() else { panic!("one is refused: {document}") };
        let error = result.error.as_ref().expect("it says why");
        let found = (*at, error.code, error.param.clone().unwrap_or_default());
        assert_eq!(found, (1, Code::InvalidRequest, format!("documents[1].{param}")), "{document}");
        assert!(!error.message.contains("xxx"), "nothing of the value: {}", error.message);
    }
}

#[test]
fn a_patch_distinguishes_absent_from_null() {
    let request =
        read::<documents::DocumentPatch>(r#"{"ids":["a"],"readers":null,"attributes":{"x":null}}"#).expect("fits");
    assert_eq!(request.patch.readers, Some(None));
    assert!(request.patch.uri.is_none());
    assert_eq!(request.patch.attributes.get("x"), Some(&None));
    assert_eq!(refused::<documents::DocumentPatch>(r#"{"ids":["a"]}"#), "invalid_request attributes");
    assert_eq!(refused::<documents::DocumentPatch>(r#"{"uri":"x"}"#), "invalid_request ids");
    let both = r#"{"ids":["a"],"filter":{"type":"exists","key":"x"},"uri":"x"}"#;
    assert_eq!(refused::<documents::DocumentPatch>(both), "invalid_request ids");
}

#[test]
fn a_search_is_checked() {
    let request = read::<search::Search>(r#"{"query":"q","as":{"principals":["user:a"]},"min_scores":{"vector":0.5}}"#)
        .expect("fits");
    assert_eq!((request.top_k, request.include.text, request.include.vector), (10, true, false));
    assert_eq!(request.min_scores.vector, Some(0.5));
    for (text, expected) in [
        (r"{}", "invalid_request query"),
        (r#"{"query":" "}"#, "invalid_request query"),
        (r#"{"query":"q","top_k":0}"#, "invalid_request top_k"),
        (r#"{"query":"q","top_k":1001}"#, "invalid_request top_k"),
        (r#"{"query":"q","top_k":-1}"#, "invalid_request top_k"),
        (r#"{"query":"q","mode":"fast"}"#, "invalid_request mode"),
        (r#"{"query":"q","include":["body"]}"#, "invalid_request include"),
        (r#"{"query":"q","rerank":"judge"}"#, "invalid_request rerank"),
        (r#"{"query":"q","rerank":{"model":"judge","depht":5}}"#, "unknown_field rerank.depht"),
        (r#"{"query":"q","rerank":[1]}"#, "invalid_request rerank"),
        (r#"{"query":"q","filter":{}}"#, "invalid_request filter.type"),
        (r#"{"query":"q","filter":{"type":"eq","key":"a","value":1,"extra":2}}"#, "unknown_field filter"),
        (r#"{"query":"q","as":{"principals":[]}}"#, "invalid_request as.principals"),
        (r#"{"query":"q","as":{"principals":["user:a"],"attributes":{"a":1}}}"#, "invalid_request as.attributes"),
        (r#"{"query":"q","tenant":"other"}"#, "unknown_field tenant"),
        (r#"{"query":"q","vector":[1e39]}"#, "invalid_request vector[0]"),
        (r#"{"query":"q","filter":[1,1]}"#, "invalid_request filter"),
        (&format!(r#"{{"query":"q","filter":[{}]}}"#, vec!["1"; 2_000].join(",")), "invalid_request filter"),
        (&format!(r#"{{"query":"q","include":[{}]}}"#, vec![r#""text""#; 300].join(",")), "invalid_request include"),
    ] {
        assert_eq!(refused::<search::Search>(text), expected, "{text}");
    }
    let levels = |n: usize| {
        format!(
            r#"{{"query":"q","filter":{}{}{}}}"#,
            r#"{"type":"not","filters":["#.repeat(n),
            r#"{"type":"exists","key":"a"}"#,
            "]}".repeat(n)
        )
    };
    read::<search::Search>(&levels(20)).expect("twenty levels");
    assert_eq!(refused::<search::Search>(&levels(40)), "invalid_request filter");
    assert_eq!(refused::<search::Search>(&levels(5_000)), "invalid_request filter");
    assert_eq!(refused::<context::Context>(r#"{"query":"q"}"#), "invalid_request max_tokens");
    assert_eq!(refused::<context::Context>(r#"{"query":"q","max_tokens":0}"#), "invalid_request max_tokens");
}

#[test]
fn a_namespace_has_one_kind_of_vector() {
    let change =
        read::<namespaces::NamespacePut>(r#"{"retention":{"days":null},"chunking":{"max_tokens":40}}"#).expect("fits");
    assert_eq!(change.retention_days, Some(None));
    assert_eq!(change.chunking.expect("given").overlap_tokens, 20);
    assert!(read::<namespaces::NamespacePut>("{}").expect("fits").retention_days.is_none());
    let both = r#"{"embedding":{"model":"m","dimensions":3}}"#;
    assert_eq!(refused::<namespaces::NamespacePut>(both), "invalid_request embedding");
    let word = r#"{"screening":{"pii":"burn"}}"#;
    assert_eq!(refused::<namespaces::NamespacePut>(word), "invalid_request screening.pii");
}

#[test]
fn operators_bodies_are_checked() {
    assert_eq!(refused::<admin::TenantNew>(r#"{"id":"../x"}"#), "invalid_request id");
    assert_eq!(
        refused::<admin::TenantNew>(r#"{"id":"a","quotas":{"documents":-1}}"#),
        "invalid_request quotas.documents"
    );
    assert_eq!(refused::<admin::ApiKeyNew>(r#"{"name":"n","scopes":["root"]}"#), "invalid_request scopes[0]");
    assert_eq!(refused::<admin::ApiKeyNew>(r#"{"name":""}"#), "invalid_request name");
    assert_eq!(refused::<keys::Rotate>(r#"{"mode":"shred"}"#), "invalid_request mode");
    assert_eq!(refused::<keys::Rotate>(r#"{"mode":"reencrypt","deadline":"soon"}"#), "invalid_request deadline");
    let late = r#"{"mode":"rewrap","deadline":"2027-01-01T00:00:00Z"}"#;
    assert_eq!(refused::<keys::Rotate>(late), "invalid_request deadline");
    assert_eq!(refused::<keys::Rotate>(r#"{"mode":"rewrap","key":{"name":""}}"#), "invalid_request key.name");
    assert_eq!(refused::<admin::TenantNew>(r#"{"id":"a","key":{"vault":"x"}}"#), "unknown_field key.vault");
    let key = read::<admin::ApiKeyNew>(r#"{"name":"n"}"#).expect("fits");
    assert_eq!(key.scopes, kernel::Scope::DEFAULT);
}
