//! Two small tables from values to numbers of documents, read where they lie in the buffer:
//! [`Pairs`] for numbers and times, [`Strings`] for text.
//!
//! Promises: checked whole at opening (order, bounds, UTF-8), so that lookups cannot go astray.

use crate::{
    Error,
    bytes::{Reader, Slice, put_size, u32_at, u32_from, u64_from},
};
use roaring::RoaringBitmap;
use std::{
    collections::BTreeMap,
    ops::{Bound, Range},
};

const PAIR: usize = 12;
/// Fewer documents than one in so many are sorted; more are marked in a plain row of bits.
const SORTED_BELOW: usize = 64;

/// Numbers as `u64` whose order is theirs.
pub(crate) trait Key: Copy + PartialOrd {
    fn order(self) -> u64;
}

impl Key for i64 {
    fn order(self) -> u64 {
        (self as u64) ^ (1 << 63)
    }
}

impl Key for f64 {
    /// Total order of IEEE 754, with one zero.
    fn order(self) -> u64 {
        let bits = if self == 0.0 { 0 } else { f64::to_bits(self) };
        if bits >> 63 == 1 { !bits } else { bits | (1 << 63) }
    }
}

/// Sorted pairs of (number, document).
#[derive(Clone)]
pub(crate) struct Pairs {
    pairs: Slice,
    /// Documents of the segment.
    documents: u32,
}

impl Pairs {
    pub(crate) fn write<K: Key>(out: &mut Vec<u8>, pairs: impl IntoIterator<Item = (K, u32)>) {
        let mut list: Vec<(u64, u32)> = pairs.into_iter().map(|(k, d)| (k.order(), d)).collect();
        list.sort_unstable();
        list.dedup();
        put_size(out, list.len());
        for (bits, doc) in list {
            out.extend_from_slice(&bits.to_le_bytes());
            out.extend_from_slice(&doc.to_le_bytes());
        }
    }

    pub(crate) fn open(r: &mut Reader<'_>, section: &Slice, documents: u32) -> Result<Self, Error> {
        let count = r.count(PAIR)?;
        let slice = section.sub(r.span(count * PAIR)?).ok_or_else(|| r.bad())?;
        let pairs = Pairs { pairs: slice, documents };
        let mut last = None;
        for i in 0..count {
            let pair = pairs.get(i);
            if last >= Some(pair) || pair.1 >= documents {
                return Err(r.bad());
            }
            last = Some(pair);
        }
        Ok(pairs)
    }

    fn get(&self, i: usize) -> (u64, u32) {
        let bytes = self.pairs.bytes();
        (u64_from(bytes, i * PAIR).unwrap_or(u64::MAX), u32_from(bytes, i * PAIR + 8).unwrap_or(u32::MAX))
    }

    fn len(&self) -> usize {
        self.pairs.len() / PAIR
    }

    /// Documents whose number lies between the bounds.
    pub(crate) fn between<K: Key>(&self, from: Bound<K>, to: Bound<K>) -> RoaringBitmap {
        let start = match from {
            Bound::Unbounded => 0,
            Bound::Included(k) => self.first(|b| b >= k.order()),
            Bound::Excluded(k) => self.first(|b| b > k.order()),
        };
        let end = match to {
            Bound::Unbounded => self.len(),
            Bound::Included(k) => self.first(|b| b > k.order()),
            Bound::Excluded(k) => self.first(|b| b >= k.order()),
        };
        self.gathered(start..end)
    }

    /// The documents of these pairs, which stand in the order of their numbers: a bitmap takes each by itself dearly.
    fn gathered(&self, pairs: Range<usize>) -> RoaringBitmap {
        let docs = pairs.clone().map(|i| self.get(i).1);
        if pairs.len() < self.documents as usize / SORTED_BELOW {
            let mut docs: Vec<u32> = docs.collect();
            docs.sort_unstable();
            docs.dedup();
            return docs.into_iter().collect();
        }
        let mut bits = vec![0u8; (self.documents as usize).div_ceil(8)];
        for doc in docs {
            if let Some(byte) = bits.get_mut(doc as usize / 8) {
                *byte |= 1 << (doc % 8);
            }
        }
        RoaringBitmap::from_lsb0_bytes(0, &bits)
    }

