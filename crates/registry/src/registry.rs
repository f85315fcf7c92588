//! The registry itself: the control book, the open tenants, and who may look something up in them.

use crate::{
    Error, Result, SeatStats,
    book::{Book, World},
    control::{ControlEvent, ControlState},
    directory::DirectoryEvent,
    house::Root,
    key_events::{KeyEvents, Seen},
    keys::{Asking, millis, trouble_of},
    operations::Live,
    record::{Life, TenantRecord},
    residence::{Residence, place},
    seats::{Seat, Seats},
};
use access::{Credentials, Hold, KeyRecord, KeyStub, OperatorRecord, TenantFacts, TenantState};
use kernel::{BoxFuture, Code, Incarnation, KeyId, NamespaceName, OperationId, TenantId};
use std::{
    collections::HashMap,
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::OwnedMutexGuard;
use tokio_util::task::TaskTracker;
use vault::{Home, PlaceKind, Signer};

/// What exists. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) world: World,
    pub(crate) asking: Asking,
    pub(crate) tracker: TaskTracker,
    pub(crate) control: Book<ControlState>,
    /// What opens the control place.
    pub(crate) root: Root,
    /// Where operators' acts are written.
    pub(crate) house_audit: Arc<Home>,
    /// Signs what is stated about keys.
    pub(crate) signer: Signer,
    pub(crate) seats: Seats,
    pub(crate) live: RwLock<HashMap<OperationId, Arc<Live>>>,
    /// What happened to tenants' keys and is not yet written down.
    pub(crate) key_events: KeyEvents,
    /// The control book's generation that the seats agree with.
    pub(crate) agreed: AtomicU64,
}

impl Registry {
    /// Bounds the number of tenants' directories that stay open: each may hold a file.
    pub fn bound_open(&self, open_max: u64) {
        self.inner.seats.bound_open(open_max);
    }

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

    /// Opens the tenant that the gate recognised, if it is served and not open yet, and keeps it
    /// open while the result lives. `None`: the gate will say why the tenant is not served.
    ///
    /// Cost: nothing when it is open, else its keys and its directory's journal. A request that
    /// comes meanwhile waits for the same opening.
    pub async fn prepare(&self, incarnation: Incarnation) -> Option<Hold> {
        let active = self.inner.control.read(|s| s.by_incarnation(incarnation).is_some_and(|t| t.life == Life::Active));
        if !active {
            return None;
        }
        let residence = self.inner.open(incarnation).await.ok()?;
        residence.lease.touch(millis(&*self.inner.world.clock));
        Some(residence as Hold)
    }

    /// How the key providers have been answering, by name.
    pub fn providers(&self) -> Vec<crate::ProviderHealth> {
        self.inner.asking.health()
    }

    /// Numbers for metrics.
    pub fn stats(&self) -> SeatStats {
        self.inner.seats.stats()
    }

