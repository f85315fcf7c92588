//! Short notation for the ranking of a request. `fusion` takes `rrf`, `convex`, or `convex:0.3` with the weight of
//! text. `rerank` takes the name of a model, or an empty text for the server's default.

use api::{
    common::{Finite, word},
    fusion::{FusionBody, WeightsBody},
    rerank::{RerankAsk, RerankBody},
};

/// The member `fusion` of a request.
///
/// # Errors
/// A message for people if the method is unknown or the weight is invalid.
pub fn fusion(notation: &str) -> Result<FusionBody, String> {
    let Some((method, share)) = notation.split_once(':') else {
        return Ok(FusionBody { method: Some(word(notation)?), weights: None });
    };
    match share.parse::<f32>() {
        Ok(text) if (0.0..=1.0).contains(&text) => {
            let weights = WeightsBody { text: Finite(text), vector: Finite(1.0 - text) };
            Ok(FusionBody { method: Some(word(method)?), weights: Some(weights) })
        }
        _ => Err(format!("{share}: the weight of text must be 0 to 1, for example {method}:0.3")),
    }
}

/// The member `rerank` of a request: with this model, or with the server's default if the name is empty.
pub fn rerank(model: &str) -> RerankBody {
    match model {
        "" => RerankBody::Switch(true),
        model => RerankBody::Asked(RerankAsk { model: Some(model.to_owned()), depth: None }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::fusion::MethodWord;

    #[test]
    fn the_weight_is_divided_between_the_retrievers() {
        let rrf = fusion("rrf").unwrap();
        assert!(rrf.method == Some(MethodWord::Rrf) && rrf.weights.is_none());
        let convex = fusion("convex:0.25").unwrap();
        let weights = convex.weights.unwrap();
        assert_eq!(
            (convex.method, weights.text, weights.vector),
            (Some(MethodWord::Convex), Finite(0.25), Finite(0.75))
        );
        assert!(fusion("convex:1.5").is_err() && fusion("convex:").is_err());
        assert!(fusion("best").err().unwrap().contains("rrf"), "the error names the methods");
    }
}
