//! Index of a live segment: either a write buffer or a built segment, behind one interface.

use kernel::{Audience, CompiledFilter, Document, DocumentId, Span, Status, Timestamp, Untrusted};
use roaring::RoaringBitmap;
use segment::{
    Error, Expansion, Extent, Scored, Segment, TextLengths, TextQuery, TextStats, VectorSearchResult, WriteBuffer,
    codec::Sizes,
};

/// Index of a live segment; see the module documentation.
#[derive(Debug)]
pub(crate) enum Index {
    /// Documents that were just written; indexed by the first search.
    WriteBuffer(WriteBuffer),
    /// An indexed segment, built in memory or opened.
    Segment(Segment),
}

/// Evaluates the same expression for either variant.
macro_rules! either {
    ($self:ident, $it:ident => $answer:expr) => {
        match $self {
            Index::WriteBuffer($it) => $answer,
            Index::Segment($it) => $answer,
        }
    };
}

impl Index {
    pub(crate) fn write_buffer(&self) -> Option<&WriteBuffer> {
        match self {
            Index::WriteBuffer(write_buffer) => Some(write_buffer),
            Index::Segment(_) => None,
        }
    }

    fn indexed(&self) -> &Segment {
        match self {
            Index::WriteBuffer(write_buffer) => write_buffer.indexed(),
            Index::Segment(segment) => segment,
        }
    }

    /// Whether text and vectors can be searched without building anything.
    pub(crate) fn is_indexed(&self) -> bool {
        self.write_buffer().is_none_or(WriteBuffer::is_indexed)
    }

    pub(crate) fn documents(&self) -> u32 {
        either!(self, it => it.documents())
    }

    pub(crate) fn rows(&self) -> u32 {
        either!(self, it => it.rows())
    }

    pub(crate) fn bytes(&self) -> u64 {
        either!(self, it => it.bytes())
    }

    /// The bytes of a written segment that is in memory in full.
    pub(crate) fn written(&self) -> Option<&[u8]> {
        match self {
            Index::WriteBuffer(_) => None,
            Index::Segment(segment) => segment.written(),
        }
    }

    /// Whether it is a segment that searches scan although it is large.
    pub(crate) fn wants_graph(&self) -> bool {
        match self {
            Index::WriteBuffer(_) => false,
            Index::Segment(segment) => segment.lacks_graph(),
        }
    }

    /// The segment if it has a graph.
    pub(crate) fn linked(&self) -> Option<&Segment> {
        match self {
            Index::WriteBuffer(_) => None,
            Index::Segment(segment) => Some(segment).filter(|segment| segment.has_graph()),
        }
    }

    /// Whether no read of this index waits for a disk or a bucket.
    pub(crate) fn is_resident(&self) -> bool {
        match self {
            Index::WriteBuffer(_) => true,
            Index::Segment(segment) => segment.is_resident(),
        }
    }

    /// Estimated heap size in bytes.
    pub(crate) fn resident(&self) -> u64 {
        match self {
            Index::WriteBuffer(write_buffer) => write_buffer.resident(),
            Index::Segment(segment) => segment.bytes(),
        }
    }

    /// Stored sizes of a document; zero if it does not exist.
    pub(crate) fn sizes(&self, doc: u32) -> Sizes {
        either!(self, it => it.sizes(doc))
    }

    /// The text of a passage, which is a span of its document's text; reads nothing else of the document.
    pub(crate) fn passage_text(&self, doc: u32, passage: u32, at: Span) -> Result<Untrusted, Error> {
        match self {
            Index::WriteBuffer(write_buffer) => {
                Ok(Untrusted::new(write_buffer.kept(doc)?.passage_text(passage as usize)))
            }
            Index::Segment(segment) => segment.text_range(doc, at.byte_start..at.byte_end),
        }
    }

    /// The vector of a row as it was submitted.
    pub(crate) fn row_vector(&self, row: u32, dimensions: usize) -> Result<Option<Vec<f32>>, Error> {
        match self {
            Index::WriteBuffer(write_buffer) => {
                let Some((doc, passage)) = write_buffer.row(row) else { return Ok(None) };
                let start = passage as usize * dimensions;
                Ok(write_buffer
                    .kept(doc)?
                    .vectors
                    .get(start..start + dimensions)
                    .filter(|v| !v.is_empty())
                    .map(<[f32]>::to_vec))
            }
            Index::Segment(segment) => segment.row_vector(row),
        }
    }

    pub(crate) fn find(&self, id: &DocumentId) -> Option<u32> {
        either!(self, it => it.find(id))
    }

