use super::*;
use crate::{
    GraphMode,
    container::reseal,
    test_documents::{Random, doc, document},
};
use kernel::{AttrValue, Field, Filter, Principal, Scalar, Untrusted};
use proptest::{collection::vec, prelude::*};
use std::{io, ops::Range, sync::Mutex};

const SPEC: Spec = Spec::new(3, Distance::Cosine);

fn written(docs: &[Document]) -> Segment {
    Segment::open(&SPEC, Segment::write(&SPEC, &mut docs.iter().cloned(), GraphMode::Built).unwrap()).unwrap()
}

/// A source that records what is read of it, and in which a byte can be corrupted: like a seal, it reports that on
/// reading.
struct Source {
    bytes: Vec<u8>,
    corrupted: Mutex<Option<u64>>,
    reads: Mutex<Vec<Range<u64>>>,
}

impl ReadAt for Source {
    fn size(&self) -> u64 {
        self.bytes.size()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let range = offset..offset + into.len() as u64;
        let corrupted = self.corrupted.lock().unwrap().is_some_and(|at| range.contains(&at));
        self.reads.lock().unwrap().push(range);
        if corrupted { Err(io::ErrorKind::InvalidData.into()) } else { self.bytes.read_at(offset, into) }
    }
}

/// Opens what `write` wrote in two parts, of which the second stays outside.
fn paged(spec: &Spec, bytes: &[u8]) -> (Segment, Arc<Source>) {
    let (whole, paged_part) = bytes.split_at(Segment::split(bytes).unwrap());
    let source = Arc::new(Source { bytes: paged_part.to_vec(), corrupted: Mutex::default(), reads: Mutex::default() });
    let segment = Segment::open_paged(spec, whole.into(), source.clone(), 0, &mut |_| ()).unwrap();
    (segment, source)
}

/// All results of a segment as one value.
fn answers(segment: &Segment) -> impl PartialEq + std::fmt::Debug + use<> {
    answered(segment).ok()
}

