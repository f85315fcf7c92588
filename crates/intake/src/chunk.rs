//! Text to passages: at headings, paragraphs and sentences, as many of the model's tokens as the
//! namespace asks for, with whole sentences repeated across a border.
//!
//! Promises, in linear time: spans lie on characters' borders, in order, and cover all that is
//! not blank; no passage exceeds the budget; byte and code point counts of a span agree. The
//! title is part of what is embedded, so it is paid for out of the budget, a quarter at most.

mod points;
mod units;

use crate::{Error, Screened};
use kernel::{Chunking, Passage, TokenSpan, Tokens, limits};
use units::Unit;

/// Between the title and a passage's text. A full stop instead cost 0.006 nDCG@10 on Cranfield.
const TITLE_GAP: &str = " ";

impl Screened {
    /// Cuts the text into passages. A document with its own vector is one passage, whole. Without
    /// a model's tokens, words count as tokens.
    ///
    /// # Errors
    /// `too_large` when the document makes more passages than one document may have.
    pub fn chunk(&mut self, tokens: Option<&dyn Tokens>, chunking: &Chunking) -> Result<(), Error> {
        let tokens = tokens.unwrap_or(&Words);
        if self.vector.is_some() {
            self.passages = vec![whole(&self.text, tokens)];
            return Ok(());
        }
        let max = chunking.max_tokens.max(2) as usize;
        self.prefix_for(tokens, max / 4);
        let budget = max - self.prefix_tokens as usize;
        let overlap = (chunking.overlap_tokens as usize).min(budget / 2);
        let units = units::cut(&self.text, &self.headings, tokens, budget);
        let ranges = pack(&units, budget, overlap);
        if ranges.len() > limits::PASSAGES_PER_DOCUMENT_MAX {
            let most = limits::PASSAGES_PER_DOCUMENT_MAX;
            return Err(Error::too_large(
                "documents[].text",
                format!("makes more than {most} passages; split the document"),
            ));
        }
        self.passages = points::passages(&self.text, &ranges);
        Ok(())
    }

    /// Sets what stands before each passage: the title, cut at a token to `max` tokens.
    fn prefix_for(&mut self, tokens: &dyn Tokens, max: usize) {
        let title = self.fields.title.expose().trim();
        let gap = tokens.count(TITLE_GAP).max(1);
        let spans = tokens.spans(title);
        let kept = spans.len().min(max.saturating_sub(gap));
        (self.prefix, self.prefix_tokens) = match kept.checked_sub(1).map(|last| spans[last].end) {
            Some(end) => (format!("{}{TITLE_GAP}", &title[..end]), u32::try_from(kept + gap).unwrap_or(u32::MAX)),
            None => (String::new(), 0),
        };
    }
}

/// The whole text as one passage; an empty one when there is no text.
fn whole(text: &str, tokens: &dyn Tokens) -> Passage {
    let count = u32::try_from(tokens.count(text)).unwrap_or(u32::MAX);
    let start = text.len() - text.trim_start().len();
    let range = Range { start, end: start + text.trim().len(), tokens: count };
    points::passages(text, &[range])[0]
}

/// Bytes of a passage and its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    start: usize,
    end: usize,
    tokens: u32,
}

/// Fills passages greedily. A heading or a paragraph that would not fit whole starts a new one,
/// once the passage is half full.
fn pack(units: &[Unit], budget: usize, overlap: usize) -> Vec<Range> {
    let mut ranges = Vec::new();
    let (mut first, mut used) = (0, 0);
    for (at, unit) in units.iter().enumerate() {
        let full = used + unit.tokens > budget;
        let half = used * 2 >= budget;
        let better = half && (unit.heading || (unit.paragraph && used + unit.paragraph_tokens > budget));
        if at > first && (full || better) {
            ranges.push(range(&units[first..at], used));
            let back = if unit.heading {
                at
            } else {
                overlap_from(units, first, at, overlap.min(budget.saturating_sub(unit.tokens)))
            };
            (first, used) = (back, units[back..at].iter().map(|u| u.tokens).sum());
        }
        used += unit.tokens;
    }
    if first < units.len() {
        ranges.push(range(&units[first..], used));
    }
    ranges
}

/// The first of the units before `at` that fit `overlap` tokens together; never all of them.
fn overlap_from(units: &[Unit], first: usize, at: usize, overlap: usize) -> usize {
    let (mut from, mut used) = (at, 0);
    while from > first + 1 && used + units[from - 1].tokens <= overlap {
        from -= 1;
        used += units[from].tokens;
    }
    from
}

fn range(units: &[Unit], tokens: usize) -> Range {
    let start = units.first().map_or(0, |u| u.start);
    let end = units.last().map_or(start, |u| u.end);
    Range { start, end, tokens: u32::try_from(tokens).unwrap_or(u32::MAX) }
}

/// Words as tokens, where no model serves.
struct Words;

impl Tokens for Words {
    fn spans(&self, text: &str) -> Vec<TokenSpan> {
        let start = |word: &str| word.as_ptr() as usize - text.as_ptr() as usize;
        text.split_whitespace().map(|word| TokenSpan { start: start(word), end: start(word) + word.len() }).collect()
    }

    fn name(&self) -> &str {
        "words"
    }
}

#[cfg(test)]
mod tests;
