//! Checked reading and writing of little-endian bytes, and slices of a shared buffer.
//!
//! Promises: nothing here panics on any input; a length is used only after it was compared with the bytes that remain.

use crate::Error;
use kernel::Plaintext;
use roaring::RoaringBitmap;
use std::{ops::Range, sync::Arc};

/// Part of a buffer that all slices share. The buffer is wiped when the last slice is dropped.
#[derive(Clone)]
pub(crate) struct Slice {
    buffer: Arc<Plaintext>,
    range: Range<usize>,
}

impl Slice {
    pub(crate) fn whole(buffer: impl Into<Plaintext>) -> Self {
        let buffer = buffer.into();
        let range = 0..buffer.len();
        Self { buffer: Arc::new(buffer), range }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.range.clone()).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.range.len()
    }

    /// Offset of the slice in the buffer.
    #[cfg(test)]
    pub(crate) fn begin(&self) -> usize {
        self.range.start
    }

    /// A part of this slice; `None` when the range does not lie inside.
    pub(crate) fn sub(&self, range: Range<usize>) -> Option<Self> {
        if range.start > range.end || range.end > self.len() {
            return None;
        }
        let start = self.range.start;
        Some(Self { buffer: self.buffer.clone(), range: start + range.start..start + range.end })
    }
}

/// Reads values one after another and reports where a read failed.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { bytes, at: 0, what }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(crate) fn bad(&self) -> Error {
        Error::corrupt(self.what, self.at)
    }

    /// Skips `n` bytes and returns their range.
    pub(crate) fn span(&mut self, n: usize) -> Result<Range<usize>, Error> {
        if n > self.remaining() {
            return Err(self.bad());
        }
        let start = self.at;
        self.at += n;
        Ok(start..self.at)
    }

    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8], Error> {
        let range = self.span(n)?;
        Ok(self.bytes.get(range).unwrap_or_default())
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| self.bad())
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Error> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Error> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Error> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// Reads a length or a count in LEB128.
    pub(crate) fn size(&mut self) -> Result<usize, Error> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(value).map_err(|_| self.bad());
            }
        }
        Err(self.bad())
    }

    /// Reads a count of items that take at least `least` bytes each, so that no false count reserves memory.
    pub(crate) fn count(&mut self, least: usize) -> Result<usize, Error> {
        let count = self.size()?;
        if count > self.remaining() / least.max(1) {
            return Err(self.bad());
        }
        Ok(count)
    }

    pub(crate) fn str(&mut self) -> Result<&'a str, Error> {
        let n = self.size()?;
        let bytes = self.take(n)?;
        std::str::from_utf8(bytes).map_err(|_| self.bad())
    }

    /// Reads a bitmap of numbers below `limit`.
    pub(crate) fn bitmap(&mut self, limit: u32) -> Result<RoaringBitmap, Error> {
        let n = self.size()?;
        let bytes = self.take(n)?;
        let bitmap = RoaringBitmap::deserialize_from(bytes).map_err(|_| self.bad())?;
        if bitmap.max().is_some_and(|m| m >= limit) {
            return Err(self.bad());
        }
        Ok(bitmap)
    }

    /// Fails unless all bytes were read.
    pub(crate) fn end(&self) -> Result<(), Error> {
        if self.remaining() == 0 { Ok(()) } else { Err(self.bad()) }
    }
}

pub(crate) fn put_size(out: &mut Vec<u8>, n: usize) {
    let mut n = n as u64;
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

pub(crate) fn put_str(out: &mut Vec<u8>, s: &str) {
    put_size(out, s.len());
    out.extend_from_slice(s.as_bytes());
}

pub(crate) fn put_bitmap(out: &mut Vec<u8>, bitmap: &RoaringBitmap) {
    put_size(out, bitmap.serialized_size());
    bitmap.serialize_into(&mut *out).expect("writing to memory does not fail");
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// The `i`-th value of a column of `u32`.
pub(crate) fn u32_at(bytes: &[u8], i: usize) -> Option<u32> {
    array_at(bytes, i.checked_mul(4)?).map(u32::from_le_bytes)
}

/// A `u32` at a byte offset.
pub(crate) fn u32_from(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

/// A `u64` at a byte offset.
pub(crate) fn u64_from(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

/// The `i`-th value of a column of `f32`.
pub(crate) fn f32_at(bytes: &[u8], i: usize) -> Option<f32> {
    array_at(bytes, i.checked_mul(4)?).map(f32::from_le_bytes)
}

/// A column of `f32` as an iterator.
pub(crate) fn floats(bytes: &[u8]) -> impl ExactSizeIterator<Item = f32> + '_ {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b))
}
