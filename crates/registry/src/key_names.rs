//! Decides which keys of a provider an operator may name for a tenant.
//!
//! A name may be that of any key that the server's credential reaches at the provider, including customers' own keys. A
//! key that this server made for one tenant is destroyed with that tenant, and another tenant's data under it would be
//! lost. A key that wraps another tenant's keys may belong to a customer, who could then withdraw the data of both:
//! only an admin may decide that two tenants share it.

use crate::{KeyChoice, Registry};
use access::Operator;
use kernel::{Code, Error, Incarnation, Result, Role};

impl Registry {
    /// Whether this operator may choose this key to wrap the keys of this tenant; [`Registry::SERVER`] stands for the
    /// server itself.
    ///
    /// # Errors
    /// `forbidden` for the key of another tenant.
    pub fn may_name_key(&self, operator: &Operator, tenant: Incarnation, choice: &KeyChoice) -> Result<()> {
        let Some(name) = &choice.key else { return Ok(()) };
        let refused = |why: &str| Err(Error::new(Code::Forbidden, why).with_param("key.name"));
        if self.made_for_another(tenant, name) {
            return refused("is a key that this server made for another tenant, and destroys with it: name another");
        }
        if operator.role() != Role::Admin && self.wraps_another(tenant, choice, name) {
            return refused("wraps another tenant's keys: only an admin may have two tenants share a key");
        }
        Ok(())
    }

    /// Looks at every provider, because two names may denote the same service.
    fn made_for_another(&self, tenant: Incarnation, name: &str) -> bool {
        let providers = &self.inner.provider_client.config.providers;
        let whose =
            |prefix: &str| name.strip_prefix(prefix)?.strip_prefix('-').and_then(|id| Incarnation::parse(id).ok());
        let by_name = providers.iter().filter_map(|p| whose(p.key_per_tenant()?)).any(|other| other != tenant);
        let made = |s: &crate::control::ControlState| {
            let others = s.tenants.values().filter(|t| t.incarnation != tenant);
            others.flat_map(|t| &t.keys.epochs).any(|epoch| epoch.made && epoch.key == name)
        };
        by_name || self.inner.control.read(made)
    }

    fn wraps_another(&self, tenant: Incarnation, choice: &KeyChoice, name: &str) -> bool {
        let providers = &self.inner.provider_client.config.providers;
        let provider_name = choice.provider.as_deref().unwrap_or(providers.default_provider());
        let kind_of = |provider: &str| providers.iter().find(|p| p.name() == provider).map(|p| p.kind());
        // The key that tenants share by default belongs to no tenant.
        if providers
            .iter()
            .any(|p| p.name() == provider_name && p.key_per_tenant().is_none() && p.default_key() == name)
        {
            return false;
        }
        let same = |provider: &str| provider == provider_name || kind_of(provider) == kind_of(provider_name);
        self.inner.control.read(|s| {
            let others = s.tenants.values().filter(|t| t.incarnation != tenant);
            others.flat_map(|t| &t.keys.epochs).any(|epoch| epoch.key == name && same(&epoch.provider))
        })
    }
}
