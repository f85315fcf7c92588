//! Namespaces as their tenant's directory records them. The engine decides whether one is filled, and what that fixes.

use crate::{
    Registry,
    directory::{DirectoryEvent, DirectoryState},
    open_tenant::OpenTenant,
    opening::new_keyspace,
    record::NamespaceEntry,
    tenant_table::TenantGuard,
};
use access::{Action, Grant, Manage};
use kernel::{
    Code, Embedding, Error, Incarnation, KeyEpoch, NamespaceName, NamespaceSettings, NamespaceUuid, Quotas, Result,
    Timestamp,
};
use std::{collections::BTreeMap, ops::Bound, sync::Arc};
use vault::KeyspaceKind;

/// A namespace.
#[derive(Clone, Debug)]
pub struct NamespaceRecord {
    /// Name within the tenant.
    pub name: NamespaceName,
    /// Uuid, which tells this namespace from others that had the name before.
    pub uuid: NamespaceUuid,
    /// Settings of the namespace.
    pub settings: NamespaceSettings,
    /// When it was created.
    pub created_at: Timestamp,
    /// Tenant key epoch under which its own key is wrapped.
    pub key_epoch: KeyEpoch,
}

impl NamespaceRecord {
    fn of(name: &NamespaceName, entry: &NamespaceEntry) -> Self {
        Self {
            name: name.clone(),
            uuid: entry.keyspace.uuid,
            settings: (*entry.settings).clone(),
            created_at: entry.created_at,
            key_epoch: KeyEpoch(entry.keyspace.wrapped.epoch),
        }
    }
}

impl Registry {
    /// Returns one namespace of a tenant that is open.
    ///
    /// # Errors
    /// `not_found` when there is none; the error that keeps the tenant's directory closed, even if it closed during the
    /// request.
    pub fn require_namespace(&self, incarnation: Incarnation, name: &NamespaceName) -> Result<NamespaceRecord> {
        let open_tenant = self.inner.open_tenant(incarnation)?;
        let known = open_tenant.directory().read(|s| s.namespaces.get(name).map(|n| NamespaceRecord::of(name, n)));
        known.ok_or_else(Error::not_found)
    }

    /// Returns one namespace; `None` when there is none, or no such tenant.
    pub fn namespace(&self, incarnation: Incarnation, name: &NamespaceName) -> Option<NamespaceRecord> {
        self.require_namespace(incarnation, name).ok()
    }

    /// Returns the namespaces that the grant's key may use, in order of name, and where the next page begins.
    ///
    /// # Errors
    /// The error that keeps the tenant's directory closed.
    pub fn namespaces<A: Action>(
        &self,
        grant: &Grant<A>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<NamespaceRecord>, Option<String>)> {
        let open_tenant = self.inner.open_tenant(grant.incarnation())?;
        let mut page: Vec<_> = open_tenant.directory().read(|s| {
            let visible = following(&s.namespaces, after).filter(|(name, _)| grant.may_enter(name));
            visible.take(limit.saturating_add(1)).map(|(name, n)| NamespaceRecord::of(name, n)).collect()
        });
        let more = page.len() > limit;
        page.truncate(limit);
        let next = page.last().filter(|_| more).map(|n| n.name.as_str().to_owned());
        Ok((page, next))
    }

    /// Returns the number of namespaces of a tenant that is open.
    pub fn namespace_count(&self, incarnation: Incarnation) -> u64 {
        let Ok(open_tenant) = self.inner.open_tenant(incarnation) else { return 0 };
        open_tenant.directory().read(|s| s.namespaces.len() as u64)
    }

    /// Returns the uuids of all namespaces of a tenant that is open.
    pub fn uuids(&self, incarnation: Incarnation) -> Vec<NamespaceUuid> {
        let Ok(open_tenant) = self.inner.open_tenant(incarnation) else { return Vec::new() };
        open_tenant.directory().read(|s| s.namespaces.values().map(|n| n.keyspace.uuid).collect())
    }