fn answered(segment: &Segment) -> Result<impl PartialEq + std::fmt::Debug + use<>, Error> {
    let docs = 0..segment.documents();
    let rows: RoaringBitmap = (0..segment.rows()).collect();
    let some: RoaringBitmap = rows.iter().filter(|row| row % 3 != 1).collect();
    let query = TextQuery::new("leave policy the holidays");
    let stats = segment.text_stats(&query, &rows)?;
    Ok((
        (segment.documents(), segment.rows(), stats.clone(), segment.text_stats(&query, &some)?),
        docs.clone().map(|d| (segment.sizes(d), segment.rows_of(&[d].into()), segment.id(d))).collect::<Vec<_>>(),
        (0..segment.rows() + 1).map(|r| segment.row(r)).collect::<Vec<_>>(),
        ["a", "b", "ab", "zz"].map(|id| segment.find(&DocumentId::parse(id).unwrap())),
        [Field::Attribute("k".into()), Field::Uri, Field::ExpiresAt]
            .map(|field| {
                let prefix = Filter::Prefix(field.clone(), "h".into());
                Ok::<_, Error>((
                    segment.evaluate(&Filter::Exists(field).compile())?,
                    segment.evaluate(&prefix.compile())?,
                ))
            })
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?,
        segment.visible(&Audience::Principals(vec![Principal::parse("user:a").unwrap()])),
        [&rows, &some]
            .map(|rows| {
                Ok::<_, Error>((
                    segment.search_text(&query, &stats, rows, 5)?,
                    segment.search_vector(&[1.0, -0.5, 0.25], rows, 5).hits,
                ))
            })
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?,
    ))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_written_segment_answers_as_one_in_memory(docs in vec(document(3), 0..10)) {
        let memory = Segment::in_memory(&SPEC, docs.clone()).unwrap();
        let opened = written(&docs);
        let (paged, _) = paged(&SPEC, &Segment::write(&SPEC, &mut docs.iter().cloned(), GraphMode::Built).unwrap());
        prop_assert!(answered(&memory).is_ok());
        prop_assert_eq!(answers(&opened), answers(&memory));
        prop_assert_eq!(answers(&paged), answers(&memory));
        for (n, doc) in docs.iter().enumerate() {
            for segment in [&memory, &opened, &paged] {
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
    docs[2].attributes.insert("k".into(), AttrValue::Many(vec![Scalar::Num(1.0.into()), Scalar::Str("x".into())]));
    docs
}

#[test]
fn unknown_numbers_are_errors_or_nothing() {
    let segment = Segment::in_memory(&SPEC, three()).unwrap();
    assert!(matches!(segment.document(3, true), Err(Error::NoDocument(3))));
    assert!(matches!(segment.head(u32::MAX), Err(Error::NoDocument(_))));
    assert_eq!((segment.sizes(9).weight(), segment.row(3)), (0, None));
    assert_eq!(segment.rows_of(&[0, 7].into()), [0, 1].into());
    assert!(segment.bytes() > 0);
}

#[test]
fn an_empty_segment_is_valid() {
    assert_eq!(answers(&written(&[])), answers(&Segment::in_memory(&SPEC, vec![]).unwrap()));
}

#[test]
fn every_flipped_byte_and_every_cut_is_refused() {
    let bytes = Segment::write(&SPEC, &mut three().into_iter(), GraphMode::Built).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x41;
        assert!(Segment::open(&SPEC, changed).is_err(), "byte {at}");
        assert!(Segment::open(&SPEC, Zeroizing::new(bytes[..at].to_vec())).is_err(), "cut at {at}");
    }
    assert!(Segment::open(&SPEC, bytes).is_ok());
}

/// The checksum does not let such bytes through. This checks what must hold if it ever did: our own sections are
/// validated one by one. (Tantivy trusts its files; only the checksum guards those.)
#[test]
fn sections_are_validated_without_the_checksum() {
    let whole = three();
    let mut builder = Builder::new(&SPEC);
    whole.iter().for_each(|doc| builder.add(doc, |_, _, _| Ok(())).unwrap());
    let bytes = builder.finish(|_| Ok(())).unwrap();
    let mut refused = 0;
    for at in 16..bytes.len() {
        for to in [0, 1, 2, 0x7f, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] = to;
            reseal(&mut changed);
            match Segment::of_buffer(&SPEC, changed.into(), Some(MemoryIndex::default())) {
                Err(_) => refused += 1,
                // Heads, texts and vectors are checked when they are read.
                Ok(segment) => {
                    let _ = answers(&segment);
                    refused += usize::from((0..segment.documents()).any(|d| segment.document(d, true).is_err()));
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
    let spec = Spec::new(4, Distance::Euclidean);
    let random = Random::new(5);
    for (count, graph) in [(kernel::limits::GRAPH_ROWS_MIN, false), (kernel::limits::GRAPH_ROWS_MIN + 1, true)] {
        let points = random.clustered(count / 1_000 + 1, 3, 4_000).concat();
        // Documents of a thousand passages: text is not measured here.
        let docs = (0..count).step_by(1_000).map(|n| {
            let passages = vec![""; (count - n).min(1_000)];
            let vectors = points[n * 4..(n + passages.len()) * 4].to_vec();
            Document { vectors, ..doc(&format!("d{n}"), &passages) }
        });
        let later = Segment::write(&spec, &mut docs.clone(), GraphMode::Deferred).unwrap();
        let later = Segment::open(&spec, later).unwrap();
        let bytes = Segment::write(&spec, &mut docs.clone(), GraphMode::Built).unwrap();
        let sections = container::tests::parse_whole(&spec, bytes.clone()).unwrap();
        assert_eq!(sections.get(SectionKind::Graph).len() > 0, graph);
        let rows = (0..count as u32).collect();
        let (paged, _) = paged(&spec, &bytes);
        let segment = Segment::open(&spec, bytes).unwrap();
        let hits = segment.search_vector(&points[40..44], &rows, 1).hits;
        assert_eq!(paged.search_vector(&points[40..44], &rows, 1).hits, hits);
        assert_eq!(later.search_vector(&points[40..44], &rows, 1).hits, hits);
        assert_eq!((later.lacks_graph(), segment.lacks_graph(), paged.lacks_graph()), (graph, false, false));
        assert!(hits.len() == 1 && hits[0].row == 10 && hits[0].score.abs() < 1e-4, "{hits:?}");
    }
}

/// Documents of many pages: 40 of 12 passages with 96 values, and texts that share words.
fn many(spec: &Spec) -> Vec<Document> {
    let random = Random::new(8);
    let words = ["leave", "policy", "holidays", "rust", "Urlaub", "the", "of", "bird"];
    let one = |n: usize| {
        let word = |n: usize| match random.below(3) {
            0 => words[random.below(8) as usize].to_owned(),
            _ => format!("{}{n}", words[random.below(8) as usize]),
        };
        let text = |_| (0..60).map(|_| word(random.below(200) as usize)).collect::<Vec<_>>().join(" ");
        let texts: Vec<String> = (0..12).map(text).collect();
        let mut made = doc(&format!("d{n:03}"), &texts.iter().map(String::as_str).collect::<Vec<_>>());
        made.vectors = (0..12 * spec.dimensions).map(|_| random.normal()).collect();
        made.uri = Untrusted::new(format!("https://example.com/{}", n % 7));
        made
    };
    (0..40).map(one).collect()
}

const WIDE: Spec = Spec::new(96, Distance::Dot);

fn wide_query(n: u64) -> Vec<f32> {
    let random = Random::new(n);
    (0..96).map(|_| random.normal()).collect()
}

#[test]
fn a_paged_segment_answers_as_a_whole_one_and_reads_no_more_than_it_must() {
    let docs = many(&WIDE);
    let bytes = Segment::write(&WIDE, &mut docs.iter().cloned(), GraphMode::Built).unwrap();
    let whole = Segment::open(&WIDE, bytes.clone()).unwrap();
    let (paged, source) = paged(&WIDE, &bytes);
    let read = |source: &Source| source.reads.lock().unwrap().drain(..).map(|r| r.end - r.start).sum::<u64>();
    let page = limits::PAGE_BYTES as u64;
    assert!(source.size() > 20 * page, "{}", source.size());
    assert!(read(&source) <= 4 * page, "opening reads the dictionary and the ends of the text index");
    for n in 0..20 {
        let rows: RoaringBitmap = (0..480).filter(|row| u64::from(*row) % (n + 1) == 0).collect();
        let query = wide_query(n);
        assert_eq!(paged.search_vector(&query, &rows, 7), whole.search_vector(&query, &rows, 7));
        let words = TextQuery::new(["leave", "bird policy", "rust the of", "nobody"][n as usize % 4]);
        let stats = whole.text_stats(&words, &rows).unwrap();
        assert_eq!(paged.text_stats(&words, &rows).unwrap(), stats);
        let hits = whole.search_text(&words, &stats, &rows, 9).unwrap();
        assert_eq!(paged.search_text(&words, &stats, &rows, 9).unwrap(), hits);
        let uri = Filter::Prefix(Field::Uri, format!("https://example.com/{}", n % 7));
        assert_eq!(paged.evaluate(&uri.compile()).unwrap(), whole.evaluate(&uri.compile()).unwrap());
    }
    read(&source);
    for (n, doc) in docs.iter().enumerate() {
        assert!(paged.document(n as u32, true).unwrap() == *doc);
    }
    assert!(read(&source) <= source.size() + 4 * page, "neighbours share pages");
    // The memory that it reports is the first part, the dictionary and the pages that it holds.
    let first = Segment::split(&bytes).unwrap() as u64;
    let cache = 8 * page;
    assert!((first..first + cache + first / 5).contains(&paged.bytes()), "{} of {first}", paged.bytes());
    assert!(whole.bytes() > bytes.len() as u64);
}

/// Each page in turn fails authentication: callers that need it get an error, and no caller gets a wrong result.
#[test]
fn an_unreadable_page_is_an_error_only_where_it_is_needed() {
    let docs = many(&WIDE);
    let bytes = Segment::write(&WIDE, &mut docs.iter().cloned(), GraphMode::Built).unwrap();
    let rows: RoaringBitmap = (0..480).collect();
    let words = TextQuery::new("leave bird policy");
    let whole = Segment::open(&WIDE, bytes.clone()).unwrap();
    let stats = whole.text_stats(&words, &rows).unwrap();
    let uri = Filter::Prefix(Field::Uri, "https".into());
    let mut failures = [0; 3];
    let pages = (bytes.len() - Segment::split(&bytes).unwrap()).div_ceil(limits::PAGE_BYTES);
    for number in 0..pages as u64 {
        let (segment, source) = paged(&WIDE, &bytes);
        *source.corrupted.lock().unwrap() = Some(number * limits::PAGE_BYTES as u64 + 1);
        let mut count_failure = |kind: usize, failed: Option<Error>| {
            if let Some(error) = failed {
                assert!(error.is_corrupt() && matches!(error, Error::Unreadable(_)), "{error:?}");
                failures[kind] += 1;
            }
        };
        match segment.search_text(&words, &stats, &rows, 9) {
            Ok(hits) => assert_eq!(hits, whole.search_text(&words, &stats, &rows, 9).unwrap()),
            Err(error) => count_failure(0, Some(error)),
        }
        assert_eq!(segment.search_vector(&wide_query(1), &rows, 480).hits.len(), 480, "it needs no page");
        match segment.evaluate(&uri.compile()) {
            Ok(found) => assert_eq!(found.len(), 40),
            Err(error) => count_failure(1, Some(error)),
        }
        let broken = (0..40).filter_map(|n| segment.document(n, true).err()).collect::<Vec<_>>();
        count_failure(2, broken.into_iter().next());
        // What was not cached before is read again once the source works.
        *source.corrupted.lock().unwrap() = None;
        assert!(segment.document(39, true).is_ok());
    }
    assert!(failures[0] >= 1 && failures[1] >= 1, "{failures:?}");
    // The pages of the text index are left out: the last of them is in the cache since the segment was opened.
    let (split, buffer) = (Segment::split(&bytes).unwrap(), Slice::whole(bytes.clone()));
    let [front, paged_part] = [0..split, split..buffer.len()].map(|part| buffer.sub(part).unwrap());
    let sections = container::parse(&WIDE, &front, &Section::Memory(paged_part)).unwrap();
    let index = sections.paged(PagedKind::TextIndex).len().div_ceil(limits::PAGE_BYTES as u64);
    assert!(failures[2] >= pages as i32 - index as i32, "{failures:?} of {pages}, {index} of the text index");
}

#[test]
fn parts_of_two_segments_are_refused_together() {
    let bytes = Segment::write(&WIDE, &mut many(&WIDE).into_iter(), GraphMode::Built).unwrap();
    let fewer = Segment::write(&WIDE, &mut many(&WIDE).into_iter().take(39), GraphMode::Built).unwrap();
    let whole = &bytes[..Segment::split(&bytes).unwrap()];
    for paged_part in [&fewer[Segment::split(&fewer).unwrap()..], &[], &bytes[whole.len()..bytes.len() - 1]] {
        let opened = Segment::open_sealed(&WIDE, whole.into(), Arc::new(paged_part.to_vec()), 0);
        assert!(matches!(opened, Err(Error::Corrupt { .. })));
    }
    assert!(Segment::open_sealed(&WIDE, whole.into(), Arc::new(bytes[whole.len()..].to_vec()), 0).is_ok());
    assert!(Segment::split(&[]).is_err() && Segment::split(&[0; 4_000]).is_err());
}

/// Number of documents that the writer took before it noticed that it was stopped after `after` of them.
fn documents_before_stop(count: usize, after: usize) -> usize {
    let (stop, mut taken) = (StopFlag::default(), 0);
    let random = Random::new(5);
    let mut docs = (0..count).map(|n| {
        taken += 1;
        if n + 1 == after {
            stop.stop();
        }
        Document { vectors: vec![random.normal(), 1.0, 2.0], ..doc(&format!("{n:06}"), &["words"]) }
    });
    let written = Segment::write_stoppable(&SPEC, &mut docs, GraphMode::Built, None, &stop);
    assert!(matches!(written, Err(Error::Stopped)), "{:?}", written.map(|bytes| bytes.len()));
    taken
}

#[test]
fn a_stopped_write_ends_at_the_next_document() {
    assert_eq!(documents_before_stop(100, 3), 3);
}

#[test]
fn a_passage_reads_as_its_document_does_and_without_the_rest_of_it() {
    let docs = three();
    let segment = Segment::in_memory(&SPEC, docs.clone()).unwrap();
    let mut row = 0;
    for (n, doc) in (0..).zip(&docs) {
        for (at, passage) in doc.passages.iter().enumerate() {
            let part = segment.text_range(n, passage.span.byte_start..passage.span.byte_end).unwrap();
            assert_eq!(part.expose(), doc.passage_text(at));
            let values = doc.vectors.chunks(SPEC.dimensions).nth(at).map(<[f32]>::to_vec);
            assert_eq!(segment.row_vector(row).unwrap(), values);
            row += 1;
        }
        let end = u32::try_from(doc.text.len()).unwrap();
        assert!(matches!(segment.text_range(n, 0..end + 1), Err(Error::Corrupt { .. })), "nothing of a neighbour");
    }
    assert!(matches!(segment.text_range(9, 0..0), Err(Error::NoDocument(9))));
    assert_eq!(segment.row_vector(row).unwrap(), None);
}

/// Documents that share an id have distinct keys (ADR 28): filters see the id, the store sees each document.
#[test]
fn documents_with_one_id_are_found_together_and_one_by_one() {
    let id = |text: &str| DocumentId::parse(text).unwrap();
    let keyed = |key: DocumentId, text: &str| Document { id: key, ..doc("x", &[text]) };
    let [second, third] = [7, 8].map(|commit| id("plan").disambiguated(kernel::CommitNo(commit), 0));
    let docs = vec![
        keyed(id("plan"), "first"),
        keyed(second.clone(), "second"),
        keyed(third.clone(), "third"),
        keyed(id("plan b"), "another"),
        keyed(id("plane"), "a fourth"),
    ];
    let spec = Spec::new(0, Distance::Cosine);
    let write_buffer = crate::WriteBuffer::new(&spec, docs.iter().rev().cloned().collect()).unwrap();
    let bytes = Segment::write(&spec, &mut docs.iter().cloned(), GraphMode::Built).unwrap();
    let opened = Segment::open(&spec, bytes).unwrap();
    for segment in [&Segment::in_memory(&spec, docs.clone()).unwrap(), &opened, write_buffer.indexed()] {
        assert_eq!(segment.find_all(&id("plan")), [0, 1, 2]);
        assert_eq!(segment.find_all(&third), [0, 1, 2], "the id counts, not the key");
        assert_eq!((segment.find_all(&id("plan b")), segment.find_all(&id("pla"))), (vec![3], vec![]));
        assert_eq!([&id("plan"), &second, &third].map(|key| segment.find(key)), [Some(0), Some(1), Some(2)]);
        assert_eq!(segment.head(2).unwrap().id, third);
        let ids = |filter: Filter| segment.evaluate(&filter.compile()).unwrap().iter().collect::<Vec<_>>();
        let text = |text: &str| Scalar::Str(text.to_owned());
        assert_eq!(ids(Filter::In(Field::Id, vec![text("plan")])), [0, 1, 2]);
        assert_eq!(ids(Filter::In(Field::Id, vec![text(second.key())])), Vec::<u32>::new());
        assert_eq!(ids(Filter::Prefix(Field::Id, "plan".to_owned())), [0, 1, 2, 3, 4]);
        assert_eq!(ids(Filter::Prefix(Field::Id, second.key().to_owned())), Vec::<u32>::new());
        assert_eq!(ids(Filter::Contains(Field::Id, text("\u{1}"))), Vec::<u32>::new());
    }
    assert_eq!((write_buffer.find_all(&id("plan")), write_buffer.find(&third)), (vec![0, 1, 2], Some(2)));
}
