use super::*;
use crate::{
    GraphMode, GraphSource, Segment, Spec, StopFlag,
    container::{ContainerWriter, SectionKind},
    graph::{build, tests::opened},
    test_documents::{Random, doc},
};
use kernel::{Distance, Document, limits};
use proptest::{prelude::*, sample::select};

fn graph(spec: &Spec, points: &[Vec<f32>], reuse: Option<&ReusedGraph<'_>>) -> (ContainerWriter, Vec<u8>) {
    let mut writer = ContainerWriter::default();
    points.iter().for_each(|point| crate::vectors::push(&mut writer, point).unwrap());
    let [codes, scales] = [SectionKind::Codes, SectionKind::Scales].map(|kind| writer.part(kind).clone());
    let (vectored, mut out) = ((0..points.len() as u32).collect(), Vec::new());
    let rows = build::Rows { spec, codes: &codes, scales: &scales, vectored: &vectored, count: points.len() as u32 };
    build::build(rows, reuse, &StopFlag::default(), &mut out).unwrap();
    (writer, out)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]
    #[test]
    fn a_reused_graph_has_the_recall_of_a_new_one(
        distance in select(vec![Distance::Cosine, Distance::Dot, Distance::Euclidean]),
        removed in 0u64..45,
        extra in 0usize..1_500,
        seed in 0u64..1_000,
    ) {
        let spec = Spec { dimensions: 8, distance, language: kernel::Language::English };
        let random = Random::new(seed);
        // One cluster of few dimensions: where a walk misses many, their number is random.
        let mut cloud = random.clustered(3_000 + extra + 400, 1, 8).into_iter();
        let before: Vec<_> = cloud.by_ref().take(3_000).collect();
        let old = opened(&graph(&spec, &before, None).1, 3_000);
        let (mut points, mut new_numbers) = (Vec::new(), Vec::new());
        let mut added = cloud.by_ref().take(extra).collect::<Vec<_>>().into_iter();
        for point in before {
            if random.below(100) < removed {
                new_numbers.push(NONE);
            } else {
                new_numbers.push(points.len() as u32);
                points.push(point);
            }
            points.extend(added.next());
        }
        let reuse = ReusedGraph::new(&old, new_numbers).unwrap();
        points.extend(added);
        let queries: Vec<_> = cloud.collect();
        let found = |reuse: Option<&ReusedGraph<'_>>| {
            let (mut writer, bytes) = graph(&spec, &points, reuse);
            *writer.part(SectionKind::Graph) = bytes;
            crate::vectors::tests::hits_of_walks(&spec, writer, points.len() as u32, &queries)
        };
        let (reused, rebuilt) = (found(Some(&reuse)), found(None));
        prop_assert!(reused + 40 >= rebuilt, "of 4,000: {reused}, rebuilt {rebuilt}");
    }
}

#[test]
fn a_graph_with_too_few_rows_left_is_not_reused() {
    let spec = Spec { dimensions: 8, distance: Distance::Cosine, language: kernel::Language::English };
    let points = Random::new(5).clustered(500, 5, 8);
    let old = opened(&graph(&spec, &points, None).1, 500);
    let new_numbers = |removed: u32| (0..500).map(|row| if row < removed { NONE } else { row - removed }).collect();
    assert!(ReusedGraph::new(&old, new_numbers(0)).is_some() && ReusedGraph::new(&old, new_numbers(250)).is_some());
    assert!(ReusedGraph::new(&old, new_numbers(251)).is_none() && ReusedGraph::new(&old, new_numbers(500)).is_none());
    assert!(ReusedGraph::new(&old, Vec::new()).is_none());
}

/// Documents of two passages each, of which some are removed and others are added. Searches find what they find in a
/// segment that was written from nothing, and the bytes show that the old links were reused.
#[test]
fn a_merge_reuses_the_graph_of_the_larger_segment() {
    let spec = Spec { dimensions: 8, distance: Distance::Cosine, language: kernel::Language::English };
    let count = limits::GRAPH_ROWS_MIN / 2 + 300;
    let random = Random::new(6);
    let one = |n: usize| {
        let vectors = random.clustered(2, 2, 8).concat();
        Document { vectors, ..doc(&format!("d{n:06}"), &["one", "two"]) }
    };
    let docs: Vec<Document> = (0..count + 500).map(one).collect();
    let write = |docs: &mut dyn Iterator<Item = &Document>, reused: Option<&GraphSource<'_>>| {
        let mut docs = docs.cloned();
        Segment::write_stoppable(&spec, &mut docs, GraphMode::Built, reused, &StopFlag::default()).unwrap()
    };
    // Every eleventh document comes from the other segment.
    let old: Vec<u32> = (0..docs.len() as u32).filter(|n| n % 11 != 0).collect();
    let segment = Segment::open(&spec, write(&mut old.iter().map(|n| &docs[*n as usize]), None)).unwrap();
    assert!(segment.has_graph());
    // Every seventh document is deleted.
    let living: Vec<u32> = (0..docs.len() as u32).filter(|n| n % 7 != 0).collect();
    let documents = living.iter().map(|n| old.binary_search(n).ok().map(|at| at as u32)).collect();
    let living = || living.iter().map(|n| &docs[*n as usize]);
    let reused = write(&mut living(), Some(&GraphSource { segment: &segment, documents }));
    let rebuilt = write(&mut living(), None);
    assert!(reused != rebuilt);
    let [reused, rebuilt] = [reused, rebuilt].map(|bytes| Segment::open(&spec, bytes).unwrap());
    let all = (0..rebuilt.rows()).collect();
    let right = living().enumerate().filter(|(n, doc)| {
        let [a, b] =
            [&reused, &rebuilt].map(|one| one.search_planned(&doc.vectors[..8], &all, 1, Some(64)).hits[0].row);
        assert!(n % 50 != 0 || reused.search_vector_exact(&doc.vectors[..8], &all, 1).hits[0].row == 2 * *n as u32);
        a == b
    });
    let (right, total) = (right.count(), living().count());
    assert!(right * 100 >= total * 99, "{right} of {total}");
}
