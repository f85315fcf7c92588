//! Reading, listing, deleting, patching and reviewing documents.

use crate::{
    DeleteReply, DocumentPage, DocumentReply, Engine, Flow, Include, ListRequest, PatchReply, PatchRequest,
    ReviewReply, ReviewRequest, Selection,
    reply_size::{self, ReplyRoom, too_long},
    turnstile::Pass,
    work::Asker,
};
use access::{Action, Delete, Grant, Patch, Read, Review};
use kernel::{Code, CommitNo, Document, DocumentId, Error, Scope, limits};
use ledger::{Deed, Pen};
use store::{Decision, Listed, Located, Outcome, Quarantine, Snapshot};

impl Engine {
    /// One document, or the uniform 404.
    pub async fn get_document(&self, grant: Grant<Read>, id: DocumentId, include: Include) -> Flow<DocumentReply> {
        let end = self.get_under(&grant, &id, include).await.map(|reply| {
            let deed = Deed::success().count("documents", 1).documents(vec![id]);
            (reply, deed)
        });
        self.settle(grant, end).await
    }

    async fn get_under(&self, grant: &Grant<Read>, id: &DocumentId, include: Include) -> Result<DocumentReply, Error> {
        may_show(grant, include)?;
        let record = self.namespace_record(grant)?;
        let audience = grant.audience(None, record.settings.readers())?;
        let quarantine = quarantine(grant);
        let mut memory = self.inner.search_bytes.enter(grant.incarnation(), REPLY_BYTES_MIN)?;
        let snapshot = self.inner.stores.enter(grant, &record.settings).await?.snapshot(None).await?;
        let now = self.inner.clock.now();
        let id = id.clone();
        let work = move || {
            let located = snapshot.locate(&id, &audience, quarantine, now)?.ok_or_else(Error::not_found)?;
            let read = read(&snapshot, &located, include, &mut ReplyRoom::new(), &mut memory)?;
            let document = read.ok_or_else(|| too_long("the document", GET_REMEDY))?;
            Ok(DocumentReply { document, include, quarantine, memory: Some(memory) })
        };
        self.inner.work.cpu(Asker::answer(grant), work).await?
    }

    /// A page of documents, ordered by id.
    pub async fn list_documents(&self, grant: Grant<Read>, request: ListRequest) -> Flow<DocumentPage> {
        let acting_as = request.acting_as.clone().unwrap_or_default();
        let end = self.list_under(&grant, request).await.map(|page| {
            let ids: Vec<_> = page.documents.iter().map(|d| d.id.clone()).collect();
            let deed = Deed::success().count("documents", ids.len() as u64).documents(ids).principals(acting_as);
            (page, deed)
        });
        self.settle(grant, end).await
    }

    async fn list_under(&self, grant: &Grant<Read>, request: ListRequest) -> Result<DocumentPage, Error> {
        may_show(grant, request.include)?;
        if request.limit > limits::LIST_LIMIT_MAX {
            return Err(Error::invalid("limit", "must be 0 to 1000"));
        }
        let record = self.namespace_record(grant)?;
        let audience = grant.audience(request.acting_as.as_deref(), record.settings.readers())?;
        let quarantine = quarantine(grant);
        let mut memory = self.inner.search_bytes.enter(grant.incarnation(), REPLY_BYTES_MIN)?;
        let snapshot = self.inner.stores.enter(grant, &record.settings).await?.snapshot(None).await?;
        let now = self.inner.clock.now();
        let presence = grant.presence().clone();
        let work = move || {
            let ListRequest { filter, ids, limit, after, include, .. } = request;
            let eligible = snapshot.stored(&audience, filter.as_ref(), quarantine, now)?;
            let (ids, after) = (ids.as_deref(), after.as_ref());
            let Include { text, vector: vectors, .. } = include;
            let wanted = Listed { ids, after, limit, text, vectors, quarantine };
            let page = snapshot.page(&eligible, &wanted)?;
            let mut documents: Vec<Document> = Vec::with_capacity(page.documents.len());
            let mut room = ReplyRoom::new();
            for located in &page.documents {
                presence.check()?;
                let Some(document) = read(&snapshot, located, include, &mut room, &mut memory)? else { break };
                documents.push(document);
            }
            if documents.is_empty() && !page.documents.is_empty() {
                return Err(too_long("the next document alone", LIST_REMEDY));
            }
            let (total, next) = (page.total, page.end(documents.len()));
            Ok(DocumentPage {
                documents,
                total,
                next,
                include,
                quarantine,
                commit: snapshot.commit(),
                memory: Some(memory),
            })
        };
        self.inner.work.cpu(Asker::answer(grant), work).await?
    }

