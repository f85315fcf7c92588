//! The inverted index of an in-memory segment: for each term its rows.
//!
//! Built in one pass per commit and dropped at the next flush; no compression, no blocks.

use crate::analysis::{Lexicon, TermId};

/// Terms with their rows (ascending) and how often each holds the term.
#[derive(Default)]
pub(crate) struct MemoryIndex {
    lexicon: Lexicon,
    /// By the number of the term.
    lists: Vec<Vec<(u32, u32)>>,
    bytes: u64,
}

impl MemoryIndex {
    /// Adds the terms of the next row. All rows have their numbers from one lexicon.
    pub(crate) fn add(&mut self, row: u32, terms: &[TermId]) {
        for term in terms {
            let at = *term as usize;
            if at >= self.lists.len() {
                self.lists.resize_with(at + 1, Vec::new);
            }
            let Some(list) = self.lists.get_mut(at) else { continue };
            match list.last_mut() {
                Some(last) if last.0 == row => last.1 += 1,
                _ => {
                    self.bytes += 8;
                    list.push((row, 1));
                }
            }
        }
    }

    /// Takes the lexicon that the numbers are from.
    pub(crate) fn finish(mut self, lexicon: Lexicon) -> Self {
        // A term is there twice, with a number, a place in a table and the head of a list.
        let words: usize = (0..lexicon.len()).map(|id| 2 * lexicon.term(id as TermId).len() + 96).sum();
        self.bytes += words as u64;
        self.lexicon = lexicon;
        self
    }

    pub(crate) fn postings(&self, term: &str) -> &[(u32, u32)] {
        let list = self.lexicon.number(term).and_then(|id| self.lists.get(id as usize));
        list.map(Vec::as_slice).unwrap_or_default()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}
