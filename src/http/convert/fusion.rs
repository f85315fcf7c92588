//! Ranking: fusion and diversity in a request, and the part of `explain` about a fusion.

use super::Convert;
use api::fusion::{DiversityBody, Fused, FusedWeights, FusionBody, MethodWord, Signals};
use engine::{Diversity, Fusion, FusionMethod, FusionWeights};

/// The engine checks the weights.
impl Convert<Fusion> for FusionBody {
    fn convert(self) -> Fusion {
        let method = match self.method {
            None | Some(MethodWord::Adaptive) => FusionMethod::Adaptive,
            Some(MethodWord::Rrf) => FusionMethod::Rrf,
            Some(MethodWord::Weighted) => FusionMethod::Weighted,
            Some(MethodWord::Convex) => FusionMethod::Convex,
        };
        Fusion { method, weights: self.weights.map(|w| FusionWeights { text: w.text.0, vector: w.vector.0 }) }
    }
}

/// The engine checks the value.
impl Convert<Diversity> for DiversityBody {
    fn convert(self) -> Diversity {
        Diversity { lambda: self.lambda.0 }
    }
}

impl Convert<Fused> for engine::FusionReport {
    fn convert(self) -> Fused {
        let signals = self.signals.map(|s| Signals {
            text_outlier: s.text_outlier,
            vector_outlier: s.vector_outlier,
            vector_contrast: s.vector_contrast,
            unfamiliar: s.unfamiliar,
            identifiers: s.identifiers,
        });
        let weights = FusedWeights { text: self.weights.text, vector: self.weights.vector };
        Fused { method: self.method.as_str().into(), weights, signals }
    }
}
