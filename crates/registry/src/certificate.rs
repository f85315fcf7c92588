//! Statements of the server about destroyed keys, for readers who were not there. They are signed and can be checked
//! without the server.
//!
//! A statement is JSON inside a signed note (c2sp.org/signed-note). It says what was done, how that was checked, and
//! what it cannot prove. It names keys, keyspaces and hashes, and of a customer only the tenant's name.

use crate::{codec, record::EpochRecord};
use journal::ObjectSample;
use kernel::{Incarnation, ObjectUuid, TenantId, Timestamp, limits};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use vault::sha256;

/// A signed statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Name of the tenant.
    pub tenant: String,
    /// Incarnation of the tenant.
    pub incarnation: String,
    /// Kind of statement: `tenant.erased`, `epochs.destroyed`, `server.rotated`.
    pub kind: String,
    /// When it was signed.
    pub at: String,
    /// The signed note: the statement and its signature.
    pub note: String,
}

/// The most recent certificates, oldest first. Customers are expected to keep their own copies.
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Certificates(VecDeque<Certificate>);

impl Certificates {
    pub(crate) fn push(&mut self, certificate: Certificate) {
        self.0.push_back(certificate);
        while self.0.len() > limits::CERTIFICATES_KEPT_MAX {
            self.0.pop_front();
        }
    }

    pub(crate) fn of(&self, incarnation: Incarnation) -> impl DoubleEndedIterator<Item = &Certificate> {
        let incarnation = incarnation.to_string();
        self.0.iter().filter(move |c| c.incarnation == incarnation)
    }

    pub(crate) fn all(&self) -> impl DoubleEndedIterator<Item = &Certificate> {
        self.0.iter()
    }
}

/// Evidence for an erasure's certificate, recorded before the keys are destroyed so that a crash loses none of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShreddingRecord {
    /// When the keys were forgotten.
    pub(crate) begun_at: String,
    /// Whether the directory opened, which tells where the tenant's namespaces lie.
    pub(crate) directory_opened: bool,
    pub(crate) keys: Vec<ShreddedKey>,
    /// A value that was sealed for the check; `None` if the tenant's key was unavailable.
    pub(crate) canary: Option<Canary>,
    /// Sealed objects of the tenant, as they were before the erasure.
    pub(crate) samples: Vec<DecryptionCheck>,
}

/// Thirty-two random bytes, sealed under the key of the tenant's directory when its erasure began. The server hands out
/// the ciphertext as evidence that the keys are gone; anyone who opens it shows that they are not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Canary {
    /// Prefix of the keyspace whose key sealed it.
    pub(crate) keyspace: String,
    #[serde(with = "codec::text")]
    pub(crate) object: ObjectUuid,
    #[serde(with = "codec::bytes")]
    pub(crate) sealed: Box<[u8]>,
    pub(crate) sealed_sha256: String,
    pub(crate) plain_sha256: String,
    #[serde(flatten)]
    pub(crate) before: ResultBefore,
}

/// A sealed object that the server tried to decrypt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DecryptionCheck {
    #[serde(flatten)]
    pub(crate) sample: SampledObject,
    /// Kind of object: `log`, `checkpoint`, `object`.
    pub(crate) kind: String,
    #[serde(flatten)]
    pub(crate) before: ResultBefore,
}

/// Result of the check while the keys existed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ResultBefore {
    opened_before: bool,
    /// `opened`, or the reason why it did not open.
    before: String,
}

/// Result of the same check after the keys were destroyed.
#[derive(Serialize)]
pub(crate) struct Recheck<'a, T> {
    #[serde(flatten)]
    tried: &'a T,
    after: String,
    /// Whether decryption failed, as it must.
    refused: bool,
}

/// One destroyed key epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShreddedKey {
    epoch: u32,
    pub(crate) provider: String,
    pub(crate) key: String,
    /// Whether the provider's key was made by this server for this tenant alone.
    pub(crate) own_key: bool,
    /// Hash of the wrapped key, by which a copy in a backup can be recognised.
    wrapped_sha256: String,
}

/// A sealed object as it was before the erasure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SampledObject {
    pub(crate) object: String,
    bytes: u64,
    pub(crate) sha256: String,
}

