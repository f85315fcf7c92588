//! An open tenant: its keyring, its directory, its audit keyspace and the keyspaces of its namespaces.
//!
//! Nothing here is shared between tenants. A namespace's keyspace lives as long as a task uses it; only a weak
//! reference is kept here, so that all tasks share one. When a tenant is suspended, closed or erased, its keys are
//! zeroised once the last task has released them.

use crate::{
    Error, Result,
    directory::{DirectoryEvent, DirectoryState},
    event_store::{Env, EventStore},
    keys::{ProviderClient, millis},
    lease::Lease,
    record::{KeyspaceRecord, Lifecycle, TenantRecord},
};
use kernel::{Code, Incarnation, NamespaceName, NamespaceUuid};
use parking_lot::RwLock;
use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
};
use vault::{Keyspace, KeyspaceKind, TenantKeys, WrappedKey};

/// An opened tenant.
pub(crate) struct OpenTenant {
    incarnation: Incarnation,
    keys: RwLock<Arc<TenantKeys>>,
    audit: Arc<Keyspace>,
    directory: EventStore<DirectoryState>,
    keyspaces: RwLock<HashMap<NamespaceUuid, Weak<Keyspace>>>,
    suspended: AtomicBool,
    /// The tenant is being erased.
    closing: AtomicBool,
    /// The tenant has left its table, mostly because its keys were withdrawn: every task that still holds it is refused.
    sealed: AtomicBool,
    pub(crate) lease: Lease,
    /// Lock that admits one rotation at a time.
    pub(crate) rotation: Arc<tokio::sync::Mutex<()>>,
}

impl OpenTenant {
    /// Opens a tenant from its record: unwraps its keys and replays its directory. Removes nothing and starts nothing.
    pub(crate) async fn open(env: &Env, provider_client: &ProviderClient, record: &TenantRecord) -> Result<Self> {
        let (Some(directory), Some(audit)) = (&record.directory, &record.audit) else {
            return Err(Error::Damaged("a tenant that is not being erased has no keyspaces"));
        };
        let asked = millis(&*env.clock);
        let keys = provider_client.open_keyring(record.incarnation, &record.keys).await?;
        let directory = Arc::new(open_keyspace(&keys, KeyspaceKind::Directory, directory)?);
        let audit = Arc::new(open_keyspace(&keys, KeyspaceKind::Audit, audit)?);
        Ok(Self {
            incarnation: record.incarnation,
            keys: RwLock::new(Arc::new(keys)),
            audit,
            directory: EventStore::open(env.clone(), directory).await?,
            keyspaces: RwLock::default(),
            suspended: AtomicBool::new(record.life != Lifecycle::Active),
            closing: AtomicBool::new(false),
            sealed: AtomicBool::new(false),
            lease: Lease::new(provider_client.is_remote(&record.keys), asked),
            rotation: Arc::default(),
        })
    }

    /// Estimated size in memory, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let keyspaces = self.keyspaces.read().capacity();
        self.directory.read(DirectoryState::bytes) + (keyspaces * KEYSPACE_BYTES) as u64 + BASE_BYTES
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    pub(crate) fn audit(&self) -> Arc<Keyspace> {
        self.audit.clone()
    }

    pub(crate) fn directory(&self) -> &EventStore<DirectoryState> {
        &self.directory
    }

    pub(crate) fn keys(&self) -> Arc<TenantKeys> {
        self.keys.read().clone()
    }

    pub(crate) fn set_keys(&self, keys: Arc<TenantKeys>) {
        *self.keys.write() = keys;
    }

    /// Makes the keys and the suspension in memory agree with the control journal, which may hold a change whose writer
    /// was dropped.
    pub(crate) async fn sync_with_record(
        &self,
        env: &Env,
        provider_client: &ProviderClient,
        record: &TenantRecord,
    ) -> Result<()> {
        self.set_suspended(record.life != Lifecycle::Active);
        if !self.matches_record(record) {
            let asked = millis(&*env.clock);
            let keys = provider_client.open_keyring(self.incarnation, &record.keys).await?;
            self.set_keys(Arc::new(keys));
            self.lease.renew(provider_client.is_remote(&record.keys), asked);
        }
        Ok(())
    }

