//! Builds a graph with `hnsw_rs` and freezes it into the flat layout. The only file that knows `hnsw_rs`.
//!
//! The distance is ours: squared Euclidean on prepared vectors, which is never negative (1 − dot
//! rounds below zero, and `hnsw_rs` panics there) and orders as the real one: for cosine on unit
//! copies; for the inner product on copies with one more value that makes all lengths equal
//! (Bachrach et al., RecSys 2014). Its own search, dump and reload are not used.

use super::{BASE_LINKS, NONE, UPPER_LINKS};
use crate::{Spec, bytes::floats, simd};
use hnsw_rs::{anndists::dist::distances::Distance as Measure, hnsw::Hnsw};
use kernel::Distance;
use roaring::RoaringBitmap;
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
};

const EF_CONSTRUCTION: usize = 200;
const LAYERS_MAX: usize = 16;
/// Vectors that are copied and inserted at a time; `hnsw_rs` spreads each lot over the pool's threads.
const LOT: usize = 4_096;

struct SquaredEuclidean(simd::Apart);

impl Measure<f32> for SquaredEuclidean {
    fn eval(&self, a: &[f32], b: &[f32]) -> f32 {
        (self.0)(a, b)
    }
}

/// Builds the graph of these rows of a section of finite f32 values and appends the frozen form.
/// Takes about 2 ms of CPU per row at 384 dimensions.
pub(crate) fn build(spec: &Spec, values: &[u8], vectored: &RoaringBitmap, rows: u32, out: &mut Vec<u8>) {
    let count = vectored.len() as usize;
    if count == 0 {
        return;
    }
    let lengths: Vec<f32> = (0..rows).map(|row| row_of(spec, values, row).map(|x| x * x).sum()).collect();
    let longest = lengths.iter().copied().fold(0.0f32, f32::max);
    let measure = SquaredEuclidean(simd::apart());
    let hnsw = Hnsw::<f32, SquaredEuclidean>::new(UPPER_LINKS, count, LAYERS_MAX, EF_CONSTRUCTION, measure);
    let prepare = |row: u32| {
        let length = lengths.get(row as usize).copied().unwrap_or(0.0);
        let mut vector: Vec<f32> = row_of(spec, values, row).collect();
        match spec.distance {
            Distance::Euclidean => {}
            Distance::Cosine => {
                let by = if length > 0.0 { length.sqrt() } else { 1.0 };
                vector.iter_mut().for_each(|x| *x /= by);
            }
            Distance::Dot => vector.push((longest - length).max(0.0).sqrt()),
        }
        vector
    };
    let mut list = vectored.iter();
    // The first alone: it becomes the entry that the others start from.
    for size in std::iter::once(1).chain(std::iter::repeat(LOT)) {
        let lot: Vec<(Vec<f32>, usize)> = list.by_ref().take(size).map(|row| (prepare(row), row as usize)).collect();
        if lot.is_empty() {
            break;
        }
        hnsw.parallel_insert_slice(&lot.iter().map(|(v, row)| (v.as_slice(), *row)).collect());
    }
    freeze(&hnsw, vectored, rows, out);
}

/// A graph of the usual shape (a sixteenth of the rows in each next layer) whose links are row numbers that
/// a multiplication scatters. For benchmarks.
pub(crate) fn scattered(rows: u32, out: &mut Vec<u8>) {
    let layer = |step: u64| (0..u64::from(rows)).step_by(step as usize);
    let steps: Vec<u64> = (1..).map(|n| 16u64.pow(n)).take_while(|step| *step < u64::from(rows)).collect();
    let mut put = |n: u64| out.extend_from_slice(&(n as u32).to_le_bytes());
    let link = |row: u64, n: usize| (row + 1).wrapping_mul(0x9E37_79B9 * (n as u64 * 2 + 1)) >> 7;
    put(0);
    put(steps.len() as u64);
    layer(1).for_each(|row| (0..BASE_LINKS).for_each(|n| put(link(row, n) % u64::from(rows))));
    for step in steps {
        let count = u64::from(rows).div_ceil(step);
        put(count);
        layer(step).for_each(&mut put);
        layer(step).for_each(|row| (0..UPPER_LINKS).for_each(|n| put(link(row, n) % count * step)));
    }
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
            // Nearest first, as hnsw_rs keeps them.
            for (layer, neighbours) in point.get_neighborhood_id().iter().enumerate().take(level + 1) {
                let links = neighbours.iter().map(|n| n.d_id as u32).filter(|n| *n != row);
                match layer.checked_sub(1) {
                    None => {
                        let at = row as usize * BASE_LINKS;
                        base.iter_mut().skip(at).take(BASE_LINKS).zip(links).for_each(|(slot, n)| *slot = n);
                    }
                    Some(layer) => {
                        let mut links: Vec<u32> = links.take(UPPER_LINKS).collect();
                        links.resize(UPPER_LINKS, NONE);
                        upper[layer].insert(row, links);
                    }
                }
            }
        }
    }
    connect(&mut base, entry, vectored);
    let mut put = |n: u32| out.extend_from_slice(&n.to_le_bytes());
    put(entry);
    put(top as u32);
    base.into_iter().for_each(&mut put);
    for layer in &upper {
        put(layer.len() as u32);
        layer.keys().copied().for_each(&mut put);
        layer.values().flatten().copied().for_each(&mut put);
    }
}

/// Makes every row reachable: `hnsw_rs` cuts reverse edges without looking whether they were a
/// row's only way in, gives equal vectors hardly any links, and a row that no walk reaches would
/// never be found.
fn connect(base: &mut [u32], entry: u32, vectored: &RoaringBitmap) {
    let mut reached = RoaringBitmap::new();
    reach(base, entry, &mut reached);
    // Where a host's last link found a slot: the next look starts there, or many equal vectors would take forever.
    let mut places: BTreeMap<u32, u32> = BTreeMap::new();
    loop {
        let lost = vectored - &reached;
        let Some(first) = lost.min() else { return };
        let before = reached.len();
        for row in &lost {
            let near = base[slots(row)].iter().copied().find(|n| reached.contains(*n));
            if let Some(host) = near.filter(|_| !reached.contains(row)) {
                let place = lead(base, places.get(&host).copied().unwrap_or(host), row);
                places.insert(host, place);
                reach(base, row, &mut reached);
            }
        }
        if reached.len() == before {
            // Rows that know only each other.
            lead(base, entry, first);
            reach(base, first, &mut reached);
        }
    }
}

fn slots(row: u32) -> Range<usize> {
    row as usize * BASE_LINKS..(row as usize + 1) * BASE_LINKS
}

/// Adds what can be reached from a row.
fn reach(base: &[u32], from: u32, reached: &mut RoaringBitmap) {
    reached.insert(from);
    let mut waiting = vec![from];
    while let Some(row) = waiting.pop() {
        waiting.extend(base[slots(row)].iter().copied().filter(|&n| n != NONE && reached.insert(n)));
    }
}

/// Links to a row from the nearest one to `host`, in steps, that has a free slot, and says
/// which. Were all full that can be reached, the host's farthest link would have to go.
fn lead(base: &mut [u32], host: u32, to: u32) -> u32 {
    let mut seen = RoaringBitmap::from([host]);
    let mut waiting = VecDeque::from([host]);
    while let Some(row) = waiting.pop_front() {
        if let Some(free) = base[slots(row)].iter_mut().find(|n| **n == NONE) {
            *free = to;
            return row;
        }
        waiting.extend(base[slots(row)].iter().copied().filter(|n| seen.insert(*n)));
    }
    if let Some(far) = base[slots(host)].last_mut() {
        *far = to;
    }
    host
}
