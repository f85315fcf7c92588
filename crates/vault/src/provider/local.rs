//! The server's own root key, in the server's memory.

use super::{Denial, DestructionReceipt, Key, KeyDescription, KeyProvider, RootKey, file};
use crate::{Error, Result, SecretKey, identity::fields, wrap};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kernel::Entropy;
use std::{path::Path, sync::Arc};
use zeroize::Zeroizing;

/// A root key in the server's own memory, read from the environment or from a file outside the data folder.
pub struct LocalProvider {
    root: SecretKey,
    /// The previous root key during a change, until no wrap is under it any more.
    previous: Option<SecretKey>,
    entropy: Arc<dyn Entropy>,
}

impl LocalProvider {
    /// Name of this provider in records and in the configuration.
    pub const NAME: &str = "local";
    /// Name of this provider's only key.
    pub const KEY: &str = "root";

    /// Reads the root key from the value of `RINGFENCE_ROOT_KEY`: 64 hexadecimal digits, or base64 of 32 bytes.
    ///
    /// # Errors
    /// [`Error::KeyValue`] for anything else. The error does not contain the value.
    pub fn from_env_value(value: &str, entropy: Arc<dyn Entropy>) -> Result<Self> {
        let root = decode(value).ok_or(Error::KeyValue)?;
        Ok(Self { root, previous: None, entropy })
    }

    /// Makes this provider also unwrap what `other`'s root key wrapped, while a root key is changed. It still wraps
    /// under its own key.
    #[must_use]
    pub fn with_previous(self, other: Self) -> Self {
        Self { previous: Some(other.root), ..self }
    }

    /// Reads the root key from a file, which the first start creates (mode 0600, in folders of mode 0700).
    ///
    /// # Errors
    /// [`Error::KeyFile`], which says what to do: for a file inside `data_dir`, a file that others can read, a file
    /// without a key, and errors of the operating system.
    pub fn from_file(path: &Path, data_dir: Option<&Path>, entropy: Arc<dyn Entropy>) -> Result<Self> {
        let root = file::load_or_create(path, data_dir, &*entropy)?;
        Ok(Self { root, previous: None, entropy })
    }

    /// Reads the root key from an existing file.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file); also when the file does not exist.
    pub fn from_existing_file(path: &Path, entropy: Arc<dyn Entropy>) -> Result<Self> {
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
        Ok(wrap::seal(&self.root, &associated_data(context), &[key], &*self.entropy))
    }

    fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<SecretKey> {
        let open = |root| wrap::open(root, &associated_data(context), wrapped);
        let [key] = open(&self.root)
            .or_else(|| open(self.previous.as_ref()?))
            .ok_or_else(|| Error::Denied { provider: LocalProvider::NAME.to_owned(), why: Denial::NotAuthentic })?;
        Ok(key)
    }

    fn is_remote(&self) -> bool {
        false
    }

    fn facts(&self) -> Result<KeyDescription> {
        Ok(KeyDescription { algorithm: "aes-256-gcm".to_owned(), ..KeyDescription::default() })
    }

    /// The root key is shared by all tenants, and it is stored where this server must not delete it.
    fn destroy(&self) -> Result<DestructionReceipt> {
        Ok(DestructionReceipt::not_destroyed("the root key is shared by all tenants of this provider and stays"))
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

fn associated_data(context: &[u8]) -> Vec<u8> {
    fields(&[b"ringfence local provider", context])
}

/// Decodes 64 hexadecimal digits, or base64 of 32 bytes, ignoring surrounding white space.
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
