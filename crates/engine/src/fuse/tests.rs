//! Tests of orders that can be computed by hand, and of properties of any lists.

use super::{weigh::QueryFamiliarity, *};
use crate::FusionSignals;
use kernel::{TokenSpan, Tokens};
use proptest::prelude::*;
use segment::TextStats;

const ALIKE: FusionWeights = FusionWeights { text: 0.5, vector: 0.5 };

fn order(fused: &[FusedCandidate<u32>]) -> Vec<u32> {
    fused.iter().map(|f| f.item).collect()
}

#[test]
fn a_candidate_of_both_retrievers_beats_the_first_of_one() {
    let found = candidates([&[(1, 9.0), (2, 8.0)], &[(3, 0.9), (2, 0.8)]]);
    let fused = by_ranks(&found, ALIKE, |i| *i);
    assert_eq!(order(&fused), [2, 1, 3]);
    assert_eq!(fused[0].retrievers, [Some(8.0), Some(0.8)]);
}

#[test]
fn weights_of_ranks_move_the_order() {
    let found = candidates([&[(1, 9.0), (2, 8.0)], &[(3, 0.9), (4, 0.8)]]);
    assert_eq!(order(&by_ranks(&found, FusionWeights { text: 0.9, vector: 0.1 }, |i| *i)), [1, 2, 3, 4]);
    assert_eq!(order(&by_ranks(&found, FusionWeights { text: 0.1, vector: 0.9 }, |i| *i)), [3, 4, 1, 2]);
    assert_eq!(order(&by_ranks(&found, FusionWeights { text: 0.0, vector: 1.0 }, |i| *i)), [3, 4, 1, 2]);
}

#[test]
fn scores_are_brought_to_one_scale() {
    // Similarities are negative distances here: -1 is the nearest, -3 the farthest.
    let mut found = candidates([&[(1, 10.0), (2, 9.0)], &[(3, -1.0), (2, -1.5)]]);
    found[0].scores[1] = Some(-3.0);
    let fused = by_scores(&found, ALIKE, |i| *i);
    assert_eq!(order(&fused), [2, 1, 3]);
    let scores: Vec<f32> = fused.iter().map(|f| f.score).collect();
    assert_eq!(scores, [0.5 * 0.9 + 0.5 * 0.75, 0.5, 0.5]);
}

#[test]
fn a_retriever_without_candidates_keeps_the_others_order() {
    let found = candidates([&[], &[(7, 0.9), (4, 0.8), (5, 0.1)]]);
    assert_eq!(order(&by_scores(&found, ALIKE, |i| *i)), [7, 4, 5]);
    let found = candidates([&[(7, 3.0), (4, 2.0)], &[]]);
    assert_eq!(order(&by_scores(&found, ALIKE, |i| *i)), [7, 4]);
    assert_eq!(order(&by_scores(&candidates::<u32>([&[], &[]]), ALIKE, |i| *i)), [0u32; 0]);
}

#[test]
fn the_first_hits_do_not_depend_on_the_depth_of_retrieval() {
    let list = |retriever: u32, depth: u32| -> Vec<(u32, f32)> {
        (0..depth).map(|n| (n * 7 % 1009 + retriever * 13, 1.0 / (n + 1 + retriever) as f32)).collect()
    };
    let both = |depth: u32| {
        let (text, vector) = (list(0, depth), list(1, depth));
        let mut found = candidates([&text, &vector]);
        // As in a search, each candidate has the scores of both retrievers.
        for c in &mut found {
            for retriever in 0..2 {
                let whole = list(retriever as u32, 1000);
                c.scores[retriever] = whole.iter().find(|(item, _)| *item == c.item).map(|(_, score)| *score);
            }
        }
        (weigh::signals(&found, QueryFamiliarity::default()), order(&by_scores(&found, ALIKE, |i| *i)))
    };
    let ((shallow, first), (deep, more)) = (both(100), both(400));
    assert_eq!(shallow, deep);
    assert_eq!(first[..10], more[..10]);
}

/// A tokenizer with pieces of at most four bytes: short words are known to this model, long ones are not.
struct Fours;

impl Tokens for Fours {
    fn spans(&self, text: &str) -> Vec<TokenSpan> {
        let mut spans = Vec::new();
        for word in text.split(' ') {
            let start = word.as_ptr() as usize - text.as_ptr() as usize;
            let pieces = (0..word.len()).step_by(4).map(|at| (start + at, start + word.len().min(at + 4)));
            spans.extend(pieces.map(|(start, end)| TokenSpan { start, end }));
        }
        spans
    }
    fn name(&self) -> &str {
        "fours"
    }
}

