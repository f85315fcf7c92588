//! [`Highlighter`]: finds the words of a query in a text. It is used for winners only, because it analyses their text
//! again.
//!
//! Promises: memory does not grow with the text, which may be as long as a document, and the request's interruption is
//! checked while it runs. It stops after the last position that can be shown.

use crate::{
    TextQuery,
    analysis::{
        Analyser,
        lexicon::{Lexicon, TermId},
        words::PieceKind,
    },
    query::QueryTerm,
    text::phrase::{PhraseMatcher, PhraseState},
};
use kernel::{Interrupted, checkpoint, limits};
use std::collections::{HashMap, HashSet, VecDeque};

/// Marks the words of one query in any number of texts.
pub struct Highlighter<'a> {
    query: &'a TextQuery,
    analyser: Analyser,
    /// Analyser for prefixes, whose look-ups must not change `analyser`.
    prefix_analyser: Analyser,
    terms: HashSet<&'a str>,
    /// Numbers of the stems that occur in phrases.
    numbers: HashMap<&'a str, u32>,
    phrases: Vec<PhraseMatcher>,
    /// Number of stems of the longest phrase.
    longest: usize,
    /// For each term number of `analyser`, whether the query contains the term, where that is known.
    known_terms: Vec<Option<bool>>,
    cut: bool,
}

/// Byte range of a text as it was written.
type ByteRange = (usize, usize);

impl<'a> Highlighter<'a> {
    /// Creates a highlighter for this query.
    pub fn new(query: &'a TextQuery) -> Self {
        let words = query.terms.iter().filter_map(|(term, _)| match term {
            QueryTerm::Stem(word) | QueryTerm::Written(word) => Some(word.as_str()),
            QueryTerm::Prefix(_) => None,
        });
        let mut numbers: HashMap<&str, u32> = HashMap::new();
        let mut number = |stem: &'a String| {
            let next = numbers.len() as u32;
            *numbers.entry(stem.as_str()).or_insert(next)
        };
        let phrases: Vec<PhraseMatcher> = query
            .phrases
            .iter()
            .map(|phrase| PhraseMatcher::new(phrase.stems.iter().map(&mut number).collect()))
            .collect();
        let new = || Analyser::new(query.language());
        Self {
            query,
            analyser: new(),
            prefix_analyser: new(),
            terms: words.collect(),
            longest: phrases.iter().map(PhraseMatcher::len).max().unwrap_or(0),
            numbers,
            phrases,
            known_terms: Vec::new(),
            cut: false,
        }
    }

    /// First code point and one past the last of each match, in text order; matches that touch or overlap are merged.
    /// At most [`limits::HIGHLIGHTS_PER_HIT_MAX`].
    ///
    /// # Errors
    /// [`Interrupted`] when the request must end.
    pub fn spans(&mut self, text: &str) -> Result<Vec<(u32, u32)>, Interrupted> {
        let mut marked = MarkedRanges::new(self.longest);
        let mut progress: Vec<PhraseProgress> = self.phrases.iter().map(|_| PhraseProgress::default()).collect();
        // Ranges of the last stems, as far back as a phrase reaches.
        let mut recent: VecDeque<ByteRange> = VecDeque::with_capacity(self.longest);
        let mut count = 0;
        for (offset, part) in parts(text) {
            checkpoint(STEPS_A_BYTE * part.len() as u64)?;
            // Nothing that follows can be shown.
            if marked.is_full() {
                break;
            }
            let Self { query, analyser, prefix_analyser, terms, numbers, phrases, known_terms, longest, .. } = self;
            if analyser.reset_if_full() {
                known_terms.clear();
            }
            analyser.each(part, |lexicon, piece, found| {
                let mut hit = |id: TermId| is_query_term(id, lexicon, known_terms, terms, query, prefix_analyser);
                let hit = found.stem.is_some_and(&mut hit) || found.written.is_some_and(&mut hit);
                let (start, end) = piece.byte_range();
                let range = (offset + start, offset + end);
                let Some(stem) = found.stem else {
                    // A code that the query contains as a whole.
                    if hit && piece.kind == PieceKind::Whole {
                        marked.add(range);
                    }
                    return;
                };
                if hit {
                    marked.add(range);
                }
                if *longest == 0 {
                    return;
                }
                if recent.len() == *longest {
                    recent.pop_front();
                }
                recent.push_back(range);
                // Every phrase advances by this stem; a stem of no phrase has a number that matches none.
                let number = numbers.get(lexicon.term(stem)).copied().unwrap_or(u32::MAX);
                for (phrase, progress) in phrases.iter().zip(&mut progress) {
                    if progress.state.advance(phrase, number) {
                        // Occurrences may overlap: each position is marked once.
                        let first = (count + 1 - phrase.len()).max(progress.from);
                        recent.iter().rev().take(count + 1 - first).for_each(|range| marked.add(*range));
                        progress.from = count + 1;
                    }
                }
                count += 1;
            });
        }
        let mut merged = marked.finish();
        self.cut |= merged.len() > limits::HIGHLIGHTS_PER_HIT_MAX;
        merged.truncate(limits::HIGHLIGHTS_PER_HIT_MAX);
        Ok(in_points(text, &merged))
    }

    /// Warning for the caller if some text had more matches than are marked.
    pub fn warning(&self) -> Option<String> {
        let limit = limits::HIGHLIGHTS_PER_HIT_MAX;
        self.cut.then(|| format!("highlights: a hit has more than {limit}; the first are marked"))
    }
}

