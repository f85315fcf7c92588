//! The gate's view of credentials and tenants: records that the registry provides.

use kernel::{Incarnation, KeyId, NamespaceName, OperatorName, Principal, Quotas, Role, Scope, TenantId, Timestamp};
use std::{any::Any, sync::Arc};

/// Keeps a tenant open until it is dropped. It gives access to nothing.
pub type OpenGuard = Arc<dyn Any + Send + Sync>;

/// Source of the gate's credentials. The registry implements it over a snapshot in memory; none of these methods reads
/// a disk.
pub trait Credentials: Send + Sync {
    /// The stub of the API key with this public part, whether or not its tenant is open.
    fn locate(&self, id: &KeyId) -> Option<KeyStub> {
        self.key(id).map(|key| KeyStub::from(&*key))
    }
    /// The API key with this public part, once its tenant is open.
    fn key(&self, id: &KeyId) -> Option<Arc<KeyRecord>>;
    /// Guard that keeps an open tenant open.
    fn open_guard(&self, _: Incarnation) -> Option<OpenGuard> {
        None
    }
    /// The operator token with this public part.
    fn operator(&self, id: &KeyId) -> Option<Arc<OperatorRecord>>;
    /// The tenant that has this name now.
    fn tenant(&self, id: &TenantId) -> Option<TenantFacts>;
    /// HMAC-SHA-256 of a token's secret part under the server's pepper; see [`crate::Pepper`].
    fn mac(&self, secret: &[u8]) -> [u8; 32];
}

/// The part of an API key's record that judges its secret. It says nothing of what the key may do.
pub struct KeyStub {
    /// Tenant of the key.
    pub tenant: TenantId,
    /// Incarnation of the tenant in which the key was created. The key is valid in no other.
    pub incarnation: Incarnation,
    /// [`Credentials::mac`] of the secret part.
    pub mac: [u8; 32],
    /// Time from which the key is no longer valid.
    pub expires_at: Option<Timestamp>,
}

impl From<&KeyRecord> for KeyStub {
    fn from(key: &KeyRecord) -> Self {
        Self { tenant: key.tenant.clone(), incarnation: key.incarnation, mac: key.mac, expires_at: key.expires_at }
    }
}

/// An API key, without its secret.
pub struct KeyRecord {
    /// Public part of the key.
    pub id: KeyId,
    /// Tenant of the key.
    pub tenant: TenantId,
    /// Incarnation of the tenant in which the key was created. The key is valid in no other.
    pub incarnation: Incarnation,
    /// Name of the key, for people.
    pub name: String,
    /// [`Credentials::mac`] of the secret part.
    pub mac: [u8; 32],
    /// Scopes of the key.
    pub scopes: Vec<Scope>,
    /// Principals as which the key reads.
    pub principals: Vec<Principal>,
    /// Namespaces that the key may enter; empty stands for all of them.
    pub namespaces: Vec<NamespaceName>,
    /// Time at which the key was created.
    pub created_at: Timestamp,
    /// Time from which the key is no longer valid.
    pub expires_at: Option<Timestamp>,
}

/// An operator's token, without its secret.
pub struct OperatorRecord {
    /// Public part of the token.
    pub id: KeyId,
    /// Name of the operator.
    pub name: OperatorName,
    /// Role of the operator.
    pub role: Role,
    /// [`Credentials::mac`] of the secret part.
    pub mac: [u8; 32],
    /// Time at which the token was created.
    pub created_at: Timestamp,
}

/// The facts about a tenant that the gate needs.
#[derive(Clone, Copy, Debug)]
pub struct TenantFacts {
    /// Current incarnation of the tenant.
    pub incarnation: Incarnation,
    /// State, which decides whether the tenant is served.
    pub state: TenantState,
    /// Quotas of the tenant.
    pub quotas: Quotas,
}

/// State of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TenantState {
    /// The tenant is served.
    Active,
    /// An operator suspended the tenant.
    Suspended,
    /// The tenant's key is not available.
    KeyUnavailable,
    /// The tenant's keys are being destroyed, or have been.
    Deleting,
}
