//! Reading a FLOE message from its source, without loading all of it: [`read`] opens a whole message, [`PagedReader`]
//! any range of one.
//!
//! Every segment is authenticated with its number and with whether it is the last. Opening a [`PagedReader`] opens the
//! last segment, so its length is what was sealed; a segment that is altered, moved or missing is detected when it is
//! read.

use super::{HEADER, Kdf, LENGTH, NOT_LAST, Params, SEGMENT_OVERHEAD, segment_aad};
use crate::{
    SecretKey,
    crypto::{Aead, AuthenticationFailed, Cipher, KEY, NONCE, TAG},
};
use kernel::{Plaintext, ReadAt};
use std::{cell::Cell, fmt, io, ops::Range, slice, sync::Arc};

/// Maximum number of segments of a paged message per request to the source.
const SEGMENTS_PER_READ: u64 = 64;
/// Number of segments that are announced to the source ahead, when a message is opened whole.
const READAHEAD_SEGMENTS: u64 = 16;

thread_local! {
    /// Buffer for one sealed page, reused by this thread's next read.
    static SEALED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Reader of the plaintext of a sealed object's paged part, in any order and from any number of threads. It caches
/// nothing.
pub struct PagedReader {
    params: Params,
    source: Arc<dyn ReadAt>,
    /// Offset of the first segment in the source.
    base: u64,
    layout: MessageLayout,
    header: [u8; HEADER],
    aad: Vec<u8>,
    /// Key of the segments before the first key rotation, which are all segments below 16 GiB. A cipher is created from
    /// it for each read and dropped afterwards, because a cipher's key schedule lies in ordinary memory.
    first: SecretKey,
    /// Key of the object, if there are segments after the first key rotation.
    object_key: Option<SecretKey>,
}

/// Layout of a message, computed from its claimed length.
#[derive(Clone, Copy)]
struct MessageLayout {
    /// Number of segments, at least one.
    segments: u64,
    /// Size of the last sealed segment in bytes.
    last: u64,
    /// Size of the plaintext in bytes.
    plain: u64,
}

impl MessageLayout {
    fn of(params: &Params, sealed: u64) -> Result<Self, AuthenticationFailed> {
        let body = sealed.checked_sub(HEADER as u64).ok_or(AuthenticationFailed)?;
        let full = u64::from(params.segment_len);
        let segments = body.div_ceil(full).max(1);
        let last = body - (segments - 1) * full;
        let plain = body.checked_sub(segments * SEGMENT_OVERHEAD as u64).ok_or(AuthenticationFailed)?;
        if last < SEGMENT_OVERHEAD as u64 {
            return Err(AuthenticationFailed);
        }
        Ok(Self { segments, last, plain })
    }
}

/// Size of the plaintext in a message of the given sealed size, if that size is possible.
pub(super) fn plain_len(params: &Params, sealed: u64) -> Result<u64, AuthenticationFailed> {
    Ok(MessageLayout::of(params, sealed)?.plain)
}

impl PagedReader {
    /// Opens the message in `range` of the source; authenticates its header and its length.
    pub(crate) fn open(
        params: &Params,
        key: &[u8; KEY],
        aad: Vec<u8>,
        source: Arc<dyn ReadAt>,
        range: Range<u64>,
    ) -> io::Result<Self> {
        let reader = Self::open_header(params, key, aad, source, range)?;
        reader.open_last()?;
        Ok(reader)
    }

    /// Opens the last segment, which authenticates the length.
    fn open_last(&self) -> io::Result<Plaintext> {
        let last = self.layout.segments - 1;
        let piece = self.plain_len_of(last);
        let mut end = Plaintext::zeroed(piece + TAG);
        self.read_into(last, &mut end, &mut self.ciphers())?;
        end.truncate(piece);
        Ok(end)
    }

    /// Reads a segment into its final buffer and opens it in place. `out` is longer by the tag, which is read after the
    /// plaintext and not used again.
    fn read_into(&self, number: u64, out: &mut [u8], ciphers: &mut SegmentCiphers<'_>) -> io::Result<()> {
        let at = self.base + number * u64::from(self.params.segment_len);
        let mut head = [0; LENGTH + NONCE];
        self.source.read_at(at, &mut head)?;
        self.source.read_at(at + head.len() as u64, out)?;
        self.open_in(number, &head, out, ciphers).map_err(|_| altered())
    }

    fn open_in(
        &self,
        number: u64,
        head: &[u8],
        out: &mut [u8],
        ciphers: &mut SegmentCiphers<'_>,
    ) -> Result<(), AuthenticationFailed> {
        let (data, tag) = out.split_last_chunk_mut::<TAG>().ok_or(AuthenticationFailed)?;
        let (length, nonce) = head.split_first_chunk::<LENGTH>().ok_or(AuthenticationFailed)?;
        let nonce = nonce.first_chunk::<NONCE>().ok_or(AuthenticationFailed)?;
        let last = self.check_length(number, length, data.len())?;
        ciphers.of(number)?.open(nonce, &segment_aad(number, last), data, tag)
    }

    /// Authenticates the header only: the length is an untrusted claim until the last segment has been opened.
    fn open_header(
        params: &Params,
        key: &[u8; KEY],
        aad: Vec<u8>,
        source: Arc<dyn ReadAt>,
        range: Range<u64>,
    ) -> io::Result<Self> {
        let sealed = range.end.checked_sub(range.start).ok_or_else(altered)?;
        let layout = MessageLayout::of(params, sealed).map_err(|_| altered())?;
        let mut header = [0; HEADER];
        source.read_at(range.start, &mut header)?;
        let kdf = Kdf::of(params, &header, &aad);
        kdf.check(&header, key).map_err(|_| altered())?;
        let first = SecretKey::filled(|first| kdf.segment_key(&kdf.message_key(key), 0, first));
        let has_rotation = params.masked(layout.segments - 1) > 0;
        let object_key = has_rotation.then(|| SecretKey::filled(|object_key| object_key.copy_from_slice(key)));
        let base = range.start + HEADER as u64;
        Ok(Self { params: *params, source, base, layout, header, aad, first, object_key })
    }

    /// Plaintext size in bytes of a full segment.
    fn segment_plain_len(&self) -> u64 {
        self.params.plain_len() as u64
    }

    /// Opens the whole segments that fill `out`, starting at plaintext offset `offset` (a segment boundary). `sealed`
    /// is a scratch buffer for the sealed bytes.
    fn open_run(&self, offset: u64, out: &mut [u8], sealed: &mut Vec<u8>) -> io::Result<()> {
        let from = offset / self.segment_plain_len();
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

    fn segment(
        &self,
        number: u64,
        sealed: &[u8],
        out: &mut [u8],
        ciphers: &mut SegmentCiphers<'_>,
    ) -> Result<(), AuthenticationFailed> {
        let (length, rest) = sealed.split_first_chunk::<LENGTH>().ok_or(AuthenticationFailed)?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE>().ok_or(AuthenticationFailed)?;
        let (piece, tag) = rest.split_last_chunk::<TAG>().ok_or(AuthenticationFailed)?;
        let last = self.check_length(number, length, piece.len())?;
        if piece.len() != out.len() {
            return Err(AuthenticationFailed);
        }
        ciphers.of(number)?.open_into(nonce, &segment_aad(number, last), piece, tag, out)
    }

    /// Returns whether a segment is the last one, after checking that its length field is right for a piece of this
    /// length.
    fn check_length(&self, number: u64, length: &[u8; LENGTH], piece: usize) -> Result<bool, AuthenticationFailed> {
        let last = number + 1 == self.layout.segments;
        let expected = if last { self.params.last_len(piece) } else { NOT_LAST };
        if *length == expected { Ok(last) } else { Err(AuthenticationFailed) }
    }

    #[cfg(all(test, not(feature = "portable")))]
    pub(crate) fn key(&self) -> &SecretKey {
        &self.first
    }

    fn cipher(&self, masked: u64) -> Result<Cipher, AuthenticationFailed> {
        if masked == 0 {
            return Ok(Cipher::new(self.first.bytes()));
        }
        let key = self.object_key.as_ref().ok_or(AuthenticationFailed)?.bytes();
        let kdf = Kdf::of(&self.params, &self.header, &self.aad);
        Ok(kdf.segment_cipher(&kdf.message_key(key), masked))
    }

    fn ciphers(&self) -> SegmentCiphers<'_> {
        SegmentCiphers { reader: self, current: None }
    }

    /// Plaintext size in bytes of a segment.
    fn plain_len_of(&self, number: u64) -> usize {
        let left = self.layout.plain.saturating_sub(number.saturating_mul(self.segment_plain_len()));
        left.min(self.segment_plain_len()) as usize
    }
}

impl ReadAt for PagedReader {
    fn size(&self) -> u64 {
        self.layout.plain
    }

    /// Opens whole pages directly into `into`; a page of which only a part is requested goes through a buffer of its
    /// own.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(into.len() as u64).filter(|end| *end <= self.layout.plain);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let segment_plain = self.segment_plain_len();
        let (mut at, mut rest) = (offset, into);
        let mut sealed = SEALED.try_with(Cell::take).unwrap_or_default();
        while at < end {
            let number = at / segment_plain;
            let piece = self.plain_len_of(number);
            let skip = (at - number * segment_plain) as usize;
            let copied = if skip == 0 && rest.len() >= piece {
                let whole = rest.len() as u64 / segment_plain + u64::from(end == self.layout.plain);
                let run = (0..whole.clamp(1, SEGMENTS_PER_READ))
                    .map(|n| self.plain_len_of(number + n))
                    .sum::<usize>()
                    .min(rest.len());
                self.open_run(at, &mut rest[..run], &mut sealed)?;
                run
            } else {
                let mut page = Plaintext::zeroed(piece);
                self.open_run(number * segment_plain, &mut page, &mut sealed)?;
                let part = &page[skip..piece.min(skip + rest.len())];
                rest[..part.len()].copy_from_slice(part);
                part.len()
            };
            at += copied as u64;
            rest = &mut rest[copied..];
        }
        if sealed.len() <= self.params.segment_len as usize {
            let _ignored_at_thread_exit = SEALED.try_with(|kept| kept.set(sealed));
        }
        Ok(())
    }

    fn will_read(&self, ranges: &[Range<u64>]) {
        let (segment_plain, full) = (self.segment_plain_len(), u64::from(self.params.segment_len));
        let sealed = |r: &Range<u64>| {
            let end = r.end.min(self.layout.plain).div_ceil(segment_plain) * full;
            self.base + r.start / segment_plain * full
                ..self.base + end.min((self.layout.segments - 1) * full + self.layout.last)
        };
        self.source.will_read(&ranges.iter().filter(|r| r.start < r.end).map(sealed).collect::<Vec<_>>());
    }
}

