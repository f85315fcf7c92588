//! The vector retriever: an exact scan over int8 codes or a walk of the graph, then scoring in 16 bits.
//!
//! Each row has a code of biased int8, a second code for what the first leaves of each value (the residual, in 254ths
//! of a step), and two f32: the step of the code (largest magnitude / 127) and the squared length. Codes alone select
//! candidates. The returned scores are computed from both, in integers but for the last step, in the same way in every
//! segment and on every machine: they are within some millionths of the vector's length of what the original values
//! would give. The original values are stored apart and read when a caller requests vectors; a search never waits for
//! them. Promises: only given rows are returned.

mod ambiguous;

use crate::{
    Error, Spec,
    bytes::Slice,
    container::{ContainerWriter, PagedKind, SectionKind, Sections},
    documents::scale_at,
    graph::{Graph, RowFilter, Scorer},
    plan::{Costs, ScanStrategy, SearchStats},
    simd::{self, Signed},
    top::{DenseBitmap, Scored, TopK},
};
use kernel::{Distance, checkpoint, limits};
use roaring::RoaringBitmap;

/// Candidates that are rescored with their residuals: this many times `k` …
const RESCORE_FACTOR: usize = 4;
/// … and at least this many. At 384 dimensions 20 sufficed on synthetic data; real embeddings are less even.
const RESCORE_MIN: usize = 40;
/// Breadth of a graph walk when every row passes the filter.
const EF: usize = 128;
/// A walk under a filter is complete when this many times `k` passing rows are in view. With twice `k`, 0.976 of the
/// best were found where the passing rows are far from the query.
const ENOUGH_FACTOR: usize = 5;
/// Rows that a scan compares at a time, so that their numbers and scores stay in the first-level cache.
const SCAN_BATCH: usize = 256;
/// A step of a residual is this part of a step of the code.
const RESIDUAL_STEPS: f64 = 254.0;

/// Appends one row: values, code, residual, step and squared length. `None` when a value or the length is not finite.
pub(crate) fn push(out: &mut ContainerWriter, values: &[f32]) -> Option<()> {
    let length: f32 = squared(values);
    let scale = step(values);
    if !length.is_finite() {
        return None;
    }
    let bytes = out.paged(PagedKind::Vectors);
    values.iter().for_each(|x| bytes.extend_from_slice(&x.to_le_bytes()));
    let codes: Vec<i8> = values.iter().map(|x| code(*x, scale)).collect();
    out.part(SectionKind::Codes).extend(codes.iter().map(|code| biased(*code)));
    let residuals = values.iter().zip(&codes).map(|(x, code)| biased(residual(*x, scale, *code)));
    out.part(SectionKind::Residuals).extend(residuals);
    let scales = out.part(SectionKind::Scales);
    scales.extend_from_slice(&scale.to_le_bytes());
    scales.extend_from_slice(&length.to_le_bytes());
    Some(())
}

fn step(values: &[f32]) -> f32 {
    values.iter().fold(0.0f32, |m, x| m.max(x.abs())) / 127.0
}

fn code(x: f32, scale: f32) -> i8 {
    if scale == 0.0 { 0 } else { whole(f64::from(x / scale)) }
}

/// The nearest whole number within the range of a code; halves round to even. Adding this constant leaves no bits for a
/// fraction, which avoids a library call for each value.
fn whole(x: f64) -> i8 {
    const NO_FRACTIONS: f64 = 6_755_399_441_055_744.0;
    let near = (x.clamp(-127.0, 127.0) + NO_FRACTIONS) - NO_FRACTIONS;
    near as i32 as i8
}

/// The residual: what a code leaves of a value.
fn residual(x: f32, scale: f32, code: i8) -> i8 {
    if scale == 0.0 {
        return 0;
    }
    let rest = f64::from(x) / f64::from(scale) - f64::from(code);
    whole(rest * RESIDUAL_STEPS)
}

fn biased(value: i8) -> u8 {
    (i16::from(value) + 128) as u8
}

pub(crate) fn squared(values: &[f32]) -> f32 {
    values.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>() as f32
}

