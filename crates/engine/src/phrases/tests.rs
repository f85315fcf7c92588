use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn passages_with_more_phrases_rank_first_and_others_keep_their_order(pairs in proptest::collection::vec((0usize..4, -30.0f32..30.0), 1..20)) {
        let mut scores: Vec<f32> = pairs.iter().map(|pair| pair.1).collect();
        raise_scores(pairs.iter().map(|pair| pair.0).zip(&mut scores).collect());
        for (a, (phrases, before)) in pairs.iter().enumerate() {
            for (b, (others, other)) in pairs.iter().enumerate() {
                if phrases > others {
                    prop_assert!(scores[a] > scores[b], "{pairs:?} {scores:?}");
                } else if phrases == others && before > other {
                    prop_assert!(scores[a] >= scores[b]);
                }
            }
        }
        if pairs.iter().all(|pair| pair.0 == pairs[0].0) {
            prop_assert!(scores.iter().zip(&pairs).all(|(score, pair)| *score == pair.1));
        }
    }
}
