//! A frozen HNSW graph (Malkov & Yashunin, 2018): flat `u32` links, searched where they lie.
//!
//! ```text
//! entry u32, upper layers u32
//! base layer: rows × 32 links            (a missing link is u32::MAX)
//! each upper layer, lowest first: count u32, count × row (ascending), count × 16 links
//! ```
//! Promises: every link was checked at opening; a walk ends, because no row is visited twice.
//! Leaves to others: building (`build`; `reference` does it with `hnsw_rs`), scoring (handed in), whether a walk is
//! worth it (`vectors`).

pub(crate) mod build;
pub(crate) mod links;
pub(crate) mod reference;

use crate::{
    Error,
    bytes::{Reader, Slice, u32_at},
    postings::partition,
    top::{Dense, Scored, Top},
};
use std::{cmp::Ordering, collections::BinaryHeap};

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
        let (entry, layers) = (r.u32()?, r.u32()?);
        let part = |r: &mut Reader<'_>, count: u32, each: usize| {
            let bytes = (count as usize).checked_mul(each * 4).ok_or_else(|| r.bad())?;
            section.sub(r.span(bytes)?).ok_or_else(|| r.bad())
        };
        let base = part(&mut r, rows, BASE_LINKS)?;
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

    /// The best `want` rows that pass, best first; the walk keeps the best `ef` of all rows in view.
    pub(crate) fn search(
        &self,
        similarity: impl Fn(u32) -> f32,
        passing: Option<&Dense>,
        ef: usize,
        want: usize,
    ) -> Vec<Scored> {
        let start = self.descend(&similarity);
        let rows = (self.base.len() / (BASE_LINKS * 4)) as u32;
        let links = self.base.bytes();
        let mut visited = Dense::empty(rows);
        let mut pool = Top::new(ef);
        let mut found = Top::new(want);
        let mut next = BinaryHeap::new();
        let mut waiting = vec![start];
        visited.insert(start);
        loop {
            for row in waiting.drain(..) {
                let score = similarity(row);
                if pool.offer(row, score) {
                    next.push(Nearest(Scored { row, score }));
                }
                if passing.is_none_or(|p| p.contains(row)) {
                    found.offer(row, score);
                }
            }
            let Some(Nearest(best)) = next.pop() else { break };
            if pool.is_full() && pool.worst().is_some_and(|worst| best.score < worst) {
                break;
            }
            let at = best.row as usize * BASE_LINKS;
            let fresh = (at..at + BASE_LINKS).map_while(|i| u32_at(links, i).filter(|n| *n != NONE));
            waiting.extend(fresh.filter(|n| visited.insert(*n)));
        }
        found.into_sorted()
    }

    /// The row of the base layer nearest the query that greedy steps through the upper layers reach.
    fn descend(&self, similarity: &impl Fn(u32) -> f32) -> u32 {
        let mut row = self.entry;
        let mut best = similarity(row);
        for layer in self.upper.iter().rev() {
            while let Some((nearer, score)) = layer
                .links_of(row)
                .map(|n| (n, similarity(n)))
                .max_by(|a, b| a.1.total_cmp(&b.1))
                .filter(|(_, score)| *score > best)
            {
                (row, best) = (nearer, score);
            }
        }
        row
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

/// Ordered so that the nearest stands on top of a heap.
struct Nearest(Scored);

impl PartialEq for Nearest {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Nearest {}
impl PartialOrd for Nearest {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Nearest {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.order(&self.0)
    }
}

#[cfg(test)]
pub(crate) mod tests;
