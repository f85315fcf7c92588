//! Flows that read, list, delete, patch and review documents.

use crate::{
    DeleteReply, DocumentListReply, DocumentReply, Engine, FlowResult, Include, ListRequest, PatchReply, PatchRequest,
    ReviewReply, ReviewRequest, Selection,
    admission::Permit,
    reply_size::{self, ReplyBudget, too_long},
    work::TaskContext,
};
use access::{Action, Delete, Grant, Patch, Read, Review};
use kernel::{Code, CommitNo, Document, DocumentId, Error, Scope, limits};
use ledger::{AuditEvent, RecordWriter};
use store::{Decision, DocumentHandle, ListOptions, Quarantine, Snapshot, WriteOutcome};

impl Engine {
    /// Returns one document, or the uniform 404.
    pub async fn get_document(
        &self,
        grant: Grant<Read>,
        id: DocumentId,
        include: Include,
    ) -> FlowResult<DocumentReply> {
        let end = self.get_under(&grant, &id, include).await.map(|reply| {
            let event = AuditEvent::success().count("documents", 1).documents(vec![id]);
            (reply, event)
        });
        self.finish_read(grant, end).await
    }

    async fn get_under(&self, grant: &Grant<Read>, id: &DocumentId, include: Include) -> Result<DocumentReply, Error> {
        check_include(grant, include)?;
        let record = self.namespace_record(grant)?;
        let audience = grant.audience(None, record.settings.readers())?;
        let quarantine = quarantine_visibility(grant);
        let mut memory = self.inner.search_bytes.acquire(grant.incarnation(), REPLY_BYTES_MIN)?;
        let snapshot = self.inner.stores.enter(grant, &record.settings).await?.snapshot(None).await?;
        let now = self.inner.clock.now();
        let id = id.clone();
        let work = move || {
            let located = snapshot.locate(&id, &audience, quarantine, now)?.ok_or_else(Error::not_found)?;
            let read = read_document(&snapshot, &located, include, &mut ReplyBudget::new(), &mut memory)?;
            let document = read.ok_or_else(|| too_long("the document", GET_REMEDY))?;
            Ok(DocumentReply { document, include, quarantine, memory: Some(memory) })
        };
        self.inner.work.cpu(TaskContext::answer(grant), work).await?
    }

    /// Returns a page of documents, ordered by id.
    pub async fn list_documents(&self, grant: Grant<Read>, request: ListRequest) -> FlowResult<DocumentListReply> {
        let acting_as = request.acting_as.clone().unwrap_or_default();
        let end = self.list_under(&grant, request).await.map(|page| {
            let ids: Vec<_> = page.documents.iter().map(|d| d.id.clone()).collect();
            let event = AuditEvent::success().count("documents", ids.len() as u64).documents(ids).principals(acting_as);
            (page, event)
        });
        self.finish_read(grant, end).await
    }

    async fn list_under(&self, grant: &Grant<Read>, request: ListRequest) -> Result<DocumentListReply, Error> {
        check_include(grant, request.include)?;
        if request.limit > limits::LIST_LIMIT_MAX {
            return Err(Error::invalid("limit", "must be 0 to 1000"));
        }
        let record = self.namespace_record(grant)?;
        let audience = grant.audience(request.acting_as.as_deref(), record.settings.readers())?;
        let quarantine = quarantine_visibility(grant);
        let mut memory = self.inner.search_bytes.acquire(grant.incarnation(), REPLY_BYTES_MIN)?;
        let snapshot = self.inner.stores.enter(grant, &record.settings).await?.snapshot(None).await?;
        let now = self.inner.clock.now();
        let cancel = grant.cancel_flag().clone();
        let work = move || {
            let ListRequest { filter, ids, limit, after, include, .. } = request;
            let eligible = snapshot.stored(&audience, filter.as_ref(), quarantine, now)?;
            let (ids, after) = (ids.as_deref(), after.as_ref());
            let Include { text, vector: vectors, .. } = include;
            let listed = ListOptions { ids, after, limit, text, vectors, quarantine };
            let page = snapshot.page(&eligible, &listed)?;
            let mut documents: Vec<Document> = Vec::with_capacity(page.documents.len());
            let mut budget = ReplyBudget::new();
            for located in &page.documents {
                cancel.check()?;
                let Some(document) = read_document(&snapshot, located, include, &mut budget, &mut memory)? else {
                    break;
                };
                documents.push(document);
            }
            if documents.is_empty() && !page.documents.is_empty() {
                return Err(too_long("the next document alone", LIST_REMEDY));
            }
            let (total, next) = (page.total, page.end(documents.len()));
            Ok(DocumentListReply {
                documents,
                total,
                next,
                include,
                quarantine,
                commit: snapshot.commit(),
                memory: Some(memory),
            })
        };
        self.inner.work.cpu(TaskContext::answer(grant), work).await?
    }

