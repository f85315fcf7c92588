//! Two namespaces that differ only in documents which one reader does not see answer that reader alike, reads and
//! writes, to the last bit; and what the reader does never changes what it does not see.

use super::fixture::{DIMENSIONS, Draft, INJECTION, ROOMY, Sizes, World, id, line};
use crate::{
    Decision, Known, Listed, OnConflict, Outcome, Quarantine, Reviewed, ReviewedState, Selection, Snapshot, Upsert,
    UpsertStatus,
};
use access::{Delete, Ingest, Manage, Patch, Read, Review, Search};
use intake::{RawPatch, ScreenedPatch, screen_patch};
use kernel::{
    AttrValue, Audience, Clock, CommitNo, Comparison, DocumentId, Field, Filter, Number, Principal, ReadersRule,
    Retention, Scalar, Screening, Status, Timestamp,
};
use proptest::prelude::*;
use std::{fmt::Write, time::Duration};

const HOME: (&str, &str) = ("acme", "docs");
const SMALL: Sizes = Sizes { flush_rows_max: 24, ..ROOMY };
const IDS: u8 = 5;

fn user(name: &str) -> Principal {
    Principal::parse(&format!("user:{name}")).unwrap()
}

/// Who must not learn of anything.
fn member() -> Audience {
    Audience::Principals(vec![user("member")])
}

/// Who writes what the member does not see, and sees nothing of the member's either.
fn board() -> Audience {
    Audience::Named(vec![user("board")])
}

#[derive(Clone, Debug)]
enum Op {
    /// In one of the two namespaces; in the other a commit without changes.
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
    /// Of a member: 0 open, 1 the member's own, 2 the board's. Of the board: its own, but 3 for open.
    readers: u8,
    quarantined: bool,
    expires: bool,
}

