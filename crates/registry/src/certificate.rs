//! What the server states about keys that are gone, for who was not there: signed, and checked without the server.
//!
//! A statement is JSON inside a signed note (c2sp.org/signed-note). It says what was done, how that was checked, and
//! what it cannot prove. It names keys, places and hashes, and holds nothing of a customer but the tenant's own name.

use crate::{codec, record::EpochRecord};
use journal::Witness;
use kernel::{Incarnation, ObjectUuid, TenantId, Timestamp, limits};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use vault::sha256;

/// A signed statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Of which tenant.
    pub tenant: String,
    /// Which life of it.
    pub incarnation: String,
    /// `tenant.erased`, `epochs.destroyed`, `server.rotated`.
    pub kind: String,
    /// When.
    pub at: String,
    /// The note: the statement and its signature.
    pub note: String,
}

/// Statements of the last while, oldest first. They are made to be kept elsewhere.
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

/// What an erasure has to prove: written down before the keys go, so that a crash loses none of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shredding {
    /// When the keys were forgotten.
    pub(crate) begun_at: String,
    /// Whether it was known where its namespaces lie.
    pub(crate) directory_opened: bool,
    pub(crate) keys: Vec<ShreddedKey>,
    /// Something that was sealed to be tried; none where the tenant's key could not be had.
    pub(crate) canary: Option<Canary>,
    /// Sealed objects of the tenant, as they lay before.
    pub(crate) samples: Vec<Trial>,
}

/// Thirty-two random bytes, sealed under the key of the tenant's directory when its erasure began. Who says that the
/// keys are gone hands it out; who opens it shows that they are not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Canary {
    /// The prefix of the place whose key sealed it.
    pub(crate) place: String,
    #[serde(with = "codec::word")]
    pub(crate) object: ObjectUuid,
    #[serde(with = "codec::bytes")]
    pub(crate) sealed: Box<[u8]>,
    pub(crate) sealed_sha256: String,
    pub(crate) plain_sha256: String,
    #[serde(flatten)]
    pub(crate) before: Before,
}

/// A sealed object that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trial {
    #[serde(flatten)]
    pub(crate) sample: Sample,
    /// `log`, `checkpoint`, `object`.
    pub(crate) kind: String,
    #[serde(flatten)]
    pub(crate) before: Before,
}

/// What a try gave while the keys stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Before {
    opened_before: bool,
    /// Or why it was not.
    before: String,
}

/// The same try when they were destroyed.
#[derive(Serialize)]
pub(crate) struct Again<'a, T> {
    #[serde(flatten)]
    tried: &'a T,
    after: String,
    /// Whether it failed, as it must.
    refused: bool,
}

/// One key epoch that is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShreddedKey {
    epoch: u32,
    pub(crate) provider: String,
    pub(crate) key: String,
    /// The provider's key was this tenant's alone, made by this server.
    pub(crate) own_key: bool,
    /// Of the wrapped key that was forgotten: who finds it in a backup can tell.
    wrapped_sha256: String,
}

/// A sealed object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) object: String,
    bytes: u64,
    pub(crate) sha256: String,
}

/// What an erasure's certificate says.
#[derive(Serialize)]
pub(crate) struct Erased<'a> {
    pub(crate) statement: &'static str,
    pub(crate) version: u8,
    pub(crate) tenant: &'a str,
    pub(crate) incarnation: String,
    pub(crate) keys_destroyed_at: &'a str,
    pub(crate) finished_at: String,
    pub(crate) keys: &'a [ShreddedKey],
    pub(crate) provider_receipts: Vec<ReceiptLine>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) canary: Option<Again<'a, Canary>>,
    pub(crate) sampled_objects: Vec<Again<'a, Trial>>,
    pub(crate) places_removed: &'a [String],
    /// Those of them that no record named: their numbers say that they are this tenant's.
    pub(crate) places_found_by_number: &'a [String],
    pub(crate) remains: Vec<Sample>,
    pub(crate) cannot_be_proven: Vec<String>,
}

/// What the end of a rotation says.
#[derive(Serialize)]
pub(crate) struct Retired<'a> {
    pub(crate) statement: &'static str,
    pub(crate) version: u8,
    /// `rewrap`: keys were wrapped again. `reencrypt`: every object, log and checkpoint was re-encrypted under new
    /// keys.
    pub(crate) mode: &'static str,
    pub(crate) tenant: &'a str,
    pub(crate) incarnation: String,
    pub(crate) at: String,
    pub(crate) destroyed: Vec<ShreddedKey>,
    pub(crate) current_epoch: u32,
    pub(crate) keys_by_epoch: std::collections::BTreeMap<u32, u64>,
    pub(crate) cannot_be_proven: Vec<String>,
}

/// What the end of a rotation of the server's own keys says.
#[derive(Serialize)]
pub(crate) struct ServerRotated<'a> {
    pub(crate) statement: &'static str,
    pub(crate) version: u8,
    /// As in [`Retired`].
    pub(crate) mode: &'static str,
    pub(crate) at: String,
    pub(crate) destroyed: &'a [ServerShredded],
    /// What wraps them now.
    pub(crate) provider: &'a str,
    pub(crate) key: &'a str,
    pub(crate) cannot_be_proven: Vec<String>,
}

