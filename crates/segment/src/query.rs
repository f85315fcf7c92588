//! [`TextQuery`]: parses query text into words, quoted phrases and prefixes (words with a star).
//!
//! Every text is a valid query. A passage ranks by any of its words. Text between two double quotes is a phrase, word
//! after word: passages that contain it come first, and with a plus before it (`+"sick leave"`) all others are
//! excluded. An unpaired quote is text. A word with a star at its end (`comput*`) stands for all words that begin with
//! it. A code counts by its parts and as a whole.

use crate::analysis::{
    Analyser, folding,
    lexicon::{is_marked, written_term},
    stop_words,
    words::{PieceKind, is_joint, is_letter},
};
use kernel::{Folded, Language, limits};
use std::collections::{BTreeSet, HashMap};
use tantivy::tokenizer::{TextAnalyzer, TokenStream};
use zeroize::Zeroize;

/// A term that rows are ranked by.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum QueryTerm {
    /// A stem.
    Stem(String),
    /// A word as it was written: a code as a whole.
    Written(String),
    /// Any word that begins with a prefix, by index in [`TextQuery::prefixes`].
    Prefix(usize),
}

/// A word with a star.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Prefix {
    /// The characters before the star, in lower case.
    pub(crate) start: String,
    /// The terms that it stands for, set by [`TextQuery::expand`].
    pub(crate) terms: Vec<String>,
}

/// A quoted phrase.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct QuotedPhrase {
    /// Its stems, in order.
    pub(crate) stems: Vec<String>,
    /// Whether passages without it are excluded.
    required: bool,
}

/// An analysed query: the terms that rank, in query order, and the quoted phrases. It has no `Debug`, because it is a
/// customer's text, and it is wiped when it is dropped.
#[derive(Clone)]
pub struct TextQuery {
    language: Language,
    /// Distinct terms, each with its number of occurrences in the query: a term that occurs twice weighs twice.
    pub(crate) terms: Vec<(QueryTerm, f32)>,
    pub(crate) prefixes: Vec<Prefix>,
    pub(crate) phrases: Vec<QuotedPhrase>,
    title_weight: f32,
    warnings: Vec<String>,
}

/// The words of a namespace that match the query's prefixes: see [`crate::Segment::expand`].
#[derive(Default)]
pub struct Expansion {
    /// Terms of each prefix.
    pub(crate) terms: Vec<BTreeSet<String>>,
}

impl TextQuery {
    /// Default weight of a word of the title, relative to one of the passage. nDCG@10 for 1, 2, 3 and 4: .4886, .5078,
    /// .5087, .5100 on adi; .4304, .4334, .4350, .4358 on Cranfield.
    pub const TITLE_WEIGHT: f32 = 3.0;

    /// Parses a query in English.
    pub fn new(text: &str) -> Self {
        Self::in_language(text, Language::English)
    }

    /// Parses a query in the language of the namespace.
    pub fn in_language(text: &str, language: Language) -> Self {
        let mut parser = QueryParser {
            analyser: Analyser::new(language),
            words: Vec::new(),
            stop_words: stop_words(language),
            query: Self::empty(language),
        };
        let folded = Folded::new(text, folding(language));
        parser.text(folded.text());
        folded.wipe();
        parser.finish()
    }

    /// A query without a word.
    pub fn nothing() -> Self {
        Self::empty(Language::English)
    }

    fn empty(language: Language) -> Self {
        let (terms, prefixes, phrases, warnings) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { language, terms, prefixes, phrases, title_weight: Self::TITLE_WEIGHT, warnings }
    }

    /// Sets the weight of titles, 0 to [`limits::TITLE_WEIGHT_MAX`]: 1 equals the passage, 0 ignores titles.
    #[must_use]
    pub fn with_title_weight(mut self, weight: f32) -> Self {
        self.title_weight = if weight.is_finite() { weight.clamp(0.0, limits::TITLE_WEIGHT_MAX) } else { 1.0 };
        self
    }

