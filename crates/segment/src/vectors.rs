//! The vector arm: an exact scan over int8 codes or a walk of the graph, then scoring in 16 bits.
//!
//! Per row: a code of biased int8, what the code leaves of each value as another (the residual, in 254ths of a step),
//! and two f32: the code's step (largest magnitude / 127) and the squared length. Codes alone choose candidates; what
//! is answered is computed from both, in integers but for the last step, the same way in every segment and on every
//! machine: within some millionths of the vector's length of what the values themselves would give. Those lie apart
//! and are read for who asks for vectors; a search never waits for them. Promises: only given rows are answered.

mod doubt;

use crate::{
    Error, Spec,
    bytes::Slice,
    container::{Kind, Paged, Sections, Writer},
    documents::scale_at,
    graph::{Graph, Passing, Space},
    plan::{Costs, Trace, Way},
    simd::{self, Signed},
    top::{Dense, Scored, Top},
};
use kernel::{Distance, checkpoint, limits};
use roaring::RoaringBitmap;

/// Candidates that are scored again with their residuals: this many times `k` …
const RESCORE_FACTOR: usize = 4;
/// … and at least these. At 384 dimensions 20 sufficed on synthetic data; real embeddings are less even.
const RESCORE_MIN: usize = 40;
/// Breadth of a graph walk when every row passes.
const EF: usize = 128;
/// A walk under a filter has seen enough when this many times `k` rows that pass are in view: with twice, 0.976 of the
/// best were found where those that pass are far from the query.
const ENOUGH_FACTOR: usize = 5;
/// Rows that a scan compares at a time: their numbers and scores stay in the first cache.
const SCANNED_AT_ONCE: usize = 256;
/// A step of a residual: this part of a step of the code.
const RESIDUAL_STEPS: f64 = 254.0;

/// Appends one row: values, code, residual, step and squared length. `None` when a value or the length is not finite.
pub(crate) fn push(out: &mut Writer, values: &[f32]) -> Option<()> {
    let length: f32 = squared(values);
    let scale = step(values);
    if !length.is_finite() {
        return None;
    }
    let bytes = out.paged(Paged::Vectors);
    values.iter().for_each(|x| bytes.extend_from_slice(&x.to_le_bytes()));
    let codes: Vec<i8> = values.iter().map(|x| code(*x, scale)).collect();
    out.part(Kind::Codes).extend(codes.iter().map(|code| biased(*code)));
    let residuals = values.iter().zip(&codes).map(|(x, code)| biased(residual(*x, scale, *code)));
    out.part(Kind::Residuals).extend(residuals);
    let scales = out.part(Kind::Scales);
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

/// The nearest whole number, an even one from halfway, within a code. Adding so much leaves no room for a fraction: no
/// call of a library for each value.
fn whole(x: f64) -> i8 {
    const NO_FRACTIONS: f64 = 6_755_399_441_055_744.0;
    let near = (x.clamp(-127.0, 127.0) + NO_FRACTIONS) - NO_FRACTIONS;
    near as i32 as i8
}

/// What a code leaves.
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
    terms: Vec<Term>,
    graph: Option<Graph>,
}

/// What makes a similarity of a product of codes: `product × factor − less`, in the order of the real one.
#[derive(Clone, Copy, Debug, Default)]
struct Term {
    factor: f32,
    less: f32,
}

impl Term {
    fn of(distance: Distance, (scale, length): (f32, f32)) -> Self {
        match distance {
            Distance::Dot => Self { factor: scale, less: 0.0 },
            Distance::Cosine if length > 0.0 => Self { factor: scale / length.sqrt(), less: 0.0 },
            Distance::Cosine => Self::default(),
            Distance::Euclidean => Self { factor: 2.0 * scale, less: length },
        }
    }
}

/// What a search found, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Best first.
    pub hits: Vec<Scored>,
    /// What it did.
    pub trace: Trace,
}

/// How to search.
#[derive(Clone, Copy)]
pub(crate) struct Planner {
    /// Scan or walk; the cheaper one unless it is given.
    pub(crate) walks: Option<bool>,
    pub(crate) costs: Costs,
    /// Breadth of a walk when every row passes.
    pub(crate) ef: usize,
    /// Candidates that are scored exactly; derived from `k` unless it is given.
    pub(crate) rescored: Option<usize>,
}

impl Default for Planner {
    fn default() -> Self {
        Self { walks: None, costs: Costs::here(), ef: EF, rescored: None }
    }
}

