//! [`Segment`]: the interface of an index, in memory or opened, for the layers above.

use crate::{
    Error, Expansion, TextLengths, TextQuery, TextStats,
    build::{self, Builder, GraphMode, GraphSource, StopFlag},
    bytes::{Slice, read_bitmap},
    codec::Sizes,
    container::{self, PagedKind, SectionKind},
    documents::Documents,
    filter::Properties,
    graph::Graph,
    pages::Section,
    text::{
        Postings, Text,
        frozen::{FrozenIndex, FrozenWriter},
        memory::MemoryIndex,
    },
    top::Scored,
    vectors::{Planner, VectorSearchResult, Vectors},
};
use kernel::{
    Audience, ByteReader, CompiledFilter, Distance, Document, DocumentId, Language, Plaintext, ReadAt, Status,
    Timestamp, Untrusted, limits,
};
use roaring::RoaringBitmap;
use std::{borrow::Cow, ops::Range, sync::Arc};
use zeroize::Zeroizing;

/// The vectors that a segment holds, and the language of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Values per vector; 0 when the segment has no vectors.
    pub dimensions: usize,
    /// Distance by which vectors are compared.
    pub distance: Distance,
    /// Language whose rules reduce words to terms.
    pub language: Language,
}

impl Spec {
    /// A spec for English text.
    pub const fn new(dimensions: usize, distance: Distance) -> Self {
        Self { dimensions, distance, language: Language::English }
    }
}

/// Upper bounds of what reading may touch, in bytes unless a field says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Number of documents.
    pub documents: u64,
    /// Number of rows.
    pub rows: u64,
    /// Bytes of the attribute index, which filters are compared with.
    pub attributes: u64,
    /// Bytes of all document heads: documents without texts and vectors.
    pub heads: u64,
    /// Bytes of all texts.
    pub texts: u64,
    /// Bytes of the largest head.
    pub head_max: u64,
    /// Bytes of the longest text.
    pub text_max: u64,
}

impl std::ops::AddAssign for Extent {
    fn add_assign(&mut self, other: Self) {
        self.documents += other.documents;
        self.rows += other.rows;
        self.attributes += other.attributes;
        self.heads += other.heads;
        self.texts += other.texts;
        self.head_max = self.head_max.max(other.head_max);
        self.text_max = self.text_max.max(other.text_max);
    }
}

/// An immutable index of documents and their passages ("rows"). Documents and rows are numbered from 0 in the order in
/// which they were given; the rows of a document are adjacent.
pub struct Segment {
    documents: Documents,
    properties: Properties,
    text: Text,
    vectors: Vectors,
    /// Heap bytes without the paged part.
    bytes: u64,
    paged: Section,
    /// The bytes that [`Segment::write`] made, where all of them are in memory.
    written: Option<Slice>,
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment").field("documents", &self.documents()).field("rows", &self.rows()).finish()
    }
}

impl Segment {
    /// Indexes a commit batch in memory. This takes some microseconds per passage and builds no graph.
    ///
    /// # Errors
    /// A vector of the wrong length or with a value that is not finite; too many rows.
    pub fn in_memory(spec: &Spec, docs: Vec<Document>) -> Result<Segment, Error> {
        Self::in_memory_of(spec, docs.iter())
    }

