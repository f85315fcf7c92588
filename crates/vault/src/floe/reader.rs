//! Reading a FLOE message where it lies, without having all of it: [`read`] opens the whole of one,
//! [`PagedReader`] any range of one.
//!
//! Every segment is authenticated with its number and with being last or not. At opening a
//! [`PagedReader`] opens the last segment, so its length is what was sealed; a segment that is
//! altered, moved or missing is found when it is read.

use super::{HEADER, Kdf, LENGTH, MessageKey, NOT_LAST, Params, SEGMENT_OVERHEAD, segment_aad};
use crate::crypto::{Aead, Cipher, Denied, KEY, NONCE, TAG};
use kernel::{Plaintext, ReadAt};
use std::{fmt, io, ops::Range, slice, sync::Arc};

/// Segments of a paged message that are asked of the source at a time.
const RUN: u64 = 64;
/// Segments of a message that is opened whole of which the source is told before they are read.
const AHEAD: usize = 16;

/// The plaintext of a sealed object's paged part: read in any order, by any number of threads, nothing kept.
pub struct PagedReader {
    params: Params,
    source: Arc<dyn ReadAt>,
    /// Where the first segment begins in the source.
    base: u64,
    layout: Layout,
    header: [u8; HEADER],
    aad: Vec<u8>,
    message_key: MessageKey,
    /// Of the segments before the first change of key: all of them below 16 GiB.
    first: Cipher,
}

/// How a message of a stated length is cut.
#[derive(Clone, Copy)]
struct Layout {
    /// At least one.
    segments: u64,
    /// Bytes of the last one as it is sealed.
    last: u64,
    /// Bytes of plaintext.
    plain: u64,
}

impl Layout {
    fn of(params: &Params, sealed: u64) -> Result<Self, Denied> {
        let body = sealed.checked_sub(HEADER as u64).ok_or(Denied)?;
        let full = u64::from(params.segment_len);
        let segments = body.div_ceil(full).max(1);
        let last = body - (segments - 1) * full;
        let plain = body.checked_sub(segments * SEGMENT_OVERHEAD as u64).ok_or(Denied)?;
        if last < SEGMENT_OVERHEAD as u64 {
            return Err(Denied);
        }
        Ok(Self { segments, last, plain })
    }
}

/// Bytes of plaintext in a message of a stated length, if it can be one.
pub(super) fn plain_len(params: &Params, sealed: u64) -> Result<u64, Denied> {
    Ok(Layout::of(params, sealed)?.plain)
}

impl PagedReader {
    /// Opens the message that fills `place` of the source; authenticates its header and its length.
    pub(crate) fn open(
        params: &Params,
        key: &[u8; KEY],
        aad: Vec<u8>,
        source: Arc<dyn ReadAt>,
        place: Range<u64>,
    ) -> io::Result<Self> {
        let reader = Self::begin(params, key, aad, source, place)?;
        reader.end(&mut Vec::new())?;
        Ok(reader)
    }

    /// Opens the last segment, and so authenticates the length.
    fn end(&self, sealed: &mut Vec<u8>) -> io::Result<Plaintext> {
        let last = self.layout.segments - 1;
        let mut end = Plaintext::zeroed(self.piece(last));
        self.run(last * self.room(), &mut end, sealed)?;
        Ok(end)
    }

    /// Authenticates the header alone: the length is what somebody says until the last segment was opened.
    fn begin(
        params: &Params,
        key: &[u8; KEY],
        aad: Vec<u8>,
        source: Arc<dyn ReadAt>,
        place: Range<u64>,
    ) -> io::Result<Self> {
        let sealed = place.end.checked_sub(place.start).ok_or_else(altered)?;
        let layout = Layout::of(params, sealed).map_err(|_| altered())?;
        let mut header = [0; HEADER];
        source.read_at(place.start, &mut header)?;
        let kdf = Kdf::of(params, &header, &aad);
        kdf.check(&header, key).map_err(|_| altered())?;
        let message_key = kdf.message_key(key);
        let first = kdf.segment_cipher(&message_key, 0);
        let base = place.start + HEADER as u64;
        Ok(Self { params: *params, source, base, layout, header, aad, message_key, first })
    }

    /// Bytes of plaintext in a segment.
    fn room(&self) -> u64 {
        self.params.plain_len() as u64
    }

