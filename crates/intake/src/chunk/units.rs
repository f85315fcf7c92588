//! The units of which passages are made: sentences, which are split only if one alone exceeds the budget.

use kernel::{TokenSpan, Tokens};
use std::ops::ControlFlow;
use unicode_segmentation::UnicodeSegmentation;

/// A token longer than this in bytes counts as several, because a word of a megabyte is one unknown token to some
/// models.
const TOKEN_BYTES_MAX: usize = 256;
/// Sentences longer than this in bytes are split before their tokens are counted, which bounds a tokenizer's memory.
const SENTENCE_BYTES_MAX: usize = 16 << 10;

/// A sentence, or part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TextUnit {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) tokens: usize,
    /// Whether the unit starts a heading.
    pub(super) heading: bool,
    /// Whether the unit starts a paragraph.
    pub(super) paragraph: bool,
    /// Tokens of the paragraph that the unit starts. If they exceed the budget, this is any number that exceeds it too.
    pub(super) paragraph_tokens: usize,
}

/// Splits a text into paragraphs and headings, then sentences, then tokens, and calls `visit` with each unit until it
/// breaks. Holds at most the units of one budget and of one sentence at a time, because a text may have one unit for
/// every two bytes.
pub(super) fn split_units(
    text: &str,
    headings: &[usize],
    tokens: &dyn Tokens,
    budget: usize,
    visit: &mut dyn FnMut(TextUnit) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut headings = headings.iter().copied().peekable();
    for (start, end) in paragraphs(text) {
        let mut heading = false;
        while headings.next_if(|h| *h < end).is_some() {
            heading = true;
        }
        // Units are held back until it is known whether the paragraph fits into the budget.
        let (mut pending, mut sum, mut open) = (Vec::new(), 0, true);
        for (start, end) in sentences(text, start, end) {
            let before = pending.len();
            kernel::yield_to_others((end - start) as u64 + 64);
            push_units(&text[start..end], start, tokens, budget, &mut pending);
            sum += pending[before..].iter().map(|u| u.tokens).sum::<usize>();
            open &= sum <= budget && pending.len() <= PENDING_UNITS_MAX;
            if !open {
                flush(&mut pending, heading, sum, start, visit)?;
            }
        }
        flush(&mut pending, heading, sum, start, visit)?;
    }
    ControlFlow::Continue(())
}

/// Most units of a paragraph that are held back. Only text of characters for which the model has no token reaches it.
const PENDING_UNITS_MAX: usize = 8_192;

/// Passes on the units that were held back. The unit at the start of the paragraph gets the paragraph's values.
fn flush(
    pending: &mut Vec<TextUnit>,
    heading: bool,
    tokens: usize,
    paragraph: usize,
    visit: &mut dyn FnMut(TextUnit) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for mut unit in pending.drain(..) {
        if unit.start == paragraph {
            (unit.heading, unit.paragraph, unit.paragraph_tokens) = (heading, true, tokens);
        }
        visit(unit)?;
    }
    ControlFlow::Continue(())
}

/// Byte ranges of the paragraphs: the text between blank lines, trimmed.
fn paragraphs(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    let mut lines = text.split_inclusive('\n');
    std::iter::from_fn(move || {
        let mut open: Option<(usize, usize)> = None;
        for line in lines.by_ref() {
            let start = at;
            at += line.len();
            match (line.trim().is_empty(), &mut open) {
                (true, Some(paragraph)) => return Some(*paragraph),
                (true, None) => {}
                (false, Some(paragraph)) => paragraph.1 = at,
                (false, None) => open = Some((start, at)),
            }
        }
        open
    })
}

/// Byte ranges of a paragraph's sentences by Unicode's rules. A line end also ends a sentence.
fn sentences(text: &str, start: usize, end: usize) -> impl Iterator<Item = (usize, usize)> {
    let lines = text[start..end].split_inclusive('\n').scan(start, |at, line| {
        let from = *at;
        *at += line.len();
        Some((from, line))
    });
    let windows = lines.flat_map(|(at, line)| windows(at, line));
    windows
        .flat_map(|(at, window)| window.split_sentence_bound_indices().map(move |(n, s)| trimmed(at + n, s)))
        .flatten()
}

fn windows(at: usize, line: &str) -> impl Iterator<Item = (usize, &str)> {
    let (mut at, mut rest) = (at, line);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let near = rest.floor_char_boundary(SENTENCE_BYTES_MAX);
        let blank = (near < rest.len()).then(|| rest[..near].rfind(' ')).flatten().map_or(near, |n| n + 1);
        let (window, tail) = rest.split_at(blank);
        let found = (at, window);
        (at, rest) = (at + window.len(), tail);
        Some(found)
    })
}

fn trimmed(at: usize, text: &str) -> Option<(usize, usize)> {
    let start = at + (text.len() - text.trim_start().len());
    let inner = text.trim();
    (!inner.is_empty()).then(|| (start, start + inner.len()))
}

/// Adds a sentence as one unit if it fits into the budget, otherwise split at tokens.
fn push_units(sentence: &str, at: usize, tokens: &dyn Tokens, budget: usize, units: &mut Vec<TextUnit>) {
    let spans = split_long_tokens(sentence, tokens.spans(sentence));
    let mut from = 0;
    let mut groups = spans.chunks(budget.max(1)).peekable();
    if groups.peek().is_none() {
        // The model has no token for these characters, but they are text that GET shows and a passage must cover.
        units.push(TextUnit { start: at, end: at + sentence.len(), tokens: 0, ..EMPTY_UNIT });
    }
    while let Some(group) = groups.next() {
        let to = groups.peek().map_or(sentence.len(), |next| next[0].start.max(from));
        let kept = sentence[from..to].trim_end().len();
        if kept > 0 {
            let lead = sentence[from..to].len() - sentence[from..to].trim_start().len();
            units.push(TextUnit { start: at + from + lead, end: at + from + kept, tokens: group.len(), ..EMPTY_UNIT });
        }
        from = to;
    }
}

const EMPTY_UNIT: TextUnit =
    TextUnit { start: 0, end: 0, tokens: 0, heading: false, paragraph: false, paragraph_tokens: 0 };

/// Splits tokens that are too long, and drops ranges that do not lie in the sentence.
fn split_long_tokens(sentence: &str, spans: Vec<TokenSpan>) -> Vec<TokenSpan> {
    let inside =
        |s: &TokenSpan| s.start <= s.end && sentence.is_char_boundary(s.start) && sentence.is_char_boundary(s.end);
    if spans.iter().all(|s| inside(s) && s.end - s.start <= TOKEN_BYTES_MAX) {
        return spans;
    }
    let mut out = Vec::with_capacity(spans.len());
    for span in spans.into_iter().filter(inside) {
        let mut start = span.start;
        while span.end - start > TOKEN_BYTES_MAX {
            let end = sentence.floor_char_boundary(start + TOKEN_BYTES_MAX);
            out.push(TokenSpan { start, end });
            start = end;
        }
        out.push(TokenSpan { start, end: span.end });
    }
    out
}
