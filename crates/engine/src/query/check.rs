//! Validates the members of a search request before anything is looked up.

use crate::{Diversity, Fusion, FusionMethod, Mode, Rerank, SearchRequest};
use access::{Grant, Search};
use kernel::{Code, Embedding, Error, NamespaceSettings, limits};

pub(super) fn request(grant: &Grant<Search>, request: &SearchRequest) -> Result<(), Error> {
    if !(1..=limits::TOP_K_MAX).contains(&request.top_k) {
        return Err(Error::invalid("top_k", "must be 1 to 1000"));
    }
    if request.title_weight.is_some_and(|weight| !(0.0..=limits::TITLE_WEIGHT_MAX).contains(&weight)) {
        return Err(Error::invalid("title_weight", "must be 0 to 10"));
    }
    if request.max_per_document == Some(0) {
        return Err(Error::invalid("max_per_document", "must be at least 1"));
    }
    if request.include.vector && !grant.has(kernel::Scope::Vectors) {
        return Err(Error::new(Code::Forbidden, "the key lacks the scope vectors").with_param("include"));
    }
    match (&request.query, &request.vector) {
        (None, None) => Err(Error::invalid("query", "give a query, a vector, or both")),
        (Some(query), _) if query.is_empty() => Err(Error::invalid("query", "must not be empty")),
        (Some(query), _) if query.len() > limits::QUERY_BYTES_MAX => {
            Err(Error::new(Code::TooLarge, "may have at most 32768 bytes").with_param("query"))
        }
        _ => Ok(()),
    }
}

/// Checks fusion, caps and diversity. Members that would have no effect are refused.
pub(super) fn ranking(settings: &NamespaceSettings, request: &SearchRequest) -> Result<(), Error> {
    if request.max_per_source == Some(0) {
        return Err(Error::invalid("max_per_source", "must be at least 1"));
    }
    if let Some(fusion) = &request.fusion {
        check_fusion(fusion, request.mode)?;
    }
    check_rerank(request)?;
    let Some(Diversity { lambda }) = request.diversity else { return Ok(()) };
    if !(0.0..=1.0).contains(&lambda) {
        return Err(Error::invalid("diversity.lambda", "must be 0 to 1"));
    }
    if request.top_k > limits::DIVERSE_TOP_K_MAX {
        return Err(Error::invalid("diversity", "is for a top_k of at most 100"));
    }
    match settings.embedding {
        Embedding::Own { dimensions: 0 } => {
            Err(Error::invalid("diversity", "compares vectors, and the namespace holds none"))
        }
        _ => Ok(()),
    }
}

fn check_fusion(fusion: &Fusion, mode: Option<Mode>) -> Result<(), Error> {
    if matches!(mode, Some(Mode::Text | Mode::Vector)) {
        return Err(Error::invalid("fusion", "is for mode hybrid"));
    }
    let Some(weights) = fusion.weights else { return Ok(()) };
    if matches!(fusion.method, FusionMethod::Adaptive | FusionMethod::Rrf) {
        return Err(Error::invalid("fusion.weights", "is for the methods weighted and convex"));
    }
    let (text, vector) = (weights.text, weights.vector);
    let sum = text + vector;
    if text < 0.0 || vector < 0.0 || sum <= 0.0 || !sum.is_finite() {
        return Err(Error::invalid("fusion.weights", "must be 0 or more each, and not both 0"));
    }
    Ok(())
}

/// Checks reranking. A reranker needs a question, and every hit must be among the candidates that it reads.
fn check_rerank(request: &SearchRequest) -> Result<(), Error> {
    let Some(Rerank { depth, .. }) = request.rerank else {
        return match request.min_scores.rerank {
            Some(_) => Err(Error::invalid("min_scores.rerank", "is for a search with rerank")),
            None => Ok(()),
        };
    };
    if request.query.is_none() {
        return Err(Error::invalid("query", "is needed by rerank"));
    }
    if request.top_k > limits::RERANK_DEPTH_MAX {
        return Err(Error::invalid("rerank", "is for a top_k of at most 200"));
    }
    match depth {
        Some(depth) if !(request.top_k..=limits::RERANK_DEPTH_MAX).contains(&depth) => {
            Err(Error::invalid("rerank.depth", "must be top_k to 200"))
        }
        _ => Ok(()),
    }
}

/// Checks a caller's own vector.
///
/// # Errors
/// `dimension_mismatch` and `invalid_request`, with the name of the member.
pub(crate) fn check_vector(member: &'static str, vector: &[f32], dimensions: usize) -> Result<(), Error> {
    if dimensions != 0 && vector.len() != dimensions {
        let message = format!("has {} numbers where the namespace has {dimensions}", vector.len());
        return Err(Error::new(Code::DimensionMismatch, message).with_param(member));
    }
    if vector.iter().any(|x| !x.is_finite()) || vector.iter().all(|x| *x == 0.0) {
        return Err(Error::invalid(member, "must be finite and not all zero"));
    }
    if dimensions == 0 {
        return Err(Error::invalid(member, "the namespace holds no vectors"));
    }
    Ok(())
}