    /// For each of these words of the query, the index of its term; `None` for words that are not searched for.
    pub fn term_indexes<'w>(&self, words: impl IntoIterator<Item = &'w str>) -> Vec<Option<usize>> {
        let mut analyser = Analyser::new(self.language);
        // A query may have thousands of words: each is looked up in a table instead of being compared with all.
        let (mut stems, mut written) = (HashMap::new(), HashMap::new());
        for (at, (term, _)) in self.terms.iter().enumerate().rev() {
            let table = match term {
                QueryTerm::Stem(stem) => Some((&mut stems, stem)),
                QueryTerm::Written(word) => Some((&mut written, word)),
                QueryTerm::Prefix(_) => None,
            };
            if let Some((table, word)) = table {
                table.insert(word.as_str(), at);
            }
        }
        let mut index = |word: &str| {
            let mut first = None;
            analyser.each(word, |lexicon, _, terms| {
                let stem = terms.stem.and_then(|id| stems.get(lexicon.term(id)));
                let whole = terms.written.and_then(|id| written.get(lexicon.term(id)));
                first = first.or_else(|| stem.into_iter().chain(whole).min().copied());
            });
            first
        };
        words.into_iter().map(&mut index).collect()
    }

    /// The query without its words; its warnings remain.
    #[must_use]
    pub fn without_words(mut self) -> Self {
        let mut rest = Self::empty(self.language);
        rest.warnings = std::mem::take(&mut self.warnings);
        rest
    }

    /// Whether the query has no word to search for.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
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

    /// Adds the warning that no passage contains this phrase.
    pub fn warn_phrase_not_found(&mut self, phrase: usize) {
        let (number, all) = (phrase + 1, self.phrases.len());
        self.warnings.push(format!("query: no eligible passage contains the quoted phrase {number} of {all}"));
    }

    /// Whether the query needs [`TextQuery::expand`].
    pub fn has_prefixes(&self) -> bool {
        !self.prefixes.is_empty()
    }

    /// Warnings for the caller. They contain no word of the query.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    pub(crate) fn language(&self) -> Language {
        self.language
    }

    pub(crate) fn title_weight(&self) -> f32 {
        self.title_weight
    }

    /// Lets every prefix stand for the first [`limits::PREFIX_WORDS_MAX`] of its collected terms.
    pub fn expand(&mut self, expansion: Expansion) {
        let limit = limits::PREFIX_WORDS_MAX;
        let mut cut = false;
        for (prefix, terms) in self.prefixes.iter_mut().zip(expansion.terms) {
            cut |= terms.len() > limit;
            prefix.terms = terms.into_iter().take(limit).collect();
        }
        if cut {
            let what = "query: a word with a star matches more words than are searched";
            self.warnings.push(format!("{what}: only the first {limit} in order are used"));
        }
    }
}

