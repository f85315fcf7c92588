//! What the gate knows of credentials and tenants: records that the registry hands it.

use kernel::{Incarnation, KeyId, NamespaceName, OperatorName, Principal, Quotas, Role, Scope, TenantId, Timestamp};
use std::sync::Arc;

/// Where the gate looks credentials up. The registry implements it over a snapshot in memory.
pub trait Credentials: Send + Sync {
    /// The API key with this public part.
    fn key(&self, id: &KeyId) -> Option<Arc<KeyRecord>>;
    /// The operator token with this public part.
    fn operator(&self, id: &KeyId) -> Option<Arc<OperatorRecord>>;
    /// The tenant that lives under this name now.
    fn tenant(&self, id: &TenantId) -> Option<TenantFacts>;
    /// HMAC-SHA-256 of a token's secret part under the server's pepper; see [`crate::Pepper`].
    fn mac(&self, secret: &[u8]) -> [u8; 32];
}

/// An API key, without its secret.
pub struct KeyRecord {
    /// Public part.
    pub id: KeyId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Which life of that tenant it was made in. It opens no other.
    pub incarnation: Incarnation,
    /// What people call it.
    pub name: String,
    /// [`Credentials::mac`] of the secret part.
    pub mac: [u8; 32],
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Who it reads as.
    pub principals: Vec<Principal>,
    /// The namespaces it may enter; empty is all of them.
    pub namespaces: Vec<NamespaceName>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From then on it opens nothing.
    pub expires_at: Option<Timestamp>,
}

/// An operator's token, without its secret.
pub struct OperatorRecord {
    /// Public part.
    pub id: KeyId,
    /// Who.
    pub name: OperatorName,
    /// What they may do.
    pub role: Role,
    /// [`Credentials::mac`] of the secret part.
    pub mac: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
}

/// What the gate needs to know of a tenant.
#[derive(Clone, Copy, Debug)]
pub struct TenantFacts {
    /// The life it is in.
    pub incarnation: Incarnation,
    /// Whether it is served.
    pub state: TenantState,
    /// What it may use.
    pub quotas: Quotas,
}

/// Whether a tenant is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TenantState {
    /// Served.
    Active,
    /// An operator suspended it.
    Suspended,
    /// Its key cannot be had.
    KeyUnavailable,
    /// Its keys are being, or have been, destroyed.
    Deleting,
}
