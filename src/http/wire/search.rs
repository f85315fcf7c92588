//! Search and context on the wire.

use super::{
    common::{self, Commit, Finding, Finite, PrincipalList, WordList},
    fusion::{DiversityBody, Fused, FusionBody},
    rerank::{RerankBody, RerankExplain},
};
use crate::{
    http::call::Incoming,
    strict::{Tree, Unread, Vector},
};
use engine::{ContextRequest, Include, MinScores, Mode, Phrases, Rendering, SearchRequest};
use kernel::{CommitNo, Error, Principal, Untrusted, limits};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// On whose behalf (scope `act_as`).
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActingAs {
    /// Such as `user:alice`.
    #[schema(value_type = Vec<String>)]
    principals: PrincipalList,
    /// For policies; this server has none that read them, so anything in it is refused.
    #[schema(value_type = Option<BTreeMap<String, Object>>)]
    attributes: Option<Unread>,
}

impl ActingAs {
    /// The principals.
    ///
    /// # Errors
    /// Names the member.
    pub(crate) fn check(self) -> Result<Vec<Principal>, Error> {
        if self.attributes.is_some_and(|a| a.filled) {
            return Err(Error::invalid("as.attributes", "is for policies, and this server has none that read it"));
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

/// What words in double quotes mean.
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

/// Least scores of the arms; a hit must have each that is asked for.
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
            /// The question. Passages that hold its words in double quotes, one after the other, come first (not in mode
            /// `vector`); with a plus before the quotes (`+"sick leave"`) no other passage answers. A word with a star at
            /// its end (`comput*`) stands for all that begin so. Nothing in a question is an error.
            query: Option<String>,
            /// Or its vector.
            #[schema(value_type = Option<Vec<common::Finite>>)]
            vector: Option<Vector>,
            /// Hits wanted, 1 to 1,000. Absent: 10.
            top_k: Option<usize>,
            /// Absent: what serves; the reply says which.
            mode: Option<ModeWord>,
            #[schema(value_type = Option<Object>)]
            filter: Option<Tree>,
            r#as: Option<ActingAs>,
            /// `text`, `attributes`, `vector`, `explain`, `highlights`. Absent: `text` and `attributes`.
            #[schema(value_type = Option<Vec<String>>)]
            include: Option<WordList>,
            min_scores: Option<MinScoresBody>,
            /// At most so many passages of one document.
            max_per_document: Option<usize>,
            /// At most so many passages of all documents with the same `uri`; those without one count each by itself.
            max_per_source: Option<usize>,
            fusion: Option<FusionBody>,
            diversity: Option<DiversityBody>,
            /// What words in double quotes mean: `prefer` (the default) puts passages that hold them first, those with
            /// more of the phrases before those with fewer; `require` lets no other passage answer, in any mode.
            /// `warnings` tell of a phrase that no passage holds.
            phrases: Option<PhrasesWord>,
            /// A model reads the best candidates beside the question and puts them in its own order; `score` is then its
            /// score. Needs `query`. 503 `model_unavailable` where no such model serves.
            rerank: Option<RerankBody>,
            /// Wait until this commit can be searched.
            min_commit: Option<u64>,
            /// How much more a word of the title counts than one of the passage, 0 to 10. Absent: 3.
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
    /// A search and a budget.
    #[schema(example = json!({"query": "how many days of leave", "max_tokens": 2000}))]
    Context {
        /// Tokens of the whole context, fences included.
        max_tokens: usize,
        /// How passages are set apart from instructions. Absent: delimited.
        rendering: Option<RenderingWord>,
    }
);

/// The members that search and context share.
struct SearchBody {
    query: Option<String>,
    vector: Option<Vector>,
    top_k: Option<usize>,
    mode: Option<ModeWord>,
    filter: Option<Tree>,
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

impl Incoming for Search {
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
        let wanted = self.min_scores.unwrap_or(MinScoresBody { vector: None, text: None, rerank: None });
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
                vector: wanted.vector.map(|x| x.0),
                text: wanted.text.map(|x| x.0),
                rerank: wanted.rerank.map(|x| x.0),
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

/// How passages are set apart from instructions.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RenderingWord {
    Plain,
    Delimited,
    Datamarked,
    Base64,
}

impl Incoming for Context {
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

/// What a search found.
#[derive(Serialize, ToSchema)]
pub(crate) struct SearchReply {
    /// Best first.
    hits: Vec<Hit>,
    /// How it was ranked: `hybrid`, `vector` or `text`.
    mode: &'static str,
    /// Part of the eligible passages went unsearched; `warnings` says why.
    incomplete: bool,
    warnings: Vec<String>,
    commit: Commit,
    /// Milliseconds of each step.
    timings_ms: BTreeMap<&'static str, f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explain: Option<Explain>,
}

/// A passage that answers.
#[derive(Serialize, ToSchema)]
pub(crate) struct Hit {
    document_id: String,
    /// Its number in the document, from 0.
    passage: u32,
    /// Fused, or the reranker's, and raised where the passage holds quoted phrases; orders this reply only.
    score: f32,
    scores: Scores,
    title: Option<String>,
    uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[schema(value_type = Option<BTreeMap<String, Object>>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<common::Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vector: Option<Vec<f32>>,
    /// Unicode code points of the document's text: first, and one past the last.
    span: [u32; 2],
    /// Unicode code points of this passage's text: words that were asked for, in their order, at most 256. In the modes
    /// `text` and `hybrid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    highlights: Option<Vec<[u32; 2]>>,
    findings: Vec<Finding>,
}

/// The arms' own scores.
#[derive(Serialize, ToSchema)]
pub(crate) struct Scores {
    #[serde(skip_serializing_if = "Option::is_none")]
    vector: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<f32>,
    /// The reranker's: a cross-encoder's from 0 to 1, late interaction's from -1 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    rerank: Option<f32>,
}

/// How the search was carried out.
#[derive(Serialize, ToSchema)]
pub(crate) struct Explain {
    /// Passages of the namespace that the key sees.
    rows: u64,
    /// Passages that passed readers, status, expiry and filter before any ranking.
    eligible_rows: u64,
    text_candidates: usize,
    vector_candidates: usize,
    /// How the vector arm searched each segment in which a passage was eligible; for a key without `read_all`, which is
    /// not told how the namespace is cut, all of them as one.
    segments: Vec<SegmentSearch>,
    /// Constant of the reciprocal rank fusion.
    rrf_k: f32,
    /// How the arms were fused; absent when one was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    fusion: Option<Fused>,
    /// How the candidates were reranked; absent when they were not.
    #[serde(skip_serializing_if = "Option::is_none")]
    rerank: Option<RerankExplain>,
}

/// How the vector arm searched one segment.
#[derive(Serialize, ToSchema)]
pub(crate) struct SegmentSearch {
    /// Its passages.
    rows: u64,
    /// Those that might answer.
    eligible_rows: u64,
    /// `scan` (every eligible passage compared), `walk` (of the HNSW graph), or `walk_then_scan` (the walk met too few
    /// that were eligible). Absent for a key without `read_all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    way: Option<&'static str>,
    /// Passages that a walk kept in view.
    #[serde(skip_serializing_if = "Option::is_none")]
    breadth: Option<usize>,
    /// Passages compared by their int8 codes. Absent for a key without `read_all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    compared: Option<u64>,
    /// Passages scored in 16 bits: the best of those, or all where so few were eligible that none was compared.
    /// Absent for a key without `read_all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    rescored: Option<u64>,
}

impl From<engine::SegmentSearch> for SegmentSearch {
    fn from(search: engine::SegmentSearch) -> Self {
        let engine::SegmentSearch { rows, eligible_rows, way, breadth, compared, rescored } = search;
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

impl From<engine::Hit> for Hit {
    fn from(hit: engine::Hit) -> Self {
        Self {
            document_id: hit.document_id.as_str().to_owned(),
            passage: hit.passage,
            score: hit.score,
            scores: Scores { vector: hit.scores.vector, text: hit.scores.text, rerank: hit.scores.rerank },
            title: filled(hit.title),
            uri: filled(hit.uri),
            text: hit.text.map(Untrusted::into_exposed),
            attributes: hit.attributes.map(common::Shown),
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
    /// What fences it; fresh for every reply, empty for plain.
    marker: String,
    /// For the caller's system prompt: what the marker means.
    preamble: String,
    /// In the order of the context.
    sources: Vec<Source>,
    /// Of the whole context.
    tokens: usize,
    /// Whose tokens.
    tokenizer: String,
    left_out: Vec<LeftOut>,
    commit: Commit,
    warnings: Vec<String>,
}

/// Where a numbered passage came from.
#[derive(Serialize, ToSchema)]
pub(crate) struct Source {
    /// Its number in the context, from 1.
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
    /// `budget`: it did not fit into `max_tokens`. `reply_size`: nor into the 16 MiB of a reply.
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