    /// Deletes documents. Documents that the audience does not see stay and are not counted.
    ///
    /// With `erase`, which requires ids, the reply is sent once no object, checkpoint or log contains the documents,
    /// with a certificate that names those of which nothing is left.
    pub async fn delete_documents(
        &self,
        grant: Grant<Delete>,
        which: Selection,
        erase: bool,
    ) -> FlowResult<DeleteReply> {
        let end = self.delete_under(&grant, which, erase).await;
        self.finish_write(grant, end).await
    }

    async fn delete_under(
        &self,
        grant: &Grant<Delete>,
        which: Selection,
        erase: bool,
    ) -> Result<(DeleteReply, CommitNo), Error> {
        let _permit = self.inner.writes.acquire(grant.incarnation(), 1)?;
        let record = self.namespace_record(grant)?;
        let audience = grant.audience(None, record.settings.readers())?;
        let handle = self.inner.stores.enter(grant, &record.settings).await?;
        let write_record = audit_record(self.inner.audit_log.record_writer(grant), "deleted");
        if !erase {
            let outcome = handle.delete(&which, &audience, write_record).await?;
            let (deleted, commit) = (outcome.deleted, outcome.commit);
            return Ok((DeleteReply { deleted, commit, certificate: None }, commit));
        }
        let Selection::Ids(ids) = which else {
            return Err(Error::invalid("erase", "wants ids: documents are erased by their names"));
        };
        let erasing = handle.erase(&ids, &audience, write_record).await?;
        let (deleted, commit) = (erasing.outcome.deleted, erasing.outcome.commit);
        let deleted_ids: std::collections::HashSet<_> = erasing.outcome.ids.iter().cloned().collect();
        let erased = erasing.erased().await?;
        // An id is named only if nothing is left that the caller could read. A caller who does not see everything must
        // not learn from a missing id whether a hidden document has it or none ever had. So for such a caller only
        // documents that this call deleted are named.
        let sees_all = matches!(audience, kernel::Audience::Everything);
        let mut named = erased.free;
        named.retain(|id| sees_all || deleted_ids.contains(id));
        let certificate = match named.is_empty() {
            true => None,
            false => {
                let commits = (erased.commit, erased.checked_at);
                Some(self.inner.registry.certify_erased(grant, &record, &named, deleted, commits, sees_all)?)
            }
        };
        Ok((DeleteReply { deleted, commit, certificate }, commit))
    }

    /// Changes attributes, readers, URI or expiry. The text does not change, so nothing is embedded.
    pub async fn patch_documents(&self, grant: Grant<Patch>, request: PatchRequest) -> FlowResult<PatchReply> {
        let end = self.patch_under(&grant, request).await;
        self.finish_write(grant, end).await
    }

    async fn patch_under(&self, grant: &Grant<Patch>, request: PatchRequest) -> Result<(PatchReply, CommitNo), Error> {
        let _permit = self.inner.writes.acquire(grant.incarnation(), 1)?;
        let record = self.namespace_record(grant)?;
        self.ensure_totals_known(grant).await?;
        let audience = grant.audience(None, record.settings.readers())?;
        let opened = matches!(request.patch.readers, Some(None));
        if opened && record.settings.require_readers {
            return Err(Error::invalid("readers", "is required in this namespace"));
        }
        // Screening scans every string of the patch, and a body may contain many, so it runs on the pool.
        let (raw, policy) = (request.patch, record.settings.screening);
        let screen = move || intake::screen_patch(raw, &policy);
        let patch = self.inner.work.cpu(TaskContext::prepare(grant), screen).await??;
        let handle = self.inner.stores.enter(grant, &record.settings).await?;
        let outcome = handle
            .patch(
                &request.selection,
                &audience,
                patch,
                audit_record(self.inner.audit_log.record_writer(grant), "patched"),
            )
            .await?;
        Ok((PatchReply { matched: outcome.matched, commit: outcome.commit }, outcome.commit))
    }

