//! Short notation for the ranking of a request. `fusion` takes `rrf`, `convex`, or `convex:0.3` with the weight of
//! text. `rerank` takes the name of a model, or an empty text for the server's default.

use serde_json::{Value, json};

/// The member `fusion` of a request. The server checks the method's name.
///
/// # Errors
/// A message for people if the weight is invalid.
pub fn fusion(word: &str) -> Result<Value, String> {
    let Some((method, share)) = word.split_once(':') else { return Ok(json!({"method": word})) };
    match share.parse::<f64>() {
        Ok(text) if (0.0..=1.0).contains(&text) => {
            Ok(json!({"method": method, "weights": {"text": text, "vector": 1.0 - text}}))
        }
        _ => Err(format!("{share}: the weight of text must be 0 to 1, for example {method}:0.3")),
    }
}

/// The member `rerank` of a request: with this model, or with the server's default if the name is empty.
pub fn rerank(model: &str) -> Value {
    if model.is_empty() { json!(true) } else { json!({"model": model}) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weight_is_divided_between_the_retrievers() {
        assert_eq!(fusion("rrf").unwrap(), json!({"method": "rrf"}));
        let convex = json!({"method": "convex", "weights": {"text": 0.25, "vector": 0.75}});
        assert_eq!(fusion("convex:0.25").unwrap(), convex);
        assert!(fusion("convex:1.5").is_err() && fusion("convex:").is_err());
    }
}
