use super::*;
use crate::{
    Links, Reused, Segment, Spec, Stop,
    container::{Kind, Writer},
    graph::{build, tests::opened},
    sample::{Random, doc},
};
use kernel::{Distance, Document, limits};
use proptest::{prelude::*, sample::select};

fn graph(spec: &Spec, points: &[Vec<f32>], graft: Option<&Graft<'_>>) -> (Writer, Vec<u8>) {
    let mut writer = Writer::default();
    points.iter().for_each(|point| crate::vectors::push(&mut writer, point).unwrap());
    let [codes, scales] = [Kind::Codes, Kind::Scales].map(|kind| writer.part(kind).clone());
    let (vectored, mut out) = ((0..points.len() as u32).collect(), Vec::new());
    let rows = build::Rows { spec, codes: &codes, scales: &scales, vectored: &vectored, count: points.len() as u32 };
    build::build(rows, graft, &Stop::default(), &mut out).unwrap();
    (writer, out)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]
    #[test]
    fn a_graph_that_is_gone_on_with_finds_as_much_as_one_built_anew(
        distance in select(vec![Distance::Cosine, Distance::Dot, Distance::Euclidean]),
        gone in 0u64..45,
        more in 0usize..1_500,
        seed in 0u64..1_000,
    ) {
        let spec = Spec { dimensions: 8, distance, language: kernel::Language::English };
        let random = Random::new(seed);
        // One cloud, of few dimensions, for all: where a walk misses many, how many is chance.
        let mut cloud = random.clustered(3_000 + more + 400, 1, 8).into_iter();
        let before: Vec<_> = cloud.by_ref().take(3_000).collect();
        let old = opened(&graph(&spec, &before, None).1, 3_000);
        let (mut points, mut now) = (Vec::new(), Vec::new());
        let mut fresh = cloud.by_ref().take(more).collect::<Vec<_>>().into_iter();
        for point in before {
            if random.below(100) < gone {
                now.push(NONE);
            } else {
                now.push(points.len() as u32);
                points.push(point);
            }
            points.extend(fresh.next());
        }
        let graft = Graft::new(&old, now).unwrap();
        points.extend(fresh);
        let queries: Vec<_> = cloud.collect();
        let found = |graft: Option<&Graft<'_>>| {
            let (mut writer, bytes) = graph(&spec, &points, graft);
            *writer.part(Kind::Graph) = bytes;
            crate::vectors::tests::right_of_walks(&spec, writer, points.len() as u32, &queries)
        };
        let (grafted, anew) = (found(Some(&graft)), found(None));
        prop_assert!(grafted + 40 >= anew, "of 4,000: {grafted}, anew {anew}");
    }
}

#[test]
fn too_little_is_not_gone_on_with() {
    let spec = Spec { dimensions: 8, distance: Distance::Cosine, language: kernel::Language::English };
    let points = Random::new(5).clustered(500, 5, 8);
    let old = opened(&graph(&spec, &points, None).1, 500);
    let now = |gone: u32| (0..500).map(|row| if row < gone { NONE } else { row - gone }).collect();
    assert!(Graft::new(&old, now(0)).is_some() && Graft::new(&old, now(250)).is_some());
    assert!(Graft::new(&old, now(251)).is_none() && Graft::new(&old, now(500)).is_none());
    assert!(Graft::new(&old, Vec::new()).is_none());
}

/// Documents of two passages each, some of which go and others come: what is found is what a segment written from
/// nothing finds, and the bytes show that the old links were gone on with.
#[test]
fn a_merge_goes_on_with_the_graph_of_the_larger_segment() {
    let spec = Spec { dimensions: 8, distance: Distance::Cosine, language: kernel::Language::English };
    let count = limits::GRAPH_ROWS_MIN / 2 + 300;
    let random = Random::new(6);
    let one = |n: usize| {
        let vectors = random.clustered(2, 2, 8).concat();
        Document { vectors, ..doc(&format!("d{n:06}"), &["one", "two"]) }
    };
    let docs: Vec<Document> = (0..count + 500).map(one).collect();
    let write = |docs: &mut dyn Iterator<Item = &Document>, reused: Option<&Reused<'_>>| {
        let mut docs = docs.cloned();
        Segment::write_unless(&spec, &mut docs, Links::Built, reused, &Stop::default()).unwrap()
    };
    // Every eleventh is the other segment's.
    let old: Vec<u32> = (0..docs.len() as u32).filter(|n| n % 11 != 0).collect();
    let segment = Segment::open(&spec, write(&mut old.iter().map(|n| &docs[*n as usize]), None)).unwrap();
    assert!(segment.has_graph());
    // Every seventh is dead.
    let living: Vec<u32> = (0..docs.len() as u32).filter(|n| n % 7 != 0).collect();
    let documents = living.iter().map(|n| old.binary_search(n).ok().map(|at| at as u32)).collect();
    let living = || living.iter().map(|n| &docs[*n as usize]);
    let grafted = write(&mut living(), Some(&Reused { segment: &segment, documents }));
    let anew = write(&mut living(), None);
    assert!(grafted != anew);
    let [grafted, anew] = [grafted, anew].map(|bytes| Segment::open(&spec, bytes).unwrap());
    let all = (0..anew.rows()).collect();
    let right = living().enumerate().filter(|(n, doc)| {
        let [a, b] = [&grafted, &anew].map(|one| one.search_planned(&doc.vectors[..8], &all, 1, Some(64)).hits[0].row);
        assert!(n % 50 != 0 || grafted.search_vector_exact(&doc.vectors[..8], &all, 1).hits[0].row == 2 * *n as u32);
        a == b
    });
    let (right, total) = (right.count(), living().count());
    assert!(right * 100 >= total * 99, "{right} of {total}");
}
