//! A snapshot: a namespace at one commit, fixed for one request.
//!
//! [`Snapshot::eligible`] computes which rows a request may use. Ranking, fetching and listing take that [`Eligible`]
//! and nothing else, so that no row outside it is ranked, counted or shown. All of this is synchronous work for the
//! engine's pool.

mod candidates;
mod phrases;
mod reading;

pub use phrases::PhraseMatches;
pub use reading::{DocumentHandle, ListOptions, Page, PageEnd, PassageHandle, PassageReader, PassageText};

use crate::{
    Error, Quarantine, Totals,
    request::without_content,
    state::{
        core::NamespaceCore,
        index::Index,
        live_segment::LiveSegment,
        version::Version,
        visibility::{VisibleSet, visible},
    },
};
use kernel::{
    Audience, CommitNo, CompiledFilter, Document, DocumentId, Filter, STEPS_BETWEEN_CHECKS, Status, Timestamp,
    checkpoint,
};
use roaring::RoaringBitmap;
use segment::{Expansion, Extent, Scored, SearchStats, TextQuery, TextStats, VectorSearchResult};
use std::sync::Arc;

/// A namespace at one commit; see the module documentation. Counts against the memory budget until it is dropped.
pub struct Snapshot {
    version: Arc<Version>,
    /// Keeps the namespace from being evicted, which would not free its memory.
    core: Arc<NamespaceCore>,
    /// Whether requests may increase its memory: they index what is not indexed yet, and read pages.
    may_grow: bool,
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if self.may_grow {
            self.core.published.refresh_stats();
        }
    }
}

/// Rows of one snapshot that one request may use. Created only by [`Snapshot::eligible`] and [`Snapshot::stored`].
pub struct Eligible {
    version: Arc<Version>,
    segments: Vec<EligibleSegment>,
    /// Audience that it was computed for.
    audience: Audience,
    /// Time that it was computed for.
    now: Timestamp,
}

enum EligibleSegment {
    /// Everything that the audience can find by search.
    VisibleSet(Arc<VisibleSet>),
    /// A subset of that, or documents that search does not find.
    Some { docs: RoaringBitmap, rows: RoaringBitmap },
}

impl EligibleSegment {
    fn docs(&self) -> &RoaringBitmap {
        match self {
            EligibleSegment::VisibleSet(visible_set) => &visible_set.docs,
            EligibleSegment::Some { docs, .. } => docs,
        }
    }

    fn rows(&self) -> &RoaringBitmap {
        match self {
            EligibleSegment::VisibleSet(visible_set) => &visible_set.rows,
            EligibleSegment::Some { rows, .. } => rows,
        }
    }
}

/// Address of a passage in its snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// Index of the segment in the snapshot.
    pub segment: u32,
    /// Row in the segment.
    pub row: u32,
}

/// A ranked passage. A higher score is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Address of the passage.
    pub at: Address,
    /// BM25 score or vector similarity.
    pub score: f32,
}

/// Statistics of a vector search in one segment. Segments without eligible rows are skipped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SegmentSearchStats {
    /// Number of rows of the segment.
    pub rows: u64,
    /// How the segment was searched.
    pub trace: SearchStats,
}

impl Snapshot {
    pub(crate) fn new(core: Arc<NamespaceCore>) -> Self {
        let version = core.version();
        let is_ready = version.is_resident() && version.segments.iter().all(|segment| segment.index.is_indexed());
        Self { version, core, may_grow: !is_ready }
    }

    /// A snapshot of these segments, for tests of layouts that maintenance would not produce.
    #[cfg(test)]
    pub(crate) fn of_segments(&self, spec: segment::Spec, segments: Vec<LiveSegment>) -> Self {
        let version = Version { spec, segments, ..(*self.version).clone() };
        Self { version: Arc::new(version), core: self.core.clone(), may_grow: false }
    }

    /// The newest commit that it contains.
    pub fn commit(&self) -> CommitNo {
        self.version.commit
    }

    /// Exact totals of everything in it, hidden documents included: for limits, never for a reply.
    pub fn totals(&self) -> Totals {
        self.version.totals()
    }

    /// Exact totals of what this audience can see.
    ///
    /// # Errors
    /// Fails if a segment cannot be read.
    pub fn totals_for(&self, audience: &Audience, now: Timestamp) -> Result<Totals, Error> {
        self.checked(self.version.totals_for(audience, now))
    }

    /// Dimensions of the stored vectors; 0 if there are none.
    pub fn dimensions(&self) -> usize {
        self.version.spec.dimensions
    }

