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
    directory::{DirectoryEvent, Rewrap},
    record::{PlaceRecord, TenantRecord, Wrapped},
    residence::{Residence, place},
    rotate::places,
};
use kernel::{Error, KeyEpoch, NamespaceName, NamespaceSettings, Result};
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;
use vault::{Home, WrappedKey};

/// A re-encryption under way: the only rotation of its tenant.
pub struct Reencryption {
    registry: Registry,
    pub(crate) residence: Arc<Residence>,
    epoch: KeyEpoch,
    _one: OwnedMutexGuard<()>,
}

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
        Ok(Reencryption { registry: self.clone(), residence, epoch, _one: one })
    }
}

impl Reencryption {
    /// The epoch that it leads to.
    pub fn epoch(&self) -> KeyEpoch {
        self.epoch
    }

    /// Places done, and all of them.
    pub fn progress(&self) -> (u64, u64) {
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
            let behind = s.namespaces.iter().filter(|(name, _)| after.is_none_or(|after| *name > after));
            let undone = behind.filter(|(_, n)| self.stage(&n.place.wrapped) != Stage::Done);
            undone.take(most).map(|(name, n)| (name.clone(), n.settings.clone())).collect()
        })
    }

    /// A namespace with a next key, to be sealed anew; `None` when it is done or gone.
    ///
    /// # Errors
    /// As [`directory`](Self::directory).
    pub async fn begin(&self, name: &NamespaceName) -> Result<Option<Arc<Home>>> {
        let Some(home) = self.residence.custodial_home(name)? else { return Ok(None) };
        let keys = self.residence.keys();
        let stage = self.rewrite(name, &home, |known| match self.stage(known) {
            Stage::Untouched => Ok(Some(home.with_next_key(&keys, &*self.registry.inner.world.entropy)?.into())),
            Stage::Half | Stage::Done => Ok(None),
        });
        Ok(stage.await?.filter(|stage| *stage != Stage::Done).map(|_| home))
    }

    /// A namespace is sealed anew: its old key is forgotten.
    ///
    /// # Errors
    /// As [`directory`](Self::directory).
    pub async fn end(&self, name: &NamespaceName, home: &Home) -> Result<()> {
        let keys = self.residence.keys();
        let ended = self.rewrite(name, home, |known| match self.stage(known) {
            Stage::Half => Ok(Some(home.without_old_keys(&keys, &*self.registry.inner.world.entropy)?.into())),
            Stage::Untouched | Stage::Done => Ok(None),
        });
        ended.await.map(drop)
    }

    /// Ends it: nothing stands under the epochs before, and they are destroyed.
    ///
    /// # Errors
    /// `internal` when something is not done; what stopped it.
    pub async fn finish(self) -> Result<Rotated> {
        let (done, all) = self.progress();
        if done != all {
            return Err(Error::internal(format!("{} of {all} places are not sealed anew", all - done)));
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

    /// Decides on a namespace's wrap, then has its home follow what is written down. `None` when it is gone.
    async fn rewrite(
        &self,
        name: &NamespaceName,
        home: &Home,
        decide: impl FnOnce(&Wrapped) -> crate::Result<Option<Wrapped>>,
    ) -> Result<Option<Stage>> {
        let mine = |p: &PlaceRecord| p.uuid == home.uuid();
        let written = self.residence.write(|state| {
            let Some(known) = state.namespaces.get(name).filter(|n| mine(&n.place)) else { return Ok((None, ())) };
            let wrapped = decide(&known.place.wrapped)?;
            let event = wrapped.map(|wrapped| DirectoryEvent::Rewrapped(vec![Rewrap { name: name.clone(), wrapped }]));
            Ok((event, ()))
        });
        written.await?;
        let known = self.residence.book().read(|s| s.namespaces.get(name).map(|n| n.place.clone()));
        let Some(known) = known.filter(mine) else { return Ok(None) };
        self.follow(home, &known)?;
        Ok(Some(self.stage(&known.wrapped)))
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
        stage.await.map(drop)
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
