//! Wire types of search and context.

use super::{
    common::{self, Commit, Finding, Finite, PrincipalList, WordList},
    fusion::{DiversityBody, Fused, FusionBody},
    rerank::{RerankBody, RerankExplain},
};
use crate::{
    http::request_data::RequestBody,
    strict::{FilterTree, IgnoredObject, SentVector},
};
use engine::{ContextRequest, Include, MinScores, Mode, Phrases, Rendering, SearchRequest};
use kernel::{CommitNo, Error, Principal, Untrusted, limits};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The principals on whose behalf the request reads, instead of the key's own (scope `act_as`).
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActingAs {
    /// Principals such as `user:alice`.
    #[schema(value_type = Vec<String>)]
    principals: PrincipalList,
    /// Reserved for policies. This server has none, so anything but an empty object is refused.
    #[schema(value_type = Option<BTreeMap<String, Object>>)]
    attributes: Option<IgnoredObject>,
}

impl ActingAs {
    /// The checked principals.
    ///
    /// # Errors
    /// An error that names the member.
    pub(crate) fn check(self) -> Result<Vec<Principal>, Error> {
        if self.attributes.is_some_and(|a| a.has_members) {
            return Err(Error::invalid("as.attributes", "is reserved for policies, and this server has none"));
        }
        common::principals("as.principals", self.principals)
    }
}

/// How to rank.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ModeWord {
    Hybrid,
    Vector,
    Text,
}

/// Meaning of words in double quotes.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PhrasesWord {
    Prefer,
    Require,
}

impl From<PhrasesWord> for Phrases {
    fn from(word: PhrasesWord) -> Self {
        match word {
            PhrasesWord::Prefer => Self::Prefer,
            PhrasesWord::Require => Self::Require,
        }
    }
}

/// Minimum scores of a hit, which must reach each given score. They apply to the scores in `scores`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MinScoresBody {
    vector: Option<Finite>,
    text: Option<Finite>,
    rerank: Option<Finite>,
}

