//! A namespace at one commit: parts, none of which changes any more.
//!
//! Promises at most one living document a key over all parts; documents of one id have different keys (ADR 28).

use crate::{
    Error, Totals,
    age::{LogDeaths, earlier},
    index::Index,
    part::{Durable, Part},
    plan::expired,
};
use journal::ObjectRef;
use kernel::{Audience, CommitNo, Document, DocumentId, Timestamp};
use roaring::RoaringBitmap;
use segment::{Extent, Spec};
use std::sync::Arc;

/// See the module. Sealed parts first, then those in memory, oldest first.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) spec: Spec,
    pub(crate) commit: CommitNo,
    pub(crate) log: LogDeaths,
    pub(crate) parts: Vec<Part>,
}

impl View {
    /// A namespace that was never written.
    pub(crate) fn empty(spec: Spec) -> Self {
        Self { spec, commit: CommitNo(0), log: LogDeaths::default(), parts: Vec::new() }
    }

    /// Part and number of each living document of this id, the oldest first.
    pub(crate) fn named(&self, id: &DocumentId) -> Vec<(usize, u32)> {
        let in_part = |(at, part): (usize, &Part)| part.named(id).map(move |doc| (at, doc)).collect::<Vec<_>>();
        let mut named: Vec<_> = self.parts.iter().enumerate().flat_map(in_part).collect();
        if named.len() > 1 {
            named.sort_by_cached_key(|(at, doc)| self.parts[*at].index.id(*doc));
        }
        named
    }

    /// Heads of the living documents of this id that an audience sees now, the oldest first.
    ///
    /// # Errors
    /// When one does not read.
    pub(crate) fn seen(
        &self,
        id: &DocumentId,
        audience: &Audience,
        now: Timestamp,
    ) -> Result<Vec<(usize, u32, Document)>, Error> {
        let mut seen = Vec::new();
        for (part, doc) in self.named(id) {
            let head = self.parts[part].index.head(doc)?;
            if !expired(&head, now) && audience.may_see(head.readers.as_deref()) {
                seen.push((part, doc, head));
            }
        }
        Ok(seen)
    }

    /// Whether nothing that is asked of it waits for a disk or a bucket.
    pub(crate) fn is_resident(&self) -> bool {
        self.parts.iter().all(|part| part.index.is_resident())
    }

    /// What reading in it may cost; O(parts).
    pub(crate) fn extent(&self) -> Extent {
        let mut extent = Extent::default();
        self.parts.iter().for_each(|part| extent += part.index.extent());
        extent
    }

    /// Exact totals; O(parts).
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals { commit: self.commit, ..Totals::default() };
        self.parts.iter().for_each(|part| totals.add(part.counts));
        totals
    }

    /// Exact totals of what an audience sees now; the commit is the namespace's.
    ///
    /// # Errors
    /// When an index does not read.
    pub(crate) fn totals_for(&self, audience: &Audience, now: Timestamp) -> Result<Totals, Error> {
        let mut totals = Totals { commit: self.commit, ..Totals::default() };
        for part in &self.parts {
            totals.add(part.counts_for(audience, now)?);
        }
        Ok(totals)
    }

    /// Heap estimate, bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.index.resident() + part.dead.serialized_size() as u64).sum()
    }

    /// Parts whose documents are in the log only.
    pub(crate) fn memtable(&self) -> Vec<Part> {
        self.parts.iter().filter(|part| part.in_log()).cloned().collect()
    }

    /// Parts that the checkpoint has, as objects or inline.
    pub(crate) fn sealed(&self) -> Vec<Part> {
        self.parts.iter().filter(|part| !part.in_log()).cloned().collect()
    }

    /// Rows and bytes that are in the log only.
    pub(crate) fn memtable_size(&self) -> (u64, u64) {
        let memory = self.parts.iter().filter(|part| part.in_log());
        memory.fold((0, 0), |(rows, bytes), part| (rows + u64::from(part.index.rows()), bytes + part.index.bytes()))
    }

    /// Rows that no index holds yet and none is being built for: the first search would have to index them.
    pub(crate) fn unindexed_rows(&self) -> u64 {
        let tails = self.parts.iter().filter(|part| !part.frozen).filter_map(|part| part.index.tail());
        tails.filter(|tail| !tail.is_indexed()).map(|tail| u64::from(tail.rows())).sum()
    }

    /// Living rows of parts that want a graph.
    pub(crate) fn graphless_rows(&self) -> u64 {
        self.parts.iter().filter(|part| part.wants_graph()).map(|part| part.counts.passages).sum()
    }

    /// The objects it stands on.
    pub(crate) fn objects(&self) -> Vec<ObjectRef> {
        self.parts.iter().filter_map(|part| part.object().cloned()).collect()
    }

    /// Documents that are dead and still in an index, and all that are.
    pub(crate) fn tombstones(&self) -> (u64, u64) {
        let one = |part: &Part| (part.dead.len(), u64::from(part.index.documents()));
        self.parts.iter().map(one).fold((0, 0), |(dead, all), (d, a)| (dead + d, all + a))
    }

    /// This view with the same documents in the same order read from another object. `None` when `old` is here no
    /// longer.
    pub(crate) fn resealed(&self, old: &Part, index: &Arc<Index>, object: &ObjectRef) -> Option<View> {
        let at = self.parts.iter().position(|part| part.is(old))?;
        let mut parts = self.parts.clone();
        let before = &parts[at];
        let (dead, since) = ((*before.dead).clone(), before.since);
        parts[at] = Part::new(index.clone(), dead, Durable::Object(object.clone())).dead_since(since);
        Some(View { parts, ..self.clone() })
    }

    /// This view with `fresh` in the place of `old`, whose living documents it was built from at `seen`.
    /// What died since then is dead in `fresh` too. `None` when a part of `old` is here no longer.
    ///
    /// # Errors
    /// When a dead document has no id.
    pub(crate) fn replaced(
        &self,
        old: &[Part],
        fresh: Option<(Arc<Index>, Durable)>,
        seen: Timestamp,
    ) -> Result<Option<View>, Error> {
        let (mut killed, mut since) = (RoaringBitmap::new(), None);
        for before in old {
            let Some(now) = self.parts.iter().find(|part| part.is(before)) else { return Ok(None) };
            let Some((index, _)) = &fresh else { continue };
            for doc in &*now.dead - &*before.dead {
                let id = before.index.id_of(doc)?;
                killed.extend(index.find(&id));
                // Earlier ones were not carried over.
                since = earlier(since, now.since.map(|since| since.max(seen)));
            }
        }
        let (mut sealed, mut memory): (Vec<_>, Vec<_>) =
            self.parts.iter().filter(|part| !old.iter().any(|o| o.is(part))).cloned().partition(|part| !part.in_log());
        if let Some((index, durable)) = fresh {
            let part = Part::new(index, killed, durable).dead_since(since);
            // What was left out of memory because it had expired is in the log all the same.
            let part = if part.in_log() { part.expiring(first_expiry(old)) } else { part };
            // Fresh memory stands before what came later, so that the newest stays last.
            if part.in_log() { memory.insert(0, part) } else { sealed.push(part) }
        }
        sealed.append(&mut memory);
        Ok(Some(View { spec: self.spec, commit: self.commit, log: self.log, parts: sealed }))
    }
}

/// When the first document of these that is in the log expires, or has.
pub(crate) fn first_expiry(parts: &[Part]) -> Option<Timestamp> {
    parts.iter().filter(|part| part.in_log()).filter_map(|part| part.expires).min()
}
