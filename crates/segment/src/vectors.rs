//! The vector arm: an exact scan over int8 codes or a walk of the graph, then f32 rescoring.
//!
//! Per row: the values (f32), a code of biased int8, and two f32: the code's scale (largest
//! magnitude / 127) and the squared length. Codes only choose candidates: what is answered is
//! computed from the values, the same way in every segment. Promises: only given rows are answered.

use crate::{
    Error, Spec,
    bytes::{Slice, floats},
    container::{Kind, Paged, Sections, Writer},
    documents::scale_at,
    graph::Graph,
    pages::Section,
    simd,
    top::{Dense, Scored, Top},
};
use kernel::{Distance, limits};
use roaring::RoaringBitmap;

/// Candidates that are scored again from their values: this many times `k` …
const RESCORE_FACTOR: usize = 4;
/// … and at least these. At 384 dimensions 20 sufficed on synthetic data; real embeddings are less even.
const RESCORE_MIN: usize = 40;
/// Breadth of a graph walk when every row passes.
const EF: usize = 128;
/// A step of the graph costs about as much as this many rows of a scan (random against sequential reads).
const STEP_COST: usize = 16;

/// Appends one row: values, code, scale and squared length. `None` when a value or the length is not finite.
pub(crate) fn push(out: &mut Writer, values: &[f32]) -> Option<()> {
    let length: f32 = squared(values);
    let scale = values.iter().fold(0.0f32, |m, x| m.max(x.abs())) / 127.0;
    if !length.is_finite() {
        return None;
    }
    let bytes = out.paged(Paged::Vectors);
    values.iter().for_each(|x| bytes.extend_from_slice(&x.to_le_bytes()));
    out.part(Kind::Codes).extend(values.iter().map(|x| (i16::from(code(*x, scale)) + 128) as u8));
    let scales = out.part(Kind::Scales);
    scales.extend_from_slice(&scale.to_le_bytes());
    scales.extend_from_slice(&length.to_le_bytes());
    Some(())
}

fn code(x: f32, scale: f32) -> i8 {
    if scale == 0.0 { 0 } else { (x / scale).round().clamp(-127.0, 127.0) as i8 }
}

pub(crate) fn squared(values: &[f32]) -> f32 {
    values.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>() as f32
}

/// The vectors of one segment.
pub(crate) struct Vectors {
    spec: Spec,
    rows: u32,
    values: Section,
    codes: Slice,
    scales: Slice,
    graph: Option<Graph>,
}

/// When to scan and when to walk.
#[derive(Clone, Copy)]
pub(crate) struct Planner {
    /// Rows up to which a scan is always chosen.
    pub(crate) exact_rows: u64,
    /// Breadth of a walk when every row passes.
    pub(crate) ef: usize,
}

impl Default for Planner {
    fn default() -> Self {
        Self { exact_rows: limits::EXACT_ROWS_MAX, ef: EF }
    }
}

impl Vectors {
    pub(crate) fn open(spec: &Spec, sections: &Sections) -> Result<Self, Error> {
        let rows = sections.rows as usize;
        let (values, codes) = (sections.paged(Paged::Vectors), sections.get(Kind::Codes));
        let (scales, graph) = (sections.get(Kind::Scales), sections.get(Kind::Graph));
        let size = rows.checked_mul(spec.dimensions).ok_or_else(|| Error::corrupt("vectors", 0))?;
        let pairs = if spec.dimensions == 0 { 0 } else { rows * 8 };
        if Some(values.len()) != (size as u64).checked_mul(4) || codes.len() != size || scales.len() != pairs {
            return Err(Error::corrupt("vectors", 0));
        }
        let graph = if graph.len() == 0 { None } else { Some(Graph::open(graph, sections.rows)?) };
        Ok(Self { spec: *spec, rows: sections.rows, values, codes, scales, graph })
    }

    pub(crate) fn has_graph(&self) -> bool {
        self.graph.is_some()
    }

    /// The best `k` of `rows` (all of which have a vector), best first.
    pub(crate) fn search(
        &self,
        query: &[f32],
        rows: &RoaringBitmap,
        k: usize,
        planner: Planner,
    ) -> Result<Vec<Scored>, Error> {
        let length = squared(query);
        if k == 0 || rows.is_empty() || query.len() != self.spec.dimensions || !length.is_finite() {
            return Ok(Vec::new());
        }
        let want = k.saturating_mul(RESCORE_FACTOR).max(RESCORE_MIN);
        if rows.len() <= want as u64 {
            return self.rescore(query, length, rows, k);
        }
        let candidates = self.candidates(query, rows, want, planner).into_iter();
        self.rescore(query, length, &candidates.map(|c| c.row).collect(), k)
    }

