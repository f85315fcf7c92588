//! A tenant's key ring: one random key per key epoch, unwrapped in memory.

use crate::{
    Error, Result, RootKey, SecretKey,
    crypto::constant_time_eq,
    identity::{WrapContext, WrapKind},
};
use kernel::{Entropy, Incarnation, KeyEpoch};
use std::{fmt, sync::Arc};

/// A key sealed under another key: ciphertext that may be stored next to the data that the key opens.
#[derive(Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// Epoch of the wrapping key; 0 if the wrapping key has no epochs.
    pub epoch: KeyEpoch,
    /// The sealed bytes.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for WrappedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WrappedKey(epoch {}, {} bytes)", self.epoch, self.bytes.len())
    }
}

/// The tenant keys of one incarnation. They wrap keyspace keys and nothing else.
///
/// ```compile_fail
/// fn print(keys: &vault::TenantKeys) { println!("{keys:?}"); }
/// ```
pub struct TenantKeys {
    incarnation: Incarnation,
    current: KeyEpoch,
    ring: Vec<(KeyEpoch, Arc<SecretKey>)>,
}

impl TenantKeys {
    /// Creates a ring with a first key (epoch 1), and that key's wrap, which the caller must store.
    ///
    /// # Errors
    /// Errors of the provider.
    pub fn create(
        provider: &dyn RootKey,
        incarnation: Incarnation,
        entropy: &dyn Entropy,
    ) -> Result<(Self, WrappedKey)> {
        Self { incarnation, current: KeyEpoch(0), ring: Vec::new() }.rotated(provider, entropy)
    }

    /// Unwraps a stored ring. The highest epoch becomes the current one.
    ///
    /// # Errors
    /// Errors of the provider; [`Error::NoEpoch`] for an empty list.
    pub fn open(provider: &dyn RootKey, incarnation: Incarnation, epochs: &[WrappedKey]) -> Result<Self> {
        let current = epochs.iter().map(|w| w.epoch).max().ok_or(Error::NoEpoch(KeyEpoch(1)))?;
        let mut ring = Vec::with_capacity(epochs.len());
        for wrapped in epochs {
            let key = provider.unwrap(&context(incarnation, wrapped.epoch), &wrapped.bytes)?;
            ring.push((wrapped.epoch, Arc::new(key)));
        }
        ring.sort_by_key(|(epoch, _)| *epoch);
        Ok(Self { incarnation, current, ring })
    }

    /// Merges this ring with another of the same incarnation: each epoch may have been unwrapped separately.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for a ring of another incarnation.
    pub fn merged(self, other: Self) -> Result<Self> {
        if self.incarnation != other.incarnation {
            return Err(Error::Mismatch("a key ring"));
        }
        let mut ring = self.ring;
        ring.extend(other.ring);
        ring.sort_by_key(|(epoch, _)| *epoch);
        Ok(Self { incarnation: self.incarnation, current: self.current.max(other.current), ring })
    }

    /// The epoch that new wraps use.
    pub fn current(&self) -> KeyEpoch {
        self.current
    }

    /// All epochs in the ring, oldest first.
    pub fn epochs(&self) -> Vec<KeyEpoch> {
        self.ring.iter().map(|(epoch, _)| *epoch).collect()
    }

    /// Incarnation of the tenant that the ring belongs to.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Returns this ring with a new current key, whose wrap must be durable before the ring is used.
    ///
    /// # Errors
    /// Errors of the provider.
    pub fn rotated(&self, provider: &dyn RootKey, entropy: &dyn Entropy) -> Result<(Self, WrappedKey)> {
        let epoch = self.current.next();
        let key = SecretKey::random(entropy);
        let bytes = provider.wrap(&context(self.incarnation, epoch), &key)?;
        let mut ring = self.ring.clone();
        ring.push((epoch, Arc::new(key)));
        Ok((Self { incarnation: self.incarnation, current: epoch, ring }, WrappedKey { epoch, bytes }))
    }

    /// Returns this ring without one epoch. Data that only that epoch's key wrapped no longer opens; without the
    /// current epoch the ring cannot wrap either.
    #[must_use]
    pub fn without(&self, epoch: KeyEpoch) -> Self {
        let ring = self.ring.iter().filter(|(e, _)| *e != epoch).cloned().collect();
        Self { incarnation: self.incarnation, current: self.current, ring }
    }

    /// Asks the provider to unwrap one of these keys again, to check that it still does. The returned key is compared
    /// and dropped.
    ///
    /// # Errors
    /// Errors of the provider; [`Error::Mismatch`] if it returns another key.
    pub fn verify(&self, provider: &dyn RootKey, wrapped: &WrappedKey) -> Result<()> {
        let key = provider.unwrap(&context(self.incarnation, wrapped.epoch), &wrapped.bytes)?;
        if constant_time_eq(key.bytes(), self.key(wrapped.epoch)?.bytes()) {
            return Ok(());
        }
        Err(Error::Mismatch("the key that the provider unwrapped"))
    }

    /// Asks a provider to unwrap the wrap of a destroyed epoch, to prove that it no longer does.
    ///
    /// # Errors
    /// Errors of the provider: the expected outcome, and the proof.
    pub fn probe(provider: &dyn RootKey, incarnation: Incarnation, wrapped: &WrappedKey) -> Result<()> {
        provider.unwrap(&context(incarnation, wrapped.epoch), &wrapped.bytes).map(drop)
    }

    pub(crate) fn key(&self, epoch: KeyEpoch) -> Result<&SecretKey> {
        self.ring.iter().find(|(e, _)| *e == epoch).map(|(_, key)| &**key).ok_or(Error::NoEpoch(epoch))
    }
}

fn context(incarnation: Incarnation, epoch: KeyEpoch) -> Vec<u8> {
    WrapContext {
        wrap: WrapKind::Tenant,
        incarnation: Some(incarnation),
        keyspace: None,
        object: None,
        epoch,
        log: None,
        keys: None,
    }
    .encode()
}

#[cfg(test)]
mod tests;
