//! Wire types of encryption keys: rotation, inventory, certificates.

use super::{admin::label, common, operations::Progress};
use crate::http::request_data::RequestBody;
use engine::{KeyChoice, KeyState, KeyStatus, RotateMode};
use kernel::{Error, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Key of a provider that wraps a tenant's keys. For absent members the configuration applies.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"provider": "bao", "name": "acme"}))]
pub(crate) struct KeyWanted {
    /// `local`, or the name of a `[key_providers.…]` section of the configuration.
    provider: Option<String>,
    /// Name of the key at the provider.
    name: Option<String>,
}

impl KeyWanted {
    pub(super) fn check(self) -> Result<KeyChoice, Error> {
        Ok(KeyChoice { provider: label("key.provider", self.provider)?, key: label("key.name", self.name)? })
    }
}

/// The provider's key that wraps a tenant's keys, and its state.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeyHeld {
    /// Name of the provider; empty after the key is destroyed.
    provider: String,
    name: String,
    /// `active`; `unavailable`: the provider refuses the key or does not answer, and requests are served until the
    /// lease ends; `sealed`: no request is served, and no data of the tenant is in memory; `shredded`: the key is
    /// destroyed.
    state: &'static str,
    /// Reason why the key is not active: `outage`, or the refusal of the provider: `disabled`, `missing`, `forbidden`,
    /// `not_authentic`.
    why: Option<&'static str>,
    since: Option<String>,
    /// Number of seconds for which requests are still served.
    serves_for_s: Option<u64>,
}

impl KeyHeld {
    pub(super) fn new((provider, name): (String, String), held: KeyState) -> Self {
        let state = held.as_str();
        let (why, since, serves_for_s) = match held {
            KeyState::Unavailable { why, since, serves_for } => {
                (Some(why.as_str()), Some(since.to_string()), Some(serves_for.as_secs()))
            }
            KeyState::Sealed(why) => (Some(why.as_str()), None, None),
            KeyState::Active | KeyState::Shredded => (None, None, None),
        };
        Self { provider, name, state, why, since, serves_for_s }
    }
}

/// How to rotate keys.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"mode": "rewrap"}))]
pub(crate) struct Rotate {
    /// `rewrap`: keys are wrapped again under a new epoch; objects stay unchanged. `reencrypt`, after a compromise:
    /// every object is re-encrypted under new keys.
    mode: RotateWord,
    /// With `reencrypt`: time by which it should finish (RFC 3339). A late one continues, with a warning in the log and
    /// `key.reencrypt.overdue` in the operators' audit. Absent: in 24 hours.
    deadline: Option<String>,
    /// Another key for the new epoch; only with `rewrap`.
    key: Option<KeyWanted>,
}

/// How to rotate keys.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RotateWord {
    Rewrap,
    Reencrypt,
}

impl RequestBody for Rotate {
    type Checked = (RotateMode, Option<KeyChoice>);

    fn check(self) -> Result<Self::Checked, Error> {
        let mode = match self.mode {
            RotateWord::Rewrap => RotateMode::Rewrap,
            RotateWord::Reencrypt => {
                let deadline = self.deadline.as_deref().map(|at| common::at("deadline", Timestamp::parse(at)));
                RotateMode::Reencrypt(deadline.transpose()?)
            }
        };
        if self.deadline.is_some() && mode == RotateMode::Rewrap {
            return Err(Error::invalid("deadline", "is only for mode reencrypt"));
        }
        Ok((mode, self.key.map(KeyWanted::check).transpose()?))
    }
}

/// How to rotate the keys of all tenants.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"mode": "rewrap", "concurrency": 4}))]
pub(crate) struct RotateAll {
    mode: RotateWord,
    /// Number of tenants at a time, 1 to 32. Absent: 4.
    concurrency: Option<u32>,
}

impl RequestBody for RotateAll {
    type Checked = (bool, u32);

    fn check(self) -> Result<Self::Checked, Error> {
        Ok((matches!(self.mode, RotateWord::Reencrypt), self.concurrency.unwrap_or(4)))
    }
}

/// How to rotate the server's own keys.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"mode": "rewrap"}))]
pub(crate) struct RotateServer {
    /// `rewrap`, or `reencrypt`, which also re-encrypts the control journal and the operators' audit.
    mode: RotateWord,
    /// Another key that is to wrap them.
    key: Option<KeyWanted>,
}

impl RequestBody for RotateServer {
    type Checked = (bool, Option<KeyChoice>);

    fn check(self) -> Result<Self::Checked, Error> {
        Ok((matches!(self.mode, RotateWord::Reencrypt), self.key.map(KeyWanted::check).transpose()?))
    }
}

/// The server's own keys.
#[derive(Serialize, ToSchema)]
pub(crate) struct ServerKeys {
    provider: String,
    key: String,
    /// Time at which the keys of the control journal were wrapped.
    created_at: String,
    /// Epochs of the control journal's key; two while the journal is re-encrypted.
    control_epochs: Vec<u32>,
    /// Epochs of the key that wraps the keys of the operators' audit; two while a rotation is in progress.
    audit_epochs: Vec<ServerEpoch>,
    /// Null if no rotation is in progress.
    rotating: Option<RotatingServer>,
}

/// One epoch of the key that wraps the keys of the operators' audit.
#[derive(Serialize, ToSchema)]
pub(crate) struct ServerEpoch {
    epoch: u32,
    created_at: String,
    provider: String,
    key: String,
}

