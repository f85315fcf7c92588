//! Decoders as plain functions, for fuzzers (feature `fuzzing`) and for the test below. No shipped build contains them.

use crate::{
    Expansion, GraphMode, Highlighter, Segment, Spec, TextQuery, TextStats,
    bytes::{Slice, read_bitmap},
    codec::{decode_document, encode_document},
    container::{self, reseal},
    graph::Graph,
    postings::{Pairs, Strings},
};
use kernel::{
    AttrValue, Audience, ByteReader, CommitNo, Distance, Document, DocumentId, DocumentView, Filter, Finding,
    FindingKind, FuzzTarget, Language, Number, Passage, Principal, Scalar, ScreenAction, Severity, Span, Status,
    Timestamp, Untrusted,
};
use roaring::RoaringBitmap;
use std::{ops::Bound, sync::OnceLock};
use zeroize::Zeroizing;

/// Every decoder of this crate.
pub const TARGETS: &[FuzzTarget] = &[
    ("segment_document", encodings, document),
    ("segment_tables", tables_seeds, tables),
    ("segment_graph", graphs, graph),
    ("segment_open", segments, open),
    ("segment_resealed", segments, resealed),
    ("segment_question", queries, question),
    ("segment_filter", filter_texts, filter_text),
];

const SPEC: Spec = Spec::new(3, Distance::Cosine);
/// Number of rows of the target for graphs.
const ROWS: u32 = 3;
/// URI of each document.
const URI: &str = "https://example.com/ab";

/// Three documents with something in every field.
pub fn documents() -> Vec<Document> {
    ["a", "b", "with a longer id"].iter().zip(1u32..).filter_map(|(id, n)| one(id, n)).collect()
}

fn one(id: &str, n: u32) -> Option<Document> {
    let passage = |from: u32, to: u32| Passage {
        span: Span { byte_start: from, byte_end: to, point_start: from, point_end: to },
        tokens: 2,
    };
    let finding = Finding {
        kind: FindingKind::Pii,
        severity: Severity::High,
        action: ScreenAction::Mask,
        count: n,
        rule: "pii.email".to_owned(),
    };
    let string = |s: &str| Scalar::Str(s.to_owned());
    let attributes = [
        ("k", AttrValue::One(Scalar::Num(f64::from(n).into()))),
        ("tags", AttrValue::Many(vec![string("abc"), Scalar::Bool(n == 1), string("2024-06-01T00:00:00Z")])),
    ];
    Some(Document {
        id: DocumentId::parse(id).ok()?,
        status: if n == 2 { Status::Quarantined } else { Status::Indexed },
        content_hash: [7; 32],
        title: Untrusted::new("a title"),
        uri: Untrusted::new(URI),
        attributes: attributes.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        readers: if n == 1 { None } else { Some(vec![Principal::parse("user:a").ok()?]) },
        created_at: Timestamp::from_millis(1_717_200_000_000),
        updated_at: Timestamp::from_millis(i64::from(n) - 2),
        expires_at: (n == 1).then(|| Timestamp::from_millis(i64::MAX)),
        commit: CommitNo(n.into()),
        findings: vec![finding],
        text: Untrusted::new("leave policy\nholiday leave"),
        passages: vec![passage(0, 12), passage(13, 26)],
        vectors: if n == 2 { Vec::new() } else { vec![1.0, 2.0, 3.0, -1.0, 0.5, n as f32] },
    })
}

fn encodings() -> Vec<Vec<u8>> {
    let encoded = |doc: &Document| {
        let mut out = Vec::new();
        encode_document(doc, &mut out);
        out
    };
    documents().iter().map(encoded).collect()
}

fn document(bytes: &[u8]) {
    let Ok((doc, used)) = decode_document(bytes) else { return };
    assert!(used <= bytes.len());
    let encoded = |doc: &Document| {
        let mut out = Vec::new();
        encode_document(doc, &mut out);
        out
    };
    let once = encoded(&doc);
    let (again, length) = decode_document(&once).expect("what was just written");
    // Compared as bytes: a number may be NaN, which equals nothing.
    assert_eq!((encoded(&again), length), (once.clone(), once.len()));
}

fn tables_seeds() -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let key = |x: f64| Number::from(x).order_key().unwrap_or_default();
    Pairs::write(&mut out, vec![(key(1.5), 0), (key(-3.0), 2), (key(f64::MAX), 1)]);
    let strings = [("", vec![0, 2]), ("abc", vec![1]), ("ß", vec![0, 1, 2])];
    Strings::write(&mut out, &strings.into_iter().map(|(s, docs)| (s.to_owned(), docs)).collect());
    crate::bytes::put_bitmap(&mut out, &RoaringBitmap::from_iter(0..3));
    vec![out]
}

