//! Two small tables that map values to document numbers and are read in place: [`Pairs`] for numbers and times,
//! [`Strings`] for text.
//!
//! Promises: a table is checked whole at opening (order, bounds, UTF-8), so that lookups stay within it.

use crate::{
    Error,
    bytes::{Slice, put_size, u32_at, u32_from, u64_from},
};
use kernel::{ByteReader, Interrupted, checkpoint};
use roaring::RoaringBitmap;
use std::{
    collections::BTreeMap,
    ops::{Bound, Range},
};

/// Bytes of a key and a document.
const PAIR: usize = 16;
/// Bytes of the end of a string's text and of the end of its documents.
const ENDS: usize = 12;
/// With fewer than one document in this number, document numbers are sorted; with more, they are marked in a dense
/// bitmap.
const DENSE_SHARE: usize = 64;

/// A number or time as two integers, which compare lexicographically as the values do.
pub(crate) type PostingKey = (u64, u32);

/// Sorted pairs of (number, document).
#[derive(Clone)]
pub(crate) struct Pairs {
    pairs: Slice,
    /// Documents of the segment.
    documents: u32,
}

impl Pairs {
    pub(crate) fn write(out: &mut Vec<u8>, mut list: Vec<(PostingKey, u32)>) {
        list.sort_unstable();
        list.dedup();
        put_size(out, list.len());
        for ((high, low), doc) in list {
            out.extend_from_slice(&high.to_le_bytes());
            out.extend_from_slice(&low.to_le_bytes());
            out.extend_from_slice(&doc.to_le_bytes());
        }
    }

    pub(crate) fn open(r: &mut ByteReader<'_>, section: &Slice, documents: u32) -> Result<Self, Error> {
        let count = r.count(PAIR)?;
        let slice = section.sub(r.span(count * PAIR)?).ok_or_else(|| r.malformed())?;
        let pairs = Pairs { pairs: slice, documents };
        let mut last = None;
        for i in 0..count {
            let pair = pairs.get(i);
            if last >= Some(pair) || pair.1 >= documents {
                return Err(r.malformed().into());
            }
            last = Some(pair);
        }
        Ok(pairs)
    }

    fn get(&self, i: usize) -> (PostingKey, u32) {
        let (bytes, at) = (self.pairs.bytes(), i * PAIR);
        let number = |at| u32_from(bytes, at).unwrap_or(u32::MAX);
        ((u64_from(bytes, at).unwrap_or(u64::MAX), number(at + 8)), number(at + 12))
    }

    fn len(&self) -> usize {
        self.pairs.len() / PAIR
    }

    /// Documents whose number lies between the bounds.
    pub(crate) fn between(&self, from: Bound<PostingKey>, to: Bound<PostingKey>) -> RoaringBitmap {
        let start = match from {
            Bound::Unbounded => 0,
            Bound::Included(key) => self.first(|k| k >= key),
            Bound::Excluded(key) => self.first(|k| k > key),
        };
        let end = match to {
            Bound::Unbounded => self.len(),
            Bound::Included(key) => self.first(|k| k > key),
            Bound::Excluded(key) => self.first(|k| k >= key),
        };
        self.documents_of(start..end.max(start))
    }

    /// Documents of these pairs. The pairs are ordered by number, and inserting documents into a bitmap out of order is
    /// slow.
    fn documents_of(&self, pairs: Range<usize>) -> RoaringBitmap {
        let docs = pairs.clone().map(|i| self.get(i).1);
        if pairs.len() < self.documents as usize / DENSE_SHARE {
            let mut docs: Vec<u32> = docs.collect();
            docs.sort_unstable();
            docs.dedup();
            return docs.into_iter().collect();
        }
        // Many documents: set bits in any order and convert the whole bitmap at once.
        let mut bits = vec![0u8; (self.documents as usize).div_ceil(8)];
        for doc in docs {
            if let Some(byte) = bits.get_mut(doc as usize / 8) {
                *byte |= 1 << (doc % 8);
            }
        }
        RoaringBitmap::from_lsb0_bytes(0, &bits)
    }

    /// The smallest key above this one.
    pub(crate) fn above(&self, key: PostingKey) -> Option<PostingKey> {
        let at = self.first(|k| k > key);
        (at < self.len()).then(|| self.get(at).0)
    }

    fn first(&self, is_reached: impl Fn(PostingKey) -> bool) -> usize {
        partition_point(self.len(), |i| !is_reached(self.get(i).0))
    }
}

/// The first of `0..n` for which `before` does not hold. `O(log n)`.
pub(crate) fn partition_point(n: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, n);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

/// Sorted distinct strings, each with the documents that hold it.
#[derive(Clone)]
pub(crate) struct Strings {
    /// For each string, the end of its text and of its documents.
    ends: Slice,
    docs: Slice,
    text: Slice,
}

impl Strings {
    pub(crate) fn write(out: &mut Vec<u8>, map: &BTreeMap<String, Vec<u32>>) {
        put_size(out, map.len());
        let (mut text, mut docs) = (0u64, 0u32);
        for (string, list) in map {
            text += string.len() as u64;
            docs += list.len() as u32;
            out.extend_from_slice(&text.to_le_bytes());
            out.extend_from_slice(&docs.to_le_bytes());
        }
        map.values().flatten().for_each(|doc| out.extend_from_slice(&doc.to_le_bytes()));
        map.keys().for_each(|string| out.extend_from_slice(string.as_bytes()));
    }