/// Statement of an erasure's certificate.
#[derive(Serialize)]
pub(crate) struct ErasureStatement<'a> {
    pub(crate) statement: &'static str,
    pub(crate) version: u8,
    pub(crate) tenant: &'a str,
    pub(crate) incarnation: String,
    pub(crate) keys_destroyed_at: &'a str,
    pub(crate) finished_at: String,
    pub(crate) keys: &'a [ShreddedKey],
    pub(crate) provider_receipts: Vec<ProviderReceipt>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) canary: Option<Recheck<'a, Canary>>,
    pub(crate) sampled_objects: Vec<Recheck<'a, DecryptionCheck>>,
    pub(crate) keyspaces_removed: &'a [String],
    /// Removed keyspaces that no record named; their ids show that they are this tenant's.
    pub(crate) keyspaces_found_by_id: &'a [String],
    pub(crate) remains: Vec<SampledObject>,
    pub(crate) cannot_be_proven: Vec<String>,
}

/// Statement about the end of a rotation.
#[derive(Serialize)]
pub(crate) struct RotationStatement<'a> {
    pub(crate) statement: &'static str,
    pub(crate) version: u8,
    /// `rewrap`: keys were rewrapped. `reencrypt`: every object, log and checkpoint was re-encrypted under new keys.
    pub(crate) mode: &'static str,
    pub(crate) tenant: &'a str,
    pub(crate) incarnation: String,
    pub(crate) at: String,
    pub(crate) destroyed: Vec<ShreddedKey>,
    pub(crate) current_epoch: u32,
    pub(crate) keys_by_epoch: std::collections::BTreeMap<u32, u64>,
    pub(crate) cannot_be_proven: Vec<String>,
}

/// Statement about the end of a rotation of the system's keys.
#[derive(Serialize)]
pub(crate) struct ServerRotationStatement<'a> {
    pub(crate) statement: &'static str,
    pub(crate) version: u8,
    /// As in [`RotationStatement`].
    pub(crate) mode: &'static str,
    pub(crate) at: String,
    pub(crate) destroyed: &'a [ShreddedServerKey],
    /// Provider whose key wraps them now.
    pub(crate) provider: &'a str,
    pub(crate) key: &'a str,
    pub(crate) cannot_be_proven: Vec<String>,
}

/// A destroyed wrapped key of the system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShreddedServerKey {
    /// Subject of the key: the keyspace that it wrapped.
    of: String,
    provider: String,
    key: String,
    wrapped_sha256: String,
}

impl ShreddedServerKey {
    pub(crate) fn of(of: &str, provider: &str, key: &str, wrapped: &[u8]) -> Self {
        let (provider, key) = (provider.to_owned(), key.to_owned());
        Self { of: of.to_owned(), provider, key, wrapped_sha256: hex(&sha256(wrapped)) }
    }

    /// Says what cannot be proven: the server destroys no provider's key that wraps the system's keys.
    pub(crate) fn unprovable_claim(&self) -> String {
        format!(
            "that earlier copies of the data folder are useless: their wrapped keys (wrapped_sha256) open as long as key \
             {} of provider {} unwraps what it wrapped then",
            self.key, self.provider
        )
    }
}

/// Statement about the erasure of documents. It is given to their tenant and not kept here.
#[derive(Serialize)]
pub(crate) struct DocumentErasureStatement<'a> {
    pub(crate) statement: &'static str,
    pub(crate) version: u8,
    pub(crate) tenant: &'a str,
    pub(crate) incarnation: String,
    pub(crate) namespace: &'a str,
    pub(crate) namespace_uuid: String,
    pub(crate) at: String,
    pub(crate) documents: Vec<&'a str>,
    /// Which documents under these ids the statement is about: several may share an id, for different readers.
    pub(crate) covers: &'static str,
    /// Number of documents that were deleted.
    pub(crate) deleted: u64,
    /// Commit whose checkpoint is the limit: every older object and log was rewritten or deleted.
    pub(crate) clean_from_commit: u64,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) cannot_be_proven: [&'static str; 3],
}

/// The end of an audit log at one moment. Together with the log it shows that the records up to here are complete and
/// unchanged.
#[derive(Clone, Debug)]
pub struct SignedHead {
    /// Uuid of the log's hash chain.
    pub chain: String,
    /// Number of the last record.
    pub lines: u64,
    /// Fingerprint of the last record, hexadecimal.
    pub head: String,
    /// When it was signed.
    pub at: Timestamp,
    /// The signed note: the statement and its signature.
    pub note: String,
}

/// Statement of a [`SignedHead`].
#[derive(Serialize)]
pub(crate) struct AuditHeadStatement<'a> {
    pub(crate) statement: &'static str,
    pub(crate) version: u8,
    /// Tenant of the audit log; `None` for the operators' own.
    pub(crate) tenant: Option<&'a str>,
    pub(crate) incarnation: Option<String>,
    pub(crate) chain: &'a str,
    pub(crate) lines: u64,
    pub(crate) head: &'a str,
    pub(crate) at: String,
}

