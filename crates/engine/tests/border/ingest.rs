//! Ingest: outcomes of single documents, conflicts, readers, quotas and refused callers.

use crate::fixture::{BorderFixture, HELD, document, read_by, tenant, with_vector};
use OnConflict::{Fail, Overwrite, Skip};
use engine::{NamespaceChange, OnConflict, RawDocument};

type Row = (&'static str, &'static str, &'static str, OnConflict, Vec<RawDocument>, &'static str);

fn rows() -> Vec<Row> {
    let a = |text: &str| vec![document("a", text)];
    vec![
        ("a new document", "all", "n", Overwrite, a("one"), "a indexed"),
        ("the same again", "all", "n", Overwrite, a("one"), "a unchanged"),
        ("the same is no conflict", "all", "n", Fail, a("one"), "a unchanged"),
        ("other content", "all", "n", Overwrite, a("two"), "a indexed"),
        ("other content is skipped", "all", "n", Skip, a("three"), "a skipped"),
        ("other content fails", "all", "n", Fail, a("three"), "a failed already_exists"),
        ("what was skipped did not change it", "all", "n", Overwrite, a("two"), "a unchanged"),
        (
            "an invalid document fails alone",
            "all",
            "n",
            Overwrite,
            vec![document("b", "one"), document("c", " \n"), document("d", "one")],
            "b indexed, c failed invalid_request documents[].text, d indexed",
        ),
        (
            "an id twice: the last one stays",
            "all",
            "n",
            Overwrite,
            vec![document("e", "one"), document("e", "two")],
            "e indexed, e indexed",
        ),
        ("the last one stayed", "all", "n", Overwrite, vec![document("e", "two")], "e unchanged"),
        ("a screen holds it back", "all", "n", Overwrite, vec![document("q", HELD)], "q quarantined"),
        (
            "a vector in a namespace of texts",
            "all",
            "n",
            Overwrite,
            vec![with_vector(&[1.0, 0.0], document("f", "one"))],
            "f failed dimension_mismatch documents[].vector",
        ),
        (
            "the first vector decides the length",
            "all",
            "v",
            Overwrite,
            vec![with_vector(&[1.0, 0.0], document("a", "one")), with_vector(&[1.0], document("b", "one"))],
            "a indexed, b failed dimension_mismatch documents[].vector",
        ),
        (
            "no length that vectors may have",
            "all",
            "w",
            Overwrite,
            vec![with_vector(&[1.0], document("a", "one"))],
            "invalid_request documents[].vector",
        ),
        ("readers are required", "all", "strict", Overwrite, a("one"), "a failed invalid_request readers"),
        (
            "readers are named",
            "all",
            "strict",
            Overwrite,
            vec![read_by("user:alice", document("a", "one"))],
            "a indexed",
        ),
        (
            "alice's own",
            "alice",
            "n",
            Overwrite,
            vec![read_by("user:alice", document("shared", "one"))],
            "shared indexed",
        ),
        (
            "bob does not see it, so its id is free",
            "bob",
            "n",
            Fail,
            vec![read_by("user:bob", document("shared", "two"))],
            "shared indexed",
        ),
        (
            "alice's is unchanged by it",
            "alice",
            "n",
            Fail,
            vec![read_by("user:alice", document("shared", "one"))],
            "shared unchanged",
        ),
        ("no documents", "all", "n", Overwrite, Vec::new(), ""),
        ("a key without the scope", "reader", "n", Overwrite, a("one"), "forbidden"),
        ("a key without the scope learns of no namespace", "reader", "none", Overwrite, a("one"), "forbidden"),
        ("a key of other namespaces", "fenced", "n", Overwrite, a("one"), "not_found"),
        ("a key in its namespace", "fenced", "fence", Overwrite, a("one"), "a indexed"),
        ("no key", "none", "n", Overwrite, a("one"), "unauthenticated"),
        ("another tenant has other namespaces", "small", "n", Fail, a("three"), "a indexed"),
        ("its namespaces are limited", "small", "m", Overwrite, a("one"), "quota_exceeded quotas.namespaces"),
        (
            "its documents are limited",
            "small",
            "n",
            Overwrite,
            vec![document("b", "one"), document("c", "one")],
            "quota_exceeded quotas.documents",
        ),
        ("a refused request stored nothing", "small", "n", Fail, vec![document("b", "two")], "b indexed"),
        ("a full tenant may overwrite", "small", "n", Overwrite, vec![document("b", "three")], "b indexed"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ingest() {
    let fixture = BorderFixture::new().await;
    let strict = NamespaceChange { require_readers: Some(true), ..NamespaceChange::default() };
    let grant = fixture.admit("all", "strict").await.unwrap();
    assert!(fixture.engine.put_namespace(grant, strict).await.is_ok());
    for (name, key, namespace, on_conflict, documents, expected) in rows() {
        assert_eq!(fixture.ingest(key, namespace, documents, on_conflict).await, expected, "{name}");
    }
    fixture.engine.suspend_tenant(&fixture.operator, &tenant("acme")).await.unwrap();
    let one = || vec![document("a", "two")];
    assert_eq!(fixture.ingest("all", "n", one(), Overwrite).await, "tenant_suspended");
    assert_eq!(fixture.ingest("small", "n", Vec::new(), Overwrite).await, "", "the other tenant is served");
    fixture.engine.resume_tenant(&fixture.operator, &tenant("acme")).await.unwrap();
    assert_eq!(fixture.ingest("all", "n", one(), Overwrite).await, "a unchanged");
}
