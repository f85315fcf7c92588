//! Encryption keys: rotation, inventory, certificates.

use crate::operations::Progress;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use utoipa::ToSchema;

/// Key of a provider that wraps a tenant's keys. For absent members the configuration applies.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"provider": "bao", "name": "acme"}))]
pub struct KeyWanted {
    /// `local`, or the name of a `[key_providers.…]` section of the configuration.
    pub provider: Option<String>,
    /// Name of the key at the provider.
    pub name: Option<String>,
}

/// The provider's key that wraps a tenant's keys, and its state.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct KeyHeld {
    /// Name of the provider; empty after the key is destroyed.
    pub provider: String,
    pub name: String,
    /// `active`; `unavailable`: the provider refuses the key or does not answer, and requests are served until the
    /// lease ends; `sealed`: no request is served, and no data of the tenant is in memory; `shredded`: the key is
    /// destroyed.
    pub state: Cow<'static, str>,
    /// Reason why the key is not active: `outage`, or the refusal of the provider: `disabled`, `missing`, `forbidden`,
    /// `not_authentic`.
    pub why: Option<Cow<'static, str>>,
    pub since: Option<String>,
    /// Number of seconds for which requests are still served.
    pub serves_for_s: Option<u64>,
}

/// How to rotate keys.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"mode": "rewrap"}))]
pub struct Rotate {
    /// `rewrap`: keys are wrapped again under a new epoch; objects stay unchanged. `reencrypt`, after a compromise:
    /// every object is re-encrypted under new keys.
    pub mode: RotateWord,
    /// With `reencrypt`: time by which it should finish (RFC 3339). A late one continues, with a warning in the log and
    /// `key.reencrypt.overdue` in the operators' audit. Absent: in 24 hours.
    pub deadline: Option<String>,
    /// Another key for the new epoch; only with `rewrap`.
    pub key: Option<KeyWanted>,
}

/// How to rotate keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RotateWord {
    Rewrap,
    Reencrypt,
}

/// How to rotate the keys of all tenants.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"mode": "rewrap", "concurrency": 4}))]
pub struct RotateAll {
    pub mode: RotateWord,
    /// Number of tenants at a time, 1 to 32. Absent: 4.
    pub concurrency: Option<u32>,
}

/// How to rotate the server's own keys.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"mode": "rewrap"}))]
pub struct RotateServer {
    /// `rewrap`, or `reencrypt`, which also re-encrypts the control journal and the operators' audit.
    pub mode: RotateWord,
    /// Another key that is to wrap them.
    pub key: Option<KeyWanted>,
}

/// The server's own keys.
#[derive(Deserialize, Serialize, ToSchema)]
#[schema(as = ServerKeys)]
pub struct ServerKeyStatus {
    pub provider: String,
    pub key: String,
    /// Time at which the keys of the control journal were wrapped.
    pub created_at: String,
    /// Epochs of the control journal's key; two while the journal is re-encrypted.
    pub control_epochs: Vec<u32>,
    /// Epochs of the key that wraps the keys of the operators' audit; two while a rotation is in progress.
    pub audit_epochs: Vec<ServerEpoch>,
    /// Null if no rotation is in progress.
    pub rotating: Option<RotatingServer>,
}

/// One epoch of the key that wraps the keys of the operators' audit.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct ServerEpoch {
    pub epoch: u32,
    pub created_at: String,
    pub provider: String,
    pub key: String,
}

/// A rotation of the server's own keys that is in progress.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct RotatingServer {
    pub mode: Cow<'static, str>,
    pub begun_at: String,
}

/// A rotation of all tenants' keys that is in progress.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct RotatingAll {
    pub mode: Cow<'static, str>,
    pub begun_at: String,
    pub concurrency: u32,
    /// Number of tenants done and of all tenants. The operations show which of them failed.
    pub progress: Progress,
}

/// A rotation that is in progress.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct Rotating {
    pub operation: String,
    /// Number of the new epoch.
    pub epoch: u32,
}

/// A tenant's key epochs.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct Keys {
    pub current: u32,
    pub key: KeyHeld,
    /// Algorithms that encrypt keys and objects.
    pub algorithms: Algorithms,
    pub epochs: Vec<Epoch>,
    /// Time at which a rule starts the next rotation, if there is one.
    pub next_rotation: Option<String>,
    /// Null if no rotation is in progress.
    pub rotating: Option<Progress>,
}

/// One key epoch.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct Epoch {
    pub epoch: u32,
    pub created_at: String,
    pub age_days: u64,
    pub provider: String,
    pub key: String,
    /// Number of keys that it wraps now.
    pub objects: u64,
    /// Number of keys that it has wrapped so far.
    pub wraps: u64,
    /// Maximum number of keys that it may wrap.
    pub wraps_max: u64,
}

/// Algorithms that encrypt keys and objects.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct Algorithms {
    pub keys: Cow<'static, str>,
    pub objects: Cow<'static, str>,
    pub log: Cow<'static, str>,
}

/// A signed certificate about destroyed keys.
#[derive(Deserialize, Serialize, ToSchema)]
#[schema(as = Certificate)]
pub struct SignedCertificate {
    pub tenant: String,
    pub incarnation: String,
    /// Kind: `tenant.erased`, `epochs.destroyed` or `server.rotated`.
    pub kind: String,
    pub at: String,
    /// A signed note (c2sp.org/signed-note) whose text is JSON. `ringfence audit verify` checks it.
    pub note: String,
}

/// Certificates, newest first.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct CertificateList {
    pub certificates: Vec<SignedCertificate>,
    /// Always null: the list holds all certificates that the server keeps, which are the last 1,000.
    pub next: Option<String>,
}

/// The public key that verifies this server's certificates.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct SigningKey {
    /// The key as `name+id+key`, the format of signed notes.
    pub key: String,
}
