//! The server's own root key, in its memory.

use super::{Denial, Key, KeyFacts, KeyProvider, Receipt, RootKey, file};
use crate::{Error, Result, SecretKey, identity::fields, wrap};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kernel::Entropy;
use std::{path::Path, sync::Arc};
use zeroize::Zeroizing;

/// A root key in the server's own memory, from the environment or a file outside the data folder.
pub struct LocalProvider {
    root: SecretKey,
    /// What it was before, until nothing stands under it any more.
    previous: Option<SecretKey>,
    entropy: Arc<dyn Entropy>,
}

impl LocalProvider {
    /// What it is called in records and in the configuration.
    pub const NAME: &str = "local";
    /// Its one key.
    pub const KEY: &str = "root";

    /// From `RINGFENCE_ROOT_KEY`: 64 hexadecimal digits, or base64 of 32 bytes.
    ///
    /// # Errors
    /// [`Error::KeyValue`] for anything else. The value is in no error.
    pub fn from_env_value(value: &str, entropy: Arc<dyn Entropy>) -> Result<Self> {
        let root = decode(value).ok_or(Error::KeyValue)?;
        Ok(Self { root, previous: None, entropy })
    }

    /// This one, which also unwraps what another's root key wrapped: while a root key is changed. It wraps under its own.
    #[must_use]
    pub fn with_previous(self, other: Self) -> Self {
        Self { previous: Some(other.root), ..self }
    }

    /// From a key file, which a first start creates (0600, in folders of 0700).
    ///
    /// # Errors
    /// [`Error::KeyFile`] that says what to do: for a file inside `data_dir`, one that others can
    /// read, one that holds no key, and whatever the system says.
    pub fn from_file(path: &Path, data_dir: Option<&Path>, entropy: Arc<dyn Entropy>) -> Result<Self> {
        let root = file::load_or_create(path, data_dir, &*entropy)?;
        Ok(Self { root, previous: None, entropy })
    }

    /// From a key file that is there.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file); also when there is none.
    pub fn from_old_file(path: &Path, entropy: Arc<dyn Entropy>) -> Result<Self> {
        Ok(Self { root: file::load(path)?, previous: None, entropy })
    }
}

impl RootKey for LocalProvider {
    fn provider(&self) -> &str {
        LocalProvider::NAME
    }

    fn name(&self) -> &str {
        LocalProvider::KEY
    }

    fn wrap(&self, context: &[u8], key: &SecretKey) -> Result<Vec<u8>> {
        Ok(wrap::seal(&self.root, &bound(context), &[key], &*self.entropy))
    }

    fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<SecretKey> {
        let open = |root| wrap::open(root, &bound(context), wrapped);
        let [key] = open(&self.root)
            .or_else(|| open(self.previous.as_ref()?))
            .ok_or_else(|| Error::Denied { provider: LocalProvider::NAME.to_owned(), why: Denial::NotAuthentic })?;
        Ok(key)
    }

    fn is_remote(&self) -> bool {
        false
    }

    fn facts(&self) -> Result<KeyFacts> {
        Ok(KeyFacts { algorithm: "aes-256-gcm".to_owned(), ..KeyFacts::default() })
    }

    /// It is every tenant's, and lies outside what this server may delete.
    fn destroy(&self) -> Result<Receipt> {
        Ok(Receipt::kept("the root key is shared by all tenants of this provider and stays"))
    }
}

impl KeyProvider for LocalProvider {
    fn name(&self) -> &str {
        LocalProvider::NAME
    }

    fn kind(&self) -> &'static str {
        "local"
    }

    fn default_key(&self) -> &str {
        LocalProvider::KEY
    }

    fn key(self: Arc<Self>, name: &str) -> Result<Key> {
        if name == LocalProvider::KEY { Ok(self) } else { Err(Error::no_key(LocalProvider::NAME, name)) }
    }
}

fn bound(context: &[u8]) -> Vec<u8> {
    fields(&[b"ringfence local provider", context])
}

/// 64 hexadecimal digits or base64 of 32 bytes, with white space around.
pub(super) fn decode(text: &str) -> Option<SecretKey> {
    let text = text.trim();
    if text.len() == 64 {
        let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        let mut bytes = Zeroizing::new(Vec::with_capacity(32));
        for pair in text.as_bytes().chunks_exact(2) {
            bytes.push(digit(pair[0])? << 4 | digit(pair[1])?);
        }
        return SecretKey::from_slice(&bytes);
    }
    let bytes = Zeroizing::new(STANDARD.decode(text).ok()?);
    SecretKey::from_slice(&bytes)
}

#[cfg(test)]
mod tests;
