//! Parses bytes of a known kind into a [`Draft`]: the text that a reader sees, and separately all text that a reader
//! does not see but a model might (comments, hidden elements, link targets).
//!
//! Promises linear time without recursion for any bytes, and UTF-8 text with `\n` line ends and without NUL. Only
//! visible text is stored and searched; both streams are screened.

mod css;
mod formats;
mod html;
mod markdown;
mod media;

use crate::{Error, RawBody, RawDocument, raw};
pub use formats::{UnsupportedFormat, unsupported_extension, unsupported_format};
use kernel::{Attributes, DocumentId, Principal, Timestamp, Untrusted, limits};
use media::ContentKind;
use std::{borrow::Cow, fmt};

/// A parsed document that is not screened yet.
pub struct Draft {
    pub(crate) id: Option<DocumentId>,
    pub(crate) fields: DocumentFields,
    pub(crate) vector: Option<Vec<f32>>,
    pub(crate) content: Content,
}

/// Metadata that is stored with the text.
pub(crate) struct DocumentFields {
    pub(crate) title: Untrusted,
    pub(crate) uri: Untrusted,
    pub(crate) attributes: Attributes,
    pub(crate) readers: Option<Vec<Principal>>,
    pub(crate) expires_at: Option<Timestamp>,
}

/// Result of parsing a document's content.
#[derive(Default)]
pub(crate) struct Content {
    /// The visible text.
    pub(crate) text: String,
    /// Byte offsets in `text` at which headings start.
    pub(crate) headings: Vec<usize>,
    /// Text that no reader sees.
    pub(crate) hidden: Hidden,
    /// Title that the content itself names.
    pub(crate) title: String,
}

/// Pieces of text that no reader sees, concatenated into one string because a page may hold millions of short ones.
#[derive(Default)]
pub(crate) struct Hidden {
    text: String,
    /// The kind of each piece and the byte at which it ends. A document is shorter than 4 GiB.
    ends: Vec<(HiddenKind, u32)>,
}

impl Hidden {
    /// Adds a piece, unless it is empty.
    pub(crate) fn push(&mut self, kind: HiddenKind, text: &str) {
        if !text.is_empty() {
            self.text.push_str(text);
            self.ends.push((kind, u32::try_from(self.text.len()).unwrap_or(u32::MAX)));
        }
    }

    /// Returns the pieces in order.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = (HiddenKind, &str)> {
        let mut from = 0;
        self.ends.iter().map(move |(kind, end)| {
            let start = std::mem::replace(&mut from, *end as usize);
            (*kind, self.text.get(start..*end as usize).unwrap_or_default())
        })
    }

    /// Number of pieces.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }
}

/// Reason why a reader does not see a text. The screens treat the kinds differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HiddenKind {
    /// Text that a style, an attribute or a comment conceals.
    Concealed,
    /// Text of a script or a style sheet.
    Script,
    /// Text of `alt`, `title`, `meta` and similar attributes.
    Label,
    /// Target of a link.
    Link,
    /// Source of an image, which is fetched without a click.
    Image,
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft")
            .field("id", &self.id)
            .field("text_bytes", &self.content.text.len())
            .field("hidden", &self.content.hidden.len())
            .finish_non_exhaustive()
    }
}

/// Parses a document as plain text, Markdown or HTML, according to its declared type, otherwise the extension of its id
/// or URI, otherwise its first bytes.
///
/// # Errors
/// `invalid_request` or `too_large` with the name of the field: for an unknown type, bytes that are no text, an
/// exceeded limit, or a document with neither text nor vector.
pub fn parse(document: RawDocument) -> Result<Draft, Error> {
    raw::check_limits(&document)?;
    let RawDocument { id, body, media_type, title, uri, attributes, readers, vector, expires_at } = document;
    if vector.as_ref().is_some_and(Vec::is_empty) {
        return Err(Error::invalid("documents[].vector", "must not be empty; leave it out instead"));
    }
    let names = [id.as_ref().map(DocumentId::as_str), uri.as_ref().map(Untrusted::expose)];
    let content = match body {
        RawBody::None => Content::default(),
        RawBody::Text(text) => {
            media::check_format(text.expose().as_bytes(), "documents[].text")?;
            read(text.expose(), media_type.as_deref(), &names, "documents[].text")?
        }
        RawBody::Bytes { media_type: own, bytes } => {
            let text = media::decode(&bytes)?;
            read(text, own.as_deref().or(media_type.as_deref()), &names, "documents[].content_base64")?
        }
    };
    if content.text.trim().is_empty() && vector.is_none() {
        return Err(Error::invalid("documents[].text", "has no visible text; send some text, or a vector"));
    }
    let title = title.unwrap_or_else(|| Untrusted::new(shorten(&content.title, limits::TITLE_BYTES_MAX)));
    let fields = DocumentFields { title, uri: uri.unwrap_or_default(), attributes, readers, expires_at };
    Ok(Draft { id, fields, vector, content })
}

fn read(text: &str, declared: Option<&str>, names: &[Option<&str>], param: &'static str) -> Result<Content, Error> {
    if text.contains('\0') {
        return Err(Error::invalid(param, "contains a NUL character, so it is no text; convert it to text first"));
    }
    let text = line_ends(text);
    Ok(match media::kind(declared, names, &text)? {
        ContentKind::Plain => Content { text: text.into_owned(), ..Content::default() },
        ContentKind::Markdown => markdown::read(&text),
        ContentKind::Html => html::read(&text),
    })
}

/// Replaces `\r\n` and a lone `\r` by `\n`.
fn line_ends(text: &str) -> Cow<'_, str> {
    if text.contains('\r') { Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")) } else { Cow::Borrowed(text) }
}

/// Truncates a text to at most `bytes_max` bytes, at a character boundary.
pub(crate) fn shorten(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests;
