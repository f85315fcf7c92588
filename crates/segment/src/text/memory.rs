//! The inverted index of an in-memory segment: for each term its rows, and for each row its stems.
//!
//! It is built in one pass per commit and dropped at the next flush, so it has no compression and no blocks.

use super::phrase::PhraseMatcher;
use crate::analysis::{
    RowTerms,
    lexicon::{Lexicon, TermId},
};
use kernel::{Interrupted, checkpoint};
use roaring::RoaringBitmap;
use std::sync::OnceLock;

/// Terms with their rows (ascending) and the frequency in each row.
#[derive(Default)]
pub(crate) struct MemoryIndex {
    lexicon: Lexicon,
    /// Posting lists by number of the term.
    lists: Vec<Vec<(u32, u32)>>,
    /// Stems of all rows, row after row, and the end of each row.
    stems: Vec<TermId>,
    ends: Vec<usize>,
    /// Terms in order, sorted when a prefix is first looked up.
    order: OnceLock<Vec<TermId>>,
    bytes: u64,
}

impl MemoryIndex {
    /// Adds the terms of the next row. The numbers of all rows must come from one lexicon.
    pub(crate) fn add(&mut self, number: u32, row: &RowTerms) {
        // The gap between a title and a passage is no term.
        let terms = row.stems.iter().chain(&row.extras).filter(|term| **term != crate::analysis::lexicon::GAP);
        for term in terms {
            let at = *term as usize;
            if at >= self.lists.len() {
                self.lists.resize_with(at + 1, Vec::new);
            }
            let Some(list) = self.lists.get_mut(at) else { continue };
            match list.last_mut() {
                Some(last) if last.0 == number => last.1 += 1,
                _ => {
                    self.bytes += 8;
                    list.push((number, 1));
                }
            }
        }
        self.stems.extend_from_slice(&row.stems);
        self.ends.push(self.stems.len());
        self.bytes += 4 * row.stems.len() as u64 + 8;
    }

    /// Stores the lexicon that the numbers come from.
    pub(crate) fn finish(mut self, lexicon: Lexicon) -> Self {
        // The lexicon stores a term twice, with its number and a table entry; its posting list has a header.
        let words: usize = (0..lexicon.len()).map(|id| 2 * lexicon.term(id as TermId).len() + 96).sum();
        self.bytes += words as u64;
        self.lexicon = lexicon;
        self
    }

    pub(crate) fn postings(&self, term: &str) -> &[(u32, u32)] {
        let list = self.lexicon.number(term).and_then(|id| self.lists.get(id as usize));
        list.map(Vec::as_slice).unwrap_or_default()
    }

    /// Terms that begin with `start`, ascending.
    pub(crate) fn terms_from<'a>(&'a self, start: &'a str) -> impl Iterator<Item = &'a str> {
        let order = self.order.get_or_init(|| {
            let mut order: Vec<TermId> = (0..self.lexicon.len() as TermId).collect();
            order.sort_unstable_by(|a, b| self.lexicon.term(*a).cmp(self.lexicon.term(*b)));
            order
        });
        let first = order.partition_point(|id| self.lexicon.term(*id) < start);
        let rest = order.get(first..).unwrap_or_default();
        rest.iter().map(|id| self.lexicon.term(*id)).take_while(move |term| term.starts_with(start))
    }

    /// The subset of `rows` in which these stems occur in sequence.
    ///
    /// # Errors
    /// [`Interrupted`] when the request must end.
    pub(crate) fn phrase(&self, stems: &[String], rows: &RoaringBitmap) -> Result<RoaringBitmap, Interrupted> {
        let mut found = RoaringBitmap::new();
        let ids: Option<Vec<TermId>> = stems.iter().map(|stem| self.lexicon.number(stem)).collect();
        let Some(ids) = ids.filter(|ids| !ids.is_empty()) else { return Ok(found) };
        let lists = ids.iter().filter_map(|id| self.lists.get(*id as usize));
        // A row that contains the phrase contains its rarest word.
        let rarest = lists.min_by_key(|list| list.len()).map(Vec::as_slice).unwrap_or_default();
        let phrase = PhraseMatcher::new(ids);
        for row in rarest.iter().map(|(row, _)| *row).filter(|row| rows.contains(*row)) {
            let stems = self.stems_of(row);
            checkpoint(stems.len() as u64 + 1)?;
            if phrase.occurs_in(stems.iter().copied()) {
                found.insert(row);
            }
        }
        Ok(found)
    }

    fn stems_of(&self, row: u32) -> &[TermId] {
        let end = |row: u32| self.ends.get(row as usize).copied();
        let start = row.checked_sub(1).map_or(Some(0), end);
        start.zip(end(row)).and_then(|(start, end)| self.stems.get(start..end)).unwrap_or_default()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}
