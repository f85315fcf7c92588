//! Compiles a request and a grant into a plan. Only [`compile`] makes a [`SearchPlan`], and it always includes the
//! grant's obligations, so a search without them cannot be written.

mod check;

use crate::{Diversity, Fusion, Include, MinScores, Mode, Phrases, Rerank, SearchRequest};
use access::{Grant, Search};
pub(crate) use check::check_vector;
use kernel::{Audience, Code, CommitNo, Embedding, Error, Filter, NamespaceSettings, Untrusted, limits};
use models::{ModelInfo, Models, Reranks};
use segment::TextQuery;

/// What a search will do. Its fields are private so that only `compile` makes one.
pub(crate) struct SearchPlan {
    audience: Audience,
    filter: Option<Filter>,
    mode: Mode,
    query: Option<Untrusted>,
    vector: VectorSource,
    top_k: usize,
    include: Include,
    min_scores: MinScores,
    max_per_document: Option<usize>,
    max_per_source: Option<usize>,
    fusion: Fusion,
    diversity: Option<Diversity>,
    phrases: Phrases,
    rerank: Option<Reranking>,
    min_commit: Option<CommitNo>,
    title_weight: f32,
    warnings: Vec<String>,
}

/// Source of the query vector.
pub(crate) enum VectorSource {
    /// The vector retriever does not run.
    None,
    /// The caller provided the vector.
    Given(Vec<f32>),
    /// The model of this name makes the vector.
    Model(String),
}

/// How the best candidates are reranked.
pub(crate) struct Reranking {
    pub(crate) model: String,
    pub(crate) method: Reranks,
    /// Number of candidates to rerank, at least `top_k`.
    pub(crate) depth: usize,
}

/// Compiles a request into a plan under the grant's obligations.
///
/// # Errors
/// `invalid_request` with the name of the field; `forbidden` for `as` or vectors without their scope;
/// `model_unavailable` for a mode that was requested and is not available; `dimension_mismatch`.
pub(crate) fn compile(
    grant: &Grant<Search>,
    settings: &NamespaceSettings,
    models: &Models,
    request: SearchRequest,
) -> Result<SearchPlan, Error> {
    check::request(grant, &request)?;
    check::ranking(settings, &request)?;
    let audience = grant.audience(request.acting_as.as_deref(), settings.readers())?;
    let (mode, vector, warnings) = choose_mode(settings, models, &request)?;
    let rerank = request.rerank.as_ref().map(|rerank| choose_reranker(models, rerank, request.top_k)).transpose()?;
    Ok(SearchPlan {
        audience,
        filter: request.filter,
        mode,
        query: request.query,
        vector,
        top_k: request.top_k,
        include: request.include,
        min_scores: request.min_scores,
        max_per_document: request.max_per_document,
        max_per_source: request.max_per_source,
        fusion: request.fusion.unwrap_or_default(),
        diversity: request.diversity,
        phrases: request.phrases,
        rerank,
        min_commit: request.min_commit,
        title_weight: request.title_weight.unwrap_or(TextQuery::TITLE_WEIGHT),
        warnings,
    })
}

/// Chooses the mode. A requested mode is used or refused; without one, the best available mode is used and the reply
/// names it.
fn choose_mode(
    settings: &NamespaceSettings,
    models: &Models,
    request: &SearchRequest,
) -> Result<(Mode, VectorSource, Vec<String>), Error> {
    let source = vector_source(settings, models, request);
    let text = request.query.is_some();
    match (request.mode, source) {
        (Some(Mode::Text), _) if !text => Err(Error::invalid("query", "is needed by mode text")),
        (Some(Mode::Text), _) => Ok((Mode::Text, VectorSource::None, Vec::new())),
        (Some(Mode::Hybrid), _) if !text => Err(Error::invalid("query", "is needed by mode hybrid")),
        (Some(mode), Ok(source)) => Ok((mode, source, Vec::new())),
        (Some(_), Err(error)) => Err(error),
        (None, Ok(source)) => Ok((if text { Mode::Hybrid } else { Mode::Vector }, source, Vec::new())),
        (None, Err(error)) if !text || request.vector.is_some() => Err(error),
        (None, Err(error)) => {
            let warning = format!("ranked by text only: {}", error.message);
            Ok((Mode::Text, VectorSource::None, vec![warning]))
        }
    }
}

fn vector_source(
    settings: &NamespaceSettings,
    models: &Models,
    request: &SearchRequest,
) -> Result<VectorSource, Error> {
    let dimensions = settings.embedding.dimensions();
    if let Some(vector) = &request.vector {
        check_vector("vector", vector, dimensions)?;
        return Ok(VectorSource::Given(vector.clone()));
    }
    model_of(settings, models).map(VectorSource::Model)
}

