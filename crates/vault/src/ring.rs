//! A tenant's key ring: one random key per key epoch, unwrapped in memory.

use crate::{
    Error, Result, RootKey, SecretKey,
    crypto::same,
    identity::{Context, Wrap},
};
use kernel::{Entropy, Incarnation, KeyEpoch};
use std::{fmt, sync::Arc};

/// A key under another key: ciphertext, safe to store beside what it opens.
#[derive(Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// Epoch of the wrapping key; 0 where that has none.
    pub epoch: KeyEpoch,
    /// The wrap.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for WrappedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WrappedKey(epoch {}, {} bytes)", self.epoch, self.bytes.len())
    }
}

/// The tenant keys of one incarnation. They wrap place keys and nothing else.
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
    /// A ring with a first key, epoch 1, and its wrap to be stored.
    ///
    /// # Errors
    /// What the provider says.
    pub fn create(
        provider: &dyn RootKey,
        incarnation: Incarnation,
        entropy: &dyn Entropy,
    ) -> Result<(Self, WrappedKey)> {
        Self { incarnation, current: KeyEpoch(0), ring: Vec::new() }.rotated(provider, entropy)
    }

    /// Unwraps a stored ring. The highest epoch is the current one.
    ///
    /// # Errors
    /// What the provider says; [`Error::NoEpoch`] for an empty list.
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

    /// This ring and another's of the same life: each epoch may have been asked for by itself.
    ///
    /// # Errors
    /// [`Error::Misplaced`] for another life's.
    pub fn joined(self, other: Self) -> Result<Self> {
        if self.incarnation != other.incarnation {
            return Err(Error::Misplaced("a key ring"));
        }
        let mut ring = self.ring;
        ring.extend(other.ring);
        ring.sort_by_key(|(epoch, _)| *epoch);
        Ok(Self { incarnation: self.incarnation, current: self.current.max(other.current), ring })
    }

    /// The epoch that wraps now.
    pub fn current(&self) -> KeyEpoch {
        self.current
    }

    /// Every epoch in the ring, oldest first.
    pub fn epochs(&self) -> Vec<KeyEpoch> {
        self.ring.iter().map(|(epoch, _)| *epoch).collect()
    }

    /// Whose.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// This ring and a new current key, whose wrap must be durable before the ring is used.
    ///
    /// # Errors
    /// What the provider says.
    pub fn rotated(&self, provider: &dyn RootKey, entropy: &dyn Entropy) -> Result<(Self, WrappedKey)> {
        let epoch = self.current.next();
        let key = SecretKey::random(entropy);
        let bytes = provider.wrap(&context(self.incarnation, epoch), &key)?;
        let mut ring = self.ring.clone();
        ring.push((epoch, Arc::new(key)));
        Ok((Self { incarnation: self.incarnation, current: epoch, ring }, WrappedKey { epoch, bytes }))
    }

    /// This ring without one epoch. What only that epoch wrapped opens no more; without the current
    /// epoch nothing can be wrapped either.
    #[must_use]
    pub fn without(&self, epoch: KeyEpoch) -> Self {
        let ring = self.ring.iter().filter(|(e, _)| *e != epoch).cloned().collect();
        Self { incarnation: self.incarnation, current: self.current, ring }
    }

    /// Asks the provider to unwrap one of these keys again, to learn whether it still would. The key that comes back
    /// is compared and dropped.
    ///
    /// # Errors
    /// What the provider says; [`Error::Misplaced`] if it gives another key.
    pub fn verify(&self, provider: &dyn RootKey, wrapped: &WrappedKey) -> Result<()> {
        let key = provider.unwrap(&context(self.incarnation, wrapped.epoch), &wrapped.bytes)?;
        if same(key.bytes(), self.key(wrapped.epoch)?.bytes()) {
            return Ok(());
        }
        Err(Error::Misplaced("the key that the provider unwrapped"))
    }

    /// Whether a provider unwraps what was an epoch's key: asked about one that must be gone.
    ///
    /// # Errors
    /// What the provider says: the proof.
    pub fn probe(provider: &dyn RootKey, incarnation: Incarnation, wrapped: &WrappedKey) -> Result<()> {
        provider.unwrap(&context(incarnation, wrapped.epoch), &wrapped.bytes).map(drop)
    }

    pub(crate) fn key(&self, epoch: KeyEpoch) -> Result<&SecretKey> {
        self.ring.iter().find(|(e, _)| *e == epoch).map(|(_, key)| &**key).ok_or(Error::NoEpoch(epoch))
    }
}

fn context(incarnation: Incarnation, epoch: KeyEpoch) -> Vec<u8> {
    Context {
        wrap: Wrap::Tenant,
        incarnation: Some(incarnation),
        place: None,
        object: None,
        epoch,
        log: None,
        keys: None,
    }
    .encode()
}

#[cfg(test)]
mod tests;
