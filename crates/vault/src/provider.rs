//! Where root keys are kept: a provider wraps and unwraps tenant keys, and a root key never leaves it.
//!
//! A provider is the server itself ([`LocalProvider`]) or a key management service. Calls block, and those of a
//! service go over a network: call them where a thread may wait. Two failures are told apart everywhere: an outage
//! ([`Error::Unavailable`]: nobody answers, or not now) and a denial ([`Error::Denied`]: the service answers, and says
//! no). There is no third way in: no key is kept as a fallback.

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

/// A key of a provider.
pub type Key = Arc<dyn RootKey>;

/// One key that a provider keeps.
pub trait RootKey: Send + Sync {
    /// Its provider's name in the configuration.
    fn provider(&self) -> &str;

    /// Its name there.
    fn name(&self) -> &str;

    /// Whether each call asks a service, which may take long, fail, or have its mind changed.
    fn is_remote(&self) -> bool {
        true
    }

    /// Wraps `key`, bound to `context`: it unwraps with the same context only.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Denied`].
    fn wrap(&self, context: &[u8], key: &SecretKey) -> Result<Vec<u8>>;

    /// Unwraps what [`wrap`](Self::wrap) made.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it does not answer, [`Error::Denied`] when it refuses or the
    /// bytes or the context are not the ones that were wrapped.
    fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<SecretKey>;

    /// The same wrap under the newest version of this key; the service does it by itself if it can.
    ///
    /// # Errors
    /// As [`unwrap`](Self::unwrap).
    fn rewrap(&self, context: &[u8], wrapped: &[u8]) -> Result<Vec<u8>> {
        self.wrap(context, &self.unwrap(context, wrapped)?)
    }

    /// What the provider tells of it. Asks, so that a key that is disabled shows.
    ///
    /// # Errors
    /// As [`wrap`](Self::wrap).
    fn facts(&self) -> Result<KeyFacts>;

    /// Makes it, if the provider is to make keys. One that is there is left as it is.
    ///
    /// # Errors
    /// As [`wrap`](Self::wrap).
    fn create(&self) -> Result<()> {
        Err(Error::no_key(self.provider(), self.name()))
    }

    /// A new version, under which it wraps from then on.
    ///
    /// # Errors
    /// As [`wrap`](Self::wrap).
    fn new_version(&self) -> Result<()> {
        Ok(())
    }

    /// Whether [`retire_versions`](Self::retire_versions) makes what older versions wrapped open no more.
    fn retires_versions(&self) -> bool {
        false
    }

    /// Refuses every version but the newest from then on.
    ///
    /// # Errors
    /// As [`wrap`](Self::wrap).
    fn retire_versions(&self) -> Result<()> {
        Ok(())
    }

    /// Destroys it for good, as far as the provider lets this server. What was done is in the receipt, also when
    /// that was nothing.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn destroy(&self) -> Result<Receipt>;
}

/// Something that keeps root keys.
pub trait KeyProvider: Send + Sync {
    /// Its name in the configuration.
    fn name(&self) -> &str;

    /// What it is: `local`, `transit`, `pkcs11`, `aws-kms`
    fn kind(&self) -> &'static str;

    /// The key of a tenant that names none.
    fn default_key(&self) -> &str;

    /// The prefix of the names of keys that this server makes, one a tenant; `None` where tenants share.
    fn key_per_tenant(&self) -> Option<&str> {
        None
    }

    /// One of its keys. Asks nobody: whether it is there shows when it is used.
    ///
    /// # Errors
    /// [`Error::KeyName`] for a name that no key here can have.
    fn key(self: Arc<Self>, name: &str) -> Result<Key>;
}

/// What a provider tells of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFacts {
    /// How it wraps, in the provider's words.
    pub algorithm: String,
    /// The version that wraps now; 0 where there are none.
    pub version: u32,
    /// The oldest version that still unwraps.
    pub oldest: u32,
}

/// Why a provider says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denial {
    /// The key is disabled, or its version retired; that can be undone.
    Disabled,
    /// The key is not there (any more).
    Missing,
    /// This server may not use it.
    Forbidden,
    /// The bytes were wrapped by another key, or for something else, or altered.
    NotAuthentic,
}

impl Denial {
    /// The word for it in records and metrics.
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

/// What a provider did about the destruction of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Whether the key is destroyed there, or will be at a stated time.
    pub destroyed: bool,
    /// In words: what was done, until when it can be undone, what the provider answered.
    pub said: String,
}

impl Receipt {
    pub(crate) fn kept(said: &str) -> Self {
        Self { destroyed: false, said: said.to_owned() }
    }
}

/// The providers of a server, by name, and which of them new tenants get.
#[derive(Clone)]
pub struct Providers {
    all: BTreeMap<String, Arc<dyn KeyProvider>>,
    default: String,
}

impl Providers {
    /// Starts with the one that tenants get if nobody says otherwise.
    pub fn new(default: Arc<dyn KeyProvider>) -> Self {
        let name = default.name().to_owned();
        Self { all: BTreeMap::from([(name.clone(), default)]), default: name }
    }

    /// Adds one.
    #[must_use]
    pub fn with(mut self, provider: Arc<dyn KeyProvider>) -> Self {
        self.all.insert(provider.name().to_owned(), provider);
        self
    }

    /// The one that tenants get if nobody says otherwise.
    pub fn default_provider(&self) -> &str {
        &self.default
    }

    /// All, by name.
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

    /// A provider's key.
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
