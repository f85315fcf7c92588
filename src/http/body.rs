//! Request bodies: read within the limits of size, time and memory, whatever the headers claim.

use super::app::{App, BODY_STEP};
use axum::{
    body::{Body, HttpBody},
    http::{HeaderMap, header},
};
use futures::TryFutureExt;
use http_body_util::BodyExt;
use kernel::{Code, Error, limits};
use std::time::Duration;
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

/// A whole body and the room it takes.
pub(crate) struct Read {
    pub(crate) bytes: Vec<u8>,
    _room: Option<OwnedSemaphorePermit>,
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

/// Reads all of it. Cancel-safe: nothing is kept.
///
/// # Errors
/// `too_large`, `overloaded` when bodies fill the memory meant for them, `invalid_request` for one
/// that breaks off or comes too slowly.
pub(crate) async fn read(app: &App, body: &mut Body) -> Result<Read, Error> {
    let announced = body.size_hint().lower();
    if announced > limits::BODY_BYTES_MAX as u64 {
        return Err(too_large());
    }
    timeout(limits::BODY_WAIT, gather(app, body)).await.unwrap_or_else(|_| Err(too_slow()))
}

async fn gather(app: &App, body: &mut Body) -> Result<Read, Error> {
    let mut bytes = Vec::new();
    let mut room: Option<OwnedSemaphorePermit> = None;
    loop {
        let frame = timeout(limits::BODY_PAUSE, body.frame()).map_err(|_| too_slow()).await?;
        let Some(frame) = frame else { return Ok(Read { bytes, _room: room }) };
        let frame = frame.map_err(|_| Error::invalid("body", "broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limits::BODY_BYTES_MAX {
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
        let wanted = bytes.len().div_ceil(BODY_STEP);
        let held = room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if wanted > held {
            let more = u32::try_from(wanted - held).unwrap_or(u32::MAX);
            let more = app.bodies().clone().try_acquire_many_owned(more).map_err(|_| no_room())?;
            match &mut room {
                Some(room) => room.merge(more),
                None => room = Some(more),
            }
        }
    }
}

/// Throws away what a refused client still sends, for a while, so that it gets to read the answer
/// instead of a broken connection. One that waits for `100 Continue` has sent nothing.
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

fn too_large() -> Error {
    Error::new(Code::TooLarge, "a request body may have at most 64 MiB; send fewer documents at once")
}

fn too_slow() -> Error {
    Error::invalid("body", "did not arrive in time")
}

fn no_room() -> Error {
    Error::overloaded("request bodies fill the memory meant for them", Duration::from_secs(1))
}

/// Bytes read and thrown away after a refusal: a body of 200 MB by mistake, with room to spare.
const DISCARD_BYTES_MAX: usize = 256 << 20;
/// For at most so long.
const DISCARD_WAIT: Duration = Duration::from_secs(10);
