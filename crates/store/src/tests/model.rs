//! Reference model: a map and a brute-force scan, compared with the store under random operations, crashes and
//! reopenings. Text scores are checked against one single segment with exactly the documents that can be found, so that
//! neither the layout nor deleted documents may influence them.

use super::fixture::{DIMENSIONS, Draft, INJECTION, Limits, TestEnv, id, line};
use crate::{
    Decision, ListOptions, OnConflict, Quarantine, Reviewed, ReviewedState, Selection, Snapshot, Upsert, UpsertStatus,
    WriteOutcome,
};
use intake::{RawPatch, ScreenedPatch, screen_patch};
use kernel::{
    AttrValue, Audience, Clock, CommitNo, Comparison, Document, Field, Filter, Principal, Scalar, Screening, Status,
    Timestamp,
};
use proptest::prelude::*;
use roaring::RoaringBitmap;
use segment::{Segment, Spec, TextQuery, TextStats};
use std::{collections::BTreeMap, time::Duration};

const NAMESPACE: (&str, &str) = ("acme", "docs");
const WORDS: [&str; 8] = ["alpha", "beta", "gamma", "delta", "river", "stone", "cloud", "ember"];
/// Limits at which some flushes end inline and some in an object.
const SMALL_LIMITS: Limits = Limits { flush_rows_max: 24, inline_bytes_max: 6_000, ..super::fixture::UNLIMITED };
/// Limits at which every object is read in pages.
const PAGED: Limits = Limits { inline_bytes_max: 0, resident_bytes_max: 0, ..SMALL_LIMITS };

#[derive(Clone, Debug)]
enum Op {
    Upsert(Vec<(Shape, OnConflict)>),
    DeleteIds(Vec<u8>),
    DeleteYear(u8),
    PatchIds(Vec<u8>, u8),
    PatchYear(u8, u8),
    Review(Vec<u8>, Decision),
    Pass(u8),
    Flush,
    Close,
    Crash,
}

/// Random document; the ranges are small, so that ids and contents repeat.
#[derive(Clone, Debug)]
struct Shape {
    id: u8,
    words: u8,
    repeat: u8,
    year: u8,
    readers: u8,
    quarantined: bool,
    expires: Option<u8>,
    vector: bool,
}

