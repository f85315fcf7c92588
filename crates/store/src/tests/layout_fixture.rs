//! Documents in explicit layouts: segments of any kind and number that one set of documents is spread over, and every
//! answer about them as one value. Documents are made from JSON, on which a test can evaluate what it expects.

use super::fixture::{NAMESPACES, TestEnv, UNLIMITED, id};
use crate::{
    ListOptions, Snapshot,
    state::{
        index::Index,
        live_segment::{Durability, LiveSegment},
    },
};
use kernel::{
    AttrValue, Audience, CommitNo, Distance, Document, DocumentId, Filter, Passage, Principal, Span, Status, Timestamp,
    Untrusted,
};
use segment::{GraphMode, Segment, Spec, TextQuery, WriteBuffer};
use serde_json::{Value, json};
use std::sync::Arc;
use testkit::Rng;

pub(crate) const SPEC: Spec = Spec { dimensions: 6, distance: Distance::Cosine, language: kernel::Language::English };
/// Words that no stemmer changes and that are no stop words.
pub(crate) const WORDS: [&str; 8] = ["alpha", "beta", "gamma", "delta", "river", "stone", "cloud", "ember"];
pub(crate) const NOW: &str = "2026-06-01T00:00:00.000Z";
pub(crate) const STATUSES: [Status; 3] = [Status::Indexed, Status::Quarantined, Status::Pending];

/// Kind of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Documents that were just written.
    WriteBuffer,
    /// Written, and opened from memory.
    Segment,
    /// Written, and read in pages.
    Paged,
}

/// Kind and documents of a segment, and the ids of those that are deleted.
pub(crate) type SegmentSpec = (Kind, Vec<Document>, Vec<DocumentId>);

/// Snapshot of an open, empty namespace, as a base for snapshots of explicit layouts.
pub(crate) fn empty_snapshot() -> Snapshot {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let env = TestEnv::new(UNLIMITED).await;
        env.enter::<access::Search>(NAMESPACES[0]).await.snapshot(None).await.unwrap()
    })
}

pub(crate) fn live_segment(spec: Spec, (kind, mut docs, deleted): SegmentSpec) -> LiveSegment {
    // In the order in which flushes and merges write them.
    docs.sort_by(|a, b| a.id.cmp(&b.id));
    let written = || Segment::write(&spec, &mut docs.iter().cloned(), GraphMode::Built).unwrap();
    let index = match kind {
        Kind::WriteBuffer => Index::WriteBuffer(WriteBuffer::new(&spec, docs).unwrap()),
        Kind::Segment => Index::Segment(Segment::open(&spec, written()).unwrap()),
        Kind::Paged => {
            let bytes = written();
            let (whole, paged) = bytes.split_at(Segment::split(&bytes).unwrap());
            let opened = Segment::open_sealed(&spec, whole.into(), Arc::new(paged.to_vec()), 0);
            Index::Segment(opened.unwrap())
        }
    };
    let deleted = deleted.iter().map(|id| index.find(id).unwrap()).collect();
    LiveSegment::new(Arc::new(index), deleted, Durability::Log)
}

pub(crate) fn snapshot_of(empty_snapshot: &Snapshot, spec: Spec, segment_specs: Vec<SegmentSpec>) -> Snapshot {
    empty_snapshot
        .of_segments(spec, segment_specs.into_iter().map(|segment_spec| live_segment(spec, segment_spec)).collect())
}

/// Spreads the documents over `count` segments, round robin.
pub(crate) fn spread(docs: &[Document], count: usize, kind: Kind) -> Vec<SegmentSpec> {
    let one = |n| (kind, docs.iter().skip(n).step_by(count).cloned().collect(), Vec::new());
    (0..count).map(one).collect()
}

/// A document from its JSON: `id`, `title`, `passages`, `vectors` (a list for each passage, or null), `uri`, `status`,
/// `created_at`, `updated_at`, `expires_at`, `readers`, `attributes`. Defaults are empty, indexed, and times in 2024.
pub(crate) fn document(json: &Value) -> Document {
    let text_of = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
    let time = |key: &str| json[key].as_str().map(|text| Timestamp::parse(text).unwrap());
    let past = Timestamp::parse("2024-01-01T00:00:00.000Z").unwrap();
    let (mut text, mut passages) = (String::new(), Vec::new());
    for passage in json["passages"].as_array().into_iter().flatten() {
        let start = text.len() as u32;
        text.push_str(passage.as_str().unwrap());
        let span = Span { byte_start: start, byte_end: text.len() as u32, point_start: start, point_end: 0 };
        passages.push(Passage { span, tokens: 4 });
        text.push('\n');
    }
    let attributes = json["attributes"].as_object().into_iter().flatten();
    let attributes = attributes.filter_map(|(k, v)| Some((k.clone(), AttrValue::from_json(v, k).unwrap()?)));
    let values = json["vectors"].as_array().into_iter().flatten().flat_map(|v| v.as_array().unwrap());
    let readers = json["readers"].as_array();
    Document {
        id: id(&text_of("id")),
        status: STATUSES.into_iter().find(|s| s.as_str() == text_of("status")).unwrap_or(Status::Indexed),
        content_hash: [1; 32],
        title: Untrusted::new(text_of("title")),
        uri: Untrusted::new(text_of("uri")),
        attributes: attributes.collect(),
        readers: readers.map(|list| list.iter().map(|r| Principal::parse(r.as_str().unwrap()).unwrap()).collect()),
        created_at: time("created_at").unwrap_or(past),
        updated_at: time("updated_at").unwrap_or(past),
        expires_at: time("expires_at"),
        commit: CommitNo(1),
        findings: Vec::new(),
        text: Untrusted::new(text),
        passages,
        vectors: values.map(|x| x.as_f64().unwrap() as f32).collect(),
    }
}

