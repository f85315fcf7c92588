//! What a merge writes answers as its inputs did: as the union of what lives in them, for lists, filters, text and
//! vectors, to the last bit of every score.

use super::shelf::{Answers, Kind, NOW, SPEC, Shelf, answers, document, drawn, ground, laid_out, part};
use crate::{
    Snapshot,
    index::Index,
    part::{Durable, Part},
    rebuild,
};
use kernel::{Audience, Document, Filter, Principal, Timestamp};
use proptest::prelude::*;
use roaring::RoaringBitmap;
use segment::{Links, Segment, Stop, Tail};
use serde_json::json;
use std::sync::Arc;
use testkit::Rng;

/// What one document goes through: in which part it is written first, whether the other overwrites it, whether it is
/// deleted in the end.
#[derive(Clone, Debug)]
struct Life {
    part: usize,
    overwritten: bool,
    deleted: bool,
}

fn life() -> impl Strategy<Value = Life> {
    (0..2_usize, prop::bool::weighted(0.3), prop::bool::weighted(0.2)).prop_map(|(part, overwritten, deleted)| Life {
        part,
        overwritten,
        deleted,
    })
}

/// Two parts, and the documents that live in them.
fn lived(lives: &[Life], kinds: (Kind, Kind), random: &Rng) -> ([Shelf; 2], Vec<Document>) {
    let mut shelves = [(kinds.0, Vec::new(), Vec::new()), (kinds.1, Vec::new(), Vec::new())];
    let mut living = Vec::new();
    for (n, life) in lives.iter().enumerate() {
        let write = || document(&drawn(n, random));
        let (mut at, mut doc) = (life.part, write());
        if life.overwritten {
            shelves[at].1.push(doc.clone());
            shelves[at].2.push(doc.id);
            (at, doc) = (1 - at, write());
        }
        shelves[at].1.push(doc.clone());
        if life.deleted {
            shelves[at].2.push(doc.id);
        } else {
            living.push(doc);
        }
    }
    (shelves, living)
}

fn all(snapshot: &Snapshot) -> Vec<Answers> {
    let filter = Filter::parse(&json!({ "type": "in", "key": "year", "value": [2020, 2022, 2025] })).unwrap();
    let eyes = [Audience::Everything, Audience::Principals(vec![Principal::parse("user:0").unwrap()])];
    let asks = eyes.iter().flat_map(|eyes| [(eyes, None), (eyes, Some(&filter))]);
    asks.flat_map(|(eyes, filter)| [5, 1_000].map(|k| answers(snapshot, eyes, filter, k))).collect()
}

fn whole(index: Index) -> Vec<Part> {
    vec![Part::new(Arc::new(index), RoaringBitmap::new(), Durable::Log)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 100, ..ProptestConfig::default() })]
    #[test]
    fn a_merge_answers_as_the_union_of_its_inputs(
        seed in any::<u64>(),
        lives in prop::collection::vec(life(), 1..50),
        first in prop::sample::select(vec![Kind::Tail, Kind::Segment, Kind::Paged]),
        second in prop::sample::select(vec![Kind::Tail, Kind::Segment]),
    ) {
        let (ground, random, now) = (ground(), Rng::new(seed), Timestamp::parse(NOW).unwrap());
        let (shelves, living) = lived(&lives, (first, second), &random);
        let inputs: Vec<Part> = shelves.into_iter().map(|shelf| part(SPEC, shelf)).collect();
        // A merge leaves the expired out, and no answer has them.
        let expected = all(&laid_out(&ground, SPEC, vec![(Kind::Tail, living, Vec::new())]));
        prop_assert_eq!(&all(&ground.of_parts(SPEC, inputs.clone())), &expected);

        let written = rebuild::write(SPEC, &inputs, now, Links::Built, &Stop::default()).unwrap();
        let merged = written.map(|bytes| whole(Index::Segment(Segment::open(&SPEC, bytes).unwrap())));
        prop_assert_eq!(&all(&ground.of_parts(SPEC, merged.unwrap_or_default())), &expected);
        let indexed = rebuild::in_memory(SPEC, &inputs, now).unwrap().map(|segment| whole(Index::Segment(segment)));
        prop_assert_eq!(&all(&ground.of_parts(SPEC, indexed.unwrap_or_default())), &expected);
        let tails: Option<Vec<_>> = inputs.iter().map(|part| Some((part.index.tail()?, &*part.dead))).collect();
        if let Some(tails) = tails {
            let joined = whole(Index::Tail(Tail::joined(&SPEC, tails).unwrap()));
            prop_assert_eq!(&all(&ground.of_parts(SPEC, joined)), &expected);
        }
    }
}