fn shares(query: &str, held: &[u64], tokens: Option<&dyn Tokens>) -> FusionSignals {
    let stats = TextStats { rows: 100, tokens: 1_000, title_tokens: 0, document_frequency: held.to_vec() };
    let words = QueryFamiliarity::of(query, (&stats, held), |words| (0..words.len()).map(Some).collect(), tokens);
    weigh::signals::<u32>(&[], words)
}

#[test]
fn words_without_a_token_of_the_model_are_unfamiliar() {
    let s = shares("seal of Brackenbury", &[5, 5, 5], Some(&Fours));
    assert!((s.unfamiliar - 1.0 / 3.0).abs() < 1e-6 && s.identifiers == 0.0, "{s:?}");
    let s = shares("seal KX7", &[5, 5], Some(&Fours));
    assert_eq!((s.unfamiliar, s.identifiers), (0.5, 0.5), "a digit makes a word unfamiliar");
    let s = shares("seal Brackenbury", &[5, 0], Some(&Fours));
    assert_eq!(s.unfamiliar, 0.0, "a word that no passage holds says nothing for text");
    let (rare, common) =
        (shares("seal Brackenbury", &[50, 1], Some(&Fours)), shares("seal Brackenbury", &[1, 50], Some(&Fours)));
    assert!(rare.unfamiliar > 0.8 && common.unfamiliar < 0.2, "{rare:?} {common:?}");
    let s = shares("Brackenbury 4711", &[5, 5], None);
    assert_eq!((s.unfamiliar, s.identifiers), (0.0, 0.5), "without a tokeniser only digits are seen");
    assert_eq!(shares("…", &[], Some(&Fours)), FusionSignals::default());
}

#[test]
fn weight_follows_the_retriever_with_the_larger_outlier() {
    let base =
        FusionSignals { text_outlier: 4.0, vector_outlier: 3.0, vector_contrast: 0.4, ..FusionSignals::default() };
    let text = |signals: FusionSignals| weigh::weights(&signals).text;
    assert!((0.1..0.3).contains(&text(base)), "{}", text(base));
    assert!(text(FusionSignals { vector_outlier: 6.0, ..base }) < text(base));
    assert!(text(FusionSignals { vector_contrast: 0.8, ..base }) < text(base));
    assert!(text(FusionSignals { unfamiliar: 1.0, ..base }) > 0.75);
    assert!(text(FusionSignals { unfamiliar: 1.0, text_outlier: 8.0, ..base }) > 0.95);
    assert!(text(FusionSignals { unfamiliar: 1.0, text_outlier: 1.5, ..base }) < text(base));
    assert!(text(FusionSignals { identifiers: 1.0, ..base }) > 0.8);
}

proptest! {
    #[test]
    fn any_lists_give_each_candidate_once_with_finite_scores(
        text in prop::collection::btree_map(0u32..40, 0.01f32..30.0, 0..30),
        near in prop::collection::btree_map(0u32..40, -2.0f32..1.0, 0..30),
        share in 0.0f32..=1.0,
    ) {
        let ranked = |scores: &std::collections::BTreeMap<u32, f32>| {
            let mut list: Vec<(u32, f32)> = scores.iter().map(|(i, s)| (*i, *s)).collect();
            list.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            list
        };
        let (text, near) = (ranked(&text), ranked(&near));
        let found = candidates([&text, &near]);
        let signals = weigh::signals(&found, QueryFamiliarity::default());
        let adaptive = weigh::weights(&signals);
        prop_assert!((adaptive.text + adaptive.vector - 1.0).abs() < 1e-6 && adaptive.text.is_finite());
        let given = FusionWeights { text: share, vector: 1.0 - share };
        for fused in [by_ranks(&found, given, |i| *i), by_scores(&found, given, |i| *i), by_scores(&found, adaptive, |i| *i)] {
            let mut items = order(&fused);
            prop_assert!(fused.iter().all(|f| f.score.is_finite()));
            prop_assert!(fused.windows(2).all(|w| (w[0].score, w[1].item) >= (w[1].score, w[0].item) || w[0].score > w[1].score));
            items.sort_unstable();
            items.dedup();
            prop_assert_eq!(items.len(), found.len());
        }
    }
}
