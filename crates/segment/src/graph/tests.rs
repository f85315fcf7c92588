use super::*;
use crate::{
    GraphMode, Spec,
    container::{ContainerWriter, PagedKind, SectionKind},
    test_documents::Random,
};
use kernel::Distance;
use rstest::rstest;
use zeroize::Zeroizing;

/// The graph of some rows of these vectors, by the given builder.
pub(crate) fn built(spec: &Spec, points: &[Vec<f32>], rows: &roaring::RoaringBitmap, links: GraphMode) -> Vec<u8> {
    let mut writer = ContainerWriter::default();
    points.iter().for_each(|p| crate::vectors::push(&mut writer, p).unwrap());
    let (mut out, count) = (Vec::new(), points.len() as u32);
    if links == GraphMode::Reference {
        reference::build(spec, &writer.paged(PagedKind::Vectors).clone(), rows, count, &mut out);
    } else {
        let [codes, scales] = [SectionKind::Codes, SectionKind::Scales].map(|kind| writer.part(kind).clone());
        let rows = build::Rows { spec, codes: &codes, scales: &scales, vectored: rows, count };
        build::build(rows, None, &crate::StopFlag::default(), &mut out).unwrap();
    }
    out
}

fn cosine(points: &[Vec<f32>], rows: &roaring::RoaringBitmap, links: GraphMode) -> Vec<u8> {
    built(&Spec::new(points[0].len(), Distance::Cosine), points, rows, links)
}

pub(crate) fn opened(bytes: &[u8], rows: u32) -> Graph {
    open(bytes, rows).unwrap()
}

fn open(bytes: &[u8], rows: u32) -> Result<Graph, Error> {
    Graph::open(Slice::whole(Zeroizing::new(bytes.to_vec())), rows)
}

#[rstest]
fn rows_without_a_vector_are_not_linked(#[values(GraphMode::Built, GraphMode::Reference)] links: GraphMode) {
    let points = Random::new(1).clustered(400, 4, 8);
    let rows = (0..400).filter(|n| n % 2 == 0).collect();
    let graph = open(&cosine(&points, &rows, links), 400).unwrap();
    let found = graph.search(&FnScorer(|row| -(row as f32)), None, 400).found;
    assert_eq!(found.iter().map(|hit| hit.row).collect::<roaring::RoaringBitmap>(), rows);
}

#[rstest]
fn many_equal_vectors_do_no_harm(#[values(GraphMode::Built, GraphMode::Reference)] links: GraphMode) {
    let points = vec![vec![0.5; 4]; 2_000];
    let graph = open(&cosine(&points, &(0..2_000).collect(), links), 2_000).unwrap();
    assert_eq!(graph.search(&FnScorer(|_| 1.0), None, 2_000).found.len(), 2_000);
}

#[rstest]
fn every_row_is_reached(#[values(GraphMode::Built, GraphMode::Reference)] links: GraphMode) {
    let points = Random::new(4).clustered(3_000, 30, 6);
    let graph = open(&cosine(&points, &(0..3_000).collect(), links), 3_000).unwrap();
    assert_eq!(graph.search(&FnScorer(|_| 1.0), None, 3_000).found.len(), 3_000);
}

#[rstest]
fn zero_vectors_are_built_like_others(#[values(GraphMode::Built, GraphMode::Reference)] links: GraphMode) {
    let points = vec![vec![0.0; 4]; 50];
    assert!(open(&cosine(&points, &(0..50).collect(), links), 50).is_ok());
}

#[test]
fn changed_bytes_are_refused_or_walked_to_an_end() {
    let points = Random::new(2).clustered(60, 3, 4);
    let bytes = cosine(&points, &(0..60).collect(), GraphMode::Built);
    for at in 0..bytes.len() {
        for to in [0, 1, 0x3b, 0x7f, 0xff] {
            let mut changed = bytes.clone();
            changed[at] = to;
            if let Ok(graph) = open(&changed, 60) {
                assert!(graph.search(&FnScorer(|row| row as f32), None, 20).found.len() <= 20);
            }
        }
        assert!(open(&bytes[..at], 60).is_err());
    }
}

/// One thread is deterministic.
#[test]
fn one_thread_builds_the_same_graph_again() {
    let points = Random::new(6).clustered(3_000, 30, 16);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let once = || pool.install(|| cosine(&points, &(0..3_000).collect(), GraphMode::Built));
    assert_eq!(once(), once());
}

/// Many threads at once build a graph that contains every row and finds the nearest.
#[test]
fn many_threads_build_one_graph() {
    let points = Random::new(9).clustered(6_000, 60, 16);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(8).build().unwrap();
    let bytes = pool.install(|| cosine(&points, &(0..6_000).collect(), GraphMode::Built));
    let graph = open(&bytes, 6_000).unwrap();
    assert_eq!(graph.search(&FnScorer(|_| 1.0), None, 6_000).found.len(), 6_000);
    let dot = |a: u32, b: u32| {
        let pairs = || points[a as usize].iter().zip(&points[b as usize]).map(|(x, y)| (x * y, x * x, y * y));
        let (xy, xx, yy) = pairs().fold((0.0, 0.0, 0.0), |s, p| (s.0 + p.0, s.1 + p.1, s.2 + p.2));
        xy / (xx * yy).sqrt()
    };
    let found = (0..500u32)
        .filter(|row| graph.search(&FnScorer(|other| dot(*row, other)), None, 64).found[0].row == *row)
        .count();
    assert!(found >= 495, "{found} of 500 rows find themselves");
}

/// The squares of such lengths overflow an f32: distances are meaningless then, but nothing panics.
#[rstest]
fn very_long_vectors_are_built(#[values(Distance::Cosine, Distance::Dot, Distance::Euclidean)] distance: Distance) {
    let mut points = Random::new(3).clustered(300, 5, 8);
    points.iter_mut().flatten().for_each(|x| *x = x.clamp(-1.0, 1.0) * 6e18);
    let rows = (0..300).collect();
    let bytes = built(&Spec::new(8, distance), &points, &rows, GraphMode::Built);
    assert_eq!(open(&bytes, 300).unwrap().search(&FnScorer(|_| 1.0), None, 300).found.len(), 300);
}

#[test]
fn a_stopped_build_ends_without_a_graph() {
    let stop = crate::StopFlag::default();
    stop.stop();
    let spec = Spec::new(4, Distance::Cosine);
    let (codes, scales, mut out) = (vec![128; 4 * 400], vec![0; 8 * 400], Vec::new());
    let all = (0..400).collect();
    let rows = build::Rows { spec: &spec, codes: &codes, scales: &scales, vectored: &all, count: 400 };
    let ended = build::build(rows, None, &stop, &mut out);
    assert!(matches!(ended, Err(Error::Stopped)) && out.is_empty());
}