    /// Number of all rows, deleted ones included, if all are in memory and indexed; `None` if a search may have to read
    /// a page or build an index.
    pub fn rows_in_memory(&self) -> Option<u64> {
        let is_ready =
            self.version.is_resident() && self.version.segments.iter().all(|segment| segment.index.is_indexed());
        is_ready.then(|| self.version.segments.iter().map(|segment| u64::from(segment.index.rows())).sum())
    }

    /// Upper bound of what reading from it costs.
    pub fn extent(&self) -> Extent {
        self.version.extent()
    }

    /// Number of its segments.
    pub fn parts(&self) -> u64 {
        self.version.segments.len() as u64
    }

    /// Those of `keys` that are attributes of no document that this reader can find now.
    ///
    /// # Errors
    /// Fails if a segment cannot be read or the request was interrupted.
    pub fn unknown_attributes<'k>(
        &self,
        mut keys: Vec<&'k str>,
        audience: &Audience,
        now: Timestamp,
    ) -> Result<Vec<&'k str>, Error> {
        for segment in &self.version.segments {
            if keys.is_empty() {
                break;
            }
            let visible_set = self.checked(segment.visible_set(audience, now))?;
            self.checked(segment.index.retain_unknown(&mut keys, &visible_set.docs))?;
        }
        Ok(keys)
    }

    /// Rows of documents that are live, have one of these statuses, have not expired, are visible to this audience and
    /// match the filter.
    ///
    /// # Errors
    /// Fails if a segment cannot be read.
    pub fn eligible(
        &self,
        audience: &Audience,
        filter: Option<&Filter>,
        statuses: &[Status],
        now: Timestamp,
    ) -> Result<Eligible, Error> {
        let compiled = filter.map(Filter::compile);
        let filter = compiled.as_ref();
        let in_segment = |segment: &LiveSegment| {
            let docs = if *statuses == [Status::Indexed] {
                let visible_set = self.checked(segment.visible_set(audience, now))?;
                let Some(filter) = filter else { return Ok(EligibleSegment::VisibleSet(visible_set)) };
                // The filter is not evaluated if the audience can find no document.
                if visible_set.docs.is_empty() {
                    RoaringBitmap::new()
                } else {
                    self.checked(segment.index.evaluate(filter))? & &visible_set.docs
                }
            } else {
                let with = |status: &Status| segment.index.with_status(*status);
                let docs = statuses.iter().map(with).fold(RoaringBitmap::new(), |all, some| all | some);
                self.checked(visible(&segment.index, docs - &*segment.deleted, audience, filter, now))?
            };
            let rows = segment.index.rows_of(&docs);
            Ok(EligibleSegment::Some { docs, rows })
        };
        let segments = self.version.segments.iter().map(in_segment).collect::<Result<_, Error>>()?;
        Ok(Eligible { segments, version: self.version.clone(), audience: audience.clone(), now })
    }

    /// Documents of any status that are live, have not expired, are visible to this audience and match the filter, for
    /// lists. A filter does not match content that is withheld.
    ///
    /// # Errors
    /// Fails if a segment cannot be read.
    pub fn stored(
        &self,
        audience: &Audience,
        filter: Option<&Filter>,
        quarantine: Quarantine,
        now: Timestamp,
    ) -> Result<Eligible, Error> {
        let withheld = filter.filter(|_| quarantine == Quarantine::Withheld).map(|f| without_content(f).compile());
        let compiled = filter.map(Filter::compile);
        let of = |segment: &LiveSegment, docs: RoaringBitmap, filter: Option<&CompiledFilter>| {
            self.checked(visible(&segment.index, docs, audience, filter, now))
        };
        let in_segment = |segment: &LiveSegment| {
            let (live, held) = (segment.live(), segment.index.with_status(Status::Quarantined));
            let docs = match &withheld {
                Some(withheld) if !held.is_disjoint(&live) => {
                    let shown = of(segment, &live - &held, compiled.as_ref())?;
                    shown | of(segment, live & held, Some(withheld))?
                }
                _ => of(segment, live, compiled.as_ref())?,
            };
            let rows = segment.index.rows_of(&docs);
            Ok(EligibleSegment::Some { docs, rows })
        };
        let segments = self.version.segments.iter().map(in_segment).collect::<Result<_, Error>>()?;
        Ok(Eligible { segments, version: self.version.clone(), audience: audience.clone(), now })
    }

    /// Parses a question in this namespace's language. Returns the query, the eligible rows that contain every required
    /// phrase, and which of them contain preferred phrases. A word with a star is expanded to words that eligible rows
    /// contain. The query's warnings name phrases that no eligible row contains.
    ///
    /// # Errors
    /// Fails if a segment cannot be read.
    pub fn ask(
        &self,
        question: &str,
        all_phrases: bool,
        eligible: Eligible,
    ) -> Result<(TextQuery, Eligible, PhraseMatches), Error> {
        let (mut query, mut eligible) = (TextQuery::in_language(question, self.version.spec.language), eligible);
        if all_phrases {
            query.require_phrases();
        }
        let quoted = self.match_phrases(&mut query, &mut eligible)?;
        if query.has_prefixes() {
            let mut expansion = Expansion::default();
            for (_, segment, allowed) in self.segments_of(&eligible).filter(|(.., allowed)| !allowed.rows().is_empty())
            {
                self.checked(segment.index.expand(&query, allowed.rows(), &mut expansion))?;
            }
            query.expand(expansion);
        }
        Ok((query, eligible, quoted))
    }

    /// The `k` best eligible passages by BM25. Word frequencies come from all passages that this reader can find
    /// without a filter, so that scores depend neither on hidden passages nor on the layout.
    ///
    /// # Errors
    /// Fails if a segment cannot be read.
    pub fn text(&self, query: &TextQuery, eligible: &Eligible, k: usize) -> Result<Vec<Hit>, Error> {
        self.text_counted(query, &self.text_stats(query, eligible)?, eligible, k)
    }

    /// The statistics that [`Snapshot::text`] uses.
    ///
    /// # Errors
    /// As [`Snapshot::text`].
    pub fn text_stats(&self, query: &TextQuery, eligible: &Eligible) -> Result<TextStats, Error> {
        let mut stats = TextStats::for_query(query);
        for (_, segment, _) in self.segments_of(eligible) {
            let visible_set = self.checked(segment.visible_set(&eligible.audience, eligible.now))?;
            if !visible_set.rows.is_empty() {
                let frequencies = self.checked(segment.index.text_frequencies(query, &visible_set.rows))?;
                stats += TextStats::new(visible_set.lengths(&segment.index), frequencies);
            }
        }
        Ok(stats)
    }

    /// Ranks as [`Snapshot::text`] does, with statistics that were computed before.
    ///
    /// # Errors
    /// As [`Snapshot::text`].
    pub fn text_counted(
        &self,
        query: &TextQuery,
        stats: &TextStats,
        eligible: &Eligible,
        k: usize,
    ) -> Result<Vec<Hit>, Error> {
        self.rank(eligible, k, |index, rows| index.search_text(query, stats, rows, k))
    }

    /// The `k` nearest eligible passages, and statistics for each segment. Finds nothing if the query does not have the
    /// namespace's dimensions.
    ///
    /// # Errors
    /// Fails if an id, which breaks a tie, cannot be read.
    pub fn vector(
        &self,
        query: &[f32],
        eligible: &Eligible,
        k: usize,
    ) -> Result<(Vec<Hit>, Vec<SegmentSearchStats>), Error> {
        let mut stats = Vec::new();
        if query.is_empty() || query.len() != self.version.spec.dimensions {
            return Ok((Vec::new(), stats));
        }
        let hits = self.rank(eligible, k, |index, rows| {
            let found = index.search_vector(query, rows, k);
            stats.push(SegmentSearchStats { rows: index.rows().into(), trace: found.stats });
            uninterrupted(found)
        })?;
        Ok((hits, stats))
    }

    /// The nearest passages by an exact scan of all eligible ones, as a reference for [`Snapshot::vector`].
    ///
    /// # Errors
    /// As [`Snapshot::vector`].
    pub fn vector_exact(&self, query: &[f32], eligible: &Eligible, k: usize) -> Result<Vec<Hit>, Error> {
        if query.is_empty() || query.len() != self.version.spec.dimensions {
            return Ok(Vec::new());
        }
        self.rank(eligible, k, |index, rows| uninterrupted(index.search_vector_exact(query, rows, k)))
    }

    /// Vectors of at most `count` eligible passages, evenly spread over all of them.
    ///
    /// # Errors
    /// Fails if a document cannot be read.
    pub fn sample(&self, eligible: &Eligible, count: usize) -> Result<Vec<Vec<f32>>, Error> {
        let (size, total) = (self.version.spec.dimensions, eligible.rows());
        let mut vectors = Vec::new();
        if size == 0 || count == 0 {
            return Ok(vectors);
        }
        let step = total.div_ceil(count as u64).max(1);
        let mut before = 0u64;
        for (_, segment, allowed) in self.segments_of(eligible) {
            // Rows number 0, step, 2 × step and so on, counted over all segments.
            let mut next = before.next_multiple_of(step) - before;
            before += allowed.rows().len();
            // Samples of one document are consecutive, so the document is read once.
            let mut last: Option<(u32, Document)> = None;
            while let Some(row) = u32::try_from(next).ok().and_then(|next| allowed.rows().select(next)) {
                next += step;
                let Some((doc, passage)) = segment.index.row(row) else { continue };
                if last.as_ref().is_none_or(|(number, _)| *number != doc) {
                    last = Some((doc, self.checked(segment.index.document(doc, true))?));
                }
                let Some((_, document)) = &last else { continue };
                let at = passage as usize * size;
                vectors.extend(document.vectors.get(at..at + size).map(<[f32]>::to_vec));
            }
        }
        Ok(vectors)
    }

    /// Document id and passage number, which break ties in the same way whatever the layout. The id is `None` for an
    /// address of another snapshot.
    pub fn tie(&self, at: Address) -> (Option<DocumentId>, u32) {
        let found = self.segment(at).and_then(|segment| {
            let (doc, passage) = segment.index.row(at.row)?;
            Some((segment.index.id(doc)?, passage))
        });
        found.map_or((None, at.row), |(id, passage)| (Some(id), passage))
    }

    /// Segment and document number: equal for passages of the same document.
    pub fn document_of(&self, at: Address) -> (u32, u32) {
        let doc = self.segment(at).and_then(|segment| segment.index.row(at.row)).map_or(u32::MAX, |(doc, _)| doc);
        (at.segment, doc)
    }

    /// Ranks passages best first; ties are broken by document id and passage number.
    fn rank(
        &self,
        eligible: &Eligible,
        k: usize,
        mut search: impl FnMut(&Index, &RoaringBitmap) -> Result<Vec<Scored>, segment::Error>,
    ) -> Result<Vec<Hit>, Error> {
        let mut hits = Vec::new();
        for (index, segment, allowed) in self.segments_of(eligible).filter(|(.., allowed)| !allowed.rows().is_empty()) {
            let scored = self.checked(search(&segment.index, allowed.rows()))?;
            hits.extend(scored.into_iter().map(|s| Hit { at: Address { segment: index, row: s.row }, score: s.score }));
        }
        hits.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut ordered = 0;
        // Ids are read only for equal scores, and only for hits that may be among the k best.
        while ordered < hits.len().min(k) {
            let ties = |hit: &&Hit| hit.score.total_cmp(&hits[ordered].score).is_eq();
            let run = hits[ordered..].iter().take_while(ties).count();
            if run > 1 {
                hits[ordered..ordered + run].sort_by_cached_key(|hit| self.tie(hit.at));
            }
            ordered += run;
        }
        hits.truncate(k);
        Ok(hits)
    }

    /// Closes the namespace if bytes do not authenticate, so that it is opened again from storage. A failed read fails
    /// only this request.
    fn checked<T, E: Into<Error>>(&self, result: Result<T, E>) -> Result<T, Error> {
        result.map_err(Into::into).inspect_err(|error| {
            if error.needs_reopening() {
                self.core.fail();
            }
        })
    }

    /// The segments with the eligible rows of each. Empty for an `Eligible` of another snapshot.
    fn segments_of<'a>(
        &'a self,
        eligible: &'a Eligible,
    ) -> impl Iterator<Item = (u32, &'a LiveSegment, &'a EligibleSegment)> {
        let same_snapshot = Arc::ptr_eq(&self.version, &eligible.version);
        let segments = (0..).zip(&self.version.segments).zip(&eligible.segments);
        segments.filter(move |_| same_snapshot).map(|((at, segment), allowed)| (at, segment, allowed))
    }

    fn segment(&self, at: Address) -> Option<&LiveSegment> {
        self.version.segments.get(at.segment as usize)
    }
}

impl Eligible {
    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.segments.iter().map(|allowed| allowed.rows().len()).sum()
    }

    /// Number of documents.
    pub fn documents(&self) -> u64 {
        self.segments.iter().map(|allowed| allowed.docs().len()).sum()
    }
}

/// Hits of a vector search. An interrupted search stops early; then this is an error.
fn uninterrupted(found: VectorSearchResult) -> Result<Vec<Scored>, segment::Error> {
    checkpoint(STEPS_BETWEEN_CHECKS)?;
    Ok(found.hits)
}

/// The first document number after all documents of an id. Segments are in the order of keys.
fn first_after(segment: &Index, after: &DocumentId) -> Result<u32, segment::Error> {
    let (mut low, mut high) = (0, segment.documents());
    while low < high {
        let middle = low + (high - low) / 2;
        if segment.id_of(middle)?.as_str() <= after.as_str() { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}
