//! A namespace at one commit: an immutable list of live segments.
//!
//! Guarantees at most one live document per key over all segments; documents of the same id have different keys (ADR
//! 28).

use crate::{
    Error, Totals,
    state::{
        index::Index,
        live_segment::{Durability, LiveSegment},
        tombstones::{LogTombstones, earlier},
    },
};
use journal::ObjectRef;
use kernel::{Audience, CommitNo, Document, DocumentId, Timestamp};
use roaring::RoaringBitmap;
use segment::{Extent, Spec};
use std::sync::Arc;

/// A version of a namespace; see the module documentation. Sealed segments come first, then those in memory, each
/// oldest first.
#[derive(Clone)]
pub(crate) struct Version {
    pub(crate) spec: Spec,
    pub(crate) commit: CommitNo,
    pub(crate) log: LogTombstones,
    pub(crate) segments: Vec<LiveSegment>,
}

impl Version {
    /// The version of a namespace that was never written.
    pub(crate) fn empty(spec: Spec) -> Self {
        Self { spec, commit: CommitNo(0), log: LogTombstones::default(), segments: Vec::new() }
    }

    /// Segment index and document number of each live document of this id, oldest first.
    pub(crate) fn named(&self, id: &DocumentId) -> Vec<(usize, u32)> {
        let in_segment =
            |(at, segment): (usize, &LiveSegment)| segment.named(id).map(move |doc| (at, doc)).collect::<Vec<_>>();
        let mut named: Vec<_> = self.segments.iter().enumerate().flat_map(in_segment).collect();
        if named.len() > 1 {
            named.sort_by_cached_key(|(at, doc)| self.segments[*at].index.id(*doc));
        }
        named
    }

    /// Heads of the live documents of this id that an audience can see now, oldest first.
    ///
    /// # Errors
    /// Fails if a document cannot be read.
    pub(crate) fn visible_documents(
        &self,
        id: &DocumentId,
        audience: &Audience,
        now: Timestamp,
    ) -> Result<Vec<(usize, u32, Document)>, Error> {
        let mut visible = Vec::new();
        for (segment, doc) in self.named(id) {
            let head = self.segments[segment].index.head(doc)?;
            if !expired(&head, now) && audience.may_see(head.readers.as_deref()) {
                visible.push((segment, doc, head));
            }
        }
        Ok(visible)
    }

    /// Whether no read of this version waits for a disk or a bucket.
    pub(crate) fn is_resident(&self) -> bool {
        self.segments.iter().all(|segment| segment.index.is_resident())
    }

    /// Upper bound of what reading from this version costs; O(segments).
    pub(crate) fn extent(&self) -> Extent {
        let mut extent = Extent::default();
        self.segments.iter().for_each(|segment| extent += segment.index.extent());
        extent
    }

