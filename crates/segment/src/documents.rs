//! The documents of a segment: the ranges of each one's rows, head and text, and the index of ids.
//!
//! Each document has 32 bytes: one past its last row and the terms of its title (u32 each), and the ends of its head,
//! of its text and of its id (u64 each). Each row has 8 bytes: its document and its number of terms. The index of ids
//! lists document numbers in the order of their ids. Tables and ids are checked at opening and stay in memory; heads,
//! texts and vectors may be read page by page, and are checked when they are read.

use crate::{
    Error,
    bytes::{Slice, f32_at, floats, u32_at, u32_from, u64_from},
    codec,
    container::{PagedKind, SectionKind, Sections},
    pages::{Section, SectionBytes},
    postings::partition_point,
};
use kernel::{Document, DocumentId, DocumentView, Untrusted, checkpoint};
use roaring::RoaringBitmap;
use std::ops::Range;

const ENTRY: usize = 32;

pub(crate) struct Documents {
    pub(crate) count: u32,
    pub(crate) rows: u32,
    /// Whether every document has one row, so that the numbers of documents and rows are equal.
    pub(crate) single: bool,
    /// Terms of all rows.
    pub(crate) tokens: u64,
    /// Terms of all rows that come from titles.
    pub(crate) title_tokens: u64,
    /// Bytes of the largest head and of the longest text.
    pub(crate) largest: [u64; 2],
    entries: Slice,
    row_table: Slice,
    ids: Slice,
    id_bytes: Slice,
    heads: Section,
    texts: Section,
    vectors: Section,
    pub(crate) vectored: RoaringBitmap,
    dimensions: usize,
}

impl Documents {
    pub(crate) fn write_entry(out: &mut Vec<u8>, counts: [u32; 2], [heads, texts]: [usize; 2], ids: usize) {
        counts.iter().for_each(|count| out.extend_from_slice(&count.to_le_bytes()));
        [heads, texts, ids].iter().for_each(|end| out.extend_from_slice(&(*end as u64).to_le_bytes()));
    }

    pub(crate) fn open(sections: &Sections, dimensions: usize, vectored: RoaringBitmap) -> Result<Self, Error> {
        let mut documents = Self {
            count: sections.documents,
            rows: sections.rows,
            single: false,
            tokens: 0,
            title_tokens: 0,
            largest: [0; 2],
            entries: sections.get(SectionKind::Documents),
            row_table: sections.get(SectionKind::Rows),
            ids: sections.get(SectionKind::Ids),
            id_bytes: sections.get(SectionKind::IdBytes),
            heads: sections.paged(PagedKind::Heads),
            texts: sections.paged(PagedKind::Texts),
            vectors: sections.paged(PagedKind::Vectors),
            vectored,
            dimensions,
        };
        (documents.tokens, documents.title_tokens, documents.single) = documents.check()?;
        let length = |range: Range<u64>| range.end - range.start;
        let sizes =
            (0..documents.count).filter_map(|doc| documents.entry(doc)).map(|e| [length(e.head), length(e.text)]);
        documents.largest = sizes.fold([0; 2], |[head, text], [h, t]| [head.max(h), text.max(t)]);
        Ok(documents)
    }

    /// Bytes of all heads and of all texts.
    pub(crate) fn stored(&self) -> [u64; 2] {
        [self.heads.len(), self.texts.len()]
    }

    /// Checks the tables. Returns the number of terms, the number of those from titles, and whether every document has
    /// one row.
    fn check(&self) -> Result<(u64, u64, bool), Error> {
        let count = self.count as usize;
        let sizes = [(self.entries.len(), ENTRY), (self.ids.len(), 4)];
        if sizes.iter().any(|&(len, size)| len != count * size) || self.row_table.len() != self.rows as usize * 8 {
            return Err(Error::corrupt("document table", 0));
        }
        // Each document's rows must follow those of the previous one and name this document.
        let mut rows = self.row_table.bytes().as_chunks::<8>().0.iter();
        let (mut next_row, mut tokens, mut title_tokens, mut single) = (0, 0u64, 0u64, true);
        for doc in 0..self.count {
            let bad = || Error::corrupt("document table", doc as usize * ENTRY);
            let entry = self.entry(doc).filter(|e| e.rows.start == next_row).ok_or_else(bad)?;
            self.id(doc).ok_or_else(bad)?;
            for [a, b, c, d, terms @ ..] in rows.by_ref().take(entry.rows.len()) {
                if u32::from_le_bytes([*a, *b, *c, *d]) != doc {
                    return Err(bad());
                }
                let terms = u32::from_le_bytes(*terms);
                // Every row contains its title's terms.
                if terms < entry.title {
                    return Err(bad());
                }
                tokens += u64::from(terms);
                title_tokens += u64::from(entry.title);
            }
            single &= entry.rows.len() == 1;
            next_row = entry.rows.end;
        }
        // The last document must end where its sections end.
        let last = self.count.checked_sub(1).and_then(|d| self.entry(d));
        let ends = last.map_or((0, 0, 0, 0), |e| (e.rows.end, e.head.end, e.text.end, e.id.end));
        if ends != (self.rows, self.heads.len(), self.texts.len(), self.id_bytes.len()) {
            return Err(Error::corrupt("document table", count * ENTRY));
        }
        self.check_ids()?;
        Ok((tokens, title_tokens, single))
    }