    /// Whether the keys in memory are those of the record.
    pub(crate) fn matches_record(&self, record: &TenantRecord) -> bool {
        record.keys.epoch_numbers().eq(self.keys().epochs())
    }

    /// Refuses everything from now on. Its holders release it soon.
    pub(crate) fn seal(&self) {
        self.sealed.store(true, Ordering::Release);
        self.keyspaces.write().clear();
    }

    /// Sets the suspension. Suspending drops the keyspaces of namespaces.
    pub(crate) fn set_suspended(&self, suspended: bool) {
        let mut keyspaces = self.keyspaces.write();
        self.suspended.store(suspended, Ordering::Release);
        if suspended {
            keyspaces.clear();
        }
    }

    /// Decides on a change to the directory. Refused once an erasure has begun.
    pub(crate) async fn write<T>(
        &self,
        decide: impl FnOnce(&DirectoryState) -> Result<(Option<DirectoryEvent>, T)>,
    ) -> Result<T> {
        self.directory
            .write(|state| {
                // An erased tenant is sealed too.
                if self.closing.load(Ordering::Acquire) {
                    return Err(kernel::Error::new(Code::TenantSuspended, "the tenant is being erased").into());
                }
                if self.sealed.load(Ordering::Acquire) {
                    return Err(sealed().into());
                }
                decide(state)
            })
            .await
    }

    /// Ends all changes, waits for the one in progress, and returns the prefixes of the tenant's namespaces.
    pub(crate) async fn close(&self) -> Result<Vec<String>> {
        self.closing.store(true, Ordering::Release);
        self.directory
            .write(|state| {
                let namespaces = state.namespaces.values().map(|n| KeyspaceKind::Namespace.prefix(n.keyspace.uuid));
                Ok((None, state.pending_prefixes.iter().cloned().chain(namespaces).collect()))
            })
            .await
    }

    /// Undoes [`OpenTenant::close`] when the erasure could not be recorded.
    pub(crate) fn reopen(&self) {
        self.closing.store(false, Ordering::Release);
    }

