//! Proof that a credential was judged, for one action and one request.
//!
//! A grant is made by the gate only and is used up by the audit line that ends its request. It
//! names the tenant and the namespace that were asked for; nothing after it takes another name.
//!
//! ```compile_fail
//! fn keep(grant: &access::Grant<access::Search>) -> access::Grant<access::Search> {
//!     grant.clone()
//! }
//! ```
//! ```compile_fail
//! let grant: access::Grant<access::Search> = Default::default();
//! ```
//! ```compile_fail
//! enum Everything {}
//! impl access::Action for Everything {
//!     const NAME: &'static str = "everything";
//!     const SCOPE: Option<kernel::Scope> = None;
//! }
//! ```

use crate::{Action, Hold, KeyRecord, Operator, TenantFacts, quota::Meter};
use kernel::{
    Audience, Clock, Code, Error, Incarnation, KeyId, NamespaceName, OperatorName, Presence, Principal, Quotas,
    ReadersRule, RequestId, Scope, TenantId, limits,
};
use std::{fmt, marker::PhantomData, sync::Arc};

/// What a request asks for, beside the action.
pub struct Ask {
    /// The namespace it names.
    pub namespace: Option<NamespaceName>,
    /// Its id.
    pub request: RequestId,
    /// The caller's trace id, for the audit.
    pub trace: Option<String>,
    /// Whether the caller still waits.
    pub presence: Presence,
}

/// Who asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// An API key.
    Key(KeyId),
    /// An operator, by delegation.
    Operator(OperatorName),
}

/// Permission for one action, in one tenant, for one request. See the [module](self).
pub struct Grant<A: Action> {
    tenant: TenantId,
    facts: TenantFacts,
    identity: Identity,
    /// Absent for an operator, who carries no scope and no principal.
    key: Option<Arc<KeyRecord>>,
    ask: Ask,
    meter: Arc<Meter>,
    clock: Arc<dyn Clock>,
    /// The tenant stays open until the request has ended.
    _hold: Option<Hold>,
    action: PhantomData<fn() -> A>,
}

impl<A: Action> Grant<A> {
    pub(crate) fn for_key(
        key: Arc<KeyRecord>,
        facts: TenantFacts,
        ask: Ask,
        meter: Arc<Meter>,
        clock: Arc<dyn Clock>,
        hold: Option<Hold>,
    ) -> Self {
        Self {
            tenant: key.tenant.clone(),
            facts,
            identity: Identity::Key(key.id.clone()),
            key: Some(key),
            ask,
            meter,
            clock,
            _hold: hold,
            action: PhantomData,
        }
    }

    pub(crate) fn for_operator(
        operator: &Operator,
        tenant: TenantId,
        facts: TenantFacts,
        meter: Arc<Meter>,
        clock: Arc<dyn Clock>,
        hold: Option<Hold>,
    ) -> Self {
        Self {
            tenant,
            facts,
            identity: Identity::Operator(operator.name().clone()),
            key: None,
            ask: Ask { namespace: None, request: operator.request(), trace: None, presence: Presence::default() },
            meter,
            clock,
            _hold: hold,
            action: PhantomData,
        }
    }

    /// Whose place.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Which life of that tenant.
    pub fn incarnation(&self) -> Incarnation {
        self.facts.incarnation
    }

    /// The namespace that was asked for, and that the key may enter.
    pub fn namespace(&self) -> Option<&NamespaceName> {
        self.ask.namespace.as_ref()
    }

    /// The request.
    pub fn request(&self) -> RequestId {
        self.ask.request
    }

    /// Whether the caller still waits.
    pub fn presence(&self) -> &Presence {
        &self.ask.presence
    }

    /// The caller's trace id.
    pub fn trace(&self) -> Option<&str> {
        self.ask.trace.as_deref()
    }

    /// Who asked.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether the key carries this scope. An operator carries none.
    pub fn has(&self, scope: Scope) -> bool {
        self.key.as_ref().is_some_and(|k| k.scopes.contains(&scope))
    }