    fn check_ids(&self) -> Result<(), Error> {
        let mut last = None;
        for i in 0..self.count as usize {
            let bad = || Error::corrupt("id index", i * 4);
            let entry = (self.id_at(i).ok_or_else(bad)?, self.doc_at(i));
            if last >= Some(entry) {
                return Err(bad());
            }
            last = Some(entry);
        }
        Ok(())
    }

    fn entry(&self, doc: u32) -> Option<DocumentEntry> {
        // A document begins where the previous one ends.
        let (row, head, text, id) = if doc == 0 { (0, 0, 0, 0) } else { self.ends(doc - 1)? };
        let end = self.ends(doc)?;
        (row <= end.0 && head <= end.1 && text <= end.2 && id <= end.3).then_some(DocumentEntry {
            rows: row..end.0,
            title: u32_from(self.entries.bytes(), doc as usize * ENTRY + 4)?,
            head: head..end.1,
            text: text..end.2,
            id: id..end.3,
        })
    }

    /// The ends of a document's rows, head, text and id.
    fn ends(&self, doc: u32) -> Option<(u32, u64, u64, usize)> {
        let (bytes, at) = (self.entries.bytes(), doc as usize * ENTRY);
        let id = usize::try_from(u64_from(bytes, at + 24)?).ok()?;
        Some((u32_from(bytes, at)?, u64_from(bytes, at + 8)?, u64_from(bytes, at + 16)?, id))
    }

