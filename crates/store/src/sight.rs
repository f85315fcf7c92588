//! A cache of the documents of a part that an audience sees, from one request to the next.
//!
//! Promises the same documents as if they had been looked up now: an entry is keyed by the whole audience, belongs to one
//! part with its present deletions (a further deletion makes another part, with an empty cache), and is valid only until
//! a document of the part expires. Filters are never cached: there are too many.

use crate::{Error, Totals, index::Index, request::visible};
use kernel::{Audience, Status, Timestamp, limits};
use roaring::RoaringBitmap;
use segment::TextLengths;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Documents that are searchable, live, have not expired and may be seen, and their rows.
#[derive(Debug)]
pub(crate) struct Sight {
    pub(crate) docs: RoaringBitmap,
    pub(crate) rows: RoaringBitmap,
    from: Timestamp,
    /// Exclusive.
    until: Option<Timestamp>,
    lengths: OnceLock<TextLengths>,
    counts: OnceLock<Totals>,
}

/// The latest entries of a part, newest last.
#[derive(Debug, Default)]
pub(crate) struct Sights(Mutex<Vec<(Audience, Arc<Sight>)>>);

impl Sight {
    fn of(index: &Index, dead: &RoaringBitmap, audience: &Audience, now: Timestamp) -> Result<Self, Error> {
        let docs = index.with_status(Status::Indexed) - dead;
        let docs = visible(index, docs, audience, None, now)?;
        let rows = index.rows_of(&docs);
        let until = index.next_expiry(now);
        Ok(Self { docs, rows, from: now, until, lengths: OnceLock::new(), counts: OnceLock::new() })
    }

    /// The lengths of its rows, summed once. `index` is always that of the same part.
    pub(crate) fn lengths(&self, index: &Index) -> TextLengths {
        *self.lengths.get_or_init(|| index.text_lengths(&self.rows))
    }

    /// Counts of all that the audience sees, of any status, computed once.
    ///
    /// # Errors
    /// What `count` says.
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

impl Sights {
    /// The documents of `index` that `audience` sees, without the `dead`, which are always those of the same part.
    ///
    /// # Errors
    /// When the index does not read.
    pub(crate) fn of(
        &self,
        index: &Index,
        dead: &RoaringBitmap,
        audience: &Audience,
        now: Timestamp,
    ) -> Result<Arc<Sight>, Error> {
        if let Some((_, sight)) = self.lock().iter().find(|(who, sight)| who == audience && sight.holds(now)) {
            return Ok(sight.clone());
        }
        // Outside of the lock: requests at the same moment each compute it.
        let sight = Arc::new(Sight::of(index, dead, audience, now)?);
        let mut kept = self.lock();
        kept.retain(|(who, _)| who != audience);
        if kept.len() >= limits::SIGHTS_KEPT_MAX {
            kept.remove(0);
        }
        kept.push((audience.clone(), sight.clone()));
        Ok(sight)
    }

    /// Nothing panics while holding this lock in the middle of a change.
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Audience, Arc<Sight>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
