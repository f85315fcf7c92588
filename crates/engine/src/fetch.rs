//! Fetches the winners: passages are read one by one, until the reply or its permit for memory is full.

use crate::{Hit, Scores, fuse::Fused, query::Plan, reply_size, reply_size::ReplyRoom, turnstile::Pass};
use kernel::{Attributes, Error, Presence, limits};
use segment::Highlighter;
use std::{collections::HashMap, sync::Arc};
use store::{Address, Eligible, Passages, Snapshot};

/// The passages that were read.
pub(crate) struct Fetched {
    pub(crate) hits: Vec<Hit>,
    /// Set if the reply could not hold all passages.
    pub(crate) warning: Option<String>,
}

/// What fetching needs beside the passages: memory, highlighter, client.
pub(crate) struct Fetching<'a, 'b> {
    pub(crate) memory: &'a mut Pass,
    pub(crate) highlighter: Option<&'a mut Highlighter<'b>>,
    pub(crate) presence: &'a Presence,
}

/// Reads these passages in order. Ends early if the next one would make the reply too long: its size is known before it is
/// read.
///
/// # Errors
/// `rate_limited`, `overloaded` and `too_large` when there is no memory for it; when the caller has gone; when a
/// document does not read.
pub(crate) fn fetch(
    snapshot: &Snapshot,
    plan: &Plan,
    eligible: &Eligible,
    chosen: Vec<Fused<Address>>,
    mut fetching: Fetching<'_, '_>,
) -> Result<Fetched, Error> {
    // A reranker needs texts even if they are not shown.
    let include = plan.include_for_ranking();
    let dimensions = if include.vector { snapshot.dimensions() } else { 0 };
    let addresses = chosen.iter().map(|fused| fused.item);
    let mut passages = Passages::new(snapshot, eligible, addresses, include.attributes, include.vector);
    let mut room = ReplyRoom::new();
    let mut lengths = Lengths::default();
    let found = chosen.len();
    let mut hits = Vec::with_capacity(found);
    for Fused { item, score, arms: [text, near], phrases } in chosen {
        fetching.presence.check()?;
        if include.attributes && !room.fits(passages.attributes_at_least(item)?) {
            break;
        }
        let unread = passages.find(item)?;
        let attributes = if include.attributes { lengths.of(unread.attributes()) } else { 0 };
        let text_bytes = if include.text { unread.text_bytes() } else { 0 };
        if !room.fits(attributes + text_bytes + 2 * dimensions as u64) {
            break;
        }
        fetching.memory.grow(unread.heap_bytes(dimensions))?;
        let passage = passages.read(unread)?;
        let whole = passage.text.expose();
        let highlights = fetching.highlighter.as_mut().map(|highlighter| highlighter.spans(whole)).transpose()?;
        let hit = Hit {
            document_id: passage.document_id,
            passage: passage.passage,
            score,
            scores: Scores { vector: near, text, rerank: None },
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
        if !room.take(length) {
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
    Ok(Fetched { hits, warning })
}

/// Lengths of attributes as JSON, computed once for all hits of a document.
#[derive(Default)]
struct Lengths(HashMap<*const Attributes, u64>);

impl Lengths {
    /// Keyed by address: the hits keep the attributes alive, so no address is reused.
    fn of(&mut self, attributes: &Arc<Attributes>) -> u64 {
        *self.0.entry(Arc::as_ptr(attributes)).or_insert_with(|| reply_size::attributes(attributes))
    }
}
