//! A frozen HNSW graph (Malkov & Yashunin, 2018): flat `u32` links, searched where they lie.
//!
//! ```text
//! base layer: rows × 32 links            (a missing link is u32::MAX)
//! entry u32, upper layers u32
//! each upper layer, lowest first: count u32, count × row (ascending), count × 16 links
//! ```
//! Promises: every link was checked at opening; a walk ends, because no row is visited twice.
//! Leaves to others: building (`build`; `reference` does it with `hnsw_rs`), scoring (handed in), whether a walk is
//! worth it (`vectors`).

pub(crate) mod build;
pub(crate) mod links;
mod pool;
pub(crate) mod reference;

use self::pool::Pool;
use crate::{
    Error,
    bytes::{Reader, Slice, u32_at},
    postings::partition,
    simd,
    top::{Dense, Scored},
};

/// Links of a row in the base layer.
pub(crate) const BASE_LINKS: usize = 32;
/// Links of a row in each upper layer.
pub(crate) const UPPER_LINKS: usize = 16;
/// No link.
pub(crate) const NONE: u32 = u32::MAX;

pub(crate) struct Graph {
    entry: u32,
    base: Slice,
    /// Lowest first.
    upper: Vec<Layer>,
}

struct Layer {
    rows: Slice,
    links: Slice,
}

