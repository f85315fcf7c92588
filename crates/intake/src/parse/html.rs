//! Converts HTML to visible text: a streaming tokenizer feeds a page ([`page`]).
//!
//! Promises that every piece of text goes into one of two streams, visible and hidden, in time and memory linear in the
//! source. Text that style sheets hide by other than simple class and id rules counts as visible, and is screened as
//! such.

mod entities;
mod page;
mod tokens;

use super::Content;
use page::HtmlPage;
use tokens::Tokenizer;

/// Reads an HTML document.
pub(super) fn read(text: &str) -> Content {
    let mut reader = HtmlReader::new();
    reader.feed(text);
    reader.finish()
}

/// A tokenizer and the page that it writes to. The Markdown parser uses one too.
pub(super) struct HtmlReader(Tokenizer<HtmlPage>);

impl HtmlReader {
    pub(super) fn new() -> Self {
        Self(Tokenizer::new(HtmlPage::default()))
    }

    /// Reads HTML source.
    pub(super) fn feed(&mut self, source: &str) {
        self.0.feed(source);
    }

    /// The page itself, to write to it without the tokenizer.
    pub(super) fn page(&mut self) -> &mut HtmlPage {
        &mut self.0.sink
    }

    pub(super) fn finish(self) -> Content {
        self.0.end().finish()
    }
}
