//! The gate: bearer token in, grant or refusal out. The only maker of grants and operators.
//!
//! The order of checks is fixed, so that a refusal tells no more than its caller may know:
//! credential (401, one body whatever was wrong) · the tenant's state (423) · its rate (429) ·
//! scope (403) · the key's list of namespaces (404, the same as for one that never was).
//!
//! A tenant that nobody used lately is not open, and what its keys may do is not in memory. Whoever
//! wants a grant asks [`Gate::recognise`] first whose the bearer is, has that tenant opened, and
//! then comes to [`Gate::admit`]. Only a right secret opens anything, so an unknown key, a wrong
//! secret and an expired key cost one MAC and a look into memory, and are told the same.

use crate::{
    Action, Ask, Credentials, Custodial, Grant, KeyRecord, KeyStub, OperatorRecord, TenantFacts, TenantState, Tenure,
    quota::Meter,
    token::{self, TokenKind},
};
use kernel::{Clock, Code, Error, Incarnation, KeyId, OperatorName, RequestId, Role, TenantId};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use subtle::ConstantTimeEq;

/// Compared with when there is no record, so that an unknown id takes as long as a wrong secret.
const NOBODY: [u8; 32] = [0; 32];

/// Judges credentials. One a server.
pub struct Gate {
    credentials: Arc<dyn Credentials>,
    clock: Arc<dyn Clock>,
    meters: Mutex<HashMap<TenantId, (Incarnation, Arc<Meter>)>>,
}

/// Whoever knows the secret of an API key.
struct Caller {
    id: KeyId,
    stub: KeyStub,
}

/// Why nobody was let in.
#[derive(Debug)]
#[non_exhaustive]
pub struct Refusal {
    /// What the caller is told.
    pub error: Error,
    /// Who it was, if the secret was right.
    pub known: Option<(TenantId, Incarnation, KeyId)>,
    /// Whether that tenant's audit gets a line. The gate says so for a bounded number a minute.
    pub audit: bool,
    tenure: Option<Tenure>,
}

