use super::*;
use crate::{
    container::reseal,
    sample::{Random, doc, document},
};
use kernel::{AttrValue, Field, Principal, Scalar, Untrusted};
use proptest::{collection::vec, prelude::*};

const SPEC: Spec = Spec { dimensions: 3, distance: Distance::Cosine };

fn written(docs: &[Document]) -> Segment {
    Segment::open(&SPEC, Segment::write(&SPEC, &mut docs.iter().cloned()).unwrap()).unwrap()
}

/// Everything that can be asked of a segment, as one value.
fn answers(segment: &Segment) -> impl PartialEq + std::fmt::Debug + use<> {
    let docs = 0..segment.documents();
    let rows: RoaringBitmap = (0..segment.rows()).collect();
    let query = TextQuery::new("leave policy the holidays");
    let stats = segment.text_stats(&query, &rows);
    (
        (segment.documents(), segment.rows(), stats.clone()),
        docs.clone().map(|d| (segment.text_bytes(d), segment.rows_of(&[d].into()))).collect::<Vec<_>>(),
        (0..segment.rows() + 1).map(|r| segment.row(r)).collect::<Vec<_>>(),
        ["a", "b", "ab", "zz"].map(|id| segment.find(&DocumentId::parse(id).unwrap())),
        segment.evaluate(&Filter::Exists(Field::Attribute("k".into()))),
        segment.visible(&Audience::Principals(vec![Principal::parse("user:a").unwrap()])),
        segment.search_text(&query, &stats, &rows, 5),
        segment.search_vector(&[1.0, -0.5, 0.25], &rows, 5),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_written_segment_answers_as_one_in_memory(docs in vec(document(3), 0..10)) {
        let memory = Segment::in_memory(&SPEC, docs.clone()).unwrap();
        let opened = written(&docs);
        prop_assert_eq!(answers(&opened), answers(&memory));
        for (n, doc) in docs.iter().enumerate() {
            for segment in [&memory, &opened] {
                prop_assert!(segment.document(n as u32, true).unwrap() == *doc);
                let bare = Document { vectors: vec![], ..doc.clone() };
                prop_assert!(segment.document(n as u32, false).unwrap() == bare);
                let head = Document { text: Untrusted::default(), ..bare };
                prop_assert!(segment.head(n as u32).unwrap() == head);
                let last = docs.iter().rposition(|d| d.id == doc.id).unwrap();
                prop_assert_eq!(segment.find(&doc.id), Some(last as u32));
            }
        }
    }
}

fn three() -> Vec<Document> {
    let mut docs = vec![doc("a", &["leave policy", "holidays"]), doc("b", &["the policy"]), doc("c", &[])];
    docs[0].vectors = vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0];
    docs[1].vectors = vec![0.5, 0.5, 0.0];
    docs[1].readers = Some(vec![Principal::parse("user:a").unwrap()]);
    docs[2].attributes.insert("k".into(), AttrValue::Many(vec![Scalar::Num(1.0), Scalar::Str("x".into())]));
    docs
}

#[test]
fn unknown_numbers_are_errors_or_nothing() {
    let segment = Segment::in_memory(&SPEC, three()).unwrap();
    assert!(matches!(segment.document(3, true), Err(Error::NoDocument(3))));
    assert!(matches!(segment.head(u32::MAX), Err(Error::NoDocument(_))));
    assert_eq!((segment.text_bytes(9), segment.row(3)), (0, None));
    assert_eq!(segment.rows_of(&[0, 7].into()), [0, 1].into());
    assert!(segment.bytes() > 0);
}

#[test]
fn an_empty_segment_is_one() {
    assert_eq!(answers(&written(&[])), answers(&Segment::in_memory(&SPEC, vec![]).unwrap()));
}

#[test]
fn every_flipped_byte_and_every_cut_is_refused() {
    let bytes = Segment::write(&SPEC, &mut three().into_iter()).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x41;
        assert!(Segment::open(&SPEC, changed).is_err(), "byte {at}");
        assert!(Segment::open(&SPEC, Zeroizing::new(bytes[..at].to_vec())).is_err(), "cut at {at}");
    }
    assert!(Segment::open(&SPEC, bytes).is_ok());
}

/// Not what the checksum lets through, but what must hold should it ever be wrong: our own sections
/// are checked one by one. (tantivy trusts its files; only the checksum guards those.)
#[test]
fn sections_are_sound_without_the_checksum() {
    let whole = three();
    let mut builder = Builder::new(&SPEC);
    whole.iter().for_each(|doc| builder.add(doc, |_, _| Ok(())).unwrap());
    let bytes = builder.finish(|_| Ok(())).unwrap();
    let mut refused = 0;
    for at in 16..bytes.len() {
        for to in [0, 1, 2, 0x7f, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] = to;
            reseal(&mut changed);
            match Segment::assemble(&SPEC, changed, Some(MemoryIndex::default())) {
                Err(_) => refused += 1,
                Ok(segment) => {
                    let _ = answers(&segment);
                    (0..segment.documents()).for_each(|d| drop(segment.document(d, true)));
                }
            }
        }
    }
    assert!(refused > bytes.len(), "{refused} of {}", bytes.len() * 6);
}

#[test]
fn no_word_is_in_a_debug_or_an_error() {
    let segment = Segment::in_memory(&SPEC, three()).unwrap();
    assert_eq!(format!("{segment:?}"), "Segment { documents: 3, rows: 3 }");
}

#[test]
fn a_large_segment_gets_a_graph_and_a_small_one_none() {
    let spec = Spec { dimensions: 4, distance: Distance::Euclidean };
    let random = Random::new(5);
    for (count, graph) in [(kernel::limits::GRAPH_ROWS_MIN, false), (kernel::limits::GRAPH_ROWS_MIN + 1, true)] {
        let points = random.clustered(count / 1_000 + 1, 3, 4_000).concat();
        // Documents of a thousand passages: the text is not what is measured here.
        let mut docs = (0..count).step_by(1_000).map(|n| {
            let passages = vec![""; (count - n).min(1_000)];
            let vectors = points[n * 4..(n + passages.len()) * 4].to_vec();
            Document { vectors, ..doc(&format!("d{n}"), &passages) }
        });
        let bytes = Segment::write(&spec, &mut docs).unwrap();
        let sections = container::parse(&spec, bytes.clone()).unwrap();
        assert_eq!(sections.get(Kind::Graph).len() > 0, graph);
        let rows = (0..count as u32).collect();
        let segment = Segment::open(&spec, bytes).unwrap();
        let hits = segment.search_vector(&points[40..44], &rows, 1);
        assert_eq!(hits, [Scored { row: 10, score: 0.0 }].map(|s| Scored { score: -s.score, ..s }));
    }
}
