//! Two namespaces that differ only in documents which one reader cannot see give that reader the same answers, to reads
//! and writes, bit for bit; and the reader's writes never change what it cannot see.

use super::fixture::{DIMENSIONS, Draft, INJECTION, Limits, TestEnv, UNLIMITED, id, line};
use crate::{
    Decision, ExistingDocument, ListOptions, OnConflict, Quarantine, Reviewed, ReviewedState, Selection, Snapshot,
    Upsert, UpsertStatus, WriteOutcome,
};
use access::{Delete, Ingest, Manage, Patch, Read, Review, Search};
use intake::{RawPatch, ScreenedPatch, screen_patch};
use kernel::{
    AttrValue, Audience, Clock, CommitNo, Comparison, DocumentId, Field, Filter, Number, Principal, ReadersRule,
    Retention, Scalar, Screening, Status, Timestamp,
};
use proptest::prelude::*;
use std::{fmt::Write, time::Duration};

const NAMESPACE: (&str, &str) = ("acme", "docs");
const SMALL_LIMITS: Limits = Limits { flush_rows_max: 24, ..UNLIMITED };
const IDS: u8 = 5;

fn user(name: &str) -> Principal {
    Principal::parse(&format!("user:{name}")).unwrap()
}

/// Reader who must not learn about hidden documents.
fn member() -> Audience {
    Audience::Principals(vec![user("member")])
}

/// Audience that writes documents the member cannot see, and that cannot see the member's either.
fn board() -> Audience {
    Audience::Named(vec![user("board")])
}

#[derive(Clone, Debug)]
enum Op {
    /// Applied in one of the two namespaces; the other gets a commit without changes.
    Hidden(Box<Act>),
    Member(Box<Act>),
    Pass,
    Flush,
}

#[derive(Clone, Debug)]
enum Act {
    Upsert(Vec<Shape>, OnConflict),
    Delete(Vec<u8>),
    DeleteYear(u8),
    Patch(Vec<u8>, u8),
    PatchYear(u8, Option<u8>),
    Review(Vec<u8>, Decision),
}

#[derive(Clone, Debug)]
struct Shape {
    id: u8,
    words: u8,
    year: u8,
    /// For the member: 0 open, 1 the member's own, 2 the board's. For the board: its own, except that 3 is open.
    readers: u8,
    quarantined: bool,
    expires: bool,
}

impl Shape {
    fn draft(&self, audience: &Audience, start: Timestamp) -> Draft {
        let words = ["harbour", "granite", "ledger", "copper", "quiet"];
        let chosen = words.iter().enumerate().filter(|(n, _)| self.words >> n & 1 == 1);
        let text: Vec<&str> = chosen.flat_map(|(n, word)| vec![*word; n + 1]).collect();
        let text = format!("{} {}", text.join(" "), if self.quarantined { INJECTION } else { "" });
        let readers = match (audience == &board(), self.readers) {
            (true, 0..=2) | (false, 2) => Some(vec![user("board")]),
            (false, 1) => Some(vec![user("member")]),
            _ => None,
        };
        let vector = (0..DIMENSIONS).map(|n| (usize::from(self.words) * (n + 3) % 17) as f32 + 0.5).collect();
        let expires_at = self.expires.then(|| start.plus(Duration::from_secs(200)));
        Draft {
            year: f64::from(self.year),
            readers,
            expires_at,
            vector: Some(vector),
            ..Draft::new(&name(self.id), &text)
        }
    }
}

fn name(n: u8) -> String {
    format!("doc-{n}")
}

fn names(ids: &[u8]) -> Vec<DocumentId> {
    ids.iter().map(|n| id(&name(*n))).collect()
}

fn year(year: u8) -> Filter {
    Filter::In(Field::Attribute("year".to_owned()), vec![Scalar::Num(Number::from(i64::from(year)))])
}

