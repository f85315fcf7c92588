//! A tenant's namespaces for work that keeps what was promised to it, and that no request begins: also while the tenant
//! is suspended, for its deletes were acknowledged; never once its provider has said no, nor while it is erased.

use crate::{
    Registry,
    record::{Life, TenantRecord},
    residence::Residence,
};
use kernel::{Incarnation, NamespaceName, NamespaceSettings, Result, TenantId};
use std::{ops::Bound, sync::Arc};
use vault::Home;

/// A namespace to be looked after. While this lives its tenant stays open, and its lease is renewed.
pub struct Tending {
    /// Its home.
    pub home: Arc<Home>,
    /// Its settings.
    pub settings: Arc<NamespaceSettings>,
    _open: Arc<Residence>,
}

impl Registry {
    /// Tenants that are not being erased, by name.
    pub fn tended_tenants(&self) -> Vec<(TenantId, Incarnation)> {
        let living = |t: &&TenantRecord| t.life != Life::Deleting;
        self.inner.control.read(|s| {
            let living = s.tenants.values().filter(living);
            living.map(|t| (t.id.clone(), t.incarnation)).collect()
        })
    }

    /// Whether the tenant of this life is served: neither suspended nor on its way out, and its keys can be had.
    pub fn is_active(&self, incarnation: Incarnation) -> bool {
        let active = |t: &TenantRecord| t.life == Life::Active;
        self.inner.control.read(|s| s.by_incarnation(incarnation).is_some_and(active))
            && self.inner.served(incarnation).is_some()
    }

    /// So many namespaces of a tenant, by name, behind this one. Opens the tenant.
    ///
    /// # Errors
    /// What keeps its keys or its directory closed; `not_found`.
    pub async fn tended_namespaces(
        &self,
        incarnation: Incarnation,
        after: Option<&NamespaceName>,
        most: usize,
    ) -> Result<Vec<NamespaceName>> {
        let residence = self.inner.open(incarnation).await?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(residence.book().read(|s| {
            let behind = s.namespaces.range::<NamespaceName, _>((from, Bound::Unbounded));
            behind.take(most).map(|(name, _)| name.clone()).collect()
        }))
    }

    /// One of them; `None` when it is gone.
    ///
    /// # Errors
    /// As [`Registry::tended_namespaces`].
    pub async fn tend(&self, incarnation: Incarnation, name: &NamespaceName) -> Result<Option<Tending>> {
        let residence = self.inner.open(incarnation).await?;
        let Some(home) = residence.tended_home(name)? else { return Ok(None) };
        let settings = residence.book().read(|s| s.namespaces.get(name).map(|n| n.settings.clone()));
        Ok(settings.map(|settings| Tending { home, settings, _open: residence }))
    }
}
