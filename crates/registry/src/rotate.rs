//! Key rotation by rewrapping: a new epoch, every place key under it, the old epoch destroyed.
//!
//! Each step is durable before the next, and what is left to do can be read from the journals:
//! 1. `EpochAdded` in control. A crash behind it leaves two epochs; both open, new keys take the new one.
//! 2. `PlacesRewrapped` in control: the directory's and the audit's keys.
//! 3. `Rewrapped` in the directory, some namespaces an entry, until none is left under an old epoch;
//!    then a checkpoint, behind which the directory holds no older wrap.
//! 4. `EpochsRetired` in control and a checkpoint, behind which the old tenant key is nowhere.
//!
//! Place keys do not change, so open homes and running requests never notice.

use crate::{
    Certificate, KeyChoice, KeyState, OperationHandle, OperationKind, OperationStatus, Registry,
    certificate::{Retired, ShreddedKey},
    control::{ControlEvent, ControlState},
    directory::{DirectoryEvent, Rewrap},
    keys::millis,
    record::{EpochRecord, Life, OperationRecord, TenantRecord},
    registry::Inner,
    residence::{Residence, place},
};
use access::{Grant, Operator, RotateKey};
use kernel::{Code, Error, KeyEpoch, Result, TenantId, Timestamp, limits};
use std::{sync::Arc, time::Duration};
use vault::{Key, PlaceKind};

/// A tenant's key epochs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    /// Oldest first.
    pub epochs: Vec<EpochStatus>,
    /// The one that new keys are wrapped under.
    pub current: KeyEpoch,
    /// Places done and all of them, while a rotation is not finished.
    pub rotating: Option<(u64, u64)>,
    /// The provider and the key that wrap the current epoch.
    pub key: (String, String),
    /// Whether the keys can be had.
    pub state: KeyState,
    /// When a rule wants the next rotation begun.
    pub next_rotation: Option<Timestamp>,
}

/// One key epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochStatus {
    /// Which.
    pub epoch: KeyEpoch,
    /// When it was made.
    pub created_at: Timestamp,
    /// How long ago that is.
    pub age: Duration,
    /// Whose key wraps it.
    pub provider: String,
    /// Which.
    pub key: String,
    /// Place keys that stand under it.
    pub objects: u64,
    /// Keys that it has wrapped so far.
    pub wraps: u64,
}

/// Where a rotation led.
#[derive(Clone, Debug)]
pub struct Rotated {
    /// The epoch that everything stands under now.
    pub epoch: KeyEpoch,
    /// The statement that the others are gone; none if they were already.
    pub certificate: Option<Certificate>,
}

impl Registry {
    /// Writes down a new epoch, unless a rotation is under way already; says which epoch it leads to.
    /// `choice` names the key that wraps it; what it leaves open stays as it is.
    ///
    /// # Errors
    /// `not_found`; `conflict` while a rotation to another key is under way; what keeps the tenant's keys or directory
    /// closed.
    pub async fn begin_rotation(&self, grant: &Grant<RotateKey>, choice: Option<&KeyChoice>) -> Result<KeyEpoch> {
        let residence = self.inner.open(grant.incarnation()).await?;
        let _one = residence.rotation.lock().await;
        self.add_epoch(&residence, choice, None).await
    }

    /// Rotates to the end. Takes up a rotation that began before. The operation is told places done
    /// and all of them; `None` if it was cancelled between two writes: two epochs stay then, and everything opens.
    ///
    /// # Errors
    /// As [`Registry::begin_rotation`]. Everything stays readable, and the next call goes on.
    pub async fn rotate(&self, grant: &Grant<RotateKey>, operation: &OperationHandle) -> Result<Option<Rotated>> {
        if operation.incarnation() != grant.incarnation() {
            return Err(Error::not_found());
        }
        self.resume_rotation(operation).await
    }

    /// Goes on with a rotation whose operation a restart interrupted. The operation is durable
    /// proof of the grant that began it.
    ///
    /// # Errors
    /// As [`Registry::rotate`]; `invalid_request` for another kind of operation.
    pub async fn resume_rotation(&self, operation: &OperationHandle) -> Result<Option<Rotated>> {
        if operation.kind() != OperationKind::RotateKey {
            return Err(Error::invalid("operation", "is no rotation"));
        }
        let residence = self.inner.open(operation.incarnation()).await?;
        let _one = residence.rotation.lock().await;
        // Tried again behind its end, because something failed there, it makes no other epoch.
        let known = operation.leads_to().filter(|epoch| *epoch == residence.keys().current());
        let epoch = match known {
            Some(epoch) => epoch,
            None => self.add_epoch(&residence, None, None).await?,
        };
        *operation.leads_to() = Some(epoch);
        let report = |done, total| operation.progress(done, total);
        self.rewrap_own_places(&residence, epoch).await?;
        self.report(&residence, epoch, &report);
        while self.rewrap_some(&residence, epoch).await? {
            self.report(&residence, epoch, &report);
            if operation.cancelled() {
                return Ok(None);
            }
        }
        residence.book().purge().await?;
        let certificate = self.retire(&residence, epoch, "rewrap").await?;
        self.report(&residence, epoch, &report);
        Ok(Some(Rotated { epoch, certificate }))
    }