fn patch(year: u8, expires_at: Option<Option<Timestamp>>) -> ScreenedPatch {
    let attributes = [("year".to_owned(), Some(AttrValue::One(Scalar::Num(Number::from(i64::from(year))))))].into();
    screen_patch(RawPatch { attributes, expires_at, ..RawPatch::default() }, &Screening::default()).unwrap()
}

/// What the caller learns from a write.
fn learned(outcome: &WriteOutcome) -> String {
    let WriteOutcome { commit, results, matched, deleted, ids } = outcome;
    let results: Vec<_> = results.iter().map(|r| (r.id.as_str(), r.id.key().len(), r.status, r.passages)).collect();
    let ids: Vec<&str> = ids.iter().map(DocumentId::as_str).collect();
    format!("{commit} {results:?} {matched} {deleted} {ids:?}")
}

async fn act(env: &TestEnv, act: &Act, audience: &Audience, start: Timestamp) -> String {
    let outcome = match act {
        Act::Upsert(shapes, on_conflict) => {
            let on_conflict = *on_conflict;
            let upsert = |shape: &Shape| Upsert { admitted: shape.draft(audience, start).admit(), on_conflict };
            let upserts: Vec<Upsert> = shapes.iter().map(upsert).collect();
            let handle = env.enter::<Ingest>(NAMESPACE).await;
            let requested: Vec<_> =
                upserts.iter().map(|u| (u.admitted.id().clone(), *u.admitted.content_hash())).collect();
            let known = handle.known(&requested, audience).await.unwrap();
            let outcome = handle.append(upserts, audience, line()).await.unwrap();
            return format!("{known:?} {}", learned(&outcome));
        }
        Act::Delete(ids) => delete(env, Selection::Ids(names(ids)), audience).await,
        Act::DeleteYear(n) => delete(env, Selection::Filter(year(*n)), audience).await,
        Act::Patch(ids, to) => {
            let handle = env.enter::<Patch>(NAMESPACE).await;
            handle.patch(&Selection::Ids(names(ids)), audience, patch(*to, None), line()).await
        }
        Act::PatchYear(from, to) => {
            let handle = env.enter::<Patch>(NAMESPACE).await;
            let patch = patch(to.unwrap_or(0), to.is_none().then_some(None));
            handle.patch(&Selection::Filter(year(*from)), audience, patch, line()).await
        }
        Act::Review(ids, decision) => {
            let snapshot = env.enter::<Read>(NAMESPACE).await.snapshot(None).await.unwrap();
            let now = env.clock.now();
            let state = |id: &DocumentId| snapshot.get(id, audience, false, Quarantine::Shown, now).unwrap();
            let reviewed = |id: DocumentId| {
                let commit = state(&id).map(|document| document.commit).unwrap_or_default();
                Reviewed { id, state: ReviewedState::Commit(commit) }
            };
            let reviewed: Vec<_> = names(ids).into_iter().map(reviewed).collect();
            env.enter::<Review>(NAMESPACE).await.decide(&reviewed, audience, *decision, line()).await
        }
    };
    learned(&outcome.unwrap())
}

async fn delete(env: &TestEnv, which: Selection, audience: &Audience) -> Result<WriteOutcome, crate::Error> {
    env.enter::<Delete>(NAMESPACE).await.delete(&which, audience, line()).await
}

async fn snapshot(env: &TestEnv) -> Snapshot {
    env.enter::<Search>(NAMESPACE).await.snapshot(None).await.unwrap()
}

