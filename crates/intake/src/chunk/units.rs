//! The smallest pieces that passages are made of: sentences, cut further only where one exceeds
//! the budget by itself.

use kernel::{TokenSpan, Tokens};
use std::ops::ControlFlow;
use unicode_segmentation::UnicodeSegmentation;

/// A token longer than this counts as several, bytes: a word of a megabyte is one unknown token
/// to some models.
const TOKEN_BYTES_MAX: usize = 256;
/// Sentences longer than this are cut before they are counted, bytes; bounds a tokenizer's memory.
const SENTENCE_BYTES_MAX: usize = 16 << 10;

/// A sentence, or a piece of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) tokens: usize,
    /// Starts a heading.
    pub(super) heading: bool,
    /// Starts a paragraph.
    pub(super) paragraph: bool,
    /// Tokens of the paragraph that it starts; where they exceed the budget, some number that does too.
    pub(super) paragraph_tokens: usize,
}

/// Cuts a text: paragraphs (and headings), then sentences, then tokens. Calls back with each unit until told to stop.
/// Holds no more units at a time than fill a budget, and those of one sentence: a text may have one for every two bytes.
pub(super) fn cut(
    text: &str,
    headings: &[usize],
    tokens: &dyn Tokens,
    budget: usize,
    visit: &mut dyn FnMut(Unit) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut headings = headings.iter().copied().peekable();
    for (start, end) in paragraphs(text) {
        let mut heading = false;
        while headings.next_if(|h| *h < end).is_some() {
            heading = true;
        }
        // The first units, until it is known whether the paragraph fits a budget.
        let (mut waiting, mut sum, mut open) = (Vec::new(), 0, true);
        for (start, end) in sentences(text, start, end) {
            let before = waiting.len();
            kernel::give_way((end - start) as u64 + 64);
            pieces(&text[start..end], start, tokens, budget, &mut waiting);
            sum += waiting[before..].iter().map(|u| u.tokens).sum::<usize>();
            open &= sum <= budget && waiting.len() <= WAITING_MAX;
            if !open {
                flush(&mut waiting, heading, sum, start, visit)?;
            }
        }
        flush(&mut waiting, heading, sum, start, visit)?;
    }
    ControlFlow::Continue(())
}

/// Units of a paragraph that are held back at most. Only characters that the model has no token for reach it.
const WAITING_MAX: usize = 8_192;

/// Hands over what waited. What begins where the paragraph does knows of the paragraph.
fn flush(
    waiting: &mut Vec<Unit>,
    heading: bool,
    tokens: usize,
    paragraph: usize,
    visit: &mut dyn FnMut(Unit) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for mut unit in waiting.drain(..) {
        if unit.start == paragraph {
            (unit.heading, unit.paragraph, unit.paragraph_tokens) = (heading, true, tokens);
        }
        visit(unit)?;
    }
    ControlFlow::Continue(())
}

/// Stretches between blank lines, without the blanks around them.
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

/// Sentences of a paragraph by Unicode's rules; a line end ends one too.
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

/// A sentence whole if it fits, else cut at tokens.
fn pieces(sentence: &str, at: usize, tokens: &dyn Tokens, budget: usize, units: &mut Vec<Unit>) {
    let spans = short(sentence, tokens.spans(sentence));
    let mut from = 0;
    let mut groups = spans.chunks(budget.max(1)).peekable();
    if groups.peek().is_none() {
        // Signs that the model has no token for: still text that GET shows and a passage covers.
        units.push(Unit { start: at, end: at + sentence.len(), tokens: 0, ..BLANK });
    }
    while let Some(group) = groups.next() {
        let to = groups.peek().map_or(sentence.len(), |next| next[0].start.max(from));
        let kept = sentence[from..to].trim_end().len();
        if kept > 0 {
            let lead = sentence[from..to].len() - sentence[from..to].trim_start().len();
            units.push(Unit { start: at + from + lead, end: at + from + kept, tokens: group.len(), ..BLANK });
        }
        from = to;
    }
}

const BLANK: Unit = Unit { start: 0, end: 0, tokens: 0, heading: false, paragraph: false, paragraph_tokens: 0 };

/// Splits tokens that are too long to be one, and drops ranges that are none of the sentence's.
fn short(sentence: &str, spans: Vec<TokenSpan>) -> Vec<TokenSpan> {
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
