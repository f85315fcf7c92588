//! Access to a tenant's namespaces for maintenance that no request begins. It works even while the tenant is suspended,
//! because its deletes were acknowledged; but not once its provider has refused the key, nor while it is being erased.

use crate::{
    Registry,
    record::{Lifecycle, TenantRecord},
    tenant_table::TenantGuard,
};
use kernel::{Incarnation, NamespaceName, NamespaceSettings, Result, TenantId};
use std::{ops::Bound, sync::Arc};
use vault::Keyspace;

/// A namespace under maintenance. While this lives, its tenant stays open and its lease is renewed.
pub struct MaintainedNamespace {
    /// Keyspace of the namespace.
    pub keyspace: Arc<Keyspace>,
    /// Settings of the namespace.
    pub settings: Arc<NamespaceSettings>,
    _open: TenantGuard,
}

impl Registry {
    /// Returns the tenants that are not being erased, in order of name.
    pub fn maintained_tenants(&self) -> Vec<(TenantId, Incarnation)> {
        let undeleted = |t: &&TenantRecord| t.life != Lifecycle::Deleting;
        self.inner.control.read(|s| {
            let undeleted = s.tenants.values().filter(undeleted);
            undeleted.map(|t| (t.id.clone(), t.incarnation)).collect()
        })
    }

    /// Whether the tenant of this incarnation is served: it is neither suspended nor being erased, and its keys are
    /// available.
    pub fn is_active(&self, incarnation: Incarnation) -> bool {
        let active = |t: &TenantRecord| t.life == Lifecycle::Active;
        self.inner.control.read(|s| s.by_incarnation(incarnation).is_some_and(active))
            && self.inner.served(incarnation).is_some()
    }

    /// Returns at most `most` namespaces of a tenant, in order of name, after the given one. Opens the tenant.
    ///
    /// # Errors
    /// The error that keeps its keys or its directory closed; `not_found`.
    pub async fn maintained_namespaces(
        &self,
        incarnation: Incarnation,
        after: Option<&NamespaceName>,
        most: usize,
    ) -> Result<Vec<NamespaceName>> {
        let open_tenant = self.inner.open(incarnation).await?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(open_tenant.directory().read(|s| {
            let following = s.namespaces.range::<NamespaceName, _>((from, Bound::Unbounded));
            following.take(most).map(|(name, _)| name.clone()).collect()
        }))
    }

    /// Returns one of them for maintenance; `None` when it is deleted.
    ///
    /// # Errors
    /// As [`Registry::maintained_namespaces`].
    pub async fn maintain(
        &self,
        incarnation: Incarnation,
        name: &NamespaceName,
    ) -> Result<Option<MaintainedNamespace>> {
        let open_tenant = self.inner.open(incarnation).await?;
        let Some(keyspace) = open_tenant.maintenance_keyspace(name)? else { return Ok(None) };
        let settings = open_tenant.directory().read(|s| s.namespaces.get(name).map(|n| n.settings.clone()));
        Ok(settings.map(|settings| MaintainedNamespace { keyspace, settings, _open: open_tenant }))
    }
}
