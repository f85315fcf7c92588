//! Caches the documents of a segment that an audience can see, across requests.
//!
//! Guarantees the same documents as an evaluation at this moment: an entry is keyed by the whole audience, belongs to
//! one segment with its present deletions (a further deletion creates another segment with an empty cache), and is
//! valid only until a document of the segment expires. Filters are never cached: there are too many.

use crate::{
    Error,
    state::{index::Index, totals::Totals},
};
use kernel::{Audience, CompiledFilter, Status, Timestamp, limits};
use parking_lot::{Mutex, MutexGuard};
use roaring::RoaringBitmap;
use segment::TextLengths;
use std::sync::{Arc, OnceLock};

/// Documents that are searchable, live, not expired and visible to an audience, and their rows.
#[derive(Debug)]
pub(crate) struct VisibleSet {
    pub(crate) docs: RoaringBitmap,
    pub(crate) rows: RoaringBitmap,
    from: Timestamp,
    /// Exclusive end of the entry's validity.
    until: Option<Timestamp>,
    lengths: OnceLock<TextLengths>,
    counts: OnceLock<Totals>,
}

/// The most recent entries of a segment, newest last.
#[derive(Debug, Default)]
pub(crate) struct VisibilityCache(Mutex<Vec<(Audience, Arc<VisibleSet>)>>);

impl VisibleSet {
    fn of(index: &Index, deleted: &RoaringBitmap, audience: &Audience, now: Timestamp) -> Result<Self, Error> {
        let docs = index.with_status(Status::Indexed) - deleted;
        let docs = visible(index, docs, audience, None, now)?;
        let rows = index.rows_of(&docs);
        let until = index.next_expiry(now);
        Ok(Self { docs, rows, from: now, until, lengths: OnceLock::new(), counts: OnceLock::new() })
    }

    /// Sum of the lengths of its rows, computed once. `index` must always be that of the same segment.
    pub(crate) fn lengths(&self, index: &Index) -> TextLengths {
        *self.lengths.get_or_init(|| index.text_lengths(&self.rows))
    }

    /// Totals of everything that the audience can see, of any status, computed once.
    ///
    /// # Errors
    /// The error of `count`.
    pub(crate) fn counts(&self, count: impl FnOnce() -> Result<Totals, Error>) -> Result<Totals, Error> {
        if let Some(counts) = self.counts.get() {
            return Ok(*counts);
        }
        let counts = count()?;
        Ok(*self.counts.get_or_init(|| counts))
    }

    fn holds(&self, now: Timestamp) -> bool {
        self.from <= now && self.until.is_none_or(|until| now < until)
    }
}

impl VisibilityCache {
    /// The documents of `index` that `audience` can see, without the `deleted` ones, which must always be those of the
    /// same segment.
    ///
    /// # Errors
    /// Fails if the index cannot be read.
    pub(crate) fn of(
        &self,
        index: &Index,
        deleted: &RoaringBitmap,
        audience: &Audience,
        now: Timestamp,
    ) -> Result<Arc<VisibleSet>, Error> {
        if let Some((_, visible)) = self.lock().iter().find(|(who, visible)| who == audience && visible.holds(now)) {
            return Ok(visible.clone());
        }
        // Computed outside the lock: concurrent requests may each compute it.
        let visible_set = Arc::new(VisibleSet::of(index, deleted, audience, now)?);
        let mut kept = self.lock();
        kept.retain(|(who, _)| who != audience);
        if kept.len() >= limits::VISIBLE_SETS_KEPT_MAX {
            kept.remove(0);
        }
        kept.push((audience.clone(), visible_set.clone()));
        Ok(visible_set)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Audience, Arc<VisibleSet>)>> {
        self.0.lock()
    }
}

/// Those of `docs` that an audience can see now and that match a filter. Every read and every selection of a write
/// passes through here.
pub(crate) fn visible(
    index: &Index,
    mut docs: RoaringBitmap,
    audience: &Audience,
    filter: Option<&CompiledFilter>,
    now: Timestamp,
) -> Result<RoaringBitmap, crate::Error> {
    docs -= index.expired(now);
    if *audience != Audience::Everything {
        docs &= index.visible(audience);
    }
    if let Some(filter) = filter.filter(|_| !docs.is_empty()) {
        docs &= index.evaluate(filter)?;
    }
    Ok(docs)
}

#[cfg(test)]
mod tests;