/// The vectors of one segment.
pub(crate) struct Vectors {
    spec: Spec,
    rows: u32,
    codes: Slice,
    residuals: Slice,
    scales: Slice,
    terms: Vec<ScoreFactors>,
    graph: Option<Graph>,
}

/// Turns a product of codes into a similarity, `product × factor − offset`, which orders rows as the real one does.
#[derive(Clone, Copy, Debug, Default)]
struct ScoreFactors {
    factor: f32,
    offset: f32,
}

impl ScoreFactors {
    fn of(distance: Distance, (scale, length): (f32, f32)) -> Self {
        match distance {
            Distance::Dot => Self { factor: scale, offset: 0.0 },
            Distance::Cosine if length > 0.0 => Self { factor: scale / length.sqrt(), offset: 0.0 },
            Distance::Cosine => Self::default(),
            Distance::Euclidean => Self { factor: 2.0 * scale, offset: length },
        }
    }
}

/// Result of a vector search, and how it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSearchResult {
    /// The hits, best first.
    pub hits: Vec<Scored>,
    /// What the search did.
    pub stats: SearchStats,
}

/// Parameters of a search.
#[derive(Clone, Copy)]
pub(crate) struct Planner {
    /// Whether to walk or to scan; the cheaper one if `None`.
    pub(crate) walks: Option<bool>,
    pub(crate) costs: Costs,
    /// Breadth of a walk when every row passes.
    pub(crate) ef: usize,
    /// Number of candidates that are scored in full; derived from `k` if `None`.
    pub(crate) rescored: Option<usize>,
}

impl Default for Planner {
    fn default() -> Self {
        Self { walks: None, costs: Costs::current(), ef: EF, rescored: None }
    }
}

impl Vectors {
    pub(crate) fn open(spec: &Spec, sections: &Sections) -> Result<Self, Error> {
        let rows = sections.rows as usize;
        let [codes, residuals, scales, graph] =
            [SectionKind::Codes, SectionKind::Residuals, SectionKind::Scales, SectionKind::Graph]
                .map(|kind| sections.get(kind));
        let size = rows.checked_mul(spec.dimensions).ok_or_else(|| Error::corrupt("vectors", 0))?;
        let pairs = if spec.dimensions == 0 { 0 } else { rows * 8 };
        let values = sections.paged(PagedKind::Vectors).len();
        if Some(values) != (size as u64).checked_mul(4)
            || [codes.len(), residuals.len()] != [size; 2]
            || scales.len() != pairs
        {
            return Err(Error::corrupt("vectors", 0));
        }
        let graph = if graph.len() == 0 { None } else { Some(Graph::open(graph, sections.rows)?) };
        let pairs = 0..(pairs / 8) as u32;
        let terms = pairs.map(|row| ScoreFactors::of(spec.distance, scale_at(scales.bytes(), row))).collect();
        Ok(Self { spec: *spec, rows: sections.rows, codes, residuals, scales, terms, graph })
    }

    pub(crate) fn dimensions(&self) -> usize {
        self.spec.dimensions
    }

    pub(crate) fn has_graph(&self) -> bool {
        self.graph.is_some()
    }

    pub(crate) fn graph(&self) -> Option<&Graph> {
        self.graph.as_ref()
    }

    /// Heap bytes without the sections.
    pub(crate) fn bytes(&self) -> u64 {
        size_of_val(self.terms.as_slice()) as u64
    }