/// Proof of an operator. It has no way into a store.
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
    /// A gate that judges by these records and this clock.
    pub fn new(credentials: Arc<dyn Credentials>, clock: Arc<dyn Clock>) -> Self {
        Self { credentials, clock, meters: Mutex::default() }
    }

    /// Judges an API key for the action `A`. A custodial action does not build:
    ///
    /// ```compile_fail
    /// fn shred(gate: &access::Gate, ask: access::Ask) {
    ///     let _ = gate.admit::<access::Erase>(None, ask);
    /// }
    /// # fn main() { let _ = shred as fn(&access::Gate, access::Ask); }
    /// ```
    ///
    /// # Errors
    /// A refusal; the module says in which order.
    #[expect(clippy::result_large_err, reason = "a refusal ends its request; it is moved once")]
    pub fn admit<A: Action>(&self, bearer: Option<&str>, ask: Ask) -> Result<Grant<A>, Refusal> {
        const { assert!(A::CUSTODIANS.is_empty(), "a custodial action is delegated, never admitted from an API key") }
        let (caller, facts) = self.authenticate(bearer)?;
        let meter = self.meter(&caller.stub.tenant, facts.incarnation);
        if let Err(error) = served(facts.state) {
            return Err(self.refuse(error, &caller, &facts, &meter));
        }
        // The tenant is open and its directory has the last word: what it does not know is revoked.
        let hold = self.credentials.hold(facts.incarnation);
        let known = self.credentials.key(&caller.id).filter(|key| key.incarnation == facts.incarnation);
        let key = known.ok_or_else(|| Refusal::stranger(unauthenticated()))?;
        match self.authorise::<A>(&key, &facts, &ask, &meter) {
            Ok(()) => Ok(Grant::for_key(key, facts, ask, meter, self.clock.clone(), hold)),
            Err(error) => Err(self.refuse(error, &caller, &facts, &meter)),
        }
    }

    /// Whose an API key is, if its secret is right and it has not expired. It is no admission: it
    /// only says which tenant must be open before [`Gate::admit`] can judge.
    pub fn recognise(&self, bearer: Option<&str>) -> Option<Incarnation> {
        self.authenticate(bearer).ok().map(|(caller, _)| caller.stub.incarnation)
    }

    /// Judges an operator's token: one of `needs`, or an admin.
    ///
    /// # Errors
    /// 401 or 403, without a known tenant.
    #[expect(clippy::result_large_err, reason = "a refusal ends its request; it is moved once")]
    pub fn operator(&self, bearer: Option<&str>, needs: &[Role], request: RequestId) -> Result<Operator, Refusal> {
        let record = self
            .verify(bearer, TokenKind::Operator, |id| self.credentials.operator(id), |r: &Arc<OperatorRecord>| &r.mac)
            .ok_or_else(|| Refusal::stranger(unauthenticated()))?;
        if record.role != Role::Admin && !needs.contains(&record.role) {
            return Err(Refusal::stranger(Error::new(Code::Forbidden, "this operator's role does not allow that")));
        }
        Ok(Operator { name: record.name.clone(), role: record.role, request })
    }

    /// Turns an operator's proof into a grant for a custodial action on a tenant, suspended or not.
    ///
    /// # Errors
    /// `forbidden` for a role that is no custodian of it; `not_found` for a tenant that is not.
    pub fn delegate<A: Custodial>(&self, operator: &Operator, tenant: &TenantId) -> Result<Grant<A>, Error> {
        if !A::CUSTODIANS.contains(&operator.role) {
            return Err(Error::new(Code::Forbidden, "this operator's role does not allow that"));
        }
        let facts = self.credentials.tenant(tenant).ok_or_else(Error::not_found)?;
        let meter = self.meter(tenant, facts.incarnation);
        let hold = self.credentials.hold(facts.incarnation);
        Ok(Grant::for_operator(operator, tenant.clone(), facts, meter, self.clock.clone(), hold))
    }

    /// A key whose secret is right, in the life of its tenant that is lived now, and not expired.
    #[expect(clippy::result_large_err, reason = "a refusal ends its request; it is moved once")]
    fn authenticate(&self, bearer: Option<&str>) -> Result<(Caller, TenantFacts), Refusal> {
        let stranger = || Refusal::stranger(unauthenticated());
        let find = |id: &KeyId| self.credentials.locate(id).map(|stub| Caller { id: id.clone(), stub });
        let caller = self.verify(bearer, TokenKind::Key, find, |caller| &caller.stub.mac).ok_or_else(stranger)?;
        let facts = self
            .credentials
            .tenant(&caller.stub.tenant)
            .filter(|facts| facts.incarnation == caller.stub.incarnation)
            .ok_or_else(stranger)?;
        if caller.stub.expires_at.is_some_and(|end| end <= self.clock.now()) {
            let meter = self.meter(&caller.stub.tenant, facts.incarnation);
            return Err(self.refuse(unauthenticated(), &caller, &facts, &meter));
        }
        Ok((caller, facts))
    }

    /// The record whose secret the bearer knows. Whatever is wrong, one MAC is computed and compared.
    fn verify<R>(
        &self,
        bearer: Option<&str>,
        kind: TokenKind,
        find: impl FnOnce(&KeyId) -> Option<R>,
        mac: impl FnOnce(&R) -> &[u8; 32],
    ) -> Option<R> {
        let token = bearer.and_then(|text| token::parse(text).ok()).filter(|t| t.kind == kind);
        let record = token.as_ref().and_then(|t| find(&t.id));
        let given = self.credentials.mac(token.as_ref().map_or(&NOBODY[..], |t| t.secret.as_bytes()));
        let kept = record.as_ref().map_or(&NOBODY, mac);
        let same = bool::from(given.ct_eq(kept));
        record.filter(|_| same)
    }

    fn authorise<A: Action>(
        &self,
        key: &KeyRecord,
        facts: &TenantFacts,
        ask: &Ask,
        meter: &Meter,
    ) -> Result<(), Error> {
        meter.request(facts.quotas.requests_per_minute, &*self.clock)?;
        if let Some(scope) = A::SCOPE.filter(|scope| !key.scopes.contains(scope)) {
            return Err(Error::new(Code::Forbidden, format!("the API key lacks the scope {}", scope.as_str())));
        }
        let fenced = |ns| !key.namespaces.is_empty() && !key.namespaces.contains(ns);
        if ask.namespace.as_ref().is_some_and(fenced) {
            return Err(Error::not_found());
        }
        Ok(())
    }

    fn refuse(&self, error: Error, caller: &Caller, facts: &TenantFacts, meter: &Meter) -> Refusal {
        let (tenant, incarnation) = (&caller.stub.tenant, caller.stub.incarnation);
        // Without its key a tenant's audit cannot be written.
        let writable = matches!(facts.state, TenantState::Active | TenantState::Suspended);
        Refusal {
            error,
            known: Some((tenant.clone(), incarnation, caller.id.clone())),
            audit: writable && meter.refusal(&*self.clock),
            tenure: Some(Tenure::new(tenant.clone(), incarnation)),
        }
    }

    /// The tenant's rates. Another life of the tenant starts with full buckets.
    fn meter(&self, tenant: &TenantId, incarnation: Incarnation) -> Arc<Meter> {
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        match meters.get(tenant) {
            Some((living, meter)) if *living == incarnation => meter.clone(),
            _ => {
                // Tenants come and go: those that are gone leave here, each time the table has doubled.
                if meters.len().is_power_of_two() {
                    let lives =
                        |id: &TenantId, living| self.credentials.tenant(id).is_some_and(|f| f.incarnation == living);
                    meters.retain(|id, (living, _)| lives(id, *living));
                }
                let meter = Arc::new(Meter::default());
                meters.insert(tenant.clone(), (incarnation, meter.clone()));
                meter
            }
        }
    }
}

impl Refusal {
    /// Nobody was judged: this server may not serve at all now.
    pub fn of_all(error: Error) -> Self {
        Self::stranger(error)
    }

    fn stranger(error: Error) -> Self {
        Self { error, known: None, audit: false, tenure: None }
    }

    /// A pass to the audit of the tenant that was refused, if it is known.
    pub fn tenure(&self) -> Option<&Tenure> {
        self.tenure.as_ref()
    }
}

impl Operator {
    /// Who.
    pub fn name(&self) -> &OperatorName {
        &self.name
    }

    /// What they may do.
    pub fn role(&self) -> Role {
        self.role
    }

    /// In which request.
    pub fn request(&self) -> RequestId {
        self.request
    }
}

/// Whether requests of a tenant in this state are served.
fn served(state: TenantState) -> Result<(), Error> {
    match state {
        TenantState::Active => Ok(()),
        TenantState::Suspended | TenantState::Deleting => {
            Err(Error::new(Code::TenantSuspended, "the tenant is suspended"))
        }
        TenantState::KeyUnavailable => Err(Error::new(Code::KeyUnavailable, "the tenant's key cannot be had")),
    }
}

/// The one body of every 401.
fn unauthenticated() -> Error {
    Error::new(Code::Unauthenticated, "no valid credential: send 'authorization: Bearer <API key>'")
}

#[cfg(test)]
mod tests;
