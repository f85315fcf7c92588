//! What one request does to a namespace, decided under the writer's turn.
//!
//! A request that ends with an error changes nothing: what it did before is undone ([`Working::take_back`]). A
//! [`Refused`] is the caller's error; any other error is a fault and ends the whole batch.

use crate::{
    Decision, Error, OnConflict, Outcome, Reviewed, ReviewedState, Selection, Upsert, UpsertResult, UpsertStatus,
    entry::Changes,
    request::visible,
    working::{Spot, Working},
};
use intake::ScreenedPatch;
use kernel::{
    Audience, CommitNo, CompiledFilter, Document, DocumentId, DocumentView, Filter, Interrupt, Retention, Status,
    Timestamp, WritePermit, checkpoint, limits,
};
use segment::Spec;
use std::collections::{HashMap, HashSet};

/// A request without its audit line: what to do, and for which audience. It cannot be made without an audience, so that
/// no write shows or changes a document that its caller does not see.
pub(crate) struct Deed {
    pub(crate) audience: Audience,
    pub(crate) act: Act,
}

/// What a request does.
pub(crate) enum Act {
    /// Store these.
    Append(Vec<Upsert>, Spec),
    /// Remove these.
    Delete(Selection),
    /// Change these.
    Patch(Selection, Box<ScreenedPatch>),
    /// Release or reject these.
    Decide(Vec<Reviewed>, Decision),
    /// Shorten the life of documents to the namespace's retention.
    Shorten,
}

/// A commit that is being planned.
pub(crate) struct Plan<'a> {
    pub(crate) working: &'a mut Working,
    /// The audience of the request.
    pub(crate) audience: Audience,
    /// The namespace's retention, now.
    pub(crate) retention: Retention,
    pub(crate) changes: Changes,
    pub(crate) commit: CommitNo,
    pub(crate) now: Timestamp,
    pub(crate) outcome: Outcome,
    /// Number of documents of this commit that got a disambiguated key.
    pub(crate) disambiguated: u32,
    /// Ends the selection by a filter when the client has disconnected, or when the namespace's writes wait too long
    /// for it.
    pub(crate) interrupt: Interrupt,
    /// What it takes of the memory for writes.
    pub(crate) permit: Option<Box<dyn WritePermit>>,
    /// What lives under the ids that it has written to: each is looked up once, however often a request names it.
    pub(crate) looked_up: HashMap<DocumentId, LookedUp>,
}

/// What lives under an id, as an upsert needs it.
#[derive(Default)]
pub(crate) struct LookedUp {
    /// Heads of the documents that the audience sees, the oldest first.
    seen: Vec<Document>,
    /// Contents of those that it does not see.
    unseen: HashSet<[u8; 32]>,
}

impl LookedUp {
    fn add(&mut self, head: Document, is_seen: bool) {
        if is_seen {
            self.seen.push(head);
        } else {
            self.unseen.insert(head.content_hash);
        }
    }
}

