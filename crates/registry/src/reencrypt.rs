//! Re-encryption: after a compromise everything of a tenant is sealed anew under keys that nobody has had.
//!
//! 1. a fresh tenant epoch
//! 2. for each place (directory, audit, every namespace): a next place key beside the one it has, durable; everything in
//!    the place sealed anew under it, by whoever keeps the place's objects; then the old place key forgotten, durable
//! 3. the old tenant epochs destroyed, as by any rotation
//!
//! What is left to do can be read from the records: a place whose wrap is of an older epoch is untouched, one whose wrap
//! holds two keys is half done. So a crash anywhere is gone on from, and cancelling it between two places leaves data that
//! opens. A place's MAC key stays: ids and pseudonyms follow from it, and it opens nothing.

use crate::{
    OperationHandle, OperationKind, Registry, Rotated,
    control::ControlEvent,
    directory::{DirectoryEvent, DirectoryState, Rewrap},
    record::{PlaceRecord, TenantRecord, Wrapped},
    residence::{Residence, place},
    rotate::places,
};
use kernel::{Error, KeyEpoch, NamespaceName, NamespaceSettings, Result};
use std::{
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::OwnedMutexGuard;
use vault::{Home, WrappedKey};

/// A re-encryption under way: the only rotation of its tenant.
pub struct Reencryption {
    registry: Registry,
    pub(crate) residence: Arc<Residence>,
    epoch: KeyEpoch,
    /// Places that are done, of so many when it began. Counted along: a look at all of them for each is dear.
    done: AtomicU64,
    total: u64,
    _one: OwnedMutexGuard<()>,
}

/// Namespaces of a re-encryption, with the homes through which they are sealed anew.
pub type Renewing = Vec<(NamespaceName, Arc<Home>)>;

/// How far a place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Untouched,
    Half,
    Done,
}

impl Registry {
    /// Begins a re-encryption, or goes on with it: its fresh epoch is durable when this returns.
    ///
    /// # Errors
    /// `not_found`; what keeps the tenant's keys or directory closed; `invalid_request` for another kind of operation.
    pub async fn reencrypt(&self, operation: &OperationHandle) -> Result<Reencryption> {
        if operation.kind() != OperationKind::Reencrypt {
            return Err(Error::invalid("operation", "is no re-encryption"));
        }
        let residence = self.inner.open(operation.incarnation()).await?;
        let one = residence.rotation.clone().lock_owned().await;
        let epoch = self.add_epoch(&residence, None, Some(operation.created_at())).await?;
        let registry = self.clone();
        let mut work = Reencryption { registry, residence, epoch, done: AtomicU64::new(0), total: 0, _one: one };
        let (done, total) = work.count();
        (work.done, work.total) = (AtomicU64::new(done), total);
        Ok(work)
    }
}

impl Reencryption {
    /// The epoch that it leads to.
    pub fn epoch(&self) -> KeyEpoch {
        self.epoch
    }