impl Vectors {
    pub(crate) fn open(spec: &Spec, sections: &Sections) -> Result<Self, Error> {
        let rows = sections.rows as usize;
        let [codes, residuals, scales, graph] =
            [Kind::Codes, Kind::Residuals, Kind::Scales, Kind::Graph].map(|kind| sections.get(kind));
        let size = rows.checked_mul(spec.dimensions).ok_or_else(|| Error::corrupt("vectors", 0))?;
        let pairs = if spec.dimensions == 0 { 0 } else { rows * 8 };
        let values = sections.paged(Paged::Vectors).len();
        if Some(values) != (size as u64).checked_mul(4)
            || [codes.len(), residuals.len()] != [size; 2]
            || scales.len() != pairs
        {
            return Err(Error::corrupt("vectors", 0));
        }
        let graph = if graph.len() == 0 { None } else { Some(Graph::open(graph, sections.rows)?) };
        let pairs = 0..(pairs / 8) as u32;
        let terms = pairs.map(|row| Term::of(spec.distance, scale_at(scales.bytes(), row))).collect();
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

    /// Heap bytes beside the sections.
    pub(crate) fn bytes(&self) -> u64 {
        size_of_val(self.terms.as_slice()) as u64
    }

    /// The best `k` of `rows` (all of which have a vector), best first. Ends early, with anything, where
    /// [`kernel::checkpoint`] says so.
    pub(crate) fn search(&self, query: &[f32], rows: &RoaringBitmap, k: usize, planner: Planner) -> Found {
        let length = squared(query);
        let mut trace = Trace { rows: rows.len(), way: Way::Scan, compared: 0, rescored: 0 };
        if k == 0 || rows.is_empty() || query.len() != self.spec.dimensions || !length.is_finite() {
            return Found { hits: Vec::new(), trace };
        }
        let query = Query::new(query, length);
        let want = planner.rescored.unwrap_or_else(|| k.saturating_mul(RESCORE_FACTOR).max(RESCORE_MIN)).max(k);
        let candidates: Vec<u32> = if rows.len() <= want as u64 {
            rows.iter().collect()
        } else {
            let mut rough = Rough::new(self, &query);
            rough.jumps = true;
            let walked = self.walk(&rough, rows, (k, want), planner, &mut trace);
            let found = walked.map(|found| found.into_iter().take(want).collect()).unwrap_or_else(|| {
                rough.jumps = rows.len() < u64::from(self.rows) / SPARSE;
                let found = self.scan(&rough, rows, want, &mut trace);
                self.with_doubtful(&query, &rough, rows, (k, found), &mut trace)
            });
            found.into_iter().map(|scored| scored.row).collect()
        };
        trace.rescored = candidates.len() as u64;
        Found { hits: self.rescore(&query, candidates, k), trace }
    }

    /// Scores rows with their residuals, in ascending order.
    fn rescore(&self, query: &Query<'_>, mut rows: Vec<u32>, k: usize) -> Vec<Scored> {
        rows.sort_unstable();
        let exact = Exact { four: simd::four_dots(), vectors: self, query };
        for row in rows.iter().take(AHEAD) {
            exact.prefetch(*row);
        }
        let mut top = Top::new(k);
        for (at, four) in rows.chunks(4).enumerate() {
            for row in rows.iter().skip(4 * at + AHEAD).take(4) {
                exact.prefetch(*row);
            }
            // What was interrupted is not answered: who asks looks again when this returns.
            if checkpoint(16 * self.spec.dimensions as u64).is_err() {
                break;
            }
            let scores = exact.similarities(four);
            for (row, score) in four.iter().zip(scores) {
                top.offer(*row, score);
            }
        }
        top.into_sorted()
    }

    fn scan(&self, rough: &Rough<'_>, rows: &RoaringBitmap, want: usize, trace: &mut Trace) -> Vec<Scored> {
        trace.compared += rows.len();
        let mut top = Top::new(want);
        let mut lot = Vec::with_capacity(SCANNED_AT_ONCE);
        let size = self.spec.dimensions as u64;
        let mut compare = |lot: &[u32]| {
            let goes_on = checkpoint(size * lot.len() as u64).is_ok();
            if goes_on {
                rough.each(lot, |row, score| top.offer(row, score));
            }
            goes_on
        };
        match (rows.min(), rows.max()) {
            // All of a stretch: numbers are counted, not looked up.
            (Some(first), Some(last)) if u64::from(last - first) + 1 == rows.len() => {
                for from in (first..=last).step_by(SCANNED_AT_ONCE) {
                    lot.clear();
                    lot.extend(from..=last.min(from.saturating_add(SCANNED_AT_ONCE as u32 - 1)));
                    if !compare(&lot) {
                        break;
                    }
                }
            }
            _ => {
                for row in rows {
                    lot.push(row);
                    if lot.len() == SCANNED_AT_ONCE {
                        let goes_on = compare(&lot);
                        lot.clear();
                        if !goes_on {
                            break;
                        }
                    }
                }
                compare(&lot);
            }
        }
        top.into_sorted()
    }

    /// Candidates from the graph; `None` when a scan is cheaper, or when the walk met too few rows that pass.
    fn walk(
        &self,
        rough: &Rough<'_>,
        rows: &RoaringBitmap,
        (k, want): (usize, usize),
        planner: Planner,
        trace: &mut Trace,
    ) -> Option<Vec<Scored>> {
        // A graph of an earlier build may exist although none would be built now.
        let apt = planner.walks != Some(false) && self.spec.dimensions >= limits::GRAPH_DIMENSIONS_MIN;
        let graph = self.graph.as_ref().filter(|_| apt)?;
        let share = rows.len() as f64 / f64::from(self.rows);
        let enough = k.saturating_mul(ENOUGH_FACTOR);
        let breadth = if share < 1.0 {
            let in_view = want.max(enough + enough / 3) as f64;
            (planner.ef.max(want) as f64 / share.sqrt()).max(in_view / share) as usize
        } else {
            planner.ef.max(want)
        };
        let (costs, size) = (planner.costs, self.spec.dimensions);
        let worth = (costs.scan(rows.len(), share, size) / costs.step(size)) as usize;
        if planner.walks.is_none() && breadth >= worth {
            return None;
        }
        let passing = (rows.len() < u64::from(self.rows)).then(|| Dense::of(rows, self.rows));
        let filter = passing.as_ref().map(|rows| Passing { rows, enough, breadth_max: worth });
        let walked = graph.search(rough, filter, breadth);
        trace.compared += walked.compared;
        if walked.sure && walked.found.len() >= k {
            trace.way = Way::Walk { breadth: walked.breadth };
            return Some(walked.found);
        }
        trace.way = Way::WalkThenScan { breadth: walked.breadth };
        None
    }

    /// A row as its two codes have it.
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
    /// Squared.
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

/// Similarity as it is answered.
struct Exact<'a> {
    four: simd::FourDots,
    vectors: &'a Vectors,
    query: &'a Query<'a>,
}

impl Exact<'_> {
    fn prefetch(&self, row: u32) {
        simd::prefetch(self.vectors.row(&self.vectors.codes, row));
        simd::prefetch(self.vectors.row(&self.vectors.residuals, row));
    }