    /// Like [`Segment::in_memory`], for documents that the caller keeps.
    pub(crate) fn in_memory_of<'a>(
        spec: &Spec,
        docs: impl IntoIterator<Item = &'a Document>,
    ) -> Result<Segment, Error> {
        let mut builder = Builder::new(spec);
        let mut index = MemoryIndex::default();
        for doc in docs {
            builder.add(doc, |number, row, _| {
                index.add(number, row);
                Ok(())
            })?;
        }
        let index = index.finish(builder.take_lexicon());
        let buffer = builder.finish(|_| Ok(()))?;
        Self::of_buffer(spec, buffer.into(), Some(index))
    }

    /// Writes a segment. The bytes are plaintext and must be sealed before they leave the process. `links` matters only
    /// when there are more than [`kernel::limits::GRAPH_ROWS_MIN`] vectors.
    ///
    /// # Errors
    /// As [`Segment::in_memory`].
    pub fn write(
        spec: &Spec,
        docs: &mut dyn Iterator<Item = Document>,
        links: GraphMode,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        Self::write_stoppable(spec, docs, links, None, &StopFlag::default())
    }

    /// Like [`Segment::write`], but `stop` can end the work when its result is no longer needed. A graph that is built
    /// ([`GraphMode::Built`]) starts from the graph of `reused` when enough of that graph's rows remain for repairing
    /// it to pay.
    ///
    /// # Errors
    /// As [`Segment::write`]; [`Error::Stopped`].
    pub fn write_stoppable(
        spec: &Spec,
        docs: &mut dyn Iterator<Item = Document>,
        links: GraphMode,
        reused: Option<&GraphSource<'_>>,
        stop: &StopFlag,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut builder = Builder::new(spec);
        let mut index = FrozenWriter::new()?;
        for doc in docs {
            builder.add(&doc, |_, row, lexicon| index.add(row, lexicon))?;
            builder.bound_lexicon();
            stop.check()?;
        }
        builder.graph(links, reused, stop)?;
        builder.finish(|out| index.finish(out))
    }

    /// Opens what [`Segment::write`] wrote. The segment keeps the bytes and wipes them when it is dropped.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Version`], or [`Error::Spec`] when it was written for another `spec`.
    pub fn open(spec: &Spec, bytes: impl Into<Plaintext>) -> Result<Segment, Error> {
        Self::of_buffer(spec, bytes.into(), None)
    }

    /// The bytes that [`Segment::open`] was given. `None` for a segment that was never written or is read in pages.
    pub fn written(&self) -> Option<&[u8]> {
        self.written.as_ref().map(Slice::bytes)
    }

    /// Offset at which the bytes of [`Segment::write`] are split: what a first search needs, which is opened whole,
    /// ends there, and what is read in pages on demand begins. Seal the two parts separately and open them with
    /// [`Segment::open_sealed`].
    ///
    /// # Errors
    /// [`Error::Corrupt`] for bytes that are no segment.
    pub fn split(bytes: &[u8]) -> Result<usize, Error> {
        container::paged_offset(bytes).ok_or_else(|| Error::corrupt("segment header", 0))
    }

    /// Opens a segment of which only the first part ([`Segment::split`]) has been read: about 600 bytes per row at 384
    /// dimensions. Searches and fetches then read pages from `paged`, which must itself detect altered bytes. When
    /// `paged` is at most `resident` bytes ([`limits::RESIDENT_PAGES_BYTES_MAX`] in the product), it is read at once.
    /// Opening also reads the dictionary of the text index.
    ///
    /// # Errors
    /// As [`Segment::open`]; [`Error::Unreadable`] for errors of the source.
    pub fn open_sealed(spec: &Spec, whole: Plaintext, paged: Arc<dyn ReadAt>, resident: u64) -> Result<Segment, Error> {
        Self::open_paged(spec, whole, paged, resident, &mut |_| ())
    }

    /// [`Segment::open_sealed`] as the product calls it; `stage` is told the name of each step after it ends. For
    /// benchmarks.
    ///
    /// # Errors
    /// As [`Segment::open_sealed`].
    #[doc(hidden)]
    pub fn open_with_stages(
        spec: &Spec,
        whole: Plaintext,
        paged: Arc<dyn ReadAt>,
        stage: &mut dyn FnMut(&'static str),
    ) -> Result<Segment, Error> {
        Self::open_paged(spec, whole, paged, limits::RESIDENT_PAGES_BYTES_MAX, stage)
    }

    fn open_paged(
        spec: &Spec,
        whole: Plaintext,
        paged: Arc<dyn ReadAt>,
        resident: u64,
        stage: &mut dyn FnMut(&'static str),
    ) -> Result<Segment, Error> {
        let paged = Section::open(paged, resident)?;
        stage("paged part, where it is small");
        Self::assemble(spec, Slice::whole(whole), paged, None, stage)
    }

    fn of_buffer(spec: &Spec, buffer: Plaintext, memory: Option<MemoryIndex>) -> Result<Segment, Error> {
        let paged_offset = Self::split(&buffer)?;
        let buffer = Slice::whole(buffer);
        let written = memory.is_none().then(|| buffer.clone());
        let parts = buffer.sub(0..paged_offset).zip(buffer.sub(paged_offset..buffer.len()));
        let (whole, paged) = parts.ok_or_else(|| Error::corrupt("segment header", 0))?;
        let segment = Self::assemble(spec, whole, Section::Memory(paged), memory, &mut |_| ())?;
        Ok(Self { written, ..segment })
    }

    fn assemble(
        spec: &Spec,
        whole: Slice,
        paged: Section,
        memory: Option<MemoryIndex>,
        stage: &mut dyn FnMut(&'static str),
    ) -> Result<Segment, Error> {
        let sections = container::parse(spec, &whole, &paged)?;
        stage("container, checksum");
        let part = sections.get(SectionKind::Vectored);
        let mut r = ByteReader::new(part.bytes(), "vectored rows");
        let vectored = read_bitmap(&mut r, sections.rows)?;
        r.end()?;
        let documents = Documents::open(&sections, spec.dimensions, vectored)?;
        stage("documents, ids");
        let norms = sections.get(SectionKind::Norms);
        if norms.len() != sections.rows as usize * 2 {
            return Err(Error::corrupt("norms", 0));
        }
        // A segment in memory keeps the index that was built with it; others open the written one.
        let postings = match memory {
            Some(index) => Postings::Memory(index),
            None => {
                let index = sections.paged(PagedKind::TextIndex);
                Postings::Frozen(Box::new(FrozenIndex::open(
                    &sections.get(SectionKind::TextFiles),
                    &index,
                    sections.rows,
                )?))
            }
        };
        stage("text index");
        let properties = Properties::open(&sections)?;
        stage("attributes, readers, times");
        let vectors = Vectors::open(spec, &sections)?;
        stage("vectors, graph");
        let bitmap = documents.vectored.serialized_size() as u64;
        let bytes = whole.len() as u64 + postings.bytes() + properties.bytes() + vectors.bytes() + bitmap;
        Ok(Self { properties, vectors, bytes, paged, text: Text { postings, norms }, documents, written: None })
    }

    /// Number of documents.
    pub fn documents(&self) -> u32 {
        self.documents.count
    }

    /// Number of rows.
    pub fn rows(&self) -> u32 {
        self.documents.rows
    }

    /// Heap bytes, approximately. A paged segment counts the pages that it holds at the moment.
    pub fn bytes(&self) -> u64 {
        self.bytes + self.paged.resident()
    }

    /// Whether the whole segment is in memory, so that no request waits for a disk or a bucket.
    pub fn is_resident(&self) -> bool {
        matches!(self.paged, Section::Memory(_))
    }

    /// Whether it has too many vectors for a scan to be good enough, and no graph over them ([`GraphMode::Deferred`]).
    pub fn lacks_graph(&self) -> bool {
        !self.vectors.has_graph() && build::takes_graph(self.documents.vectored.len(), self.vectors.dimensions())
    }

    /// Whether it has a graph over its vectors.
    pub fn has_graph(&self) -> bool {
        self.vectors.has_graph()
    }

    pub(crate) fn graph(&self) -> Option<&Graph> {
        self.vectors.graph()
    }

    /// Row of this passage of a document, if it has a vector.
    pub(crate) fn linked_row(&self, doc: u32, passage: u32) -> Option<u32> {
        let row = self.documents.rows_of(doc).nth(passage as usize)?;
        self.documents.vectored.contains(row).then_some(row)
    }

    /// Sizes of a stored document, read from tables; zeros when there is no such document.
    pub fn sizes(&self, doc: u32) -> Sizes {
        self.documents.sizes(doc)
    }

    /// The given byte range of a document's text; nothing else of the document is read.
    ///
    /// # Errors
    /// [`Error::NoDocument`], [`Error::Corrupt`] or [`Error::Unreadable`].
    pub fn text_range(&self, doc: u32, bytes: Range<u32>) -> Result<Untrusted, Error> {
        self.documents.text_range(doc, bytes)
    }

    /// Vector of a row, as it was given; no other vector of its document is read. `None` when the row has no vector.
    ///
    /// # Errors
    /// [`Error::Unreadable`].
    pub fn row_vector(&self, row: u32) -> Result<Option<Vec<f32>>, Error> {
        self.documents.row_vector(row)
    }

    /// Id of a document; the rest of the document is not read.
    pub fn id(&self, doc: u32) -> Option<DocumentId> {
        DocumentId::from_key(self.documents.id(doc)?).ok()
    }

    /// The document with this key; the last one when several were given. `O(log n)`.
    pub fn find(&self, id: &DocumentId) -> Option<u32> {
        self.documents.find(id.key())
    }

    /// The documents with this id, ordered by key. `O(log n)`.
    pub fn find_all(&self, id: &DocumentId) -> Vec<u32> {
        self.documents.find_all(id.as_str())
    }

    /// A whole document; its vectors are included only if `vectors` is set.
    ///
    /// # Errors
    /// [`Error::NoDocument`], [`Error::Corrupt`] or [`Error::Unreadable`].
    pub fn document(&self, doc: u32, vectors: bool) -> Result<Document, Error> {
        self.documents.whole(doc, vectors)
    }

    /// A document without text and vectors: for lists and checks.
    ///
    /// # Errors
    /// [`Error::NoDocument`], [`Error::Corrupt`] or [`Error::Unreadable`].
    pub fn head(&self, doc: u32) -> Result<Document, Error> {
        self.documents.head(doc)
    }

    /// The document of a row, and the number of the passage within it.
    pub fn row(&self, row: u32) -> Option<(u32, u32)> {
        self.documents.row(row)
    }

    /// The `uri` of a document; the rest of the document is not decoded.
    ///
    /// # Errors
    /// As [`Segment::head`].
    pub fn uri(&self, doc: u32) -> Result<Untrusted, Error> {
        self.documents.peek(doc, |view| Untrusted::new(view.uri))
    }

    /// Upper bounds of what reading this segment may cost.
    pub fn extent(&self) -> Extent {
        let ([heads, texts], [head_max, text_max]) = (self.documents.stored(), self.documents.largest);
        let (documents, rows) = (self.documents().into(), self.rows().into());
        Extent { documents, rows, attributes: self.properties.attribute_bytes(), heads, texts, head_max, text_max }
    }

    /// Removes from `keys` the attributes that at least one of `docs` has.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn retain_missing_attributes(&self, keys: &mut Vec<&str>, docs: &RoaringBitmap) -> Result<(), Error> {
        keys.retain(|key| !self.properties.holds_attribute(key, docs));
        Ok(kernel::checkpoint(keys.len() as u64 * 64)?)
    }

    /// The documents that a filter accepts, which are exactly those that `Filter::matches` accepts.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Unreadable`] when documents themselves must be read, as for a `uri` or for the
    /// spelling of a time. [`Error::Interrupted`].
    pub fn evaluate(&self, filter: &CompiledFilter) -> Result<RoaringBitmap, Error> {
        self.properties.evaluate(filter, &self.documents)
    }

    /// The documents that this audience may see.
    pub fn visible(&self, audience: &Audience) -> RoaringBitmap {
        self.properties.visible(audience)
    }

    /// The documents with this status.
    pub fn with_status(&self, status: Status) -> RoaringBitmap {
        self.properties.with_status(status)
    }

    /// The documents that have expired: `expires_at <= now`.
    pub fn expired(&self, now: Timestamp) -> RoaringBitmap {
        self.properties.expired(now)
    }

    /// The next time at which the result of [`Segment::expired`] differs from its result at `now`, if any.
    pub fn next_expiry(&self, now: Timestamp) -> Option<Timestamp> {
        self.properties.next_expiry(now)
    }

    /// Whether any document has this attribute.
    pub fn has_attribute(&self, key: &str) -> bool {
        self.properties.has_attribute(key)
    }

    /// The rows of these documents.
    pub fn rows_of(&self, docs: &RoaringBitmap) -> RoaringBitmap {
        let mut rows = RoaringBitmap::new();
        let total = self.documents();
        if docs.range_cardinality(0..total) == u64::from(total) {
            rows.insert_range(0..self.rows());
            return rows;
        }
        if self.documents.single {
            rows.clone_from(docs);
            rows.remove_range(self.rows()..);
            return rows;
        }
        // Documents ascend and so do their rows: appending is cheaper than inserting.
        rows.extend(docs.iter().flat_map(|doc| self.documents.rows_of(doc)));
        rows
    }

    /// The statistics that BM25 needs from this segment: exact counts over these rows.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when postings cannot be read.
    pub fn text_stats(&self, query: &TextQuery, rows: &RoaringBitmap) -> Result<TextStats, Error> {
        Ok(TextStats::new(self.text_lengths(rows), self.text_frequencies(query, rows)?))
    }

    /// The part of [`Segment::text_stats`] that does not depend on the query. It reads the length of each of these
    /// rows, or of each of the other rows when those are fewer.
    pub fn text_lengths(&self, rows: &RoaringBitmap) -> TextLengths {
        Text::lengths(rows, &self.documents)
    }

    /// The part of [`Segment::text_stats`] that depends on the query.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when postings cannot be read.
    pub fn text_frequencies(&self, query: &TextQuery, rows: &RoaringBitmap) -> Result<Vec<u64>, Error> {
        self.text.frequencies(query, rows, self.rows())
    }

    /// Collects the terms in these rows that match the query's prefixes. Collect those of all segments in one
    /// [`Expansion`], then call [`TextQuery::expand`].
    ///
    /// # Errors
    /// [`Error::Unreadable`] when postings cannot be read.
    pub fn expand(&self, query: &TextQuery, rows: &RoaringBitmap, into: &mut Expansion) -> Result<(), Error> {
        self.text.expand(query, rows, self.rows(), into)
    }

    /// The subset of `rows` that contains this phrase of the query. Phrases are numbered from 0.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when postings cannot be read.
    pub fn rows_with_phrase(
        &self,
        query: &TextQuery,
        phrase: usize,
        rows: &RoaringBitmap,
    ) -> Result<RoaringBitmap, Error> {
        self.text.rows_with_phrase(query, phrase, rows)
    }

    /// The best `k` of `rows` by BM25 (k1 1.5, b 0.75; any term matches), best first. `stats` are those of the
    /// namespace.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when postings cannot be read.
    pub fn search_text(
        &self,
        query: &TextQuery,
        stats: &TextStats,
        rows: &RoaringBitmap,
        k: usize,
    ) -> Result<Vec<Scored>, Error> {
        self.text.search(query, stats, rows, self.rows(), k)
    }

    /// The best `k` of `rows` by vector similarity, best first. Empty for a query of another length or with a value
    /// that is not finite. Rows without a vector are never returned. When [`kernel::checkpoint`] reports an
    /// interruption, the result is meaningless.
    pub fn search_vector(&self, query: &[f32], rows: &RoaringBitmap, k: usize) -> VectorSearchResult {
        self.vectors.search(query, &self.with_vectors(rows), k, Planner::default())
    }

    /// The subset of these rows that has a vector.
    fn with_vectors<'a>(&self, rows: &'a RoaringBitmap) -> Cow<'a, RoaringBitmap> {
        let all = self.documents.vectored.len() == u64::from(self.rows());
        let known = rows.max().is_none_or(|last| last < self.rows());
        if all && known { Cow::Borrowed(rows) } else { Cow::Owned(rows & &self.documents.vectored) }
    }

    /// Like [`Segment::search_vector`], by a scan of all these rows. It is the reference for other searches.
    pub fn search_vector_exact(&self, query: &[f32], rows: &RoaringBitmap, k: usize) -> VectorSearchResult {
        // All rows are scored in full: codes do not select candidates here.
        let planner = Planner { walks: Some(false), rescored: Some(usize::MAX), ..Planner::default() };
        self.vectors.search(query, &self.with_vectors(rows), k, planner)
    }

    /// Vector of a row from memory, within some 64,000ths of its largest value; the same in every layout. `None` when
    /// the row has no vector.
    pub fn approximate_vector(&self, row: u32) -> Option<Vec<f32>> {
        self.documents.vectored.contains(row).then(|| self.vectors.restored(row))
    }

    /// Like [`Segment::search_vector`], by a walk of this breadth, or by a scan if `walk` is `None`. For benchmarks.
    #[doc(hidden)]
    pub fn search_planned(
        &self,
        query: &[f32],
        rows: &RoaringBitmap,
        k: usize,
        walk: Option<usize>,
    ) -> VectorSearchResult {
        let planner = match walk {
            Some(ef) => Planner { walks: Some(true), ef, rescored: Some(ef.min(4 * k)), ..Planner::default() },
            None => Planner { walks: Some(false), ..Planner::default() },
        };
        self.vectors.search(query, &self.with_vectors(rows), k, planner)
    }
}

#[cfg(test)]
mod tests;