fn tables(bytes: &[u8]) {
    let section = Slice::whole(Zeroizing::new(bytes.to_vec()));
    let mut r = ByteReader::new(section.bytes(), "fuzz");
    let Ok(pairs) = Pairs::open(&mut r, &section, ROWS) else { return };
    assert!(pairs.between(Bound::Unbounded, Bound::Included((1 << 63, 2))).max().is_none_or(|doc| doc < ROWS));
    let Ok(strings) = Strings::open(&mut r, &section, ROWS) else { return };
    let mut found = RoaringBitmap::new();
    strings.equal("abc", &mut found);
    assert!(strings.prefix("a", &mut found).is_ok(), "no one interrupts");
    (0..strings.len()).filter(|i| strings.get(*i).len() > 1).for_each(|i| strings.add(i, &mut found));
    assert!(found.max().is_none_or(|doc| doc < ROWS));
    assert!(read_bitmap(&mut r, ROWS).ok().and_then(|b| b.max()).is_none_or(|doc| doc < ROWS));
}

fn graphs() -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let mut put = |n: u32| out.extend_from_slice(&n.to_le_bytes());
    let links = |of: &[u32], count: usize| {
        let none = std::iter::repeat(crate::graph::NONE);
        of.iter().copied().chain(none).take(count).collect::<Vec<_>>()
    };
    [0, 2].into_iter().for_each(&mut put);
    for row in [[1, 2], [0, 2], [0, 1]] {
        links(&row, crate::graph::BASE_LINKS).into_iter().for_each(&mut put);
    }
    [2, 0, 2].into_iter().for_each(&mut put);
    for row in [[2], [0]] {
        links(&row, crate::graph::UPPER_LINKS).into_iter().for_each(&mut put);
    }
    [1, 0].into_iter().for_each(&mut put);
    links(&[], crate::graph::UPPER_LINKS).into_iter().for_each(&mut put);
    vec![out]
}

fn graph(bytes: &[u8]) {
    let Ok(graph) = Graph::open(Slice::whole(Zeroizing::new(bytes.to_vec())), ROWS) else { return };
    let found =
        graph.search(&crate::graph::FnScorer(|row| if row == 1 { f32::NAN } else { row as f32 }), None, 8).found;
    assert!(found.len() <= ROWS as usize && found.iter().all(|hit| hit.row < ROWS));
}

fn segments() -> Vec<Vec<u8>> {
    static MADE: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let write = |docs: Vec<Document>| {
        Segment::write(&SPEC, &mut docs.into_iter(), GraphMode::Built).map(|bytes| bytes.to_vec())
    };
    MADE.get_or_init(|| [write(documents()), write(Vec::new())].into_iter().filter_map(Result::ok).collect()).clone()
}

/// Opens the bytes unchanged: the checksums are verified before everything else.
fn open(bytes: &[u8]) {
    if let Ok(segment) = Segment::open(&SPEC, Zeroizing::new(bytes.to_vec())) {
        query(&segment);
    }
}

/// Opens the bytes with valid checksums and the text index of a valid segment. Tantivy trusts its files, which is why
/// checksum and seal are verified before they are read.
fn resealed(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    for good in segments() {
        if good.len() == bytes.len() {
            container::copy_text_index(&good, &mut bytes);
        }
    }
    reseal(&mut bytes);
    open(&bytes);
}

