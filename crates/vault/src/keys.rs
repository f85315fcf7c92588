//! A 256-bit key in memory: on the heap, zeroed when dropped, never printed, never copied out.

use crate::crypto::KEY;
use kernel::Entropy;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A key that wraps or seals. Its bytes are this crate's only.
///
/// ```compile_fail
/// fn print(key: &vault::SecretKey) { println!("{key:?}"); }
/// ```
/// ```compile_fail
/// fn copy(key: &vault::SecretKey) -> vault::SecretKey { key.clone() }
/// ```
/// ```compile_fail
/// fn bytes(key: &vault::SecretKey) -> &[u8; 32] { key.bytes() }
/// ```
pub struct SecretKey(Box<[u8; KEY]>);

impl SecretKey {
    /// A fresh random key.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self::filled(|bytes| entropy.fill(bytes))
    }

    /// Written in place, so that no copy stays on the stack.
    pub(crate) fn filled(fill: impl FnOnce(&mut [u8; KEY])) -> Self {
        let mut bytes = Box::new([0; KEY]);
        fill(&mut bytes);
        Self(bytes)
    }

    /// From a slice of exactly 32 bytes.
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == KEY).then(|| Self::filled(|key| key.copy_from_slice(bytes)))
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY] {
        &self.0
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for SecretKey {}
