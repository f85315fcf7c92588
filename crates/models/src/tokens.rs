//! A model's tokeniser: spans of any text for chunking, and truncated, padded ids for the model.
//!
//! Long texts are processed in windows, so that neither time nor memory grows faster than the text, whatever it
//! contains.

use crate::{Error, TaskKind};
use kernel::{TokenSpan, Tokens};
use std::{path::Path, sync::Arc};
use tokenizers::{Encoding, Tokenizer, TruncationDirection, TruncationParams, TruncationStrategy};

/// Spans of texts of any length: implements [`Tokens`].
pub(crate) struct FullTokenizer {
    name: String,
    tokenizer: Tokenizer,
}

/// Ids for the model, truncated at its limit.
pub(crate) struct Encoder {
    full: Arc<FullTokenizer>,
    truncating: Tokenizer,
    max_tokens: usize,
    prefixes: Prefixes,
    pad: i64,
}

/// The prefixes that the model was trained with before a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prefixes {
    pub(crate) query: String,
    pub(crate) passage: String,
}

/// The inputs of one model call: `rows * columns` values in each list.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) ids: Vec<i64>,
    pub(crate) mask: Vec<i64>,
    pub(crate) types: Vec<i64>,
    /// 1 for tokens that the tokeniser added itself, and for padding.
    pub(crate) special: Vec<i64>,
    /// Number of tokens without padding.
    pub(crate) tokens: usize,
}

impl FullTokenizer {
    /// Reads `tokenizer.json`.
    pub(crate) fn open(name: &str, path: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(path).map_err(|source| Error::File { path: path.to_path_buf(), source })?;
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|e| unusable(path, &e.to_string()))?;
        tokenizer.with_truncation(None).map_err(|e| unusable(path, &e.to_string()))?;
        tokenizer.with_padding(None);
        Ok(Self { name: name.to_owned(), tokenizer })
    }
}

impl Tokens for FullTokenizer {
    fn spans(&self, text: &str) -> Vec<TokenSpan> {
        let mut spans = Vec::with_capacity(text.len() / 4);
        for (start, window) in windows(text) {
            // A tokeniser without an unknown token refuses some texts: then every character counts as a token.
            match self.tokenizer.encode(window, false) {
                Ok(encoding) => push_spans(&mut spans, text, start, encoding.get_offsets()),
                Err(_) => push_pieces(&mut spans, text, TokenSpan { start, end: start + window.len() }, 1),
            }
        }
        spans
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Encoder {
    /// Creates an encoder that truncates at `max_tokens`, special ones included. `path` is for the error.
    pub(crate) fn new(
        full: Arc<FullTokenizer>,
        path: &Path,
        max_tokens: usize,
        prefixes: Prefixes,
    ) -> Result<Self, Error> {
        let mut truncating = full.tokenizer.clone();
        let cut = TruncationParams {
            max_length: max_tokens,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
            direction: TruncationDirection::Right,
        };
        truncating.with_truncation(Some(cut)).map_err(|e| unusable(path, &e.to_string()))?;
        let pad = ["[PAD]", "<pad>"].iter().find_map(|t| truncating.token_to_id(t)).map_or(0, i64::from);
        Ok(Self { full, truncating, max_tokens, prefixes, pad })
    }

    /// Tokens that the model reads, special ones included.
    pub(crate) fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Number of tokens of the longer prefix.
    pub(crate) fn prefix_tokens(&self) -> usize {
        let count = |prefix: &String| self.full.tokenizer.encode_fast(prefix.as_str(), false).map_or(0, |e| e.len());
        count(&self.prefixes.query).max(count(&self.prefixes.passage))
    }

    /// Ids of the texts after the model's own prefix, each truncated at the limit, padded to the longest.
    pub(crate) fn batch(&self, kind: TaskKind, texts: &[&str]) -> Result<Batch, Error> {
        let prefix = match kind {
            TaskKind::Query => self.prefixes.query.as_str(),
            TaskKind::Passage => self.prefixes.passage.as_str(),
        };
        self.encode(texts.iter().map(|text| {
            let head = self.head(text);
            match prefix.is_empty() {
                true => self.truncating.encode_fast(head, true),
                false => self.truncating.encode_fast(format!("{prefix}{head}"), true),
            }
        }))
    }

    /// Ids of a question and each text together. When both do not fit, the longer one is truncated.
    pub(crate) fn pairs(&self, question: &str, texts: &[&str]) -> Result<Batch, Error> {
        let question = self.head(question);
        self.encode(texts.iter().map(|text| self.truncating.encode_fast((question, self.head(text)), true)))
    }

    fn encode(&self, encodings: impl Iterator<Item = tokenizers::Result<Encoding>>) -> Result<Batch, Error> {
        let encodings = encodings.collect::<Result<Vec<_>, _>>().map_err(|_quotes_text| Error::Tokenise)?;
        let columns = encodings.iter().map(|e| e.get_ids().len()).max().unwrap_or(0);
        let mut batch = Batch { rows: encodings.len(), columns, ..Batch::default() };
        for encoding in &encodings {
            let padding = columns - encoding.get_ids().len();
            batch.tokens += encoding.get_ids().len();
            extend(&mut batch.ids, encoding.get_ids(), padding, self.pad);
            extend(&mut batch.mask, encoding.get_attention_mask(), padding, 0);
            extend(&mut batch.types, encoding.get_type_ids(), padding, 0);
            extend(&mut batch.special, encoding.get_special_tokens_mask(), padding, 1);
        }
        Ok(batch)
    }

    /// The head of a long text that the model can read at most, so that the rest is not tokenised only to be cut.
    fn head<'t>(&self, text: &'t str) -> &'t str {
        let mut tokens = 0;
        for (start, window) in windows(text) {
            if start + window.len() == text.len() {
                break;
            }
            tokens += self.full.tokenizer.encode_fast(window, false).map_or(0, |e| e.get_ids().len());
            if tokens >= self.max_tokens {
                return &text[..start + window.len()];
            }
        }
        text
    }
}

