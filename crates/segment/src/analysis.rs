//! Text to terms, one way for documents and queries: words, lower case, English stems.
//!
//! Stop words are indexed, so that a query made of nothing else still finds; a query that has
//! other words drops them (`the`, `of`): they carry no meaning and the longest posting lists.

use std::{
    collections::{HashMap, HashSet},
    sync::OnceLock,
};
use tantivy::tokenizer::{
    Language, LowerCaser, RemoveLongFilter, SimpleTokenizer, Stemmer, TextAnalyzer, Token, TokenStream,
};

/// Longest word that is indexed, bytes. Room for a SHA-512 in hex; longer runs are no words.
const WORD_BYTES_MAX: usize = 129;

/// Function words of English (the 33 that Lucene drops by default).
const STOP_WORDS: [&str; 33] = [
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not", "of",
    "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was", "will", "with",
];

/// Cuts text into terms. Holds buffers; one per thread of work.
pub(crate) struct Analyser(TextAnalyzer);

impl Analyser {
    pub(crate) fn new() -> Self {
        Self(
            TextAnalyzer::builder(SimpleTokenizer::default())
                .filter(RemoveLongFilter::limit(WORD_BYTES_MAX))
                .filter(LowerCaser)
                .filter(Stemmer::new(Language::English))
                .build(),
        )
    }

    /// Appends the terms of `text`.
    pub(crate) fn terms(&mut self, text: &str, out: &mut Vec<Token>) {
        let mut stream = self.0.token_stream(text);
        stream.process(&mut |token| {
            let position = out.len();
            out.push(Token { position, ..token.clone() });
        });
    }

    /// The terms of a row: the document's title, then the passage. The title counts also where the
    /// passage repeats it: a word of the title says more (nDCG@10 on Cranfield 0.433 against 0.421).
    pub(crate) fn row(&mut self, title: &str, passage: &str) -> Vec<Token> {
        let mut out = Vec::new();
        self.terms(title, &mut out);
        self.terms(passage, &mut out);
        out
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
        let mut tokens = Vec::new();
        Analyser::new().terms(text, &mut tokens);
        static STOPS: OnceLock<HashSet<String>> = OnceLock::new();
        let stops = STOPS.get_or_init(|| STOP_WORDS.iter().map(|w| stem(w)).collect());
        let mut words: Vec<String> = tokens.into_iter().map(|t| t.text).collect();
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

    /// Whether there is no term to look for.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }
}

fn stem(word: &str) -> String {
    let mut out = Vec::new();
    Analyser::new().terms(word, &mut out);
    out.pop().map(|t| t.text).unwrap_or_default()
}

#[cfg(test)]
mod tests;
