//! One listener: it accepts connections, performs TLS handshakes, and serves HTTP/1.1. It bounds the number of
//! connections, the bytes of a request head, and the time that a client may take for a handshake, a head, a reply, and
//! a whole connection.

mod fair;
mod heads;
mod paced;
mod slots;

pub(crate) use slots::ConnectionSlot;

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
use paced::{PacedStream, WritePace};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use slots::ConnectionSlots;
use socket2::{SockRef, TcpKeepalive};
use std::{net::IpAddr, path::Path, pin::pin, sync::Arc, task::Waker, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The router that a listener serves, and its limits.
pub(crate) struct Listener {
    pub(crate) router: Router,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) connections: TaskTracker,
    pub(crate) connections_max: usize,
    pub(crate) closing: CancellationToken,
}

/// Builds a TLS acceptor from a certificate chain and its key.
///
/// # Errors
/// A file cannot be read, or does not hold what it should.
pub(crate) fn acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("cannot read the certificate {}", cert.display()))?;
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| format!("cannot read the key {}", key.display()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS protocol versions")?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("the certificate and the key do not belong together")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Accepts connections until the listener closes. At the limit a new connection displaces another one; if none may be
/// displaced, the new connection waits for a slot; if too many wait already, further ones stay in the system's accept
/// queue.
pub(crate) async fn serve(socket: TcpListener, listener: Listener) {
    // Some accepted connections may wait for a slot in tasks of their own, so that they do not keep the next one from
    // being accepted.
    let waiting_max = (listener.connections_max / WAITING_SHARE).max(1);
    let waiting = Arc::new(Semaphore::new(waiting_max));
    let slots =
        ConnectionSlots::new(listener.connections_max.saturating_sub(waiting_max), listener.connections.clone());
    let listener = Arc::new(listener);
    loop {
        let accepted = tokio::select! {
            () = listener.closing.cancelled() => return,
            accepted = socket.accept() => accepted,
        };
        let Some((stream, address)) = accepted_stream(accepted).await else { continue };
        let (listener, tracker) = (listener.clone(), listener.connections.clone());
        if let Some(slot) = slots.try_acquire(address) {
            tracker.spawn(serve_connection(stream, listener, slot));
            continue;
        }
        let Ok(waiting_permit) = waiting.clone().try_acquire_owned() else {
            let slot = tokio::select! {
                () = listener.closing.cancelled() => return,
                slot = slots.acquire(address) => slot,
            };
            tracker.spawn(serve_connection(stream, listener, slot));
            continue;
        };
        let slots = slots.clone();
        tracker.spawn(async move {
            let slot = tokio::select! {
                () = listener.closing.cancelled() => return,
                slot = slots.acquire(address) => slot,
            };
            drop(waiting_permit);
            serve_connection(stream, listener, slot).await;
        });
    }
}

/// Serves a connection for as long as it holds its slot.
async fn serve_connection(stream: TcpStream, listener: Arc<Listener>, slot: ConnectionSlot) {
    let slot = Arc::new(slot);
    let connection = pin!(handshake(stream, &listener, slot.clone()));
    let connection = fair::Scheduled::new(connection, |waker: &Waker| slot.may_run(waker));
    tokio::select! {
        () = slot.displaced() => tracing::debug!("a connection was displaced"),
        () = connection => {}
    }
}

/// Returns the stream and its address. Accepting fails when the client has disconnected or when file descriptors run
/// out; the latter needs a pause.
async fn accepted_stream(accepted: std::io::Result<(TcpStream, std::net::SocketAddr)>) -> Option<(TcpStream, IpAddr)> {
    match accepted {
        Ok((stream, address)) => {
            if let Err(error) = prepare(&stream) {
                tracing::debug!(kind = ?error.kind(), "socket options were not applied");
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

/// Sets keepalive, to detect dead peers, and bounds what the system buffers for clients that do not read.
fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    // Replies are small and complete: waiting to fill a packet would only delay them.
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

async fn handshake(stream: TcpStream, listener: &Listener, slot: Arc<ConnectionSlot>) {
    let pace = WritePace { window: limits::REPLY_WINDOW, bytes_min: limits::REPLY_WINDOW_BYTES_MIN };
    let stream = PacedStream::new(stream, pace, reset);
    let Some(tls) = &listener.tls else { return serve_http(stream, listener, slot).await };
    match tokio::time::timeout(limits::HANDSHAKE_WAIT, tls.accept(stream)).await {
        Ok(Ok(stream)) => serve_http(stream, listener, slot).await,
        Ok(Err(_)) | Err(_) => tracing::debug!("a TLS handshake failed"),
    }
}

/// Serves one connection until it ends. Once the listener closes or the connection's time is up, it ends after the
/// current request.
async fn serve_http<S: AsyncRead + AsyncWrite + Unpin>(stream: S, listener: &Listener, slot: Arc<ConnectionSlot>) {
    let routes = TowerToHyperService::new(listener.router.clone());
    let stream = heads::StrictHeads::new(stream, slot.clone());
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(slot.clone());
        let (reply, slot) = (routes.call(request.map(Body::new)), slot.clone());
        async move {
            let reply = reply.await;
            slot.replied();
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
                () = listener.closing.cancelled() => {}
                () = tokio::time::sleep(limits::CONNECTION_WAIT) => {}
            }
        } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if ended.is_err() {
        // The client disconnected or did not send HTTP. What it sent is not logged.
        tracing::debug!("a connection ended early");
    }
}

/// One in this many of a listener's connections may wait for a slot.
const WAITING_SHARE: usize = 4;
/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
