//! The server: it opens the engine, starts both listeners, and shuts down.
//!
//! On shutdown no new connection is accepted; existing connections end after their current request; requests in
//! progress finish; the engine makes everything that is queued durable and releases the data folder.

use crate::{
    Dependencies, Settings,
    config::ListenSettings,
    descriptors::Descriptors,
    first_token::FirstToken,
    http::{App, Plane, router},
    listen::{self, Listener},
};
use anyhow::{Context, Result, anyhow};
use engine::{Engine, EngineConfig};
use journal::Storage;
use kernel::limits;
use std::{net::SocketAddr, time::Duration};
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use zeroize::Zeroizing;

/// A running server. Dropping it does not stop it; [`Running::stop`] does.
pub struct Running {
    /// Address of the listener for tenants' API keys.
    pub data_plane: SocketAddr,
    /// Address of the listener for operators' tokens.
    pub control_plane: SocketAddr,
    /// Token of the first operator; present only after the first start on a data folder.
    pub operator_token: Option<Zeroizing<String>>,
    app: App,
    closing: CancellationToken,
    connections: TaskTracker,
}

/// Builder of the server's runtime. Its threads wipe their stacks when they become idle after a tenant's keys were
/// taken away.
pub fn runtime() -> tokio::runtime::Builder {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().on_thread_park(kernel::wipe_stack_if_requested);
    builder.max_blocking_threads(Descriptors::of_process(limits::CONNECTIONS_MAX).blocking_threads);
    builder
}

/// Starts a server with the parts that the settings name. The first operator's token is shown before any request is
/// answered.
///
/// # Errors
/// An address is in use; the root key or the models cannot be loaded; the data folder does not open; or the file for
/// the first operator's token cannot be written.
pub async fn start(settings: Settings) -> Result<Running> {
    let parts = Dependencies::from_settings(&settings)?;
    let first = FirstToken::prepare(settings.operator_token_file.as_deref())?;
    launch(settings, parts, |token| first.show(token)).await
}

/// Starts a server with the given parts.
///
/// # Errors
/// The errors of [`start`].
pub async fn start_with(settings: Settings, parts: Dependencies) -> Result<Running> {
    launch(settings, parts, |_| Ok(())).await
}

async fn launch(
    settings: Settings,
    parts: Dependencies,
    show_token: impl FnOnce(Option<&str>) -> Result<()>,
) -> Result<Running> {
    // Both sockets are bound before the engine opens, so that a used address fails early; requests are accepted only at
    // the end.
    let data = bind("data_plane", &settings.data_plane).await?;
    let control = bind("control_plane", &settings.control_plane).await?;
    let clock = parts.clock.clone();
    let storage = crate::parts::storage(&settings).await?;
    let (engine, operator_token) = Engine::open(engine_config(&settings, storage, parts))
        .await
        .map_err(|e| anyhow!("{}", crate::parts::chain(&e)))
        .with_context(|| format!("cannot open {}", settings.storage))?;
    show_token(operator_token.as_ref().map(|token| token.as_str()))?;
    log_models(&engine);
    let app = App::new(engine, clock);
    let closing = CancellationToken::new();
    let connections = TaskTracker::new();
    let running = Running {
        data_plane: data.address,
        control_plane: control.address,
        operator_token,
        app: app.clone(),
        closing: closing.clone(),
        connections: connections.clone(),
    };
    for (bound, plane) in [(data, Plane::Data), (control, Plane::Control)] {
        let listener = Listener {
            router: router(&app, plane),
            tls: bound.tls,
            connections: connections.clone(),
            connections_max: settings.descriptors.connections,
            closing: closing.clone(),
        };
        connections.spawn(listen::serve(bound.socket, listener));
    }
    tracing::info!(
        data_plane = %running.data_plane,
        control_plane = %running.control_plane,
        data = %settings.storage,
        "listening"
    );
    Ok(running)
}

fn engine_config(settings: &Settings, storage: Storage, parts: Dependencies) -> EngineConfig {
    let mut config = EngineConfig::new(storage, parts.keys, parts.models);
    config.clock = parts.clock;
    config.entropy = parts.entropy;
    config.adopt_operator = settings.operator_token.as_ref().map(|t| t.to_string());
    config.cpu_threads = settings.cpu_threads.unwrap_or(config.cpu_threads);
    config.searches_max = settings.searches_max.unwrap_or(config.searches_max);
    config.writes_max = settings.writes_max.unwrap_or(config.writes_max);
    config.memory_bytes_max = settings.memory_bytes_max.unwrap_or(config.memory_bytes_max);
    config.flush_bytes_max = settings.flush_bytes_max.unwrap_or(config.flush_bytes_max);
    config.flush_rows_max = settings.flush_rows_max.unwrap_or(config.flush_rows_max);
    let descriptors = settings.descriptors;
    config.namespaces_open_max = descriptors.namespaces;
    config.audit_logs_open_max = descriptors.audit_logs;
    config.tenants_open_max = descriptors.tenants;
    config.files_max = descriptors.files;
    config.erase_within = settings.erase_within;
    config.reference_graphs = settings.reference_graphs;
    config.strict_audit = settings.strict_audit;
    config
}

fn log_models(engine: &Engine) {
    for model in engine.models().list() {
        let (name, dimensions, provider) = (model.name, model.dimensions, model.provider);
        let reranks = model.reranks.map_or("no", models::Reranks::as_str);
        tracing::info!(model = name, dimensions, provider, reranks, "model loaded");
    }
    if engine.models().default_model().is_none() {
        let why =
            engine.models().reason().unwrap_or_else(|| "the default model is not among the loaded models".to_owned());
        tracing::warn!(why, "no default model: only text search and callers' own vectors are available");
    }
}

struct BoundListener {
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<tokio_rustls::TlsAcceptor>,
}

async fn bind(section: &str, settings: &ListenSettings) -> Result<BoundListener> {
    let tls = match &settings.tls {
        Some((cert, key)) => Some(listen::acceptor(cert, key).with_context(|| format!("{section}: TLS"))?),
        None => None,
    };
    let socket = listening_socket(settings.address).with_context(|| {
        format!("{section}.listen: cannot listen on {}; is another server running?", settings.address)
    })?;
    let address = socket.local_addr().context("the bound socket has no address")?;
    Ok(BoundListener { socket, address, tls })
}

/// Binds a socket with a long accept queue: a client whose connection does not fit into the queue retries only after a
/// second.
fn listening_socket(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Connections of the previous process may still be ending when a restart binds the address.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(limits::CONNECTIONS_QUEUED_MAX)
}

impl Running {
    /// Completes when another server has taken over the storage.
    pub async fn wait_for_takeover(&self) {
        self.app.engine().taken_over().await;
    }

    /// Drains and closes the server. Work that does not end within the drain time is abandoned; the next start recovers
    /// it.
    pub async fn stop(self) {
        tracing::info!("draining");
        self.closing.cancel();
        self.connections.close();
        wait(&self.connections, limits::DRAIN_WAIT, "connections").await;
        self.app.tracker().close();
        wait(self.app.tracker(), limits::DRAIN_WAIT, "requests").await;
        self.app.engine().close(limits::DRAIN_WAIT).await;
        tracing::info!("closed");
    }
}

async fn wait(tracker: &TaskTracker, limit: Duration, what: &str) {
    if tokio::time::timeout(limit, tracker.wait()).await.is_err() {
        tracing::warn!(what, left = tracker.len(), "did not finish within the drain time");
    }
}
