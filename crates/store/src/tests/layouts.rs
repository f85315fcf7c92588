//! A set of documents gives the same answers in many layouts: ids, order and the bits of every score, for text and
//! vectors, with filters and readers. Text statistics cover the namespace, vector scores are integers of one row and
//! the query, and ties are broken by id and passage: nothing depends on which rows share a segment.
//!
//! A scan rescores rows that codes cannot tell from the best, so it does not matter how many rows a row is compared
//! with. A search of a graph is approximate, and no layout here has a graph.

use super::layout_fixture::{
    Kind, NOW, SPEC, SegmentSpec, WORDS, answers, document, empty_snapshot, random_document, snapshot_of, spread,
};
use crate::Snapshot;
use kernel::{Audience, Distance, Document, Filter, Principal, Status, Timestamp};
use proptest::prelude::*;
use segment::Spec;
use serde_json::json;
use testkit::Rng;

fn audiences() -> [Audience; 3] {
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
    for audience in audiences() {
        for filter in filters() {
            for k in [1, 10, 10_000] {
                let one = answers(expected, &audience, filter.as_ref(), k);
                assert!(one.total > 0 && one.vector.iter().all(|ranked| !ranked.is_empty()));
                assert_eq!(answers(other, &audience, filter.as_ref(), k), one, "{layout}, {k} hits");
            }
        }
    }
}

/// Previous versions of some documents and deleted documents, all deleted in a segment of their own, and some of the
/// live documents in a segment that was written later.
fn with_deleted_versions(docs: &[Document], kind: Kind, random: &Rng) -> Vec<SegmentSpec> {
    let (kept, rewritten): (Vec<Document>, Vec<Document>) = docs.iter().cloned().partition(|_| random.below(3) > 0);
    let older = rewritten.iter().map(|doc| {
        let mut json = random_document(0, random);
        json["id"] = json!(doc.id.as_str());
        document(&json)
    });
    let deleted_docs = (0..docs.len() / 4).map(|n| document(&random_document(10_000 + n, random)));
    let superseded: Vec<Document> = older.chain(deleted_docs).collect();
    let deleted = superseded.iter().map(|doc| doc.id.clone()).collect();
    let (first, second) = kept.split_at(kept.len() / 2);
    vec![
        (kind, [first, &superseded].concat(), deleted),
        (kind, second.to_vec(), Vec::new()),
        (Kind::WriteBuffer, rewritten, Vec::new()),
    ]
}

#[test]
fn one_five_and_fifty_segments_and_write_buffers_answer_alike() {
    let (empty_snapshot, random) = (empty_snapshot(), Rng::new(11));
    let docs: Vec<Document> = (0..200).map(|n| document(&random_document(n, &random))).collect();
    for distance in [Distance::Cosine, Distance::Dot, Distance::Euclidean] {
        let spec = Spec { distance, ..SPEC };
        let one = snapshot_of(&empty_snapshot, spec, spread(&docs, 1, Kind::Segment));
        let (first, second) = docs.split_at(100);
        let half = vec![(Kind::Segment, first.to_vec(), vec![]), (Kind::WriteBuffer, second.to_vec(), vec![])];
        let mut layouts = vec![
            ("five segments", spread(&docs, 5, Kind::Segment)),
            ("a write buffer", spread(&docs, 1, Kind::WriteBuffer)),
            ("half a write buffer", half),
            ("segments with deleted versions", with_deleted_versions(&docs, Kind::Segment, &random)),
        ];
        if distance == Distance::Cosine {
            layouts.push(("one segment in pages", spread(&docs, 1, Kind::Paged)));
            layouts.push(("fifty segments", spread(&docs, 50, Kind::Segment)));
            layouts.push(("seven write buffers", spread(&docs, 7, Kind::WriteBuffer)));
            layouts.push((
                "write buffers with deleted versions",
                with_deleted_versions(&docs, Kind::WriteBuffer, &random),
            ));
        }
        for (layout, segment_specs) in layouts {
            same(&one, &snapshot_of(&empty_snapshot, spec, segment_specs), layout);
        }
    }
}

