//! One piece of text through every screen, and the replacing of what the policy masks.

use super::{Report, Stream, injection, personal, rules::Rule, secrets};
use kernel::{FindingKind, ScreenAction};
use std::cmp::Reverse;

/// Where a rule met, in bytes of the text that was scanned.
#[derive(Debug)]
pub(super) struct Hit {
    pub(super) rule: &'static Rule,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A replacement in a text; edits are in order and apart.
#[derive(Debug)]
pub(super) struct Edit {
    start: usize,
    end: usize,
    with: &'static str,
}

/// Scans a text, counts what is found, and says what to replace.
pub(super) fn scan(text: &str, stream: Stream, report: &mut Report) -> Vec<Edit> {
    let mut hits = Vec::new();
    if report.wants(FindingKind::Secret) {
        secrets::find(text, &mut hits);
    }
    if report.wants(FindingKind::Pii) {
        personal::find(text, &mut hits);
    }
    count(&mut hits, report);
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

/// Edits for hits. Hits that overlap become one edit over all of them, so nothing sticks out.
fn joined(mut hits: Vec<Hit>) -> Vec<Edit> {
    hits.sort_by_key(|hit| (hit.start, Reverse(hit.end)));
    let mut edits: Vec<Edit> = Vec::new();
    for hit in hits {
        match edits.last_mut() {
            Some(last) if hit.start < last.end => last.end = last.end.max(hit.end),
            _ => edits.push(Edit { start: hit.start, end: hit.end, with: hit.rule.mask }),
        }
    }
    edits
}

/// The text with the edits made.
pub(super) fn apply(text: &str, edits: &[Edit]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for edit in edits {
        out.push_str(&text[from..edit.start]);
        out.push_str(edit.with);
        from = edit.end;
    }
    out.push_str(&text[from..]);
    out
}

/// Moves byte offsets (in order) to where they stand after the edits; one inside an edit goes to
/// its start.
pub(super) fn shift(offsets: &mut [usize], edits: &[Edit]) {
    let mut edits = edits.iter().peekable();
    let (mut removed, mut added) = (0, 0);
    for offset in offsets {
        while let Some(edit) = edits.next_if(|edit| edit.end <= *offset) {
            removed += edit.end - edit.start;
            added += edit.with.len();
        }
        let anchor = edits.peek().map_or(*offset, |edit| (*offset).min(edit.start));
        *offset = anchor + added - removed;
    }
}
