//! A snapshot: a namespace at one commit, fixed for one request.
//!
//! [`Snapshot::eligible`] computes which rows a request may use; ranking, fetching and listing take
//! that [`Eligible`] and nothing else, so that no row outside of it is ranked, counted or shown.
//! All of it is synchronous work for the engine's pool.

mod candidates;
mod quoted;
mod shown;

pub use quoted::Quoted;
pub use shown::{Listed, Located, Page, PageEnd, PassageText, Passages, Unread};

use crate::{
    Error, Quarantine, Totals,
    index::Index,
    namespace::Namespace,
    part::Part,
    request::{visible, without_content},
    sight::Sight,
    view::View,
};
use kernel::{
    Audience, CommitNo, CompiledFilter, Document, DocumentId, Filter, STEPS_BETWEEN_CHECKS, Status, Timestamp,
    checkpoint,
};
use roaring::RoaringBitmap;
use segment::{Expansion, Extent, Found, Scored, TextQuery, TextStats, Trace};
use std::sync::Arc;

/// See the module. Counts against the memory budget until it is dropped.
pub struct Snapshot {
    view: Arc<View>,
    /// Keeps the namespace from being evicted: its memory would stay anyway.
    namespace: Arc<Namespace>,
    /// Requests may make it heavier: they index what is not indexed yet, and read pages.
    grows: bool,
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if self.grows {
            self.namespace.reweigh();
        }
    }
}

/// Rows of one snapshot that one request may use. Made by [`Snapshot::eligible`] alone.
pub struct Eligible {
    view: Arc<View>,
    parts: Vec<EligiblePart>,
    /// The audience that it was made for.
    audience: Audience,
    /// The time that it was made for.
    now: Timestamp,
}

enum EligiblePart {
    /// All that an audience may find.
    Sight(Arc<Sight>),
    /// Less of it, or documents that cannot be found by a search.
    Some { docs: RoaringBitmap, rows: RoaringBitmap },
}

impl EligiblePart {
    fn docs(&self) -> &RoaringBitmap {
        match self {
            EligiblePart::Sight(sight) => &sight.docs,
            EligiblePart::Some { docs, .. } => docs,
        }
    }

    fn rows(&self) -> &RoaringBitmap {
        match self {
            EligiblePart::Sight(sight) => &sight.rows,
            EligiblePart::Some { rows, .. } => rows,
        }
    }
}

/// Address of a passage in its snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// Index of the segment.
    pub segment: u32,
    /// Row in the segment.
    pub row: u32,
}

/// A ranked passage. Bigger is nearer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Its address.
    pub at: Address,
    /// Its BM25 score or similarity.
    pub score: f32,
}

/// How one segment was searched by vector. Segments without eligible rows are skipped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// Number of its rows.
    pub rows: u64,
    /// What the search did.
    pub trace: Trace,
}

impl Snapshot {
    pub(crate) fn new(namespace: Arc<Namespace>) -> Self {
        let view = namespace.view();
        let settled = view.is_resident() && view.parts.iter().all(|part| part.index.is_indexed());
        Self { view, namespace, grows: !settled }
    }

    /// A snapshot with these parts, for tests of layouts that maintenance would not produce.
    #[cfg(test)]
    pub(crate) fn of_parts(&self, spec: segment::Spec, parts: Vec<Part>) -> Self {
        let view = View { spec, parts, ..(*self.view).clone() };
        Self { view: Arc::new(view), namespace: self.namespace.clone(), grows: false }
    }

    /// The newest commit that it contains.
    pub fn commit(&self) -> CommitNo {
        self.view.commit
    }

    /// Exact numbers of all that it holds, hidden documents included: for limits, never for a reply.
    pub fn totals(&self) -> Totals {
        self.view.totals()
    }

    /// Exact numbers of what this audience sees.
    ///
    /// # Errors
    /// When a segment does not read.
    pub fn totals_for(&self, audience: &Audience, now: Timestamp) -> Result<Totals, Error> {
        self.noted(self.view.totals_for(audience, now))
    }

    /// Length of a stored vector; 0 when there are none.
    pub fn dimensions(&self) -> usize {
        self.view.spec.dimensions
    }

