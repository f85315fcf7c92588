//! [`WriteBuffer`]: documents that were just written, kept as they came and searchable all the same.
//!
//! It adds almost nothing to the cost of a write: ids are sorted and nothing else is built. Ids, heads, filters and
//! readers are answered from the documents themselves. The first search by words or vectors builds the index of an
//! in-memory segment over them, once, so that a write buffer ranks exactly as every other segment does. Promises: its
//! documents can be indexed, because [`WriteBuffer::new`] accepts none that [`check`] refuses. Its content is wiped
//! when the last holder drops it.

use crate::{Error, Extent, Segment, Spec, codec::Sizes, vectors};
use kernel::{Audience, CompiledFilter, Document, DocumentId, DocumentView, Status, Timestamp, checkpoint, limits};
use roaring::RoaringBitmap;
use std::{
    borrow::Borrow,
    collections::HashSet,
    sync::{Arc, OnceLock},
};
use zeroize::Zeroize;

/// A document that is wiped with its last reference, and its sizes.
struct StoredDocument(Document, Sizes);

impl StoredDocument {
    fn of(doc: Document, dimensions: usize, scratch: &mut Vec<u8>) -> Self {
        let sizes = Sizes::of(&doc, dimensions, scratch);
        Self(doc, sizes)
    }

    /// Approximate bytes of the document in a written segment: its content, then its terms, the values of its
    /// attributes and its readers once more, two codes per value, and tables. Never less than its heap bytes here,
    /// because those are what a flush frees.
    fn bytes(&self) -> u64 {
        let Self(doc, sizes) = self;
        let tables = 48 * doc.passages.len() as u64 + 512;
        (2 * sizes.head + 2 * sizes.text + sizes.vectors + sizes.vectors / 2 + tables).max(doc.heap_bytes())
    }
}

impl Drop for StoredDocument {
    fn drop(&mut self) {
        for text in [&mut self.0.title, &mut self.0.uri, &mut self.0.text] {
            let mut text = std::mem::take(text).into_exposed();
            text.zeroize();
        }
        self.0.vectors.zeroize();
    }
}

/// Whether a segment could index this document.
///
/// # Errors
/// A vector of the wrong length or with a value that is not finite; too many passages.
pub fn check(spec: &Spec, doc: &Document) -> Result<(), Error> {
    let expected = spec.dimensions.saturating_mul(doc.passages.len());
    if !doc.vectors.is_empty() && doc.vectors.len() != expected {
        return Err(Error::VectorLength { document: 0, expected, found: doc.vectors.len() });
    }
    if doc.passages.len() > limits::SEGMENT_ROWS_MAX as usize {
        return Err(Error::TooLarge { what: "documents and rows", limit: limits::SEGMENT_ROWS_MAX.into() });
    }
    let finite = |vector: &[f32]| vectors::squared(vector).is_finite();
    if spec.dimensions > 0 && !doc.vectors.chunks(spec.dimensions).all(finite) {
        return Err(Error::VectorValue { document: 0 });
    }
    Ok(())
}

/// Documents that are not yet in a written segment, ordered by id; each id occurs once.
pub struct WriteBuffer {
    spec: Spec,
    docs: Vec<Arc<StoredDocument>>,
    /// First row of each document, and the number of all rows.
    rows: Vec<u32>,
    /// Whether every document has one row.
    single: bool,
    /// See [`WriteBuffer::bytes`].
    bytes: u64,
    /// Heap bytes of the documents.
    heap: u64,
    extent: Extent,
    index: OnceLock<Segment>,
}

impl std::fmt::Debug for WriteBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriteBuffer").field("documents", &self.documents()).field("rows", &self.rows()).finish()
    }
}

impl WriteBuffer {
    /// Creates a write buffer of documents with distinct ids that [`check`] accepts for `spec`.
    ///
    /// # Errors
    /// As [`check`]; too many rows.
    pub fn new(spec: &Spec, docs: Vec<Document>) -> Result<WriteBuffer, Error> {
        docs.iter().try_for_each(|doc| check(spec, doc))?;
        let mut scratch = zeroize::Zeroizing::new(Vec::new());
        let kept =
            docs.into_iter().map(|doc| Arc::new(StoredDocument::of(doc, spec.dimensions, &mut scratch))).collect();
        Self::of(*spec, kept)
    }

