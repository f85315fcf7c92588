//! Text to terms, one way for documents and queries: one normal form ([`kernel::Folded`]), pieces ([`words`]), stems by
//! the rules of a language.
//!
//! A word with a digit in it is a name and keeps its form. Whatever the language, a word can also be found as it was
//! written, and a code as a whole and by its parts. Stop words are indexed; queries leave them out where they say more
//! ([`crate::TextQuery`]).

pub(crate) mod lexicon;
pub(crate) mod words;

use kernel::{Folded, Folding, Language};
use lexicon::{GAP, Lexicon, TermId, title_term, written_term};
use std::{collections::HashMap, sync::OnceLock};
use tantivy::tokenizer::{Language as Rules, RawTokenizer, Stemmer, StopWordFilter, TextAnalyzer, TokenStream};
use words::{Kind, Piece, pieces};
use zeroize::Zeroize;

/// Words that a job remembers before it starts afresh: about 10 MB.
const WORDS_KNOWN_MAX: usize = 100_000;

/// Cuts text into terms. One per job: a text says most of its words again and again, and each is stemmed once. What it keeps are words of a customer's text: wiped when it goes.
pub(crate) struct Analyser {
    folding: Folding,
    stems: Option<TextAnalyzer>,
    lexicon: Lexicon,
    /// Pieces of the normal form, with their terms.
    known: HashMap<String, Terms>,
    /// The title of the document at hand.
    title: Row,
}

/// A piece of a text's normal form.
#[derive(Clone, Copy)]
pub(crate) struct Found<'a> {
    pub(crate) kind: Kind,
    /// In the normal form.
    pub(crate) text: &'a str,
    folded: &'a Folded,
    at: usize,
}

impl Found<'_> {
    /// Where it stands in the text as it was written, bytes.
    pub(crate) fn place(&self) -> (usize, usize) {
        self.folded.written(self.at, self.at + self.text.len())
    }
}

/// What one piece of a text gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// What is ranked; none for a whole.
    pub(crate) stem: Option<TermId>,
    /// How it was written, where that is another term.
    pub(crate) written: Option<TermId>,
}

/// The terms of a row.
#[derive(Clone, Default)]
pub(crate) struct Row {
    /// Stems in their order, title first, then [`GAP`].
    pub(crate) stems: Vec<TermId>,
    /// Marked terms: stems of the title, words as they were written.
    pub(crate) extras: Vec<TermId>,
    /// How many of the stems are the title's.
    pub(crate) title: u32,
}

impl Row {
    /// How many stems: its length, as BM25 counts it.
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
            known: HashMap::new(),
            title: Row::default(),
        }
    }

    /// Calls back with each piece of a text and its terms.
    pub(crate) fn each(&mut self, text: &str, mut visit: impl FnMut(&Lexicon, Found<'_>, Terms)) {
        let folded = Folded::new(text, self.folding);
        pieces(folded.text(), |piece| {
            let terms = match self.known.get(piece.text) {
                Some(terms) => *terms,
                None => self.learn(piece),
            };
            let found = Found { kind: piece.kind, text: piece.text, folded: &folded, at: piece.at };
            visit(&self.lexicon, found, terms);
        });
        folded.wipe();
    }

    fn learn(&mut self, piece: Piece<'_>) -> Terms {
        let word = piece.text;
        let terms = if piece.kind == Kind::Whole {
            Terms { stem: None, written: Some(self.lexicon.enter(&written_term(word))) }
        } else {
            let stem = self.stem(word);
            let written = (stem != word).then(|| self.lexicon.enter(&written_term(word)));
            Terms { stem: Some(self.lexicon.enter(&stem)), written }
        };
        self.known.insert(word.to_owned(), terms);
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

    /// The title of the document whose passages come next.
    pub(crate) fn set_title(&mut self, title: &str) {
        let mut row = std::mem::take(&mut self.title);
        row.stems.clear();
        row.extras.clear();
        self.append(title, &mut row);
        row.title = u32::try_from(row.stems.len()).unwrap_or(u32::MAX);
        for at in 0..row.stems.len() {
            let Some(stem) = row.stems.get(at) else { continue };
            let term = title_term(self.lexicon.term(*stem));
            row.extras.push(self.lexicon.enter(&term));
        }
        if row.title > 0 {
            row.stems.push(GAP);
        }
        self.title = row;
    }

    /// The terms of a row: the document's title, then the passage. The title counts also where the passage repeats it.
    pub(crate) fn row(&mut self, passage: &str, out: &mut Row) {
        out.stems.clone_from(&self.title.stems);
        out.extras.clone_from(&self.title.extras);
        out.title = self.title.title;
        self.append(passage, out);
    }

    fn append(&mut self, text: &str, out: &mut Row) {
        self.each(text, |_, _, terms| {
            out.stems.extend(terms.stem);
            out.extras.extend(terms.written);
        });
    }

    /// The terms so far.
    pub(crate) fn lexicon(&self) -> &Lexicon {
        &self.lexicon
    }

    /// The terms so far, to be kept. It starts afresh then, without a title.
    pub(crate) fn take_lexicon(&mut self) -> Lexicon {
        self.title = Row::default();
        self.known.drain().for_each(|(mut word, _)| word.zeroize());
        std::mem::take(&mut self.lexicon)
    }

    /// Begins anew when it knows very many words, so that a large job's memory stays bounded. Numbers that it gave
    /// before mean nothing then. Says whether it did.
    pub(crate) fn forget(&mut self) -> bool {
        let full = self.known.len() > WORDS_KNOWN_MAX;
        if full {
            drop(self.take_lexicon());
        }
        full
    }
}

impl Drop for Analyser {
    fn drop(&mut self) {
        self.known.drain().for_each(|(mut word, _)| word.zeroize());
    }
}

/// Whose letter I a language has.
pub(crate) fn folding(language: Language) -> Folding {
    match language {
        Language::Turkish => Folding::Turkish,
        _ => Folding::Common,
    }
}

/// What tells the function words of a language: they carry no meaning and have the longest posting lists. `None` where
/// nobody made a list.
pub(crate) fn stop_words(language: Language) -> Option<TextAnalyzer> {
    // A list is some hundred words: made once, shared by all questions.
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
