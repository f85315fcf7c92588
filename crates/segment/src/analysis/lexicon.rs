//! The distinct terms of one job, numbered as they came.
//!
//! Two kinds stand beside the stems that are ranked: a stem where it stands in a title, and a word as it was written
//! where that is not its stem (a code as a whole is such a word). A mark in front, which is no letter, tells them apart.

use std::collections::HashMap;
use zeroize::Zeroize;

/// A term's number in the lexicon of the job that met it.
pub(crate) type TermId = u32;

/// Stands between title and passage, so that no phrase reaches from one into the other. No term has this number.
pub(crate) const GAP: TermId = TermId::MAX;

/// In front of a stem of a title.
const TITLE: char = '^';
/// In front of a word as it was written.
const WRITTEN: char = '=';

/// The term that says that a stem stands in the title.
pub(crate) fn title_term(stem: &str) -> String {
    format!("{TITLE}{stem}")
}

/// The term of a word as it was written, in lower case.
pub(crate) fn written_term(word: &str) -> String {
    format!("{WRITTEN}{word}")
}

/// Whether a term is none of the stems that are ranked.
pub(crate) fn is_marked(term: &str) -> bool {
    term.starts_with([TITLE, WRITTEN])
}

/// See the module. Wiped when it goes: these are words of a customer's text.
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

    pub(super) fn enter(&mut self, term: &str) -> TermId {
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
