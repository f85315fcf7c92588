//! The inverted index of a written segment: one tantivy segment whose document id is our row.
//!
//! Only postings with frequencies: lengths are ours (`norms`), texts too, positions are not kept.
//! Promises: written in memory and read through a section alone (see `directory`). The container's checksum or the
//! seal of a page stands before every read, because tantivy itself trusts its files.

use super::{Selection, directory::Files};
use crate::{
    Error,
    analysis::{Lexicon, TermId},
    bytes::Slice,
    container::Writer,
    pages::Section,
};
use std::sync::Arc;
use tantivy::{
    DocSet, Index, IndexSettings, InvertedIndexReader, SegmentReader, SingleSegmentIndexWriter, TERMINATED,
    TantivyDocument, Term,
    postings::Postings,
    schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions},
    store::Compressor,
    tokenizer::{Token, TokenStream, Tokenizer, TokenizerManager},
};
use zeroize::Zeroizing;

/// A third of it is where the writer's table of terms starts. It grows by itself; a large one would cost every small
/// segment a millisecond.
const WRITER_BYTES: usize = 256 << 10;

/// No letter and no digit, so in no term.
const BETWEEN: char = '\n';
/// What cuts there.
const JOINED: &str = "joined";

fn schema() -> (Schema, Field) {
    let indexing = TextFieldIndexing::default()
        .set_tokenizer(JOINED)
        .set_fieldnorms(false)
        .set_index_option(IndexRecordOption::WithFreqs);
    let mut builder = Schema::builder();
    let field = builder.add_text_field("t", TextOptions::default().set_indexing_options(indexing));
    (builder.build(), field)
}

/// Collects rows; [`FrozenWriter::finish`] gives the section.
pub(crate) struct FrozenWriter {
    writer: SingleSegmentIndexWriter<TantivyDocument>,
    files: Files,
    field: Field,
    /// The row that is being added.
    row: Zeroizing<String>,
}

/// Cuts where [`FrozenWriter::add`] joined: terms come ready made, and as one string they cost the least to hand over.
#[derive(Clone, Default)]
struct Joined {
    token: Token,
}

struct JoinedTerms<'a> {
    rest: std::str::SplitTerminator<'a, char>,
    token: &'a mut Token,
}

impl Tokenizer for Joined {
    type TokenStream<'a> = JoinedTerms<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> JoinedTerms<'a> {
        self.token.reset();
        JoinedTerms { rest: text.split_terminator(BETWEEN), token: &mut self.token }
    }
}

impl TokenStream for JoinedTerms<'_> {
    fn advance(&mut self) -> bool {
        let Some(term) = self.rest.next() else { return false };
        self.token.text.clear();
        self.token.text.push_str(term);
        self.token.position = self.token.position.wrapping_add(1);
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

impl FrozenWriter {
    pub(crate) fn new() -> Result<Self, Error> {
        let (schema, field) = schema();
        let settings = IndexSettings {
            docstore_compression: Compressor::None,
            docstore_compress_dedicated_thread: false,
            ..IndexSettings::default()
        };
        let files = Files::default();
        let tokenizers = TokenizerManager::new();
        tokenizers.register(JOINED, Joined::default());
        let writer = Index::builder()
            .schema(schema)
            .settings(settings)
            .tokenizers(tokenizers)
            .single_segment_index_writer(files.clone(), WRITER_BYTES)?;
        Ok(Self { writer, files, field, row: Zeroizing::default() })
    }

    /// Adds the terms of the next row.
    pub(crate) fn add(&mut self, terms: &[TermId], lexicon: &Lexicon) -> Result<(), Error> {
        self.row.clear();
        for id in terms {
            self.row.push_str(lexicon.term(*id));
            self.row.push(BETWEEN);
        }
        let mut document = TantivyDocument::default();
        document.add_text(self.field, &self.row);
        Ok(self.writer.add_document(document)?)
    }

    pub(crate) fn finish(self, out: &mut Writer) -> Result<(), Error> {
        let Self { writer, files, .. } = self;
        drop(writer.finalize()?);
        files.write(out)
    }
}

/// An opened index.
pub(crate) struct FrozenIndex {
    index: Arc<InvertedIndexReader>,
    field: Field,
    bytes: u64,
}

impl FrozenIndex {
    /// Opens the index. The reader copies the term dictionary; postings are read when they are asked for.
    pub(crate) fn open(list: &Slice, section: &Section, rows: u32) -> Result<Self, Error> {
        let bad = || Error::corrupt("text index", 0);
        let files = Files::open(list, section)?;
        let bytes = files.will_open();
        let index = Index::open(files)?;
        let (expected, field) = schema();
        let [segment] = <[_; 1]>::try_from(index.searchable_segments()?).map_err(|_| bad())?;
        if index.schema() != expected || segment.meta().max_doc() != rows || segment.meta().has_deletes() {
            return Err(bad());
        }
        let reader = SegmentReader::open(&segment)?;
        Ok(Self { index: reader.inverted_index(field)?, field, bytes })
    }

    fn term(&self, term: &str) -> Term {
        Term::from_field_text(self.field, term)
    }

    pub(crate) fn frequency(&self, term: &str) -> Result<u64, Error> {
        Ok(self.index.doc_freq(&self.term(term))?.into())
    }

    pub(crate) fn each(
        &self,
        term: &str,
        selection: &Selection<'_>,
        mut visit: impl FnMut(u32, u32),
    ) -> Result<(), Error> {
        let postings = self.index.read_postings(&self.term(term), IndexRecordOption::WithFreqs)?;
        let Some(mut postings) = postings else { return Ok(()) };
        if let Some(rows) = selection.jumps(postings.doc_freq()) {
            for row in rows {
                if row > postings.doc() {
                    postings.seek(row);
                }
                if row == postings.doc() {
                    visit(row, postings.term_freq());
                }
            }
            return Ok(());
        }
        while postings.doc() != TERMINATED {
            if selection.contains(postings.doc()) {
                visit(postings.doc(), postings.term_freq());
            }
            postings.advance();
        }
        Ok(())
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}
