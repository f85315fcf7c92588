//! From a request and a grant to a plan. The only way to make a [`Plan`] is [`compile`], which
//! takes the grant's obligations with it: a search without them cannot be written.

use crate::{Diversity, Fusion, FusionMethod, Include, MinScores, Mode, SearchRequest};
use access::{Grant, Search};
use kernel::{Audience, Code, CommitNo, Embedding, Error, Filter, NamespaceSettings, Untrusted, limits};
use segment::TextQuery;

/// What a search will do. Private fields: only `compile` makes one.
pub(crate) struct Plan {
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
    min_commit: Option<CommitNo>,
    title_weight: f32,
    warnings: Vec<String>,
}

/// Where the query's vector comes from.
pub(crate) enum VectorSource {
    /// No vector arm.
    None,
    /// The caller gave it.
    Given(Vec<f32>),
    /// This model makes it.
    Model(String),
}

/// Whether a model serves now, by name.
pub(crate) type Serves<'a> = &'a dyn Fn(&str) -> bool;

/// Turns a request into a plan under the grant's obligations.
///
/// # Errors
/// `invalid_request` naming the field; `forbidden` for `as` or vectors without their scope;
/// `model_unavailable` for a mode that was asked for and cannot be had; `dimension_mismatch`.
pub(crate) fn compile(
    grant: &Grant<Search>,
    settings: &NamespaceSettings,
    serves: Serves<'_>,
    request: SearchRequest,
) -> Result<Plan, Error> {
    check(grant, &request)?;
    check_ranking(settings, &request)?;
    let audience = grant.audience(request.acting_as.as_deref())?;
    let (mode, vector, warnings) = choose(settings, serves, &request)?;
    Ok(Plan {
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
        min_commit: request.min_commit,
        title_weight: request.title_weight.unwrap_or(TextQuery::TITLE_WEIGHT),
        warnings,
    })
}

fn check(grant: &Grant<Search>, request: &SearchRequest) -> Result<(), Error> {
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

/// What is said of fusion, caps and diversity must have an effect.
fn check_ranking(settings: &NamespaceSettings, request: &SearchRequest) -> Result<(), Error> {
    if request.max_per_source == Some(0) {
        return Err(Error::invalid("max_per_source", "must be at least 1"));
    }
    if let Some(fusion) = &request.fusion {
        check_fusion(fusion, request.mode)?;
    }
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

/// An asked mode is honoured or refused; an absent one takes what serves and the reply says which.
fn choose(
    settings: &NamespaceSettings,
    serves: Serves<'_>,
    request: &SearchRequest,
) -> Result<(Mode, VectorSource, Vec<String>), Error> {
    let source = vector_source(settings, serves, request);
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
    serves: Serves<'_>,
    request: &SearchRequest,
) -> Result<VectorSource, Error> {
    let dimensions = settings.embedding.dimensions();
    if let Some(vector) = &request.vector {
        check_vector("vector", vector, dimensions)?;
        return Ok(VectorSource::Given(vector.clone()));
    }
    model_of(settings, serves).map(VectorSource::Model)
}

/// A caller's own vector.
///
/// # Errors
/// Names the member.
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

/// The model that makes a question's vector.
///
/// # Errors
/// `model_unavailable`; `invalid_request` where vectors are the callers' own.
pub(crate) fn model_of(settings: &NamespaceSettings, serves: Serves<'_>) -> Result<String, Error> {
    match &settings.embedding {
        Embedding::Model { name, .. } if serves(name) => Ok(name.clone()),
        Embedding::Model { .. } => {
            Err(Error::new(Code::ModelUnavailable, "the namespace's embedding model does not serve now"))
        }
        Embedding::Own { dimensions: 0 } => {
            Err(Error::new(Code::ModelUnavailable, "the namespace was filled without an embedding model"))
        }
        Embedding::Own { .. } => Err(Error::invalid("vector", "is needed: the namespace holds callers' own vectors")),
        Embedding::Default => Err(Error::new(Code::ModelUnavailable, "the namespace holds no document yet")),
    }
}

impl Plan {
    pub(crate) fn audience(&self) -> &Audience {
        &self.audience
    }
    pub(crate) fn filter(&self) -> Option<&Filter> {
        self.filter.as_ref()
    }
    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }
    /// The question as the text arm sees it: absent in mode vector.
    pub(crate) fn words(&self) -> Option<&Untrusted> {
        self.query.as_ref().filter(|_| self.mode != Mode::Vector)
    }
    /// The question as a model sees it.
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
    pub(crate) fn min_scores(&self) -> MinScores {
        self.min_scores
    }
    pub(crate) fn max_per_document(&self) -> usize {
        self.max_per_document.unwrap_or(usize::MAX)
    }
    /// `None`: sources are not looked at.
    pub(crate) fn max_per_source(&self) -> Option<usize> {
        self.max_per_source
    }
    pub(crate) fn fusion(&self) -> Fusion {
        self.fusion
    }
    pub(crate) fn diversity(&self) -> Option<Diversity> {
        self.diversity
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

    /// Whether candidates may be passed over for what stands before them.
    pub(crate) fn is_capped(&self) -> bool {
        self.max_per_document.is_some() || self.max_per_source.is_some()
    }

    /// How deep each arm looks: deep enough that fusion, caps and diversity have a choice. An arm alone has none.
    pub(crate) fn depth(&self) -> usize {
        if self.mode != Mode::Hybrid && !self.is_capped() && self.diversity.is_none() {
            return self.top_k;
        }
        self.first_depth()
    }

    /// What there is to choose from at first.
    pub(crate) fn first_depth(&self) -> usize {
        (self.top_k * 4).clamp(100, 4 * limits::TOP_K_MAX)
    }
}
