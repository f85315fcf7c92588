//! [`TextQuery`]: parses a question into words, quoted phrases and words with a star.
//!
//! Every text is a question; nothing in it is an error. A passage ranks by
//! any of its words. Text between two double quotes is a phrase, word after word: passages that hold it come first, and
//! with a plus before it (`+"sick leave"`) all others are excluded. A quote without another is text. A word with a star at its end (`comput*`) stands for all words that begin so. A code counts by its parts and as a whole.

use crate::analysis::{
    Analyser, folding,
    lexicon::{is_marked, written_term},
    stop_words,
    words::{Kind, is_joint, is_letter},
};
use kernel::{Folded, Language, limits};
use std::collections::{BTreeSet, HashMap};
use tantivy::tokenizer::{TextAnalyzer, TokenStream};
use zeroize::Zeroize;

/// What a row is ranked by.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Ask {
    /// This stem.
    Stem(String),
    /// This word as it was written: a code as a whole.
    Written(String),
    /// Any word that begins so, by number in [`TextQuery::prefixes`].
    Prefix(usize),
}

/// A word with a star.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Prefix {
    /// How it begins, in lower case.
    pub(crate) start: String,
    /// The terms that it stands for, once [`TextQuery::expand`] has said.
    pub(crate) terms: Vec<String>,
}

/// A quoted phrase.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Phrase {
    /// Its stems, one after the other.
    pub(crate) stems: Vec<String>,
    /// Whether it is required.
    required: bool,
}

/// An analysed question: what ranks, in the order in which it came, and what was quoted. No `Debug`: it is a
/// customer's text, and is wiped when it goes.
#[derive(Clone)]
pub struct TextQuery {
    language: Language,
    /// Distinct; each with how often it was asked for: twice weighs twice.
    pub(crate) asks: Vec<(Ask, f32)>,
    pub(crate) prefixes: Vec<Prefix>,
    pub(crate) phrases: Vec<Phrase>,
    title_weight: f32,
    warnings: Vec<String>,
}

/// What words of a namespace begin as the query's words with a star do: see [`crate::Segment::expand`].
#[derive(Default)]
pub struct Expansion {
    /// Per prefix.
    pub(crate) terms: Vec<BTreeSet<String>>,
}

impl TextQuery {
    /// How much more a word of the title counts than one of the passage, unless the caller says. nDCG@10 for 1, 2, 3
    /// and 4: .4886, .5078, .5087, .5100 on adi; .4304, .4334, .4350, .4358 on Cranfield.
    pub const TITLE_WEIGHT: f32 = 3.0;

    /// Reads a question in English.
    pub fn new(text: &str) -> Self {
        Self::in_language(text, Language::English)
    }

    /// Reads a question in the language of the namespace.
    pub fn in_language(text: &str, language: Language) -> Self {
        let mut reading = Reading {
            analyser: Analyser::new(language),
            words: Vec::new(),
            stops: stop_words(language),
            query: Self::empty(language),
        };
        let folded = Folded::new(text, folding(language));
        reading.text(folded.text());
        folded.wipe();
        reading.finish()
    }

    /// Asks for no word.
    pub fn nothing() -> Self {
        Self::empty(Language::English)
    }

    fn empty(language: Language) -> Self {
        let (asks, prefixes, phrases, warnings) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { language, asks, prefixes, phrases, title_weight: Self::TITLE_WEIGHT, warnings }
    }

    /// The same, with titles weighing so much: 0 to [`limits::TITLE_WEIGHT_MAX`]; 1 as the passage, 0 not at all.
    #[must_use]
    pub fn with_title_weight(mut self, weight: f32) -> Self {
        self.title_weight = if weight.is_finite() { weight.clamp(0.0, limits::TITLE_WEIGHT_MAX) } else { 1.0 };
        self
    }

