//! A keyspace's own keys: one MAC key, and one wrapping key per keyspace epoch. There is only one epoch, except that
//! there are two while every object of the keyspace is being re-encrypted.

use crate::{
    Error, Result, SecretKey,
    crypto::KEY,
    identity::{WrapContext, WrapKind},
    wrap,
};
use kernel::{Entropy, KeyEpoch};
use std::sync::Arc;

/// The wrapping keys, newest first.
pub(super) struct KeyspaceKeys(Vec<(KeyEpoch, Arc<SecretKey>)>);

/// The first epoch of a keyspace.
const FIRST: KeyEpoch = KeyEpoch(1);
/// Bytes before the wrap, which hold the newest epoch.
const HEAD: usize = 4;

impl KeyspaceKeys {
    pub(super) fn fresh(entropy: &dyn Entropy) -> Self {
        Self(vec![(FIRST, Arc::new(SecretKey::random(entropy)))])
    }

    /// The key that new wraps use, and its epoch.
    pub(super) fn newest(&self) -> (KeyEpoch, &SecretKey) {
        let (epoch, key) = &self.0[0];
        (*epoch, key)
    }

    /// The epochs, newest first.
    pub(super) fn epochs(&self) -> impl Iterator<Item = KeyEpoch> {
        self.0.iter().map(|(epoch, _)| *epoch)
    }

    pub(super) fn get(&self, epoch: KeyEpoch) -> Option<&SecretKey> {
        self.0.iter().find(|(e, _)| *e == epoch).map(|(_, key)| &**key)
    }

    /// These keys and a new one, which becomes the newest.
    pub(super) fn with_next(&self, entropy: &dyn Entropy) -> Self {
        let next = (self.newest().0.next(), Arc::new(SecretKey::random(entropy)));
        Self([next].into_iter().chain(self.0.iter().cloned()).collect())
    }

    #[cfg(test)]
    pub(super) fn copied(&self) -> Self {
        Self(self.0.clone())
    }

    /// Only the newest key.
    pub(super) fn newest_only(&self) -> Self {
        Self(self.0[..1].to_vec())
    }

    /// Encodes the newest epoch, followed by one wrap of the MAC key and of these keys, newest first.
    pub(super) fn wrap(
        &self,
        kek: &SecretKey,
        context: WrapContext,
        mac_key: &SecretKey,
        entropy: &dyn Entropy,
    ) -> Vec<u8> {
        let newest = self.newest().0;
        let context = WrapContext { keys: Some(newest), ..context };
        let keys: Vec<&SecretKey> = [mac_key].into_iter().chain(self.0.iter().map(|(_, key)| &**key)).collect();
        let wrapped = wrap::wrap(kek, &context, &keys, entropy);
        [&newest.0.to_be_bytes()[..], &wrapped].concat()
    }

    /// Number of wrapping keys in a wrap.
    pub(super) fn count(wrapped: &[u8]) -> Option<usize> {
        let secrets = wrapped.len().checked_sub(HEAD + wrap::OVERHEAD_BYTES)?;
        (secrets.is_multiple_of(KEY)).then_some(secrets / KEY)?.checked_sub(1)
    }

    /// Decodes what [`wrap`](Self::wrap) encoded: the MAC key and the wrapping keys.
    pub(super) fn unwrap(kek: &SecretKey, context: WrapContext, wrapped: &[u8]) -> Result<(SecretKey, Self)> {
        let subject = context.subject();
        let corrupt = |why| Error::corrupt(WrapKind::KeyspaceKey.name(), &subject, why);
        let (newest, wrapped) = wrapped.split_first_chunk::<HEAD>().ok_or_else(|| corrupt("the wrap is cut short"))?;
        let newest = u32::from_be_bytes(*newest);
        let context = WrapContext { keys: Some(KeyEpoch(newest)), ..context };
        let keys =
            wrap::open_all(kek, &context.encode(), wrapped).ok_or_else(|| corrupt("the wrap does not authenticate"))?;
        let mut keys = keys.into_iter();
        let mac_key = keys.next().ok_or_else(|| corrupt("the wrap holds no keys"))?;
        let epochs = (0..=newest).rev().map(KeyEpoch);
        let ring: Vec<_> = epochs.zip(keys.map(Arc::new)).collect();
        if ring.is_empty() || newest == 0 {
            return Err(corrupt("the wrap holds no keys"));
        }
        Ok((mac_key, Self(ring)))
    }
}
