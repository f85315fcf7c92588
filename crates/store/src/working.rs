//! The next version of a namespace while it is built: a view, what a batch deletes from it, and what it adds.
//!
//! Used by the writer for a batch of requests and by recovery for the log's tail, so that both
//! come to the same namespace. Promises at most one living document a key.

use crate::{
    Error,
    age::{LogDeaths, earlier},
    index::Index,
    part::{Durable, Part},
    tenant_counter::Amount,
    view::{View, first_expiry},
};
use kernel::{CommitNo, Document, DocumentId, Timestamp};
use roaring::RoaringBitmap;
use segment::{Spec, Tail, codec::Sizes};
use std::{collections::BTreeMap, sync::Arc};
use zeroize::Zeroizing;

/// See the module.
pub(crate) struct Working {
    pub(crate) spec: Spec,
    pub(crate) commit: CommitNo,
    pub(crate) parts: Vec<Part>,
    log: LogDeaths,
    /// The time of the present request.
    now: Timestamp,
    /// The time of the batch's first request.
    from: Timestamp,
    killed: Vec<RoaringBitmap>,
    killed_since: Vec<Option<Timestamp>>,
    staged: Vec<Option<Document>>,
    index: BTreeMap<DocumentId, usize>,
    /// What is needed to undo the present request.
    request: Request,
}

/// What one request of the batch has done so far, and how to undo it.
#[derive(Default)]
struct Request {
    log: LogDeaths,
    killed_since: Vec<Option<Timestamp>>,
    /// Number of documents that were staged before it.
    staged: usize,
    removed: Vec<Removed>,
    added: Amount,
    gone: Amount,
    /// For encodings that are only measured.
    scratch: Zeroizing<Vec<u8>>,
}

/// A document that the request removed.
enum Removed {
    Part(usize, u32),
    Staged(usize, Box<Document>),
}

/// Where a living document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spot {
    /// In a part: its place in the list, and its document number.
    Part(usize, u32),
    /// Written by this batch.
    Staged(usize),
}

impl Working {
    /// Starts from a view, at this moment.
    pub(crate) fn new(view: &View, now: Timestamp) -> Self {
        Self {
            spec: view.spec,
            commit: view.commit,
            parts: view.parts.clone(),
            log: view.log,
            now,
            from: now,
            killed: vec![RoaringBitmap::new(); view.parts.len()],
            killed_since: vec![None; view.parts.len()],
            staged: Vec::new(),
            index: BTreeMap::new(),
            request: Request::default(),
        }
    }

    /// Begins the next request: what was done so far stays.
    pub(crate) fn begin(&mut self) {
        let scratch = std::mem::take(&mut self.request.scratch);
        self.request = Request {
            log: self.log,
            killed_since: self.killed_since.clone(),
            staged: self.staged.len(),
            scratch,
            ..Request::default()
        };
    }

    /// By how much the request makes the namespace grow: what it has added less what it has removed.
    pub(crate) fn growth(&self) -> Amount {
        let Request { added, gone, .. } = &self.request;
        Amount {
            documents: added.documents.saturating_sub(gone.documents),
            bytes: added.bytes.saturating_sub(gone.bytes),
        }
    }

    /// Undoes the request. A namespace whose dimensions it has set was empty, and keeps them.
    pub(crate) fn take_back(&mut self) {
        let request = std::mem::take(&mut self.request);
        for doc in self.staged.drain(request.staged..).flatten() {
            self.index.remove(&doc.id);
        }
        for removed in request.removed.into_iter().rev() {
            match removed {
                Removed::Part(part, doc) => {
                    self.killed[part].remove(doc);
                }
                Removed::Staged(at, doc) if at < request.staged => {
                    self.index.insert(doc.id.clone(), at);
                    self.staged[at] = Some(*doc);
                }
                // It was added and removed within the request.
                Removed::Staged(..) => {}
            }
        }
        (self.log, self.killed_since) = (request.log, request.killed_since);
        self.begin();
    }