macro_rules! searching {
    ($(#[$doc:meta])* $name:ident { $($(#[$mdoc:meta])* $member:ident: $type:ty),* $(,)? }) => {
        #[derive(Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        $(#[$doc])*
        pub(crate) struct $name {
            /// The question, 1 to 32,768 bytes. Passages that contain its quoted words as a phrase come first (not in
            /// mode `vector`); with a plus before the quotes (`+"sick leave"`) no other passage is returned. A word
            /// that ends with a star (`comput*`) matches all words with that beginning. No syntax in a question is an
            /// error.
            query: Option<String>,
            /// Vector of the question, with `query` or instead of it.
            #[schema(value_type = Option<Vec<common::Finite>>)]
            vector: Option<SentVector>,
            /// Maximum number of hits, 1 to 1,000. Absent: 10. A reply ends before the hit that would make it longer
            /// than 16 MiB.
            top_k: Option<usize>,
            /// Absent: `hybrid` if a model or a vector allows it, otherwise the available mode; the reply names it. A
            /// given mode is never replaced by another.
            mode: Option<ModeWord>,
            /// Only passages of documents that match: `{"type", "key", "value"}` with
            /// `eq ne gt gte lt lte in nin contains prefix exists match`, or `{"type", "filters"}` with `and or not`.
            /// Applied before ranking.
            #[schema(value_type = Option<Object>)]
            filter: Option<FilterTree>,
            r#as: Option<ActingAs>,
            /// Parts to return: `text`, `attributes`, `vector`, `explain`, `highlights`. Absent: `text` and
            /// `attributes`.
            #[schema(value_type = Option<Vec<String>>)]
            include: Option<WordList>,
            min_scores: Option<MinScoresBody>,
            /// Maximum number of passages per document.
            max_per_document: Option<usize>,
            /// Maximum number of passages of all documents with the same `uri`; documents without a `uri` count
            /// separately.
            max_per_source: Option<usize>,
            fusion: Option<FusionBody>,
            diversity: Option<DiversityBody>,
            /// Meaning of words in double quotes: `prefer` (the default) ranks passages that contain them first, those
            /// with more of the phrases before those with fewer; `require` returns no other passage, in any mode.
            /// `warnings` name a phrase that no passage contains.
            phrases: Option<PhrasesWord>,
            /// A model reads the best candidates together with the question and reorders them; `score` is then its
            /// score. Requires `query`. 503 `model_unavailable` if no such model is available.
            rerank: Option<RerankBody>,
            /// Wait for at most 5 s until this commit can be searched; otherwise 503 `overloaded`.
            min_commit: Option<u64>,
            /// Weight of a word in the title relative to one in the passage, 0 to 10. Absent: 3.
            title_weight: Option<Finite>,
            $($(#[$mdoc])* $member: $type,)*
        }

        impl $name {
            fn search(&mut self) -> SearchBody {
                SearchBody {
                    query: self.query.take(),
                    vector: self.vector.take(),
                    top_k: self.top_k,
                    mode: self.mode,
                    filter: self.filter.take(),
                    acting_as: self.r#as.take(),
                    include: self.include.take(),
                    min_scores: self.min_scores.take(),
                    max_per_document: self.max_per_document,
                    max_per_source: self.max_per_source,
                    fusion: self.fusion.take(),
                    diversity: self.diversity.take(),
                    phrases: self.phrases,
                    rerank: self.rerank.take(),
                    min_commit: self.min_commit,
                    title_weight: self.title_weight,
                }
            }
        }
    };
}

searching!(
    /// A search.
    #[schema(example = json!({"query": "how many days of leave", "top_k": 5, "filter": {"type": "eq", "key": "year", "value": 2026}}))]
    Search {}
);
searching!(
    /// A search with a token budget.
    #[schema(example = json!({"query": "how many days of leave", "max_tokens": 2000}))]
    Context {
        /// Maximum number of tokens of the whole context, including markers: 1 to 200,000.
        max_tokens: usize,
        /// How passages are separated from instructions. Absent: `delimited`.
        rendering: Option<RenderingWord>,
    }
);

/// The members that search and context share.
struct SearchBody {
    query: Option<String>,
    vector: Option<SentVector>,
    top_k: Option<usize>,
    mode: Option<ModeWord>,
    filter: Option<FilterTree>,
    acting_as: Option<ActingAs>,
    include: Option<WordList>,
    min_scores: Option<MinScoresBody>,
    max_per_document: Option<usize>,
    max_per_source: Option<usize>,
    fusion: Option<FusionBody>,
    diversity: Option<DiversityBody>,
    phrases: Option<PhrasesWord>,
    rerank: Option<RerankBody>,
    min_commit: Option<u64>,
    title_weight: Option<Finite>,
}

impl RequestBody for Search {
    type Checked = SearchRequest;

    fn check(mut self) -> Result<SearchRequest, Error> {
        self.search().check()
    }
}

impl SearchBody {
    fn check(self) -> Result<SearchRequest, Error> {
        if self.query.is_none() && self.vector.is_none() {
            return Err(Error::invalid("query", "is missing: give query or vector"));
        }
        if self.query.as_ref().is_some_and(|q| q.len() > limits::QUERY_BYTES_MAX || q.trim().is_empty()) {
            return Err(Error::invalid("query", "must be 1 to 32768 bytes, not all blank"));
        }
        let top_k = self.top_k.unwrap_or(limits::TOP_K_DEFAULT);
        if !(1..=limits::TOP_K_MAX).contains(&top_k) {
            return Err(Error::invalid("top_k", "must be 1 to 1000"));
        }
        if self.max_per_document == Some(0) {
            return Err(Error::invalid("max_per_document", "must be at least 1"));
        }
        let min_scores = self.min_scores.unwrap_or(MinScoresBody { vector: None, text: None, rerank: None });
        let known = ["text", "attributes", "vector", "explain", "highlights"];
        let include = common::include(self.include.as_ref().map(|list| &*list.0), &known)?;
        Ok(SearchRequest {
            query: self.query.map(Untrusted::new),
            vector: self.vector.map(|v| v.0.map_err(|fault| fault.at("vector"))).transpose()?,
            top_k,
            mode: self.mode.map(Mode::from),
            filter: common::filter(self.filter)?,
            acting_as: self.acting_as.map(ActingAs::check).transpose()?,
            include: include.unwrap_or(Include { text: true, attributes: true, ..Include::default() }),
            min_scores: MinScores {
                vector: min_scores.vector.map(|x| x.0),
                text: min_scores.text.map(|x| x.0),
                rerank: min_scores.rerank.map(|x| x.0),
            },
            max_per_document: self.max_per_document,
            max_per_source: self.max_per_source,
            fusion: self.fusion.map(FusionBody::fusion),
            diversity: self.diversity.map(DiversityBody::diversity),
            phrases: self.phrases.map(Phrases::from).unwrap_or_default(),
            rerank: self.rerank.and_then(RerankBody::rerank),
            min_commit: self.min_commit.map(CommitNo),
            title_weight: self.title_weight.map(|weight| weight.0),
        })
    }
}

impl From<ModeWord> for Mode {
    fn from(word: ModeWord) -> Self {
        match word {
            ModeWord::Hybrid => Self::Hybrid,
            ModeWord::Vector => Self::Vector,
            ModeWord::Text => Self::Text,
        }
    }
}

/// How passages are separated from instructions.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RenderingWord {
    Plain,
    Delimited,
    Datamarked,
    Base64,
}

impl RequestBody for Context {
    type Checked = ContextRequest;

    fn check(mut self) -> Result<ContextRequest, Error> {
        if !(1..=limits::CONTEXT_TOKENS_MAX).contains(&self.max_tokens) {
            return Err(Error::invalid("max_tokens", "must be 1 to 200000"));
        }
        let rendering = match self.rendering {
            None | Some(RenderingWord::Delimited) => Rendering::Delimited,
            Some(RenderingWord::Plain) => Rendering::Plain,
            Some(RenderingWord::Datamarked) => Rendering::Datamarked,
            Some(RenderingWord::Base64) => Rendering::Base64,
        };
        Ok(ContextRequest { search: self.search().check()?, max_tokens: self.max_tokens, rendering })
    }
}

/// Result of a search.
#[derive(Serialize, ToSchema)]
pub(crate) struct SearchReply {
    /// Hits, best first.
    hits: Vec<Hit>,
    /// How the hits were ranked: `hybrid`, `vector` or `text`.
    mode: &'static str,
    /// Whether hits are missing because the reply would be longer than 16 MiB; `warnings` says so too.
    incomplete: bool,
    /// Warnings about a phrase that no passage contains, a key of the filter that no document has, or a limit that was
    /// reached.
    warnings: Vec<String>,
    commit: Commit,
    /// Duration of each step in milliseconds.
    timings_ms: BTreeMap<&'static str, f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explain: Option<Explain>,
}

/// A passage that was found.
#[derive(Serialize, ToSchema)]
pub(crate) struct Hit {
    document_id: String,
    /// Number of the passage in the document, from 0.
    passage: u32,
    /// The combined score, or the reranker's, raised if the passage contains quoted phrases. It only orders this reply
    /// and cannot be compared with other replies.
    score: f32,
    scores: Scores,
    title: Option<String>,
    uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[schema(value_type = Option<BTreeMap<String, Object>>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<common::AttributesJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vector: Option<Vec<f32>>,
    /// Position of the passage in the document's text in code points: the first one, and one past the last.
    span: [u32; 2],
    /// Positions of the question's words in this passage's text, in code points: at most 256, in order. Only in the
    /// modes `text` and `hybrid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    highlights: Option<Vec<[u32; 2]>>,
    findings: Vec<Finding>,
}

/// Scores of each ranking, to which `min_scores` applies.
#[derive(Serialize, ToSchema)]
pub(crate) struct Scores {
    /// Similarity of the vectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    vector: Option<f32>,
    /// BM25 score, with statistics over the passages that the key sees in this namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<f32>,
    /// Score of the reranker: 0 to 1 for a cross-encoder, -1 to 1 for late interaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    rerank: Option<f32>,
}

/// How the search was executed.
#[derive(Serialize, ToSchema)]
pub(crate) struct Explain {
    /// Number of passages of the namespace that the key sees.
    rows: u64,
    /// Number of passages that passed readers, status, expiry, filter and required phrases before any ranking.
    eligible_rows: u64,
    text_candidates: usize,
    vector_candidates: usize,
    /// How vectors were searched in each segment that has an eligible passage. A key without `read_all`, which must not
    /// learn how the namespace is divided, gets one sum over all segments.
    segments: Vec<SegmentSearch>,
    /// Constant of reciprocal rank fusion.
    rrf_k: f32,
    /// How both rankings were combined; absent in the modes `text` and `vector`.
    #[serde(skip_serializing_if = "Option::is_none")]
    fusion: Option<Fused>,
    /// How the candidates were reranked; absent if they were not.
    #[serde(skip_serializing_if = "Option::is_none")]
    rerank: Option<RerankExplain>,
}

/// How vectors were searched in one segment.
#[derive(Serialize, ToSchema)]
pub(crate) struct SegmentSearch {
    /// Number of passages in the segment.
    rows: u64,
    /// Number of these passages that were eligible.
    eligible_rows: u64,
    /// `scan`: every eligible passage was compared. `walk`: the HNSW graph was searched. `walk_then_scan`: a scan
    /// followed because the graph search found too few eligible passages. Absent for a key without `read_all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    way: Option<&'static str>,
    /// Number of candidates that a graph search kept (`ef`).
    #[serde(skip_serializing_if = "Option::is_none")]
    breadth: Option<usize>,
    /// Number of passages compared by their int8 codes. Absent for a key without `read_all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    compared: Option<u64>,
    /// Number of passages rescored in 16 bits: the best of the compared ones, or all eligible ones if there were few.
    /// Absent for a key without `read_all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    rescored: Option<u64>,
}

impl From<engine::SegmentSearch> for SegmentSearch {
    fn from(search: engine::SegmentSearch) -> Self {
        let engine::SegmentSearch { rows, eligible_rows, strategy: way, breadth, compared, rescored } = search;
        Self { rows, eligible_rows, way, breadth, compared, rescored }
    }
}

fn filled(text: Untrusted) -> Option<String> {
    (!text.is_empty()).then(|| text.into_exposed())
}

impl From<engine::SearchReply> for SearchReply {
    fn from(reply: engine::SearchReply) -> Self {
        Self {
            hits: reply.hits.into_iter().map(Hit::from).collect(),
            mode: reply.mode.as_str(),
            incomplete: reply.incomplete,
            warnings: reply.warnings,
            commit: reply.commit.into(),
            timings_ms: reply.timings.into_iter().collect(),
            explain: reply.explain.map(|e| Explain {
                rows: e.rows,
                eligible_rows: e.eligible_rows,
                text_candidates: e.text_candidates,
                vector_candidates: e.vector_candidates,
                segments: e.segments.into_iter().map(SegmentSearch::from).collect(),
                rrf_k: e.rrf_k,
                fusion: e.fusion.map(Fused::from),
                rerank: e.rerank.map(RerankExplain::from),
            }),
        }
    }
}

impl From<engine::SearchHit> for Hit {
    fn from(hit: engine::SearchHit) -> Self {
        Self {
            document_id: hit.document_id.as_str().to_owned(),
            passage: hit.passage,
            score: hit.score,
            scores: Scores { vector: hit.scores.vector, text: hit.scores.text, rerank: hit.scores.rerank },
            title: filled(hit.title),
            uri: filled(hit.uri),
            text: hit.text.map(Untrusted::into_exposed),
            attributes: hit.attributes.map(common::AttributesJson),
            vector: hit.vector,
            span: [hit.span.0, hit.span.1],
            highlights: hit.highlights.map(|spans| spans.into_iter().map(|(start, end)| [start, end]).collect()),
            findings: common::findings(&hit.findings),
        }
    }
}

/// Text for a prompt, with its sources.
#[derive(Serialize, ToSchema)]
pub(crate) struct ContextReply {
    context: String,
    /// The marker that separates passages; random in every reply, empty for `plain`.
    marker: String,
    /// Text for the caller's system prompt that explains the marker.
    preamble: String,
    /// Sources in the order of the context.
    sources: Vec<Source>,
    /// Number of tokens of the whole context.
    tokens: usize,
    /// Name of the tokenizer that counted the tokens.
    tokenizer: String,
    left_out: Vec<LeftOut>,
    commit: Commit,
    warnings: Vec<String>,
}

/// Source of a numbered passage.
#[derive(Serialize, ToSchema)]
pub(crate) struct Source {
    /// Number of the passage in the context, from 1.
    n: usize,
    document_id: String,
    passage: u32,
    title: Option<String>,
    uri: Option<String>,
    tokens: usize,
}

/// A document that was found but not used.
#[derive(Serialize, ToSchema)]
pub(crate) struct LeftOut {
    document_id: String,
    /// Reason: `budget` if it did not fit into `max_tokens`, `reply_size` if it did not fit into the 16 MiB of a reply.
    why: &'static str,
}

impl From<engine::ContextReply> for ContextReply {
    fn from(reply: engine::ContextReply) -> Self {
        let sources = reply.sources.into_iter().map(|s| Source {
            n: s.n,
            document_id: s.document_id.as_str().to_owned(),
            passage: s.passage,
            title: filled(s.title),
            uri: filled(s.uri),
            tokens: s.tokens,
        });
        let left_out = reply.left_out.into_iter();
        Self {
            context: reply.context.into_exposed(),
            marker: reply.marker,
            preamble: reply.preamble,
            sources: sources.collect(),
            tokens: reply.tokens,
            tokenizer: reply.tokenizer,
            left_out: left_out.map(|(id, why)| LeftOut { document_id: id.as_str().to_owned(), why }).collect(),
            commit: reply.commit.into(),
            warnings: reply.warnings,
        }
    }
}
