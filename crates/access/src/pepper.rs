//! The server's pepper: the key that turns a token's secret into the MAC that is stored.
//!
//! Secrets have 190 bits of entropy, so a slow password hash would only cost time.

use aws_lc_rs::hmac;
use kernel::Entropy;
use zeroize::Zeroizing;

/// An HMAC-SHA-256 key. The registry stores it sealed, and never next to the MACs in the clear.
pub struct Pepper(hmac::Key);

impl Pepper {
    /// Creates a pepper from its 32 bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// Generates a pepper, and returns its bytes to be sealed.
    pub fn generate(entropy: &dyn Entropy) -> (Self, Zeroizing<[u8; 32]>) {
        let mut bytes = Zeroizing::new([0; 32]);
        entropy.fill(bytes.as_mut());
        (Self::new(&bytes), bytes)
    }

    /// MAC of a token's secret part, as [`crate::Credentials::mac`] returns it.
    pub fn mac(&self, secret: &[u8]) -> [u8; 32] {
        let tag = hmac::sign(&self.0, secret);
        let mut out = [0; 32];
        out.copy_from_slice(tag.as_ref());
        out
    }
}
