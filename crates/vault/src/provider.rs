//! Root keys are kept by providers: a provider wraps and unwraps tenant keys, and a root key never leaves it.
//!
//! A provider is the server itself ([`LocalProvider`]) or a key management service. Calls block, and those to a service
//! go over a network, so call them only where a thread may wait. Two kinds of failure are distinguished everywhere: an
//! outage ([`Error::Unavailable`]: the service does not answer, or not now) and a denial ([`Error::Denied`]: the
//! service answers with a refusal). There is no other way to the keys: none is kept as a fallback.

use crate::{Error, Result, SecretKey};
use std::{collections::BTreeMap, sync::Arc};

#[cfg(feature = "aws-kms")]
mod aws_kms;
mod file;
mod local;
#[cfg(feature = "pkcs11")]
mod pkcs11;
#[cfg(feature = "transit")]
mod transit;

#[cfg(feature = "aws-kms")]
pub use aws_kms::{AwsCredentials, AwsKmsConfig, AwsKmsProvider};
pub use local::LocalProvider;
#[cfg(feature = "pkcs11")]
pub use pkcs11::{Pkcs11Config, Pkcs11Provider};
#[cfg(feature = "transit")]
pub use transit::{TransitConfig, TransitProvider, TransitToken};

/// Shared handle of a provider's key.
pub type Key = Arc<dyn RootKey>;

/// A key that a provider keeps.
pub trait RootKey: Send + Sync {
    /// Name of the key's provider in the configuration.
    fn provider(&self) -> &str;

    /// Name of the key at its provider.
    fn name(&self) -> &str;

    /// Whether each call goes to a service, which may take long, fail, or change its answer.
    fn is_remote(&self) -> bool {
        true
    }

    /// Wraps `key`, bound to `context`: it unwraps only with the same context.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Denied`].
    fn wrap(&self, context: &[u8], key: &SecretKey) -> Result<Vec<u8>>;

    /// Unwraps a key that [`wrap`](Self::wrap) wrapped.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the provider does not answer, [`Error::Denied`] when it refuses, or when the bytes
    /// or the context are not those that were wrapped.
    fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<SecretKey>;

    /// Rewraps under the newest version of this key. The service does it by itself if it can.
    ///
    /// # Errors
    /// As [`unwrap`](Self::unwrap).
    fn rewrap(&self, context: &[u8], wrapped: &[u8]) -> Result<Vec<u8>> {
        self.wrap(context, &self.unwrap(context, wrapped)?)
    }

    /// Describes the key. This asks the provider, so that a disabled key is noticed.
    ///
    /// # Errors
    /// As [`wrap`](Self::wrap).
    fn facts(&self) -> Result<KeyDescription>;

    /// Creates the key, if the provider supports that. An existing key is left as it is.
    ///
    /// # Errors
    /// As [`wrap`](Self::wrap).
    fn create(&self) -> Result<()> {
        Err(Error::no_key(self.provider(), self.name()))
    }

    /// Creates a new version of the key, which later wraps use.
    ///
    /// # Errors
    /// As [`wrap`](Self::wrap).
    fn new_version(&self) -> Result<()> {
        Ok(())
    }

    /// Whether [`retire_versions`](Self::retire_versions) has an effect: wraps of older versions then no longer open.
    fn retires_versions(&self) -> bool {
        false
    }

    /// Makes the provider refuse every version but the newest from then on.
    ///
    /// # Errors
    /// As [`wrap`](Self::wrap).
    fn retire_versions(&self) -> Result<()> {
        Ok(())
    }

    /// Destroys the key permanently, as far as the provider lets this server. The receipt states what was done, even if
    /// that was nothing.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn destroy(&self) -> Result<DestructionReceipt>;
}

/// A keeper of root keys.
pub trait KeyProvider: Send + Sync {
    /// Name of the provider in the configuration.
    fn name(&self) -> &str;

    /// Kind of provider: `local`, `transit`, `pkcs11` or `aws-kms`.
    fn kind(&self) -> &'static str;

    /// Name of the key for tenants that name none.
    fn default_key(&self) -> &str;

    /// Name prefix of the keys that this server creates, one for each tenant; `None` where tenants share a key.
    fn key_per_tenant(&self) -> Option<&str> {
        None
    }

    /// Returns a key by name, without a call to the service: whether the key exists shows when it is used.
    ///
    /// # Errors
    /// [`Error::KeyName`] for a name that no key here can have.
    fn key(self: Arc<Self>, name: &str) -> Result<Key>;
}

/// A provider's description of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyDescription {
    /// Algorithm of the key, in the provider's words.
    pub algorithm: String,
    /// The version that new wraps use; 0 if the key has no versions.
    pub version: u32,
    /// The oldest version that still unwraps.
    pub oldest: u32,
}

/// Why a provider refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denial {
    /// The key is disabled or its version is retired, which can be undone.
    Disabled,
    /// The key does not exist, or no longer does.
    Missing,
    /// This server may not use the key.
    Forbidden,
    /// The bytes were wrapped by another key or for another context, or were altered.
    NotAuthentic,
}

impl Denial {
    /// Name of this value in records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Denial::Disabled => "disabled",
            Denial::Missing => "missing",
            Denial::Forbidden => "forbidden",
            Denial::NotAuthentic => "not_authentic",
        }
    }

    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Denial::Disabled => "it is disabled there, or this version of it is: enable it to serve the data again",
            Denial::Missing => "there is no such key: check its name, or restore it",
            Denial::Forbidden => "this server may not use it: check its token and policy there",
            Denial::NotAuthentic => "it does not open this wrap: is it the key that this data was created with?",
        }
    }
}

/// What a provider did when asked to destroy a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestructionReceipt {
    /// Whether the key is destroyed, or will be at a stated time.
    pub destroyed: bool,
    /// Statement in words: what was done, until when it can be undone, what the provider answered.
    pub said: String,
}

impl DestructionReceipt {
    pub(crate) fn not_destroyed(said: &str) -> Self {
        Self { destroyed: false, said: said.to_owned() }
    }
}

/// The providers of a server, by name, and which of them new tenants get by default.
#[derive(Clone)]
pub struct Providers {
    all: BTreeMap<String, Arc<dyn KeyProvider>>,
    default: String,
}

impl Providers {
    /// Creates a set with the provider that tenants get by default.
    pub fn new(default: Arc<dyn KeyProvider>) -> Self {
        let name = default.name().to_owned();
        Self { all: BTreeMap::from([(name.clone(), default)]), default: name }
    }

    /// Adds a provider.
    #[must_use]
    pub fn with(mut self, provider: Arc<dyn KeyProvider>) -> Self {
        self.all.insert(provider.name().to_owned(), provider);
        self
    }

    /// Name of the provider that tenants get by default.
    pub fn default_provider(&self) -> &str {
        &self.default
    }

    /// All providers, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn KeyProvider>> {
        self.all.values()
    }

    /// The provider of this name.
    ///
    /// # Errors
    /// [`Error::NoProvider`].
    pub fn provider(&self, name: &str) -> Result<Arc<dyn KeyProvider>> {
        self.all.get(name).cloned().ok_or_else(|| Error::NoProvider {
            name: name.to_owned(),
            known: self.all.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }

    /// A key, by the names of its provider and itself.
    ///
    /// # Errors
    /// [`Error::NoProvider`], [`Error::KeyName`].
    pub fn key(&self, provider: &str, key: &str) -> Result<Key> {
        self.provider(provider)?.key(key)
    }
}

impl From<LocalProvider> for Providers {
    fn from(local: LocalProvider) -> Self {
        Self::new(Arc::new(local))
    }
}