impl Drop for TextQuery {
    fn drop(&mut self) {
        for (term, _) in &mut self.terms {
            if let QueryTerm::Stem(word) | QueryTerm::Written(word) = term {
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

/// A query while it is parsed.
struct QueryParser {
    analyser: Analyser,
    /// Terms that rank, in text order, and whether each is a function word.
    words: Vec<(QueryTerm, bool)>,
    stop_words: Option<TextAnalyzer>,
    query: TextQuery,
}

impl QueryParser {
    /// Splits the text at paired quotes.
    fn text(&mut self, text: &str) {
        let parts: Vec<&str> = text.split('"').collect();
        let last = parts.len() - 1;
        let mut required = false;
        for (n, part) in parts.into_iter().enumerate() {
            // With an odd number of quotes the last quote is text, and so is what follows it.
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
        // In a phrase of function words alone, they are searched for even when the query has other words.
        let quoted = self.words.get_mut(first..).unwrap_or_default();
        if quoted.iter().all(|(_, stop)| *stop) {
            quoted.iter_mut().for_each(|(_, stop)| *stop = false);
        }
        if stems.is_empty() {
            return;
        }
        if self.query.phrases.len() < limits::PHRASES_PER_QUERY_MAX {
            self.query.phrases.push(QuotedPhrase { stems, required });
        } else {
            self.warn_too_many("phrases");
        }
    }

    /// Parses text without quotes: words, some with a star.
    fn plain(&mut self, text: &str) {
        let mut rest = text;
        let mut from = 0;
        while let Some(star) = rest.get(from..).and_then(|part| part.find('*')).map(|at| from + at) {
            from = star + 1;
            let (before, after) = (rest.get(..star).unwrap_or_default(), rest.get(from..).unwrap_or_default());
            let word = word_at_end(before);
            if word.is_empty() || after.starts_with(|c| is_letter(c) || is_joint(c) || c == '*') {
                continue;
            }
            if word.chars().count() < limits::PREFIX_CHARS_MIN {
                self.warn(format!("query: a star needs {} letters before it", limits::PREFIX_CHARS_MIN));
                continue;
            }
            if self.has_max_prefixes() {
                self.warn_too_many("words with a star");
                break;
            }
            // The words before the prefix come first, because terms keep the order of the text.
            self.words(before.strip_suffix(word).unwrap_or_default());
            self.prefix(word);
            (rest, from) = (after, 0);
        }
        self.words(rest);
    }

    /// Adds the words of a text as terms; returns its stems in order, as a phrase has them.
    fn words(&mut self, text: &str) -> Vec<String> {
        let (mut found, mut stems) = (Vec::new(), Vec::new());
        self.analyser.each(text, |lexicon, piece, terms| {
            let [stem, written] = [terms.stem, terms.written].map(|term| term.map(|id| lexicon.term(id).to_owned()));
            found.push((piece.kind, piece.text.to_owned(), stem, written));
        });
        let mut before = None;
        for (kind, piece, stem, written) in found {
            match (kind, stem) {
                (PieceKind::Whole, _) => {
                    let written = written.filter(|_| is_code(&piece));
                    self.words.extend(written.map(|word| (QueryTerm::Written(word), false)));
                }
                // The last character of a run ranks by the pair before it; a single character is the beginning of
                // pairs.
                (PieceKind::Last, stem) if before == Some(PieceKind::Pair) => stems.extend(stem),
                (PieceKind::Last, stem) if !self.has_max_prefixes() => {
                    self.prefix(&piece);
                    stems.extend(stem);
                }
                (_, stem) => {
                    let stop = self.is_stop_word(&piece);
                    self.words.extend(stem.clone().map(|stem| (QueryTerm::Stem(stem), stop)));
                    stems.extend(stem);
                }
            }
            before = Some(kind);
        }
        // In a text the run may continue.
        if before == Some(PieceKind::Last) {
            stems.pop();
        }
        stems
    }

    fn is_stop_word(&mut self, word: &str) -> bool {
        self.stop_words.as_mut().is_some_and(|stop_words| !stop_words.token_stream(word).advance())
    }

    /// Whether the query has the maximum number of prefixes.
    fn has_max_prefixes(&self) -> bool {
        self.query.prefixes.len() >= limits::PHRASES_PER_QUERY_MAX
    }

    fn prefix(&mut self, start: &str) {
        let known = self.query.prefixes.iter().position(|prefix| prefix.start == start);
        let number = known.unwrap_or_else(|| {
            self.query.prefixes.push(Prefix { start: start.to_owned(), terms: Vec::new() });
            self.query.prefixes.len() - 1
        });
        self.words.push((QueryTerm::Prefix(number), false));
    }

    fn warn_too_many(&mut self, what: &str) {
        let limit = limits::PHRASES_PER_QUERY_MAX;
        self.warn(format!("query: more than {limit} {what}; the others are treated as plain words"));
    }

    fn warn(&mut self, warning: String) {
        if !self.query.warnings.contains(&warning) {
            self.query.warnings.push(warning);
        }
    }

    fn finish(mut self) -> TextQuery {
        // Stop words are dropped only when other words remain.
        if self.words.iter().any(|(_, stop)| !stop) {
            self.words.retain(|(_, stop)| !stop);
        }
        let mut places = HashMap::new();
        let terms = &mut self.query.terms;
        for (term, _) in self.words {
            let index = *places.entry(term.clone()).or_insert(terms.len());
            match terms.get_mut(index) {
                Some((_, times)) => *times += 1.0,
                None => terms.push((term, 1.0)),
            }
        }
        self.query
    }
}

/// Whether a whole is searched for as such too. Joined words (`boundary-layer`, `and/or`) are not: nDCG@10 on Cranfield
/// is .4327 with them and .4334 without.
fn is_code(whole: &str) -> bool {
    whole.contains(|c: char| c.is_numeric() || (is_joint(c) && c != '-' && c != '/'))
}

/// The word, with its joints, at the end of a text. It begins with a letter; empty when there is none.
fn word_at_end(text: &str) -> &str {
    let start = text
        .rfind(|c| !is_letter(c) && !is_joint(c))
        .map_or(0, |at| at + text.get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8));
    text.get(start..).unwrap_or_default().trim_start_matches(is_joint)
}

impl Prefix {
    /// Whether the prefix stands for a term of an index. `analyser` gives the stems of a word: a word that is found by
    /// one of its stems is not counted as a written word too.
    pub(crate) fn stands_for(&self, term: &str, analyser: &mut Analyser) -> bool {
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
