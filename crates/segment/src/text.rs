//! Text search: BM25 over one inverted index of a segment, with a higher weight for titles.
//!
//! Two indexes, [`memory`] for tails and [`frozen`] (tantivy's) for written segments, give the same
//! postings; lengths, statistics and scores are made here, once, so that both score alike to the
//! last bit. Promises: only rows of the given bitmap are scored, and statistics count those rows
//! only that the reader may find.
//!
//! A row's terms are those of its document's title and of the passage. A title's weigh `w` times as much (Robertson,
//! Zaragoza & Taylor, CIKM 2004): a term's frequency is `all + (w - 1) * in the title`, and so is a row's length. All
//! terms that a word with a star stands for count as one.

mod directory;
pub(crate) mod frozen;
pub(crate) mod memory;
pub(crate) mod phrase;
mod score;
mod sums;

use crate::{
    Error, TextQuery,
    analysis::{Analyser, lexicon::written_term},
    bytes::Slice,
    documents::Documents,
    query::{Ask, Expansion},
    top::{Dense, Scored, Top},
};
use frozen::FrozenIndex;
use kernel::checkpoint;
use memory::MemoryIndex;
use roaring::RoaringBitmap;
use score::Weights;
use std::ops::ControlFlow;
use sums::Sums;
use tantivy::fieldnorm::FieldNormReader;

/// Counts that BM25 needs, over the rows of a namespace that one reader may find. Those of all segments are added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextStats {
    /// Rows.
    pub rows: u64,
    /// Their terms, repeats included.
    pub tokens: u64,
    /// Those of them that are the titles'.
    pub title_tokens: u64,
    /// For each term of the query, the number of rows that hold it.
    pub document_frequency: Vec<u64>,
}

impl TextStats {
    /// Zero rows, for summing up.
    pub fn for_query(query: &TextQuery) -> Self {
        Self { rows: 0, tokens: 0, title_tokens: 0, document_frequency: vec![0; query.asks.len()] }
    }
}

impl TextStats {
    /// Of rows of these lengths that hold what is asked for so often.
    pub fn new(lengths: TextLengths, document_frequency: Vec<u64>) -> Self {
        let TextLengths { rows, tokens, title_tokens } = lengths;
        Self { rows, tokens, title_tokens, document_frequency }
    }
}

/// Lengths of rows: the part of [`TextStats`] that does not depend on the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextLengths {
    /// Rows.
    pub rows: u64,
    /// Their terms, repeats included.
    pub tokens: u64,
    /// Those of them that are the titles'.
    pub title_tokens: u64,
}

/// Rows to count, given as the fewer of them and of all others: a segment knows its sums over all rows.
struct Sides {
    /// Number of rows that are counted.
    rows: u64,
    /// The rows that are read.
    read: RoaringBitmap,
    /// Whether these are the others, which are subtracted from the sums.
    counts_others: bool,
}

impl Sides {
    fn of(rows: &RoaringBitmap, total: u32) -> Self {
        let mut others = RoaringBitmap::new();
        others.insert_range(0..total);
        let counted = others.intersection_len(rows);
        if counted < u64::from(total) / 2 {
            others &= rows;
            return Self { rows: counted, read: others, counts_others: false };
        }
        others -= rows;
        Self { rows: counted, read: others, counts_others: true }
    }
}

impl std::ops::AddAssign for TextStats {
    /// Statistics of different queries do not add up; the longer list of frequencies stays.
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        self.tokens += other.tokens;
        self.title_tokens += other.title_tokens;
        if self.document_frequency.len() < other.document_frequency.len() {
            self.document_frequency.resize(other.document_frequency.len(), 0);
        }
        self.document_frequency.iter_mut().zip(other.document_frequency).for_each(|(mine, theirs)| *mine += theirs);
    }
}

/// Where postings come from.
pub(crate) enum Postings {
    Memory(MemoryIndex),
    Frozen(Box<FrozenIndex>),
}

/// Which rows of a posting list are selected.
pub(crate) struct Selection<'a> {
    /// `None`: every row.
    rows: Option<(&'a RoaringBitmap, Dense)>,
}