    /// Documents of this id, in the order of their keys.
    pub(crate) fn named(&self, id: &DocumentId) -> Vec<u32> {
        either!(self, it => it.find_all(id))
    }

    pub(crate) fn id(&self, doc: u32) -> Option<DocumentId> {
        match self {
            Index::WriteBuffer(write_buffer) => write_buffer.kept(doc).ok().map(|kept| kept.id.clone()),
            Index::Segment(segment) => segment.id(doc),
        }
    }

    /// The id of a document that must exist.
    ///
    /// # Errors
    /// [`Error::NoDocument`].
    pub(crate) fn id_of(&self, doc: u32) -> Result<DocumentId, Error> {
        self.id(doc).ok_or(Error::NoDocument(doc))
    }

    pub(crate) fn document(&self, doc: u32, vectors: bool) -> Result<Document, Error> {
        either!(self, it => it.document(doc, vectors))
    }

    pub(crate) fn head(&self, doc: u32) -> Result<Document, Error> {
        either!(self, it => it.head(doc))
    }

    pub(crate) fn row(&self, row: u32) -> Option<(u32, u32)> {
        either!(self, it => it.row(row))
    }

    pub(crate) fn rows_of(&self, docs: &RoaringBitmap) -> RoaringBitmap {
        either!(self, it => it.rows_of(docs))
    }

    pub(crate) fn evaluate(&self, filter: &CompiledFilter) -> Result<RoaringBitmap, Error> {
        either!(self, it => it.evaluate(filter))
    }

    /// Upper bound of what reading from it costs.
    pub(crate) fn extent(&self) -> Extent {
        either!(self, it => it.extent())
    }

    /// The `uri` of a document.
    pub(crate) fn uri(&self, doc: u32) -> Result<Untrusted, Error> {
        match self {
            Index::WriteBuffer(write_buffer) => Ok(write_buffer.kept(doc)?.uri.clone()),
            Index::Segment(segment) => segment.uri(doc),
        }
    }

    /// Removes from `keys` the attributes that at least one of `docs` has.
    pub(crate) fn retain_unknown(&self, keys: &mut Vec<&str>, docs: &RoaringBitmap) -> Result<(), Error> {
        either!(self, it => it.retain_missing_attributes(keys, docs))
    }

    pub(crate) fn visible(&self, audience: &Audience) -> RoaringBitmap {
        either!(self, it => it.visible(audience))
    }

    pub(crate) fn with_status(&self, status: Status) -> RoaringBitmap {
        either!(self, it => it.with_status(status))
    }

    pub(crate) fn expired(&self, now: Timestamp) -> RoaringBitmap {
        either!(self, it => it.expired(now))
    }

    /// Time of the next change of [`Index::expired`] after `now`, if any.
    pub(crate) fn next_expiry(&self, now: Timestamp) -> Option<Timestamp> {
        either!(self, it => it.next_expiry(now))
    }

    pub(crate) fn text_lengths(&self, rows: &RoaringBitmap) -> TextLengths {
        self.indexed().text_lengths(rows)
    }

    pub(crate) fn text_frequencies(&self, query: &TextQuery, rows: &RoaringBitmap) -> Result<Vec<u64>, Error> {
        self.indexed().text_frequencies(query, rows)
    }

    pub(crate) fn expand(&self, query: &TextQuery, rows: &RoaringBitmap, into: &mut Expansion) -> Result<(), Error> {
        self.indexed().expand(query, rows, into)
    }

    pub(crate) fn holding(
        &self,
        query: &TextQuery,
        phrase: usize,
        rows: &RoaringBitmap,
    ) -> Result<RoaringBitmap, Error> {
        self.indexed().rows_with_phrase(query, phrase, rows)
    }

    pub(crate) fn search_text(
        &self,
        query: &TextQuery,
        stats: &TextStats,
        rows: &RoaringBitmap,
        k: usize,
    ) -> Result<Vec<Scored>, Error> {
        self.indexed().search_text(query, stats, rows, k)
    }

    pub(crate) fn search_vector_exact(&self, query: &[f32], rows: &RoaringBitmap, k: usize) -> VectorSearchResult {
        self.indexed().search_vector_exact(query, rows, k)
    }

    pub(crate) fn vector_near(&self, row: u32) -> Option<Vec<f32>> {
        self.indexed().approximate_vector(row)
    }

    pub(crate) fn search_vector(&self, query: &[f32], rows: &RoaringBitmap, k: usize) -> VectorSearchResult {
        self.indexed().search_vector(query, rows, k)
    }
}