    /// For each of these words of the query its place among what it asks for; `None` for those that are not looked for.
    pub fn places<'w>(&self, words: impl IntoIterator<Item = &'w str>) -> Vec<Option<usize>> {
        let mut analyser = Analyser::new(self.language);
        // A question may have thousands of words: each is looked up, not compared with all.
        let (mut stems, mut written) = (HashMap::new(), HashMap::new());
        for (at, (ask, _)) in self.asks.iter().enumerate().rev() {
            let table = match ask {
                Ask::Stem(stem) => Some((&mut stems, stem)),
                Ask::Written(word) => Some((&mut written, word)),
                Ask::Prefix(_) => None,
            };
            if let Some((table, word)) = table {
                table.insert(word.as_str(), at);
            }
        }
        let mut place = |word: &str| {
            let mut first = None;
            analyser.each(word, |lexicon, _, terms| {
                let stem = terms.stem.and_then(|id| stems.get(lexicon.term(id)));
                let whole = terms.written.and_then(|id| written.get(lexicon.term(id)));
                first = first.or_else(|| stem.into_iter().chain(whole).min().copied());
            });
            first
        };
        words.into_iter().map(&mut place).collect()
    }

    /// The same without a word to look for; what it warns of stays.
    #[must_use]
    pub fn without_words(mut self) -> Self {
        let mut rest = Self::empty(self.language);
        rest.warnings = std::mem::take(&mut self.warnings);
        rest
    }

    /// Whether there is no word to look for.
    pub fn is_empty(&self) -> bool {
        self.asks.is_empty()
    }

    /// Number of quoted phrases.
    pub fn phrases(&self) -> usize {
        self.phrases.len()
    }

    /// Whether this phrase is required.
    pub fn requires(&self, phrase: usize) -> bool {
        self.phrases.get(phrase).is_some_and(|phrase| phrase.required)
    }

    /// Makes every phrase required.
    pub fn require_phrases(&mut self) {
        self.phrases.iter_mut().for_each(|phrase| phrase.required = true);
    }

    /// Adds the warning that no passage holds this phrase.
    pub fn warn_unheld(&mut self, phrase: usize) {
        let (number, all) = (phrase + 1, self.phrases.len());
        self.warnings.push(format!("query: no passage that may answer holds the quoted phrase {number} of {all}"));
    }

    /// Whether it must be told which words there are, by [`TextQuery::expand`].
    pub fn has_prefixes(&self) -> bool {
        !self.prefixes.is_empty()
    }

    /// What the caller should know. No word of the question stands in it.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    pub(crate) fn language(&self) -> Language {
        self.language
    }

    pub(crate) fn title_weight(&self) -> f32 {
        self.title_weight
    }

    /// Lets every word with a star stand for the first [`limits::PREFIX_WORDS_MAX`] of these.
    pub fn expand(&mut self, expansion: Expansion) {
        let limit = limits::PREFIX_WORDS_MAX;
        let mut cut = false;
        for (prefix, terms) in self.prefixes.iter_mut().zip(expansion.terms) {
            cut |= terms.len() > limit;
            prefix.terms = terms.into_iter().take(limit).collect();
        }
        if cut {
            let what = "query: more words than these begin as a word with a star does, and were not looked for";
            self.warnings.push(format!("{what}: the first {limit} in their order"));
        }
    }
}

impl Drop for TextQuery {
    fn drop(&mut self) {
        for (ask, _) in &mut self.asks {
            if let Ask::Stem(word) | Ask::Written(word) = ask {
                word.zeroize();
            }
        }
        self.phrases.iter_mut().flat_map(|phrase| &mut phrase.stems).for_each(Zeroize::zeroize);
        for prefix in &mut self.prefixes {
            prefix.start.zeroize();
            prefix.terms.iter_mut().for_each(Zeroize::zeroize);
        }
    }
}

/// A question while it is read.
struct Reading {
    analyser: Analyser,
    /// What ranks, as it comes, and whether it is a function word.
    words: Vec<(Ask, bool)>,
    stops: Option<TextAnalyzer>,
    query: TextQuery,
}

impl Reading {
    /// Parts at quotes that have another.
    fn text(&mut self, text: &str) {
        let parts: Vec<&str> = text.split('"').collect();
        let last = parts.len() - 1;
        let mut required = false;
        for (n, part) in parts.into_iter().enumerate() {
            // With an odd number of quotes the last one is text, and so is what follows it.
            if n % 2 == 1 && n < last {
                self.quoted(part, required);
                continue;
            }
            // A plus counts only at the start of a word: `C+"x"` requires nothing.
            let before =
                part.strip_suffix('+').filter(|before| before.is_empty() || before.ends_with(char::is_whitespace));
            required = before.is_some();
            self.plain(before.unwrap_or(part));
        }
    }

    fn quoted(&mut self, text: &str, required: bool) {
        let first = self.words.len();
        let stems = self.words(text);
        // Function words alone are what is looked for where nothing else is quoted.
        let quoted = self.words.get_mut(first..).unwrap_or_default();
        if quoted.iter().all(|(_, stop)| *stop) {
            quoted.iter_mut().for_each(|(_, stop)| *stop = false);
        }
        if stems.is_empty() {
            return;
        }
        if self.query.phrases.len() < limits::PHRASES_PER_QUERY_MAX {
            self.query.phrases.push(Phrase { stems, required });
        } else {
            self.too_many("phrases");
        }
    }

    /// Text without quotes: words, some with a star.
    fn plain(&mut self, text: &str) {
        let mut rest = text;
        let mut from = 0;
        while let Some(star) = rest.get(from..).and_then(|part| part.find('*')).map(|at| from + at) {
            from = star + 1;
            let (before, behind) = (rest.get(..star).unwrap_or_default(), rest.get(from..).unwrap_or_default());
            let word = word_at_end(before);
            if word.is_empty() || behind.starts_with(|c| is_letter(c) || is_joint(c) || c == '*') {
                continue;
            }
            if word.chars().count() < limits::PREFIX_CHARS_MIN {
                self.warn(format!("query: a star needs {} letters before it", limits::PREFIX_CHARS_MIN));
                continue;
            }
            if self.is_full() {
                self.too_many("words with a star");
                break;
            }
            self.words(before.strip_suffix(word).unwrap_or_default());
            self.prefix(word);
            (rest, from) = (behind, 0);
        }
        self.words(rest);
    }

