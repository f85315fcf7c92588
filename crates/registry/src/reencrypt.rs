//! Re-encryption: after a compromise, everything of a tenant is sealed again under keys that were never exposed.
//!
//! 1. The tenant gets a fresh epoch.
//! 2. Each keyspace (directory, audit, every namespace) gets a next key in addition to its present one, durably. Its
//!    owner re-encrypts everything in the keyspace under that. Then the old key is forgotten, durably.
//! 3. The old tenant epochs are destroyed, as by any rotation.
//!
//! The records tell what is left to do: a keyspace whose wrap is of an older epoch is untouched, and one whose wrap
//! holds two keys is in progress. So the work continues after a crash at any point, and cancelling it between two
//! keyspaces leaves data that opens. A keyspace's MAC key stays: ids and pseudonyms are derived from it, and it
//! decrypts nothing.

use crate::{
    FinishedRotation, OperationHandle, OperationKind, Registry,
    control::ControlEvent,
    directory::{DirectoryEvent, DirectoryState, RewrappedKey},
    open_tenant::open_keyspace,
    record::{KeyspaceRecord, TenantRecord, Wrapped},
    rotate::keyspace_epochs,
    tenant_table::TenantGuard,
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
use vault::{Keyspace, WrappedKey};

/// A re-encryption in progress. No other rotation of its tenant runs meanwhile.
pub struct Reencryption {
    registry: Registry,
    pub(crate) open_tenant: TenantGuard,
    epoch: KeyEpoch,
    /// Keyspaces that are done. The number is updated along the way, because counting them each time would be
    /// expensive.
    done: AtomicU64,
    total: u64,
    _one: OwnedMutexGuard<()>,
}

/// Namespaces that are being re-encrypted, with their keyspaces.
pub type ReencryptingNamespaces = Vec<(NamespaceName, Arc<Keyspace>)>;

/// Progress of one keyspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Untouched,
    InProgress,
    Done,
}

impl Registry {
    /// Begins a re-encryption, or continues one. Its fresh epoch is durable when this returns.
    ///
    /// # Errors
    /// `not_found`; the error that keeps the tenant's keys or directory closed; `invalid_request` for another kind of
    /// operation.
    pub async fn reencrypt(&self, operation: &OperationHandle) -> Result<Reencryption> {
        if operation.kind() != OperationKind::Reencrypt {
            return Err(Error::invalid("operation", "is not a re-encryption"));
        }
        let open_tenant = self.inner.open(operation.incarnation()).await?;
        let one = open_tenant.rotation.clone().lock_owned().await;
        let epoch = self.add_epoch(&open_tenant, None, Some(operation.created_at())).await?;
        let registry = self.clone();
        let mut work = Reencryption { registry, open_tenant, epoch, done: AtomicU64::new(0), total: 0, _one: one };
        let (done, total) = work.count();
        (work.done, work.total) = (AtomicU64::new(done), total);
        Ok(work)
    }
}

impl Reencryption {
    /// Returns the epoch that the re-encryption leads to.
    pub fn epoch(&self) -> KeyEpoch {
        self.epoch
    }