    /// The best `k` of `rows` (all of which have a vector), best first. Ends early, with a meaningless result, when
    /// [`kernel::checkpoint`] interrupts.
    pub(crate) fn search(&self, query: &[f32], rows: &RoaringBitmap, k: usize, planner: Planner) -> VectorSearchResult {
        let length = squared(query);
        let mut trace = SearchStats { rows: rows.len(), strategy: ScanStrategy::Scan, compared: 0, rescored: 0 };
        if k == 0 || rows.is_empty() || query.len() != self.spec.dimensions || !length.is_finite() {
            return VectorSearchResult { hits: Vec::new(), stats: trace };
        }
        let query = Query::new(query, length);
        let candidates_max =
            planner.rescored.unwrap_or_else(|| k.saturating_mul(RESCORE_FACTOR).max(RESCORE_MIN)).max(k);
        // First stage: select candidates by codes, unless there are so few rows that all are rescored.
        let candidates: Vec<u32> = if rows.len() <= candidates_max as u64 {
            rows.iter().collect()
        } else {
            let mut quantized = QuantizedScorer::new(self, &query);
            quantized.random_access = true;
            let walked = self.walk(&quantized, rows, k, candidates_max, planner, &mut trace);
            let found = walked.map(|found| found.into_iter().take(candidates_max).collect()).unwrap_or_else(|| {
                quantized.random_access = rows.len() < u64::from(self.rows) / SPARSE;
                let found = self.scan(&quantized, rows, candidates_max, &mut trace);
                self.with_ambiguous(&query, &quantized, rows, k, found, &mut trace)
            });
            found.into_iter().map(|scored| scored.row).collect()
        };
        // Second stage: score the candidates in full.
        trace.rescored = candidates.len() as u64;
        VectorSearchResult { hits: self.rescore(&query, candidates, k), stats: trace }
    }

    /// Scores rows with their residuals, in ascending order of rows.
    fn rescore(&self, query: &Query<'_>, mut rows: Vec<u32>, k: usize) -> Vec<Scored> {
        rows.sort_unstable();
        let full = FullScorer { four: simd::four_dots(), vectors: self, query };
        for row in rows.iter().take(AHEAD) {
            full.prefetch(*row);
        }
        let mut best = TopK::new(k);
        for (at, four) in rows.chunks(4).enumerate() {
            for row in rows.iter().skip(4 * at + AHEAD).take(4) {
                full.prefetch(*row);
            }
            // The result of an interrupted search is not used: the caller checks again when this returns.
            if checkpoint(16 * self.spec.dimensions as u64).is_err() {
                break;
            }
            let scores = full.similarities(four);
            for (row, score) in four.iter().zip(scores) {
                best.offer(*row, score);
            }
        }
        best.into_sorted()
    }

    fn scan(
        &self,
        quantized: &QuantizedScorer<'_>,
        rows: &RoaringBitmap,
        candidates_max: usize,
        trace: &mut SearchStats,
    ) -> Vec<Scored> {
        trace.compared += rows.len();
        let mut best = TopK::new(candidates_max);
        let mut batch = Vec::with_capacity(SCAN_BATCH);
        match (rows.min(), rows.max()) {
            // The rows are contiguous: they are counted instead of looked up.
            (Some(first), Some(last)) if u64::from(last - first) + 1 == rows.len() => {
                for from in (first..=last).step_by(SCAN_BATCH) {
                    batch.clear();
                    batch.extend(from..=last.min(from.saturating_add(SCAN_BATCH as u32 - 1)));
                    if !self.compare_batch(quantized, &batch, &mut best) {
                        break;
                    }
                }
            }
            _ => {
                for row in rows {
                    batch.push(row);
                    if batch.len() == SCAN_BATCH {
                        let proceed = self.compare_batch(quantized, &batch, &mut best);
                        batch.clear();
                        if !proceed {
                            break;
                        }
                    }
                }
                self.compare_batch(quantized, &batch, &mut best);
            }
        }
        best.into_sorted()
    }

    /// Offers the scores of a batch to `top`; returns false when the request must end.
    fn compare_batch(&self, quantized: &QuantizedScorer<'_>, batch: &[u32], top: &mut TopK) -> bool {
        let proceed = checkpoint(self.spec.dimensions as u64 * batch.len() as u64).is_ok();
        if proceed {
            quantized.each(batch, |row, score| top.offer(row, score));
        }
        proceed
    }

