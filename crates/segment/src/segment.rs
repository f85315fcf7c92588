//! [`Segment`]: what the floor above sees of an index, in memory or opened.

use crate::{
    Error, Expansion, TextLengths, TextQuery, TextStats,
    build::{self, Builder, Links, Reused, Stop},
    bytes::{Reader, Slice},
    codec::Sizes,
    container::{self, Kind, Paged},
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
    vectors::{Found, Planner, Vectors},
};
use kernel::{
    Audience, CompiledFilter, Distance, Document, DocumentId, Language, Plaintext, ReadAt, Status, Timestamp,
    Untrusted, limits,
};
use roaring::RoaringBitmap;
use std::{borrow::Cow, ops::Range, sync::Arc};
use zeroize::Zeroizing;

/// What vectors a segment holds, and whose words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Values of a vector; 0 when there are none.
    pub dimensions: usize,
    /// How vectors are compared.
    pub distance: Distance,
    /// By whose rules words are compared.
    pub language: Language,
}

impl Spec {
    /// Words by the rules of English.
    pub const fn new(dimensions: usize, distance: Distance) -> Self {
        Self { dimensions, distance, language: Language::English }
    }
}

/// How much there is to read, bytes unless it says something else. Upper bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Number of documents.
    pub documents: u64,
    /// Number of rows.
    pub rows: u64,
    /// What filters on attributes are compared with.
    pub attributes: u64,
    /// Documents without texts and vectors.
    pub heads: u64,
    /// Texts.
    pub texts: u64,
    /// The largest of the heads.
    pub head_max: u64,
    /// The longest of the texts.
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

/// An immutable index of documents and their passages ("rows"). Documents and rows are numbered
/// from 0 in the order in which they were given; the rows of a document are neighbours.
pub struct Segment {
    documents: Documents,
    properties: Properties,
    text: Text,
    vectors: Vectors,
    /// Heap bytes beside the paged part.
    bytes: u64,
    paged: Section,
    /// What [`Segment::write`] wrote, where all of it is here.
    written: Option<Slice>,
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment").field("documents", &self.documents()).field("rows", &self.rows()).finish()
    }
}

impl Segment {
    /// Indexes a commit batch in memory: some microseconds per passage, no graph.
    ///
    /// # Errors
    /// A vector of the wrong length or with a value that is not finite; too many rows.
    pub fn in_memory(spec: &Spec, docs: Vec<Document>) -> Result<Segment, Error> {
        Self::in_memory_of(spec, docs.iter())
    }

    /// The same of documents that stay with the caller.
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

    /// Writes a segment: plain bytes, to be sealed before they go anywhere. `links` matters when there are more than
    /// [`kernel::limits::GRAPH_ROWS_MIN`] vectors.
    ///
    /// # Errors
    /// As [`Segment::in_memory`].
    pub fn write(
        spec: &Spec,
        docs: &mut dyn Iterator<Item = Document>,
        links: Links,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        Self::write_unless(spec, docs, links, None, &Stop::default())
    }

    /// The same, for whom it may turn out that nobody wants it. A graph that is built ([`Links::Built`]) goes on with
    /// that of `reused`, where less of it is gone than is worth mending.
    ///
    /// # Errors
    /// As there; [`Error::Stopped`].
    pub fn write_unless(
        spec: &Spec,
        docs: &mut dyn Iterator<Item = Document>,
        links: Links,
        reused: Option<&Reused<'_>>,
        stop: &Stop,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut builder = Builder::new(spec);
        let mut index = FrozenWriter::new()?;
        for doc in docs {
            builder.add(&doc, |_, row, lexicon| index.add(row, lexicon))?;
            builder.forget_words();
            stop.check()?;
        }
        builder.graph(links, reused, stop)?;
        builder.finish(|out| index.finish(out))
    }

