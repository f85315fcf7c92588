//! Rebuilds segments from the live documents of several, in the order of their keys: the common part of merges, flushes
//! and compaction.
//!
//! Expired documents are left out, which is how they leave the disk.

use crate::{Error, state::live_segment::LiveSegment};
use kernel::{Document, DocumentId, Timestamp};
use segment::{GraphMode, GraphSource, Segment, Spec, StopFlag};
use zeroize::Zeroizing;

/// Builds one segment in memory from the live documents of `segments`; `None` if there are none.
///
/// # Errors
/// Fails if a document cannot be read.
pub(crate) fn in_memory(spec: Spec, segments: &[LiveSegment], now: Timestamp) -> Result<Option<Segment>, Error> {
    let order = live_documents(segments, now)?;
    if order.is_empty() {
        return Ok(None);
    }
    let docs =
        order.iter().map(|(_, live, doc)| segments[*live].index.document(*doc, true)).collect::<Result<Vec<_>, _>>()?;
    Ok(Some(Segment::in_memory(&spec, docs)?))
}

/// Builds the bytes of one sealed segment from the live documents of `segments`; `None` if there are none.
///
/// # Errors
/// Fails if a document cannot be read, if the index cannot be built, or if it was stopped.
pub(crate) fn write(
    spec: Spec,
    segments: &[LiveSegment],
    now: Timestamp,
    links: GraphMode,
    stop: &StopFlag,
) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let order = live_documents(segments, now)?;
    if order.is_empty() {
        return Ok(None);
    }
    // The iterator cannot return errors, so the first one is kept aside and reported at the end.
    let mut fault = None;
    let mut docs = order.iter().map_while(|(_, live, doc)| read(&segments[*live], *doc, &mut fault));
    let reused = reusable(segments).map(|(at, segment)| {
        let documents = order.iter().map(|(_, live, doc)| (*live == at).then_some(*doc)).collect();
        GraphSource { segment, documents }
    });
    let bytes = Segment::write_stoppable(&spec, &mut docs, links, reused.as_ref(), stop)?;
    match fault {
        Some(error) => Err(error.into()),
        None => Ok(Some(bytes)),
    }
}

/// The segment whose graph has the most live rows, with its index in `segments`.
fn reusable(segments: &[LiveSegment]) -> Option<(usize, &Segment)> {
    let with_graph =
        |(at, live): (usize, _)| LiveSegment::linked(live).map(|segment| (live.counts.passages, at, segment));
    segments
        .iter()
        .enumerate()
        .filter_map(with_graph)
        .max_by_key(|(rows, ..)| *rows)
        .map(|(_, at, segment)| (at, segment))
}

/// Reads a document. Ends the sequence at the first one that cannot be read, and keeps the error.
fn read(live: &LiveSegment, doc: u32, fault: &mut Option<segment::Error>) -> Option<Document> {
    live.index.document(doc, true).map_err(|error| *fault = Some(error)).ok()
}

/// Id, index of the segment and document number of every live document, in the order of ids.
fn live_documents(segments: &[LiveSegment], now: Timestamp) -> Result<Vec<(DocumentId, usize, u32)>, Error> {
    let mut order = Vec::new();
    for (at, live) in segments.iter().enumerate() {
        for doc in live.live() - live.index.expired(now) {
            order.push((live.index.id_of(doc)?, at, doc));
        }
    }
    order.sort();
    Ok(order)
}
