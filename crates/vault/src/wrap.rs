//! Keys sealed under a key: version, nonce, ciphertext, tag. AES-256-GCM with a random nonce; the identity that the
//! wrap is bound to is in [`WrapContext`], not in the bytes.

use crate::{
    Error, FORMAT_VERSION, Result, SecretKey,
    crypto::{Aead, Cipher, KEY, NONCE, TAG},
    identity::WrapContext,
};
use kernel::Entropy;
use zeroize::Zeroizing;

/// Size of a wrap in bytes without the keys in it.
pub(crate) const OVERHEAD_BYTES: usize = 1 + NONCE + TAG;
/// Size in bytes of a wrap of one key.
pub(crate) const ONE_KEY_BYTES: usize = OVERHEAD_BYTES + KEY;
/// Size in bytes of a wrap of two keys.
pub(crate) const TWO_KEYS_BYTES: usize = OVERHEAD_BYTES + 2 * KEY;

/// Wraps the concatenation of `keys`.
pub(crate) fn wrap(kek: &SecretKey, context: &WrapContext, keys: &[&SecretKey], entropy: &dyn Entropy) -> Vec<u8> {
    seal(kek, &context.encode(), keys, entropy)
}

/// Unwraps exactly `N` keys.
pub(crate) fn unwrap<const N: usize>(kek: &SecretKey, context: &WrapContext, wrapped: &[u8]) -> Result<[SecretKey; N]> {
    open(kek, &context.encode(), wrapped)
        .ok_or_else(|| Error::corrupt(context.wrap.name(), context.subject(), "the wrap does not authenticate"))
}

/// Wraps `keys` under arbitrary associated data.
pub(crate) fn seal(kek: &SecretKey, aad: &[u8], keys: &[&SecretKey], entropy: &dyn Entropy) -> Vec<u8> {
    let mut nonce = [0; NONCE];
    entropy.fill(&mut nonce);
    let mut secret = Zeroizing::new(Vec::with_capacity(keys.len() * KEY));
    keys.iter().for_each(|key| secret.extend_from_slice(key.bytes()));
    let tag = Cipher::new(kek.bytes()).seal(&nonce, aad, &mut secret);
    [&[FORMAT_VERSION][..], &nonce, &secret, &tag].concat()
}

/// Unwraps exactly `N` keys; `None` for anything that does not authenticate.
pub(crate) fn open<const N: usize>(kek: &SecretKey, aad: &[u8], wrapped: &[u8]) -> Option<[SecretKey; N]> {
    open_all(kek, aad, wrapped)?.try_into().ok()
}

/// Unwraps all keys that the wrap holds.
pub(crate) fn open_all(kek: &SecretKey, aad: &[u8], wrapped: &[u8]) -> Option<Vec<SecretKey>> {
    let (version, rest) = wrapped.split_first()?;
    let (nonce, rest) = rest.split_first_chunk::<NONCE>()?;
    let (sealed, tag) = rest.split_last_chunk::<TAG>()?;
    if *version != FORMAT_VERSION || !sealed.len().is_multiple_of(KEY) {
        return None;
    }
    let mut secret = Zeroizing::new(sealed.to_vec());
    Cipher::new(kek.bytes()).open(nonce, aad, &mut secret, tag).ok()?;
    Some(secret.chunks_exact(KEY).filter_map(SecretKey::from_slice).collect())
}
