//! Filters what reaches the HTTP library from a connection: heads with complete line ends, and exactly one length for
//! each body.
//!
//! The library accepts a bare LF as the end of a line, and reads a request with both `content-length` and
//! `transfer-encoding` as a chunked one; a proxy in front may interpret either differently, and then the two see
//! different requests. Such a head gets a byte here that no head may contain, so the library answers 400. Bodies pass
//! unchanged: their lengths are followed only to find the beginning of the next head.

use super::slots::ConnectionSlot;
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that spoils malformed request heads; see the module.
pub(super) struct StrictHeads<S> {
    inner: S,
    scan: Scan,
    /// Bytes given to the library after a refused head, in case the client sends no more of it.
    end_of_refused: &'static [u8],
    slot: Arc<ConnectionSlot>,
}

impl<S> StrictHeads<S> {
    pub(super) fn new(inner: S, slot: Arc<ConnectionSlot>) -> Self {
        Self { inner, scan: Scan::default(), end_of_refused: b"\r\n\r\n", slot }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for StrictHeads<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.scan.at == Position::Refused {
            // The library answers once it has a whole head. After that it reads nothing more.
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

impl<S: AsyncWrite + Unpin> AsyncWrite for StrictHeads<S> {
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
        self.slot.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Position of the next byte in the stream of requests.
#[derive(Default)]
struct Scan {
    at: Position,
    /// The current line, as far as it is needed.
    line: Vec<u8>,
    /// Number of bytes of the current line without its LF.
    length: u64,
    /// Whether the last byte was CR.
    cr: bool,
    framing: Framing,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Position {
    /// Before a request line: empty lines are skipped.
    #[default]
    Start,
    Head,
    /// Inside a body, or inside a chunk with its line end, with this many bytes to come.
    Bytes(u64),
    Chunk(u64),
    ChunkSize,
    Trailers,
    /// The library has been given a head that it refuses.
    Refused,
}

/// What a head states about the length of its body.
#[derive(Default)]
struct Framing {
    length: Option<u64>,
    chunked: bool,
}

impl Scan {
    /// Scans bytes as they arrive, and spoils a head that must be refused.
    fn pass(&mut self, bytes: &mut [u8]) {
        let mut from = 0;
        while from < bytes.len() {
            // Bodies and chunks are skipped by their length; everything else is read line by line.
            let rest = &mut bytes[from..];
            from += match self.at {
                Position::Refused => rest.len(),
                Position::Bytes(left) => self.skip(left, rest.len(), Position::Bytes, Position::Start),
                Position::Chunk(left) => self.skip(left, rest.len(), Position::Chunk, Position::ChunkSize),
                Position::Start | Position::Head | Position::ChunkSize | Position::Trailers => self.line(rest),
            };
        }
    }

    fn skip(&mut self, left: u64, available: usize, more: fn(u64) -> Position, then: Position) -> usize {
        let now = left.min(available as u64);
        self.at = if now == left { then } else { more(left - now) };
        // `now` is at most `available`.
        usize::try_from(now).unwrap_or(available)
    }

    /// Scans to the end of a line, if it is in `bytes`. Returns the number of bytes scanned.
    fn line(&mut self, bytes: &mut [u8]) -> usize {
        let end = bytes.iter().position(|b| *b == b'\n');
        let text = &bytes[..end.unwrap_or(bytes.len())];
        let free = LINE_BYTES_KEPT - self.line.len().min(LINE_BYTES_KEPT);
        self.line.extend_from_slice(&text[..text.len().min(free)]);
        self.length += text.len() as u64;
        self.cr = text.last().map_or(self.cr, |last| *last == b'\r');
        let Some(end) = end else { return bytes.len() };
        // The LF is overwritten before the library sees it, so the line never ends for the library.
        let valid = self.cr && self.end_line();
        if !valid {
            self.at = Position::Refused;
            bytes[end] = INVALID_BYTE;
        }
        self.line.clear();
        (self.length, self.cr) = (0, false);
        end + 1
    }

    /// Handles a complete line. Returns false if it must be refused.
    fn end_line(&mut self) -> bool {
        // An empty line is a CR alone.
        let empty = self.length == 1;
        let kept = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        let complete = self.length <= LINE_BYTES_KEPT as u64;
        match self.at {
            Position::Start if empty => true,
            Position::Start => {
                (self.at, self.framing) = (Position::Head, Framing::default());
                true
            }
            Position::Head if empty => {
                self.at = match self.framing {
                    Framing { chunked: true, .. } => Position::ChunkSize,
                    Framing { length: Some(0) | None, .. } => Position::Start,
                    Framing { length: Some(length), .. } => Position::Bytes(length),
                };
                true
            }
            Position::Head => self.framing.field(kept, complete),
            Position::ChunkSize => match chunk_size(kept) {
                Some(0) => {
                    self.at = Position::Trailers;
                    true
                }
                // The chunk and its line end.
                Some(size) => {
                    self.at = Position::Chunk(size.saturating_add(2));
                    true
                }
                None => false,
            },
            Position::Trailers => {
                if empty {
                    self.at = Position::Start;
                }
                true
            }
            Position::Bytes(_) | Position::Chunk(_) | Position::Refused => true,
        }
    }
}

impl Framing {
    /// Records what a header states about the body. Returns false if the statement is ambiguous.
    fn field(&mut self, line: &[u8], complete: bool) -> bool {
        let Some(colon) = line.iter().position(|b| *b == b':') else { return true };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits = complete && !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            let number = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|text| text.parse().ok());
            let same = self.length.is_none() || self.length == number;
            self.length = number;
            return number.is_some() && same && !self.chunked;
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            // Other encodings are refused by the library, and no real client sends a repeated one.
            let first = !self.chunked && self.length.is_none();
            self.chunked = true;
            return complete && first && value.eq_ignore_ascii_case(b"chunked");
        }
        true
    }
}

/// The size at the beginning of a chunk's line.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().position(|b| !b.is_ascii_hexdigit()).unwrap_or(line.len());
    if !(1..=15).contains(&digits) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok()
}

/// Replaces the line end of a refused head: no method, address or header may contain it.
const INVALID_BYTE: u8 = 0;
/// Bytes kept of a line: the names and values that matter here are shorter.
const LINE_BYTES_KEPT: usize = 128;

#[cfg(test)]
mod tests;