    /// Every scope the key carries.
    pub fn scopes(&self) -> &[Scope] {
        self.key.as_ref().map_or(&[], |k| &k.scopes)
    }

    /// Who the key reads as.
    pub fn principals(&self) -> &[Principal] {
        self.key.as_ref().map_or(&[], |k| &k.principals)
    }

    /// Whether the key may enter this namespace: what a list of namespaces may show.
    pub fn may_enter(&self, namespace: &NamespaceName) -> bool {
        self.key.as_ref().is_some_and(|k| k.namespaces.is_empty() || k.namespaces.contains(namespace))
    }

    /// The only namespaces that the key may enter; `None` is all of them. An operator may enter none.
    pub fn fence(&self) -> Option<&[NamespaceName]> {
        match &self.key {
            Some(key) => (!key.namespaces.is_empty()).then_some(&key.namespaces),
            None => Some(&[]),
        }
    }

    /// What the tenant may use.
    pub fn quotas(&self) -> &Quotas {
        &self.facts.quotas
    }

    /// Whose eyes this request looks with in a namespace of this rule. `acting_as` narrows or changes them and needs
    /// `act_as`, also for a key that may read all.
    ///
    /// # Errors
    /// `forbidden` without `act_as`; `invalid_request` for too many principals.
    pub fn audience(&self, acting_as: Option<&[Principal]>, readers: ReadersRule) -> Result<Audience, Error> {
        let audience = match acting_as {
            Some(_) if !self.has(Scope::ActAs) => {
                Err(Error::new(Code::Forbidden, "naming other principals needs the scope act_as").with_param("as"))
            }
            Some(list) if list.len() > limits::READERS_MAX => {
                Err(Error::invalid("as", "may name at most 256 principals"))
            }
            Some(list) => Ok(Audience::Principals(list.to_vec())),
            None if self.has(Scope::ReadAll) => Ok(Audience::Everything),
            None => Ok(Audience::Principals(self.principals().to_vec())),
        };
        Ok(audience?.where_readers_are(readers))
    }

    /// Whose eyes decide what stands under an id that a document is written to: with `overwrite` everything does.
    pub fn write_audience(&self, readers: ReadersRule) -> Audience {
        if self.has(Scope::ReadAll) || self.has(Scope::Overwrite) {
            return Audience::Everything;
        }
        Audience::Principals(self.principals().to_vec()).where_readers_are(readers)
    }

    /// Takes `tokens` from the tenant's minute, before they are embedded.
    ///
    /// # Errors
    /// `rate_limited` with the time to wait; nothing is taken then.
    pub fn charge_tokens(&self, tokens: u64) -> Result<(), Error> {
        self.meter.tokens(self.facts.quotas.tokens_per_minute, tokens, &*self.clock)
    }

    /// The version of the policy that judged; stands in the audit.
    pub fn policy(&self) -> &'static str {
        "builtin-1"
    }

    /// A pass for background work in this tenant's place.
    pub fn tenure(&self) -> Tenure {
        Tenure::new(self.tenant.clone(), self.facts.incarnation)
    }
}

impl<A: Action> fmt::Debug for Grant<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("action", &A::NAME)
            .field("tenant", &self.tenant)
            .field("incarnation", &self.facts.incarnation)
            .field("identity", &self.identity)
            .field("request", &self.ask.request)
            .finish_non_exhaustive()
    }
}

/// The right to tidy a tenant's place (flush, merge, rewrap, audit) after the request has gone. No
/// text comes out with it.
#[derive(Clone, Debug)]
pub struct Tenure {
    tenant: TenantId,
    incarnation: Incarnation,
}

impl Tenure {
    pub(crate) fn new(tenant: TenantId, incarnation: Incarnation) -> Self {
        Self { tenant, incarnation }
    }

    /// Whose place.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Which life of that tenant.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }
}
