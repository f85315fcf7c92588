//! The distinct terms of one job, numbered in the order in which they first occur.
//!
//! In addition to the stems that are ranked there are two kinds of marked terms: a stem that occurs in a title, and a
//! word as it was written where that is not its stem (a code as a whole is such a word). A mark in front, which is no
//! letter, distinguishes them.

use std::collections::HashMap;
use zeroize::Zeroize;

/// Number of a term in the lexicon of one job.
pub(crate) type TermId = u32;

/// Separates title and passage, so that no phrase spans both. No term has this number.
pub(crate) const GAP: TermId = TermId::MAX;

/// Mark of a stem of a title.
const TITLE: char = '^';
/// Mark of a word as it was written.
const WRITTEN: char = '=';

/// The term of a stem that occurs in the title.
pub(crate) fn title_term(stem: &str) -> String {
    format!("{TITLE}{stem}")
}

/// The term of a word as it was written, in lower case.
pub(crate) fn written_term(word: &str) -> String {
    format!("{WRITTEN}{word}")
}

/// Whether a term is marked, and so none of the stems that are ranked.
pub(crate) fn is_marked(term: &str) -> bool {
    term.starts_with([TITLE, WRITTEN])
}

/// The distinct terms of one job. They are words of a customer's text and are wiped when the lexicon is dropped.
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

    /// The number of a term, if it has occurred.
    pub(crate) fn number(&self, term: &str) -> Option<TermId> {
        self.numbers.get(term).copied()
    }

    /// Number of terms.
    pub(crate) fn len(&self) -> usize {
        self.terms.len()
    }

    pub(super) fn intern(&mut self, term: &str) -> TermId {
        if let Some(id) = self.number(term) {
            return id;
        }
        let id = TermId::try_from(self.terms.len()).unwrap_or(GAP);
        self.terms.push(term.to_owned());
        self.numbers.insert(term.to_owned(), id);
        id
    }
}

impl Drop for Lexicon {
    fn drop(&mut self) {
        self.terms.iter_mut().for_each(Zeroize::zeroize);
        self.numbers.drain().for_each(|(mut term, _)| term.zeroize());
    }
}