impl Graph {
    pub(crate) fn open(section: Slice, rows: u32) -> Result<Self, Error> {
        let mut r = Reader::new(section.bytes(), "graph");
        let part = |r: &mut Reader<'_>, count: u32, each: usize| {
            let bytes = (count as usize).checked_mul(each * 4).ok_or_else(|| r.bad())?;
            section.sub(r.span(bytes)?).ok_or_else(|| r.bad())
        };
        let base = part(&mut r, rows, BASE_LINKS)?;
        let (entry, layers) = (r.u32()?, r.u32()?);
        let mut upper = Vec::new();
        for _ in 0..layers {
            let count = r.u32()?;
            let layer = Layer { rows: part(&mut r, count, 1)?, links: part(&mut r, count, UPPER_LINKS)? };
            if !numbers(layer.rows.bytes()).is_sorted_by(|a, b| a < b) || !numbers(layer.rows.bytes()).all(|n| n < rows)
            {
                return Err(r.bad());
            }
            upper.push(layer);
        }
        r.end()?;
        let sound = |links: &Slice| numbers(links.bytes()).all(|n| n < rows || n == NONE);
        if entry >= rows || !sound(&base) || !upper.iter().all(|l| sound(&l.links)) {
            return Err(Error::corrupt("graph links", 0));
        }
        Ok(Self { entry, base, upper })
    }

    /// Links of a row in the base.
    pub(crate) fn neighbours(&self, row: u32) -> impl Iterator<Item = u32> + '_ {
        let at = row as usize * BASE_LINKS * 4;
        let links = self.base.bytes().get(at..at + BASE_LINKS * 4).unwrap_or_default();
        numbers(links).take_while(|row| *row != NONE)
    }

    /// Walks with the best `breadth` rows in view, more where a filter asks for it. With a filter all rows are walked
    /// and those that pass are answered: a walk over passing rows alone would end in islands.
    pub(crate) fn search(&self, space: &impl Space, filter: Option<Passing<'_>>, breadth: usize) -> Walked {
        let links = self.base.bytes();
        let rows = (self.base.len() / (BASE_LINKS * 4)) as u32;
        let (mut breadth, mut compared) = (breadth.max(1), 0);
        let room = filter.as_ref().map_or(breadth, |filter| filter.breadth_max.max(breadth)).min(rows as usize + 1);
        let mut visited = Dense::empty(rows);
        let mut fresh = Vec::with_capacity(AT_ONCE * BASE_LINKS);
        let start = self.descend(space, &mut fresh);
        let mut pool = Pool::default();
        pool.clear(room);
        visited.insert(start);
        fresh.clear();
        fresh.push(start);
        loop {
            if kernel::checkpoint(STEPS_A_ROW * fresh.len() as u64).is_err() {
                return Walked { found: Vec::new(), compared, breadth, sure: true };
            }
            space.each(&fresh, |row, score| pool.offer(row, score));
            compared += fresh.len() as u64;
            fresh.clear();
            let Some(row) = pool.follow(breadth) else {
                // What is nearer than the last in view was met, most likely. Were there enough that pass?
                let passes = |row: u32| filter.as_ref().is_none_or(|filter| filter.rows.contains(row));
                let met = pool.iter().take(breadth).filter(|(row, _)| passes(*row)).count();
                let few = filter.as_ref().is_some_and(|filter| met < filter.enough);
                if !few || breadth >= room || pool.is_done() {
                    let found = pool.iter().filter(|(row, _)| passes(*row));
                    let found = found.map(|(row, score)| Scored { row, score }).collect();
                    return Walked { found, compared, breadth, sure: !few };
                }
                breadth = (2 * breadth).min(room);
                continue;
            };
            let second = if AT_ONCE > 1 { pool.follow(breadth) } else { None };
            for row in [Some(row), second].into_iter().flatten() {
                fresh.extend(self.neighbours(row).filter(|row| visited.insert(*row)));
            }
            pool.upcoming(AT_ONCE).for_each(|row| {
                let at = row as usize * BASE_LINKS * 4;
                simd::prefetch(links.get(at..at + BASE_LINKS * 4).unwrap_or_default());
            });
        }
    }

    /// The row of the base layer nearest the query that greedy steps through the upper layers reach.
    fn descend(&self, space: &impl Space, links: &mut Vec<u32>) -> u32 {
        let (mut row, mut best) = (self.entry, f32::NEG_INFINITY);
        space.each(&[row], |_, score| best = score);
        for layer in self.upper.iter().rev() {
            loop {
                links.clear();
                links.extend(layer.links_of(row));
                let before = row;
                space.each(links, |nearer, score| {
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

/// What comparing a row costs, in steps of a checkpoint: a jump in memory and its code.
const STEPS_A_ROW: u64 = 512;
/// Rows whose links are followed together: while some of the rows they lead to are awaited, others are compared.
const AT_ONCE: usize = 2;

/// Rows that may answer.
pub(crate) struct Passing<'a> {
    pub(crate) rows: &'a Dense,
    /// With fewer of them in view the walk widens …
    pub(crate) enough: usize,
    /// … up to this.
    pub(crate) breadth_max: usize,
}

/// What a walk met.
pub(crate) struct Walked {
    /// Rows that pass, best first.
    pub(crate) found: Vec<Scored>,
    pub(crate) compared: u64,
    pub(crate) breadth: usize,
    /// Whether enough of them were in view.
    pub(crate) sure: bool,
}

/// What a walk compares rows with.
pub(crate) trait Space {
    /// Tells how near these rows are; bigger is nearer.
    fn each(&self, rows: &[u32], tell: impl FnMut(u32, f32));
}

/// A space that a function tells.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) struct By<F>(pub(crate) F);

#[cfg(any(test, feature = "fuzzing"))]
impl<F: Fn(u32) -> f32> Space for By<F> {
    fn each(&self, rows: &[u32], mut tell: impl FnMut(u32, f32)) {
        rows.iter().for_each(|row| tell(*row, (self.0)(*row)));
    }
}

impl Layer {
    fn links_of(&self, row: u32) -> impl Iterator<Item = u32> + '_ {
        let rows = self.rows.bytes();
        let count = self.rows.len() / 4;
        let i = partition(count, |i| u32_at(rows, i).is_some_and(|n| n < row));
        let here = i < count && u32_at(rows, i) == Some(row);
        let links = if here { i * UPPER_LINKS..(i + 1) * UPPER_LINKS } else { 0..0 };
        links.map_while(|i| u32_at(self.links.bytes(), i).filter(|n| *n != NONE))
    }
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b))
}

#[cfg(test)]
pub(crate) mod tests;
