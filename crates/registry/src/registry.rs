//! The registry itself: the control book, the open tenants, and who may look something up in them.

use crate::{
    Error, Result,
    book::{Book, World},
    control::{ControlEvent, ControlState},
    operations::Live,
    record::{Life, TenantRecord},
    residence::Residence,
};
use access::{Credentials, KeyRecord, OperatorRecord, TenantFacts, TenantState};
use kernel::{Code, Incarnation, KeyId, NamespaceName, OperationId, TenantId};
use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};
use vault::{Home, KeyProvider};

/// What exists. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) world: World,
    pub(crate) provider: Arc<dyn KeyProvider>,
    pub(crate) control: Book<ControlState>,
    /// Where operators' acts are written.
    pub(crate) house_audit: Arc<Home>,
    pub(crate) seats: RwLock<HashMap<Incarnation, Seat>>,
    /// API keys by public part. Found here before anybody knows whose they are.
    pub(crate) keys: RwLock<HashMap<KeyId, Arc<KeyRecord>>>,
    pub(crate) live: RwLock<HashMap<OperationId, Arc<Live>>>,
    /// The control book's generation that the seats agree with.
    pub(crate) agreed: AtomicU64,
}

/// A tenant, opened or not.
#[derive(Clone)]
pub(crate) enum Seat {
    Open(Arc<Residence>),
    Closed { code: Code, why: String },
}

impl Registry {
    /// What the gate judges by.
    pub fn credentials(&self) -> Arc<dyn Credentials> {
        self.inner.clone()
    }

    /// Where vault finds homes.
    pub fn directory(&self) -> Arc<dyn vault::Directory> {
        self.inner.clone()
    }

    /// The server's own audit home, for what operators do.
    pub fn audit_home(&self) -> Arc<Home> {
        self.inner.house_audit.clone()
    }

    /// Whether changes can be written. Looks only; the next change tries to open a stopped journal again.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn ready(&self) -> kernel::Result<()> {
        self.inner.control.stopped().map_or(Ok(()), |why| Err(why.into()))
    }

    /// Whose keys the server's own are. No tenant has this incarnation: theirs are random.
    pub(crate) const HOUSE: Incarnation = Incarnation::from_bytes([0; 16]);

    /// Tries again to open tenants whose directory did not open. Says how many are still closed.
    pub async fn retry_closed(&self) -> usize {
        let inner = &self.inner;
        let records = inner.control.read(|s| s.tenants.values().cloned().collect::<Vec<_>>());
        for record in records.iter().filter(|r| r.life != Life::Deleting) {
            if !matches!(inner.seat(record.incarnation), Some(Seat::Open(_))) {
                inner.open_seat(record).await;
            }
        }
        let seats = inner.seats.read().unwrap_or_else(PoisonError::into_inner);
        seats.values().filter(|s| matches!(s, Seat::Closed { .. })).count()
    }
}

impl Inner {
    /// Decides on a change of the control plane.
    pub(crate) async fn write<T>(
        &self,
        decide: impl FnOnce(&ControlState) -> Result<(Option<ControlEvent>, T)>,
    ) -> Result<T> {
        self.reconcile().await;
        self.control.write(decide).await
    }

    /// The living tenant of this name.
    pub(crate) fn tenant_record(&self, id: &TenantId) -> Result<TenantRecord> {
        Ok(self.control.read(|s| s.tenants.get(id).cloned()).ok_or_else(kernel::Error::not_found)?)
    }

    pub(crate) fn seat(&self, incarnation: Incarnation) -> Option<Seat> {
        self.seats.read().unwrap_or_else(PoisonError::into_inner).get(&incarnation).cloned()
    }

    /// The opened tenant of this life.
    pub(crate) fn residence(&self, incarnation: Incarnation) -> Result<Arc<Residence>> {
        match self.seat(incarnation) {
            Some(Seat::Open(residence)) => Ok(residence),
            Some(Seat::Closed { code, why }) => Err(Error::Closed { incarnation, code, why }),
            None => Err(kernel::Error::not_found().into()),
        }
    }

