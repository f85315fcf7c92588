//! What a client sends is what the server reads, and a reply that is read and written again stays the same.

use crate::{
    admin::TenantPatch,
    attributes::AttributesJson,
    common::{Finite, name, word},
    context::{Budget, Context, RenderingWord},
    documents::{NewDocument, UpsertRequest},
    rerank::RerankBody,
    search::{ActingAs, ModeWord, Search},
    strict::{self, FilterTree, Parsed, SentAttributes, SentPrincipals, SentVector},
};
use kernel::{NamespaceName, Principal};
use serde_json::{Value, json};

fn principal() -> Principal {
    name("user:alice").expect("a principal")
}

fn search() -> Search {
    Search {
        query: Some("leave".to_owned()),
        vector: Some(SentVector(Ok(vec![0.1, -2.5e-7]))),
        mode: Some(ModeWord::Hybrid),
        filter: Some(FilterTree(json!({"type": "eq", "key": "year", "value": 2026}))),
        r#as: Some(ActingAs { principals: [Parsed(principal())].into_iter().collect(), attributes: None }),
        include: Some(["text".to_owned()].into_iter().collect()),
        rerank: Some(RerankBody::Switch(true)),
        title_weight: Some(Finite(0.3)),
        ..Search::default()
    }
}

/// The JSON of a request, and its JSON after the server has read it.
fn sent_and_read<T: serde::Serialize + serde::de::DeserializeOwned>(request: &T) -> (String, String) {
    let sent = serde_json::to_string(request).expect("plain data");
    let read: T = strict::json(sent.as_bytes()).unwrap_or_else(|e| panic!("{sent}: {e:?}"));
    let again = serde_json::to_string(&read).expect("plain data");
    (sent, again)
}

#[test]
fn the_server_reads_what_a_client_sends() {
    let (sent, read) = sent_and_read(&search());
    assert_eq!(sent, read);
    assert!(sent.contains(r#""vector":[0.1,-2.5e-7]"#) && sent.contains(r#""title_weight":0.3"#), "{sent}");
    let budget = Budget { max_tokens: 400, rendering: Some(RenderingWord::Plain) };
    let (context, read) = sent_and_read(&Context { search: search(), budget });
    assert_eq!(context, read);
    let attributes = json!({"year": 2026, "draft": true, "tags": ["a", 1.5], "gone": null});
    let document = NewDocument {
        id: Some("a".to_owned()),
        text: Some("t".to_owned()),
        attributes: Some(SentAttributes::from_json(attributes.as_object().expect("an object")).expect("valid")),
        readers: Some(SentPrincipals(Ok(vec![principal()]))),
        ..NewDocument::default()
    };
    let (sent, read) = sent_and_read(&UpsertRequest { documents: [document].into_iter().collect(), on_conflict: None });
    assert_eq!(sent, read);
    let sent: Value = serde_json::from_str(&sent).expect("JSON");
    let expected = json!({"id": "a", "text": "t", "attributes": attributes, "readers": ["user:alice"]});
    assert_eq!(sent["documents"], json!([expected]), "members that are not set are not sent");
    // An absent member keeps its value; null removes it.
    let patch = TenantPatch { display_name: Some(None), ..TenantPatch::default() };
    let (sent, read) = sent_and_read(&patch);
    assert_eq!((&*sent, &*read), (r#"{"display_name":null,"quotas":null}"#, &*sent));
}

#[test]
fn a_context_has_the_members_of_a_search_and_of_a_budget() {
    let refused = |text: &str| {
        let error = strict::json::<Context>(text.as_bytes()).err().expect("is refused");
        (error.unknown, error.path, error.rule)
    };
    let (unknown, path, rule) = refused(r#"{"query":"q","max_tokens":9,"budget":1}"#);
    assert!(unknown && path == "budget", "{path}");
    assert!(rule.starts_with("is unknown here; known are query, vector, top_k"), "{rule}");
    assert!(rule.ends_with("title_weight, max_tokens, rendering"), "{rule}");
    let (_, path, rule) = refused(r#"{"max_tokens":9,"query":"q","max_tokens":9}"#);
    assert_eq!((&*path, &*rule), ("max_tokens", "is given twice"));
    let (_, path, rule) = refused(r#"{"query":"q"}"#);
    assert_eq!((&*path, &*rule), ("max_tokens", "is missing"));
    let (_, path, _) = refused(r#"{"query":"q","max_tokens":"9"}"#);
    assert_eq!(path, "max_tokens");
    let (_, path, rule) = refused(r#"{"query":"q","max_tokens":9,"rendering":"bold"}"#);
    assert_eq!((&*path, &*rule), ("rendering", "must be one of plain, delimited, datamarked, base64"));
    let (_, path, _) = refused(r#"{"max_tokens":9,"as":{"principals":["alice"]}}"#);
    assert_eq!(path, "as.principals[0]");
}

#[test]
fn attributes_of_a_reply_stay_as_they_are() {
    let text = r#"{"a":18446744073709551615,"b":-1,"c":2.5,"d":["x",true,0.1]}"#;
    let attributes: AttributesJson = serde_json::from_str(text).expect("attributes");
    assert_eq!(serde_json::to_string(&attributes).expect("plain data"), text);
}

#[test]
fn a_value_that_was_refused_cannot_be_sent() {
    let vector: SentVector = serde_json::from_str("[1e39]").expect("a list");
    assert!(serde_json::to_string(&vector).is_err());
}

#[test]
fn words_and_names_say_what_is_known() {
    assert_eq!(word::<ModeWord>("text"), Ok(ModeWord::Text));
    assert!(word::<ModeWord>("fast").expect_err("unknown").contains("hybrid"));
    assert!(name::<NamespaceName>("a/b").is_err());
}
