//! Namespaces: made, changed, shown, dropped.

use crate::{Deleted, Engine, Flow, Page, Paged, documents::line};
use access::{Action, Browse, Grant, Manage};
use kernel::{
    Chunking, Code, CommitNo, Distance, Embedding, Error, Incarnation, KeyEpoch, Language, NamespaceName,
    NamespaceSettings, NamespaceUuid, ScreenAction, Timestamp, limits,
};
use ledger::Deed;
use registry::NamespaceRecord;
use store::Totals;

/// Where vectors shall come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmbeddingAsk {
    /// A model of the server's, by name.
    Model(String),
    /// The caller's own vectors of this length.
    Dimensions(u32),
}

/// What shall change; absent members keep their value.
#[derive(Clone, Debug, Default)]
pub struct NamespaceChange {
    /// Fixed once filled.
    pub embedding: Option<EmbeddingAsk>,
    /// Fixed once filled.
    pub distance: Option<Distance>,
    /// Fixed once filled.
    pub chunking: Option<Chunking>,
    /// Fixed once filled.
    pub language: Option<Language>,
    /// What injection findings lead to.
    pub injection: Option<ScreenAction>,
    /// What personal data leads to.
    pub pii: Option<ScreenAction>,
    /// What credentials lead to.
    pub secret: Option<ScreenAction>,
    /// `Some(None)` removes the limit.
    pub retention_days: Option<Option<u32>>,
    /// Whether documents must name readers.
    pub require_readers: Option<bool>,
}

/// A namespace as its tenant sees it.
#[derive(Clone, Debug)]
pub struct NamespaceView {
    /// Its name.
    pub name: NamespaceName,
    /// Its settings.
    pub settings: NamespaceSettings,
    /// When it was made.
    pub created_at: Timestamp,
    /// Documents that the caller sees, quarantined ones included.
    pub documents: u64,
    /// Their passages.
    pub passages: u64,
    /// Bytes of those documents: all that they hold, indexes beside it.
    pub bytes: u64,
    /// Those of them that are held back.
    pub quarantined: u64,
    /// The newest commit.
    pub commit: CommitNo,
    /// Which tenant key wraps its key.
    pub key_epoch: KeyEpoch,
}

impl Engine {
    /// Makes a namespace or changes it.
    pub async fn put_namespace(&self, grant: Grant<Manage>, change: NamespaceChange) -> Flow<NamespaceView> {
        let end = self.put_under(&grant, change).await.map(|view| (view, Deed::success()));
        self.settle(grant, end).await
    }

    async fn put_under(&self, grant: &Grant<Manage>, change: NamespaceChange) -> Result<NamespaceView, Error> {
        let name = grant.namespace().ok_or_else(Error::not_found)?;
        let before = self.inner.registry.namespace(grant.incarnation(), name);
        let old = before.as_ref().map(|r| r.settings.clone()).unwrap_or_default();
        let retains = change.retention_days.is_some();
        let new = self.changed(&old, change)?;
        new.validate()?;
        let shape = |s: &NamespaceSettings| (s.embedding.clone(), s.distance, s.chunking, s.language);
        let fixed = shape(&old) != shape(&new);
        if fixed && let Some(record) = &before {
            // All documents count, visible to the caller or not: they were made with these settings.
            let room = self.inner.stores.enter(grant, &record.settings).await?;
            if room.totals().documents > 0 {
                let message = "embedding, distance, chunking and text are fixed once the namespace holds documents; make a new one";
                let param = if old.language == new.language { "embedding" } else { "text" };
                return Err(Error::new(Code::Immutable, message).with_param(param));
            }
        }
        let record = self.inner.registry.put_namespace(grant, new).await?;
        if fixed {
            // An open, empty namespace still has the old shape in memory.
            self.inner.stores.reshape(grant).await;
        }
        if retains {
            let room = self.inner.stores.enter(grant, &record.settings).await?;
            room.retain(record.settings.retention, || line(self.inner.trail.pen(grant), "shortened")).await?;
        }
        let totals = self.totals(grant, &record).await?;
        Ok(view(record, totals))
    }