    /// Returns the uuids of those of the named namespaces that exist.
    pub fn uuids_of(&self, incarnation: Incarnation, names: &[NamespaceName]) -> Vec<NamespaceUuid> {
        let Ok(open_tenant) = self.inner.open_tenant(incarnation) else { return Vec::new() };
        open_tenant
            .directory()
            .read(|s| names.iter().filter_map(|name| Some(s.namespaces.get(name)?.keyspace.uuid)).collect())
    }

    /// Returns the keyspace and the record of a tenant's namespace, for work that an operator requested. The tenant may
    /// be suspended.
    ///
    /// # Errors
    /// `not_found`; the error that keeps the tenant's directory closed.
    pub async fn operator_namespace(
        &self,
        _: &access::Operator,
        tenant: &kernel::TenantId,
        name: &NamespaceName,
    ) -> Result<(Arc<vault::Keyspace>, NamespaceRecord)> {
        let open_tenant = self.inner.open(self.inner.tenant_record(tenant)?.incarnation).await?;
        let record = open_tenant.directory().read(|s| s.namespaces.get(name).map(|n| NamespaceRecord::of(name, n)));
        let keyspace = open_tenant.keyspace_while_suspended(name)?;
        keyspace.zip(record).ok_or_else(Error::not_found)
    }

    /// Returns the namespace that the grant names, and whether it was created, with `defaults`, by this call.
    ///
    /// # Errors
    /// `quota_exceeded`; the error that keeps the tenant's directory closed.
    pub async fn ensure_namespace<A: Action>(
        &self,
        grant: &Grant<A>,
        defaults: NamespaceSettings,
    ) -> Result<(NamespaceRecord, bool)> {
        let (open_tenant, name) = self.enter(grant)?;
        let known = open_tenant.directory().read(|s| s.namespaces.get(name).map(|n| NamespaceRecord::of(name, n)));
        if let Some(known) = known {
            return Ok((known, false));
        }
        defaults.validate()?;
        let quotas = self.quotas(grant)?;
        let written = open_tenant
            .write(|state| match state.namespaces.get(name) {
                Some(known) => Ok((None, (NamespaceRecord::of(name, known), false))),
                None => {
                    let entry = self.new_entry(&open_tenant, state, &quotas, defaults)?;
                    let record = NamespaceRecord::of(name, &entry);
                    Ok((Some(put(name, entry)), (record, true)))
                }
            })
            .await?;
        Ok(written)
    }

    /// Creates the namespace that the grant names, or changes its settings. The engine decides whether a change is
    /// `immutable`, because it knows whether the namespace is filled.
    ///
    /// # Errors
    /// `invalid_request`, `quota_exceeded`; the error that keeps the tenant's directory closed.
    pub async fn put_namespace(&self, grant: &Grant<Manage>, settings: NamespaceSettings) -> Result<NamespaceRecord> {
        settings.validate()?;
        let (open_tenant, name) = self.enter(grant)?;
        let quotas = self.quotas(grant)?;
        let written = open_tenant
            .write(|state| {
                let entry = match state.namespaces.get(name) {
                    Some(known) if *known.settings == settings => {
                        return Ok((None, NamespaceRecord::of(name, known)));
                    }
                    Some(known) => NamespaceEntry { settings: Arc::new(settings), ..known.clone() },
                    None => self.new_entry(&open_tenant, state, &quotas, settings)?,
                };
                let record = NamespaceRecord::of(name, &entry);
                Ok((Some(put(name, entry)), record))
            })
            .await?;
        Ok(written)
    }

