//! Where root keys are kept: a provider wraps and unwraps tenant keys, and the root key never
//! leaves it.

use crate::{Error, Result, SecretKey, identity::fields, wrap};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kernel::Entropy;
use std::{path::Path, sync::Arc};
use zeroize::Zeroizing;

mod file;

/// Something that keeps a root key: the server itself, or a key management service.
pub trait KeyProvider: Send + Sync {
    /// Its name, for people.
    fn name(&self) -> &str;

    /// Wraps `key`, bound to `context`: it unwraps with the same context only.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it does not answer.
    fn wrap(&self, context: &[u8], key: &SecretKey) -> Result<Vec<u8>>;

    /// Unwraps what [`wrap`](Self::wrap) made.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it does not answer, [`Error::Denied`] when it refuses or the
    /// bytes or the context are not the ones that were wrapped.
    fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<SecretKey>;
}

/// A root key in the server's own memory, from the environment or a file outside the data folder.
pub struct LocalProvider {
    root: SecretKey,
    entropy: Arc<dyn Entropy>,
}

impl LocalProvider {
    /// From `RINGFENCE_ROOT_KEY`: 64 hexadecimal digits, or base64 of 32 bytes.
    ///
    /// # Errors
    /// [`Error::KeyValue`] for anything else. The value is in no error.
    pub fn from_env_value(value: &str, entropy: Arc<dyn Entropy>) -> Result<Self> {
        let root = decode(value).ok_or(Error::KeyValue)?;
        Ok(Self { root, entropy })
    }

    /// From a key file, which a first start creates (0600, in folders of 0700).
    ///
    /// # Errors
    /// [`Error::KeyFile`] that says what to do: for a file inside `data_dir`, one that others can
    /// read, one that holds no key, and whatever the system says.
    pub fn from_file(path: &Path, data_dir: Option<&Path>, entropy: Arc<dyn Entropy>) -> Result<Self> {
        let root = file::load_or_create(path, data_dir, &*entropy)?;
        Ok(Self { root, entropy })
    }
}

impl KeyProvider for LocalProvider {
    fn name(&self) -> &str {
        "local"
    }

    fn wrap(&self, context: &[u8], key: &SecretKey) -> Result<Vec<u8>> {
        Ok(wrap::seal(&self.root, &bound(context), &[key], &*self.entropy))
    }

    fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<SecretKey> {
        let [key] = wrap::open(&self.root, &bound(context), wrapped)
            .ok_or_else(|| Error::Denied { provider: self.name().to_owned() })?;
        Ok(key)
    }
}

fn bound(context: &[u8]) -> Vec<u8> {
    fields(&[b"ringfence local provider", context])
}

/// 64 hexadecimal digits or base64 of 32 bytes, with white space around.
fn decode(text: &str) -> Option<SecretKey> {
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
