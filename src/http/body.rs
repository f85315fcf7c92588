//! Request bodies: read within the limits of size, time and memory, whatever the headers claim.

use super::{app::App, route::Plane};
use crate::shares::{Caller, Full, Pool, Share};
use axum::{
    body::{Body, HttpBody},
    http::{HeaderMap, header},
};
use http_body_util::BodyExt;
use kernel::{Code, Discarded, Error, limits};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout, timeout_at};

/// Memory for the request bodies of one plane, and how they may arrive.
pub(crate) struct Bodies {
    pool: Arc<Pool>,
    /// Of one body, bytes.
    max: usize,
    pace: Pace,
}

/// How fast a body must arrive: `bytes_min` in each window, and all of it in `whole`.
#[derive(Clone, Copy)]
struct Pace {
    window: Duration,
    bytes_min: usize,
    whole: Duration,
}

/// A whole body in the pieces that it was read into.
///
/// Growing one buffer copies it and zeroes the old block, up to 32 MiB in one step. Pieces are appended instead; a long body
/// is joined and freed on threads that serve no other request.
pub(crate) struct Read {
    held: Discarded<Held>,
    length: usize,
    /// Bytes that all pieces have room for.
    capacity: usize,
}

/// Memory, and the share of it, which is given back once the pieces are freed.
struct Held {
    pieces: VecDeque<Vec<u8>>,
    share: Share,
}

impl Read {
    fn new(share: Share) -> Self {
        Self { held: Discarded::new(Held { pieces: VecDeque::new(), share }, false), length: 0, capacity: 0 }
    }

    /// Bytes.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// All of it in one piece, and the share of memory that is held for it. Takes a while for a long body. Each piece is
    /// freed as soon as it is copied, so that one piece more than the body takes is held at most.
    pub(crate) fn join(self) -> (Vec<u8>, Share) {
        let Held { mut pieces, mut share } = self.held.into_inner();
        let whole = if pieces.len() == 1 {
            pieces.pop_front().unwrap_or_default()
        } else {
            let mut whole = Vec::with_capacity(self.length);
            while let Some(piece) = pieces.pop_front() {
                whole.extend_from_slice(&piece);
            }
            whole
        };
        // Less than before is never refused.
        let _ = share.resize(whole.capacity().min(self.capacity));
        (whole, share)
    }

    /// Adds what fits into the last piece; the rest is left in `data`.
    fn fill(&mut self, data: &mut &[u8]) {
        let Some(last) = self.held.pieces.back_mut() else { return };
        let (fits, rest) = data.split_at(data.len().min(last.capacity() - last.len()));
        last.extend_from_slice(fits);
        self.length += fits.len();
        *data = rest;
    }

    /// A new last piece.
    fn extend(&mut self, room: usize) -> Result<(), Full> {
        self.held.share.resize(self.capacity + room)?;
        self.held.pieces.push_back(Vec::with_capacity(room));
        self.capacity += room;
        if self.capacity > FREED_INLINE_BYTES_MAX {
            self.held.set_large();
        }
        Ok(())
    }
}

impl Bodies {
    /// Each plane has a pool of its own, so that tenants' bodies never make an operator's request wait.
    pub(crate) fn of(plane: Plane) -> Self {
        let (all, max) = match plane {
            Plane::Control => (limits::CONTROL_BODIES_BYTES_MAX, limits::CONTROL_BODY_BYTES_MAX),
            Plane::Data | Plane::Both => (limits::BODIES_BYTES_MAX, limits::BODY_BYTES_MAX),
        };
        let pace =
            Pace { window: limits::BODY_WINDOW, bytes_min: limits::BODY_WINDOW_BYTES_MIN, whole: limits::BODY_WAIT };
        Self { pool: Pool::new(all, FIRST_BYTES), max, pace }
    }

    /// Reads all of a body. Cancel-safe: nothing is kept.
    ///
    /// # Errors
    /// `too_large`; `rate_limited` when this caller's bodies fill its share of the memory meant for them, `overloaded` when
    /// others' do; `invalid_request` for one that breaks off or comes too slowly.
    pub(crate) async fn read(&self, caller: Caller, body: &mut Body) -> Result<Read, Error> {
        if body.size_hint().lower() > self.max as u64 {
            return Err(self.too_large());
        }
        timeout(self.pace.whole, self.gather(caller, body)).await.unwrap_or_else(|_| Err(too_slow()))
    }

