//! Documents in, sections out: the one way in which both kinds of segment are made.

use crate::{
    Error, Segment, Spec,
    analysis::{Analyser, Row, lexicon::Lexicon},
    bytes::{put_bitmap, u32_at},
    codec,
    container::{Kind, Paged, Writer},
    documents::Documents,
    filter::PropertyBuilder,
    graph::{
        self,
        build::{Rows, graft::Graft},
    },
    text, vectors,
};
use kernel::{Document, limits};
use roaring::RoaringBitmap;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};
use zeroize::Zeroizing;

/// Whether a graph over this number of vectors of this length is better than a scan.
pub(crate) fn takes_graph(vectors: u64, dimensions: usize) -> bool {
    vectors > limits::GRAPH_ROWS_MIN as u64 && dimensions >= limits::GRAPH_DIMENSIONS_MIN
}

/// How a segment of more than [`limits::GRAPH_ROWS_MIN`] vectors gets the graph over them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// By the distances of the vectors: 0.2 to 1 ms of CPU for each.
    Built,
    /// The same by `hnsw_rs`, which others know: ten times as dear, a little better.
    Reference,
    /// Not now: every search scans. For who must not take long; [`crate::Segment::wants_graph`] tells.
    Later,
    /// By arithmetic on row numbers: as large as a built graph and as dear to open, in no time. Finds little.
    /// For benchmarks of sizes that would take hours to build.
    Scattered,
}

/// An older segment whose graph is reused.
pub struct Reused<'a> {
    /// It must have a graph for it to matter.
    pub segment: &'a Segment,
    /// For each document that is written: which document of that segment it is, unchanged; none if it is another's.
    pub documents: Vec<Option<u32>>,
}

/// Ends the writing of a segment early, when it is no longer needed; the caller keeps a clone.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks for an end. It comes within a document, or some rows of a graph.
    pub fn stop(&self) {
        self.0.store(true, Relaxed);
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.0.load(Relaxed) { Err(Error::Stopped) } else { Ok(()) }
    }
}

