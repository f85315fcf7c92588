//! Request bodies: read within limits of size, time and memory, whatever the headers claim.

use super::{app::App, route::Plane};
use crate::shares::{Exhausted, Share, ShareHolder, SharePool};
use axum::{
    body::{Body, HttpBody},
    http::{HeaderMap, header},
};
use http_body_util::BodyExt;
use kernel::{Code, DeferredDrop, Error, limits};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout, timeout_at};

/// Memory for the request bodies of one plane, and the limits of one body.
pub(crate) struct BodyPool {
    pool: Arc<SharePool>,
    /// Maximum size of one body in bytes.
    max: usize,
    pace: BodyPace,
}

/// How fast a body must arrive: at least `bytes_min` in each window, and all of it within `total`.
#[derive(Clone, Copy)]
struct BodyPace {
    window: Duration,
    bytes_min: usize,
    total: Duration,
}

/// A complete body in the pieces that it was read into.
///
/// Growing one buffer copies it and zeroes the old block, up to 32 MiB in one step. Pieces are appended instead; a long
/// body is joined and freed on threads that serve no other request.
pub(crate) struct ReadBody {
    held: DeferredDrop<BodyMemory>,
    length: usize,
    /// Capacity of all pieces together in bytes.
    capacity: usize,
}

/// The pieces and their share of the pool, which is returned after the pieces are freed.
struct BodyMemory {
    pieces: VecDeque<Vec<u8>>,
    share: Share,
}

impl ReadBody {
    fn new(share: Share) -> Self {
        Self { held: DeferredDrop::new(BodyMemory { pieces: VecDeque::new(), share }, false), length: 0, capacity: 0 }
    }

    /// Length of the body in bytes.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Joins the body into one piece, and returns it with its share of the pool. Takes a while for a long body. Each
    /// piece is freed as soon as it is copied, so at most one piece more than the body is held.
    pub(crate) fn join(self) -> (Vec<u8>, Share) {
        let BodyMemory { mut pieces, mut share } = self.held.into_inner();
        let joined = if pieces.len() == 1 {
            pieces.pop_front().unwrap_or_default()
        } else {
            let mut joined = Vec::with_capacity(self.length);
            while let Some(piece) = pieces.pop_front() {
                joined.extend_from_slice(&piece);
            }
            joined
        };
        // Shrinking is never refused.
        let _ = share.resize(joined.capacity().min(self.capacity));
        (joined, share)
    }

    /// Appends what fits into the last piece; the rest stays in `data`.
    fn fill(&mut self, data: &mut &[u8]) {
        let Some(last) = self.held.pieces.back_mut() else { return };
        let (fits, rest) = data.split_at(data.len().min(last.capacity() - last.len()));
        last.extend_from_slice(fits);
        self.length += fits.len();
        *data = rest;
    }

    /// Adds an empty piece of this capacity.
    fn extend(&mut self, capacity: usize) -> Result<(), Exhausted> {
        self.held.share.resize(self.capacity + capacity)?;
        self.held.pieces.push_back(Vec::with_capacity(capacity));
        self.capacity += capacity;
        if self.capacity > FREED_INLINE_BYTES_MAX {
            self.held.set_large();
        }
        Ok(())
    }
}

impl BodyPool {
    /// Creates the pool of one plane. Each plane has its own, so that tenants' bodies never make an operator's request
    /// wait.
    pub(crate) fn of(plane: Plane) -> Self {
        let (all, max) = match plane {
            Plane::Control => (limits::CONTROL_BODIES_BYTES_MAX, limits::CONTROL_BODY_BYTES_MAX),
            Plane::Data | Plane::Both => (limits::BODIES_BYTES_MAX, limits::BODY_BYTES_MAX),
        };
        let pace = BodyPace {
            window: limits::BODY_WINDOW,
            bytes_min: limits::BODY_WINDOW_BYTES_MIN,
            total: limits::BODY_WAIT,
        };
        Self { pool: SharePool::new(all, FIRST_BYTES), max, pace }
    }

    /// Reads a complete body. Cancel-safe: a cancelled read keeps no memory.
    ///
    /// # Errors
    /// `too_large`; `rate_limited` when this caller's bodies fill its share of the pool, `overloaded` when those of
    /// others do; `invalid_request` for a body that breaks off or arrives too slowly.
    pub(crate) async fn read(&self, caller: ShareHolder, body: &mut Body) -> Result<ReadBody, Error> {
        if body.size_hint().lower() > self.max as u64 {
            return Err(self.too_large());
        }
        timeout(self.pace.total, self.read_frames(caller, body)).await.unwrap_or_else(|_| Err(too_slow()))
    }

    async fn read_frames(&self, caller: ShareHolder, body: &mut Body) -> Result<ReadBody, Error> {
        // The announced length never exceeds the limit here. Bytes that are announced but do not arrive take no memory.
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(self.max);
        let mut read = ReadBody::new(self.pool.share_for(caller));
        let (mut until, mut arrived) = (Instant::now() + self.pace.window, 0);
        loop {
            let frame = match timeout_at(until, body.frame()).await {
                Ok(frame) => frame,
                Err(_) if arrived < self.pace.bytes_min => return Err(too_slow()),
                // The window was long enough for its bytes; the next one starts without credit.
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
                // A false announcement is ignored; otherwise no piece is larger than what is still to come.
                let left = if announced >= length { announced - read.length } else { usize::MAX };
                let capacity = if read.length == 0 { FIRST_BYTES } else { PIECE_BYTES };
                let capacity = capacity.max(data.len()).min(left);
                read.extend(capacity).map_err(memory_full)?;
                read.fill(&mut data);
            }
        }
    }

    fn too_large(&self) -> Error {
        let (most, unit) = if self.max >= 1 << 20 { (self.max >> 20, "MiB") } else { (self.max >> 10, "KiB") };
        Error::new(Code::TooLarge, format!("may have at most {most} {unit}; send less per request")).with_param("body")
    }
}

/// Refuses a body that cannot be JSON before a byte of it is read.
///
/// # Errors
/// `invalid_request`, naming the header.
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
        return Err(Error::invalid("content-encoding", "is not supported: send the body without encoding"));
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
        // When the time is up, the connection closes.
        let _ = timeout(DISCARD_WAIT, all).await;
    });
}

fn too_slow() -> Error {
    let rate = limits::BODY_WINDOW_BYTES_MIN as u64 / limits::BODY_WINDOW.as_secs() / 1_024;
    Error::invalid(
        "body",
        format!("arrived too slowly: it must arrive at {rate} KiB per second at least, and within five minutes"),
    )
}

fn memory_full(full: Exhausted) -> Error {
    let wait = Duration::from_secs(1);
    match full {
        Exhausted::Pool => Error::overloaded("request bodies fill the memory reserved for them", wait),
        Exhausted::Share => {
            let mut error = Error::new(
                Code::RateLimited,
                "request bodies of this caller fill its share of the memory reserved for them; send fewer at once",
            );
            error.retry_after = Some(wait);
            error
        }
    }
}

/// Bytes that are read and discarded after a refusal: enough for a body of 200 MB that was sent by mistake.
const DISCARD_BYTES_MAX: usize = 256 << 20;
/// Maximum time for which a refused body is read.
const DISCARD_WAIT: Duration = Duration::from_secs(10);
/// Memory that a body takes at first, in bytes; a caller that holds none always gets it as long as the pool has it.
const FIRST_BYTES: usize = 64 << 10;
/// Bytes of each further piece.
const PIECE_BYTES: usize = 256 << 10;
/// Bodies up to this size, in bytes, are freed in less than a millisecond.
const FREED_INLINE_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests;
