//! The index of attributes: per key who has it, who has a list, and the values by type.
//!
//! Answers the leaves of a filter with a bitmap of documents. [`kernel::Filter::matches`] defines
//! the meaning; a property test compares.

use crate::{
    Error,
    bytes::{Reader, Slice, put_bitmap, put_size, put_str},
    postings::{Pairs, Strings},
};
use kernel::{AttrValue, Attributes, Comparison, Filter, Scalar, Timestamp};
use roaring::RoaringBitmap;
use std::{collections::BTreeMap, ops::Bound};

/// One key's values, by type.
pub(crate) struct Column {
    present: RoaringBitmap,
    lists: RoaringBitmap,
    falses: RoaringBitmap,
    trues: RoaringBitmap,
    numbers: Pairs,
    /// Strings that are RFC 3339 times, in milliseconds.
    instants: Pairs,
    strings: Strings,
}

/// All keys of a segment.
pub(crate) struct AttributeIndex(BTreeMap<String, Column>);

impl AttributeIndex {
    pub(crate) fn open(section: &Slice, documents: u32) -> Result<Self, Error> {
        let mut r = Reader::new(section.bytes(), "attribute index");
        let mut columns = BTreeMap::new();
        for _ in 0..r.count(8)? {
            let key = r.str()?.to_owned();
            if columns.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(r.bad());
            }
            let column = Column {
                present: r.bitmap(documents)?,
                lists: r.bitmap(documents)?,
                falses: r.bitmap(documents)?,
                trues: r.bitmap(documents)?,
                numbers: Pairs::open(&mut r, section, documents)?,
                instants: Pairs::open(&mut r, section, documents)?,
                strings: Strings::open(&mut r, section, documents)?,
            };
            columns.insert(key, column);
        }
        r.end()?;
        Ok(Self(columns))
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Heap bytes beside the section, roughly.
    pub(crate) fn bytes(&self) -> u64 {
        let bitmaps = self.0.values().flat_map(|c| [&c.present, &c.lists, &c.falses, &c.trues]);
        bitmaps.map(|b| b.serialized_size() as u64).sum::<u64>() + self.0.len() as u64 * size_of::<Column>() as u64
    }

    /// Evaluates one leaf (no `And`, `Or`, `Not`) on one key.
    pub(crate) fn leaf(&self, key: &str, leaf: &Filter) -> RoaringBitmap {
        self.0.get(key).map(|column| column.leaf(leaf)).unwrap_or_default()
    }
}

impl Column {
    fn leaf(&self, leaf: &Filter) -> RoaringBitmap {
        let mut found = RoaringBitmap::new();
        match leaf {
            Filter::Exists(_) => return self.present.clone(),
            Filter::In(_, wanted) => wanted.iter().for_each(|w| self.equal(w, &mut found)),
            // Nothing orders against NaN.
            Filter::Number(_, _, x) if x.is_nan() => {}
            Filter::Number(_, op, x) => {
                let (from, to) = bounds(*op, *x);
                return self.numbers.between(from, to);
            }
            Filter::Instant(_, op, t) => {
                let (from, to) = bounds(*op, t.as_millis());
                return self.instants.between(from, to);
            }
            Filter::Contains(_, wanted) => {
                self.equal(wanted, &mut found);
                found &= &self.lists;
                if let Scalar::Str(part) = wanted {
                    let mut inside = RoaringBitmap::new();
                    self.strings.matching(|s| s.contains(part.as_str()), &mut inside);
                    found |= inside - &self.lists;
                }
            }
            Filter::Prefix(_, prefix) => self.strings.prefix(prefix, &mut found),
            Filter::Match(_, words) => {
                self.strings.matching(
                    |s| {
                        let have = Filter::words(s);
                        words.iter().all(|w| have.contains(w))
                    },
                    &mut found,
                );
            }
            Filter::And(_) | Filter::Or(_) | Filter::Not(_) => {}
        }
        found
    }

    fn equal(&self, wanted: &Scalar, found: &mut RoaringBitmap) {
        match wanted {
            Scalar::Str(s) => self.strings.equal(s, found),
            Scalar::Bool(false) => *found |= &self.falses,
            Scalar::Bool(true) => *found |= &self.trues,
            Scalar::Num(x) if x.is_nan() => {}
            Scalar::Num(x) => *found |= self.numbers.between(Bound::Included(*x), Bound::Included(*x)),
        }
    }
}

/// The range of values that `value op x` admits.
pub(crate) fn bounds<K>(op: Comparison, x: K) -> (Bound<K>, Bound<K>) {
    match op {
        Comparison::Gt => (Bound::Excluded(x), Bound::Unbounded),
        Comparison::Gte => (Bound::Included(x), Bound::Unbounded),
        Comparison::Lt => (Bound::Unbounded, Bound::Excluded(x)),
        Comparison::Lte => (Bound::Unbounded, Bound::Included(x)),
    }
}

/// Collects attributes while a segment is built.
#[derive(Default)]
pub(crate) struct AttributeBuilder(BTreeMap<String, Values>);

#[derive(Default)]
struct Values {
    present: RoaringBitmap,
    lists: RoaringBitmap,
    falses: RoaringBitmap,
    trues: RoaringBitmap,
    numbers: Vec<(f64, u32)>,
    instants: Vec<(i64, u32)>,
    strings: BTreeMap<String, Vec<u32>>,
}

impl AttributeBuilder {
    pub(crate) fn add(&mut self, doc: u32, attributes: &Attributes) {
        for (key, value) in attributes {
            let values = match self.0.get_mut(key) {
                Some(values) => values,
                None => self.0.entry(key.clone()).or_default(),
            };
            values.present.insert(doc);
            if matches!(value, AttrValue::Many(_)) {
                values.lists.insert(doc);
            }
            value.scalars().iter().for_each(|s| values.add(doc, s));
        }
    }

    pub(crate) fn finish(self, out: &mut Vec<u8>) {
        put_size(out, self.0.len());
        for (key, values) in self.0 {
            put_str(out, &key);
            [&values.present, &values.lists, &values.falses, &values.trues]
                .into_iter()
                .for_each(|b| put_bitmap(out, b));
            Pairs::write(out, values.numbers);
            Pairs::write(out, values.instants);
            Strings::write(out, &values.strings);
        }
    }
}

impl Values {
    fn add(&mut self, doc: u32, scalar: &Scalar) {
        match scalar {
            Scalar::Bool(false) => drop(self.falses.insert(doc)),
            Scalar::Bool(true) => drop(self.trues.insert(doc)),
            Scalar::Num(x) if x.is_nan() => {}
            Scalar::Num(x) => self.numbers.push((*x, doc)),
            Scalar::Str(s) => {
                if let Ok(t) = Timestamp::parse(s) {
                    self.instants.push((t.as_millis(), doc));
                }
                let docs = match self.strings.get_mut(s) {
                    Some(docs) => docs,
                    None => self.strings.entry(s.clone()).or_default(),
                };
                // A list may name a value twice.
                if docs.last() != Some(&doc) {
                    docs.push(doc);
                }
            }
        }
    }
}
