//! Runs every screen on one piece of text, and replaces what the policy masks.

use super::{ScreenReport, Stream, injection, personal, rules::Rule, secrets};
use kernel::{FindingKind, ScreenAction};
use std::cmp::Reverse;

/// A match of a rule, with its byte range in the scanned text. It is small because a document may contain one for every
/// six bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct RuleMatch {
    pub(super) rule: &'static Rule,
    start: u32,
    end: u32,
}

impl RuleMatch {
    pub(super) fn new(rule: &'static Rule, start: usize, end: usize) -> Self {
        // Texts are shorter than 4 GiB, so this does not saturate.
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self { rule, start: small(start), end: small(end) }
    }

    /// A match without a position in the text.
    pub(super) fn without_position(rule: &'static Rule) -> Self {
        Self { rule, start: 0, end: 0 }
    }

    pub(super) fn start(&self) -> usize {
        self.start as usize
    }

    pub(super) fn end(&self) -> usize {
        self.end as usize
    }
}

/// Scans a text, counts the hits in the report, and returns those to replace.
pub(super) fn scan(text: &str, stream: Stream, report: &mut ScreenReport) -> Vec<RuleMatch> {
    let mut hits = Vec::new();
    kernel::yield_to_others(text.len() as u64);
    if report.wants(FindingKind::Secret) {
        secrets::find(text, &mut hits);
    }
    kernel::yield_to_others(text.len() as u64);
    if report.wants(FindingKind::Pii) {
        personal::find(text, &mut hits);
    }
    count(&mut hits, report);
    kernel::yield_to_others(text.len() as u64);
    if report.wants(FindingKind::Injection) {
        let mapped = report.policy.injection == ScreenAction::Mask;
        let mut orders = injection::find(text, stream, mapped);
        count(&mut orders, report);
        hits.extend(orders);
    }
    hits.retain(|hit| report.action(hit.rule) == ScreenAction::Mask && hit.start < hit.end);
    merge_overlaps(hits)
}

/// Scans a text and returns it with everything replaced that the policy masks.
pub(crate) fn scan_and_mask(text: &str, stream: Stream, report: &mut ScreenReport) -> String {
    let edits = scan(text, stream, report);
    apply(text, &edits)
}

/// Sorts hits and counts those that do not overlap. Of overlapping hits the first to start counts, then the longest.
/// Hits without a position all count.
fn count(hits: &mut [RuleMatch], report: &mut ScreenReport) {
    hits.sort_by_key(|hit| (hit.start, Reverse(hit.end)));
    let mut end = 0;
    for hit in hits {
        if hit.start == hit.end || hit.start >= end {
            report.count(hit.rule);
            end = end.max(hit.end);
        }
    }
}

/// Sorts hits and merges overlapping ones, so that no part of any remains.
fn merge_overlaps(mut hits: Vec<RuleMatch>) -> Vec<RuleMatch> {
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

/// Returns the text with the edits applied.
pub(super) fn apply(text: &str, edits: &[RuleMatch]) -> String {
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

/// Moves ascending byte offsets to their positions after the edits. An offset inside an edit moves to its start.
pub(super) fn shift(offsets: &mut [usize], edits: &[RuleMatch]) {
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