    pub(crate) fn open(r: &mut ByteReader<'_>, section: &Slice, documents: u32) -> Result<Self, Error> {
        let count = r.count(ENDS)?;
        let ends = section.sub(r.span(count * ENDS)?).ok_or_else(|| r.malformed())?;
        let last = count.checked_sub(1).map(|i| i * ENDS);
        let text = last.and_then(|at| u64_from(ends.bytes(), at)).unwrap_or(0);
        let total = last.and_then(|at| u32_from(ends.bytes(), at + 8)).unwrap_or(0) as usize;
        let text = usize::try_from(text).map_err(|_| r.malformed())?;
        let docs = total.checked_mul(4).ok_or_else(|| r.malformed())?;
        let docs = section.sub(r.span(docs)?).ok_or_else(|| r.malformed())?;
        let text = section.sub(r.span(text)?).ok_or_else(|| r.malformed())?;
        let table = Self { ends, docs, text };
        if table.is_valid(documents) { Ok(table) } else { Err(r.malformed().into()) }
    }

    fn is_valid(&self, documents: u32) -> bool {
        let mut last: Option<&str> = None;
        for i in 0..self.len() {
            let (Some(text), Some(docs)) = (self.checked(i), self.span(i, 8).map(|s| s.len())) else { return false };
            if last >= Some(text) || docs == 0 {
                return false;
            }
            last = Some(text);
        }
        (0..self.docs.len() / 4).all(|i| u32_at(self.docs.bytes(), i).is_some_and(|d| d < documents))
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len() / ENDS
    }

    /// Range of string `i` in the texts (`at` 0) or in the documents (`at` 8).
    fn span(&self, i: usize, at: usize) -> Option<Range<usize>> {
        let bytes = self.ends.bytes();
        let read = |i: usize| match at {
            0 => u64_from(bytes, i * ENDS).and_then(|n| usize::try_from(n).ok()),
            _ => u32_from(bytes, i * ENDS + at).map(|n| n as usize),
        };
        let start = if i == 0 { 0 } else { read(i - 1)? };
        let end = read(i)?;
        (start <= end).then_some(start..end)
    }

    fn checked(&self, i: usize) -> Option<&str> {
        std::str::from_utf8(self.text.bytes().get(self.span(i, 0)?)?).ok()
    }

    /// The `i`-th string.
    pub(crate) fn get(&self, i: usize) -> &str {
        self.checked(i).unwrap_or_default()
    }

    /// Adds the documents of the `i`-th string to `to`.
    pub(crate) fn add(&self, i: usize, to: &mut RoaringBitmap) {
        let bytes = self.docs.bytes();
        to.extend(self.span(i, 8).unwrap_or_default().filter_map(|n| u32_at(bytes, n)));
    }

    /// Adds the documents that hold exactly this string to `to`. `O(log n)`.
    pub(crate) fn equal(&self, value: &str, to: &mut RoaringBitmap) {
        let i = partition_point(self.len(), |i| self.get(i) < value);
        if i < self.len() && self.get(i) == value {
            self.add(i, to);
        }
    }

    /// Adds the documents that hold a string with this prefix to `to`.
    ///
    /// # Errors
    /// [`Interrupted`] when the request must end.
    pub(crate) fn prefix(&self, prefix: &str, to: &mut RoaringBitmap) -> Result<(), Interrupted> {
        let start = partition_point(self.len(), |i| self.get(i) < prefix);
        (start..self.len()).take_while(|&i| self.get(i).starts_with(prefix)).try_for_each(|i| {
            self.add(i, to);
            checkpoint(prefix.len() as u64 + self.document_count(i))
        })
    }

    /// Number of documents that hold the `i`-th string.
    pub(crate) fn document_count(&self, i: usize) -> u64 {
        self.span(i, 8).map_or(0, |span| span.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::Timestamp;
    use proptest::prelude::*;

    fn key(number: i64) -> PostingKey {
        Timestamp::from_millis(number).order_key()
    }

    fn opened(pairs: &[(i64, u32)], documents: u32) -> Pairs {
        let mut bytes = Vec::new();
        Pairs::write(&mut bytes, pairs.iter().map(|(number, doc)| (key(*number), *doc)).collect());
        let section = Slice::whole(zeroize::Zeroizing::new(bytes));
        Pairs::open(&mut ByteReader::new(section.bytes(), "pairs"), &section, documents).unwrap()
    }

    proptest! {
        /// The share of matching documents varies from small to large; some have several numbers.
        #[test]
        fn between_holds_each_document_once(
            pairs in prop::collection::vec((-50_i64..50, 0_u32..700), 0..900),
            (from, to) in (-60_i64..60, -60_i64..60),
            documents in prop::sample::select(vec![700_u32, 5_000, 200_000]),
        ) {
            let expected: RoaringBitmap =
                pairs.iter().filter(|(number, _)| (from..to).contains(number)).map(|(_, doc)| *doc).collect();
            let found = opened(&pairs, documents).between(Bound::Included(key(from)), Bound::Excluded(key(to)));
            prop_assert_eq!(found, expected);
        }
    }
}