    /// Returns the number of keyspaces that are done, and of all of them, without recounting.
    pub fn progress(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed).min(self.total), self.total)
    }

    fn count(&self) -> (u64, u64) {
        let Ok(record) = self.record() else { return (0, 0) };
        let own = [&record.directory, &record.audit].into_iter().flatten();
        let mut done = own.filter(|p| self.stage(&p.wrapped) == Stage::Done).count();
        done += self
            .open_tenant
            .directory()
            .read(|s| s.namespaces.values().filter(|n| self.stage(&n.keyspace.wrapped) == Stage::Done).count());
        (done as u64, keyspace_epochs(&record, Some(&self.open_tenant)).len() as u64)
    }

    /// Re-encrypts the tenant's whole directory.
    ///
    /// # Errors
    /// The error that stopped it. A second call does what is left.
    pub async fn directory(&self) -> Result<()> {
        let (directory, keyspace) = (self.open_tenant.directory(), self.open_tenant.directory().keyspace());
        if !self.begin_own_keyspace(keyspace, |r| r.directory.as_ref()).await? {
            return Ok(());
        }
        directory.purge().await?;
        if directory.uses_other_epochs(keyspace.epoch()).await? {
            return Err(Error::internal("part of the directory is still sealed under an older key"));
        }
        self.end_own_keyspace(keyspace, |r| r.directory.as_ref()).await
    }

    /// Gives the tenant's audit a next key and returns it for re-encryption; `None` when that is done.
    ///
    /// # Errors
    /// As [`directory`](Self::directory).
    pub async fn begin_audit(&self) -> Result<Option<Arc<Keyspace>>> {
        let keyspace = self.open_tenant.audit();
        Ok(self.begin_own_keyspace(&keyspace, |r| r.audit.as_ref()).await?.then_some(keyspace))
    }

    /// Forgets the audit's old key, after everything was re-encrypted.
    ///
    /// # Errors
    /// As [`directory`](Self::directory).
    pub async fn end_audit(&self, keyspace: &Keyspace) -> Result<()> {
        self.end_own_keyspace(keyspace, |r| r.audit.as_ref()).await
    }

    /// Returns namespaces that are not done, in order of name, after the given one.
    pub fn next(&self, after: Option<&NamespaceName>, most: usize) -> Vec<(NamespaceName, Arc<NamespaceSettings>)> {
        self.open_tenant.directory().read(|s| {
            let following = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
            let unfinished = s
                .namespaces
                .range::<NamespaceName, _>(following)
                .filter(|(_, n)| self.stage(&n.keyspace.wrapped) != Stage::Done);
            unfinished.take(most).map(|(name, n)| (name.clone(), n.settings.clone())).collect()
        })
    }

    /// Gives namespaces a next key, in one write, and returns them for re-encryption. Leaves out those that are done or
    /// deleted.
    ///
    /// # Errors
    /// As [`directory`](Self::directory).
    pub async fn begin(&self, names: &[NamespaceName]) -> Result<ReencryptingNamespaces> {
        let mut keyspaces = Vec::with_capacity(names.len());
        for name in names {
            keyspaces.extend(self.open_tenant.keyspace_while_suspended(name)?.map(|keyspace| (name.clone(), keyspace)));
        }
        let keys = self.open_tenant.keys();
        let stages = self.rewrite(&keyspaces, |keyspace, known| match self.stage(known) {
            Stage::Untouched => Ok(Some(keyspace.with_next_key(&keys, &*self.registry.inner.env.entropy)?.into())),
            Stage::InProgress | Stage::Done => Ok(None),
        });
        let pending = stages.await?.into_iter().map(|stage| stage.is_some_and(|stage| stage != Stage::Done));
        let pending: ReencryptingNamespaces =
            keyspaces.into_iter().zip(pending).filter_map(|(keyspace, pending)| pending.then_some(keyspace)).collect();
        self.done.fetch_add((names.len() - pending.len()) as u64, Ordering::Relaxed);
        Ok(pending)
    }

    /// Forgets the old keys of namespaces, in one write, after everything in them was re-encrypted.
    ///
    /// # Errors
    /// As [`directory`](Self::directory).
    pub async fn end(&self, renewed: &[(NamespaceName, Arc<Keyspace>)]) -> Result<()> {
        let keys = self.open_tenant.keys();
        let ended = self.rewrite(renewed, |keyspace, known| match self.stage(known) {
            Stage::InProgress => Ok(Some(keyspace.without_old_keys(&keys, &*self.registry.inner.env.entropy)?.into())),
            Stage::Untouched | Stage::Done => Ok(None),
        });
        ended.await?;
        self.done.fetch_add(renewed.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Ends the re-encryption: makes sure that nothing is left under the earlier epochs, and destroys them.
    ///
    /// # Errors
    /// `internal` when a keyspace is not done; the error that stopped it.
    pub async fn finish(self) -> Result<FinishedRotation> {
        let (done, all) = self.count();
        if done != all {
            return Err(Error::internal(format!("{} of {all} keyspaces are not re-encrypted", all - done)));
        }
        // The log of the directory still holds wraps of old keyspace keys.
        self.open_tenant.directory().purge().await?;
        let certificate = self.registry.retire(&self.open_tenant, self.epoch, "reencrypt").await?;
        Ok(FinishedRotation { epoch: self.epoch, certificate })
    }

    fn stage(&self, wrapped: &Wrapped) -> Stage {
        match Keyspace::key_count(&WrappedKey::from(wrapped)) {
            _ if wrapped.epoch != self.epoch.0 => Stage::Untouched,
            Some(1) => Stage::Done,
            _ => Stage::InProgress,
        }
    }

    fn record(&self) -> Result<TenantRecord> {
        let incarnation = self.open_tenant.incarnation();
        self.registry.inner.control.read(|s| s.by_incarnation(incarnation).cloned()).ok_or_else(Error::not_found)
    }

    /// Decides on the wraps of namespaces, then refreshes the keyspaces in memory from what is recorded. The result is
    /// `None` for a deleted namespace.
    async fn rewrite(
        &self,
        keyspaces: &[(NamespaceName, Arc<Keyspace>)],
        decide: impl Fn(&Keyspace, &Wrapped) -> crate::Result<Option<Wrapped>>,
    ) -> Result<Vec<Option<Stage>>> {
        let known = |state: &DirectoryState, (name, keyspace): &(NamespaceName, Arc<Keyspace>)| {
            state.namespaces.get(name).map(|n| n.keyspace.clone()).filter(|namespace| namespace.uuid == keyspace.uuid())
        };
        // The stored record decides, because another call or an earlier run may have changed the wrap.
        let written = self.open_tenant.write(|state| {
            let mut rewraps = Vec::new();
            for namespace in keyspaces {
                let Some(record) = known(state, namespace) else { continue };
                let (name, keyspace) = namespace;
                rewraps.extend(
                    decide(keyspace, &record.wrapped)?.map(|wrapped| RewrappedKey { name: name.clone(), wrapped }),
                );
            }
            Ok(((!rewraps.is_empty()).then_some(DirectoryEvent::Rewrapped(rewraps)), ()))
        });
        written.await?;
        let refresh = |namespace: &(NamespaceName, Arc<Keyspace>)| {
            let Some(record) = self.open_tenant.directory().read(|state| known(state, namespace)) else {
                return Ok(None);
            };
            self.refresh_keyspace(&namespace.1, &record)?;
            Ok(Some(self.stage(&record.wrapped)))
        };
        keyspaces.iter().map(refresh).collect()
    }

    /// Gives a keyspace of the tenant's own a next key. Returns whether there is anything left to do.
    pub(crate) async fn begin_own_keyspace(
        &self,
        keyspace: &Keyspace,
        of: impl Fn(&TenantRecord) -> Option<&KeyspaceRecord>,
    ) -> Result<bool> {
        let keys = self.open_tenant.keys();
        let stage = self.rewrite_own_keyspace(keyspace, &of, |known| match self.stage(known) {
            Stage::Untouched => Ok(Some(keyspace.with_next_key(&keys, &*self.registry.inner.env.entropy)?.into())),
            Stage::InProgress | Stage::Done => Ok(None),
        });
        Ok(stage.await? != Stage::Done)
    }

    async fn end_own_keyspace(
        &self,
        keyspace: &Keyspace,
        of: impl Fn(&TenantRecord) -> Option<&KeyspaceRecord>,
    ) -> Result<()> {
        let keys = self.open_tenant.keys();
        let stage = self.rewrite_own_keyspace(keyspace, &of, |known| match self.stage(known) {
            Stage::InProgress => Ok(Some(keyspace.without_old_keys(&keys, &*self.registry.inner.env.entropy)?.into())),
            Stage::Untouched | Stage::Done => Ok(None),
        });
        stage.await?;
        self.done.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn rewrite_own_keyspace(
        &self,
        keyspace: &Keyspace,
        of: &impl Fn(&TenantRecord) -> Option<&KeyspaceRecord>,
        decide: impl FnOnce(&Wrapped) -> crate::Result<Option<Wrapped>>,
    ) -> Result<Stage> {
        let incarnation = self.open_tenant.incarnation();
        let written = self.registry.inner.write(|state| {
            let tenant = state.by_incarnation(incarnation).ok_or_else(Error::not_found)?;
            let (Some(directory), Some(audit)) = (&tenant.directory, &tenant.audit) else {
                return Err(Error::not_found().into());
            };
            let known = of(tenant).ok_or_else(Error::not_found)?;
            let Some(wrapped) = decide(&known.wrapped)? else { return Ok((None, ())) };
            let pick = |keyspace: &KeyspaceRecord| {
                if keyspace.uuid == known.uuid { wrapped.clone() } else { keyspace.wrapped.clone() }
            };
            let (id, directory, audit) = (tenant.id.clone(), pick(directory), pick(audit));
            Ok((Some(ControlEvent::KeyspacesRewrapped { id, directory, audit }), ()))
        });
        written.await?;
        let record = self.record()?;
        let known = of(&record).ok_or_else(Error::not_found)?;
        self.refresh_keyspace(keyspace, known)?;
        Ok(self.stage(&known.wrapped))
    }

    /// Refreshes the keyspace in memory from the record, whatever the outcome of the write was.
    fn refresh_keyspace(&self, keyspace: &Keyspace, known: &KeyspaceRecord) -> Result<()> {
        let keys = self.open_tenant.keys();
        // Opening it first makes sure that a wrap which does not open is found before anything is sealed under it.
        open_keyspace(&keys, keyspace.kind(), known)?;
        Ok(keyspace.install_keys(&keys, &WrappedKey::from(&known.wrapped))?)
    }
}
