//! Text to terms, one way for documents and queries: words, lower case, English stems.
//!
//! Stop words are indexed, so that a query made of nothing else still finds; a query that has
//! other words drops them (`the`, `of`): they carry no meaning and the longest posting lists.

use std::{
    collections::{HashMap, HashSet},
    sync::OnceLock,
};
use tantivy::tokenizer::{Language, LowerCaser, SimpleTokenizer, Stemmer, TextAnalyzer, TokenStream};
use zeroize::Zeroize;

/// A word that is indexed is shorter, bytes. Room for a SHA-512 in hex; longer runs are no words.
const WORD_BYTES_MAX: usize = 129;
/// Words that a job keeps in mind before it begins anew: about 10 MB.
const WORDS_KNOWN_MAX: usize = 100_000;

/// Function words of English (the 33 that Lucene drops by default).
const STOP_WORDS: [&str; 33] = [
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not", "of",
    "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was", "will", "with",
];

/// A term's number in the lexicon of the job that met it.
pub(crate) type TermId = u32;

/// Cuts text into terms. One per job: a text says most of its words again and again, and each is lowered and stemmed
/// once. What it keeps are words of a customer's text: wiped when it goes.
pub(crate) struct Analyser {
    chain: TextAnalyzer,
    lexicon: Lexicon,
    /// Words as they stood in the text, with their terms.
    known: HashMap<String, TermId>,
}

/// The distinct terms of a job, numbered as they came. Wiped when it goes.
#[derive(Default)]
pub(crate) struct Lexicon {
    terms: Vec<String>,
    numbers: HashMap<String, TermId>,
}

impl Lexicon {
    /// A term by its number.
    pub(crate) fn term(&self, id: TermId) -> &str {
        self.terms.get(id as usize).map_or("", String::as_str)
    }

    /// The number of a term, if it came.
    pub(crate) fn number(&self, term: &str) -> Option<TermId> {
        self.numbers.get(term).copied()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.terms.len()
    }

    fn enter(&mut self, term: &str) -> TermId {
        if let Some(id) = self.number(term) {
            return id;
        }
        let id = TermId::try_from(self.terms.len()).unwrap_or(TermId::MAX);
        self.terms.push(term.to_owned());
        self.numbers.insert(term.to_owned(), id);
        id
    }

    fn wipe(&mut self) {
        self.terms.iter_mut().for_each(Zeroize::zeroize);
        self.terms.clear();
        self.numbers.drain().for_each(|(mut term, _)| term.zeroize());
    }
}

impl Drop for Lexicon {
    fn drop(&mut self) {
        self.wipe();
    }
}

impl Drop for Analyser {
    fn drop(&mut self) {
        self.known.drain().for_each(|(mut word, _)| word.zeroize());
    }
}

impl Analyser {
    pub(crate) fn new() -> Self {
        let chain = TextAnalyzer::builder(SimpleTokenizer::default())
            .filter(LowerCaser)
            .filter(Stemmer::new(Language::English))
            .build();
        Self { chain, lexicon: Lexicon::default(), known: HashMap::new() }
    }

    /// Appends the terms of `text`.
    pub(crate) fn terms(&mut self, text: &str, out: &mut Vec<TermId>) {
        let words = text.split(|c: char| !c.is_alphanumeric());
        for word in words.filter(|word| !word.is_empty() && word.len() < WORD_BYTES_MAX) {
            let id = match self.known.get(word) {
                Some(id) => *id,
                None => self.learn(word),
            };
            out.push(id);
        }
    }

    fn learn(&mut self, word: &str) -> TermId {
        let mut stream = self.chain.token_stream(word);
        // A run of letters and digits is one token.
        let id = self.lexicon.enter(if stream.advance() { &stream.token().text } else { word });
        self.known.insert(word.to_owned(), id);
        id
    }

    /// Appends the terms of a row: the document's title, then the passage. The title counts also where the
    /// passage repeats it: a word of the title says more (nDCG@10 on Cranfield 0.433 against 0.421).
    pub(crate) fn row(&mut self, title: &str, passage: &str, out: &mut Vec<TermId>) {
        self.terms(title, out);
        self.terms(passage, out);
    }

    /// The terms so far.
    pub(crate) fn lexicon(&self) -> &Lexicon {
        &self.lexicon
    }

    /// The terms so far, to be kept. It begins anew then.
    pub(crate) fn take_lexicon(&mut self) -> Lexicon {
        self.known.drain().for_each(|(mut word, _)| word.zeroize());
        std::mem::take(&mut self.lexicon)
    }

    /// Begins anew when it knows very many words, so that a large job's memory stays bounded. Numbers that it gave
    /// before mean nothing then.
    pub(crate) fn forget(&mut self) {
        if self.known.len() > WORDS_KNOWN_MAX {
            drop(self.take_lexicon());
        }
    }
}

/// An analysed query: distinct terms in the order in which they came, and how often each did. No
/// `Debug`: it is a customer's text.
#[derive(Clone)]
pub struct TextQuery {
    pub(crate) terms: Vec<String>,
    /// A term that is asked for twice weighs twice.
    pub(crate) times: Vec<f32>,
}

impl TextQuery {
    /// Analyses a query.
    pub fn new(text: &str) -> Self {
        let (mut analyser, mut ids) = (Analyser::new(), Vec::new());
        analyser.terms(text, &mut ids);
        static STOPS: OnceLock<HashSet<String>> = OnceLock::new();
        let stops = STOPS.get_or_init(|| STOP_WORDS.iter().map(|w| stem(w)).collect());
        let mut words: Vec<String> = ids.into_iter().map(|id| analyser.lexicon.term(id).to_owned()).collect();
        if words.iter().any(|w| !stops.contains(w)) {
            words.retain(|w| !stops.contains(w));
        }
        let mut query = Self { terms: Vec::new(), times: Vec::new() };
        let mut places = HashMap::new();
        for word in words {
            let place = *places.entry(word.clone()).or_insert(query.terms.len());
            match query.times.get_mut(place) {
                Some(times) => *times += 1.0,
                None => {
                    query.terms.push(word);
                    query.times.push(1.0);
                }
            }
        }
        query
    }

    /// For each of these words of the query its place among the terms; `None` for those that are not looked for.
    pub fn places<'w>(&self, words: impl IntoIterator<Item = &'w str>) -> Vec<Option<usize>> {
        let (mut analyser, mut ids) = (Analyser::new(), Vec::new());
        let mut place = |word: &str| {
            ids.clear();
            analyser.terms(word, &mut ids);
            let term = analyser.lexicon.term(*ids.first()?);
            self.terms.iter().position(|known| known == term)
        };
        words.into_iter().map(&mut place).collect()
    }

    /// Whether there is no term to look for.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }
}

fn stem(word: &str) -> String {
    let (mut analyser, mut ids) = (Analyser::new(), Vec::new());
    analyser.terms(word, &mut ids);
    ids.pop().map(|id| analyser.lexicon.term(id).to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