    /// Opens what [`Segment::write`] wrote; the bytes are kept and wiped when the segment goes.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Version`], or [`Error::Spec`] when it was written for another `spec`.
    pub fn open(spec: &Spec, bytes: impl Into<Plaintext>) -> Result<Segment, Error> {
        Self::of_buffer(spec, bytes.into(), None)
    }

    /// The bytes that [`Segment::open`] was given. `None` for one that was never written or is read in pages.
    pub fn written(&self) -> Option<&[u8]> {
        self.written.as_ref().map(Slice::bytes)
    }

    /// Where what [`Segment::write`] wrote falls in two: what a first search needs, to be opened whole, and what is
    /// read in pages as it is needed. Seal them so, and open them with [`Segment::open_sealed`].
    ///
    /// # Errors
    /// [`Error::Corrupt`] for anything else.
    pub fn split(bytes: &[u8]) -> Result<usize, Error> {
        container::border(bytes).ok_or_else(|| Error::corrupt("segment header", 0))
    }

    /// Opens a segment of which only the first part ([`Segment::split`]) has been read: about 600 bytes a row at 384
    /// dimensions. Searches and fetches then read pages from `paged`, which must tell altered bytes from good ones
    /// itself; when they are at most `resident` bytes they are read at once
    /// ([`limits::RESIDENT_PAGES_BYTES_MAX`] in the product). Reads also the text index's dictionary.
    ///
    /// # Errors
    /// As [`Segment::open`]; [`Error::Unreadable`] for what the source says.
    pub fn open_sealed(spec: &Spec, whole: Plaintext, paged: Arc<dyn ReadAt>, resident: u64) -> Result<Segment, Error> {
        Self::open_paged(spec, whole, paged, resident, &mut |_| ())
    }

