//! The text arm: BM25 (k1 1.2, b 0.75) over one inverted index of a segment.
//!
//! Two indexes, [`memory`] for tails and [`frozen`] (tantivy's) for written segments, give the same
//! postings; lengths, statistics and scores are made here, once, so that both score alike to the
//! last bit. Promises: only rows of the given bitmap are scored, and statistics count live rows only.

mod directory;
pub(crate) mod frozen;
pub(crate) mod memory;

use crate::{
    Error, TextQuery,
    bytes::Slice,
    documents::Documents,
    top::{Dense, Scored, Top},
};
use frozen::FrozenIndex;
use memory::MemoryIndex;
use roaring::RoaringBitmap;
use tantivy::{fieldnorm::FieldNormReader, query::Bm25Weight};

/// Counts over the live rows of a namespace that BM25 needs. Add those of all segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextStats {
    /// Live rows.
    pub rows: u64,
    /// Their terms, repeats included.
    pub tokens: u64,
    /// For each term of the query, the live rows that hold it.
    pub document_frequency: Vec<u64>,
}

impl TextStats {
    /// Zero rows, for summing up.
    pub fn for_query(query: &TextQuery) -> Self {
        Self { rows: 0, tokens: 0, document_frequency: vec![0; query.terms.len()] }
    }
}

impl std::ops::AddAssign for TextStats {
    /// Statistics of different queries do not add up; the longer list of frequencies stays.
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        self.tokens += other.tokens;
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

/// Which rows of a posting list are asked for.
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
        match self {
            Postings::Memory(index) => {
                index.postings(term).iter().filter(|p| selection.contains(p.0)).for_each(|p| visit(p.0, p.1));
                Ok(())
            }
            Postings::Frozen(index) => index.each(term, selection, visit),
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

/// The id of a row's length, as tantivy rounds it (one byte).
pub(crate) fn norm(terms: u32) -> u8 {
    FieldNormReader::fieldnorm_to_id(terms)
}

/// The text index of one segment.
pub(crate) struct Text {
    pub(crate) postings: Postings,
    /// Per row its [`norm`].
    pub(crate) norms: Slice,
}

impl Text {
    pub(crate) fn stats(
        &self,
        query: &TextQuery,
        live: &RoaringBitmap,
        documents: &Documents,
    ) -> Result<TextStats, Error> {
        let total = documents.rows;
        let mut dead = RoaringBitmap::new();
        dead.insert_range(0..total);
        let rows = dead.intersection_len(live);
        dead -= live;
        let gone = Selection::of(&dead, total);
        let frequency = |term: &String| {
            let all = self.postings.frequency(term)?;
            let mut lost = 0;
            if !dead.is_empty() && all > 0 {
                self.postings.each(term, &gone, |_, _| lost += 1)?;
            }
            Ok(all - lost)
        };
        Ok(TextStats {
            rows,
            tokens: documents.tokens - dead.iter().map(|row| u64::from(documents.terms(row))).sum::<u64>(),
            document_frequency: query.terms.iter().map(frequency).collect::<Result<_, Error>>()?,
        })
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
        let selection = Selection::of(rows, total);
        let norms = self.norms.bytes();
        let average = (stats.tokens as f32 / stats.rows as f32).max(1.0);
        // One sum per row, filled term by term in the query's order: the same additions in every layout.
        let mut sums = vec![0.0f32; total as usize];
        let mut touched = Vec::new();
        for ((term, &frequency), &asked) in query.terms.iter().zip(&stats.document_frequency).zip(&query.times) {
            let weight = Bm25Weight::for_one_term_without_explain(frequency.min(stats.rows), stats.rows, average);
            self.postings.each(term, &selection, |row, times| {
                let Some(sum) = sums.get_mut(row as usize) else { return };
                if *sum == 0.0 {
                    touched.push(row);
                }
                *sum += asked * weight.score(norms.get(row as usize).copied().unwrap_or(0), times);
            })?;
        }
        let mut top = Top::new(k);
        for row in touched {
            top.offer(row, sums.get(row as usize).copied().unwrap_or(0.0));
        }
        Ok(top.into_sorted())
    }
}

#[cfg(test)]
mod tests;
