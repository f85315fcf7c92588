//! Upper bounds for the length of a reply as JSON, and how much of it is left.
//!
//! Promises bounds that are never too small: a reply whose parts were counted here is not longer.

use crate::{Hit, Include};
use kernel::{Attributes, Code, Document, Error, Finding, Untrusted, json_bytes, limits};

/// What a reply may still take. The first part alone may be longer than all parts together.
pub(crate) struct ReplyRoom {
    taken: u64,
}

impl ReplyRoom {
    /// An empty reply.
    pub(crate) fn new() -> Self {
        Self { taken: 0 }
    }

    /// Whether this number of further bytes fits.
    pub(crate) fn fits(&self, bytes: u64) -> bool {
        let most = if self.taken == 0 { limits::REPLY_BYTES_MAX } else { limits::REPLY_BYTES_SOFT };
        self.taken.saturating_add(bytes) <= most - ENVELOPE
    }

    /// Takes these bytes if they fit; says whether they did.
    pub(crate) fn take(&mut self, bytes: u64) -> bool {
        let fits = self.fits(bytes);
        if fits {
            self.taken += bytes;
        }
        fits
    }
}

/// The error for a part that alone is longer than a reply may be.
pub(crate) fn too_long(what: &str, remedy: &str) -> Error {
    let most = limits::REPLY_BYTES_MAX >> 20;
    Error::new(Code::TooLarge, format!("{what} would take more than the {most} MiB of a reply; {remedy}"))
        .with_param("include")
}

/// Length of a hit without its attributes.
pub(crate) fn hit(hit: &Hit) -> u64 {
    let text = hit.text.as_ref().map_or(0, Untrusted::json_bytes);
    let highlights = hit.highlights.as_ref().map_or(0, |spans| PAIR * spans.len() as u64);
    MEMBERS
        + json_bytes(hit.document_id.as_str())
        + hit.title.json_bytes()
        + hit.uri.json_bytes()
        + text
        + numbers(hit.vector.as_deref().unwrap_or_default())
        + highlights
        + findings(&hit.findings)
}

/// Length of a document as it is shown.
pub(crate) fn document(document: &Document, include: Include) -> u64 {
    let readers: u64 = document.readers.iter().flatten().map(|reader| json_bytes(reader.as_str()) + 1).sum();
    MEMBERS
        + json_bytes(document.id.as_str())
        + document.title.json_bytes()
        + document.uri.json_bytes()
        + readers
        + findings(&document.findings)
        + if include.text { document.text.json_bytes() } else { 0 }
        + if include.attributes { attributes(&document.attributes) } else { 0 }
        + if include.vector { numbers(&document.vectors) + 3 * document.passages.len() as u64 } else { 0 }
}

/// Length of attributes.
pub(crate) fn attributes(attributes: &Attributes) -> u64 {
    2 + attributes.iter().map(|(key, value)| json_bytes(key) + value.json_bytes() + 2).sum::<u64>()
}

/// Length of findings.
pub(crate) fn findings(findings: &[Finding]) -> u64 {
    findings.iter().map(|finding| FINDING + json_bytes(&finding.rule)).sum()
}

/// Length of a vector.
fn numbers(values: &[f32]) -> u64 {
    2 + NUMBER * values.len() as u64
}

/// What stands around hits or documents: warnings, times, a plan of thousands of segments.
const ENVELOPE: u64 = 1 << 20;
/// Names of members, numbers and times of a hit or a document.
const MEMBERS: u64 = 640;
/// Names of members and words of a finding.
const FINDING: u64 = 128;
/// `-1.17549435e-38,`
const NUMBER: u64 = 16;
/// `[4294967295,4294967295],`
const PAIR: u64 = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_ends_at_its_soft_bound_but_has_its_first_part() {
        let mut room = ReplyRoom::new();
        assert!(!room.fits(limits::REPLY_BYTES_MAX) && room.fits(limits::REPLY_BYTES_MAX - ENVELOPE));
        assert!(room.take(limits::REPLY_BYTES_SOFT / 2));
        assert!(!room.take(limits::REPLY_BYTES_SOFT / 2), "the envelope has its share");
        assert!(room.take(limits::REPLY_BYTES_SOFT / 2 - ENVELOPE) && !room.take(1) && !room.fits(u64::MAX));
        let mut room = ReplyRoom::new();
        assert!(room.take(limits::REPLY_BYTES_SOFT * 2) && !room.take(1), "what is long alone stays alone");
    }
}