/// What a provider answered when it was asked to destroy one of its keys.
#[derive(Clone, Serialize)]
pub(crate) struct ProviderReceipt {
    pub(crate) provider: String,
    pub(crate) key: String,
    pub(crate) destroyed: bool,
    pub(crate) said: String,
}

/// An attempt at something that must fail.
#[derive(Serialize)]
pub(crate) struct Attempt {
    pub(crate) tried: String,
    pub(crate) outcome: String,
    /// Whether it failed, as it must.
    pub(crate) refused: bool,
}

impl ShreddedKey {
    pub(crate) fn of(epoch: &EpochRecord) -> Self {
        Self {
            epoch: epoch.wrapped.epoch,
            provider: epoch.provider.clone(),
            key: epoch.key.clone(),
            own_key: epoch.made,
            wrapped_sha256: hex(&sha256(&epoch.wrapped.bytes)),
        }
    }
}

impl ShreddedKey {
    /// Says what cannot be proven of an epoch whose key still exists at the provider.
    pub(crate) fn unprovable_claim(&self) -> String {
        format!(
            "that earlier copies of the data folder are useless: their wrapped keys (wrapped_sha256) open as long as key \
             {} of provider {} unwraps what it wrapped then",
            self.key, self.provider
        )
    }

    /// Says what cannot be proven yet of an epoch whose provider will forget older versions.
    pub(crate) fn pending_retirement(&self) -> String {
        format!(
            "that provider {} has forgotten the older versions of key {}: it is asked to do so right after this statement",
            self.provider, self.key
        )
    }
}

impl ResultBefore {
    pub(crate) fn of(opened: Result<(), String>) -> Self {
        let opened_before = opened.is_ok();
        Self { opened_before, before: opened.map_or_else(|why| why, |()| "opened".to_owned()) }
    }
}

impl<'a, T> Recheck<'a, T> {
    /// `said` is put before the reason of the refusal, and says in which state the object was found.
    pub(crate) fn of(tried: &'a T, said: &str, opened: Result<(), CheckFailure>) -> Self {
        let (after, refused) = match opened {
            Ok(()) => ("opened".to_owned(), false),
            Err(CheckFailure::Refused(why)) => (why, true),
            Err(CheckFailure::NotTried(why)) => (format!("could not be tried: {why}"), false),
        };
        Self { tried, after: format!("{said}{after}"), refused }
    }
}

/// Why a check decrypted nothing.
#[derive(Clone, Debug)]
pub(crate) enum CheckFailure {
    /// There is no key for it.
    Refused(String),
    /// The provider did not answer, which proves nothing.
    NotTried(String),
}

impl CheckFailure {
    pub(crate) fn into_message(self) -> String {
        match self {
            CheckFailure::Refused(why) | CheckFailure::NotTried(why) => why,
        }
    }
}

impl From<ObjectSample> for SampledObject {
    fn from(sample: ObjectSample) -> Self {
        Self { object: sample.name, bytes: sample.bytes, sha256: hex(&sample.sha256) }
    }
}

impl Certificate {
    /// Signs a statement about the system's keys.
    pub(crate) fn sign_own(
        signer: &vault::Signer,
        at: Timestamp,
        statement: &impl Serialize,
    ) -> Result<Self, kernel::Error> {
        Self::signed(signer, OWN.to_owned(), crate::Registry::SYSTEM, "server.rotated", at, statement)
    }

    /// Signs a statement about a tenant.
    pub(crate) fn sign(
        signer: &vault::Signer,
        tenant: &TenantId,
        incarnation: Incarnation,
        kind: &str,
        at: Timestamp,
        statement: &impl Serialize,
    ) -> Result<Self, kernel::Error> {
        Self::signed(signer, tenant.as_str().to_owned(), incarnation, kind, at, statement)
    }

    fn signed(
        signer: &vault::Signer,
        tenant: String,
        incarnation: Incarnation,
        kind: &str,
        at: Timestamp,
        statement: &impl Serialize,
    ) -> Result<Self, kernel::Error> {
        let text = serde_json::to_string_pretty(statement)
            .map_err(|e| kernel::Error::internal("a statement does not encode").with_source(e))?;
        Ok(Self {
            tenant,
            incarnation: incarnation.to_string(),
            kind: kind.to_owned(),
            at: at.to_string(),
            note: signer.note(SIGNED_BY, &(text + "\n")),
        })
    }
}

/// Used in place of a tenant's name; no tenant can have it.
const OWN: &str = "(server)";

/// Name under which this server signs.
pub const SIGNED_BY: &str = "ringfence";

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
