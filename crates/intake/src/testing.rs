//! Fixtures that this crate's tests share.

use crate::{Draft, RawBody, RawDocument, Screened, Verdict, parse, screen};
use kernel::{Attributes, DocumentId, Finding, Screening, TokenSpan, Tokens, Untrusted};

/// A document with this media type and text.
pub(crate) fn raw(media_type: &str, text: &str) -> RawDocument {
    RawDocument {
        id: None,
        body: RawBody::Text(Untrusted::new(text)),
        media_type: Some(media_type.to_owned()),
        title: None,
        uri: None,
        attributes: Attributes::new(),
        readers: None,
        vector: None,
        expires_at: None,
    }
}

/// A document with this file name as its id, and without a declared media type.
pub(crate) fn file(name: &str, text: &str) -> RawDocument {
    RawDocument { id: DocumentId::parse(name).ok(), media_type: None, ..raw("", text) }
}

pub(crate) fn draft(media_type: &str, text: &str) -> Draft {
    parse(raw(media_type, text)).expect("the text is good")
}

pub(crate) fn screened(draft: Draft, policy: &Screening) -> Screened {
    match screen(draft, policy) {
        Verdict::Screened(screened) => screened,
        Verdict::Rejected { findings, .. } => panic!("rejected: {findings:?}"),
    }
}

/// Findings of the default policy in a document of this media type.
pub(crate) fn findings(media_type: &str, text: &str) -> Vec<Finding> {
    screened(draft(media_type, text), &Screening::default()).findings().to_vec()
}

/// Names of the rules that matched.
pub(crate) fn rules(media_type: &str, text: &str) -> Vec<String> {
    findings(media_type, text).into_iter().map(|f| f.rule).collect()
}

/// A tokenizer that splits words into pieces of at most four characters. As with models, there are more tokens than
/// words.
pub(crate) struct Quads;

impl Tokens for Quads {
    fn spans(&self, text: &str) -> Vec<TokenSpan> {
        let mut spans = Vec::new();
        let (mut start, mut n) = (0, 0);
        for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
            if n > 0 && (c.is_whitespace() || n == 4) {
                spans.push(TokenSpan { start, end: at });
                n = 0;
            }
            if !c.is_whitespace() {
                start = if n == 0 { at } else { start };
                n += 1;
            }
        }
        spans
    }

    fn name(&self) -> &str {
        "quads"
    }
}
