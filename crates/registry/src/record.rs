//! Records about tenants, and their JSON form in the two journals.

use crate::{
    certificate::ShreddingRecord,
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

/// A wrapped key: the epoch of the key that wraps it, and the ciphertext.
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
    /// Name of the provider that wrapped it.
    pub(crate) provider: String,
    /// Name of the wrapping key at that provider.
    pub(crate) key: String,
    /// Whether this server made the wrapping key for this tenant alone; if so, the key is destroyed with the tenant.
    pub(crate) made: bool,
    pub(crate) wrapped: Wrapped,
    #[serde(with = "codec::millis")]
    pub(crate) created_at: Timestamp,
}

/// A keyspace of the tenant's own, with its key wrapped under the tenant's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyspaceRecord {
    #[serde(with = "codec::text")]
    pub(crate) uuid: NamespaceUuid,
    pub(crate) wrapped: Wrapped,
}

/// Lifecycle state of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Lifecycle {
    Active,
    Suspended,
    Deleting,
}

impl Lifecycle {
    /// Returns the state as others see it, provided that the tenant's directory opens.
    pub(crate) fn state(self) -> TenantState {
        match self {
            Lifecycle::Active => TenantState::Active,
            Lifecycle::Suspended => TenantState::Suspended,
            Lifecycle::Deleting => TenantState::Deleting,
        }
    }
}

/// A tenant as the control journal records it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TenantRecord {
    #[serde(with = "codec::text")]
    pub(crate) id: TenantId,
    #[serde(with = "codec::text")]
    pub(crate) incarnation: Incarnation,
    pub(crate) life: Lifecycle,
    pub(crate) display_name: Option<String>,
    pub(crate) governance_class: Option<String>,
    #[serde(with = "QuotasForm")]
    pub(crate) quotas: Quotas,
    #[serde(with = "codec::millis")]
    pub(crate) created_at: Timestamp,
    pub(crate) keys: KeyringRecord,
    /// Days after which a rotation begins; `None` follows the configuration.
    pub(crate) rotate_days: Option<u32>,
    /// Keyspace of the directory journal. `None` once the keys are destroyed.
    pub(crate) directory: Option<KeyspaceRecord>,
    /// Keyspace of the audit log. `None` once the keys are destroyed.
    pub(crate) audit: Option<KeyspaceRecord>,
    /// Prefixes that an erasure has yet to remove.
    pub(crate) pending_prefixes: Vec<String>,
    /// Evidence that an erasure's certificate is built from.
    pub(crate) shredding: Option<ShreddingRecord>,
}

/// A keyring: key epochs as the provider wrapped them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeyringRecord {
    /// Epochs, oldest first; the last one is current. More than one means that a rotation is in progress.
    pub(crate) epochs: Vec<EpochRecord>,
}

impl KeyringRecord {
    /// Returns the numbers of the epochs, oldest first.
    pub(crate) fn epoch_numbers(&self) -> impl Iterator<Item = KeyEpoch> {
        self.epochs.iter().map(|e| KeyEpoch(e.wrapped.epoch))
    }

    /// Returns the epoch under which new keys are wrapped.
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

/// The system's keys: those above the operators' audit, and the signing key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SystemRecord {
    pub(crate) keys: KeyringRecord,
    pub(crate) audit: KeyspaceRecord,
    /// Key that signs certificates, wrapped under the control keyspace's key.
    pub(crate) signer: Wrapped,
}

/// Form of an operator. It has only the keyed hash of the token, not the token.
#[derive(Clone, Serialize, Deserialize)]
#[serde(remote = "OperatorRecord")]
struct OperatorForm {
    #[serde(with = "codec::text")]
    id: KeyId,
    #[serde(with = "codec::text")]
    name: OperatorName,
    #[serde(with = "codec::text")]
    role: Role,
    #[serde(with = "codec::bytes")]
    mac: [u8; 32],
    #[serde(with = "codec::millis")]
    created_at: Timestamp,
}

/// An operator with a JSON form, shared with the gate.
#[derive(Clone)]
pub(crate) struct StoredOperator(pub(crate) Arc<OperatorRecord>);

impl Keyed for StoredOperator {
    type Key = KeyId;
    fn key(&self) -> KeyId {
        self.0.id.clone()
    }
}

impl Serialize for StoredOperator {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        OperatorForm::serialize(&self.0, s)
    }
}

impl<'de> Deserialize<'de> for StoredOperator {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        OperatorForm::deserialize(d).map(|o| Self(Arc::new(o)))
    }
}

/// Form of an API key. It has only the keyed hash of the secret, not the secret.
#[derive(Clone, Serialize, Deserialize)]
#[serde(remote = "KeyRecord")]
struct ApiKeyForm {
    #[serde(with = "codec::text")]
    id: KeyId,
    #[serde(with = "codec::text")]
    tenant: TenantId,
    #[serde(with = "codec::text")]
    incarnation: Incarnation,
    name: String,
    #[serde(with = "codec::bytes")]
    mac: [u8; 32],
    #[serde(with = "codec::text_list")]
    scopes: Vec<Scope>,
    #[serde(with = "codec::text_list")]
    principals: Vec<Principal>,
    #[serde(with = "codec::text_list")]
    namespaces: Vec<NamespaceName>,
    #[serde(with = "codec::millis")]
    created_at: Timestamp,
    #[serde(with = "codec::optional_millis")]
    expires_at: Option<Timestamp>,
}