    async fn gather(&self, caller: Caller, body: &mut Body) -> Result<Read, Error> {
        // It never exceeds the limit here. What is announced but does not arrive takes no memory.
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(self.max);
        let mut read = Read::new(self.pool.enter(caller));
        let (mut until, mut arrived) = (Instant::now() + self.pace.window, 0);
        loop {
            let frame = match timeout_at(until, body.frame()).await {
                Ok(frame) => frame,
                Err(_) if arrived < self.pace.bytes_min => return Err(too_slow()),
                Err(_) => {
                    (until, arrived) = (until + self.pace.window, 0);
                    continue;
                }
            };
            let Some(frame) = frame else { return Ok(read) };
            let frame = frame.map_err(|_| Error::invalid("body", "broke off"))?;
            let Ok(data) = frame.into_data() else { continue };
            arrived += data.len();
            let length = read.length + data.len();
            if length > self.max {
                return Err(self.too_large());
            }
            let mut data = &data[..];
            read.fill(&mut data);
            if !data.is_empty() {
                let left = if announced >= length { announced - read.length } else { usize::MAX };
                let room = if read.length == 0 { FIRST_BYTES } else { PIECE_BYTES };
                let room = room.max(data.len()).min(left);
                read.extend(room).map_err(no_room)?;
                read.fill(&mut data);
            }
        }
    }

    fn too_large(&self) -> Error {
        let (most, unit) = if self.max >= 1 << 20 { (self.max >> 20, "MiB") } else { (self.max >> 10, "KiB") };
        Error::new(Code::TooLarge, format!("may have at most {most} {unit}; send less at once")).with_param("body")
    }
}

/// Refuses what cannot be JSON before a byte is read.
///
/// # Errors
/// `invalid_request` naming the header.
pub(crate) fn check_headers(headers: &HeaderMap) -> Result<(), Error> {
    if let Some(kind) = headers.get(header::CONTENT_TYPE) {
        let kind = kind.to_str().unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim();
        let json = essence.eq_ignore_ascii_case("application/json") || essence.to_ascii_lowercase().ends_with("+json");
        if !json {
            return Err(Error::invalid("content-type", "must be application/json"));
        }
    }
    let encoded =
        headers.get(header::CONTENT_ENCODING).is_some_and(|e| !e.as_bytes().eq_ignore_ascii_case(b"identity"));
    if encoded {
        return Err(Error::invalid("content-encoding", "is not taken: send the body as it is"));
    }
    Ok(())
}

/// Discards what a refused client still sends, for a limited time, so that it reads the answer instead of finding the
/// connection broken. A client that waits for `100 Continue` has sent nothing.
pub(crate) fn discard(app: &App, headers: &HeaderMap, mut body: Body) {
    if body.is_end_stream() || headers.contains_key(header::EXPECT) {
        return;
    }
    app.tracker().spawn(async move {
        let mut left = DISCARD_BYTES_MAX;
        let all = async {
            while let Some(Ok(frame)) = body.frame().await {
                let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, |d| d.len())) else { return };
                left = rest;
            }
        };
        // The time is up: the connection closes.
        let _ = timeout(DISCARD_WAIT, all).await;
    });
}

fn too_slow() -> Error {
    let rate = limits::BODY_WINDOW_BYTES_MIN as u64 / limits::BODY_WINDOW.as_secs() / 1_024;
    Error::invalid("body", format!("arrived too slowly: it must come at {rate} KiB a second at least, in five minutes"))
}

fn no_room(full: Full) -> Error {
    let wait = Duration::from_secs(1);
    match full {
        Full::Pool => Error::overloaded("request bodies fill the memory meant for them", wait),
        Full::Share => {
            let mut error = Error::new(
                Code::RateLimited,
                "request bodies of this caller fill its share of the memory meant for them; send fewer at once",
            );
            error.retry_after = Some(wait);
            error
        }
    }
}

/// Bytes that are read and discarded after a refusal: enough for a body of 200 MB that was sent by mistake.
const DISCARD_BYTES_MAX: usize = 256 << 20;
/// How long a refused body is read at most.
const DISCARD_WAIT: Duration = Duration::from_secs(10);
/// Memory that a body takes at first; a caller that holds none always gets it as long as the pool has it.
const FIRST_BYTES: usize = 64 << 10;
/// Bytes of each further piece.
const PIECE_BYTES: usize = 256 << 10;
/// Bodies up to this size are freed in less than a millisecond.
const FREED_INLINE_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests;
