//! Living documents of several parts, in the order of their keys: what merges, flushes and compaction
//! are made of.
//!
//! Expired documents are left out, which is how they leave the disk.

use crate::{Error, part::Part};
use kernel::{Document, DocumentId, Timestamp};
use segment::{Links, Reused, Segment, Spec, Stop};
use zeroize::Zeroizing;

/// One segment in memory with what lives in `parts`; `None` when nothing does.
///
/// # Errors
/// When a document does not read.
pub(crate) fn in_memory(spec: Spec, parts: &[Part], now: Timestamp) -> Result<Option<Segment>, Error> {
    let order = living(parts, now)?;
    if order.is_empty() {
        return Ok(None);
    }
    let docs =
        order.iter().map(|(_, part, doc)| parts[*part].index.document(*doc, true)).collect::<Result<Vec<_>, _>>()?;
    Ok(Some(Segment::in_memory(&spec, docs)?))
}

/// The bytes of one sealed segment with what lives in `parts`.
///
/// # Errors
/// When a document does not read or the index does not build; when it was stopped.
pub(crate) fn write(
    spec: Spec,
    parts: &[Part],
    now: Timestamp,
    links: Links,
    stop: &Stop,
) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let order = living(parts, now)?;
    if order.is_empty() {
        return Ok(None);
    }
    let mut fault = None;
    let mut docs = order.iter().map_while(|(_, part, doc)| read(&parts[*part], *doc, &mut fault));
    let reused = reusable(parts).map(|(at, segment)| {
        let documents = order.iter().map(|(_, part, doc)| (*part == at).then_some(*doc)).collect();
        Reused { segment, documents }
    });
    let bytes = Segment::write_unless(&spec, &mut docs, links, reused.as_ref(), stop)?;
    match fault {
        Some(error) => Err(error.into()),
        None => Ok(Some(bytes)),
    }
}

/// The part whose graph has most that lives, and its place.
fn reusable(parts: &[Part]) -> Option<(usize, &Segment)> {
    let linked = |(at, part): (usize, _)| Part::linked(part).map(|segment| (part.counts.passages, at, segment));
    parts.iter().enumerate().filter_map(linked).max_by_key(|(rows, ..)| *rows).map(|(_, at, segment)| (at, segment))
}

/// Ends the sequence at the first document that does not read, and keeps why.
fn read(part: &Part, doc: u32, fault: &mut Option<segment::Error>) -> Option<Document> {
    part.index.document(doc, true).map_err(|error| *fault = Some(error)).ok()
}

/// Id, place of the part and document number of all that lives, by id.
fn living(parts: &[Part], now: Timestamp) -> Result<Vec<(DocumentId, usize, u32)>, Error> {
    let mut order = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        for doc in part.live() - part.index.expired(now) {
            order.push((part.index.id_of(doc)?, at, doc));
        }
    }
    order.sort();
    Ok(order)
}
