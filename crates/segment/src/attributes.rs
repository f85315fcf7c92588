//! The index of attributes: per key who has it, who has a list, and the values by type.
//!
//! Answers the leaves of a filter with a bitmap of documents. [`kernel::Filter::matches`] defines
//! the meaning; a property test compares.

use crate::{
    Error,
    bytes::{Reader, Slice, put_bitmap, put_size, put_str},
    postings::{Key, Pairs, Strings},
};
use kernel::{
    AttrValue, Attributes, Column as Asked, Comparison, Instant, Interrupted, Leaf, Scalar, Wanted, checkpoint,
};
use roaring::RoaringBitmap;
use std::{collections::BTreeMap, ops::Bound};

/// One key's values, by type.
pub(crate) struct Column {
    present: RoaringBitmap,
    lists: RoaringBitmap,
    falses: RoaringBitmap,
    trues: RoaringBitmap,
    /// By [`kernel::Number::order_key`].
    numbers: Pairs,
    /// Strings that are RFC 3339 times, by [`Instant::order_key`].
    instants: Pairs,
    strings: Strings,
}

/// All keys of a segment.
pub(crate) struct AttributeIndex {
    columns: BTreeMap<String, Column>,
    /// Of the section that it is read from.
    section_bytes: u64,
}

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
        Ok(Self { columns, section_bytes: section.len() as u64 })
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.columns.contains_key(key)
    }

    /// Documents that have it.
    pub(crate) fn present(&self, key: &str) -> Option<&RoaringBitmap> {
        self.columns.get(key).map(|column| &column.present)
    }

    /// Heap bytes beside the section, roughly.
    pub(crate) fn bytes(&self) -> u64 {
        let columns = self.columns.values();
        let bitmaps = columns.flat_map(|c| [&c.present, &c.lists, &c.falses, &c.trues]);
        bitmaps.map(|b| b.serialized_size() as u64).sum::<u64>()
            + self.columns.len() as u64 * size_of::<Column>() as u64
    }

    /// All bytes that a filter can be compared with.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.section_bytes
    }

    pub(crate) fn column(&self, key: &str) -> Option<&Column> {
        self.columns.get(key)
    }
}

impl Column {
    /// A leaf that is answered by order alone; `None` for one of [`Column::tables`].
    ///
    /// # Errors
    /// The request's work is to end.
    pub(crate) fn ordered(&self, leaf: &Leaf) -> Result<Option<RoaringBitmap>, Interrupted> {
        let found = match leaf {
            Leaf::Exists => self.present.clone(),
            Leaf::Number(op, x) => match x.order_key() {
                Some(key) => between(&self.numbers, *op, key),
                // Nothing orders against NaN.
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

    /// Documents for all leaves of a filter on this key that ask for values, or look inside of strings: each value that
    /// is asked for is looked up once, and each string is read once.
    ///
    /// # Errors
    /// The request's work is to end.
    pub(crate) fn tables(&self, asked: &Asked) -> Result<Vec<RoaringBitmap>, Interrupted> {
        let empty = vec![RoaringBitmap::new(); asked.leaves().len()];
        let (mut found, mut listed, mut inside) = (empty.clone(), empty.clone(), empty);
        for (wanted, leaves) in asked.equal() {
            self.give(wanted, leaves, &mut found)?;
        }
        for (wanted, leaves) in asked.members() {
            self.give(wanted, leaves, &mut listed)?;
        }
        if asked.looks_inside() {
            let mut read = asked.reader();
            for at in 0..self.strings.len() {
                let mut met = 0;
                read(self.strings.get(at), &mut |leaf| {
                    if let Some(docs) = inside.get_mut(leaf) {
                        self.strings.add(at, docs);
                        met += 1;
                    }
                })?;
                checkpoint(met * self.strings.holders(at))?;
            }
        }
        for (((found, listed), inside), leaf) in found.iter_mut().zip(listed).zip(inside).zip(asked.leaves()) {
            match leaf {
                // In a list a member, alone a substring.
                Leaf::Contains => *found |= (listed & &self.lists) | (inside - &self.lists),
                _ => *found |= inside,
            }
        }
        Ok(found)
    }

    /// Gives the documents that hold a value to all these leaves.
    fn give(
        &self,
        wanted: Wanted<'_>,
        leaves: impl Iterator<Item = usize>,
        to: &mut [RoaringBitmap],
    ) -> Result<(), Interrupted> {
        let mut docs = RoaringBitmap::new();
        match wanted {
            Wanted::Str(text) => self.strings.equal(text, &mut docs),
            Wanted::Num(key) => docs = self.numbers.between(Bound::Included(key), Bound::Included(key)),
            Wanted::Bool(b) => docs.clone_from(if b { &self.trues } else { &self.falses }),
            // Of the server's own times only.
            Wanted::Time(_) => {}
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

/// Documents with a number that lies so beside this one.
pub(crate) fn between(pairs: &Pairs, op: Comparison, key: Key) -> RoaringBitmap {
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
    numbers: Vec<(Key, u32)>,
    instants: Vec<(Key, u32)>,
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
                // A list may name a value twice.
                if docs.last() != Some(&doc) {
                    docs.push(doc);
                }
            }
        }
    }
}
