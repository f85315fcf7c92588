//! Decides what one request changes in a namespace, under the publish lock.
//!
//! A request that ends with an error changes nothing: its changes are undone ([`VersionBuilder::undo`]).
//! [`PlanError::Reject`] is the caller's error; any other error is fatal and ends the whole batch.

use crate::{
    Decision, Error, OnConflict, Reviewed, ReviewedState, Selection, Upsert, UpsertResult, UpsertStatus, WriteOutcome,
    state::{log_entry::Changes, version::expired, visibility::visible},
    write::version_builder::{DocumentRef, VersionBuilder},
};
use intake::ScreenedPatch;
use kernel::{
    Audience, CommitNo, CompiledFilter, Document, DocumentId, DocumentView, Filter, Interrupt, Retention, Status,
    Timestamp, WritePermit, checkpoint, limits,
};
use segment::Spec;
use std::collections::{HashMap, HashSet};

/// A request without its audit record: the action, and the audience on whose behalf it acts. An audience is required,
/// so that no write shows or changes a document that its caller cannot see.
pub(crate) struct WriteOp {
    pub(crate) audience: Audience,
    pub(crate) action: WriteAction,
}

/// Action of a request.
pub(crate) enum WriteAction {
    /// Stores documents.
    Append(Vec<Upsert>, Spec),
    /// Deletes documents.
    Delete(Selection),
    /// Changes documents.
    Patch(Selection, Box<ScreenedPatch>),
    /// Releases or rejects quarantined documents.
    Decide(Vec<Reviewed>, Decision),
    /// Shortens the life of documents to the namespace's retention.
    Shorten,
}

/// A commit that is being planned.
pub(crate) struct CommitPlanner<'a> {
    pub(crate) builder: &'a mut VersionBuilder,
    /// Audience of the request.
    pub(crate) audience: Audience,
    /// Retention of the namespace at this moment.
    pub(crate) retention: Retention,
    pub(crate) changes: Changes,
    pub(crate) commit: CommitNo,
    pub(crate) now: Timestamp,
    pub(crate) outcome: WriteOutcome,
    /// Number of documents of this commit that got a disambiguated key.
    pub(crate) disambiguated: u32,
    /// Ends the evaluation of a filter when the client has disconnected, or when it takes so long that it delays the
    /// namespace's other writes.
    pub(crate) interrupt: Interrupt,
    /// Permit for the memory that the write uses.
    pub(crate) permit: Option<Box<dyn WritePermit>>,
    /// Live documents under the ids that this request has written to. Each id is looked up once, however often the
    /// request names it.
    pub(crate) looked_up: HashMap<DocumentId, IdLookup>,
}

/// Live documents under one id, as an upsert needs them.
#[derive(Default)]
pub(crate) struct IdLookup {
    /// Heads of the documents that the audience can see, oldest first.
    visible: Vec<Document>,
    /// Content hashes of the documents that it cannot see.
    hidden: HashSet<[u8; 32]>,
}

impl IdLookup {
    fn add(&mut self, head: Document, is_visible: bool) {
        if is_visible {
            self.visible.push(head);
        } else {
            self.hidden.insert(head.content_hash);
        }
    }
}

/// Error of one request or of the whole batch.
pub(crate) enum PlanError {
    /// The caller's error; nothing was changed.
    Reject(Error),
    /// Bytes that cannot be read, or an index that cannot be built; ends the batch.
    Fatal(Error),
}

impl PlanError {
    /// Error of a read of what the namespace stores, which concerns every request of the batch. An interruption is one
    /// request's: selections end before anything is changed.
    fn of_read(error: impl Into<Error>) -> Self {
        let error = error.into();
        if error.is_interrupted() { PlanError::Reject(error) } else { PlanError::Fatal(error) }
    }
}

