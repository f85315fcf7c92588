//! The index of attributes: for each key the documents that have it, those that have a list, and the values by type.
//!
//! It answers the leaves of a filter with bitmaps of documents. [`kernel::Filter::matches`] defines their meaning; a
//! property test compares the two.

use crate::{
    Error,
    bytes::{Slice, put_bitmap, put_size, put_str, read_bitmap},
    postings::{Pairs, PostingKey, Strings},
};
use kernel::{
    AttrValue, Attributes, ByteReader, Column as FilterColumn, Comparison, FilterValue, Instant, Interrupted, Leaf,
    Scalar, checkpoint,
};
use roaring::RoaringBitmap;
use std::{collections::BTreeMap, ops::Bound};

/// The values of one key, by type.
pub(crate) struct AttributeColumn {
    present: RoaringBitmap,
    lists: RoaringBitmap,
    falses: RoaringBitmap,
    trues: RoaringBitmap,
    /// Ordered by [`kernel::Number::order_key`].
    numbers: Pairs,
    /// Strings that are RFC 3339 times, ordered by [`Instant::order_key`].
    instants: Pairs,
    strings: Strings,
}

/// All keys of a segment.
pub(crate) struct AttributeIndex {
    columns: BTreeMap<String, AttributeColumn>,
    /// Bytes of the section that it was read from.
    section_bytes: u64,
}

impl AttributeIndex {
    pub(crate) fn open(section: &Slice, documents: u32) -> Result<Self, Error> {
        let mut r = ByteReader::new(section.bytes(), "attribute index");
        let mut columns = BTreeMap::new();
        for _ in 0..r.count(8)? {
            let key = r.str()?.to_owned();
            if columns.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(r.malformed().into());
            }
            let column = AttributeColumn {
                present: read_bitmap(&mut r, documents)?,
                lists: read_bitmap(&mut r, documents)?,
                falses: read_bitmap(&mut r, documents)?,
                trues: read_bitmap(&mut r, documents)?,
                numbers: Pairs::open(&mut r, section, documents)?,
                instants: Pairs::open(&mut r, section, documents)?,
                strings: Strings::open(&mut r, section, documents)?,
            };
            columns.insert(key, column);
        }
        r.end()?;
        Ok(Self { columns, section_bytes: section.len() as u64 })
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.columns.contains_key(key)
    }

    /// Documents that have this attribute.
    pub(crate) fn present(&self, key: &str) -> Option<&RoaringBitmap> {
        self.columns.get(key).map(|column| &column.present)
    }

    /// Heap bytes without the section, approximately.
    pub(crate) fn bytes(&self) -> u64 {
        let columns = self.columns.values();
        let bitmaps = columns.flat_map(|c| [&c.present, &c.lists, &c.falses, &c.trues]);
        bitmaps.map(|b| b.serialized_size() as u64).sum::<u64>()
            + self.columns.len() as u64 * size_of::<AttributeColumn>() as u64
    }

    /// Bytes that a filter may be compared with at most.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.section_bytes
    }

    pub(crate) fn column(&self, key: &str) -> Option<&AttributeColumn> {
        self.columns.get(key)
    }
}

impl AttributeColumn {
    /// Answers a leaf by order alone; `None` for a leaf that [`AttributeColumn::tables`] answers.
    ///
    /// # Errors
    /// [`Interrupted`] when the request must end.
    pub(crate) fn ordered(&self, leaf: &Leaf) -> Result<Option<RoaringBitmap>, Interrupted> {
        let found = match leaf {
            Leaf::Exists => self.present.clone(),
            Leaf::Number(op, x) => match x.order_key() {
                Some(key) => between(&self.numbers, *op, key),
                // No number compares with NaN.
                None => RoaringBitmap::new(),
            },
            Leaf::Instant(op, t) => between(&self.instants, *op, t.order_key()),
            Leaf::Prefix(prefix) => {
                let mut found = RoaringBitmap::new();
                self.strings.prefix(prefix, &mut found)?;
                found
            }
            Leaf::In | Leaf::Contains | Leaf::Match => return Ok(None),
        };
        checkpoint(found.len())?;
        Ok(Some(found))
    }

