//! The inverted index of a written segment: one tantivy segment whose document id is our row.
//!
//! It holds stems with frequencies and positions, and marked terms with frequencies. Lengths (`norms`) and texts are
//! stored by us. Promises: it is written in memory and read only through a section (see `directory`). Because tantivy
//! trusts its files, the container's checksum or the seal of a page is verified before every read.

use super::{RowSelection, directory::Files, phrase::PhraseMatcher};
use crate::{
    Error,
    analysis::{
        RowTerms,
        lexicon::{GAP, Lexicon, is_marked},
    },
    bytes::Slice,
    container::ContainerWriter,
    pages::Section,
};
use kernel::checkpoint;
use roaring::RoaringBitmap;
use std::{collections::HashMap, ops::ControlFlow, sync::Arc};
use tantivy::{
    DocSet, Index, IndexSettings, InvertedIndexReader, SegmentReader, SingleSegmentIndexWriter, TERMINATED,
    TantivyDocument, Term,
    postings::{Postings, SegmentPostings},
    schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions},
    store::Compressor,
    tokenizer::{Token, TokenStream, Tokenizer, TokenizerManager},
};
use zeroize::Zeroizing;

/// A third of it is the initial size of the writer's table of terms. The table grows by itself; a large one would cost
/// every small segment a millisecond.
const WRITER_BYTES: usize = 256 << 10;

/// Separates joined terms: it is neither letter nor digit, so no term contains it.
const SEPARATOR: char = '\n';
/// Name of the tokenizer that splits joined terms; it is part of the stored schema.
const JOINED: &str = "joined";

/// The schema and its fields: stems, marked terms.
fn schema() -> (Schema, [Field; 2]) {
    let mut builder = Schema::builder();
    let mut field = |name, option| {
        let indexing =
            TextFieldIndexing::default().set_tokenizer(JOINED).set_fieldnorms(false).set_index_option(option);
        builder.add_text_field(name, TextOptions::default().set_indexing_options(indexing))
    };
    let fields = [field("t", IndexRecordOption::WithFreqsAndPositions), field("x", IndexRecordOption::WithFreqs)];
    (builder.build(), fields)
}

/// Collects rows; [`FrozenWriter::finish`] writes the section.
pub(crate) struct FrozenWriter {
    writer: SingleSegmentIndexWriter<TantivyDocument>,
    files: Files,
    fields: [Field; 2],
    /// The terms that are being added.
    row: Zeroizing<String>,
}

/// Splits what [`FrozenWriter::add`] joined: terms are already final, and passing them as one string is cheapest.
#[derive(Clone, Default)]
struct JoinedTokenizer {
    token: Token,
}

struct JoinedTerms<'a> {
    rest: std::str::SplitTerminator<'a, char>,
    token: &'a mut Token,
}

impl Tokenizer for JoinedTokenizer {
    type TokenStream<'a> = JoinedTerms<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> JoinedTerms<'a> {
        self.token.reset();
        JoinedTerms { rest: text.split_terminator(SEPARATOR), token: &mut self.token }
    }
}

impl TokenStream for JoinedTerms<'_> {
    fn advance(&mut self) -> bool {
        for term in self.rest.by_ref() {
            self.token.position = self.token.position.wrapping_add(1);
            // A gap takes a position but is no term.
            if !term.is_empty() {
                self.token.text.clear();
                self.token.text.push_str(term);
                return true;
            }
        }
        false
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
        let (schema, fields) = schema();
        let settings = IndexSettings {
            docstore_compression: Compressor::None,
            docstore_compress_dedicated_thread: false,
            ..IndexSettings::default()
        };
        let files = Files::default();
        let tokenizers = TokenizerManager::new();
        tokenizers.register(JOINED, JoinedTokenizer::default());
        let writer = Index::builder()
            .schema(schema)
            .settings(settings)
            .tokenizers(tokenizers)
            .single_segment_index_writer(files.clone(), WRITER_BYTES)?;
        Ok(Self { writer, files, fields, row: Zeroizing::default() })
    }

    /// Adds the terms of the next row.
    pub(crate) fn add(&mut self, row: &RowTerms, lexicon: &Lexicon) -> Result<(), Error> {
        let mut document = TantivyDocument::default();
        for (field, terms) in self.fields.into_iter().zip([&row.stems, &row.extras]) {
            self.row.clear();
            for id in terms {
                // A gap has no text.
                self.row.push_str(if *id == GAP { "" } else { lexicon.term(*id) });
                self.row.push(SEPARATOR);
            }
            document.add_text(field, &self.row);
        }
        Ok(self.writer.add_document(document)?)
    }

    pub(crate) fn finish(self, out: &mut ContainerWriter) -> Result<(), Error> {
        let Self { writer, files, .. } = self;
        drop(writer.finalize()?);
        files.write(out)
    }
}

/// An opened index.
pub(crate) struct FrozenIndex {
    /// The index of stems and that of marked terms.
    indexes: [Arc<InvertedIndexReader>; 2],
    fields: [Field; 2],
    bytes: u64,
}

impl FrozenIndex {
    /// Opens the index. The reader copies the term dictionary; postings are read on demand.
    pub(crate) fn open(list: &Slice, section: &Section, rows: u32) -> Result<Self, Error> {
        let bad = || Error::corrupt("text index", 0);
        let files = Files::open(list, section)?;
        let bytes = files.will_open();
        let index = Index::open(files)?;
        let (expected, fields) = schema();
        let [segment] = <[_; 1]>::try_from(index.searchable_segments()?).map_err(|_| bad())?;
        if index.schema() != expected || segment.meta().max_doc() != rows || segment.meta().has_deletes() {
            return Err(bad());
        }
        let reader = SegmentReader::open(&segment)?;
        let [stems, marked] = fields;
        Ok(Self { indexes: [reader.inverted_index(stems)?, reader.inverted_index(marked)?], fields, bytes })
    }

