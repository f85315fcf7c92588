//! HTML to visible text: a streaming tokenizer feeds a page ([`page`]).
//!
//! Promises that every piece of text goes into one of two streams, visible and hidden, in time and memory linear in the source. What a
//! browser's style sheets would hide beyond simple class and id rules counts as visible, and is screened as such.

mod entities;
mod page;
mod tokens;

use super::Content;
use page::Page;
use tokens::Tokenizer;

/// Reads an HTML document.
pub(super) fn read(text: &str) -> Content {
    let mut reader = Reader::new();
    reader.feed(text);
    reader.finish()
}

/// A tokenizer and the page that it writes into; the Markdown parser drives one too.
pub(super) struct Reader(Tokenizer<Page>);

impl Reader {
    pub(super) fn new() -> Self {
        Self(Tokenizer::new(Page::default()))
    }

    /// Reads HTML source.
    pub(super) fn feed(&mut self, source: &str) {
        self.0.feed(source);
    }

    /// The page itself, to write into past the tokenizer.
    pub(super) fn page(&mut self) -> &mut Page {
        &mut self.0.sink
    }

    pub(super) fn finish(self) -> Content {
        self.0.end().finish()
    }
}