/// A rotation of the server's own keys that is in progress.
#[derive(Serialize, ToSchema)]
pub(crate) struct RotatingServer {
    mode: &'static str,
    begun_at: String,
}

impl From<engine::ServerKeys> for ServerKeys {
    fn from(keys: engine::ServerKeys) -> Self {
        let engine::ServerKeys { key: (provider, key), created_at, control_epochs, audit_epochs, rotating } = keys;
        let audit_epochs = audit_epochs.into_iter().map(|(epoch, created_at, provider, key)| ServerEpoch {
            epoch: epoch.0,
            created_at: created_at.to_string(),
            provider,
            key,
        });
        Self {
            provider,
            key,
            created_at: created_at.to_string(),
            control_epochs: control_epochs.into_iter().map(|epoch| epoch.0).collect(),
            audit_epochs: audit_epochs.collect(),
            rotating: rotating.map(|(begun_at, reencrypt)| RotatingServer {
                mode: if reencrypt { "reencrypt" } else { "rewrap" },
                begun_at: begun_at.to_string(),
            }),
        }
    }
}

/// A rotation of all tenants' keys that is in progress.
#[derive(Serialize, ToSchema)]
pub(crate) struct RotatingAll {
    mode: &'static str,
    begun_at: String,
    concurrency: u32,
    /// Number of tenants done and of all tenants. The operations show which of them failed.
    progress: Progress,
}

impl From<engine::BulkRotation> for RotatingAll {
    fn from(bulk_rotation: engine::BulkRotation) -> Self {
        let engine::BulkRotation { reencrypt, begun_at, concurrency, done, total } = bulk_rotation;
        let mode = if reencrypt { "reencrypt" } else { "rewrap" };
        Self { mode, begun_at: begun_at.to_string(), concurrency, progress: Progress { done, total, unit: "tenants" } }
    }
}

/// A rotation that is in progress.
#[derive(Serialize, ToSchema)]
pub(crate) struct Rotating {
    pub(crate) operation: String,
    /// Number of the new epoch.
    pub(crate) epoch: u32,
}

/// A tenant's key epochs.
#[derive(Serialize, ToSchema)]
pub(crate) struct Keys {
    current: u32,
    key: KeyHeld,
    /// Algorithms that encrypt keys and objects.
    algorithms: Algorithms,
    epochs: Vec<Epoch>,
    /// Time at which a rule starts the next rotation, if there is one.
    next_rotation: Option<String>,
    /// Null if no rotation is in progress.
    rotating: Option<Progress>,
}

/// One key epoch.
#[derive(Serialize, ToSchema)]
pub(crate) struct Epoch {
    epoch: u32,
    created_at: String,
    age_days: u64,
    provider: String,
    key: String,
    /// Number of keys that it wraps now.
    objects: u64,
    /// Number of keys that it has wrapped so far.
    wraps: u64,
    /// Maximum number of keys that it may wrap.
    wraps_max: u64,
}

/// Algorithms that encrypt keys and objects.
#[derive(Serialize, ToSchema)]
pub(crate) struct Algorithms {
    keys: &'static str,
    objects: &'static str,
    log: &'static str,
}

impl From<KeyStatus> for Keys {
    fn from(status: KeyStatus) -> Self {
        let epochs = status.epochs.into_iter();
        let epochs = epochs.map(|e| Epoch {
            epoch: e.epoch.0,
            created_at: e.created_at.to_string(),
            age_days: e.age.as_secs() / 86_400,
            provider: e.provider,
            key: e.key,
            objects: e.objects,
            wraps: e.wraps,
            wraps_max: vault::WRAPS_MAX,
        });
        Self {
            current: status.current.0,
            key: KeyHeld::new(status.key, status.state),
            algorithms: Algorithms {
                keys: "AES-256-GCM",
                objects: "FLOE (AES-256-GCM, HKDF-Expand-SHA-384)",
                log: "AES-256-GCM, HMAC-SHA-256",
            },
            next_rotation: status.next_rotation.map(|at| at.to_string()),
            epochs: epochs.collect(),
            rotating: status.rotating.map(|(done, total)| Progress { done, total, unit: "keys" }),
        }
    }
}

/// A signed certificate about destroyed keys.
#[derive(Serialize, ToSchema)]
pub(crate) struct Certificate {
    tenant: String,
    incarnation: String,
    /// Kind: `tenant.erased`, `epochs.destroyed` or `server.rotated`.
    kind: String,
    at: String,
    /// A signed note (c2sp.org/signed-note) whose text is JSON. `ringfence audit verify` checks it.
    note: String,
}

impl From<engine::Certificate> for Certificate {
    fn from(certificate: engine::Certificate) -> Self {
        let engine::Certificate { tenant, incarnation, kind, at, note } = certificate;
        Self { tenant, incarnation, kind, at, note }
    }
}

/// Certificates, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct CertificateList {
    pub(crate) certificates: Vec<Certificate>,
    /// Always null: the list holds all certificates that the server keeps, which are the last 1,000.
    pub(crate) next: Option<String>,
}

/// The public key that verifies this server's certificates.
#[derive(Serialize, ToSchema)]
pub(crate) struct SigningKey {
    /// The key as `name+id+key`, the format of signed notes.
    pub(crate) key: String,
}