/// The ciphers of one read, created as they are needed.
struct SegmentCiphers<'a> {
    reader: &'a PagedReader,
    current: Option<(u64, Cipher)>,
}

impl SegmentCiphers<'_> {
    fn of(&mut self, number: u64) -> Result<&Cipher, AuthenticationFailed> {
        let masked = self.reader.params.masked(number);
        let (_, cipher) = match self.current.take().filter(|(at, _)| *at == masked) {
            Some(same) => self.current.insert(same),
            None => self.current.insert((masked, self.reader.cipher(masked)?)),
        };
        Ok(cipher)
    }
}

/// Shows only the size.
impl fmt::Debug for PagedReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PagedReader({} bytes)", self.layout.plain)
    }
}

/// Opens the whole message in `range` of the source, segment by segment and each of them once: a segment is read into
/// its final buffer and opened there.
pub(crate) fn read(
    params: &Params,
    key: &[u8; KEY],
    aad: Vec<u8>,
    source: &Arc<dyn ReadAt>,
    range: Range<u64>,
) -> io::Result<Plaintext> {
    let reader = PagedReader::open_header(params, key, aad, source.clone(), range)?;
    // Authenticate the length before allocating the plaintext: until then it is an untrusted claim.
    let end = reader.open_last()?;
    let before = reader.layout.segments - 1;
    if before == 0 {
        return Ok(end);
    }
    let length = usize::try_from(reader.size()).map_err(|_| io::ErrorKind::OutOfMemory)?;
    // Leave space for the tag that follows the last bytes temporarily.
    let (mut plain, mut ciphers) = (Plaintext::zeroed(length + TAG), reader.ciphers());
    for (number, start) in (0..before).zip((0..).step_by(params.plain_len())) {
        if number.is_multiple_of(READAHEAD_SEGMENTS) {
            let from = number * reader.segment_plain_len();
            reader.will_read(slice::from_ref(&(from..from + READAHEAD_SEGMENTS * reader.segment_plain_len())));
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
