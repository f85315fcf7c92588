//! The documents of a segment: where each one's rows, head and text lie, and which has which id.
//!
//! Per document 20 bytes: one past its last row (u32), end of its head (u64), end of its text (u64).
//! Per row 8 bytes: its document and its terms. Ids: document numbers in the order of their ids.

use crate::{
    Error,
    bytes::{Slice, f32_at, floats, u32_at, u32_from, u64_from},
    codec,
    container::{Kind, Sections},
    postings::partition,
};
use kernel::{Document, DocumentView, Untrusted};
use roaring::RoaringBitmap;
use std::ops::Range;

const ENTRY: usize = 20;

pub(crate) struct Documents {
    pub(crate) count: u32,
    pub(crate) rows: u32,
    entries: Slice,
    heads: Slice,
    texts: Slice,
    row_table: Slice,
    ids: Slice,
    vectors: Slice,
    pub(crate) vectored: RoaringBitmap,
    dimensions: usize,
}

impl Documents {
    pub(crate) fn write_entry(out: &mut Vec<u8>, rows: u32, heads: usize, texts: usize) {
        out.extend_from_slice(&rows.to_le_bytes());
        out.extend_from_slice(&(heads as u64).to_le_bytes());
        out.extend_from_slice(&(texts as u64).to_le_bytes());
    }

    pub(crate) fn open(sections: &Sections, dimensions: usize, vectored: RoaringBitmap) -> Result<Self, Error> {
        let documents = Self {
            count: sections.documents,
            rows: sections.rows,
            entries: sections.get(Kind::Documents),
            heads: sections.get(Kind::Heads),
            texts: sections.get(Kind::Texts),
            row_table: sections.get(Kind::Rows),
            ids: sections.get(Kind::Ids),
            vectors: sections.get(Kind::Vectors),
            vectored,
            dimensions,
        };
        documents.check()?;
        Ok(documents)
    }

    fn check(&self) -> Result<(), Error> {
        let count = self.count as usize;
        let sizes = [(self.entries.len(), ENTRY), (self.ids.len(), 4)];
        if sizes.iter().any(|&(len, size)| len != count * size) || self.row_table.len() != self.rows as usize * 8 {
            return Err(Error::corrupt("document table", 0));
        }
        let mut next_row = 0;
        for doc in 0..self.count {
            let bad = || Error::corrupt("document table", doc as usize * ENTRY);
            let rows = self.entry(doc).filter(|e| e.rows.start == next_row).ok_or_else(bad)?.rows;
            self.view(doc)?;
            std::str::from_utf8(self.text_of(doc)?).map_err(|_| bad())?;
            if rows.clone().any(|row| u32_at(self.row_table.bytes(), row as usize * 2) != Some(doc)) {
                return Err(bad());
            }
            next_row = rows.end;
        }
        let last = self.count.checked_sub(1).and_then(|d| self.entry(d));
        let ends = last.map_or((0, 0, 0), |e| (e.rows.end, e.head.end, e.text.end));
        if ends != (self.rows, self.heads.len(), self.texts.len()) {
            return Err(Error::corrupt("document table", count * ENTRY));
        }
        self.check_ids()
    }

    fn check_ids(&self) -> Result<(), Error> {
        for i in 1..self.count as usize {
            if (self.id_at(i - 1), u32_at(self.ids.bytes(), i - 1)) >= (self.id_at(i), u32_at(self.ids.bytes(), i)) {
                return Err(Error::corrupt("id index", i * 4));
            }
        }
        match self.id_at(0) {
            None if self.count > 0 => Err(Error::corrupt("id index", 0)),
            _ => Ok(()),
        }
    }

    fn entry(&self, doc: u32) -> Option<Entry> {
        let read = |doc: u32| {
            let at = doc as usize * ENTRY;
            let bytes = self.entries.bytes();
            let end = |at| u64_from(bytes, at).and_then(|n| usize::try_from(n).ok());
            Some((u32_from(bytes, at)?, end(at + 4)?, end(at + 12)?))
        };
        let (row, head, text) = if doc == 0 { (0, 0, 0) } else { read(doc - 1)? };
        let end = read(doc)?;
        (row <= end.0 && head <= end.1 && text <= end.2).then_some(Entry {
            rows: row..end.0,
            head: head..end.1,
            text: text..end.2,
        })
    }

