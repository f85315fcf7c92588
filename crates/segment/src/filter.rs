//! Filters and audiences as bitmaps of documents.
//!
//! Promises: [`Properties::evaluate`] returns exactly the documents that `Filter::matches` accepts. Nothing is ranked
//! here, and no document is left out for speed.

mod evaluation;

use crate::{
    Error,
    attributes::{AttributeBuilder, AttributeIndex, between},
    bytes::{put_bitmap, read_bitmap},
    codec::status_code,
    container::{ContainerWriter, SectionKind, Sections},
    documents::Documents,
    postings::{Pairs, PostingKey, Strings},
};
use evaluation::Evaluation;
use kernel::{Audience, ByteReader, CompiledFilter, Document, Principal, Status, Timestamp};
use roaring::RoaringBitmap;
use std::{collections::BTreeMap, ops::Bound};

#[cfg(test)]
const STATUSES: [Status; 3] = [Status::Indexed, Status::Quarantined, Status::Pending];

/// Properties of documents other than text and vectors.
pub(crate) struct Properties {
    all: RoaringBitmap,
    attributes: AttributeIndex,
    open: RoaringBitmap,
    readers: Strings,
    status: [RoaringBitmap; 3],
    /// Times of creation, of the last update and of expiry.
    times: [Pairs; 3],
}

impl Properties {
    pub(crate) fn open(sections: &Sections) -> Result<Self, Error> {
        let n = sections.documents;
        let section = sections.get(SectionKind::Readers);
        let mut r = ByteReader::new(section.bytes(), "readers");
        let open = read_bitmap(&mut r, n)?;
        let readers = Strings::open(&mut r, &section, n)?;
        r.end()?;
        let section = sections.get(SectionKind::Status);
        let mut r = ByteReader::new(section.bytes(), "status");
        let status = [read_bitmap(&mut r, n)?, read_bitmap(&mut r, n)?, read_bitmap(&mut r, n)?];
        r.end()?;
        let section = sections.get(SectionKind::Times);
        let mut r = ByteReader::new(section.bytes(), "times");
        let mut time = || Pairs::open(&mut r, &section, n);
        let times = [time()?, time()?, time()?];
        r.end()?;
        let attributes = AttributeIndex::open(&sections.get(SectionKind::Attributes), n)?;
        let mut all = RoaringBitmap::new();
        all.insert_range(0..n);
        Ok(Self { all, attributes, open, readers, status, times })
    }

    pub(crate) fn has_attribute(&self, key: &str) -> bool {
        self.attributes.has(key)
    }

    pub(crate) fn with_status(&self, status: Status) -> RoaringBitmap {
        self.status[usize::from(status_code(status))].clone()
    }

    /// Documents that have expired.
    pub(crate) fn expired(&self, now: Timestamp) -> RoaringBitmap {
        self.times[2].between(Bound::Unbounded, Bound::Included(now.order_key()))
    }

    /// The next expiry of a document after `now`.
    pub(crate) fn next_expiry(&self, now: Timestamp) -> Option<Timestamp> {
        self.times[2].above(now.order_key()).map(Timestamp::from_order_key)
    }

    pub(crate) fn visible(&self, audience: &Audience) -> RoaringBitmap {
        match audience {
            Audience::Everything => self.all.clone(),
            Audience::Principals(principals) => self.read_by(principals, self.open.clone()),
            Audience::Named(principals) => self.read_by(principals, RoaringBitmap::new()),
        }
    }

    /// Adds the documents that name one of these principals as a reader to `documents`.
    fn read_by(&self, principals: &[Principal], mut documents: RoaringBitmap) -> RoaringBitmap {
        principals.iter().for_each(|p| self.readers.equal(p.as_str(), &mut documents));
        documents
    }

    pub(crate) fn evaluate(&self, filter: &CompiledFilter, documents: &Documents) -> Result<RoaringBitmap, Error> {
        Evaluation::new(self, documents, filter).node(filter.root())
    }

    /// Whether one of `docs` has this attribute.
    pub(crate) fn holds_attribute(&self, key: &str, docs: &RoaringBitmap) -> bool {
        self.attributes.present(key).is_some_and(|present| !present.is_disjoint(docs))
    }

    /// Bytes that a filter on attributes may be compared with at most.
    pub(crate) fn attribute_bytes(&self) -> u64 {
        self.attributes.read_bytes()
    }

    /// Heap bytes without the sections, approximately.
    pub(crate) fn bytes(&self) -> u64 {
        let bitmaps = self.status.iter().chain([&self.all, &self.open]);
        bitmaps.map(|b| b.serialized_size() as u64).sum::<u64>() + self.attributes.bytes()
    }
}

/// Collects properties while a segment is built.
#[derive(Default)]
pub(crate) struct PropertyBuilder {
    attributes: AttributeBuilder,
    open: RoaringBitmap,
    readers: BTreeMap<String, Vec<u32>>,
    status: [RoaringBitmap; 3],
    times: [Vec<(PostingKey, u32)>; 3],
}

impl PropertyBuilder {
    pub(crate) fn add(&mut self, n: u32, doc: &Document) {
        self.attributes.add(n, &doc.attributes);
        match &doc.readers {
            None => drop(self.open.insert(n)),
            Some(readers) => {
                for reader in readers {
                    let docs = self.readers.entry(reader.as_str().to_owned()).or_default();
                    if docs.last() != Some(&n) {
                        docs.push(n);
                    }
                }
            }
        }
        self.status[usize::from(status_code(doc.status))].insert(n);
        self.times[0].push((doc.created_at.order_key(), n));
        self.times[1].push((doc.updated_at.order_key(), n));
        self.times[2].extend(doc.expires_at.map(|t| (t.order_key(), n)));
    }

    pub(crate) fn finish(self, out: &mut ContainerWriter) {
        self.attributes.finish(out.part(SectionKind::Attributes));
        let part = out.part(SectionKind::Readers);
        put_bitmap(part, &self.open);
        Strings::write(part, &self.readers);
        let part = out.part(SectionKind::Status);
        self.status.iter().for_each(|b| put_bitmap(part, b));
        let part = out.part(SectionKind::Times);
        self.times.into_iter().for_each(|list| Pairs::write(part, list));
    }
}

#[cfg(test)]
mod tests;