    /// Exact totals; O(segments).
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals { commit: self.commit, ..Totals::default() };
        self.segments.iter().for_each(|segment| totals.add(segment.counts));
        totals
    }

    /// Exact totals of what an audience can see now; the commit is the namespace's.
    ///
    /// # Errors
    /// Fails if an index cannot be read.
    pub(crate) fn totals_for(&self, audience: &Audience, now: Timestamp) -> Result<Totals, Error> {
        let mut totals = Totals { commit: self.commit, ..Totals::default() };
        for segment in &self.segments {
            totals.add(segment.counts_for(audience, now)?);
        }
        Ok(totals)
    }

    /// Estimated heap size in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.index.resident() + segment.deleted.serialized_size() as u64).sum()
    }

    /// Segments whose documents are only in the log.
    pub(crate) fn memtable(&self) -> Vec<LiveSegment> {
        self.segments.iter().filter(|segment| segment.in_log()).cloned().collect()
    }

    /// Segments that the checkpoint contains, as objects or inline.
    pub(crate) fn checkpointed(&self) -> Vec<LiveSegment> {
        self.segments.iter().filter(|segment| !segment.in_log()).cloned().collect()
    }

    /// Rows and bytes that are only in the log.
    pub(crate) fn memtable_size(&self) -> (u64, u64) {
        let memory = self.segments.iter().filter(|segment| segment.in_log());
        memory.fold((0, 0), |(rows, bytes), segment| {
            (rows + u64::from(segment.index.rows()), bytes + segment.index.bytes())
        })
    }

    /// Rows that are in no index and that no task is indexing: the first search would have to index them.
    pub(crate) fn unindexed_rows(&self) -> u64 {
        let write_buffers =
            self.segments.iter().filter(|segment| !segment.frozen).filter_map(|segment| segment.index.write_buffer());
        write_buffers
            .filter(|write_buffer| !write_buffer.is_indexed())
            .map(|write_buffer| u64::from(write_buffer.rows()))
            .sum()
    }

    /// Since when, or from when on, the log, including the checkpoints in it, holds such a document.
    pub(crate) fn log_deleted_since(&self) -> Option<Timestamp> {
        let inline = self.segments.iter().filter(|segment| !segment.in_log() && segment.object().is_none());
        let written = self.segments.iter().filter(|segment| segment.in_log()).filter_map(|segment| segment.expires);
        inline.filter_map(LiveSegment::deleted_since).chain(written).chain(self.log.earliest()).min()
    }

    /// Since when, or from when on, any file of the namespace holds such a document.
    pub(crate) fn deleted_since(&self) -> Option<Timestamp> {
        let objects = self.segments.iter().filter(|segment| segment.object().is_some());
        objects.filter_map(LiveSegment::deleted_since).chain(self.log_deleted_since()).min()
    }

    /// Live rows of segments that should have a graph and have none.
    pub(crate) fn graphless_rows(&self) -> u64 {
        self.segments.iter().filter(|segment| segment.wants_graph()).map(|segment| segment.counts.passages).sum()
    }

    /// The objects of its segments.
    pub(crate) fn objects(&self) -> Vec<ObjectRef> {
        self.segments.iter().filter_map(|segment| segment.object().cloned()).collect()
    }

    /// Number of deleted documents that are still in an index, and number of all documents.
    pub(crate) fn tombstones(&self) -> (u64, u64) {
        let one = |segment: &LiveSegment| (segment.deleted.len(), u64::from(segment.index.documents()));
        self.segments.iter().map(one).fold((0, 0), |(deleted, all), (d, a)| (deleted + d, all + a))
    }

    /// This version with one segment read from another object that holds the same documents in the same order. `None`
    /// if `old` is no longer part of this version.
    pub(crate) fn with_rewritten(&self, old: &LiveSegment, index: &Arc<Index>, object: &ObjectRef) -> Option<Version> {
        let at = self.segments.iter().position(|segment| segment.is(old))?;
        let mut segments = self.segments.clone();
        let current = &segments[at];
        let (deleted, tombstoned_at) = ((*current.deleted).clone(), current.tombstoned_at);
        segments[at] = LiveSegment::new(index.clone(), deleted, Durability::Object(object.clone()))
            .with_tombstoned_at(tombstoned_at);
        Some(Version { segments, ..self.clone() })
    }

    /// This version with `fresh` in place of `old`. `fresh` was built from the documents of `old` that were live at
    /// `as_of`; documents deleted since then are deleted in `fresh` too. `None` if a segment of `old` is no longer part
    /// of this version.
    ///
    /// # Errors
    /// Fails if a deleted document has no id.
    pub(crate) fn replaced(
        &self,
        old: &[LiveSegment],
        fresh: Option<(Arc<Index>, Durability)>,
        as_of: Timestamp,
    ) -> Result<Option<Version>, Error> {
        let (mut newly_deleted, mut tombstoned_at) = (RoaringBitmap::new(), None);
        for before in old {
            let Some(now) = self.segments.iter().find(|segment| segment.is(before)) else { return Ok(None) };
            let Some((index, _)) = &fresh else { continue };
            for doc in &*now.deleted - &*before.deleted {
                let id = before.index.id_of(doc)?;
                newly_deleted.extend(index.find(&id));
                // Documents deleted before `as_of` were not carried over.
                tombstoned_at = earlier(tombstoned_at, now.tombstoned_at.map(|tombstoned_at| tombstoned_at.max(as_of)));
            }
        }
        // Keep the other segments, sealed ones first.
        let (mut sealed, mut memory): (Vec<_>, Vec<_>) = self
            .segments
            .iter()
            .filter(|segment| !old.iter().any(|o| o.is(segment)))
            .cloned()
            .partition(|segment| !segment.in_log());
        if let Some((index, durability)) = fresh {
            let segment = LiveSegment::new(index, newly_deleted, durability).with_tombstoned_at(tombstoned_at);
            // Expired documents that were left out of memory are still in the log.
            let segment = if segment.in_log() { segment.expiring(first_expiry(old)) } else { segment };
            // A fresh segment in memory is placed before later ones, so that the newest stays last.
            if segment.in_log() { memory.insert(0, segment) } else { sealed.push(segment) }
        }
        sealed.append(&mut memory);
        Ok(Some(Version { spec: self.spec, commit: self.commit, log: self.log, segments: sealed }))
    }
}

/// Time at which the first document of these segments that is in the log expires, or did.
pub(crate) fn first_expiry(segments: &[LiveSegment]) -> Option<Timestamp> {
    segments.iter().filter(|segment| segment.in_log()).filter_map(|segment| segment.expires).min()
}

/// The version with these segments marked as frozen or not.
pub(crate) fn with_frozen(version: &Version, which: &[LiveSegment], frozen: bool) -> Version {
    let mut version = version.clone();
    for segment in version.segments.iter_mut().filter(|segment| which.iter().any(|w| w.is(segment))) {
        segment.frozen = frozen;
    }
    version
}

/// Whether a document has expired and is no longer in any answer, by the same rule as the segments' own bitmap.
pub(crate) fn expired(doc: &Document, now: Timestamp) -> bool {
    doc.expires_at.is_some_and(|at| at <= now)
}