impl<'a> Selection<'a> {
    fn of(rows: &'a RoaringBitmap, total: u32) -> Self {
        let all = rows.range_cardinality(0..total) == u64::from(total);
        Self { rows: (!all).then(|| (rows, Dense::of(rows, total))) }
    }

    fn contains(&self, row: u32) -> bool {
        self.rows.as_ref().is_none_or(|(_, dense)| dense.contains(row))
    }

    /// The rows one by one, when they are so few beside `postings` that jumping to each is cheaper than reading all.
    fn jumps(&self, postings: u32) -> Option<&'a RoaringBitmap> {
        // A jump decodes about one block of 128 postings at worst; 16 is where the two ways met.
        let (rows, _) = self.rows.as_ref()?;
        (rows.len() < u64::from(postings) / 16).then_some(*rows)
    }
}

impl Postings {
    /// Rows that hold a term.
    fn frequency(&self, term: &str) -> Result<u64, Error> {
        match self {
            Postings::Memory(index) => Ok(index.postings(term).len() as u64),
            Postings::Frozen(index) => index.frequency(term),
        }
    }

    /// Calls back with each selected row that holds the term, ascending, and how often.
    fn each(&self, term: &str, selection: &Selection<'_>, mut visit: impl FnMut(u32, u32)) -> Result<(), Error> {
        self.until(term, selection, |row, times| {
            visit(row, times);
            ControlFlow::Continue(())
        })
    }

    /// The same until it is told to stop.
    fn until(
        &self,
        term: &str,
        selection: &Selection<'_>,
        mut visit: impl FnMut(u32, u32) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        match self {
            Postings::Memory(index) => {
                let mut list = index.postings(term).iter().filter(|p| selection.contains(p.0));
                // Whether it stopped is known to who stopped it.
                let _ = list.try_for_each(|p| visit(p.0, p.1));
                Ok(())
            }
            Postings::Frozen(index) => index.each(term, selection, visit),
        }
    }

    /// Calls back with the terms that begin so, ascending, until told to stop.
    fn terms_from(
        &self,
        start: &str,
        mut visit: impl FnMut(&str) -> Result<ControlFlow<()>, Error>,
    ) -> Result<(), Error> {
        match self {
            Postings::Memory(index) => {
                for term in index.terms_from(start) {
                    if visit(term)?.is_break() {
                        break;
                    }
                }
                Ok(())
            }
            Postings::Frozen(index) => index.terms_from(start, visit),
        }
    }

    /// Heap bytes, roughly.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Postings::Memory(index) => index.bytes(),
            Postings::Frozen(index) => index.bytes(),
        }
    }
}

/// What looking a term up costs, in steps of [`checkpoint`].
const STEPS_A_TERM: u64 = 1_024;

/// The id of a row's length, as tantivy rounds it (one byte).
pub(crate) fn norm(terms: u32) -> u8 {
    FieldNormReader::fieldnorm_to_id(terms)
}

/// The text index of one segment.
pub(crate) struct Text {
    pub(crate) postings: Postings,
    /// Per row the [`norm`] of all its terms and that of its title's.
    pub(crate) norms: Slice,
}

