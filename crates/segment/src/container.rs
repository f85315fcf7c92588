//! The container of a segment: magic `RFSG`, version, checksums, counts, table of sections, sections.
//!
//! ```text
//! 0  "RFSG"   4  version u16   6  distance u8   7  language u8
//! 8  checksum u64 of bytes 16 to the paged part   16 checksum u64 of the paged part
//! 24 dimensions u32   28 documents u32   32 rows u32   36 sections u32
//! 40 table: sections × { kind u32, offset u64, length u64 }, then the sections
//! ```
//! A section of 64 KiB or more of the first part begins at a multiple of 64 bytes, so that rows of codes and of links
//! begin with a line of the caches; else sections follow each other without gaps.
//! The sections of [`Kind`] come first and are opened whole; those of [`Paged`] follow and are read as they are needed.
//! Promises: [`parse`] takes only what [`Writer::finish`] made: any one changed or missing byte of the first part is
//! an [`Error`], and of the paged part too where it is in memory. The checksums find accidents and bugs; tampering
//! is `vault`'s matter, and so is every page that is read later.

use crate::{
    Error, Spec,
    bytes::{Reader, Slice},
    pages::Section,
};
use kernel::{Distance, limits};
use std::ops::Range;
use zeroize::Zeroizing;

const MAGIC: &[u8; 4] = b"RFSG";
/// Version of the container and of all its sections.
pub(crate) const VERSION: u16 = 0;
const CHECKED_FROM: usize = 16;
const HEADER: usize = 40;
const ENTRY: usize = 20;
const TABLE_END: usize = HEADER + ENTRY * (Kind::ALL.len() + Paged::ALL.len());

/// The sections that are opened whole, in the order in which they stand. All are always there; some may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Kind {
    Documents = 1,
    Rows,
    Norms,
    Ids,
    IdBytes,
    Attributes,
    Readers,
    Status,
    Times,
    Codes,
    Residuals,
    Scales,
    Vectored,
    Graph,
    TextFiles,
}

impl Kind {
    const ALL: [Kind; 15] = [
        Kind::Documents,
        Kind::Rows,
        Kind::Norms,
        Kind::Ids,
        Kind::IdBytes,
        Kind::Attributes,
        Kind::Readers,
        Kind::Status,
        Kind::Times,
        Kind::Codes,
        Kind::Residuals,
        Kind::Scales,
        Kind::Vectored,
        Kind::Graph,
        Kind::TextFiles,
    ];
}

/// The sections that are read in pages, in the order in which they stand behind the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Paged {
    TextIndex = 16,
    Heads,
    Texts,
    Vectors,
}

impl Paged {
    const ALL: [Paged; 4] = [Paged::TextIndex, Paged::Heads, Paged::Texts, Paged::Vectors];
}

/// Where a section of this length begins when all before it end at `end`.
fn start(kind: u32, end: usize, length: usize) -> usize {
    let aligned = kind as usize <= Kind::ALL.len() && length >= ALIGNED_MIN;
    if aligned { end.checked_next_multiple_of(LINE).unwrap_or(end) } else { end }
}

/// Bytes of a line of the caches.
const LINE: usize = 64;
/// Smaller ones are not worth a gap.
const ALIGNED_MIN: usize = 64 << 10;

fn distance_code(distance: Distance) -> u8 {
    match distance {
        Distance::Cosine => 0,
        Distance::Dot => 1,
        Distance::Euclidean => 2,
    }
}

/// Collects sections.
#[derive(Default)]
pub(crate) struct Writer {
    parts: [Zeroizing<Vec<u8>>; Kind::ALL.len()],
    paged: [Zeroizing<Vec<u8>>; Paged::ALL.len()],
}

impl Writer {
    /// The bytes of one section, to be filled.
    pub(crate) fn part(&mut self, kind: Kind) -> &mut Vec<u8> {
        &mut self.parts[kind as usize - 1]
    }

    /// The bytes of one paged section, to be filled.
    pub(crate) fn paged(&mut self, kind: Paged) -> &mut Vec<u8> {
        &mut self.paged[kind as usize - 1 - Kind::ALL.len()]
    }

    /// The finished container.
    pub(crate) fn finish(self, spec: &Spec, documents: u32, rows: u32) -> Zeroizing<Vec<u8>> {
        let parts: Vec<_> = self.parts.into_iter().chain(self.paged).collect();
        let gaps = LINE * Kind::ALL.len();
        let total = TABLE_END + parts.iter().map(|p| p.len()).sum::<usize>() + gaps;
        let mut out = Zeroizing::new(Vec::with_capacity(total));
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[distance_code(spec.distance), spec.language as u8]);
        out.extend_from_slice(&[0; 16]);
        out.extend_from_slice(&(spec.dimensions as u32).to_le_bytes());
        out.extend_from_slice(&documents.to_le_bytes());
        out.extend_from_slice(&rows.to_le_bytes());
        out.extend_from_slice(&(parts.len() as u32).to_le_bytes());
        let mut offset = TABLE_END;
        for (kind, part) in (1u32..).zip(&parts) {
            offset = start(kind, offset, part.len());
            out.extend_from_slice(&kind.to_le_bytes());
            out.extend_from_slice(&(offset as u64).to_le_bytes());
            out.extend_from_slice(&(part.len() as u64).to_le_bytes());
            offset += part.len();
        }
        // Each goes when it is copied: a large segment is in memory once and a bit.
        for (kind, part) in (1u32..).zip(parts) {
            let begin = start(kind, out.len(), part.len());
            out.resize(begin, 0);
            out.extend_from_slice(&part);
        }
        reseal(&mut out);
        out
    }
}