    /// Returns the keyspace of a namespace. All tasks that use it at the same time share one.
    pub(crate) fn keyspace(&self, name: &NamespaceName) -> Result<Option<Arc<Keyspace>>> {
        if self.suspended.load(Ordering::Acquire) {
            return Err(kernel::Error::new(Code::TenantSuspended, "the tenant is suspended").into());
        }
        if self.sealed.load(Ordering::Acquire) {
            return Err(sealed().into());
        }
        loop {
            let keys = self.keys();
            let Some(record) = self.directory.read(|s| s.namespaces.get(name).map(|n| n.keyspace.clone())) else {
                return Ok(None);
            };
            let known = self.keyspaces.read().get(&record.uuid).and_then(Weak::upgrade);
            if known.is_some() {
                return Ok(known);
            }
            // The provider has refused the key: open keyspaces serve until the lease ends, but no other is unwrapped.
            if !self.lease.may_unwrap() {
                return Err(sealed().into());
            }
            match open_keyspace(&keys, KeyspaceKind::Namespace, &record) {
                Ok(keyspace) => return Ok(Some(self.cache_keyspace(name, &record, Arc::new(keyspace)))),
                // A rotation replaced the keyring between the two reads, so they are repeated with the new one.
                Err(_) if !Arc::ptr_eq(&keys, &self.keys()) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Does the same for work on keys, even while the tenant is suspended. A namespace has one keyspace in memory at a
    /// time, so that whatever is sealed in it later is sealed under the keys that this work gives it.
    pub(crate) fn keyspace_while_suspended(&self, name: &NamespaceName) -> Result<Option<Arc<Keyspace>>> {
        let mut keyspaces = self.keyspaces.write();
        let Some(record) = self.directory.read(|s| s.namespaces.get(name).map(|n| n.keyspace.clone())) else {
            return Ok(None);
        };
        if let Some(known) = keyspaces.get(&record.uuid).and_then(Weak::upgrade) {
            return Ok(Some(known));
        }
        let keyspace = Arc::new(open_keyspace(&self.keys(), KeyspaceKind::Namespace, &record)?);
        insert_weak(&mut keyspaces, &keyspace);
        Ok(Some(keyspace))
    }

    /// Does the same for work that no request begins. Refused once an erasure has begun or the provider has refused the
    /// key.
    pub(crate) fn maintenance_keyspace(&self, name: &NamespaceName) -> Result<Option<Arc<Keyspace>>> {
        if self.closing.load(Ordering::Acquire) {
            return Ok(None);
        }
        if self.sealed.load(Ordering::Acquire) || !self.lease.may_unwrap() {
            return Err(sealed().into());
        }
        self.keyspace_while_suspended(name)
    }

    /// Caches a keyspace, unless its namespace was dropped or its tenant suspended meanwhile.
    fn cache_keyspace(&self, name: &NamespaceName, record: &KeyspaceRecord, keyspace: Arc<Keyspace>) -> Arc<Keyspace> {
        let mut keyspaces = self.keyspaces.write();
        let exists = self.directory.read(|s| s.namespaces.get(name).is_some_and(|n| n.keyspace.uuid == record.uuid));
        if !exists || self.suspended.load(Ordering::Acquire) || self.sealed.load(Ordering::Acquire) {
            return keyspace;
        }
        if let Some(known) = keyspaces.get(&record.uuid).and_then(Weak::upgrade) {
            return known;
        }
        insert_weak(&mut keyspaces, &keyspace);
        keyspace
    }

    /// Removes a dropped namespace's key.
    pub(crate) fn forget(&self, uuid: NamespaceUuid) {
        self.keyspaces.write().remove(&uuid);
    }

    /// Removes the objects that dropped namespaces left. After a failure the next opening retries.
    pub(crate) async fn sweep(&self, env: &Env) {
        for prefix in self.directory.read(|s| s.pending_prefixes.clone()) {
            if let Err(error) = self.remove(env, prefix).await {
                tracing::warn!(incarnation = %self.incarnation, error = %error, "a dropped namespace's objects are left for the next opening");
            }
        }
    }

    async fn remove(&self, env: &Env, prefix: String) -> Result<()> {
        env.storage.remove_prefix(&prefix).await?;
        self.directory.write(|_| Ok((Some(DirectoryEvent::PrefixDeleted { prefix }), ()))).await
    }
}

/// Inserts a keyspace. Entries that no task holds any more are removed when the table is full.
fn insert_weak(keyspaces: &mut HashMap<NamespaceUuid, Weak<Keyspace>>, keyspace: &Arc<Keyspace>) {
    if keyspaces.len() == keyspaces.capacity() {
        keyspaces.retain(|_, known| known.strong_count() > 0);
    }
    keyspaces.insert(keyspace.uuid(), Arc::downgrade(keyspace));
}

fn sealed() -> kernel::Error {
    kernel::Error::new(Code::KeyUnavailable, "the tenant's key is unavailable: its key provider refuses it")
}

/// Bytes that an open tenant takes in addition to its records: keys, journal, locks. The estimate is high, so that a
/// thousand idle tenants count.
const BASE_BYTES: u64 = 16 << 10;
/// Bytes of a cached keyspace: its table row and what remains allocated after its last holder released it.
const KEYSPACE_BYTES: usize = 256;

/// Opens a keyspace of this tenant.
pub(crate) fn open_keyspace(keys: &TenantKeys, kind: KeyspaceKind, record: &KeyspaceRecord) -> Result<Keyspace> {
    Ok(Keyspace::from_wrapped(keys, kind, record.uuid, &WrappedKey::from(&record.wrapped))?)
}
