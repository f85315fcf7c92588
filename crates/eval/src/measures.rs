//! Measures of a ranking against relevance judgements.

use serde::Serialize;
use std::collections::HashMap;

/// Measures, averaged over queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Measures {
    /// Normalised discounted cumulative gain of the first 10 with linear gain and log2 discount, as trec_eval computes
    /// it (Järvelin & Kekäläinen, TOIS 2002).
    #[serde(rename = "ndcg@10")]
    pub ndcg_10: f64,
    /// Share of the relevant documents among the first 10.
    #[serde(rename = "recall@10")]
    pub recall_10: f64,
    /// Share of the relevant documents among the first 100.
    #[serde(rename = "recall@100")]
    pub recall_100: f64,
    /// One over the rank of the first relevant document; 0 if none is among the first 100.
    pub mrr: f64,
    /// Share of queries whose first result is not relevant (MM@1).
    #[serde(rename = "mismatch@1")]
    pub mismatch_1: f64,
}

/// Measures one ranking of document ids, best first.
pub fn measure(ranking: &[String], relevant: &HashMap<String, f64>) -> Measures {
    let grade = |id: &String| relevant.get(id).copied().unwrap_or(0.0);
    let found = |k: usize| ranking.iter().take(k).filter(|id| grade(id) > 0.0).count() as f64;
    let mut ideal: Vec<f64> = relevant.values().copied().collect();
    ideal.sort_by(|a, b| b.total_cmp(a));
    let best = gain(ideal.into_iter());
    let first = ranking.iter().take(100).position(|id| grade(id) > 0.0);
    let share = |n: f64| if relevant.is_empty() { 0.0 } else { n / relevant.len() as f64 };
    Measures {
        ndcg_10: if best > 0.0 { gain(ranking.iter().map(grade)) / best } else { 0.0 },
        recall_10: share(found(10)),
        recall_100: share(found(100)),
        mrr: first.map_or(0.0, |rank| 1.0 / (rank + 1) as f64),
        mismatch_1: f64::from(u8::from(first != Some(0))),
    }
}

impl Measures {
    /// Mean of several measures.
    pub fn mean(all: &[Measures]) -> Measures {
        let mean = |pick: fn(&Measures) -> f64| all.iter().map(pick).sum::<f64>() / all.len().max(1) as f64;
        Measures {
            ndcg_10: mean(|m| m.ndcg_10),
            recall_10: mean(|m| m.recall_10),
            recall_100: mean(|m| m.recall_100),
            mrr: mean(|m| m.mrr),
            mismatch_1: mean(|m| m.mismatch_1),
        }
    }
}

fn gain(grades: impl Iterator<Item = f64>) -> f64 {
    grades.take(10).enumerate().map(|(rank, g)| g / ((rank + 2) as f64).log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn worked_example() {
        let relevant = HashMap::from([("a".to_owned(), 1.0), ("b".to_owned(), 2.0)]);
        let m = measure(&ids(&["x", "b", "a"]), &relevant);
        let expected = (2.0 / 3f64.log2() + 1.0 / 2.0) / (2.0 + 1.0 / 3f64.log2());
        assert!((m.ndcg_10 - expected).abs() < 1e-12);
        assert_eq!((m.recall_10, m.mrr, m.mismatch_1), (1.0, 0.5, 1.0));
    }

    #[test]
    fn a_perfect_and_an_empty_ranking() {
        let relevant = HashMap::from([("a".to_owned(), 1.0)]);
        let best = measure(&ids(&["a"]), &relevant);
        assert_eq!((best.ndcg_10, best.mrr, best.mismatch_1), (1.0, 1.0, 0.0));
        assert_eq!(measure(&[], &relevant).ndcg_10, 0.0);
    }
}