/// Collects documents into sections; the terms of each row go to the builder of the text index.
pub(crate) struct Builder<'a> {
    spec: &'a Spec,
    out: Writer,
    analyser: Analyser,
    row: Row,
    properties: PropertyBuilder,
    ids: Vec<(String, u32)>,
    vectored: RoaringBitmap,
    rows: u32,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(spec: &'a Spec) -> Self {
        Self {
            spec,
            out: Writer::default(),
            analyser: Analyser::new(spec.language),
            row: Row::default(),
            properties: PropertyBuilder::default(),
            ids: Vec::new(),
            vectored: RoaringBitmap::new(),
            rows: 0,
        }
    }

    /// Adds a document. `terms` gets each of its rows in order, with the lexicon that its terms are from.
    pub(crate) fn add(
        &mut self,
        doc: &Document,
        mut terms: impl FnMut(u32, &Row, &Lexicon) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let limit = limits::SEGMENT_ROWS_MAX;
        let number = u32::try_from(self.ids.len()).unwrap_or(u32::MAX);
        let passages = u32::try_from(doc.passages.len()).unwrap_or(u32::MAX);
        if number >= limit || passages > limit - self.rows {
            return Err(Error::TooLarge { what: "documents and rows", limit: limit.into() });
        }
        self.vectors(number, doc)?;
        self.analyser.set_title(doc.title.expose());
        for n in 0..doc.passages.len() {
            self.analyser.row(doc.passage_text(n), &mut self.row);
            let rows = self.out.part(Kind::Rows);
            rows.extend_from_slice(&number.to_le_bytes());
            rows.extend_from_slice(&self.row.length().to_le_bytes());
            let norms = [self.row.length(), self.row.title].map(text::norm);
            self.out.part(Kind::Norms).extend_from_slice(&norms);
            terms(self.rows, &self.row, self.analyser.lexicon())?;
            self.rows += 1;
        }
        codec::encode_head(doc, self.out.paged(Paged::Heads));
        self.out.paged(Paged::Texts).extend_from_slice(doc.text.expose().as_bytes());
        self.out.part(Kind::IdBytes).extend_from_slice(doc.id.key().as_bytes());
        let ends = [self.out.paged(Paged::Heads).len(), self.out.paged(Paged::Texts).len()];
        let ids = self.out.part(Kind::IdBytes).len();
        let title = if doc.passages.is_empty() { 0 } else { self.row.title };
        Documents::write_entry(self.out.part(Kind::Documents), [self.rows, title], ends, ids);
        self.properties.add(number, doc);
        self.ids.push((doc.id.key().to_owned(), number));
        Ok(())
    }

    fn vectors(&mut self, number: u32, doc: &Document) -> Result<(), Error> {
        let dimensions = self.spec.dimensions;
        let expected = dimensions * doc.passages.len();
        if !doc.vectors.is_empty() && doc.vectors.len() != expected {
            return Err(Error::VectorLength { document: number, expected, found: doc.vectors.len() });
        }
        if dimensions == 0 {
            return Ok(());
        }
        let zeros = vec![0.0; dimensions];
        for n in 0..doc.passages.len() {
            let values = doc.vectors.get(n * dimensions..(n + 1) * dimensions);
            if values.is_some() {
                self.vectored.insert(self.rows + n as u32);
            }
            vectors::push(&mut self.out, values.unwrap_or(&zeros)).ok_or(Error::VectorValue { document: number })?;
        }
        Ok(())
    }

    /// For who needs the numbers of terms within a row only: keeps the memory of many words bounded.
    pub(crate) fn forget_words(&mut self) {
        self.analyser.forget();
    }

    /// For who needs them to the end.
    pub(crate) fn take_lexicon(&mut self) -> Lexicon {
        self.analyser.take_lexicon()
    }

    /// Gives the segment its graph if it is large enough for one to pay.
    pub(crate) fn graph(&mut self, links: Links, reused: Option<&Reused<'_>>, stop: &Stop) -> Result<(), Error> {
        if !takes_graph(self.vectored.len(), self.spec.dimensions) {
            return Ok(());
        }
        match links {
            Links::Built => {
                let graft = reused.and_then(|reused| self.graft(reused));
                let [codes, scales] = [Kind::Codes, Kind::Scales].map(|kind| std::mem::take(self.out.part(kind)));
                let (spec, vectored, count) = (self.spec, &self.vectored, self.rows);
                let rows = Rows { spec, codes: &codes, scales: &scales, vectored, count };
                graph::build::build(rows, graft.as_ref(), stop, self.out.part(Kind::Graph))?;
                *self.out.part(Kind::Codes) = codes;
                *self.out.part(Kind::Scales) = scales;
            }
            Links::Reference => {
                let values = std::mem::take(self.out.paged(Paged::Vectors));
                graph::reference::build(self.spec, &values, &self.vectored, self.rows, self.out.part(Kind::Graph));
                *self.out.paged(Paged::Vectors) = values;
            }
            Links::Later => {}
            Links::Scattered => graph::links::scattered(self.rows, self.out.part(Kind::Graph)),
        }
        stop.check()
    }

    /// What of an older segment's graph can be reused.
    fn graft<'b>(&mut self, reused: &Reused<'b>) -> Option<Graft<'b>> {
        let graph = reused.segment.graph()?;
        let mut now = vec![graph::NONE; reused.segment.rows() as usize];
        let table = std::mem::take(self.out.part(Kind::Rows));
        let mut before = None;
        let mut passage = 0;
        for row in 0..self.rows {
            let doc = u32_at(&table, row as usize * 2);
            passage = if doc == before { passage + 1 } else { 0 };
            before = doc;
            let old = doc.and_then(|doc| *reused.documents.get(doc as usize)?);
            let old =
                old.and_then(|old| reused.segment.linked_row(old, passage)).filter(|_| self.vectored.contains(row));
            if let Some(place) = old.and_then(|old| now.get_mut(old as usize)) {
                *place = row;
            }
        }
        *self.out.part(Kind::Rows) = table;
        Graft::new(graph, now)
    }

    /// The container. `text` fills it with the text index.
    pub(crate) fn finish(
        mut self,
        text: impl FnOnce(&mut Writer) -> Result<(), Error>,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let documents = self.ids.len() as u32;
        self.ids.sort_unstable();
        let ids = self.out.part(Kind::Ids);
        self.ids.iter().for_each(|(_, doc)| ids.extend_from_slice(&doc.to_le_bytes()));
        self.properties.finish(&mut self.out);
        put_bitmap(self.out.part(Kind::Vectored), &self.vectored);
        text(&mut self.out)?;
        Ok(self.out.finish(self.spec, documents, self.rows))
    }
}
