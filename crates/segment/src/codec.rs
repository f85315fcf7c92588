//! Documents as bytes: whole for log entries, and as head, text and vectors apart for segments.
//!
//! Numbers are little-endian, strings and lists are prefixed with LEB128 lengths, and the first byte of a whole
//! document is version 0. Promises: decoding is the inverse of encoding, checks every length before it relies on it,
//! and never panics. Leaves to others: sealing, since the bytes are plaintext.

use crate::{
    Error,
    bytes::{floats, put_size, put_str},
};
use kernel::{
    AttrValue, Attributes, ByteReader, CommitNo, Document, DocumentId, DocumentView, Finding, FindingKind,
    MalformedBytes, Number, Passage, Principal, Scalar, ScreenAction, Severity, Span, Status, Timestamp, Untrusted,
};

/// Version of the bytes that [`encode_document`] writes.
const VERSION: u8 = 0;

/// Appends a whole document to `out`.
pub fn encode_document(doc: &Document, out: &mut Vec<u8>) {
    out.push(VERSION);
    encode_head(doc, out);
    put_str(out, doc.text.expose());
    put_size(out, doc.vectors.len());
    doc.vectors.iter().for_each(|x| out.extend_from_slice(&x.to_le_bytes()));
}

/// Reads one document from the start of `bytes`; the second value is the number of bytes read.
///
/// # Errors
/// [`Error::Version`] for another version, [`Error::Corrupt`] for anything else that is invalid.
pub fn decode_document(bytes: &[u8]) -> Result<(Document, usize), Error> {
    let mut r = ByteReader::new(bytes, "document");
    let version = r.u8()?;
    if version != VERSION {
        return Err(Error::Version { what: "document", found: version.into(), known: VERSION.into() });
    }
    let mut doc = head(&mut r)?;
    doc.text = Untrusted::new(r.str()?);
    let count = r.count(4)?;
    doc.vectors = floats(r.take(count * 4)?).collect();
    Ok((doc, r.at()))
}

/// Appends everything but text and vectors. The fields that filters read come first.
pub(crate) fn encode_head(doc: &Document, out: &mut Vec<u8>) {
    put_str(out, doc.id.key());
    put_str(out, doc.uri.expose());
    out.push(status_code(doc.status));
    out.extend_from_slice(&doc.created_at.as_millis().to_le_bytes());
    out.extend_from_slice(&doc.updated_at.as_millis().to_le_bytes());
    out.push(doc.expires_at.is_some().into());
    if let Some(t) = doc.expires_at {
        out.extend_from_slice(&t.as_millis().to_le_bytes());
    }
    out.extend_from_slice(&doc.commit.0.to_le_bytes());
    out.extend_from_slice(&doc.content_hash);
    put_str(out, doc.title.expose());
    out.push(doc.readers.is_some().into());
    if let Some(readers) = &doc.readers {
        put_size(out, readers.len());
        readers.iter().for_each(|p| put_str(out, p.as_str()));
    }
    put_size(out, doc.attributes.len());
    for (key, value) in &doc.attributes {
        put_str(out, key);
        put_value(out, value);
    }
    put_size(out, doc.findings.len());
    doc.findings.iter().for_each(|f| put_finding(out, f));
    put_size(out, doc.passages.len());
    for p in &doc.passages {
        for n in [p.span.byte_start, p.span.byte_end, p.span.point_start, p.span.point_end, p.tokens] {
            out.extend_from_slice(&n.to_le_bytes());
        }
    }
}

/// Bytes that a stored document takes, by part. They are the same in a write buffer, in a segment and in every segment
/// that it is merged into later, and tables give them without reading the document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Id, title, uri, attributes, readers, findings and the spans of its passages.
    pub head: u64,
    /// The document's text.
    pub text: u64,
    /// One vector of the namespace's dimensions per passage; zeros are stored when the document has none.
    pub vectors: u64,
}

impl Sizes {
    /// Weight of a document for quotas and for the `bytes` of a namespace. Indexes are not included.
    pub fn weight(self) -> u64 {
        self.head + self.text + self.vectors
    }