/// Ends the batch, or only the request.
pub(crate) enum Stop {
    /// The caller's error; nothing changed.
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
    /// Carries out the request.
    pub(crate) fn run(&mut self, act: Act) -> Result<(), Stop> {
        match act {
            Act::Append(docs, spec) => self.append(docs, spec),
            Act::Delete(which) => self.delete(&which),
            Act::Patch(which, patch) => self.patch(&which, &patch),
            Act::Decide(reviewed, decision) => self.decide(reviewed, decision),
            Act::Shorten => self.shorten(),
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

    /// Replaces what the audience sees under the id. Documents that it does not see stay as they are: for this audience
    /// the id is free, and the new document gets a disambiguated key.
    fn upsert(&mut self, mut doc: Document, on_conflict: OnConflict) -> Result<UpsertResult, Stop> {
        let id = doc.id.clone();
        if !self.looked_up.contains_key(&id) {
            let mut found = LookedUp::default();
            for (_, head) in self.living(&id)? {
                let is_seen = self.sees(&head);
                found.add(head, is_seen);
            }
            self.looked_up.insert(id.clone(), found);
        }
        let LookedUp { seen, unseen } = self.looked_up.entry(id.clone()).or_default();
        if let [first, rest @ ..] = seen.as_slice() {
            let kept = |status, passages| Ok(UpsertResult { id: id.clone(), status, passages });
            // How long it is belongs to what is withheld of a quarantined document. Who sends the same again knows.
            let told = if first.status == Status::Quarantined { 0 } else { first.passages.len() };
            match on_conflict {
                _ if rest.is_empty() && first.content_hash == doc.content_hash => {
                    return kept(UpsertStatus::Unchanged, first.passages.len());
                }
                OnConflict::Skip => return kept(UpsertStatus::Skipped, told),
                OnConflict::Fail => return kept(UpsertStatus::Conflict, told),
                OnConflict::Overwrite => {}
            }
            doc.id = first.id.clone();
            doc.created_at = seen.iter().map(|head| head.created_at).min().unwrap_or(doc.created_at);
            let replaced = std::mem::take(seen);
            replaced.iter().skip(1).for_each(|head| self.remove_quietly(&head.id));
        } else if !unseen.is_empty() {
            // The same document again, from a caller who sees neither: a retry does not store it twice.
            let again = unseen.contains(&doc.content_hash);
            if again && !self.sees(&doc) {
                // Quotas count it all the same: at their limit the answer would tell that there is such a copy.
                self.working.count(&doc);
                self.outcome.ids.push(id.clone());
                return Ok(stored(&doc));
            }
            doc.id = id.disambiguated(self.commit, self.disambiguated);
            self.disambiguated += 1;
        }
        doc.expires_at = self.retention.end_of(doc.created_at, doc.expires_at);
        let (result, is_seen) = (stored(&doc), self.sees(&doc));
        if !expired(&doc, self.now) {
            self.looked_up.entry(id).or_default().add(doc.without_body(), is_seen);
        }
        self.put(doc);
        Ok(result)
    }

    fn delete(&mut self, which: &Selection) -> Result<(), Stop> {
        let spots = self.select(which, limits::DELETES_PER_COMMIT_MAX)?;
        self.outcome.matched = spots.len() as u64;
        let mut bytes = 0;
        for spot in spots {
            let id = self.working.head(spot)?.id;
            bytes += id.as_str().len() as u64;
            self.takes(id.as_str().len() as u64)?;
            within(bytes, "bytes of ids", limits::DELETE_BYTES_PER_COMMIT_MAX)?;
            self.remove(&id);
        }
        Ok(())
    }

    fn patch(&mut self, which: &Selection, patch: &ScreenedPatch) -> Result<(), Stop> {
        let spots = self.select(which, limits::PATCHES_PER_COMMIT_MAX)?;
        self.outcome.matched = spots.len() as u64;
        let mut patched = Vec::with_capacity(spots.len());
        let mut bytes = 0;
        for spot in spots {
            let mut doc = self.working.document(spot)?;
            patch.apply(&mut doc).map_err(|error| Stop::Refused(error.into()))?;
            // Counted with all that it holds after the patch: that may be more than the text.
            bytes += doc.heap_bytes();
            self.takes(doc.heap_bytes())?;
            within(bytes, "bytes of documents", limits::PATCH_BYTES_PER_COMMIT_MAX)?;
            // No patch keeps a document longer than the namespace's retention.
            doc.expires_at = self.retention.end_of(doc.created_at, doc.expires_at);
            doc.updated_at = self.now;
            doc.commit = self.commit;
            // Its content is no longer what was sent, so sending that again must count as a change. A keyed hash is
            // never all zeros.
            doc.content_hash = [0; 32];
            patched.push(doc);
        }
        patched.into_iter().for_each(|doc| self.put(doc));
        Ok(())
    }

    /// Shortens the life of documents that would outlive the retention, as many as one commit takes. `matched` is their
    /// number; 0 means that there are no more.
    fn shorten(&mut self) -> Result<(), Stop> {
        let mut bytes = 0;
        for spot in self.select_all()? {
            let head = self.working.head(spot)?;
            let end = self.retention.end_of(head.created_at, head.expires_at);
            if end == head.expires_at {
                continue;
            }
            let mut doc = self.working.document(spot)?;
            bytes += doc.heap_bytes();
            let full =
                self.outcome.matched >= limits::PATCHES_PER_COMMIT_MAX || bytes > limits::PATCH_BYTES_PER_COMMIT_MAX;
            if full && self.outcome.matched > 0 {
                break;
            }
            match self.takes(doc.heap_bytes()) {
                // What there is memory for is a commit; the rest is asked for again.
                Err(Stop::Refused(_)) if self.outcome.matched > 0 => break,
                taken => taken?,
            }
            doc.expires_at = end;
            self.outcome.matched += 1;
            self.put(doc);
        }
        Ok(())
    }

    fn decide(&mut self, reviewed: Vec<Reviewed>, decision: Decision) -> Result<(), Stop> {
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
    ) -> Result<(UpsertStatus, usize), Stop> {
        let mut living = self.living(id)?;
        living.retain(|(_, head)| self.sees(head));
        if living.is_empty() {
            return Ok((UpsertStatus::NotFound, 0));
        }
        // The word is about what was seen: anything written since, by whomever, has to be looked at first.
        living.retain(|(_, head)| state.is_of(head));
        let Some(passages) = living.first().map(|(_, head)| head.passages.len()) else {
            return Ok((UpsertStatus::Conflict, 0));
        };
        living.retain(|(_, head)| head.status == Status::Quarantined);
        let (spot, head) = match <[_; 1]>::try_from(living) {
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
                let mut doc = self.working.document(spot)?;
                *bytes += doc.heap_bytes();
                self.takes(doc.heap_bytes())?;
                within(*bytes, "bytes of documents", limits::PATCH_BYTES_PER_COMMIT_MAX)?;
                doc.status = Status::Indexed;
                doc.updated_at = self.now;
                doc.commit = self.commit;
                self.put(doc);
                Ok((UpsertStatus::Released, head.passages.len()))
            }
        }
    }

    /// Documents of a selection that the audience sees now.
    fn select(&self, which: &Selection, limit: u64) -> Result<Vec<Spot>, Stop> {
        let spots = self.interrupt.scope(|| match which {
            Selection::Ids(ids) => self.by_ids(ids),
            Selection::Filter(filter) => Ok(self.by_filter(Some(filter))?),
        })?;
        if spots.len() as u64 > limit {
            return Err(Stop::Refused(Error::TooLarge { what: "documents", limit }));
        }
        Ok(spots)
    }

    /// All documents that the audience sees now.
    fn select_all(&self) -> Result<Vec<Spot>, Error> {
        self.by_filter(None)
    }

    fn by_ids(&self, ids: &[DocumentId]) -> Result<Vec<Spot>, Stop> {
        let mut once = HashSet::new();
        let mut spots = Vec::new();
        for id in ids.iter().filter(|id| once.insert(*id)) {
            checkpoint(STEPS_A_HEAD).map_err(segment::Error::from)?;
            let living = self.living(id)?;
            spots.extend(living.into_iter().filter(|(_, head)| self.sees(head)).map(|(spot, _)| spot));
        }
        Ok(spots)
    }

    fn by_filter(&self, filter: Option<&Filter>) -> Result<Vec<Spot>, Error> {
        let mut spots = Vec::new();
        let filter = filter.map(Filter::compile);
        for (at, part) in self.working.parts.iter().enumerate() {
            let docs = visible(&part.index, self.working.live(at), &self.audience, filter.as_ref(), self.now)?;
            spots.extend(docs.iter().map(|doc| Spot::Part(at, doc)));
        }
        let mut matcher = filter.as_ref().map(CompiledFilter::matcher);
        for (spot, doc) in self.working.staged() {
            if expired(doc, self.now) || !self.sees(doc) {
                continue;
            }
            let met = match &mut matcher {
                Some(matcher) => matcher.matches(&facts(doc)).map_err(segment::Error::from)?,
                None => true,
            };
            if met {
                spots.push(spot);
            }
        }
        Ok(spots)
    }

    /// Whether the audience may see it.
    fn sees(&self, doc: &Document) -> bool {
        self.audience.may_see(doc.readers.as_deref())
    }

    /// All documents of this id that live and have not expired, hidden ones included, the oldest first.
    fn living(&self, id: &DocumentId) -> Result<Vec<(Spot, Document)>, Error> {
        #[cfg(test)]
        tests::count_lookup(id);
        let mut living = Vec::new();
        for spot in self.working.named(id) {
            let head = self.working.head(spot)?;
            if !expired(&head, self.now) {
                living.push((spot, head));
            }
        }
        Ok(living)
    }

    /// Takes memory for this much more that the request has read.
    fn takes(&mut self, bytes: u64) -> Result<(), Stop> {
        match &mut self.permit {
            Some(permit) => {
                let taken = permit.grow(READ_AND_WRITTEN.saturating_mul(bytes));
                taken.map_err(|error| Stop::Refused(Error::Passed(error)))
            }
            None => Ok(()),
        }
    }

    fn put(&mut self, doc: Document) {
        self.outcome.ids.push(doc.id.plain());
        self.changes.upsert(&doc);
        self.working.put(doc);
    }

    fn remove(&mut self, key: &DocumentId) {
        self.outcome.ids.push(key.plain());
        self.outcome.deleted += 1;
        self.remove_quietly(key);
    }

    /// Removes what another document replaces.
    fn remove_quietly(&mut self, key: &DocumentId) {
        self.changes.delete(key);
        self.working.remove(key);
    }
}

/// The result for a document that was stored.
fn stored(doc: &Document) -> UpsertResult {
    let status = if doc.status == Status::Quarantined { UpsertStatus::Quarantined } else { UpsertStatus::Indexed };
    UpsertResult { id: doc.id.plain(), status, passages: doc.passages.len() }
}

/// How often what a write changes is counted: as it was read, and as it is written. With it the most that one commit may
/// rewrite is the share of one tenant.
const READ_AND_WRITTEN: u64 = 2;
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

/// What a filter sees of a document.
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

#[cfg(test)]
pub(crate) mod tests {
    use kernel::DocumentId;
    use std::{collections::BTreeMap, sync::Mutex};

    static LOOKUPS: Mutex<BTreeMap<DocumentId, u64>> = Mutex::new(BTreeMap::new());

    pub(super) fn count_lookup(id: &DocumentId) {
        *LOOKUPS.lock().unwrap().entry(id.clone()).or_default() += 1;
    }

    /// How often writes have looked up what lives under this id.
    pub(crate) fn lookups(id: &DocumentId) -> u64 {
        LOOKUPS.lock().unwrap().get(id).copied().unwrap_or(0)
    }
}
