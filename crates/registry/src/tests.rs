//! Tests of the registry as its callers use it: through a real gate, over a real folder.

mod erasing;
mod lazy;
mod life;
mod reencrypting;
mod rotating;
mod system_keys;
mod trouble;

use crate::{NewApiKey, NewTenant, Registry};
use access::{Action, Gate, Grant, Manage, Operator, RequestInfo};
use journal::Storage;
use kernel::{
    Clock, Code, Entropy, ManualClock, NamespaceName, NamespaceSettings, OsEntropy, RequestId, Scope, TenantId,
    Timestamp,
};
use std::{path::Path, sync::Arc};
use tempfile::TempDir;
use tokio_util::task::TaskTracker;
use vault::{LocalProvider, Providers};
use zeroize::Zeroizing;

type Opened = (Registry, Option<Zeroizing<String>>);

/// A server's data folder, kept over several starts.
pub(crate) struct DataFolder {
    pub(crate) folder: TempDir,
    pub(crate) clock: Arc<ManualClock>,
    root: String,
    /// The previous root key, while it is being changed.
    previous: Option<String>,
    token: Option<Zeroizing<String>>,
}

/// A server that was started on the folder.
pub(crate) struct RunningServer {
    pub(crate) registry: Registry,
    pub(crate) gate: Gate,
    pub(crate) operator: Operator,
    pub(crate) tracker: TaskTracker,
    storage: Storage,
}

pub(crate) fn entropy() -> Arc<dyn Entropy> {
    Arc::new(OsEntropy)
}

pub(crate) fn request() -> RequestId {
    RequestId::random(&OsEntropy)
}

impl DataFolder {
    pub(crate) fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            clock: Arc::new(ManualClock::new(Timestamp::parse("2026-11-21T10:00:00Z").unwrap())),
            root: "5a".repeat(32),
            previous: None,
            token: None,
        }
    }

    pub(crate) fn data(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn provider(&self) -> Providers {
        let local = |root: &str| LocalProvider::from_env_value(root, entropy()).unwrap();
        let now = local(&self.root);
        match &self.previous {
            Some(previous) => now.with_previous(local(previous)).into(),
            None => now.into(),
        }
    }

    pub(crate) async fn storage(&self) -> Storage {
        Storage::open(&self.data().join("data")).await.unwrap()
    }

    pub(crate) async fn open(
        &self,
        adopt: Option<&str>,
    ) -> (Storage, kernel::Result<(Registry, Option<Zeroizing<String>>)>) {
        let (storage, _, opened) = self.open_tracked(adopt).await;
        (storage, opened)
    }

    async fn open_tracked(&self, adopt: Option<&str>) -> (Storage, TaskTracker, kernel::Result<Opened>) {
        let (storage, tracker) = (self.storage().await, TaskTracker::new());
        let (clock, tasks) = (self.clock.clone(), tracker.clone());
        let opened = Registry::open(storage.clone(), self.provider(), clock, entropy(), tasks, adopt).await;
        (storage, tracker, opened)
    }

    /// Starts the server and opens every tenant, as requests would.
    pub(crate) async fn start(&mut self) -> RunningServer {
        let server = self.start_cold().await;
        for (_, incarnation) in server.registry.incarnations_after(&server.operator, None, usize::MAX) {
            let _ = server.registry.inner.open(incarnation).await;
        }
        server.wait_for_background().await;
        server
    }

    /// Starts the server with the operator that the first start created. Opens no tenant.
    pub(crate) async fn start_cold(&mut self) -> RunningServer {
        let (storage, tracker, opened) = self.open_tracked(None).await;
        let (registry, fresh) = opened.unwrap();
        self.token = fresh.or(self.token.take());
        let gate = Gate::new(registry.credentials(), self.clock.clone());
        let token = self.token.clone().unwrap();
        let operator = gate.operator(Some(&token), &[], request()).unwrap();
        RunningServer { registry, gate, operator, tracker, storage }
    }
}

impl RunningServer {
    /// Stops the server as a kill would: nothing is flushed or finished, only the folder's lock is released.
    pub(crate) async fn kill(self) {
        let RunningServer { registry, gate, operator, storage, .. } = self;
        drop((registry, gate, operator));
        storage.close().await;
    }

    pub(crate) async fn tenant(&self, id: &str) -> TenantId {
        let id = tenant(id);
        let new = NewTenant::named(id.clone());
        let made = self.registry.create_tenant(&self.operator, new).await.unwrap();
        self.registry.inner.open(made.incarnation).await.unwrap();
        id
    }

    /// Waits for background tasks to end.
    pub(crate) async fn wait_for_background(&self) {
        self.tracker.close();
        self.tracker.wait().await;
        self.tracker.reopen();
    }

    /// Admits a request as the engine does.
    pub(crate) async fn admit<A: Action>(&self, key: &str, namespace: &str) -> Result<Grant<A>, Code> {
        let _open = match self.gate.recognise(Some(key)) {
            Some(incarnation) => self.registry.prepare(incarnation).await,
            None => None,
        };
        self.gate.admit(Some(key), ask(namespace)).map_err(|refusal| refusal.error.code)
    }

    /// Creates a key that may do everything.
    pub(crate) async fn key(&self, tenant: &TenantId) -> Zeroizing<String> {
        let new = NewApiKey { scopes: Scope::ALL.to_vec(), ..new_key("k") };
        self.registry.create_key(&self.operator, tenant, new).await.unwrap().1
    }

    pub(crate) fn grant<A: Action>(&self, key: &str, namespace: &str) -> Grant<A> {
        self.gate.admit(Some(key), ask(namespace)).unwrap()
    }

    pub(crate) async fn namespace(&self, key: &str, name: &str) -> crate::NamespaceRecord {
        self.registry.put_namespace(&self.grant::<Manage>(key, name), NamespaceSettings::default()).await.unwrap()
    }
}

pub(crate) fn tenant(id: &str) -> TenantId {
    TenantId::parse(id).unwrap()
}

pub(crate) fn name(text: &str) -> NamespaceName {
    NamespaceName::parse(text).unwrap()
}

pub(crate) fn ask(namespace: &str) -> RequestInfo {
    RequestInfo {
        namespace: Some(name(namespace)),
        request: request(),
        trace: None,
        cancel: kernel::CancelFlag::default(),
    }
}

pub(crate) fn new_key(name: &str) -> NewApiKey {
    NewApiKey { name: name.into(), scopes: vec![], principals: vec![], namespaces: vec![], expires_at: None }
}

pub(crate) fn now(data_folder: &DataFolder) -> Timestamp {
    data_folder.clock.now()
}
