//! Little-endian fields of log entries and manifests.
//!
//! Guarantees that truncated bytes yield an error that names what is corrupt and where, never a panic.

use crate::Error;
use kernel::{ByteReader, Distance, Language, MalformedBytes, Timestamp};
use segment::Spec;

/// Appends a length and the bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends a count or length.
pub(crate) fn put_length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&(length as u64).to_le_bytes());
}

/// Appends the spec: vector dimensions, distance and language.
pub(crate) fn put_spec(out: &mut Vec<u8>, spec: Spec) {
    put_length(out, spec.dimensions);
    out.push(match spec.distance {
        Distance::Cosine => 0,
        Distance::Dot => 1,
        Distance::Euclidean => 2,
    });
    out.push(spec.language as u8);
}

/// Appends an optional time; `None` is encoded as the largest value.
pub(crate) fn put_moment(out: &mut Vec<u8>, at: Option<Timestamp>) {
    out.extend_from_slice(&at.map_or(i64::MAX, Timestamp::as_millis).to_le_bytes());
}

/// Reader of the fields after the version byte, with which each of our formats begins.
///
/// # Errors
/// [`Error::Version`], [`Error::Corrupt`].
pub(crate) fn open<'a>(what: &'static str, version: u8, bytes: &'a [u8]) -> Result<ByteReader<'a>, Error> {
    let mut r = ByteReader::new(bytes, what);
    let found = r.u8()?;
    if found != version {
        return Err(Error::Version { what, found, known: version });
    }
    Ok(r)
}

/// Reads what [`put_bytes`] wrote.
pub(crate) fn read_bytes<'a>(r: &mut ByteReader<'a>) -> Result<&'a [u8], MalformedBytes> {
    let length = read_length(r)?;
    r.take(length)
}

/// Reads a count or length. It allocates nothing, so a wrong length costs no memory.
pub(crate) fn read_length(r: &mut ByteReader<'_>) -> Result<usize, MalformedBytes> {
    usize::try_from(r.u64()?).map_err(|_| r.malformed())
}

/// Reads what [`put_moment`] wrote.
pub(crate) fn read_moment(r: &mut ByteReader<'_>) -> Result<Option<Timestamp>, MalformedBytes> {
    let at = r.i64()?;
    Ok((at != i64::MAX).then_some(Timestamp::from_millis(at)))
}

/// Reads what [`put_spec`] wrote.
pub(crate) fn read_spec(r: &mut ByteReader<'_>) -> Result<Spec, MalformedBytes> {
    let dimensions = read_length(r)?;
    let distance = match r.u8()? {
        0 => Distance::Cosine,
        1 => Distance::Dot,
        2 => Distance::Euclidean,
        _ => return Err(r.malformed()),
    };
    let language = Language::ALL.get(usize::from(r.u8()?)).copied().ok_or_else(|| r.malformed())?;
    Ok(Spec { dimensions, distance, language })
}

impl From<MalformedBytes> for Error {
    fn from(MalformedBytes { what, at }: MalformedBytes) -> Self {
        Error::Corrupt { what, at }
    }
}
