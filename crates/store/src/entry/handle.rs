//! Handle on a namespace, opened with a grant for one action; it has the methods of that action only.
//!
//! No argument names a tenant or a namespace: the handle is bound to one. Every write has an audience:
//!
//! ```
//! # use {access::Ingest, kernel::Audience, store::{MakeAuditRecord, NamespaceHandle, Upsert}};
//! async fn write(handle: NamespaceHandle<Ingest>, documents: Vec<Upsert>, audience: &Audience, record: MakeAuditRecord) {
//!     let _outcome = handle.append(documents, audience, record).await;
//! }
//! ```
//! ```compile_fail,E0061
//! # use {access::Ingest, kernel::Audience, store::{MakeAuditRecord, NamespaceHandle, Upsert}};
//! async fn write(handle: NamespaceHandle<Ingest>, documents: Vec<Upsert>, record: MakeAuditRecord) {
//!     let _outcome = handle.append(documents, record).await;
//! }
//! ```

use crate::{
    Decision, DocumentErasure, Error, ExistingDocument, MakeAuditRecord, Reviewed, Selection, Snapshot, Totals, Upsert,
    WriteOutcome, cost,
    cpu::{TaskClass, on_cpu, run_inline},
    entry::{namespace::Namespace, slot::Slot},
    state::version::Version,
    write::plan::{WriteAction, WriteOp},
};
use access::{Action, Delete, Ingest, Manage, Patch, Read, Review, Search};
use intake::ScreenedPatch;
use kernel::{Audience, CancelFlag, CommitNo, Document, DocumentId, Pseudonymiser, Retention, Timestamp, cost::RunOn};
use segment::Spec;
use std::{
    collections::{HashMap, hash_map::Entry},
    marker::PhantomData,
    sync::Arc,
};

/// Handle on a namespace; see the module documentation. Created only by [`crate::Stores::enter`].
pub struct NamespaceHandle<A: Action> {
    namespace: Arc<Namespace>,
    slot: Arc<Slot>,
    spec: Spec,
    /// Whether the caller still waits for the answer.
    pub(crate) cancel: CancelFlag,
    action: PhantomData<fn() -> A>,
}

impl<A: Action> NamespaceHandle<A> {
    pub(crate) fn new(namespace: Arc<Namespace>, slot: Arc<Slot>, spec: Spec, cancel: CancelFlag) -> Self {
        Self { namespace, slot, spec, cancel, action: PhantomData }
    }

    /// Exact totals of everything that is published now, hidden documents included: for limits, never for a reply.
    pub fn totals(&self) -> Totals {
        self.namespace.core.totals()
    }

    /// The newest published commit.
    pub fn commit(&self) -> CommitNo {
        self.namespace.core.totals().commit
    }

    /// Exact totals of what an audience can see now.
    ///
    /// # Errors
    /// Fails if an index cannot be read; [`Error::Panicked`] if the pool shuts down.
    pub async fn totals_for(&self, audience: &Audience) -> Result<Totals, Error> {
        self.namespace.totals_for(audience).await
    }

    /// Pseudonymiser under this namespace's own key.
    pub fn keyed(&self) -> Arc<dyn Pseudonymiser> {
        self.namespace.core.keyspace.clone()
    }

    async fn snapshot_at(&self, min_commit: Option<CommitNo>) -> Result<Snapshot, Error> {
        if let Some(min_commit) = min_commit {
            self.namespace.core.published.wait_for_commit(min_commit).await?;
        }
        Ok(Snapshot::new(self.namespace.core.clone()))
    }
}

impl NamespaceHandle<Ingest> {
    /// For each id, in order: whether this audience can see a document under it, and whether its content is the same.
    /// The writer decides again, under the publish lock, in [`NamespaceHandle::append`].
    ///
    /// # Errors
    /// Fails if a document cannot be read; [`Error::Panicked`] if the pool shuts down.
    pub async fn known(
        &self,
        requested: &[(DocumentId, [u8; 32])],
        audience: &Audience,
    ) -> Result<Vec<ExistingDocument>, Error> {
        let config = &self.namespace.core.shared.config;
        let (version, now) = (self.namespace.core.version(), config.clock.now());
        if let RunOn::Caller(short) = cost::of_heads(&version, requested.iter().map(|(id, _)| id)).run_on() {
            return run_inline(&short, || known(&version, requested, audience, now))?;
        }
        // Heads may be long, or lie in a page that has to be fetched.
        let (requested, audience) = (requested.to_vec(), audience.clone());
        on_cpu(&*config.cpu, TaskClass::Write(self.namespace.core.incarnation), move || {
            known(&version, &requested, &audience, now)
        })
        .await?
    }

    /// Stores documents in one commit: all those that no conflict rule leaves out, or none. Documents that the audience
    /// cannot see are neither shown nor changed: for this audience their ids are free. The documents are durable and
    /// searchable when this returns. Cost: a share of one fsync.
    ///
    /// # Errors
    /// [`Error::Dimensions`]; a full queue or disk; `outcome_unknown` if the log failed during the write.
    pub async fn append(
        &self,
        docs: Vec<Upsert>,
        audience: &Audience,
        record: MakeAuditRecord,
    ) -> Result<WriteOutcome, Error> {
        let action = WriteAction::Append(docs, self.spec);
        self.namespace.write(WriteOp { audience: audience.clone(), action }, record, self.cancel.clone()).await
    }
}