    fn changed(&self, old: &NamespaceSettings, change: NamespaceChange) -> Result<NamespaceSettings, Error> {
        let mut new = old.clone();
        match change.embedding {
            Some(EmbeddingAsk::Dimensions(dimensions)) => {
                if !(limits::DIMENSIONS_MIN..=limits::DIMENSIONS_MAX).contains(&(dimensions as usize)) {
                    return Err(Error::invalid("embedding.dimensions", "must be 2 to 4096"));
                }
                new.embedding = Embedding::Own { dimensions };
            }
            Some(EmbeddingAsk::Model(name)) => {
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

    /// One namespace.
    pub async fn get_namespace(&self, grant: Grant<Browse>) -> Flow<NamespaceView> {
        let end = self.get_namespace_under(&grant).await.map(|view| (view, Deed::success()));
        self.settle(grant, end).await
    }

    async fn get_namespace_under(&self, grant: &Grant<Browse>) -> Result<NamespaceView, Error> {
        let record = self.namespace_record(grant)?;
        let totals = self.totals(grant, &record).await?;
        Ok(view(record, totals))
    }

    /// The tenant's namespaces that this key may enter, by name.
    pub async fn list_namespaces(&self, grant: Grant<Browse>, page: Page) -> Flow<Paged<NamespaceView>> {
        let end = self.list_namespaces_under(&grant, page).await.map(|page| {
            let deed = Deed::success().count("namespaces", page.items.len() as u64);
            (page, deed)
        });
        self.settle(grant, end).await
    }

    async fn list_namespaces_under(&self, grant: &Grant<Browse>, page: Page) -> Result<Paged<NamespaceView>, Error> {
        let (records, next) = self.inner.registry.namespaces(grant, page.after.as_deref(), page.limit)?;
        let mut items = Vec::new();
        for record in records {
            let audience = grant.audience(None, record.settings.readers())?;
            let totals = self.inner.stores.totals(grant, &record.name, &record.settings, &audience).await?;
            items.push(view(record, totals));
        }
        Ok(Paged { items, next })
    }

    /// Drops a namespace: its key first, then its bytes.
    pub async fn delete_namespace(&self, grant: Grant<Manage>) -> Flow<Deleted> {
        let end = self.delete_namespace_under(&grant).await.map(|uuid| (Deleted, Deed::success().ended(uuid)));
        self.settle(grant, end).await
    }

    async fn delete_namespace_under(&self, grant: &Grant<Manage>) -> Result<NamespaceUuid, Error> {
        let record = self.namespace_record(grant)?;
        let room = self.inner.stores.enter(grant, &record.settings).await?;
        // From here no request enters. The key is destroyed before the bytes, so that a crash leaves nothing readable.
        self.inner.registry.drop_namespace(grant).await?;
        room.destroy().await?;
        Ok(record.uuid)
    }

    /// Totals of what the caller sees of the namespace that a grant names.
    async fn totals<A: Action>(&self, grant: &Grant<A>, record: &NamespaceRecord) -> Result<Totals, Error> {
        let audience = grant.audience(None, record.settings.readers())?;
        Ok(self.inner.stores.enter(grant, &record.settings).await?.totals_for(&audience).await?)
    }

    /// Totals over all namespaces of a tenant, hidden documents included: for quotas, and for keys that see everything.
    /// Sums are kept, so this is cheap once they are known. Namespaces that were not open since the start count as the
    /// tenant's audit has recorded them, and none is opened for this.
    pub(crate) async fn tenant_totals(&self, incarnation: Incarnation) -> Result<Totals, Error> {
        if !self.inner.stores.knows_tenant(incarnation) {
            let all = self.inner.registry.uuids(incarnation);
            let recorded = self.inner.trail.recorded(incarnation, &all).await?;
            self.inner.stores.learn_tenant(incarnation, all.into_iter().zip(recorded));
        }
        Ok(self.inner.stores.tenant_totals(incarnation))
    }

    /// The same over some of its namespaces.
    pub(crate) async fn totals_in(&self, incarnation: Incarnation, some: &[NamespaceUuid]) -> Result<Totals, Error> {
        self.tenant_totals(incarnation).await?;
        Ok(self.inner.stores.totals_in(incarnation, some))
    }

    /// Makes sure that the tenant's totals are known before a write that a quota limits: the store checks the quota
    /// when it plans the write.
    pub(crate) async fn know_totals<A: Action>(&self, grant: &Grant<A>) -> Result<(), Error> {
        let quotas = grant.quotas();
        if quotas.documents.is_some() || quotas.bytes.is_some() {
            self.tenant_totals(grant.incarnation()).await?;
        }
        Ok(())
    }
}

fn view(record: NamespaceRecord, totals: Totals) -> NamespaceView {
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