    /// Deletes documents; what the audience does not see stays and is not counted.
    ///
    /// With `erase`, which needs ids, the reply comes when no object, checkpoint or log holds them, with a certificate that
    /// names those of which nothing is left.
    pub async fn delete_documents(&self, grant: Grant<Delete>, which: Selection, erase: bool) -> Flow<DeleteReply> {
        let end = self.delete_under(&grant, which, erase).await;
        self.settle_commit(grant, end).await
    }

    async fn delete_under(
        &self,
        grant: &Grant<Delete>,
        which: Selection,
        erase: bool,
    ) -> Result<(DeleteReply, CommitNo), Error> {
        let _pass = self.inner.writes.enter(grant.incarnation(), 1)?;
        let record = self.namespace_record(grant)?;
        let audience = grant.audience(None, record.settings.readers())?;
        let room = self.inner.stores.enter(grant, &record.settings).await?;
        let line = line(self.inner.trail.pen(grant), "deleted");
        if !erase {
            let outcome = room.delete(&which, &audience, line).await?;
            let (deleted, commit) = (outcome.deleted, outcome.commit);
            return Ok((DeleteReply { deleted, commit, certificate: None }, commit));
        }
        let Selection::Ids(ids) = which else {
            return Err(Error::invalid("erase", "wants ids: documents are erased by their names"));
        };
        let erasing = room.erase(&ids, &audience, line).await?;
        let (deleted, commit) = (erasing.outcome.deleted, erasing.outcome.commit);
        let gone: std::collections::HashSet<_> = erasing.outcome.ids.iter().cloned().collect();
        let erased = erasing.erased().await?;
        // An id is named only where nothing is left that the caller could read. To one who does not see all, silence about
        // an id must not tell a hidden document from one that never was: so only what this call has deleted is named.
        let sees_all = matches!(audience, kernel::Audience::Everything);
        let mut named = erased.free;
        named.retain(|id| sees_all || gone.contains(id));
        let certificate = match named.is_empty() {
            true => None,
            false => {
                let commits = (erased.commit, erased.looked_at);
                Some(self.inner.registry.certify_erased(grant, &record, &named, deleted, commits, sees_all)?)
            }
        };
        Ok((DeleteReply { deleted, commit, certificate }, commit))
    }

    /// Changes attributes, readers, uri or expiry; never the text, so nothing is embedded.
    pub async fn patch_documents(&self, grant: Grant<Patch>, request: PatchRequest) -> Flow<PatchReply> {
        let end = self.patch_under(&grant, request).await;
        self.settle_commit(grant, end).await
    }

    async fn patch_under(&self, grant: &Grant<Patch>, request: PatchRequest) -> Result<(PatchReply, CommitNo), Error> {
        let _pass = self.inner.writes.enter(grant.incarnation(), 1)?;
        let record = self.namespace_record(grant)?;
        self.know_totals(grant).await?;
        let audience = grant.audience(None, record.settings.readers())?;
        let opened = matches!(request.patch.readers, Some(None));
        if opened && record.settings.require_readers {
            return Err(Error::invalid("readers", "is required in this namespace"));
        }
        // Its strings are scanned, and may be as many as a body holds.
        let (raw, policy) = (request.patch, record.settings.screening);
        let screen = move || intake::screen_patch(raw, &policy);
        let patch = self.inner.work.cpu(Asker::prepare(grant), screen).await??;
        let room = self.inner.stores.enter(grant, &record.settings).await?;
        let outcome =
            room.patch(&request.which, &audience, patch, line(self.inner.trail.pen(grant), "patched")).await?;
        Ok((PatchReply { matched: outcome.matched, commit: outcome.commit }, outcome.commit))
    }