fn known(
    version: &Version,
    requested: &[(DocumentId, [u8; 32])],
    audience: &Audience,
    now: Timestamp,
) -> Result<Vec<ExistingDocument>, Error> {
    // For each id, the oldest document that the audience can see and whether it is the only one. Each id is looked up
    // once, however often it is asked for, because it may have many hidden documents.
    let mut lookups: HashMap<&DocumentId, Option<(Document, bool)>> = HashMap::new();
    let mut known = Vec::with_capacity(requested.len());
    for (id, hash) in requested {
        let found = match lookups.entry(id) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(entry) => {
                let mut heads = version.visible_documents(id, audience, now)?.into_iter().map(|(.., head)| head);
                entry.insert(heads.next().map(|first| (first, heads.next().is_none())))
            }
        };
        known.push(match found {
            None => ExistingDocument::Absent,
            Some((head, true)) if head.content_hash == *hash => ExistingDocument::Same(Box::new(head.clone())),
            Some((head, _)) => ExistingDocument::Other(Box::new(head.clone())),
        });
    }
    Ok(known)
}

impl NamespaceHandle<Search> {
    /// The namespace as it is now, or as soon as `min_commit` is published.
    ///
    /// # Errors
    /// [`Error::NotPublished`] if that takes too long.
    pub async fn snapshot(&self, min_commit: Option<CommitNo>) -> Result<Snapshot, Error> {
        self.snapshot_at(min_commit).await
    }
}

impl NamespaceHandle<Read> {
    /// The namespace as it is now, or as soon as `min_commit` is published.
    ///
    /// # Errors
    /// [`Error::NotPublished`] if that takes too long.
    pub async fn snapshot(&self, min_commit: Option<CommitNo>) -> Result<Snapshot, Error> {
        self.snapshot_at(min_commit).await
    }
}

impl NamespaceHandle<Delete> {
    /// Deletes documents in one commit. Documents that the audience cannot see stay and are not counted.
    ///
    /// # Errors
    /// [`Error::TooLarge`]; otherwise as [`NamespaceHandle::append`].
    pub async fn delete(
        &self,
        which: &Selection,
        audience: &Audience,
        record: MakeAuditRecord,
    ) -> Result<WriteOutcome, Error> {
        let action = WriteAction::Delete(which.clone());
        self.namespace.write(WriteOp { audience: audience.clone(), action }, record, self.cancel.clone()).await
    }
}

impl NamespaceHandle<Delete> {
    /// Deletes these documents in one commit and then rewrites whatever still holds their bytes. The deletion is
    /// durable when this returns; [`DocumentErasure::erased`] names the checkpoint from which on no object and no log
    /// file holds the documents. May be called again for the same ids.
    ///
    /// # Errors
    /// As [`NamespaceHandle::delete`].
    pub async fn erase(
        &self,
        ids: &[DocumentId],
        audience: &Audience,
        record: MakeAuditRecord,
    ) -> Result<DocumentErasure, Error> {
        let outcome = self.delete(&Selection::Ids(ids.to_vec()), audience, record).await?;
        let Namespace { core, maintenance, .. } = &*self.namespace;
        Ok(DocumentErasure::start(core, maintenance, ids.to_vec(), audience.clone(), outcome))
    }
}

impl NamespaceHandle<Patch> {
    /// Changes attributes, readers, uri or expiry of documents in one commit; vectors stay.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Patch`]; otherwise as [`NamespaceHandle::append`].
    pub async fn patch(
        &self,
        which: &Selection,
        audience: &Audience,
        patch: ScreenedPatch,
        record: MakeAuditRecord,
    ) -> Result<WriteOutcome, Error> {
        let action = WriteAction::Patch(which.clone(), Box::new(patch));
        self.namespace.write(WriteOp { audience: audience.clone(), action }, record, self.cancel.clone()).await
    }
}

impl NamespaceHandle<Review> {
    /// Releases or deletes quarantined documents in one commit. A document that is no longer in the state that the
    /// reviewer saw is reported as a conflict and stays.
    ///
    /// # Errors
    /// As [`NamespaceHandle::append`].
    pub async fn decide(
        &self,
        reviewed: &[Reviewed],
        audience: &Audience,
        decision: Decision,
        record: MakeAuditRecord,
    ) -> Result<WriteOutcome, Error> {
        let action = WriteAction::Decide(reviewed.to_vec(), decision);
        self.namespace.write(WriteOp { audience: audience.clone(), action }, record, self.cancel.clone()).await
    }
}

impl NamespaceHandle<Manage> {
    /// Applies a retention. Stored documents that would live longer get an earlier expiry. Cost: each of these is
    /// written again, in several commits. May be called again after an error.
    ///
    /// # Errors
    /// As [`NamespaceHandle::append`].
    pub async fn retain(&self, retention: Retention, record: impl Fn() -> MakeAuditRecord) -> Result<(), Error> {
        self.namespace.core.set_retention(retention);
        if self.namespace.core.totals().documents == 0 {
            return Ok(());
        }
        loop {
            let op = WriteOp { audience: Audience::Everything, action: WriteAction::Shorten };
            if self.namespace.write(op, record(), self.cancel.clone()).await?.matched == 0 {
                return Ok(());
            }
        }
    }

    /// Deletes the namespace's bytes permanently; from then on it accepts no request. Its key should be destroyed
    /// first: then a crash or an error halfway leaves only bytes that nothing can open.
    ///
    /// # Errors
    /// Errors of the journal.
    pub async fn destroy(self) -> Result<(), Error> {
        self.slot.destroy(self.namespace).await
    }
}
