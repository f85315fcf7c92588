//! One set of documents in many layouts answers alike: ids, order and the bits of every score, for text and vectors,
//! with filters and readers. Word statistics are the namespace's, scores of vectors are integers of one row and the
//! query, and ties go by id and passage: nothing of it depends on who a row's neighbours are.
//!
//! A scan scores again what codes cannot tell from the best, so that it does not matter how many neighbours a row is
//! compared with. A walk of a graph is approximate, and no layout here has one.

use super::shelf::{Kind, NOW, SPEC, Shelf, WORDS, answers, document, drawn, ground, laid_out, spread};
use crate::Snapshot;
use kernel::{Audience, Distance, Document, Filter, Principal, Status, Timestamp};
use proptest::prelude::*;
use segment::Spec;
use serde_json::json;
use testkit::Rng;

fn eyes() -> [Audience; 3] {
    let principals = |names: &[&str]| names.iter().map(|name| Principal::parse(name).unwrap()).collect();
    [Audience::Everything, Audience::Principals(principals(&["user:1", "user:2"])), Audience::Principals(Vec::new())]
}

fn filters() -> [Option<Filter>; 3] {
    let filter = |json| Some(Filter::parse(&json).unwrap());
    [
        None,
        filter(json!({ "type": "gte", "key": "year", "value": 2023 })),
        filter(json!({ "type": "and", "filters": [
            { "type": "contains", "key": "tags", "value": WORDS[2] }, { "type": "ne", "key": "year", "value": 2021 },
        ] })),
    ]
}

fn same(expected: &Snapshot, other: &Snapshot, layout: &str) {
    for audience in eyes() {
        for filter in filters() {
            for k in [1, 10, 10_000] {
                let one = answers(expected, &audience, filter.as_ref(), k);
                assert!(one.total > 0 && one.vector.iter().all(|ranked| !ranked.is_empty()));
                assert_eq!(answers(other, &audience, filter.as_ref(), k), one, "{layout}, {k} hits");
            }
        }
    }
}

/// Other versions of some documents and documents that are no more, dead in a part of their own, and part of what
/// lives in a part that was written later.
fn with_a_past(docs: &[Document], kind: Kind, random: &Rng) -> Vec<Shelf> {
    let (kept, rewritten): (Vec<Document>, Vec<Document>) = docs.iter().cloned().partition(|_| random.below(3) > 0);
    let older = rewritten.iter().map(|doc| {
        let mut json = drawn(0, random);
        json["id"] = json!(doc.id.as_str());
        document(&json)
    });
    let gone = (0..docs.len() / 4).map(|n| document(&drawn(10_000 + n, random)));
    let buried: Vec<Document> = older.chain(gone).collect();
    let dead = buried.iter().map(|doc| doc.id.clone()).collect();
    let (first, second) = kept.split_at(kept.len() / 2);
    vec![
        (kind, [first, &buried].concat(), dead),
        (kind, second.to_vec(), Vec::new()),
        (Kind::Tail, rewritten, Vec::new()),
    ]
}

#[test]
fn one_five_and_fifty_segments_and_tails_answer_alike() {
    let (ground, random) = (ground(), Rng::new(11));
    let docs: Vec<Document> = (0..200).map(|n| document(&drawn(n, &random))).collect();
    for distance in [Distance::Cosine, Distance::Dot, Distance::Euclidean] {
        let spec = Spec { distance, ..SPEC };
        let one = laid_out(&ground, spec, spread(&docs, 1, Kind::Segment));
        let (first, second) = docs.split_at(100);
        let half = vec![(Kind::Segment, first.to_vec(), vec![]), (Kind::Tail, second.to_vec(), vec![])];
        let mut layouts = vec![
            ("five segments", spread(&docs, 5, Kind::Segment)),
            ("a tail", spread(&docs, 1, Kind::Tail)),
            ("half a tail", half),
            ("segments with a past", with_a_past(&docs, Kind::Segment, &random)),
        ];
        if distance == Distance::Cosine {
            layouts.push(("one segment in pages", spread(&docs, 1, Kind::Paged)));
            layouts.push(("fifty segments", spread(&docs, 50, Kind::Segment)));
            layouts.push(("seven tails", spread(&docs, 7, Kind::Tail)));
            layouts.push(("tails with a past", with_a_past(&docs, Kind::Tail, &random)));
        }
        for (layout, shelves) in layouts {
            same(&one, &laid_out(&ground, spec, shelves), layout);
        }
    }
}