    /// Opens the whole segments from `offset` on (a border of segments) that fill `out`. What is sealed passes through
    /// `sealed`, which is for nothing else.
    fn run(&self, offset: u64, out: &mut [u8], sealed: &mut Vec<u8>) -> io::Result<()> {
        let from = offset / self.room();
        let full = self.params.segment_len as usize;
        // An empty message has one empty segment.
        let count = out.len().div_ceil(self.params.plain_len()).max(1);
        let length = out.len() + count * SEGMENT_OVERHEAD;
        if sealed.len() < length {
            *sealed = vec![0; length];
        }
        let sealed = &mut sealed[..length];
        self.source.read_at(self.base + from * full as u64, sealed)?;
        let mut pieces = out.chunks_mut(self.params.plain_len());
        for (number, segment) in (from..).zip(sealed.chunks(full)) {
            self.segment(number, segment, pieces.next().unwrap_or_default()).map_err(|_| altered())?;
        }
        Ok(())
    }

    fn segment(&self, number: u64, sealed: &[u8], out: &mut [u8]) -> Result<(), Denied> {
        let last = number + 1 == self.layout.segments;
        let (length, rest) = sealed.split_first_chunk::<LENGTH>().ok_or(Denied)?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE>().ok_or(Denied)?;
        let (piece, tag) = rest.split_last_chunk::<TAG>().ok_or(Denied)?;
        let stated = if last { self.params.last_len(piece.len()) } else { NOT_LAST };
        if *length != stated || piece.len() != out.len() {
            return Err(Denied);
        }
        let aad = segment_aad(number, last);
        match self.params.masked(number) {
            0 => self.first.open_into(nonce, &aad, piece, tag, out),
            masked => {
                let kdf = Kdf::of(&self.params, &self.header, &self.aad);
                kdf.segment_cipher(&self.message_key, masked).open_into(nonce, &aad, piece, tag, out)
            }
        }
    }

    /// Plaintext bytes of a segment.
    fn piece(&self, number: u64) -> usize {
        let left = self.layout.plain.saturating_sub(number.saturating_mul(self.room()));
        left.min(self.room()) as usize
    }
}

impl ReadAt for PagedReader {
    fn size(&self) -> u64 {
        self.layout.plain
    }

    /// Whole pages go straight into `into`; a page of which a part is asked for is opened beside.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(into.len() as u64).filter(|end| *end <= self.layout.plain);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let room = self.room();
        let (mut at, mut rest, mut sealed) = (offset, into, Vec::new());
        while at < end {
            let number = at / room;
            let piece = self.piece(number);
            let skip = (at - number * room) as usize;
            let taken = if skip == 0 && rest.len() >= piece {
                let whole = rest.len() as u64 / room + u64::from(end == self.layout.plain);
                let run = (0..whole.clamp(1, RUN)).map(|n| self.piece(number + n)).sum::<usize>().min(rest.len());
                self.run(at, &mut rest[..run], &mut sealed)?;
                run
            } else {
                let mut page = Plaintext::zeroed(piece);
                self.run(number * room, &mut page, &mut sealed)?;
                let part = &page[skip..piece.min(skip + rest.len())];
                rest[..part.len()].copy_from_slice(part);
                part.len()
            };
            at += taken as u64;
            rest = &mut rest[taken..];
        }
        Ok(())
    }

    fn will_read(&self, ranges: &[Range<u64>]) {
        let (room, full) = (self.room(), u64::from(self.params.segment_len));
        let sealed = |r: &Range<u64>| {
            let end = r.end.min(self.layout.plain).div_ceil(room) * full;
            self.base + r.start / room * full..self.base + end.min((self.layout.segments - 1) * full + self.layout.last)
        };
        self.source.will_read(&ranges.iter().filter(|r| r.start < r.end).map(sealed).collect::<Vec<_>>());
    }
}

/// Bytes only.
impl fmt::Debug for PagedReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PagedReader({} bytes)", self.layout.plain)
    }
}

/// Opens the whole message that fills `place` of the source, a segment at a time and each of them once.
pub(crate) fn read(
    params: &Params,
    key: &[u8; KEY],
    aad: Vec<u8>,
    source: &Arc<dyn ReadAt>,
    place: Range<u64>,
) -> io::Result<Plaintext> {
    let (reader, mut sealed) = (PagedReader::begin(params, key, aad, source.clone(), place)?, Vec::new());
    // Before there is room for the rest: the length may be anybody's.
    let end = reader.end(&mut sealed)?;
    if reader.layout.segments == 1 {
        return Ok(end);
    }
    let length = usize::try_from(reader.size()).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut plain = Plaintext::zeroed(length);
    let (rest, last) = plain.split_at_mut(length - end.len());
    last.copy_from_slice(&end);
    for (number, piece) in rest.chunks_mut(params.plain_len()).enumerate() {
        if number.is_multiple_of(AHEAD) {
            let start = number as u64 * reader.room();
            reader.will_read(slice::from_ref(&(start..start + AHEAD as u64 * reader.room())));
        }
        reader.run(number as u64 * reader.room(), piece, &mut sealed)?;
    }
    Ok(plain)
}

fn altered() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "sealed bytes do not authenticate")
}

#[cfg(test)]
mod tests;
