//! Completes the candidates of a hybrid search with the scores of both retrievers and fuses them as the plan requires.

use super::{FusedCandidate, by_ranks, by_scores, candidates, weigh};
use crate::{FusionMethod, FusionWeights, query::SearchPlan, types};
use kernel::{Error, Tokens};
use segment::{TextQuery, TextStats};
use std::collections::HashMap;
use store::{Address, Eligible, Hit, PhraseMatches, Snapshot};

/// Input of both retrievers.
pub(crate) struct RetrieverInput<'a> {
    pub(crate) words: &'a str,
    pub(crate) query: &'a TextQuery,
    pub(crate) stats: &'a TextStats,
    pub(crate) vector: &'a [f32],
    /// Tokenizer of the model that made the vector, if one did.
    pub(crate) tokens: Option<&'a dyn Tokens>,
    /// Rows that contain the phrases that the question quotes.
    pub(crate) quoted: &'a PhraseMatches,
}

/// Candidates of one retriever, best first.
pub(crate) type RetrieverHits<'a> = &'a [(Address, f32)];

/// Fuses the candidates of both retrievers. A candidate that only one retriever found gets the other's score as well,
/// so that `min_scores` and the scale of scores do not depend on the depth of retrieval.
///
/// # Errors
/// When a segment cannot be read.
pub(crate) fn fuse_retrievers(
    snapshot: &Snapshot,
    eligible: &Eligible,
    plan: &SearchPlan,
    input: &RetrieverInput<'_>,
    (found, depth): ([RetrieverHits<'_>; 2], usize),
) -> Result<(Vec<FusedCandidate<Address>>, types::FusionReport), Error> {
    let mut candidates = candidates(found);
    // A retriever that returned fewer candidates than requested has scored everything that it can score.
    let without = |retriever: usize| -> Vec<Address> {
        if found[retriever].len() < depth {
            return Vec::new();
        }
        candidates.iter().filter(|c| c.scores[retriever].is_none()).map(|c| c.item).collect()
    };
    let text = snapshot.text_of(input.query, input.stats, eligible, &without(0))?;
    let near = snapshot.vector_of(input.vector, eligible, &without(1));
    for (retriever, hits) in [text, near].into_iter().enumerate() {
        let scores: HashMap<Address, f32> = hits.into_iter().map(|Hit { at, score }| (at, score)).collect();
        for candidate in &mut candidates {
            candidate.scores[retriever] = candidate.scores[retriever].or_else(|| scores.get(&candidate.item).copied());
        }
    }
    let method = plan.fusion().method;
    let signals = match method {
        FusionMethod::Adaptive => {
            let held = snapshot.text_held(input.query, input.stats, eligible)?;
            let places = |words: &[&str]| input.query.term_indexes(words.iter().copied());
            let words = weigh::QueryFamiliarity::of(input.words, (input.stats, &held), places, input.tokens);
            Some(weigh::signals(&candidates, words))
        }
        _ => None,
    };
    let weights = signals.as_ref().map_or_else(|| given(plan.fusion().weights), weigh::weights);
    let tie = |at: &Address| snapshot.tie(*at);
    let fused = match method {
        // The score as published: both retrievers have weight 1.
        FusionMethod::Rrf => by_ranks(&candidates, FusionWeights { text: 1.0, vector: 1.0 }, tie),
        FusionMethod::Weighted => by_ranks(&candidates, weights, tie),
        FusionMethod::Convex | FusionMethod::Adaptive => by_scores(&candidates, weights, tie),
    };
    Ok((fused, types::FusionReport { method, weights, signals }))
}

/// Scales weights to the sum 1; equal weights if none are given.
fn given(weights: Option<FusionWeights>) -> FusionWeights {
    let FusionWeights { text, vector } = weights.unwrap_or(FusionWeights { text: 1.0, vector: 1.0 });
    FusionWeights { text: text / (text + vector), vector: vector / (text + vector) }
}
