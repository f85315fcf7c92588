//! Turns documents into sections; both kinds of segment are made here.

use crate::{
    Error, Segment, Spec,
    analysis::{Analyser, RowTerms, lexicon::Lexicon},
    bytes::{put_bitmap, u32_at},
    codec,
    container::{ContainerWriter, PagedKind, SectionKind},
    documents::Documents,
    filter::PropertyBuilder,
    graph::{
        self,
        build::{Rows, reuse::ReusedGraph},
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

/// How a segment of more than [`limits::GRAPH_ROWS_MIN`] vectors gets its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GraphMode {
    /// Built from the distances of the vectors, with 0.2 to 1 ms of CPU for each.
    Built,
    /// Built by `hnsw_rs`, the known implementation: ten times as expensive, a little better.
    Reference,
    /// Not built now, so that every search scans. For callers that must return soon; [`crate::Segment::lacks_graph`]
    /// says that the graph is missing.
    Deferred,
    /// Filled by arithmetic on row numbers, in no time: as large as a built graph and as expensive to open, but it
    /// finds little. For benchmarks of sizes that would take hours to build.
    Scattered,
}

/// An older segment whose graph is reused.
pub struct GraphSource<'a> {
    /// The older segment. Nothing is reused unless it has a graph.
    pub segment: &'a Segment,
    /// For each document that is written, the number of the same unchanged document in `segment`; `None` if it has
    /// none.
    pub documents: Vec<Option<u32>>,
}

/// Ends the writing of a segment early when the result is no longer needed. The caller keeps a clone.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Requests the end. It comes within one document, or within some rows of a graph.
    pub fn stop(&self) {
        self.0.store(true, Relaxed);
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.0.load(Relaxed) { Err(Error::Stopped) } else { Ok(()) }
    }
}

/// Collects documents into sections and hands the terms of each row to the builder of the text index.
pub(crate) struct Builder<'a> {
    spec: &'a Spec,
    out: ContainerWriter,
    analyser: Analyser,
    row: RowTerms,
    properties: PropertyBuilder,
    ids: Vec<(String, u32)>,
    vectored: RoaringBitmap,
    rows: u32,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(spec: &'a Spec) -> Self {
        Self {
            spec,
            out: ContainerWriter::default(),
            analyser: Analyser::new(spec.language),
            row: RowTerms::default(),
            properties: PropertyBuilder::default(),
            ids: Vec::new(),
            vectored: RoaringBitmap::new(),
            rows: 0,
        }
    }

    /// Adds a document. `terms` receives the number and the terms of each of its rows in order, with their lexicon.
    pub(crate) fn add(
        &mut self,
        doc: &Document,
        mut terms: impl FnMut(u32, &RowTerms, &Lexicon) -> Result<(), Error>,
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
            let rows = self.out.part(SectionKind::Rows);
            rows.extend_from_slice(&number.to_le_bytes());
            rows.extend_from_slice(&self.row.length().to_le_bytes());
            let norms = [self.row.length(), self.row.title].map(text::norm);
            self.out.part(SectionKind::Norms).extend_from_slice(&norms);
            terms(self.rows, &self.row, self.analyser.lexicon())?;
            self.rows += 1;
        }
        codec::encode_head(doc, self.out.paged(PagedKind::Heads));
        self.out.paged(PagedKind::Texts).extend_from_slice(doc.text.expose().as_bytes());
        self.out.part(SectionKind::IdBytes).extend_from_slice(doc.id.key().as_bytes());
        let ends = [self.out.paged(PagedKind::Heads).len(), self.out.paged(PagedKind::Texts).len()];
        let ids = self.out.part(SectionKind::IdBytes).len();
        let title = if doc.passages.is_empty() { 0 } else { self.row.title };
        Documents::write_entry(self.out.part(SectionKind::Documents), [self.rows, title], ends, ids);
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

    /// Keeps the memory for words bounded. For callers that use the numbers of terms within one row only.
    pub(crate) fn bound_lexicon(&mut self) {
        self.analyser.reset_if_full();
    }

    /// Returns the lexicon, for callers that use the numbers of terms to the end.
    pub(crate) fn take_lexicon(&mut self) -> Lexicon {
        self.analyser.take_lexicon()
    }

    /// Gives the segment a graph if it has enough vectors for one to pay.
    pub(crate) fn graph(
        &mut self,
        links: GraphMode,
        reused: Option<&GraphSource<'_>>,
        stop: &StopFlag,
    ) -> Result<(), Error> {
        if !takes_graph(self.vectored.len(), self.spec.dimensions) {
            return Ok(());
        }
        match links {
            GraphMode::Built => {
                let reusable_graph = reused.and_then(|reused| self.reusable_graph(reused));
                // The sections are moved out while the graph section of the same writer is filled.
                let [codes, scales] =
                    [SectionKind::Codes, SectionKind::Scales].map(|kind| std::mem::take(self.out.part(kind)));
                let (spec, vectored, count) = (self.spec, &self.vectored, self.rows);
                let rows = Rows { spec, codes: &codes, scales: &scales, vectored, count };
                graph::build::build(rows, reusable_graph.as_ref(), stop, self.out.part(SectionKind::Graph))?;
                *self.out.part(SectionKind::Codes) = codes;
                *self.out.part(SectionKind::Scales) = scales;
            }
            GraphMode::Reference => {
                let values = std::mem::take(self.out.paged(PagedKind::Vectors));
                graph::reference::build(
                    self.spec,
                    &values,
                    &self.vectored,
                    self.rows,
                    self.out.part(SectionKind::Graph),
                );
                *self.out.paged(PagedKind::Vectors) = values;
            }
            GraphMode::Deferred => {}
            GraphMode::Scattered => graph::links::scattered(self.rows, self.out.part(SectionKind::Graph)),
        }
        stop.check()
    }

    /// The part of an older segment's graph that can be reused.
    fn reusable_graph<'b>(&mut self, reused: &GraphSource<'b>) -> Option<ReusedGraph<'b>> {
        let graph = reused.segment.graph()?;
        let mut new_numbers = vec![graph::NONE; reused.segment.rows() as usize];
        let table = std::mem::take(self.out.part(SectionKind::Rows));
        let mut previous = None;
        let mut passage = 0;
        for row in 0..self.rows {
            let doc = u32_at(&table, row as usize * 2);
            passage = if doc == previous { passage + 1 } else { 0 };
            previous = doc;
            let old = doc.and_then(|doc| *reused.documents.get(doc as usize)?);
            let old =
                old.and_then(|old| reused.segment.linked_row(old, passage)).filter(|_| self.vectored.contains(row));
            // An old row is kept only if both it and the new row have a vector.
            if let Some(new_number) = old.and_then(|old| new_numbers.get_mut(old as usize)) {
                *new_number = row;
            }
        }
        *self.out.part(SectionKind::Rows) = table;
        ReusedGraph::new(graph, new_numbers)
    }

    /// Returns the finished container. `text` adds the text index to it.
    pub(crate) fn finish(
        mut self,
        text: impl FnOnce(&mut ContainerWriter) -> Result<(), Error>,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let documents = self.ids.len() as u32;
        self.ids.sort_unstable();
        let ids = self.out.part(SectionKind::Ids);
        self.ids.iter().for_each(|(_, doc)| ids.extend_from_slice(&doc.to_le_bytes()));
        self.properties.finish(&mut self.out);
        put_bitmap(self.out.part(SectionKind::Vectored), &self.vectored);
        text(&mut self.out)?;
        Ok(self.out.finish(self.spec, documents, self.rows))
    }
}
