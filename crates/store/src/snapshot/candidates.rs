//! What is asked about candidates that a search already has: what one arm thinks of those that only the other found,
//! their vectors, where they come from.
//!
//! Promises: what is not eligible has no score, no vector and no source, even if its address is known.

use super::{Address, Eligible, EligiblePart, Hit, Snapshot};
use crate::{Error, part::Part};
use kernel::Untrusted;
use roaring::RoaringBitmap;
use segment::{TextQuery, TextStats};

impl Snapshot {
    /// BM25 of these passages, as [`Snapshot::text`] scores them. Those that hold no term of the query are left out.
    ///
    /// # Errors
    /// When a segment does not read.
    pub fn text_of(
        &self,
        query: &TextQuery,
        stats: &TextStats,
        eligible: &Eligible,
        at: &[Address],
    ) -> Result<Vec<Hit>, Error> {
        let mut hits = Vec::with_capacity(at.len());
        for (segment, part, rows) in self.among(eligible, at) {
            let scored = self.noted(part.index.search_text(query, stats, &rows, at.len()))?;
            hits.extend(scored.into_iter().map(|s| Hit { at: Address { segment, row: s.row }, score: s.score }));
        }
        Ok(hits)
    }

    /// For each term of the query how many eligible passages hold it. `stats` are those of [`Snapshot::text_stats`],
    /// which count what a filter leaves out as well.
    ///
    /// # Errors
    /// When a segment does not read.
    pub fn text_held(&self, query: &TextQuery, stats: &TextStats, eligible: &Eligible) -> Result<Vec<u64>, Error> {
        let mut all = true;
        for (_, part, here) in self.parts_of(eligible) {
            all &= self.noted(part.sight(&eligible.audience, eligible.now))?.rows.len() == here.rows().len();
        }
        if all {
            return Ok(stats.document_frequency.clone());
        }
        let mut held = TextStats::for_query(query);
        for (_, part, here) in self.parts_of(eligible).filter(|(.., here)| !here.rows().is_empty()) {
            let frequencies = self.noted(part.index.text_frequencies(query, here.rows()))?;
            held.document_frequency.iter_mut().zip(frequencies).for_each(|(held, more)| *held += more);
        }
        Ok(held.document_frequency)
    }

    /// Similarity of these passages, as [`Snapshot::vector`] scores them. Those without a vector are left out; all of
    /// them when the query has not the namespace's dimensions.
    pub fn vector_of(&self, query: &[f32], eligible: &Eligible, at: &[Address]) -> Vec<Hit> {
        let mut hits = Vec::with_capacity(at.len());
        if query.is_empty() || query.len() != self.dimensions() {
            return hits;
        }
        for (segment, part, rows) in self.among(eligible, at) {
            let scored = part.index.search_vector_exact(query, &rows, at.len()).hits;
            hits.extend(scored.into_iter().map(|s| Hit { at: Address { segment, row: s.row }, score: s.score }));
        }
        hits
    }

    /// The vector of a passage within some 64,000ths of its largest value, without waiting for a disk. `None` for one
    /// without a vector, or that is not eligible.
    pub fn vector_near(&self, eligible: &Eligible, at: Address) -> Option<Vec<f32>> {
        let (part, _) = self.eligible_part(eligible, at)?;
        part.index.vector_near(at.row)
    }

    /// The `uri` of a passage's document; empty where it has none.
    ///
    /// # Errors
    /// [`Error::NotEligible`] for one that this reader may not meet; when the document does not read.
    pub fn source(&self, eligible: &Eligible, at: Address) -> Result<Untrusted, Error> {
        let (part, _) = self.eligible_part(eligible, at).ok_or(Error::NotEligible)?;
        let (doc, _) = part.index.row(at.row).ok_or(Error::NotEligible)?;
        self.noted(part.index.uri(doc))
    }

    pub(super) fn eligible_part<'a>(
        &'a self,
        eligible: &'a Eligible,
        at: Address,
    ) -> Option<(&'a Part, &'a EligiblePart)> {
        let (_, part, here) = self.parts_of(eligible).find(|(segment, ..)| *segment == at.segment)?;
        here.rows().contains(at.row).then_some((part, here))
    }

    /// The eligible ones of these addresses, by part.
    fn among<'a>(&'a self, eligible: &'a Eligible, at: &[Address]) -> Vec<(u32, &'a Part, RoaringBitmap)> {
        let mut found = Vec::new();
        for (segment, part, here) in self.parts_of(eligible) {
            let asked: RoaringBitmap = at.iter().filter(|a| a.segment == segment).map(|a| a.row).collect();
            let rows = asked & here.rows();
            if !rows.is_empty() {
                found.push((segment, part, rows));
            }
        }
        found
    }
}
