//! The registry as the floors above use it: through a real gate, over a real folder.

mod erasing;
mod house;
mod lazy;
mod life;
mod reencrypting;
mod rotating;
mod trouble;

use crate::{NewKey, NewTenant, Registry};
use access::{Action, Ask, Gate, Grant, Manage, Operator};
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

/// A server's data folder over several starts.
pub(crate) struct Site {
    pub(crate) folder: TempDir,
    pub(crate) clock: Arc<ManualClock>,
    root: String,
    /// The root key before this one, while it is changed.
    previous: Option<String>,
    token: Option<Zeroizing<String>>,
}

/// One start.
pub(crate) struct Start {
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

impl Site {
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

    /// Starts and opens every tenant, as requests would.
    pub(crate) async fn start(&mut self) -> Start {
        let start = self.start_cold().await;
        for (_, incarnation) in start.registry.lives_after(&start.operator, None, usize::MAX) {
            let _ = start.registry.inner.open(incarnation).await;
        }
        start.settled().await;
        start
    }

    /// Starts with the operator that the first start minted.
    pub(crate) async fn start_cold(&mut self) -> Start {
        let (storage, tracker, opened) = self.open_tracked(None).await;
        let (registry, fresh) = opened.unwrap();
        self.token = fresh.or(self.token.take());
        let gate = Gate::new(registry.credentials(), self.clock.clone());
        let token = self.token.clone().unwrap();
        let operator = gate.operator(Some(&token), &[], request()).unwrap();
        Start { registry, gate, operator, tracker, storage }
    }
}

impl Start {
    /// As a kill would: nothing is flushed or finished, only the folder's lock is let go.
    pub(crate) async fn kill(self) {
        let Start { registry, gate, operator, storage, .. } = self;
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

    /// Waits for what goes on behind requests.
    pub(crate) async fn settled(&self) {
        self.tracker.close();
        self.tracker.wait().await;
        self.tracker.reopen();
    }

    /// As the engine lets a request in.
    pub(crate) async fn admit<A: Action>(&self, key: &str, namespace: &str) -> Result<Grant<A>, Code> {
        let _open = match self.gate.recognise(Some(key)) {
            Some(incarnation) => self.registry.prepare(incarnation).await,
            None => None,
        };
        self.gate.admit(Some(key), ask(namespace)).map_err(|refusal| refusal.error.code)
    }

    /// A key that may do everything.
    pub(crate) async fn key(&self, tenant: &TenantId) -> Zeroizing<String> {
        let new = NewKey { scopes: Scope::ALL.to_vec(), ..new_key("k") };
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

pub(crate) fn ask(namespace: &str) -> Ask {
    Ask { namespace: Some(name(namespace)), request: request(), trace: None, presence: kernel::Presence::default() }
}

pub(crate) fn new_key(name: &str) -> NewKey {
    NewKey { name: name.into(), scopes: vec![], principals: vec![], namespaces: vec![], expires_at: None }
}

pub(crate) fn now(site: &Site) -> Timestamp {
    site.clock.now()
}
