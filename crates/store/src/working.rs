//! The next view while it is being made: a view, what a batch kills of it, and what it adds.
//!
//! Used by the writer for a batch of requests and by recovery for the log's tail, so that both
//! come to the same namespace. Promises at most one living document an id.

use crate::{Error, part::Part, view::View};
use kernel::{CommitNo, Document, DocumentId};
use roaring::RoaringBitmap;
use segment::{Segment, Spec};
use std::{collections::HashMap, sync::Arc};

/// See the module.
pub(crate) struct Working {
    pub(crate) spec: Spec,
    pub(crate) commit: CommitNo,
    pub(crate) parts: Vec<Part>,
    killed: Vec<RoaringBitmap>,
    staged: Vec<Option<Document>>,
    index: HashMap<DocumentId, usize>,
}

/// Where a living document stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spot {
    /// In a part: its place in the list, and its document number.
    Part(usize, u32),
    /// Written by this very batch.
    Staged(usize),
}

impl Working {
    /// Starts from a view.
    pub(crate) fn new(view: &View) -> Self {
        Self {
            spec: view.spec,
            commit: view.commit,
            parts: view.parts.clone(),
            killed: vec![RoaringBitmap::new(); view.parts.len()],
            staged: Vec::new(),
            index: HashMap::new(),
        }
    }

    /// The living document of this id.
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
            Spot::Part(part, doc) => Ok(self.parts[part].segment.head(doc)?),
            Spot::Staged(at) => self.staged_at(at).cloned(),
        }
    }

    /// A living document with everything.
    pub(crate) fn document(&self, spot: Spot) -> Result<Document, Error> {
        match spot {
            Spot::Part(part, doc) => Ok(self.parts[part].segment.document(doc, true)?),
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

    /// Puts a document in the place of the one with its id.
    pub(crate) fn put(&mut self, doc: Document) {
        self.remove(&doc.id);
        self.index.insert(doc.id.clone(), self.staged.len());
        self.staged.push(Some(doc));
    }

    /// Takes a document away; whether there was one.
    pub(crate) fn remove(&mut self, id: &DocumentId) -> bool {
        match self.find(id) {
            Some(Spot::Part(part, doc)) => self.killed[part].insert(doc),
            Some(Spot::Staged(at)) => {
                self.index.remove(id);
                self.staged[at].take().is_some()
            }
            None => false,
        }
    }

    /// Whether nothing lives here.
    pub(crate) fn is_empty(&self) -> bool {
        self.index.is_empty() && (0..self.parts.len()).all(|at| self.live(at).is_empty())
    }

    /// Vectors of another kind from now on. Only where nothing lives; whether that was so.
    pub(crate) fn respec(&mut self, spec: Spec) -> bool {
        if spec == self.spec {
            return true;
        }
        if !self.is_empty() {
            return false;
        }
        *self = Self {
            spec,
            commit: self.commit,
            parts: Vec::new(),
            killed: Vec::new(),
            staged: Vec::new(),
            index: HashMap::new(),
        };
        true
    }

    /// The view that this has become. What was staged is one more segment, in the order of ids.
    pub(crate) fn finish(self) -> Result<View, Error> {
        let mut docs: Vec<Document> = self.staged.into_iter().flatten().collect();
        // Every segment is in the order of ids: ties of a ranking break by row, and lists merge.
        docs.sort_by(|a, b| a.id.cmp(&b.id));
        let mut parts: Vec<Part> = self
            .parts
            .iter()
            .zip(&self.killed)
            .map(|(part, killed)| part.with_deaths(killed))
            // What is dead and only in memory is in nobody's way; a dead object leaves with upkeep.
            .filter(|part| part.object.is_some() || part.frozen || part.counts.documents > 0)
            .collect();
        if !docs.is_empty() {
            let segment = Segment::in_memory(&self.spec, docs)?;
            parts.push(Part::new(Arc::new(segment), RoaringBitmap::new(), None));
        }
        Ok(View { spec: self.spec, commit: self.commit, parts })
    }
}
