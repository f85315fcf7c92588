//! The container of a segment: magic `RFSG`, version, checksums, counts, table of sections, sections.
//!
//! ```text
//! 0  "RFSG"   4  version u16   6  distance u8   7  language u8
//! 8  checksum u64 of bytes 16 to the paged part   16 checksum u64 of the paged part
//! 24 dimensions u32   28 documents u32   32 rows u32   36 sections u32
//! 40 table: sections × { kind u32, offset u64, length u64 }, then the sections
//! ```
//! In the first part, a section of 64 KiB or more begins at a multiple of 64 bytes, so that rows of codes and of links
//! are aligned with cache lines; there are no other gaps between sections.
//! The sections of [`SectionKind`] come first and are opened whole; those of [`PagedKind`] follow and are read on demand.
//! Promises: [`parse`] accepts only what [`ContainerWriter::finish`] made. Any single changed or missing byte of the first part
//! is an [`Error`], and of the paged part too when it is in memory. The checksums detect accidents and bugs; `vault`
//! detects tampering and checks every page that is read later.

use crate::{Error, Spec, bytes::Slice, pages::Section};
use kernel::{ByteReader, Distance, limits};
use std::ops::Range;
use zeroize::Zeroizing;

const MAGIC: &[u8; 4] = b"RFSG";
/// Version of the container and of all its sections.
pub(crate) const VERSION: u16 = 0;
const CHECKED_FROM: usize = 16;
const HEADER: usize = 40;
const ENTRY: usize = 20;
const TABLE_END: usize = HEADER + ENTRY * (SectionKind::ALL.len() + PagedKind::ALL.len());

/// The sections that are opened whole, in file order. All are always present; some may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum SectionKind {
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

impl SectionKind {
    const ALL: [SectionKind; 15] = [
        SectionKind::Documents,
        SectionKind::Rows,
        SectionKind::Norms,
        SectionKind::Ids,
        SectionKind::IdBytes,
        SectionKind::Attributes,
        SectionKind::Readers,
        SectionKind::Status,
        SectionKind::Times,
        SectionKind::Codes,
        SectionKind::Residuals,
        SectionKind::Scales,
        SectionKind::Vectored,
        SectionKind::Graph,
        SectionKind::TextFiles,
    ];
}

/// The sections that are read in pages, in file order; they follow those of [`SectionKind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum PagedKind {
    TextIndex = 16,
    Heads,
    Texts,
    Vectors,
}

impl PagedKind {
    const ALL: [PagedKind; 4] = [PagedKind::TextIndex, PagedKind::Heads, PagedKind::Texts, PagedKind::Vectors];
}

/// Offset of a section of this length when all sections before it end at `end`.
fn section_start(kind: u32, end: usize, length: usize) -> usize {
    let aligned = kind as usize <= SectionKind::ALL.len() && length >= ALIGNED_MIN;
    if aligned { end.checked_next_multiple_of(CACHE_LINE).unwrap_or(end) } else { end }
}

/// Bytes of a cache line.
const CACHE_LINE: usize = 64;
/// Shorter sections are not aligned: they are not worth a gap.
const ALIGNED_MIN: usize = 64 << 10;

fn distance_code(distance: Distance) -> u8 {
    match distance {
        Distance::Cosine => 0,
        Distance::Dot => 1,
        Distance::Euclidean => 2,
    }
}

/// Collects the bytes of all sections.
#[derive(Default)]
pub(crate) struct ContainerWriter {
    parts: [Zeroizing<Vec<u8>>; SectionKind::ALL.len()],
    paged: [Zeroizing<Vec<u8>>; PagedKind::ALL.len()],
}

impl ContainerWriter {
    /// The buffer of one section, to be filled.
    pub(crate) fn part(&mut self, kind: SectionKind) -> &mut Vec<u8> {
        &mut self.parts[kind as usize - 1]
    }

    /// The buffer of one paged section, to be filled.
    pub(crate) fn paged(&mut self, kind: PagedKind) -> &mut Vec<u8> {
        &mut self.paged[kind as usize - 1 - SectionKind::ALL.len()]
    }

    /// Returns the finished container.
    pub(crate) fn finish(self, spec: &Spec, documents: u32, rows: u32) -> Zeroizing<Vec<u8>> {
        let parts: Vec<_> = self.parts.into_iter().chain(self.paged).collect();
        let gaps = CACHE_LINE * SectionKind::ALL.len();
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
        // The table comes before the sections, so their offsets are computed first.
        let mut offset = TABLE_END;
        for (kind, part) in (1u32..).zip(&parts) {
            offset = section_start(kind, offset, part.len());
            out.extend_from_slice(&kind.to_le_bytes());
            out.extend_from_slice(&(offset as u64).to_le_bytes());
            out.extend_from_slice(&(part.len() as u64).to_le_bytes());
            offset += part.len();
        }
        // Each section is freed once it is copied, so that a large segment is in memory only little more than once.
        for (kind, part) in (1u32..).zip(parts) {
            let begin = section_start(kind, out.len(), part.len());
            out.resize(begin, 0);
            out.extend_from_slice(&part);
        }
        reseal(&mut out);
        out
    }
}

/// Writes both checksums for the current bytes. Tests that change bytes on purpose use it too.
pub(crate) fn reseal(bytes: &mut [u8]) {
    let split = paged_offset(bytes).unwrap_or(bytes.len());
    let end = bytes.len();
    // The first checksum covers the second, which is therefore written first.
    put_checksum(bytes, 16, split..end);
    put_checksum(bytes, 8, CHECKED_FROM..split);
}

