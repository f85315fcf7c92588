use super::*;
use crate::{
    GraphMode, Segment,
    test_documents::{Random, doc},
};
use kernel::Document;
use rstest::rstest;

const DISTANCES: [Distance; 3] = [Distance::Cosine, Distance::Dot, Distance::Euclidean];

fn documents(points: &[Vec<f32>]) -> Vec<Document> {
    points.iter().enumerate().map(|(n, p)| Document { vectors: p.clone(), ..doc(&format!("d{n}"), &["x"]) }).collect()
}

fn exact(distance: Distance, query: &[f32], point: &[f32]) -> f64 {
    let pairs = || query.iter().zip(point).map(|(q, p)| (f64::from(*q), f64::from(*p)));
    let dot: f64 = pairs().map(|(q, p)| q * p).sum();
    match distance {
        Distance::Dot => dot,
        Distance::Cosine => {
            dot / (pairs().map(|(q, _)| q * q).sum::<f64>() * pairs().map(|(_, p)| p * p).sum::<f64>()).sqrt()
        }
        Distance::Euclidean => -pairs().map(|(q, p)| (q - p) * (q - p)).sum::<f64>().sqrt(),
    }
}

fn best(distance: Distance, query: &[f32], points: &[Vec<f32>], rows: &RoaringBitmap, k: usize) -> Vec<u32> {
    let mut list: Vec<(f64, u32)> = rows.iter().map(|r| (-exact(distance, query, &points[r as usize]), r)).collect();
    list.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    list.into_iter().take(k).map(|(_, r)| r).collect()
}

#[rstest]
fn a_scan_finds_what_is_nearest(#[values(0, 1, 2)] which: usize, #[values(2, 17, 64)] dimensions: usize) {
    let distance = DISTANCES[which];
    let random = Random::new(7);
    let points = random.clustered(800, 20, dimensions);
    let queries = random.clustered(20, 20, dimensions);
    let spec = Spec::new(dimensions, distance);
    let segment = Segment::in_memory(&spec, documents(&points)).unwrap();
    let rows: RoaringBitmap = (0..800).filter(|n| n % 3 != 0).collect();
    let mut right = 0;
    for query in &queries {
        let hits = segment.search_vector(query, &rows, 10).hits;
        let expected = best(distance, query, &points, &rows, 10);
        right += hits.iter().filter(|h| expected.contains(&h.row)).count();
        for hit in &hits {
            assert!(rows.contains(hit.row));
            let score = exact(distance, query, &points[hit.row as usize]);
            // The error of 16 bits per value is a 64,000th of the largest value, of both vectors.
            let error = (f64::from(hit.score) - score).abs() / score.abs().max(1.0);
            assert!(error < 1e-4, "{distance:?}: {error} of {score}");
        }
        assert!(hits.is_sorted_by(|a, b| a.order(b).is_lt()));
    }
    assert!(right >= 198, "{right} of 200");
}

#[test]
fn scores_are_the_same_in_every_segment() {
    let points = Random::new(3).clustered(300, 5, 24);
    let query = &points[5];
    for distance in DISTANCES {
        let spec = Spec::new(24, distance);
        let docs = documents(&points);
        let whole =
            Segment::in_memory(&spec, docs.clone()).unwrap().search_vector(query, &(0..300).collect(), 300).hits;
        let mut parts = Vec::new();
        for (n, part) in docs.chunks(70).enumerate() {
            let bytes = Segment::write(&spec, &mut part.iter().cloned(), GraphMode::Built).unwrap();
            let hits = Segment::open(&spec, bytes).unwrap().search_vector(query, &(0..300).collect(), 300).hits;
            parts.extend(hits.into_iter().map(|h| Scored { row: h.row + n as u32 * 70, ..h }));
        }
        parts.sort_by(Scored::order);
        assert_eq!(parts, whole);
    }
}

