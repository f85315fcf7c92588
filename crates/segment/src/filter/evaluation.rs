//! Evaluates one filter over one segment: leaves become bitmaps, which are combined.
//!
//! Leaves on one field that compare with values or search inside strings are answered together when the first of them
//! is reached: each value is looked up, and each string or document is read, once for all of them.

use super::{Properties, between};
use crate::{Error, documents::Documents};
use kernel::{
    Attributes, Column, CompiledFilter, DocumentId, Field, FilterValue, Interrupted, Leaf, Matcher, Node, Status,
    Timestamp, checkpoint,
};
use roaring::RoaringBitmap;
use std::ops::Bound;

/// Evaluation of one filter over one segment.
pub(super) struct Evaluation<'a> {
    properties: &'a Properties,
    documents: &'a Documents,
    filter: &'a CompiledFilter,
    matcher: Matcher<'a>,
    /// For each column, the documents of each leaf, once they are known.
    tables: Vec<Option<Vec<RoaringBitmap>>>,
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(properties: &'a Properties, documents: &'a Documents, filter: &'a CompiledFilter) -> Self {
        let tables = filter.columns().iter().map(|_| None).collect();
        Self { properties, documents, filter, matcher: filter.matcher(), tables }
    }

    pub(super) fn node(&mut self, node: &Node) -> Result<RoaringBitmap, Error> {
        checkpoint(u64::from(self.documents.count) / 64)?;
        Ok(match node {
            Node::And(list) => {
                let mut found = self.properties.all.clone();
                for part in list {
                    // The remaining conditions cannot add documents.
                    if found.is_empty() {
                        break;
                    }
                    found &= self.node(part)?;
                }
                found
            }
            Node::Or(list) => {
                let mut found = RoaringBitmap::new();
                for part in list {
                    found |= self.node(part)?;
                }
                found
            }
            Node::Not(inner) => &self.properties.all - self.node(inner)?,
            Node::Leaf { column, leaf } => self.leaf(*column, *leaf)?,
        })
    }

    fn leaf(&mut self, column: usize, leaf: usize) -> Result<RoaringBitmap, Error> {
        let filter = self.filter;
        let Some(of) = filter.columns().get(column) else { return Ok(RoaringBitmap::new()) };
        if let Some(found) = of.leaves().get(leaf).map(|leaf| self.by_order(of.field(), leaf)).transpose()?.flatten() {
            return Ok(found);
        }
        // The first such leaf of a column computes the results of all of them.
        if self.tables.get(column).is_some_and(Option::is_none) {
            let table = self.table(column, of)?;
            self.tables[column] = Some(table);
        }
        let table = self.tables.get(column).and_then(Option::as_ref);
        Ok(table.and_then(|table| table.get(leaf)).cloned().unwrap_or_default())
    }

    /// Answers a leaf without reading strings or documents, if that is possible.
    fn by_order(&self, field: &Field, leaf: &Leaf) -> Result<Option<RoaringBitmap>, Interrupted> {
        let properties = self.properties;
        let times = match field {
            Field::Attribute(key) => {
                let column = properties.attributes.column(key);
                return column.map_or(Ok(Some(RoaringBitmap::new())), |column| column.ordered(leaf));
            }
            Field::Id => {
                return Ok(match leaf {
                    Leaf::Exists => Some(properties.all.clone()),
                    Leaf::Prefix(prefix) => Some(self.documents.ids_from(prefix, |id| id.starts_with(prefix.as_str()))),
                    _ => None,
                });
            }
            Field::Status | Field::Uri => return Ok(None),
            Field::CreatedAt => &properties.times[0],
            Field::UpdatedAt => &properties.times[1],
            Field::ExpiresAt => &properties.times[2],
        };
        Ok(match leaf {
            Leaf::Exists => Some(times.between(Bound::Unbounded, Bound::Unbounded)),
            Leaf::Number(..) => Some(RoaringBitmap::new()),
            Leaf::Instant(op, t) => Some(between(times, *op, t.order_key()) - self.unrepresentable(field)),
            _ => None,
        })
    }

    /// Documents whose value cannot be written as an RFC 3339 time, and which therefore match no instant.
    fn unrepresentable(&self, field: &Field) -> RoaringBitmap {
        let times = match field {
            Field::CreatedAt => &self.properties.times[0],
            Field::UpdatedAt => &self.properties.times[1],
            _ => &self.properties.times[2],
        };
        let (first, last) = Timestamp::SAYABLE;
        times.between(Bound::Unbounded, Bound::Excluded(first.order_key()))
            | times.between(Bound::Excluded(last.order_key()), Bound::Unbounded)
    }

    /// The documents of all leaves of a column.
    fn table(&mut self, number: usize, column: &Column) -> Result<Vec<RoaringBitmap>, Error> {
        match column.field() {
            Field::Attribute(key) => match self.properties.attributes.column(key) {
                Some(values) => Ok(values.tables(column)?),
                None => Ok(vec![RoaringBitmap::new(); column.leaves().len()]),
            },
            Field::Status => Ok(self.by_status(number, column)?),
            Field::Id => Ok(self.by_id(column)?),
            Field::CreatedAt | Field::UpdatedAt | Field::ExpiresAt if is_by_value(column) => Ok(self.by_time(column)?),
            _ => self.by_document(number, column),
        }
    }

    /// Evaluates the leaves once per status.
    fn by_status(&mut self, number: usize, column: &Column) -> Result<Vec<RoaringBitmap>, Interrupted> {
        let (attributes, zero) = (Attributes::new(), Timestamp::default());
        let mut found = vec![RoaringBitmap::new(); column.leaves().len()];
        for status in [Status::Indexed, Status::Quarantined, Status::Pending] {
            let view = kernel::DocumentView {
                id: "",
                uri: "",
                status,
                created_at: zero,
                updated_at: zero,
                expires_at: None,
                attributes: &attributes,
            };
            let docs = self.properties.with_status(status);
            self.matcher.leaves(number, &view, |leaf| {
                if let Some(found) = found.get_mut(leaf) {
                    *found |= &docs;
                }
            })?;
        }
        Ok(found)
    }

    fn by_id(&self, column: &Column) -> Result<Vec<RoaringBitmap>, Interrupted> {
        let mut found = vec![RoaringBitmap::new(); column.leaves().len()];
        for (value, leaves) in column.equal() {
            let FilterValue::Str(id) = value else { continue };
            checkpoint(id.len() as u64 + 64)?;
            let docs = self.documents.ids_from(id, |other| other == id);
            leaves.for_each(|leaf| found[leaf] |= &docs);
        }
        if column.searches_strings() {
            let mut read = column.reader();
            for doc in 0..self.documents.count {
                // Without the disambiguator, which filters do not see.
                let id = self.documents.id(doc).map_or("", DocumentId::id_in);
                read(id, &mut |leaf| {
                    found[leaf].insert(doc);
                })?;
            }
        }
        Ok(found)
    }

    /// Answers equality on a field of times by their order.
    fn by_time(&self, column: &Column) -> Result<Vec<RoaringBitmap>, Interrupted> {
        let mut found = vec![RoaringBitmap::new(); column.leaves().len()];
        let times = match column.field() {
            Field::CreatedAt => &self.properties.times[0],
            Field::UpdatedAt => &self.properties.times[1],
            _ => &self.properties.times[2],
        };
        let unrepresentable = self.unrepresentable(column.field());
        for (value, leaves) in column.equal() {
            let FilterValue::Time(t) = value else { continue };
            let docs = times.between(Bound::Included(t.order_key()), Bound::Included(t.order_key())) - &unrepresentable;
            checkpoint(docs.len() + 64)?;
            leaves.for_each(|leaf| found[leaf] |= &docs);
        }
        Ok(found)
    }

    /// Evaluates the leaves on every document. For `uri` and for spellings of times.
    fn by_document(&mut self, number: usize, column: &Column) -> Result<Vec<RoaringBitmap>, Error> {
        let (documents, matcher) = (self.documents, &mut self.matcher);
        let mut found = vec![RoaringBitmap::new(); column.leaves().len()];
        documents.will_read_heads(0..documents.count);
        for doc in 0..documents.count {
            let add = |leaf: usize| {
                if let Some(found) = found.get_mut(leaf) {
                    found.insert(doc);
                }
            };
            documents.peek(doc, |view| matcher.leaves(number, view, add))??;
        }
        Ok(found)
    }
}

/// Whether all leaves that a table answers compare with values.
fn is_by_value(column: &Column) -> bool {
    !column.leaves().iter().any(|leaf| matches!(leaf, Leaf::Contains | Leaf::Prefix(_) | Leaf::Match))
}