    /// Where a tenant's place keys stand.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn key_status(&self, _: &Operator, tenant: &TenantId) -> Result<KeyStatus> {
        let record = self.inner.tenant_record(tenant)?;
        // A tenant whose keys cannot be had has an inventory too, without its namespaces.
        let residence = self.inner.open(record.incarnation).await.ok();
        let places = places(&record, residence.as_deref());
        let current = record.keys.current();
        let now = self.inner.world.clock.now();
        let of_namespaces = |epoch| residence.as_ref().map_or(0, |r| r.book().read(|s| s.wraps(epoch)));
        let wraps = |epoch: u32| of_namespaces(epoch) + OWN_PLACES;
        let epochs = record.keys.epochs.iter().map(|e| EpochStatus {
            epoch: KeyEpoch(e.wrapped.epoch),
            created_at: e.created_at,
            age: since(e.created_at, now),
            provider: e.provider.clone(),
            key: e.key.clone(),
            objects: places.iter().filter(|p| **p == e.wrapped.epoch).count() as u64,
            wraps: wraps(e.wrapped.epoch),
        });
        let epochs: Vec<_> = epochs.collect();
        let done = places.iter().filter(|p| **p == current.0).count() as u64;
        let rotating = (epochs.len() > 1).then_some((done, places.len() as u64));
        let key = record.keys.epochs.last().map(|e| (e.provider.clone(), e.key.clone())).unwrap_or_default();
        let (state, next_rotation) = (self.inner.key_state(&record), self.inner.next_rotation(&record));
        Ok(KeyStatus { epochs, current, rotating, key, state, next_rotation })
    }

    /// Tenants whose keys are older than their rule, or the configuration's, allows, or for which such a rotation ended
    /// halfway: for each one is to begin.
    pub fn rotations_due(&self) -> Vec<TenantId> {
        let now = self.inner.world.clock.now();
        self.inner.control.read(|s| {
            let due = |t: &&TenantRecord| {
                let rotates = |o: &&OperationRecord| o.incarnation == t.incarnation && o.kind.rotates();
                let mut rotations = s.operations.iter().rev().filter(rotates);
                if rotations.clone().any(|o| o.end.is_none()) {
                    return false;
                }
                // One that somebody cancelled, or a re-encryption, which has more to do, waits for whoever asks, or the rule.
                let failed = |o: &OperationRecord| {
                    let end = o.end.as_ref().map(|end| end.status);
                    o.kind == OperationKind::RotateKey && end == Some(OperationStatus::Failed)
                };
                let halfway = t.keys.epochs.len() > 1 && rotations.next().is_some_and(failed);
                self.inner.next_rotation(t).is_some_and(|at| halfway || at <= now)
            };
            s.tenants.values().filter(|t| t.life == Life::Active).filter(due).map(|t| t.id.clone()).collect()
        })
    }

    /// Step 1.
    pub(crate) async fn add_epoch(
        &self,
        residence: &Residence,
        choice: Option<&KeyChoice>,
        not_before: Option<Timestamp>,
    ) -> Result<KeyEpoch> {
        let inner = &self.inner;
        let incarnation = residence.incarnation();
        let find = |state: &ControlState| state.by_incarnation(incarnation).cloned().ok_or_else(Error::not_found);
        let tenant = inner.control.read(find)?;
        residence.agree(&inner.world, &inner.asking, &tenant).await?;
        let last = tenant.keys.epochs.last().ok_or_else(Error::not_found)?;
        let (key, made) = match choice {
            Some(choice) => inner.asking.choose(choice, incarnation)?,
            None => (inner.asking.key_of(last)?, last.made),
        };
        let same = last.provider == key.provider() && last.key == key.name();
        // One of before this time is not fresh enough, whatever rotation is under way.
        let fresh = not_before.map_or(tenant.keys.epochs.len() > 1, |time| last.created_at >= time);
        if fresh {
            if same || choice.is_none() {
                return Ok(residence.keys().current());
            }
            return Err(Error::new(Code::Conflict, "a rotation to another key is under way; wait for it to end"));
        }
        let (keys, entropy) = (residence.keys(), inner.world.entropy.clone());
        let (provider, name) = (key.provider().to_owned(), key.name().to_owned());
        let wrap = move |key: &Key| {
            match (made, same) {
                (true, true) => key.new_version()?,
                (true, false) => key.create()?,
                (false, _) => {}
            }
            keys.rotated(&**key, &*entropy)
        };
        let asked = millis(&*inner.world.clock);
        let remote = key.is_remote();
        let (ring, wrapped) = inner.asking.ask(key, wrap).await?;
        let created_at = inner.world.clock.now();
        let epoch = EpochRecord { provider, key: name, made, wrapped: wrapped.into(), created_at };
        inner
            .write(|state| {
                let tenant = find(state)?;
                // One rotation at a time writes here; an erasure may have come between.
                if !residence.agrees(&tenant) {
                    return Err(Error::new(Code::Conflict, "the tenant's keys have changed meanwhile").into());
                }
                Ok((Some(ControlEvent::EpochAdded { id: tenant.id, epoch }), ()))
            })
            .await?;
        residence.set_keys(Arc::new(ring));
        residence.lease.renew(remote || residence.lease.is_remote(), asked);
        Ok(residence.keys().current())
    }

    /// Step 2.
    pub(crate) async fn rewrap_own_places(&self, residence: &Residence, epoch: KeyEpoch) -> Result<()> {
        let keys = residence.keys();
        let entropy = &*self.inner.world.entropy;
        self.inner
            .write(|state| {
                let tenant = state.by_incarnation(residence.incarnation()).ok_or_else(Error::not_found)?;
                let own = [&tenant.directory, &tenant.audit];
                if own.iter().all(|p| p.as_ref().is_some_and(|p| p.wrapped.epoch == epoch.0)) {
                    return Ok((None, ()));
                }
                let event = ControlEvent::PlacesRewrapped {
                    id: tenant.id.clone(),
                    directory: residence.book().home().rewrap(&keys, entropy)?.into(),
                    audit: residence.audit().rewrap(&keys, entropy)?.into(),
                };
                Ok((Some(event), ()))
            })
            .await?;
        Ok(())
    }

    /// Step 3. Says whether there was anything left to do.
    pub(crate) async fn rewrap_some(&self, residence: &Arc<Residence>, epoch: KeyEpoch) -> Result<bool> {
        let keys = residence.keys();
        let world = &self.inner.world;
        let some = residence
            .write(|state| {
                let old = state.namespaces.iter().filter(|(_, n)| n.place.wrapped.epoch != epoch.0);
                let mut list = Vec::new();
                for (name, entry) in old.take(limits::REWRAPS_PER_ENTRY) {
                    let home = place(&keys, PlaceKind::Namespace, &entry.place)?;
                    let wrapped = home.rewrap(&keys, &*world.entropy)?.into();
                    list.push(Rewrap { name: name.clone(), wrapped });
                }
                let some = !list.is_empty();
                Ok((some.then_some(DirectoryEvent::Rewrapped(list)), some))
            })
            .await?;
        Ok(some)
    }

    /// Step 4.
    pub(crate) async fn retire(
        &self,
        residence: &Residence,
        epoch: KeyEpoch,
        mode: &'static str,
    ) -> Result<Option<Certificate>> {
        let inner = &self.inner;
        let mine = |state: &ControlState| state.by_incarnation(residence.incarnation()).map(|t| t.keys.epochs.clone());
        let mut old = inner.control.read(mine).unwrap_or_default();
        let certificate = inner
            .write(|state| {
                let tenant = state.by_incarnation(residence.incarnation()).ok_or_else(Error::not_found)?;
                if tenant.keys.epochs.len() < 2 {
                    // Done by a try before this one, which failed behind it: the statement is about that.
                    let mut mine = state.certificates.of(tenant.incarnation).filter(|c| c.kind == RETIRED);
                    return Ok((None, mine.next_back().cloned()));
                }
                let places = places(tenant, Some(residence));
                if places.iter().any(|place| *place != epoch.0) {
                    return Err(Error::internal("a key still stands under an epoch that is to be destroyed").into());
                }
                let certificate = self.retired(tenant, epoch, places.len() as u64, mode)?;
                let event = ControlEvent::EpochsRetired { id: tenant.id.clone(), certificate: certificate.clone() };
                Ok((Some(event), Some(certificate)))
            })
            .await?;
        let mut keys = residence.keys();
        for old in keys.epochs().into_iter().filter(|e| *e != epoch) {
            keys = Arc::new(keys.without(old));
        }
        residence.set_keys(keys);
        inner.control.purge().await?;
        old.retain(|e| e.wrapped.epoch != epoch.0);
        self.retire_at_providers(residence, &old).await?;
        Ok(certificate)
    }

    /// Where the tenant's key at a provider is its own, what older versions of it wrapped opens no more, also in copies of
    /// the data that were made before; and one that it has left is destroyed.
    async fn retire_at_providers(&self, residence: &Residence, old: &[EpochRecord]) -> Result<()> {
        let inner = &self.inner;
        let record = inner.control.read(|s| s.by_incarnation(residence.incarnation()).cloned());
        let Some(last) = record.as_ref().and_then(|r| r.keys.epochs.last()) else { return Ok(()) };
        if last.made {
            inner.asking.ask(inner.asking.key_of(last)?, |key| key.retire_versions()).await?;
        }
        for left in old.iter().filter(|e| e.made && (&e.provider, &e.key) != (&last.provider, &last.key)) {
            let destroyed = inner.asking.ask(inner.asking.key_of(left)?, |key| key.destroy()).await;
            if destroyed.is_ok_and(|receipt| receipt.destroyed) {
                continue;
            }
            tracing::warn!(provider = left.provider, key = left.key, "a key that its tenant has left is not destroyed");
        }
        Ok(())
    }

    /// The statement that the epochs before are gone.
    fn retired(&self, tenant: &TenantRecord, epoch: KeyEpoch, keys: u64, mode: &'static str) -> Result<Certificate> {
        let at = self.inner.world.clock.now();
        let old = tenant.keys.epochs.iter().filter(|e| e.wrapped.epoch != epoch.0);
        let destroyed: Vec<_> = old.map(ShreddedKey::of).collect();
        let retires = |key: &ShreddedKey| {
            let known = self.inner.asking.config.providers.key(&key.provider, &key.key);
            key.own_key && known.is_ok_and(|key| key.retires_versions())
        };
        let doubt = |key: &ShreddedKey| if retires(key) { key.asked_behind() } else { key.doubt() };
        let mut doubts: Vec<_> = destroyed.iter().map(doubt).collect();
        doubts.dedup();
        let statement = Retired {
            statement: "key epochs destroyed: no key of the tenant stands under them",
            version: 0,
            mode,
            tenant: tenant.id.as_str(),
            incarnation: tenant.incarnation.to_string(),
            at: at.to_string(),
            destroyed,
            current_epoch: epoch.0,
            keys_by_epoch: [(epoch.0, keys)].into(),
            cannot_be_proven: doubts,
        };
        Certificate::sign(&self.inner.signer, &tenant.id, tenant.incarnation, RETIRED, at, &statement)
    }

    fn report(&self, residence: &Residence, epoch: KeyEpoch, progress: &(dyn Fn(u64, u64) + Sync)) {
        let record = self.inner.control.read(|s| s.by_incarnation(residence.incarnation()).cloned());
        if let Some(record) = record {
            let places = places(&record, Some(residence));
            progress(places.iter().filter(|p| **p == epoch.0).count() as u64, places.len() as u64);
        }
    }
}

impl Inner {
    fn next_rotation(&self, record: &TenantRecord) -> Option<Timestamp> {
        let own = record.rotate_days.map(|days| Duration::from_secs(u64::from(days) * 86_400));
        let every = own.or(self.asking.config.rotate_every)?;
        let made = record.keys.epochs.last()?.created_at;
        Some(Timestamp::from_millis(made.as_millis().saturating_add(i64::try_from(every.as_millis()).ok()?)))
    }
}

fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(now.as_millis().saturating_sub(then.as_millis())).unwrap_or(0))
}

/// What a statement about epochs is.
const RETIRED: &str = "epochs.destroyed";
/// The directory and the audit: each is wrapped once an epoch.
const OWN_PLACES: u64 = 2;

/// The epoch that each of the tenant's place keys stands under.
pub(crate) fn places(record: &TenantRecord, residence: Option<&Residence>) -> Vec<u32> {
    let own = [&record.directory, &record.audit].into_iter().flatten();
    let mut places: Vec<_> = own.map(|p| p.wrapped.epoch).collect();
    if let Some(residence) = residence {
        residence.book().read(|s| places.extend(s.namespaces.values().map(|n| n.place.wrapped.epoch)));
    }
    places
}
