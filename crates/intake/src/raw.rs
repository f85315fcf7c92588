//! A document as it was sent, its limits, and its identity.
//!
//! Promises that equal documents get equal ids under one key, that no two different documents have the same encoding,
//! and that every limit of the API is checked before parsing.

use crate::Error;
use kernel::{AttrValue, Attributes, DocumentId, Principal, Pseudonymiser, Scalar, Timestamp, Untrusted, limits};
use std::fmt;

/// Content of a document as it was sent.
pub enum RawBody {
    /// No content; the document has only a vector.
    None,
    /// Text that was sent as a JSON string.
    Text(Untrusted),
    /// Bytes that were sent as `content_base64`.
    Bytes {
        /// Declared media type; takes precedence over that of the document.
        media_type: Option<String>,
        /// The decoded bytes.
        bytes: Vec<u8>,
    },
}

/// A document as it was sent.
pub struct RawDocument {
    /// Id, if the caller gave one.
    pub id: Option<DocumentId>,
    /// Content of the document.
    pub body: RawBody,
    /// Declared media type of the content.
    pub media_type: Option<String>,
    /// Title of the document.
    pub title: Option<Untrusted>,
    /// URI of the source.
    pub uri: Option<Untrusted>,
    /// Attributes of the document.
    pub attributes: Attributes,
    /// Principals that may read the document; `None` is the whole tenant.
    pub readers: Option<Vec<Principal>>,
    /// The caller's own vector. The document is then a single passage.
    pub vector: Option<Vec<f32>>,
    /// Time at which the document expires.
    pub expires_at: Option<Timestamp>,
}

impl fmt::Debug for RawBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RawBody::None => f.write_str("None"),
            RawBody::Text(text) => write!(f, "Text({} bytes)", text.len()),
            RawBody::Bytes { bytes, .. } => write!(f, "Bytes({} bytes)", bytes.len()),
        }
    }
}

impl fmt::Debug for RawDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawDocument")
            .field("id", &self.id)
            .field("body", &self.body)
            .field("attributes", &self.attributes.len())
            .field("vector", &self.vector.as_ref().map(Vec::len))
            .finish_non_exhaustive()
    }
}

impl RawDocument {
    /// Heap bytes of everything that was sent, without the allocator's rounding.
    pub fn heap_bytes(&self) -> u64 {
        let readers: usize = self.readers.iter().flatten().map(|reader| reader.as_str().len() + 40).sum();
        let strings = [&self.title, &self.uri].map(|text| text.as_ref().map_or(0, Untrusted::len));
        let vector = self.vector.as_ref().map_or(0, |vector| size_of_val(vector.as_slice()));
        (size_of::<Self>() + self.body.len() + strings.iter().sum::<usize>() + readers + vector) as u64
            + kernel::attributes_heap_bytes(&self.attributes)
    }
}

impl RawBody {
    /// Length of the content in bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            RawBody::None => 0,
            RawBody::Text(text) => text.len(),
            RawBody::Bytes { bytes, .. } => bytes.len(),
        }
    }
}

/// Returns the document's id (the given one, or `h-` and a keyed hash of everything that was sent), and its content
/// hash: a keyed hash of everything that was sent and of everything that decides about it, namely the namespace's
/// settings in `judgement` and the version of the screens. An equal content hash means an unchanged document.
pub fn identify(raw: &RawDocument, judgement: &[u8], keyed: &dyn Pseudonymiser) -> (DocumentId, [u8; 32]) {
    let (tag, body): (&[u8], &[u8]) = match &raw.body {
        RawBody::None => (b"none", &[]),
        RawBody::Text(text) => (b"text", text.expose().as_bytes()),
        RawBody::Bytes { bytes, .. } => (b"bytes", bytes),
    };
    let rest = encode_rest(raw);
    let hash = |label: &[u8]| keyed.pseudonym(&[label, tag, body, &rest]);
    let half = |label: &[u8]| keyed.pseudonym(&[label, &[SCREENS_VERSION], judgement, tag, body, &rest]);
    let mut content = [0; 32];
    content[..16].copy_from_slice(&half(b"content hash, first half"));
    content[16..].copy_from_slice(&half(b"content hash, second half"));
    let id = raw.id.clone().unwrap_or_else(|| {
        let digits: String = hash(b"document id").iter().map(|b| format!("{b:02x}")).collect();
        DocumentId::parse(&format!("h-{digits}")).expect("34 plain characters are a document id")
    });
    (id, content)
}

/// Version of the screens and of the parsers that decide which text is visible. It grows with each release in which
/// their results change, so that content that is sent again is screened again.
const SCREENS_VERSION: u8 = 2;

