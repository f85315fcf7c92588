//! What one request does to a namespace, decided under the writer's turn.
//!
//! A request that ends with an error changes nothing: whatever it did before is taken back ([`Working::take_back`]).
//! A [`Refused`] is the asker's; any other error is a fault and ends the whole batch.

use crate::{
    Decision, Error, OnConflict, Outcome, Selection, Upsert, UpsertResult, UpsertStatus,
    entry::Changes,
    request::visible,
    working::{Spot, Working},
};
use intake::ScreenedPatch;
use kernel::{
    Audience, CommitNo, Document, DocumentId, DocumentView, Filter, Interrupt, Status, Timestamp, checkpoint, limits,
};
use segment::Spec;
use std::collections::HashSet;

/// A request of one action, without its audit line.
pub(crate) enum Deed {
    /// Store these.
    Append(Vec<Upsert>, Spec),
    /// Remove these.
    Delete(Selection, Audience),
    /// Change these.
    Patch(Selection, Audience, Box<ScreenedPatch>),
    /// Release or reject these.
    Decide(Vec<DocumentId>, Audience, Decision),
}

/// One commit in the making.
pub(crate) struct Plan<'a> {
    pub(crate) working: &'a mut Working,
    pub(crate) changes: Changes,
    pub(crate) commit: CommitNo,
    pub(crate) now: Timestamp,
    pub(crate) outcome: Outcome,
    /// Ends the search for what a filter selects: the caller has gone, or it holds up the namespace's writes too long.
    pub(crate) interrupt: Interrupt,
}

/// Ends the batch, or only the request.
pub(crate) enum Stop {
    /// The asker's error; nothing changed.
    Refused(Error),
    /// Bytes that do not read, an index that does not build.
    Fault(Error),
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        let error = error.into();
        // Nothing is wrong with the namespace then: selections end before anything is changed.
        if error.is_interrupted() { Stop::Refused(error) } else { Stop::Fault(error) }
    }
}

