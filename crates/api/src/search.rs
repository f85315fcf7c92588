//! Search.

use crate::{
    attributes::AttributesJson,
    common::{CommitNumber, Finite, PrincipalList, ScreenFinding, WordList},
    fusion::{DiversityBody, Fused, FusionBody},
    rerank::{RerankBody, RerankExplain},
    strict::{FilterTree, IgnoredObject, SentVector},
};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeMap};
use utoipa::ToSchema;

/// The principals on whose behalf the request reads, instead of the key's own (scope `act_as`).
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActingAs {
    /// Principals such as `user:alice`.
    #[schema(value_type = Vec<String>)]
    pub principals: PrincipalList,
    /// Reserved for policies. This server has none, so anything but an empty object is refused.
    #[schema(value_type = Option<BTreeMap<String, Object>>)]
    pub attributes: Option<IgnoredObject>,
}

/// How to rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ModeWord {
    Hybrid,
    Vector,
    Text,
}

/// Meaning of words in double quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PhrasesWord {
    Prefer,
    Require,
}

/// Minimum scores of a hit, which must reach each given score. They apply to the scores in `scores`.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MinScoresBody {
    pub vector: Option<Finite>,
    pub text: Option<Finite>,
    pub rerank: Option<Finite>,
}

/// A search.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"query": "how many days of leave", "top_k": 5, "filter": {"type": "eq", "key": "year", "value": 2026}}))]
pub struct Search {
    /// The question, 1 to 32,768 bytes. Passages that contain its quoted words as a phrase come first (not in
    /// mode `vector`); with a plus before the quotes (`+"sick leave"`) no other passage is returned. A word
    /// that ends with a star (`comput*`) matches all words with that beginning. No syntax in a question is an
    /// error.
    pub query: Option<String>,
    /// Vector of the question, with `query` or instead of it.
    #[schema(value_type = Option<Vec<Finite>>)]
    pub vector: Option<SentVector>,
    /// Maximum number of hits, 1 to 1,000. Absent: 10. A reply ends before the hit that would make it longer
    /// than 16 MiB.
    pub top_k: Option<usize>,
    /// Absent: `hybrid` if a model or a vector allows it, otherwise the available mode; the reply names it. A
    /// given mode is never replaced by another.
    pub mode: Option<ModeWord>,
    /// Only passages of documents that match: `{"type", "key", "value"}` with
    /// `eq ne gt gte lt lte in nin contains prefix exists match`, or `{"type", "filters"}` with `and or not`.
    /// Applied before ranking.
    #[schema(value_type = Option<Object>)]
    pub filter: Option<FilterTree>,
    pub r#as: Option<ActingAs>,
    /// Parts to return: `text`, `attributes`, `vector`, `explain`, `highlights`. Absent: `text` and
    /// `attributes`.
    #[schema(value_type = Option<Vec<String>>)]
    pub include: Option<WordList>,
    pub min_scores: Option<MinScoresBody>,
    /// Maximum number of passages per document.
    pub max_per_document: Option<usize>,
    /// Maximum number of passages of all documents with the same `uri`; documents without a `uri` count
    /// separately.
    pub max_per_source: Option<usize>,
    pub fusion: Option<FusionBody>,
    pub diversity: Option<DiversityBody>,
    /// Meaning of words in double quotes: `prefer` (the default) ranks passages that contain them first, those
    /// with more of the phrases before those with fewer; `require` returns no other passage, in any mode.
    /// `warnings` name a phrase that no passage contains.
    pub phrases: Option<PhrasesWord>,
    /// A model reads the best candidates together with the question and reorders them; `score` is then its
    /// score. Requires `query`. 503 `model_unavailable` if no such model is available.
    pub rerank: Option<RerankBody>,
    /// Wait for at most 5 s until this commit can be searched; otherwise 503 `overloaded`.
    pub min_commit: Option<u64>,
    /// Weight of a word in the title relative to one in the passage, 0 to 10. Absent: 3.
    pub title_weight: Option<Finite>,
}