#[test]
fn rows_without_a_vector_and_foreign_queries_give_nothing() {
    let spec = Spec::new(2, Distance::Euclidean);
    let mut docs = documents(&[vec![1.0, 0.0], vec![0.0, 1.0]]);
    docs.push(doc("none", &["no vector"]));
    let segment = Segment::in_memory(&spec, docs).unwrap();
    let all: RoaringBitmap = (0..9).collect();
    let hits = segment.search_vector(&[0.0, 0.0], &all, 10).hits;
    assert_eq!(hits.iter().map(|h| h.row).collect::<Vec<_>>(), [0, 1]);
    assert!(hits.iter().all(|h| (h.score + 1.0).abs() < 1e-6), "{hits:?}");
    for query in [&[1.0][..], &[f32::NAN, 0.0], &[f32::INFINITY, 0.0], &[f32::MAX, f32::MAX], &[]] {
        assert!(segment.search_vector(query, &all, 10).hits.is_empty());
    }
    assert!(segment.search_vector(&[1.0, 1.0], &all, 0).hits.is_empty());
}

#[test]
fn wrong_vectors_are_refused() {
    let spec = Spec::new(2, Distance::Cosine);
    for (vector, found) in [(vec![1.0], 1), (vec![1.0; 4], 4)] {
        let error = Segment::in_memory(&spec, documents(&[vec![0.0, 1.0], vector])).unwrap_err();
        assert!(matches!(error, Error::VectorLength { document: 1, expected: 2, found: f } if f == found));
    }
    for bad in [f32::NAN, f32::INFINITY, f32::MAX] {
        let error = Segment::in_memory(&spec, documents(&[vec![0.0, bad]])).unwrap_err();
        assert!(matches!(error, Error::VectorValue { document: 0 }));
    }
}

#[test]
fn zero_vectors_have_no_similarity() {
    let spec = Spec::new(2, Distance::Cosine);
    let segment = Segment::in_memory(&spec, documents(&[vec![0.0, 0.0], vec![1.0, 0.0]])).unwrap();
    let hits = segment.search_vector(&[0.0, 0.0], &(0..2).collect(), 10).hits;
    assert!(hits.iter().all(|h| h.score == 0.0) && hits.len() == 2);
}

/// The sections of a written segment with a graph, even for few rows.
fn with_graph(spec: &Spec, points: &[Vec<f32>], links: GraphMode) -> Vectors {
    let mut writer = ContainerWriter::default();
    points.iter().for_each(|p| push(&mut writer, p).unwrap());
    let rows = points.len() as u32;
    let graph = crate::graph::tests::built(spec, points, &(0..rows).collect(), links);
    *writer.part(SectionKind::Graph) = graph;
    let sections = crate::container::tests::parse_whole(spec, writer.finish(spec, 0, rows)).unwrap();
    Vectors::open(spec, &sections).unwrap()
}

/// Number of the best ten of each query that a walk of these rows finds, with the codes and the graph in `writer`.
pub(crate) fn hits_of_walks(spec: &Spec, writer: ContainerWriter, rows: u32, queries: &[Vec<f32>]) -> usize {
    let sections = crate::container::tests::parse_whole(spec, writer.finish(spec, 0, rows)).unwrap();
    let vectors = Vectors::open(spec, &sections).unwrap();
    let all = (0..rows).collect();
    let search = |query: &[f32], walks| {
        let planner = Planner { walks: Some(walks), ..Planner::default() };
        vectors.search(query, &all, 10, planner).hits.into_iter().map(|hit| hit.row).collect::<RoaringBitmap>()
    };
    queries.iter().map(|query| search(query, true).intersection_len(&search(query, false)) as usize).sum()
}

#[rstest]
fn a_walk_finds_at_least_95_of_100(
    #[values(0, 1, 2)] which: usize,
    #[values(GraphMode::Built, GraphMode::Reference)] links: GraphMode,
) {
    let distance = DISTANCES[which];
    let random = Random::new(11);
    let points = random.clustered(6_000, 60, 16);
    let queries = random.clustered(50, 60, 16);
    let spec = Spec::new(16, distance);
    let vectors = with_graph(&spec, &points, links);
    let planner = Planner { walks: Some(true), ..Planner::default() };
    for part in [1, 2, 10] {
        let rows: RoaringBitmap = (0..6_000).filter(|n| n % part == 0).collect();
        let mut right = 0;
        for query in &queries {
            let VectorSearchResult { hits, stats: trace } = vectors.search(query, &rows, 10, planner);
            assert!(trace.strategy != ScanStrategy::Scan && trace.rows == rows.len(), "{trace:?}");
            let expected = best(distance, query, &points, &rows, 10);
            assert!(hits.iter().all(|h| rows.contains(h.row)) && hits.len() == 10);
            right += hits.iter().filter(|h| expected.contains(&h.row)).count();
        }
        assert!(right >= 475, "{distance:?}, one in {part}: {right} of 500");
    }
}

