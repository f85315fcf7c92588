//! Wire types of ranking: fusion and diversity in a request, and the part of `explain` about a fusion.

use super::common::Finite;
use engine::{Diversity, Fusion, FusionMethod, FusionWeights};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Method that combines two rankings.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MethodWord {
    Adaptive,
    Rrf,
    Weighted,
    Convex,
}

/// How to combine the two rankings of a hybrid search.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FusionBody {
    /// `adaptive`: scores with weights chosen for this query. `rrf`: reciprocal ranks. `weighted`: reciprocal ranks
    /// with `weights`. `convex`: normalised scores with `weights`. Absent: `adaptive`.
    method: Option<MethodWord>,
    /// Weights for `weighted` and `convex`. Absent: equal weights.
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
    /// Converts to the engine's type; the engine checks the weights.
    pub(crate) fn fusion(self) -> Fusion {
        let method = match self.method {
            None | Some(MethodWord::Adaptive) => FusionMethod::Adaptive,
            Some(MethodWord::Rrf) => FusionMethod::Rrf,
            Some(MethodWord::Weighted) => FusionMethod::Weighted,
            Some(MethodWord::Convex) => FusionMethod::Convex,
        };
        Fusion { method, weights: self.weights.map(|w| FusionWeights { text: w.text.0, vector: w.vector.0 }) }
    }
}

/// Ranks passages that add something new before those that repeat (maximal marginal relevance).
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DiversityBody {
    /// 0 to 1. With 1 only relevance counts. With 0, after the first hit, only the difference from the previous hits
    /// counts.
    lambda: Finite,
}

impl DiversityBody {
    /// Converts to the engine's type; the engine checks the value.
    pub(crate) fn diversity(self) -> Diversity {
        Diversity { lambda: self.lambda.0 }
    }
}

/// How both rankings were combined.
#[derive(Serialize, ToSchema)]
pub(crate) struct Fused {
    /// Method: `adaptive`, `rrf`, `weighted` or `convex`.
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

/// Signals from which an adaptive fusion chose its weights. They are computed over the first 100 candidates of each
/// ranking.
#[derive(Serialize, ToSchema)]
pub(crate) struct Signals {
    /// Number of standard deviations by which the best BM25 score exceeds the mean of the candidates.
    text_outlier: f32,
    /// Number of standard deviations by which the best similarity exceeds the mean of the candidates.
    vector_outlier: f32,
    /// Relative difference between the best similarity and the mean of the candidates, 0 to 1.
    vector_contrast: f32,
    /// Share of the query's words for which the model has no token of its own, weighted by rarity; only words that
    /// occur in an eligible passage count.
    unfamiliar: f32,
    /// Share of those words that contain a digit, weighted in the same way.
    identifiers: f32,
}

impl From<engine::FusionReport> for Fused {
    fn from(fused: engine::FusionReport) -> Self {
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