    /// [`Segment::open_sealed`] as the product does it, saying after each part what it was. For benchmarks.
    ///
    /// # Errors
    /// As there.
    #[doc(hidden)]
    pub fn open_staged(
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
        let border = Self::split(&buffer)?;
        let buffer = Slice::whole(buffer);
        let written = memory.is_none().then(|| buffer.clone());
        let parts = buffer.sub(0..border).zip(buffer.sub(border..buffer.len()));
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
        let part = sections.get(Kind::Vectored);
        let mut r = Reader::new(part.bytes(), "vectored rows");
        let vectored = r.bitmap(sections.rows)?;
        r.end()?;
        let documents = Documents::open(&sections, spec.dimensions, vectored)?;
        stage("documents, ids");
        let norms = sections.get(Kind::Norms);
        if norms.len() != sections.rows as usize * 2 {
            return Err(Error::corrupt("norms", 0));
        }
        let postings = match memory {
            Some(index) => Postings::Memory(index),
            None => {
                let index = sections.paged(Paged::TextIndex);
                Postings::Frozen(Box::new(FrozenIndex::open(&sections.get(Kind::TextFiles), &index, sections.rows)?))
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

    /// How many documents.
    pub fn documents(&self) -> u32 {
        self.documents.count
    }

    /// How many rows.
    pub fn rows(&self) -> u32 {
        self.documents.rows
    }

    /// Heap bytes, roughly; of a paged segment with the pages that it holds just now.
    pub fn bytes(&self) -> u64 {
        self.bytes + self.paged.resident()
    }

    /// Whether all of it is in memory: nothing that is asked of it waits for a disk or a bucket.
    pub fn is_resident(&self) -> bool {
        matches!(self.paged, Section::Memory(_))
    }

    /// Whether it has more vectors than a scan is good for, and no graph over them ([`Links::Later`]).
    pub fn wants_graph(&self) -> bool {
        !self.vectors.has_graph() && build::takes_graph(self.documents.vectored.len(), self.vectors.dimensions())
    }

    /// Whether it has a graph over its vectors.
    pub fn has_graph(&self) -> bool {
        self.vectors.has_graph()
    }

    pub(crate) fn graph(&self) -> Option<&Graph> {
        self.vectors.graph()
    }

    /// The row of this passage of a document, if it has a vector.
    pub(crate) fn linked_row(&self, doc: u32, passage: u32) -> Option<u32> {
        let row = self.documents.rows_of(doc).nth(passage as usize)?;
        self.documents.vectored.contains(row).then_some(row)
    }

    /// What a document takes, from tables; nothing when there is no such document.
    pub fn sizes(&self, doc: u32) -> Sizes {
        self.documents.sizes(doc)
    }

    /// These bytes of a document's text, and nothing else of it.
    ///
    /// # Errors
    /// [`Error::NoDocument`], [`Error::Corrupt`] or [`Error::Unreadable`].
    pub fn text_part(&self, doc: u32, bytes: Range<u32>) -> Result<Untrusted, Error> {
        self.documents.text_part(doc, bytes)
    }

    /// The vector of a row as it was given, and no other of its document; `None` where it has none.
    ///
    /// # Errors
    /// [`Error::Unreadable`].
    pub fn row_vector(&self, row: u32) -> Result<Option<Vec<f32>>, Error> {
        self.documents.row_vector(row)
    }

    /// The id of a document, without reading the rest of it.
    pub fn id(&self, doc: u32) -> Option<DocumentId> {
        DocumentId::from_key(self.documents.id(doc)?).ok()
    }

    /// The document with this key; the last one if it was given several times. `O(log n)`.
    pub fn find(&self, id: &DocumentId) -> Option<u32> {
        self.documents.find(id.key())
    }

    /// The documents of this id, in the order of their keys. `O(log n)`.
    pub fn named(&self, id: &DocumentId) -> Vec<u32> {
        self.documents.named(id.as_str())
    }

    /// A whole document; its vectors only if asked for.
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

    /// The document of a row, and the number of the passage in it.
    pub fn row(&self, row: u32) -> Option<(u32, u32)> {
        self.documents.row(row)
    }

    /// The `uri` of a document, without decoding the rest of it.
    ///
    /// # Errors
    /// As [`Segment::head`].
    pub fn uri(&self, doc: u32) -> Result<Untrusted, Error> {
        self.documents.peek(doc, |view| Untrusted::new(view.uri))
    }

    /// What reading in it may cost.
    pub fn extent(&self) -> Extent {
        let ([heads, texts], [head_max, text_max]) = (self.documents.stored(), self.documents.largest);
        let (documents, rows) = (self.documents().into(), self.rows().into());
        Extent { documents, rows, attributes: self.properties.attribute_bytes(), heads, texts, head_max, text_max }
    }

    /// Takes out of `keys` the attributes that one of `docs` has.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn retain_unknown(&self, keys: &mut Vec<&str>, docs: &RoaringBitmap) -> Result<(), Error> {
        keys.retain(|key| !self.properties.holds_attribute(key, docs));
        Ok(kernel::checkpoint(keys.len() as u64 * 64)?)
    }

    /// The documents that a filter accepts: exactly those that `Filter::matches` accepts.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Unreadable`] when documents themselves have to be read: for an address, the
    /// spelling of a time. [`Error::Interrupted`].
    pub fn evaluate(&self, filter: &CompiledFilter) -> Result<RoaringBitmap, Error> {
        self.properties.evaluate(filter, &self.documents)
    }

    /// The documents that these eyes may see.
    pub fn visible(&self, audience: &Audience) -> RoaringBitmap {
        self.properties.visible(audience)
    }

    /// The documents that stand so.
    pub fn with_status(&self, status: Status) -> RoaringBitmap {
        self.properties.with_status(status)
    }

    /// The documents whose time is up: `expires_at <= now`.
    pub fn expired(&self, now: Timestamp) -> RoaringBitmap {
        self.properties.expired(now)
    }

    /// When [`Segment::expired`] says something else than it does `now`, if ever.
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
        // Ascending, as documents are: appending is cheaper than inserting.
        rows.extend(docs.iter().flat_map(|doc| self.documents.rows_of(doc)));
        rows
    }

    /// What BM25 must know of this segment: exact counts over these rows.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when postings cannot be read.
    pub fn text_stats(&self, query: &TextQuery, rows: &RoaringBitmap) -> Result<TextStats, Error> {
        Ok(TextStats::new(self.text_lengths(rows), self.text_frequencies(query, rows)?))
    }

    /// The part of it that no query changes. Cost: a look at each of these rows, or at each of the others if those are
    /// fewer.
    pub fn text_lengths(&self, rows: &RoaringBitmap) -> TextLengths {
        Text::lengths(rows, &self.documents)
    }

    /// The part of it that the query asks for.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when postings cannot be read.
    pub fn text_frequencies(&self, query: &TextQuery, rows: &RoaringBitmap) -> Result<Vec<u64>, Error> {
        self.text.frequencies(query, rows, self.rows())
    }

    /// What words of these rows begin as the query's words with a star do. Gather those of all segments, then
    /// [`TextQuery::expand`].
    ///
    /// # Errors
    /// [`Error::Unreadable`] when postings cannot be read.
    pub fn expand(&self, query: &TextQuery, rows: &RoaringBitmap, into: &mut Expansion) -> Result<(), Error> {
        self.text.expand(query, rows, self.rows(), into)
    }

    /// Those of `rows` that hold this phrase of the query; its phrases are numbered from 0.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when postings cannot be read.
    pub fn holding(&self, query: &TextQuery, phrase: usize, rows: &RoaringBitmap) -> Result<RoaringBitmap, Error> {
        self.text.holding(query, phrase, rows)
    }

    /// The best `k` of `rows` by BM25 (k1 1.5, b 0.75; any term), best first. `stats` are those of the namespace.
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

    /// The best `k` of `rows` by similarity of their vectors, best first. Empty for a query of another
    /// length or with a value that is not finite. Rows without a vector are never answered. Where
    /// [`kernel::checkpoint`] tells of an interrupt, what is answered means nothing.
    pub fn search_vector(&self, query: &[f32], rows: &RoaringBitmap, k: usize) -> Found {
        self.vectors.search(query, &self.with_vectors(rows), k, Planner::default())
    }

    /// Those of them that have a vector.
    fn with_vectors<'a>(&self, rows: &'a RoaringBitmap) -> Cow<'a, RoaringBitmap> {
        let all = self.documents.vectored.len() == u64::from(self.rows());
        let known = rows.max().is_none_or(|last| last < self.rows());
        if all && known { Cow::Borrowed(rows) } else { Cow::Owned(rows & &self.documents.vectored) }
    }

    /// The same by a scan of all these rows: what others are measured by.
    pub fn search_vector_exact(&self, query: &[f32], rows: &RoaringBitmap, k: usize) -> Found {
        // All of them are scored exactly: codes do not select here.
        let planner = Planner { walks: Some(false), rescored: Some(usize::MAX), ..Planner::default() };
        self.vectors.search(query, &self.with_vectors(rows), k, planner)
    }

    /// The vector of a row within some 64,000ths of its largest value, from memory; equal in every layout. `None`
    /// where the row has none.
    pub fn vector_near(&self, row: u32) -> Option<Vec<f32>> {
        self.documents.vectored.contains(row).then(|| self.vectors.restored(row))
    }

    /// The same by a walk of this breadth, or by a scan. For benchmarks.
    #[doc(hidden)]
    pub fn search_planned(&self, query: &[f32], rows: &RoaringBitmap, k: usize, walk: Option<usize>) -> Found {
        let planner = match walk {
            Some(ef) => Planner { walks: Some(true), ef, rescored: Some(ef.min(4 * k)), ..Planner::default() },
            None => Planner { walks: Some(false), ..Planner::default() },
        };
        self.vectors.search(query, &self.with_vectors(rows), k, planner)
    }
}

#[cfg(test)]
mod tests;
