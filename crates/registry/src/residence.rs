//! One tenant, opened: its key ring, its directory book, its audit home and the homes of its namespaces.
//!
//! Nothing here is shared between tenants. A namespace's home lives as long as somebody works in
//! it; it is only remembered here, so that all who do share one. When a tenant is suspended, closed
//! or erased its own keys go with this, and are zeroised with the last holder.

use crate::{
    Error, Result,
    book::{Book, World},
    directory::{DirectoryEvent, DirectoryState},
    keys::{Asking, millis},
    lease::Lease,
    record::{Life, PlaceRecord, TenantRecord},
};
use kernel::{Code, Incarnation, NamespaceName, NamespaceUuid};
use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
};
use vault::{Home, PlaceKind, TenantKeys, WrappedKey};

/// An opened tenant.
pub(crate) struct Residence {
    incarnation: Incarnation,
    keys: RwLock<Arc<TenantKeys>>,
    audit: Arc<Home>,
    book: Book<DirectoryState>,
    homes: RwLock<HashMap<NamespaceUuid, Weak<Home>>>,
    suspended: AtomicBool,
    /// It is being erased.
    closing: AtomicBool,
    /// Its keys were taken away: whoever still holds it finds it shut.
    sealed: AtomicBool,
    pub(crate) lease: Lease,
    /// One rotation at a time.
    pub(crate) rotation: Arc<tokio::sync::Mutex<()>>,
}

impl Residence {
    /// Opens a tenant from its record: unwraps its keys, folds its directory. Removes nothing and
    /// starts nothing.
    pub(crate) async fn open(world: &World, asking: &Asking, record: &TenantRecord) -> Result<Self> {
        let (Some(directory), Some(audit)) = (&record.directory, &record.audit) else {
            return Err(Error::Damaged("a tenant that lives has no places"));
        };
        let asked = millis(&*world.clock);
        let keys = asking.ring(record.incarnation, &record.keys).await?;
        let directory = Arc::new(place(&keys, PlaceKind::Directory, directory)?);
        let audit = Arc::new(place(&keys, PlaceKind::Audit, audit)?);
        Ok(Self {
            incarnation: record.incarnation,
            keys: RwLock::new(Arc::new(keys)),
            audit,
            book: Book::open(world.clone(), directory).await?,
            homes: RwLock::default(),
            suspended: AtomicBool::new(record.life != Life::Active),
            closing: AtomicBool::new(false),
            sealed: AtomicBool::new(false),
            lease: Lease::new(asking.is_remote(&record.keys), asked),
            rotation: Arc::default(),
        })
    }