/// Result of a search.
#[derive(Deserialize, Serialize, ToSchema)]
#[schema(as = SearchReply)]
pub struct SearchResults {
    /// Hits, best first.
    pub hits: Vec<RankedPassage>,
    /// How the hits were ranked: `hybrid`, `vector` or `text`.
    pub mode: Cow<'static, str>,
    /// Whether hits are missing because the reply would be longer than 16 MiB; `warnings` says so too.
    pub incomplete: bool,
    /// Warnings about a phrase that no passage contains, a key of the filter that no document has, or a limit that was
    /// reached.
    pub warnings: Vec<String>,
    pub commit: CommitNumber,
    /// Duration of each step in milliseconds.
    pub timings_ms: BTreeMap<Cow<'static, str>, f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explain: Option<Explain>,
}

/// A passage that was found.
#[derive(Deserialize, Serialize, ToSchema)]
#[schema(as = Hit)]
pub struct RankedPassage {
    pub document_id: String,
    /// Number of the passage in the document, from 0.
    pub passage: u32,
    /// The combined score, or the reranker's, raised if the passage contains quoted phrases. It only orders this reply
    /// and cannot be compared with other replies.
    pub score: f32,
    pub scores: Scores,
    pub title: Option<String>,
    pub uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[schema(value_type = Option<BTreeMap<String, Object>>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<AttributesJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector: Option<Vec<f32>>,
    /// Position of the passage in the document's text in code points: the first one, and one past the last.
    pub span: [u32; 2],
    /// Positions of the question's words in this passage's text, in code points: at most 256, in order. Only in the
    /// modes `text` and `hybrid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub highlights: Option<Vec<[u32; 2]>>,
    pub findings: Vec<ScreenFinding>,
}

/// Scores of each ranking, to which `min_scores` applies.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct Scores {
    /// Similarity of the vectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector: Option<f32>,
    /// BM25 score, with statistics over the passages that the key sees in this namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<f32>,
    /// Score of the reranker: 0 to 1 for a cross-encoder, -1 to 1 for late interaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank: Option<f32>,
}

/// How the search was executed.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct Explain {
    /// Number of passages of the namespace that the key sees.
    pub rows: u64,
    /// Number of passages that passed readers, status, expiry, filter and required phrases before any ranking.
    pub eligible_rows: u64,
    pub text_candidates: usize,
    pub vector_candidates: usize,
    /// How vectors were searched in each segment that has an eligible passage. A key without `read_all`, which must not
    /// learn how the namespace is divided, gets one sum over all segments.
    pub segments: Vec<SearchedSegment>,
    /// Constant of reciprocal rank fusion.
    pub rrf_k: f32,
    /// How both rankings were combined; absent in the modes `text` and `vector`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fusion: Option<Fused>,
    /// How the candidates were reranked; absent if they were not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank: Option<RerankExplain>,
}

/// How vectors were searched in one segment.
#[derive(Deserialize, Serialize, ToSchema)]
#[schema(as = SegmentSearch)]
pub struct SearchedSegment {
    /// Number of passages in the segment.
    pub rows: u64,
    /// Number of these passages that were eligible.
    pub eligible_rows: u64,
    /// `scan`: every eligible passage was compared. `walk`: the HNSW graph was searched. `walk_then_scan`: a scan
    /// followed because the graph search found too few eligible passages. Absent for a key without `read_all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way: Option<Cow<'static, str>>,
    /// Number of candidates that a graph search kept (`ef`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breadth: Option<usize>,
    /// Number of passages compared by their int8 codes. Absent for a key without `read_all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared: Option<u64>,
    /// Number of passages rescored in 16 bits: the best of the compared ones, or all eligible ones if there were few.
    /// Absent for a key without `read_all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rescored: Option<u64>,
}
