//! Fusion of two rankings: the retrievers' scores of each candidate, and the methods that order the candidates by them.
//!
//! Promises: the order depends on scores and ids alone, not on the order of the retrievers or the layout of segments;
//! equal scores are ordered by `tie`. This module knows no snapshot: [`blend`] supplies the candidates, and [`weigh`]
//! chooses the weight of each retriever for a query.

pub(crate) mod blend;
pub(crate) mod weigh;

use crate::FusionWeights;
use std::{collections::HashMap, hash::Hash};

/// Constant `k` of reciprocal rank fusion (Cormack, Clarke & Büttcher, SIGIR 2009).
pub(crate) const RRF_K: f32 = 60.0;
/// Number of candidates of each retriever from which scales and signals are computed. It equals the depth of the
/// shallowest search, so that the order of the first ten does not depend on how many hits were requested.
pub(crate) const BASIS: usize = 100;

/// A candidate with its fused score and its score in each retriever.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FusedCandidate<T> {
    pub(crate) item: T,
    pub(crate) score: f32,
    pub(crate) retrievers: [Option<f32>; 2],
    /// Number of preferred phrases that the candidate contains.
    pub(crate) phrases: usize,
}

/// A candidate before fusion. Arrays are indexed by retriever: text, then vector.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Candidate<T> {
    pub(crate) item: T,
    pub(crate) scores: [Option<f32>; 2],
    /// Rank in each retriever that found the candidate, from 0.
    ranks: [Option<usize>; 2],
}

/// Merges the candidates of both retrievers, each once: those of the text retriever in its order, then those that only
/// the vector retriever found, in its order.
pub(crate) fn candidates<T: Copy + Eq + Hash>(lists: [&[(T, f32)]; 2]) -> Vec<Candidate<T>> {
    let mut at: HashMap<T, usize> = HashMap::with_capacity(lists[0].len() + lists[1].len());
    let mut found: Vec<Candidate<T>> = Vec::with_capacity(lists[0].len() + lists[1].len());
    for (retriever, list) in lists.into_iter().enumerate() {
        for (rank, (item, score)) in list.iter().enumerate() {
            let slot = *at.entry(*item).or_insert_with(|| {
                found.push(Candidate { item: *item, scores: [None; 2], ranks: [None; 2] });
                found.len() - 1
            });
            found[slot].scores[retriever] = Some(*score);
            found[slot].ranks[retriever] = Some(rank);
        }
    }
    found
}

/// Fuses by reciprocal ranks: `Σ weight / (60 + rank)`.
pub(crate) fn by_ranks<T: Copy, K: Ord>(
    candidates: &[Candidate<T>],
    weights: FusionWeights,
    tie: impl Fn(&T) -> K,
) -> Vec<FusedCandidate<T>> {
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

/// Fuses by normalized scores. Text is scaled by the best score, vector between the lowest and the best score, both
/// within the [`BASIS`].
pub(crate) fn by_scores<T: Copy, K: Ord>(
    candidates: &[Candidate<T>],
    weights: FusionWeights,
    tie: impl Fn(&T) -> K,
) -> Vec<FusedCandidate<T>> {
    let (best, _) = range(candidates, 0);
    let (nearest, farthest) = range(candidates, 1);
    let score = |candidate: &Candidate<T>| {
        let [text, vector] = candidate.scores;
        let text = text.map_or(0.0, |score| share(score, 0.0, best));
        // A candidate without a vector counts as the farthest.
        let vector = vector.map_or(0.0, |score| share(score, farthest, nearest));
        weights.text * text + weights.vector * vector
    };
    ordered(candidates, score, tie)
}

/// Whether a candidate is among the first [`BASIS`] of a retriever that found it.
fn in_basis<T>(candidate: &Candidate<T>) -> bool {
    candidate.ranks.into_iter().flatten().any(|rank| rank < BASIS)
}

/// Highest and lowest score of a retriever in the basis; zeros if there is none.
fn range<T>(candidates: &[Candidate<T>], retriever: usize) -> (f32, f32) {
    let scores = candidates.iter().filter(|c| in_basis(c)).filter_map(|c| c.scores[retriever]);
    let bounds = scores.fold(None, |bounds: Option<(f32, f32)>, score| {
        let (high, low) = bounds.unwrap_or((score, score));
        Some((high.max(score), low.min(score)))
    });
    bounds.unwrap_or_default()
}

/// Position of a score between two others, 0 to 1; 0 if these are equal.
fn share(score: f32, from: f32, to: f32) -> f32 {
    if to > from { (score - from) / (to - from) } else { 0.0 }
}

fn ordered<T: Copy, K: Ord>(
    candidates: &[Candidate<T>],
    score: impl Fn(&Candidate<T>) -> f32,
    tie: impl Fn(&T) -> K,
) -> Vec<FusedCandidate<T>> {
    let fused = |c: &Candidate<T>| FusedCandidate { item: c.item, score: score(c), retrievers: c.scores, phrases: 0 };
    let mut fused: Vec<FusedCandidate<T>> = candidates.iter().map(fused).collect();
    fused.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| tie(&a.item).cmp(&tie(&b.item))));
    fused
}

#[cfg(test)]
mod tests;