    /// Scores rows by their values. In their order, so that neighbours are read from one page.
    fn rescore(&self, query: &[f32], length: f32, rows: &RoaringBitmap, k: usize) -> Result<Vec<Scored>, Error> {
        let size = self.spec.dimensions as u64 * 4;
        let place = |row: u32| u64::from(row) * size..(u64::from(row) + 1) * size;
        self.values.will_read(rows.iter().map(place));
        let mut top = Top::new(k);
        for row in rows {
            let values = self.values.read(place(row))?;
            top.offer(row, self.similarity(query, length, row, &values));
        }
        Ok(top.into_sorted())
    }

    fn candidates(&self, query: &[f32], rows: &RoaringBitmap, want: usize, planner: Planner) -> Vec<Scored> {
        let rough = Rough::new(self, query);
        if let Some(found) = self.walk(&rough, rows, want, planner) {
            return found;
        }
        let mut top = Top::new(want);
        for row in rows {
            top.offer(row, rough.similarity(row));
        }
        top.into_sorted()
    }

    /// Candidates from the graph; `None` when a scan is cheaper or the walk met too few rows that pass.
    fn walk(&self, rough: &Rough<'_>, rows: &RoaringBitmap, want: usize, planner: Planner) -> Option<Vec<Scored>> {
        let graph = self.graph.as_ref().filter(|_| rows.len() > planner.exact_rows)?;
        let share = rows.len() as f64 / f64::from(self.rows);
        let ef = (planner.ef.max(want) as f64 / share.sqrt()).max(want as f64 / share) as usize;
        if ef.saturating_mul(STEP_COST) as u64 >= rows.len() {
            return None;
        }
        let passing = (rows.len() < u64::from(self.rows)).then(|| Dense::of(rows, self.rows));
        let found = graph.search(|row| rough.similarity(row), passing.as_ref(), ef, want);
        (found.len() >= want).then_some(found)
    }

    /// The score that is answered.
    fn similarity(&self, query: &[f32], length: f32, row: u32, bytes: &[u8]) -> f32 {
        match self.spec.distance {
            Distance::Dot => lanes(bytes, query, |v, q| v * q),
            Distance::Euclidean => -lanes(bytes, query, |v, q| (v - q) * (v - q)).sqrt(),
            Distance::Cosine => {
                let lengths = (length * scale_at(self.scales.bytes(), row).1).sqrt();
                let product = lanes(bytes, query, |v, q| v * q);
                if lengths > 0.0 && lengths.is_finite() { (product / lengths).clamp(-1.0, 1.0) } else { 0.0 }
            }
        }
    }
}

/// Sums `f` over two rows in sixteen lanes, so that the compiler can use vectors and the order of
/// additions is always the same.
fn lanes(bytes: &[u8], query: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0.0f32; 16];
    let (blocks, rest) = bytes.as_chunks::<64>();
    let (parts, tail) = query.as_chunks::<16>();
    for (block, part) in blocks.iter().zip(parts) {
        for ((sum, v), q) in sums.iter_mut().zip(block.as_chunks::<4>().0).zip(part) {
            *sum += f(f32::from_le_bytes(*v), *q);
        }
    }
    for ((sum, v), q) in sums.iter_mut().zip(floats(rest)).zip(tail) {
        *sum += f(v, *q);
    }
    sums.iter().sum()
}

/// Similarity by codes: in the order of the real one, but for rounding.
struct Rough<'a> {
    dot: simd::Dot,
    query: Vec<i8>,
    scale: f32,
    distance: Distance,
    codes: &'a [u8],
    scales: &'a [u8],
}

impl<'a> Rough<'a> {
    fn new(vectors: &'a Vectors, query: &[f32]) -> Self {
        let scale = query.iter().fold(0.0f32, |m, x| m.max(x.abs())) / 127.0;
        Self {
            dot: simd::dot(),
            query: query.iter().map(|x| code(*x, scale)).collect(),
            scale,
            distance: vectors.spec.distance,
            codes: vectors.codes.bytes(),
            scales: vectors.scales.bytes(),
        }
    }

    fn similarity(&self, row: u32) -> f32 {
        let size = self.query.len();
        let at = row as usize * size;
        let codes = self.codes.get(at..at + size).unwrap_or_default();
        let (scale, length) = scale_at(self.scales, row);
        let product = (self.dot)(codes, &self.query) as f32 * scale;
        match self.distance {
            Distance::Dot => product,
            Distance::Cosine if length > 0.0 => product / length.sqrt(),
            Distance::Cosine => 0.0,
            Distance::Euclidean => 2.0 * self.scale * product - length,
        }
    }
}

#[cfg(test)]
mod tests;
