//! Namespaces: who may change which settings, what is fixed once documents are stored, and what callers see of them.

use crate::fixture::{BorderFixture, document, read_by, shown, summary, with_vector};
use access::{Browse, Manage};
use engine::{EmbeddingChoice, NamespaceChange, NamespaceView, OnConflict, PageRequest};
use kernel::{Chunking, Distance, Language, ScreenAction};

/// A request about namespaces.
enum Act {
    Put(NamespaceChange),
    Get,
    List(usize),
    Delete,
}

fn chunks(max_tokens: u32, overlap_tokens: u32) -> Act {
    put(|change| change.chunking = Some(Chunking { max_tokens, overlap_tokens }))
}

fn put(set: impl FnOnce(&mut NamespaceChange)) -> Act {
    let mut change = NamespaceChange::default();
    set(&mut change);
    Act::Put(change)
}

fn dimensions(dimensions: u32) -> Act {
    put(|change| change.embedding = Some(EmbeddingChoice::Dimensions(dimensions)))
}

type Row = (&'static str, &'static str, &'static str, Act, &'static str);

/// The namespace `full` holds three documents with vectors of two numbers: an open one, alice's and bob's. A namespace
/// is shown with its length of vectors, days of retention and the documents that the caller sees.
fn rows() -> Vec<Row> {
    vec![
        ("created", "all", "n", put(|_| {}), "n 0 none 0"),
        ("nothing changed", "all", "n", put(|_| {}), "n 0 none 0"),
        ("the least dimensions", "all", "n", dimensions(2), "n 2 none 0"),
        ("an empty one may change them", "all", "n", dimensions(4_096), "n 4096 none 0"),
        ("too few dimensions", "all", "n", dimensions(1), "invalid_request embedding.dimensions"),
        ("too many dimensions", "all", "n", dimensions(4_097), "invalid_request embedding.dimensions"),
        (
            "no such model",
            "all",
            "n",
            put(|change| change.embedding = Some(EmbeddingChoice::Model("m".to_owned()))),
            "model_unavailable embedding.model",
        ),
        ("passages", "all", "n", chunks(8_192, 4_096), "n 4096 none 0"),
        ("too short passages", "all", "n", chunks(15, 0), "invalid_request chunking.max_tokens"),
        ("too long an overlap", "all", "n", chunks(16, 9), "invalid_request chunking.overlap_tokens"),
        ("retention", "all", "n", put(|change| change.retention_days = Some(Some(36_500))), "n 4096 36500 0"),
        (
            "no retention",
            "all",
            "n",
            put(|change| change.retention_days = Some(Some(0))),
            "invalid_request retention.days",
        ),
        ("what was refused changed nothing", "all", "n", Act::Get, "n 4096 36500 0"),
        ("unlimited retention", "all", "n", put(|change| change.retention_days = Some(None)), "n 4096 none 0"),
        // Documents fix what they were stored under.
        ("other dimensions", "all", "full", dimensions(3), "immutable embedding"),
        ("the same dimensions", "all", "full", dimensions(2), "full 2 none 3"),
        ("another distance", "all", "full", put(|change| change.distance = Some(Distance::Dot)), "immutable embedding"),
        ("other passages", "all", "full", chunks(16, 0), "immutable embedding"),
        ("another language", "all", "full", put(|change| change.language = Some(Language::German)), "immutable text"),
        ("screens may change", "all", "full", put(|change| change.pii = Some(ScreenAction::Mask)), "full 2 none 3"),
        ("retention may change", "all", "full", put(|change| change.retention_days = Some(Some(1))), "full 2 1 3"),
        // What callers see.
        ("a reader's documents", "alice", "full", Act::Get, "full 2 1 2"),
        ("a key without principals", "reader", "full", Act::Get, "full 2 1 1"),
        ("no such namespace", "alice", "none", Act::Get, "not_found"),
        ("a namespace beyond the fence", "fenced", "full", Act::Get, "not_found"),
        ("the namespace of another tenant", "small", "full", Act::Get, "not_found"),
        ("all namespaces", "all", "full", Act::List(10), "full 2 1 3, n 4096 none 0"),
        ("a page of them", "all", "full", Act::List(1), "full 2 1 3, continued"),
        ("none within the fence", "fenced", "fence", Act::List(10), ""),
        ("created within the fence", "fenced", "fence", put(|_| {}), "fence 0 none 0"),
        ("one within the fence", "fenced", "fence", Act::List(10), "fence 0 none 0"),
        ("created beyond the fence", "fenced", "n2", put(|_| {}), "not_found"),
        ("changed without the scope", "alice", "full", put(|_| {}), "forbidden"),
        ("deleted without the scope", "alice", "full", Act::Delete, "forbidden"),
        ("deleted beyond the fence", "fenced", "full", Act::Delete, "not_found"),
        ("deleted", "all", "full", Act::Delete, "deleted"),
        ("deleted once", "all", "full", Act::Delete, "not_found"),
        ("it is gone", "alice", "full", Act::Get, "not_found"),
        ("created again it is empty", "all", "full", put(|_| {}), "full 0 none 0"),
        ("and fixes nothing", "all", "full", dimensions(3), "full 3 none 0"),
        ("within the quota", "small", "one", put(|_| {}), "one 0 none 0"),
        ("beyond the quota", "small", "two", put(|_| {}), "quota_exceeded quotas.namespaces"),
        ("the quota does not count changes", "small", "one", put(|_| {}), "one 0 none 0"),
        ("a deletion makes room", "small", "one", Act::Delete, "deleted"),
        ("within the quota again", "small", "two", put(|_| {}), "two 0 none 0"),
    ]
}

fn view(view: &NamespaceView) -> String {
    let days = view.settings.retention.days.map_or("none".to_owned(), |days| days.to_string());
    let dimensions = view.settings.embedding.dimensions();
    format!("{} {dimensions} {days} {}", view.name.as_str(), view.documents)
}

async fn done(fixture: &BorderFixture, key: &str, namespace: &str, act: Act) -> Result<String, kernel::Error> {
    let engine = &fixture.engine;
    Ok(match act {
        Act::Put(change) => {
            summary(engine.put_namespace(fixture.admit::<Manage>(key, namespace).await?, change).await, view)
        }
        Act::Get => summary(engine.get_namespace(fixture.admit::<Browse>(key, namespace).await?).await, view),
        Act::List(limit) => {
            let page = PageRequest { limit, after: None };
            let reply = engine.list_namespaces(fixture.admit::<Browse>(key, namespace).await?, page).await;
            summary(reply, |page| {
                let continued = page.next.as_ref().map(|_| "continued".to_owned());
                page.items.iter().map(view).chain(continued).collect::<Vec<_>>().join(", ")
            })
        }
        Act::Delete => {
            let reply = engine.delete_namespace(fixture.admit::<Manage>(key, namespace).await?).await;
            summary(reply, |_| "deleted".to_owned())
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces() {
    let fixture = BorderFixture::new().await;
    let documents = vec![
        with_vector(&[1.0, 0.0], document("open", "one")),
        with_vector(&[1.0, 0.0], read_by("user:alice", document("alices", "one"))),
        with_vector(&[1.0, 0.0], read_by("user:bob", document("bobs", "one"))),
    ];
    let stored = "open indexed, alices indexed, bobs indexed";
    assert_eq!(fixture.ingest("all", "full", documents, OnConflict::Overwrite).await, stored);
    for (name, key, namespace, act, expected) in rows() {
        let result = done(&fixture, key, namespace, act).await.unwrap_or_else(|error| shown(&error));
        assert_eq!(result, expected, "{name}");
    }
}