    /// Merges the live documents of several write buffers, which have the same `spec` and no id in common. Nothing is
    /// copied.
    ///
    /// # Errors
    /// Too many rows.
    pub fn joined<'a>(
        spec: &Spec,
        write_buffers: impl IntoIterator<Item = (&'a WriteBuffer, &'a RoaringBitmap)>,
    ) -> Result<WriteBuffer, Error> {
        let mut docs = Vec::new();
        for (write_buffer, deleted) in write_buffers {
            let live = (0..).zip(&write_buffer.docs).filter(|(n, _)| !deleted.contains(*n));
            docs.extend(live.map(|(_, doc)| doc.clone()));
        }
        Self::of(*spec, docs)
    }

    fn of(spec: Spec, mut docs: Vec<Arc<StoredDocument>>) -> Result<WriteBuffer, Error> {
        docs.sort_by(|a, b| a.0.id.cmp(&b.0.id));
        // First rows, sizes and extents are summed in one pass, so that later calls only read them.
        let mut rows = Vec::with_capacity(docs.len() + 1);
        let (mut next, mut bytes, mut heap, mut extent) = (0u32, 0, 0, Extent::default());
        for doc in &docs {
            let (heads, texts, rows_here) = (doc.1.head, doc.1.text, doc.0.passages.len() as u64);
            let one = Extent { documents: 1, rows: rows_here, attributes: heads, ..Extent::default() };
            extent += Extent { heads, texts, head_max: heads, text_max: texts, ..one };
            rows.push(next);
            let passages = u32::try_from(doc.0.passages.len()).unwrap_or(u32::MAX);
            next = next
                .checked_add(passages)
                .filter(|n| *n <= limits::SEGMENT_ROWS_MAX)
                .ok_or(Error::TooLarge { what: "documents and rows", limit: limits::SEGMENT_ROWS_MAX.into() })?;
            bytes += doc.bytes();
            heap += doc.0.heap_bytes() + WRITE_BUFFER_ENTRY;
        }
        rows.push(next);
        let single = docs.iter().all(|doc| doc.0.passages.len() == 1);
        Ok(WriteBuffer { spec, docs, rows, single, bytes, heap, extent, index: OnceLock::new() })
    }

    /// The same documents as an indexed segment in memory.
    ///
    /// # Errors
    /// None for documents that passed [`check`].
    pub fn build(&self) -> Result<Segment, Error> {
        Segment::in_memory_of(&self.spec, self.docs.iter().map(|doc| &doc.0))
    }

    /// The index; the first caller builds it.
    ///
    /// # Panics
    /// Never for documents that passed [`check`], and a write buffer holds no others.
    pub fn indexed(&self) -> &Segment {
        self.index.get_or_init(|| self.build().expect("every document was checked before it came here"))
    }

    /// Whether the index was built.
    pub fn is_indexed(&self) -> bool {
        self.index.get().is_some()
    }

    /// Number of documents.
    pub fn documents(&self) -> u32 {
        self.docs.len() as u32
    }

    /// Number of rows.
    pub fn rows(&self) -> u32 {
        self.rows.last().copied().unwrap_or(0)
    }

    /// Approximate bytes of the documents in a written segment; flushes are decided by this.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Heap bytes, approximately: the documents, and their index once it was built.
    pub fn resident(&self) -> u64 {
        self.heap + self.index.get().map_or(0, Segment::bytes)
    }

    /// Sizes of a document; zeros when there is no such document.
    pub fn sizes(&self, doc: u32) -> Sizes {
        self.docs.get(doc as usize).map(|kept| kept.1).unwrap_or_default()
    }

    /// The documents with this id, ordered by key. `O(log n)`.
    pub fn find_all(&self, id: &DocumentId) -> Vec<u32> {
        let start = self.docs.partition_point(|doc| doc.0.id.as_str() < id.as_str());
        let same_id = self.docs.iter().skip(start).take_while(|doc| doc.0.id.as_str() == id.as_str());
        (start as u32..).zip(same_id).map(|(at, _)| at).collect()
    }

    /// The document with this key. `O(log n)`.
    pub fn find(&self, id: &DocumentId) -> Option<u32> {
        self.docs.binary_search_by(|doc| doc.0.id.cmp(id)).ok().map(|at| at as u32)
    }

    /// A whole document, borrowed.
    ///
    /// # Errors
    /// [`Error::NoDocument`].
    pub fn kept(&self, doc: u32) -> Result<&Document, Error> {
        self.get(doc).ok_or(Error::NoDocument(doc))
    }

    /// A whole document; its vectors are included only if `vectors` is set.
    ///
    /// # Errors
    /// [`Error::NoDocument`].
    pub fn document(&self, doc: u32, vectors: bool) -> Result<Document, Error> {
        let kept = self.get(doc).ok_or(Error::NoDocument(doc))?;
        let mut document = kept.without_body();
        document.text = kept.text.clone();
        if vectors {
            document.vectors.clone_from(&kept.vectors);
        }
        Ok(document)
    }

    /// A document without text and vectors.
    ///
    /// # Errors
    /// [`Error::NoDocument`].
    pub fn head(&self, doc: u32) -> Result<Document, Error> {
        checkpoint(self.sizes(doc).head)?;
        Ok(self.get(doc).ok_or(Error::NoDocument(doc))?.without_body())
    }

    /// The document of a row, and the number of the passage within it.
    pub fn row(&self, row: u32) -> Option<(u32, u32)> {
        let doc = self.rows.partition_point(|first| *first <= row).checked_sub(1)?;
        (row < self.rows()).then_some((doc as u32, row - self.rows.get(doc)?))
    }

    /// The rows of these documents.
    pub fn rows_of(&self, docs: &RoaringBitmap) -> RoaringBitmap {
        let mut rows = RoaringBitmap::new();
        if self.single {
            rows.clone_from(docs);
            rows.remove_range(self.rows()..);
            return rows;
        }
        for doc in docs {
            let at = doc as usize;
            if let (Some(from), Some(to)) = (self.rows.get(at), self.rows.get(at + 1)) {
                rows.insert_range(*from..*to);
            }
        }
        rows
    }

    /// Upper bounds of what reading this write buffer may cost.
    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// The documents that a filter accepts: from the index, which numbers them alike, or one by one while there is
    /// none.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn evaluate(&self, filter: &CompiledFilter) -> Result<RoaringBitmap, Error> {
        if let Some(index) = self.index.get() {
            return index.evaluate(filter);
        }
        let (mut matcher, mut found) = (filter.matcher(), Vec::new());
        for (n, doc) in (0..).zip(&self.docs) {
            if matcher.matches(&view(&doc.0))? {
                found.push(n);
            }
        }
        Ok(found.into_iter().collect())
    }

    /// The documents that this audience may see.
    pub fn visible(&self, audience: &Audience) -> RoaringBitmap {
        if let Some(index) = self.index.get() {
            return index.visible(audience);
        }
        let (mine, open) = match audience {
            Audience::Everything => return self.filter_documents(|_| true),
            Audience::Principals(mine) => (mine, true),
            Audience::Named(mine) => (mine, false),
        };
        // Hashed once, because a document may name as many readers as a key has principals.
        let mine: HashSet<&str> = mine.iter().map(|principal| principal.as_str()).collect();
        self.filter_documents(|doc| match &doc.readers {
            None => open,
            Some(readers) => readers.iter().any(|reader| mine.contains(reader.as_str())),
        })
    }

    /// The documents with this status.
    pub fn with_status(&self, status: Status) -> RoaringBitmap {
        self.filter_documents(|doc| doc.status == status)
    }

    /// The documents that have expired.
    pub fn expired(&self, now: Timestamp) -> RoaringBitmap {
        self.filter_documents(|doc| doc.expires_at.is_some_and(|at| at <= now))
    }

    /// The next time at which the result of [`WriteBuffer::expired`] differs from its result at `now`, if any.
    pub fn next_expiry(&self, now: Timestamp) -> Option<Timestamp> {
        self.docs.iter().filter_map(|doc| doc.0.expires_at).filter(|at| *at > now).min()
    }

    /// Whether any document has this attribute.
    pub fn has_attribute(&self, key: &str) -> bool {
        if let Some(index) = self.index.get() {
            return index.has_attribute(key);
        }
        self.docs.iter().any(|doc| doc.0.attributes.contains_key(key))
    }

    /// Removes from `keys` the attributes that at least one of `docs` has.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn retain_missing_attributes(&self, keys: &mut Vec<&str>, docs: &RoaringBitmap) -> Result<(), Error> {
        let mut unknown: HashSet<&str> = keys.iter().copied().collect();
        for doc in docs {
            if unknown.is_empty() {
                break;
            }
            let attributes = self.get(doc).map(|doc| &doc.attributes);
            for key in attributes.into_iter().flat_map(|attributes| attributes.keys()) {
                unknown.remove::<str>(key.borrow());
                checkpoint(key.len() as u64)?;
            }
        }
        keys.retain(|key| unknown.contains(key));
        Ok(())
    }

    fn get(&self, doc: u32) -> Option<&Document> {
        self.docs.get(doc as usize).map(|kept| &kept.0)
    }

    fn filter_documents(&self, accepts: impl Fn(&Document) -> bool) -> RoaringBitmap {
        let mut found = RoaringBitmap::new();
        // Documents ascend: appending is cheaper than inserting.
        found.extend((0..).zip(&self.docs).filter(|(_, doc)| accepts(&doc.0)).map(|(n, _)| n));
        found
    }
}

/// Bytes that a write buffer holds per document in addition to it: a pointer, counts, its sizes, its first row.
const WRITE_BUFFER_ENTRY: u64 = 64;

fn view(doc: &Document) -> DocumentView<'_> {
    DocumentView {
        id: doc.id.as_str(),
        uri: doc.uri.expose(),
        status: doc.status,
        created_at: doc.created_at,
        updated_at: doc.updated_at,
        expires_at: doc.expires_at,
        attributes: &doc.attributes,
    }
}

#[cfg(test)]
mod tests;
