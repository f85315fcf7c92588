//! Text search: BM25 over one inverted index per segment, with a higher weight for titles.
//!
//! Two indexes, [`memory`] for write buffers and [`frozen`] (tantivy's) for written segments, return the same postings.
//! Lengths, statistics and scores are computed here for both, so that both score alike to the last bit. Promises: only
//! rows of the given bitmap are scored, and statistics count only rows that the reader may find.
//!
//! The terms of a row are those of its document's title and of the passage. Terms of a title weigh `w` times as much
//! (Robertson, Zaragoza & Taylor, CIKM 2004): a term's frequency is `all + (w - 1) * in the title`, and so is a row's
//! length. All terms that a prefix (a word with a star) stands for count as one.

mod accumulator;
mod directory;
pub(crate) mod frozen;
pub(crate) mod memory;
pub(crate) mod phrase;
mod score;

use crate::{
    Error, TextQuery,
    analysis::{Analyser, lexicon::written_term},
    bytes::Slice,
    documents::Documents,
    query::{Expansion, Prefix, QueryTerm},
    top::{DenseBitmap, Scored, TopK},
};
use accumulator::ScoreAccumulator;
use frozen::FrozenIndex;
use kernel::checkpoint;
use memory::MemoryIndex;
use roaring::RoaringBitmap;
use score::Weights;
use std::ops::ControlFlow;
use tantivy::fieldnorm::FieldNormReader;

/// Counts that BM25 needs, over the rows of a namespace that one reader may find. The counts of all segments are added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextStats {
    /// Number of rows.
    pub rows: u64,
    /// Number of their terms, repeats included.
    pub tokens: u64,
    /// Number of their terms that come from titles.
    pub title_tokens: u64,
    /// For each term of the query, the number of rows that contain it.
    pub document_frequency: Vec<u64>,
}

impl TextStats {
    /// Zero counts, to add others to.
    pub fn for_query(query: &TextQuery) -> Self {
        Self { rows: 0, tokens: 0, title_tokens: 0, document_frequency: vec![0; query.terms.len()] }
    }
}

impl TextStats {
    /// Statistics of rows of these lengths with these document frequencies.
    pub fn new(lengths: TextLengths, document_frequency: Vec<u64>) -> Self {
        let TextLengths { rows, tokens, title_tokens } = lengths;
        Self { rows, tokens, title_tokens, document_frequency }
    }
}

/// Lengths of rows: the part of [`TextStats`] that does not depend on the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextLengths {
    /// Number of rows.
    pub rows: u64,
    /// Number of their terms, repeats included.
    pub tokens: u64,
    /// Number of their terms that come from titles.
    pub title_tokens: u64,
}

/// Rows to count: either those rows or all other rows are read, whichever are fewer, because the sums over all rows of
/// a segment are known.
struct CountedRows {
    /// Number of rows that are counted.
    rows: u64,
    /// The rows that are read.
    read: RoaringBitmap,
    /// Whether `read` are the other rows, which are subtracted from the sums.
    counts_others: bool,
}

impl CountedRows {
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
    /// Statistics of different queries cannot be added; the longer list of frequencies is kept.
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

/// The source of postings.
pub(crate) enum Postings {
    Memory(MemoryIndex),
    Frozen(Box<FrozenIndex>),
}

/// The rows that are selected from a posting list.
pub(crate) struct RowSelection<'a> {
    /// `None` selects every row.
    rows: Option<(&'a RoaringBitmap, DenseBitmap)>,
}

impl<'a> RowSelection<'a> {
    fn of(rows: &'a RoaringBitmap, total: u32) -> Self {
        let all = rows.range_cardinality(0..total) == u64::from(total);
        Self { rows: (!all).then(|| (rows, DenseBitmap::of(rows, total))) }
    }

    fn contains(&self, row: u32) -> bool {
        self.rows.as_ref().is_none_or(|(_, dense)| dense.contains(row))
    }

    /// The selected rows, when they are so few compared with `postings` that seeking to each is cheaper than reading
    /// all.
    fn seekable_rows(&self, postings: u32) -> Option<&'a RoaringBitmap> {
        // A seek decodes about one block of 128 postings at worst; measurements crossed at a sixteenth.
        let (rows, _) = self.rows.as_ref()?;
        (rows.len() < u64::from(postings) / 16).then_some(*rows)
    }
}

impl Postings {
    /// Number of rows that contain a term.
    fn frequency(&self, term: &str) -> Result<u64, Error> {
        match self {
            Postings::Memory(index) => Ok(index.postings(term).len() as u64),
            Postings::Frozen(index) => index.frequency(term),
        }
    }

    /// Calls `visit` with each selected row that contains the term, ascending, and with the frequency in the row.
    fn each(&self, term: &str, selection: &RowSelection<'_>, mut visit: impl FnMut(u32, u32)) -> Result<(), Error> {
        self.until(term, selection, |row, times| {
            visit(row, times);
            ControlFlow::Continue(())
        })
    }

    /// Like [`Postings::each`], until `visit` breaks.
    fn until(
        &self,
        term: &str,
        selection: &RowSelection<'_>,
        mut visit: impl FnMut(u32, u32) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        match self {
            Postings::Memory(index) => {
                let mut list = index.postings(term).iter().filter(|p| selection.contains(p.0));
                // The caller's `visit` knows whether it stopped.
                let _ = list.try_for_each(|p| visit(p.0, p.1));
                Ok(())
            }
            Postings::Frozen(index) => index.each(term, selection, visit),
        }
    }

    /// Calls `visit` with the terms that begin with `start`, ascending, until it breaks.
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

