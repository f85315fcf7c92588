//! A part of a view: one index, where its documents are durable, and which of them are dead.
//!
//! Promises that counts are exact for the documents that live. A part never changes: a death makes
//! another one, so that a snapshot keeps the one it has.

use crate::{
    Error,
    age::earlier,
    index::Index,
    request::visible,
    sight::{Sight, Sights},
};
use journal::ObjectRef;
use kernel::{Audience, CommitNo, DocumentId, Status, Timestamp, limits};
use roaring::RoaringBitmap;
use segment::Segment;
use std::sync::Arc;

/// What a namespace holds. Expired documents count until compaction removes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Documents, quarantined ones among them.
    pub documents: u64,
    /// Their passages.
    pub passages: u64,
    /// What they take where they are stored, beside indexes: ids, titles, addresses, attributes, readers, findings, text
    /// and vectors. What quotas of bytes count.
    pub bytes: u64,
    /// Documents that are held back.
    pub quarantined: u64,
    /// The newest commit.
    pub commit: CommitNo,
}

impl Totals {
    fn without(self, other: Self) -> Self {
        Self {
            documents: self.documents - other.documents,
            passages: self.passages - other.passages,
            bytes: self.bytes - other.bytes,
            quarantined: self.quarantined - other.quarantined,
            commit: self.commit,
        }
    }

    /// Adds what another part or namespace holds.
    pub fn add(&mut self, other: Self) {
        self.documents += other.documents;
        self.passages += other.passages;
        self.bytes += other.bytes;
        self.quarantined += other.quarantined;
    }
}

/// Where a part's documents are durable.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Durable {
    /// In log entries that no checkpoint covers.
    Log,
    /// Whole in the newest checkpoint. Few documents are; the next upkeep takes them along.
    Inline,
    /// In an object that the newest checkpoint names.
    Object(ObjectRef),
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) index: Arc<Index>,
    pub(crate) dead: Arc<RoaringBitmap>,
    pub(crate) durable: Durable,
    /// When the earliest of the dead died.
    pub(crate) since: Option<Timestamp>,
    /// When the earliest document expires, or has.
    pub(crate) expires: Option<Timestamp>,
    /// Of the documents that live; `commit` unused.
    pub(crate) counts: Totals,
    /// Being flushed or indexed: other merges in memory leave it alone.
    pub(crate) frozen: bool,
    sights: Arc<Sights>,
}

impl Part {
    /// Counts what lives; O(documents).
    pub(crate) fn new(index: Arc<Index>, dead: RoaringBitmap, durable: Durable) -> Self {
        let mut live = all(&index);
        live -= &dead;
        let counts = count(&index, &live);
        let expires = index.next_expiry(Timestamp::from_millis(i64::MIN));
        Self {
            index,
            dead: Arc::new(dead),
            durable,
            since: None,
            expires,
            counts,
            frozen: false,
            sights: Arc::default(),
        }
    }

    /// The same with the moment of its earliest death.
    pub(crate) fn dead_since(self, since: Option<Timestamp>) -> Self {
        Self { since, ..self }
    }

    /// The same with another moment of the earliest expiry: that of documents which had expired before they came here
    /// counts from then on.
    pub(crate) fn expiring(self, expires: Option<Timestamp>) -> Self {
        Self { expires, ..self }
    }

    /// Whether the log alone has its documents.
    pub(crate) fn in_log(&self) -> bool {
        self.durable == Durable::Log
    }

    /// The object that has its documents.
    pub(crate) fn object(&self) -> Option<&ObjectRef> {
        match &self.durable {
            Durable::Object(object) => Some(object),
            Durable::Log | Durable::Inline => None,
        }
    }

    /// Bytes that reading all of it brings into memory.
    pub(crate) fn size(&self) -> u64 {
        self.object().map_or(0, |object| object.bytes).max(self.index.bytes())
    }

    /// Documents that live.
    pub(crate) fn live(&self) -> RoaringBitmap {
        let mut live = all(&self.index);
        live -= &*self.dead;
        live
    }

    /// The living documents of this id, in the order of their keys.
    pub(crate) fn named(&self, id: &DocumentId) -> impl Iterator<Item = u32> {
        self.index.named(id).into_iter().filter(|doc| !self.dead.contains(*doc))
    }

    /// The living document with this key.
    pub(crate) fn find(&self, id: &DocumentId) -> Option<u32> {
        self.index.find(id).filter(|doc| !self.dead.contains(*doc))
    }

    /// The same part with more deaths, the earliest of them at `since`.
    pub(crate) fn with_deaths(&self, killed: &RoaringBitmap, since: Option<Timestamp>) -> Self {
        let fresh = killed - &*self.dead;
        if fresh.is_empty() {
            return self.clone();
        }
        let gone = count(&self.index, &fresh);
        Self {
            index: self.index.clone(),
            dead: Arc::new(&*self.dead | &fresh),
            durable: self.durable.clone(),
            since: earlier(self.since, since),
            expires: self.expires,
            counts: self.counts.without(gone),
            frozen: self.frozen,
            sights: Arc::default(),
        }
    }

    /// Counts of what `audience` sees of it now: all that lives for `read_all`, else without what has expired.
    ///
    /// # Errors
    /// When the index does not read.
    pub(crate) fn counts_for(&self, audience: &Audience, now: Timestamp) -> Result<Totals, Error> {
        if *audience == Audience::Everything {
            return Ok(self.counts);
        }
        self.sight(audience, now)?.counts(|| {
            let seen = visible(&self.index, self.live(), audience, None, now)?;
            let unseen = self.live() - &seen;
            // The fewer of both are counted: where documents are open there is nothing to take off.
            Ok(if unseen.len() < seen.len() {
                self.counts.without(count(&self.index, &unseen))
            } else {
                count(&self.index, &seen)
            })
        })
    }

    /// What `audience` may find in it now.
    ///
    /// # Errors
    /// When the index does not read.
    pub(crate) fn sight(&self, audience: &Audience, now: Timestamp) -> Result<Arc<Sight>, Error> {
        self.sights.of(&self.index, &self.dead, audience, now)
    }

    /// Share of dead documents, 0 to 1; with `now`, expired ones are dead.
    pub(crate) fn dead_share(&self, now: Option<Timestamp>) -> f64 {
        let expired = now.map(|now| self.index.expired(now)).unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "a document number fits in 32 bits")]
        let dead = self.dead.union_len(&expired) as f64;
        dead / f64::from(self.index.documents().max(1))
    }

    /// Whether a part with this number of living rows should have a graph and has none.
    pub(crate) fn wants_graph(&self) -> bool {
        self.counts.passages > limits::GRAPH_ROWS_MIN as u64 && self.index.wants_graph()
    }

    /// The segment, where it has a graph.
    pub(crate) fn linked(&self) -> Option<&Segment> {
        self.index.linked()
    }

    /// Whether it is the same index, whatever died since.
    pub(crate) fn is(&self, other: &Part) -> bool {
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
