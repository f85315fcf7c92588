//! What is written down of a tenant: records with their JSON form, filed in the two journals.

use crate::{
    certificate::Shredding,
    codec::{self, QuotasForm, keyed::Keyed},
};
use access::{KeyRecord, OperatorRecord, TenantState};
use kernel::{
    Code, Incarnation, KeyEpoch, KeyId, NamespaceName, NamespaceSettings, NamespaceUuid, OperationId, OperatorName,
    Principal, Quotas, Role, Scope, TenantId, Timestamp,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vault::WrappedKey;

/// A key under another key: which epoch of the other, and the ciphertext.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wrapped {
    pub(crate) epoch: u32,
    #[serde(with = "codec::bytes")]
    pub(crate) bytes: Box<[u8]>,
}

impl From<WrappedKey> for Wrapped {
    fn from(key: WrappedKey) -> Self {
        Self { epoch: key.epoch.0, bytes: key.bytes.into() }
    }
}

impl From<&Wrapped> for WrappedKey {
    fn from(key: &Wrapped) -> Self {
        Self { epoch: KeyEpoch(key.epoch), bytes: key.bytes.to_vec() }
    }
}

/// One epoch of a tenant's key, wrapped by a provider's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EpochRecord {
    /// Who wrapped it.
    pub(crate) provider: String,
    /// With which key there.
    pub(crate) key: String,
    /// This server made that key for this tenant alone, and destroys it with the tenant.
    pub(crate) made: bool,
    pub(crate) wrapped: Wrapped,
    #[serde(with = "codec::millis")]
    pub(crate) created_at: Timestamp,
}

/// A place of the tenant's own and its key under the tenant's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlaceRecord {
    #[serde(with = "codec::word")]
    pub(crate) uuid: NamespaceUuid,
    pub(crate) wrapped: Wrapped,
}

/// Where a tenant is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Life {
    Active,
    Suspended,
    Deleting,
}

impl Life {
    /// As everybody else sees it, while nothing is known against its directory.
    pub(crate) fn state(self) -> TenantState {
        match self {
            Life::Active => TenantState::Active,
            Life::Suspended => TenantState::Suspended,
            Life::Deleting => TenantState::Deleting,
        }
    }
}

/// A tenant as the control journal knows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TenantRecord {
    #[serde(with = "codec::word")]
    pub(crate) id: TenantId,
    #[serde(with = "codec::word")]
    pub(crate) incarnation: Incarnation,
    pub(crate) life: Life,
    pub(crate) display_name: Option<String>,
    pub(crate) governance_class: Option<String>,
    #[serde(with = "QuotasForm")]
    pub(crate) quotas: Quotas,
    #[serde(with = "codec::millis")]
    pub(crate) created_at: Timestamp,
    pub(crate) keys: KeyringRecord,
    /// Days after which a rotation is begun; `None`: as the configuration says.
    pub(crate) rotate_days: Option<u32>,
    /// The directory journal's place. `None` once the keys are destroyed.
    pub(crate) directory: Option<PlaceRecord>,
    /// The audit chain's place. `None` once the keys are destroyed.
    pub(crate) audit: Option<PlaceRecord>,
    /// What an erasure has still to remove.
    pub(crate) doomed: Vec<String>,
    /// What it has to prove.
    pub(crate) shredding: Option<Shredding>,
}

/// A ring of key epochs as the provider wrapped them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeyringRecord {
    /// Oldest first; the last one is current. More than one: a rotation is under way.
    pub(crate) epochs: Vec<EpochRecord>,
}

impl KeyringRecord {
    /// The numbers.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = KeyEpoch> {
        self.epochs.iter().map(|e| KeyEpoch(e.wrapped.epoch))
    }

    /// The one that new keys are wrapped under.
    pub(crate) fn current(&self) -> KeyEpoch {
        KeyEpoch(self.epochs.last().map_or(0, |e| e.wrapped.epoch))
    }
}

impl Keyed for TenantRecord {
    type Key = TenantId;
    fn key(&self) -> TenantId {
        self.id.clone()
    }
}

/// The server's own audit place, for what operators do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct HouseRecord {
    pub(crate) keys: KeyringRecord,
    pub(crate) audit: PlaceRecord,
    /// What signs certificates, under the control place's key.
    pub(crate) signer: Wrapped,
}

/// An operator. The token is not here: only its keyed hash.
#[derive(Clone, Serialize, Deserialize)]
#[serde(remote = "OperatorRecord")]
struct OperatorForm {
    #[serde(with = "codec::word")]
    id: KeyId,
    #[serde(with = "codec::word")]
    name: OperatorName,
    #[serde(with = "codec::word")]
    role: Role,
    #[serde(with = "codec::bytes")]
    mac: [u8; 32],
    #[serde(with = "codec::millis")]
    created_at: Timestamp,
}

/// An operator with a JSON form, shared with the gate.
#[derive(Clone)]
pub(crate) struct Operator(pub(crate) Arc<OperatorRecord>);

impl Keyed for Operator {
    type Key = KeyId;
    fn key(&self) -> KeyId {
        self.0.id.clone()
    }
}

impl Serialize for Operator {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        OperatorForm::serialize(&self.0, s)
    }
}

impl<'de> Deserialize<'de> for Operator {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        OperatorForm::deserialize(d).map(|o| Self(Arc::new(o)))
    }
}

