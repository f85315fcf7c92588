//! The primitives, all through one small door: AES-256-GCM, HKDF-Expand-SHA-384, HMAC-SHA-256,
//! SHA-256 and the constant-time compare, by `aws-lc-rs`.
//!
//! AES-256-GCM also has a pure-Rust form behind the same trait, for machines where `aws-lc-rs` has
//! no assembly: feature `portable`. Both give the same bytes, and tests open each with the other.

#[cfg(any(test, not(feature = "portable")))]
use aws_lc_rs::aead;
use aws_lc_rs::{constant_time, digest, hkdf, hmac};

#[cfg(any(test, feature = "portable"))]
mod portable;

/// AES-256-GCM as this build does it.
#[cfg(not(feature = "portable"))]
pub(crate) type Cipher = AwsLc;
#[cfg(feature = "portable")]
pub(crate) type Cipher = portable::Portable;

pub(crate) const KEY: usize = 32;
pub(crate) const NONCE: usize = 12;
pub(crate) const TAG: usize = 16;

/// The bytes do not authenticate. It says no more on purpose.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Denied;

/// AES-256-GCM under one key. The caller never gives a nonce twice.
pub(crate) trait Aead {
    fn new(key: &[u8; KEY]) -> Self;
    /// Encrypts in place and returns the tag.
    fn seal(&self, nonce: &[u8; NONCE], aad: &[u8], data: &mut [u8]) -> [u8; TAG];
    /// Encrypts `plain` into `out`, which is longer by the tag, and puts the tag behind.
    fn seal_into(&self, nonce: &[u8; NONCE], aad: &[u8], plain: &[u8], out: &mut [u8]) {
        let (body, end) = out.split_at_mut(plain.len());
        body.copy_from_slice(plain);
        end.copy_from_slice(&self.seal(nonce, aad, body));
    }
    /// Decrypts in place. On `Denied`, `data` is not to be used.
    fn open(&self, nonce: &[u8; NONCE], aad: &[u8], data: &mut [u8], tag: &[u8; TAG]) -> Result<(), Denied>;
    /// Decrypts `sealed` into `out`, which is as long. On `Denied`, `out` is not to be used.
    fn open_into(
        &self,
        nonce: &[u8; NONCE],
        aad: &[u8],
        sealed: &[u8],
        tag: &[u8; TAG],
        out: &mut [u8],
    ) -> Result<(), Denied> {
        out.copy_from_slice(sealed);
        self.open(nonce, aad, out, tag)
    }
}

/// By `aws-lc-rs`.
#[cfg(any(test, not(feature = "portable")))]
pub(crate) struct AwsLc {
    key: aead::LessSafeKey,
    #[cfg(test)]
    seen: [u8; KEY],
}

#[cfg(any(test, not(feature = "portable")))]
impl Aead for AwsLc {
    fn new(key: &[u8; KEY]) -> Self {
        let unbound = aead::UnboundKey::new(&aead::AES_256_GCM, key).expect("the key has the cipher's length");
        Self {
            key: aead::LessSafeKey::new(unbound),
            #[cfg(test)]
            seen: *key,
        }
    }

    fn seal(&self, nonce: &[u8; NONCE], aad: &[u8], data: &mut [u8]) -> [u8; TAG] {
        #[cfg(test)]
        watch::note(&self.seen, nonce);
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
        watch::note(&self.seen, nonce);
        let nonce = aead::Nonce::assume_unique_for_key(*nonce);
        self.key
            .seal_in_place_scatter(nonce, aead::Aad::from(aad), &mut [], plain, out)
            .expect("no piece comes near the cipher's 64 GiB, and its room is of its length");
    }

    fn open(&self, nonce: &[u8; NONCE], aad: &[u8], data: &mut [u8], tag: &[u8; TAG]) -> Result<(), Denied> {
        let nonce = aead::Nonce::assume_unique_for_key(*nonce);
        self.key.open_in_place_separate_tag(nonce, aead::Aad::from(aad), tag, data).map(drop).map_err(|_| Denied)
    }

    fn open_into(
        &self,
        nonce: &[u8; NONCE],
        aad: &[u8],
        sealed: &[u8],
        tag: &[u8; TAG],
        out: &mut [u8],
    ) -> Result<(), Denied> {
        let nonce = aead::Nonce::assume_unique_for_key(*nonce);
        self.key.open_separate_gather(nonce, aead::Aad::from(aad), sealed, tag, out).map_err(|_| Denied)
    }
}

/// HKDF-Expand-SHA-384 of at most 64 bytes of key; fills `out`.
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

    /// HMAC-SHA-256 over the parts as they follow each other.
    pub(crate) fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        parts.iter().for_each(|part| context.update(part));
        let mut out = [0; 32];
        out.copy_from_slice(context.sign().as_ref());
        out
    }
}

/// SHA-256, of sealed bytes and of other public ones.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// Equal, in time that does not depend on where they differ.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// Tests of the usual build ask it whether a key ever met a nonce twice.
#[cfg(test)]
pub(crate) mod watch {
    use std::{cell::RefCell, collections::HashSet};

    type Pair = ([u8; super::KEY], [u8; super::NONCE]);
    thread_local!(static SEEN: RefCell<Option<(HashSet<Pair>, usize)>> = const { RefCell::new(None) });

    pub(super) fn note(key: &[u8; super::KEY], nonce: &[u8; super::NONCE]) {
        SEEN.with_borrow_mut(|seen| {
            if let Some((pairs, seals)) = seen {
                pairs.insert((*key, *nonce));
                *seals += 1;
            }
        });
    }

    /// Runs `work`; how many seals it did, and how many different pairs they used.
    pub(crate) fn during(work: impl FnOnce()) -> (usize, usize) {
        SEEN.set(Some((HashSet::new(), 0)));
        work();
        let (pairs, seals) = SEEN.take().unwrap();
        (seals, pairs.len())
    }
}

#[cfg(test)]
mod tests;
