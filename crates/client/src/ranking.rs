//! Short ways to write how a request ranks. `fusion`: `rrf`, `convex`, or with text's share of the weight `convex:0.3`.
//! `rerank`: a model's name, or nothing for the server's own.

use serde_json::{Value, json};

/// The request's member. The server judges the method's name.
///
/// # Errors
/// Says what is wrong with the share.
pub fn fusion(word: &str) -> Result<Value, String> {
    let Some((method, share)) = word.split_once(':') else { return Ok(json!({"method": word})) };
    match share.parse::<f64>() {
        Ok(text) if (0.0..=1.0).contains(&text) => {
            Ok(json!({"method": method, "weights": {"text": text, "vector": 1.0 - text}}))
        }
        _ => Err(format!("{share}: text's share of the weight must be 0 to 1, such as {method}:0.3")),
    }
}

/// The request's member: by this model, or by the server's own where the name is empty.
pub fn rerank(model: &str) -> Value {
    if model.is_empty() { json!(true) } else { json!({"model": model}) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_divided_between_the_arms() {
        assert_eq!(fusion("rrf").unwrap(), json!({"method": "rrf"}));
        let convex = json!({"method": "convex", "weights": {"text": 0.25, "vector": 0.75}});
        assert_eq!(fusion("convex:0.25").unwrap(), convex);
        assert!(fusion("convex:1.5").is_err() && fusion("convex:").is_err());
    }
}
