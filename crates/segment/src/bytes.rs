//! Writing of lengths, texts and bitmaps, checked access to columns of numbers, and slices of a shared buffer.
//!
//! Promises: nothing here panics on any input. Values one after another are read by [`ByteReader`].

use kernel::{ByteReader, MalformedBytes, Plaintext};
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

/// Reads a bitmap of numbers below `limit`.
pub(crate) fn read_bitmap(r: &mut ByteReader<'_>, limit: u32) -> Result<RoaringBitmap, MalformedBytes> {
    let bitmap = RoaringBitmap::deserialize_from(r.sized()?).map_err(|_| r.malformed())?;
    if bitmap.max().is_some_and(|m| m >= limit) { Err(r.malformed()) } else { Ok(bitmap) }
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
