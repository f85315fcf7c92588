use crate::{
    Expansion, GraphMode, Scored, Segment, Spec, TextQuery, TextStats,
    test_documents::{doc, document},
};
use kernel::{Distance, Document};
use proptest::{collection::vec, prelude::*};
use roaring::RoaringBitmap;
use rstest::rstest;

const SPEC: Spec = Spec::new(0, Distance::Cosine);

fn memory(docs: &[Document]) -> Segment {
    Segment::in_memory(&SPEC, docs.to_vec()).unwrap()
}

fn written(docs: &[Document]) -> Segment {
    let bytes = Segment::write(&SPEC, &mut docs.iter().cloned(), GraphMode::Built).unwrap();
    Segment::open(&SPEC, bytes).unwrap()
}

fn all(segment: &Segment) -> RoaringBitmap {
    (0..segment.rows()).collect()
}

/// Searches several segments as one: scores by (segment order of documents, passage).
fn together(segments: &[(Segment, RoaringBitmap)], query: &TextQuery) -> (TextStats, Vec<(usize, u32, f32)>) {
    let (mut query, mut expansion) = (query.clone(), Expansion::default());
    for (segment, live) in segments {
        segment.expand(&query, live, &mut expansion).unwrap();
    }
    query.expand(expansion);
    let query = &query;
    let mut stats = TextStats::for_query(query);
    for (segment, live) in segments {
        stats += segment.text_stats(query, live).unwrap();
    }
    let mut found = Vec::new();
    let mut first = 0;
    for (segment, live) in segments {
        let mut held = live.clone();
        for phrase in 0..query.phrases() {
            held = segment.rows_with_phrase(query, phrase, &held).unwrap();
        }
        for hit in segment.search_text(query, &stats, &held, 1_000).unwrap() {
            let (doc, passage) = segment.row(hit.row).unwrap();
            found.push((first + doc as usize, passage, hit.score));
        }
        first += segment.documents() as usize;
    }
    found.sort_by_key(|hit| (hit.0, hit.1));
    (stats, found)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn scores_do_not_depend_on_the_split(
        docs in vec(document(0), 1..12),
        cuts in vec(0usize..12, 0..3),
        kinds in vec(any::<bool>(), 4),
        removed in vec(any::<bool>(), 12),
        words in vec(prop::sample::select(vec![
            "the", "run", "leave", "holiday", "42", "日本語", "absent", "holi*", "runn*", "rust-*", "\"leave policy\"",
            "\"the\"", "rust-lang",
        ]), 1..5),
        weight in prop::sample::select(vec![0.0, 0.3, 1.0, 2.0]),
    ) {
        let query = TextQuery::new(&words.join(" ")).with_title_weight(weight);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(docs.len())).chain([0, docs.len()]).collect();
        cuts.sort_unstable();
        let live = |segment: &Segment, first: usize| {
            let docs = (0..segment.documents()).filter(|d| !removed[first + *d as usize]).collect();
            segment.rows_of(&docs)
        };
        // As if the removed documents had never existed.
        let kept: Vec<Document> = docs.iter().zip(&removed).filter(|(_, removed)| !**removed).map(|(doc, _)| doc.clone()).collect();
        let whole = memory(&kept);
        let rows = all(&whole);
        let whole = together(&[(whole, rows)], &query);
        let parts: Vec<_> = cuts.windows(2).zip(&kinds).map(|(cut, kind)| {
            let part = &docs[cut[0]..cut[1]];
            let segment = if *kind { memory(part) } else { written(part) };
            let rows = live(&segment, cut[0]);
            (segment, rows)
        }).collect();
        let parts = together(&parts, &query);
        prop_assert_eq!(parts.0, whole.0);
        let scores = |hits: &[(usize, u32, f32)]| hits.iter().map(|hit| (hit.1, hit.2)).collect::<Vec<_>>();
        prop_assert_eq!(scores(&parts.1), scores(&whole.1));
    }
}