    /// Releases or rejects quarantined documents in the state that the reviewer saw. A document that was written again
    /// since then is a `conflict` and stays as it is.
    pub async fn review(&self, grant: Grant<Review>, request: ReviewRequest) -> FlowResult<ReviewReply> {
        let end = self.review_under(&grant, request).await;
        self.finish_write(grant, end).await
    }

    async fn review_under(
        &self,
        grant: &Grant<Review>,
        request: ReviewRequest,
    ) -> Result<(ReviewReply, CommitNo), Error> {
        let _permit = self.inner.writes.acquire(grant.incarnation(), 1)?;
        let record = self.namespace_record(grant)?;
        let audience = grant.audience(None, record.settings.readers())?;
        let handle = self.inner.stores.enter(grant, &record.settings).await?;
        let count = match request.decision {
            Decision::Release => "released",
            Decision::Reject => "rejected",
        };
        let (record_writer, note) = (self.inner.audit_log.record_writer(grant), request.note);
        let write_record =
            Box::new(move |outcome: &WriteOutcome| record_writer.write(change_event(outcome, count).note(note)));
        let outcome = handle.decide(&request.documents, &audience, request.decision, write_record).await?;
        let results = outcome.results.into_iter().map(|r| (r.id, r.status.as_str())).collect();
        Ok((ReviewReply { results, commit: outcome.commit }, outcome.commit))
    }
}

/// Reads the parts of a document that are shown. Returns `None` if it would make the reply too long; a lower bound of
/// its size is known before it is read.
fn read_document(
    snapshot: &Snapshot,
    located: &DocumentHandle,
    include: Include,
    budget: &mut ReplyBudget,
    memory: &mut Permit,
) -> Result<Option<Document>, Error> {
    let sizes = snapshot.sizes(located);
    // In JSON a number takes at least two bytes, a digit and a comma; stored it takes four.
    let mut least = if include.text { sizes.text } else { 0 } + if include.vector { sizes.vectors / 2 } else { 0 };
    // Withheld content takes no space in the reply, so such a document is read without it.
    if !budget.fits(least) {
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
    if !budget.take(length) {
        return Ok(None);
    }
    memory.grow(document.heap_bytes().saturating_sub(least) + length)?;
    Ok(Some(document))
}

/// Memory of a reply without documents, in bytes.
const REPLY_BYTES_MIN: u64 = 64 << 10;
const GET_REMEDY: &str =
    "leave out its text or vector; documents/list with an empty include shows it without attributes too";
const LIST_REMEDY: &str = "list it with less of it: its head alone comes with an empty include";

/// Refuses vectors to a key without the scope `vectors`. They are source data, so reading them needs a scope of its
/// own.
fn check_include<A: Action>(grant: &Grant<A>, include: Include) -> Result<(), Error> {
    if include.vector && !grant.has(Scope::Vectors) {
        return Err(Error::new(Code::Forbidden, "the key lacks the scope vectors").with_param("include"));
    }
    Ok(())
}

/// Quarantined content is shown only to keys with the scope `review`.
fn quarantine_visibility<A: Action>(grant: &Grant<A>) -> Quarantine {
    if grant.has(Scope::Review) { Quarantine::Shown } else { Quarantine::Withheld }
}

/// Builds the audit record of a mutation, which is written when its outcome is known.
pub(crate) fn audit_record(record_writer: RecordWriter, count: &'static str) -> store::MakeAuditRecord {
    Box::new(move |outcome: &WriteOutcome| record_writer.write(change_event(outcome, count)))
}

/// The event with the documents that a mutation changed, and their number under the name `count`.
fn change_event(outcome: &WriteOutcome, count: &'static str) -> AuditEvent {
    AuditEvent::success().count(count, outcome.ids.len() as u64).documents(outcome.ids.clone())
}
