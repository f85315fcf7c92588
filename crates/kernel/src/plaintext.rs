//! [`Plaintext`]: opened bytes, wiped when they go.
//!
//! Many of them lie in a mapping of their own ([`rooms`]), the most in large pages: whoever jumps about in a hundred
//! megabytes waits for addresses as long as for the bytes, if each page is of 4 KiB. It begins at the begin of a page,
//! so what is aligned in the bytes is aligned in memory. Fewer, and all where the system has no such mapping, lie in a
//! vector. They never grow, so no copy is left behind. Leaves to others: what the bytes are.

mod rooms;

use rooms::{ROOMS, Room, Rooms};
use std::{
    fmt,
    ops::{Deref, DerefMut},
};
use zeroize::Zeroizing;

/// Bytes that are wiped when they go.
pub struct Plaintext(Held);

enum Held {
    Vector(Vec<u8>),
    Room(Room),
}

impl Plaintext {
    /// So many zeros. Costs no pass over them where there is a room that was wiped.
    pub fn zeroed(length: usize) -> Self {
        Self::among(&ROOMS, length)
    }

    fn among(rooms: &'static Rooms, length: usize) -> Self {
        let room = if length >= ROOM_MIN { rooms.take(length) } else { None };
        Self(room.map_or_else(|| Held::Vector(vec![0; length]), Held::Room))
    }

    /// Only the first `length` are these bytes from now on. What stands behind is wiped with them.
    pub fn truncate(&mut self, length: usize) {
        match &mut self.0 {
            Held::Vector(bytes) => bytes.truncate(length),
            Held::Room(room) => room.truncate(length),
        }
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
            Held::Room(room) => room.bytes(),
        }
    }
}

impl DerefMut for Plaintext {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Held::Vector(bytes) => bytes,
            Held::Room(room) => room.bytes_mut(),
        }
    }
}

/// Not in constant time: for no keys.
impl PartialEq for Plaintext {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Plaintext {}

/// Their number only.
impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plaintext({} bytes)", self.len())
    }
}

impl Drop for Plaintext {
    fn drop(&mut self) {
        // A room does it itself.
        if let Held::Vector(bytes) = &mut self.0 {
            // Also what others left behind its end.
            bytes.resize(bytes.capacity(), 0);
            wipe(bytes);
        }
    }
}

/// With wide stores: byte by byte takes as long as opening them did, or longer.
fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    // Somebody may look: so the zeros have to be there, though nobody of us reads them.
    zeroize::optimization_barrier(bytes);
}

/// Bytes from which a mapping pays. What is smaller stands in logs and checkpoints and comes by the hundred.
const ROOM_MIN: usize = 256 << 10;

#[cfg(test)]
mod tests;
