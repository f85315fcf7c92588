//! The gate turns a bearer token into a grant or a refusal. Only it creates grants and operators.
//!
//! The order of the checks is fixed, so that a refusal reveals no more than its caller may know: credential (401, the
//! same body whatever was wrong), the tenant's state (423), its rate (429), scope (403), the key's list of namespaces
//! (404, the same as for one that never existed).
//!
//! A tenant that was not used recently is not open, and the permissions of its keys are not in memory. A caller
//! therefore first asks [`Gate::recognise`] which tenant the bearer belongs to, has that tenant opened, and then calls
//! [`Gate::admit`]. Only a right secret opens a tenant, so an unknown key, a wrong secret and an expired key cost one
//! MAC and a look-up in memory, and get the same answer.

use crate::{
    Action, BackgroundGrant, Credentials, Custodial, Grant, KeyRecord, KeyStub, OperatorRecord, RequestInfo,
    TenantFacts, TenantState,
    quota::Meter,
    token::{self, TokenKind},
};
use kernel::{Clock, Code, Error, Incarnation, KeyId, OperatorName, RequestId, Role, TenantId};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};
use subtle::ConstantTimeEq;

/// MAC that is compared when there is no record, so that an unknown id takes as long as a wrong secret.
const NO_MAC: [u8; 32] = [0; 32];

/// Judges credentials. A server has one gate.
pub struct Gate {
    credentials: Arc<dyn Credentials>,
    clock: Arc<dyn Clock>,
    meters: Mutex<HashMap<TenantId, (Incarnation, Arc<Meter>)>>,
}

/// A caller that proved to know the secret of an API key.
struct Caller {
    id: KeyId,
    stub: KeyStub,
}

/// The refusal of a request.
#[derive(Debug)]
#[non_exhaustive]
pub struct Refusal {
    /// The error that the caller gets.
    pub error: Error,
    /// The tenant and the key of the caller, if the secret was right.
    pub known: Option<(TenantId, Incarnation, KeyId)>,
    /// Whether the tenant's audit gets a record of the refusal. The gate allows a bounded number per minute.
    pub audit: bool,
    background_grant: Option<BackgroundGrant>,
}

/// Proof that an operator was authenticated. It gives no access to a store.
///
/// ```compile_fail
/// fn read(operator: &access::Operator) -> access::Grant<access::Search> {
///     access::Grant::for_operator(operator)
/// }
/// ```
#[derive(Debug)]
pub struct Operator {
    name: OperatorName,
    role: Role,
    request: RequestId,
}

impl Gate {
    /// Creates a gate that judges by these records and this clock.
    pub fn new(credentials: Arc<dyn Credentials>, clock: Arc<dyn Clock>) -> Self {
        Self { credentials, clock, meters: Mutex::default() }
    }

    /// Judges an API key for the action `A`. A custodial action does not compile:
    ///
    /// ```compile_fail
    /// fn shred(gate: &access::Gate, info: access::RequestInfo) {
    ///     let _ = gate.admit::<access::Erase>(None, info);
    /// }
    /// # fn main() { let _ = shred as fn(&access::Gate, access::RequestInfo); }
    /// ```
    ///
    /// # Errors
    /// A refusal, in the order of checks that the module describes.
    #[expect(clippy::result_large_err, reason = "a refusal ends its request; it is moved once")]
    pub fn admit<A: Action>(&self, bearer: Option<&str>, info: RequestInfo) -> Result<Grant<A>, Refusal> {
        const { assert!(A::CUSTODIANS.is_empty(), "a custodial action is delegated, never admitted from an API key") }
        let (caller, facts) = self.authenticate(bearer)?;
        // The secret was right, so the tenant's audit may record a refusal from here on.
        let meter = self.meter(&caller.stub.tenant, facts.incarnation);
        if let Err(error) = check_state(facts.state) {
            return Err(self.refuse(error, &caller, &facts, &meter));
        }
        // The tenant is open, and its directory decides: a key that it does not have was revoked.
        let open_guard = self.credentials.open_guard(facts.incarnation);
        let known = self.credentials.key(&caller.id).filter(|key| key.incarnation == facts.incarnation);
        let key = known.ok_or_else(|| Refusal::anonymous(unauthenticated()))?;
        match self.authorise::<A>(&key, &facts, &info, &meter) {
            Ok(()) => Ok(Grant::for_key(key, facts, info, meter, self.clock.clone(), open_guard)),
            Err(error) => Err(self.refuse(error, &caller, &facts, &meter)),
        }
    }