/// Everything that this reader can learn, as text.
async fn answers(env: &TestEnv, audience: &Audience) -> String {
    let (snapshot, now) = (snapshot(env).await, env.clock.now());
    let mut out = format!("{} {:?}\n", snapshot.commit(), snapshot.totals_for(audience, now).unwrap());
    let shown = |document: &kernel::Document| {
        format!(
            "{} {document:?} {:?} {:?} {:?}",
            document.id.as_str(),
            document.attributes,
            document.created_at,
            document.readers
        )
    };
    for n in 0..IDS {
        for quarantine in [Quarantine::Shown, Quarantine::Withheld] {
            let found = snapshot.get(&id(&name(n)), audience, true, quarantine, now).unwrap();
            writeln!(out, "get {n}: {:?}", found.as_ref().map(shown)).unwrap();
        }
    }
    let status = Filter::In(Field::Status, vec![Scalar::Str("quarantined".to_owned())]);
    let filters = [None, Some(year(1)), Some(Filter::Not(Box::new(year(1)))), Some(status)];
    for filter in &filters {
        for quarantine in [Quarantine::Shown, Quarantine::Withheld] {
            let every = snapshot.stored(audience, filter.as_ref(), quarantine, now).unwrap();
            let mut after = None;
            loop {
                let page =
                    ListOptions { after: after.as_ref(), limit: 2, text: true, quarantine, ..ListOptions::default() };
                let (page, total, end) = snapshot.list(&every, &page).unwrap();
                writeln!(out, "{total} {end:?} {:?}", page.iter().map(shown).collect::<Vec<_>>()).unwrap();
                if end.is_none() {
                    break;
                }
                after = end;
            }
        }
        let eligible = snapshot.eligible(audience, filter.as_ref(), &[Status::Indexed], now).unwrap();
        for question in
            ["harbour", "granite ledger", "cop*", "\"quiet quiet\"", "\"harbour granite\" copper", "+\"quiet quiet\""]
        {
            let eligible = snapshot.eligible(audience, filter.as_ref(), &[Status::Indexed], now).unwrap();
            let (query, eligible, _) = snapshot.ask(question, false, eligible).unwrap();
            let stats = snapshot.text_stats(&query, &eligible).unwrap();
            let held = snapshot.text_held(&query, &stats, &eligible).unwrap();
            let hits = snapshot.text(&query, &eligible, 10).unwrap();
            let hits: Vec<_> = hits.iter().map(|hit| ranked(&snapshot, hit)).collect();
            writeln!(out, "{question}: {stats:?} {held:?} {:?} {hits:?}", query.warnings()).unwrap();
        }
        let (near, _) = snapshot.vector(&[0.5, 1.5, -2.0, 3.0], &eligible, 10).unwrap();
        let near: Vec<_> = near.iter().map(|hit| ranked(&snapshot, hit)).collect();
        writeln!(out, "{} {} {near:?}", eligible.rows(), eligible.documents()).unwrap();
    }
    writeln!(out, "{}", snapshot.unknown_attributes(vec!["year"], audience, now).unwrap().is_empty()).unwrap();
    out
}

fn ranked(snapshot: &Snapshot, hit: &crate::Hit) -> (String, u32, u32) {
    let (id, passage) = snapshot.tie(hit.at);
    (id.unwrap().as_str().to_owned(), passage, hit.score.to_bits())
}

fn shape() -> impl Strategy<Value = Shape> {
    let bits = (0..IDS, 1..32_u8, 0..3_u8, 0..3_u8);
    (bits, prop::bool::weighted(0.2), prop::bool::weighted(0.15)).prop_map(
        |((id, words, year, readers), quarantined, expires)| Shape { id, words, year, readers, quarantined, expires },
    )
}

