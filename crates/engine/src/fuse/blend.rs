//! A hybrid search's candidates, each with the scores of both arms, fused as the plan asks.

use super::{Fused, by_ranks, by_scores, candidates, weigh};
use crate::{FusionMethod, Weights, answer, query::Plan};
use kernel::{Error, Tokens};
use segment::{TextQuery, TextStats};
use std::collections::HashMap;
use store::{Address, Eligible, Hit, Quoted, Snapshot};

/// What both arms asked.
pub(crate) struct Asked<'a> {
    pub(crate) words: &'a str,
    pub(crate) query: &'a TextQuery,
    pub(crate) stats: &'a TextStats,
    pub(crate) vector: &'a [f32],
    /// The tokeniser of the model that made the vector, if one did.
    pub(crate) tokens: Option<&'a dyn Tokens>,
    /// Which rows hold what the question quotes.
    pub(crate) quoted: &'a Quoted,
}

/// What one arm found, best first.
pub(crate) type Found<'a> = &'a [(Address, f32)];

/// Fuses what the arms found. Candidates that one arm alone found get the other's score as well, so that `min_scores`
/// and the scale of scores do not depend on how deep an arm happened to look.
///
/// # Errors
/// When a segment does not read.
pub(crate) fn blend(
    snapshot: &Snapshot,
    eligible: &Eligible,
    plan: &Plan,
    asked: &Asked<'_>,
    (found, depth): ([Found<'_>; 2], usize),
) -> Result<(Vec<Fused<Address>>, answer::Fused), Error> {
    let mut candidates = candidates(found);
    // An arm that found fewer than it was asked for has scored all that it can score.
    let without = |arm: usize| -> Vec<Address> {
        if found[arm].len() < depth {
            return Vec::new();
        }
        candidates.iter().filter(|c| c.scores[arm].is_none()).map(|c| c.item).collect()
    };
    let text = snapshot.text_of(asked.query, asked.stats, eligible, &without(0))?;
    let near = snapshot.vector_of(asked.vector, eligible, &without(1));
    for (arm, hits) in [text, near].into_iter().enumerate() {
        let scores: HashMap<Address, f32> = hits.into_iter().map(|Hit { at, score }| (at, score)).collect();
        for candidate in &mut candidates {
            candidate.scores[arm] = candidate.scores[arm].or_else(|| scores.get(&candidate.item).copied());
        }
    }
    let method = plan.fusion().method;
    let signals = match method {
        FusionMethod::Adaptive => {
            let held = snapshot.text_held(asked.query, asked.stats, eligible)?;
            let places = |words: &[&str]| asked.query.places(words.iter().copied());
            let words = weigh::Words::of(asked.words, (asked.stats, &held), places, asked.tokens);
            Some(weigh::signals(&candidates, words))
        }
        _ => None,
    };
    let weights = signals.as_ref().map_or_else(|| given(plan.fusion().weights), weigh::weights);
    let tie = |at: &Address| snapshot.tie(*at);
    let fused = match method {
        // The figure that everybody knows: each arm gives a whole share.
        FusionMethod::Rrf => by_ranks(&candidates, Weights { text: 1.0, vector: 1.0 }, tie),
        FusionMethod::Weighted => by_ranks(&candidates, weights, tie),
        FusionMethod::Convex | FusionMethod::Adaptive => by_scores(&candidates, weights, tie),
    };
    Ok((fused, answer::Fused { method, weights, signals }))
}

/// Weights that sum to 1; alike where none are given.
fn given(weights: Option<Weights>) -> Weights {
    let Weights { text, vector } = weights.unwrap_or(Weights { text: 1.0, vector: 1.0 });
    Weights { text: text / (text + vector), vector: vector / (text + vector) }
}
