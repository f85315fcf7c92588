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
    OperationHandle, OperationKind, Registry,
    control::ControlEvent,
    directory::{DirectoryEvent, Rewrap},
    record::{EpochRecord, TenantRecord},
    residence::{Residence, place},
};
use access::{Grant, Operator, RotateKey};
use kernel::{Error, Incarnation, KeyEpoch, Result, TenantId, Timestamp, limits};
use std::sync::Arc;
use vault::PlaceKind;

/// A tenant's key epochs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    /// Oldest first.
    pub epochs: Vec<EpochStatus>,
    /// The one that new keys are wrapped under.
    pub current: KeyEpoch,
    /// Places done and all of them, while a rotation is not finished.
    pub rotating: Option<(u64, u64)>,
}

/// One key epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochStatus {
    /// Which.
    pub epoch: KeyEpoch,
    /// When it was made.
    pub created_at: Timestamp,
    /// Place keys that stand under it.
    pub objects: u64,
}

impl Registry {
    /// Writes down a new epoch, unless a rotation is under way already; says which epoch it leads to.
    ///
    /// # Errors
    /// `not_found`; what keeps the tenant's keys or directory closed.
    pub async fn begin_rotation(&self, grant: &Grant<RotateKey>) -> Result<KeyEpoch> {
        let residence = self.inner.open(grant.incarnation()).await?;
        let _one = residence.rotation.lock().await;
        self.add_epoch(&residence).await
    }

    /// Rotates to the end. Takes up a rotation that began before. The operation is told places done
    /// and all of them.
    ///
    /// # Errors
    /// As [`Registry::begin_rotation`]. Everything stays readable, and the next call goes on.
    pub async fn rotate(&self, grant: &Grant<RotateKey>, operation: &OperationHandle) -> Result<KeyEpoch> {
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
    pub async fn resume_rotation(&self, operation: &OperationHandle) -> Result<KeyEpoch> {
        if operation.kind() != OperationKind::RotateKey {
            return Err(Error::invalid("operation", "is no rotation"));
        }
        self.rotate_all(operation.incarnation(), &|done, total| operation.progress(done, total)).await
    }

    /// Where a tenant's place keys stand.
    ///
    /// # Errors
    /// `not_found`; what keeps the tenant's directory closed.
    pub async fn key_status(&self, _: &Operator, tenant: &TenantId) -> Result<KeyStatus> {
        let record = self.inner.tenant_record(tenant)?;
        let residence = self.inner.open(record.incarnation).await?;
        let places = places(&record, &residence);
        let current = record.keys.current();
        let epochs = record.keys.epochs.iter().map(|e| EpochStatus {
            epoch: KeyEpoch(e.wrapped.epoch),
            created_at: e.created_at,
            objects: places.iter().filter(|p| **p == e.wrapped.epoch).count() as u64,
        });
        let epochs: Vec<_> = epochs.collect();
        let done = places.iter().filter(|p| **p == current.0).count() as u64;
        let rotating = (epochs.len() > 1).then_some((done, places.len() as u64));
        Ok(KeyStatus { epochs, current, rotating })
    }

    async fn rotate_all(&self, incarnation: Incarnation, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<KeyEpoch> {
        let residence = self.inner.open(incarnation).await?;
        let _one = residence.rotation.lock().await;
        let epoch = self.add_epoch(&residence).await?;
        self.rewrap_own_places(&residence, epoch).await?;
        self.report(&residence, epoch, progress);
        while self.rewrap_some(&residence, epoch).await? {
            self.report(&residence, epoch, progress);
        }
        residence.book().purge().await?;
        self.retire(&residence, epoch).await?;
        self.report(&residence, epoch, progress);
        Ok(epoch)
    }

    /// Step 1.
    async fn add_epoch(&self, residence: &Residence) -> Result<KeyEpoch> {
        let inner = &self.inner;
        let fresh = inner
            .write(|state| {
                let tenant = state.by_incarnation(residence.incarnation()).ok_or_else(Error::not_found)?;
                residence.agree(&*inner.provider, tenant)?;
                if tenant.keys.epochs.len() != 1 {
                    return Ok((None, None));
                }
                let (ring, wrapped) = residence.keys().rotated(&*inner.provider, &*inner.world.entropy)?;
                let epoch = EpochRecord { wrapped: wrapped.into(), created_at: inner.world.clock.now() };
                Ok((Some(ControlEvent::EpochAdded { id: tenant.id.clone(), epoch }), Some(ring)))
            })
            .await?;
        if let Some(ring) = fresh {
            residence.set_keys(Arc::new(ring));
        }
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
    async fn retire(&self, residence: &Residence, epoch: KeyEpoch) -> Result<()> {
        let inner = &self.inner;
        inner
            .write(|state| {
                let tenant = state.by_incarnation(residence.incarnation()).ok_or_else(Error::not_found)?;
                let due = tenant.keys.epochs.len() > 1;
                Ok((due.then(|| ControlEvent::EpochsRetired { id: tenant.id.clone() }), ()))
            })
            .await?;
        let mut keys = residence.keys();
        for old in keys.epochs().into_iter().filter(|e| *e != epoch) {
            keys = Arc::new(keys.without(old));
        }
        residence.set_keys(keys);
        Ok(inner.control.purge().await?)
    }

    fn report(&self, residence: &Residence, epoch: KeyEpoch, progress: &(dyn Fn(u64, u64) + Sync)) {
        let record = self.inner.control.read(|s| s.by_incarnation(residence.incarnation()).cloned());
        if let Some(record) = record {
            let places = places(&record, residence);
            progress(places.iter().filter(|p| **p == epoch.0).count() as u64, places.len() as u64);
        }
    }
}

/// The epoch that each of the tenant's place keys stands under.
fn places(record: &TenantRecord, residence: &Residence) -> Vec<u32> {
    let own = [&record.directory, &record.audit].into_iter().flatten();
    let mut places: Vec<_> = own.map(|p| p.wrapped.epoch).collect();
    residence.book().read(|s| places.extend(s.namespaces.values().map(|n| n.place.wrapped.epoch)));
    places
}
