//! What reaches the HTTP library of a connection: heads with whole line ends, and one length for each body.
//!
//! The library takes a bare LF for a line's end, and a request with `content-length` and `transfer-encoding` for a
//! chunked one; something in front may read either otherwise, and then the two see different requests. Here such a head
//! gets a byte that no head may hold, and the library answers 400. Bodies pass as they are: their lengths are followed
//! only to know where the next head begins.

use super::places::Place;
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// See the module.
pub(super) struct Strict<S> {
    inner: S,
    scan: Scan,
    /// Given to the library after a refused head, in case the client sends no more of it.
    end_of_refused: &'static [u8],
    place: Arc<Place>,
}

impl<S> Strict<S> {
    pub(super) fn new(inner: S, place: Arc<Place>) -> Self {
        Self { inner, scan: Scan::default(), end_of_refused: b"\r\n\r\n", place }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Strict<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.scan.at == At::Refused {
            // The library answers once it has a whole head. After that nothing more is read.
            let end = std::mem::take(&mut self.end_of_refused);
            buf.put_slice(&end[..end.len().min(buf.remaining())]);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        self.scan.pass(&mut buf.filled_mut()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Strict<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        self.place.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Where in the stream of requests the next byte stands.
#[derive(Default)]
struct Scan {
    at: At,
    /// The line that is being read, as far as it is needed.
    line: Vec<u8>,
    /// Bytes of that line, its end left out.
    length: u64,
    /// The last byte was CR.
    cr: bool,
    framing: Framing,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum At {
    /// Before a request's line: empty ones are skipped.
    #[default]
    Start,
    Head,
    /// A body, or a chunk with its line's end, of which so much is to come.
    Bytes(u64),
    Chunk(u64),
    ChunkSize,
    Trailers,
    /// The library has been given what it refuses.
    Refused,
}

/// What a head says of its body's length.
#[derive(Default)]
struct Framing {
    length: Option<u64>,
    chunked: bool,
}

impl Scan {
    /// Looks over bytes as they come, and spoils a head that is to be refused.
    fn pass(&mut self, bytes: &mut [u8]) {
        let mut from = 0;
        while from < bytes.len() {
            let rest = &mut bytes[from..];
            from += match self.at {
                At::Refused => rest.len(),
                At::Bytes(left) => self.skip(left, rest.len(), At::Bytes, At::Start),
                At::Chunk(left) => self.skip(left, rest.len(), At::Chunk, At::ChunkSize),
                At::Start | At::Head | At::ChunkSize | At::Trailers => self.line(rest),
            };
        }
    }

    fn skip(&mut self, left: u64, here: usize, more: fn(u64) -> At, then: At) -> usize {
        let now = left.min(here as u64);
        self.at = if now == left { then } else { more(left - now) };
        // It is no more than `here`.
        usize::try_from(now).unwrap_or(here)
    }

    /// Reads to the end of a line, if it is here. Says how many bytes that were.
    fn line(&mut self, bytes: &mut [u8]) -> usize {
        let end = bytes.iter().position(|b| *b == b'\n');
        let text = &bytes[..end.unwrap_or(bytes.len())];
        let room = LINE_BYTES_KEPT - self.line.len().min(LINE_BYTES_KEPT);
        self.line.extend_from_slice(&text[..text.len().min(room)]);
        self.length += text.len() as u64;
        self.cr = text.last().map_or(self.cr, |last| *last == b'\r');
        let Some(end) = end else { return bytes.len() };
        let fine = self.cr && self.ended();
        if !fine {
            self.at = At::Refused;
            bytes[end] = SPOILT;
        }
        self.line.clear();
        (self.length, self.cr) = (0, false);
        end + 1
    }

    /// A whole line is there. False: it is to be refused.
    fn ended(&mut self) -> bool {
        // Without the CR, which may be more than is kept.
        let empty = self.length == 1;
        let kept = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        let whole = self.length <= LINE_BYTES_KEPT as u64;
        match self.at {
            At::Start if empty => true,
            At::Start => {
                (self.at, self.framing) = (At::Head, Framing::default());
                true
            }
            At::Head if empty => {
                self.at = match self.framing {
                    Framing { chunked: true, .. } => At::ChunkSize,
                    Framing { length: Some(0) | None, .. } => At::Start,
                    Framing { length: Some(length), .. } => At::Bytes(length),
                };
                true
            }
            At::Head => self.framing.field(kept, whole),
            At::ChunkSize => match chunk_size(kept) {
                Some(0) => {
                    self.at = At::Trailers;
                    true
                }
                // The chunk and the end of its line.
                Some(size) => {
                    self.at = At::Chunk(size.saturating_add(2));
                    true
                }
                None => false,
            },
            At::Trailers => {
                if empty {
                    self.at = At::Start;
                }
                true
            }
            At::Bytes(_) | At::Chunk(_) | At::Refused => true,
        }
    }
}

impl Framing {
    /// Notes what a header says of the body. False: it cannot be followed.
    fn field(&mut self, line: &[u8], whole: bool) -> bool {
        let Some(colon) = line.iter().position(|b| *b == b':') else { return true };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits = whole && !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            let number = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|text| text.parse().ok());
            let same = self.length.is_none() || self.length == number;
            self.length = number;
            return number.is_some() && same && !self.chunked;
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            // Others are refused by the library, and a repeated encoding is never sent by a real client.
            let first = !self.chunked && self.length.is_none();
            self.chunked = true;
            return whole && first && value.eq_ignore_ascii_case(b"chunked");
        }
        true
    }
}

/// The number that a chunk's line begins with.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().position(|b| !b.is_ascii_hexdigit()).unwrap_or(line.len());
    if !(1..=15).contains(&digits) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok()
}

/// Stands in for the line's end of a head that is refused: no method, address or header may hold it.
const SPOILT: u8 = 0;
/// Of a line: the names and values that are looked for are shorter.
const LINE_BYTES_KEPT: usize = 128;

#[cfg(test)]
mod tests;