/// Returns the name of the model that makes a question's vector.
///
/// # Errors
/// `model_unavailable`; `invalid_request` if the namespace holds callers' own vectors.
pub(crate) fn model_of(settings: &NamespaceSettings, models: &Models) -> Result<String, Error> {
    match &settings.embedding {
        Embedding::Model { name, .. } if models.embedder(name).is_some() => Ok(name.clone()),
        Embedding::Model { .. } => {
            Err(Error::new(Code::ModelUnavailable, "the namespace's embedding model does not serve now"))
        }
        Embedding::Own { dimensions: 0 } => {
            Err(Error::new(Code::ModelUnavailable, "the namespace was filled without an embedding model"))
        }
        Embedding::Own { .. } => {
            Err(Error::invalid("vector", "a vector is needed: the namespace holds callers' own vectors"))
        }
        Embedding::Default => Err(Error::new(Code::ModelUnavailable, "the namespace holds no document yet")),
    }
}

/// Chooses the reranker. The requested one is never silently replaced by another model or skipped.
fn choose_reranker(models: &Models, requested: &Rerank, top_k: usize) -> Result<Reranking, Error> {
    let unavailable = |param, message: String| Error::new(Code::ModelUnavailable, message).with_param(param);
    let able = || {
        let able: Vec<String> = models.list().into_iter().filter(|m| m.reranks.is_some()).map(|m| m.name).collect();
        if able.is_empty() { "none".to_owned() } else { able.join(", ") }
    };
    let found = match (models.reranker(requested.model.as_deref()), &requested.model) {
        (Some(found), _) => found,
        (None, None) => {
            let why = format!(
                "the server has no reranker of its own choice (`models.reranker`); those that can be named: {}",
                able()
            );
            return Err(unavailable("rerank", why));
        }
        (None, Some(_)) => {
            let why = format!("no reranker of this name serves; those that do: {}", able());
            return Err(unavailable("rerank.model", why));
        }
    };
    let ModelInfo { name: model, reranks: Some(method), .. } = found else {
        return Err(unavailable("rerank.model", "the model reranks nothing".to_owned()));
    };
    let depth = requested.depth.unwrap_or(limits::RERANK_DEPTH_DEFAULT.max(top_k));
    Ok(Reranking { model, method, depth })
}

impl SearchPlan {
    pub(crate) fn audience(&self) -> &Audience {
        &self.audience
    }
    pub(crate) fn filter(&self) -> Option<&Filter> {
        self.filter.as_ref()
    }
    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }
    /// The question for the text retriever; absent in mode vector.
    pub(crate) fn words(&self) -> Option<&Untrusted> {
        self.query.as_ref().filter(|_| self.mode != Mode::Vector)
    }
    /// The question for models.
    pub(crate) fn question(&self) -> Option<&Untrusted> {
        self.query.as_ref()
    }
    pub(crate) fn vector(&self) -> &VectorSource {
        &self.vector
    }
    pub(crate) fn top_k(&self) -> usize {
        self.top_k
    }
    pub(crate) fn include(&self) -> Include {
        self.include
    }
    /// What the hits must contain until they are in their final order.
    pub(crate) fn include_for_ranking(&self) -> Include {
        let reranks = self.rerank.is_some();
        let Include { text, vector, .. } = self.include;
        Include { text: text || reranks, vector: vector || reranks && self.diversity.is_some(), ..self.include }
    }
    pub(crate) fn min_scores(&self) -> MinScores {
        self.min_scores
    }
    pub(crate) fn max_per_document(&self) -> usize {
        self.max_per_document.unwrap_or(usize::MAX)
    }
    /// Most passages of one source; `None` sets no limit.
    pub(crate) fn max_per_source(&self) -> Option<usize> {
        self.max_per_source
    }
    pub(crate) fn fusion(&self) -> Fusion {
        self.fusion
    }
    pub(crate) fn diversity(&self) -> Option<Diversity> {
        self.diversity
    }
    /// Whether every quotation is required.
    pub(crate) fn requires_phrases(&self) -> bool {
        self.phrases == Phrases::Require
    }
    pub(crate) fn rerank(&self) -> Option<&Reranking> {
        self.rerank.as_ref()
    }
    pub(crate) fn min_commit(&self) -> Option<CommitNo> {
        self.min_commit
    }
    pub(crate) fn title_weight(&self) -> f32 {
        self.title_weight
    }
    pub(crate) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// Whether caps may exclude candidates because of better ones from the same document or source.
    pub(crate) fn is_capped(&self) -> bool {
        self.max_per_document.is_some() || self.max_per_source.is_some()
    }

    /// Number of candidates that retrieval must return after caps.
    pub(crate) fn candidates_needed(&self) -> usize {
        self.rerank.as_ref().map_or(self.top_k, |rerank| rerank.depth)
    }

    /// Number of candidates of each retriever: enough that fusion, caps and diversity have a choice. A single retriever
    /// without caps and diversity needs none to spare.
    pub(crate) fn depth(&self) -> usize {
        if self.mode != Mode::Hybrid && !self.is_capped() && self.diversity.is_none() {
            return self.candidates_needed();
        }
        self.first_depth()
    }

    /// Number of candidates of each retriever in the first pass.
    pub(crate) fn first_depth(&self) -> usize {
        (self.candidates_needed() * 4).clamp(100, 4 * limits::TOP_K_MAX)
    }
}

#[cfg(test)]
mod tests;
