//! Decoders as plain functions, for fuzzers (feature `fuzzing`) and for the test below. In no build that is shipped.

use crate::{
    codec::{put_bytes, put_length, put_moment, put_spec},
    entry::{self, Changes, EntryWriter},
    manifest,
};
use journal::ObjectRef;
use kernel::{
    AttrValue, CommitNo, Distance, Document, DocumentId, KeyEpoch, LogEpoch, ObjectUuid, Passage, Scalar, Span, Status,
    Timestamp, Untrusted,
};
use roaring::RoaringBitmap;
use segment::Spec;
use vault::{ObjectKind, WrappedKey};

/// A name, valid encodings, and what decodes any bytes and panics where a promise does not hold.
pub type Target = (&'static str, fn() -> Vec<Vec<u8>>, fn(&[u8]));

/// Every decoder of this crate.
pub const TARGETS: &[Target] = &[("store_entry", entries, entry), ("store_manifest", manifests, manifest)];

const SPEC: Spec = Spec::new(3, Distance::Dot);

fn encoded<'a>(
    commits: impl IntoIterator<Item = (CommitNo, Spec, &'a [Document], &'a [DocumentId], &'a [u8])>,
) -> Vec<u8> {
    let mut writer = EntryWriter::new();
    for (commit, spec, upserts, deletes, line) in commits {
        let mut changes = Changes::default();
        upserts.iter().for_each(|doc| changes.upsert(doc));
        deletes.iter().for_each(|id| changes.delete(id));
        writer.push(commit, Timestamp::from_millis(5), spec, &changes, line);
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

/// What is read is written so that it reads the same, but for the time of a commit; what is only looked at says the same.
fn entry(bytes: &[u8]) {
    let looked = entry::first_change(bytes);
    let Ok(commits) = entry::read(bytes) else { return };
    let changed = commits.iter().filter(|commit| !commit.upserts.is_empty() || !commit.deletes.is_empty());
    assert_eq!(looked.expect("what reads"), changed.map(|commit| commit.at).min());
    let again = |commits: &[entry::Commit]| {
        encoded(commits.iter().map(|c| (c.commit, c.spec, &c.upserts[..], &c.deletes[..], &c.line[..])))
    };
    let once = again(&commits);
    let read = entry::read(&once).expect("what was just written");
    assert_eq!(again(&read), once);
}

fn put_dead(out: &mut Vec<u8>, dead: &manifest::Dead) {
    put_moment(out, dead.since);
    put_moment(out, dead.expires);
    let mut bytes = Vec::new();
    dead.documents.serialize_into(&mut bytes).expect("writing to memory does not fail");
    put_bytes(out, &bytes);
}

/// As `manifest::write` does of a view.
fn written(
    (spec, commit, digest, log_dead_from): (Spec, CommitNo, [u8; 16], Option<Timestamp>),
    segments: &[manifest::Named],
    inline: Option<&manifest::Inline>,
) -> Vec<u8> {
    let mut out = vec![0];
    put_spec(&mut out, spec);
    out.extend_from_slice(&commit.0.to_le_bytes());
    out.extend_from_slice(&digest);
    put_moment(&mut out, log_dead_from);
    put_length(&mut out, segments.len());
    for named in segments {
        let mut name = Vec::new();
        named.object.encode(&mut name);
        put_bytes(&mut out, &name);
        out.extend_from_slice(&named.documents.to_le_bytes());
        out.extend_from_slice(&named.rows.to_le_bytes());
        put_dead(&mut out, &named.dead);
    }
    out.push(inline.is_some().into());
    if let Some(inline) = inline {
        put_dead(&mut out, &inline.dead);
        put_bytes(&mut out, &inline.bytes);
    }
    out
}

fn manifests() -> Vec<Vec<u8>> {
    let at = Some(Timestamp::from_millis(9));
    let dead = |documents: RoaringBitmap, since| manifest::Dead { documents, since, expires: at };
    let named = |n: u8, documents: RoaringBitmap| {
        let key = WrappedKey { epoch: KeyEpoch(2), bytes: vec![7; 60] };
        let uuid = ObjectUuid::from_bytes([n; 16]);
        let object = ObjectRef { kind: ObjectKind::Segment, uuid, writer: LogEpoch(3), key, bytes: 77 };
        manifest::Named { object, documents: 100_000, rows: 200_000, dead: dead(documents, at) }
    };
    let spread = (0..30_000).step_by(7).collect();
    let run = (5..90_000).collect();
    let inline = manifest::Inline { bytes: b"a segment".to_vec().into(), dead: dead([2].into(), None) };
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
        written((read.spec, read.commit, read.digest, read.log_dead_from), &read.segments, read.inline.as_ref());
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