/// Only rows that are far from the query pass: a walk finds none of them and reports it, and a scan answers.
#[test]
fn a_walk_without_passing_rows_falls_back_to_a_scan() {
    let points = Random::new(12).clustered(6_000, 60, 16);
    let spec = Spec::new(16, Distance::Cosine);
    let vectors = with_graph(&spec, &points, GraphMode::Built);
    let query = &points[0];
    let mut order = best(Distance::Cosine, query, &points, &(0..6_000).collect(), 6_000);
    let far: RoaringBitmap = order.split_off(3_000).into_iter().collect();
    let planner = Planner { walks: Some(true), ef: 20, ..Planner::default() };
    let VectorSearchResult { hits, stats: trace } = vectors.search(query, &far, 10, planner);
    assert!(matches!(trace.strategy, ScanStrategy::WalkThenScan { .. }), "{trace:?}");
    assert!(trace.compared >= far.len());
    let expected = best(Distance::Cosine, query, &points, &far, 10);
    assert_eq!(hits.iter().map(|hit| hit.row).collect::<Vec<_>>(), expected);
}

/// Which is cheaper depends on how many rows pass. Few rows are always scanned, and so are all rows when there is no
/// graph.
#[test]
fn few_rows_are_scanned_and_many_are_walked() {
    let spec = Spec::new(16, Distance::Cosine);
    let points = Random::new(13).clustered(6_000, 60, 16);
    let vectors = with_graph(&spec, &points, GraphMode::Built);
    // A machine on which a random access is free, and one on which it is very expensive.
    let planner = |random_access| Planner { costs: Costs { byte: 1.0, random_access }, ..Planner::default() };
    let strategy = |rows: u32, random_access| {
        vectors.search(&points[7], &(0..rows).collect(), 10, planner(random_access)).stats.strategy
    };
    assert_eq!(strategy(300, 0.0), ScanStrategy::Scan);
    assert_eq!(strategy(6_000, 0.0), ScanStrategy::Walk { breadth: 128 });
    assert_eq!(strategy(6_000, 1_000.0), ScanStrategy::Scan);
}

/// For any random subset of the rows, near the query or far from it, a walk returns as many rows as a scan, only rows
/// that pass, and nearly all of those that the scan finds.
#[test]
fn walks_scans_and_the_planner_agree_on_filtered_sets() {
    let random = Random::new(14);
    let points = random.clustered(6_000, 60, 16);
    let spec = Spec { dimensions: 16, distance: Distance::Cosine, language: kernel::Language::English };
    let vectors = with_graph(&spec, &points, GraphMode::Built);
    let (mut right, mut all, mut walked) = (0, 0, 0);
    for query in points.iter().step_by(500) {
        let near = best(Distance::Cosine, query, &points, &(0..6_000).collect(), 6_000);
        for passing in [3, 12, 60, 600, 3_000, 5_999] {
            let chance = (0..6_000).filter(|_| random.below(6_000) < passing as u64).collect::<RoaringBitmap>();
            let sets =
                [chance, near[..passing].iter().copied().collect(), near[6_000 - passing..].iter().copied().collect()];
            for (rows, k) in sets.iter().flat_map(|rows| [1, 10, 100].map(|k| (rows, k))) {
                let count = k.min(rows.len() as usize);
                let scan = vectors.search(query, rows, k, Planner { walks: Some(false), ..Planner::default() }).hits;
                assert_eq!(scan.len(), count);
                for walks in [None, Some(true)] {
                    let VectorSearchResult { hits, stats: trace } =
                        vectors.search(query, rows, k, Planner { walks, ..Planner::default() });
                    assert_eq!(hits.len(), count, "{k} of {passing}: {trace:?}");
                    assert!(
                        hits.iter().all(|hit| rows.contains(hit.row)) && hits.is_sorted_by(|a, b| a.order(b).is_lt())
                    );
                    walked += usize::from(matches!(trace.strategy, ScanStrategy::Walk { .. }));
                    right += hits.iter().filter(|hit| scan.contains(hit)).count();
                    all += count;
                }
            }
        }
    }
    assert!(walked > 100, "{walked} walks");
    assert!(right * 1_000 >= all * 985, "{right} of {all}");
}