/// More copies of one vector than are ever rescored: the answer is the first of them by id in every layout.
#[test]
fn many_equal_vectors_are_answered_by_id_in_every_layout() {
    let (empty_snapshot, random) = (empty_snapshot(), Rng::new(12));
    let twin = |n: usize| {
        let mut json = random_document(n, &random);
        (json["passages"], json["vectors"]) = (json!(["river"]), json!([[1.0, 0.0, -0.5, 0.25, 0.0, 2.0]]));
        document(&json)
    };
    let docs: Vec<Document> = (0..300).map(twin).collect();
    let one = snapshot_of(&empty_snapshot, SPEC, spread(&docs, 1, Kind::Segment));
    for count in [3, 20] {
        same(&one, &snapshot_of(&empty_snapshot, SPEC, spread(&docs, count, Kind::Segment)), "segments");
        same(&one, &snapshot_of(&empty_snapshot, SPEC, spread(&docs, count, Kind::WriteBuffer)), "write buffers");
    }
}

/// Vectors that differ by less than one step of a code, more of them than are rescored without need: codes cannot order
/// them, and still the best are answered.
#[test]
fn vectors_that_codes_cannot_tell_apart_are_answered_alike() {
    let (empty_snapshot, random) = (empty_snapshot(), Rng::new(13));
    let near = |n: usize| {
        let doc = document(&json!({ "id": format!("doc-{n:04}"), "passages": ["river"] }));
        let values = [1.0, 0.0, -0.5, 0.25, 0.0, 2.0].map(|x: f32| x + random.signed() / 1_000.0);
        Document { vectors: values.to_vec(), ..doc }
    };
    let docs: Vec<Document> = (0..300).map(near).collect();
    for distance in [Distance::Cosine, Distance::Dot, Distance::Euclidean] {
        let spec = Spec { distance, ..SPEC };
        let of = |count| {
            answers(
                &snapshot_of(&empty_snapshot, spec, spread(&docs, count, Kind::WriteBuffer)),
                &audiences()[0],
                None,
                10,
            )
        };
        let one = of(1);
        assert_eq!(one.vector, one.exact, "{distance:?}");
        assert_eq!([of(4), of(30)].map(|many| many.vector), [one.vector.clone(), one.vector], "{distance:?}");
    }
}

/// Products too small for a score, below zero, above it, and zero, have the same order in every layout.
#[test]
fn scores_that_vanish_have_one_order() {
    let (empty_snapshot, spec) = (empty_snapshot(), Spec { distance: Distance::Dot, ..SPEC });
    let tiny = |n: usize| {
        let sign = [-1e-30_f32, 1e-30, 0.0][n % 3];
        let doc = document(&json!({ "id": format!("doc-{n}"), "passages": ["river"] }));
        Document { vectors: vec![sign, 1e-30, 0.0, 0.0, 0.0, 0.0], ..doc }
    };
    let docs: Vec<Document> = (0..9).map(tiny).collect();
    let order = |count| {
        let snapshot = snapshot_of(&empty_snapshot, spec, spread(&docs, count, Kind::Segment));
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
    fn any_spread_over_any_segments_answers_alike(
        seed in any::<u64>(),
        count in 1..60_usize,
        positions in prop::collection::vec((0..5_usize, prop::bool::weighted(0.2)), 60),
        kinds in prop::collection::vec(prop::sample::select(vec![Kind::WriteBuffer, Kind::Segment, Kind::Paged]), 5),
    ) {
        let (empty_snapshot, random) = (empty_snapshot(), Rng::new(seed));
        let docs: Vec<Document> = (0..count).map(|n| document(&random_document(n, &random))).collect();
        let mut segment_specs: Vec<SegmentSpec> = kinds.iter().map(|kind| (*kind, Vec::new(), Vec::new())).collect();
        for (n, (doc, (position, rewritten))) in docs.iter().zip(&positions).enumerate() {
            segment_specs[*position].1.push(doc.clone());
            if *rewritten {
                // The previous version is deleted in the preceding segment.
                let mut older = document(&random_document(n, &random));
                older.id = doc.id.clone();
                let before = (position + 4) % 5;
                segment_specs[before].2.push(doc.id.clone());
                segment_specs[before].1.push(older);
            }
        }
        let one = snapshot_of(&empty_snapshot, SPEC, spread(&docs, 1, Kind::Segment));
        let many = snapshot_of(&empty_snapshot, SPEC, segment_specs);
        for audience in audiences() {
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
