//! Which of a ranking's candidates are answered: caps per document and source, and maximal marginal relevance.
//!
//! Promises: takes candidates in the ranking's order as far as the caps allow, or with diversity, of those, the one that
//! is best by `λ · relevance − (1 − λ) · likeness to what was taken`; of equal ones the one that ranks higher. Relevance is the
//! fused score between the worst and the best candidate, likeness the cosine of two passages' vectors.

use crate::{Diversity, fuse::Fused, query::Plan};
use kernel::{Error, Untrusted, checkpoint};
use std::collections::HashMap;
use store::{Address, Eligible, Snapshot};

/// Counts what was taken of each document and source.
struct Caps<'a> {
    snapshot: &'a Snapshot,
    eligible: &'a Eligible,
    per_document: usize,
    per_source: Option<usize>,
    documents: HashMap<(u32, u32), usize>,
    sources: HashMap<Source, usize>,
}

/// What [`Caps`] counts as one.
#[derive(PartialEq, Eq, Hash)]
enum Source {
    Uri(Untrusted),
    /// A document without one.
    Document((u32, u32)),
}

impl Caps<'_> {
    /// Whether there is room for one more of its document and source; then it is counted.
    ///
    /// # Errors
    /// When the document does not read.
    fn take(&mut self, at: Address) -> Result<bool, Error> {
        let of_document = self.documents.entry(self.snapshot.document_of(at)).or_default();
        if *of_document >= self.per_document {
            return Ok(false);
        }
        if let Some(most) = self.per_source {
            let uri = self.snapshot.source(self.eligible, at)?;
            let source = match uri.is_empty() {
                true => Source::Document(self.snapshot.document_of(at)),
                false => Source::Uri(uri),
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

/// The candidates that are answered, in the order in which they are.
///
/// # Errors
/// When a document does not read.
pub(crate) fn choose(
    snapshot: &Snapshot,
    plan: &Plan,
    eligible: &Eligible,
    ranked: Vec<Fused<Address>>,
) -> Result<Vec<Fused<Address>>, Error> {
    let min = plan.min_scores();
    let enough = |least: Option<f32>, have: Option<f32>| least.is_none_or(|l| have.is_some_and(|h| h >= l));
    let passing = ranked.into_iter().filter(|c| enough(min.text, c.arms[0]) && enough(min.vector, c.arms[1]));
    let mut caps = Caps {
        snapshot,
        eligible,
        per_document: plan.max_per_document(),
        per_source: plan.max_per_source(),
        documents: HashMap::new(),
        sources: HashMap::new(),
    };
    // Under the caps, and no more than an arm looks at first: what diversity compares is bounded however far arms looked.
    let room = match plan.diversity() {
        Some(_) if plan.rerank().is_none() => plan.first_depth(),
        _ => plan.wanted(),
    };
    let mut candidates = Vec::new();
    for candidate in passing {
        if candidates.len() == room {
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
        // What a reranker puts in order is diversified after that.
        _ => Ok(candidates),
    }
}

/// The `top_k` of a ranking that are the most relevant and the least like each other.
///
/// # Errors
/// When the request is to end.
pub(crate) fn diversify<T: Copy>(
    ranked: Vec<Fused<T>>,
    diversity: Diversity,
    vector: impl Fn(T) -> Option<Vec<f32>>,
    top_k: usize,
) -> Result<Vec<Fused<T>>, Error> {
    let mut marginal = Marginal::new(ranked, diversity, vector);
    let mut taken = Vec::new();
    while taken.len() < top_k {
        checkpoint(marginal.steps())?;
        let Some(next) = marginal.next() else { break };
        taken.push(next);
    }
    Ok(taken)
}

/// Maximal marginal relevance: `O(candidates × taken)` products of vectors.
struct Marginal<T> {
    lambda: f32,
    left: Vec<Weighed<T>>,
}

/// A candidate with what its place depends on.
struct Weighed<T> {
    fused: Fused<T>,
    /// 0 to 1 over all candidates.
    relevance: f32,
    /// Of unit length; empty where there is none, which is like nothing.
    vector: Vec<f32>,
    /// To the most similar of those taken.
    likeness: Option<f32>,
}

impl<T: Copy> Marginal<T> {
    fn new(ranked: Vec<Fused<T>>, diversity: Diversity, vector: impl Fn(T) -> Option<Vec<f32>>) -> Self {
        let (high, low) = match ranked.as_slice() {
            [first, .., last] => (first.score, last.score),
            _ => (0.0, 0.0),
        };
        let weigh = |fused: Fused<T>| {
            let relevance = if high > low { (fused.score - low) / (high - low) } else { 1.0 };
            let vector = vector(fused.item).map(unit).unwrap_or_default();
            Weighed { fused, relevance, vector, likeness: None }
        };
        Self { lambda: diversity.lambda, left: ranked.into_iter().map(weigh).collect() }
    }

    /// What [`Marginal::next`] looks at.
    fn steps(&self) -> u64 {
        self.left.iter().map(|candidate| candidate.vector.len() as u64 + 8).sum()
    }

    /// The best of those left, which are then worth less the more they are like it.
    fn next(&mut self) -> Option<Fused<T>> {
        let worth = |c: &Weighed<T>| match c.likeness {
            Some(likeness) => self.lambda * c.relevance - (1.0 - self.lambda) * likeness,
            // Nothing was taken yet: the first is the most relevant, whatever lambda is.
            None => c.relevance,
        };
        let mut best = None;
        for (at, candidate) in self.left.iter().enumerate() {
            let worth = worth(candidate);
            if best.is_none_or(|(_, most)| worth > most) {
                best = Some((at, worth));
            }
        }
        // Not `swap_remove`: the rest stays in the ranking's order.
        let candidate = self.left.remove(best?.0);
        for other in &mut self.left {
            let product: f32 = other.vector.iter().zip(&candidate.vector).map(|(a, b)| a * b).sum();
            other.likeness = Some(other.likeness.map_or(product, |l| l.max(product)));
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

/// Steps of counting a candidate's document and source.
const STEPS_A_CANDIDATE: u64 = 512;

#[cfg(test)]
mod tests;