    fn head_of(&self, doc: u32) -> Result<&[u8], Error> {
        let entry = self.entry(doc).ok_or(Error::NoDocument(doc))?;
        self.heads.bytes().get(entry.head).ok_or_else(|| Error::corrupt("document heads", doc as usize))
    }

    fn text_of(&self, doc: u32) -> Result<&[u8], Error> {
        let entry = self.entry(doc).ok_or(Error::NoDocument(doc))?;
        self.texts.bytes().get(entry.text).ok_or_else(|| Error::corrupt("document texts", doc as usize))
    }

    /// What a filter on `$` keys sees of a document; without its attributes.
    pub(crate) fn view(&self, doc: u32) -> Result<DocumentView<'_>, Error> {
        codec::peek(self.head_of(doc)?)
    }

    pub(crate) fn text_bytes(&self, doc: u32) -> u64 {
        self.entry(doc).map_or(0, |e| e.text.len() as u64)
    }

    /// The rows of a document; none when there is no such document.
    pub(crate) fn rows_of(&self, doc: u32) -> Range<u32> {
        self.entry(doc).map_or(0..0, |e| e.rows)
    }

    pub(crate) fn row(&self, row: u32) -> Option<(u32, u32)> {
        let doc = u32_at(self.row_table.bytes(), row as usize * 2)?;
        Some((doc, row.checked_sub(self.rows_of(doc).start)?))
    }

    /// Terms of a row, as BM25 counts them.
    pub(crate) fn terms(&self, row: u32) -> u32 {
        u32_at(self.row_table.bytes(), row as usize * 2 + 1).unwrap_or(0)
    }

    pub(crate) fn head(&self, doc: u32) -> Result<Document, Error> {
        codec::decode_head(self.head_of(doc)?)
    }

    pub(crate) fn whole(&self, doc: u32, vectors: bool) -> Result<Document, Error> {
        let mut document = self.head(doc)?;
        let text = std::str::from_utf8(self.text_of(doc)?);
        document.text = Untrusted::new(text.map_err(|_| Error::corrupt("document texts", doc as usize))?);
        let rows = self.rows_of(doc);
        if vectors && !rows.is_empty() && self.vectored.contains(rows.start) {
            let values = rows.start as usize * self.dimensions * 4..rows.end as usize * self.dimensions * 4;
            document.vectors = floats(self.vectors.bytes().get(values).unwrap_or_default()).collect();
        }
        Ok(document)
    }

    fn doc_at(&self, i: usize) -> Option<u32> {
        u32_at(self.ids.bytes(), i)
    }

    /// The `i`-th id in their order.
    fn id_at(&self, i: usize) -> Option<&str> {
        Some(self.view(self.doc_at(i)?).ok()?.id)
    }

    /// The last document with this id.
    pub(crate) fn find(&self, id: &str) -> Option<u32> {
        let after = partition(self.count as usize, |i| self.id_at(i) <= Some(id));
        let last = after.checked_sub(1)?;
        (self.id_at(last) == Some(id)).then(|| self.doc_at(last))?
    }

    /// Documents whose ids, from this one on in their order, meet the test without a gap.
    pub(crate) fn ids_from(&self, from: &str, test: impl Fn(&str) -> bool) -> RoaringBitmap {
        let start = partition(self.count as usize, |i| self.id_at(i) < Some(from));
        (start..self.count as usize)
            .take_while(|&i| self.id_at(i).is_some_and(&test))
            .filter_map(|i| self.doc_at(i))
            .collect()
    }
}

struct Entry {
    rows: Range<u32>,
    head: Range<usize>,
    text: Range<usize>,
}

/// Per row: scale of its code and squared length.
pub(crate) fn scale_at(scales: &[u8], row: u32) -> (f32, f32) {
    let i = row as usize * 2;
    (f32_at(scales, i).unwrap_or(0.0), f32_at(scales, i + 1).unwrap_or(0.0))
}
