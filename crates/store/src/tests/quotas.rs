//! Quotas: decided where writes are, also those that come at the same moment, whatever they do and wherever they go.

use super::fixture::{Draft, NAMESPACES, ROOMY, World, id, line};
use crate::{Error, Quarantine, Selection, part::Part, view::View, working::Working};
use access::{Delete, Ingest, Patch, Search};
use intake::{RawPatch, screen_patch};
use kernel::{AttrValue, Audience, Clock, CommitNo, Document, Incarnation, Quotas, Scalar, Screening, Status};
use segment::{Spec, Tail, codec::Sizes};
use std::sync::Arc;

const DOCS: (&str, &str) = NAMESPACES[0];
const MAIL: (&str, &str) = NAMESPACES[1];
const OTHER: (&str, &str) = NAMESPACES[2];

fn life(world: &World, at: (&'static str, &str)) -> Incarnation {
    world.grant::<Search>(at.0, at.1).incarnation()
}

fn documents(max: u64) -> Quotas {
    Quotas { documents: Some(max), ..Quotas::default() }
}

fn is_over(error: &Error, what: &str) -> bool {
    matches!(error, Error::Quota { quota, .. } if *quota == what)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writes_of_one_moment_do_not_pass_a_quota_together() {
    let world = World::new(ROOMY).await;
    let rooms = [world.enter::<Ingest>(DOCS).await, world.enter::<Ingest>(MAIL).await];
    let neighbour = world.enter::<Ingest>(OTHER).await;
    world.stores.allow(life(&world, DOCS), documents(10));
    let writes = (0..30).map(|n| {
        let draft = Draft::new(&format!("d{n}"), "some words").upsert();
        rooms[n % 2].append(vec![draft], &Audience::Everything, line())
    });
    let outcomes = futures::future::join_all(writes).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 10);
    assert!(outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).all(|error| is_over(error, "documents")));
    assert_eq!(rooms.iter().map(|room| room.totals().documents).sum::<u64>(), 10);
    assert!(
        neighbour.append(vec![Draft::new("n", "words").upsert()], &Audience::Everything, line()).await.is_ok(),
        "another tenant's room"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_quota_refuses_names_it_and_changes_nothing() {
    let world = World::new(ROOMY).await;
    let room = world.enter::<Ingest>(DOCS).await;
    let first: Vec<_> = ["a", "b"].map(|name| Draft::new(name, "some words").upsert()).into();
    room.append(first, &Audience::Everything, line()).await.unwrap();
    world.stores.allow(life(&world, DOCS), documents(3));
    let before = room.totals();
    let three = ["a", "c", "d"].map(|name| Draft::new(name, "other words").upsert());
    let refused = kernel::Error::from(room.append(three.into(), &Audience::Everything, line()).await.unwrap_err());
    assert_eq!((refused.code, refused.param.as_deref()), (kernel::Code::QuotaExceeded, Some("quotas.documents")));
    assert!(refused.message.contains("3 documents") && refused.message.contains("adds 2"), "{refused}");
    assert_eq!(room.totals(), before);
    let snapshot = world.enter::<Search>(DOCS).await.snapshot(None).await.unwrap();
    let kept =
        snapshot.get(&id("a"), &Audience::Everything, false, Quarantine::Shown, world.clock.now()).unwrap().unwrap();
    assert_eq!(kept.text.expose(), "some words", "also what would have been overwritten");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overwrite_counts_the_difference_and_a_deletion_gives_back() {
    let world = World::new(ROOMY).await;
    let room = world.enter::<Ingest>(DOCS).await;
    let delete = world.enter::<Delete>(DOCS).await;
    let write =
        |name: &str, text: &str| room.append(vec![Draft::new(name, text).upsert()], &Audience::Everything, line());
    write("a", &"word ".repeat(100)).await.unwrap();
    let full = Quotas { documents: Some(1), bytes: Some(room.totals().bytes), ..Quotas::default() };
    world.stores.allow(life(&world, DOCS), full);
    assert!(is_over(&write("b", "word").await.unwrap_err(), "documents"));
    assert!(is_over(&write("a", &"word ".repeat(101)).await.unwrap_err(), "bytes"));
    write("a", &"ward ".repeat(100)).await.unwrap();
    write("a", "short").await.unwrap();
    write("a", &"word ".repeat(100)).await.unwrap();
    delete.delete(&Selection::Ids(vec![id("a")]), &Audience::Everything, line()).await.unwrap();
    write("b", "word").await.unwrap();
    assert_eq!(room.totals().documents, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_may_not_grow_past_the_quota() {
    let world = World::new(ROOMY).await;
    let room = world.enter::<Ingest>(DOCS).await;
    let patching = world.enter::<Patch>(DOCS).await;
    room.append(vec![Draft::new("a", "words").upsert()], &Audience::Everything, line()).await.unwrap();
    let before = room.totals();
    world.stores.allow(life(&world, DOCS), Quotas { bytes: Some(before.bytes + 1_000), ..Quotas::default() });
    let which = Selection::Ids(vec![id("a")]);
    let patch = |length: usize| {
        let attributes = [("note".to_owned(), Some(AttrValue::One(Scalar::Str("x".repeat(length)))))].into();
        screen_patch(RawPatch { attributes, ..RawPatch::default() }, &Screening::default()).unwrap()
    };
    let refused = patching.patch(&which, &Audience::Everything, patch(2_000), line()).await.unwrap_err();
    assert!(is_over(&refused, "bytes"), "{refused}");
    assert_eq!(room.totals(), before);
    patching.patch(&which, &Audience::Everything, patch(900), line()).await.unwrap();
    let grown = room.totals().bytes - before.bytes;
    assert!((900..1_000).contains(&grown), "attributes count: {grown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_known_after_a_restart_and_while_namespaces_are_closed() {
    let mut world = World::new(ROOMY).await;
    for at in [DOCS, MAIL] {
        let room = world.enter::<Ingest>(at).await;
        room.append(vec![Draft::new("a", "words").upsert()], &Audience::Everything, line()).await.unwrap();
    }
    world.stores.flush_all().await.unwrap();
    world.reopen().await;
    let tenant = life(&world, DOCS);
    assert!(!world.stores.knows_tenant(tenant));
    let uuids = [DOCS, MAIL].map(|at| world.home(at).uuid());
    let recorded = uuids.map(|uuid| (uuid, world.chain.marks.lock().unwrap().get(&uuid).copied()));
    world.stores.learn_tenant(tenant, recorded);
    let totals = world.stores.tenant_totals(tenant);
    assert!(totals.documents == 2 && totals.bytes > 0, "the audit knows, and none was opened for it: {totals:?}");
    assert_eq!(world.stores.stats().open, 0);
    for at in [DOCS, MAIL] {
        world.enter::<Search>(at).await;
    }
    let opened = world.stores.tenant_totals(tenant);
    assert_eq!(
        (opened.documents, opened.bytes),
        (totals.documents, totals.bytes),
        "what is found is what was recorded"
    );
    world.stores.forget(tenant).await;
    assert_eq!(world.stores.tenant_totals(tenant), opened);
    let room = world.enter::<Ingest>(MAIL).await;
    world.stores.allow(life(&world, DOCS), documents(2));
    let refused =
        room.append(vec![Draft::new("b", "words").upsert()], &Audience::Everything, line()).await.unwrap_err();
    assert!(is_over(&refused, "documents"), "what the other namespace has counts: {refused}");
    drop(room);
    world.enter::<access::Manage>(MAIL).await.destroy().await.unwrap();
    let left = world.stores.tenant_totals(tenant);
    assert_eq!(left.documents, 1, "what is destroyed counts no more");
}

fn doc(name: &str, text: &str) -> Document {
    let now = kernel::Timestamp::from_millis(7);
    Draft::new(name, text).admit().into_document(now, now, CommitNo(1))
}

fn shown(working: Working) -> Vec<(String, String, Option<kernel::Timestamp>)> {
    let view = working.finish().unwrap();
    let since = view.log_dead_from();
    let text = |part: &Part, n: u32| part.index.document(n, true).unwrap();
    let all = view.parts.iter().flat_map(|part| part.live().iter().map(|n| text(part, n)).collect::<Vec<_>>());
    let mut all: Vec<_> = all.map(|doc| (doc.id.as_str().to_owned(), doc.text.into_exposed(), since)).collect();
    all.sort();
    all
}

#[test]
fn a_request_that_is_taken_back_leaves_no_trace() {
    let spec = Spec::new(4, kernel::Distance::Cosine);
    let tail = Tail::new(&spec, vec![doc("a", "old a"), doc("b", "old b")]).unwrap();
    let part = Part::new(Arc::new(crate::index::Index::Tail(tail)), [].into(), crate::part::Durable::Log);
    let view = View { parts: vec![part], ..View::empty(spec) };
    let before = |working: &mut Working| {
        working.begin();
        working.put(doc("c", "staged c"));
        working.remove(&id("b"));
    };
    let now = kernel::Timestamp::from_millis(9);
    let (mut once, mut back) = (Working::new(&view, now), Working::new(&view, now));
    before(&mut once);
    before(&mut back);
    back.begin();
    for text in ["new", "newer"] {
        for name in ["a", "b", "c", "d"] {
            back.put(doc(name, text));
        }
    }
    for name in ["a", "c", "d"] {
        back.remove(&id(name));
    }
    assert_eq!(back.growth().documents, 0, "two were there, one is left");
    back.take_back();
    for working in [&mut once, &mut back] {
        working.begin();
        working.put(doc("e", "after"));
    }
    assert_eq!((once.growth(), once.commit), (back.growth(), back.commit));
    assert_eq!(shown(once), shown(back));
}

/// What is stored weighs the same wherever it lies, and every member counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_weight_is_the_same_in_memory_on_disk_and_after_a_merge() {
    let mut world = World::new(ROOMY).await;
    let room = world.enter::<Ingest>(DOCS).await;
    let drafts = ["a", "b", "c"].map(|name| Draft::new(name, &"words of a text ".repeat(20)));
    let mut expected = 0;
    for draft in &drafts {
        let doc = draft.admit().into_document(world.clock.now(), world.clock.now(), CommitNo(1));
        assert!(doc.status == Status::Indexed && doc.passages.len() > 1);
        expected += Sizes::of(&doc, 4, &mut Vec::new()).weight();
        room.append(vec![draft.upsert()], &Audience::Everything, line()).await.unwrap();
    }
    assert_eq!(room.totals().bytes, expected);
    world.stores.flush_all().await.unwrap();
    assert_eq!(room.totals().bytes, expected);
    drop(room);
    world.reopen().await;
    assert_eq!(world.enter::<Search>(DOCS).await.totals().bytes, expected);
}
