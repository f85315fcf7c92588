//! Search and context.

use super::{Convert, common};
use crate::http::request_data::RequestBody;
use api::{
    attributes::AttributesJson,
    context::{Budget, Context, LeftOut, RenderedContext, RenderingWord, Source},
    search::{ActingAs, Explain, ModeWord, PhrasesWord, RankedPassage, Scores, Search, SearchResults, SearchedSegment},
};
use engine::{ContextRequest, Include, MinScores, Mode, Phrases, Rendering, SearchRequest};
use kernel::{CommitNo, Error, Principal, Untrusted, limits};
use std::borrow::Cow;

/// The checked principals on whose behalf a request reads.
///
/// # Errors
/// An error that names the member.
pub(super) fn acting_as(given: ActingAs) -> Result<Vec<Principal>, Error> {
    if given.attributes.is_some_and(|a| a.has_members) {
        return Err(Error::invalid("as.attributes", "is reserved for policies, and this server has none"));
    }
    common::principals("as.principals", given.principals)
}

impl Convert<Phrases> for PhrasesWord {
    fn convert(self) -> Phrases {
        match self {
            PhrasesWord::Prefer => Phrases::Prefer,
            PhrasesWord::Require => Phrases::Require,
        }
    }
}

impl RequestBody for Search {
    type Checked = SearchRequest;

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
        let min_scores = self.min_scores.unwrap_or_default();
        let known = ["text", "attributes", "vector", "explain", "highlights"];
        let include = common::include(self.include.as_ref().map(|list| &*list.0), &known)?;
        Ok(SearchRequest {
            query: self.query.map(Untrusted::new),
            vector: self.vector.map(|v| v.0.map_err(|fault| fault.at("vector"))).transpose()?,
            top_k,
            mode: self.mode.map(Convert::convert),
            filter: common::filter(self.filter)?,
            acting_as: self.r#as.map(acting_as).transpose()?,
            include: include.unwrap_or(Include { text: true, attributes: true, ..Include::default() }),
            min_scores: MinScores {
                vector: min_scores.vector.map(|x| x.0),
                text: min_scores.text.map(|x| x.0),
                rerank: min_scores.rerank.map(|x| x.0),
            },
            max_per_document: self.max_per_document,
            max_per_source: self.max_per_source,
            fusion: self.fusion.map(Convert::convert),
            diversity: self.diversity.map(Convert::convert),
            phrases: self.phrases.map(Convert::convert).unwrap_or_default(),
            rerank: self.rerank.and_then(Convert::convert),
            min_commit: self.min_commit.map(CommitNo),
            title_weight: self.title_weight.map(|weight| weight.0),
        })
    }
}

impl Convert<Mode> for ModeWord {
    fn convert(self) -> Mode {
        match self {
            ModeWord::Hybrid => Mode::Hybrid,
            ModeWord::Vector => Mode::Vector,
            ModeWord::Text => Mode::Text,
        }
    }
}

impl RequestBody for Context {
    type Checked = ContextRequest;

    fn check(self) -> Result<ContextRequest, Error> {
        let Budget { max_tokens, rendering } = self.budget;
        if !(1..=limits::CONTEXT_TOKENS_MAX).contains(&max_tokens) {
            return Err(Error::invalid("max_tokens", "must be 1 to 200000"));
        }
        let rendering = match rendering {
            None | Some(RenderingWord::Delimited) => Rendering::Delimited,
            Some(RenderingWord::Plain) => Rendering::Plain,
            Some(RenderingWord::Datamarked) => Rendering::Datamarked,
            Some(RenderingWord::Base64) => Rendering::Base64,
        };
        Ok(ContextRequest { search: self.search.check()?, max_tokens, rendering })
    }
}

impl Convert<SearchedSegment> for engine::SegmentSearch {
    fn convert(self) -> SearchedSegment {
        let engine::SegmentSearch { rows, eligible_rows, strategy, breadth, compared, rescored } = self;
        SearchedSegment { rows, eligible_rows, way: strategy.map(Cow::Borrowed), breadth, compared, rescored }
    }
}

fn filled(text: Untrusted) -> Option<String> {
    (!text.is_empty()).then(|| text.into_exposed())
}

impl Convert<SearchResults> for engine::SearchReply {
    fn convert(self) -> SearchResults {
        SearchResults {
            hits: self.hits.into_iter().map(Convert::convert).collect(),
            mode: self.mode.as_str().into(),
            incomplete: self.incomplete,
            warnings: self.warnings,
            commit: self.commit.convert(),
            timings_ms: self.timings.into_iter().map(|(step, ms)| (step.into(), ms)).collect(),
            explain: self.explain.map(|e| Explain {
                rows: e.rows,
                eligible_rows: e.eligible_rows,
                text_candidates: e.text_candidates,
                vector_candidates: e.vector_candidates,
                segments: e.segments.into_iter().map(Convert::convert).collect(),
                rrf_k: e.rrf_k,
                fusion: e.fusion.map(Convert::convert),
                rerank: e.rerank.map(Convert::convert),
            }),
        }
    }
}

impl Convert<RankedPassage> for engine::SearchHit {
    fn convert(self) -> RankedPassage {
        RankedPassage {
            document_id: self.document_id.as_str().to_owned(),
            passage: self.passage,
            score: self.score,
            scores: Scores { vector: self.scores.vector, text: self.scores.text, rerank: self.scores.rerank },
            title: filled(self.title),
            uri: filled(self.uri),
            text: self.text.map(Untrusted::into_exposed),
            attributes: self.attributes.map(AttributesJson),
            vector: self.vector,
            span: [self.span.0, self.span.1],
            highlights: self.highlights.map(|spans| spans.into_iter().map(|(start, end)| [start, end]).collect()),
            findings: common::findings(&self.findings),
        }
    }
}

impl Convert<RenderedContext> for engine::ContextReply {
    fn convert(self) -> RenderedContext {
        let sources = self.sources.into_iter().map(|s| Source {
            n: s.n,
            document_id: s.document_id.as_str().to_owned(),
            passage: s.passage,
            title: filled(s.title),
            uri: filled(s.uri),
            tokens: s.tokens,
        });
        let left_out = self.left_out.into_iter();
        RenderedContext {
            context: self.context.into_exposed(),
            marker: self.marker,
            preamble: self.preamble,
            sources: sources.collect(),
            tokens: self.tokens,
            tokenizer: self.tokenizer,
            left_out: left_out
                .map(|(id, why)| LeftOut { document_id: id.as_str().to_owned(), why: why.into() })
                .collect(),
            commit: self.commit.convert(),
            warnings: self.warnings,
        }
    }
}
