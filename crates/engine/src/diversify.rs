//! Chooses hits from a ranking: caps per document and source, and maximal marginal relevance.
//!
//! Promises to take candidates in the ranking's order as far as the caps allow. With diversity it takes, of those, the
//! one that is best by `λ · relevance − (1 − λ) · similarity`, and of equal ones the one that ranks higher. Relevance
//! is the fused score, scaled between the worst and the best candidate; similarity is the greatest cosine to the vector
//! of a passage already taken.

use crate::{Diversity, fuse::FusedCandidate, query::SearchPlan};
use kernel::{Error, Untrusted, checkpoint};
use std::collections::HashMap;
use store::{Address, Eligible, Snapshot};

/// Counts the candidates taken from each document and source.
struct Caps<'a> {
    snapshot: &'a Snapshot,
    eligible: &'a Eligible,
    per_document: usize,
    per_source: Option<usize>,
    documents: HashMap<(u32, u32), usize>,
    sources: HashMap<SourceKey, usize>,
}

/// A source, as [`Caps`] counts them.
#[derive(PartialEq, Eq, Hash)]
enum SourceKey {
    Uri(Untrusted),
    /// A document without a `uri`.
    Document((u32, u32)),
}

impl Caps<'_> {
    /// Takes a candidate if the caps of its document and source allow it, and returns whether they did.
    ///
    /// # Errors
    /// When the document cannot be read.
    fn take(&mut self, at: Address) -> Result<bool, Error> {
        let of_document = self.documents.entry(self.snapshot.document_of(at)).or_default();
        if *of_document >= self.per_document {
            return Ok(false);
        }
        if let Some(most) = self.per_source {
            let uri = self.snapshot.source(self.eligible, at)?;
            let source = match uri.is_empty() {
                true => SourceKey::Document(self.snapshot.document_of(at)),
                false => SourceKey::Uri(uri),
            };
            let of_source = self.sources.entry(source).or_default();
            if *of_source >= most {
                return Ok(false);
            }
            *of_source += 1;
        }
        *of_document += 1;
        Ok(true)
    }
}

/// Chooses the candidates for the reply, in its order.
///
/// # Errors
/// When a document cannot be read.
pub(crate) fn choose(
    snapshot: &Snapshot,
    plan: &SearchPlan,
    eligible: &Eligible,
    ranked: Vec<FusedCandidate<Address>>,
) -> Result<Vec<FusedCandidate<Address>>, Error> {
    let min = plan.min_scores();
    let enough = |least: Option<f32>, have: Option<f32>| least.is_none_or(|l| have.is_some_and(|h| h >= l));
    let passing =
        ranked.into_iter().filter(|c| enough(min.text, c.retrievers[0]) && enough(min.vector, c.retrievers[1]));
    let mut caps = Caps {
        snapshot,
        eligible,
        per_document: plan.max_per_document(),
        per_source: plan.max_per_source(),
        documents: HashMap::new(),
        sources: HashMap::new(),
    };
    // Diversity compares at most as many candidates as a retriever returns in the first pass, so its cost is bounded
    // whatever the depth of retrieval.
    let candidates_max = match plan.diversity() {
        Some(_) if plan.rerank().is_none() => plan.first_depth(),
        _ => plan.candidates_needed(),
    };
    let mut candidates = Vec::new();
    for candidate in passing {
        if candidates.len() == candidates_max {
            break;
        }
        checkpoint(STEPS_A_CANDIDATE)?;
        if caps.take(candidate.item)? {
            candidates.push(candidate);
        }
    }
    match plan.diversity() {
        Some(diversity) if plan.rerank().is_none() => {
            let vector = |at: Address| snapshot.vector_near(eligible, at);
            diversify(candidates, diversity, vector, plan.top_k())
        }
        // With a reranker, diversity is applied after reranking.
        _ => Ok(candidates),
    }
}

/// Chooses the `top_k` of a ranking that are most relevant and least similar to each other.
///
/// # Errors
/// When the request is interrupted.
pub(crate) fn diversify<T: Copy>(
    ranked: Vec<FusedCandidate<T>>,
    diversity: Diversity,
    vector: impl Fn(T) -> Option<Vec<f32>>,
    top_k: usize,
) -> Result<Vec<FusedCandidate<T>>, Error> {
    let mut marginal = MarginalRelevance::new(ranked, diversity, vector);
    let mut taken = Vec::new();
    while taken.len() < top_k {
        checkpoint(marginal.steps())?;
        let Some(next) = marginal.next() else { break };
        taken.push(next);
    }
    Ok(taken)
}

/// Maximal marginal relevance: `O(candidates × taken)` products of vectors.
struct MarginalRelevance<T> {
    lambda: f32,
    left: Vec<MarginalCandidate<T>>,
}

/// A candidate with the values that determine its position.
struct MarginalCandidate<T> {
    fused: FusedCandidate<T>,
    /// Relevance, scaled to 0 to 1 over all candidates.
    relevance: f32,
    /// Vector of unit length; empty if the candidate has none, which is then similar to no other.
    vector: Vec<f32>,
    /// Similarity to the most similar candidate taken.
    similarity: Option<f32>,
}

impl<T: Copy> MarginalRelevance<T> {
    fn new(ranked: Vec<FusedCandidate<T>>, diversity: Diversity, vector: impl Fn(T) -> Option<Vec<f32>>) -> Self {
        let (high, low) = match ranked.as_slice() {
            [first, .., last] => (first.score, last.score),
            _ => (0.0, 0.0),
        };
        let weigh = |fused: FusedCandidate<T>| {
            let relevance = if high > low { (fused.score - low) / (high - low) } else { 1.0 };
            let vector = vector(fused.item).map(unit).unwrap_or_default();
            MarginalCandidate { fused, relevance, vector, similarity: None }
        };
        Self { lambda: diversity.lambda, left: ranked.into_iter().map(weigh).collect() }
    }

    /// Steps that [`MarginalRelevance::next`] takes.
    fn steps(&self) -> u64 {
        self.left.iter().map(|candidate| candidate.vector.len() as u64 + 8).sum()
    }

    /// Takes the best of the remaining candidates, and lowers the value of the others by their similarity to it.
    fn next(&mut self) -> Option<FusedCandidate<T>> {
        let worth = |c: &MarginalCandidate<T>| match c.similarity {
            Some(similarity) => self.lambda * c.relevance - (1.0 - self.lambda) * similarity,
            // Nothing was taken yet, so the first is the most relevant one, whatever lambda is.
            None => c.relevance,
        };
        // Candidates with more preferred phrases come first, whatever their similarity.
        let phrases = self.left.first()?.fused.phrases;
        let mut best = None;
        for (at, candidate) in self.left.iter().enumerate().take_while(|(_, c)| c.fused.phrases == phrases) {
            let worth = worth(candidate);
            if best.is_none_or(|(_, most)| worth > most) {
                best = Some((at, worth));
            }
        }
        // Not `swap_remove`, because the rest must stay in the order of the ranking.
        let candidate = self.left.remove(best?.0);
        for other in &mut self.left {
            let product: f32 = other.vector.iter().zip(&candidate.vector).map(|(a, b)| a * b).sum();
            other.similarity = Some(other.similarity.map_or(product, |l| l.max(product)));
        }
        Some(candidate.fused)
    }
}

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|x| *x /= length);
    }
    vector
}

/// Steps to count a candidate's document and source.
const STEPS_A_CANDIDATE: u64 = 512;

#[cfg(test)]
mod tests;