#[test]
fn the_formula_is_bm25() {
    let docs = [doc("a", &["cat cat dog"]), doc("b", &["dog"]), doc("c", &["bird bird"])];
    let query = TextQuery::new("cat");
    for segment in [memory(&docs), written(&docs)] {
        let stats = segment.text_stats(&query, &all(&segment)).unwrap();
        assert_eq!(stats, TextStats { rows: 3, tokens: 6, title_tokens: 0, document_frequency: vec![1] });
        let hits = segment.search_text(&query, &stats, &all(&segment), 10).unwrap();
        // Robertson & Zaragoza, 2009, with the idf that is never negative.
        let idf = (1.0f32 + (3.0 - 1.0 + 0.5) / (1.0 + 0.5)).ln();
        let expected = idf * 2.0 * 2.5 / (2.0 + 1.5 * (1.0 - 0.75 + 0.75 * 3.0 / 2.0));
        assert_eq!(hits.len(), 1);
        assert!(hits[0].row == 0 && (hits[0].score - expected).abs() < 1e-6, "{hits:?} {expected}");
    }
}

#[test]
fn removed_rows_neither_appear_nor_affect_scores() {
    let kept: Vec<Document> = (0..40).map(|n| doc(&format!("k{n}"), &["leave policy", "days of holiday"])).collect();
    let removed: Vec<Document> = (0..300).map(|n| doc(&format!("r{n}"), &["policy policy policy leave"])).collect();
    let query = TextQuery::new("leave policy holiday");
    let alone = together(&[(memory(&kept), (0..80).collect())], &query);
    let mixed: Vec<Document> = kept.iter().chain(&removed).cloned().collect();
    for segment in [memory(&mixed), written(&mixed)] {
        let live = segment.rows_of(&(0..40).collect());
        assert_eq!(together(&[(segment, live)], &query), alone);
    }
    // The opposite case: few rows are removed.
    let mixed: Vec<Document> = removed[..3].iter().chain(&kept).cloned().collect();
    for segment in [memory(&mixed), written(&mixed)] {
        let live = segment.rows_of(&(3..43).collect());
        let found = together(&[(segment, live)], &query);
        assert_eq!(found.0, alone.0);
        assert!(found.1.iter().map(|h| h.2).eq(alone.1.iter().map(|h| h.2)));
    }
}

#[test]
fn few_rows_of_long_lists_are_found_by_seeking() {
    let docs: Vec<Document> =
        (0..2_000).map(|n| doc(&format!("d{n}"), &[if n % 3 == 0 { "cat" } else { "cat dog" }])).collect();
    let (a, b) = (memory(&docs), written(&docs));
    let query = TextQuery::new("cat dog");
    let stats = a.text_stats(&query, &all(&a)).unwrap();
    assert_eq!(stats, b.text_stats(&query, &all(&b)).unwrap());
    let rows: RoaringBitmap = [0, 1, 700, 701, 1_998, 1_999].into();
    let hits: Vec<Scored> = b.search_text(&query, &stats, &rows, 100).unwrap();
    assert_eq!(hits, a.search_text(&query, &stats, &rows, 100).unwrap());
    assert_eq!(hits.iter().map(|h| h.row).collect::<RoaringBitmap>(), rows);
}

#[test]
fn the_best_k_come_first_and_equal_scores_by_row() {
    let docs: Vec<Document> =
        (0..20).map(|n| doc(&format!("d{n}"), &[if n == 13 { "cat cat" } else { "cat dog" }])).collect();
    let query = TextQuery::new("cat");
    for segment in [memory(&docs), written(&docs)] {
        let stats = segment.text_stats(&query, &all(&segment)).unwrap();
        let rows: Vec<u32> =
            segment.search_text(&query, &stats, &all(&segment), 3).unwrap().iter().map(|h| h.row).collect();
        assert_eq!(rows, [13, 0, 1]);
        assert!(segment.search_text(&query, &stats, &all(&segment), 0).unwrap().is_empty());
        assert!(
            segment
                .search_text(&TextQuery::new("?"), &TextStats::for_query(&TextQuery::new("?")), &all(&segment), 3)
                .unwrap()
                .is_empty()
        );
    }
}

