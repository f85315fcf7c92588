//! [`Highlighter`]: where in a text the words of a question stand. Made for winners alone: it reads their text again.
//!
//! Promises memory that does not grow with the text, whose length is up to a document's, and looks at the interrupt of the
//! request as it goes. It ends with the last place that can be shown.

use crate::{
    TextQuery,
    analysis::{
        Analyser,
        lexicon::{Lexicon, TermId},
        words::Kind,
    },
    query::Ask,
    text::phrase::{Follower, Phrase},
};
use kernel::{Interrupted, checkpoint, limits};
use std::collections::{HashMap, HashSet, VecDeque};

/// See the module. For one question and many texts.
pub struct Highlighter<'a> {
    query: &'a TextQuery,
    analyser: Analyser,
    /// For prefixes, so that what they look into leaves `analyser` alone.
    other: Analyser,
    terms: HashSet<&'a str>,
    /// Numbers of the stems that stand in phrases.
    numbers: HashMap<&'a str, u32>,
    phrases: Vec<Phrase>,
    /// The most stems that a phrase has.
    longest: usize,
    /// By the analyser's number, whether a term was asked for, as far as that is known.
    asked: Vec<Option<bool>>,
    cut: bool,
}

/// Bytes of a text as it was written.
type Range = (usize, usize);

impl<'a> Highlighter<'a> {
    /// Marks what this question asks for.
    pub fn new(query: &'a TextQuery) -> Self {
        let words = query.asks.iter().filter_map(|(ask, _)| match ask {
            Ask::Stem(word) | Ask::Written(word) => Some(word.as_str()),
            Ask::Prefix(_) => None,
        });
        let mut numbers: HashMap<&str, u32> = HashMap::new();
        let mut number = |stem: &'a String| {
            let next = numbers.len() as u32;
            *numbers.entry(stem.as_str()).or_insert(next)
        };
        let phrases: Vec<Phrase> =
            query.phrases.iter().map(|phrase| Phrase::new(phrase.stems.iter().map(&mut number).collect())).collect();
        let new = || Analyser::new(query.language());
        Self {
            query,
            analyser: new(),
            other: new(),
            terms: words.collect(),
            longest: phrases.iter().map(Phrase::len).max().unwrap_or(0),
            numbers,
            phrases,
            asked: Vec::new(),
            cut: false,
        }
    }

    /// First code point and one past the last of each place, in their order; places that touch or overlap are one. At
    /// most [`limits::HIGHLIGHTS_PER_HIT_MAX`].
    ///
    /// # Errors
    /// The request's work is to end.
    pub fn spans(&mut self, text: &str) -> Result<Vec<(u32, u32)>, Interrupted> {
        let mut marked = Marked::new(self.longest);
        let mut held: Vec<Held> = self.phrases.iter().map(|_| Held::default()).collect();
        // The last places of stems, as far back as a phrase reaches.
        let mut recent: VecDeque<Range> = VecDeque::with_capacity(self.longest);
        let mut count = 0;
        for (offset, part) in parts(text) {
            checkpoint(STEPS_A_BYTE * part.len() as u64)?;
            if marked.is_full() {
                break;
            }
            let Self { query, analyser, other, terms, numbers, phrases, asked, longest, .. } = self;
            if analyser.forget() {
                asked.clear();
            }
            analyser.each(part, |lexicon, piece, found| {
                let mut hit = |id: TermId| is_asked(id, lexicon, asked, terms, query, other);
                let hit = found.stem.is_some_and(&mut hit) || found.written.is_some_and(&mut hit);
                let (start, end) = piece.place();
                let place = (offset + start, offset + end);
                let Some(stem) = found.stem else {
                    // A code that was asked for as a whole.
                    if hit && piece.kind == Kind::Whole {
                        marked.add(place);
                    }
                    return;
                };
                if hit {
                    marked.add(place);
                }
                if *longest == 0 {
                    return;
                }
                if recent.len() == *longest {
                    recent.pop_front();
                }
                recent.push_back(place);
                let number = numbers.get(lexicon.term(stem)).copied().unwrap_or(u32::MAX);
                for (phrase, held) in phrases.iter().zip(&mut held) {
                    if held.follower.ends_with(phrase, number) {
                        // Phrases may overlap: each place is marked once.
                        let first = (count + 1 - phrase.len()).max(held.from);
                        recent.iter().rev().take(count + 1 - first).for_each(|place| marked.add(*place));
                        held.from = count + 1;
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

    /// What to tell if some text had more places.
    pub fn warning(&self) -> Option<String> {
        let limit = limits::HIGHLIGHTS_PER_HIT_MAX;
        self.cut.then(|| format!("highlights: a hit has more than {limit}; the first are marked"))
    }
}

/// Where a phrase stands in the text.
#[derive(Default)]
struct Held {
    follower: Follower,
    /// The first place that it has not marked.
    from: usize,
}

/// Whether a term is one that the question asks for: found out once for each term.
fn is_asked(
    id: TermId,
    lexicon: &Lexicon,
    asked: &mut Vec<Option<bool>>,
    terms: &HashSet<&str>,
    query: &TextQuery,
    other: &mut Analyser,
) -> bool {
    let at = id as usize;
    if let Some(Some(known)) = asked.get(at) {
        return *known;
    }
    let term = lexicon.term(id);
    other.forget();
    let is_asked = terms.contains(term) || query.prefixes.iter().any(|prefix| prefix.takes(term, other));
    if asked.len() <= at {
        asked.resize(at + 1, None);
    }
    asked[at] = Some(is_asked);
    is_asked
}

/// Places that are to be shown, no more of them than can be.
struct Marked {
    ranges: Vec<Range>,
    /// Merged ranges from which on nothing that comes later changes those that are shown: a phrase or a whole reaches
    /// back over some places, each in one range at most.
    enough: usize,
    full: bool,
}

impl Marked {
    fn new(longest_phrase: usize) -> Self {
        let enough = limits::HIGHLIGHTS_PER_HIT_MAX + 1 + longest_phrase + PLACES_OF_A_WHOLE_MAX;
        Self { ranges: Vec::new(), enough, full: false }
    }

    fn add(&mut self, range: Range) {
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

    fn finish(self) -> Vec<Range> {
        merged(self.ranges)
    }
}

/// In their order; those that touch or overlap are one.
fn merged(mut ranges: Vec<Range>) -> Vec<Range> {
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

/// A text in parts that end before blanks, where no word, code or letter with its marks goes on, and where each begins.
/// What has no blank for very long is cut all the same.
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

/// Bytes of a part, unless no blank follows.
const PART_BYTES: usize = 64 << 10;
/// Where a part ends without a blank.
const PART_BYTES_MAX: usize = 1 << 20;
/// A piece has fewer than 129 bytes, so a code has no more words than this and a part of a neighbour.
const PLACES_OF_A_WHOLE_MAX: usize = 68;
/// Steps for each byte that is analysed.
const STEPS_A_BYTE: u64 = 16;

/// Ascending bytes to code points, in one walk.
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
