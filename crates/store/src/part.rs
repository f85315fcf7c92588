//! A part of a view: one segment and which of its documents are dead.
//!
//! Promises that counts are exact for the documents that live. A part never changes: a death makes
//! another one, so that a snapshot keeps the one it has.

use journal::ObjectRef;
use kernel::{CommitNo, DocumentId, Status, Timestamp};
use roaring::RoaringBitmap;
use segment::Segment;
use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
};

/// What a namespace holds. Expired documents count until compaction removes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Documents, quarantined ones among them.
    pub documents: u64,
    /// Their passages.
    pub passages: u64,
    /// Bytes of their text.
    pub bytes: u64,
    /// Documents that are held back.
    pub quarantined: u64,
    /// The newest commit.
    pub commit: CommitNo,
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) segment: Arc<Segment>,
    pub(crate) dead: Arc<RoaringBitmap>,
    /// Where it is durable; `None` while its documents are in the log.
    pub(crate) object: Option<ObjectRef>,
    /// Of the documents that live; `commit` unused.
    pub(crate) counts: Totals,
    /// Being flushed: merges in memory leave it alone.
    pub(crate) frozen: bool,
    /// Indexed documents that live, and their rows.
    ranked: Arc<OnceLock<(RoaringBitmap, RoaringBitmap)>>,
}

impl Part {
    /// Counts what lives; O(documents).
    pub(crate) fn new(segment: Arc<Segment>, dead: RoaringBitmap, object: Option<ObjectRef>) -> Self {
        let mut live = all(&segment);
        live -= &dead;
        let counts = count(&segment, &live);
        Self { segment, dead: Arc::new(dead), object, counts, frozen: false, ranked: Arc::default() }
    }

    /// Documents that live.
    pub(crate) fn live(&self) -> RoaringBitmap {
        let mut live = all(&self.segment);
        live -= &*self.dead;
        live
    }

    /// The living document of this id.
    pub(crate) fn find(&self, id: &DocumentId) -> Option<u32> {
        self.segment.find(id).filter(|doc| !self.dead.contains(*doc))
    }

    /// The same part with more deaths.
    pub(crate) fn with_deaths(&self, killed: &RoaringBitmap) -> Self {
        let fresh = killed - &*self.dead;
        if fresh.is_empty() {
            return self.clone();
        }
        let gone = count(&self.segment, &fresh);
        let counts = Totals {
            documents: self.counts.documents - gone.documents,
            passages: self.counts.passages - gone.passages,
            bytes: self.counts.bytes - gone.bytes,
            quarantined: self.counts.quarantined - gone.quarantined,
            commit: CommitNo(0),
        };
        Self {
            segment: self.segment.clone(),
            dead: Arc::new(&*self.dead | &fresh),
            object: self.object.clone(),
            counts,
            frozen: self.frozen,
            ranked: Arc::default(),
        }
    }

    /// Rows that word frequencies are counted over: of documents that live, may be found and, with
    /// `expired`, are not among those.
    pub(crate) fn counted_rows(&self, expired: &RoaringBitmap) -> Cow<'_, RoaringBitmap> {
        let (docs, rows) = self.ranked.get_or_init(|| {
            let docs = self.segment.with_status(Status::Indexed) - &*self.dead;
            let rows = self.segment.rows_of(&docs);
            (docs, rows)
        });
        if docs.is_disjoint(expired) {
            return Cow::Borrowed(rows);
        }
        Cow::Owned(self.segment.rows_of(&(docs - expired)))
    }

    /// Share of dead documents, 0 to 1; with `now`, expired ones are dead.
    pub(crate) fn dead_share(&self, now: Option<Timestamp>) -> f64 {
        let expired = now.map(|now| self.segment.expired(now)).unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "a document number fits in 32 bits")]
        let dead = self.dead.union_len(&expired) as f64;
        dead / f64::from(self.segment.documents().max(1))
    }

    /// Whether it is the same segment, whatever died since.
    pub(crate) fn is(&self, other: &Part) -> bool {
        Arc::ptr_eq(&self.segment, &other.segment)
    }
}

fn all(segment: &Segment) -> RoaringBitmap {
    let mut all = RoaringBitmap::new();
    all.insert_range(0..segment.documents());
    all
}

fn count(segment: &Segment, docs: &RoaringBitmap) -> Totals {
    Totals {
        documents: docs.len(),
        passages: segment.rows_of(docs).len(),
        bytes: docs.iter().map(|doc| segment.text_bytes(doc)).sum(),
        quarantined: segment.with_status(Status::Quarantined).intersection_len(docs),
        commit: CommitNo(0),
    }
}