    /// The smallest number above this one, as it was written.
    pub(crate) fn above(&self, number: i64) -> Option<i64> {
        let at = self.first(|b| b > number.order());
        (at < self.len()).then(|| (self.get(at).0 ^ (1 << 63)) as i64)
    }

    fn first(&self, reached: impl Fn(u64) -> bool) -> usize {
        partition(self.len(), |i| !reached(self.get(i).0))
    }
}

/// The first of `0..n` for which `before` does not hold. `O(log n)`.
pub(crate) fn partition(n: usize, before: impl Fn(usize) -> bool) -> usize {
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
    /// Per string the end of its text and of its documents.
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

    pub(crate) fn open(r: &mut Reader<'_>, section: &Slice, documents: u32) -> Result<Self, Error> {
        let count = r.count(PAIR)?;
        let ends = section.sub(r.span(count * PAIR)?).ok_or_else(|| r.bad())?;
        let last = count.checked_sub(1).map(|i| i * PAIR);
        let text = last.and_then(|at| u64_from(ends.bytes(), at)).unwrap_or(0);
        let total = last.and_then(|at| u32_from(ends.bytes(), at + 8)).unwrap_or(0) as usize;
        let text = usize::try_from(text).map_err(|_| r.bad())?;
        let docs = total.checked_mul(4).ok_or_else(|| r.bad())?;
        let docs = section.sub(r.span(docs)?).ok_or_else(|| r.bad())?;
        let text = section.sub(r.span(text)?).ok_or_else(|| r.bad())?;
        let table = Self { ends, docs, text };
        if table.sound(documents) { Ok(table) } else { Err(r.bad()) }
    }

    fn sound(&self, documents: u32) -> bool {
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
        self.ends.len() / PAIR
    }

    /// Start and end number `i` of the texts (`at` 0) or documents (`at` 8).
    fn span(&self, i: usize, at: usize) -> Option<Range<usize>> {
        let bytes = self.ends.bytes();
        let read = |i: usize| match at {
            0 => u64_from(bytes, i * PAIR).and_then(|n| usize::try_from(n).ok()),
            _ => u32_from(bytes, i * PAIR + at).map(|n| n as usize),
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

    /// Adds the documents of the `i`-th string.
    pub(crate) fn add(&self, i: usize, to: &mut RoaringBitmap) {
        let bytes = self.docs.bytes();
        to.extend(self.span(i, 8).unwrap_or_default().filter_map(|n| u32_at(bytes, n)));
    }

    /// Adds the documents that hold exactly this string. `O(log n)`.
    pub(crate) fn equal(&self, wanted: &str, to: &mut RoaringBitmap) {
        let i = partition(self.len(), |i| self.get(i) < wanted);
        if i < self.len() && self.get(i) == wanted {
            self.add(i, to);
        }
    }

    /// Adds the documents that hold a string with this prefix.
    pub(crate) fn prefix(&self, prefix: &str, to: &mut RoaringBitmap) {
        let start = partition(self.len(), |i| self.get(i) < prefix);
        (start..self.len()).take_while(|&i| self.get(i).starts_with(prefix)).for_each(|i| self.add(i, to));
    }

    /// Adds the documents that hold a string which meets the test. Looks at every string.
    pub(crate) fn matching(&self, test: impl Fn(&str) -> bool, to: &mut RoaringBitmap) {
        (0..self.len()).filter(|&i| test(self.get(i))).for_each(|i| self.add(i, to));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn opened(pairs: &[(i64, u32)], documents: u32) -> Pairs {
        let mut bytes = Vec::new();
        Pairs::write(&mut bytes, pairs.iter().copied());
        let section = Slice::whole(zeroize::Zeroizing::new(bytes));
        Pairs::open(&mut Reader::new(section.bytes(), "pairs"), &section, documents).unwrap()
    }

    proptest! {
        /// Few of many documents, and many; some with several numbers.
        #[test]
        fn between_holds_each_document_once(
            pairs in prop::collection::vec((-50_i64..50, 0_u32..700), 0..900),
            (from, to) in (-60_i64..60, -60_i64..60),
            documents in prop::sample::select(vec![700_u32, 5_000, 200_000]),
        ) {
            let expected: RoaringBitmap =
                pairs.iter().filter(|(number, _)| (from..to).contains(number)).map(|(_, doc)| *doc).collect();
            let found = opened(&pairs, documents).between(Bound::Included(from), Bound::Excluded(to));
            prop_assert_eq!(found, expected);
        }
    }
}
