//! A 256-bit key in memory: in a slot of the arena, zeroed when dropped, never printed, never copied out.

use crate::{arena::Slot, crypto::KEY};
use kernel::Entropy;
use zeroize::ZeroizeOnDrop;

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
pub struct SecretKey(Slot);

impl SecretKey {
    /// A fresh random key.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self::filled(|bytes| entropy.fill(bytes))
    }

    /// Written in place, so that no copy stays on the stack.
    pub(crate) fn filled(fill: impl FnOnce(&mut [u8; KEY])) -> Self {
        Self::in_slot(Slot::new(), fill)
    }

    pub(crate) fn in_slot(mut slot: Slot, fill: impl FnOnce(&mut [u8; KEY])) -> Self {
        fill(slot.bytes_mut());
        Self(slot)
    }

    /// From a slice of exactly 32 bytes.
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == KEY).then(|| Self::filled(|key| key.copy_from_slice(bytes)))
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY] {
        self.0.bytes()
    }

    #[cfg(test)]
    pub(crate) fn slot(&self) -> &Slot {
        &self.0
    }
}

/// By the slot.
impl ZeroizeOnDrop for SecretKey {}