    /// Places done, and all of them, as far as is known without a look at each.
    pub fn progress(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed).min(self.total), self.total)
    }

    fn count(&self) -> (u64, u64) {
        let Ok(record) = self.record() else { return (0, 0) };
        let own = [&record.directory, &record.audit].into_iter().flatten();
        let mut done = own.filter(|p| self.stage(&p.wrapped) == Stage::Done).count();
        done += self
            .residence
            .book()
            .read(|s| s.namespaces.values().filter(|n| self.stage(&n.place.wrapped) == Stage::Done).count());
        (done as u64, places(&record, Some(&self.residence)).len() as u64)
    }

    /// The tenant's directory, all of it.
    ///
    /// # Errors
    /// What stopped it; asked again, it does what is left.
    pub async fn directory(&self) -> Result<()> {
        let (book, home) = (self.residence.book(), self.residence.book().home());
        if !self.begin_own(home, |r| r.directory.as_ref()).await? {
            return Ok(());
        }
        book.purge().await?;
        if book.stands_under_others(home.epoch()).await? {
            return Err(Error::internal("the directory still stands under an older key"));
        }
        self.end_own(home, |r| r.directory.as_ref()).await
    }

    /// The tenant's audit, with a next key, to be sealed anew; `None` when that is done.
    ///
    /// # Errors
    /// As [`directory`](Self::directory).
    pub async fn begin_audit(&self) -> Result<Option<Arc<Home>>> {
        let home = self.residence.audit();
        Ok(self.begin_own(&home, |r| r.audit.as_ref()).await?.then_some(home))
    }

    /// The audit is sealed anew: its old key is forgotten.
    ///
    /// # Errors
    /// As [`directory`](Self::directory).
    pub async fn end_audit(&self, home: &Home) -> Result<()> {
        self.end_own(home, |r| r.audit.as_ref()).await
    }

    /// Namespaces that are not done, by name, behind this one.
    pub fn next(&self, after: Option<&NamespaceName>, most: usize) -> Vec<(NamespaceName, Arc<NamespaceSettings>)> {
        self.residence.book().read(|s| {
            let behind = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
            let undone = s
                .namespaces
                .range::<NamespaceName, _>(behind)
                .filter(|(_, n)| self.stage(&n.place.wrapped) != Stage::Done);
            undone.take(most).map(|(name, n)| (name.clone(), n.settings.clone())).collect()
        })
    }

    /// Namespaces with a next key, to be sealed anew; those that are done or gone are left out. One write for all.
    ///
    /// # Errors
    /// As [`directory`](Self::directory).
    pub async fn begin(&self, names: &[NamespaceName]) -> Result<Renewing> {
        let mut places = Vec::with_capacity(names.len());
        for name in names {
            places.extend(self.residence.custodial_home(name)?.map(|home| (name.clone(), home)));
        }
        let keys = self.residence.keys();
        let stages = self.rewrite(&places, |home, known| match self.stage(known) {
            Stage::Untouched => Ok(Some(home.with_next_key(&keys, &*self.registry.inner.world.entropy)?.into())),
            Stage::Half | Stage::Done => Ok(None),
        });
        let left = stages.await?.into_iter().map(|stage| stage.is_some_and(|stage| stage != Stage::Done));
        let left: Renewing = places.into_iter().zip(left).filter_map(|(place, left)| left.then_some(place)).collect();
        self.done.fetch_add((names.len() - left.len()) as u64, Ordering::Relaxed);
        Ok(left)
    }

    /// Namespaces are sealed anew: their old keys are forgotten. One write for all.
    ///
    /// # Errors
    /// As [`directory`](Self::directory).
    pub async fn end(&self, renewed: &[(NamespaceName, Arc<Home>)]) -> Result<()> {
        let keys = self.residence.keys();
        let ended = self.rewrite(renewed, |home, known| match self.stage(known) {
            Stage::Half => Ok(Some(home.without_old_keys(&keys, &*self.registry.inner.world.entropy)?.into())),
            Stage::Untouched | Stage::Done => Ok(None),
        });
        ended.await?;
        self.done.fetch_add(renewed.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Ends it: nothing stands under the epochs before, and they are destroyed.
    ///
    /// # Errors
    /// `internal` when something is not done; what stopped it.
    pub async fn finish(self) -> Result<Rotated> {
        let (done, all) = self.count();
        if done != all {
            return Err(Error::internal(format!("{} of {all} places are not re-encrypted", all - done)));
        }
        // The log of the directory holds wraps of old place keys.
        self.residence.book().purge().await?;
        let certificate = self.registry.retire(&self.residence, self.epoch, "reencrypt").await?;
        Ok(Rotated { epoch: self.epoch, certificate })
    }

    fn stage(&self, wrapped: &Wrapped) -> Stage {
        match Home::keys_in(&WrappedKey::from(wrapped)) {
            _ if wrapped.epoch != self.epoch.0 => Stage::Untouched,
            Some(1) => Stage::Done,
            _ => Stage::Half,
        }
    }

    fn record(&self) -> Result<TenantRecord> {
        let incarnation = self.residence.incarnation();
        self.registry.inner.control.read(|s| s.by_incarnation(incarnation).cloned()).ok_or_else(Error::not_found)
    }

    /// Decides on namespaces' wraps, then has their homes follow what is written down. `None` for one that is gone.
    async fn rewrite(
        &self,
        places: &[(NamespaceName, Arc<Home>)],
        decide: impl Fn(&Home, &Wrapped) -> crate::Result<Option<Wrapped>>,
    ) -> Result<Vec<Option<Stage>>> {
        let known = |state: &DirectoryState, (name, home): &(NamespaceName, Arc<Home>)| {
            state.namespaces.get(name).map(|n| n.place.clone()).filter(|place| place.uuid == home.uuid())
        };
        let written = self.residence.write(|state| {
            let mut rewraps = Vec::new();
            for place in places {
                let Some(record) = known(state, place) else { continue };
                let (name, home) = place;
                rewraps.extend(decide(home, &record.wrapped)?.map(|wrapped| Rewrap { name: name.clone(), wrapped }));
            }
            Ok(((!rewraps.is_empty()).then_some(DirectoryEvent::Rewrapped(rewraps)), ()))
        });
        written.await?;
        let follow = |place: &(NamespaceName, Arc<Home>)| {
            let Some(record) = self.residence.book().read(|state| known(state, place)) else { return Ok(None) };
            self.follow(&place.1, &record)?;
            Ok(Some(self.stage(&record.wrapped)))
        };
        places.iter().map(follow).collect()
    }

    /// A next key for a place of the tenant's own. Whether there is anything left to do.
    pub(crate) async fn begin_own(
        &self,
        home: &Home,
        of: impl Fn(&TenantRecord) -> Option<&PlaceRecord>,
    ) -> Result<bool> {
        let keys = self.residence.keys();
        let stage = self.rewrite_own(home, &of, |known| match self.stage(known) {
            Stage::Untouched => Ok(Some(home.with_next_key(&keys, &*self.registry.inner.world.entropy)?.into())),
            Stage::Half | Stage::Done => Ok(None),
        });
        Ok(stage.await? != Stage::Done)
    }

    async fn end_own(&self, home: &Home, of: impl Fn(&TenantRecord) -> Option<&PlaceRecord>) -> Result<()> {
        let keys = self.residence.keys();
        let stage = self.rewrite_own(home, &of, |known| match self.stage(known) {
            Stage::Half => Ok(Some(home.without_old_keys(&keys, &*self.registry.inner.world.entropy)?.into())),
            Stage::Untouched | Stage::Done => Ok(None),
        });
        stage.await?;
        self.done.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn rewrite_own(
        &self,
        home: &Home,
        of: &impl Fn(&TenantRecord) -> Option<&PlaceRecord>,
        decide: impl FnOnce(&Wrapped) -> crate::Result<Option<Wrapped>>,
    ) -> Result<Stage> {
        let incarnation = self.residence.incarnation();
        let written = self.registry.inner.write(|state| {
            let tenant = state.by_incarnation(incarnation).ok_or_else(Error::not_found)?;
            let (Some(directory), Some(audit)) = (&tenant.directory, &tenant.audit) else {
                return Err(Error::not_found().into());
            };
            let known = of(tenant).ok_or_else(Error::not_found)?;
            let Some(wrapped) = decide(&known.wrapped)? else { return Ok((None, ())) };
            let pick =
                |place: &PlaceRecord| if place.uuid == known.uuid { wrapped.clone() } else { place.wrapped.clone() };
            let (id, directory, audit) = (tenant.id.clone(), pick(directory), pick(audit));
            Ok((Some(ControlEvent::PlacesRewrapped { id, directory, audit }), ()))
        });
        written.await?;
        let record = self.record()?;
        let known = of(&record).ok_or_else(Error::not_found)?;
        self.follow(home, known)?;
        Ok(self.stage(&known.wrapped))
    }

    /// The home has what is written down, whatever became of the writing.
    fn follow(&self, home: &Home, known: &PlaceRecord) -> Result<()> {
        let keys = self.residence.keys();
        // Opened once more, so that a wrap which does not open is found before anything is sealed under it.
        place(&keys, home.kind(), known)?;
        Ok(home.refresh(&keys, &WrappedKey::from(&known.wrapped))?)
    }
}