fn queries() -> Vec<Vec<u8>> {
    let all = [
        "the \"days of leave\" comput* 5\" x*",
        "ERR_CONN_42 192.168.0.1 foo@bar.org",
        "東京都 \"東京 都\" ก็",
        "*\"*\"**",
    ];
    all.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Uses any text as a query and as a text: nothing in either is an error.
fn question(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for language in Language::ALL {
        let query = TextQuery::in_language(&text, *language);
        let points = text.chars().count() as u32;
        let spans = Highlighter::new(&query).spans(&text);
        assert!(spans.is_ok_and(|spans| spans.iter().all(|(start, end)| start < end && *end <= points)));
    }
}

/// Filters with each operator and each kind of value, as callers send them.
fn filter_texts() -> Vec<Vec<u8>> {
    let all = [
        r#"{"type":"and","filters":[{"type":"eq","key":"k","value":1},{"type":"ne","key":"tags","value":"abc"},{"type":"not","filters":[{"type":"exists","key":"k","value":false}]}]}"#,
        r#"{"type":"or","filters":[{"type":"gt","key":"k","value":9007199254740993},{"type":"gte","key":"k","value":2},{"type":"lt","key":"tags","value":"2024-06-01T02:00:01+02:00"},{"type":"lte","key":"$updated_at","value":"1970-01-01T00:00:00Z"}]}"#,
        r#"{"type":"or","filters":[{"type":"in","key":"$id","value":["a","b",true,0.5]},{"type":"nin","key":"tags","value":[false,"abc"]},{"type":"eq","key":"k","value":null}]}"#,
        r#"{"type":"and","filters":[{"type":"contains","key":"$uri","value":"example"},{"type":"prefix","key":"tags","value":"ab"},{"type":"match","key":"tags","value":"ABC"},{"type":"contains","key":"tags","value":true},{"type":"eq","key":"$status","value":"indexed"}]}"#,
    ];
    all.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Parses a filter and evaluates it in each of three ways: by its definition, compiled, and on the indexes. All agree.
fn filter_text(bytes: &[u8]) {
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(bytes) else { return };
    let Ok(filter) = Filter::parse(&json) else { return };
    assert!(filter.bytes() <= kernel::limits::FILTER_BYTES_MAX as u64);
    let compiled = filter.compile();
    let documents = documents();
    let view = |document: &Document| {
        let id = document.id.as_str().to_owned();
        let view = DocumentView {
            id: &id,
            uri: URI,
            status: document.status,
            created_at: document.created_at,
            updated_at: document.updated_at,
            expires_at: document.expires_at,
            attributes: &document.attributes,
        };
        let matches = filter.matches(&view);
        assert_eq!(compiled.matcher().matches(&view), Ok(matches), "{filter:?}");
        matches
    };
    let expected: RoaringBitmap =
        (0..).zip(&documents).filter(|(_, document)| view(document)).map(|(n, _)| n).collect();
    // The segment of these documents is the first of the seeds.
    let segment = segments().into_iter().next().map(|bytes| Segment::open(&SPEC, Zeroizing::new(bytes)));
    let Some(Ok(segment)) = segment else { panic!("a seed does not open") };
    assert_eq!(segment.evaluate(&compiled).ok(), Some(expected), "{filter:?}");
}

/// Runs every kind of query.
fn query(segment: &Segment) {
    let mut rows = RoaringBitmap::new();
    rows.insert_range(0..segment.rows());
    for doc in 0..segment.documents().saturating_add(1) {
        let _ = (segment.document(doc, true).is_ok(), segment.head(doc).is_ok(), segment.sizes(doc));
        let _ = segment.id(doc).and_then(|id| segment.find(&id));
    }
    let _ = (segment.row(0), segment.row(u32::MAX), segment.rows_of(&[0, 2].into()), segment.bytes());
    for filter in filters() {
        assert!(
            segment
                .evaluate(&filter.compile())
                .ok()
                .and_then(|found| found.max())
                .is_none_or(|d| d < segment.documents())
        );
    }
    let mine = Audience::Principals(Principal::parse("user:a").into_iter().collect());
    let _ = (segment.visible(&mine), segment.with_status(Status::Quarantined), segment.has_attribute("k"));
    let _ = segment.expired(Timestamp::from_millis(0));
    let mut text = TextQuery::new("leave \"leave policy\" holi*");
    let mut expansion = Expansion::default();
    let _ = segment.expand(&text, &rows, &mut expansion).is_ok();
    text.expand(expansion);
    assert!(segment.rows_with_phrase(&text, 0, &rows).map_or(true, |held| held.is_subset(&rows)));
    let mut stats = TextStats::for_query(&text);
    if let Ok(found) = segment.text_stats(&text, &rows) {
        stats += found;
    }
    let _ = segment.search_text(&text, &stats, &rows, 3).is_ok();
    let _ = segment.search_vector(&[1.0, 0.5, -2.0], &rows, 2);
}

fn filters() -> &'static [Filter] {
    static PARSED: OnceLock<Vec<Filter>> = OnceLock::new();
    let field = |key: &str| if key == "$uri" { kernel::Field::Uri } else { kernel::Field::Attribute(key.to_owned()) };
    PARSED.get_or_init(|| {
        let string = |s: &str| Scalar::Str(s.to_owned());
        vec![
            Filter::Exists(field("tags")),
            Filter::In(field("tags"), vec![string("abc"), Scalar::Bool(true), Scalar::Num(1.0.into())]),
            Filter::Number(field("k"), kernel::Comparison::Gte, 2.0.into()),
            Filter::Instant(field("tags"), kernel::Comparison::Lt, Timestamp::from_millis(i64::MAX).instant()),
            Filter::Instant(kernel::Field::UpdatedAt, kernel::Comparison::Lt, Timestamp::from_millis(1).instant()),
            Filter::Contains(field("tags"), string("b")),
            Filter::Prefix(field("tags"), "ab".to_owned()),
            Filter::Prefix(field("$uri"), "https".to_owned()),
            Filter::Prefix(kernel::Field::Id, "a".to_owned()),
            Filter::Not(Box::new(Filter::Match(field("tags"), kernel::MatchWords::of("abc")))),
        ]
    })
}

#[cfg(test)]
mod tests {
    #[global_allocator]
    static ALLOCATOR: testkit::Largest = testkit::Largest;

    #[test]
    fn filters_to_mutate_are_valid() {
        for text in super::filter_texts() {
            let json = serde_json::from_slice(&text).expect("JSON");
            assert!(kernel::Filter::parse(&json).is_ok(), "{json}");
        }
    }

    #[test]
    fn no_bytes_break_a_decoder() {
        testkit::fuzz(super::TARGETS);
    }
}
