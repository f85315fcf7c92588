//! A frozen HNSW graph (Malkov & Yashunin, 2018): flat `u32` links, searched in place.
//!
//! ```text
//! base layer: rows × 32 links            (a missing link is u32::MAX)
//! entry u32, upper layers u32
//! each upper layer, lowest first: count u32, count × row (ascending), count × 16 links
//! ```
//! Promises: every link was checked at opening; a walk ends, because no row is visited twice.
//! Leaves to others: building (`build`; `reference` does it with `hnsw_rs`), scoring (passed in), and whether a walk is
//! worth its cost (`vectors`).

pub(crate) mod build;
pub(crate) mod links;
mod pool;
pub(crate) mod reference;

use self::pool::Pool;
use crate::{
    Error,
    bytes::{Slice, u32_at},
    postings::partition_point,
    simd,
    top::{DenseBitmap, Scored},
};
use kernel::ByteReader;

/// Links of a row in the base layer.
pub(crate) const BASE_LINKS: usize = 32;
/// Links of a row in each upper layer.
pub(crate) const UPPER_LINKS: usize = 16;
/// Marks a missing link.
pub(crate) const NONE: u32 = u32::MAX;

pub(crate) struct Graph {
    entry: u32,
    base: Slice,
    /// Upper layers, lowest first.
    upper: Vec<Layer>,
}

struct Layer {
    rows: Slice,
    links: Slice,
}

impl Graph {
    pub(crate) fn open(section: Slice, rows: u32) -> Result<Self, Error> {
        let mut r = ByteReader::new(section.bytes(), "graph");
        let base = column(&section, &mut r, rows, BASE_LINKS)?;
        let (entry, layers) = (r.u32()?, r.u32()?);
        let mut upper = Vec::new();
        for _ in 0..layers {
            let count = r.u32()?;
            let layer = Layer {
                rows: column(&section, &mut r, count, 1)?,
                links: column(&section, &mut r, count, UPPER_LINKS)?,
            };
            if !numbers(layer.rows.bytes()).is_sorted_by(|a, b| a < b) || !numbers(layer.rows.bytes()).all(|n| n < rows)
            {
                return Err(r.malformed().into());
            }
            upper.push(layer);
        }
        r.end()?;
        let is_valid = |links: &Slice| numbers(links.bytes()).all(|n| n < rows || n == NONE);
        if entry >= rows || !is_valid(&base) || !upper.iter().all(|l| is_valid(&l.links)) {
            return Err(Error::corrupt("graph links", 0));
        }
        Ok(Self { entry, base, upper })
    }