    fn head_of(&self, doc: u32) -> Result<SectionBytes<'_>, Error> {
        self.heads.read(self.entry(doc).ok_or(Error::NoDocument(doc))?.head)
    }

    /// Calls `read` with the fields that filters on `$` keys read; attributes are left out.
    pub(crate) fn peek<T>(&self, doc: u32, read: impl FnOnce(&DocumentView<'_>) -> T) -> Result<T, Error> {
        Ok(read(&codec::peek(&self.head_of(doc)?)?))
    }

    /// Announces that the heads of these documents are read next.
    pub(crate) fn will_read_heads(&self, docs: impl Iterator<Item = u32>) {
        self.heads.will_read(docs.filter_map(|doc| Some(self.entry(doc)?.head)));
    }

    /// Sizes of a stored document; zeros when there is no such document.
    pub(crate) fn sizes(&self, doc: u32) -> codec::Sizes {
        let Some(entry) = self.entry(doc) else { return codec::Sizes::default() };
        codec::Sizes {
            head: (entry.head.end - entry.head.start)
                .saturating_sub(self.id(doc).map_or(0, codec::disambiguator_bytes)),
            text: entry.text.end - entry.text.start,
            vectors: entry.rows.len() as u64 * self.dimensions as u64 * 4,
        }
    }

    /// The given byte range of a document's text, without the rest of it.
    pub(crate) fn text_range(&self, doc: u32, part: Range<u32>) -> Result<Untrusted, Error> {
        let bad = || Error::corrupt("document texts", doc as usize);
        let text = self.entry(doc).ok_or(Error::NoDocument(doc))?.text;
        let range = text.start + u64::from(part.start)..text.start + u64::from(part.end);
        if range.start > range.end || range.end > text.end {
            return Err(bad());
        }
        let bytes = self.texts.read(range)?;
        Ok(Untrusted::new(std::str::from_utf8(&bytes).map_err(|_| bad())?))
    }

    /// Vector of a row, as it was given; `None` when the row has no vector.
    pub(crate) fn row_vector(&self, row: u32) -> Result<Option<Vec<f32>>, Error> {
        if self.dimensions == 0 || !self.vectored.contains(row) {
            return Ok(None);
        }
        let size = self.dimensions as u64 * 4;
        Ok(Some(floats(&self.vectors.read(u64::from(row) * size..(u64::from(row) + 1) * size)?).collect()))
    }

    /// Rows of a document; empty when there is no such document.
    pub(crate) fn rows_of(&self, doc: u32) -> Range<u32> {
        self.entry(doc).map_or(0..0, |e| e.rows)
    }

    pub(crate) fn row(&self, row: u32) -> Option<(u32, u32)> {
        let doc = u32_at(self.row_table.bytes(), row as usize * 2)?;
        Some((doc, row.checked_sub(self.rows_of(doc).start)?))
    }

    /// Number of terms of a row, as BM25 counts them.
    pub(crate) fn terms(&self, row: u32) -> u32 {
        u32_at(self.row_table.bytes(), row as usize * 2 + 1).unwrap_or(0)
    }

    /// Number of a row's terms that come from its title.
    pub(crate) fn title_terms(&self, row: u32) -> u32 {
        let doc = u32_at(self.row_table.bytes(), row as usize * 2);
        doc.and_then(|doc| u32_from(self.entries.bytes(), doc as usize * ENTRY + 4)).unwrap_or(0)
    }

    pub(crate) fn head(&self, doc: u32) -> Result<Document, Error> {
        let bytes = self.head_of(doc)?;
        checkpoint(bytes.len() as u64)?;
        let head = codec::decode_head(&bytes)?;
        // The id is stored twice. A document that is found by one copy must not be shown with another id.
        if Some(head.id.key()) == self.id(doc) { Ok(head) } else { Err(Error::corrupt("document heads", doc as usize)) }
    }

    pub(crate) fn whole(&self, doc: u32, vectors: bool) -> Result<Document, Error> {
        let entry = self.entry(doc).ok_or(Error::NoDocument(doc))?;
        let size = self.dimensions as u64 * 4;
        let values = u64::from(entry.rows.start) * size..u64::from(entry.rows.end) * size;
        let vectors = vectors && !entry.rows.is_empty() && self.vectored.contains(entry.rows.start);
        self.texts.will_read(std::iter::once(entry.text.clone()));
        let mut document = self.head(doc)?;
        let text = self.texts.read(entry.text)?;
        let text = std::str::from_utf8(&text).map_err(|_| Error::corrupt("document texts", doc as usize))?;
        document.text = Untrusted::new(text);
        if vectors {
            document.vectors = floats(&self.vectors.read(values)?).collect();
        }
        Ok(document)
    }

    fn doc_at(&self, i: usize) -> Option<u32> {
        u32_at(self.ids.bytes(), i)
    }

    /// Key of a document's id.
    pub(crate) fn id(&self, doc: u32) -> Option<&str> {
        std::str::from_utf8(self.id_bytes.bytes().get(self.entry(doc)?.id)?).ok()
    }

    /// The `i`-th key in key order.
    fn id_at(&self, i: usize) -> Option<&str> {
        self.id(self.doc_at(i)?)
    }

    /// The last document with this key.
    pub(crate) fn find(&self, id: &str) -> Option<u32> {
        let after = partition_point(self.count as usize, |i| self.id_at(i) <= Some(id));
        let last = after.checked_sub(1)?;
        (self.id_at(last) == Some(id)).then(|| self.doc_at(last))?
    }

    /// Documents from the first key at or after `first`, in key order, for as long as their ids pass the test.
    pub(crate) fn ids_from(&self, first: &str, test: impl Fn(&str) -> bool) -> RoaringBitmap {
        self.documents_from(first, test).collect()
    }

    /// Documents with this id, ordered by key.
    pub(crate) fn find_all(&self, id: &str) -> Vec<u32> {
        self.documents_from(id, |other| other == id).collect()
    }

    fn documents_from(&self, first: &str, test: impl Fn(&str) -> bool) -> impl Iterator<Item = u32> {
        let start = partition_point(self.count as usize, |i| self.id_at(i) < Some(first));
        (start..self.count as usize)
            .take_while(move |&i| self.id_at(i).map(DocumentId::id_in).is_some_and(&test))
            .filter_map(|i| self.doc_at(i))
    }
}

struct DocumentEntry {
    rows: Range<u32>,
    title: u32,
    head: Range<u64>,
    text: Range<u64>,
    id: Range<usize>,
}

/// Scale of a row's code, and the squared length of its vector.
pub(crate) fn scale_at(scales: &[u8], row: u32) -> (f32, f32) {
    let i = row as usize * 2;
    (f32_at(scales, i).unwrap_or(0.0), f32_at(scales, i + 1).unwrap_or(0.0))
}
