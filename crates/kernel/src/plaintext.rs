//! [`Plaintext`]: opened bytes that are held for long, wiped when they go.
//!
//! Many of them lie in a mapping of their own that asks for large pages: whoever jumps about in a hundred megabytes
//! waits for addresses as long as for the bytes, if each page is of 4 KiB. It begins at the begin of a page, so what is
//! aligned in the bytes is aligned in memory. Where the system has no such mapping they lie in a vector. Leaves to
//! others: what the bytes are.

use memmap2::MmapMut;
use std::{
    fmt,
    ops::{Deref, DerefMut},
};
use zeroize::Zeroizing;

/// Bytes that are wiped when they go.
pub struct Plaintext(Held);

enum Held {
    Vector(Vec<u8>),
    Mapping(MmapMut),
}

impl Plaintext {
    /// So many zeros.
    pub fn zeroed(length: usize) -> Self {
        if length >= MAPPED_MIN
            && let Ok(mapping) = MmapMut::map_anon(length)
        {
            // A wish: without it, all is as it was.
            #[cfg(target_os = "linux")]
            let _small_pages_then = mapping.advise(memmap2::Advice::HugePage);
            return Self(Held::Mapping(mapping));
        }
        Self(Held::Vector(vec![0; length]))
    }
}

impl From<Zeroizing<Vec<u8>>> for Plaintext {
    fn from(mut bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(Held::Vector(std::mem::take(&mut *bytes)))
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
            Held::Vector(bytes) => bytes,
            Held::Mapping(bytes) => bytes,
        }
    }
}

impl DerefMut for Plaintext {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Held::Vector(bytes) => bytes,
            Held::Mapping(bytes) => bytes,
        }
    }
}

/// Their number only.
impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plaintext({} bytes)", self.len())
    }
}

impl Drop for Plaintext {
    fn drop(&mut self) {
        let bytes = match &mut self.0 {
            // Also what others left behind its end.
            Held::Vector(bytes) => {
                bytes.resize(bytes.capacity(), 0);
                &mut bytes[..]
            }
            Held::Mapping(bytes) => &mut bytes[..],
        };
        // Wide stores: byte by byte takes as long as opening them did, or longer.
        bytes.fill(0);
        zeroize::optimization_barrier(bytes);
    }
}

/// Bytes from which a mapping of its own pays: two large pages of the common size.
const MAPPED_MIN: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_ones_hold_what_is_put_into_them() {
        for length in [0, 1, 4_095, MAPPED_MIN - 1, MAPPED_MIN, MAPPED_MIN + 4_097] {
            let mut bytes = Plaintext::zeroed(length);
            assert!(bytes.len() == length && bytes.iter().all(|byte| *byte == 0));
            bytes.iter_mut().enumerate().for_each(|(n, byte)| *byte = n as u8);
            let copy = Plaintext::from(&bytes[..]);
            assert!(copy[..] == bytes[..] && copy.iter().enumerate().all(|(n, byte)| *byte == n as u8));
            assert_eq!(matches!(copy.0, Held::Mapping(_)), length >= MAPPED_MIN);
        }
    }
}
