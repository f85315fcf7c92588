//! Which keys of a provider an operator may name for a tenant.
//!
//! A name may be that of any key that the server's credential reaches at the provider, customers' own keys included. A
//! key that this server made for one tenant is destroyed with that tenant, and the data of another one under it would
//! be lost. A key that wraps another tenant's keys may belong to a customer, who could then take away the data of both:
//! only an admin may decide that two tenants share it.

use crate::{KeyChoice, Registry};
use access::Operator;
use kernel::{Code, Error, Incarnation, Result, Role};

impl Registry {
    /// Whether this operator may have this key wrap keys of this tenant; [`Registry::SERVER`] is the server itself.
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

    /// Under any provider's name: two of them may reach the same service.
    fn made_for_another(&self, tenant: Incarnation, name: &str) -> bool {
        let providers = &self.inner.asking.config.providers;
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
        let providers = &self.inner.asking.config.providers;
        let wanted = choice.provider.as_deref().unwrap_or(providers.default_provider());
        let kind_of = |provider: &str| providers.iter().find(|p| p.name() == provider).map(|p| p.kind());
        // The key that tenants share by default belongs to no tenant.
        if providers.iter().any(|p| p.name() == wanted && p.key_per_tenant().is_none() && p.default_key() == name) {
            return false;
        }
        let same = |provider: &str| provider == wanted || kind_of(provider) == kind_of(wanted);
        self.inner.control.read(|s| {
            let others = s.tenants.values().filter(|t| t.incarnation != tenant);
            others.flat_map(|t| &t.keys.epochs).any(|epoch| epoch.key == name && same(&epoch.provider))
        })
    }
}