/// Encodes everything but the body. Each field is length-prefixed and each option is marked.
fn encode_rest(raw: &RawDocument) -> Vec<u8> {
    let mut out = IdentityEncoder(Vec::new());
    let declared = match &raw.body {
        RawBody::Bytes { media_type, .. } => media_type.as_deref(),
        _ => None,
    };
    out.option(declared, |out, s| out.field(s.as_bytes()));
    out.option(raw.media_type.as_deref(), |out, s| out.field(s.as_bytes()));
    out.option(raw.title.as_ref(), |out, s| out.field(s.expose().as_bytes()));
    out.option(raw.uri.as_ref(), |out, s| out.field(s.expose().as_bytes()));
    out.count(raw.attributes.len());
    for (key, value) in &raw.attributes {
        out.field(key.as_bytes());
        out.0.push(u8::from(matches!(value, AttrValue::Many(_))));
        out.count(value.scalars().len());
        value.scalars().iter().for_each(|s| out.scalar(s));
    }
    out.option(raw.readers.as_ref(), |out, readers| {
        out.count(readers.len());
        readers.iter().for_each(|r| out.field(r.as_str().as_bytes()));
    });
    out.option(raw.vector.as_ref(), |out, vector| {
        out.count(vector.len());
        vector.iter().for_each(|x| out.0.extend(x.to_le_bytes()));
    });
    out.option(raw.expires_at, |out, at| out.0.extend(at.as_millis().to_le_bytes()));
    out.0
}

struct IdentityEncoder(Vec<u8>);

impl IdentityEncoder {
    fn count(&mut self, n: usize) {
        self.0.extend((n as u64).to_le_bytes());
    }

    fn field(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.extend(bytes);
    }

    fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.0.push(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn scalar(&mut self, scalar: &Scalar) {
        match scalar {
            Scalar::Str(s) => {
                self.0.push(b's');
                self.field(s.as_bytes());
            }
            Scalar::Num(x) => {
                self.0.push(b'n');
                let (high, low) = x.order_key().unwrap_or((u64::MAX, u32::MAX));
                self.0.extend(high.to_le_bytes());
                self.0.extend(low.to_le_bytes());
            }
            Scalar::Bool(b) => self.0.extend([b'b', u8::from(*b)]),
        }
    }
}

/// Checks the limits of one document before parsing.
pub(crate) fn check_limits(raw: &RawDocument) -> Result<(), Error> {
    if raw.body.len() > limits::DOCUMENT_BYTES_MAX {
        let remedy = format!("may have at most {} bytes; split the document", limits::DOCUMENT_BYTES_MAX);
        return Err(Error::too_large("documents[].text", remedy));
    }
    if raw.title.as_ref().is_some_and(|t| t.len() > limits::TITLE_BYTES_MAX) {
        let remedy = format!("may have at most {} bytes; shorten it", limits::TITLE_BYTES_MAX);
        return Err(Error::invalid("documents[].title", remedy));
    }
    check_uri(raw.uri.as_ref(), "documents[].uri")?;
    check_attributes(&raw.attributes, "documents[].attributes")?;
    check_readers(raw.readers.as_deref(), "documents[].readers")?;
    check_plain(raw.title.as_ref(), "documents[].title")
}

pub(crate) fn check_uri(uri: Option<&Untrusted>, param: &'static str) -> Result<(), Error> {
    if uri.is_some_and(|u| u.len() > limits::URI_BYTES_MAX) {
        return Err(Error::invalid(param, format!("may have at most {} bytes; shorten it", limits::URI_BYTES_MAX)));
    }
    check_plain(uri, param)
}

fn check_plain(text: Option<&Untrusted>, param: &'static str) -> Result<(), Error> {
    match text {
        Some(t) if t.expose().contains('\0') => Err(Error::invalid(param, "contains a NUL character; remove it")),
        _ => Ok(()),
    }
}

pub(crate) fn check_attributes(attributes: &Attributes, param: &'static str) -> Result<(), Error> {
    if attributes.len() > limits::ATTRIBUTES_MAX {
        let remedy = format!("may have at most {} keys; keep the ones you filter by", limits::ATTRIBUTES_MAX);
        return Err(Error::invalid(param, remedy));
    }
    attributes.keys().try_for_each(|key| check_key(key, param))
}

pub(crate) fn check_key(key: &str, param: &'static str) -> Result<(), Error> {
    if key.is_empty() || key.len() > limits::ATTRIBUTE_KEY_BYTES_MAX || key.starts_with('$') {
        let most = limits::ATTRIBUTE_KEY_BYTES_MAX;
        return Err(Error::invalid(param, format!("a key needs 1 to {most} bytes and must not start with '$'")));
    }
    Ok(())
}

pub(crate) fn check_readers(readers: Option<&[Principal]>, param: &'static str) -> Result<(), Error> {
    match readers {
        Some([]) => Err(Error::invalid(
            param,
            "must not be empty: leave it out to open the document to the whole tenant, or name who may read it",
        )),
        Some(list) if list.len() > limits::READERS_MAX => {
            Err(Error::invalid(param, format!("may name at most {} principals; use a group", limits::READERS_MAX)))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
