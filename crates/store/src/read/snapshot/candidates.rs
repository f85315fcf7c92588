//! Answers questions about candidates that a search already has: the score by one retriever of candidates that only the
//! other found, their vectors, their sources.
//!
//! Guarantees that what is not eligible has no score, no vector and no source, even if its address is known.

use super::{Address, Eligible, EligibleSegment, Hit, Snapshot};
use crate::{Error, state::live_segment::LiveSegment};
use kernel::Untrusted;
use roaring::RoaringBitmap;
use segment::{TextQuery, TextStats};

impl Snapshot {
    /// BM25 scores of these passages, as [`Snapshot::text`] computes them. Passages that contain no term of the query
    /// are left out.
    ///
    /// # Errors
    /// Fails if a segment cannot be read.
    pub fn text_of(
        &self,
        query: &TextQuery,
        stats: &TextStats,
        eligible: &Eligible,
        at: &[Address],
    ) -> Result<Vec<Hit>, Error> {
        let mut hits = Vec::with_capacity(at.len());
        for (index, segment, rows) in self.eligible_among(eligible, at) {
            let scored = self.checked(segment.index.search_text(query, stats, &rows, at.len()))?;
            hits.extend(scored.into_iter().map(|s| Hit { at: Address { segment: index, row: s.row }, score: s.score }));
        }
        Ok(hits)
    }

    /// For each term of the query, the number of eligible passages that contain it. `stats` are those of
    /// [`Snapshot::text_stats`], which also count what a filter leaves out.
    ///
    /// # Errors
    /// Fails if a segment cannot be read.
    pub fn text_held(&self, query: &TextQuery, stats: &TextStats, eligible: &Eligible) -> Result<Vec<u64>, Error> {
        let mut all = true;
        for (_, segment, allowed) in self.segments_of(eligible) {
            all &=
                self.checked(segment.visible_set(&eligible.audience, eligible.now))?.rows.len() == allowed.rows().len();
        }
        if all {
            return Ok(stats.document_frequency.clone());
        }
        let mut held = TextStats::for_query(query);
        for (_, segment, allowed) in self.segments_of(eligible).filter(|(.., allowed)| !allowed.rows().is_empty()) {
            let frequencies = self.checked(segment.index.text_frequencies(query, allowed.rows()))?;
            held.document_frequency.iter_mut().zip(frequencies).for_each(|(held, more)| *held += more);
        }
        Ok(held.document_frequency)
    }

    /// Similarities of these passages, as [`Snapshot::vector`] computes them. Passages without a vector are left out;
    /// so are all of them if the query does not have the namespace's dimensions.
    pub fn vector_of(&self, query: &[f32], eligible: &Eligible, at: &[Address]) -> Vec<Hit> {
        let mut hits = Vec::with_capacity(at.len());
        if query.is_empty() || query.len() != self.dimensions() {
            return hits;
        }
        for (index, segment, rows) in self.eligible_among(eligible, at) {
            let scored = segment.index.search_vector_exact(query, &rows, at.len()).hits;
            hits.extend(scored.into_iter().map(|s| Hit { at: Address { segment: index, row: s.row }, score: s.score }));
        }
        hits
    }

    /// The vector of a passage, with an error of some 64,000ths of its largest value, without waiting for a disk.
    /// `None` if it has no vector or is not eligible.
    pub fn vector_near(&self, eligible: &Eligible, at: Address) -> Option<Vec<f32>> {
        let (segment, _) = self.eligible_segment(eligible, at)?;
        segment.index.vector_near(at.row)
    }

    /// The `uri` of a passage's document; empty if it has none.
    ///
    /// # Errors
    /// [`Error::NotEligible`] if this reader may not see the passage; fails if the document cannot be read.
    pub fn source(&self, eligible: &Eligible, at: Address) -> Result<Untrusted, Error> {
        let (segment, _) = self.eligible_segment(eligible, at).ok_or(Error::NotEligible)?;
        let (doc, _) = segment.index.row(at.row).ok_or(Error::NotEligible)?;
        self.checked(segment.index.uri(doc))
    }

    pub(super) fn eligible_segment<'a>(
        &'a self,
        eligible: &'a Eligible,
        at: Address,
    ) -> Option<(&'a LiveSegment, &'a EligibleSegment)> {
        let (_, segment, allowed) = self.segments_of(eligible).find(|(index, ..)| *index == at.segment)?;
        allowed.rows().contains(at.row).then_some((segment, allowed))
    }

    /// The eligible ones of these addresses, by segment.
    fn eligible_among<'a>(
        &'a self,
        eligible: &'a Eligible,
        at: &[Address],
    ) -> Vec<(u32, &'a LiveSegment, RoaringBitmap)> {
        let mut found = Vec::new();
        for (index, segment, allowed) in self.segments_of(eligible) {
            let requested: RoaringBitmap = at.iter().filter(|a| a.segment == index).map(|a| a.row).collect();
            let rows = requested & allowed.rows();
            if !rows.is_empty() {
                found.push((index, segment, rows));
            }
        }
        found
    }
}