    /// Links of a row in the base layer.
    pub(crate) fn neighbours(&self, row: u32) -> impl Iterator<Item = u32> + '_ {
        let at = row as usize * BASE_LINKS * 4;
        let links = self.base.bytes().get(at..at + BASE_LINKS * 4).unwrap_or_default();
        numbers(links).take_while(|row| *row != NONE)
    }

    /// Walks with the best `breadth` rows in view, and more when a filter needs it. Under a filter all rows are walked
    /// and those that pass are returned: a walk over passing rows alone would end in disconnected islands.
    pub(crate) fn search(&self, scorer: &impl Scorer, filter: Option<RowFilter<'_>>, breadth: usize) -> WalkResult {
        let links = self.base.bytes();
        let rows = (self.base.len() / (BASE_LINKS * 4)) as u32;
        let (mut breadth, mut compared) = (breadth.max(1), 0);
        // The pool keeps rows beyond the breadth, so that the walk can widen without starting again.
        let capacity = filter.as_ref().map_or(breadth, |filter| filter.breadth_max.max(breadth)).min(rows as usize + 1);
        let mut visited = DenseBitmap::empty(rows);
        let mut unvisited = Vec::with_capacity(FOLLOWED_AT_ONCE * BASE_LINKS);
        let start = self.descend(scorer, &mut unvisited);
        let mut pool = Pool::default();
        pool.clear(capacity);
        visited.insert(start);
        unvisited.clear();
        unvisited.push(start);
        loop {
            if kernel::checkpoint(STEPS_A_ROW * unvisited.len() as u64).is_err() {
                return WalkResult { found: Vec::new(), compared, breadth, complete: true };
            }
            scorer.each(&unvisited, |row, score| pool.offer(row, score));
            compared += unvisited.len() as u64;
            unvisited.clear();
            let Some(row) = pool.follow(breadth) else {
                // The rows nearer than the last one in view have most likely been visited. Do enough of the rows in
                // view pass?
                let passes = |row: u32| filter.as_ref().is_none_or(|filter| filter.rows.contains(row));
                let passing = pool.iter().take(breadth).filter(|(row, _)| passes(*row)).count();
                let too_few = filter.as_ref().is_some_and(|filter| passing < filter.enough);
                if !too_few || breadth >= capacity || pool.is_done() {
                    let found = pool.iter().filter(|(row, _)| passes(*row));
                    let found = found.map(|(row, score)| Scored { row, score }).collect();
                    return WalkResult { found, compared, breadth, complete: !too_few };
                }
                // Widen: rows that the pool already holds are now followed.
                breadth = (2 * breadth).min(capacity);
                continue;
            };
            let second = if FOLLOWED_AT_ONCE > 1 { pool.follow(breadth) } else { None };
            for row in [Some(row), second].into_iter().flatten() {
                unvisited.extend(self.neighbours(row).filter(|row| visited.insert(*row)));
            }
            // The lists that are probably followed next load while this round's rows are compared.
            pool.upcoming(FOLLOWED_AT_ONCE).for_each(|row| {
                let at = row as usize * BASE_LINKS * 4;
                simd::prefetch(links.get(at..at + BASE_LINKS * 4).unwrap_or_default());
            });
        }
    }

    /// The row of the base layer that greedy steps through the upper layers reach: the start of the walk.
    fn descend(&self, scorer: &impl Scorer, links: &mut Vec<u32>) -> u32 {
        let (mut row, mut best) = (self.entry, f32::NEG_INFINITY);
        scorer.each(&[row], |_, score| best = score);
        // In each layer, move to the best neighbour until no neighbour is better.
        for layer in self.upper.iter().rev() {
            loop {
                links.clear();
                links.extend(layer.links_of(row));
                let before = row;
                scorer.each(links, |nearer, score| {
                    if score > best {
                        (row, best) = (nearer, score);
                    }
                });
                if row == before {
                    break;
                }
            }
        }
        row
    }
}

/// Cost of comparing a row in steps of a checkpoint: a random access to memory and its code.
const STEPS_A_ROW: u64 = 512;
/// Rows whose links are followed together: while the memory of some linked rows is loading, others are compared.
const FOLLOWED_AT_ONCE: usize = 2;

/// The rows that pass a filter.
pub(crate) struct RowFilter<'a> {
    pub(crate) rows: &'a DenseBitmap,
    /// With fewer passing rows in view, the walk widens …
    pub(crate) enough: usize,
    /// … up to this breadth.
    pub(crate) breadth_max: usize,
}

/// Result of a walk.
pub(crate) struct WalkResult {
    /// Rows that pass, best first.
    pub(crate) found: Vec<Scored>,
    pub(crate) compared: u64,
    pub(crate) breadth: usize,
    /// Whether enough passing rows were in view.
    pub(crate) complete: bool,
}

/// Scores rows for a walk.
pub(crate) trait Scorer {
    /// Calls `visit` with each of these rows and its similarity; larger is nearer.
    fn each(&self, rows: &[u32], visit: impl FnMut(u32, f32));
}

/// Scores rows by a function.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) struct FnScorer<F>(pub(crate) F);

#[cfg(any(test, feature = "fuzzing"))]
impl<F: Fn(u32) -> f32> Scorer for FnScorer<F> {
    fn each(&self, rows: &[u32], mut visit: impl FnMut(u32, f32)) {
        rows.iter().for_each(|row| visit(*row, (self.0)(*row)));
    }
}

impl Layer {
    fn links_of(&self, row: u32) -> impl Iterator<Item = u32> + '_ {
        let rows = self.rows.bytes();
        let count = self.rows.len() / 4;
        let i = partition_point(count, |i| u32_at(rows, i).is_some_and(|n| n < row));
        let here = i < count && u32_at(rows, i) == Some(row);
        let links = if here { i * UPPER_LINKS..(i + 1) * UPPER_LINKS } else { 0..0 };
        links.map_while(|i| u32_at(self.links.bytes(), i).filter(|n| *n != NONE))
    }
}

/// The next `count` groups of `each` numbers of the section that `r` reads.
fn column(section: &Slice, r: &mut ByteReader<'_>, count: u32, each: usize) -> Result<Slice, Error> {
    let bytes = (count as usize).checked_mul(each * 4).ok_or_else(|| r.malformed())?;
    Ok(section.sub(r.span(bytes)?).ok_or_else(|| r.malformed())?)
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b))
}

#[cfg(test)]
pub(crate) mod tests;
