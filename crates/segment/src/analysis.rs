//! Turns text into terms, in the same way for documents and queries: a normal form ([`kernel::Folded`]), pieces
//! ([`words`]), and stems by the rules of a language.
//!
//! A word that contains a digit is a name and keeps its form. In every language a word can also be found as it was
//! written, and a code both as a whole and by its parts. Stop words are indexed; queries leave them out when they have
//! other words ([`crate::TextQuery`]).

pub(crate) mod lexicon;
pub(crate) mod words;

use kernel::{Folded, Folding, Language};
use lexicon::{GAP, Lexicon, TermId, title_term, written_term};
use std::{collections::HashMap, sync::OnceLock};
use tantivy::tokenizer::{Language as Rules, RawTokenizer, Stemmer, StopWordFilter, TextAnalyzer, TokenStream};
use words::{PieceKind, WordPiece, pieces};
use zeroize::Zeroize;

/// Distinct words that are cached before the analyser starts afresh: about 10 MB.
const WORDS_KNOWN_MAX: usize = 100_000;

/// Splits text into terms. Each job has its own: a text repeats most of its words, and each is stemmed once. The cache
/// holds words of a customer's text and is wiped when the analyser is dropped.
pub(crate) struct Analyser {
    folding: Folding,
    stems: Option<TextAnalyzer>,
    lexicon: Lexicon,
    /// Terms of the pieces that were analysed, by their normal form.
    cache: HashMap<String, PieceTerms>,
    /// The title of the current document.
    title: RowTerms,
}

/// A piece of a text's normal form, with its position.
#[derive(Clone, Copy)]
pub(crate) struct LocatedPiece<'a> {
    pub(crate) kind: PieceKind,
    /// The piece in the normal form.
    pub(crate) text: &'a str,
    folded: &'a Folded,
    at: usize,
}

impl LocatedPiece<'_> {
    /// Byte range of the piece in the text as it was written.
    pub(crate) fn byte_range(&self) -> (usize, usize) {
        self.folded.original_range(self.at, self.at + self.text.len())
    }
}

/// The terms of one piece of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PieceTerms {
    /// The term that ranks; `None` for a whole.
    pub(crate) stem: Option<TermId>,
    /// The piece as it was written, where that is another term.
    pub(crate) written: Option<TermId>,
}

/// The terms of a row.
#[derive(Clone, Default)]
pub(crate) struct RowTerms {
    /// Stems in their order: those of the title, a [`GAP`], those of the passage.
    pub(crate) stems: Vec<TermId>,
    /// Marked terms: stems of the title, and words as they were written.
    pub(crate) extras: Vec<TermId>,
    /// Number of stems that come from the title.
    pub(crate) title: u32,
}

impl RowTerms {
    /// Number of stems: the row's length, as BM25 counts it.
    pub(crate) fn length(&self) -> u32 {
        let gap = u32::from(self.title > 0);
        u32::try_from(self.stems.len()).unwrap_or(u32::MAX).saturating_sub(gap)
    }
}

impl Analyser {
    pub(crate) fn new(language: Language) -> Self {
        let stems = rules(language)
            .map(|rules| TextAnalyzer::builder(RawTokenizer::default()).filter(Stemmer::new(rules)).build());
        Self {
            folding: folding(language),
            stems,
            lexicon: Lexicon::default(),
            cache: HashMap::new(),
            title: RowTerms::default(),
        }
    }