/// How far a phrase matches in the text.
#[derive(Default)]
struct PhraseProgress {
    state: PhraseState,
    /// Index of the first stem that is not marked yet.
    from: usize,
}

/// Whether the query contains a term; determined once for each term.
fn is_query_term(
    id: TermId,
    lexicon: &Lexicon,
    known_terms: &mut Vec<Option<bool>>,
    terms: &HashSet<&str>,
    query: &TextQuery,
    prefix_analyser: &mut Analyser,
) -> bool {
    let at = id as usize;
    if let Some(Some(known)) = known_terms.get(at) {
        return *known;
    }
    let term = lexicon.term(id);
    prefix_analyser.reset_if_full();
    let is_query_term =
        terms.contains(term) || query.prefixes.iter().any(|prefix| prefix.stands_for(term, prefix_analyser));
    if known_terms.len() <= at {
        known_terms.resize(at + 1, None);
    }
    known_terms[at] = Some(is_query_term);
    is_query_term
}

/// Ranges that are shown, and hardly more than can be.
struct MarkedRanges {
    ranges: Vec<ByteRange>,
    /// Number of merged ranges after which later ones cannot change those that are shown: a phrase or a whole reaches
    /// back over some positions, each in one range at most.
    enough: usize,
    full: bool,
}

impl MarkedRanges {
    fn new(longest_phrase: usize) -> Self {
        let enough = limits::HIGHLIGHTS_PER_HIT_MAX + 1 + longest_phrase + PIECES_OF_A_WHOLE_MAX;
        Self { ranges: Vec::new(), enough, full: false }
    }

    fn add(&mut self, range: ByteRange) {
        if self.full {
            return;
        }
        self.ranges.push(range);
        if self.ranges.len() >= 2 * self.enough {
            self.ranges = merged(std::mem::take(&mut self.ranges));
            self.full = self.ranges.len() >= self.enough;
        }
    }

    fn is_full(&self) -> bool {
        self.full
    }

    fn finish(self) -> Vec<ByteRange> {
        merged(self.ranges)
    }
}

/// Sorts the ranges and merges those that touch or overlap.
fn merged(mut ranges: Vec<ByteRange>) -> Vec<ByteRange> {
    ranges.sort_unstable();
    ranges.dedup_by(|next, last| {
        let joins = next.0 <= last.1;
        if joins {
            last.1 = last.1.max(next.1);
        }
        joins
    });
    ranges
}

/// Splits a text into parts that end before whitespace, which no word, code or letter with its marks crosses; returns
/// the offset of each. A very long run without whitespace is split anyway.
fn parts(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = text.get(at..).filter(|rest| !rest.is_empty())?;
        let from = PART_BYTES.min(rest.len());
        let most = rest.floor_char_boundary(PART_BYTES_MAX);
        let blank = rest.as_bytes().get(from..most).and_then(|bytes| bytes.iter().position(u8::is_ascii_whitespace));
        let end = blank.map_or(most, |blank| from + blank);
        let part = (at, &rest[..end]);
        at += end;
        Some(part)
    })
}

/// A part ends at the first whitespace from this byte on.
const PART_BYTES: usize = 64 << 10;
/// Bytes at which a part ends without whitespace.
const PART_BYTES_MAX: usize = 1 << 20;
/// A piece has fewer than 129 bytes, so a code has no more words than this, including a part of an adjacent one.
const PIECES_OF_A_WHOLE_MAX: usize = 68;
/// Steps of a checkpoint per analysed byte.
const STEPS_A_BYTE: u64 = 16;

/// Converts ascending byte ranges to code points in one pass.
fn in_points(text: &str, ranges: &[(usize, usize)]) -> Vec<(u32, u32)> {
    let (mut at, mut point) = (0, 0u32);
    let mut to = |byte: usize| {
        point += text.get(at..byte).map_or(0, |part| part.chars().count() as u32);
        at = byte;
        point
    };
    ranges.iter().map(|(start, end)| (to(*start), to(*end))).collect()
}

#[cfg(test)]
mod tests;
