//! Documents: reading, listing, deleting, patching and reviewing, by callers who see some and not others.

use crate::fixture::{BorderFixture, HELD, document, id, read_by, readers, shown, summary, with_year};
use access::{Delete, Patch, Read, Review};
use engine::{
    Decision, Include, ListRequest, NamespaceChange, OnConflict, PatchRequest, RawPatch, ReviewRequest, Reviewed,
    ReviewedState, Selection,
};
use kernel::{AttrValue, CommitNo, Filter, Scalar, limits};
use serde_json::json;

/// A request about documents.
enum Act {
    Get(&'static str, Include),
    List(ListRequest),
    Delete(Selection),
    Erase(Selection),
    Patch(Selection, RawPatch),
    Review(&'static str, Decision, ReviewedAt),
}

/// The state in which the reviewer saw the document.
enum ReviewedAt {
    /// As it is now.
    Now,
    /// As it was at an earlier commit.
    Earlier,
}

fn get(id: &'static str) -> Act {
    Act::Get(id, Include::default())
}

fn list() -> ListRequest {
    ListRequest { filter: None, ids: None, acting_as: None, include: Include::default(), limit: 100, after: None }
}

fn ids(all: &[&str]) -> Selection {
    Selection::Ids(all.iter().map(|one| id(one)).collect())
}

fn year(year: i64) -> Filter {
    Filter::parse(&json!({"type": "eq", "key": "year", "value": year})).unwrap()
}

fn set_year(year: i64) -> RawPatch {
    let value = AttrValue::One(Scalar::Num(year.into()));
    RawPatch { attributes: [("year".to_owned(), Some(value))].into(), ..RawPatch::default() }
}

const VECTORS: Include = Include { text: false, attributes: false, vector: true, explain: false, highlights: false };

type Row = (&'static str, &'static str, &'static str, Act, &'static str);

/// The namespace `n` holds `open`, `alices`, `bobs` and, of alice, `held`, which a screen holds back.
fn rows() -> Vec<Row> {
    vec![
        ("an open document", "reader", "n", get("open"), "open indexed"),
        ("one's own", "alice", "n", get("alices"), "alices indexed"),
        ("another's does not exist", "bob", "n", get("alices"), "not_found"),
        ("nor does this", "bob", "n", get("never"), "not_found"),
        ("a namespace that does not exist", "bob", "none", get("open"), "not_found"),
        ("a namespace beyond the fence", "fenced", "n", get("open"), "not_found"),
        ("the namespace of another tenant", "small", "n", get("open"), "not_found"),
        ("vectors without the scope", "alice", "n", Act::Get("open", VECTORS), "forbidden include"),
        ("vectors without the scope, of nothing", "alice", "none", Act::Get("never", VECTORS), "forbidden include"),
        ("vectors with the scope", "all", "n", Act::Get("open", VECTORS), "open indexed"),
        ("held back, for a reviewer", "alice", "n", get("held"), "held quarantined"),
        ("held back, for another reader", "bob", "n", get("held"), "not_found"),
        // Lists.
        ("all that a reader sees", "bob", "n", Act::List(list()), "bobs open of 2"),
        ("all", "all", "n", Act::List(list()), "alices bobs held open of 4"),
        ("a page", "all", "n", Act::List(ListRequest { limit: 2, ..list() }), "alices bobs of 4, continued"),
        ("a number only", "alice", "n", Act::List(ListRequest { limit: 0, ..list() }), " of 3"),
        (
            "too long a page",
            "alice",
            "n",
            Act::List(ListRequest { limit: limits::LIST_LIMIT_MAX + 1, ..list() }),
            "invalid_request limit",
        ),
        (
            "by id",
            "bob",
            "n",
            Act::List(ListRequest { ids: Some(vec![id("alices"), id("open"), id("never")]), ..list() }),
            "open of 1",
        ),
        ("by filter", "alice", "n", Act::List(ListRequest { filter: Some(year(2026)), ..list() }), "alices of 1"),
        (
            "as another without the scope",
            "alice",
            "n",
            Act::List(ListRequest { acting_as: Some(readers(&["user:bob"])), ..list() }),
            "forbidden as",
        ),
        (
            "as another",
            "all",
            "n",
            Act::List(ListRequest { acting_as: Some(readers(&["user:bob"])), ..list() }),
            "bobs open of 2",
        ),
        ("vectors of a list", "alice", "n", Act::List(ListRequest { include: VECTORS, ..list() }), "forbidden include"),
        // Patches.
        ("a patch", "alice", "n", Act::Patch(ids(&["alices"]), set_year(2027)), "patched 1"),
        ("it took effect", "alice", "n", Act::List(ListRequest { filter: Some(year(2027)), ..list() }), "alices of 1"),
        (
            "of a document that is not seen",
            "bob",
            "n",
            Act::Patch(ids(&["alices", "never"]), set_year(2028)),
            "patched 0",
        ),
        (
            "of a filter that matches nothing seen",
            "bob",
            "n",
            Act::Patch(Selection::Filter(year(2027)), set_year(2028)),
            "patched 0",
        ),
        (
            "nothing of it took effect",
            "all",
            "n",
            Act::List(ListRequest { filter: Some(year(2028)), ..list() }),
            " of 0",
        ),
        (
            "an attribute of the server",
            "alice",
            "n",
            Act::Patch(
                ids(&["alices"]),
                RawPatch { attributes: [("$id".to_owned(), None)].into(), ..RawPatch::default() },
            ),
            "invalid_request attributes",
        ),
        (
            "readers that are empty",
            "alice",
            "n",
            Act::Patch(ids(&["alices"]), RawPatch { readers: Some(Some(Vec::new())), ..RawPatch::default() }),
            "invalid_request readers",
        ),
        (
            "opened where readers are required",
            "all",
            "strict",
            Act::Patch(ids(&["a"]), RawPatch { readers: Some(None), ..RawPatch::default() }),
            "invalid_request readers",
        ),
        ("a key that may only read", "reader", "n", Act::Patch(ids(&["open"]), set_year(1)), "forbidden"),
        // Reviews.
        (
            "not held back",
            "alice",
            "n",
            Act::Review("open", Decision::Release, ReviewedAt::Now),
            "open not_quarantined",
        ),
        ("not seen", "bob", "n", Act::Review("held", Decision::Release, ReviewedAt::Now), "held not_found"),
        (
            "seen in another state",
            "alice",
            "n",
            Act::Review("held", Decision::Reject, ReviewedAt::Earlier),
            "held conflict",
        ),
        ("without the scope", "reader", "n", Act::Review("held", Decision::Release, ReviewedAt::Now), "forbidden"),
        ("released", "alice", "n", Act::Review("held", Decision::Release, ReviewedAt::Now), "held released"),
        ("released once", "alice", "n", Act::Review("held", Decision::Reject, ReviewedAt::Now), "held not_quarantined"),
        ("it can be found", "alice", "n", get("held"), "held indexed"),
        // Deletions.
        ("of a document that is not seen", "bob", "n", Act::Delete(ids(&["alices", "never"])), "deleted 0"),
        ("without the scope", "reader", "n", Act::Delete(ids(&["open"])), "forbidden"),
        ("by id", "alice", "n", Act::Delete(ids(&["alices", "open"])), "deleted 2"),
        ("again", "alice", "n", Act::Delete(ids(&["alices", "open"])), "deleted 0"),
        ("nothing is left of it", "all", "n", get("open"), "not_found"),
        ("by filter", "all", "n", Act::Delete(Selection::Filter(year(2026))), "deleted 1"),
        ("erasing wants ids", "all", "n", Act::Erase(Selection::Filter(year(2026))), "invalid_request erase"),
        ("erased", "all", "n", Act::Erase(ids(&["held"])), "deleted 1, certified"),
        ("what was erased before is certified", "all", "n", Act::Erase(ids(&["held"])), "deleted 0, certified"),
        ("but not to readers who may not see it", "bob", "n", Act::Erase(ids(&["held"])), "deleted 0"),
        ("the end", "all", "n", Act::List(list()), " of 0"),
        ("in a namespace that does not exist", "all", "none", Act::Delete(ids(&["a"])), "not_found"),
    ]
}

/// The commit that wrote a document last, as a key that sees everything reads it.
async fn commit_of(fixture: &BorderFixture, of: &str) -> CommitNo {
    let grant = fixture.admit::<Read>("all", "n").await.unwrap();
    let reply =
        fixture.engine.get_document(grant, id(of), Include::default()).await.map_err(|e| e.into_body()).unwrap();
    reply.body().document.commit
}

async fn done(fixture: &BorderFixture, key: &str, namespace: &str, act: Act) -> Result<String, kernel::Error> {
    let engine = &fixture.engine;
    Ok(match act {
        Act::Get(one, include) => {
            let reply = engine.get_document(fixture.admit::<Read>(key, namespace).await?, id(one), include).await;
            summary(reply, |reply| format!("{} {}", reply.document.id.as_str(), reply.document.status.as_str()))
        }
        Act::List(request) => {
            let reply = engine.list_documents(fixture.admit::<Read>(key, namespace).await?, request).await;
            summary(reply, |page| {
                let ids: Vec<&str> = page.documents.iter().map(|document| document.id.as_str()).collect();
                let continued = if page.next.is_some() { ", continued" } else { "" };
                format!("{} of {}{continued}", ids.join(" "), page.total)
            })
        }
        Act::Delete(selection) => delete(fixture, key, namespace, selection, false).await?,
        Act::Erase(selection) => delete(fixture, key, namespace, selection, true).await?,
        Act::Patch(selection, patch) => {
            let grant = fixture.admit::<Patch>(key, namespace).await?;
            let reply = engine.patch_documents(grant, PatchRequest { selection, patch }).await;
            summary(reply, |reply| format!("patched {}", reply.matched))
        }
        Act::Review(one, decision, at) => {
            let commit = match at {
                ReviewedAt::Now => commit_of(fixture, one).await,
                ReviewedAt::Earlier => CommitNo(0),
            };
            let documents = vec![Reviewed { id: id(one), state: ReviewedState::Commit(commit) }];
            let grant = fixture.admit::<Review>(key, namespace).await?;
            let reply = engine.review(grant, ReviewRequest { documents, decision, note: None }).await;
            summary(reply, |reply| {
                reply.results.iter().map(|(id, status)| format!("{} {status}", id.as_str())).collect()
            })
        }
    })
}

async fn delete(
    fixture: &BorderFixture,
    key: &str,
    namespace: &str,
    selection: Selection,
    erase: bool,
) -> Result<String, kernel::Error> {
    let grant = fixture.admit::<Delete>(key, namespace).await?;
    Ok(summary(fixture.engine.delete_documents(grant, selection, erase).await, |reply| {
        let certified = if reply.certificate.is_some() { ", certified" } else { "" };
        format!("deleted {}{certified}", reply.deleted)
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents() {
    let fixture = BorderFixture::new().await;
    let strict = NamespaceChange { require_readers: Some(true), ..NamespaceChange::default() };
    assert!(fixture.engine.put_namespace(fixture.admit("all", "strict").await.unwrap(), strict).await.is_ok());
    let own = read_by("user:alice", document("a", "one"));
    assert_eq!(fixture.ingest("all", "strict", vec![own], OnConflict::Overwrite).await, "a indexed");
    let documents = vec![
        document("open", "one"),
        read_by("user:alice", with_year(2026, document("alices", "one"))),
        read_by("user:bob", with_year(2026, document("bobs", "one"))),
        read_by("user:alice", document("held", HELD)),
    ];
    let stored = "open indexed, alices indexed, bobs indexed, held quarantined";
    assert_eq!(fixture.ingest("all", "n", documents, OnConflict::Overwrite).await, stored);
    for (name, key, namespace, act, expected) in rows() {
        let result = done(&fixture, key, namespace, act).await.unwrap_or_else(|error| shown(&error));
        assert_eq!(result, expected, "{name}");
    }
}
