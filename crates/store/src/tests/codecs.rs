//! Log entries and manifests: what is written is read back, anything else is an error.

use super::fixture::{Draft, id};
use crate::{
    Error,
    state::{
        index::Index,
        live_segment::{Durability, LiveSegment},
        log_entry::{self, Changes, EntryWriter},
        manifest::{self, Tombstones},
        tombstones::LogTombstones,
        version::Version,
    },
};
use journal::ObjectRef;
use kernel::{AuditPosition, CommitNo, Distance, KeyEpoch, ObjectUuid, Timestamp};
use roaring::RoaringBitmap;
use segment::{Segment, Spec};
use std::sync::Arc;
use vault::{ObjectKind, WrappedKey};

const SPEC: Spec = Spec::new(0, Distance::Dot);

fn an_entry() -> Vec<u8> {
    let now = Timestamp::from_millis(5);
    let mut writer = EntryWriter::new();
    for commit in [CommitNo(3), CommitNo(4)] {
        let mut changes = Changes::default();
        changes.upsert(&Draft::new("a", "one two three").admit().into_document(now, now, commit));
        changes.delete(&id("gone"));
        writer.push(commit, now, SPEC, &changes, b"line");
    }
    writer.finish().unwrap().to_vec()
}

fn a_manifest() -> Vec<u8> {
    let doc = |n: u8| {
        let at = Timestamp::from_millis(1);
        Draft::new(&n.to_string(), "some text").admit().into_document(at, at, CommitNo(1))
    };
    let segment = Arc::new(Index::Segment(Segment::in_memory(&SPEC, (0..9).map(doc).collect()).unwrap()));
    let key = WrappedKey { epoch: KeyEpoch(2), bytes: vec![7; 40] };
    let object = ObjectRef {
        kind: ObjectKind::Segment,
        uuid: ObjectUuid::from_bytes([9; 16]),
        writer: kernel::LogEpoch(3),
        key,
        bytes: 77,
    };
    let sealed = LiveSegment::new(segment.clone(), RoaringBitmap::from_iter([1, 4]), Durability::Object(object))
        .with_tombstoned_at(Some(Timestamp::from_millis(6)));
    let bytes = Segment::write(&SPEC, &mut (0..9).map(doc), segment::GraphMode::Built).unwrap();
    let written = Arc::new(Index::Segment(Segment::open(&SPEC, bytes).unwrap()));
    let inline = LiveSegment::new(written, RoaringBitmap::from_iter([2]), Durability::Inline);
    let memory = LiveSegment::new(segment, RoaringBitmap::new(), Durability::Log);
    let log = LogTombstones { frozen: Some(Timestamp::from_millis(7)), ..LogTombstones::default() };
    let version = Version { spec: SPEC, commit: CommitNo(9), log, segments: vec![sealed, inline, memory] };
    manifest::write(&version, AuditPosition { commit: CommitNo(8), digest: [5; 16], ..AuditPosition::default() })
        .unwrap()
        .to_vec()
}

#[test]
fn an_entry_reads_back() {
    let commits = log_entry::read(&an_entry()).unwrap();
    assert_eq!(commits.iter().map(|c| c.commit.0).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(commits[1].upserts[0].text.expose(), "one two three");
    assert_eq!(
        (commits[1].deletes.clone(), commits[1].audit_record.as_slice()),
        (vec![id("gone")], b"line".as_slice())
    );
}

#[test]
fn a_manifest_names_objects_holds_the_small_one_and_not_the_memtable() {
    let read = manifest::read(&a_manifest()).unwrap();
    assert_eq!((read.commit, read.spec, read.segments.len()), (CommitNo(8), SPEC, 1));
    let at = |ms| Some(Timestamp::from_millis(ms));
    assert_eq!(read.log_deleted_since, at(7));
    let deleted = |documents: &[u32], tombstoned_at| Tombstones {
        documents: documents.iter().collect(),
        tombstoned_at,
        expires: None,
    };
    assert_eq!(read.segments[0].tombstones, deleted(&[1, 4], at(6)));
    assert_eq!((read.segments[0].documents, read.segments[0].object.bytes), (9, 77));
    let inline = read.inline.unwrap();
    assert_eq!(inline.tombstones, deleted(&[2], None));
    assert_eq!(Segment::open(&SPEC, inline.bytes).unwrap().documents(), 9);
}

#[test]
fn truncated_or_extended_bytes_are_refused() {
    type Refused = fn(&[u8]) -> bool;
    let readers: [(Vec<u8>, Refused); 2] =
        [(an_entry(), |b| log_entry::read(b).is_err()), (a_manifest(), |b| manifest::read(b).is_err())];
    for (whole, refused) in readers {
        assert!(!refused(&whole));
        assert!(refused(&[whole.clone(), vec![0]].concat()));
        for n in 0..whole.len() {
            assert!(refused(&whole[..n]), "{n} bytes");
        }
    }
}

#[test]
fn any_changed_byte_is_refused_or_read_without_panic() {
    for (at, _) in an_entry().iter().enumerate() {
        let (mut entry, mut manifest) = (an_entry(), a_manifest());
        entry[at] ^= 0xFF;
        let at = at % manifest.len();
        manifest[at] ^= 0xFF;
        let _either = (log_entry::read(&entry).is_ok(), manifest::read(&manifest).is_ok());
    }
}

#[test]
fn another_version_is_refused_by_name() {
    let mut bytes = a_manifest();
    bytes[0] = 1;
    assert!(matches!(manifest::read(&bytes), Err(Error::Version { found: 1, known: 0, .. })));
}