/// The second scan is for rows that codes cannot tell apart; among other rows it is rare.
#[test]
fn a_second_scan_is_rare() {
    let random = Random::new(15);
    let points = random.clustered(3_100, 100, 96);
    let spec = Spec { dimensions: 96, distance: Distance::Cosine, language: kernel::Language::English };
    let segment = Segment::in_memory(&spec, documents(&points[..3_000])).unwrap();
    for (rows, k) in [(1_000, 10), (3_000, 10), (3_000, 100)] {
        let passing: RoaringBitmap = (0..rows).collect();
        let scans = |query: &Vec<f32>| segment.search_vector(query, &passing, k).stats.compared / u64::from(rows);
        let twice: u64 = points[3_000..].iter().map(scans).sum::<u64>() - 100;
        assert!(twice <= 5, "{twice} of 100 scanned twice among {rows} for {k}");
    }
}

/// Planner, walk and scan agree with a scan that scores every row, on rows that pass a filter, for every distance and
/// length of vectors.
#[rstest]
#[case(2, 4_000)]
#[case(3, 4_000)]
#[case(17, 3_000)]
#[case(384, 1_500)]
#[case(1_536, 500)]
#[case(4_096, 300)]
fn planner_walk_and_scan_agree_on_filtered_rows(
    #[case] dimensions: usize,
    #[case] count: usize,
    #[values(0, 1, 2)] which: usize,
    #[values(GraphMode::Built, GraphMode::Reference)] links: GraphMode,
) {
    // The reference is slow on long vectors.
    let count = if links == GraphMode::Reference { count.min(600) } else { count };
    let distance = DISTANCES[which];
    let random = Random::new(21);
    let points = random.clustered(count, 20, dimensions);
    let spec = Spec { dimensions, distance, language: kernel::Language::English };
    let vectors = with_graph(&spec, &points, links);
    // Machines on which a walk always pays, and on which it never does.
    let costs = [Costs { byte: 1.0, random_access: 0.0 }, Costs { byte: 0.01, random_access: 10_000.0 }];
    let planners = [(Some(true), 0), (None, 0), (None, 1), (Some(false), 0)];
    for part in [1, 2, 10] {
        let rows: RoaringBitmap = (0..count as u32).filter(|n| n % part == 0).collect();
        let mut right = [0; 4];
        for query in random.clustered(10, 20, dimensions) {
            // The tenth nearest of all by f64: every row that is as near as that, but for the error of 16 bits, is
            // correct.
            let truth = |row: u32| exact(distance, &query, &points[row as usize]);
            let tenth = truth(best(distance, &query, &points, &rows, 10)[9]);
            let least = tenth - 1e-5 * tenth.abs().max(1.0);
            for (right, (walks, cost)) in right.iter_mut().zip(planners) {
                let planner = Planner { walks, costs: costs[cost], ..Planner::default() };
                let hits = vectors.search(&query, &rows, 10, planner).hits;
                assert!(hits.len() == 10 && hits.iter().all(|hit| rows.contains(hit.row)));
                *right += hits.iter().filter(|hit| truth(hit.row) >= least).count();
            }
        }
        assert!(right.iter().all(|right| *right >= 96), "{distance:?}, one in {part}: {right:?} of 100");
    }
}

#[test]
fn whole_numbers_are_the_nearest() {
    for n in -400i32..400 {
        let x = f64::from(n) / 3.0;
        assert_eq!(i32::from(whole(x)), (x.clamp(-127.0, 127.0).round_ties_even()) as i32, "{x}");
    }
    assert_eq!([whole(0.5), whole(1.5), whole(-0.5), whole(-2.5)], [0, 2, 0, -2]);
}