    /// Sizes of a document in a namespace of these dimensions. `scratch` holds its encoding; its previous content is
    /// lost.
    pub fn of(doc: &Document, dimensions: usize, scratch: &mut Vec<u8>) -> Self {
        scratch.clear();
        encode_head(doc, scratch);
        let vectors = doc.passages.len() as u64 * dimensions as u64 * 4;
        let head = scratch.len() as u64 - disambiguator_bytes(doc.id.key());
        Self { head, text: doc.text.len() as u64, vectors }
    }
}

/// Encoded bytes of a key beyond those of its id. No size counts them: they would reveal to a reader who sees only one
/// document that others share its id.
pub(crate) fn disambiguator_bytes(key: &str) -> u64 {
    let encoded =
        |text: &str| u64::from((usize::BITS - text.len().max(1).leading_zeros()).div_ceil(7)) + text.len() as u64;
    encoded(key) - encoded(DocumentId::id_in(key))
}

/// Reads what [`encode_head`] wrote.
pub(crate) fn decode_head(bytes: &[u8]) -> Result<Document, Error> {
    let mut r = ByteReader::new(bytes, "document head");
    let doc = head(&mut r)?;
    r.end()?;
    Ok(doc)
}

/// The fields of a head that filters on `$` keys read, without copying.
pub(crate) fn peek(bytes: &[u8]) -> Result<DocumentView<'_>, Error> {
    let document = view(&mut ByteReader::new(bytes, "document head"))?;
    Ok(DocumentView { id: DocumentId::id_in(document.id), ..document })
}

static NO_ATTRIBUTES: Attributes = Attributes::new();

/// The document's key is returned as `id`.
fn view<'a>(r: &mut ByteReader<'a>) -> Result<DocumentView<'a>, MalformedBytes> {
    Ok(DocumentView {
        id: r.str()?,
        uri: r.str()?,
        status: status(r)?,
        created_at: Timestamp::from_millis(r.i64()?),
        updated_at: Timestamp::from_millis(r.i64()?),
        expires_at: if r.flag()? { Some(Timestamp::from_millis(r.i64()?)) } else { None },
        attributes: &NO_ATTRIBUTES,
    })
}

fn head(r: &mut ByteReader<'_>) -> Result<Document, MalformedBytes> {
    let start = view(r)?;
    Ok(Document {
        id: DocumentId::from_key(start.id).map_err(|_| r.malformed())?,
        uri: Untrusted::new(start.uri),
        status: start.status,
        created_at: start.created_at,
        updated_at: start.updated_at,
        expires_at: start.expires_at,
        commit: CommitNo(r.u64()?),
        content_hash: r.array()?,
        title: Untrusted::new(r.str()?),
        readers: readers(r)?,
        attributes: attributes(r)?,
        findings: list(r, 8, finding)?,
        passages: list(r, 20, passage)?,
        text: Untrusted::default(),
        vectors: Vec::new(),
    })
}