    /// Looks for the words of a text; gives its stems in their order, as a phrase has them.
    fn words(&mut self, text: &str) -> Vec<String> {
        let (mut found, mut stems) = (Vec::new(), Vec::new());
        self.analyser.each(text, |lexicon, piece, terms| {
            let [stem, written] = [terms.stem, terms.written].map(|term| term.map(|id| lexicon.term(id).to_owned()));
            found.push((piece.kind, piece.text.to_owned(), stem, written));
        });
        let mut before = None;
        for (kind, piece, stem, written) in found {
            match (kind, stem) {
                (Kind::Whole, _) => {
                    let written = written.filter(|_| is_code(&piece));
                    self.words.extend(written.map(|word| (Ask::Written(word), false)));
                }
                // The last character of a run ranks by the pair before it; a single one begins pairs.
                (Kind::Last, stem) if before == Some(Kind::Pair) => stems.extend(stem),
                (Kind::Last, stem) if !self.is_full() => {
                    self.prefix(&piece);
                    stems.extend(stem);
                }
                (_, stem) => {
                    let stop = self.stops(&piece);
                    self.words.extend(stem.clone().map(|stem| (Ask::Stem(stem), stop)));
                    stems.extend(stem);
                }
            }
            before = Some(kind);
        }
        // In a text the run may go on.
        if before == Some(Kind::Last) {
            stems.pop();
        }
        stems
    }

    fn stops(&mut self, word: &str) -> bool {
        self.stops.as_mut().is_some_and(|stops| !stops.token_stream(word).advance())
    }

    /// Whether there are as many words with a star as there may be.
    fn is_full(&self) -> bool {
        self.query.prefixes.len() >= limits::PHRASES_PER_QUERY_MAX
    }

    fn prefix(&mut self, start: &str) {
        let known = self.query.prefixes.iter().position(|prefix| prefix.start == start);
        let number = known.unwrap_or_else(|| {
            self.query.prefixes.push(Prefix { start: start.to_owned(), terms: Vec::new() });
            self.query.prefixes.len() - 1
        });
        self.words.push((Ask::Prefix(number), false));
    }

    fn too_many(&mut self, what: &str) {
        let limit = limits::PHRASES_PER_QUERY_MAX;
        self.warn(format!("query: has more than {limit} {what}: the further ones count as plain words"));
    }

    fn warn(&mut self, warning: String) {
        if !self.query.warnings.contains(&warning) {
            self.query.warnings.push(warning);
        }
    }

    fn finish(mut self) -> TextQuery {
        if self.words.iter().any(|(_, stop)| !stop) {
            self.words.retain(|(_, stop)| !stop);
        }
        let mut places = HashMap::new();
        let asks = &mut self.query.asks;
        for (ask, _) in self.words {
            let place = *places.entry(ask.clone()).or_insert(asks.len());
            match asks.get_mut(place) {
                Some((_, times)) => *times += 1.0,
                None => asks.push((ask, 1.0)),
            }
        }
        self.query
    }
}

/// Whether a whole is asked for as such too. Words that stand together (`boundary-layer`, `and/or`) are not: nDCG@10 on
/// Cranfield .4327 with them, .4334 without.
fn is_code(whole: &str) -> bool {
    whole.contains(|c: char| c.is_numeric() || (is_joint(c) && c != '-' && c != '/'))
}

/// The word, with its joints, at the end of a text. Begins with a letter; empty where there is none.
fn word_at_end(text: &str) -> &str {
    let start = text
        .rfind(|c| !is_letter(c) && !is_joint(c))
        .map_or(0, |at| at + text.get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8));
    text.get(start..).unwrap_or_default().trim_start_matches(is_joint)
}

impl Prefix {
    /// Whether a term of an index is one that it stands for. `stems` gives the stems of a word: what is found by one of
    /// them is not counted as it was written too.
    pub(crate) fn takes(&self, term: &str, analyser: &mut Analyser) -> bool {
        if !is_marked(term) {
            return term.starts_with(&self.start);
        }
        let Some(word) = term.strip_prefix(&written_term("")) else { return false };
        let mut new = word.starts_with(&self.start);
        if new {
            analyser.each(word, |lexicon, _, terms| {
                new &= terms.stem.is_none_or(|stem| !lexicon.term(stem).starts_with(&self.start));
            });
        }
        new
    }
}

#[cfg(test)]
mod tests;
