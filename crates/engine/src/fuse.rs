//! Two rankings into one.

use std::{collections::HashMap, hash::Hash};

/// Constant of the fusion (Cormack, Clarke & Büttcher, SIGIR 2009).
pub(crate) const RRF_K: f32 = 60.0;

/// One fused candidate: what it is, its fused score, its score in each list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fused<T> {
    pub(crate) item: T,
    pub(crate) score: f32,
    pub(crate) arms: [Option<f32>; 2],
}

/// Reciprocal rank fusion of two lists, best first: `Σ 1 / (60 + rank)`. Equal scores keep the
/// order in which `tie` sorts them, so the result does not depend on which list came first.
pub(crate) fn reciprocal_rank<T: Copy + Eq + Hash, K: Ord>(
    lists: [&[(T, f32)]; 2],
    tie: impl Fn(&T) -> K,
) -> Vec<Fused<T>> {
    let mut at: HashMap<T, usize> = HashMap::new();
    let mut fused: Vec<Fused<T>> = Vec::new();
    for (arm, list) in lists.into_iter().enumerate() {
        for (rank, (item, score)) in list.iter().enumerate() {
            let slot = *at.entry(*item).or_insert_with(|| {
                fused.push(Fused { item: *item, score: 0.0, arms: [None; 2] });
                fused.len() - 1
            });
            #[expect(clippy::cast_precision_loss, reason = "ranks are small")]
            let gain = 1.0 / (RRF_K + rank as f32 + 1.0);
            fused[slot].score += gain;
            fused[slot].arms[arm] = Some(*score);
        }
    }
    fused.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| tie(&a.item).cmp(&tie(&b.item))));
    fused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_both_lists_beats_first_in_one() {
        let text = [(1, 9.0), (2, 8.0)];
        let vector = [(3, 0.9), (2, 0.8)];
        let fused = reciprocal_rank([&text, &vector], |i| *i);
        assert_eq!(fused.iter().map(|f| f.item).collect::<Vec<_>>(), [2, 1, 3]);
        assert_eq!(fused[0].arms, [Some(8.0), Some(0.8)]);
    }
}
