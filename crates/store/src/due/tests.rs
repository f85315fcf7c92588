use super::*;
use crate::{index::Index, part::Durable, tests::Draft};
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

/// An object of so many documents and bytes, of which some are dead.
fn object(documents: u32, dead: u32, bytes: u64) -> Part {
    of(Segment::in_memory(&SPEC, (0..documents).map(document).collect()).unwrap(), dead, bytes)
}

/// One of so many thousand vectors that no graph is over.
fn flat(thousands: u32, dead: u32) -> Part {
    let dimensions = kernel::limits::GRAPH_DIMENSIONS_MIN;
    let spec = Spec { dimensions, ..SPEC };
    let doc = |n: u32| {
        let one = document(n);
        let passages = vec![one.passages[0]; 1_000];
        Document { passages, vectors: vec![1.0; 1_000 * dimensions], ..one }
    };
    of(Segment::in_memory(&spec, (0..thousands).map(doc).collect()).unwrap(), dead, 1_000)
}

fn of(segment: Segment, dead: u32, bytes: u64) -> Part {
    let index = Index::Segment(segment);
    let key = WrappedKey { epoch: KeyEpoch(2), bytes: vec![7; 40] };
    let object = ObjectRef {
        kind: ObjectKind::Segment,
        uuid: ObjectUuid::from_bytes([9; 16]),
        writer: kernel::LogEpoch(3),
        key,
        bytes,
    };
    Part::new(Arc::new(index), RoaringBitmap::from_iter(0..dead), Durable::Object(object))
}

fn chosen(parts: &[Part], room: u64) -> Vec<usize> {
    let found = compactable(parts.to_vec(), None, room).unwrap_or_default();
    let mut places: Vec<usize> = found.iter().map(|part| parts.iter().position(|p| p.is(part)).unwrap()).collect();
    places.sort_unstable();
    places
}

#[test]
fn what_is_dead_goes_first_and_needs_no_room() {
    let parts = [object(10, 5, 1_000), object(4, 4, 9_000), object(3, 3, 9_000)];
    assert_eq!(chosen(&parts, 0), [1, 2]);
}

#[test]
fn what_frees_most_for_least_goes_first_if_there_is_room() {
    let parts = [object(10, 4, 1_000), object(10, 9, 100_000), object(10, 6, 2_000), object(10, 3, 10)];
    assert_eq!(chosen(&parts, u64::MAX), [1]);
    assert_eq!(chosen(&parts, 5_000), [2], "there is no room for the tenth that lives in the best one");
    assert_eq!(chosen(&parts, 700), [0]);
    assert!(chosen(&parts, 100).is_empty(), "none fits: it waits for room");
}

#[test]
fn a_merge_takes_what_there_is_room_for() {
    let parts: Vec<Part> = (0..9).map(|_| object(2, 0, 1_000)).collect();
    assert_eq!(chosen(&parts, u64::MAX).len(), 9);
    assert_eq!(chosen(&parts, 4_500).len(), 4);
    assert!(chosen(&parts, 1_500).is_empty(), "one alone is no merge");
    assert!(chosen(&parts[..8], u64::MAX).is_empty());
}

#[test]
fn what_wants_a_graph_gets_one_together() {
    let parts = [flat(13, 0), object(9, 0, 1_000), flat(10, 0), flat(11, 0), flat(12, 3)];
    let linked = chosen(&parts, u64::MAX);
    assert_eq!(linked, [0, 3], "10,000 living vectors are scanned as fast");
    assert!(takes_long(&[parts[0].clone()], u64::MAX) && !takes_long(&parts[1..3], u64::MAX));
    assert_eq!(chosen(&parts, 1_500), [3], "as much as there is room for");
    assert!(chosen(&parts, 500).is_empty());
    let many: Vec<Part> = (0..8).map(|_| object(9, 0, 1_000)).chain([flat(11, 0)]).collect();
    assert_eq!(chosen(&many, u64::MAX), (0..8).collect::<Vec<_>>(), "too many come first");
    let behind: Vec<Part> = (0..7).map(|_| flat(11, 0)).chain((0..3).map(|_| object(9, 0, 1_000))).collect();
    assert_eq!(chosen(&behind, u64::MAX), (0..7).collect::<Vec<_>>(), "three small ones are no merge");
}