/// A wrapped key of the server's own that is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServerShredded {
    /// Of what.
    of: String,
    provider: String,
    key: String,
    wrapped_sha256: String,
}

impl ServerShredded {
    pub(crate) fn of(of: &str, provider: &str, key: &str, wrapped: &[u8]) -> Self {
        let (provider, key) = (provider.to_owned(), key.to_owned());
        Self { of: of.to_owned(), provider, key, wrapped_sha256: hex(&sha256(wrapped)) }
    }

    /// What cannot be shown: the server destroys no key of a provider that wraps its own keys.
    pub(crate) fn doubt(&self) -> String {
        format!(
            "that copies of the data folder from before are useless: their wrapped keys (wrapped_sha256) open as long as \
             key {} of provider {} unwraps what it wrapped then",
            self.key, self.provider
        )
    }
}

/// What the erasure of documents says. It goes to their tenant, and is kept nowhere here.
#[derive(Serialize)]
pub(crate) struct ErasedDocuments<'a> {
    pub(crate) statement: &'static str,
    pub(crate) version: u8,
    pub(crate) tenant: &'a str,
    pub(crate) incarnation: String,
    pub(crate) namespace: &'a str,
    pub(crate) namespace_uuid: String,
    pub(crate) at: String,
    pub(crate) documents: Vec<&'a str>,
    /// Of which documents under these ids that is said: several may share one, for different readers.
    pub(crate) covers: &'static str,
    /// How many of them were there.
    pub(crate) deleted: u64,
    /// Every object and log that is older than this commit's checkpoint was rewritten or deleted.
    pub(crate) clean_from_commit: u64,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) cannot_be_proven: [&'static str; 3],
}

/// Where an audit ended at a moment. Lines that lead up to it are those that were written, all of them.
#[derive(Clone, Debug)]
pub struct SignedHead {
    /// Uuid of the chain.
    pub chain: String,
    /// Number of the last line.
    pub lines: u64,
    /// Fingerprint of the last line, hexadecimal.
    pub head: String,
    /// When.
    pub at: Timestamp,
    /// The note: the statement and its signature.
    pub note: String,
}

/// What a [`SignedHead`] says.
#[derive(Serialize)]
pub(crate) struct AuditHeadStatement<'a> {
    pub(crate) statement: &'static str,
    pub(crate) version: u8,
    /// `None`: the operators' own.
    pub(crate) tenant: Option<&'a str>,
    pub(crate) incarnation: Option<String>,
    pub(crate) chain: &'a str,
    pub(crate) lines: u64,
    pub(crate) head: &'a str,
    pub(crate) at: String,
}

/// What a provider did about one of its keys.
#[derive(Clone, Serialize)]
pub(crate) struct ReceiptLine {
    pub(crate) provider: String,
    pub(crate) key: String,
    pub(crate) destroyed: bool,
    pub(crate) said: String,
}

/// Something that must fail, tried.
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
    /// What cannot be shown of an epoch whose key still exists at the provider.
    pub(crate) fn doubt(&self) -> String {
        format!(
            "that copies of the data folder from before are useless: their wrapped keys (wrapped_sha256) open as long as \
             key {} of provider {} unwraps what it wrapped then",
            self.key, self.provider
        )
    }

    /// What cannot be shown yet of an epoch whose provider forgets older versions.
    pub(crate) fn asked_behind(&self) -> String {
        format!(
            "that provider {} has forgotten the older versions of key {}: it is asked to right after this statement",
            self.provider, self.key
        )
    }
}

impl Before {
    pub(crate) fn of(opened: Result<(), String>) -> Self {
        let opened_before = opened.is_ok();
        Self { opened_before, before: opened.map_or_else(|why| why, |()| "opened".to_owned()) }
    }
}

impl<'a, T> Again<'a, T> {
    /// `said` stands before the refusal: how it lies there.
    pub(crate) fn of(tried: &'a T, said: &str, opened: Result<(), Failed>) -> Self {
        let (after, refused) = match opened {
            Ok(()) => ("opened".to_owned(), false),
            Err(Failed::Refused(why)) => (why, true),
            Err(Failed::Untried(why)) => (format!("could not be tried: {why}"), false),
        };
        Self { tried, after: format!("{said}{after}"), refused }
    }
}

/// Why a try gave nothing.
#[derive(Clone, Debug)]
pub(crate) enum Failed {
    /// There is no key for it.
    Refused(String),
    /// The provider did not answer, which proves nothing.
    Untried(String),
}

impl Failed {
    pub(crate) fn why(self) -> String {
        match self {
            Failed::Refused(why) | Failed::Untried(why) => why,
        }
    }
}

impl From<Witness> for Sample {
    fn from(witness: Witness) -> Self {
        Self { object: witness.name, bytes: witness.bytes, sha256: hex(&witness.sha256) }
    }
}

impl Certificate {
    /// Signs a statement about the server's own keys.
    pub(crate) fn sign_own(
        signer: &vault::Signer,
        at: Timestamp,
        statement: &impl Serialize,
    ) -> Result<Self, kernel::Error> {
        Self::signed(signer, OWN.to_owned(), crate::Registry::HOUSE, "server.rotated", at, statement)
    }

    /// Signs a statement.
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

/// Stands where a tenant's name does; no tenant has it.
const OWN: &str = "(server)";

/// The name under which this server signs.
pub const SIGNED_BY: &str = "ringfence";

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
