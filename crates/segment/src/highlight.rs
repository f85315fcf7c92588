//! [`Highlighter`]: where in a text the words of a question stand. Made for winners alone: it reads their text again.

use crate::{
    TextQuery,
    analysis::{Analyser, words::Kind},
    query::Ask,
    text::phrase::Phrase,
};
use kernel::limits;
use std::collections::{HashMap, HashSet};

/// See the module. For one question and many texts.
pub struct Highlighter<'a> {
    query: &'a TextQuery,
    analyser: Analyser,
    /// For prefixes, so that what they look into leaves `analyser` alone.
    other: Analyser,
    terms: HashSet<&'a str>,
    cut: bool,
}

/// A stem as it stands in the text.
struct Place {
    stem: String,
    /// Bytes.
    start: usize,
    end: usize,
    hit: bool,
}

impl<'a> Highlighter<'a> {
    /// Marks what this question asks for.
    pub fn new(query: &'a TextQuery) -> Self {
        let words = query.asks.iter().filter_map(|(ask, _)| match ask {
            Ask::Stem(word) | Ask::Written(word) => Some(word.as_str()),
            Ask::Prefix(_) => None,
        });
        let new = || Analyser::new(query.language());
        Self { query, analyser: new(), other: new(), terms: words.collect(), cut: false }
    }

    /// First code point and one past the last of each place, in their order; places that touch or overlap are one. At
    /// most [`limits::HIGHLIGHTS_PER_HIT_MAX`].
    pub fn spans(&mut self, text: &str) -> Vec<(u32, u32)> {
        let (mut places, mut ranges) = self.places(text);
        let mut held = vec![false; places.len()];
        for phrase in &self.query.phrases {
            mark(&places, &phrase.stems, &mut held);
        }
        places.iter_mut().zip(held).for_each(|(place, held)| place.hit |= held);
        ranges.extend(places.iter().filter(|place| place.hit).map(|place| (place.start, place.end)));
        ranges.sort_unstable();
        let mut merged: Vec<(usize, usize)> = Vec::new();
        for (start, end) in ranges {
            match merged.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        self.cut |= merged.len() > limits::HIGHLIGHTS_PER_HIT_MAX;
        merged.truncate(limits::HIGHLIGHTS_PER_HIT_MAX);
        in_points(text, &merged)
    }

    /// What to tell if some text had more places.
    pub fn warning(&self) -> Option<String> {
        let limit = limits::HIGHLIGHTS_PER_HIT_MAX;
        self.cut.then(|| format!("highlights: a hit has more than {limit}; the first are marked"))
    }

    /// The stems of a text, and where codes stand that were asked for as a whole.
    fn places(&mut self, text: &str) -> (Vec<Place>, Vec<(usize, usize)>) {
        let Self { query, analyser, other, terms, .. } = self;
        let (mut places, mut wholes) = (Vec::new(), Vec::new());
        analyser.each(text, |lexicon, piece, found| {
            let asked = |id: u32, other: &mut Analyser| {
                let term = lexicon.term(id);
                terms.contains(term) || query.prefixes.iter().any(|prefix| prefix.takes(term, other))
            };
            let hit = found.stem.is_some_and(|id| asked(id, other)) || found.written.is_some_and(|id| asked(id, other));
            let (start, end) = piece.place();
            match found.stem {
                Some(stem) => places.push(Place { stem: lexicon.term(stem).to_owned(), start, end, hit }),
                None if hit && piece.kind == Kind::Whole => wholes.push((start, end)),
                None => {}
            }
        });
        (places, wholes)
    }
}

/// Marks where these stems stand in sequence.
fn mark(places: &[Place], stems: &[String], held: &mut [bool]) {
    let mut numbers: HashMap<&str, u32> = HashMap::new();
    let words: Vec<u32> = stems
        .iter()
        .map(|stem| {
            let next = numbers.len() as u32;
            *numbers.entry(stem.as_str()).or_insert(next)
        })
        .collect();
    let phrase = Phrase::new(words);
    let text = places.iter().map(|place| numbers.get(place.stem.as_str()).copied().unwrap_or(u32::MAX));
    // Phrases may overlap: each place is marked once.
    let mut from = 0;
    phrase.ends(text, |end| {
        let first = (end + 1 - phrase.len()).max(from);
        held[first..=end].fill(true);
        from = end + 1;
        true
    });
}

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
