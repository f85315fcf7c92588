//! Reading a FLOE message where it lies, without having all of it: [`read`] opens the whole of one,
//! [`PagedReader`] any range of one.
//!
//! Every segment is authenticated with its number and with being last or not. At opening a
//! [`PagedReader`] opens the last segment, so its length is what was sealed; a segment that is
//! altered, moved or missing is found when it is read.

use super::{HEADER, Kdf, LENGTH, NOT_LAST, Params, SEGMENT_OVERHEAD, segment_aad};
use crate::{
    SecretKey,
    crypto::{Aead, Cipher, Denied, KEY, NONCE, TAG},
};
use kernel::{Plaintext, ReadAt};
use std::{cell::Cell, fmt, io, ops::Range, slice, sync::Arc};

/// Segments of a paged message that are asked of the source at a time.
const RUN: u64 = 64;
/// Segments of a message that is opened whole of which the source is told before they are read.
const AHEAD: u64 = 16;

thread_local! {
    /// Room for one page as it is sealed, for this thread's next read.
    static SEALED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The plaintext of a sealed object's paged part: read in any order, by any number of threads, nothing kept.
pub struct PagedReader {
    params: Params,
    source: Arc<dyn ReadAt>,
    /// Where the first segment begins in the source.
    base: u64,
    layout: Layout,
    header: [u8; HEADER],
    aad: Vec<u8>,
    /// Of the segments before the first change of key: all of them below 16 GiB. The cipher is made of it for each read,
    /// and gone behind it: what a cipher makes of a key lies in ordinary memory.
    first: SecretKey,
    /// The object's, where there are segments behind that.
    later: Option<SecretKey>,
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
        reader.end()?;
        Ok(reader)
    }

    /// Opens the last segment, and so authenticates the length.
    fn end(&self) -> io::Result<Plaintext> {
        let last = self.layout.segments - 1;
        let piece = self.piece(last);
        let mut end = Plaintext::zeroed(piece + TAG);
        self.read_into(last, &mut end, &mut self.ciphers())?;
        end.truncate(piece);
        Ok(end)
    }

    /// Reads a segment to where its plaintext is to stand and opens it there. `room` is longer by the tag, which comes
    /// to stand behind and is not used again.
    fn read_into(&self, number: u64, room: &mut [u8], ciphers: &mut Ciphers<'_>) -> io::Result<()> {
        let at = self.base + number * u64::from(self.params.segment_len);
        let mut head = [0; LENGTH + NONCE];
        self.source.read_at(at, &mut head)?;
        self.source.read_at(at + head.len() as u64, room)?;
        self.open_in(number, &head, room, ciphers).map_err(|_| altered())
    }

    fn open_in(&self, number: u64, head: &[u8], room: &mut [u8], ciphers: &mut Ciphers<'_>) -> Result<(), Denied> {
        let (data, tag) = room.split_last_chunk_mut::<TAG>().ok_or(Denied)?;
        let (length, nonce) = head.split_first_chunk::<LENGTH>().ok_or(Denied)?;
        let nonce = nonce.first_chunk::<NONCE>().ok_or(Denied)?;
        let last = self.stated(number, length, data.len())?;
        ciphers.of(number)?.open(nonce, &segment_aad(number, last), data, tag)
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
        let first = SecretKey::filled(|first| kdf.segment_key(&kdf.message_key(key), 0, first));
        let changes = params.masked(layout.segments - 1) > 0;
        let later = changes.then(|| SecretKey::filled(|later| later.copy_from_slice(key)));
        let base = place.start + HEADER as u64;
        Ok(Self { params: *params, source, base, layout, header, aad, first, later })
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
        let (mut pieces, mut ciphers) = (out.chunks_mut(self.params.plain_len()), self.ciphers());
        for (number, segment) in (from..).zip(sealed.chunks(full)) {
            let piece = pieces.next().unwrap_or_default();
            self.segment(number, segment, piece, &mut ciphers).map_err(|_| altered())?;
        }
        Ok(())
    }

    fn segment(&self, number: u64, sealed: &[u8], out: &mut [u8], ciphers: &mut Ciphers<'_>) -> Result<(), Denied> {
        let (length, rest) = sealed.split_first_chunk::<LENGTH>().ok_or(Denied)?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE>().ok_or(Denied)?;
        let (piece, tag) = rest.split_last_chunk::<TAG>().ok_or(Denied)?;
        let last = self.stated(number, length, piece.len())?;
        if piece.len() != out.len() {
            return Err(Denied);
        }
        ciphers.of(number)?.open_into(nonce, &segment_aad(number, last), piece, tag, out)
    }

    /// Whether a segment is the last, if its length field says so of a piece of this length.
    fn stated(&self, number: u64, length: &[u8; LENGTH], piece: usize) -> Result<bool, Denied> {
        let last = number + 1 == self.layout.segments;
        let stated = if last { self.params.last_len(piece) } else { NOT_LAST };
        if *length == stated { Ok(last) } else { Err(Denied) }
    }

    #[cfg(all(test, not(feature = "portable")))]
    pub(crate) fn key(&self) -> &SecretKey {
        &self.first
    }

    fn cipher(&self, masked: u64) -> Result<Cipher, Denied> {
        if masked == 0 {
            return Ok(Cipher::new(self.first.bytes()));
        }
        let key = self.later.as_ref().ok_or(Denied)?.bytes();
        let kdf = Kdf::of(&self.params, &self.header, &self.aad);
        Ok(kdf.segment_cipher(&kdf.message_key(key), masked))
    }

    fn ciphers(&self) -> Ciphers<'_> {
        Ciphers { reader: self, at: None }
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
        let (mut at, mut rest) = (offset, into);
        let mut sealed = SEALED.try_with(Cell::take).unwrap_or_default();
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
        if sealed.len() <= self.params.segment_len as usize {
            let _thread_ends = SEALED.try_with(|kept| kept.set(sealed));
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

/// The ciphers of one read, made as they are needed.
struct Ciphers<'a> {
    reader: &'a PagedReader,
    at: Option<(u64, Cipher)>,
}

impl Ciphers<'_> {
    fn of(&mut self, number: u64) -> Result<&Cipher, Denied> {
        let masked = self.reader.params.masked(number);
        let (_, cipher) = match self.at.take().filter(|(at, _)| *at == masked) {
            Some(same) => self.at.insert(same),
            None => self.at.insert((masked, self.reader.cipher(masked)?)),
        };
        Ok(cipher)
    }
}

