//! One listener: accepts, shakes hands, speaks HTTP/1.1. Bounded in connections, in the bytes of a
//! request's head, and in the time that a client may take over it.

use anyhow::{Context, Result};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use kernel::limits;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{path::Path, pin::pin, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What stands behind a listener.
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

/// Accepts until the door closes. At the limit further connections wait in the system's queue.
pub(crate) async fn serve(listener: TcpListener, door: Door) {
    let places = Arc::new(Semaphore::new(door.connections_max));
    let door = Arc::new(door);
    loop {
        let place = tokio::select! {
            () = door.closing.cancelled() => return,
            place = places.clone().acquire_owned() => place,
        };
        let stream = tokio::select! {
            () = door.closing.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (Ok(place), Some(stream)) = (place, usable(stream).await) else { continue };
        let door = door.clone();
        let tracker = door.connections.clone();
        tracker.spawn(async move {
            greet(stream, &door).await;
            drop(place);
        });
    }
}

/// A failed accept is the client's going or a lack of file descriptors; the latter wants a moment.
async fn usable(accepted: std::io::Result<(TcpStream, std::net::SocketAddr)>) -> Option<TcpStream> {
    match accepted {
        Ok((stream, _)) => {
            // Replies are small and whole: waiting to fill a packet only delays them.
            let _ = stream.set_nodelay(true);
            Some(stream)
        }
        Err(error) => {
            tracing::warn!(kind = ?error.kind(), "a connection was not accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn greet(stream: TcpStream, door: &Door) {
    let Some(tls) = &door.tls else { return talk(stream, door).await };
    match tokio::time::timeout(limits::HANDSHAKE_WAIT, tls.accept(stream)).await {
        Ok(Ok(stream)) => talk(stream, door).await,
        Ok(Err(_)) | Err(_) => tracing::debug!("a TLS handshake failed"),
    }
}

/// Serves one connection until it ends, or, once the door closes, until its request is answered.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(stream: S, door: &Door) {
    let service = TowerToHyperService::new(door.router.clone());
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEAD_WAIT)
        .max_buf_size(limits::HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = door.closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if ended.is_err() {
        // The client broke off or spoke no HTTP. What it said is not ours to log.
        tracing::debug!("a connection ended early");
    }
}

/// After a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
