//! The inverted index of an in-memory segment: a map from term to rows.
//!
//! Built in one pass per commit and dropped at the next flush; no compression, no blocks.

use std::collections::HashMap;
use tantivy::tokenizer::Token;
use zeroize::Zeroize;

/// Terms with their rows (ascending) and how often each holds the term.
#[derive(Default)]
pub(crate) struct MemoryIndex {
    terms: HashMap<String, Vec<(u32, u32)>>,
    bytes: u64,
}

impl MemoryIndex {
    /// Adds the terms of the next row.
    pub(crate) fn add(&mut self, row: u32, tokens: Vec<Token>) {
        for token in tokens {
            match self.terms.get_mut(&token.text) {
                None => {
                    // A map entry, its string and its first posting.
                    self.bytes += 64 + token.text.len() as u64;
                    self.terms.insert(token.text, vec![(row, 1)]);
                }
                Some(list) => match list.last_mut() {
                    Some(last) if last.0 == row => last.1 += 1,
                    _ => {
                        self.bytes += 8;
                        list.push((row, 1));
                    }
                },
            }
        }
    }

    pub(crate) fn postings(&self, term: &str) -> &[(u32, u32)] {
        self.terms.get(term).map(Vec::as_slice).unwrap_or_default()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for MemoryIndex {
    /// Terms are words of a customer's text.
    fn drop(&mut self) {
        self.terms.drain().for_each(|(mut term, _)| term.zeroize());
    }
}
