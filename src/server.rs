//! A server: parts, engine, two listeners, and the way down.
//!
//! Going down: no new connection; those that are there end after the request they are at; requests
//! under way run to their end; the engine makes durable what is queued and gives the folder back.

use crate::{
    Parts, Settings,
    config::Listen,
    descriptors::Descriptors,
    first_token::FirstToken,
    http::{App, Plane, router},
    listen::{self, Door},
};
use anyhow::{Context, Result, anyhow};
use engine::{Engine, EngineConfig};
use journal::Storage;
use kernel::limits;
use std::{net::SocketAddr, time::Duration};
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use zeroize::Zeroizing;

/// A server that serves. Dropping it does not stop it; [`Running::stop`] does.
pub struct Running {
    /// Where tenants' keys are taken.
    pub data_plane: SocketAddr,
    /// Where operators' tokens are taken.
    pub control_plane: SocketAddr,
    /// The first operator's token, on the first start of a data folder only.
    pub operator_token: Option<Zeroizing<String>>,
    app: App,
    closing: CancellationToken,
    connections: TaskTracker,
}

/// The runtime that a server needs: its threads wipe their stacks when they become idle after a tenant whose keys
/// were taken away.
pub fn runtime() -> tokio::runtime::Builder {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().on_thread_park(kernel::wipe_stack_if_asked);
    builder.max_blocking_threads(Descriptors::of_process(limits::CONNECTIONS_MAX).blocking_threads);
    builder
}

/// Starts with the parts that the settings name. The first operator's token is told before anything is answered.
///
/// # Errors
/// An address that is taken, a key or models that cannot be had, a data folder that does not open, a file that the first
/// operator's token cannot be written to.
pub async fn start(settings: Settings) -> Result<Running> {
    let parts = Parts::from_settings(&settings)?;
    let first = FirstToken::prepare(settings.operator_token_file.as_deref())?;
    launch(settings, parts, |token| first.tell(token)).await
}

/// Starts with these parts.
///
/// # Errors
/// See [`start`].
pub async fn start_with(settings: Settings, parts: Parts) -> Result<Running> {
    launch(settings, parts, |_| Ok(())).await
}

async fn launch(settings: Settings, parts: Parts, tell: impl FnOnce(Option<&str>) -> Result<()>) -> Result<Running> {
    let data = bind("data_plane", &settings.data_plane).await?;
    let control = bind("control_plane", &settings.control_plane).await?;
    let clock = parts.clock.clone();
    let storage = crate::parts::storage(&settings).await?;
    let (engine, operator_token) = Engine::open(engine_config(&settings, storage, parts))
        .await
        .map_err(|e| anyhow!("{}", crate::parts::chain(&e)))
        .with_context(|| format!("cannot open {}", settings.place))?;
    tell(operator_token.as_ref().map(|token| token.as_str()))?;
    say_models(&engine);
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
    for (listener, plane) in [(data, Plane::Data), (control, Plane::Control)] {
        let door = Door {
            router: router(&app, plane),
            tls: listener.tls,
            connections: connections.clone(),
            connections_max: settings.descriptors.connections,
            closing: closing.clone(),
        };
        connections.spawn(listen::serve(listener.socket, door));
    }
    tracing::info!(
        data_plane = %running.data_plane,
        control_plane = %running.control_plane,
        data = %settings.place,
        "listening"
    );
    Ok(running)
}

fn engine_config(settings: &Settings, storage: Storage, parts: Parts) -> EngineConfig {
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
    config.audit_chains_open_max = descriptors.audit_chains;
    config.tenants_open_max = descriptors.tenants;
    config.files_max = descriptors.files;
    config.erase_within = settings.erase_within;
    config.reference_graphs = settings.reference_graphs;
    config.strict_audit = settings.strict_audit;
    config
}

fn say_models(engine: &Engine) {
    for model in engine.models().list() {
        let (name, dimensions, provider) = (model.name, model.dimensions, model.provider);
        let reranks = model.reranks.map_or("no", models::Reranks::as_str);
        tracing::info!(model = name, dimensions, provider, reranks, "a model serves");
    }
    if engine.models().default_model().is_none() {
        let why = engine.models().reason().unwrap_or_else(|| "the default model is not among those loaded".to_owned());
        tracing::warn!(why, "no default model: text search and callers' own vectors are served");
    }
}

struct Bound {
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<tokio_rustls::TlsAcceptor>,
}

async fn bind(section: &str, wanted: &Listen) -> Result<Bound> {
    let tls = match &wanted.tls {
        Some((cert, key)) => Some(listen::acceptor(cert, key).with_context(|| format!("{section}: TLS"))?),
        None => None,
    };
    let socket = listen(wanted.address).with_context(|| {
        format!("{section}.listen: cannot listen on {}; is another server running?", wanted.address)
    })?;
    let address = socket.local_addr().context("a bound socket has an address")?;
    Ok(Bound { socket, address, tls })
}

/// A bound socket with a long queue of the system: a client whose connection does not fit into it tries again only after
/// a second.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart may bind while connections of its predecessor are ending.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(limits::CONNECTIONS_QUEUED_MAX)
}

impl Running {
    /// Comes when another server has taken the storage over.
    pub async fn taken_over(&self) {
        self.app.engine().taken_over().await;
    }

    /// Drains and closes. What does not end within the drain time is left; a restart continues it.
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
        tracing::warn!(what, left = tracker.len(), "not all ended in time");
    }
}