/// An API key with a JSON form, shared with the gate.
#[derive(Clone)]
pub(crate) struct StoredApiKey(pub(crate) Arc<KeyRecord>);

impl Keyed for StoredApiKey {
    type Key = KeyId;
    fn key(&self) -> KeyId {
        self.0.id.clone()
    }
}

impl Serialize for StoredApiKey {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        ApiKeyForm::serialize(&self.0, s)
    }
}

impl<'de> Deserialize<'de> for StoredApiKey {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        ApiKeyForm::deserialize(d).map(|k| Self(Arc::new(k)))
    }
}

/// What the control journal records of an API key: enough to check its secret before its tenant's directory is open,
/// and nothing of what it may do. The key is valid only while this record exists.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct RegisteredKey {
    #[serde(with = "codec::text")]
    pub(crate) incarnation: Incarnation,
    #[serde(with = "codec::bytes")]
    pub(crate) mac: [u8; 32],
    #[serde(with = "codec::optional_millis")]
    pub(crate) expires_at: Option<Timestamp>,
}

/// A namespace as its tenant's directory records it under its name. A tenant may have a hundred thousand, so settings
/// are shared, and the location of its objects follows from the uuid.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct NamespaceEntry {
    #[serde(with = "codec::shared_settings")]
    pub(crate) settings: Arc<NamespaceSettings>,
    #[serde(with = "codec::millis")]
    pub(crate) created_at: Timestamp,
    pub(crate) keyspace: KeyspaceRecord,
}

/// Kind of a long-running operation. The list is closed: each kind has a flow in engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// Adds a key epoch, rewraps every keyspace key, and destroys the old epoch.
    RotateKey,
    /// Re-encrypts everything under fresh keys and destroys the old ones.
    Reencrypt,
    /// Destroys the tenant's keys, then removes its data.
    EraseTenant,
    /// Ingests documents after the request was answered.
    Ingest,
}

impl OperationKind {
    /// Returns the name of the kind in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            OperationKind::RotateKey => "key.rotate",
            OperationKind::Reencrypt => "key.reencrypt",
            OperationKind::EraseTenant => "tenant.erase",
            OperationKind::Ingest => "document.upsert",
        }
    }

    /// Whether it is a rotation of a tenant's keys. A tenant has at most one rotation at a time.
    pub fn rotates(self) -> bool {
        matches!(self, OperationKind::RotateKey | OperationKind::Reencrypt)
    }

    /// Returns the unit in which progress is counted.
    pub fn unit(self) -> &'static str {
        match self {
            OperationKind::RotateKey => "keys",
            OperationKind::Reencrypt => "keyspaces",
            OperationKind::EraseTenant => "prefixes",
            OperationKind::Ingest => "documents",
        }
    }

    /// Whether a tenant has at most one operation of this kind at a time, which is resumed after a restart.
    pub fn resumes(self) -> bool {
        !matches!(self, OperationKind::Ingest)
    }
}

/// Status of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationStatus {
    /// Recorded, but not started.
    Pending,
    /// In progress.
    Running,
    /// Ended successfully.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Ended on request.
    Cancelled,
}

impl OperationStatus {
    /// Returns the name of the status in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            OperationStatus::Pending => "pending",
            OperationStatus::Running => "running",
            OperationStatus::Succeeded => "succeeded",
            OperationStatus::Failed => "failed",
            OperationStatus::Cancelled => "cancelled",
        }
    }

    /// Whether the status is final.
    pub fn ended(self) -> bool {
        !matches!(self, OperationStatus::Pending | OperationStatus::Running)
    }
}

/// An operation as the control journal records it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OperationRecord {
    #[serde(with = "codec::text")]
    pub(crate) id: OperationId,
    pub(crate) kind: OperationKind,
    #[serde(with = "codec::text")]
    pub(crate) tenant: TenantId,
    #[serde(with = "codec::text")]
    pub(crate) incarnation: Incarnation,
    /// The API key that began it; `None` if an operator or the server did.
    #[serde(default, with = "codec::optional_text", skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<KeyId>,
    #[serde(with = "codec::millis")]
    pub(crate) created_at: Timestamp,
    /// When it should have ended; it continues after this time.
    #[serde(with = "codec::optional_millis")]
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) end: Option<OperationEnd>,
}

/// How an operation ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OperationEnd {
    pub(crate) status: OperationStatus,
    #[serde(with = "codec::millis")]
    pub(crate) at: Timestamp,
    pub(crate) result: Option<serde_json::Value>,
    pub(crate) error: Option<OperationFailure>,
    /// Units done, and all of them.
    pub(crate) progress: (u64, u64),
}

/// Why an operation failed, as the API reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationFailure {
    /// Error code of the API.
    pub code: String,
    /// Message for people.
    pub message: String,
}

impl OperationFailure {
    /// Keeps the code and the message of an error, without its chain of causes.
    pub fn of(code: Code, message: &str) -> Self {
        Self { code: code.as_str().to_owned(), message: message.to_owned() }
    }
}