    /// Estimated bytes in memory.
    pub(crate) fn bytes(&self) -> u64 {
        let homes = self.homes.read().unwrap_or_else(PoisonError::into_inner).capacity();
        self.book.read(DirectoryState::bytes) + (homes * HOME_BYTES) as u64 + BASE_BYTES
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    pub(crate) fn audit(&self) -> Arc<Home> {
        self.audit.clone()
    }

    pub(crate) fn book(&self) -> &Book<DirectoryState> {
        &self.book
    }

    pub(crate) fn keys(&self) -> Arc<TenantKeys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_keys(&self, keys: Arc<TenantKeys>) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// Brings memory to what the control journal says, after a writer that did not come back.
    pub(crate) async fn agree(&self, world: &World, asking: &Asking, record: &TenantRecord) -> Result<()> {
        self.set_suspended(record.life != Life::Active);
        if !self.agrees(record) {
            let asked = millis(&*world.clock);
            let keys = asking.ring(self.incarnation, &record.keys).await?;
            self.set_keys(Arc::new(keys));
            self.lease.renew(asking.is_remote(&record.keys), asked);
        }
        Ok(())
    }

    /// Whether the keys in memory are those of the record.
    pub(crate) fn agrees(&self, record: &TenantRecord) -> bool {
        record.keys.numbers().eq(self.keys().epochs())
    }

    /// Its keys were taken away: nothing is entered or written any more. What holds it lets go soon.
    pub(crate) fn seal(&self) {
        self.sealed.store(true, Ordering::Release);
        self.homes.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Suspension drops the namespaces' homes.
    pub(crate) fn set_suspended(&self, suspended: bool) {
        let mut homes = self.homes.write().unwrap_or_else(PoisonError::into_inner);
        self.suspended.store(suspended, Ordering::Release);
        if suspended {
            homes.clear();
        }
    }

    /// Decides on a change of the directory. Refused once an erasure has begun.
    pub(crate) async fn write<T>(
        &self,
        decide: impl FnOnce(&DirectoryState) -> Result<(Option<DirectoryEvent>, T)>,
    ) -> Result<T> {
        self.book
            .write(|state| {
                if self.sealed.load(Ordering::Acquire) {
                    return Err(sealed().into());
                }
                if self.closing.load(Ordering::Acquire) {
                    return Err(kernel::Error::new(Code::TenantSuspended, "the tenant is being erased").into());
                }
                decide(state)
            })
            .await
    }

    /// Ends all changes, waits for the one under way, and says where the tenant's namespaces lie.
    pub(crate) async fn close(&self) -> Result<Vec<String>> {
        self.closing.store(true, Ordering::Release);
        self.book
            .write(|state| {
                let namespaces = state.namespaces.values().map(|n| PlaceKind::Namespace.prefix(n.place.uuid));
                Ok((None, state.doomed.iter().cloned().chain(namespaces).collect()))
            })
            .await
    }

    /// Undoes [`Residence::close`] when the erasure could not be written down.
    pub(crate) fn reopen(&self) {
        self.closing.store(false, Ordering::Release);
    }

    /// The home of a namespace; one for all who have it at the same time.
    pub(crate) fn home(&self, name: &NamespaceName) -> Result<Option<Arc<Home>>> {
        if self.suspended.load(Ordering::Acquire) {
            return Err(kernel::Error::new(Code::TenantSuspended, "the tenant is suspended").into());
        }
        if self.sealed.load(Ordering::Acquire) {
            return Err(sealed().into());
        }
        loop {
            let keys = self.keys();
            let Some(record) = self.book.read(|s| s.namespaces.get(name).map(|n| n.place.clone())) else {
                return Ok(None);
            };
            let known =
                self.homes.read().unwrap_or_else(PoisonError::into_inner).get(&record.uuid).and_then(Weak::upgrade);
            if known.is_some() {
                return Ok(known);
            }
            // Its provider has said no: what is unwrapped serves a while yet, and nothing more is unwrapped.
            if !self.lease.may_unwrap() {
                return Err(sealed().into());
            }
            match place(&keys, PlaceKind::Namespace, &record) {
                Ok(home) => return Ok(Some(self.keep(name, &record, Arc::new(home)))),
                // A rotation passed between the two looks: look again with its ring.
                Err(_) if !Arc::ptr_eq(&keys, &self.keys()) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The same for work on keys, also while the tenant is suspended. There is one home of a namespace at a time, so
    /// that whoever seals in it later does so under the keys that this work gives it.
    pub(crate) fn custodial_home(&self, name: &NamespaceName) -> Result<Option<Arc<Home>>> {
        let mut homes = self.homes.write().unwrap_or_else(PoisonError::into_inner);
        let Some(record) = self.book.read(|s| s.namespaces.get(name).map(|n| n.place.clone())) else {
            return Ok(None);
        };
        if let Some(known) = homes.get(&record.uuid).and_then(Weak::upgrade) {
            return Ok(Some(known));
        }
        let home = Arc::new(place(&self.keys(), PlaceKind::Namespace, &record)?);
        note(&mut homes, &home);
        Ok(Some(home))
    }

    /// The same for work that no request begins: not once an erasure has begun, nor once the provider has said no.
    pub(crate) fn tended_home(&self, name: &NamespaceName) -> Result<Option<Arc<Home>>> {
        if self.closing.load(Ordering::Acquire) {
            return Ok(None);
        }
        if self.sealed.load(Ordering::Acquire) || !self.lease.may_unwrap() {
            return Err(sealed().into());
        }
        self.custodial_home(name)
    }

    /// Remembers a home, unless its namespace was dropped or its tenant suspended meanwhile.
    fn keep(&self, name: &NamespaceName, record: &PlaceRecord, home: Arc<Home>) -> Arc<Home> {
        let mut homes = self.homes.write().unwrap_or_else(PoisonError::into_inner);
        let lives = self.book.read(|s| s.namespaces.get(name).is_some_and(|n| n.place.uuid == record.uuid));
        if !lives || self.suspended.load(Ordering::Acquire) || self.sealed.load(Ordering::Acquire) {
            return home;
        }
        if let Some(known) = homes.get(&record.uuid).and_then(Weak::upgrade) {
            return known;
        }
        note(&mut homes, &home);
        home
    }

    /// Forgets a dropped namespace's key.
    pub(crate) fn forget(&self, uuid: NamespaceUuid) {
        self.homes.write().unwrap_or_else(PoisonError::into_inner).remove(&uuid);
    }

    /// Removes what dropped namespaces left. A failure leaves it for the next opening.
    pub(crate) async fn sweep(&self, world: &World) {
        for prefix in self.book.read(|s| s.doomed.clone()) {
            if let Err(error) = self.remove(world, prefix).await {
                tracing::warn!(incarnation = %self.incarnation, error = %error, "a dropped namespace's objects are left for the next opening");
            }
        }
    }

    async fn remove(&self, world: &World, prefix: String) -> Result<()> {
        world.storage.remove_prefix(&prefix).await?;
        self.book.write(|_| Ok((Some(DirectoryEvent::PrefixGone { prefix }), ()))).await
    }
}

/// Notes a home. Those that nobody has any more leave when the table is full.
fn note(homes: &mut HashMap<NamespaceUuid, Weak<Home>>, home: &Arc<Home>) {
    if homes.len() == homes.capacity() {
        homes.retain(|_, known| known.strong_count() > 0);
    }
    homes.insert(home.uuid(), Arc::downgrade(home));
}

fn sealed() -> kernel::Error {
    kernel::Error::new(Code::KeyUnavailable, "the tenant's key cannot be had: its key provider refuses it")
}

/// What an open tenant takes beside its records: keys, journal, locks. Counted high, so that a
/// thousand idle ones are noticed.
const BASE_BYTES: u64 = 16 << 10;
/// A remembered home: its row and what its last holder leaves of it.
const HOME_BYTES: usize = 256;

/// Opens a place of this tenant's.
pub(crate) fn place(keys: &TenantKeys, kind: PlaceKind, record: &PlaceRecord) -> Result<Home> {
    Ok(Home::place(keys, kind, record.uuid, &WrappedKey::from(&record.wrapped))?)
}
