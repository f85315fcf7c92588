use super::*;
use crate::{
    state::{index::Index, live_segment::Durability},
    tests::Draft,
};
use journal::ObjectRef;
use kernel::{CommitNo, Distance, Document, KeyEpoch, ObjectUuid};
use roaring::RoaringBitmap;
use segment::{Segment, Spec};
use std::sync::Arc;
use vault::{ObjectKind, WrappedKey};

const SPEC: Spec = Spec::new(0, Distance::Dot);

fn document(n: u32) -> Document {
    let at = Timestamp::from_millis(1);
    Draft::new(&n.to_string(), "some text").admit().into_document(at, at, CommitNo(1))
}

/// An object with this number of documents and bytes; the first `deleted` documents are deleted.
fn object(documents: u32, deleted: u32, bytes: u64) -> LiveSegment {
    of(Segment::in_memory(&SPEC, (0..documents).map(document).collect()).unwrap(), deleted, bytes)
}

/// An object of `thousands` thousand vectors without a graph.
fn flat(thousands: u32, deleted: u32) -> LiveSegment {
    let dimensions = kernel::limits::GRAPH_DIMENSIONS_MIN;
    let spec = Spec { dimensions, ..SPEC };
    let doc = |n: u32| {
        let one = document(n);
        let passages = vec![one.passages[0]; 1_000];
        Document { passages, vectors: vec![1.0; 1_000 * dimensions], ..one }
    };
    of(Segment::in_memory(&spec, (0..thousands).map(doc).collect()).unwrap(), deleted, 1_000)
}

fn of(segment: Segment, deleted: u32, bytes: u64) -> LiveSegment {
    let index = Index::Segment(segment);
    let key = WrappedKey { epoch: KeyEpoch(2), bytes: vec![7; 40] };
    let object = ObjectRef {
        kind: ObjectKind::Segment,
        uuid: ObjectUuid::from_bytes([9; 16]),
        writer: kernel::LogEpoch(3),
        key,
        bytes,
    };
    LiveSegment::new(Arc::new(index), RoaringBitmap::from_iter(0..deleted), Durability::Object(object))
}

fn chosen(segments: &[LiveSegment], free_bytes: u64) -> Vec<usize> {
    let found = compactable(segments.to_vec(), None, free_bytes).unwrap_or_default();
    let mut positions: Vec<usize> =
        found.iter().map(|segment| segments.iter().position(|p| p.is(segment)).unwrap()).collect();
    positions.sort_unstable();
    positions
}

#[test]
fn segments_without_live_documents_come_first_and_need_no_room() {
    let segments = [object(10, 5, 1_000), object(4, 4, 9_000), object(3, 3, 9_000)];
    assert_eq!(chosen(&segments, 0), [1, 2]);
}

#[test]
fn the_cheapest_rewrite_comes_first_if_there_is_room() {
    let segments = [object(10, 4, 1_000), object(10, 9, 100_000), object(10, 6, 2_000), object(10, 3, 10)];
    assert_eq!(chosen(&segments, u64::MAX), [1]);
    assert_eq!(chosen(&segments, 5_000), [2], "there is no room for the tenth that lives in the best one");
    assert_eq!(chosen(&segments, 700), [0]);
    assert!(chosen(&segments, 100).is_empty(), "none fits: it waits for room");
}

#[test]
fn a_merge_takes_the_segments_that_there_is_room_for() {
    let segments: Vec<LiveSegment> = (0..9).map(|_| object(2, 0, 1_000)).collect();
    assert_eq!(chosen(&segments, u64::MAX).len(), 9);
    assert_eq!(chosen(&segments, 4_500).len(), 4);
    assert!(chosen(&segments, 1_500).is_empty(), "one alone is no merge");
    assert!(chosen(&segments[..8], u64::MAX).is_empty());
}

#[test]
fn segments_that_need_a_graph_are_merged_together() {
    let segments = [flat(13, 0), object(9, 0, 1_000), flat(10, 0), flat(11, 0), flat(12, 3)];
    let linked = chosen(&segments, u64::MAX);
    assert_eq!(linked, [0, 3], "10,000 living vectors are scanned as fast");
    assert!(is_long_merge(&[segments[0].clone()], u64::MAX) && !is_long_merge(&segments[1..3], u64::MAX));
    assert_eq!(chosen(&segments, 1_500), [3], "as much as there is room for");
    assert!(chosen(&segments, 500).is_empty());
    let many: Vec<LiveSegment> = (0..8).map(|_| object(9, 0, 1_000)).chain([flat(11, 0)]).collect();
    assert_eq!(chosen(&many, u64::MAX), (0..8).collect::<Vec<_>>(), "too many come first");
    let graphs_first: Vec<LiveSegment> =
        (0..7).map(|_| flat(11, 0)).chain((0..3).map(|_| object(9, 0, 1_000))).collect();
    assert_eq!(chosen(&graphs_first, u64::MAX), (0..7).collect::<Vec<_>>(), "three small ones are no merge");
}
