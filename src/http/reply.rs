//! Replies. A reply can be made only from something that is recorded in the audit: an [`Audited`] of the ledger, or the
//! action of an operator, which the engine records before its effect.
//!
//! A reply is serialised and sent in pieces. Each piece carries its share of the memory permit until the connection has
//! written it, so that data which a client does not read stays counted; and no reply is longer than
//! [`limits::REPLY_BYTES_MAX`].

use super::App;
use access::Operator;
use axum::{
    body::{Body, Bytes, HttpBody},
    http::{HeaderValue, Response, StatusCode, header},
};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use engine::{AuditReply, Audited, Permit, WithPermit};
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

/// Header of a page of audit records: the value of `after` for the next page.
const NEXT_AFTER: &str = "x-next-after";
/// Header of a page of audit records: the end of the audit when the page was read, as a signed note in base64.
const AUDIT_HEAD: &str = "x-audit-head";

/// Result of a data-plane handler.
pub(crate) type DataResult<W> = Result<Reply<W>, Audited<Error>>;

/// A reply with the wire type `W`.
pub(crate) struct Reply<W> {
    status: StatusCode,
    kind: &'static str,
    headers: Vec<(&'static str, HeaderValue)>,
    /// `None` where the reply would be longer than [`limits::REPLY_BYTES_MAX`].
    body: Option<Pieces>,
    memory: Option<Permit>,
    form: PhantomData<fn() -> W>,
}

impl<W: Serialize> Reply<W> {
    /// Renders an answer of the engine.
    pub(crate) fn audited<E>(audited: Audited<E>, render: impl FnOnce(E) -> W) -> Self {
        Self::json(&render(audited.into_body()))
    }

    /// Renders an answer of the engine with the permit for its memory. A long reply is rendered in its tenant's turn.
    ///
    /// # Panics
    /// Panics if rendering does.
    pub(crate) async fn permitted<E: WithPermit + Send + 'static>(
        app: &App,
        audited: Audited<E>,
        render: impl FnOnce(E) -> W + Send + 'static,
    ) -> Self
    where
        W: 'static,
    {
        let mut body = audited.into_body();
        let memory = body.take_permit();
        let serialise = move || Self::json(&render(body));
        let reply = match memory.as_ref().filter(|memory| memory.amount() > INLINE_BYTES_MAX) {
            Some(memory) => app.engine().run_reply_in_turn(memory, serialise).await.expect("plain data renders"),
            None => serialise(),
        };
        Self { memory, ..reply }
    }

    /// Renders the result of an operator's action.
    pub(crate) fn for_operator(_proof: &Operator, body: W) -> Self {
        Self::json(&body)
    }

    fn json(body: &W) -> Self {
        Self::of("application/json", |pieces| serde_json::to_writer(pieces, body))
    }

    /// A page of audit records: one object per line, as it is stored.
    pub(crate) fn audited_records(audited: Audited<AuditReply>) -> Self {
        Self::ndjson(audited.into_body())
    }

    /// A page of the operators' audit; see [`Reply::audited_records`].
    pub(crate) fn operator_records(_proof: &Operator, page: AuditReply) -> Self {
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
    /// Sets a status other than 200.
    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Attaches a permit that was acquired before any work was done.
    pub(crate) fn with_permit(mut self, memory: Permit) -> Self {
        self.memory = Some(memory);
        self
    }

    /// Converts the reply to an HTTP response. `hold` reserves the memory of a reply that has no permit yet.
    ///
    /// # Errors
    /// `too_large` if the reply would be longer than [`limits::REPLY_BYTES_MAX`].
    pub(crate) fn into_response(self, hold: impl FnOnce(u64) -> Permit) -> Result<Response<Body>, Error> {
        let Some(Pieces { pieces, length }) = self.body else {
            let most = limits::REPLY_BYTES_MAX >> 20;
            let remedy = format!("the reply would be longer than {most} MiB; request fewer entries at once");
            return Err(Error::new(Code::TooLarge, remedy).with_param("limit"));
        };
        let memory = match self.memory {
            Some(mut memory) => {
                memory.resize(length);
                memory
            }
            None => hold(length),
        };
        let mut response = Response::new(ReplyBody::new(pieces, memory).body());
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        // No cache between client and server may keep one tenant's data.
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }
}

/// A reply during serialisation: no piece is copied when the reply grows, and the length is bounded.
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
        let free = |piece: &Vec<u8>| limits::REPLY_PIECE_BYTES.saturating_sub(piece.len());
        if self.pieces.back().is_none_or(|piece| free(piece) == 0) {
            // Most replies are short, so only pieces after the first are allocated at full size from the start.
            let capacity = if self.pieces.is_empty() { 0 } else { limits::REPLY_PIECE_BYTES };
            self.pieces.push_back(Vec::with_capacity(capacity));
        }
        let Some(piece) = self.pieces.back_mut() else { return Ok(0) };
        let taken = bytes.len().min(free(piece));
        piece.extend_from_slice(&bytes[..taken]);
        self.length += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Body of a reply that is being sent.
struct ReplyBody {
    pieces: VecDeque<Vec<u8>>,
    left: u64,
    memory: Permit,
}

impl ReplyBody {
    fn new(pieces: VecDeque<Vec<u8>>, memory: Permit) -> Self {
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { pieces, left, memory }
    }

    fn body(mut self) -> Body {
        match self.pieces.len() {
            0 | 1 => Body::new(Full::new(self.next().unwrap_or_default())),
            _ => Body::new(self),
        }
    }

    /// The next piece with its share of the permit; the connection drops both when it has written the piece.
    fn next(&mut self) -> Option<Bytes> {
        let bytes = self.pieces.pop_front()?;
        self.left -= bytes.len() as u64;
        let memory = self.memory.split(bytes.len() as u64);
        Some(Bytes::from_owner(ReplyPiece { bytes, _memory: memory }))
    }
}

impl HttpBody for ReplyBody {
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

/// A piece and the permit for its memory.
struct ReplyPiece {
    bytes: Vec<u8>,
    _memory: Permit,
}

impl AsRef<[u8]> for ReplyPiece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Replies up to this size, in bytes, are serialised in less than two milliseconds.
const INLINE_BYTES_MAX: u64 = 256 << 10;

#[cfg(test)]
mod tests;