/// Writes the checksums of what is there. Also used by tests that change bytes on purpose.
pub(crate) fn reseal(bytes: &mut [u8]) {
    let split = border(bytes).unwrap_or(bytes.len());
    let put = |bytes: &mut [u8], at: usize, range: Range<usize>| {
        let sum = bytes.get(range).map(checksum).unwrap_or_default();
        if let Some(field) = bytes.get_mut(at..at + 8) {
            field.copy_from_slice(&sum.to_le_bytes());
        }
    };
    let end = bytes.len();
    put(bytes, 16, split..end);
    put(bytes, 8, CHECKED_FROM..split);
}

/// Puts the text index of one container into another of its length, so that all else in it may be fuzzed.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn keep_text(good: &[u8], bytes: &mut [u8]) {
    for kind in [Kind::TextFiles as usize, Paged::TextIndex as usize] {
        let at = HEADER + ENTRY * (kind - 1) + 4;
        let field = |at| crate::bytes::u64_from(good, at).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        let place = field(at)..field(at) + field(at + 8);
        if let (Some(to), Some(from)) = (bytes.get_mut(place.clone()), good.get(place)) {
            to.copy_from_slice(from);
        }
    }
}

/// Where the paged part of a container begins, as its table says. `None` for bytes that are none.
pub(crate) fn border(bytes: &[u8]) -> Option<usize> {
    let at = HEADER + ENTRY * Kind::ALL.len() + 4;
    let offset = u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?);
    usize::try_from(offset).ok().filter(|offset| (TABLE_END..=bytes.len()).contains(offset))
}

/// An opened container: its counts and sections.
pub(crate) struct Sections {
    pub(crate) documents: u32,
    pub(crate) rows: u32,
    parts: Vec<Slice>,
    paged: Vec<Section>,
}

impl Sections {
    pub(crate) fn get(&self, kind: Kind) -> Slice {
        self.parts[kind as usize - 1].clone()
    }

    pub(crate) fn paged(&self, kind: Paged) -> Section {
        self.paged[kind as usize - 1 - Kind::ALL.len()].clone()
    }
}

/// Checks and splits a container whose paged part lies apart.
pub(crate) fn parse(spec: &Spec, whole: &Slice, paged: &Section) -> Result<Sections, Error> {
    let bytes = whole.bytes();
    let mut r = Reader::new(bytes, "segment header");
    if &r.array::<4>()? != MAGIC {
        return Err(Error::corrupt("segment magic", 0));
    }
    let version = r.u16()?;
    if version != VERSION {
        return Err(Error::Version { what: "segment", found: version, known: VERSION });
    }
    let [distance, language] = r.array()?;
    if r.u64()? != checksum(bytes.get(CHECKED_FROM..).unwrap_or_default()) {
        return Err(Error::corrupt("segment checksum", 8));
    }
    let behind = r.u64()?;
    if let Section::Memory(slice) = paged
        && behind != checksum(slice.bytes())
    {
        return Err(Error::corrupt("checksum of the paged part", 16));
    }
    let dimensions = r.u32()? as usize;
    if (dimensions, distance, language) != (spec.dimensions, distance_code(spec.distance), spec.language as u8) {
        return Err(Error::Spec { expected: spec.dimensions, found: dimensions });
    }
    let (documents, rows) = (r.u32()?, r.u32()?);
    if documents > limits::SEGMENT_ROWS_MAX || rows > limits::SEGMENT_ROWS_MAX {
        return Err(r.bad());
    }
    let (parts, paged) = table(&mut r, whole, paged)?;
    Ok(Sections { documents, rows, parts, paged })
}

fn table(r: &mut Reader<'_>, whole: &Slice, paged: &Section) -> Result<(Vec<Slice>, Vec<Section>), Error> {
    if r.u32()? as usize != Kind::ALL.len() + Paged::ALL.len() {
        return Err(r.bad());
    }
    let mut next = TABLE_END as u64;
    let mut entry = |kind: u32| {
        let (found, offset, length) = (r.u32()?, r.u64()?, r.u64()?);
        let begin = start(kind, next as usize, usize::try_from(length).unwrap_or(usize::MAX)) as u64;
        let end = offset.checked_add(length).filter(|_| found == kind && offset == begin).ok_or_else(|| r.bad())?;
        next = end;
        Ok::<_, Error>(offset..end)
    };
    let bad = || Error::corrupt("table of sections", HEADER);
    let mut parts = Vec::with_capacity(Kind::ALL.len());
    for kind in Kind::ALL {
        let range = entry(kind as u32)?;
        let range = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok()).ok_or_else(bad)?;
        parts.push(whole.sub(range.0..range.1).ok_or_else(bad)?);
    }
    let border = whole.len() as u64;
    let mut behind = Vec::with_capacity(Paged::ALL.len());
    for kind in Paged::ALL {
        let range = entry(kind as u32)?;
        let start = range.start.checked_sub(border).ok_or_else(bad)?;
        behind.push(paged.sub(start..range.end - border).ok_or_else(bad)?);
    }
    // The first part ends where the second begins, which every offset above has been compared with.
    if next == border + paged.len() { Ok((parts, behind)) } else { Err(bad()) }
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
pub(crate) mod tests;