/// Writes the checksum of a range at byte `at`.
fn put_checksum(bytes: &mut [u8], at: usize, range: Range<usize>) {
    let sum = bytes.get(range).map(checksum).unwrap_or_default();
    if let Some(field) = bytes.get_mut(at..at + 8) {
        field.copy_from_slice(&sum.to_le_bytes());
    }
}

/// Copies the text index of one container into another of the same length, so that everything else can be fuzzed.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn copy_text_index(good: &[u8], bytes: &mut [u8]) {
    for kind in [SectionKind::TextFiles as usize, PagedKind::TextIndex as usize] {
        let at = HEADER + ENTRY * (kind - 1) + 4;
        let field = |at| crate::bytes::u64_from(good, at).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        let range = field(at)..field(at) + field(at + 8);
        if let (Some(to), Some(from)) = (bytes.get_mut(range.clone()), good.get(range)) {
            to.copy_from_slice(from);
        }
    }
}

/// Offset of the paged part, as the table of a container says. `None` for bytes that are no container.
pub(crate) fn paged_offset(bytes: &[u8]) -> Option<usize> {
    let at = HEADER + ENTRY * SectionKind::ALL.len() + 4;
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
    pub(crate) fn get(&self, kind: SectionKind) -> Slice {
        self.parts[kind as usize - 1].clone()
    }

    pub(crate) fn paged(&self, kind: PagedKind) -> Section {
        self.paged[kind as usize - 1 - SectionKind::ALL.len()].clone()
    }
}

/// Checks a container and splits it into sections; its paged part is given separately.
pub(crate) fn parse(spec: &Spec, whole: &Slice, paged: &Section) -> Result<Sections, Error> {
    let bytes = whole.bytes();
    let mut r = ByteReader::new(bytes, "segment header");
    if &r.array::<4>()? != MAGIC {
        return Err(Error::corrupt("segment magic", 0));
    }
    let version = r.u16()?;
    if version != VERSION {
        return Err(Error::Version { what: "segment", found: version, known: VERSION });
    }
    let [distance, language] = r.array()?;
    // The checksum is verified before any field after it is used.
    if r.u64()? != checksum(bytes.get(CHECKED_FROM..).unwrap_or_default()) {
        return Err(Error::corrupt("segment checksum", 8));
    }
    let paged_checksum = r.u64()?;
    if let Section::Memory(slice) = paged
        && paged_checksum != checksum(slice.bytes())
    {
        return Err(Error::corrupt("checksum of the paged part", 16));
    }
    let dimensions = r.u32()? as usize;
    if (dimensions, distance, language) != (spec.dimensions, distance_code(spec.distance), spec.language as u8) {
        return Err(Error::Spec { expected: spec.dimensions, found: dimensions });
    }
    let (documents, rows) = (r.u32()?, r.u32()?);
    if documents > limits::SEGMENT_ROWS_MAX || rows > limits::SEGMENT_ROWS_MAX {
        return Err(r.malformed().into());
    }
    let (parts, paged) = table(&mut r, whole, paged)?;
    Ok(Sections { documents, rows, parts, paged })
}

fn table(r: &mut ByteReader<'_>, whole: &Slice, paged: &Section) -> Result<(Vec<Slice>, Vec<Section>), Error> {
    if r.u32()? as usize != SectionKind::ALL.len() + PagedKind::ALL.len() {
        return Err(r.malformed().into());
    }
    let mut next = TABLE_END as u64;
    let bad = || Error::corrupt("table of sections", HEADER);
    let mut parts = Vec::with_capacity(SectionKind::ALL.len());
    for kind in SectionKind::ALL {
        let range = table_entry(r, kind as u32, &mut next)?;
        let range = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok()).ok_or_else(bad)?;
        parts.push(whole.sub(range.0..range.1).ok_or_else(bad)?);
    }
    let paged_offset = whole.len() as u64;
    // Offsets count from the start of the container, but the paged part is a source of its own.
    let mut paged_sections = Vec::with_capacity(PagedKind::ALL.len());
    for kind in PagedKind::ALL {
        let range = table_entry(r, kind as u32, &mut next)?;
        let start = range.start.checked_sub(paged_offset).ok_or_else(bad)?;
        paged_sections.push(paged.sub(start..range.end - paged_offset).ok_or_else(bad)?);
    }
    // The first part ends where the paged part begins: every offset above was compared with that.
    if next == paged_offset + paged.len() { Ok((parts, paged_sections)) } else { Err(bad()) }
}

/// Reads the range of the section of this kind, which must begin where the previous one allows. `next` is the end of
/// the previous section and becomes the end of this one.
fn table_entry(r: &mut ByteReader<'_>, kind: u32, next: &mut u64) -> Result<Range<u64>, Error> {
    let (found, offset, length) = (r.u32()?, r.u64()?, r.u64()?);
    let begin = section_start(kind, *next as usize, usize::try_from(length).unwrap_or(usize::MAX)) as u64;
    let end = offset.checked_add(length).filter(|_| found == kind && offset == begin).ok_or_else(|| r.malformed())?;
    *next = end;
    Ok(offset..end)
}

/// Checksum of 64 bits over four lanes. Each step is a bijection of its lane for a given word and of the word for a
/// given lane, and so is the final fold: two inputs of one length that differ in one word always have different
/// checksums.
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
