//! Replies. One can be made only from what stands in the audit: an [`Audited`] of the ledger, or
//! an operator's act, which the engine writes down before its effect.
//!
//! A reply is made and sent in pieces. Each carries its share of the permit for memory until the connection has written
//! it, so that what a client does not read stays counted; and none is longer than [`limits::REPLY_BYTES_MAX`].

use super::App;
use access::Operator;
use axum::{
    body::{Body, Bytes, HttpBody},
    http::{HeaderValue, Response, StatusCode, header},
};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use engine::{AuditReply, Audited, Pass, Permitted};
use http_body_util::Full;
use hyper::body::{Frame, SizeHint};
use kernel::{Code, Error, limits};
use serde::Serialize;
use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
};

/// Header of a page in lines: where the next page begins, to be given as `after`.
const NEXT_AFTER: &str = "x-next-after";
/// Header of an audit's page: where the audit ended when the page was begun, as a signed note in base64.
const AUDIT_HEAD: &str = "x-audit-head";

/// What a data-plane handler ends with.
pub(crate) type Outcome<W> = Result<Reply<W>, Audited<Error>>;

/// A reply of the form `W`.
pub(crate) struct Reply<W> {
    status: StatusCode,
    kind: &'static str,
    headers: Vec<(&'static str, HeaderValue)>,
    /// `None` where the reply would be longer than [`limits::REPLY_BYTES_MAX`].
    body: Option<Pieces>,
    memory: Option<Pass>,
    form: PhantomData<fn() -> W>,
}

impl<W: Serialize> Reply<W> {
    /// Renders what the engine answered.
    pub(crate) fn audited<E>(sealed: Audited<E>, render: impl FnOnce(E) -> W) -> Self {
        Self::json(&render(sealed.into_body()))
    }

    /// Renders what the engine answered, with the permit for its memory: a long reply in the turn of its tenant.
    ///
    /// # Panics
    /// When rendering does.
    pub(crate) async fn permitted<E: Permitted + Send + 'static>(
        app: &App,
        sealed: Audited<E>,
        render: impl FnOnce(E) -> W + Send + 'static,
    ) -> Self
    where
        W: 'static,
    {
        let mut body = sealed.into_body();
        let memory = body.take_permit();
        let make = move || Self::json(&render(body));
        let reply = match memory.as_ref().filter(|memory| memory.amount() > INLINE_BYTES_MAX) {
            Some(memory) => app.engine().reply_in_turn(memory, make).await.expect("plain data renders"),
            None => make(),
        };
        Self { memory, ..reply }
    }

    /// Renders what an operator did.
    pub(crate) fn operated(_proof: &Operator, body: W) -> Self {
        Self::json(&body)
    }

    fn json(body: &W) -> Self {
        Self::of("application/json", |pieces| serde_json::to_writer(pieces, body))
    }

    /// A page of an audit: one object a line, as it is stored.
    pub(crate) fn audited_lines(sealed: Audited<AuditReply>) -> Self {
        Self::ndjson(sealed.into_body())
    }

    /// See [`Reply::audited_lines`].
    pub(crate) fn operated_lines(_proof: &Operator, page: AuditReply) -> Self {
        Self::ndjson(page)
    }

    fn ndjson(page: AuditReply) -> Self {
        let AuditReply { lines, next, head } = page;
        let next = next.map(|next| (NEXT_AFTER, HeaderValue::from(next)));
        let head = head.and_then(|head| HeaderValue::try_from(BASE64_STANDARD.encode(head.note)).ok());
        let headers = next.into_iter().chain(head.map(|head| (AUDIT_HEAD, head))).collect();
        let reply = Self::of("application/x-ndjson", |pieces| {
            for line in lines {
                let written = io::Write::write_all(pieces, &line).and_then(|()| io::Write::write_all(pieces, b"\n"));
                written.map_err(serde_json::Error::io)?;
            }
            Ok(())
        });
        Self { headers, ..reply }
    }

    fn of(kind: &'static str, write: impl FnOnce(&mut Pieces) -> Result<(), serde_json::Error>) -> Self {
        let mut pieces = Pieces::default();
        let body = match write(&mut pieces) {
            Ok(()) => Some(pieces),
            Err(error) => {
                assert!(error.is_io(), "wire types are plain data with string keys");
                None
            }
        };
        Self { status: StatusCode::OK, kind, headers: Vec::new(), body, memory: None, form: PhantomData }
    }
}

impl<W> Reply<W> {
    /// With another status than 200.
    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// With a permit that was taken before anything was done.
    pub(crate) fn holding(mut self, memory: Pass) -> Self {
        self.memory = Some(memory);
        self
    }

    /// As HTTP. `hold` counts the memory of a reply that came without a permit.
    ///
    /// # Errors
    /// `too_large` for one that would be longer than a reply may be.
    pub(crate) fn into_response(self, hold: impl FnOnce(u64) -> Pass) -> Result<Response<Body>, Error> {
        let Some(Pieces { pieces, length }) = self.body else {
            let most = limits::REPLY_BYTES_MAX >> 20;
            let remedy = format!("the reply would be longer than {most} MiB; ask for fewer entries at once");
            return Err(Error::new(Code::TooLarge, remedy).with_param("limit"));
        };
        let memory = match self.memory {
            Some(mut memory) => {
                memory.settle(length);
                memory
            }
            None => hold(length),
        };
        let mut response = Response::new(Sending::new(pieces, memory).body());
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        // No cache between client and server may keep what one tenant was told.
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }
}

/// A reply while it is serialised: no piece is copied when it grows, and its length is bounded.
#[derive(Default)]
struct Pieces {
    pieces: VecDeque<Vec<u8>>,
    length: u64,
}

impl io::Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.length + bytes.len() as u64 > limits::REPLY_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let room = |piece: &Vec<u8>| limits::REPLY_PIECE_BYTES.saturating_sub(piece.len());
        if self.pieces.back().is_none_or(|piece| room(piece) == 0) {
            // Most replies are short: only what comes after a full piece has the room of one from the start.
            let capacity = if self.pieces.is_empty() { 0 } else { limits::REPLY_PIECE_BYTES };
            self.pieces.push_back(Vec::with_capacity(capacity));
        }
        let Some(piece) = self.pieces.back_mut() else { return Ok(0) };
        let taken = bytes.len().min(room(piece));
        piece.extend_from_slice(&bytes[..taken]);
        self.length += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A reply on its way.
struct Sending {
    pieces: VecDeque<Vec<u8>>,
    left: u64,
    memory: Pass,
}

impl Sending {
    fn new(pieces: VecDeque<Vec<u8>>, memory: Pass) -> Self {
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { pieces, left, memory }
    }

    fn body(mut self) -> Body {
        match self.pieces.len() {
            0 | 1 => Body::new(Full::new(self.next().unwrap_or_default())),
            _ => Body::new(self),
        }
    }

    /// The next piece, with its share of the permit: the connection lets go of both when it has written it.
    fn next(&mut self) -> Option<Bytes> {
        let bytes = self.pieces.pop_front()?;
        self.left -= bytes.len() as u64;
        let memory = self.memory.split(bytes.len() as u64);
        Some(Bytes::from_owner(Piece { bytes, _memory: memory }))
    }
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.get_mut().next().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Bytes, and the memory that they are counted as.
struct Piece {
    bytes: Vec<u8>,
    _memory: Pass,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Replies up to this size are serialised in less than two milliseconds.
const INLINE_BYTES_MAX: u64 = 256 << 10;

#[cfg(test)]
mod tests;