/// The `n`th random document as JSON: words and directions that other documents share, attributes of several types.
pub(crate) fn random_document(n: usize, random: &Rng) -> Value {
    let words = |count| (0..count).map(|_| *random.pick(&WORDS)).collect::<Vec<_>>().join(" ");
    let passages: Vec<String> = (0..1 + random.below(3)).map(|_| words(1 + random.below(12))).collect();
    // Few different values, so that equal vectors and equal scores are common.
    let vector = |_: &String| (0..SPEC.dimensions).map(|_| random.below(5) as f64 - 1.9).collect::<Vec<_>>();
    let vectors: Vec<Vec<f64>> = passages.iter().map(vector).collect();
    let mut json = json!({
        "id": format!("doc-{n:04}"),
        "title": if random.below(3) == 0 { words(2) } else { String::new() },
        "passages": passages,
        "attributes": { "year": 2020 + random.below(6), "tags": [*random.pick(&WORDS), *random.pick(&WORDS)] },
    });
    if random.below(5) > 0 {
        json["vectors"] = json!(vectors);
    }
    if random.below(3) == 0 {
        json["readers"] = json!([format!("user:{}", random.below(3))]);
    }
    if random.below(10) == 0 {
        json["expires_at"] = json!(*random.pick(&["2026-05-31T23:59:59.999Z", "2026-06-01T00:00:00.001Z"]));
    }
    if random.below(8) == 0 {
        json["status"] = json!(*random.pick(&["quarantined", "pending"]));
    }
    json
}

/// Document, passage and the bits of the score.
pub(crate) type Ranked = Vec<(String, u32, u32)>;

/// Everything that one reader learns with one filter.
#[derive(Debug, PartialEq)]
pub(crate) struct Answers {
    pub(crate) listed: Vec<String>,
    pub(crate) total: u64,
    pub(crate) text: Vec<Ranked>,
    pub(crate) vector: Vec<Ranked>,
    pub(crate) exact: Vec<Ranked>,
}

/// Answers of searches and lists for some queries, with up to `k` hits.
pub(crate) fn answers(snapshot: &Snapshot, audience: &Audience, filter: Option<&Filter>, k: usize) -> Answers {
    let now = Timestamp::parse(NOW).unwrap();
    let every = snapshot.eligible(audience, filter, &STATUSES, now).unwrap();
    let (listed, total, _) =
        snapshot.list(&every, &ListOptions { limit: usize::MAX, ..ListOptions::default() }).unwrap();
    let eligible = snapshot.eligible(audience, filter, &[Status::Indexed], now).unwrap();
    let ranked = |hits: Vec<crate::Hit>| -> Ranked {
        let one = |hit: crate::Hit| {
            let (id, passage) = snapshot.tie(hit.at);
            let shown = snapshot.passage(&eligible, hit.at, false).unwrap();
            assert_eq!((Some(&shown.document_id), shown.passage), (id.as_ref(), passage));
            (shown.document_id.as_str().to_owned(), passage, hit.score.to_bits())
        };
        hits.into_iter().map(one).collect()
    };
    let texts = ["alpha", "river stone", "ember gamma delta the of", "absent"];
    let vectors = [[1.0, 0.0, -0.5, 0.25, 0.0, 2.0], [-1.0, 1.0, 0.0, 0.0, 0.5, 0.5], [0.0; 6]].map(|mut vector| {
        vector[1] += 0.125_f32;
        vector[..snapshot.dimensions()].to_vec()
    });
    let text = |text| ranked(snapshot.text(&TextQuery::new(text), &eligible, k).unwrap());
    Answers {
        listed: listed.iter().map(|doc| doc.id.as_str().to_owned()).collect(),
        total,
        text: texts.into_iter().map(text).collect(),
        vector: vectors.iter().map(|v| ranked(snapshot.vector(v, &eligible, k).unwrap().0)).collect(),
        exact: vectors.iter().map(|v| ranked(snapshot.vector_exact(v, &eligible, k).unwrap())).collect(),
    }
}
