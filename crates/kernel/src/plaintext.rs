//! [`Plaintext`]: decrypted bytes that are wiped when they are dropped.
//!
//! Large buffers are mappings of their own ([`pool`]), the largest with huge pages: with pages of 4 KiB, random access
//! to a hundred megabytes waits for address translation as long as for the bytes. A mapping begins on a page boundary,
//! so that data which is aligned within the bytes is aligned in memory. Small buffers are vectors, as are all buffers
//! where the system provides no such mapping. A buffer never grows, so that no copy is left in freed memory. The
//! meaning of the bytes is left to the callers.

mod pool;

use pool::{BufferPool, POOL, PooledBuffer};
use std::{
    fmt,
    ops::{Deref, DerefMut},
};
use zeroize::Zeroizing;

/// Bytes that are wiped when they are dropped.
pub struct Plaintext(PlaintextStorage);

enum PlaintextStorage {
    Vector(Vec<u8>),
    Pooled(PooledBuffer),
}

impl Plaintext {
    /// Creates a buffer of `length` zeros. This costs no pass over them if the pool has a wiped mapping.
    pub fn zeroed(length: usize) -> Self {
        Self::from_pool(&POOL, length)
    }

    fn from_pool(pool: &'static BufferPool, length: usize) -> Self {
        let buffer = if length >= POOLED_BYTES_MIN { pool.take(length) } else { None };
        Self(buffer.map_or_else(|| PlaintextStorage::Vector(vec![0; length]), PlaintextStorage::Pooled))
    }

    /// Shortens the buffer to its first `length` bytes. The bytes after them are wiped together with it.
    pub fn truncate(&mut self, length: usize) {
        match &mut self.0 {
            PlaintextStorage::Vector(bytes) => bytes.truncate(length),
            PlaintextStorage::Pooled(buffer) => buffer.truncate(length),
        }
    }
}

impl From<Zeroizing<Vec<u8>>> for Plaintext {
    fn from(mut bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(PlaintextStorage::Vector(std::mem::take(&mut *bytes)))
    }
}

impl From<&[u8]> for Plaintext {
    fn from(bytes: &[u8]) -> Self {
        let mut copy = Self::zeroed(bytes.len());
        copy.copy_from_slice(bytes);
        copy
    }
}

impl Deref for Plaintext {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            PlaintextStorage::Vector(bytes) => bytes,
            PlaintextStorage::Pooled(buffer) => buffer.bytes(),
        }
    }
}

impl DerefMut for Plaintext {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            PlaintextStorage::Vector(bytes) => bytes,
            PlaintextStorage::Pooled(buffer) => buffer.bytes_mut(),
        }
    }
}

/// The comparison does not take constant time: it is not for keys.
impl PartialEq for Plaintext {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Plaintext {}

/// Shows only the number of bytes.
impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plaintext({} bytes)", self.len())
    }
}

impl Drop for Plaintext {
    fn drop(&mut self) {
        // A pooled buffer wipes itself.
        if let PlaintextStorage::Vector(bytes) = &mut self.0 {
            // This also wipes what earlier users left after the end of the vector.
            bytes.resize(bytes.capacity(), 0);
            wipe(bytes);
        }
    }
}

/// Wipes with wide stores: a loop over single bytes takes as long as decrypting them did, or longer.
fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    // The barrier keeps the compiler from removing the stores, although nothing here reads the zeros.
    zeroize::optimization_barrier(bytes);
}

/// Length from which a buffer is a mapping, bytes. Smaller ones hold logs and checkpoints, of which there are hundreds.
const POOLED_BYTES_MIN: usize = 256 << 10;

#[cfg(test)]
mod tests;
