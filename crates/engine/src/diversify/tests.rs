//! Tests of maximal marginal relevance over candidates with known vectors. Caps are tested through HTTP.

use super::*;

fn fused(item: usize, score: f32) -> FusedCandidate<usize> {
    FusedCandidate { item, score, retrievers: [None; 2], phrases: 0 }
}

/// Items in the order in which they are taken.
fn taken(scores: &[f32], vectors: &[Option<[f32; 2]>], lambda: f32) -> Vec<usize> {
    let ranked = scores.iter().enumerate().map(|(item, score)| fused(item, *score)).collect();
    let vector = |item: usize| vectors[item].map(|v| v.to_vec());
    let mut order = MarginalRelevance::new(ranked, Diversity { lambda }, vector);
    std::iter::from_fn(|| order.next()).map(|candidate| candidate.item).collect()
}

const TWINS: [Option<[f32; 2]>; 3] = [Some([1.0, 0.0]), Some([2.0, 0.0]), Some([0.0, 1.0])];

#[test]
fn a_near_duplicate_of_a_taken_candidate_comes_later() {
    assert_eq!(taken(&[0.9, 0.8, 0.5], &TWINS, 1.0), [0, 1, 2], "relevance only");
    assert_eq!(taken(&[0.9, 0.8, 0.5], &TWINS, 0.5), [0, 2, 1]);
    assert_eq!(taken(&[0.9, 0.8, 0.5], &TWINS, 0.0), [0, 2, 1], "the first is the best in any case");
}

#[test]
fn equal_candidates_keep_the_rankings_order_and_none_needs_a_vector() {
    assert_eq!(taken(&[0.5, 0.5, 0.5], &[None, None, None], 0.3), [0, 1, 2]);
    assert_eq!(taken(&[0.9, 0.8, 0.7], &[Some([1.0, 0.0]), Some([1.0, 0.0]), None], 0.5), [0, 2, 1]);
    assert_eq!(taken(&[], &[], 0.5), [0usize; 0]);
}

#[test]
fn candidates_with_quoted_phrases_come_first_even_if_similar() {
    let quoted = |item, score, phrases| FusedCandidate { item, score, retrievers: [None; 2], phrases };
    let ranked = vec![quoted(0, 3.0, 2), quoted(1, 2.0, 2), quoted(2, 0.5, 0)];
    let vector = |item: usize| TWINS[item].map(|v| v.to_vec());
    let mut order = MarginalRelevance::new(ranked, Diversity { lambda: 0.1 }, vector);
    let taken: Vec<usize> = std::iter::from_fn(|| order.next()).map(|fused| fused.item).collect();
    assert_eq!(taken, [0, 1, 2]);
}