impl CommitPlanner<'_> {
    /// Carries out the request.
    pub(crate) fn run(&mut self, action: WriteAction) -> Result<(), PlanError> {
        match action {
            WriteAction::Append(docs, spec) => self.append(docs, spec),
            WriteAction::Delete(which) => self.delete(&which),
            WriteAction::Patch(which, patch) => self.patch(&which, &patch),
            WriteAction::Decide(reviewed, decision) => self.decide(reviewed, decision),
            WriteAction::Shorten => self.shorten(),
        }
    }

    fn append(&mut self, upserts: Vec<Upsert>, spec: Spec) -> Result<(), PlanError> {
        // Settings read before a concurrent request stored the first document may be outdated; then the namespace's own
        // spec applies.
        self.builder.set_spec(spec);
        let mut docs = Vec::with_capacity(upserts.len());
        for (at, upsert) in upserts.into_iter().enumerate() {
            let doc = upsert.admitted.into_document(self.now, self.now, self.commit);
            let expected = doc.passages.len() * self.builder.spec.dimensions;
            if !doc.vectors.is_empty() && doc.vectors.len() != expected {
                return Err(PlanError::Reject(Error::Dimensions { document: at, expected, found: doc.vectors.len() }));
            }
            // A document that cannot be indexed must never reach the log.
            segment::check(&self.builder.spec, &doc).map_err(|error| PlanError::Reject(error.into()))?;
            docs.push((doc, upsert.on_conflict));
        }
        for (doc, on_conflict) in docs {
            let result = self.upsert(doc, on_conflict)?;
            self.outcome.results.push(result);
        }
        Ok(())
    }

    /// Replaces the documents under the id that the audience can see. Documents that it cannot see stay as they are:
    /// for this audience the id is free, and the new document gets a disambiguated key.
    fn upsert(&mut self, mut doc: Document, on_conflict: OnConflict) -> Result<UpsertResult, PlanError> {
        let id = doc.id.clone();
        if !self.looked_up.contains_key(&id) {
            let mut found = IdLookup::default();
            for (_, head) in self.live(&id).map_err(PlanError::of_read)? {
                let is_visible = self.can_see(&head);
                found.add(head, is_visible);
            }
            self.looked_up.insert(id.clone(), found);
        }
        let IdLookup { visible, hidden } = self.looked_up.entry(id.clone()).or_default();
        if let [first, rest @ ..] = visible.as_slice() {
            let kept = |status, passages| Ok(UpsertResult { id: id.clone(), status, passages });
            // The number of passages is part of what is withheld of a quarantined document. A caller who sends the same
            // content again knows it already.
            let passages_shown = if first.status == Status::Quarantined { 0 } else { first.passages.len() };
            match on_conflict {
                _ if rest.is_empty() && first.content_hash == doc.content_hash => {
                    return kept(UpsertStatus::Unchanged, first.passages.len());
                }
                OnConflict::Skip => return kept(UpsertStatus::Skipped, passages_shown),
                OnConflict::Fail => return kept(UpsertStatus::Conflict, passages_shown),
                OnConflict::Overwrite => {}
            }
            doc.id = first.id.clone();
            doc.created_at = visible.iter().map(|head| head.created_at).min().unwrap_or(doc.created_at);
            let replaced = std::mem::take(visible);
            replaced.iter().skip(1).for_each(|head| self.remove_quietly(&head.id));
        } else if !hidden.is_empty() {
            // The same document was sent again by a caller who can see neither copy: a retry does not store it twice.
            let again = hidden.contains(&doc.content_hash);
            if again && !self.can_see(&doc) {
                // Quotas count it nevertheless: otherwise a request at the limit would reveal that such a copy exists.
                self.builder.count(&doc);
                self.outcome.ids.push(id.clone());
                return Ok(stored(&doc));
            }
            doc.id = id.disambiguated(self.commit, self.disambiguated);
            self.disambiguated += 1;
        }
        doc.expires_at = self.retention.end_of(doc.created_at, doc.expires_at);
        let (result, is_visible) = (stored(&doc), self.can_see(&doc));
        if !expired(&doc, self.now) {
            self.looked_up.entry(id).or_default().add(doc.without_body(), is_visible);
        }
        self.put(doc);
        Ok(result)
    }

    fn delete(&mut self, which: &Selection) -> Result<(), PlanError> {
        let doc_refs = self.select(which, limits::DELETES_PER_COMMIT_MAX)?;
        self.outcome.matched = doc_refs.len() as u64;
        let mut bytes = 0;
        for doc_ref in doc_refs {
            let id = self.builder.head(doc_ref).map_err(PlanError::of_read)?.id;
            bytes += id.as_str().len() as u64;
            self.charge_memory(id.as_str().len() as u64)?;
            check_limit(bytes, "bytes of ids", limits::DELETE_BYTES_PER_COMMIT_MAX)?;
            self.remove(&id);
        }
        self.order_ids(which);
        Ok(())
    }

    /// Sorts the ids of documents that a filter has selected. They are found in storage order, which depends on
    /// documents that the caller cannot see.
    fn order_ids(&mut self, which: &Selection) {
        if matches!(which, Selection::Filter(_)) {
            self.outcome.ids.sort_unstable();
        }
    }

    fn patch(&mut self, which: &Selection, patch: &ScreenedPatch) -> Result<(), PlanError> {
        let doc_refs = self.select(which, limits::PATCHES_PER_COMMIT_MAX)?;
        self.outcome.matched = doc_refs.len() as u64;
        let mut patched = Vec::with_capacity(doc_refs.len());
        let mut bytes = 0;
        for doc_ref in doc_refs {
            let mut doc = self.builder.document(doc_ref).map_err(PlanError::of_read)?;
            patch.apply(&mut doc).map_err(|error| PlanError::Reject(error.into()))?;
            // Counts everything that the document holds after the patch, which may be more than its text.
            bytes += doc.heap_bytes();
            self.charge_memory(doc.heap_bytes())?;
            check_limit(bytes, "bytes of documents", limits::PATCH_BYTES_PER_COMMIT_MAX)?;
            // No patch keeps a document longer than the namespace's retention.
            doc.expires_at = self.retention.end_of(doc.created_at, doc.expires_at);
            doc.updated_at = self.now;
            doc.commit = self.commit;
            // The content is no longer what was sent, so sending that again must count as a change. A keyed hash is
            // never all zeros.
            doc.content_hash = [0; 32];
            patched.push(doc);
        }
        patched.into_iter().for_each(|doc| self.put(doc));
        self.order_ids(which);
        Ok(())
    }

    /// Shortens the life of documents that would outlive the retention, up to the limits of one commit. `matched` is
    /// their number; 0 means that none is left.
    fn shorten(&mut self) -> Result<(), PlanError> {
        let mut bytes = 0;
        for doc_ref in self.select_all().map_err(PlanError::of_read)? {
            let head = self.builder.head(doc_ref).map_err(PlanError::of_read)?;
            let end = self.retention.end_of(head.created_at, head.expires_at);
            if end == head.expires_at {
                continue;
            }
            let mut doc = self.builder.document(doc_ref).map_err(PlanError::of_read)?;
            bytes += doc.heap_bytes();
            let full =
                self.outcome.matched >= limits::PATCHES_PER_COMMIT_MAX || bytes > limits::PATCH_BYTES_PER_COMMIT_MAX;
            if full && self.outcome.matched > 0 {
                break;
            }
            match self.charge_memory(doc.heap_bytes()) {
                // The documents that fit into memory make one commit; the caller asks again for the others.
                Err(PlanError::Reject(_)) if self.outcome.matched > 0 => break,
                charged => charged?,
            }
            doc.expires_at = end;
            self.outcome.matched += 1;
            self.put(doc);
        }
        Ok(())
    }

    fn decide(&mut self, reviewed: Vec<Reviewed>, decision: Decision) -> Result<(), PlanError> {
        let mut bytes = 0;
        for Reviewed { id, state } in reviewed {
            let (status, passages) = self.decide_one(&id, state, decision, &mut bytes)?;
            self.outcome.results.push(UpsertResult { id, status, passages });
        }
        Ok(())
    }

    fn decide_one(
        &mut self,
        id: &DocumentId,
        state: ReviewedState,
        decision: Decision,
        bytes: &mut u64,
    ) -> Result<(UpsertStatus, usize), PlanError> {
        let mut live = self.live(id).map_err(PlanError::of_read)?;
        live.retain(|(_, head)| self.can_see(head));
        if live.is_empty() {
            return Ok((UpsertStatus::NotFound, 0));
        }
        // The decision concerns the state that the reviewer saw: anything written since, by any caller, has to be
        // reviewed first.
        live.retain(|(_, head)| state.is_of(head));
        let Some(passages) = live.first().map(|(_, head)| head.passages.len()) else {
            return Ok((UpsertStatus::Conflict, 0));
        };
        live.retain(|(_, head)| head.status == Status::Quarantined);
        let (doc_ref, head) = match <[_; 1]>::try_from(live) {
            Ok([reviewed]) => reviewed,
            Err(none) if none.is_empty() => return Ok((UpsertStatus::NotQuarantined, passages)),
            // One commit wrote several documents of the id, and nothing says which of them the reviewer means.
            Err(_) => return Ok((UpsertStatus::Conflict, 0)),
        };
        self.outcome.matched += 1;
        match decision {
            Decision::Reject => {
                self.remove(&head.id);
                Ok((UpsertStatus::Rejected, 0))
            }
            Decision::Release => {
                let mut doc = self.builder.document(doc_ref).map_err(PlanError::of_read)?;
                *bytes += doc.heap_bytes();
                self.charge_memory(doc.heap_bytes())?;
                check_limit(*bytes, "bytes of documents", limits::PATCH_BYTES_PER_COMMIT_MAX)?;
                doc.status = Status::Indexed;
                doc.updated_at = self.now;
                doc.commit = self.commit;
                self.put(doc);
                Ok((UpsertStatus::Released, head.passages.len()))
            }
        }
    }

    /// Documents of a selection that the audience can see now.
    fn select(&self, which: &Selection, limit: u64) -> Result<Vec<DocumentRef>, PlanError> {
        let selected = self.interrupt.scope(|| match which {
            Selection::Ids(ids) => self.by_ids(ids),
            Selection::Filter(filter) => self.by_filter(Some(filter)),
        });
        let doc_refs = selected.map_err(PlanError::of_read)?;
        if doc_refs.len() as u64 > limit {
            return Err(PlanError::Reject(Error::TooLarge { what: "documents", limit }));
        }
        Ok(doc_refs)
    }

    /// All documents that the audience can see now.
    fn select_all(&self) -> Result<Vec<DocumentRef>, Error> {
        self.by_filter(None)
    }

    fn by_ids(&self, ids: &[DocumentId]) -> Result<Vec<DocumentRef>, Error> {
        let mut once = HashSet::new();
        let mut doc_refs = Vec::new();
        for id in ids.iter().filter(|id| once.insert(*id)) {
            checkpoint(STEPS_PER_HEAD).map_err(segment::Error::from)?;
            let live = self.live(id)?;
            doc_refs.extend(live.into_iter().filter(|(_, head)| self.can_see(head)).map(|(doc_ref, _)| doc_ref));
        }
        Ok(doc_refs)
    }

    fn by_filter(&self, filter: Option<&Filter>) -> Result<Vec<DocumentRef>, Error> {
        let mut doc_refs = Vec::new();
        let filter = filter.map(Filter::compile);
        for (at, segment) in self.builder.segments.iter().enumerate() {
            let docs = visible(&segment.index, self.builder.live(at), &self.audience, filter.as_ref(), self.now)?;
            doc_refs.extend(docs.iter().map(|doc| DocumentRef::InSegment(at, doc)));
        }
        let mut matcher = filter.as_ref().map(CompiledFilter::matcher);
        for (doc_ref, doc) in self.builder.added() {
            if expired(doc, self.now) || !self.can_see(doc) {
                continue;
            }
            let matches_filter = match &mut matcher {
                Some(matcher) => matcher.matches(&document_view(doc)).map_err(segment::Error::from)?,
                None => true,
            };
            if matches_filter {
                doc_refs.push(doc_ref);
            }
        }
        Ok(doc_refs)
    }

    /// Whether the audience may see the document.
    fn can_see(&self, doc: &Document) -> bool {
        self.audience.may_see(doc.readers.as_deref())
    }

    /// All live documents of this id that have not expired, hidden ones included, oldest first.
    fn live(&self, id: &DocumentId) -> Result<Vec<(DocumentRef, Document)>, Error> {
        #[cfg(test)]
        tests::count_lookup(id);
        let mut live = Vec::new();
        for doc_ref in self.builder.named(id) {
            let head = self.builder.head(doc_ref)?;
            if !expired(&head, self.now) {
                live.push((doc_ref, head));
            }
        }
        Ok(live)
    }

    /// Takes memory for `bytes` that the request has read: twice, as read and as written.
    fn charge_memory(&mut self, bytes: u64) -> Result<(), PlanError> {
        match &mut self.permit {
            Some(permit) => {
                let charged = permit.grow(COPIES_IN_MEMORY.saturating_mul(bytes));
                charged.map_err(|error| PlanError::Reject(Error::External(error)))
            }
            None => Ok(()),
        }
    }

    fn put(&mut self, doc: Document) {
        self.outcome.ids.push(doc.id.plain());
        self.changes.upsert(&doc);
        self.builder.put(doc);
    }

    fn remove(&mut self, key: &DocumentId) {
        self.outcome.ids.push(key.plain());
        self.outcome.deleted += 1;
        self.remove_quietly(key);
    }

    /// Removes a document that another one replaces.
    fn remove_quietly(&mut self, key: &DocumentId) {
        self.changes.delete(key);
        self.builder.remove(key);
    }
}

