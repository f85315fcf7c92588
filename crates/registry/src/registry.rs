//! The registry itself: the control journal's state, the open tenants, and the interfaces through which the gate and
//! the vault look them up.

use crate::{
    Error, Result, TenantStats,
    control::{ControlEvent, ControlState},
    directory::DirectoryEvent,
    event_store::{Env, EventStore},
    key_events::{KeyEvents, Observation},
    keys::{ProviderClient, millis, trouble_of},
    open_tenant::{OpenTenant, open_keyspace},
    operations::LiveOperation,
    record::{Lifecycle, TenantRecord},
    system_keys::RootWrapStore,
    tenant_table::{OpenTenants, TenantFailure, TenantGuard},
};
use access::{Credentials, KeyRecord, KeyStub, OpenGuard, OperatorRecord, TenantFacts, TenantState};
use kernel::{BoxFuture, Code, Incarnation, KeyId, NamespaceName, OperationId, TenantId, limits};
use lifecycle::{Opening, Refused};
use parking_lot::RwLock;
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio_util::task::TaskTracker;
use vault::{Keyspace, KeyspaceKind, Signer};

/// Handle to everything that exists. Cloning it is cheap.
#[derive(Clone)]
pub struct Registry {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) env: Env,
    pub(crate) provider_client: ProviderClient,
    pub(crate) tracker: TaskTracker,
    pub(crate) control: EventStore<ControlState>,
    /// The stored wraps that open the control keyspace.
    pub(crate) root: RootWrapStore,
    /// Keyspace in which operators' actions are recorded.
    pub(crate) system_audit: Arc<Keyspace>,
    /// Signs statements about keys.
    pub(crate) signer: Signer,
    /// Open tenants by incarnation. An entry is made only for one that exists.
    pub(crate) tenants: OpenTenants,
    pub(crate) live: RwLock<HashMap<OperationId, Arc<LiveOperation>>>,
    /// Events of tenants' keys that are not recorded yet.
    pub(crate) key_events: KeyEvents,
    /// Generation of the control state that open tenants were last reconciled with.
    pub(crate) reconciled_generation: AtomicU64,
}

impl Registry {
    /// Bounds the number of tenants' directories that stay open, because each may hold a file open.
    pub fn bound_open(&self, open_max: u64) {
        self.inner.tenants.set_limits(open_max, limits::DIRECTORIES_BYTES_MAX);
    }

    /// Returns what the gate checks credentials against.
    pub fn credentials(&self) -> Arc<dyn Credentials> {
        self.inner.clone()
    }

    /// Returns where the vault looks up keyspaces.
    pub fn directory(&self) -> Arc<dyn vault::Directory> {
        self.inner.clone()
    }

    /// Returns the server's own audit keyspace, for actions of operators.
    pub fn audit_keyspace(&self) -> Arc<Keyspace> {
        self.inner.system_audit.clone()
    }

    /// Opens the tenant that the gate recognised, if it is served and not open yet, and keeps it open while the result
    /// lives. Returns `None` if the tenant is not served; the gate reports the reason.
    ///
    /// An open tenant costs nothing. Otherwise the cost is unwrapping its keys and replaying its directory's journal;
    /// requests that arrive meanwhile wait for the same opening.
    pub async fn prepare(&self, incarnation: Incarnation) -> Option<OpenGuard> {
        let active =
            self.inner.control.read(|s| s.by_incarnation(incarnation).is_some_and(|t| t.life == Lifecycle::Active));
        if !active {
            return None;
        }
        let open_tenant = self.inner.open(incarnation).await.ok()?;
        open_tenant.lease.touch(millis(&*self.inner.env.clock));
        Some(Arc::new(open_tenant))
    }

    /// Returns how each key provider has been answering, sorted by name.
    pub fn providers(&self) -> Vec<crate::ProviderHealth> {
        self.inner.provider_client.health()
    }

    /// Returns figures for metrics.
    pub fn stats(&self) -> TenantStats {
        TenantStats::of(&self.inner.tenants)
    }

    /// Checks whether changes can be written. It only looks; the next change tries to reopen a stopped journal.
    ///
    /// # Errors
    /// The reason why the last change could not be written.
    pub fn ready(&self) -> kernel::Result<()> {
        self.inner.control.stopped().map_or(Ok(()), |why| Err(why.into()))
    }

    /// Marks a clean end in every open journal, so that the next start and the next openings are fast. Nothing depends
    /// on it.
    pub async fn close(&self) {
        for (incarnation, open_tenant) in self.inner.tenants.values() {
            if let Err(error) = open_tenant.directory().mark_clean().await {
                tracing::warn!(%incarnation, %error, "a directory's log was not ended cleanly");
            }
        }
        if let Err(error) = self.inner.control.mark_clean().await {
            tracing::warn!(%error, "the control log was not ended cleanly");
        }
    }

