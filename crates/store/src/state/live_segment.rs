//! A live segment of a version: an index, where its documents are durable, and which of them are deleted.
//!
//! Guarantees that totals are exact for live documents. A live segment never changes: a deletion creates another one,
//! so that a snapshot keeps the one it has.

use crate::{
    Error,
    state::{
        index::Index,
        tombstones::earlier,
        totals::Totals,
        visibility::{VisibilityCache, VisibleSet, visible},
    },
};
use journal::ObjectRef;
use kernel::{Audience, CommitNo, DocumentId, Status, Timestamp, limits};
use roaring::RoaringBitmap;
use segment::Segment;
use std::sync::Arc;

/// Where the documents of a segment are durable.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Durability {
    /// In log entries that no checkpoint covers.
    Log,
    /// In full in the newest checkpoint. These are few documents; the next maintenance job includes them.
    Inline,
    /// In an object that the newest checkpoint names.
    Object(ObjectRef),
}

/// An index with its deletions; see the module documentation.
#[derive(Clone)]
pub(crate) struct LiveSegment {
    pub(crate) index: Arc<Index>,
    pub(crate) deleted: Arc<RoaringBitmap>,
    pub(crate) durability: Durability,
    /// When the earliest of the deleted documents was deleted.
    pub(crate) tombstoned_at: Option<Timestamp>,
    /// When the earliest document expires, or did.
    pub(crate) expires: Option<Timestamp>,
    /// Totals of the live documents; `commit` is unused.
    pub(crate) counts: Totals,
    /// Whether it is being flushed or indexed; other merges in memory then leave it alone.
    pub(crate) frozen: bool,
    visibility: Arc<VisibilityCache>,
}

impl LiveSegment {
    /// Counts the live documents; O(documents).
    pub(crate) fn new(index: Arc<Index>, deleted: RoaringBitmap, durability: Durability) -> Self {
        let mut live = all(&index);
        live -= &deleted;
        let counts = count(&index, &live);
        let expires = index.next_expiry(Timestamp::from_millis(i64::MIN));
        Self {
            index,
            deleted: Arc::new(deleted),
            durability,
            tombstoned_at: None,
            expires,
            counts,
            frozen: false,
            visibility: Arc::default(),
        }
    }

    /// Sets the time of the earliest deletion.
    pub(crate) fn with_tombstoned_at(self, tombstoned_at: Option<Timestamp>) -> Self {
        Self { tombstoned_at, ..self }
    }

    /// Sets the time of the earliest expiry. Documents that had already expired when they were written count from their
    /// write.
    pub(crate) fn expiring(self, expires: Option<Timestamp>) -> Self {
        Self { expires, ..self }
    }

    /// Whether only the log has its documents.
    pub(crate) fn in_log(&self) -> bool {
        self.durability == Durability::Log
    }

    /// The object that has its documents.
    pub(crate) fn object(&self) -> Option<&ObjectRef> {
        match &self.durability {
            Durability::Object(object) => Some(object),
            Durability::Log | Durability::Inline => None,
        }
    }

    /// Bytes in memory after all of it was read.
    pub(crate) fn size(&self) -> u64 {
        self.object().map_or(0, |object| object.bytes).max(self.index.bytes())
    }

    /// Live documents.
    pub(crate) fn live(&self) -> RoaringBitmap {
        let mut live = all(&self.index);
        live -= &*self.deleted;
        live
    }

    /// Live documents of this id, in the order of their keys.
    pub(crate) fn named(&self, id: &DocumentId) -> impl Iterator<Item = u32> {
        self.index.named(id).into_iter().filter(|doc| !self.deleted.contains(*doc))
    }

    /// The live document with this key.
    pub(crate) fn find(&self, id: &DocumentId) -> Option<u32> {
        self.index.find(id).filter(|doc| !self.deleted.contains(*doc))
    }

    /// The segment with more deletions, the earliest of them at `tombstoned_at`.
    pub(crate) fn with_deleted(&self, newly_deleted: &RoaringBitmap, tombstoned_at: Option<Timestamp>) -> Self {
        let fresh = newly_deleted - &*self.deleted;
        if fresh.is_empty() {
            return self.clone();
        }
        let removed = count(&self.index, &fresh);
        Self {
            index: self.index.clone(),
            deleted: Arc::new(&*self.deleted | &fresh),
            durability: self.durability.clone(),
            tombstoned_at: earlier(self.tombstoned_at, tombstoned_at),
            expires: self.expires,
            counts: self.counts.without(removed),
            frozen: self.frozen,
            visibility: Arc::default(),
        }
    }

    /// Totals of what `audience` can see now: all live documents for `read_all`, otherwise without expired ones.
    ///
    /// # Errors
    /// Fails if the index cannot be read.
    pub(crate) fn counts_for(&self, audience: &Audience, now: Timestamp) -> Result<Totals, Error> {
        if *audience == Audience::Everything {
            return Ok(self.counts);
        }
        self.visible_set(audience, now)?.counts(|| {
            let visible_docs = visible(&self.index, self.live(), audience, None, now)?;
            let hidden_docs = self.live() - &visible_docs;
            // Counts the smaller of the two sets: where all documents are visible, nothing has to be subtracted.
            Ok(if hidden_docs.len() < visible_docs.len() {
                self.counts.without(count(&self.index, &hidden_docs))
            } else {
                count(&self.index, &visible_docs)
            })
        })
    }

    /// The documents that `audience` can find by search now.
    ///
    /// # Errors
    /// Fails if the index cannot be read.
    pub(crate) fn visible_set(&self, audience: &Audience, now: Timestamp) -> Result<Arc<VisibleSet>, Error> {
        self.visibility.of(&self.index, &self.deleted, audience, now)
    }

    /// Since when, or from when on, the segment holds a document that is deleted or expired.
    pub(crate) fn deleted_since(&self) -> Option<Timestamp> {
        earlier(self.tombstoned_at, self.expires)
    }

    /// Share of deleted documents, 0 to 1. With `now`, expired documents count as deleted.
    pub(crate) fn deleted_share(&self, now: Option<Timestamp>) -> f64 {
        let expired = now.map(|now| self.index.expired(now)).unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "a document number fits in 32 bits")]
        let deleted = self.deleted.union_len(&expired) as f64;
        deleted / f64::from(self.index.documents().max(1))
    }

    /// Whether a segment with this number of live rows should have a graph and has none.
    pub(crate) fn wants_graph(&self) -> bool {
        self.counts.passages > limits::GRAPH_ROWS_MIN as u64 && self.index.wants_graph()
    }

    /// The segment if it has a graph.
    pub(crate) fn linked(&self) -> Option<&Segment> {
        self.index.linked()
    }

    /// Whether both have the same index, regardless of later deletions.
    pub(crate) fn is(&self, other: &LiveSegment) -> bool {
        Arc::ptr_eq(&self.index, &other.index)
    }
}

fn all(index: &Index) -> RoaringBitmap {
    let mut all = RoaringBitmap::new();
    all.insert_range(0..index.documents());
    all
}

fn count(index: &Index, docs: &RoaringBitmap) -> Totals {
    Totals {
        documents: docs.len(),
        passages: index.rows_of(docs).len(),
        bytes: docs.iter().map(|doc| index.sizes(doc).weight()).sum(),
        quarantined: index.with_status(Status::Quarantined).intersection_len(docs),
        commit: CommitNo(0),
    }
}
