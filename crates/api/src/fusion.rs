//! Ranking: fusion and diversity in a request, and the part of `explain` about a fusion.

use crate::common::Finite;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use utoipa::ToSchema;

/// Method that combines two rankings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MethodWord {
    Adaptive,
    Rrf,
    Weighted,
    Convex,
}

/// How to combine the two rankings of a hybrid search.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FusionBody {
    /// `adaptive`: scores with weights chosen for this query. `rrf`: reciprocal ranks. `weighted`: reciprocal ranks
    /// with `weights`. `convex`: normalised scores with `weights`. Absent: `adaptive`.
    pub method: Option<MethodWord>,
    /// Weights for `weighted` and `convex`. Absent: equal weights.
    pub weights: Option<WeightsBody>,
}

/// Weight of each ranking, 0 or more; only their ratio matters.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WeightsBody {
    pub text: Finite,
    pub vector: Finite,
}

/// Ranks passages that add something new before those that repeat (maximal marginal relevance).
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DiversityBody {
    /// 0 to 1. With 1 only relevance counts. With 0, after the first hit, only the difference from the previous hits
    /// counts.
    pub lambda: Finite,
}

/// How both rankings were combined.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct Fused {
    /// Method: `adaptive`, `rrf`, `weighted` or `convex`.
    pub method: Cow<'static, str>,
    pub weights: FusedWeights,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signals: Option<Signals>,
}

/// Weight of each ranking; their sum is 1.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct FusedWeights {
    pub text: f32,
    pub vector: f32,
}

/// Signals from which an adaptive fusion chose its weights. They are computed over the first 100 candidates of each
/// ranking.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct Signals {
    /// Number of standard deviations by which the best BM25 score exceeds the mean of the candidates.
    pub text_outlier: f32,
    /// Number of standard deviations by which the best similarity exceeds the mean of the candidates.
    pub vector_outlier: f32,
    /// Relative difference between the best similarity and the mean of the candidates, 0 to 1.
    pub vector_contrast: f32,
    /// Share of the query's words for which the model has no token of its own, weighted by rarity; only words that
    /// occur in an eligible passage count.
    pub unfamiliar: f32,
    /// Share of those words that contain a digit, weighted in the same way.
    pub identifiers: f32,
}
