use super::*;
use crate::{Spec, sample::Random};
use kernel::Distance;
use zeroize::Zeroizing;

fn built(points: &[Vec<f32>], rows: &roaring::RoaringBitmap) -> Vec<u8> {
    let values: Vec<u8> = points.iter().flatten().flat_map(|x| x.to_le_bytes()).collect();
    let mut out = Vec::new();
    let spec = Spec { dimensions: points[0].len(), distance: Distance::Cosine };
    build::build(&spec, &values, rows, points.len() as u32, &mut out);
    out
}

fn open(bytes: &[u8], rows: u32) -> Result<Graph, Error> {
    Graph::open(Slice::whole(Zeroizing::new(bytes.to_vec())), rows)
}

#[test]
fn rows_without_a_vector_are_no_part_of_it() {
    let points = Random::new(1).clustered(400, 4, 8);
    let rows = (0..400).filter(|n| n % 2 == 0).collect();
    let graph = open(&built(&points, &rows), 400).unwrap();
    let found = graph.search(|row| -(row as f32), None, 400, 400);
    assert_eq!(found.iter().map(|hit| hit.row).collect::<roaring::RoaringBitmap>(), rows);
}

#[test]
fn many_equal_vectors_do_no_harm() {
    let points = vec![vec![0.5; 4]; 2_000];
    let graph = open(&built(&points, &(0..2_000).collect()), 2_000).unwrap();
    assert_eq!(graph.search(|_| 1.0, None, 2_000, 2_000).len(), 2_000);
}

#[test]
fn every_row_is_reached() {
    let points = Random::new(4).clustered(3_000, 30, 6);
    let graph = open(&built(&points, &(0..3_000).collect()), 3_000).unwrap();
    assert_eq!(graph.search(|_| 1.0, None, 3_000, 3_000).len(), 3_000);
}

#[test]
fn zero_vectors_are_built_like_others() {
    let points = vec![vec![0.0; 4]; 50];
    assert!(open(&built(&points, &(0..50).collect()), 50).is_ok());
}

#[test]
fn changed_bytes_are_refused_or_walked_to_an_end() {
    let points = Random::new(2).clustered(60, 3, 4);
    let bytes = built(&points, &(0..60).collect());
    for at in 0..bytes.len() {
        for to in [0, 1, 0x3b, 0x7f, 0xff] {
            let mut changed = bytes.clone();
            changed[at] = to;
            if let Ok(graph) = open(&changed, 60) {
                assert!(graph.search(|row| row as f32, None, 20, 10).len() <= 10);
            }
        }
        assert!(open(&bytes[..at], 60).is_err());
    }
}