    /// Documents for all leaves of a filter on this key that compare with values or search inside strings. Each value
    /// of the filter is looked up once, and each string of the index is read once.
    ///
    /// # Errors
    /// [`Interrupted`] when the request must end.
    pub(crate) fn tables(&self, filter: &FilterColumn) -> Result<Vec<RoaringBitmap>, Interrupted> {
        let empty = vec![RoaringBitmap::new(); filter.leaves().len()];
        let (mut found, mut members, mut substrings) = (empty.clone(), empty.clone(), empty);
        for (value, leaves) in filter.equal() {
            self.add_to_leaves(value, leaves, &mut found)?;
        }
        for (value, leaves) in filter.members() {
            self.add_to_leaves(value, leaves, &mut members)?;
        }
        // Each distinct string is matched once against all leaves that search inside strings.
        if filter.searches_strings() {
            let mut read = filter.reader();
            for at in 0..self.strings.len() {
                let mut leaf_count = 0;
                read(self.strings.get(at), &mut |leaf| {
                    if let Some(docs) = substrings.get_mut(leaf) {
                        self.strings.add(at, docs);
                        leaf_count += 1;
                    }
                })?;
                checkpoint(leaf_count * self.strings.document_count(at))?;
            }
        }
        for (((found, members), substrings), leaf) in found.iter_mut().zip(members).zip(substrings).zip(filter.leaves())
        {
            match leaf {
                // `contains` means a member in a list, and a substring in a single string.
                Leaf::Contains => *found |= (members & &self.lists) | (substrings - &self.lists),
                _ => *found |= substrings,
            }
        }
        Ok(found)
    }

    /// Adds the documents that hold a value to the results of all these leaves.
    fn add_to_leaves(
        &self,
        value: FilterValue<'_>,
        leaves: impl Iterator<Item = usize>,
        to: &mut [RoaringBitmap],
    ) -> Result<(), Interrupted> {
        let mut docs = RoaringBitmap::new();
        match value {
            FilterValue::Str(text) => self.strings.equal(text, &mut docs),
            FilterValue::Num(key) => docs = self.numbers.between(Bound::Included(key), Bound::Included(key)),
            FilterValue::Bool(b) => docs.clone_from(if b { &self.trues } else { &self.falses }),
            // Only the server's own times are compared as times here.
            FilterValue::Time(_) => {}
        }
        let mut steps = 64 + docs.len();
        if !docs.is_empty() {
            for leaf in leaves {
                if let Some(of_leaf) = to.get_mut(leaf) {
                    *of_leaf |= &docs;
                    steps += 1 + docs.len() / 16;
                }
            }
        }
        checkpoint(steps)
    }
}

/// Documents whose number compares in this way with `key`.
pub(crate) fn between(pairs: &Pairs, op: Comparison, key: PostingKey) -> RoaringBitmap {
    let (from, to) = match op {
        Comparison::Gt => (Bound::Excluded(key), Bound::Unbounded),
        Comparison::Gte => (Bound::Included(key), Bound::Unbounded),
        Comparison::Lt => (Bound::Unbounded, Bound::Excluded(key)),
        Comparison::Lte => (Bound::Unbounded, Bound::Included(key)),
    };
    pairs.between(from, to)
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
    numbers: Vec<(PostingKey, u32)>,
    instants: Vec<(PostingKey, u32)>,
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
            Scalar::Num(x) => self.numbers.extend(x.order_key().map(|key| (key, doc))),
            Scalar::Str(s) => {
                self.instants.extend(Instant::parse(s).map(|t| (t.order_key(), doc)));
                let docs = match self.strings.get_mut(s) {
                    Some(docs) => docs,
                    None => self.strings.entry(s.clone()).or_default(),
                };
                // A list may contain a value twice.
                if docs.last() != Some(&doc) {
                    docs.push(doc);
                }
            }
        }
    }
}
