//! The output of a merge answers as its inputs did: as the union of their live documents, for lists, filters, text and
//! vectors, bit for bit in every score.

use super::layout_fixture::{
    Answers, Kind, NOW, SPEC, SegmentSpec, answers, document, empty_snapshot, live_segment, random_document,
    snapshot_of,
};
use crate::{
    Snapshot,
    state::{
        index::Index,
        live_segment::{Durability, LiveSegment},
        rebuild,
    },
};
use kernel::{Audience, Document, Filter, Principal, Timestamp};
use proptest::prelude::*;
use roaring::RoaringBitmap;
use segment::{GraphMode, Segment, StopFlag, WriteBuffer};
use serde_json::json;
use std::sync::Arc;
use testkit::Rng;

/// History of one document: the segment to which it is written first, whether the other segment overwrites it, and
/// whether it is deleted in the end.
#[derive(Clone, Debug)]
struct DocumentHistory {
    segment: usize,
    overwritten: bool,
    deleted: bool,
}

fn history() -> impl Strategy<Value = DocumentHistory> {
    (0..2_usize, prop::bool::weighted(0.3), prop::bool::weighted(0.2))
        .prop_map(|(segment, overwritten, deleted)| DocumentHistory { segment, overwritten, deleted })
}

/// Two segments, and their live documents.
fn segments_with_live_documents(
    histories: &[DocumentHistory],
    kinds: (Kind, Kind),
    random: &Rng,
) -> ([SegmentSpec; 2], Vec<Document>) {
    let mut segment_specs = [(kinds.0, Vec::new(), Vec::new()), (kinds.1, Vec::new(), Vec::new())];
    let mut live = Vec::new();
    for (n, history) in histories.iter().enumerate() {
        let write = || document(&random_document(n, random));
        let (mut at, mut doc) = (history.segment, write());
        if history.overwritten {
            segment_specs[at].1.push(doc.clone());
            segment_specs[at].2.push(doc.id);
            (at, doc) = (1 - at, write());
        }
        segment_specs[at].1.push(doc.clone());
        if history.deleted {
            segment_specs[at].2.push(doc.id);
        } else {
            live.push(doc);
        }
    }
    (segment_specs, live)
}

fn all(snapshot: &Snapshot) -> Vec<Answers> {
    let filter = Filter::parse(&json!({ "type": "in", "key": "year", "value": [2020, 2022, 2025] })).unwrap();
    let audiences = [Audience::Everything, Audience::Principals(vec![Principal::parse("user:0").unwrap()])];
    let requested = audiences.iter().flat_map(|audience| [(audience, None), (audience, Some(&filter))]);
    requested.flat_map(|(audience, filter)| [5, 1_000].map(|k| answers(snapshot, audience, filter, k))).collect()
}

fn whole(index: Index) -> Vec<LiveSegment> {
    vec![LiveSegment::new(Arc::new(index), RoaringBitmap::new(), Durability::Log)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 100, ..ProptestConfig::default() })]
    #[test]
    fn a_merge_answers_as_the_union_of_its_inputs(
        seed in any::<u64>(),
        histories in prop::collection::vec(history(), 1..50),
        first in prop::sample::select(vec![Kind::WriteBuffer, Kind::Segment, Kind::Paged]),
        second in prop::sample::select(vec![Kind::WriteBuffer, Kind::Segment]),
    ) {
        let (empty_snapshot, random, now) = (empty_snapshot(), Rng::new(seed), Timestamp::parse(NOW).unwrap());
        let (segment_specs, live) = segments_with_live_documents(&histories, (first, second), &random);
        let inputs: Vec<LiveSegment> = segment_specs.into_iter().map(|segment_spec| live_segment(SPEC, segment_spec)).collect();
        // A merge leaves out expired documents, which no answer contains.
        let expected = all(&snapshot_of(&empty_snapshot, SPEC, vec![(Kind::WriteBuffer, live, Vec::new())]));
        prop_assert_eq!(&all(&empty_snapshot.of_segments(SPEC, inputs.clone())), &expected);

        let written = rebuild::write(SPEC, &inputs, now, GraphMode::Built, &StopFlag::default()).unwrap();
        let merged = written.map(|bytes| whole(Index::Segment(Segment::open(&SPEC, bytes).unwrap())));
        prop_assert_eq!(&all(&empty_snapshot.of_segments(SPEC, merged.unwrap_or_default())), &expected);
        let indexed = rebuild::in_memory(SPEC, &inputs, now).unwrap().map(|segment| whole(Index::Segment(segment)));
        prop_assert_eq!(&all(&empty_snapshot.of_segments(SPEC, indexed.unwrap_or_default())), &expected);
        let write_buffers: Option<Vec<_>> = inputs.iter().map(|segment| Some((segment.index.write_buffer()?, &*segment.deleted))).collect();
        if let Some(write_buffers) = write_buffers {
            let joined = whole(Index::WriteBuffer(WriteBuffer::joined(&SPEC, write_buffers).unwrap()));
            prop_assert_eq!(&all(&empty_snapshot.of_segments(SPEC, joined)), &expected);
        }
    }
}