impl Plan<'_> {
    /// Does it.
    pub(crate) fn run(&mut self, deed: Deed) -> Result<(), Stop> {
        match deed {
            Deed::Append(docs, spec) => self.append(docs, spec),
            Deed::Delete(which, audience) => self.delete(&which, &audience),
            Deed::Patch(which, audience, patch) => self.patch(&which, &audience, &patch),
            Deed::Decide(ids, audience, decision) => self.decide(&ids, &audience, decision),
        }
    }

    fn append(&mut self, upserts: Vec<Upsert>, spec: Spec) -> Result<(), Stop> {
        // Settings that were read before a neighbour's first document may be old: what the
        // namespace holds decides then.
        self.working.respec(spec);
        let mut docs = Vec::with_capacity(upserts.len());
        for (at, upsert) in upserts.into_iter().enumerate() {
            let doc = upsert.admitted.into_document(self.now, self.now, self.commit);
            let expected = doc.passages.len() * self.working.spec.dimensions;
            if !doc.vectors.is_empty() && doc.vectors.len() != expected {
                return Err(Stop::Refused(Error::Dimensions { document: at, expected, found: doc.vectors.len() }));
            }
            // What could not be indexed never reaches the log.
            segment::check(&self.working.spec, &doc).map_err(|error| Stop::Refused(error.into()))?;
            docs.push((doc, upsert.on_conflict));
        }
        for (doc, on_conflict) in docs {
            let result = self.upsert(doc, on_conflict)?;
            self.outcome.results.push(result);
        }
        Ok(())
    }

    fn upsert(&mut self, mut doc: Document, on_conflict: OnConflict) -> Result<UpsertResult, Stop> {
        let id = doc.id.clone();
        let old = self.living(&id)?.map(|(_, head)| head);
        if let Some(old) = &old {
            let kept = |status| Ok(UpsertResult { id: id.clone(), status, passages: old.passages.len() });
            match on_conflict {
                _ if old.content_hash == doc.content_hash => return kept(UpsertStatus::Unchanged),
                OnConflict::Skip => return kept(UpsertStatus::Skipped),
                OnConflict::Fail => return kept(UpsertStatus::Conflict),
                OnConflict::Overwrite => doc.created_at = old.created_at,
            }
        }
        let status = if doc.status == Status::Quarantined { UpsertStatus::Quarantined } else { UpsertStatus::Indexed };
        let passages = doc.passages.len();
        self.put(doc);
        Ok(UpsertResult { id, status, passages })
    }

    fn delete(&mut self, which: &Selection, audience: &Audience) -> Result<(), Stop> {
        let spots = self.select(which, audience, limits::DELETES_PER_COMMIT_MAX)?;
        self.outcome.matched = spots.len() as u64;
        let mut bytes = 0;
        for spot in spots {
            let id = self.working.head(spot)?.id;
            bytes += id.as_str().len() as u64;
            within(bytes, "bytes of ids", limits::DELETE_BYTES_PER_COMMIT_MAX)?;
            self.remove(&id);
        }
        Ok(())
    }

    fn patch(&mut self, which: &Selection, audience: &Audience, patch: &ScreenedPatch) -> Result<(), Stop> {
        let spots = self.select(which, audience, limits::PATCHES_PER_COMMIT_MAX)?;
        self.outcome.matched = spots.len() as u64;
        let mut patched = Vec::with_capacity(spots.len());
        let mut bytes = 0;
        for spot in spots {
            let mut doc = self.working.document(spot)?;
            patch.apply(&mut doc).map_err(|error| Stop::Refused(error.into()))?;
            // With all that it has now: what a patch adds may be more than the text.
            bytes += doc.heap_bytes();
            within(bytes, "bytes of documents", limits::PATCH_BYTES_PER_COMMIT_MAX)?;
            doc.updated_at = self.now;
            doc.commit = self.commit;
            // It is no longer what was sent, so sending that again is a change. A keyed hash is never all zeros.
            doc.content_hash = [0; 32];
            patched.push(doc);
        }
        patched.into_iter().for_each(|doc| self.put(doc));
        Ok(())
    }

    fn decide(&mut self, ids: &[DocumentId], audience: &Audience, decision: Decision) -> Result<(), Stop> {
        let mut bytes = 0;
        for id in ids {
            let (status, passages) = self.decide_one(id, audience, decision, &mut bytes)?;
            self.outcome.results.push(UpsertResult { id: id.clone(), status, passages });
        }
        Ok(())
    }

    fn decide_one(
        &mut self,
        id: &DocumentId,
        audience: &Audience,
        decision: Decision,
        bytes: &mut u64,
    ) -> Result<(UpsertStatus, usize), Stop> {
        let found = self.living(id)?.filter(|(_, head)| audience.may_see(head.readers.as_deref()));
        let Some((spot, head)) = found else { return Ok((UpsertStatus::NotFound, 0)) };
        if head.status != Status::Quarantined {
            return Ok((UpsertStatus::NotQuarantined, head.passages.len()));
        }
        self.outcome.matched += 1;
        match decision {
            Decision::Reject => {
                self.remove(id);
                Ok((UpsertStatus::Rejected, 0))
            }
            Decision::Release => {
                let mut doc = self.working.document(spot)?;
                *bytes += doc.heap_bytes();
                within(*bytes, "bytes of documents", limits::PATCH_BYTES_PER_COMMIT_MAX)?;
                doc.status = Status::Indexed;
                doc.updated_at = self.now;
                doc.commit = self.commit;
                self.put(doc);
                Ok((UpsertStatus::Released, head.passages.len()))
            }
        }
    }

    /// Documents of a selection that this audience sees now.
    fn select(&self, which: &Selection, audience: &Audience, limit: u64) -> Result<Vec<Spot>, Stop> {
        let spots = self.interrupt.scope(|| match which {
            Selection::Ids(ids) => self.by_ids(ids, audience),
            Selection::Filter(filter) => Ok(self.by_filter(filter, audience)?),
        })?;
        if spots.len() as u64 > limit {
            return Err(Stop::Refused(Error::TooLarge { what: "documents", limit }));
        }
        Ok(spots)
    }

    fn by_ids(&self, ids: &[DocumentId], audience: &Audience) -> Result<Vec<Spot>, Stop> {
        let mut seen = HashSet::new();
        let mut spots = Vec::new();
        for id in ids.iter().filter(|id| seen.insert(*id)) {
            checkpoint(STEPS_A_HEAD).map_err(segment::Error::from)?;
            let found = self.living(id)?.filter(|(_, head)| audience.may_see(head.readers.as_deref()));
            spots.extend(found.map(|(spot, _)| spot));
        }
        Ok(spots)
    }

    fn by_filter(&self, filter: &Filter, audience: &Audience) -> Result<Vec<Spot>, Error> {
        let mut spots = Vec::new();
        let filter = filter.compile();
        for (at, part) in self.working.parts.iter().enumerate() {
            let docs = visible(&part.index, self.working.live(at), audience, Some(&filter), self.now)?;
            spots.extend(docs.iter().map(|doc| Spot::Part(at, doc)));
        }
        let mut matcher = filter.matcher();
        for (spot, doc) in self.working.staged() {
            let seen = !expired(doc, self.now) && audience.may_see(doc.readers.as_deref());
            if seen && matcher.matches(&facts(doc)).map_err(segment::Error::from)? {
                spots.push(spot);
            }
        }
        Ok(spots)
    }

    /// The document of this id, if it lives and has not expired.
    fn living(&self, id: &DocumentId) -> Result<Option<(Spot, Document)>, Error> {
        let Some(spot) = self.working.find(id) else { return Ok(None) };
        let head = self.working.head(spot)?;
        Ok((!expired(&head, self.now)).then_some((spot, head)))
    }

    fn put(&mut self, doc: Document) {
        self.outcome.ids.push(doc.id.clone());
        self.changes.upsert(&doc);
        self.working.put(doc);
    }

    fn remove(&mut self, id: &DocumentId) {
        self.outcome.ids.push(id.clone());
        self.outcome.deleted += 1;
        self.changes.delete(id);
        self.working.remove(id);
    }
}

/// Steps of finding and decoding one head.
const STEPS_A_HEAD: u64 = 4_096;
/// Refuses a request that would hold more than this in memory and in its log entry.
fn within(bytes: u64, what: &'static str, limit: u64) -> Result<(), Stop> {
    if bytes > limit { Err(Stop::Refused(Error::TooLarge { what, limit })) } else { Ok(()) }
}

/// Whether a document is in no answer any more. As the segments' own bitmap says.
pub(crate) fn expired(doc: &Document, now: Timestamp) -> bool {
    doc.expires_at.is_some_and(|at| at <= now)
}

/// What a filter sees of it.
pub(crate) fn facts(doc: &Document) -> DocumentView<'_> {
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