/// More copies of one vector than are ever scored again: the answer is the first of them by id, everywhere.
#[test]
fn many_equal_vectors_are_answered_by_id_in_every_layout() {
    let (ground, random) = (ground(), Rng::new(12));
    let twin = |n: usize| {
        let mut json = drawn(n, &random);
        (json["passages"], json["vectors"]) = (json!(["river"]), json!([[1.0, 0.0, -0.5, 0.25, 0.0, 2.0]]));
        document(&json)
    };
    let docs: Vec<Document> = (0..300).map(twin).collect();
    let one = laid_out(&ground, SPEC, spread(&docs, 1, Kind::Segment));
    for count in [3, 20] {
        same(&one, &laid_out(&ground, SPEC, spread(&docs, count, Kind::Segment)), "segments");
        same(&one, &laid_out(&ground, SPEC, spread(&docs, count, Kind::Tail)), "tails");
    }
}

/// Vectors that differ by less than a step of a code, more of them than are scored again without need: codes know no
/// order among them, and still the best are answered.
#[test]
fn vectors_that_codes_cannot_tell_apart_are_answered_alike() {
    let (ground, random) = (ground(), Rng::new(13));
    let near = |n: usize| {
        let doc = document(&json!({ "id": format!("doc-{n:04}"), "passages": ["river"] }));
        let values = [1.0, 0.0, -0.5, 0.25, 0.0, 2.0].map(|x: f32| x + random.signed() / 1_000.0);
        Document { vectors: values.to_vec(), ..doc }
    };
    let docs: Vec<Document> = (0..300).map(near).collect();
    for distance in [Distance::Cosine, Distance::Dot, Distance::Euclidean] {
        let spec = Spec { distance, ..SPEC };
        let of = |count| answers(&laid_out(&ground, spec, spread(&docs, count, Kind::Tail)), &eyes()[0], None, 10);
        let one = of(1);
        assert_eq!(one.vector, one.exact, "{distance:?}");
        assert_eq!([of(4), of(30)].map(|many| many.vector), [one.vector.clone(), one.vector], "{distance:?}");
    }
}

/// Products too small for a score: below zero and above, and nothing, in one order everywhere.
#[test]
fn scores_that_vanish_have_one_order() {
    let (ground, spec) = (ground(), Spec { distance: Distance::Dot, ..SPEC });
    let tiny = |n: usize| {
        let sign = [-1e-30_f32, 1e-30, 0.0][n % 3];
        let doc = document(&json!({ "id": format!("doc-{n}"), "passages": ["river"] }));
        Document { vectors: vec![sign, 1e-30, 0.0, 0.0, 0.0, 0.0], ..doc }
    };
    let docs: Vec<Document> = (0..9).map(tiny).collect();
    let order = |count| {
        let snapshot = laid_out(&ground, spec, spread(&docs, count, Kind::Segment));
        let now = Timestamp::parse(NOW).unwrap();
        let eligible = snapshot.eligible(&Audience::Everything, None, &[Status::Indexed], now).unwrap();
        let hits = |k| snapshot.vector(&[1e-30, 0.0, 0.0, 0.0, 0.0, 0.0], &eligible, k).unwrap().0;
        [1, 4, 9].map(|k| hits(k).iter().map(|hit| snapshot.tie(hit.at)).collect::<Vec<_>>())
    };
    let one = order(1);
    assert_eq!([order(2), order(9)], [one.clone(), one]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 100, ..ProptestConfig::default() })]
    #[test]
    fn any_spread_over_any_parts_answers_alike(
        seed in any::<u64>(),
        count in 1..60_usize,
        places in prop::collection::vec((0..5_usize, prop::bool::weighted(0.2)), 60),
        kinds in prop::collection::vec(prop::sample::select(vec![Kind::Tail, Kind::Segment, Kind::Paged]), 5),
    ) {
        let (ground, random) = (ground(), Rng::new(seed));
        let docs: Vec<Document> = (0..count).map(|n| document(&drawn(n, &random))).collect();
        let mut shelves: Vec<Shelf> = kinds.iter().map(|kind| (*kind, Vec::new(), Vec::new())).collect();
        for (n, (doc, (place, rewritten))) in docs.iter().zip(&places).enumerate() {
            shelves[*place].1.push(doc.clone());
            if *rewritten {
                // Its older self is dead in the part before.
                let mut older = document(&drawn(n, &random));
                older.id = doc.id.clone();
                let before = (place + 4) % 5;
                shelves[before].2.push(doc.id.clone());
                shelves[before].1.push(older);
            }
        }
        let one = laid_out(&ground, SPEC, spread(&docs, 1, Kind::Segment));
        let many = laid_out(&ground, SPEC, shelves);
        for audience in eyes() {
            for filter in filters() {
                for k in [3, 1_000] {
                    prop_assert_eq!(
                        answers(&many, &audience, filter.as_ref(), k),
                        answers(&one, &audience, filter.as_ref(), k)
                    );
                }
            }
        }
    }
}