fn some_act() -> impl Strategy<Value = Act> {
    let ids = || prop::collection::vec(0..IDS, 1..4);
    let conflict =
        prop_oneof![3 => Just(OnConflict::Overwrite), 1 => Just(OnConflict::Skip), 1 => Just(OnConflict::Fail)];
    prop_oneof![
        6 => (prop::collection::vec(shape(), 1..5), conflict).prop_map(|(shapes, rule)| Act::Upsert(shapes, rule)),
        1 => ids().prop_map(Act::Delete),
        1 => (0..3_u8).prop_map(Act::DeleteYear),
        1 => (ids(), 0..3_u8).prop_map(|(ids, year)| Act::Patch(ids, year)),
        1 => (0..3_u8, prop::option::of(0..3_u8)).prop_map(|(from, to)| Act::PatchYear(from, to)),
        1 => (ids(), prop_oneof![Just(Decision::Release), Just(Decision::Reject)]).prop_map(|(i, d)| Act::Review(i, d)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => some_act().prop_map(|act| Op::Hidden(Box::new(act))),
        4 => some_act().prop_map(|act| Op::Member(Box::new(act))),
        1 => Just(Op::Pass),
        1 => Just(Op::Flush),
    ]
}

/// Operations for tenants whose documents must name their readers: open documents are hidden too, and half of the
/// board's documents are open.
fn with_open_documents(mut ops: Vec<Op>) -> Vec<Op> {
    for op in &mut ops {
        if let Op::Hidden(act) = op
            && let Act::Upsert(shapes, _) = &mut **act
        {
            shapes.iter_mut().filter(|shape| shape.words % 2 == 0).for_each(|shape| shape.readers = 3);
        }
    }
    ops
}

fn differ(ops: &[Op], member: &Audience) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (with, without) = (TestEnv::new(SMALL_LIMITS).await, TestEnv::new(SMALL_LIMITS).await);
        let start = with.clock.now();
        assert_eq!(start, without.clock.now());
        for op in ops {
            match op {
                Op::Hidden(hidden) => {
                    act(&with, hidden, &board(), start).await;
                    delete(&without, Selection::Ids(vec![id("never")]), &board()).await.unwrap();
                }
                Op::Member(open) => {
                    let there = act(&with, open, member, start).await;
                    assert_eq!(there, act(&without, open, member, start).await, "{open:?}");
                }
                Op::Pass => [&with, &without].iter().for_each(|env| env.clock.advance(Duration::from_secs(70))),
                Op::Flush => {
                    with.stores.flush_all().await.unwrap();
                    without.stores.flush_all().await.unwrap();
                }
            }
            assert_eq!(answers(&with, member).await, answers(&without, member).await, "after {op:?}");
        }
    });
}

/// A hidden document moves the member's later document to another segment than the first: what a filter selects must
/// not be reported in the order of segments.
#[test]
fn the_order_of_selected_documents_reveals_nothing() {
    let shape = |id, year| Shape { id, words: 1, year, readers: 1, quarantined: false, expires: false };
    let upsert = |id, year| Box::new(Act::Upsert(vec![shape(id, year)], OnConflict::Overwrite));
    let ops = [
        Op::Member(upsert(3, 2)),
        Op::Hidden(upsert(1, 0)),
        Op::Hidden(upsert(0, 0)),
        Op::Member(upsert(0, 2)),
        Op::Member(Box::new(Act::PatchYear(2, Some(1)))),
        Op::Member(upsert(2, 1)),
        Op::Hidden(upsert(4, 0)),
        Op::Member(Box::new(Act::DeleteYear(1))),
    ];
    // The three lists contain the patch without the delete, the delete without the patch, and both.
    differ(&ops[..5], &member());
    differ(&[&ops[..4], &[Op::Member(Box::new(Act::DeleteYear(2)))]].concat(), &member());
    differ(&ops, &member());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn hidden_documents_change_no_answer(ops in prop::collection::vec(op(), 1..24)) {
        differ(&ops, &member());
    }

    #[test]
    fn hidden_open_documents_change_no_answer_if_readers_are_required(ops in prop::collection::vec(op(), 1..24)) {
        differ(&with_open_documents(ops), &member().with_readers_rule(ReadersRule::Required));
    }
}

async fn put(env: &TestEnv, draft: &Draft, audience: &Audience) -> crate::UpsertResult {
    let handle = env.enter::<Ingest>(NAMESPACE).await;
    handle.append(vec![draft.upsert()], audience, line()).await.unwrap().results.remove(0)
}

fn of_board(text: &str) -> Draft {
    Draft { readers: Some(vec![user("board")]), ..Draft::new("plan", text) }
}