/// Bytes only.
impl fmt::Debug for PagedReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PagedReader({} bytes)", self.layout.plain)
    }
}

/// Opens the whole message that fills `place` of the source, a segment at a time and each of them once: it is read to
/// where it is to stand, and opened there.
pub(crate) fn read(
    params: &Params,
    key: &[u8; KEY],
    aad: Vec<u8>,
    source: &Arc<dyn ReadAt>,
    place: Range<u64>,
) -> io::Result<Plaintext> {
    let reader = PagedReader::begin(params, key, aad, source.clone(), place)?;
    // Before there is room for the rest: the length may be anybody's.
    let end = reader.end()?;
    let before = reader.layout.segments - 1;
    if before == 0 {
        return Ok(end);
    }
    let length = usize::try_from(reader.size()).map_err(|_| io::ErrorKind::OutOfMemory)?;
    // A tag may stand behind the bytes for a moment.
    let (mut plain, mut ciphers) = (Plaintext::zeroed(length + TAG), reader.ciphers());
    for (number, start) in (0..before).zip((0..).step_by(params.plain_len())) {
        if number.is_multiple_of(AHEAD) {
            let from = number * reader.room();
            reader.will_read(slice::from_ref(&(from..from + AHEAD * reader.room())));
        }
        reader.read_into(number, &mut plain[start..start + params.plain_len() + TAG], &mut ciphers)?;
    }
    plain.truncate(length);
    plain[length - end.len()..].copy_from_slice(&end);
    Ok(plain)
}

fn altered() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "sealed bytes do not authenticate")
}

#[cfg(test)]
mod tests;
