//! AES-256-GCM in pure Rust, by `aes-gcm`: the same bytes where `aws-lc-rs` has no assembly.

use super::{Aead, AuthenticationFailed, KEY, NONCE, TAG};
use aes_gcm::{Aes256Gcm, KeyInit, aead::AeadInOut};

/// AES-256-GCM by `aes-gcm`.
pub(crate) struct Portable(Aes256Gcm);

impl Aead for Portable {
    fn new(key: &[u8; KEY]) -> Self {
        Self(Aes256Gcm::new(key.into()))
    }

    fn seal(&self, nonce: &[u8; NONCE], aad: &[u8], data: &mut [u8]) -> [u8; TAG] {
        self.0
            .encrypt_inout_detached(nonce.into(), aad, data.into())
            .expect("no piece comes near the cipher's 64 GiB")
            .into()
    }

    fn open(
        &self,
        nonce: &[u8; NONCE],
        aad: &[u8],
        data: &mut [u8],
        tag: &[u8; TAG],
    ) -> Result<(), AuthenticationFailed> {
        self.0.decrypt_inout_detached(nonce.into(), aad, data.into(), tag.into()).map_err(|_| AuthenticationFailed)
    }
}
