//! A complete server inside the test's own process: real listeners on ports that the operating system chooses, a folder
//! of its own, and the fake model.

use kernel::{Clock, OsEntropy, SystemClock, Timestamp};
use models::Models;
use registry::KeyConfig;
use ringfence::{
    Dependencies, Running, Settings,
    config::{Config, Environment},
};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use testkit::Http;
use tokio::runtime::Runtime;
use vault::LocalProvider;

/// Root key of every test server.
const ROOT_KEY: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";
/// All scopes.
pub(crate) const ALL_SCOPES: &[&str] =
    &["search", "ingest", "delete", "manage", "review", "act_as", "read_all", "overwrite", "vectors", "audit"];

/// The machine's time plus an offset that a test sets, seconds.
pub(crate) struct OffsetClock(SystemClock, AtomicU64);

impl OffsetClock {
    fn ahead(&self) -> Duration {
        Duration::from_secs(self.1.load(Ordering::SeqCst))
    }
}

impl Clock for OffsetClock {
    fn now(&self) -> Timestamp {
        self.0.now().plus(self.ahead())
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic() + self.ahead()
    }
}

/// A running server, its folder and its settings.
pub(crate) struct TestServer {
    runtime: Runtime,
    running: Option<Running>,
    folder: TempDir,
    pub(crate) token: String,
    overrides: Vec<(String, String)>,
    clock: Arc<OffsetClock>,
    keys: KeyConfig,
}

impl TestServer {
    pub(crate) fn start_default() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with these overrides of the configuration.
    pub(crate) fn start_with(overrides: &[(&str, &str)]) -> Self {
        Self::start_with_keys(local().into(), overrides)
    }

    /// Starts a server whose keys these providers wrap.
    pub(crate) fn start_with_keys(keys: KeyConfig, overrides: &[(&str, &str)]) -> Self {
        let runtime = ringfence::runtime().worker_threads(2).build().expect("a runtime");
        let mut server = Self {
            runtime,
            running: None,
            folder: TempDir::new().expect("a folder"),
            token: String::new(),
            overrides: Vec::new(),
            clock: Arc::new(OffsetClock(SystemClock::new(), AtomicU64::new(0))),
            keys,
        };
        server.overrides = overrides.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        server.start();
        server
    }

    /// Starts the server on its existing folder.
    pub(crate) fn start(&mut self) {
        let defaults = [
            ("RINGFENCE_ROOT_KEY", ROOT_KEY),
            ("RINGFENCE__DATA_PLANE__LISTEN", "127.0.0.1:0"),
            ("RINGFENCE__CONTROL_PLANE__LISTEN", "127.0.0.1:0"),
        ];
        let environment = Environment::of(
            defaults.map(|(k, v)| (k.to_owned(), v.to_owned())).into_iter().chain(self.overrides.clone()),
        );
        let config = Config::load(None, &environment).expect("a configuration");
        let settings = Settings::new(&config, Some(self.folder.path()), &environment).expect("settings");
        let parts = Dependencies {
            keys: self.keys.clone(),
            models: Models::fake(64),
            clock: self.clock.clone(),
            entropy: Arc::new(OsEntropy),
        };
        let running = self.runtime.block_on(ringfence::start_with(settings, parts)).expect("the server starts");
        if let Some(token) = &running.operator_token {
            self.token = token.to_string();
        }
        self.running = Some(running);
    }

    /// Advances the server's clock by `time`.
    pub(crate) fn advance_clock(&self, time: Duration) {
        self.clock.1.fetch_add(time.as_secs(), Ordering::SeqCst);
    }

    /// Drains and stops the server.
    pub(crate) fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.stop());
        }
    }

    /// Folder of the server's data.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn data_address(&self) -> SocketAddr {
        self.running.as_ref().expect("runs").data_plane
    }

    pub(crate) fn control_address(&self) -> SocketAddr {
        self.running.as_ref().expect("runs").control_plane
    }

    /// A client of the data plane with this key.
    pub(crate) fn data(&self, key: Option<&str>) -> Http {
        Http::new(self.data_address(), key)
    }

    /// A client of the control plane with this token.
    pub(crate) fn control(&self, token: Option<&str>) -> Http {
        Http::new(self.running.as_ref().expect("runs").control_plane, token)
    }

    /// A client of the control plane as the first admin.
    pub(crate) fn admin(&self) -> Http {
        self.control(Some(&self.token))
    }

    /// Creates a tenant.
    pub(crate) fn tenant(&self, id: &str) {
        self.admin().send("POST", "/admin/v1/tenants", &json!({ "id": id })).expect("an answer").ok();
    }

    /// Creates a key with these scopes and further members.
    pub(crate) fn key(&self, tenant: &str, scopes: &[&str], more: Value) -> String {
        let mut body = json!({ "name": "test", "scopes": scopes });
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        let path = format!("/admin/v1/tenants/{tenant}/api-keys");
        let reply = self.admin().send("POST", &path, &body).expect("an answer").ok();
        reply["secret"].as_str().expect("a secret").to_owned()
    }
}

/// Key provider of every test server that sets no other.
pub(crate) fn local() -> LocalProvider {
    LocalProvider::from_env_value(ROOT_KEY, Arc::new(OsEntropy)).expect("a root key")
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop();
    }
}