    /// Returns why a tenant's directory did not open at the last attempt, if it failed.
    pub fn unopened(&self, incarnation: Incarnation) -> Option<(kernel::Code, String)> {
        self.inner.unopened(incarnation)
    }

    /// Checks whether this server still owns the storage. `Ok(false)` means that another server has taken it over.
    ///
    /// # Errors
    /// The storage gave no answer.
    pub async fn owns_storage(&self) -> kernel::Result<bool> {
        match self.inner.control.check_ownership().await {
            Ok(()) => Ok(true),
            Err(Error::TakenOver) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Incarnation that owns the system's keys.
    pub(crate) const SYSTEM: Incarnation = Self::SERVER;

    /// Incarnation that stands for the server itself where work is attributed to an owner. No tenant has it: theirs are
    /// random.
    pub const SERVER: Incarnation = Incarnation::from_bytes([0; 16]);

    /// Retries at once every tenant whose directory did not open. Returns how many still do not open.
    pub async fn retry_unopened(&self) -> usize {
        for incarnation in self.inner.tenants.keys() {
            self.inner.tenants.retry_now(&incarnation);
            if self.inner.unopened(incarnation).is_some() {
                // The table keeps the error.
                let _ = self.inner.open(incarnation).await;
            }
        }
        self.stats().unopened as usize
    }
}

impl Inner {
    /// Decides on a change to the control state.
    pub(crate) async fn write<T>(
        &self,
        decide: impl FnOnce(&ControlState) -> Result<(Option<ControlEvent>, T)>,
    ) -> Result<T> {
        self.reconcile().await;
        self.control.write(decide).await
    }

    /// Returns the record of the tenant that has this name now.
    pub(crate) fn tenant_record(&self, id: &TenantId) -> Result<TenantRecord> {
        Ok(self.control.read(|s| s.tenants.get(id).cloned()).ok_or_else(kernel::Error::not_found)?)
    }

    /// Returns the tenant of this incarnation if it is open. A grant keeps it open.
    pub(crate) fn open_tenant(&self, incarnation: Incarnation) -> Result<TenantGuard> {
        if let Some(open_tenant) = self.served(incarnation) {
            return Ok(open_tenant);
        }
        if let Some((code, why)) = self.unopened(incarnation) {
            return Err(Error::Closed { incarnation, code, why });
        }
        if let Some(open_tenant) = self.tenants.get(&incarnation) {
            self.record_lease_end(&open_tenant);
            // The lease has ended, and the watch has not sealed the tenant yet. The answer must differ from that for an
            // unknown tenant.
            let why = "the tenant's key is unavailable: its key provider has not confirmed it for too long";
            return Err(kernel::Error::new(Code::KeyUnavailable, why).into());
        }
        Err(kernel::Error::not_found().into())
    }

    /// Returns the tenant of this incarnation if it is open and its keys may be used.
    pub(crate) fn served(&self, incarnation: Incarnation) -> Option<TenantGuard> {
        let now = || millis(&*self.env.clock);
        // The clock is read only for keys of a remote provider.
        self.tenants
            .get(&incarnation)
            .filter(|r| !r.lease.is_remote() || r.lease.is_valid(&self.provider_client.config, now()))
    }

    /// Returns the tenant of this incarnation, and opens it if necessary. After a failed opening, further attempts are
    /// refused for a while.
    pub(crate) async fn open(self: &Arc<Self>, incarnation: Incarnation) -> Result<TenantGuard> {
        if let Some(open_tenant) = self.served(incarnation) {
            return Ok(open_tenant);
        }
        // This is checked before an entry is made, so that an unknown tenant gets none.
        self.existing_record(incarnation)?;
        let inner = self.clone();
        let open = move |opening| inner.publish_tenant(incarnation, opening);
        let (code, why) = match self.tenants.enter(&incarnation, open).await {
            Ok(open_tenant) => return self.if_lease_valid(open_tenant),
            Err(Refused::Failed(TenantFailure::Unopened { code, why, .. })) => (code, why),
            Err(Refused::Failed(TenantFailure::Erased)) => return Err(kernel::Error::not_found().into()),
            Err(Refused::InUse) => {
                let why = "requests that began before its key was lost are still running";
                (Code::KeyUnavailable, why.to_owned())
            }
            Err(Refused::Lost) => return Err(kernel::Error::internal("a tenant's opening did not end").into()),
        };
        Err(Error::Closed { incarnation, code, why })
    }

    /// Returns why the last attempt to open the tenant failed.
    pub(crate) fn unopened(&self, incarnation: Incarnation) -> Option<(Code, String)> {
        match self.tenants.failed(&incarnation)?.failure {
            TenantFailure::Unopened { code, why, .. } => Some((code, why)),
            TenantFailure::Erased => None,
        }
    }

    /// A tenant whose lease has ended is about to be sealed, so the caller gets an error and may retry.
    fn if_lease_valid(&self, open_tenant: TenantGuard) -> Result<TenantGuard> {
        if open_tenant.lease.is_valid(&self.provider_client.config, millis(&*self.env.clock)) {
            return Ok(open_tenant);
        }
        self.record_lease_end(&open_tenant);
        let error = kernel::Error::new(kernel::Code::KeyUnavailable, "the tenant's key was not confirmed in time");
        Err(error.into())
    }

    /// Opens the tenant and hands it out. Runs once at a time for each tenant.
    async fn publish_tenant(
        self: Arc<Self>,
        incarnation: Incarnation,
        opening: Opening<OpenTenant>,
    ) -> std::result::Result<TenantGuard, TenantFailure> {
        // The record is read while no other task can open or close the tenant: an erasure that has begun either takes it
        // out of the table after this or is visible here.
        let record = self.existing_record(incarnation).map_err(|_| TenantFailure::Erased)?;
        let request_no = self.key_events.next_request_no();
        let opened = OpenTenant::open(&self.env, &self.provider_client, &record).await;
        let opened = opened.map_err(|error| self.failed(&record, request_no, error))?;
        self.remove_orphaned_keys(&opened).await;
        let open_tenant = opening.publish(opened);
        self.key_events.record((&record.id, incarnation), request_no, Observation::Available);
        // The record is read again now that other tasks see the open tenant: a suspension between the check above and
        // this point did not find it.
        let record = self.existing_record(incarnation).map_err(|_| TenantFailure::Erased)?;
        let request_no = self.key_events.next_request_no();
        let synced = open_tenant.sync_with_record(&self.env, &self.provider_client, &record).await;
        synced.map_err(|error| self.failed(&record, request_no, error))?;
        self.after_opening(&open_tenant);
        Ok(open_tenant)
    }

    fn failed(&self, record: &TenantRecord, request_no: u64, error: Error) -> TenantFailure {
        let (incarnation, keyspace) = (record.incarnation, record.directory.as_ref().map(|p| p.uuid));
        tracing::error!(%incarnation, ?keyspace, error = &error as &dyn std::error::Error,
            "a tenant's directory does not open; the other tenants serve");
        let trouble = trouble_of(&error);
        if let Some(why) = trouble {
            self.key_events.record((&record.id, incarnation), request_no, Observation::Sealed(why));
        }
        let error = kernel::Error::from(error);
        TenantFailure::Unopened { code: error.code, why: error.message, trouble }
    }

    /// Removes API keys that a crash left in only one of the two journals, because a key is valid only while both have
    /// it. No key can be created meanwhile: that needs the open tenant.
    async fn remove_orphaned_keys(&self, open_tenant: &OpenTenant) {
        let incarnation = open_tenant.incarnation();
        let (unregistered, in_both) = open_tenant.directory().read(|d| {
            let unknown_to_control =
                |c: &ControlState| d.keys.keys().filter(|id| !c.keys.contains_key(id)).cloned().collect::<Vec<_>>();
            let unregistered = self.control.read(unknown_to_control);
            let in_both = d.keys.len() - unregistered.len();
            (unregistered, in_both)
        });
        for id in unregistered {
            let revoked = open_tenant.write(|_| Ok((Some(DirectoryEvent::KeyRevoked { id }), ()))).await;
            if let Err(error) = revoked {
                tracing::warn!(%incarnation, %error, "a revoked API key is still listed");
            }
        }
        if self.control.read(|s| s.keys_of(incarnation)) == in_both {
            return;
        }
        let unknown = |c: &ControlState| {
            let registered = c.keys.iter().filter(|(_, key)| key.incarnation == incarnation).map(|(id, _)| id);
            open_tenant
                .directory()
                .read(|d| registered.filter(|id| !d.keys.contains_key(id)).cloned().collect::<Vec<_>>())
        };
        let forgotten =
            self.control.write(|s| Ok((Some(ControlEvent::KeysUnregistered { ids: unknown(s) }), ()))).await;
        if let Err(error) = forgotten {
            tracing::warn!(%incarnation, %error, "an API key whose secret was never returned is still registered");
        }
    }

    /// Starts the background work that follows an opening.
    fn after_opening(self: &Arc<Self>, open_tenant: &TenantGuard) {
        if open_tenant.directory().read(|s| !s.pending_prefixes.is_empty()) {
            let (inner, open_tenant) = (self.clone(), open_tenant.clone());
            self.tracker.spawn(async move { open_tenant.sweep(&inner.env).await });
        }
    }

    /// Returns the record of a tenant that is not being erased.
    fn existing_record(&self, incarnation: Incarnation) -> Result<TenantRecord> {
        let record = self.control.read(|s| s.by_incarnation(incarnation).cloned());
        Ok(record.filter(|r| r.life != Lifecycle::Deleting).ok_or_else(kernel::Error::not_found)?)
    }

    /// Makes the open tenants agree with the control journal after it was replayed.
    async fn reconcile(&self) {
        let generation = self.control.generation();
        if self.reconciled_generation.load(Ordering::Acquire) == generation {
            return;
        }
        for incarnation in self.tenants.keys() {
            if self.existing_record(incarnation).is_err() {
                self.tenants.close(&incarnation).await;
            }
        }
        for (incarnation, open_tenant) in self.tenants.values() {
            let Ok(record) = self.existing_record(incarnation) else { continue };
            if let Err(error) = open_tenant.sync_with_record(&self.env, &self.provider_client, &record).await {
                tracing::error!(%incarnation, %error, "a tenant's keys do not open");
            }
        }
        self.reconciled_generation.store(generation, Ordering::Release);
    }
}

impl Credentials for Inner {
    fn locate(&self, id: &KeyId) -> Option<KeyStub> {
        self.control.read(|s| {
            let key = s.keys.get(id)?;
            let tenant = s.by_incarnation(key.incarnation)?.id.clone();
            Some(KeyStub { tenant, incarnation: key.incarnation, mac: key.mac, expires_at: key.expires_at })
        })
    }

    fn key(&self, id: &KeyId) -> Option<Arc<KeyRecord>> {
        let incarnation = self.control.read(|s| s.keys.get(id).map(|key| key.incarnation))?;
        self.served(incarnation)?.directory().read(|s| s.keys.get(id).map(|key| key.0.clone()))
    }

    fn open_guard(&self, incarnation: Incarnation) -> Option<OpenGuard> {
        self.served(incarnation).map(|open_tenant| Arc::new(open_tenant) as OpenGuard)
    }

    fn operator(&self, id: &KeyId) -> Option<Arc<OperatorRecord>> {
        self.control.read(|s| s.operators.get(id).map(|o| o.0.clone()))
    }

    /// Reports a tenant that is not open as not served: callers of the gate open it first.
    fn tenant(&self, id: &TenantId) -> Option<TenantFacts> {
        self.control.read(|s| {
            let tenant = s.tenants.get(id)?;
            let state = match tenant.life {
                Lifecycle::Active if self.served(tenant.incarnation).is_none() => TenantState::KeyUnavailable,
                life => life.state(),
            };
            Some(TenantFacts { incarnation: tenant.incarnation, state, quotas: tenant.quotas })
        })
    }

    /// The pepper is the control keyspace's own MAC key, which never leaves the vault.
    fn mac(&self, secret: &[u8]) -> [u8; 32] {
        mac(self.control.keyspace(), secret)
    }
}

/// Computes the keyed hash that is kept of a token's secret part.
pub(crate) fn mac(control: &Keyspace, secret: &[u8]) -> [u8; 32] {
    control.mac(b"credential", &[secret])
}

impl vault::Directory for Inner {
    fn namespace(&self, incarnation: Incarnation, name: &NamespaceName) -> kernel::Result<Option<Arc<Keyspace>>> {
        let keyspace = self.open_tenant(incarnation).and_then(|r| r.keyspace(name));
        Ok(keyspace?)
    }

    /// The control journal holds the audit's wrapped key, so the directory need not be open: waiting records are
    /// written even if the tenant was closed meanwhile.
    fn audit(&self, incarnation: Incarnation) -> BoxFuture<'_, kernel::Result<Arc<Keyspace>>> {
        Box::pin(async move {
            if let Some(open_tenant) = self.tenants.get(&incarnation) {
                return Ok(open_tenant.audit());
            }
            let record = self.existing_record(incarnation)?;
            let audit = record.audit.as_ref().ok_or_else(kernel::Error::not_found)?;
            if let Some((code, why)) = self.unopened(incarnation).filter(|(code, _)| *code == Code::KeyUnavailable) {
                return Err(kernel::Error::new(code, why));
            }
            let keys =
                self.provider_client.open_keyring(incarnation, &record.keys).await.map_err(kernel::Error::from)?;
            Ok(Arc::new(open_keyspace(&keys, KeyspaceKind::Audit, audit)?))
        })
    }
}
