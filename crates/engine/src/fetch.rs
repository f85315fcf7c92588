//! Fetches the chosen passages one by one, until the reply or its permit for memory is full.

use crate::{
    HitScores, SearchHit, admission::Permit, fuse::FusedCandidate, query::SearchPlan, reply_size,
    reply_size::ReplyBudget,
};
use kernel::{Attributes, CancelFlag, Error, limits};
use segment::Highlighter;
use std::{collections::HashMap, sync::Arc};
use store::{Address, Eligible, PassageReader, Snapshot};

/// The passages that were read.
pub(crate) struct FetchResult {
    pub(crate) hits: Vec<SearchHit>,
    /// Set if the reply could not hold all passages.
    pub(crate) warning: Option<String>,
}

/// Context of a fetch: the permit for memory, the highlighter, and the flag that the client has disconnected.
pub(crate) struct FetchContext<'a, 'b> {
    pub(crate) memory: &'a mut Permit,
    pub(crate) highlighter: Option<&'a mut Highlighter<'b>>,
    pub(crate) cancel: &'a CancelFlag,
}

/// Reads these passages in order. Stops early if the next one would make the reply too long; its size is known before
/// it is read.
///
/// # Errors
/// `rate_limited`, `overloaded` and `too_large` when there is no memory for a passage; when the client has
/// disconnected; when a document cannot be read.
pub(crate) fn fetch(
    snapshot: &Snapshot,
    plan: &SearchPlan,
    eligible: &Eligible,
    chosen: Vec<FusedCandidate<Address>>,
    mut fetching: FetchContext<'_, '_>,
) -> Result<FetchResult, Error> {
    // A reranker needs texts even if they are not shown.
    let include = plan.include_for_ranking();
    let dimensions = if include.vector { snapshot.dimensions() } else { 0 };
    let addresses = chosen.iter().map(|fused| fused.item);
    let mut passages = PassageReader::new(snapshot, eligible, addresses, include.attributes, include.vector);
    let mut budget = ReplyBudget::new();
    let mut lengths = AttributeLengths::default();
    let found = chosen.len();
    let mut hits = Vec::with_capacity(found);
    for FusedCandidate { item, score, retrievers: [text, near], phrases } in chosen {
        fetching.cancel.check()?;
        if include.attributes && !budget.fits(passages.attributes_at_least(item)?) {
            break;
        }
        let unread = passages.find(item)?;
        let attributes = if include.attributes { lengths.of(unread.attributes()) } else { 0 };
        let text_bytes = if include.text { unread.text_bytes() } else { 0 };
        if !budget.fits(attributes + text_bytes + 2 * dimensions as u64) {
            break;
        }
        fetching.memory.grow(unread.heap_bytes(dimensions))?;
        let passage = passages.read(unread)?;
        let whole = passage.text.expose();
        let highlights = fetching.highlighter.as_mut().map(|highlighter| highlighter.spans(whole)).transpose()?;
        let hit = SearchHit {
            document_id: passage.document_id,
            passage: passage.passage,
            score,
            scores: HitScores { vector: near, text, rerank: None },
            title: passage.title,
            uri: passage.uri,
            highlights,
            text: include.text.then_some(passage.text),
            attributes: include.attributes.then_some(passage.attributes),
            vector: passage.vector,
            span: (passage.span.point_start, passage.span.point_end),
            findings: passage.findings,
            tokens: passage.tokens,
            phrases,
        };
        let length = reply_size::hit(&hit) + attributes;
        if !budget.take(length) {
            break;
        }
        fetching.memory.grow(length)?;
        hits.push(hit);
    }
    let warning = (hits.len() < found).then(|| {
        format!(
            "only the first {} of {found} hits fit into the {} MiB of a reply; ask for fewer (top_k), or for less of each (include)",
            hits.len(),
            limits::REPLY_BYTES_SOFT >> 20
        )
    });
    Ok(FetchResult { hits, warning })
}

/// Lengths of attributes as JSON, computed once for all hits of a document.
#[derive(Default)]
struct AttributeLengths(HashMap<*const Attributes, u64>);

impl AttributeLengths {
    /// Keyed by address: the hits keep the attributes alive, so no address is reused.
    fn of(&mut self, attributes: &Arc<Attributes>) -> u64 {
        *self.0.entry(Arc::as_ptr(attributes)).or_insert_with(|| reply_size::attributes(attributes))
    }
}
