//! The best `k` of many rows, and the results of a search.

use std::cmp::Ordering;

/// A row and its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// Number of the row.
    pub row: u32,
    /// BM25, or similarity (larger is nearer; Euclidean as negative distance).
    pub score: f32,
}

impl Scored {
    /// Best first: score descending, then row ascending.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.row.cmp(&other.row))
    }
}

/// Keeps the best `k` rows that were offered. It buffers more than `k` and then drops the worse half, so that most
/// offers cost one comparison.
pub(crate) struct TopK {
    k: usize,
    kept: Vec<Scored>,
    /// The `k`-th best at the last pruning: nothing worse can be among the best.
    threshold: Scored,
}

impl TopK {
    pub(crate) fn new(k: usize) -> Self {
        // `k` may be larger than the number of rows: the list grows as needed.
        Self { k, kept: Vec::new(), threshold: Scored { row: u32::MAX, score: f32::NEG_INFINITY } }
    }

    pub(crate) fn offer(&mut self, row: u32, score: f32) {
        let new = Scored { row, score };
        // The score alone decides for most offers.
        if score < self.threshold.score || (score == self.threshold.score && new.order(&self.threshold).is_gt()) {
            return;
        }
        self.kept.push(new);
        if self.kept.len() >= self.k.saturating_mul(2).max(BUFFERED_MIN) {
            self.prune();
        }
    }

    fn prune(&mut self) {
        if let Some(last) = self.k.checked_sub(1).filter(|last| *last < self.kept.len()) {
            let (_, threshold, _) = self.kept.select_nth_unstable_by(last, Scored::order);
            self.threshold = *threshold;
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

/// Rows that are buffered before the first pruning.
const BUFFERED_MIN: usize = 64;

/// A bitmap of rows as plain words: a look-up is one load, where a roaring bitmap searches.
pub(crate) struct DenseBitmap(Vec<u64>);

impl DenseBitmap {
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

    /// Removes all rows.
    pub(crate) fn clear(&mut self) {
        self.0.fill(0);
    }

    pub(crate) fn contains(&self, row: u32) -> bool {
        self.0.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Inserts a row; returns whether it is new.
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
            let mut top = TopK::new(k);
            let mut all: Vec<Scored> =
                (0..).zip(&scores).map(|(row, score)| Scored { row, score: f32::from(*score) }).collect();
            all.iter().for_each(|s| top.offer(s.row, s.score));
            all.sort_by(Scored::order);
            all.truncate(k);
            prop_assert_eq!(top.into_sorted(), all);
        }
    }
}
