//! The container of a segment: magic `RFSG`, version, checksum, counts, section table, sections.
//!
//! ```text
//! 0  "RFSG"   4  version u16   6  distance u8   7  reserved u8 = 0   8  checksum u64
//! 16 dimensions u32   20 documents u32   24 rows u32   28 sections u32
//! 32 table: sections × { kind u32, offset u64, length u64 }, then the sections without gaps
//! ```
//! Promises: [`parse`] takes only bytes that [`Writer::finish`] made: any one changed or missing
//! byte is an [`Error`]. The checksum finds accidents and bugs; tampering is `vault`'s matter.

use crate::{
    Error, Spec,
    bytes::{Reader, Slice},
};
use kernel::{Distance, limits};
use zeroize::Zeroizing;

const MAGIC: &[u8; 4] = b"RFSG";
/// Version of the container and of all its sections.
pub(crate) const VERSION: u16 = 0;
const CHECKED_FROM: usize = 16;
const HEADER: usize = 32;
const ENTRY: usize = 20;

/// The sections, in the order in which they stand. All are always there; some may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Kind {
    Documents = 1,
    Heads,
    Texts,
    Rows,
    Norms,
    Ids,
    Attributes,
    Readers,
    Status,
    Times,
    Vectors,
    Codes,
    Scales,
    Vectored,
    Graph,
    TextIndex,
}

impl Kind {
    const ALL: [Kind; 16] = [
        Kind::Documents,
        Kind::Heads,
        Kind::Texts,
        Kind::Rows,
        Kind::Norms,
        Kind::Ids,
        Kind::Attributes,
        Kind::Readers,
        Kind::Status,
        Kind::Times,
        Kind::Vectors,
        Kind::Codes,
        Kind::Scales,
        Kind::Vectored,
        Kind::Graph,
        Kind::TextIndex,
    ];
}

fn distance_code(distance: Distance) -> u8 {
    match distance {
        Distance::Cosine => 0,
        Distance::Dot => 1,
        Distance::Euclidean => 2,
    }
}

/// Collects sections.
pub(crate) struct Writer {
    parts: [Zeroizing<Vec<u8>>; Kind::ALL.len()],
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self { parts: std::array::from_fn(|_| Zeroizing::default()) }
    }

    /// The bytes of one section, to be filled.
    pub(crate) fn part(&mut self, kind: Kind) -> &mut Vec<u8> {
        &mut self.parts[kind as usize - 1]
    }

    /// The finished container.
    pub(crate) fn finish(self, spec: &Spec, documents: u32, rows: u32) -> Zeroizing<Vec<u8>> {
        let table = HEADER + ENTRY * Kind::ALL.len();
        let total = table + self.parts.iter().map(|p| p.len()).sum::<usize>();
        let mut out = Zeroizing::new(Vec::with_capacity(total));
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[distance_code(spec.distance), 0]);
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&(spec.dimensions as u32).to_le_bytes());
        out.extend_from_slice(&documents.to_le_bytes());
        out.extend_from_slice(&rows.to_le_bytes());
        out.extend_from_slice(&(Kind::ALL.len() as u32).to_le_bytes());
        let mut offset = table;
        for (kind, part) in Kind::ALL.iter().zip(&self.parts) {
            out.extend_from_slice(&(*kind as u32).to_le_bytes());
            out.extend_from_slice(&(offset as u64).to_le_bytes());
            out.extend_from_slice(&(part.len() as u64).to_le_bytes());
            offset += part.len();
        }
        self.parts.iter().for_each(|part| out.extend_from_slice(part));
        reseal(&mut out);
        out
    }
}

/// Writes the checksum of what is there. Also used by tests that change bytes on purpose.
pub(crate) fn reseal(bytes: &mut [u8]) {
    let sum = bytes.get(CHECKED_FROM..).map(checksum).unwrap_or_default();
    if let Some(field) = bytes.get_mut(8..16) {
        field.copy_from_slice(&sum.to_le_bytes());
    }
}

/// An opened container: its counts and sections.
pub(crate) struct Sections {
    pub(crate) documents: u32,
    pub(crate) rows: u32,
    parts: Vec<Slice>,
}

impl Sections {
    pub(crate) fn get(&self, kind: Kind) -> Slice {
        self.parts[kind as usize - 1].clone()
    }
}

/// Checks and splits a container.
pub(crate) fn parse(spec: &Spec, buffer: Zeroizing<Vec<u8>>) -> Result<Sections, Error> {
    let whole = Slice::whole(buffer);
    let bytes = whole.bytes();
    let mut r = Reader::new(bytes, "segment header");
    if &r.array::<4>()? != MAGIC {
        return Err(Error::corrupt("segment magic", 0));
    }
    let version = r.u16()?;
    if version != VERSION {
        return Err(Error::Version { what: "segment", found: version, known: VERSION });
    }
    let [distance, reserved] = r.array()?;
    if r.u64()? != checksum(bytes.get(CHECKED_FROM..).unwrap_or_default()) || reserved != 0 {
        return Err(Error::corrupt("segment checksum", 8));
    }
    let dimensions = r.u32()? as usize;
    if dimensions != spec.dimensions || distance != distance_code(spec.distance) {
        return Err(Error::Spec { expected: spec.dimensions, found: dimensions });
    }
    let (documents, rows) = (r.u32()?, r.u32()?);
    if documents > limits::SEGMENT_ROWS_MAX || rows > limits::SEGMENT_ROWS_MAX {
        return Err(r.bad());
    }
    let parts = table(&mut r, &whole)?;
    Ok(Sections { documents, rows, parts })
}

fn table(r: &mut Reader<'_>, whole: &Slice) -> Result<Vec<Slice>, Error> {
    if r.u32()? as usize != Kind::ALL.len() {
        return Err(r.bad());
    }
    let mut next = HEADER + ENTRY * Kind::ALL.len();
    let mut parts = Vec::with_capacity(Kind::ALL.len());
    for kind in Kind::ALL {
        let found = r.u32()?;
        let offset = usize::try_from(r.u64()?).map_err(|_| r.bad())?;
        let length = usize::try_from(r.u64()?).map_err(|_| r.bad())?;
        let end = offset.checked_add(length).ok_or_else(|| r.bad())?;
        if found != kind as u32 || offset != next {
            return Err(r.bad());
        }
        parts.push(whole.sub(offset..end).ok_or_else(|| r.bad())?);
        next = end;
    }
    if next == whole.len() { Ok(parts) } else { Err(r.bad()) }
}

/// 64 bits over four lanes. Each step is a bijection of its lane for a given word and of the word
/// for a given lane, and so is the end: two inputs of one length that differ in one word always differ.
fn checksum(bytes: &[u8]) -> u64 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let step = |lane: u64, word: u64| (lane ^ word).wrapping_mul(ODD).rotate_left(29);
    let mut lanes = [1u64, 2, 3, 4];
    let (blocks, rest) = bytes.as_chunks::<32>();
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane = step(*lane, u64::from_le_bytes(*word));
        }
    }
    let mut last = [0; 32];
    last[..rest.len()].copy_from_slice(rest);
    for (lane, word) in lanes.iter_mut().zip(last.as_chunks::<8>().0) {
        *lane = step(*lane, u64::from_le_bytes(*word));
    }
    lanes.into_iter().fold(bytes.len() as u64, step)
}

#[cfg(test)]
mod tests;