    /// Number of all rows, deleted ones included, if all are in memory and indexed; `None` when a search may have to
    /// read a page or build an index.
    pub fn rows_at_hand(&self) -> Option<u64> {
        let ready = self.view.is_resident() && self.view.parts.iter().all(|part| part.index.is_indexed());
        ready.then(|| self.view.parts.iter().map(|part| u64::from(part.index.rows())).sum())
    }

    /// An upper bound for what reading from it costs.
    pub fn extent(&self) -> Extent {
        self.view.extent()
    }

    /// Number of its parts.
    pub fn parts(&self) -> u64 {
        self.view.parts.len() as u64
    }

    /// The attributes among these that no document has which this reader may find now.
    ///
    /// # Errors
    /// When a segment does not read; when the request is to end.
    pub fn unknown_attributes<'k>(
        &self,
        mut keys: Vec<&'k str>,
        audience: &Audience,
        now: Timestamp,
    ) -> Result<Vec<&'k str>, Error> {
        for part in &self.view.parts {
            if keys.is_empty() {
                break;
            }
            let sight = self.noted(part.sight(audience, now))?;
            self.noted(part.index.retain_unknown(&mut keys, &sight.docs))?;
        }
        Ok(keys)
    }

    /// Rows of documents that live, have one of these statuses, have not expired, may be seen by
    /// this audience and match the filter.
    ///
    /// # Errors
    /// When a segment does not read.
    pub fn eligible(
        &self,
        audience: &Audience,
        filter: Option<&Filter>,
        statuses: &[Status],
        now: Timestamp,
    ) -> Result<Eligible, Error> {
        let compiled = filter.map(Filter::compile);
        let filter = compiled.as_ref();
        let one = |part: &Part| {
            let docs = if *statuses == [Status::Indexed] {
                let sight = self.noted(part.sight(audience, now))?;
                let Some(filter) = filter else { return Ok(EligiblePart::Sight(sight)) };
                // The filter is not evaluated where no document passes.
                if sight.docs.is_empty() {
                    RoaringBitmap::new()
                } else {
                    self.noted(part.index.evaluate(filter))? & &sight.docs
                }
            } else {
                let with = |status: &Status| part.index.with_status(*status);
                let docs = statuses.iter().map(with).fold(RoaringBitmap::new(), |all, some| all | some);
                self.noted(visible(&part.index, docs - &*part.dead, audience, filter, now))?
            };
            let rows = part.index.rows_of(&docs);
            Ok(EligiblePart::Some { docs, rows })
        };
        let parts = self.view.parts.iter().map(one).collect::<Result<_, Error>>()?;
        Ok(Eligible { parts, view: self.view.clone(), audience: audience.clone(), now })
    }

    /// Documents of any status that live, have not expired, may be seen by this audience and match the filter: for
    /// lists. A filter does not match content that is withheld.
    ///
    /// # Errors
    /// When a segment does not read.
    pub fn stored(
        &self,
        audience: &Audience,
        filter: Option<&Filter>,
        quarantine: Quarantine,
        now: Timestamp,
    ) -> Result<Eligible, Error> {
        let withheld = filter.filter(|_| quarantine == Quarantine::Withheld).map(|f| without_content(f).compile());
        let compiled = filter.map(Filter::compile);
        let of = |part: &Part, docs: RoaringBitmap, filter: Option<&CompiledFilter>| {
            self.noted(visible(&part.index, docs, audience, filter, now))
        };
        let one = |part: &Part| {
            let (live, held) = (part.live(), part.index.with_status(Status::Quarantined));
            let docs = match &withheld {
                Some(withheld) if !held.is_disjoint(&live) => {
                    let told = of(part, &live - &held, compiled.as_ref())?;
                    told | of(part, live & held, Some(withheld))?
                }
                _ => of(part, live, compiled.as_ref())?,
            };
            let rows = part.index.rows_of(&docs);
            Ok(EligiblePart::Some { docs, rows })
        };
        let parts = self.view.parts.iter().map(one).collect::<Result<_, Error>>()?;
        Ok(Eligible { parts, view: self.view.clone(), audience: audience.clone(), now })
    }

    /// Parses a question in this namespace's language. Returns the query, the eligible rows that hold every required
    /// phrase, and which of them hold preferred phrases. A word with a star is expanded to words that eligible rows
    /// hold. The query's warnings name phrases that no eligible row holds.
    ///
    /// # Errors
    /// When a segment does not read.
    pub fn ask(
        &self,
        question: &str,
        all_phrases: bool,
        eligible: Eligible,
    ) -> Result<(TextQuery, Eligible, Quoted), Error> {
        let (mut query, mut eligible) = (TextQuery::in_language(question, self.view.spec.language), eligible);
        if all_phrases {
            query.require_phrases();
        }
        let quoted = self.quoted(&mut query, &mut eligible)?;
        if query.has_prefixes() {
            let mut expansion = Expansion::default();
            for (_, part, here) in self.parts_of(&eligible).filter(|(.., here)| !here.rows().is_empty()) {
                self.noted(part.index.expand(&query, here.rows(), &mut expansion))?;
            }
            query.expand(expansion);
        }
        Ok((query, eligible, quoted))
    }

    /// The `k` best eligible passages by BM25. Word frequencies come from all passages that this reader can find
    /// without a filter, so that scores depend neither on hidden passages nor on the layout.
    ///
    /// # Errors
    /// When a segment does not read.
    pub fn text(&self, query: &TextQuery, eligible: &Eligible, k: usize) -> Result<Vec<Hit>, Error> {
        self.text_counted(query, &self.text_stats(query, eligible)?, eligible, k)
    }

    /// The statistics that [`Snapshot::text`] uses.
    ///
    /// # Errors
    /// As there.
    pub fn text_stats(&self, query: &TextQuery, eligible: &Eligible) -> Result<TextStats, Error> {
        let mut stats = TextStats::for_query(query);
        for (_, part, _) in self.parts_of(eligible) {
            let sight = self.noted(part.sight(&eligible.audience, eligible.now))?;
            if !sight.rows.is_empty() {
                let frequencies = self.noted(part.index.text_frequencies(query, &sight.rows))?;
                stats += TextStats::new(sight.lengths(&part.index), frequencies);
            }
        }
        Ok(stats)
    }

    /// [`Snapshot::text`] with statistics that were computed before.
    ///
    /// # Errors
    /// As there.
    pub fn text_counted(
        &self,
        query: &TextQuery,
        stats: &TextStats,
        eligible: &Eligible,
        k: usize,
    ) -> Result<Vec<Hit>, Error> {
        self.rank(eligible, k, |segment, rows| segment.search_text(query, stats, rows, k))
    }

    /// The `k` nearest eligible passages, and how each segment was searched. None when the query has not the
    /// namespace's dimensions.
    ///
    /// # Errors
    /// When an id does not read, to break a tie.
    pub fn vector(&self, query: &[f32], eligible: &Eligible, k: usize) -> Result<(Vec<Hit>, Vec<Look>), Error> {
        let mut looks = Vec::new();
        if query.is_empty() || query.len() != self.view.spec.dimensions {
            return Ok((Vec::new(), looks));
        }
        let hits = self.rank(eligible, k, |index, rows| {
            let found = index.search_vector(query, rows, k);
            looks.push(Look { rows: index.rows().into(), trace: found.trace });
            whole(found)
        })?;
        Ok((hits, looks))
    }

    /// The same by an exact scan of all eligible passages, with which [`Snapshot::vector`] is compared.
    ///
    /// # Errors
    /// As there.
    pub fn vector_exact(&self, query: &[f32], eligible: &Eligible, k: usize) -> Result<Vec<Hit>, Error> {
        if query.is_empty() || query.len() != self.view.spec.dimensions {
            return Ok(Vec::new());
        }
        self.rank(eligible, k, |index, rows| whole(index.search_vector_exact(query, rows, k)))
    }

    /// Vectors of at most `count` eligible passages, evenly spread over all of them.
    ///
    /// # Errors
    /// When a document does not read.
    pub fn sample(&self, eligible: &Eligible, count: usize) -> Result<Vec<Vec<f32>>, Error> {
        let (size, total) = (self.view.spec.dimensions, eligible.rows());
        let mut vectors = Vec::new();
        if size == 0 || count == 0 {
            return Ok(vectors);
        }
        let step = total.div_ceil(count as u64).max(1);
        let mut before = 0u64;
        for (_, part, here) in self.parts_of(eligible) {
            // Rows number 0, step, 2 × step and so on of all parts together.
            let mut next = before.next_multiple_of(step) - before;
            before += here.rows().len();
            // Samples of one document are consecutive, so it is read once.
            let mut last: Option<(u32, Document)> = None;
            while let Some(row) = u32::try_from(next).ok().and_then(|next| here.rows().select(next)) {
                next += step;
                let Some((doc, passage)) = part.index.row(row) else { continue };
                if last.as_ref().is_none_or(|(number, _)| *number != doc) {
                    last = Some((doc, self.noted(part.index.document(doc, true))?));
                }
                let Some((_, document)) = &last else { continue };
                let at = passage as usize * size;
                vectors.extend(document.vectors.get(at..at + size).map(<[f32]>::to_vec));
            }
        }
        Ok(vectors)
    }

    /// Document id and passage: breaks ties the same way whatever the layout. `None` for an
    /// address of another snapshot.
    pub fn tie(&self, at: Address) -> (Option<DocumentId>, u32) {
        let found = self.part(at).and_then(|part| {
            let (doc, passage) = part.index.row(at.row)?;
            Some((part.index.id(doc)?, passage))
        });
        found.map_or((None, at.row), |(id, passage)| (Some(id), passage))
    }

    /// Segment and document number: equal for passages of one document.
    pub fn document_of(&self, at: Address) -> (u32, u32) {
        let doc = self.part(at).and_then(|part| part.index.row(at.row)).map_or(u32::MAX, |(doc, _)| doc);
        (at.segment, doc)
    }

    /// Best first, ties by document id and passage.
    fn rank(
        &self,
        eligible: &Eligible,
        k: usize,
        mut search: impl FnMut(&Index, &RoaringBitmap) -> Result<Vec<Scored>, segment::Error>,
    ) -> Result<Vec<Hit>, Error> {
        let mut hits = Vec::new();
        for (segment, part, here) in self.parts_of(eligible).filter(|(.., here)| !here.rows().is_empty()) {
            let scored = self.noted(search(&part.index, here.rows()))?;
            hits.extend(scored.into_iter().map(|s| Hit { at: Address { segment, row: s.row }, score: s.score }));
        }
        hits.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut settled = 0;
        // Only equal scores cost a look at the ids, and only those that may be among the k best.
        while settled < hits.len().min(k) {
            let ties = |hit: &&Hit| hit.score.total_cmp(&hits[settled].score).is_eq();
            let run = hits[settled..].iter().take_while(ties).count();
            if run > 1 {
                hits[settled..settled + run].sort_by_cached_key(|hit| self.tie(hit.at));
            }
            settled += run;
        }
        hits.truncate(k);
        Ok(hits)
    }

    /// Bytes that do not authenticate close the namespace as well: it opens again from storage. A failed read fails
    /// this request only.
    fn noted<T, E: Into<Error>>(&self, result: Result<T, E>) -> Result<T, Error> {
        result.map_err(Into::into).inspect_err(|error| {
            if error.wants_reopening() {
                self.namespace.fail();
            }
        })
    }

    /// The parts with the eligible rows of each. Empty for an `Eligible` of another snapshot.
    fn parts_of<'a>(&'a self, eligible: &'a Eligible) -> impl Iterator<Item = (u32, &'a Part, &'a EligiblePart)> {
        let ours = Arc::ptr_eq(&self.view, &eligible.view);
        let parts = (0..).zip(&self.view.parts).zip(&eligible.parts);
        parts.filter(move |_| ours).map(|((at, part), here)| (at, part, here))
    }

    fn part(&self, at: Address) -> Option<&Part> {
        self.view.parts.get(at.segment as usize)
    }
}

impl Eligible {
    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.parts.iter().map(|here| here.rows().len()).sum()
    }

    /// Number of documents.
    pub fn documents(&self) -> u64 {
        self.parts.iter().map(|here| here.docs().len()).sum()
    }
}

/// What a search by vector found. If the request was interrupted, the search stopped early and this is an error.
fn whole(found: Found) -> Result<Vec<Scored>, segment::Error> {
    checkpoint(STEPS_BETWEEN_CHECKS)?;
    Ok(found.hits)
}

/// The first document number after all of an id. Segments are in the order of keys.
fn behind(segment: &Index, after: &DocumentId) -> Result<u32, segment::Error> {
    let (mut low, mut high) = (0, segment.documents());
    while low < high {
        let middle = low + (high - low) / 2;
        if segment.id_of(middle)?.as_str() <= after.as_str() { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}