#[test]
fn statistics_of_another_query_or_of_nothing_do_no_harm() {
    let segment = memory(&[doc("a", &["cat dog"])]);
    let query = TextQuery::new("cat dog");
    for stats in [
        TextStats::for_query(&query),
        TextStats { rows: 1, tokens: 0, title_tokens: 0, document_frequency: vec![5] },
        TextStats { rows: 1, tokens: 0, title_tokens: 9, document_frequency: vec![5] },
        TextStats { rows: u64::MAX, tokens: u64::MAX, title_tokens: 0, document_frequency: vec![u64::MAX; 9] },
    ] {
        assert!(segment.search_text(&query, &stats, &all(&segment), 10).unwrap().iter().all(|h| h.score.is_finite()));
    }
}

/// Numbers of the documents, of one passage each, in the order of the results.
fn found(docs: &[Document], question: &str) -> Vec<Vec<usize>> {
    let query = TextQuery::new(question);
    let one = |segment: Segment| {
        let rows = all(&segment);
        let mut hits = together(&[(segment, rows)], &query).1;
        hits.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.0.cmp(&b.0)));
        hits.into_iter().map(|hit| hit.0).collect()
    };
    vec![one(memory(docs)), one(written(docs))]
}

fn titled(id: &str, title: &str, passage: &str) -> Document {
    Document { title: kernel::Untrusted::new(title), ..doc(id, &[passage]) }
}

#[rstest]
#[case::any_word("sick leave", &[2, 0, 1, 3, 9])]
#[case::in_that_order("\"sick leave\"", &[2, 0])]
#[case::and_not_in_the_other("\"leave sick\"", &[3])]
#[case::other_words_only_rank("\"sick leave\" pay", &[0, 2])]
#[case::not_from_title_into_passage("\"parking sick\"", &[])]
#[case::in_a_title("\"parking rules\"", &[4])]
#[case::a_beginning("vacat*", &[5])]
#[case::a_beginning_that_no_stem_has("vacation*", &[5])]
#[case::a_code("ERR_CONN_42", &[6, 7])]
#[case::a_code_by_its_beginning("err_conn*", &[6])]
#[case::a_code_as_a_phrase("\"CONN 42\"", &[6])]
#[case::part_of_a_code("conn", &[7, 6])]
#[case::one_character("東", &[8])]
#[case::the_last_character("都", &[8])]
#[case::a_chinese_word("京都", &[8])]
fn queries(#[case] question: &str, #[case] expected: &[usize]) {
    let docs = [
        titled("a", "", "sick leave is full pay"),
        titled("b", "", "leave of absence"),
        titled("c", "", "sick leave"),
        titled("d", "", "who must leave sick people alone on any of these days"),
        titled("e", "Parking rules", "cars"),
        titled("f", "", "vacations"),
        titled("g", "", "it said ERR_CONN_42 twice"),
        titled("h", "", "conn is short"),
        titled("i", "", "東京都"),
        titled("j", "Parking", "sickness"),
    ];
    for answer in found(&docs, question) {
        let (mut sorted, mut wanted) = (answer.clone(), expected.to_vec());
        sorted.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(sorted, wanted, "{question}");
        assert_eq!(answer.first(), expected.first(), "{question}");
    }
}

