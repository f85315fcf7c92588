//! Upper bounds for the length of a reply as JSON, and the budget for one reply.
//!
//! Promises bounds that are never too small: a reply is not longer than the sum of its parts as counted here.

use crate::{Include, SearchHit};
use kernel::{Attributes, Code, Document, Error, Finding, Untrusted, json_bytes, limits};

/// Bytes that a reply may still take. The first part alone may be longer than all parts together.
pub(crate) struct ReplyBudget {
    taken: u64,
}

impl ReplyBudget {
    /// The budget of an empty reply.
    pub(crate) fn new() -> Self {
        Self { taken: 0 }
    }

    /// Whether this number of further bytes fits.
    pub(crate) fn fits(&self, bytes: u64) -> bool {
        let most = if self.taken == 0 { limits::REPLY_BYTES_MAX } else { limits::REPLY_BYTES_SOFT };
        self.taken.saturating_add(bytes) <= most - ENVELOPE
    }

    /// Takes these bytes if they fit, and returns whether they did.
    pub(crate) fn take(&mut self, bytes: u64) -> bool {
        let fits = self.fits(bytes);
        if fits {
            self.taken += bytes;
        }
        fits
    }
}

/// Error for a part that alone is longer than a reply may be.
pub(crate) fn too_long(what: &str, remedy: &str) -> Error {
    let most = limits::REPLY_BYTES_MAX >> 20;
    Error::new(Code::TooLarge, format!("{what} would take more than the {most} MiB of a reply; {remedy}"))
        .with_param("include")
}

/// Bound of the length of a hit without its attributes.
pub(crate) fn hit(hit: &SearchHit) -> u64 {
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

/// Bound of the length of a document as it is shown.
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

/// Bound of the length of attributes.
pub(crate) fn attributes(attributes: &Attributes) -> u64 {
    2 + attributes.iter().map(|(key, value)| json_bytes(key) + value.json_bytes() + 2).sum::<u64>()
}

/// Bound of the length of findings.
pub(crate) fn findings(findings: &[Finding]) -> u64 {
    findings.iter().map(|finding| FINDING + json_bytes(&finding.rule)).sum()
}

/// Bound of the length of a vector.
fn numbers(values: &[f32]) -> u64 {
    2 + NUMBER * values.len() as u64
}

/// Bytes around hits or documents: warnings, times, and an explanation of thousands of segments.
const ENVELOPE: u64 = 1 << 20;
/// Bytes for member names, numbers and times of a hit or a document.
const MEMBERS: u64 = 640;
/// Bytes for member names and words of a finding.
const FINDING: u64 = 128;
/// Bytes of the longest number: `-1.17549435e-38,`
const NUMBER: u64 = 16;
/// Bytes of the longest pair: `[4294967295,4294967295],`
const PAIR: u64 = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_ends_at_its_soft_bound_but_has_its_first_part() {
        let mut budget = ReplyBudget::new();
        assert!(!budget.fits(limits::REPLY_BYTES_MAX) && budget.fits(limits::REPLY_BYTES_MAX - ENVELOPE));
        assert!(budget.take(limits::REPLY_BYTES_SOFT / 2));
        assert!(!budget.take(limits::REPLY_BYTES_SOFT / 2), "the envelope has its share");
        assert!(budget.take(limits::REPLY_BYTES_SOFT / 2 - ENVELOPE) && !budget.take(1) && !budget.fits(u64::MAX));
        let mut budget = ReplyBudget::new();
        assert!(budget.take(limits::REPLY_BYTES_SOFT * 2) && !budget.take(1), "what is long alone stays alone");
    }
}