fn list<T>(
    r: &mut ByteReader<'_>,
    least: usize,
    item: impl Fn(&mut ByteReader<'_>) -> Result<T, MalformedBytes>,
) -> Result<Vec<T>, MalformedBytes> {
    let count = r.count(least)?;
    let mut list = Vec::with_capacity(count);
    for _ in 0..count {
        list.push(item(r)?);
    }
    Ok(list)
}

fn readers(r: &mut ByteReader<'_>) -> Result<Option<Vec<Principal>>, MalformedBytes> {
    if !r.flag()? {
        return Ok(None);
    }
    list(r, 4, |r| Principal::parse(r.str()?).map_err(|_| r.malformed())).map(Some)
}

fn attributes(r: &mut ByteReader<'_>) -> Result<Attributes, MalformedBytes> {
    let pairs = list(r, 3, |r| Ok((r.str()?.to_owned(), value(r)?)))?;
    let count = pairs.len();
    let map: Attributes = pairs.into_iter().collect();
    // A repeated key is never written by this encoder.
    if map.len() == count { Ok(map) } else { Err(r.malformed()) }
}

const STR: u8 = 0;
const NUM: u8 = 1;
const BOOL: u8 = 2;
const MANY: u8 = 3;
/// A whole number within `i64`. Whole numbers above it are [`UINT`]; everything else is a [`NUM`].
const INT: u8 = 4;
const UINT: u8 = 5;

fn put_scalar(out: &mut Vec<u8>, scalar: &Scalar) {
    match scalar {
        Scalar::Str(s) => {
            out.push(STR);
            put_str(out, s);
        }
        Scalar::Num(x) => put_number(out, *x),
        Scalar::Bool(b) => out.extend_from_slice(&[BOOL, (*b).into()]),
    }
}

fn put_number(out: &mut Vec<u8>, x: Number) {
    let whole = x.whole().map(|n| (i64::try_from(n), u64::try_from(n)));
    let (tag, bytes) = match (whole, x.float()) {
        (Some((Ok(n), _)), _) => (INT, n.to_le_bytes()),
        (Some((_, Ok(n))), _) => (UINT, n.to_le_bytes()),
        (_, x) => (NUM, x.unwrap_or_default().to_le_bytes()),
    };
    out.push(tag);
    out.extend_from_slice(&bytes);
}

fn put_value(out: &mut Vec<u8>, value: &AttrValue) {
    match value {
        AttrValue::One(s) => put_scalar(out, s),
        AttrValue::Many(list) => {
            out.push(MANY);
            put_size(out, list.len());
            list.iter().for_each(|s| put_scalar(out, s));
        }
    }
}

fn scalar(tag: u8, r: &mut ByteReader<'_>) -> Result<Scalar, MalformedBytes> {
    match tag {
        STR => Ok(Scalar::Str(r.str()?.to_owned())),
        NUM => Ok(Scalar::Num(f64::from_le_bytes(r.array()?).into())),
        INT => Ok(Scalar::Num(r.i64()?.into())),
        UINT => Ok(Scalar::Num(r.u64()?.into())),
        BOOL => Ok(Scalar::Bool(r.flag()?)),
        _ => Err(r.malformed()),
    }
}

fn value(r: &mut ByteReader<'_>) -> Result<AttrValue, MalformedBytes> {
    match r.u8()? {
        MANY => list(r, 2, |r| scalar(r.u8()?, r)).map(AttrValue::Many),
        tag => scalar(tag, r).map(AttrValue::One),
    }
}

fn passage(r: &mut ByteReader<'_>) -> Result<Passage, MalformedBytes> {
    let span = Span { byte_start: r.u32()?, byte_end: r.u32()?, point_start: r.u32()?, point_end: r.u32()? };
    Ok(Passage { span, tokens: r.u32()? })
}

fn put_finding(out: &mut Vec<u8>, f: &Finding) {
    out.push(match f.kind {
        FindingKind::Injection => 0,
        FindingKind::Pii => 1,
        FindingKind::Secret => 2,
    });
    out.push(match f.severity {
        Severity::Low => 0,
        Severity::Medium => 1,
        Severity::High => 2,
    });
    out.push(match f.action {
        ScreenAction::Allow => 0,
        ScreenAction::Tag => 1,
        ScreenAction::Mask => 2,
        ScreenAction::Quarantine => 3,
        ScreenAction::Reject => 4,
    });
    out.extend_from_slice(&f.count.to_le_bytes());
    put_str(out, &f.rule);
}

fn finding(r: &mut ByteReader<'_>) -> Result<Finding, MalformedBytes> {
    let kind = match r.u8()? {
        0 => FindingKind::Injection,
        1 => FindingKind::Pii,
        2 => FindingKind::Secret,
        _ => return Err(r.malformed()),
    };
    let severity = match r.u8()? {
        0 => Severity::Low,
        1 => Severity::Medium,
        2 => Severity::High,
        _ => return Err(r.malformed()),
    };
    let action = match r.u8()? {
        0 => ScreenAction::Allow,
        1 => ScreenAction::Tag,
        2 => ScreenAction::Mask,
        3 => ScreenAction::Quarantine,
        4 => ScreenAction::Reject,
        _ => return Err(r.malformed()),
    };
    Ok(Finding { kind, severity, action, count: r.u32()?, rule: r.str()?.to_owned() })
}

/// Number of a status in the bytes, and index of its bitmap in a segment.
pub(crate) fn status_code(status: Status) -> u8 {
    match status {
        Status::Indexed => 0,
        Status::Quarantined => 1,
        Status::Pending => 2,
    }
}

fn status(r: &mut ByteReader<'_>) -> Result<Status, MalformedBytes> {
    match r.u8()? {
        0 => Ok(Status::Indexed),
        1 => Ok(Status::Quarantined),
        2 => Ok(Status::Pending),
        _ => Err(r.malformed()),
    }
}

#[cfg(test)]
mod tests;
