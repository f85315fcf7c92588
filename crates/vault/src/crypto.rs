//! The cryptographic primitives, all behind this small interface: AES-256-GCM, HKDF-Expand-SHA-384, HMAC-SHA-256,
//! SHA-256 and the constant-time comparison, by `aws-lc-rs`.
//!
//! AES-256-GCM also has a pure-Rust implementation behind the same trait, for machines where `aws-lc-rs` has no
//! assembly: feature `portable`. Both produce the same bytes, and tests open each one's output with the other.

#[cfg(any(test, not(feature = "portable")))]
use aws_lc_rs::aead;
use aws_lc_rs::{constant_time, digest, hkdf, hmac};

#[cfg(any(test, feature = "portable"))]
mod portable;

/// The AES-256-GCM implementation of this build.
#[cfg(not(feature = "portable"))]
pub(crate) type Cipher = AwsLc;
#[cfg(feature = "portable")]
pub(crate) type Cipher = portable::Portable;

pub(crate) const KEY: usize = 32;
pub(crate) const NONCE: usize = 12;
pub(crate) const TAG: usize = 16;

/// The bytes do not authenticate. The error carries no detail on purpose.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AuthenticationFailed;

/// AES-256-GCM under one key. The caller must never use a nonce twice.
pub(crate) trait Aead {
    fn new(key: &[u8; KEY]) -> Self;
    /// Encrypts in place and returns the tag.
    fn seal(&self, nonce: &[u8; NONCE], aad: &[u8], data: &mut [u8]) -> [u8; TAG];
    /// Encrypts `plain` into `out`, which is longer by the tag, and appends the tag.
    fn seal_into(&self, nonce: &[u8; NONCE], aad: &[u8], plain: &[u8], out: &mut [u8]) {
        let (body, end) = out.split_at_mut(plain.len());
        body.copy_from_slice(plain);
        end.copy_from_slice(&self.seal(nonce, aad, body));
    }
    /// Decrypts in place. On failure the content of `data` must not be used.
    fn open(
        &self,
        nonce: &[u8; NONCE],
        aad: &[u8],
        data: &mut [u8],
        tag: &[u8; TAG],
    ) -> Result<(), AuthenticationFailed>;
    /// Decrypts `sealed` into `out`, which has the same length. On failure the content of `out` must not be used.
    fn open_into(
        &self,
        nonce: &[u8; NONCE],
        aad: &[u8],
        sealed: &[u8],
        tag: &[u8; TAG],
        out: &mut [u8],
    ) -> Result<(), AuthenticationFailed> {
        out.copy_from_slice(sealed);
        self.open(nonce, aad, out, tag)
    }
}

/// AES-256-GCM by `aws-lc-rs`.
#[cfg(any(test, not(feature = "portable")))]
pub(crate) struct AwsLc {
    key: aead::LessSafeKey,
    #[cfg(test)]
    key_bytes: [u8; KEY],
}

#[cfg(any(test, not(feature = "portable")))]
impl Aead for AwsLc {
    fn new(key: &[u8; KEY]) -> Self {
        let unbound = aead::UnboundKey::new(&aead::AES_256_GCM, key).expect("the key has the cipher's length");
        Self {
            key: aead::LessSafeKey::new(unbound),
            #[cfg(test)]
            key_bytes: *key,
        }
    }

    fn seal(&self, nonce: &[u8; NONCE], aad: &[u8], data: &mut [u8]) -> [u8; TAG] {
        #[cfg(test)]
        nonce_log::record(&self.key_bytes, nonce);
        let tag = self
            .key
            .seal_in_place_separate_tag(aead::Nonce::assume_unique_for_key(*nonce), aead::Aad::from(aad), data)
            .expect("no piece comes near the cipher's 64 GiB");
        let mut out = [0; TAG];
        out.copy_from_slice(tag.as_ref());
        out
    }

    fn seal_into(&self, nonce: &[u8; NONCE], aad: &[u8], plain: &[u8], out: &mut [u8]) {
        #[cfg(test)]
        nonce_log::record(&self.key_bytes, nonce);
        let nonce = aead::Nonce::assume_unique_for_key(*nonce);
        self.key
            .seal_in_place_scatter(nonce, aead::Aad::from(aad), &mut [], plain, out)
            .expect("no piece comes near the cipher's 64 GiB, and its buffer has the right length");
    }

    fn open(
        &self,
        nonce: &[u8; NONCE],
        aad: &[u8],
        data: &mut [u8],
        tag: &[u8; TAG],
    ) -> Result<(), AuthenticationFailed> {
        let nonce = aead::Nonce::assume_unique_for_key(*nonce);
        self.key
            .open_in_place_separate_tag(nonce, aead::Aad::from(aad), tag, data)
            .map(drop)
            .map_err(|_| AuthenticationFailed)
    }

    fn open_into(
        &self,
        nonce: &[u8; NONCE],
        aad: &[u8],
        sealed: &[u8],
        tag: &[u8; TAG],
        out: &mut [u8],
    ) -> Result<(), AuthenticationFailed> {
        let nonce = aead::Nonce::assume_unique_for_key(*nonce);
        self.key.open_separate_gather(nonce, aead::Aad::from(aad), sealed, tag, out).map_err(|_| AuthenticationFailed)
    }
}

/// HKDF-Expand-SHA-384 of a key of at most 64 bytes; fills `out`.
pub(crate) fn expand_sha384(key: &[u8], info: &[&[u8]], out: &mut [u8]) {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    hkdf::Prk::new_less_safe(hkdf::HKDF_SHA384, key)
        .expand(info, Length(out.len()))
        .and_then(|okm| okm.fill(out))
        .expect("fewer than 255 blocks are asked for");
}

/// A key for [`HmacKey::mac`].
pub(crate) struct HmacKey(hmac::Key);

impl HmacKey {
    pub(crate) fn new(key: &[u8; KEY]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// HMAC-SHA-256 over the concatenation of the parts.
    pub(crate) fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        parts.iter().for_each(|part| context.update(part));
        let mut out = [0; 32];
        out.copy_from_slice(context.sign().as_ref());
        out
    }
}

/// SHA-256, for sealed bytes and other public data.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// Equality in a time that does not depend on where the inputs differ.
pub(crate) fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// Records the nonces of the default build, so that tests can check that no key uses a nonce twice.
#[cfg(test)]
pub(crate) mod nonce_log {
    use std::{cell::RefCell, collections::HashSet};

    type Pair = ([u8; super::KEY], [u8; super::NONCE]);
    thread_local!(static RECORDED: RefCell<Option<(HashSet<Pair>, usize)>> = const { RefCell::new(None) });

    pub(super) fn record(key: &[u8; super::KEY], nonce: &[u8; super::NONCE]) {
        RECORDED.with_borrow_mut(|recorded| {
            if let Some((pairs, seals)) = recorded {
                pairs.insert((*key, *nonce));
                *seals += 1;
            }
        });
    }

    /// Runs `work` and returns how many seals it did and how many different pairs of key and nonce they used.
    pub(crate) fn count_nonces(work: impl FnOnce()) -> (usize, usize) {
        RECORDED.set(Some((HashSet::new(), 0)));
        work();
        let (pairs, seals) = RECORDED.take().unwrap();
        (seals, pairs.len())
    }
}

#[cfg(test)]
mod tests;