    /// Candidates from the graph; `None` when a scan is cheaper, or when the walk found too few rows that pass.
    fn walk(
        &self,
        quantized: &QuantizedScorer<'_>,
        rows: &RoaringBitmap,
        k: usize,
        candidates_max: usize,
        planner: Planner,
        trace: &mut SearchStats,
    ) -> Option<Vec<Scored>> {
        // A graph of an earlier build may exist although none would be built now.
        let usable = planner.walks != Some(false) && self.spec.dimensions >= limits::GRAPH_DIMENSIONS_MIN;
        let graph = self.graph.as_ref().filter(|_| usable)?;
        // A smaller share of passing rows needs a wider walk, until a scan of the passing rows is cheaper.
        let share = rows.len() as f64 / f64::from(self.rows);
        let enough = k.saturating_mul(ENOUGH_FACTOR);
        let breadth = if share < 1.0 {
            let in_view = candidates_max.max(enough + enough / 3) as f64;
            (planner.ef.max(candidates_max) as f64 / share.sqrt()).max(in_view / share) as usize
        } else {
            planner.ef.max(candidates_max)
        };
        let (costs, size) = (planner.costs, self.spec.dimensions);
        let breadth_limit = (costs.scan(rows.len(), share, size) / costs.step(size)) as usize;
        if planner.walks.is_none() && breadth >= breadth_limit {
            return None;
        }
        let passing = (rows.len() < u64::from(self.rows)).then(|| DenseBitmap::of(rows, self.rows));
        let filter = passing.as_ref().map(|rows| RowFilter { rows, enough, breadth_max: breadth_limit });
        // The walk may widen up to the breadth at which a scan would have cost less.
        let walked = graph.search(quantized, filter, breadth);
        trace.compared += walked.compared;
        if walked.complete && walked.found.len() >= k {
            trace.strategy = ScanStrategy::Walk { breadth: walked.breadth };
            return Some(walked.found);
        }
        trace.strategy = ScanStrategy::WalkThenScan { breadth: walked.breadth };
        None
    }

    /// A row's vector as its code and residual represent it.
    pub(crate) fn restored(&self, row: u32) -> Vec<f32> {
        let (scale, _) = scale_at(self.scales.bytes(), row);
        let fine = scale / RESIDUAL_STEPS as f32;
        let codes = self.row(&self.codes, row).iter().zip(self.row(&self.residuals, row));
        codes.map(|(code, rest)| (f32::from(*code) - 128.0) * scale + (f32::from(*rest) - 128.0) * fine).collect()
    }

    fn row<'a>(&self, column: &'a Slice, row: u32) -> &'a [u8] {
        let at = row as usize * self.spec.dimensions;
        column.bytes().get(at..at + self.spec.dimensions).unwrap_or_default()
    }
}

/// A query as rows are compared with it.
struct Query<'a> {
    values: &'a [f32],
    /// Squared length.
    length: f32,
    scale: f32,
    code: Signed,
    residual: Signed,
}

impl<'a> Query<'a> {
    fn new(values: &'a [f32], length: f32) -> Self {
        let scale = step(values);
        let code: Vec<i8> = values.iter().map(|x| code(*x, scale)).collect();
        let residual = Signed::new(values.iter().zip(&code).map(|(x, code)| residual(*x, scale, *code)).collect());
        let code = Signed::new(code);
        Self { values, length, scale, code, residual }
    }
}

/// Computes the similarities that are returned.
struct FullScorer<'a> {
    four: simd::FourDots,
    vectors: &'a Vectors,
    query: &'a Query<'a>,
}

impl FullScorer<'_> {
    fn prefetch(&self, row: u32) {
        simd::prefetch(self.vectors.row(&self.vectors.codes, row));
        simd::prefetch(self.vectors.row(&self.vectors.residuals, row));
    }

    /// Similarities of up to four rows.
    fn similarities(&self, rows: &[u32]) -> [f32; 4] {
        let (vectors, query) = (self.vectors, self.query);
        // Missing rows are empty slices, whose products are 0.
        let four = [0, 1, 2, 3].map(|at| rows.get(at));
        let column = |column| four.map(|row| row.map_or(&[][..], |row| vectors.row(column, *row)));
        let (codes, residuals) = (column(&vectors.codes), column(&vectors.residuals));
        if vectors.spec.distance == Distance::Euclidean {
            return [0, 1, 2, 3].map(|at| match four[at] {
                Some(row) => {
                    let (scale, _) = scale_at(vectors.scales.bytes(), *row);
                    -l2_squared(query.values, codes[at], residuals[at], scale).sqrt()
                }
                None => 0.0,
            });
        }
        let whole = (self.four)(codes, &query.code);
        let halves = [(self.four)(codes, &query.residual), (self.four)(residuals, &query.code)];
        let lowest = (self.four)(residuals, &query.residual);
        [0, 1, 2, 3].map(|at| {
            let Some(row) = four[at] else { return 0.0 };
            let (scale, length) = scale_at(vectors.scales.bytes(), *row);
            let steps = f64::from(whole[at])
                + f64::from(halves[0][at] + halves[1][at]) / RESIDUAL_STEPS
                + f64::from(lowest[at]) / (RESIDUAL_STEPS * RESIDUAL_STEPS);
            let product = steps * f64::from(scale) * f64::from(query.scale);
            if vectors.spec.distance == Distance::Dot {
                return product as f32;
            }
            let lengths = (f64::from(query.length) * f64::from(length)).sqrt();
            if lengths > 0.0 { (product / lengths).clamp(-1.0, 1.0) as f32 } else { 0.0 }
        })
    }
}

