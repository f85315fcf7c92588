//! Reading, listing, deleting, patching and reviewing documents.

use crate::{
    DeleteReply, DocumentPage, DocumentReply, Engine, Flow, Include, ListRequest, PatchReply, PatchRequest,
    ReviewReply, ReviewRequest, Selection, work::Asker,
};
use access::{Action, Delete, Grant, Patch, Read, Review};
use kernel::{Code, CommitNo, DocumentId, Error, Scope, Status, limits};
use ledger::{Deed, Pen};
use store::Outcome;

/// What a reader of documents may meet: everything that is stored, whatever its state.
const ALL: [Status; 3] = [Status::Indexed, Status::Quarantined, Status::Pending];

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
        let audience = grant.audience(None)?;
        let record = self.namespace_record(grant)?;
        let snapshot = self.inner.stores.enter(grant, &record.settings).await?.snapshot(None).await?;
        let now = self.inner.clock.now();
        let id = id.clone();
        let found = self
            .inner
            .work
            .cpu(Asker::answer(grant), move || snapshot.get(&id, &audience, include.vector, now))
            .await??;
        let document = found.ok_or_else(Error::not_found)?;
        let include = shown(include, &record);
        Ok(DocumentReply { document, include })
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
        let audience = grant.audience(request.acting_as.as_deref())?;
        let record = self.namespace_record(grant)?;
        let snapshot = self.inner.stores.enter(grant, &record.settings).await?.snapshot(None).await?;
        let now = self.inner.clock.now();
        let include = shown(request.include, &record);
        let work = move || {
            let ListRequest { filter, ids, limit, after, .. } = request;
            let eligible = snapshot.eligible(&audience, filter.as_ref(), &ALL, now)?;
            let (documents, total, more) =
                snapshot.list(&eligible, ids.as_deref(), after.as_ref(), limit, include.text, include.vector)?;
            let next = if more { documents.last().map(|d| d.id.clone()) } else { None };
            Ok(DocumentPage { documents, total, next, include, commit: snapshot.commit() })
        };
        self.inner.work.cpu(Asker::answer(grant), work).await?
    }

    /// Deletes; what the audience cannot see stays and is not counted.
    ///
    /// With `erase`, which wants ids, the reply comes when no object, checkpoint or log holds them, with a certificate that
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
        let audience = grant.audience(None)?;
        let record = self.namespace_record(grant)?;
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
        // What is stated is true whoever may read it: of an id under which something lives nothing is said. To a caller
        // who does not see all, silence about such an id must not tell it from one that never was: so only what this
        // call has deleted is named.
        let sees_all = matches!(audience, kernel::Audience::Everything);
        let mut named = erased.free;
        named.retain(|id| sees_all || gone.contains(id));
        let certificate = match named.is_empty() {
            true => None,
            false => {
                let commits = (erased.commit, erased.looked_at);
                Some(self.inner.registry.certify_erased(grant, &record, &named, deleted, commits)?)
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
        let audience = grant.audience(None)?;
        let record = self.namespace_record(grant)?;
        let opened = matches!(request.patch.readers, Some(None));
        if opened && record.settings.require_readers {
            return Err(Error::invalid("readers", "is required in this namespace"));
        }
        let patch = intake::screen_patch(request.patch, &record.settings.screening)?;
        let room = self.inner.stores.enter(grant, &record.settings).await?;
        let outcome =
            room.patch(&request.which, &audience, patch, line(self.inner.trail.pen(grant), "patched")).await?;
        Ok((PatchReply { matched: outcome.matched, commit: outcome.commit }, outcome.commit))
    }

    /// Releases or rejects what a screen held back. The word binds to that content: a document
    /// that was written again is judged anew.
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
        let audience = grant.audience(None)?;
        let record = self.namespace_record(grant)?;
        let room = self.inner.stores.enter(grant, &record.settings).await?;
        let line = line(self.inner.trail.pen(grant), "reviewed");
        let outcome = room.decide(&request.ids, &audience, request.decision, line).await?;
        let results = outcome.results.into_iter().map(|r| (r.id, r.status.as_str())).collect();
        Ok((ReviewReply { results, commit: outcome.commit }, outcome.commit))
    }
}

/// Vectors are source data: they want their own scope.
fn may_show<A: Action>(grant: &Grant<A>, include: Include) -> Result<(), Error> {
    if include.vector && !grant.has(Scope::Vectors) {
        return Err(Error::new(Code::Forbidden, "the key lacks the scope vectors").with_param("include"));
    }
    Ok(())
}

/// Where `retention.original` is `drop`, passages answer searches but the whole text is not shown.
fn shown(include: Include, record: &registry::NamespaceRecord) -> Include {
    Include { text: include.text && record.settings.retention.original == kernel::Original::Keep, ..include }
}

/// The audit line of a mutation, written when its outcome is known.
fn line(pen: Pen, count: &'static str) -> store::Line {
    Box::new(move |outcome: &Outcome| {
        pen.write(Deed::success().count(count, outcome.ids.len() as u64).documents(outcome.ids.clone()))
    })
}