    /// Releases or rejects what a screen held back, as the reviewer saw it: a document that was written again since is a
    /// `conflict` and stays as it is.
    pub async fn review(&self, grant: Grant<Review>, request: ReviewRequest) -> Flow<ReviewReply> {
        let end = self.review_under(&grant, request).await;
        self.settle_commit(grant, end).await
    }

    async fn review_under(
        &self,
        grant: &Grant<Review>,
        request: ReviewRequest,
    ) -> Result<(ReviewReply, CommitNo), Error> {
        let _pass = self.inner.writes.enter(grant.incarnation(), 1)?;
        let record = self.namespace_record(grant)?;
        let audience = grant.audience(None, record.settings.readers())?;
        let room = self.inner.stores.enter(grant, &record.settings).await?;
        let count = match request.decision {
            Decision::Release => "released",
            Decision::Reject => "rejected",
        };
        let (pen, note) = (self.inner.trail.pen(grant), request.note);
        let line = Box::new(move |outcome: &Outcome| pen.write(changed(outcome, count).note(note)));
        let outcome = room.decide(&request.documents, &audience, request.decision, line).await?;
        let results = outcome.results.into_iter().map(|r| (r.id, r.status.as_str())).collect();
        Ok((ReviewReply { results, commit: outcome.commit }, outcome.commit))
    }
}

/// Reads a document as far as it is shown; `None` where it would make the reply too long. What it takes at least is known
/// before it is read.
fn read(
    snapshot: &Snapshot,
    located: &Located,
    include: Include,
    room: &mut ReplyRoom,
    memory: &mut Pass,
) -> Result<Option<Document>, Error> {
    let sizes = snapshot.sizes(located);
    // A number takes two bytes at least, its digit and a comma.
    let mut least = if include.text { sizes.text } else { 0 } + if include.vector { sizes.vectors / 2 } else { 0 };
    if !room.fits(least) {
        if !snapshot.is_withheld(located)? {
            return Ok(None);
        }
        least = 0;
    }
    memory.grow(least)?;
    let mut document = snapshot.read(located, include.text && least > 0, include.vector && least > 0)?;
    if !include.attributes {
        document.attributes.clear();
    }
    let length = reply_size::document(&document, include);
    if !room.take(length) {
        return Ok(None);
    }
    memory.grow(document.heap_bytes().saturating_sub(least) + length)?;
    Ok(Some(document))
}

/// Memory of a reply without documents.
const REPLY_BYTES_MIN: u64 = 64 << 10;
const GET_REMEDY: &str =
    "leave out its text or vector; documents/list with an empty include shows it without attributes too";
const LIST_REMEDY: &str = "list it with less of it: its head alone comes with an empty include";

/// Vectors are source data, so reading them needs a scope of its own.
fn may_show<A: Action>(grant: &Grant<A>, include: Include) -> Result<(), Error> {
    if include.vector && !grant.has(Scope::Vectors) {
        return Err(Error::new(Code::Forbidden, "the key lacks the scope vectors").with_param("include"));
    }
    Ok(())
}

/// Quarantined content is shown to keys with the scope `review` only.
fn quarantine<A: Action>(grant: &Grant<A>) -> Quarantine {
    if grant.has(Scope::Review) { Quarantine::Shown } else { Quarantine::Withheld }
}

/// The audit line of a mutation, written when its outcome is known.
pub(crate) fn line(pen: Pen, count: &'static str) -> store::Line {
    Box::new(move |outcome: &Outcome| pen.write(changed(outcome, count)))
}

/// The documents that a mutation changed, and their number under this name.
fn changed(outcome: &Outcome, count: &'static str) -> Deed {
    Deed::success().count(count, outcome.ids.len() as u64).documents(outcome.ids.clone())
}
