//! How a search ranks its candidates, on the wire: what a request asks of fusion and diversity, and what `explain` says
//! of a fusion.

use super::common::Finite;
use engine::{Diversity, Fusion, FusionMethod, Weights};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How two rankings become one.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MethodWord {
    Adaptive,
    Rrf,
    Weighted,
    Convex,
}

/// How the rankings of a hybrid search become one.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FusionBody {
    /// `adaptive`: scores, with weights chosen for this query. `rrf`: reciprocal ranks. `weighted`: reciprocal ranks
    /// with `weights`. `convex`: normalised scores with `weights`. Absent: `adaptive`.
    method: Option<MethodWord>,
    /// For `weighted` and `convex`. Absent: equal weights.
    weights: Option<WeightsBody>,
}

/// Weight of each ranking, 0 or more; only their ratio matters.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WeightsBody {
    text: Finite,
    vector: Finite,
}

impl FusionBody {
    /// What the engine takes; the engine judges the weights.
    pub(crate) fn fusion(self) -> Fusion {
        let method = match self.method {
            None | Some(MethodWord::Adaptive) => FusionMethod::Adaptive,
            Some(MethodWord::Rrf) => FusionMethod::Rrf,
            Some(MethodWord::Weighted) => FusionMethod::Weighted,
            Some(MethodWord::Convex) => FusionMethod::Convex,
        };
        Fusion { method, weights: self.weights.map(|w| Weights { text: w.text.0, vector: w.vector.0 }) }
    }
}

/// Ranks passages that add something new before those that repeat (maximal marginal relevance).
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DiversityBody {
    /// 0 to 1. 1: relevance only. 0: after the first hit, only difference from the hits before.
    lambda: Finite,
}

impl DiversityBody {
    /// What the engine takes; the engine judges the value.
    pub(crate) fn diversity(self) -> Diversity {
        Diversity { lambda: self.lambda.0 }
    }
}

/// How both rankings were fused.
#[derive(Serialize, ToSchema)]
pub(crate) struct Fused {
    /// `adaptive`, `rrf`, `weighted` or `convex`.
    method: &'static str,
    weights: FusedWeights,
    #[serde(skip_serializing_if = "Option::is_none")]
    signals: Option<Signals>,
}

/// Weight of each ranking; their sum is 1.
#[derive(Serialize, ToSchema)]
pub(crate) struct FusedWeights {
    text: f32,
    vector: f32,
}

/// What an adaptive fusion took its weights from: the first 100 candidates of each ranking.
#[derive(Serialize, ToSchema)]
pub(crate) struct Signals {
    /// Standard deviations by which the best BM25 score stands above the mean candidate's.
    text_outlier: f32,
    /// The same for the best similarity.
    vector_outlier: f32,
    /// How much of the best similarity the mean candidate lacks, 0 to 1.
    vector_contrast: f32,
    /// Share of the query's words, by rarity, that the model has no token of its own for; of words that some eligible
    /// passage holds.
    unfamiliar: f32,
    /// Share of those words, weighed alike, that hold a digit.
    identifiers: f32,
}

impl From<engine::Fused> for Fused {
    fn from(fused: engine::Fused) -> Self {
        let signals = fused.signals.map(|s| Signals {
            text_outlier: s.text_outlier,
            vector_outlier: s.vector_outlier,
            vector_contrast: s.vector_contrast,
            unfamiliar: s.unfamiliar,
            identifiers: s.identifiers,
        });
        let weights = FusedWeights { text: fused.weights.text, vector: fused.weights.vector };
        Self { method: fused.method.as_str(), weights, signals }
    }
}
