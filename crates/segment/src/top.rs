//! The best `k` of many, and what a search answers with.

use std::cmp::Ordering;

/// A row and its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// The row.
    pub row: u32,
    /// BM25, or similarity (bigger is nearer; Euclidean as negative distance).
    pub score: f32,
}

impl Scored {
    /// Best first: score descending, then row ascending.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.row.cmp(&other.row))
    }
}

/// Keeps the best `k` that were offered: gathers some more, then throws out the worse half, so that most offers cost
/// one comparison.
pub(crate) struct Top {
    k: usize,
    kept: Vec<Scored>,
    /// The `k`-th best at the last throwing out: nothing behind it can be among the best.
    bar: Scored,
}

impl Top {
    pub(crate) fn new(k: usize) -> Self {
        // `k` may be larger than all there is: grow as needed.
        Self { k, kept: Vec::new(), bar: Scored { row: u32::MAX, score: f32::NEG_INFINITY } }
    }

    pub(crate) fn offer(&mut self, row: u32, score: f32) {
        let new = Scored { row, score };
        // Most are told by their score alone.
        if score < self.bar.score || (score == self.bar.score && new.order(&self.bar).is_gt()) {
            return;
        }
        self.kept.push(new);
        if self.kept.len() >= self.k.saturating_mul(2).max(GATHERED_MIN) {
            self.prune();
        }
    }

    fn prune(&mut self) {
        if let Some(last) = self.k.checked_sub(1).filter(|last| *last < self.kept.len()) {
            let (_, bar, _) = self.kept.select_nth_unstable_by(last, Scored::order);
            self.bar = *bar;
        }
        self.kept.truncate(self.k);
    }

    /// Best first.
    pub(crate) fn into_sorted(mut self) -> Vec<Scored> {
        self.prune();
        self.kept.sort_unstable_by(Scored::order);
        self.kept
    }
}

/// Gathered before the first throwing out.
const GATHERED_MIN: usize = 64;

/// A bitmap of rows as plain words: one load a look-up, where a roaring bitmap searches.
pub(crate) struct Dense(Vec<u64>);

impl Dense {
    pub(crate) fn empty(rows: u32) -> Self {
        Self(vec![0; (rows as usize).div_ceil(64)])
    }

    pub(crate) fn of(bitmap: &roaring::RoaringBitmap, rows: u32) -> Self {
        let mut dense = Self::empty(rows);
        for row in bitmap.iter().take_while(|&row| row < rows) {
            dense.insert(row);
        }
        dense
    }

    /// Takes all out.
    pub(crate) fn clear(&mut self) {
        self.0.fill(0);
    }

    pub(crate) fn contains(&self, row: u32) -> bool {
        self.0.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Says whether it is new.
    pub(crate) fn insert(&mut self, row: u32) -> bool {
        let Some(word) = self.0.get_mut(row as usize / 64) else { return false };
        let new = *word >> (row % 64) & 1 == 0;
        *word |= 1 << (row % 64);
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_best_come_out_in_order(scores in prop::collection::vec(0u8..20, 0..600), k in 0usize..80) {
            let mut top = Top::new(k);
            let mut all: Vec<Scored> =
                (0..).zip(&scores).map(|(row, score)| Scored { row, score: f32::from(*score) }).collect();
            all.iter().for_each(|s| top.offer(s.row, s.score));
            all.sort_by(Scored::order);
            all.truncate(k);
            prop_assert_eq!(top.into_sorted(), all);
        }
    }
}