/// An API key. The secret is not here: only its keyed hash.
#[derive(Clone, Serialize, Deserialize)]
#[serde(remote = "KeyRecord")]
struct ApiKeyForm {
    #[serde(with = "codec::word")]
    id: KeyId,
    #[serde(with = "codec::word")]
    tenant: TenantId,
    #[serde(with = "codec::word")]
    incarnation: Incarnation,
    name: String,
    #[serde(with = "codec::bytes")]
    mac: [u8; 32],
    #[serde(with = "codec::words")]
    scopes: Vec<Scope>,
    #[serde(with = "codec::words")]
    principals: Vec<Principal>,
    #[serde(with = "codec::words")]
    namespaces: Vec<NamespaceName>,
    #[serde(with = "codec::millis")]
    created_at: Timestamp,
    #[serde(with = "codec::millis_or_none")]
    expires_at: Option<Timestamp>,
}

/// An API key with a JSON form, shared with the gate.
#[derive(Clone)]
pub(crate) struct ApiKey(pub(crate) Arc<KeyRecord>);

impl Keyed for ApiKey {
    type Key = KeyId;
    fn key(&self) -> KeyId {
        self.0.id.clone()
    }
}

impl Serialize for ApiKey {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        ApiKeyForm::serialize(&self.0, s)
    }
}

impl<'de> Deserialize<'de> for ApiKey {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        ApiKeyForm::deserialize(d).map(|k| Self(Arc::new(k)))
    }
}

/// What the control journal knows of an API key: enough to judge its secret before its tenant's
/// directory is open, and nothing of what it may do. The key counts while this stands.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct KeyPlace {
    #[serde(with = "codec::word")]
    pub(crate) incarnation: Incarnation,
    #[serde(with = "codec::bytes")]
    pub(crate) mac: [u8; 32],
    #[serde(with = "codec::millis_or_none")]
    pub(crate) expires_at: Option<Timestamp>,
}

/// A namespace as its tenant's directory knows it, filed under its name. A tenant may have a
/// hundred thousand: settings are shared, and where its objects lie follows from the uuid.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct NamespaceEntry {
    #[serde(with = "codec::shared_settings")]
    pub(crate) settings: Arc<NamespaceSettings>,
    #[serde(with = "codec::millis")]
    pub(crate) created_at: Timestamp,
    pub(crate) place: PlaceRecord,
}

/// What a long piece of work is. A closed list: each has a flow in engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// A new key epoch, every place key rewrapped, the old epoch destroyed.
    RotateKey,
    /// Everything sealed anew under fresh keys, the old ones destroyed.
    Reencrypt,
    /// Keys destroyed, then data removed.
    EraseTenant,
    /// Documents taken in behind the reply.
    Ingest,
}

impl OperationKind {
    /// The name in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            OperationKind::RotateKey => "key.rotate",
            OperationKind::Reencrypt => "key.reencrypt",
            OperationKind::EraseTenant => "tenant.erase",
            OperationKind::Ingest => "document.upsert",
        }
    }

    /// Whether it is one of a tenant's keys: a tenant has one at a time.
    pub fn rotates(self) -> bool {
        matches!(self, OperationKind::RotateKey | OperationKind::Reencrypt)
    }

    /// What its progress counts.
    pub fn unit(self) -> &'static str {
        match self {
            OperationKind::RotateKey => "keys",
            OperationKind::Reencrypt => "places",
            OperationKind::EraseTenant => "prefixes",
            OperationKind::Ingest => "documents",
        }
    }

    /// Whether a tenant has at most one of it at a time, which is resumed after a restart.
    pub fn resumes(self) -> bool {
        !matches!(self, OperationKind::Ingest)
    }
}

/// Where an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationStatus {
    /// Written down, not begun.
    Pending,
    /// Under way.
    Running,
    /// Done.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Ended because somebody asked.
    Cancelled,
}

impl OperationStatus {
    /// The name in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            OperationStatus::Pending => "pending",
            OperationStatus::Running => "running",
            OperationStatus::Succeeded => "succeeded",
            OperationStatus::Failed => "failed",
            OperationStatus::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more happens.
    pub fn ended(self) -> bool {
        !matches!(self, OperationStatus::Pending | OperationStatus::Running)
    }
}

/// An operation as the control journal knows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OperationRecord {
    #[serde(with = "codec::word")]
    pub(crate) id: OperationId,
    pub(crate) kind: OperationKind,
    #[serde(with = "codec::word")]
    pub(crate) tenant: TenantId,
    #[serde(with = "codec::word")]
    pub(crate) incarnation: Incarnation,
    /// The API key that began it; absent where an operator or the server did.
    #[serde(default, with = "codec::word_or_none", skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<KeyId>,
    #[serde(with = "codec::millis")]
    pub(crate) created_at: Timestamp,
    /// When it should have ended; it goes on all the same.
    #[serde(with = "codec::millis_or_none")]
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) end: Option<End>,
}

/// How an operation ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) status: OperationStatus,
    #[serde(with = "codec::millis")]
    pub(crate) at: Timestamp,
    pub(crate) result: Option<serde_json::Value>,
    pub(crate) error: Option<Failure>,
    /// How far it had come, and of how much.
    pub(crate) progress: (u64, u64),
}

/// Why an operation failed: what the border error says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The contract's code.
    pub code: String,
    /// For people.
    pub message: String,
}

impl Failure {
    /// What may be kept of an error: no chain.
    pub fn of(code: Code, message: &str) -> Self {
        Self { code: code.as_str().to_owned(), message: message.to_owned() }
    }
}
