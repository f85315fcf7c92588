//! One piece of text through every screen, and the replacing of what the policy masks.

use super::{Report, Stream, injection, personal, rules::Rule, secrets};
use kernel::{FindingKind, ScreenAction};
use std::cmp::Reverse;

/// Where a rule met, in bytes of the text that was scanned. Small: a document may hold one for every six bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit {
    pub(super) rule: &'static Rule,
    start: u32,
    end: u32,
}

impl Hit {
    pub(super) fn new(rule: &'static Rule, start: usize, end: usize) -> Self {
        // Texts are shorter than 4 GiB.
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self { rule, start: small(start), end: small(end) }
    }

    /// A hit that has no place in the text.
    pub(super) fn somewhere(rule: &'static Rule) -> Self {
        Self { rule, start: 0, end: 0 }
    }

    pub(super) fn start(&self) -> usize {
        self.start as usize
    }

    pub(super) fn end(&self) -> usize {
        self.end as usize
    }
}

/// Scans a text, counts what is found, and says what to replace.
pub(super) fn scan(text: &str, stream: Stream, report: &mut Report) -> Vec<Hit> {
    let mut hits = Vec::new();
    kernel::give_way(text.len() as u64);
    if report.wants(FindingKind::Secret) {
        secrets::find(text, &mut hits);
    }
    kernel::give_way(text.len() as u64);
    if report.wants(FindingKind::Pii) {
        personal::find(text, &mut hits);
    }
    count(&mut hits, report);
    kernel::give_way(text.len() as u64);
    if report.wants(FindingKind::Injection) {
        let mapped = report.policy.injection == ScreenAction::Mask;
        let mut orders = injection::find(text, stream, mapped);
        count(&mut orders, report);
        hits.extend(orders);
    }
    hits.retain(|hit| report.action(hit.rule) == ScreenAction::Mask && hit.start < hit.end);
    joined(hits)
}

/// Scans a text and gives it back with what the policy masks replaced.
pub(crate) fn scan_and_mask(text: &str, stream: Stream, report: &mut Report) -> String {
    let edits = scan(text, stream, report);
    apply(text, &edits)
}

/// Puts hits in order and counts those that lie apart: of hits that overlap, the first to start,
/// then the longest. Hits without a place all count.
fn count(hits: &mut [Hit], report: &mut Report) {
    hits.sort_by_key(|hit| (hit.start, Reverse(hit.end)));
    let mut end = 0;
    for hit in hits {
        if hit.start == hit.end || hit.start >= end {
            report.count(hit.rule);
            end = end.max(hit.end);
        }
    }
}

/// What to replace, in order and apart. Hits that overlap become one over all of them, so nothing sticks out.
fn joined(mut hits: Vec<Hit>) -> Vec<Hit> {
    hits.sort_by_key(|hit| (hit.start, Reverse(hit.end)));
    hits.dedup_by(|hit, last| {
        let overlaps = hit.start < last.end;
        if overlaps {
            last.end = last.end.max(hit.end);
        }
        overlaps
    });
    hits
}

/// The text with the edits made.
pub(super) fn apply(text: &str, edits: &[Hit]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for edit in edits {
        out.push_str(&text[from..edit.start()]);
        out.push_str(edit.rule.mask);
        from = edit.end();
    }
    out.push_str(&text[from..]);
    out
}

/// Moves byte offsets (in order) to where they stand after the edits; one inside an edit goes to
/// its start.
pub(super) fn shift(offsets: &mut [usize], edits: &[Hit]) {
    let mut edits = edits.iter().peekable();
    let (mut removed, mut added) = (0, 0);
    for offset in offsets {
        while let Some(edit) = edits.next_if(|edit| edit.end() <= *offset) {
            removed += edit.end() - edit.start();
            added += edit.rule.mask.len();
        }
        let anchor = edits.peek().map_or(*offset, |edit| (*offset).min(edit.start()));
        *offset = anchor + added - removed;
    }
}
