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

    /// Walks with the best `breadth` rows in view, more where a filter asks for it. With a filter all rows are walked
    /// and those that pass are answered: a walk over passing rows alone would end in islands.
    pub(crate) fn search(&self, space: &impl Space, filter: Option<Passing<'_>>, breadth: usize) -> Walked {
        let links = self.base.bytes();
        let rows = (self.base.len() / (BASE_LINKS * 4)) as u32;
        let (mut breadth, mut compared) = (breadth.max(1), 0);
        let room = filter.as_ref().map_or(breadth, |filter| filter.breadth_max.max(breadth));
        let mut visited = Dense::empty(rows);
        let (mut fresh, mut scores) = (Vec::with_capacity(BASE_LINKS), Vec::with_capacity(BASE_LINKS));
        let start = self.descend(space, &mut fresh, &mut scores);
        let mut pool: Vec<Near> = Vec::with_capacity(room.min(rows as usize) + 1);
        let mut next = 0;
        visited.insert(start);
        fresh.clear();
        fresh.push(start);
        loop {
            space.all(&fresh, &mut scores);
            compared += fresh.len() as u64;
            for (row, score) in fresh.iter().copied().zip(scores.iter().copied()) {
                if pool.len() >= room {
                    if pool.last().is_some_and(|worst| score <= worst.score) {
                        continue;
                    }
                    pool.pop();
                }
                let at = pool.partition_point(|near| near.score >= score);
                pool.insert(at, Near { row, score, followed: false });
                next = next.min(at);
            }
            while pool.get(next).is_some_and(|near| near.followed) {
                next += 1;
            }
            if next >= breadth.min(pool.len()) {
                // What is nearer than the last in view was met, most likely. Were there enough that pass?
                let passes = |near: &Near| filter.as_ref().is_none_or(|filter| filter.rows.contains(near.row));
                let met = pool.iter().take(breadth).filter(|near| passes(near)).count();
                let few = filter.as_ref().is_some_and(|filter| met < filter.enough);
                if !few || breadth >= room || next >= pool.len() {
                    let found = pool.iter().filter(|near| passes(near));
                    let found = found.map(|near| Scored { row: near.row, score: near.score }).collect();
                    return Walked { found, compared, breadth, sure: !few };
                }
                breadth = (2 * breadth).min(room);
            }
            let Some(near) = pool.get_mut(next) else { continue };
            near.followed = true;
            let at = near.row as usize * BASE_LINKS;
            let all = (at..at + BASE_LINKS).map_while(|i| u32_at(links, i).filter(|n| *n != NONE));
            fresh.clear();
            for row in all.filter(|row| visited.insert(*row)) {
                space.prefetch(row);
                fresh.push(row);
            }
            // What is followed next if nothing nearer turns up.
            if let Some(then) = pool.iter().skip(next).find(|near| !near.followed) {
                let at = then.row as usize * BASE_LINKS * 4;
                simd::prefetch(links.get(at..at + BASE_LINKS * 4).unwrap_or_default());
            }
        }
    }

    /// The row of the base layer nearest the query that greedy steps through the upper layers reach.
    fn descend(&self, space: &impl Space, links: &mut Vec<u32>, scores: &mut Vec<f32>) -> u32 {
        let mut row = self.entry;
        space.all(&[row], scores);
        let mut best = scores.first().copied().unwrap_or(f32::NEG_INFINITY);
        for layer in self.upper.iter().rev() {
            loop {
                links.clear();
                links.extend(layer.links_of(row).inspect(|row| space.prefetch(*row)));
                space.all(links, scores);
                let nearest = links.iter().zip(scores.iter()).max_by(|a, b| a.1.total_cmp(b.1));
                let Some((nearer, score)) = nearest.filter(|(_, score)| **score > best) else { break };
                (row, best) = (*nearer, *score);
            }
        }
        row
    }
}

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
    /// Replaces `into` by how near these rows are; bigger is nearer.
    fn all(&self, rows: &[u32], into: &mut Vec<f32>);

    /// Says that this row is compared soon.
    fn prefetch(&self, row: u32);
}

/// A space that a function tells.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) struct By<F>(pub(crate) F);

#[cfg(any(test, feature = "fuzzing"))]
impl<F: Fn(u32) -> f32> Space for By<F> {
    fn all(&self, rows: &[u32], into: &mut Vec<f32>) {
        into.clear();
        into.extend(rows.iter().map(|row| (self.0)(*row)));
    }

    fn prefetch(&self, _: u32) {}
}

/// A row in view.
struct Near {
    row: u32,
    score: f32,
    /// Whether its links were followed.
    followed: bool,
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
