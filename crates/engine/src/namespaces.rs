//! Flows that create, change, show and delete namespaces.

use crate::{Engine, FlowResult, ListPage, NamespaceDeleted, PageRequest, documents::audit_record};
use access::{Action, Browse, Grant, Manage};
use kernel::{
    Chunking, Code, CommitNo, Distance, Embedding, Error, Incarnation, KeyEpoch, Language, NamespaceName,
    NamespaceSettings, NamespaceUuid, ScreenAction, Timestamp, limits,
};
use ledger::AuditEvent;
use registry::NamespaceRecord;
use store::Totals;

/// Requested source of a namespace's vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmbeddingChoice {
    /// A model of the server, by name.
    Model(String),
    /// The callers' own vectors, of this length.
    Dimensions(u32),
}

/// Changes to a namespace's settings; absent members keep their value.
#[derive(Clone, Debug, Default)]
pub struct NamespaceChange {
    /// Source of vectors. Immutable once the namespace holds documents.
    pub embedding: Option<EmbeddingChoice>,
    /// Distance of vectors. Immutable once the namespace holds documents.
    pub distance: Option<Distance>,
    /// Chunking of texts. Immutable once the namespace holds documents.
    pub chunking: Option<Chunking>,
    /// Language of text search. Immutable once the namespace holds documents.
    pub language: Option<Language>,
    /// Action on findings of prompt injection.
    pub injection: Option<ScreenAction>,
    /// Action on findings of personal data.
    pub pii: Option<ScreenAction>,
    /// Action on findings of credentials.
    pub secret: Option<ScreenAction>,
    /// Retention in days; `Some(None)` removes the limit.
    pub retention_days: Option<Option<u32>>,
    /// Whether documents must name readers.
    pub require_readers: Option<bool>,
}

/// A namespace as its tenant sees it.
#[derive(Clone, Debug)]
pub struct NamespaceView {
    /// Name of the namespace.
    pub name: NamespaceName,
    /// Settings of the namespace.
    pub settings: NamespaceSettings,
    /// Time of creation.
    pub created_at: Timestamp,
    /// Number of documents that the caller sees, quarantined ones included.
    pub documents: u64,
    /// Number of passages of these documents.
    pub passages: u64,
    /// Bytes of these documents, without indexes.
    pub bytes: u64,
    /// Number of these documents that are quarantined.
    pub quarantined: u64,
    /// The newest commit.
    pub commit: CommitNo,
    /// Epoch of the tenant key that wraps the namespace's key.
    pub key_epoch: KeyEpoch,
}

impl Engine {
    /// Creates a namespace or changes it.
    pub async fn put_namespace(&self, grant: Grant<Manage>, change: NamespaceChange) -> FlowResult<NamespaceView> {
        let end = self.put_under(&grant, change).await.map(|view| (view, AuditEvent::success()));
        self.finish_read(grant, end).await
    }

    async fn put_under(&self, grant: &Grant<Manage>, change: NamespaceChange) -> Result<NamespaceView, Error> {
        let name = grant.namespace().ok_or_else(Error::not_found)?;
        let before = self.inner.registry.namespace(grant.incarnation(), name);
        let old = before.as_ref().map(|r| r.settings.clone()).unwrap_or_default();
        let retains = change.retention_days.is_some();
        let new = self.apply_change(&old, change)?;
        new.validate()?;
        let shape = |s: &NamespaceSettings| (s.embedding.clone(), s.distance, s.chunking, s.language);
        let fixed = shape(&old) != shape(&new);
        if fixed && let Some(record) = &before {
            // All documents count, whether or not the caller sees them, because they were stored under these settings.
            let handle = self.inner.stores.enter(grant, &record.settings).await?;
            if handle.totals().documents > 0 {
                let message = "embedding, distance, chunking and text are fixed once the namespace holds documents; make a new one";
                let param = if old.language == new.language { "embedding" } else { "text" };
                return Err(Error::new(Code::Immutable, message).with_param(param));
            }
        }
        let record = self.inner.registry.put_namespace(grant, new).await?;
        if fixed {
            // An open, empty namespace still has the old settings in memory.
            self.inner.stores.close_if_empty(grant).await;
        }
        if retains {
            let handle = self.inner.stores.enter(grant, &record.settings).await?;
            handle
                .retain(record.settings.retention, || {
                    audit_record(self.inner.audit_log.record_writer(grant), "shortened")
                })
                .await?;
        }
        let totals = self.totals(grant, &record).await?;
        Ok(namespace_view(record, totals))
    }

    fn apply_change(&self, old: &NamespaceSettings, change: NamespaceChange) -> Result<NamespaceSettings, Error> {
        let mut new = old.clone();
        match change.embedding {
            Some(EmbeddingChoice::Dimensions(dimensions)) => {
                if !(limits::DIMENSIONS_MIN..=limits::DIMENSIONS_MAX).contains(&(dimensions as usize)) {
                    return Err(Error::invalid("embedding.dimensions", "must be 2 to 4096"));
                }
                new.embedding = Embedding::Own { dimensions };
            }
            Some(EmbeddingChoice::Model(name)) => {
                let same = matches!(&old.embedding, Embedding::Model { name: n, .. } if *n == name);
                if !same {
                    let model = self.inner.models.embedder(&name).ok_or_else(|| {
                        let embedders = self.inner.models.list().into_iter().filter(|m| m.dimensions > 0);
                        let known: Vec<String> = embedders.map(|m| m.name).collect();
                        let message = format!("no such model serves; these do: {}", known.join(", "));
                        Error::new(Code::ModelUnavailable, message).with_param("embedding.model")
                    })?;
                    let dimensions = u32::try_from(model.dimensions).unwrap_or(u32::MAX);
                    new.embedding = Embedding::Model { name: model.name, dimensions };
                }
            }
            None => {}
        }
        new.distance = change.distance.unwrap_or(old.distance);
        new.chunking = change.chunking.unwrap_or(old.chunking);
        new.language = change.language.unwrap_or(old.language);
        new.screening.injection = change.injection.unwrap_or(old.screening.injection);
        new.screening.pii = change.pii.unwrap_or(old.screening.pii);
        new.screening.secret = change.secret.unwrap_or(old.screening.secret);
        new.retention.days = change.retention_days.unwrap_or(old.retention.days);
        new.require_readers = change.require_readers.unwrap_or(old.require_readers);
        Ok(new)
    }

