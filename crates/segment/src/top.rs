//! The best `k` of many, and what a search answers with.

use std::{cmp::Ordering, collections::BinaryHeap};

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

/// Ordered so that the worst stands on top of a heap.
struct Worst(Scored);

impl PartialEq for Worst {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Worst {}
impl PartialOrd for Worst {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Worst {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.order(&other.0)
    }
}

/// Keeps the best `k` that were offered.
pub(crate) struct Top {
    k: usize,
    heap: BinaryHeap<Worst>,
}

impl Top {
    pub(crate) fn new(k: usize) -> Self {
        // `k` may be larger than all there is: grow as needed.
        Self { k, heap: BinaryHeap::new() }
    }

    /// Keeps it when it is among the best; says whether.
    pub(crate) fn offer(&mut self, row: u32, score: f32) -> bool {
        let new = Scored { row, score };
        if self.heap.len() < self.k {
            self.heap.push(Worst(new));
            return true;
        }
        match self.heap.peek_mut() {
            Some(mut worst) if new.order(&worst.0).is_lt() => {
                worst.0 = new;
                true
            }
            _ => false,
        }
    }

    /// Best first.
    pub(crate) fn into_sorted(self) -> Vec<Scored> {
        self.heap.into_sorted_vec().into_iter().map(|w| w.0).collect()
    }
}

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
