//! Quotas are enforced when writes are decided, also for concurrent ones, whatever they do and whichever namespace they
//! are for.

use super::fixture::{Draft, NAMESPACES, TestEnv, UNLIMITED, id, line};
use crate::{
    Error, Quarantine, Selection,
    state::{live_segment::LiveSegment, version::Version},
    write::version_builder::VersionBuilder,
};
use access::{Delete, Ingest, Patch, Search};
use intake::{RawPatch, screen_patch};
use kernel::{AttrValue, Audience, Clock, CommitNo, Document, Incarnation, Quotas, Scalar, Screening, Status};
use segment::{Spec, WriteBuffer, codec::Sizes};
use std::sync::Arc;

const DOCS: (&str, &str) = NAMESPACES[0];
const MAIL: (&str, &str) = NAMESPACES[1];
const OTHER: (&str, &str) = NAMESPACES[2];

fn incarnation(env: &TestEnv, at: (&'static str, &str)) -> Incarnation {
    env.grant::<Search>(at.0, at.1).incarnation()
}

fn documents(max: u64) -> Quotas {
    Quotas { documents: Some(max), ..Quotas::default() }
}

fn is_over(error: &Error, what: &str) -> bool {
    matches!(error, Error::Quota { quota, .. } if *quota == what)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_writes_do_not_exceed_a_quota_together() {
    let env = TestEnv::new(UNLIMITED).await;
    let handles = [env.enter::<Ingest>(DOCS).await, env.enter::<Ingest>(MAIL).await];
    let neighbour = env.enter::<Ingest>(OTHER).await;
    env.stores.allow(incarnation(&env, DOCS), documents(10));
    let writes = (0..30).map(|n| {
        let draft = Draft::new(&format!("d{n}"), "some words").upsert();
        handles[n % 2].append(vec![draft], &Audience::Everything, line())
    });
    let outcomes = futures::future::join_all(writes).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 10);
    assert!(outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).all(|error| is_over(error, "documents")));
    assert_eq!(handles.iter().map(|handle| handle.totals().documents).sum::<u64>(), 10);
    assert!(
        neighbour.append(vec![Draft::new("n", "words").upsert()], &Audience::Everything, line()).await.is_ok(),
        "the other tenant's namespace"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_by_quota_names_the_quota_and_changes_nothing() {
    let env = TestEnv::new(UNLIMITED).await;
    let handle = env.enter::<Ingest>(DOCS).await;
    let first: Vec<_> = ["a", "b"].map(|name| Draft::new(name, "some words").upsert()).into();
    handle.append(first, &Audience::Everything, line()).await.unwrap();
    env.stores.allow(incarnation(&env, DOCS), documents(3));
    let before = handle.totals();
    let three = ["a", "c", "d"].map(|name| Draft::new(name, "other words").upsert());
    let refused = kernel::Error::from(handle.append(three.into(), &Audience::Everything, line()).await.unwrap_err());
    assert_eq!((refused.code, refused.param.as_deref()), (kernel::Code::QuotaExceeded, Some("quotas.documents")));
    assert!(refused.message.contains("3 documents") && refused.message.contains("adds 2"), "{refused}");
    assert_eq!(handle.totals(), before);
    let snapshot = env.enter::<Search>(DOCS).await.snapshot(None).await.unwrap();
    let kept =
        snapshot.get(&id("a"), &Audience::Everything, false, Quarantine::Shown, env.clock.now()).unwrap().unwrap();
    assert_eq!(kept.text.expose(), "some words", "also what would have been overwritten");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overwrite_counts_the_difference_and_a_deletion_frees_its_share() {
    let env = TestEnv::new(UNLIMITED).await;
    let handle = env.enter::<Ingest>(DOCS).await;
    let delete = env.enter::<Delete>(DOCS).await;
    let write =
        |name: &str, text: &str| handle.append(vec![Draft::new(name, text).upsert()], &Audience::Everything, line());
    write("a", &"word ".repeat(100)).await.unwrap();
    let full = Quotas { documents: Some(1), bytes: Some(handle.totals().bytes), ..Quotas::default() };
    env.stores.allow(incarnation(&env, DOCS), full);
    assert!(is_over(&write("b", "word").await.unwrap_err(), "documents"));
    assert!(is_over(&write("a", &"word ".repeat(101)).await.unwrap_err(), "bytes"));
    write("a", &"ward ".repeat(100)).await.unwrap();
    write("a", "short").await.unwrap();
    write("a", &"word ".repeat(100)).await.unwrap();
    delete.delete(&Selection::Ids(vec![id("a")]), &Audience::Everything, line()).await.unwrap();
    write("b", "word").await.unwrap();
    assert_eq!(handle.totals().documents, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_may_not_exceed_the_quota() {
    let env = TestEnv::new(UNLIMITED).await;
    let handle = env.enter::<Ingest>(DOCS).await;
    let patching = env.enter::<Patch>(DOCS).await;
    handle.append(vec![Draft::new("a", "words").upsert()], &Audience::Everything, line()).await.unwrap();
    let before = handle.totals();
    env.stores.allow(incarnation(&env, DOCS), Quotas { bytes: Some(before.bytes + 1_000), ..Quotas::default() });
    let which = Selection::Ids(vec![id("a")]);
    let patch = |length: usize| {
        let attributes = [("note".to_owned(), Some(AttrValue::One(Scalar::Str("x".repeat(length)))))].into();
        screen_patch(RawPatch { attributes, ..RawPatch::default() }, &Screening::default()).unwrap()
    };
    let refused = patching.patch(&which, &Audience::Everything, patch(2_000), line()).await.unwrap_err();
    assert!(is_over(&refused, "bytes"), "{refused}");
    assert_eq!(handle.totals(), before);
    patching.patch(&which, &Audience::Everything, patch(900), line()).await.unwrap();
    let grown = handle.totals().bytes - before.bytes;
    assert!((900..1_000).contains(&grown), "attributes count: {grown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_are_known_after_a_restart_and_while_namespaces_are_closed() {
    let mut env = TestEnv::new(UNLIMITED).await;
    for at in [DOCS, MAIL] {
        let handle = env.enter::<Ingest>(at).await;
        handle.append(vec![Draft::new("a", "words").upsert()], &Audience::Everything, line()).await.unwrap();
    }
    env.stores.flush_all().await.unwrap();
    env.reopen().await;
    let tenant = incarnation(&env, DOCS);
    assert!(!env.stores.has_tenant_totals(tenant));
    let uuids = [DOCS, MAIL].map(|at| env.keyspace(at).uuid());
    let recorded = uuids.map(|uuid| (uuid, env.audit.marks.lock().unwrap().get(&uuid).copied()));
    env.stores.seed_tenant_totals(tenant, recorded);
    let totals = env.stores.tenant_totals(tenant);
    assert!(totals.documents == 2 && totals.bytes > 0, "the audit knows, and none was opened for it: {totals:?}");
    assert_eq!(env.stores.stats().open, 0);
    for at in [DOCS, MAIL] {
        env.enter::<Search>(at).await;
    }
    let opened = env.stores.tenant_totals(tenant);
    assert_eq!(
        (opened.documents, opened.bytes),
        (totals.documents, totals.bytes),
        "what is found is what was recorded"
    );
    env.stores.close_tenant(tenant).await;
    assert_eq!(env.stores.tenant_totals(tenant), opened);
    let handle = env.enter::<Ingest>(MAIL).await;
    env.stores.allow(incarnation(&env, DOCS), documents(2));
    let refused =
        handle.append(vec![Draft::new("b", "words").upsert()], &Audience::Everything, line()).await.unwrap_err();
    assert!(is_over(&refused, "documents"), "what the other namespace has counts: {refused}");
    drop(handle);
    env.enter::<access::Manage>(MAIL).await.destroy().await.unwrap();
    let left = env.stores.tenant_totals(tenant);
    assert_eq!(left.documents, 1, "what is destroyed counts no more");
}

fn doc(name: &str, text: &str) -> Document {
    let now = kernel::Timestamp::from_millis(7);
    Draft::new(name, text).admit().into_document(now, now, CommitNo(1))
}

fn shown(builder: VersionBuilder) -> Vec<(String, String, Option<kernel::Timestamp>)> {
    let version = builder.finish().unwrap();
    let since = version.log_deleted_since();
    let text = |segment: &LiveSegment, n: u32| segment.index.document(n, true).unwrap();
    let all =
        version.segments.iter().flat_map(|segment| segment.live().iter().map(|n| text(segment, n)).collect::<Vec<_>>());
    let mut all: Vec<_> = all.map(|doc| (doc.id.as_str().to_owned(), doc.text.into_exposed(), since)).collect();
    all.sort();
    all
}

#[test]
fn an_undone_request_leaves_no_trace() {
    let spec = Spec::new(4, kernel::Distance::Cosine);
    let write_buffer = WriteBuffer::new(&spec, vec![doc("a", "old a"), doc("b", "old b")]).unwrap();
    let segment = LiveSegment::new(
        Arc::new(crate::state::index::Index::WriteBuffer(write_buffer)),
        [].into(),
        crate::state::live_segment::Durability::Log,
    );
    let version = Version { segments: vec![segment], ..Version::empty(spec) };
    let before = |builder: &mut VersionBuilder| {
        builder.begin();
        builder.put(doc("c", "staged c"));
        builder.remove(&id("b"));
    };
    let now = kernel::Timestamp::from_millis(9);
    let (mut once, mut back) = (VersionBuilder::new(&version, now), VersionBuilder::new(&version, now));
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
    back.undo();
    for builder in [&mut once, &mut back] {
        builder.begin();
        builder.put(doc("e", "after"));
    }
    assert_eq!((once.growth(), once.commit), (back.growth(), back.commit));
    assert_eq!(shown(once), shown(back));
}

/// A document has the same weight wherever it is stored, and each of its fields counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_weight_is_the_same_in_memory_on_disk_and_after_a_merge() {
    let mut env = TestEnv::new(UNLIMITED).await;
    let handle = env.enter::<Ingest>(DOCS).await;
    let drafts = ["a", "b", "c"].map(|name| Draft::new(name, &"words of a text ".repeat(20)));
    let mut expected = 0;
    for draft in &drafts {
        let doc = draft.admit().into_document(env.clock.now(), env.clock.now(), CommitNo(1));
        assert!(doc.status == Status::Indexed && doc.passages.len() > 1);
        expected += Sizes::of(&doc, 4, &mut Vec::new()).weight();
        handle.append(vec![draft.upsert()], &Audience::Everything, line()).await.unwrap();
    }
    assert_eq!(handle.totals().bytes, expected);
    env.stores.flush_all().await.unwrap();
    assert_eq!(handle.totals().bytes, expected);
    drop(handle);
    env.reopen().await;
    assert_eq!(env.enter::<Search>(DOCS).await.totals().bytes, expected);
}
