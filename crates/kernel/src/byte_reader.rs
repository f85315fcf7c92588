//! Reader of bytes from a disk or a bucket, which may be truncated, damaged or made by an attacker.
//!
//! Promises: nothing here panics on any input; a length is used only after it was compared with the bytes that remain,
//! so a false one reserves no memory; an error says where reading stopped, and holds none of the bytes. Numbers are
//! little-endian. Versions, and what a value means, are the caller's.

use std::ops::Range;

/// Bytes end too early, or hold a value that their format does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is malformed at byte {at}")]
pub struct MalformedBytes {
    /// Kind of structure that was read.
    pub what: &'static str,
    /// Offset in bytes from the start of the structure.
    pub at: usize,
}

/// Reads values one after another. An error is the end: after it the position is unspecified.
pub struct ByteReader<'a> {
    bytes: &'a [u8],
    at: usize,
    what: &'static str,
}

impl<'a> ByteReader<'a> {
    /// Begins at the first of `bytes`; `what` names the structure in errors.
    #[inline]
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { bytes, at: 0, what }
    }

    /// Number of bytes that were read.
    #[inline]
    pub fn at(&self) -> usize {
        self.at
    }

    /// Number of bytes that are left.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Error for a value that the caller found to be invalid at the current position.
    #[cold]
    pub fn malformed(&self) -> MalformedBytes {
        MalformedBytes { what: self.what, at: self.at }
    }

    /// Skips `n` bytes and returns their range.
    ///
    /// # Errors
    /// [`MalformedBytes`] if fewer are left.
    #[inline]
    pub fn span(&mut self, n: usize) -> Result<Range<usize>, MalformedBytes> {
        if n > self.remaining() {
            return Err(self.malformed());
        }
        let start = self.at;
        self.at += n;
        Ok(start..self.at)
    }

    /// Reads `n` bytes.
    ///
    /// # Errors
    /// [`MalformedBytes`] if fewer are left.
    #[inline]
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], MalformedBytes> {
        let range = self.span(n)?;
        Ok(self.bytes.get(range).unwrap_or_default())
    }

    /// Reads all bytes that are left.
    #[inline]
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at = self.bytes.len();
        rest
    }

    /// Reads `N` bytes.
    ///
    /// # Errors
    /// [`MalformedBytes`] if fewer are left.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], MalformedBytes> {
        let array = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk).ok_or_else(|| self.malformed())?;
        self.at += N;
        Ok(*array)
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// [`MalformedBytes`] at the end of the bytes.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, MalformedBytes> {
        Ok(self.array::<1>()?[0])
    }

    /// Reads two bytes.
    ///
    /// # Errors
    /// [`MalformedBytes`] if fewer are left.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, MalformedBytes> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Reads four bytes.
    ///
    /// # Errors
    /// [`MalformedBytes`] if fewer are left.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, MalformedBytes> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Reads eight bytes.
    ///
    /// # Errors
    /// [`MalformedBytes`] if fewer are left.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, MalformedBytes> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Reads eight bytes.
    ///
    /// # Errors
    /// [`MalformedBytes`] if fewer are left.
    #[inline]
    pub fn i64(&mut self) -> Result<i64, MalformedBytes> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// Reads a byte that is 0 or 1.
    ///
    /// # Errors
    /// [`MalformedBytes`] for any other value, and at the end of the bytes.
    #[inline]
    pub fn flag(&mut self) -> Result<bool, MalformedBytes> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.malformed()),
        }
    }

    /// Reads a length or a count in LEB128.
    ///
    /// # Errors
    /// [`MalformedBytes`] for one that is longer than the bytes, or larger than this machine's addresses.
    #[inline]
    pub fn size(&mut self) -> Result<usize, MalformedBytes> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for the highest bit only.
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(value).map_err(|_| self.malformed());
            }
        }
        Err(self.malformed())
    }

    /// Reads a count, in LEB128, of items that take at least `least` bytes each.
    ///
    /// # Errors
    /// [`MalformedBytes`] if that number of items does not fit in the bytes that are left.
    #[inline]
    pub fn count(&mut self, least: usize) -> Result<usize, MalformedBytes> {
        let count = self.size()?;
        if count > self.remaining() / least.max(1) {
            return Err(self.malformed());
        }
        Ok(count)
    }

    /// Reads a length in LEB128 and that number of bytes.
    ///
    /// # Errors
    /// [`MalformedBytes`] if fewer are left.
    #[inline]
    pub fn sized(&mut self) -> Result<&'a [u8], MalformedBytes> {
        let n = self.size()?;
        self.take(n)
    }

    /// Reads a length in LEB128 and text of that number of bytes.
    ///
    /// # Errors
    /// [`MalformedBytes`] if fewer are left, or they are not UTF-8.
    #[inline]
    pub fn str(&mut self) -> Result<&'a str, MalformedBytes> {
        let bytes = self.sized()?;
        std::str::from_utf8(bytes).map_err(|_| self.malformed())
    }

    /// Checks that all bytes were read.
    ///
    /// # Errors
    /// [`MalformedBytes`] if some are left.
    #[inline]
    pub fn end(&self) -> Result<(), MalformedBytes> {
        if self.remaining() == 0 { Ok(()) } else { Err(self.malformed()) }
    }
}

#[cfg(test)]
mod tests;
