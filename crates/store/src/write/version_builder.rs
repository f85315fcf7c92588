//! Builds the next version of a namespace: a version, the documents that a batch deletes from it, and those it adds.
//!
//! Used by the writer for a batch of requests and by recovery for the entries of the log, so that both produce the same
//! namespace. Guarantees at most one live document per key.

use crate::{
    Error,
    state::{
        index::Index,
        live_segment::{Durability, LiveSegment},
        tombstones::{LogTombstones, earlier},
        version::{Version, first_expiry},
    },
    tenant_counter::Amount,
};
use kernel::{CommitNo, Document, DocumentId, Timestamp};
use roaring::RoaringBitmap;
use segment::{Spec, WriteBuffer, codec::Sizes};
use std::{collections::BTreeMap, sync::Arc};
use zeroize::Zeroizing;

/// Builder of the next version; see the module documentation.
pub(crate) struct VersionBuilder {
    pub(crate) spec: Spec,
    pub(crate) commit: CommitNo,
    pub(crate) segments: Vec<LiveSegment>,
    log: LogTombstones,
    /// Time of the current request.
    now: Timestamp,
    /// Time of the batch's first request.
    first_at: Timestamp,
    newly_deleted: Vec<RoaringBitmap>,
    newly_deleted_at: Vec<Option<Timestamp>>,
    added: Vec<Option<Document>>,
    added_ids: BTreeMap<DocumentId, usize>,
    /// Information to undo the current request.
    undo_log: UndoLog,
}

/// Changes that one request of the batch has made so far, as needed to undo them.
#[derive(Default)]
struct UndoLog {
    log: LogTombstones,
    newly_deleted_at: Vec<Option<Timestamp>>,
    /// Number of documents that the batch had added before this request.
    added_before: usize,
    removed: Vec<RemovedDocument>,
    added_amount: Amount,
    removed_amount: Amount,
    /// Buffer for encodings that are only measured.
    scratch: Zeroizing<Vec<u8>>,
}

/// A document that the request removed.
enum RemovedDocument {
    FromSegment(usize, u32),
    Added(usize, Box<Document>),
}

/// Location of a live document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DocumentRef {
    /// In a segment: index of the segment in the version, and document number.
    InSegment(usize, u32),
    /// Added by this batch: index among its documents.
    Added(usize),
}

impl VersionBuilder {
    /// Starts from a version, with the time of the first request.
    pub(crate) fn new(version: &Version, now: Timestamp) -> Self {
        Self {
            spec: version.spec,
            commit: version.commit,
            segments: version.segments.clone(),
            log: version.log,
            now,
            first_at: now,
            newly_deleted: vec![RoaringBitmap::new(); version.segments.len()],
            newly_deleted_at: vec![None; version.segments.len()],
            added: Vec::new(),
            added_ids: BTreeMap::new(),
            undo_log: UndoLog::default(),
        }
    }

    /// Begins the next request; the changes of earlier ones can no longer be undone.
    pub(crate) fn begin(&mut self) {
        let scratch = std::mem::take(&mut self.undo_log.scratch);
        self.undo_log = UndoLog {
            log: self.log,
            newly_deleted_at: self.newly_deleted_at.clone(),
            added_before: self.added.len(),
            scratch,
            ..UndoLog::default()
        };
    }

    /// Net growth of the namespace by the current request: what it has added minus what it has removed.
    pub(crate) fn growth(&self) -> Amount {
        let UndoLog { added_amount, removed_amount, .. } = &self.undo_log;
        Amount {
            documents: added_amount.documents.saturating_sub(removed_amount.documents),
            bytes: added_amount.bytes.saturating_sub(removed_amount.bytes),
        }
    }

    /// Undoes the current request. If it has changed the spec, the namespace was empty, and the new spec stays.
    pub(crate) fn undo(&mut self) {
        let undo_log = std::mem::take(&mut self.undo_log);
        for doc in self.added.drain(undo_log.added_before..).flatten() {
            self.added_ids.remove(&doc.id);
        }
        for removed in undo_log.removed.into_iter().rev() {
            match removed {
                RemovedDocument::FromSegment(segment, doc) => {
                    self.newly_deleted[segment].remove(doc);
                }
                RemovedDocument::Added(at, doc) if at < undo_log.added_before => {
                    self.added_ids.insert(doc.id.clone(), at);
                    self.added[at] = Some(*doc);
                }
                // It was both added and removed within the request.
                RemovedDocument::Added(..) => {}
            }
        }
        (self.log, self.newly_deleted_at) = (undo_log.log, undo_log.newly_deleted_at);
        self.begin();
    }