    /// Sets the time of what comes next.
    pub(crate) fn at(&mut self, now: Timestamp) {
        self.now = now;
        self.from = self.from.min(now);
    }

    /// The living documents of this id, the oldest first.
    pub(crate) fn named(&self, id: &DocumentId) -> Vec<Spot> {
        let in_part = |(at, (part, killed)): (usize, (&Part, &RoaringBitmap))| {
            let live = part.named(id).filter(|doc| !killed.contains(*doc));
            live.map(|doc| (part.index.id(doc), Spot::Part(at, doc))).collect::<Vec<_>>()
        };
        let mut named: Vec<_> = self.parts.iter().zip(&self.killed).enumerate().flat_map(in_part).collect();
        let staged = self.index.range(id.plain()..).take_while(|(key, _)| key.as_str() == id.as_str());
        named.extend(staged.map(|(key, at)| (Some(key.clone()), Spot::Staged(*at))));
        named.sort_by(|(a, _), (b, _)| a.cmp(b));
        named.into_iter().map(|(_, spot)| spot).collect()
    }

    /// The living document with this key.
    pub(crate) fn find(&self, id: &DocumentId) -> Option<Spot> {
        if let Some(at) = self.index.get(id) {
            return Some(Spot::Staged(*at));
        }
        self.parts.iter().zip(&self.killed).enumerate().rev().find_map(|(at, (part, killed))| {
            let doc = part.find(id).filter(|doc| !killed.contains(*doc))?;
            Some(Spot::Part(at, doc))
        })
    }

    /// A living document, without text and vectors where that spares work.
    pub(crate) fn head(&self, spot: Spot) -> Result<Document, Error> {
        match spot {
            Spot::Part(part, doc) => Ok(self.parts[part].index.head(doc)?),
            Spot::Staged(at) => self.staged_at(at).cloned(),
        }
    }

    /// A living document with everything.
    pub(crate) fn document(&self, spot: Spot) -> Result<Document, Error> {
        match spot {
            Spot::Part(part, doc) => Ok(self.parts[part].index.document(doc, true)?),
            Spot::Staged(at) => self.staged_at(at).cloned(),
        }
    }

    fn staged_at(&self, at: usize) -> Result<&Document, Error> {
        self.staged.get(at).and_then(Option::as_ref).ok_or(Error::Corrupt { what: "batch", at })
    }

    /// Living documents of part `at`.
    pub(crate) fn live(&self, at: usize) -> RoaringBitmap {
        self.parts[at].live() - &self.killed[at]
    }

    /// Living documents of this batch.
    pub(crate) fn staged(&self) -> impl Iterator<Item = (Spot, &Document)> {
        self.staged.iter().enumerate().filter_map(|(at, doc)| Some((Spot::Staged(at), doc.as_ref()?)))
    }

    /// Puts a document in the place of the one with its key.
    pub(crate) fn put(&mut self, doc: Document) {
        self.remove(&doc.id);
        let weight = Sizes::of(&doc, self.spec.dimensions, &mut self.request.scratch).weight();
        self.request.added.add(Amount { documents: 1, bytes: weight });
        self.index.insert(doc.id.clone(), self.staged.len());
        self.staged.push(Some(doc));
    }

    /// Removes a document; says whether there was one.
    pub(crate) fn remove(&mut self, id: &DocumentId) -> bool {
        let Some(spot) = self.find(id) else { return false };
        // The log holds what died, or may: it is not known here which of its files are still there.
        let now = Some(self.now);
        self.log.died(now);
        let bytes = match spot {
            Spot::Part(part, doc) => {
                self.killed_since[part] = earlier(self.killed_since[part], now);
                self.killed[part].insert(doc);
                self.request.removed.push(Removed::Part(part, doc));
                self.parts[part].index.sizes(doc).weight()
            }
            Spot::Staged(at) => {
                self.index.remove(id);
                let Some(doc) = self.staged[at].take() else { return false };
                let weight = Sizes::of(&doc, self.spec.dimensions, &mut self.request.scratch).weight();
                self.request.removed.push(Removed::Staged(at, Box::new(doc)));
                weight
            }
        };
        self.request.gone.add(Amount { documents: 1, bytes });
        true
    }