/// The result for a document that was stored.
fn stored(doc: &Document) -> UpsertResult {
    let status = if doc.status == Status::Quarantined { UpsertStatus::Quarantined } else { UpsertStatus::Indexed };
    UpsertResult { id: doc.id.plain(), status, passages: doc.passages.len() }
}

/// Each byte that a write changes is counted twice: as it was read, and as it is written. Thus one commit rewrites at
/// most one tenant's share of the memory.
const COPIES_IN_MEMORY: u64 = 2;
/// Steps to find and decode one head.
const STEPS_PER_HEAD: u64 = 4_096;
/// Refuses a request that would hold more than this in memory and in its log entry.
fn check_limit(bytes: u64, what: &'static str, limit: u64) -> Result<(), PlanError> {
    if bytes > limit { Err(PlanError::Reject(Error::TooLarge { what, limit })) } else { Ok(()) }
}

/// The fields of a document that filters are evaluated on.
pub(crate) fn document_view(doc: &Document) -> DocumentView<'_> {
    DocumentView {
        id: doc.id.as_str(),
        uri: doc.uri.expose(),
        status: doc.status,
        created_at: doc.created_at,
        updated_at: doc.updated_at,
        expires_at: doc.expires_at,
        attributes: &doc.attributes,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use kernel::DocumentId;
    use std::{collections::BTreeMap, sync::Mutex};

    static LOOKUPS: Mutex<BTreeMap<DocumentId, u64>> = Mutex::new(BTreeMap::new());

    pub(super) fn count_lookup(id: &DocumentId) {
        *LOOKUPS.lock().unwrap().entry(id.clone()).or_default() += 1;
    }

    /// Number of times that writes have looked up the live documents under this id.
    pub(crate) fn lookups(id: &DocumentId) -> u64 {
        LOOKUPS.lock().unwrap().get(id).copied().unwrap_or(0)
    }
}
