//! Two rankings into one: what the arms say of each candidate, and the ways to make one order of it.
//!
//! Promises: the order depends on scores and ids alone, not on which arm came first nor on the layout of segments;
//! equal scores stand in the order of `tie`. Knows no snapshot: [`blend`] brings candidates from there. How much each
//! arm counts for one query is [`weigh`]'s matter.

pub(crate) mod blend;
pub(crate) mod weigh;

use crate::Weights;
use std::{collections::HashMap, hash::Hash};

/// Constant of the fusion by ranks (Cormack, Clarke & Büttcher, SIGIR 2009).
pub(crate) const RRF_K: f32 = 60.0;
/// Candidates of each arm that scales and signals are taken from: as many as the shallowest search has, so that the
/// order of the first ten does not depend on how many were asked for.
pub(crate) const BASIS: usize = 100;

/// One fused candidate: what it is, its fused score, its score in each arm.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fused<T> {
    pub(crate) item: T,
    pub(crate) score: f32,
    pub(crate) arms: [Option<f32>; 2],
    /// How many preferred phrases it holds.
    pub(crate) phrases: usize,
}

/// A candidate before fusion. Arms are text and vector, in this order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Candidate<T> {
    pub(crate) item: T,
    pub(crate) scores: [Option<f32>; 2],
    /// From 0; of the arms that found it.
    ranks: [Option<usize>; 2],
}

/// What either arm found, once each: text's in its order, then what vector alone found, in its order.
pub(crate) fn candidates<T: Copy + Eq + Hash>(lists: [&[(T, f32)]; 2]) -> Vec<Candidate<T>> {
    let mut at: HashMap<T, usize> = HashMap::with_capacity(lists[0].len() + lists[1].len());
    let mut found: Vec<Candidate<T>> = Vec::with_capacity(lists[0].len() + lists[1].len());
    for (arm, list) in lists.into_iter().enumerate() {
        for (rank, (item, score)) in list.iter().enumerate() {
            let slot = *at.entry(*item).or_insert_with(|| {
                found.push(Candidate { item: *item, scores: [None; 2], ranks: [None; 2] });
                found.len() - 1
            });
            found[slot].scores[arm] = Some(*score);
            found[slot].ranks[arm] = Some(rank);
        }
    }
    found
}

/// By reciprocal ranks: `Σ weight / (60 + rank)`.
pub(crate) fn by_ranks<T: Copy, K: Ord>(
    candidates: &[Candidate<T>],
    weights: Weights,
    tie: impl Fn(&T) -> K,
) -> Vec<Fused<T>> {
    let weights = [weights.text, weights.vector];
    let score = |candidate: &Candidate<T>| {
        let gains = candidate.ranks.into_iter().zip(weights).filter_map(|(rank, weight)| {
            #[expect(clippy::cast_precision_loss, reason = "ranks are small")]
            rank.map(|rank| weight / (RRF_K + rank as f32 + 1.0))
        });
        gains.sum()
    };
    ordered(candidates, score, tie)
}

/// By scores: text as a share of the best, vector between the least and the best of the [`BASIS`].
pub(crate) fn by_scores<T: Copy, K: Ord>(
    candidates: &[Candidate<T>],
    weights: Weights,
    tie: impl Fn(&T) -> K,
) -> Vec<Fused<T>> {
    let (best, _) = range(candidates, 0);
    let (nearest, farthest) = range(candidates, 1);
    let score = |candidate: &Candidate<T>| {
        let [text, vector] = candidate.scores;
        let text = text.map_or(0.0, |score| share(score, 0.0, best));
        // Who has no vector is as far as can be.
        let vector = vector.map_or(0.0, |score| share(score, farthest, nearest));
        weights.text * text + weights.vector * vector
    };
    ordered(candidates, score, tie)
}

/// Whether a candidate is among the first [`BASIS`] of an arm that found it.
fn in_basis<T>(candidate: &Candidate<T>) -> bool {
    candidate.ranks.into_iter().flatten().any(|rank| rank < BASIS)
}

/// Highest and lowest score of an arm in the basis; zeros when there is none.
fn range<T>(candidates: &[Candidate<T>], arm: usize) -> (f32, f32) {
    let scores = candidates.iter().filter(|c| in_basis(c)).filter_map(|c| c.scores[arm]);
    let bounds = scores.fold(None, |bounds: Option<(f32, f32)>, score| {
        let (high, low) = bounds.unwrap_or((score, score));
        Some((high.max(score), low.min(score)))
    });
    bounds.unwrap_or_default()
}

/// Where a score stands between two; 0 when they are one.
fn share(score: f32, from: f32, to: f32) -> f32 {
    if to > from { (score - from) / (to - from) } else { 0.0 }
}

fn ordered<T: Copy, K: Ord>(
    candidates: &[Candidate<T>],
    score: impl Fn(&Candidate<T>) -> f32,
    tie: impl Fn(&T) -> K,
) -> Vec<Fused<T>> {
    let fused = |c: &Candidate<T>| Fused { item: c.item, score: score(c), arms: c.scores, phrases: 0 };
    let mut fused: Vec<Fused<T>> = candidates.iter().map(fused).collect();
    fused.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| tie(&a.item).cmp(&tie(&b.item))));
    fused
}

#[cfg(test)]
mod tests;