    /// Whether nothing lives here.
    pub(crate) fn is_empty(&self) -> bool {
        self.index.is_empty() && (0..self.parts.len()).all(|at| self.live(at).is_empty())
    }

    /// Sets other dimensions, if no document lives; says whether it did.
    pub(crate) fn respec(&mut self, spec: Spec) -> bool {
        if spec == self.spec {
            return true;
        }
        if !self.is_empty() {
            return false;
        }
        // Earlier deletions leave with the next checkpoint, which no longer names their objects.
        let mut log = self.log;
        let since = self.parts.iter().filter_map(Part::dead_from).chain(self.killed_since.iter().flatten().copied());
        log.died(since.min());
        *self = Self {
            spec,
            commit: self.commit,
            parts: Vec::new(),
            log,
            now: self.now,
            from: self.from,
            killed: Vec::new(),
            killed_since: Vec::new(),
            staged: Vec::new(),
            index: BTreeMap::new(),
            request: Request { log, ..Request::default() },
        };
        true
    }

    /// The resulting view. What was staged becomes a tail, in the order of ids.
    pub(crate) fn finish(mut self) -> Result<View, Error> {
        let docs: Vec<Document> = self.staged.into_iter().flatten().collect();
        let (mut parts, left): (Vec<Part>, Vec<Part>) = self
            .parts
            .iter()
            .zip(self.killed.iter().zip(&self.killed_since))
            .map(|(part, (killed, since))| part.with_deaths(killed, *since))
            // A deleted document that is only in memory does no harm; a dead object is removed by maintenance.
            .partition(|part| !part.in_log() || part.frozen || part.counts.documents > 0);
        self.log.died(first_expiry(&left));
        if !docs.is_empty() {
            let tail = Tail::new(&self.spec, docs)?;
            let part = Part::new(Arc::new(Index::Tail(tail)), RoaringBitmap::new(), Durable::Log);
            let expires = part.expires.map(|at| at.max(self.from));
            parts.push(part.expiring(expires));
            join_tails(&self.spec, &mut parts)?;
        }
        Ok(View { spec: self.spec, commit: self.commit, log: self.log, parts })
    }
}

/// Joins tails of one size, newest first, so that a search never looks into many. A document moves
/// once a size: about log4 of [`TAIL_ROWS_MAX`] pointers.
fn join_tails(spec: &Spec, parts: &mut Vec<Part>) -> Result<(), Error> {
    loop {
        let size = |part: &Part| match part.index.tail() {
            Some(tail) if part.in_log() && !part.frozen && tail.rows() < TAIL_ROWS_MAX => {
                Some(tail.rows().max(1).ilog(JOINED_AT_ONCE))
            }
            _ => None,
        };
        let Some(newest) = parts.last().and_then(size) else { return Ok(()) };
        let alike = parts.iter().rev().take_while(|part| size(part).is_some_and(|size| size <= newest)).count();
        if alike < JOINED_AT_ONCE as usize {
            return Ok(());
        }
        let old = parts.split_off(parts.len() - alike);
        let tails = old.iter().filter_map(|part| Some((part.index.tail()?, &*part.dead)));
        let joined = Tail::joined(spec, tails)?;
        let expires = old.iter().filter_map(|part| part.expires).min();
        let part = Part::new(Arc::new(Index::Tail(joined)), RoaringBitmap::new(), Durable::Log);
        parts.push(part.expiring(expires));
    }
}

/// Tails of one size that become one of the next.
const JOINED_AT_ONCE: u32 = 4;
/// A tail of this many rows grows no more: it waits to be indexed.
const TAIL_ROWS_MAX: u32 = 1_024;