    /// Incarnation of the tenant that an API key belongs to, if its secret is right and it has not expired. This admits
    /// nothing: it only says which tenant must be open before [`Gate::admit`] can judge.
    pub fn recognise(&self, bearer: Option<&str>) -> Option<Incarnation> {
        self.authenticate(bearer).ok().map(|(caller, _)| caller.stub.incarnation)
    }

    /// Judges an operator's token, which must have one of the roles `needs` or be an admin's.
    ///
    /// # Errors
    /// A refusal with 401 or 403, without a known tenant.
    #[expect(clippy::result_large_err, reason = "a refusal ends its request; it is moved once")]
    pub fn operator(&self, bearer: Option<&str>, needs: &[Role], request: RequestId) -> Result<Operator, Refusal> {
        let record = self
            .verify(bearer, TokenKind::Operator, |id| self.credentials.operator(id), |r: &Arc<OperatorRecord>| &r.mac)
            .ok_or_else(|| Refusal::anonymous(unauthenticated()))?;
        if record.role != Role::Admin && !needs.contains(&record.role) {
            return Err(Refusal::anonymous(Error::new(Code::Forbidden, "this operator's role does not allow that")));
        }
        Ok(Operator { name: record.name.clone(), role: record.role, request })
    }

    /// Turns an operator's proof into a grant for a custodial action on a tenant, whether or not it is suspended.
    ///
    /// # Errors
    /// `forbidden` for a role to which the action is not delegated; `not_found` for a tenant that does not exist.
    pub fn delegate<A: Custodial>(&self, operator: &Operator, tenant: &TenantId) -> Result<Grant<A>, Error> {
        if !A::CUSTODIANS.contains(&operator.role) {
            return Err(Error::new(Code::Forbidden, "this operator's role does not allow that"));
        }
        let facts = self.credentials.tenant(tenant).ok_or_else(Error::not_found)?;
        let meter = self.meter(tenant, facts.incarnation);
        let open_guard = self.credentials.open_guard(facts.incarnation);
        Ok(Grant::for_operator(operator, tenant.clone(), facts, meter, self.clock.clone(), open_guard))
    }

    /// Authenticates a key: its secret is right, its tenant's incarnation is the current one, and it has not expired.
    #[expect(clippy::result_large_err, reason = "a refusal ends its request; it is moved once")]
    fn authenticate(&self, bearer: Option<&str>) -> Result<(Caller, TenantFacts), Refusal> {
        let anonymous = || Refusal::anonymous(unauthenticated());
        let find = |id: &KeyId| self.credentials.locate(id).map(|stub| Caller { id: id.clone(), stub });
        let caller = self.verify(bearer, TokenKind::Key, find, |caller| &caller.stub.mac).ok_or_else(anonymous)?;
        let facts = self
            .credentials
            .tenant(&caller.stub.tenant)
            .filter(|facts| facts.incarnation == caller.stub.incarnation)
            .ok_or_else(anonymous)?;
        if caller.stub.expires_at.is_some_and(|end| end <= self.clock.now()) {
            let meter = self.meter(&caller.stub.tenant, facts.incarnation);
            return Err(self.refuse(unauthenticated(), &caller, &facts, &meter));
        }
        Ok((caller, facts))
    }