    /// Calls `visit` with each piece of a text and its terms.
    pub(crate) fn each(&mut self, text: &str, mut visit: impl FnMut(&Lexicon, LocatedPiece<'_>, PieceTerms)) {
        let folded = Folded::new(text, self.folding);
        pieces(folded.text(), |piece| {
            let terms = match self.cache.get(piece.text) {
                Some(terms) => *terms,
                None => self.analyse(piece),
            };
            let located = LocatedPiece { kind: piece.kind, text: piece.text, folded: &folded, at: piece.at };
            visit(&self.lexicon, located, terms);
        });
        folded.wipe();
    }

    fn analyse(&mut self, piece: WordPiece<'_>) -> PieceTerms {
        let word = piece.text;
        let terms = if piece.kind == PieceKind::Whole {
            PieceTerms { stem: None, written: Some(self.lexicon.intern(&written_term(word))) }
        } else {
            let stem = self.stem(word);
            let written = (stem != word).then(|| self.lexicon.intern(&written_term(word)));
            PieceTerms { stem: Some(self.lexicon.intern(&stem)), written }
        };
        self.cache.insert(word.to_owned(), terms);
        terms
    }

    fn stem(&mut self, word: &str) -> String {
        match &mut self.stems {
            Some(chain) if !word.contains(|c: char| c.is_numeric()) => {
                let mut stream = chain.token_stream(word);
                if stream.advance() { stream.token().text.clone() } else { word.to_owned() }
            }
            _ => word.to_owned(),
        }
    }

    /// Sets the title of the document whose passages come next.
    pub(crate) fn set_title(&mut self, title: &str) {
        let mut row = std::mem::take(&mut self.title);
        row.stems.clear();
        row.extras.clear();
        self.append(title, &mut row);
        row.title = u32::try_from(row.stems.len()).unwrap_or(u32::MAX);
        for at in 0..row.stems.len() {
            let Some(stem) = row.stems.get(at) else { continue };
            let term = title_term(self.lexicon.term(*stem));
            row.extras.push(self.lexicon.intern(&term));
        }
        if row.title > 0 {
            row.stems.push(GAP);
        }
        self.title = row;
    }

    /// The terms of a row: those of the document's title, then those of the passage. The title counts even if the
    /// passage repeats it.
    pub(crate) fn row(&mut self, passage: &str, out: &mut RowTerms) {
        out.stems.clone_from(&self.title.stems);
        out.extras.clone_from(&self.title.extras);
        out.title = self.title.title;
        self.append(passage, out);
    }

    fn append(&mut self, text: &str, out: &mut RowTerms) {
        self.each(text, |_, _, terms| {
            out.stems.extend(terms.stem);
            out.extras.extend(terms.written);
        });
    }

    /// The terms so far.
    pub(crate) fn lexicon(&self) -> &Lexicon {
        &self.lexicon
    }

    /// Returns the terms so far. The analyser then starts afresh, without a title.
    pub(crate) fn take_lexicon(&mut self) -> Lexicon {
        self.title = RowTerms::default();
        self.cache.drain().for_each(|(mut word, _)| word.zeroize());
        std::mem::take(&mut self.lexicon)
    }

    /// Starts afresh when very many words are cached, so that the memory of a large job stays bounded. Term numbers
    /// from before are then invalid. Returns whether it did.
    pub(crate) fn reset_if_full(&mut self) -> bool {
        let full = self.cache.len() > WORDS_KNOWN_MAX;
        if full {
            drop(self.take_lexicon());
        }
        full
    }
}

impl Drop for Analyser {
    fn drop(&mut self) {
        self.cache.drain().for_each(|(mut word, _)| word.zeroize());
    }
}

/// The rules for upper and lower case of the letter I.
pub(crate) fn folding(language: Language) -> Folding {
    match language {
        Language::Turkish => Folding::Turkish,
        _ => Folding::Common,
    }
}

/// Recognises the function words of a language, which carry no meaning and have the longest posting lists. `None` for a
/// language without a list.
pub(crate) fn stop_words(language: Language) -> Option<TextAnalyzer> {
    // A list has some hundred words: it is built once and shared by all queries.
    static LISTS: [OnceLock<Option<StopWordFilter>>; Language::ALL.len()] =
        [const { OnceLock::new() }; Language::ALL.len()];
    let list = LISTS.get(language as usize)?.get_or_init(|| StopWordFilter::new(rules(language)?));
    list.clone().map(|list| TextAnalyzer::builder(RawTokenizer::default()).filter(list).build())
}

fn rules(language: Language) -> Option<Rules> {
    Some(match language {
        Language::Plain => return None,
        Language::Arabic => Rules::Arabic,
        Language::Danish => Rules::Danish,
        Language::Dutch => Rules::Dutch,
        Language::English => Rules::English,
        Language::Finnish => Rules::Finnish,
        Language::French => Rules::French,
        Language::German => Rules::German,
        Language::Greek => Rules::Greek,
        Language::Hungarian => Rules::Hungarian,
        Language::Italian => Rules::Italian,
        Language::Norwegian => Rules::Norwegian,
        Language::Portuguese => Rules::Portuguese,
        Language::Romanian => Rules::Romanian,
        Language::Russian => Rules::Russian,
        Language::Spanish => Rules::Spanish,
        Language::Swedish => Rules::Swedish,
        Language::Tamil => Rules::Tamil,
        Language::Turkish => Rules::Turkish,
    })
}

#[cfg(test)]
mod tests;
