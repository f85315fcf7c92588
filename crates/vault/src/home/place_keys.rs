//! A place's own keys: one that MACs, and one that wraps for each place epoch. There is one epoch but
//! while every object of the place is written anew, and then there are two.

use crate::{
    Error, Result, SecretKey,
    crypto::KEY,
    identity::{Context, Wrap},
    wrap,
};
use kernel::{Entropy, KeyEpoch};
use std::sync::Arc;

/// The keys that wrap, newest first.
pub(super) struct PlaceKeys(Vec<(KeyEpoch, Arc<SecretKey>)>);

/// The first epoch of a place.
const FIRST: KeyEpoch = KeyEpoch(1);
/// Bytes before the wrap: the newest epoch.
const HEAD: usize = 4;

impl PlaceKeys {
    pub(super) fn fresh(entropy: &dyn Entropy) -> Self {
        Self(vec![(FIRST, Arc::new(SecretKey::random(entropy)))])
    }

    /// The one that wraps now.
    pub(super) fn newest(&self) -> (KeyEpoch, &SecretKey) {
        let (epoch, key) = &self.0[0];
        (*epoch, key)
    }

    /// Newest first.
    pub(super) fn epochs(&self) -> impl Iterator<Item = KeyEpoch> {
        self.0.iter().map(|(epoch, _)| *epoch)
    }

    pub(super) fn get(&self, epoch: KeyEpoch) -> Option<&SecretKey> {
        self.0.iter().find(|(e, _)| *e == epoch).map(|(_, key)| &**key)
    }

    /// These and one more, which wraps from then on.
    pub(super) fn with_next(&self, entropy: &dyn Entropy) -> Self {
        let next = (self.newest().0.next(), Arc::new(SecretKey::random(entropy)));
        Self([next].into_iter().chain(self.0.iter().cloned()).collect())
    }

    #[cfg(test)]
    pub(super) fn copied(&self) -> Self {
        Self(self.0.clone())
    }

    /// The newest alone.
    pub(super) fn newest_only(&self) -> Self {
        Self(self.0[..1].to_vec())
    }

    /// The newest epoch, then one wrap of the MAC key and these, newest first.
    pub(super) fn wrap(
        &self,
        kek: &SecretKey,
        context: Context,
        mac_key: &SecretKey,
        entropy: &dyn Entropy,
    ) -> Vec<u8> {
        let newest = self.newest().0;
        let context = Context { keys: Some(newest), ..context };
        let keys: Vec<&SecretKey> = [mac_key].into_iter().chain(self.0.iter().map(|(_, key)| &**key)).collect();
        let wrapped = wrap::wrap(kek, &context, &keys, entropy);
        [&newest.0.to_be_bytes()[..], &wrapped].concat()
    }

    /// How many of these a wrap holds.
    pub(super) fn count(wrapped: &[u8]) -> Option<usize> {
        let secrets = wrapped.len().checked_sub(HEAD + wrap::OVERHEAD)?;
        (secrets.is_multiple_of(KEY)).then_some(secrets / KEY)?.checked_sub(1)
    }

    /// Reads what [`wrap`](Self::wrap) made: the MAC key and the rest.
    pub(super) fn unwrap(kek: &SecretKey, context: Context, wrapped: &[u8]) -> Result<(SecretKey, Self)> {
        let subject = context.subject();
        let corrupt = |why| Error::corrupt(Wrap::Place.name(), &subject, why);
        let (newest, wrapped) = wrapped.split_first_chunk::<HEAD>().ok_or_else(|| corrupt("the wrap is cut short"))?;
        let newest = u32::from_be_bytes(*newest);
        let context = Context { keys: Some(KeyEpoch(newest)), ..context };
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