    /// Of up to four rows.
    fn similarities(&self, rows: &[u32]) -> [f32; 4] {
        let (vectors, query) = (self.vectors, self.query);
        let four = [0, 1, 2, 3].map(|at| rows.get(at));
        let column = |column| four.map(|row| row.map_or(&[][..], |row| vectors.row(column, *row)));
        let (codes, residuals) = (column(&vectors.codes), column(&vectors.residuals));
        if vectors.spec.distance == Distance::Euclidean {
            return [0, 1, 2, 3].map(|at| match four[at] {
                Some(row) => {
                    let (scale, _) = scale_at(vectors.scales.bytes(), *row);
                    -apart(query.values, codes[at], residuals[at], scale).sqrt()
                }
                None => 0.0,
            });
        }
        let whole = (self.four)(codes, &query.code);
        let halves = [(self.four)(codes, &query.residual), (self.four)(residuals, &query.code)];
        let least = (self.four)(residuals, &query.residual);
        [0, 1, 2, 3].map(|at| {
            let Some(row) = four[at] else { return 0.0 };
            let (scale, length) = scale_at(vectors.scales.bytes(), *row);
            let steps = f64::from(whole[at])
                + f64::from(halves[0][at] + halves[1][at]) / RESIDUAL_STEPS
                + f64::from(least[at]) / (RESIDUAL_STEPS * RESIDUAL_STEPS);
            let product = steps * f64::from(scale) * f64::from(query.scale);
            if vectors.spec.distance == Distance::Dot {
                return product as f32;
            }
            let lengths = (f64::from(query.length) * f64::from(length)).sqrt();
            if lengths > 0.0 { (product / lengths).clamp(-1.0, 1.0) as f32 } else { 0.0 }
        })
    }
}

/// Squared Euclidean distance to a row, in sixteen lanes, so that the compiler can use vectors and the order of
/// additions is always the same.
fn apart(query: &[f32], codes: &[u8], residuals: &[u8], scale: f32) -> f32 {
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

/// Similarity by codes: in the order of the real one, but for rounding.
struct Rough<'a> {
    dot: simd::FourDots,
    query: &'a Signed,
    scale: f32,
    codes: &'a [u8],
    terms: &'a [Term],
    /// Whether rows are read here and there, so that they are asked for before.
    jumps: bool,
}

impl<'a> Rough<'a> {
    fn new(vectors: &'a Vectors, query: &'a Query<'_>) -> Self {
        let (codes, terms) = (vectors.codes.bytes(), vectors.terms.as_slice());
        Self { dot: simd::four_dots(), query: &query.code, scale: query.scale, codes, terms, jumps: false }
    }

    fn code(&self, row: u32) -> &'a [u8] {
        let at = row as usize * self.query.len();
        self.codes.get(at..at + self.query.len()).unwrap_or_default()
    }
}

impl Space for Rough<'_> {
    #[inline]
    fn each(&self, rows: &[u32], mut tell: impl FnMut(u32, f32)) {
        let ahead = if self.jumps { AHEAD } else { rows.len() };
        if self.jumps {
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
                tell(*row, product as f32 * self.scale * term.factor - term.less);
            }
        }
    }
}

/// Rows whose bytes are fetched before they are compared.
const AHEAD: usize = 8;
/// Below one row in this number, passing rows lie far apart, and the prefetcher does not predict the next.
const SPARSE: u64 = 4;

#[cfg(test)]
pub(crate) mod tests;