fn shape() -> impl Strategy<Value = Shape> {
    let bits = (0..10_u8, 1..=255_u8, 1..9_u8, 0..3_u8, 0..3_u8);
    (bits, prop::bool::weighted(0.15), prop::option::weighted(0.15, 1..6_u8), any::<bool>()).prop_map(
        |((id, words, repeat, year, readers), quarantined, expires, vector)| Shape {
            id,
            words,
            repeat,
            year,
            readers,
            quarantined,
            expires,
            vector,
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    let ids = || prop::collection::vec(0..10_u8, 1..4);
    let conflict =
        prop_oneof![4 => Just(OnConflict::Overwrite), 1 => Just(OnConflict::Skip), 1 => Just(OnConflict::Fail)];
    prop_oneof![
        8 => prop::collection::vec((shape(), conflict), 1..6).prop_map(Op::Upsert),
        2 => ids().prop_map(Op::DeleteIds),
        1 => (0..3_u8).prop_map(Op::DeleteYear),
        2 => (ids(), 0..3_u8).prop_map(|(ids, year)| Op::PatchIds(ids, year)),
        1 => (0..3_u8, 0..3_u8).prop_map(|(from, to)| Op::PatchYear(from, to)),
        2 => (ids(), prop_oneof![Just(Decision::Release), Just(Decision::Reject)]).prop_map(|(i, d)| Op::Review(i, d)),
        1 => (1..4_u8).prop_map(Op::Pass),
        2 => Just(Op::Flush),
        1 => Just(Op::Close),
        2 => Just(Op::Crash),
    ]
}

fn principal(n: u8) -> Principal {
    Principal::parse(&format!("user:{n}")).unwrap()
}

impl Shape {
    fn draft(&self, start: Timestamp) -> Draft {
        let chosen = WORDS.iter().enumerate().filter(|(n, _)| self.words >> n & 1 == 1).map(|(_, word)| *word);
        let once: Vec<&str> = chosen.collect();
        let mut text = vec![once.join(" "); self.repeat.into()].join(". ");
        if self.quarantined {
            text = format!("{text}. {INJECTION}");
        }
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let vector = (0..DIMENSIONS).map(|n| (self.words as usize * (n + 3) % 17) as f32 + 0.5).collect();
        Draft {
            id: name(self.id),
            text,
            year: f64::from(self.year),
            readers: (self.readers > 0).then(|| vec![principal(self.readers)]),
            expires_at: self.expires.map(|m| start.plus(Duration::from_secs(60 * u64::from(m)))),
            vector: self.vector.then_some(vector),
        }
    }
}

fn name(n: u8) -> String {
    format!("doc-{n}")
}

fn names(ids: &[u8]) -> Vec<kernel::DocumentId> {
    ids.iter().map(|n| id(&name(*n))).collect()
}

fn year_is(year: u8) -> Filter {
    Filter::Number(Field::Attribute("year".into()), Comparison::Gte, f64::from(year).into())
}

fn new_year(year: u8) -> ScreenedPatch {
    let attributes = [("year".to_owned(), Some(AttrValue::One(Scalar::Num(f64::from(year).into()))))].into();
    screen_patch(RawPatch { attributes, ..RawPatch::default() }, &Screening::default()).unwrap()
}

/// What the namespace must hold.
#[derive(Default)]
struct Model {
    docs: BTreeMap<String, Document>,
    commit: u64,
}

impl Model {
    fn live(&self, now: Timestamp) -> impl Iterator<Item = &Document> {
        self.docs.values().filter(move |doc| doc.expires_at.is_none_or(|at| at > now))
    }

    fn commit(&mut self) -> CommitNo {
        self.commit += 1;
        CommitNo(self.commit)
    }

    fn upsert(&mut self, draft: &Draft, on_conflict: OnConflict, now: Timestamp) -> UpsertStatus {
        let mut doc = draft.admit().into_document(now, now, CommitNo(self.commit));
        let old = self.live(now).find(|old| old.id == doc.id);
        if let Some(old) = old {
            if old.content_hash == doc.content_hash {
                return UpsertStatus::Unchanged;
            }
            match on_conflict {
                OnConflict::Skip => return UpsertStatus::Skipped,
                OnConflict::Fail => return UpsertStatus::Conflict,
                OnConflict::Overwrite => doc.created_at = old.created_at,
            }
        }
        let status = if doc.status == Status::Indexed { UpsertStatus::Indexed } else { UpsertStatus::Quarantined };
        self.docs.insert(draft.id.clone(), doc);
        status
    }

    fn matching(&self, filter: &Filter, audience: &Audience, now: Timestamp) -> Vec<String> {
        let fits = |doc: &&Document| {
            filter.matches(&crate::write::plan::document_view(doc)) && audience.may_see(doc.readers.as_deref())
        };
        self.live(now).filter(fits).map(|doc| doc.id.as_str().to_owned()).collect()
    }

    fn named(&self, ids: &[u8], audience: &Audience, now: Timestamp) -> Vec<String> {
        let expected_ids: Vec<String> = ids.iter().map(|n| name(*n)).collect();
        let fits = |doc: &&Document| {
            expected_ids.contains(&doc.id.as_str().to_owned()) && audience.may_see(doc.readers.as_deref())
        };
        self.live(now).filter(fits).map(|doc| doc.id.as_str().to_owned()).collect()
    }

    fn patch(&mut self, ids: &[String], year: u8, now: Timestamp, commit: CommitNo) {
        for key in ids {
            let doc = self.docs.get_mut(key).unwrap();
            new_year(year).apply(doc).unwrap();
            (doc.updated_at, doc.commit, doc.content_hash) = (now, commit, [0; 32]);
        }
    }
}

async fn apply(env: &mut TestEnv, model: &mut Model, op: &Op, start: Timestamp) {
    let now = env.clock.now();
    let own_audience = Audience::Principals(vec![principal(1)]);
    let all = Audience::Everything;
    match op {
        Op::Upsert(shapes) => {
            model.commit();
            let drafts: Vec<_> = shapes.iter().map(|(shape, conflict)| (shape.draft(start), *conflict)).collect();
            let upserts = drafts.iter().map(|(d, c)| Upsert { admitted: d.admit(), on_conflict: *c }).collect();
            let expected: Vec<_> = drafts.iter().map(|(d, c)| model.upsert(d, *c, now)).collect();
            let outcome = env
                .enter::<access::Ingest>(NAMESPACE)
                .await
                .append(upserts, &Audience::Everything, line())
                .await
                .unwrap();
            assert_eq!(outcome.results.iter().map(|r| r.status).collect::<Vec<_>>(), expected);
            assert_eq!(outcome.commit.0, model.commit);
        }
        Op::DeleteIds(ids) => {
            let which = Selection::Ids(names(ids));
            let deleted_ids = model.named(ids, &own_audience, now);
            delete(env, model, which, &own_audience, deleted_ids).await;
        }
        Op::DeleteYear(year) => {
            let deleted_ids = model.matching(&year_is(*year), &all, now);
            delete(env, model, Selection::Filter(year_is(*year)), &all, deleted_ids).await;
        }
        Op::PatchIds(ids, year) => {
            let touched = model.named(ids, &all, now);
            patch(env, model, Selection::Ids(names(ids)), &all, touched, *year).await;
        }
        Op::PatchYear(from, to) => {
            let touched = model.matching(&year_is(*from), &own_audience, now);
            patch(env, model, Selection::Filter(year_is(*from)), &own_audience, touched, *to).await;
        }
        Op::Review(ids, decision) => review(env, model, ids, *decision).await,
        Op::Pass(minutes) => env.clock.advance(Duration::from_secs(60 * u64::from(*minutes))),
        Op::Flush => env.stores.flush_all().await.unwrap(),
        Op::Close => {
            env.stores.close().await;
            env.reopen().await;
        }
        Op::Crash => env.reopen().await,
    }
}

async fn delete(env: &TestEnv, model: &mut Model, which: Selection, audience: &Audience, deleted_ids: Vec<String>) {
    model.commit();
    let handle = env.enter::<access::Delete>(NAMESPACE).await;
    let outcome = handle.delete(&which, audience, line()).await.unwrap();
    check_ids(&outcome, &deleted_ids);
    assert_eq!(outcome.deleted, deleted_ids.len() as u64);
    deleted_ids.iter().for_each(|key| {
        model.docs.remove(key);
    });
}

async fn patch(env: &TestEnv, model: &mut Model, which: Selection, audience: &Audience, ids: Vec<String>, year: u8) {
    let commit = model.commit();
    let handle = env.enter::<access::Patch>(NAMESPACE).await;
    let outcome = handle.patch(&which, audience, new_year(year), line()).await.unwrap();
    check_ids(&outcome, &ids);
    model.patch(&ids, year, env.clock.now(), commit);
}

async fn review(env: &TestEnv, model: &mut Model, ids: &[u8], decision: Decision) {
    let now = env.clock.now();
    let state = |model: &Model, n: u8| model.live(now).find(|doc| doc.id.as_str() == name(n)).map(|doc| doc.commit);
    let states: Vec<_> = ids.iter().map(|n| state(model, *n).unwrap_or_default()).collect();
    let commit = model.commit();
    let mut expected = Vec::new();
    for (n, state_before) in ids.iter().zip(&states) {
        let found = model.live(now).find(|doc| doc.id.as_str() == name(*n)).map(|doc| doc.status);
        expected.push(match (found, decision) {
            (None, _) => UpsertStatus::NotFound,
            // It is named twice in the request, and the first of the two released it.
            (Some(_), _) if state(model, *n) != Some(*state_before) => UpsertStatus::Conflict,
            (Some(Status::Quarantined), Decision::Release) => {
                let doc = model.docs.get_mut(&name(*n)).unwrap();
                (doc.status, doc.updated_at, doc.commit) = (Status::Indexed, now, commit);
                UpsertStatus::Released
            }
            (Some(Status::Quarantined), Decision::Reject) => {
                model.docs.remove(&name(*n));
                UpsertStatus::Rejected
            }
            _ => UpsertStatus::NotQuarantined,
        });
    }
    let handle = env.enter::<access::Review>(NAMESPACE).await;
    let reviewed = |(id, commit)| Reviewed { id, state: ReviewedState::Commit(commit) };
    let reviewed: Vec<_> = names(ids).into_iter().zip(states).map(reviewed).collect();
    let outcome = handle.decide(&reviewed, &Audience::Everything, decision, line()).await.unwrap();
    assert_eq!(outcome.results.iter().map(|r| r.status).collect::<Vec<_>>(), expected);
}

fn check_ids(outcome: &WriteOutcome, expected: &[String]) {
    let mut touched: Vec<&str> = outcome.ids.iter().map(kernel::DocumentId::as_str).collect();
    touched.sort_unstable();
    assert_eq!(touched, expected);
    assert_eq!(outcome.matched, expected.len() as u64);
}

/// Compares every answer for three audiences and two filters.
async fn compare(env: &TestEnv, model: &Model) {
    let snapshot = env.enter::<access::Search>(NAMESPACE).await.snapshot(None).await.unwrap();
    let now = env.clock.now();
    assert_eq!(snapshot.commit().0, model.commit);
    let audiences = [Audience::Everything, Audience::Principals(vec![]), Audience::Principals(vec![principal(2)])];
    for audience in &audiences {
        for filter in [None, Some(year_is(1))] {
            check_list(&snapshot, model, audience, filter.as_ref(), now);
            check_search(&snapshot, model, audience, filter.as_ref(), now);
        }
        for n in 0..10 {
            let expected = model.live(now).find(|d| d.id.as_str() == name(n) && audience.may_see(d.readers.as_deref()));
            let got = snapshot.get(&id(&name(n)), audience, true, Quarantine::Shown, now).unwrap();
            assert_eq!(got.as_ref(), expected, "get {n}");
        }
    }
}

fn check_list(snapshot: &Snapshot, model: &Model, audience: &Audience, filter: Option<&Filter>, now: Timestamp) {
    let expected: Vec<&Document> = model
        .live(now)
        .filter(|d| audience.may_see(d.readers.as_deref()))
        .filter(|d| filter.is_none_or(|f| f.matches(&crate::write::plan::document_view(d))))
        .collect();
    let every = [Status::Indexed, Status::Quarantined, Status::Pending];
    let eligible = snapshot.eligible(audience, filter, &every, now).unwrap();
    let shown = ListOptions { quarantine: Quarantine::Shown, ..ListOptions::default() };
    let (all, total, end) =
        snapshot.list(&eligible, &ListOptions { limit: 100, text: true, vectors: true, ..shown }).unwrap();
    assert_eq!((all.iter().collect::<Vec<_>>(), total, end), (expected.clone(), expected.len() as u64, None));
    assert_eq!(eligible.documents(), total);
    // The same in pages of three.
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let (page, total, end) =
            snapshot.list(&eligible, &ListOptions { after: after.as_ref(), limit: 3, ..shown }).unwrap();
        assert_eq!(total, expected.len() as u64);
        paged.extend(page.into_iter().map(|d| d.id));
        if end.is_none() {
            break;
        }
        after = end;
    }
    assert_eq!(paged, expected.iter().map(|d| d.id.clone()).collect::<Vec<_>>());
    let requested = names(&[3, 1, 3, 7]);
    let (some, total, _) =
        snapshot.list(&eligible, &ListOptions { ids: Some(&requested), limit: 100, ..shown }).unwrap();
    let expected_ids: Vec<_> = expected.iter().filter(|d| requested.contains(&d.id)).map(|d| d.id.clone()).collect();
    assert_eq!(
        (some.into_iter().map(|d| d.id).collect::<Vec<_>>(), total),
        (expected_ids.clone(), expected_ids.len() as u64)
    );
}

type Scores = BTreeMap<(String, u32), f32>;

fn check_search(snapshot: &Snapshot, model: &Model, audience: &Audience, filter: Option<&Filter>, now: Timestamp) {
    let spec = Spec::new(DIMENSIONS, kernel::Distance::Cosine);
    let found: Vec<Document> = model.live(now).filter(|d| d.status == Status::Indexed).cloned().collect();
    let one = Segment::in_memory(&spec, found).unwrap();
    let mut docs = one.visible(audience);
    // Statistics are those of everything that the audience can see, whatever the filter.
    let every: RoaringBitmap = one.rows_of(&docs);
    if let Some(filter) = filter {
        docs &= one.evaluate(&filter.compile()).unwrap();
    }
    let rows = one.rows_of(&docs);
    let eligible = snapshot.eligible(audience, filter, &[Status::Indexed], now).unwrap();
    assert_eq!(eligible.rows(), rows.len());

    for text in ["alpha", "river stone", "ember gamma delta"] {
        let query = TextQuery::new(text);
        let mut stats = TextStats::for_query(&query);
        stats += one.text_stats(&query, &every).unwrap();
        let expected = of_segment(&one, one.search_text(&query, &stats, &rows, 1_000).unwrap());
        same(&expected, snapshot, &snapshot.text(&query, &eligible, 1_000).unwrap(), 1_000);
        same(&expected, snapshot, &snapshot.text(&query, &eligible, 3).unwrap(), 3);
    }
    let query = [0.5, -0.5, 0.5, 0.5_f32];
    let expected: Scores = (0..one.rows())
        .filter(|row| rows.contains(*row))
        .filter_map(|row| {
            let (doc, passage) = one.row(row)?;
            let document = one.document(doc, true).unwrap();
            let at = passage as usize * DIMENSIONS;
            let vector = document.vectors.get(at..at + DIMENSIONS)?;
            let dot: f32 = vector.iter().zip(query).map(|(a, b)| a * b).sum();
            Some(((document.id.as_str().to_owned(), passage), dot))
        })
        .collect();
    same(&expected, snapshot, &snapshot.vector(&query, &eligible, 1_000).unwrap().0, 1_000);
    same(&expected, snapshot, &snapshot.vector(&query, &eligible, 3).unwrap().0, 3);
}

fn of_segment(one: &Segment, scored: Vec<segment::Scored>) -> Scores {
    let key = |row| {
        let (doc, passage) = one.row(row).unwrap();
        (one.head(doc).unwrap().id.as_str().to_owned(), passage)
    };
    scored.into_iter().map(|s| (key(s.row), s.score)).collect()
}

/// Checks that the hits are the `k` best of the expected ones, each once, best first, with their scores.
fn same(expected: &Scores, snapshot: &Snapshot, hits: &[crate::Hit], k: usize) {
    let mut best: Vec<f32> = expected.values().copied().collect();
    best.sort_by(|a, b| b.total_cmp(a));
    best.truncate(k);
    assert_eq!(hits.len(), best.len());
    let mut answered = std::collections::HashSet::new();
    for (hit, best) in hits.iter().zip(best) {
        assert!((hit.score - best).abs() < 1e-4, "{} is not {best}", hit.score);
        let (doc_id, passage) = snapshot.tie(hit.at);
        let key = (doc_id.unwrap().as_str().to_owned(), passage);
        assert!((expected[&key] - hit.score).abs() < 1e-4);
        assert!(answered.insert(key), "answered twice");
    }
}

fn run(ops: &[Op], sizes: Limits) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut env = TestEnv::new(sizes).await;
        let (mut model, start) = (Model::default(), env.clock.now());
        for op in ops {
            apply(&mut env, &mut model, op, start).await;
            compare(&env, &model).await;
        }
        env.reopen().await;
        compare(&env, &model).await;
        env.wait_idle().await;
        let lines = env.audit.lines.lock().unwrap();
        let commits: Vec<u64> = lines.keys().map(|(_, commit)| commit.0).collect();
        assert_eq!(commits, (1..=model.commit).collect::<Vec<_>>(), "one audit record per commit");
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_store_equals_a_map_with_a_scan(ops in prop::collection::vec(op(), 1..28)) {
        run(&ops, SMALL_LIMITS);
    }

    #[test]
    fn the_paged_store_equals_a_map_with_a_scan(ops in prop::collection::vec(op(), 1..28)) {
        run(&ops, PAGED);
    }
}

/// Every kind of operation once, each followed by a crash.
#[test]
fn every_operation_survives_a_reopening() {
    let shape = |id, quarantined| Shape {
        id,
        words: 0b1010_0111,
        repeat: 6,
        year: id % 3,
        readers: id % 3,
        quarantined,
        expires: None,
        vector: id % 2 == 0,
    };
    let batch = |ids: std::ops::Range<u8>| Op::Upsert(ids.map(|n| (shape(n, n == 4), OnConflict::Overwrite)).collect());
    let kinds = [
        batch(0..6),
        Op::DeleteIds(vec![1]),
        Op::PatchIds(vec![0, 4], 2),
        Op::Review(vec![4, 0, 9], Decision::Release),
        batch(3..9),
        Op::Review(vec![4], Decision::Reject),
        Op::Flush,
        Op::PatchYear(0, 1),
        Op::DeleteYear(2),
        Op::Flush,
        Op::Pass(3),
        Op::Close,
    ];
    let ops: Vec<Op> = kinds.into_iter().flat_map(|op| [op, Op::Crash]).collect();
    run(&ops, SMALL_LIMITS);
    run(&ops, PAGED);
}