async fn texts(env: &TestEnv, audience: &Audience) -> Vec<String> {
    let (snapshot, now) = (snapshot(env).await, env.clock.now());
    let every = snapshot.stored(audience, None, Quarantine::Shown, now).unwrap();
    let all = ListOptions { limit: 100, text: true, ..ListOptions::default() };
    let (documents, ..) = snapshot.list(&every, &all).unwrap();
    assert!(documents.iter().all(|document| document.id.as_str() == "plan"));
    documents.into_iter().map(|document| document.text.into_exposed()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn hidden_documents_are_not_overwritten() {
    for conflict in [OnConflict::Overwrite, OnConflict::Skip, OnConflict::Fail] {
        let mut env = TestEnv::new(UNLIMITED).await;
        put(&env, &of_board("the merger"), &board()).await;
        let upsert = |text| Upsert { on_conflict: conflict, ..Draft::new("plan", text).upsert() };
        let handle = env.enter::<Ingest>(NAMESPACE).await;
        let known =
            handle.known(&[(id("plan"), *of_board("the merger").admit().content_hash())], &member()).await.unwrap();
        assert!(matches!(known[..], [ExistingDocument::Absent]));
        let outcome = handle.append(vec![upsert("lunch")], &member(), line()).await.unwrap();
        assert_eq!((outcome.results[0].status, outcome.results[0].id.key()), (UpsertStatus::Indexed, "plan"));
        drop(handle);
        for reopened in [false, true] {
            assert_eq!(texts(&env, &board()).await, ["the merger"], "{conflict:?}, reopened: {reopened}");
            assert_eq!(texts(&env, &member()).await, ["lunch"]);
            assert_eq!(texts(&env, &Audience::Everything).await, ["the merger", "lunch"], "the oldest first");
            env.stores.flush_all().await.unwrap();
            env.reopen().await;
        }
        // Now the member's own document is there.
        let own_draft = Draft::new("plan", "lunch");
        assert_eq!(put(&env, &own_draft, &member()).await.status, UpsertStatus::Unchanged);
        // An id selects all documents under it that the audience can see.
        let outcome = delete(&env, Selection::Ids(vec![id("plan")]), &member()).await.unwrap();
        assert_eq!((outcome.deleted, texts(&env, &board()).await), (1, vec!["the merger".to_owned()]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audience_that_sees_all_of_an_id_overwrites_all_of_it() {
    let mut env = TestEnv::new(UNLIMITED).await;
    put(&env, &of_board("the merger"), &board()).await;
    let created = env.clock.now();
    env.clock.advance(Duration::from_secs(60));
    put(&env, &Draft::new("plan", "lunch"), &member()).await;
    env.clock.advance(Duration::from_secs(60));
    put(&env, &Draft::new("plan", "one plan for all"), &Audience::Everything).await;
    for _ in 0..2 {
        for audience in [member(), Audience::Principals(vec![user("board")]), Audience::Everything] {
            assert_eq!(texts(&env, &audience).await, ["one plan for all"]);
        }
        let snapshot = snapshot(&env).await;
        let now = env.clock.now();
        let found = snapshot.get(&id("plan"), &member(), false, Quarantine::Shown, now).unwrap().unwrap();
        assert_eq!(found.created_at, created);
        drop(snapshot);
        env.reopen().await;
    }
    let outcome = delete(&env, Selection::Ids(vec![id("plan")]), &Audience::Everything).await.unwrap();
    assert_eq!((outcome.deleted, env.enter::<Search>(NAMESPACE).await.totals().documents), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_hidden_document_is_stored_once_and_not_revealed() {
    let env = TestEnv::new(UNLIMITED).await;
    for _ in 0..3 {
        let result = put(&env, &of_board("the merger"), &member()).await;
        assert_eq!((result.status, result.passages), (UpsertStatus::Indexed, 1));
        assert_eq!(texts(&env, &board()).await, ["the merger"]);
    }
    put(&env, &of_board("the merger, again"), &member()).await;
    assert_eq!(texts(&env, &board()).await, ["the merger", "the merger, again"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn erasing_removes_every_visible_copy_and_no_other() {
    let env = TestEnv::new(UNLIMITED).await;
    put(&env, &of_board("the merger"), &board()).await;
    put(&env, &Draft::new("plan", "lunch"), &member()).await;
    env.stores.flush_all().await.unwrap();
    let erasing = env.enter::<Delete>(NAMESPACE).await.erase(&[id("plan")], &member(), line()).await.unwrap();
    assert_eq!(erasing.outcome.deleted, 1);
    erasing.erased().await.unwrap();
    let version = env.stores.only().core.version();
    assert_eq!(version.tombstones(), (0, 1), "no deleted copy is left in any index");
    assert_eq!(texts(&env, &board()).await, ["the merger"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_applies_to_the_state_that_the_reviewer_saw() {
    let env = TestEnv::new(UNLIMITED).await;
    let held = Draft::new("plan", &format!("first {INJECTION}"));
    let hash = *held.admit().content_hash();
    assert_eq!(put(&env, &held, &member()).await.status, UpsertStatus::Quarantined);
    let first = env.enter::<Search>(NAMESPACE).await.commit();
    put(&env, &Draft::new("plan", &format!("second, and worse. {INJECTION}")), &member()).await;
    let second = env.enter::<Search>(NAMESPACE).await.commit();
    let decide = async |state| {
        let reviewed = [Reviewed { id: id("plan"), state }];
        let handle = env.enter::<Review>(NAMESPACE).await;
        handle.decide(&reviewed, &Audience::Everything, Decision::Release, line()).await.unwrap().results[0].status
    };
    for stale in [ReviewedState::Commit(first), ReviewedState::ContentHash(hash), ReviewedState::ContentHash([0; 32])] {
        assert_eq!(decide(stale).await, UpsertStatus::Conflict);
    }
    // A patched document is in another state too, and has no hash to name it by.
    let handle = env.enter::<Patch>(NAMESPACE).await;
    handle.patch(&Selection::Ids(vec![id("plan")]), &member(), patch(1, None), line()).await.unwrap();
    assert_eq!(decide(ReviewedState::Commit(second)).await, UpsertStatus::Conflict);
    assert_eq!(decide(ReviewedState::ContentHash([0; 32])).await, UpsertStatus::Conflict);
    let now = env.enter::<Search>(NAMESPACE).await.commit();
    let third = CommitNo(second.0 + 4);
    assert!(now > third, "each decision was a commit");
    assert_eq!(decide(ReviewedState::Commit(CommitNo(second.0 + 4))).await, UpsertStatus::Released);
}

#[tokio::test(flavor = "multi_thread")]
async fn quarantined_content_is_withheld_from_lists_and_filters() {
    let env = TestEnv::new(UNLIMITED).await;
    put(&env, &Draft { year: 1.0, ..Draft::new("held", &format!("salaries. {INJECTION}")) }, &member()).await;
    put(&env, &Draft { year: 1.0, ..Draft::new("open", "lunch") }, &member()).await;
    let (snapshot, now) = (snapshot(&env).await, env.clock.now());
    let ids = |filter: Option<Filter>, quarantine| {
        let every = snapshot.stored(&member(), filter.as_ref(), quarantine, now).unwrap();
        let all = ListOptions { limit: 10, text: true, vectors: true, quarantine, ..ListOptions::default() };
        let (documents, total, _) = snapshot.list(&every, &all).unwrap();
        for document in &documents {
            let learned = document.status == Status::Indexed || quarantine == Quarantine::Shown;
            assert_eq!(!document.text.is_empty(), learned);
            assert_eq!((!document.attributes.is_empty(), !document.passages.is_empty()), (learned, learned));
            assert_eq!(document.findings.is_empty(), document.status == Status::Indexed);
        }
        assert_eq!(total as usize, documents.len());
        documents.iter().map(|document| document.id.as_str().to_owned()).collect::<Vec<_>>()
    };
    let gt = Filter::Number(Field::Attribute("year".to_owned()), Comparison::Gt, Number::from(0_i64));
    let not = |filter: Filter| Filter::Not(Box::new(filter));
    for filter in [year(1), gt, Filter::Exists(Field::Attribute("year".to_owned()))] {
        assert_eq!(ids(Some(filter.clone()), Quarantine::Shown), ["held", "open"]);
        assert_eq!(ids(Some(filter.clone()), Quarantine::Withheld), ["open"]);
        assert_eq!(ids(Some(not(filter)), Quarantine::Withheld), ["held"], "as if it had no attributes");
    }
    let status = Filter::In(Field::Status, vec![Scalar::Str("quarantined".to_owned())]);
    assert_eq!(ids(Some(status), Quarantine::Withheld), ["held"]);
    assert_eq!(ids(None, Quarantine::Withheld), ["held", "open"]);
    let got = snapshot.get(&id("held"), &member(), true, Quarantine::Withheld, now).unwrap().unwrap();
    assert!(got.text.is_empty() && got.attributes.is_empty() && got.vectors.is_empty() && !got.findings.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_write_lets_a_document_outlive_the_retention() {
    let day = Duration::from_secs(24 * 60 * 60);
    let env = TestEnv::new(UNLIMITED).await;
    let start = env.clock.now();
    put(&env, &Draft { expires_at: Some(start.plus(day)), ..Draft::new("soon", "words") }, &member()).await;
    put(&env, &Draft::new("ever", "words"), &member()).await;
    let ends = async || {
        let (snapshot, now) = (snapshot(&env).await, env.clock.now());
        let end = |name| snapshot.get(&id(name), &member(), false, Quarantine::Shown, now).unwrap().unwrap().expires_at;
        [end("soon"), end("ever")]
    };
    assert_eq!(ends().await, [Some(start.plus(day)), None]);
    // A later retention applies to existing documents.
    let retain = async |days| env.enter::<Manage>(NAMESPACE).await.retain(Retention { days }, line).await.unwrap();
    retain(Some(10)).await;
    let bound = Some(start.plus(day * 10));
    assert_eq!(ends().await, [Some(start.plus(day)), bound]);
    let never = Some(None);
    let late = Some(Some(start.plus(day * 500)));
    env.clock.advance(Duration::from_secs(3_600));
    for expires_at in [never, late] {
        let handle = env.enter::<Patch>(NAMESPACE).await;
        let which = Selection::Ids(vec![id("soon"), id("ever")]);
        handle.patch(&which, &member(), patch(1, expires_at), line()).await.unwrap();
        assert_eq!(ends().await, [bound, bound]);
    }
    put(&env, &Draft { expires_at: late.flatten(), ..Draft::new("ever", "other words") }, &member()).await;
    assert_eq!(ends().await, [bound, bound], "it counts from the first time");
    retain(Some(2)).await;
    assert_eq!(ends().await, [Some(start.plus(day * 2)); 2]);
    // A longer retention applies only to later writes.
    retain(None).await;
    put(&env, &Draft::new("ever", "at last"), &member()).await;
    assert_eq!(ends().await, [Some(start.plus(day * 2)), None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_readers_are_required_a_document_without_them_is_not_open() {
    let env = TestEnv::new(UNLIMITED).await;
    put(&env, &Draft::new("plan", "from before"), &Audience::Everything).await;
    let strict = member().with_readers_rule(ReadersRule::Required);
    for flushed in [false, true] {
        assert_eq!(texts(&env, &member()).await.len(), 1, "flushed: {flushed}");
        assert_eq!(texts(&env, &strict).await.len(), 0);
        assert_eq!(texts(&env, &Audience::Everything).await.len(), 1);
        let (snapshot, now) = (snapshot(&env).await, env.clock.now());
        assert_eq!(snapshot.totals_for(&strict, now).unwrap().documents, 0);
        env.stores.flush_all().await.unwrap();
    }
}