#[test]
fn title_weight_is_applied() {
    let docs = [titled("a", "Parking", "cars and rules"), titled("b", "Cars", "parking and rules")];
    let score = |weight: f32, segment: Segment| {
        let rows = all(&segment);
        let query = TextQuery::new("parking").with_title_weight(weight);
        together(&[(segment, rows)], &query).1.into_iter().map(|hit| hit.2).collect::<Vec<_>>()
    };
    for make in [memory as fn(&[Document]) -> Segment, written] {
        let equal = score(1.0, make(&docs));
        assert_eq!(equal[0], equal[1]);
        let heavy = score(3.0, make(&docs));
        assert!(heavy[0] > heavy[1]);
        let none = score(0.0, make(&docs));
        assert!(none.len() == 1 && none[0] > 0.0, "{none:?}");
    }
}

#[test]
fn a_prefix_matches_only_words_that_the_reader_may_see() {
    let docs: Vec<Document> = (0..600).map(|n| doc(&format!("d{n}"), &[&format!("word{n:04}")])).collect();
    for segment in [memory(&docs), written(&docs)] {
        let expanded = |rows: RoaringBitmap| {
            let (mut query, mut expansion) = (TextQuery::new("word*"), Expansion::default());
            segment.expand(&query, &rows, &mut expansion).unwrap();
            query.expand(expansion);
            (query.prefixes[0].terms.len(), query.warnings().len())
        };
        assert_eq!(expanded(all(&segment)), (kernel::limits::PREFIX_WORDS_MAX, 1));
        assert_eq!(expanded((590..600).collect()), (10, 0), "the others do not crowd them out");
    }
}

/// 200 documents with titles, of which every third is deleted, in 1, 5 and 50 segments, in memory, written and as a
/// write buffer.
#[test]
fn one_five_and_fifty_segments_and_a_write_buffer_score_alike() {
    let words = ["leave", "running", "policy", "ERR_CONN_42", "holiday", "東京都", "days", "of"];
    let pick = |n: usize| words[n % words.len()];
    let docs: Vec<Document> = (0..200)
        .map(|n| {
            titled(&format!("d{n:03}"), pick(n / 7), &format!("{} {} {} {}", pick(n), pick(n / 3), pick(n * 5), n))
        })
        .collect();
    let lives = |n: usize| !n.is_multiple_of(3);
    let cut = |parts: usize, make: &dyn Fn(&[Document]) -> Segment| -> Vec<(Segment, RoaringBitmap)> {
        let size = docs.len() / parts;
        let one = |(at, part): (usize, &[Document])| {
            let live = (0..part.len()).filter(|n| lives(at * size + n)).map(|n| n as u32).collect();
            (make(part), live)
        };
        docs.chunks(size).enumerate().map(one).collect()
    };
    let write_buffer = |part: &[Document]| crate::WriteBuffer::new(&SPEC, part.to_vec()).unwrap().build().unwrap();
    let kept: Vec<Document> = docs.iter().enumerate().filter(|(n, _)| lives(*n)).map(|(_, doc)| doc.clone()).collect();
    let queries = ["leave policy", "\"running policy\" days", "holi* err_*", "東", "ERR_CONN_42", "\"of leave\" 1*"];
    for query in queries.map(TextQuery::new) {
        let fresh = memory(&kept);
        let rows = all(&fresh);
        let alone = together(&[(fresh, rows)], &query);
        let scores: Vec<f32> = alone.1.iter().map(|hit| hit.2).collect();
        for parts in [1, 5, 50] {
            for make in [&memory as &dyn Fn(&[Document]) -> Segment, &written, &write_buffer] {
                let found = together(&cut(parts, make), &query);
                assert_eq!(found.0, alone.0);
                assert_eq!(found.1.iter().map(|hit| hit.2).collect::<Vec<_>>(), scores);
            }
            let mut mixed = cut(parts, &written);
            let last = mixed.len() - 1;
            mixed[last].0 = write_buffer(&docs[last * (docs.len() / parts)..]);
            assert_eq!(together(&mixed, &query).1.iter().map(|hit| hit.2).collect::<Vec<_>>(), scores);
        }
    }
}
