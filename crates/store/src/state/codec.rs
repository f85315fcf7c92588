//! Little-endian fields of log entries and manifests.
//!
//! Guarantees that truncated bytes yield an error that names what is corrupt and where, never a panic.

use crate::Error;
use kernel::{Distance, Language, Timestamp};
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

/// Reader of consecutive fields.
pub(crate) struct FieldReader<'a> {
    what: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> FieldReader<'a> {
    /// Checks the version byte, with which each of our formats begins.
    pub(crate) fn open(what: &'static str, version: u8, bytes: &'a [u8]) -> Result<Self, Error> {
        let mut fields = Self { what, bytes, at: 0 };
        let found = fields.byte()?;
        if found != version {
            return Err(Error::Version { what, found, known: version });
        }
        Ok(fields)
    }

    /// Error for bytes that are invalid at the current position.
    pub(crate) fn corrupt(&self) -> Error {
        Error::Corrupt { what: self.what, at: self.at }
    }

    /// The next `n` bytes.
    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8], Error> {
        let taken =
            self.at.checked_add(n).and_then(|end| self.bytes.get(self.at..end)).ok_or_else(|| self.corrupt())?;
        self.at += n;
        Ok(taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Error> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        let mut raw = [0; 4];
        raw.copy_from_slice(self.take(4)?);
        Ok(u32::from_le_bytes(raw))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Error> {
        let mut raw = [0; 8];
        raw.copy_from_slice(self.take(8)?);
        Ok(u64::from_le_bytes(raw))
    }

    pub(crate) fn moment(&mut self) -> Result<Option<Timestamp>, Error> {
        let at = self.u64()?.cast_signed();
        Ok((at != i64::MAX).then_some(Timestamp::from_millis(at)))
    }

    /// Reads a count or length. It allocates nothing, so a wrong length costs no memory.
    pub(crate) fn length(&mut self) -> Result<usize, Error> {
        let raw = self.u64()?;
        usize::try_from(raw).map_err(|_| self.corrupt())
    }

    /// Reads a length and that number of bytes.
    pub(crate) fn sized(&mut self) -> Result<&'a [u8], Error> {
        let length = self.length()?;
        self.take(length)
    }

    pub(crate) fn spec(&mut self) -> Result<Spec, Error> {
        let dimensions = self.length()?;
        let distance = match self.byte()? {
            0 => Distance::Cosine,
            1 => Distance::Dot,
            2 => Distance::Euclidean,
            _ => return Err(self.corrupt()),
        };
        let language = Language::ALL.get(usize::from(self.byte()?)).copied().ok_or_else(|| self.corrupt())?;
        Ok(Spec { dimensions, distance, language })
    }

    /// Checks that no bytes are left.
    pub(crate) fn end(&self) -> Result<(), Error> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.corrupt()) }
    }
}
