//! A segment as it would be on disk without its seal: the positive control of a scan for plain bytes.

use kernel::{CommitNo, Distance, Document, DocumentId, Passage, Span, Status, Timestamp, Untrusted};
use std::collections::BTreeMap;

/// A segment of one document, as the store builds it before it seals it.
///
/// # Panics
/// If the id is invalid or the text is longer than 4 GiB.
pub fn unsealed_segment(id: &str, title: &str, text: &str, vector: &[f32]) -> Vec<u8> {
    let bytes = u32::try_from(text.len()).expect("a short text");
    let points = u32::try_from(text.chars().count()).expect("a short text");
    let span = Span { byte_start: 0, byte_end: bytes, point_start: 0, point_end: points };
    let document = Document {
        id: DocumentId::parse(id).expect("an id"),
        status: Status::Indexed,
        content_hash: [0; 32],
        title: Untrusted::new(title),
        uri: Untrusted::default(),
        attributes: BTreeMap::new(),
        readers: None,
        created_at: Timestamp::default(),
        updated_at: Timestamp::default(),
        expires_at: None,
        commit: CommitNo(1),
        findings: Vec::new(),
        text: Untrusted::new(text),
        passages: vec![Passage { span, tokens: 1 }],
        vectors: vector.to_vec(),
    };
    let spec = segment::Spec::new(vector.len(), Distance::Dot);
    segment::Segment::write(&spec, &mut std::iter::once(document), segment::GraphMode::Built)
        .expect("a segment")
        .to_vec()
}
