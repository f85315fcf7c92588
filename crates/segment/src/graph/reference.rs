//! Builds a graph with `hnsw_rs` and freezes it into the flat layout. It is the reference that `build` is measured by,
//! and the only file that uses `hnsw_rs`.
//!
//! The distance is ours: squared Euclidean on prepared vectors, which is never negative (1 − dot rounds below zero, and
//! `hnsw_rs` panics there) and orders as the real one does: for cosine on unit copies, and for the inner product on
//! copies with one more value that makes all lengths equal (Bachrach et al., RecSys 2014). The search, dump and reload
//! of `hnsw_rs` are not used.

use super::{BASE_LINKS, NONE, UPPER_LINKS, links::GraphLinks};
use crate::{Spec, bytes::floats, simd};
use hnsw_rs::{anndists::dist::distances::Distance as AnnDistance, hnsw::Hnsw};
use kernel::Distance;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;

const EF_CONSTRUCTION: usize = 200;
const LAYERS_MAX: usize = 16;
/// Vectors that are copied and inserted at a time; `hnsw_rs` spreads each batch over the threads of the pool.
const BATCH: usize = 4_096;

struct SquaredEuclidean(simd::L2Squared);

impl AnnDistance<f32> for SquaredEuclidean {
    fn eval(&self, a: &[f32], b: &[f32]) -> f32 {
        (self.0)(a, b)
    }
}

/// Builds the graph of these rows of a section of finite f32 values, and appends its frozen form. Takes about 2 ms of
/// CPU per row at 384 dimensions.
pub(crate) fn build(spec: &Spec, values: &[u8], vectored: &RoaringBitmap, rows: u32, out: &mut Vec<u8>) {
    let count = vectored.len() as usize;
    if count == 0 {
        return;
    }
    let lengths: Vec<f32> = (0..rows).map(|row| row_of(spec, values, row).map(|x| x * x).sum()).collect();
    let longest = lengths.iter().copied().fold(0.0f32, f32::max);
    let distance = SquaredEuclidean(simd::l2_squared());
    let hnsw = Hnsw::<f32, SquaredEuclidean>::new(UPPER_LINKS, count, LAYERS_MAX, EF_CONSTRUCTION, distance);
    let prepare = |row: u32| {
        let length = lengths.get(row as usize).copied().unwrap_or(0.0);
        let mut vector: Vec<f32> = row_of(spec, values, row).collect();
        match spec.distance {
            Distance::Euclidean => {}
            Distance::Cosine => {
                let norm = if length > 0.0 { length.sqrt() } else { 1.0 };
                vector.iter_mut().for_each(|x| *x /= norm);
            }
            Distance::Dot => vector.push((longest - length).max(0.0).sqrt()),
        }
        vector
    };
    let mut list = vectored.iter();
    // The first row is inserted alone: it becomes the entry from which the others start.
    for size in std::iter::once(1).chain(std::iter::repeat(BATCH)) {
        let batch: Vec<(Vec<f32>, usize)> = list.by_ref().take(size).map(|row| (prepare(row), row as usize)).collect();
        if batch.is_empty() {
            break;
        }
        hnsw.parallel_insert_slice(&batch.iter().map(|(v, row)| (v.as_slice(), *row)).collect());
    }
    freeze(&hnsw, vectored, rows, out);
}

fn row_of<'a>(spec: &Spec, values: &'a [u8], row: u32) -> impl Iterator<Item = f32> + 'a {
    let at = row as usize * spec.dimensions;
    floats(values.get(at * 4..(at + spec.dimensions) * 4).unwrap_or_default())
}

fn freeze(hnsw: &Hnsw<'_, f32, SquaredEuclidean>, vectored: &RoaringBitmap, rows: u32, out: &mut Vec<u8>) {
    let points = hnsw.get_point_indexation();
    let top = usize::from(points.get_max_level_observed());
    let mut base = vec![NONE; rows as usize * BASE_LINKS];
    let mut upper: Vec<BTreeMap<u32, Vec<u32>>> = vec![BTreeMap::new(); top];
    let mut entry = 0;
    for level in 0..=top {
        for point in points.get_layer_iterator(level) {
            let row = point.get_origin_id() as u32;
            if level == top {
                entry = row;
            }
            // Neighbours are ordered nearest first, as hnsw_rs keeps them.
            for (layer, neighbours) in point.get_neighborhood_id().iter().enumerate().take(level + 1) {
                let links = neighbours.iter().map(|n| n.d_id as u32).filter(|n| *n != row);
                match layer.checked_sub(1) {
                    None => {
                        let at = row as usize * BASE_LINKS;
                        base.iter_mut().skip(at).take(BASE_LINKS).zip(links).for_each(|(slot, n)| *slot = n);
                    }
                    Some(layer) => drop(upper[layer].insert(row, links.take(UPPER_LINKS).collect())),
                }
            }
        }
    }
    GraphLinks { entry, base, upper }.write(vectored, out);
}
