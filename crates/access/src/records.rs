//! What the gate knows of credentials and tenants: records that the registry hands it.

use kernel::{Incarnation, KeyId, NamespaceName, OperatorName, Principal, Quotas, Role, Scope, TenantId, Timestamp};
use std::{any::Any, sync::Arc};

/// Keeps what a tenant's requests need in memory for as long as somebody has it. It opens nothing.
pub type Hold = Arc<dyn Any + Send + Sync>;

/// Where the gate looks credentials up. The registry implements it over a snapshot in memory; none
/// of these reads a disk.
pub trait Credentials: Send + Sync {
    /// What is known of the API key with this public part, whether or not its tenant is open.
    fn locate(&self, id: &KeyId) -> Option<KeyStub> {
        self.key(id).map(|key| KeyStub::from(&*key))
    }
    /// The API key with this public part, once its tenant is open.
    fn key(&self, id: &KeyId) -> Option<Arc<KeyRecord>>;
    /// Keeps an open tenant open.
    fn hold(&self, _: Incarnation) -> Option<Hold> {
        None
    }
    /// The operator token with this public part.
    fn operator(&self, id: &KeyId) -> Option<Arc<OperatorRecord>>;
    /// The tenant that lives under this name now.
    fn tenant(&self, id: &TenantId) -> Option<TenantFacts>;
    /// HMAC-SHA-256 of a token's secret part under the server's pepper; see [`crate::Pepper`].
    fn mac(&self, secret: &[u8]) -> [u8; 32];
}

/// What judges an API key's secret, and nothing of what the key may do.
pub struct KeyStub {
    /// Whose it is.
    pub tenant: TenantId,
    /// Which life of that tenant it was made in. It opens no other.
    pub incarnation: Incarnation,
    /// [`Credentials::mac`] of the secret part.
    pub mac: [u8; 32],
    /// From then on it opens nothing.
    pub expires_at: Option<Timestamp>,
}

impl From<&KeyRecord> for KeyStub {
    fn from(key: &KeyRecord) -> Self {
        Self { tenant: key.tenant.clone(), incarnation: key.incarnation, mac: key.mac, expires_at: key.expires_at }
    }
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