    /// Sets the time of the following changes.
    pub(crate) fn set_time(&mut self, now: Timestamp) {
        self.now = now;
        self.first_at = self.first_at.min(now);
    }

    /// Live documents of this id, oldest first.
    pub(crate) fn named(&self, id: &DocumentId) -> Vec<DocumentRef> {
        let in_segment = |(at, (segment, newly_deleted)): (usize, (&LiveSegment, &RoaringBitmap))| {
            let live = segment.named(id).filter(|doc| !newly_deleted.contains(*doc));
            live.map(|doc| (segment.index.id(doc), DocumentRef::InSegment(at, doc))).collect::<Vec<_>>()
        };
        let mut named: Vec<_> =
            self.segments.iter().zip(&self.newly_deleted).enumerate().flat_map(in_segment).collect();
        let added = self.added_ids.range(id.plain()..).take_while(|(key, _)| key.as_str() == id.as_str());
        named.extend(added.map(|(key, at)| (Some(key.clone()), DocumentRef::Added(*at))));
        named.sort_by(|(a, _), (b, _)| a.cmp(b));
        named.into_iter().map(|(_, doc_ref)| doc_ref).collect()
    }

    /// The live document with this key.
    pub(crate) fn find(&self, id: &DocumentId) -> Option<DocumentRef> {
        if let Some(at) = self.added_ids.get(id) {
            return Some(DocumentRef::Added(*at));
        }
        self.segments.iter().zip(&self.newly_deleted).enumerate().rev().find_map(|(at, (segment, newly_deleted))| {
            let doc = segment.find(id).filter(|doc| !newly_deleted.contains(*doc))?;
            Some(DocumentRef::InSegment(at, doc))
        })
    }

    /// A live document, without text and vectors where that saves work.
    pub(crate) fn head(&self, doc_ref: DocumentRef) -> Result<Document, Error> {
        match doc_ref {
            DocumentRef::InSegment(segment, doc) => Ok(self.segments[segment].index.head(doc)?),
            DocumentRef::Added(at) => self.added_document(at).map(Document::without_body),
        }
    }

    /// A live document with text and vectors.
    pub(crate) fn document(&self, doc_ref: DocumentRef) -> Result<Document, Error> {
        match doc_ref {
            DocumentRef::InSegment(segment, doc) => Ok(self.segments[segment].index.document(doc, true)?),
            DocumentRef::Added(at) => self.added_document(at).cloned(),
        }
    }

    fn added_document(&self, at: usize) -> Result<&Document, Error> {
        self.added.get(at).and_then(Option::as_ref).ok_or(Error::Corrupt { what: "batch", at })
    }

    /// Live documents of segment `at`.
    pub(crate) fn live(&self, at: usize) -> RoaringBitmap {
        self.segments[at].live() - &self.newly_deleted[at]
    }

    /// Live documents that this batch has added.
    pub(crate) fn added(&self) -> impl Iterator<Item = (DocumentRef, &Document)> {
        self.added.iter().enumerate().filter_map(|(at, doc)| Some((DocumentRef::Added(at), doc.as_ref()?)))
    }

    /// Adds a document, replacing the one with its key.
    pub(crate) fn put(&mut self, doc: Document) {
        self.remove(&doc.id);
        self.count(&doc);
        self.added_ids.insert(doc.id.clone(), self.added.len());
        self.added.push(Some(doc));
    }

    /// Counts a document as added.
    pub(crate) fn count(&mut self, doc: &Document) {
        let weight = Sizes::of(doc, self.spec.dimensions, &mut self.undo_log.scratch).weight();
        self.undo_log.added_amount.add(Amount { documents: 1, bytes: weight });
    }

    /// Removes a document. Returns whether there was one.
    pub(crate) fn remove(&mut self, id: &DocumentId) -> bool {
        let Some(doc_ref) = self.find(id) else { return false };
        // The log may hold the removed document: it is not known here which of its files are still there.
        let now = Some(self.now);
        self.log.record_deletion(now);
        let bytes = match doc_ref {
            DocumentRef::InSegment(segment, doc) => {
                self.newly_deleted_at[segment] = earlier(self.newly_deleted_at[segment], now);
                self.newly_deleted[segment].insert(doc);
                self.undo_log.removed.push(RemovedDocument::FromSegment(segment, doc));
                self.segments[segment].index.sizes(doc).weight()
            }
            DocumentRef::Added(at) => {
                self.added_ids.remove(id);
                let Some(doc) = self.added[at].take() else { return false };
                let weight = Sizes::of(&doc, self.spec.dimensions, &mut self.undo_log.scratch).weight();
                self.undo_log.removed.push(RemovedDocument::Added(at, Box::new(doc)));
                weight
            }
        };
        self.undo_log.removed_amount.add(Amount { documents: 1, bytes });
        true
    }