impl Text {
    /// See [`crate::Segment::expand`].
    pub(crate) fn expand(
        &self,
        query: &TextQuery,
        rows: &RoaringBitmap,
        total: u32,
        into: &mut Expansion,
    ) -> Result<(), Error> {
        let selection = Selection::of(rows, total);
        let mut analyser = Analyser::new(query.language());
        into.terms.resize_with(query.prefixes.len(), Default::default);
        for (prefix, terms) in query.prefixes.iter().zip(&mut into.terms) {
            for start in [prefix.start.clone(), written_term(&prefix.start)] {
                let mut here = 0;
                self.postings.terms_from(&start, |term| {
                    checkpoint(STEPS_A_TERM)?;
                    if prefix.takes(term, &mut analyser) && (terms.contains(term) || self.is_held(term, &selection)?) {
                        terms.insert(term.to_owned());
                        here += 1;
                    }
                    // One more than will be used: so it is known that there are more.
                    let enough = here > kernel::limits::PREFIX_WORDS_MAX;
                    Ok(if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
                })?;
            }
        }
        Ok(())
    }

    /// Whether some selected row holds the term.
    fn is_held(&self, term: &str, selection: &Selection<'_>) -> Result<bool, Error> {
        let mut held = selection.rows.is_none();
        if !held {
            self.postings.until(term, selection, |_, _| {
                held = true;
                ControlFlow::Break(())
            })?;
        }
        Ok(held)
    }

    /// Those of `rows` that hold this phrase of the query.
    pub(crate) fn holding(
        &self,
        query: &TextQuery,
        phrase: usize,
        rows: &RoaringBitmap,
    ) -> Result<RoaringBitmap, Error> {
        let Some(phrase) = query.phrases.get(phrase) else { return Ok(RoaringBitmap::new()) };
        match &self.postings {
            Postings::Memory(index) => Ok(index.phrase(&phrase.stems, rows)?),
            Postings::Frozen(index) => index.phrase(&phrase.stems, rows),
        }
    }

    /// Terms of these rows, and those of them that are the titles'.
    pub(crate) fn lengths(rows: &RoaringBitmap, documents: &Documents) -> TextLengths {
        let sides = Sides::of(rows, documents.rows);
        let (mut tokens, mut title_tokens) = (0, 0);
        for row in &sides.read {
            tokens += u64::from(documents.terms(row));
            title_tokens += u64::from(documents.title_terms(row));
        }
        if sides.counts_others {
            (tokens, title_tokens) = (documents.tokens - tokens, documents.title_tokens - title_tokens);
        }
        TextLengths { rows: sides.rows, tokens, title_tokens }
    }

    /// For each thing that the query asks for how many of these rows hold it.
    pub(crate) fn frequencies(&self, query: &TextQuery, rows: &RoaringBitmap, total: u32) -> Result<Vec<u64>, Error> {
        let sides = Sides::of(rows, total);
        let read = Selection::of(&sides.read, total);
        let frequency = |(ask, _): &(Ask, f32)| match ask {
            Ask::Stem(stem) => self.frequency(stem, &sides, &read),
            Ask::Written(word) => self.frequency(word, &sides, &read),
            Ask::Prefix(n) => {
                let mut held = Dense::empty(total);
                let mut count = 0;
                let counted = Selection::of(rows, total);
                for term in query.prefixes.get(*n).map(|prefix| prefix.terms.as_slice()).unwrap_or_default() {
                    checkpoint(STEPS_A_TERM)?;
                    self.postings.each(term, &counted, |row, _| count += u64::from(held.insert(row)))?;
                }
                Ok(count)
            }
        };
        query.asks.iter().map(frequency).collect()
    }

    fn frequency(&self, term: &str, sides: &Sides, read: &Selection<'_>) -> Result<u64, Error> {
        let all = self.postings.frequency(term)?;
        // Rows are looked for among those that hold the term.
        checkpoint(STEPS_A_TERM + if sides.read.is_empty() { 0 } else { 4 * all })?;
        let mut found = 0;
        if !sides.counts_others {
            self.postings.each(term, read, |_, _| found += 1)?;
            return Ok(found);
        }
        if !sides.read.is_empty() && all > 0 {
            self.postings.each(term, read, |_, _| found += 1)?;
        }
        Ok(all - found)
    }

    pub(crate) fn search(
        &self,
        query: &TextQuery,
        stats: &TextStats,
        rows: &RoaringBitmap,
        total: u32,
        k: usize,
    ) -> Result<Vec<Scored>, Error> {
        if k == 0 || rows.is_empty() || stats.rows == 0 {
            return Ok(Vec::new());
        }
        let mut sums = Sums::new(self, Selection::of(rows, total), Weights::new(stats, query.title_weight()), total);
        for ((ask, asked), frequency) in query.asks.iter().zip(&stats.document_frequency) {
            checkpoint(STEPS_A_TERM + frequency.saturating_mul(4).min(4 * u64::from(total)))?;
            let worth = asked * sums.worth(*frequency);
            match ask {
                Ask::Stem(stem) => sums.add_stem(stem, worth)?,
                Ask::Written(word) => sums.add_written(word, worth)?,
                Ask::Prefix(n) => sums.add_prefix(query.prefixes.get(*n), worth)?,
            }
        }
        let mut top = Top::new(k);
        sums.each(|row, sum| {
            top.offer(row, sum);
        });
        Ok(top.into_sorted())
    }
}

#[cfg(test)]
mod tests;