    /// Finds the record whose secret the bearer knows. Whatever is wrong, one MAC is computed and compared.
    fn verify<R>(
        &self,
        bearer: Option<&str>,
        kind: TokenKind,
        find: impl FnOnce(&KeyId) -> Option<R>,
        mac: impl FnOnce(&R) -> &[u8; 32],
    ) -> Option<R> {
        let token = bearer.and_then(|text| token::parse(text).ok()).filter(|t| t.kind == kind);
        let record = token.as_ref().and_then(|t| find(&t.id));
        let given = self.credentials.mac(token.as_ref().map_or(&NO_MAC[..], |t| t.secret.as_bytes()));
        let expected = record.as_ref().map_or(&NO_MAC, mac);
        let same = bool::from(given.ct_eq(expected));
        record.filter(|_| same)
    }

    fn authorise<A: Action>(
        &self,
        key: &KeyRecord,
        facts: &TenantFacts,
        info: &RequestInfo,
        meter: &Meter,
    ) -> Result<(), Error> {
        meter.request(facts.quotas.requests_per_minute, &*self.clock)?;
        if let Some(scope) = A::SCOPE.filter(|scope| !key.scopes.contains(scope)) {
            return Err(Error::new(Code::Forbidden, format!("the API key lacks the scope {}", scope.as_str())));
        }
        let is_off_limits = |ns| !key.namespaces.is_empty() && !key.namespaces.contains(ns);
        if info.namespace.as_ref().is_some_and(is_off_limits) {
            return Err(Error::not_found());
        }
        Ok(())
    }

    fn refuse(&self, error: Error, caller: &Caller, facts: &TenantFacts, meter: &Meter) -> Refusal {
        let (tenant, incarnation) = (&caller.stub.tenant, caller.stub.incarnation);
        // Without its key, a tenant's audit cannot be written.
        let writable = matches!(facts.state, TenantState::Active | TenantState::Suspended);
        Refusal {
            error,
            known: Some((tenant.clone(), incarnation, caller.id.clone())),
            audit: writable && meter.refusal(&*self.clock),
            background_grant: Some(BackgroundGrant::new(tenant.clone(), incarnation)),
        }
    }

    /// Meter of the tenant's rates. Another incarnation of the tenant starts with full buckets.
    fn meter(&self, tenant: &TenantId, incarnation: Incarnation) -> Arc<Meter> {
        let mut meters = self.meters.lock();
        match meters.get(tenant) {
            Some((living, meter)) if *living == incarnation => meter.clone(),
            _ => {
                // Deleted tenants are removed each time the table has doubled.
                if meters.len().is_power_of_two() {
                    let is_current =
                        |id: &TenantId, living| self.credentials.tenant(id).is_some_and(|f| f.incarnation == living);
                    meters.retain(|id, (living, _)| is_current(id, *living));
                }
                let meter = Arc::new(Meter::default());
                meters.insert(tenant.clone(), (incarnation, meter.clone()));
                meter
            }
        }
    }
}

impl Refusal {
    /// Refuses a request without judging its credential, because this server may not serve any request now.
    pub fn of_all(error: Error) -> Self {
        Self::anonymous(error)
    }

    fn anonymous(error: Error) -> Self {
        Self { error, known: None, audit: false, background_grant: None }
    }

    /// Permission to write to the audit of the tenant whose request was refused, if it is known.
    pub fn background_grant(&self) -> Option<&BackgroundGrant> {
        self.background_grant.as_ref()
    }
}

impl Operator {
    /// Name of the operator.
    pub fn name(&self) -> &OperatorName {
        &self.name
    }

    /// Role of the operator.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Request in which the operator was authenticated.
    pub fn request(&self) -> RequestId {
        self.request
    }
}

/// Checks that requests of a tenant in this state are served.
fn check_state(state: TenantState) -> Result<(), Error> {
    match state {
        TenantState::Active => Ok(()),
        TenantState::Suspended | TenantState::Deleting => {
            Err(Error::new(Code::TenantSuspended, "the tenant is suspended"))
        }
        TenantState::KeyUnavailable => Err(Error::new(Code::KeyUnavailable, "the tenant's key is unavailable")),
    }
}

/// The single error of every 401.
fn unauthenticated() -> Error {
    Error::new(Code::Unauthenticated, "no valid credential: send 'authorization: Bearer <API key>'")
}

#[cfg(test)]
mod tests;