    /// Opens a tenant; one that does not open is closed, and the others serve.
    pub(crate) async fn open_seat(&self, record: &TenantRecord) {
        match Residence::open(&self.world, &*self.provider, record).await {
            Ok(residence) => self.take_seat(Arc::new(residence)),
            Err(error) => {
                let place = record.directory.as_ref().map(|p| p.uuid);
                tracing::error!(incarnation = %record.incarnation, place = ?place, error = &error as &dyn std::error::Error,
                    "a tenant's directory does not open; the other tenants serve");
                let error = kernel::Error::from(error);
                let seat = Seat::Closed { code: error.code, why: error.message };
                self.seats.write().unwrap_or_else(PoisonError::into_inner).insert(record.incarnation, seat);
            }
        }
    }

    /// Files an opened tenant and its API keys.
    pub(crate) fn take_seat(&self, residence: Arc<Residence>) {
        self.index(&residence);
        let incarnation = residence.incarnation();
        self.seats.write().unwrap_or_else(PoisonError::into_inner).insert(incarnation, Seat::Open(residence));
    }

    /// Forgets a tenant: its keys leave memory with the last request that holds them.
    pub(crate) fn leave_seat(&self, incarnation: Incarnation) {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).retain(|_, k| k.incarnation != incarnation);
        self.seats.write().unwrap_or_else(PoisonError::into_inner).remove(&incarnation);
    }

    /// Files this tenant's API keys anew.
    pub(crate) fn index(&self, residence: &Residence) {
        let incarnation = residence.incarnation();
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|_, k| k.incarnation != incarnation);
        residence.book().read(|s| keys.extend(s.keys.values().map(|k| (k.0.id.clone(), k.0.clone()))));
    }

    /// Brings the seats to what the control journal says, after it was folded anew.
    async fn reconcile(&self) {
        let generation = self.control.generation();
        if self.agreed.load(Ordering::Acquire) == generation {
            return;
        }
        let records = self.control.read(|s| s.tenants.values().cloned().collect::<Vec<_>>());
        for record in &records {
            match self.seat(record.incarnation) {
                _ if record.life == Life::Deleting => self.leave_seat(record.incarnation),
                Some(Seat::Open(residence)) => {
                    if let Err(error) = residence.agree(&*self.provider, record) {
                        tracing::error!(incarnation = %record.incarnation, error = %error, "a tenant's keys do not open");
                    }
                }
                _ => self.open_seat(record).await,
            }
        }
        self.agreed.store(generation, Ordering::Release);
    }
}

impl Credentials for Inner {
    fn key(&self, id: &KeyId) -> Option<Arc<KeyRecord>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    fn operator(&self, id: &KeyId) -> Option<Arc<OperatorRecord>> {
        self.control.read(|s| s.operators.get(id).map(|o| o.0.clone()))
    }

    fn tenant(&self, id: &TenantId) -> Option<TenantFacts> {
        self.control.read(|s| s.tenants.get(id).map(|t| self.facts(t)))
    }

    /// The pepper is the control place's own MAC key: it never leaves the vault.
    fn mac(&self, secret: &[u8]) -> [u8; 32] {
        mac(self.control.home(), secret)
    }
}

impl Inner {
    pub(crate) fn facts(&self, record: &TenantRecord) -> TenantFacts {
        let state = match record.life {
            Life::Deleting => TenantState::Deleting,
            Life::Suspended => TenantState::Suspended,
            Life::Active if matches!(self.seat(record.incarnation), Some(Seat::Open(_))) => TenantState::Active,
            Life::Active => TenantState::KeyUnavailable,
        };
        TenantFacts { incarnation: record.incarnation, state, quotas: record.quotas }
    }
}

/// What is kept of a token's secret part.
pub(crate) fn mac(control: &Home, secret: &[u8]) -> [u8; 32] {
    control.mac(b"credential", &[secret])
}

impl vault::Directory for Inner {
    fn namespace(&self, incarnation: Incarnation, name: &NamespaceName) -> kernel::Result<Option<Arc<Home>>> {
        let home = self.residence(incarnation).and_then(|r| r.home(name));
        Ok(home?)
    }

    fn audit(&self, incarnation: Incarnation) -> kernel::Result<Arc<Home>> {
        Ok(self.residence(incarnation)?.audit())
    }
}