    /// Heap bytes, approximately.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Postings::Memory(index) => index.bytes(),
            Postings::Frozen(index) => index.bytes(),
        }
    }
}

/// Cost of looking up a term, in steps of [`checkpoint`].
const STEPS_A_TERM: u64 = 1_024;

/// Tantivy's one-byte rounding of a row's length.
pub(crate) fn norm(terms: u32) -> u8 {
    FieldNormReader::fieldnorm_to_id(terms)
}

/// The text index of one segment.
pub(crate) struct Text {
    pub(crate) postings: Postings,
    /// For each row, the [`norm`] of all its terms and that of its title's terms.
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
        let selection = RowSelection::of(rows, total);
        let mut analyser = Analyser::new(query.language());
        into.terms.resize_with(query.prefixes.len(), Default::default);
        for (prefix, terms) in query.prefixes.iter().zip(&mut into.terms) {
            for start in [prefix.start.clone(), written_term(&prefix.start)] {
                let mut collected = 0;
                self.postings.terms_from(&start, |term| {
                    checkpoint(STEPS_A_TERM)?;
                    if prefix.stands_for(term, &mut analyser)
                        && (terms.contains(term) || self.is_held(term, &selection)?)
                    {
                        terms.insert(term.to_owned());
                        collected += 1;
                    }
                    // One term more than will be used is collected, so that the query knows that there are more.
                    let full = collected > kernel::limits::PREFIX_WORDS_MAX;
                    Ok(if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
                })?;
            }
        }
        Ok(())
    }

    /// Whether some selected row contains the term.
    fn is_held(&self, term: &str, selection: &RowSelection<'_>) -> Result<bool, Error> {
        let mut held = selection.rows.is_none();
        if !held {
            self.postings.until(term, selection, |_, _| {
                held = true;
                ControlFlow::Break(())
            })?;
        }
        Ok(held)
    }

    /// The subset of `rows` that contains this phrase of the query.
    pub(crate) fn rows_with_phrase(
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

    /// Number of terms of these rows, and of those that come from titles.
    pub(crate) fn lengths(rows: &RoaringBitmap, documents: &Documents) -> TextLengths {
        let counted = CountedRows::of(rows, documents.rows);
        let (mut tokens, mut title_tokens) = (0, 0);
        for row in &counted.read {
            tokens += u64::from(documents.terms(row));
            title_tokens += u64::from(documents.title_terms(row));
        }
        if counted.counts_others {
            (tokens, title_tokens) = (documents.tokens - tokens, documents.title_tokens - title_tokens);
        }
        TextLengths { rows: counted.rows, tokens, title_tokens }
    }

    /// For each term of the query, the number of these rows that contain it.
    pub(crate) fn frequencies(&self, query: &TextQuery, rows: &RoaringBitmap, total: u32) -> Result<Vec<u64>, Error> {
        let counted = CountedRows::of(rows, total);
        let read = RowSelection::of(&counted.read, total);
        let frequencies = query.terms.iter().map(|(term, _)| match term {
            QueryTerm::Stem(stem) => self.frequency(stem, &counted, &read),
            QueryTerm::Written(word) => self.frequency(word, &counted, &read),
            QueryTerm::Prefix(n) => self.prefix_frequency(query.prefixes.get(*n), rows, total),
        });
        frequencies.collect()
    }

    /// The number of these rows that contain a term of the prefix.
    fn prefix_frequency(&self, prefix: Option<&Prefix>, rows: &RoaringBitmap, total: u32) -> Result<u64, Error> {
        let mut held = DenseBitmap::empty(total);
        let mut count = 0;
        let counted = RowSelection::of(rows, total);
        for term in prefix.map(|prefix| prefix.terms.as_slice()).unwrap_or_default() {
            checkpoint(STEPS_A_TERM)?;
            // A row that contains several of the terms counts once.
            self.postings.each(term, &counted, |row, _| count += u64::from(held.insert(row)))?;
        }
        Ok(count)
    }

    /// The number of counted rows that contain the term.
    fn frequency(&self, term: &str, counted: &CountedRows, read: &RowSelection<'_>) -> Result<u64, Error> {
        // The dictionary knows how many rows of the segment contain the term.
        let all = self.postings.frequency(term)?;
        // The rows are looked up in the posting list of the term.
        checkpoint(STEPS_A_TERM + if counted.read.is_empty() { 0 } else { 4 * all })?;
        let mut found = 0;
        // Count the selected rows, or subtract the other rows from all that contain the term.
        if !counted.counts_others {
            self.postings.each(term, read, |_, _| found += 1)?;
            return Ok(found);
        }
        if !counted.read.is_empty() && all > 0 {
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
        let mut accumulator = ScoreAccumulator::new(
            self,
            RowSelection::of(rows, total),
            Weights::new(stats, query.title_weight()),
            total,
        );
        for ((term, repeats), frequency) in query.terms.iter().zip(&stats.document_frequency) {
            checkpoint(STEPS_A_TERM + frequency.saturating_mul(4).min(4 * u64::from(total)))?;
            let weight = repeats * accumulator.weight(*frequency);
            match term {
                QueryTerm::Stem(stem) => accumulator.add_stem(stem, weight)?,
                QueryTerm::Written(word) => accumulator.add_written(word, weight)?,
                QueryTerm::Prefix(n) => accumulator.add_prefix(query.prefixes.get(*n), weight)?,
            }
        }
        let mut top = TopK::new(k);
        accumulator.each(|row, sum| {
            top.offer(row, sum);
        });
        Ok(top.into_sorted())
    }
}

#[cfg(test)]
mod tests;
