//! Bytes of a known kind become a [`Draft`]: the text that a reader sees, and apart from it all
//! that a reader does not see but a model might (comments, hidden elements, link targets).
//!
//! Promises linear time and no recursion whatever the bytes, UTF-8 with `\n` line ends and no NUL.
//! Only visible text is stored and found; both streams are screened.

mod css;
mod formats;
mod html;
mod markdown;
mod media;

use crate::{Body, Error, RawDocument, raw};
pub use formats::{UnreadFormat, unread_ending, unread_format};
use kernel::{Attributes, DocumentId, Principal, Timestamp, Untrusted, limits};
use media::Kind;
use std::{borrow::Cow, fmt};

/// A parsed document that no screen has seen yet.
pub struct Draft {
    pub(crate) id: Option<DocumentId>,
    pub(crate) fields: Fields,
    pub(crate) vector: Option<Vec<f32>>,
    pub(crate) content: Content,
}

/// What is stored beside the text.
pub(crate) struct Fields {
    pub(crate) title: Untrusted,
    pub(crate) uri: Untrusted,
    pub(crate) attributes: Attributes,
    pub(crate) readers: Option<Vec<Principal>>,
    pub(crate) expires_at: Option<Timestamp>,
}

/// What a parser makes of content.
#[derive(Default)]
pub(crate) struct Content {
    /// Visible text.
    pub(crate) text: String,
    /// Bytes of `text` at which a heading starts.
    pub(crate) headings: Vec<usize>,
    /// What no reader sees.
    pub(crate) hidden: Hidden,
    /// A title that the content itself names.
    pub(crate) title: String,
}

/// Pieces of text that no reader sees, one after the other in one string: a page may hold millions of short ones.
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

    /// The pieces in their order.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = (HiddenKind, &str)> {
        let mut from = 0;
        self.ends.iter().map(move |(kind, end)| {
            let start = std::mem::replace(&mut from, *end as usize);
            (*kind, self.text.get(start..*end as usize).unwrap_or_default())
        })
    }

    /// How many pieces.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }
}

/// Why a reader does not see it; the screens weigh these differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HiddenKind {
    /// Text kept from readers by style, attribute or comment.
    Concealed,
    /// Program or style text.
    Script,
    /// alt, title, meta and the like.
    Label,
    /// Where a link goes.
    Link,
    /// Where an image comes from: fetched without a click.
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

/// Parses a document: plain text, Markdown or HTML, by declared type, else by the extension of
/// its id or uri, else by its first bytes.
///
/// # Errors
/// `invalid_request` or `too_large` naming the field: an unknown type, bytes that are no text, a
/// limit, or neither text nor vector.
pub fn parse(document: RawDocument) -> Result<Draft, Error> {
    raw::check_limits(&document)?;
    let RawDocument { id, body, media_type, title, uri, attributes, readers, vector, expires_at } = document;
    if vector.as_ref().is_some_and(Vec::is_empty) {
        return Err(Error::invalid("documents[].vector", "must not be empty; leave it out instead"));
    }
    let names = [id.as_ref().map(DocumentId::as_str), uri.as_ref().map(Untrusted::expose)];
    let content = match body {
        Body::None => Content::default(),
        Body::Text(text) => {
            media::check_format(text.expose().as_bytes(), "documents[].text")?;
            read(text.expose(), media_type.as_deref(), &names, "documents[].text")?
        }
        Body::Bytes { media_type: own, bytes } => {
            let text = media::decode(&bytes)?;
            read(text, own.as_deref().or(media_type.as_deref()), &names, "documents[].content_base64")?
        }
    };
    if content.text.trim().is_empty() && vector.is_none() {
        return Err(Error::invalid("documents[].text", "has no visible text; send some text, or a vector"));
    }
    let title = title.unwrap_or_else(|| Untrusted::new(shorten(&content.title, limits::TITLE_BYTES_MAX)));
    let fields = Fields { title, uri: uri.unwrap_or_default(), attributes, readers, expires_at };
    Ok(Draft { id, fields, vector, content })
}

fn read(text: &str, declared: Option<&str>, names: &[Option<&str>], param: &'static str) -> Result<Content, Error> {
    if text.contains('\0') {
        return Err(Error::invalid(param, "contains a NUL character, so it is no text; convert it to text first"));
    }
    let text = line_ends(text);
    Ok(match media::kind(declared, names, &text)? {
        Kind::Plain => Content { text: text.into_owned(), ..Content::default() },
        Kind::Markdown => markdown::read(&text),
        Kind::Html => html::read(&text),
    })
}

/// `\r\n` and a lone `\r` become `\n`.
fn line_ends(text: &str) -> Cow<'_, str> {
    if text.contains('\r') { Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")) } else { Cow::Borrowed(text) }
}

/// The first `bytes_max` bytes at most, cut at a character's border.
pub(crate) fn shorten(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests;