    /// Whether no document is live.
    pub(crate) fn is_empty(&self) -> bool {
        self.added_ids.is_empty() && (0..self.segments.len()).all(|at| self.live(at).is_empty())
    }

    /// Sets another spec if no document is live. Returns whether the namespace has this spec now.
    pub(crate) fn set_spec(&mut self, spec: Spec) -> bool {
        if spec == self.spec {
            return true;
        }
        if !self.is_empty() {
            return false;
        }
        // Deleted documents disappear with the next checkpoint, which no longer names their objects.
        let mut log = self.log;
        let tombstoned_at = self
            .segments
            .iter()
            .filter_map(LiveSegment::deleted_since)
            .chain(self.newly_deleted_at.iter().flatten().copied());
        log.record_deletion(tombstoned_at.min());
        *self = Self {
            spec,
            commit: self.commit,
            segments: Vec::new(),
            log,
            now: self.now,
            first_at: self.first_at,
            newly_deleted: Vec::new(),
            newly_deleted_at: Vec::new(),
            added: Vec::new(),
            added_ids: BTreeMap::new(),
            undo_log: UndoLog { log, ..UndoLog::default() },
        };
        true
    }

    /// Builds the resulting version. The added documents become a write buffer, in the order of their ids.
    pub(crate) fn finish(mut self) -> Result<Version, Error> {
        let docs: Vec<Document> = self.added.into_iter().flatten().collect();
        let (mut segments, dropped): (Vec<LiveSegment>, Vec<LiveSegment>) = self
            .segments
            .iter()
            .zip(self.newly_deleted.iter().zip(&self.newly_deleted_at))
            .map(|(segment, (newly_deleted, tombstoned_at))| segment.with_deleted(newly_deleted, *tombstoned_at))
            // An empty segment that is only in memory is dropped here; an empty object is removed by maintenance.
            .partition(|segment| !segment.in_log() || segment.frozen || segment.counts.documents > 0);
        self.log.record_deletion(first_expiry(&dropped));
        if !docs.is_empty() {
            let write_buffer = WriteBuffer::new(&self.spec, docs)?;
            let segment =
                LiveSegment::new(Arc::new(Index::WriteBuffer(write_buffer)), RoaringBitmap::new(), Durability::Log);
            let expires = segment.expires.map(|at| at.max(self.first_at));
            segments.push(segment.expiring(expires));
            join_write_buffers(&self.spec, &mut segments)?;
        }
        Ok(Version { spec: self.spec, commit: self.commit, log: self.log, segments })
    }
}

/// Joins write buffers of similar size, newest first, so that a search never reads many of them. A document is moved
/// once per size class: about log4([`WRITE_BUFFER_ROWS_MAX`]) pointer copies.
fn join_write_buffers(spec: &Spec, segments: &mut Vec<LiveSegment>) -> Result<(), Error> {
    loop {
        let size = |segment: &LiveSegment| match segment.index.write_buffer() {
            Some(write_buffer)
                if segment.in_log() && !segment.frozen && write_buffer.rows() < WRITE_BUFFER_ROWS_MAX =>
            {
                Some(write_buffer.rows().max(1).ilog(JOINED_AT_ONCE))
            }
            _ => None,
        };
        let Some(newest) = segments.last().and_then(size) else { return Ok(()) };
        let joinable =
            segments.iter().rev().take_while(|segment| size(segment).is_some_and(|size| size <= newest)).count();
        if joinable < JOINED_AT_ONCE as usize {
            return Ok(());
        }
        let old = segments.split_off(segments.len() - joinable);
        let write_buffers = old.iter().filter_map(|segment| Some((segment.index.write_buffer()?, &*segment.deleted)));
        let joined = WriteBuffer::joined(spec, write_buffers)?;
        let expires = old.iter().filter_map(|segment| segment.expires).min();
        let segment = LiveSegment::new(Arc::new(Index::WriteBuffer(joined)), RoaringBitmap::new(), Durability::Log);
        segments.push(segment.expiring(expires));
    }
}

/// Write buffers of one size class that are joined into one of the next.
const JOINED_AT_ONCE: u32 = 4;
/// A write buffer with this many rows is no longer joined: it waits to be indexed.
const WRITE_BUFFER_ROWS_MAX: u32 = 1_024;
