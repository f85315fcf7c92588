//! One listener: accepts, shakes hands, speaks HTTP/1.1. Bounded in connections, in the bytes of a request's head, and in
//! the time that a client may take over a handshake, a head, a reply, and a whole connection.

mod fair;
mod heads;
mod paced;
mod places;

pub(crate) use places::Place;

use anyhow::{Context, Result};
use axum::{Router, body::Body, http::Request};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use kernel::limits;
use paced::{Pace, Paced};
use places::Places;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use socket2::{SockRef, TcpKeepalive};
use std::{net::IpAddr, path::Path, pin::pin, sync::Arc, task::Waker, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What a listener serves, and its limits.
pub(crate) struct Door {
    pub(crate) router: Router,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) connections: TaskTracker,
    pub(crate) connections_max: usize,
    pub(crate) closing: CancellationToken,
}

/// Reads a certificate chain and its key.
///
/// # Errors
/// A file that cannot be read, or is not what it should be.
pub(crate) fn acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("cannot read the certificate {}", cert.display()))?;
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| format!("cannot read the key {}", key.display()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS versions")?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("the certificate and the key do not belong together")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Accepts until the door closes. At the limit a new connection displaces another; where none may be displaced, it waits
/// for a place; where too many wait already, further ones wait in the system's queue.
pub(crate) async fn serve(listener: TcpListener, door: Door) {
    // Some may wait beside the listener until a place is free, so that none of them keeps the next from being let in.
    let waiting_max = (door.connections_max / WAITING_SHARE).max(1);
    let waiting = Arc::new(Semaphore::new(waiting_max));
    let places = Places::new(door.connections_max.saturating_sub(waiting_max), door.connections.clone());
    let door = Arc::new(door);
    loop {
        let accepted = tokio::select! {
            () = door.closing.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Some((stream, address)) = usable(accepted).await else { continue };
        let (door, tracker) = (door.clone(), door.connections.clone());
        if let Some(place) = places.take_now(address) {
            tracker.spawn(keep(stream, door, place));
            continue;
        }
        let Ok(turn) = waiting.clone().try_acquire_owned() else {
            let place = tokio::select! {
                () = door.closing.cancelled() => return,
                place = places.take(address) => place,
            };
            tracker.spawn(keep(stream, door, place));
            continue;
        };
        let places = places.clone();
        tracker.spawn(async move {
            let place = tokio::select! {
                () = door.closing.cancelled() => return,
                place = places.take(address) => place,
            };
            drop(turn);
            keep(stream, door, place).await;
        });
    }
}

/// Serves a connection for as long as it has its place.
async fn keep(stream: TcpStream, door: Arc<Door>, place: Place) {
    let place = Arc::new(place);
    let connection = pin!(greet(stream, &door, place.clone()));
    let connection = fair::Scheduled::new(connection, |waker: &Waker| place.runs(waker));
    tokio::select! {
        () = place.displaced() => tracing::debug!("a connection gave its place to another"),
        () = connection => {}
    }
}

/// Accepting fails when the client has gone or file descriptors run out; the latter needs a pause.
async fn usable(accepted: std::io::Result<(TcpStream, std::net::SocketAddr)>) -> Option<(TcpStream, IpAddr)> {
    match accepted {
        Ok((stream, address)) => {
            if let Err(error) = prepare(&stream) {
                tracing::debug!(kind = ?error.kind(), "a socket did not take its options");
            }
            Some((stream, address.ip()))
        }
        Err(error) => {
            tracing::warn!(kind = ?error.kind(), "a connection was not accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// Sets keepalive, to find dead peers, and bounds what the system buffers for clients that do not read.
fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    // Replies are small and whole: waiting to fill a packet only delays them.
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(limits::KEEPALIVE_IDLE)
        .with_interval(limits::KEEPALIVE_PAUSE)
        .with_retries(limits::KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_user_timeout(Some(limits::UNACKNOWLEDGED_WAIT))?;
        socket.set_tcp_notsent_lowat(limits::REPLY_UNSENT_BYTES_MAX)?;
    }
    Ok(())
}

/// Makes the system discard unsent bytes when the socket of a client that does not read is closed.
fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

async fn greet(stream: TcpStream, door: &Door, place: Arc<Place>) {
    let pace = Pace { window: limits::REPLY_WINDOW, bytes_min: limits::REPLY_WINDOW_BYTES_MIN };
    let stream = Paced::new(stream, pace, reset);
    let Some(tls) = &door.tls else { return talk(stream, door, place).await };
    match tokio::time::timeout(limits::HANDSHAKE_WAIT, tls.accept(stream)).await {
        Ok(Ok(stream)) => talk(stream, door, place).await,
        Ok(Err(_)) | Err(_) => tracing::debug!("a TLS handshake failed"),
    }
}

/// Serves one connection until it ends, or, once the door closes or its time is up, until its request is answered.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(stream: S, door: &Door, place: Arc<Place>) {
    let routes = TowerToHyperService::new(door.router.clone());
    let stream = heads::Strict::new(stream, place.clone());
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(place.clone());
        let (reply, place) = (routes.call(request.map(Body::new)), place.clone());
        async move {
            let reply = reply.await;
            place.replied();
            reply
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEAD_WAIT)
        .max_header_size(limits::HEAD_BYTES_MAX)
        .max_buf_size(limits::HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = async {
            tokio::select! {
                () = door.closing.cancelled() => {}
                () = tokio::time::sleep(limits::CONNECTION_WAIT) => {}
            }
        } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if ended.is_err() {
        // The client disconnected or sent no HTTP. What it sent is not logged.
        tracing::debug!("a connection ended early");
    }
}

/// One in this many of a listener's connections may wait for a place.
const WAITING_SHARE: usize = 4;
/// After a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