impl Shape {
    fn draft(&self, who: &Audience, start: Timestamp) -> Draft {
        let words = ["harbour", "granite", "ledger", "copper", "quiet"];
        let chosen = words.iter().enumerate().filter(|(n, _)| self.words >> n & 1 == 1);
        let text: Vec<&str> = chosen.flat_map(|(n, word)| vec![*word; n + 1]).collect();
        let text = format!("{} {}", text.join(" "), if self.quarantined { INJECTION } else { "" });
        let readers = match (who == &board(), self.readers) {
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

/// What the caller is told of a write.
fn told(outcome: &Outcome) -> String {
    let Outcome { commit, results, matched, deleted, ids } = outcome;
    let results: Vec<_> = results.iter().map(|r| (r.id.as_str(), r.id.key().len(), r.status, r.passages)).collect();
    let ids: Vec<&str> = ids.iter().map(DocumentId::as_str).collect();
    format!("{commit} {results:?} {matched} {deleted} {ids:?}")
}

async fn act(world: &World, act: &Act, who: &Audience, start: Timestamp) -> String {
    let outcome = match act {
        Act::Upsert(shapes, on_conflict) => {
            let on_conflict = *on_conflict;
            let upsert = |shape: &Shape| Upsert { admitted: shape.draft(who, start).admit(), on_conflict };
            let upserts: Vec<Upsert> = shapes.iter().map(upsert).collect();
            let room = world.enter::<Ingest>(HOME).await;
            let asks: Vec<_> = upserts.iter().map(|u| (u.admitted.id().clone(), *u.admitted.content_hash())).collect();
            let known = room.known(&asks, who).await.unwrap();
            let outcome = room.append(upserts, who, line()).await.unwrap();
            return format!("{known:?} {}", told(&outcome));
        }
        Act::Delete(ids) => delete(world, Selection::Ids(names(ids)), who).await,
        Act::DeleteYear(n) => delete(world, Selection::Filter(year(*n)), who).await,
        Act::Patch(ids, to) => {
            let room = world.enter::<Patch>(HOME).await;
            room.patch(&Selection::Ids(names(ids)), who, patch(*to, None), line()).await
        }
        Act::PatchYear(from, to) => {
            let room = world.enter::<Patch>(HOME).await;
            let patch = patch(to.unwrap_or(0), to.is_none().then_some(None));
            room.patch(&Selection::Filter(year(*from)), who, patch, line()).await
        }
        Act::Review(ids, decision) => {
            let snapshot = world.enter::<Read>(HOME).await.snapshot(None).await.unwrap();
            let now = world.clock.now();
            let state = |id: &DocumentId| snapshot.get(id, who, false, Quarantine::Shown, now).unwrap();
            let reviewed = |id: DocumentId| {
                let commit = state(&id).map(|document| document.commit).unwrap_or_default();
                Reviewed { id, state: ReviewedState::Commit(commit) }
            };
            let reviewed: Vec<_> = names(ids).into_iter().map(reviewed).collect();
            world.enter::<Review>(HOME).await.decide(&reviewed, who, *decision, line()).await
        }
    };
    told(&outcome.unwrap())
}

async fn delete(world: &World, which: Selection, who: &Audience) -> Result<Outcome, crate::Error> {
    world.enter::<Delete>(HOME).await.delete(&which, who, line()).await
}

async fn snapshot(world: &World) -> Snapshot {
    world.enter::<Search>(HOME).await.snapshot(None).await.unwrap()
}

/// Everything that this reader can be told, as text.
async fn answers(world: &World, who: &Audience) -> String {
    let (snapshot, now) = (snapshot(world).await, world.clock.now());
    let mut out = format!("{} {:?}\n", snapshot.commit(), snapshot.totals_for(who, now).unwrap());
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
            let found = snapshot.get(&id(&name(n)), who, true, quarantine, now).unwrap();
            writeln!(out, "get {n}: {:?}", found.as_ref().map(shown)).unwrap();
        }
    }
    let status = Filter::In(Field::Status, vec![Scalar::Str("quarantined".to_owned())]);
    let filters = [None, Some(year(1)), Some(Filter::Not(Box::new(year(1)))), Some(status)];
    for filter in &filters {
        for quarantine in [Quarantine::Shown, Quarantine::Withheld] {
            let every = snapshot.stored(who, filter.as_ref(), quarantine, now).unwrap();
            let mut after = None;
            loop {
                let page = Listed { after: after.as_ref(), limit: 2, text: true, quarantine, ..Listed::default() };
                let (page, total, end) = snapshot.list(&every, &page).unwrap();
                writeln!(out, "{total} {end:?} {:?}", page.iter().map(shown).collect::<Vec<_>>()).unwrap();
                if end.is_none() {
                    break;
                }
                after = end;
            }
        }
        let eligible = snapshot.eligible(who, filter.as_ref(), &[Status::Indexed], now).unwrap();
        for question in
            ["harbour", "granite ledger", "cop*", "\"quiet quiet\"", "\"harbour granite\" copper", "+\"quiet quiet\""]
        {
            let eligible = snapshot.eligible(who, filter.as_ref(), &[Status::Indexed], now).unwrap();
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
    writeln!(out, "{}", snapshot.unknown_attributes(vec!["year"], who, now).unwrap().is_empty()).unwrap();
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

/// The same where documents have to name their readers: what is open is hidden too, and half of what the board writes
/// is.
fn with_open_ones(mut ops: Vec<Op>) -> Vec<Op> {
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
        let (with, without) = (World::new(SMALL).await, World::new(SMALL).await);
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
                Op::Pass => [&with, &without].iter().for_each(|world| world.clock.advance(Duration::from_secs(70))),
                Op::Flush => {
                    with.stores.flush_all().await.unwrap();
                    without.stores.flush_all().await.unwrap();
                }
            }
            assert_eq!(answers(&with, member).await, answers(&without, member).await, "after {op:?}");
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn nothing_tells_of_what_is_not_seen(ops in prop::collection::vec(op(), 1..24)) {
        differ(&ops, &member());
    }

    #[test]
    fn nor_of_open_documents_where_readers_are_required(ops in prop::collection::vec(op(), 1..24)) {
        differ(&with_open_ones(ops), &member().where_readers_are(ReadersRule::Required));
    }
}

async fn put(world: &World, draft: &Draft, who: &Audience) -> crate::UpsertResult {
    let room = world.enter::<Ingest>(HOME).await;
    room.append(vec![draft.upsert()], who, line()).await.unwrap().results.remove(0)
}

fn of_board(text: &str) -> Draft {
    Draft { readers: Some(vec![user("board")]), ..Draft::new("plan", text) }
}

async fn texts(world: &World, who: &Audience) -> Vec<String> {
    let (snapshot, now) = (snapshot(world).await, world.clock.now());
    let every = snapshot.stored(who, None, Quarantine::Shown, now).unwrap();
    let all = Listed { limit: 100, text: true, ..Listed::default() };
    let (documents, ..) = snapshot.list(&every, &all).unwrap();
    assert!(documents.iter().all(|document| document.id.as_str() == "plan"));
    documents.into_iter().map(|document| document.text.into_exposed()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_seen_is_not_written_over() {
    for conflict in [OnConflict::Overwrite, OnConflict::Skip, OnConflict::Fail] {
        let mut world = World::new(ROOMY).await;
        put(&world, &of_board("the merger"), &board()).await;
        let upsert = |text| Upsert { on_conflict: conflict, ..Draft::new("plan", text).upsert() };
        let room = world.enter::<Ingest>(HOME).await;
        let known =
            room.known(&[(id("plan"), *of_board("the merger").admit().content_hash())], &member()).await.unwrap();
        assert!(matches!(known[..], [Known::Absent]));
        let outcome = room.append(vec![upsert("lunch")], &member(), line()).await.unwrap();
        assert_eq!((outcome.results[0].status, outcome.results[0].id.key()), (UpsertStatus::Indexed, "plan"));
        drop(room);
        for reopened in [false, true] {
            assert_eq!(texts(&world, &board()).await, ["the merger"], "{conflict:?}, reopened: {reopened}");
            assert_eq!(texts(&world, &member()).await, ["lunch"]);
            assert_eq!(texts(&world, &Audience::Everything).await, ["the merger", "lunch"], "the oldest first");
            world.stores.flush_all().await.unwrap();
            world.reopen().await;
        }
        // Now the member's own is there.
        let mine = Draft::new("plan", "lunch");
        assert_eq!(put(&world, &mine, &member()).await.status, UpsertStatus::Unchanged);
        // An id names all that is seen under it.
        let gone = delete(&world, Selection::Ids(vec![id("plan")]), &member()).await.unwrap();
        assert_eq!((gone.deleted, texts(&world, &board()).await), (1, vec!["the merger".to_owned()]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sees_all_of_an_id_writes_over_all_of_it() {
    let mut world = World::new(ROOMY).await;
    put(&world, &of_board("the merger"), &board()).await;
    let created = world.clock.now();
    world.clock.advance(Duration::from_secs(60));
    put(&world, &Draft::new("plan", "lunch"), &member()).await;
    world.clock.advance(Duration::from_secs(60));
    put(&world, &Draft::new("plan", "one plan for all"), &Audience::Everything).await;
    for _ in 0..2 {
        for who in [member(), Audience::Principals(vec![user("board")]), Audience::Everything] {
            assert_eq!(texts(&world, &who).await, ["one plan for all"]);
        }
        let snapshot = snapshot(&world).await;
        let now = world.clock.now();
        let found = snapshot.get(&id("plan"), &member(), false, Quarantine::Shown, now).unwrap().unwrap();
        assert_eq!(found.created_at, created);
        drop(snapshot);
        world.reopen().await;
    }
    let gone = delete(&world, Selection::Ids(vec![id("plan")]), &Audience::Everything).await.unwrap();
    assert_eq!((gone.deleted, world.enter::<Search>(HOME).await.totals().documents), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_document_again_is_stored_once_and_not_told() {
    let world = World::new(ROOMY).await;
    for _ in 0..3 {
        let result = put(&world, &of_board("the merger"), &member()).await;
        assert_eq!((result.status, result.passages), (UpsertStatus::Indexed, 1));
        assert_eq!(texts(&world, &board()).await, ["the merger"]);
    }
    put(&world, &of_board("the merger, again"), &member()).await;
    assert_eq!(texts(&world, &board()).await, ["the merger", "the merger, again"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn erasing_takes_every_copy_of_what_was_seen_and_no_other() {
    let world = World::new(ROOMY).await;
    put(&world, &of_board("the merger"), &board()).await;
    put(&world, &Draft::new("plan", "lunch"), &member()).await;
    world.stores.flush_all().await.unwrap();
    let erasing = world.enter::<Delete>(HOME).await.erase(&[id("plan")], &member(), line()).await.unwrap();
    assert_eq!(erasing.outcome.deleted, 1);
    erasing.erased().await.unwrap();
    let view = world.stores.only().view();
    assert_eq!(view.tombstones(), (0, 1), "no dead copy is left in any index");
    assert_eq!(texts(&world, &board()).await, ["the merger"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_is_about_the_state_that_was_seen() {
    let world = World::new(ROOMY).await;
    let held = Draft::new("plan", &format!("first {INJECTION}"));
    let hash = *held.admit().content_hash();
    assert_eq!(put(&world, &held, &member()).await.status, UpsertStatus::Quarantined);
    let first = world.enter::<Search>(HOME).await.commit();
    put(&world, &Draft::new("plan", &format!("second, and worse. {INJECTION}")), &member()).await;
    let second = world.enter::<Search>(HOME).await.commit();
    let decide = async |state| {
        let reviewed = [Reviewed { id: id("plan"), state }];
        let room = world.enter::<Review>(HOME).await;
        room.decide(&reviewed, &Audience::Everything, Decision::Release, line()).await.unwrap().results[0].status
    };
    for stale in [ReviewedState::Commit(first), ReviewedState::ContentHash(hash), ReviewedState::ContentHash([0; 32])] {
        assert_eq!(decide(stale).await, UpsertStatus::Conflict);
    }
    // A patch is another state too, and leaves no hash to name.
    let room = world.enter::<Patch>(HOME).await;
    room.patch(&Selection::Ids(vec![id("plan")]), &member(), patch(1, None), line()).await.unwrap();
    assert_eq!(decide(ReviewedState::Commit(second)).await, UpsertStatus::Conflict);
    assert_eq!(decide(ReviewedState::ContentHash([0; 32])).await, UpsertStatus::Conflict);
    let now = world.enter::<Search>(HOME).await.commit();
    let third = CommitNo(second.0 + 4);
    assert!(now > third, "each decision was a commit");
    assert_eq!(decide(ReviewedState::Commit(CommitNo(second.0 + 4))).await, UpsertStatus::Released);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_back_is_withheld_from_lists_and_filters() {
    let world = World::new(ROOMY).await;
    put(&world, &Draft { year: 1.0, ..Draft::new("held", &format!("salaries. {INJECTION}")) }, &member()).await;
    put(&world, &Draft { year: 1.0, ..Draft::new("open", "lunch") }, &member()).await;
    let (snapshot, now) = (snapshot(&world).await, world.clock.now());
    let ids = |filter: Option<Filter>, quarantine| {
        let every = snapshot.stored(&member(), filter.as_ref(), quarantine, now).unwrap();
        let all = Listed { limit: 10, text: true, vectors: true, quarantine, ..Listed::default() };
        let (documents, total, _) = snapshot.list(&every, &all).unwrap();
        for document in &documents {
            let told = document.status == Status::Indexed || quarantine == Quarantine::Shown;
            assert_eq!(!document.text.is_empty(), told);
            assert_eq!((!document.attributes.is_empty(), !document.passages.is_empty()), (told, told));
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
async fn no_write_makes_a_document_outlive_the_retention() {
    let day = Duration::from_secs(24 * 60 * 60);
    let world = World::new(ROOMY).await;
    let start = world.clock.now();
    put(&world, &Draft { expires_at: Some(start.plus(day)), ..Draft::new("soon", "words") }, &member()).await;
    put(&world, &Draft::new("ever", "words"), &member()).await;
    let ends = async || {
        let (snapshot, now) = (snapshot(&world).await, world.clock.now());
        let end = |name| snapshot.get(&id(name), &member(), false, Quarantine::Shown, now).unwrap().unwrap().expires_at;
        [end("soon"), end("ever")]
    };
    assert_eq!(ends().await, [Some(start.plus(day)), None]);
    // A retention that comes later reaches what is there.
    let retain = async |days| world.enter::<Manage>(HOME).await.retain(Retention { days }, line).await.unwrap();
    retain(Some(10)).await;
    let bound = Some(start.plus(day * 10));
    assert_eq!(ends().await, [Some(start.plus(day)), bound]);
    let never = Some(None);
    let late = Some(Some(start.plus(day * 500)));
    world.clock.advance(Duration::from_secs(3_600));
    for expires_at in [never, late] {
        let room = world.enter::<Patch>(HOME).await;
        let which = Selection::Ids(vec![id("soon"), id("ever")]);
        room.patch(&which, &member(), patch(1, expires_at), line()).await.unwrap();
        assert_eq!(ends().await, [bound, bound]);
    }
    put(&world, &Draft { expires_at: late.flatten(), ..Draft::new("ever", "other words") }, &member()).await;
    assert_eq!(ends().await, [bound, bound], "it counts from the first time");
    retain(Some(2)).await;
    assert_eq!(ends().await, [Some(start.plus(day * 2)); 2]);
    // Longer ones are for what comes.
    retain(None).await;
    put(&world, &Draft::new("ever", "at last"), &member()).await;
    assert_eq!(ends().await, [Some(start.plus(day * 2)), None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_readers_are_required_a_document_without_them_is_not_open() {
    let world = World::new(ROOMY).await;
    put(&world, &Draft::new("plan", "from before"), &Audience::Everything).await;
    let strict = member().where_readers_are(ReadersRule::Required);
    for flushed in [false, true] {
        assert_eq!(texts(&world, &member()).await.len(), 1, "flushed: {flushed}");
        assert_eq!(texts(&world, &strict).await.len(), 0);
        assert_eq!(texts(&world, &Audience::Everything).await.len(), 1);
        let (snapshot, now) = (snapshot(&world).await, world.clock.now());
        assert_eq!(snapshot.totals_for(&strict, now).unwrap().documents, 0);
        world.stores.flush_all().await.unwrap();
    }
}