/// Squared Euclidean distance to a row, in sixteen lanes, so that the compiler can use vector instructions and the
/// order of additions is always the same.
fn l2_squared(query: &[f32], codes: &[u8], residuals: &[u8], scale: f32) -> f32 {
    let fine = scale / RESIDUAL_STEPS as f32;
    let one = |q: f32, code: u8, residual: u8| {
        let value = (f32::from(code) - 128.0) * scale + (f32::from(residual) - 128.0) * fine;
        (q - value) * (q - value)
    };
    let mut sums = [0.0f32; 16];
    let (parts, tail) = query.as_chunks::<16>();
    let ((codes, last_codes), (residuals, last_residuals)) = (codes.as_chunks::<16>(), residuals.as_chunks::<16>());
    for ((part, codes), residuals) in parts.iter().zip(codes).zip(residuals) {
        for (((sum, q), code), residual) in sums.iter_mut().zip(part).zip(codes).zip(residuals) {
            *sum += one(*q, *code, *residual);
        }
    }
    for (((sum, q), code), residual) in sums.iter_mut().zip(tail).zip(last_codes).zip(last_residuals) {
        *sum += one(*q, *code, *residual);
    }
    sums.iter().sum()
}

/// Similarity by codes alone: it orders rows as the real one does, but for rounding.
struct QuantizedScorer<'a> {
    dot: simd::FourDots,
    query: &'a Signed,
    scale: f32,
    codes: &'a [u8],
    terms: &'a [ScoreFactors],
    /// Whether rows are read at random positions, so that they are prefetched.
    random_access: bool,
}

impl<'a> QuantizedScorer<'a> {
    fn new(vectors: &'a Vectors, query: &'a Query<'_>) -> Self {
        let (codes, terms) = (vectors.codes.bytes(), vectors.terms.as_slice());
        Self { dot: simd::four_dots(), query: &query.code, scale: query.scale, codes, terms, random_access: false }
    }

    fn code(&self, row: u32) -> &'a [u8] {
        let at = row as usize * self.query.len();
        self.codes.get(at..at + self.query.len()).unwrap_or_default()
    }
}

impl Scorer for QuantizedScorer<'_> {
    #[inline]
    fn each(&self, rows: &[u32], mut visit: impl FnMut(u32, f32)) {
        let ahead = if self.random_access { AHEAD } else { rows.len() };
        if self.random_access {
            rows.iter().take(ahead).for_each(|row| simd::prefetch(self.code(*row)));
        }
        for (at, four) in rows.chunks(4).enumerate() {
            let [first, ..] = four else { continue };
            for row in rows.iter().skip(4 * at + ahead).take(4) {
                simd::prefetch(self.code(*row));
            }
            let code = |n: usize| self.code(*four.get(n).unwrap_or(first));
            let products = (self.dot)([0, 1, 2, 3].map(code), self.query);
            for (row, product) in four.iter().zip(products) {
                let term = self.terms.get(*row as usize).copied().unwrap_or_default();
                visit(*row, product as f32 * self.scale * term.factor - term.offset);
            }
        }
    }
}

/// Rows whose bytes are prefetched before they are compared.
const AHEAD: usize = 8;
/// With fewer passing rows than one in this number, they lie far apart and the hardware prefetcher does not predict the
/// next.
const SPARSE: u64 = 4;

#[cfg(test)]
pub(crate) mod tests;
