//! A whole server inside the test's own process: real listeners on ports of the system's choice,
//! a folder of its own, and the fake model.

use kernel::{Clock, OsEntropy, SystemClock, Timestamp};
use models::Models;
use registry::KeyConfig;
use ringfence::{
    Parts, Running, Settings,
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

/// The root key of every test house.
const ROOT_KEY: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";
/// Every scope there is.
pub(crate) const ALL: &[&str] =
    &["search", "ingest", "delete", "manage", "review", "act_as", "read_all", "overwrite", "vectors", "audit"];

/// The machine's time, and as much later as it is told.
pub(crate) struct LaterClock(SystemClock, AtomicU64);

impl LaterClock {
    fn ahead(&self) -> Duration {
        Duration::from_secs(self.1.load(Ordering::SeqCst))
    }
}

impl Clock for LaterClock {
    fn now(&self) -> Timestamp {
        self.0.now().plus(self.ahead())
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic() + self.ahead()
    }
}

pub(crate) struct House {
    runtime: Runtime,
    running: Option<Running>,
    folder: TempDir,
    pub(crate) token: String,
    overrides: Vec<(String, String)>,
    clock: Arc<LaterClock>,
    keys: KeyConfig,
}

impl House {
    pub(crate) fn open() -> Self {
        Self::open_with(&[])
    }

    /// With these overrides of the configuration.
    pub(crate) fn open_with(overrides: &[(&str, &str)]) -> Self {
        Self::open_under(local().into(), overrides)
    }

    /// Under the keys of these providers.
    pub(crate) fn open_under(keys: KeyConfig, overrides: &[(&str, &str)]) -> Self {
        let runtime = ringfence::runtime().worker_threads(2).build().expect("a runtime");
        let mut house = Self {
            runtime,
            running: None,
            folder: TempDir::new().expect("a folder"),
            token: String::new(),
            overrides: Vec::new(),
            clock: Arc::new(LaterClock(SystemClock::new(), AtomicU64::new(0))),
            keys,
        };
        house.overrides = overrides.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        house.start();
        house
    }

    /// Starts on the folder that is there.
    pub(crate) fn start(&mut self) {
        let given = [
            ("RINGFENCE_ROOT_KEY", ROOT_KEY),
            ("RINGFENCE__DATA_PLANE__LISTEN", "127.0.0.1:0"),
            ("RINGFENCE__CONTROL_PLANE__LISTEN", "127.0.0.1:0"),
        ];
        let environment =
            Environment::of(given.map(|(k, v)| (k.to_owned(), v.to_owned())).into_iter().chain(self.overrides.clone()));
        let config = Config::load(None, &environment).expect("a configuration");
        let settings = Settings::new(&config, Some(self.folder.path()), &environment).expect("settings");
        let parts = Parts {
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

    /// It is so much later now.
    pub(crate) fn pass(&self, time: Duration) {
        self.clock.1.fetch_add(time.as_secs(), Ordering::SeqCst);
    }

    /// Drains and closes.
    pub(crate) fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.stop());
        }
    }

    /// Where it keeps everything.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn data_address(&self) -> SocketAddr {
        self.running.as_ref().expect("runs").data_plane
    }

    pub(crate) fn control_address(&self) -> SocketAddr {
        self.running.as_ref().expect("runs").control_plane
    }

    /// The data plane with this key.
    pub(crate) fn data(&self, key: Option<&str>) -> Http {
        Http::new(self.data_address(), key)
    }

    /// The control plane with this token.
    pub(crate) fn control(&self, token: Option<&str>) -> Http {
        Http::new(self.running.as_ref().expect("runs").control_plane, token)
    }

    /// The control plane as the first admin.
    pub(crate) fn admin(&self) -> Http {
        self.control(Some(&self.token))
    }

    /// Makes a tenant.
    pub(crate) fn tenant(&self, id: &str) {
        self.admin().send("POST", "/admin/v1/tenants", &json!({ "id": id })).expect("an answer").ok();
    }

    /// Makes a key with these scopes, and more members.
    pub(crate) fn key(&self, tenant: &str, scopes: &[&str], more: Value) -> String {
        let mut body = json!({ "name": "test", "scopes": scopes });
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        let path = format!("/admin/v1/tenants/{tenant}/api-keys");
        let made = self.admin().send("POST", &path, &body).expect("an answer").ok();
        made["secret"].as_str().expect("a secret").to_owned()
    }
}

/// The provider of every test house, unless it says otherwise.
pub(crate) fn local() -> LocalProvider {
    LocalProvider::from_env_value(ROOT_KEY, Arc::new(OsEntropy)).expect("a root key")
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop();
    }
}
