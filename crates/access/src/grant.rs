//! Proof that a credential was accepted for one action and one request.
//!
//! Only the gate creates a grant, and the audit record that ends the request consumes it. The grant names the tenant
//! and the namespace of the request, and no later step takes another name.
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

use crate::{Action, KeyRecord, OpenGuard, Operator, TenantFacts, quota::Meter};
use kernel::{
    Audience, CancelFlag, Clock, Code, Error, Incarnation, KeyId, NamespaceName, OperatorName, Principal, Quotas,
    ReadersRule, RequestId, Scope, TenantId, limits,
};
use std::{fmt, marker::PhantomData, sync::Arc};

/// The facts of a request, other than its action, that are known before it is judged.
pub struct RequestInfo {
    /// Namespace that the request names.
    pub namespace: Option<NamespaceName>,
    /// Id of the request.
    pub request: RequestId,
    /// Trace id that the caller sent, for the audit.
    pub trace: Option<String>,
    /// Flag that is set when the client disconnects.
    pub cancel: CancelFlag,
}

/// The caller of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// An API key.
    Key(KeyId),
    /// An operator, by delegation.
    Operator(OperatorName),
}

/// Permission for one action in one tenant for one request. See the [module](self).
pub struct Grant<A: Action> {
    tenant: TenantId,
    facts: TenantFacts,
    identity: Identity,
    /// Absent for an operator, who has no scope and no principal.
    key: Option<Arc<KeyRecord>>,
    info: RequestInfo,
    meter: Arc<Meter>,
    clock: Arc<dyn Clock>,
    /// Keeps the tenant open until the request has ended.
    _open_guard: Option<OpenGuard>,
    action: PhantomData<fn() -> A>,
}

impl<A: Action> Grant<A> {
    pub(crate) fn for_key(
        key: Arc<KeyRecord>,
        facts: TenantFacts,
        info: RequestInfo,
        meter: Arc<Meter>,
        clock: Arc<dyn Clock>,
        open_guard: Option<OpenGuard>,
    ) -> Self {
        Self {
            tenant: key.tenant.clone(),
            facts,
            identity: Identity::Key(key.id.clone()),
            key: Some(key),
            info,
            meter,
            clock,
            _open_guard: open_guard,
            action: PhantomData,
        }
    }

    pub(crate) fn for_operator(
        operator: &Operator,
        tenant: TenantId,
        facts: TenantFacts,
        meter: Arc<Meter>,
        clock: Arc<dyn Clock>,
        open_guard: Option<OpenGuard>,
    ) -> Self {
        Self {
            tenant,
            facts,
            identity: Identity::Operator(operator.name().clone()),
            key: None,
            info: RequestInfo {
                namespace: None,
                request: operator.request(),
                trace: None,
                cancel: CancelFlag::default(),
            },
            meter,
            clock,
            _open_guard: open_guard,
            action: PhantomData,
        }
    }

    /// The tenant.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The tenant's incarnation.
    pub fn incarnation(&self) -> Incarnation {
        self.facts.incarnation
    }

    /// Namespace of the request. The key may enter it.
    pub fn namespace(&self) -> Option<&NamespaceName> {
        self.info.namespace.as_ref()
    }

    /// Id of the request.
    pub fn request(&self) -> RequestId {
        self.info.request
    }

    /// Flag that is set when the client disconnects.
    pub fn cancel_flag(&self) -> &CancelFlag {
        &self.info.cancel
    }

    /// Trace id that the caller sent.
    pub fn trace(&self) -> Option<&str> {
        self.info.trace.as_deref()
    }

    /// The caller of the request.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether the key has this scope. An operator has none.
    pub fn has(&self, scope: Scope) -> bool {
        self.key.as_ref().is_some_and(|k| k.scopes.contains(&scope))
    }

    /// Scopes of the key.
    pub fn scopes(&self) -> &[Scope] {
        self.key.as_ref().map_or(&[], |k| &k.scopes)
    }

    /// Principals as which the key reads.
    pub fn principals(&self) -> &[Principal] {
        self.key.as_ref().map_or(&[], |k| &k.principals)
    }

    /// Whether the key may enter this namespace. A list of namespaces shows only those.
    pub fn may_enter(&self, namespace: &NamespaceName) -> bool {
        self.key.as_ref().is_some_and(|k| k.namespaces.is_empty() || k.namespaces.contains(namespace))
    }

    /// Namespaces to which the key is limited; `None` if it is not limited. An operator may enter none.
    pub fn allowed_namespaces(&self) -> Option<&[NamespaceName]> {
        match &self.key {
            Some(key) => (!key.namespaces.is_empty()).then_some(&key.namespaces),
            None => Some(&[]),
        }
    }

    /// Quotas of the tenant.
    pub fn quotas(&self) -> &Quotas {
        &self.facts.quotas
    }

    /// Audience of this request's reads in a namespace with this rule. `acting_as` replaces the key's principals and
    /// needs the scope `act_as`, also for a key with `read_all`.
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
        Ok(audience?.with_readers_rule(readers))
    }

    /// Audience with which a write looks up the id of its document. With `overwrite` it sees all documents.
    pub fn write_audience(&self, readers: ReadersRule) -> Audience {
        if self.has(Scope::ReadAll) || self.has(Scope::Overwrite) {
            return Audience::Everything;
        }
        Audience::Principals(self.principals().to_vec()).with_readers_rule(readers)
    }

    /// Charges `tokens` to the tenant's rate, before they are embedded.
    ///
    /// # Errors
    /// `rate_limited` with the time to wait. Nothing is charged then.
    pub fn charge_tokens(&self, tokens: u64) -> Result<(), Error> {
        self.meter.tokens(self.facts.quotas.tokens_per_minute, tokens, &*self.clock)
    }

    /// Version of the policy that judged the request, for the audit.
    pub fn policy(&self) -> &'static str {
        "builtin-1"
    }

    /// Permission for background work for this tenant after the request.
    pub fn background_grant(&self) -> BackgroundGrant {
        BackgroundGrant::new(self.tenant.clone(), self.facts.incarnation)
    }
}

impl<A: Action> fmt::Debug for Grant<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("action", &A::NAME)
            .field("tenant", &self.tenant)
            .field("incarnation", &self.facts.incarnation)
            .field("identity", &self.identity)
            .field("request", &self.info.request)
            .finish_non_exhaustive()
    }
}

/// Permission for background work for a tenant (flush, merge, rewrap, audit) after the request has ended. It gives
/// access to no text.
#[derive(Clone, Debug)]
pub struct BackgroundGrant {
    tenant: TenantId,
    incarnation: Incarnation,
}

impl BackgroundGrant {
    pub(crate) fn new(tenant: TenantId, incarnation: Incarnation) -> Self {
        Self { tenant, incarnation }
    }

    /// The tenant.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The tenant's incarnation.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }
}
