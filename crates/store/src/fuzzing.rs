//! Decoders as plain functions, for fuzzers (feature `fuzzing`) and for the test below. Not part of released builds.

use crate::state::{
    codec::{put_bytes, put_length, put_moment, put_spec},
    log_entry::{self, Changes, EntryWriter},
    manifest,
};
use journal::ObjectRef;
use kernel::{
    AttrValue, CommitNo, Distance, Document, DocumentId, FuzzTarget, KeyEpoch, LogEpoch, ObjectUuid, Passage, Scalar,
    Span, Status, Timestamp, Untrusted,
};
use roaring::RoaringBitmap;
use segment::Spec;
use vault::{ObjectKind, WrappedKey};

/// Every decoder of this crate.
pub const TARGETS: &[FuzzTarget] = &[("store_entry", entries, entry), ("store_manifest", manifests, manifest)];

const SPEC: Spec = Spec::new(3, Distance::Dot);

fn encoded<'a>(
    commits: impl IntoIterator<Item = (CommitNo, Spec, &'a [Document], &'a [DocumentId], &'a [u8])>,
) -> Vec<u8> {
    let mut writer = EntryWriter::new();
    for (commit, spec, upserts, deletes, record) in commits {
        let mut changes = Changes::default();
        upserts.iter().for_each(|doc| changes.upsert(doc));
        deletes.iter().for_each(|id| changes.delete(id));
        writer.push(commit, Timestamp::from_millis(5), spec, &changes, record);
    }
    writer.finish().map(|bytes| bytes.to_vec()).unwrap_or_default()
}

fn document(id: &str) -> Option<Document> {
    let at = Timestamp::from_millis(1);
    Some(Document {
        id: DocumentId::parse(id).ok()?,
        status: Status::Indexed,
        content_hash: [7; 32],
        title: Untrusted::new("a title"),
        uri: Untrusted::default(),
        attributes: [("k".to_owned(), AttrValue::One(Scalar::Num(1.5.into())))].into(),
        readers: None,
        created_at: at,
        updated_at: at,
        expires_at: Some(at),
        commit: CommitNo(1),
        findings: Vec::new(),
        text: Untrusted::new("one two three"),
        passages: vec![Passage { span: Span::default(), tokens: 3 }],
        vectors: vec![1.0, 2.0, 3.0],
    })
}

fn entries() -> Vec<Vec<u8>> {
    let docs: Vec<Document> = ["a", "b", "with a longer id"].into_iter().filter_map(document).collect();
    let ids: Vec<DocumentId> = docs.iter().map(|doc| doc.id.clone()).collect();
    vec![
        encoded([(CommitNo(3), SPEC, &docs[..], &ids[..1], &b"line"[..])]),
        encoded([
            (CommitNo(3), SPEC, &docs[..1], &[][..], &b"a"[..]),
            (CommitNo(4), SPEC, &[][..], &ids[..], &b""[..]),
        ]),
    ]
}

/// Entries that decode must encode to the same commits, except for their times; `first_change` must agree with the
/// decoded commits.
fn entry(bytes: &[u8]) {
    let first_change = log_entry::first_change(bytes);
    let Ok(commits) = log_entry::read(bytes) else { return };
    let changed = commits.iter().filter(|commit| !commit.upserts.is_empty() || !commit.deletes.is_empty());
    assert_eq!(first_change.expect("what reads"), changed.map(|commit| commit.at).min());
    let again = |commits: &[log_entry::Commit]| {
        encoded(commits.iter().map(|c| (c.commit, c.spec, &c.upserts[..], &c.deletes[..], &c.audit_record[..])))
    };
    let once = again(&commits);
    let read = log_entry::read(&once).expect("what was just written");
    assert_eq!(again(&read), once);
}

fn put_tombstones(out: &mut Vec<u8>, tombstones: &manifest::Tombstones) {
    put_moment(out, tombstones.tombstoned_at);
    put_moment(out, tombstones.expires);
    let mut bytes = Vec::new();
    tombstones.documents.serialize_into(&mut bytes).expect("writing to memory does not fail");
    put_bytes(out, &bytes);
}

/// Encodes a manifest, as `manifest::write` does from a version.
fn written(
    (spec, commit, digest, log_deleted_since): (Spec, CommitNo, [u8; 16], Option<Timestamp>),
    segments: &[manifest::ObjectEntry],
    inline: Option<&manifest::InlineSegment>,
) -> Vec<u8> {
    let mut out = vec![0];
    put_spec(&mut out, spec);
    out.extend_from_slice(&commit.0.to_le_bytes());
    out.extend_from_slice(&digest);
    put_moment(&mut out, log_deleted_since);
    put_length(&mut out, segments.len());
    for entry in segments {
        let mut name = Vec::new();
        entry.object.encode(&mut name);
        put_bytes(&mut out, &name);
        out.extend_from_slice(&entry.documents.to_le_bytes());
        out.extend_from_slice(&entry.rows.to_le_bytes());
        put_tombstones(&mut out, &entry.tombstones);
    }
    out.push(inline.is_some().into());
    if let Some(inline) = inline {
        put_tombstones(&mut out, &inline.tombstones);
        put_bytes(&mut out, &inline.bytes);
    }
    out
}

fn manifests() -> Vec<Vec<u8>> {
    let at = Some(Timestamp::from_millis(9));
    let tombstones =
        |documents: RoaringBitmap, tombstoned_at| manifest::Tombstones { documents, tombstoned_at, expires: at };
    let named = |n: u8, documents: RoaringBitmap| {
        let key = WrappedKey { epoch: KeyEpoch(2), bytes: vec![7; 60] };
        let uuid = ObjectUuid::from_bytes([n; 16]);
        let object = ObjectRef { kind: ObjectKind::Segment, uuid, writer: LogEpoch(3), key, bytes: 77 };
        manifest::ObjectEntry { object, documents: 100_000, rows: 200_000, tombstones: tombstones(documents, at) }
    };
    let spread = (0..30_000).step_by(7).collect();
    let run = (5..90_000).collect();
    let inline =
        manifest::InlineSegment { bytes: b"a segment".to_vec().into(), tombstones: tombstones([2].into(), None) };
    vec![
        written(
            (SPEC, CommitNo(8), [5; 16], None),
            &[named(1, [1, 4].into()), named(2, RoaringBitmap::new())],
            Some(&inline),
        ),
        written((SPEC, CommitNo(8), [5; 16], at), &[named(1, spread), named(2, run)], None),
    ]
}

fn manifest(bytes: &[u8]) {
    let Ok(read) = manifest::read(bytes) else { return };
    let again =
        written((read.spec, read.commit, read.digest, read.log_deleted_since), &read.segments, read.inline.as_ref());
    assert_eq!(manifest::read(&again).expect("what was just written"), read);
}

#[cfg(test)]
mod tests {
    #[global_allocator]
    static ALLOCATOR: testkit::Largest = testkit::Largest;

    #[test]
    fn no_bytes_break_a_decoder() {
        testkit::fuzz(super::TARGETS);
    }
}