    /// The index that contains a term, and the term as tantivy's type.
    fn term(&self, term: &str) -> (&InvertedIndexReader, Term) {
        let ([stems, marked], [stem_field, marked_field]) = (&self.indexes, self.fields);
        let (index, field) = if is_marked(term) { (marked, marked_field) } else { (stems, stem_field) };
        (index, Term::from_field_text(field, term))
    }

    pub(crate) fn frequency(&self, term: &str) -> Result<u64, Error> {
        let (index, term) = self.term(term);
        Ok(index.doc_freq(&term)?.into())
    }

    pub(crate) fn each(
        &self,
        term: &str,
        selection: &RowSelection<'_>,
        mut visit: impl FnMut(u32, u32) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let (index, term) = self.term(term);
        let Some(mut postings) = index.read_postings(&term, IndexRecordOption::WithFreqs)? else { return Ok(()) };
        // For a few selected rows, seek to each; otherwise read the whole list.
        if let Some(rows) = selection.seekable_rows(postings.doc_freq()) {
            for row in rows {
                if row > postings.doc() {
                    postings.seek(row);
                }
                if row == postings.doc() && visit(row, postings.term_freq()).is_break() {
                    break;
                }
            }
            return Ok(());
        }
        while postings.doc() != TERMINATED {
            if selection.contains(postings.doc()) && visit(postings.doc(), postings.term_freq()).is_break() {
                break;
            }
            postings.advance();
        }
        Ok(())
    }

    /// Calls `visit` with the terms that begin with `start`, ascending, until it breaks.
    pub(crate) fn terms_from(
        &self,
        start: &str,
        mut visit: impl FnMut(&str) -> Result<ControlFlow<()>, Error>,
    ) -> Result<(), Error> {
        let index = if is_marked(start) { &self.indexes[1] } else { &self.indexes[0] };
        let mut terms = index.terms().range().ge(start).into_stream()?;
        while terms.advance() {
            let term = std::str::from_utf8(terms.key()).map_err(|_| Error::corrupt("text index", 0))?;
            if !term.starts_with(start) || visit(term)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The subset of `rows` in which these stems occur in sequence.
    pub(crate) fn phrase(&self, stems: &[String], rows: &RoaringBitmap) -> Result<RoaringBitmap, Error> {
        let mut found = RoaringBitmap::new();
        // A word that occurs in the phrase several times is read once.
        let (mut numbers, mut lists, mut words) = (HashMap::new(), Vec::new(), Vec::with_capacity(stems.len()));
        for stem in stems {
            let next = numbers.len() as u32;
            let word = *numbers.entry(stem.as_str()).or_insert(next);
            words.push(word);
            if word < next {
                continue;
            }
            let (index, term) = self.term(stem);
            let list = index.read_postings(&term, IndexRecordOption::WithFreqsAndPositions)?;
            let Some(list) = list else { return Ok(found) };
            lists.push(WordPostings { word, list });
        }
        let phrase = PhraseMatcher::new(words);
        // A row that contains the phrase contains its rarest word, so that word's list drives the search.
        lists.sort_by_key(|postings| postings.list.doc_freq());
        let Some((first, rest)) = lists.split_first_mut() else { return Ok(found) };
        let (mut words_by_position, mut positions) = (Vec::new(), Vec::new());
        while let Some(row) = next_common(first, rest) {
            if rows.contains(row) {
                words_by_position.clear();
                for postings in std::iter::once(&mut *first).chain(rest.iter_mut()) {
                    postings.list.positions(&mut positions);
                    words_by_position.extend(positions.iter().map(|at| (*at, postings.word)));
                }
                // Merge the lists into the row's sequence of the phrase's words.
                words_by_position.sort_unstable();
                checkpoint(8 * words_by_position.len() as u64)?;
                if phrase.occurs_in(words_of(&words_by_position)) {
                    found.insert(row);
                }
            }
            checkpoint(64 + rest.len() as u64)?;
            first.list.advance();
        }
        Ok(found)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// A word of a phrase, by its number there, and its posting list.
struct WordPostings {
    word: u32,
    list: SegmentPostings,
}

/// The words in the order of their positions. Where positions are missing, a word that is in no phrase takes their
/// place.
fn words_of(words_by_position: &[(u32, u32)]) -> impl Iterator<Item = u32> + '_ {
    let mut next = None;
    words_by_position.iter().flat_map(move |(at, word)| {
        let gap = next.is_some_and(|next| next != *at).then_some(u32::MAX);
        next = Some(at + 1);
        gap.into_iter().chain([*word])
    })
}

/// The first row, from the current row of `first` on, that is in all lists; every list is then positioned at it.
fn next_common(first: &mut WordPostings, rest: &mut [WordPostings]) -> Option<u32> {
    let mut row = first.list.doc();
    'again: while row != TERMINATED {
        for other in rest.iter_mut() {
            let next = if other.list.doc() < row { other.list.seek(row) } else { other.list.doc() };
            if next > row {
                row = if next == TERMINATED { TERMINATED } else { first.list.seek(next) };
                continue 'again;
            }
        }
        return Some(row);
    }
    None
}