    /// Fixes the source of vectors if it is still open, and returns the namespace as it is then: of two calls at the
    /// same time, the first decides.
    ///
    /// # Errors
    /// `not_found`, `invalid_request`; the error that keeps the tenant's directory closed.
    pub async fn fix_embedding<A: Action>(&self, grant: &Grant<A>, embedding: Embedding) -> Result<NamespaceRecord> {
        let (open_tenant, name) = self.enter(grant)?;
        let written = open_tenant
            .write(|state| {
                let known = state.namespaces.get(name).ok_or_else(Error::not_found)?;
                if known.settings.embedding != Embedding::Default || embedding == Embedding::Default {
                    return Ok((None, NamespaceRecord::of(name, known)));
                }
                let settings = NamespaceSettings { embedding, ..(*known.settings).clone() };
                settings.validate()?;
                let entry = NamespaceEntry { settings: Arc::new(settings), ..known.clone() };
                let record = NamespaceRecord::of(name, &entry);
                Ok((Some(put(name, entry)), record))
            })
            .await?;
        Ok(written)
    }

    /// Forgets the namespace that the grant names: its wrapped key leaves the directory and, through a checkpoint, its
    /// log and older checkpoints, so that the remaining objects cannot be opened. The store, which has them open,
    /// removes them next; if a crash prevents that, the next opening of the directory does.
    ///
    /// # Errors
    /// `not_found`; the error that keeps the tenant's directory closed.
    pub async fn drop_namespace(&self, grant: &Grant<Manage>) -> Result<()> {
        let (open_tenant, name) = self.enter(grant)?;
        let uuid = open_tenant
            .write(|state| {
                let known = state.namespaces.get(name).ok_or_else(Error::not_found)?;
                let prefix = KeyspaceKind::Namespace.prefix(known.keyspace.uuid);
                Ok((Some(DirectoryEvent::NamespaceDropped { name: name.clone(), prefix }), known.keyspace.uuid))
            })
            .await?;
        open_tenant.forget(uuid);
        Ok(open_tenant.directory().purge().await?)
    }

    fn enter<'g, A: Action>(&self, grant: &'g Grant<A>) -> Result<(TenantGuard, &'g NamespaceName)> {
        let name = grant.namespace().ok_or_else(|| Error::invalid("namespace", "is missing"))?;
        Ok((self.inner.open_tenant(grant.incarnation())?, name))
    }

    /// Reads the present quotas, not those at the time of the grant.
    fn quotas<A: Action>(&self, grant: &Grant<A>) -> Result<Quotas> {
        self.inner.control.read(|s| s.tenants.get(grant.tenant()).map(|t| t.quotas)).ok_or_else(Error::not_found)
    }

    fn new_entry(
        &self,
        open_tenant: &OpenTenant,
        state: &DirectoryState,
        quotas: &Quotas,
        settings: NamespaceSettings,
    ) -> Result<NamespaceEntry> {
        if quotas.namespaces.is_some_and(|max| state.namespaces.len() as u64 >= max) {
            let why = "the tenant's quota of namespaces is used up; delete one or ask for more";
            return Err(Error::new(Code::QuotaExceeded, why).with_param("quotas.namespaces"));
        }
        let env = &self.inner.env;
        // The keyring is read here, under the directory's writer lock: a rotation that has replaced it covers this
        // namespace, and one that has not yet will wrap its key again.
        let (_, keyspace) =
            new_keyspace(env, self.inner.control.keyspace(), &open_tenant.keys(), KeyspaceKind::Namespace)?;
        Ok(NamespaceEntry { settings: Arc::new(settings), created_at: env.clock.now(), keyspace })
    }
}

fn put(name: &NamespaceName, entry: NamespaceEntry) -> DirectoryEvent {
    DirectoryEvent::NamespacePut { name: name.clone(), entry }
}

/// Returns namespaces in order of name, after `after`.
fn following<'a>(
    all: &'a BTreeMap<NamespaceName, NamespaceEntry>,
    after: Option<&str>,
) -> impl Iterator<Item = (&'a NamespaceName, &'a NamespaceEntry)> {
    // A text that is no valid name still has a position in the order, which is found by comparing with all names.
    let from = after.and_then(|a| NamespaceName::parse(a).ok());
    let start = from.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
    let invalid = after.filter(|_| from.is_none()).map(str::to_owned);
    all.range((start, Bound::Unbounded))
        .filter(move |(name, _)| invalid.as_ref().is_none_or(|a| name.as_str() > a.as_str()))
}