    /// Returns one namespace.
    pub async fn get_namespace(&self, grant: Grant<Browse>) -> FlowResult<NamespaceView> {
        let end = self.get_namespace_under(&grant).await.map(|view| (view, AuditEvent::success()));
        self.finish_read(grant, end).await
    }

    async fn get_namespace_under(&self, grant: &Grant<Browse>) -> Result<NamespaceView, Error> {
        let record = self.namespace_record(grant)?;
        let totals = self.totals(grant, &record).await?;
        Ok(namespace_view(record, totals))
    }

    /// Lists the tenant's namespaces that this key may use, by name.
    pub async fn list_namespaces(
        &self,
        grant: Grant<Browse>,
        page: PageRequest,
    ) -> FlowResult<ListPage<NamespaceView>> {
        let end = self.list_namespaces_under(&grant, page).await.map(|page| {
            let event = AuditEvent::success().count("namespaces", page.items.len() as u64);
            (page, event)
        });
        self.finish_read(grant, end).await
    }

    async fn list_namespaces_under(
        &self,
        grant: &Grant<Browse>,
        page: PageRequest,
    ) -> Result<ListPage<NamespaceView>, Error> {
        let (records, next) = self.inner.registry.namespaces(grant, page.after.as_deref(), page.limit)?;
        let mut items = Vec::new();
        for record in records {
            let audience = grant.audience(None, record.settings.readers())?;
            let totals = self.inner.stores.totals(grant, &record.name, &record.settings, &audience).await?;
            items.push(namespace_view(record, totals));
        }
        Ok(ListPage { items, next })
    }

    /// Deletes a namespace: first its key, then its bytes.
    pub async fn delete_namespace(&self, grant: Grant<Manage>) -> FlowResult<NamespaceDeleted> {
        let end =
            self.delete_namespace_under(&grant).await.map(|uuid| (NamespaceDeleted, AuditEvent::success().ended(uuid)));
        self.finish_read(grant, end).await
    }

    async fn delete_namespace_under(&self, grant: &Grant<Manage>) -> Result<NamespaceUuid, Error> {
        let record = self.namespace_record(grant)?;
        let handle = self.inner.stores.enter(grant, &record.settings).await?;
        // From here no request opens the namespace. The key is destroyed before the bytes, so that a crash leaves
        // nothing readable.
        self.inner.registry.drop_namespace(grant).await?;
        handle.destroy().await?;
        Ok(record.uuid)
    }

    /// Totals of what the caller sees in the namespace that a grant names.
    async fn totals<A: Action>(&self, grant: &Grant<A>, record: &NamespaceRecord) -> Result<Totals, Error> {
        let audience = grant.audience(None, record.settings.readers())?;
        Ok(self.inner.stores.enter(grant, &record.settings).await?.totals_for(&audience).await?)
    }

    /// Totals over all namespaces of a tenant, hidden documents included: for quotas, and for keys that see everything.
    /// Totals are kept in memory, so this is cheap once they are known. Namespaces that were not open since the start
    /// count with the totals that the tenant's audit has recorded; none is opened for this.
    pub(crate) async fn tenant_totals(&self, incarnation: Incarnation) -> Result<Totals, Error> {
        if !self.inner.stores.has_tenant_totals(incarnation) {
            let all = self.inner.registry.uuids(incarnation);
            let recorded = self.inner.audit_log.recorded(incarnation, &all).await?;
            self.inner.stores.seed_tenant_totals(incarnation, all.into_iter().zip(recorded));
        }
        Ok(self.inner.stores.tenant_totals(incarnation))
    }

    /// Totals over some of a tenant's namespaces, hidden documents included.
    pub(crate) async fn totals_in(&self, incarnation: Incarnation, some: &[NamespaceUuid]) -> Result<Totals, Error> {
        self.tenant_totals(incarnation).await?;
        Ok(self.inner.stores.totals_in(incarnation, some))
    }

    /// Ensures that the tenant's totals are known before a write that a quota limits, because the store checks the
    /// quota when it plans the write.
    pub(crate) async fn ensure_totals_known<A: Action>(&self, grant: &Grant<A>) -> Result<(), Error> {
        let quotas = grant.quotas();
        if quotas.documents.is_some() || quotas.bytes.is_some() {
            self.tenant_totals(grant.incarnation()).await?;
        }
        Ok(())
    }
}

fn namespace_view(record: NamespaceRecord, totals: Totals) -> NamespaceView {
    NamespaceView {
        name: record.name,
        settings: record.settings,
        created_at: record.created_at,
        documents: totals.documents,
        passages: totals.passages,
        bytes: totals.bytes,
        quarantined: totals.quarantined,
        commit: totals.commit,
        key_epoch: record.key_epoch,
    }
}