    /// Whether changes can be written. Looks only; the next change tries to open a stopped journal again.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn ready(&self) -> kernel::Result<()> {
        self.inner.control.stopped().map_or(Ok(()), |why| Err(why.into()))
    }

    /// Marks a clean end in every open journal, so that the next start and the next openings are
    /// quick. Nothing depends on it.
    pub async fn close(&self) {
        for (incarnation, seat) in self.inner.seats.all() {
            let Some(residence) = seat.open() else { continue };
            if let Err(error) = residence.book().rest().await {
                tracing::warn!(%incarnation, %error, "a directory's log was not ended cleanly");
            }
        }
        if let Err(error) = self.inner.control.rest().await {
            tracing::warn!(%error, "the control log was not ended cleanly");
        }
    }

    /// Why a tenant's directory did not open at the last attempt, if it failed.
    pub fn unopened(&self, incarnation: Incarnation) -> Option<(kernel::Code, String)> {
        self.inner.seats.unopened(incarnation)
    }

    /// Asks whether this server still has the storage. `Ok(false)`: another one has taken it over.
    ///
    /// # Errors
    /// The storage does not say.
    pub async fn is_ours(&self) -> kernel::Result<bool> {
        match self.inner.control.check().await {
            Ok(()) => Ok(true),
            Err(Error::TakenOver) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whose keys the server's own are.
    pub(crate) const HOUSE: Incarnation = Self::SERVER;

    /// The server itself, where work is counted by whose it is. No tenant has this incarnation: theirs are random.
    pub const SERVER: Incarnation = Incarnation::from_bytes([0; 16]);

    /// Tries again at once to open tenants whose directory did not open. Says how many still do not.
    pub async fn retry_closed(&self) -> usize {
        for (incarnation, seat) in self.inner.seats.all() {
            seat.forgive();
            if self.inner.seats.unopened(incarnation).is_some() {
                // Its error stands in the seat.
                let _ = self.inner.open(incarnation).await;
            }
        }
        self.stats().unopened as usize
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

    /// The tenant of this life, if it is open. A grant keeps it open.
    pub(crate) fn residence(&self, incarnation: Incarnation) -> Result<Arc<Residence>> {
        if let Some(residence) = self.served(incarnation) {
            return Ok(residence);
        }
        if let Some((code, why)) = self.seats.unopened(incarnation) {
            return Err(Error::Closed { incarnation, code, why });
        }
        if let Some(residence) = self.seats.open(incarnation) {
            self.saw_end(&residence);
            // Its lease has ended, and the watch has not come by yet. It is not as if there were no such tenant.
            let why = "the tenant's key cannot be had: its key provider has not said yes for too long";
            return Err(kernel::Error::new(Code::KeyUnavailable, why).into());
        }
        Err(kernel::Error::not_found().into())
    }

    /// The tenant of this life, if it is open and its keys may be used.
    pub(crate) fn served(&self, incarnation: Incarnation) -> Option<Arc<Residence>> {
        let now = || millis(&*self.world.clock);
        // The clock is read for keys of others only.
        self.seats.open(incarnation).filter(|r| !r.lease.is_remote() || r.lease.lives(&self.asking.config, now()))
    }

    /// The tenant of this life; opened if it is not. Refused for a while when it did not open.
    pub(crate) async fn open(self: &Arc<Self>, incarnation: Incarnation) -> Result<Arc<Residence>> {
        if let Some(residence) = self.served(incarnation) {
            return Ok(residence);
        }
        // Asked before a seat is made, so that none is made for a tenant that is not.
        self.living(incarnation)?;
        let seat = self.seats.seat(incarnation);
        if let Some(residence) = seat.ready(incarnation, self.now())? {
            return self.fresh(residence);
        }
        let turn = seat.turn.clone().lock_owned().await;
        if let Some(residence) = seat.ready(incarnation, self.now())? {
            return self.fresh(residence);
        }
        // A task of its own: the caller may go, and the next one finds it open.
        let task = self.clone().open_seat(seat, incarnation, turn);
        self.tracker.spawn(task).await.map_err(|_| kernel::Error::internal("a tenant's opening did not end"))?
    }

    /// A tenant whose lease has ended is about to be sealed: the caller is told to come back.
    fn fresh(&self, residence: Arc<Residence>) -> Result<Arc<Residence>> {
        if residence.lease.lives(&self.asking.config, millis(&*self.world.clock)) {
            return Ok(residence);
        }
        self.saw_end(&residence);
        let error = kernel::Error::new(kernel::Code::KeyUnavailable, "the tenant's key was not confirmed in time");
        Err(error.into())
    }

    async fn open_seat(
        self: Arc<Self>,
        seat: Arc<Seat>,
        incarnation: Incarnation,
        _turn: OwnedMutexGuard<()>,
    ) -> Result<Arc<Residence>> {
        // Read under the turn: an erasure that has begun empties the seat after this or is seen here.
        let record = self.living(incarnation)?;
        if seat.lingers() {
            let error =
                kernel::Error::new(kernel::Code::KeyUnavailable, "requests of before its key was lost still end");
            return Err(self.failed(&seat, &record, self.key_events.question(), error.into()));
        }
        let question = self.key_events.question();
        let residence = match Residence::open(&self.world, &self.asking, &record).await {
            Ok(residence) => Arc::new(residence),
            Err(error) => return Err(self.failed(&seat, &record, question, error)),
        };
        self.tidy(&residence).await;
        seat.take(residence.clone());
        self.key_events.saw((&record.id, incarnation), question, Seen::Given);
        // Once more, now that others see the hold: a suspension after the check above did not find it.
        let record = self.living(incarnation)?;
        let question = self.key_events.question();
        if let Err(error) = residence.agree(&self.world, &self.asking, &record).await {
            return Err(self.failed(&seat, &record, question, error));
        }
        self.after_opening(&residence);
        Ok(residence)
    }

    fn failed(&self, seat: &Seat, record: &TenantRecord, question: u64, error: Error) -> Error {
        let (incarnation, place) = (record.incarnation, record.directory.as_ref().map(|p| p.uuid));
        tracing::error!(%incarnation, ?place, error = &error as &dyn std::error::Error,
            "a tenant's directory does not open; the other tenants serve");
        let trouble = trouble_of(&error);
        if let Some(why) = trouble {
            self.key_events.saw((&record.id, incarnation), question, Seen::Sealed(why));
        }
        let error = kernel::Error::from(error);
        seat.fail(self.now(), error.code, error.message.clone(), trouble);
        Error::Closed { incarnation, code: error.code, why: error.message }
    }

    /// What a stop left half done of an API key: it counts when both journals know it, so what one
    /// of them alone knows is forgotten. No key is made now: that needs the open tenant.
    async fn tidy(&self, residence: &Residence) {
        let incarnation = residence.incarnation();
        let (unfiled, known) = residence.book().read(|d| {
            let lost =
                |c: &ControlState| d.keys.keys().filter(|id| !c.keys.contains_key(id)).cloned().collect::<Vec<_>>();
            let unfiled = self.control.read(lost);
            let known = d.keys.len() - unfiled.len();
            (unfiled, known)
        });
        for id in unfiled {
            let revoked = residence.write(|_| Ok((Some(DirectoryEvent::KeyRevoked { id }), ()))).await;
            if let Err(error) = revoked {
                tracing::warn!(%incarnation, %error, "a revoked API key is still listed");
            }
        }
        if self.control.read(|s| s.keys_of(incarnation)) == known {
            return;
        }
        let unknown = |c: &ControlState| {
            let mine = c.keys.iter().filter(|(_, place)| place.incarnation == incarnation).map(|(id, _)| id);
            residence.book().read(|d| mine.filter(|id| !d.keys.contains_key(id)).cloned().collect::<Vec<_>>())
        };
        let forgotten = self.control.write(|s| Ok((Some(ControlEvent::KeysForgotten { ids: unknown(s) }), ()))).await;
        if let Err(error) = forgotten {
            tracing::warn!(%incarnation, %error, "an API key whose secret was never returned is still registered");
        }
    }

    /// What follows an opening, in the background.
    fn after_opening(self: &Arc<Self>, residence: &Arc<Residence>) {
        if residence.book().read(|s| !s.doomed.is_empty()) {
            let (inner, residence) = (self.clone(), residence.clone());
            self.tracker.spawn(async move { residence.sweep(&inner.world).await });
        }
        self.seats.count(residence);
        if self.seats.over_budget() {
            let inner = self.clone();
            self.tracker.spawn(async move { inner.seats.evict().await });
        }
    }

    /// The record of a tenant that is not being erased.
    fn living(&self, incarnation: Incarnation) -> Result<TenantRecord> {
        let record = self.control.read(|s| s.by_incarnation(incarnation).cloned());
        Ok(record.filter(|r| r.life != Life::Deleting).ok_or_else(kernel::Error::not_found)?)
    }

    pub(crate) fn now(&self) -> std::time::Duration {
        self.world.clock.monotonic()
    }

    /// Brings the seats to what the control journal says, after it was replayed again.
    async fn reconcile(&self) {
        let generation = self.control.generation();
        if self.agreed.load(Ordering::Acquire) == generation {
            return;
        }
        for (incarnation, seat) in self.seats.all() {
            let Ok(record) = self.living(incarnation) else {
                self.seats.leave(incarnation).await;
                continue;
            };
            let Some(residence) = seat.open() else { continue };
            if let Err(error) = residence.agree(&self.world, &self.asking, &record).await {
                tracing::error!(%incarnation, %error, "a tenant's keys do not open");
            }
        }
        self.agreed.store(generation, Ordering::Release);
    }
}

impl Credentials for Inner {
    fn locate(&self, id: &KeyId) -> Option<KeyStub> {
        self.control.read(|s| {
            let place = s.keys.get(id)?;
            let tenant = s.by_incarnation(place.incarnation)?.id.clone();
            Some(KeyStub { tenant, incarnation: place.incarnation, mac: place.mac, expires_at: place.expires_at })
        })
    }

    fn key(&self, id: &KeyId) -> Option<Arc<KeyRecord>> {
        let incarnation = self.control.read(|s| s.keys.get(id).map(|place| place.incarnation))?;
        self.served(incarnation)?.book().read(|s| s.keys.get(id).map(|key| key.0.clone()))
    }

    fn hold(&self, incarnation: Incarnation) -> Option<Hold> {
        self.served(incarnation).map(|residence| residence as Hold)
    }

    fn operator(&self, id: &KeyId) -> Option<Arc<OperatorRecord>> {
        self.control.read(|s| s.operators.get(id).map(|o| o.0.clone()))
    }

    /// A tenant that is not open is not served: callers of the gate have it opened first.
    fn tenant(&self, id: &TenantId) -> Option<TenantFacts> {
        self.control.read(|s| {
            let tenant = s.tenants.get(id)?;
            let state = match tenant.life {
                Life::Active if self.served(tenant.incarnation).is_none() => TenantState::KeyUnavailable,
                life => life.state(),
            };
            Some(TenantFacts { incarnation: tenant.incarnation, state, quotas: tenant.quotas })
        })
    }

    /// The pepper is the control place's own MAC key: it never leaves the vault.
    fn mac(&self, secret: &[u8]) -> [u8; 32] {
        mac(self.control.home(), secret)
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

    /// The control journal holds its wrapped key, so no directory need be open for it: lines that
    /// wait are written also when their tenant was closed meanwhile.
    fn audit(&self, incarnation: Incarnation) -> BoxFuture<'_, kernel::Result<Arc<Home>>> {
        Box::pin(async move {
            if let Some(residence) = self.seats.open(incarnation) {
                return Ok(residence.audit());
            }
            let record = self.living(incarnation)?;
            let audit = record.audit.as_ref().ok_or_else(kernel::Error::not_found)?;
            if let Some((code, why)) =
                self.seats.unopened(incarnation).filter(|(code, _)| *code == Code::KeyUnavailable)
            {
                return Err(kernel::Error::new(code, why));
            }
            let keys = self.asking.ring(incarnation, &record.keys).await.map_err(kernel::Error::from)?;
            Ok(Arc::new(place(&keys, PlaceKind::Audit, audit)?))
        })
    }
}