fn extend(row: &mut Vec<i64>, values: &[u32], padding: usize, pad: i64) {
    row.extend(values.iter().map(|v| i64::from(*v)));
    row.extend(std::iter::repeat_n(pad, padding));
}

/// Splits a text into windows of at most [`WINDOW_BYTES`] at whitespace, or between any two characters when there is no
/// whitespace within that length.
fn windows(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut start = 0;
    std::iter::from_fn(move || {
        if start >= text.len() {
            return None;
        }
        let rest = &text[start..];
        let window = if rest.len() <= WINDOW_BYTES {
            rest
        } else {
            let longest = &rest[..rest.floor_char_boundary(WINDOW_BYTES)];
            // Not at the first byte, because a window must not be empty.
            let space = longest.char_indices().rev().find(|(at, c)| *at > 0 && c.is_whitespace()).map(|(at, _)| at);
            space.map_or(longest, |at| &rest[..at])
        };
        let at = start;
        start += window.len();
        Some((at, window))
    })
}

/// Maps offsets in a window to the text: on character boundaries, in order, never empty. A run that the tokeniser gives
/// up on (one without a break, an address, a blob) is one unknown token to it, but not to a chunker or a token budget.
fn push_spans(spans: &mut Vec<TokenSpan>, text: &str, window: usize, offsets: &[(usize, usize)]) {
    let mut after = window;
    for (start, end) in offsets {
        // Offsets may overlap or split a character: each span begins where the previous one ended at the earliest.
        let start = text.floor_char_boundary(window + start).max(after);
        let end = text.ceil_char_boundary(window + end);
        if end <= start {
            continue;
        }
        after = end;
        let span = TokenSpan { start, end };
        if end - start > TOKEN_BYTES_MAX { push_pieces(spans, text, span, PIECE_CHARS) } else { spans.push(span) }
    }
}

/// Spans of a few characters each.
fn push_pieces(spans: &mut Vec<TokenSpan>, text: &str, span: TokenSpan, chars: usize) {
    let mut start = span.start;
    for (i, (at, c)) in text[span.start..span.end].char_indices().enumerate() {
        let end = span.start + at + c.len_utf8();
        if (i + 1) % chars == 0 || end == span.end {
            spans.push(TokenSpan { start, end });
            start = end;
        }
    }
}

fn unusable(path: &Path, why: &str) -> Error {
    Error::Unusable { path: path.to_path_buf(), why: why.to_owned() }
}

/// Long enough that a split word does not matter, short enough that a window's bookkeeping stays in cache.
const WINDOW_BYTES: usize = 16 << 10;

/// No vocabulary has longer words; WordPiece gives up at 100 characters.
const TOKEN_BYTES_MAX: usize = 64;

/// Average characters of a token in such a run.
const PIECE_CHARS: usize = 4;

#[cfg(test)]
mod tests;
