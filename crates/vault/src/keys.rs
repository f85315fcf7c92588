//! A 256-bit key in memory: it is held in a slot of the arena, zeroed on drop, never printed and never copied out.

use crate::{arena::ArenaSlot, crypto::KEY};
use kernel::Entropy;
use zeroize::ZeroizeOnDrop;

/// A key that wraps or seals. Its bytes are accessible only inside this crate.
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
pub struct SecretKey(ArenaSlot);

impl SecretKey {
    /// Creates a random key.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self::filled(|bytes| entropy.fill(bytes))
    }

    /// Creates a key that `fill` writes in place, so that no copy stays on the stack.
    pub(crate) fn filled(fill: impl FnOnce(&mut [u8; KEY])) -> Self {
        Self::in_slot(ArenaSlot::new(), fill)
    }

    pub(crate) fn in_slot(mut slot: ArenaSlot, fill: impl FnOnce(&mut [u8; KEY])) -> Self {
        fill(slot.bytes_mut());
        Self(slot)
    }

    /// Copies a key from a slice of exactly 32 bytes.
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == KEY).then(|| Self::filled(|key| key.copy_from_slice(bytes)))
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY] {
        self.0.bytes()
    }

    #[cfg(test)]
    pub(crate) fn slot(&self) -> &ArenaSlot {
        &self.0
    }
}

/// The slot zeroes itself on drop.
impl ZeroizeOnDrop for SecretKey {}
