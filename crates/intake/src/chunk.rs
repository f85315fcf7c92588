//! Divides text into passages at headings, paragraphs and sentences. A passage has as many of the model's tokens as the
//! namespace's settings say, and repeats whole sentences of the previous passage.
//!
//! Promises, in linear time: spans lie on character boundaries, in order, and cover everything that is not blank; no
//! passage exceeds the budget; byte and code point counts of a span agree. The title is embedded with each passage, so
//! it counts towards the budget, at most a quarter of it.

mod points;
mod units;

use crate::{Error, Screened, screen::screen_joints};
use kernel::{Chunking, Passage, TokenSpan, Tokens, Untrusted, limits};
use std::{collections::VecDeque, ops::ControlFlow};
use units::TextUnit;

/// Separator of the title and a passage's text. A full stop instead cost 0.006 nDCG@10 on Cranfield.
const TITLE_GAP: &str = " ";

/// Most attempts to chunk a text, since masking the title requires another one.
const TITLES_MAX: usize = 3;

impl Screened {
    /// Divides the text into passages, and screens the title together with the start of each. A document with its own
    /// vector is a single passage. Without a model's tokens, words count as tokens. See also [`Screened::is_rejected`].
    ///
    /// # Errors
    /// `too_large` when the text makes more passages than a document may have.
    pub fn chunk(&mut self, tokens: Option<&dyn Tokens>, chunking: &Chunking) -> Result<(), Error> {
        for _ in 0..TITLES_MAX {
            self.chunk_once(tokens, chunking)?;
            if !screen_joints(self) {
                return Ok(());
            }
        }
        // A title that forms an instruction with every chunking is dropped.
        self.fields.title = Untrusted::default();
        self.chunk_once(tokens, chunking)
    }

    fn chunk_once(&mut self, tokens: Option<&dyn Tokens>, chunking: &Chunking) -> Result<(), Error> {
        let tokens = tokens.unwrap_or(&WhitespaceTokens);
        if self.vector.is_some() {
            self.passages = vec![whole(&self.text, tokens)];
            return Ok(());
        }
        let max = chunking.max_tokens.max(2) as usize;
        self.prefix_for(tokens, max / 4);
        let budget = max - self.prefix_tokens as usize;
        let overlap = (chunking.overlap_tokens as usize).min(budget / 2);
        let mut packer = Packer { budget, overlap, open: VecDeque::new(), used: 0, ranges: Vec::new() };
        let stopped = units::split_units(&self.text, &self.headings, tokens, budget, &mut |unit| packer.add(unit));
        let ranges = packer.finish();
        if stopped.is_break() || ranges.len() > limits::PASSAGES_PER_DOCUMENT_MAX {
            let most = limits::PASSAGES_PER_DOCUMENT_MAX;
            return Err(Error::too_large(
                "documents[].text",
                format!("makes more than {most} passages; split the document"),
            ));
        }
        self.passages = points::passages(&self.text, &ranges);
        Ok(())
    }

    /// Sets the prefix of each passage: the title, truncated to `max` tokens.
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

/// Returns the whole text as one passage, which is empty if there is no text.
fn whole(text: &str, tokens: &dyn Tokens) -> Passage {
    let count = u32::try_from(tokens.count(text)).unwrap_or(u32::MAX);
    let start = text.len() - text.trim_start().len();
    let range = PassageRange { start, end: start + text.trim().len(), tokens: count };
    points::passages(text, &[range])[0]
}

/// Byte range of a passage, and its number of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PassageRange {
    start: usize,
    end: usize,
    tokens: u32,
}

/// Fills passages greedily. Once a passage is half full, a heading, or a paragraph that would not fit whole, starts a
/// new one.
struct Packer {
    budget: usize,
    overlap: usize,
    /// Units of the current passage.
    open: VecDeque<TextUnit>,
    used: usize,
    ranges: Vec<PassageRange>,
}

impl Packer {
    /// Adds the next unit. Breaks when there are more passages than a document may have.
    fn add(&mut self, unit: TextUnit) -> ControlFlow<()> {
        let full = self.used + unit.tokens > self.budget;
        let half = self.used * 2 >= self.budget;
        let better = half && (unit.heading || (unit.paragraph && self.used + unit.paragraph_tokens > self.budget));
        if !self.open.is_empty() && (full || better) {
            self.end_passage();
            let repeated = match unit.heading {
                true => 0,
                false => self.repeated(self.overlap.min(self.budget.saturating_sub(unit.tokens))),
            };
            self.open.drain(..self.open.len() - repeated);
            self.used = self.open.iter().map(|u| u.tokens).sum();
        }
        self.used += unit.tokens;
        match self.open.back_mut() {
            // A unit without tokens costs nothing, so it is merged into the previous one.
            Some(last) if unit.tokens == 0 && !unit.heading => last.end = unit.end,
            _ => self.open.push_back(unit),
        }
        match self.ranges.len() > limits::PASSAGES_PER_DOCUMENT_MAX {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// Number of the last units that together fit into `overlap` tokens; never all of them.
    fn repeated(&self, overlap: usize) -> usize {
        let mut used = 0;
        let fits = |unit: &&TextUnit| {
            used += unit.tokens;
            used <= overlap
        };
        self.open.iter().skip(1).rev().take_while(fits).count()
    }

    fn end_passage(&mut self) {
        if let (Some(first), Some(last)) = (self.open.front(), self.open.back()) {
            let tokens = u32::try_from(self.used).unwrap_or(u32::MAX);
            self.ranges.push(PassageRange { start: first.start, end: last.end, tokens });
        }
    }

    fn finish(mut self) -> Vec<PassageRange> {
        self.end_passage();
        self.ranges
    }
}

/// Counts words as tokens, for namespaces without a model.
struct WhitespaceTokens;

impl Tokens for WhitespaceTokens {
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
