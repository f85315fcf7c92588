//! Key rotation by rewrapping: adds an epoch, wraps every keyspace key under it, and destroys the old epochs. An epoch
//! is one version of a tenant's key.
//!
//! Each step is durable before the next, and the journals tell what is left to do:
//! 1. `EpochAdded` in control. A crash after it leaves two epochs; keys under both open, and new keys are wrapped under
//!    the new one.
//! 2. `KeyspacesRewrapped` in control: the keys of the directory and the audit.
//! 3. `Rewrapped` in the directory, a batch of namespaces per entry, until none is left under an old epoch; then a
//!    checkpoint, after which the directory holds no older wrap.
//! 4. `EpochsRetired` in control and a checkpoint, after which no copy of the old tenant key is left.
//!
//! Keyspace keys do not change, so open keyspaces and running requests are unaffected.

use crate::{
    Certificate, KeyChoice, KeyState, OperationHandle, OperationKind, OperationStatus, Registry,
    certificate::{RotationStatement, ShreddedKey},
    control::{ControlEvent, ControlState},
    directory::{DirectoryEvent, RewrappedKey},
    keys::millis,
    open_tenant::{OpenTenant, open_keyspace},
    record::{EpochRecord, Lifecycle, OperationRecord, TenantRecord},
    registry::Inner,
};
use access::{Grant, Operator, RotateKey};
use kernel::{Code, Error, KeyEpoch, Result, TenantId, Timestamp, limits};
use std::{sync::Arc, time::Duration};
use vault::{Key, KeyspaceKind};

/// Status of a tenant's keys. The numbers of wraps are upper bounds: the tenant's own keyspaces count from the start of
/// a rotation on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    /// Key epochs, oldest first.
    pub epochs: Vec<EpochStatus>,
    /// Epoch under which new keys are wrapped.
    pub current: KeyEpoch,
    /// Number of keyspaces that are rewrapped and number of all, while a rotation is unfinished.
    pub rotating: Option<(u64, u64)>,
    /// The provider and the key that wrap the current epoch.
    pub key: (String, String),
    /// Whether the keys are available.
    pub state: KeyState,
    /// When the rotation rule calls for the next rotation.
    pub next_rotation: Option<Timestamp>,
}

/// Status of one key epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochStatus {
    /// Number of the epoch.
    pub epoch: KeyEpoch,
    /// When the epoch was created.
    pub created_at: Timestamp,
    /// Age of the epoch.
    pub age: Duration,
    /// Name of the provider whose key wraps it.
    pub provider: String,
    /// Name of the wrapping key at that provider.
    pub key: String,
    /// Number of keyspace keys that are wrapped under it.
    pub objects: u64,
    /// Number of keys that it has wrapped so far.
    pub wraps: u64,
}

/// Result of a rotation.
#[derive(Clone, Debug)]
pub struct FinishedRotation {
    /// Epoch under which everything is wrapped now.
    pub epoch: KeyEpoch,
    /// Certificate of the destruction of the other epochs, an earlier attempt's if that retired them; `None` if there
    /// were no others.
    pub certificate: Option<Certificate>,
}

impl Registry {
    /// Records a new epoch, unless a rotation is in progress already, and returns the epoch that the rotation leads to.
    /// `choice` names the key that wraps it; what `choice` leaves open stays as it is.
    ///
    /// # Errors
    /// `not_found`; `conflict` while a rotation to another key is in progress; the error that keeps the tenant's keys
    /// or directory closed.
    pub async fn begin_rotation(&self, grant: &Grant<RotateKey>, choice: Option<&KeyChoice>) -> Result<KeyEpoch> {
        let open_tenant = self.inner.open(grant.incarnation()).await?;
        let _one = open_tenant.rotation.lock().await;
        self.add_epoch(&open_tenant, choice, None).await
    }

    /// Runs a rotation to its end, or continues one that has begun. Reports to the operation how many keyspaces are
    /// done. Returns `None` if the operation was cancelled between two writes: both epochs then stay, and everything
    /// opens.
    ///
    /// # Errors
    /// As [`Registry::begin_rotation`]. Everything stays readable, and the next call continues.
    pub async fn rotate(
        &self,
        grant: &Grant<RotateKey>,
        operation: &OperationHandle,
    ) -> Result<Option<FinishedRotation>> {
        if operation.incarnation() != grant.incarnation() {
            return Err(Error::not_found());
        }
        self.resume_rotation(operation).await
    }

    /// Continues a rotation whose operation was interrupted by a restart. The operation is durable proof of the grant
    /// that began it.
    ///
    /// # Errors
    /// As [`Registry::rotate`]; `invalid_request` for another kind of operation.
    pub async fn resume_rotation(&self, operation: &OperationHandle) -> Result<Option<FinishedRotation>> {
        if operation.kind() != OperationKind::RotateKey {
            return Err(Error::invalid("operation", "is not a rotation"));
        }
        let open_tenant = self.inner.open(operation.incarnation()).await?;
        let _one = open_tenant.rotation.lock().await;
        // On a retry after the last step failed, reuse the epoch instead of creating another.
        let known = operation.target_epoch().filter(|epoch| *epoch == open_tenant.keys().current());
        let epoch = match known {
            Some(epoch) => epoch,
            None => self.add_epoch(&open_tenant, None, None).await?,
        };
        *operation.target_epoch() = Some(epoch);
        let report = |done, total| operation.progress(done, total);
        self.rewrap_own_keyspaces(&open_tenant, epoch).await?;
        self.report(&open_tenant, epoch, &report);
        while self.rewrap_batch(&open_tenant, epoch).await? {
            self.report(&open_tenant, epoch, &report);
            if operation.cancelled() {
                return Ok(None);
            }
        }
        open_tenant.directory().purge().await?;
        let certificate = self.retire(&open_tenant, epoch, "rewrap").await?;
        self.report(&open_tenant, epoch, &report);
        Ok(Some(FinishedRotation { epoch, certificate }))
    }

    /// Returns the epochs of a tenant's keys, with the number of keyspace keys under each.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn key_status(&self, _: &Operator, tenant: &TenantId) -> Result<KeyStatus> {
        let record = self.inner.tenant_record(tenant)?;
        // If the tenant's keys are unavailable, the status covers its own keyspaces without its namespaces.
        let open_tenant = self.inner.open(record.incarnation).await.ok();
        let keyspaces = keyspace_epochs(&record, open_tenant.as_deref());
        let current = record.keys.current();
        let now = self.inner.env.clock.now();
        let of_namespaces = |epoch| open_tenant.as_ref().map_or(0, |r| r.directory().read(|s| s.wraps(epoch)));
        let wraps = |epoch: u32| of_namespaces(epoch) + OWN_KEYSPACES;
        let epochs = record.keys.epochs.iter().map(|e| EpochStatus {
            epoch: KeyEpoch(e.wrapped.epoch),
            created_at: e.created_at,
            age: age(e.created_at, now),
            provider: e.provider.clone(),
            key: e.key.clone(),
            objects: keyspaces.iter().filter(|p| **p == e.wrapped.epoch).count() as u64,
            wraps: wraps(e.wrapped.epoch),
        });
        let epochs: Vec<_> = epochs.collect();
        let done = keyspaces.iter().filter(|p| **p == current.0).count() as u64;
        let rotating = (epochs.len() > 1).then_some((done, keyspaces.len() as u64));
        let key = record.keys.epochs.last().map(|e| (e.provider.clone(), e.key.clone())).unwrap_or_default();
        let (state, next_rotation) = (self.inner.key_state(&record), self.inner.next_rotation(&record));
        Ok(KeyStatus { epochs, current, rotating, key, state, next_rotation })
    }

    /// Returns tenants for which a rotation should begin. They have a rule, of their own or by the configuration, and
    /// their keys are older than it allows or their last rotation failed halfway.
    pub fn rotations_due(&self) -> Vec<TenantId> {
        let now = self.inner.env.clock.now();
        self.inner.control.read(|s| {
            let due = |t: &&TenantRecord| {
                let rotates = |o: &&OperationRecord| o.incarnation == t.incarnation && o.kind.rotates();
                let mut rotations = s.operations.iter().rev().filter(rotates);
                if rotations.clone().any(|o| o.end.is_none()) {
                    return false;
                }
                // A rotation that was cancelled waits for a request or the rule. So does a re-encryption, which has
                // more to do.
                let failed = |o: &OperationRecord| {
                    let end = o.end.as_ref().map(|end| end.status);
                    o.kind == OperationKind::RotateKey && end == Some(OperationStatus::Failed)
                };
                let halfway = t.keys.epochs.len() > 1 && rotations.next().is_some_and(failed);
                self.inner.next_rotation(t).is_some_and(|at| halfway || at <= now)
            };
            s.tenants.values().filter(|t| t.life == Lifecycle::Active).filter(due).map(|t| t.id.clone()).collect()
        })
    }

    /// Step 1.
    pub(crate) async fn add_epoch(
        &self,
        open_tenant: &OpenTenant,
        choice: Option<&KeyChoice>,
        not_before: Option<Timestamp>,
    ) -> Result<KeyEpoch> {
        let inner = &self.inner;
        let incarnation = open_tenant.incarnation();
        let find = |state: &ControlState| state.by_incarnation(incarnation).cloned().ok_or_else(Error::not_found);
        let tenant = inner.control.read(find)?;
        open_tenant.sync_with_record(&inner.env, &inner.provider_client, &tenant).await?;
        let last = tenant.keys.epochs.last().ok_or_else(Error::not_found)?;
        let (key, made) = match choice {
            Some(choice) => inner.provider_client.choose(choice, incarnation)?,
            None => (inner.provider_client.key_of(last)?, last.made),
        };
        let same = last.provider == key.provider() && last.key == key.name();
        // An epoch from before this time is not fresh enough, even if a rotation is in progress.
        let fresh = not_before.map_or(tenant.keys.epochs.len() > 1, |time| last.created_at >= time);
        if fresh {
            if same || choice.is_none() {
                return Ok(open_tenant.keys().current());
            }
            return Err(Error::new(Code::Conflict, "a rotation to another key is in progress; wait for it to end"));
        }
        let (keys, entropy) = (open_tenant.keys(), inner.env.entropy.clone());
        let (provider, name) = (key.provider().to_owned(), key.name().to_owned());
        let wrap = move |key: &Key| {
            // A key that this server makes for the tenant gets a new version, or is created when the rotation leads to
            // another key.
            match (made, same) {
                (true, true) => key.new_version()?,
                (true, false) => key.create()?,
                (false, _) => {}
            }
            keys.rotated(&**key, &*entropy)
        };
        let asked = millis(&*inner.env.clock);
        let remote = key.is_remote();
        let (ring, wrapped) = inner.provider_client.call(key, wrap).await?;
        let created_at = inner.env.clock.now();
        let epoch = EpochRecord { provider, key: name, made, wrapped: wrapped.into(), created_at };
        inner
            .write(|state| {
                let tenant = find(state)?;
                // Only one rotation at a time writes here, but an erasure may have begun meanwhile.
                if !open_tenant.matches_record(&tenant) {
                    return Err(Error::new(Code::Conflict, "the tenant's keys have changed meanwhile").into());
                }
                Ok((Some(ControlEvent::EpochAdded { id: tenant.id, epoch }), ()))
            })
            .await?;
        open_tenant.set_keys(Arc::new(ring));
        open_tenant.lease.renew(remote || open_tenant.lease.is_remote(), asked);
        Ok(open_tenant.keys().current())
    }

    /// Step 2.
    pub(crate) async fn rewrap_own_keyspaces(&self, open_tenant: &OpenTenant, epoch: KeyEpoch) -> Result<()> {
        let keys = open_tenant.keys();
        let entropy = &*self.inner.env.entropy;
        self.inner
            .write(|state| {
                let tenant = state.by_incarnation(open_tenant.incarnation()).ok_or_else(Error::not_found)?;
                let own = [&tenant.directory, &tenant.audit];
                if own.iter().all(|p| p.as_ref().is_some_and(|p| p.wrapped.epoch == epoch.0)) {
                    return Ok((None, ()));
                }
                let event = ControlEvent::KeyspacesRewrapped {
                    id: tenant.id.clone(),
                    directory: open_tenant.directory().keyspace().rewrap(&keys, entropy)?.into(),
                    audit: open_tenant.audit().rewrap(&keys, entropy)?.into(),
                };
                Ok((Some(event), ()))
            })
            .await?;
        Ok(())
    }

    /// Step 3, for one batch. Returns whether there was anything left to do.
    pub(crate) async fn rewrap_batch(&self, open_tenant: &OpenTenant, epoch: KeyEpoch) -> Result<bool> {
        let keys = open_tenant.keys();
        let env = &self.inner.env;
        let some = open_tenant
            .write(|state| {
                let old = state.namespaces.iter().filter(|(_, n)| n.keyspace.wrapped.epoch != epoch.0);
                let mut list = Vec::new();
                for (name, entry) in old.take(limits::REWRAPS_PER_ENTRY) {
                    let keyspace = open_keyspace(&keys, KeyspaceKind::Namespace, &entry.keyspace)?;
                    let wrapped = keyspace.rewrap(&keys, &*env.entropy)?.into();
                    list.push(RewrappedKey { name: name.clone(), wrapped });
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
        open_tenant: &OpenTenant,
        epoch: KeyEpoch,
        mode: &'static str,
    ) -> Result<Option<Certificate>> {
        let inner = &self.inner;
        let earlier =
            |state: &ControlState| state.by_incarnation(open_tenant.incarnation()).map(|t| t.keys.epochs.clone());
        let mut old = inner.control.read(earlier).unwrap_or_default();
        let certificate = inner
            .write(|state| {
                let tenant = state.by_incarnation(open_tenant.incarnation()).ok_or_else(Error::not_found)?;
                if tenant.keys.epochs.len() < 2 {
                    // An earlier attempt got this far and failed afterwards, so its certificate is returned.
                    let mut earlier = state.certificates.of(tenant.incarnation).filter(|c| c.kind == RETIRED);
                    return Ok((None, earlier.next_back().cloned()));
                }
                let keyspaces = keyspace_epochs(tenant, Some(open_tenant));
                if keyspaces.iter().any(|keyspace| *keyspace != epoch.0) {
                    return Err(Error::internal("a key is still wrapped under an epoch that is to be destroyed").into());
                }
                let certificate = self.retired(tenant, epoch, keyspaces.len() as u64, mode)?;
                let event = ControlEvent::EpochsRetired { id: tenant.id.clone(), certificate: certificate.clone() };
                Ok((Some(event), Some(certificate)))
            })
            .await?;
        // Now that this is durable, the old epochs leave memory first, so that nothing is wrapped under them any more,
        // then the disk, and last the provider, where nothing can be undone.
        let mut keys = open_tenant.keys();
        for old in keys.epochs().into_iter().filter(|e| *e != epoch) {
            keys = Arc::new(keys.without(old));
        }
        open_tenant.set_keys(keys);
        inner.control.purge().await?;
        old.retain(|e| e.wrapped.epoch != epoch.0);
        self.retire_at_providers(open_tenant, &old).await?;
        Ok(certificate)
    }

    /// Makes what older versions of a tenant's own key at a provider wrapped unreadable, even in copies of the data
    /// that were made before. Destroys an own key that the tenant no longer uses.
    async fn retire_at_providers(&self, open_tenant: &OpenTenant, old: &[EpochRecord]) -> Result<()> {
        let inner = &self.inner;
        let record = inner.control.read(|s| s.by_incarnation(open_tenant.incarnation()).cloned());
        let Some(last) = record.as_ref().and_then(|r| r.keys.epochs.last()) else { return Ok(()) };
        if last.made {
            inner.provider_client.call(inner.provider_client.key_of(last)?, |key| key.retire_versions()).await?;
        }
        for unused in old.iter().filter(|e| e.made && (&e.provider, &e.key) != (&last.provider, &last.key)) {
            let destroyed =
                inner.provider_client.call(inner.provider_client.key_of(unused)?, |key| key.destroy()).await;
            if destroyed.is_ok_and(|receipt| receipt.destroyed) {
                continue;
            }
            tracing::warn!(
                provider = unused.provider,
                key = unused.key,
                "a key that its tenant no longer uses was not destroyed"
            );
        }
        Ok(())
    }

    /// Signs the statement that the earlier epochs are gone.
    fn retired(&self, tenant: &TenantRecord, epoch: KeyEpoch, keys: u64, mode: &'static str) -> Result<Certificate> {
        let at = self.inner.env.clock.now();
        let old = tenant.keys.epochs.iter().filter(|e| e.wrapped.epoch != epoch.0);
        let destroyed: Vec<_> = old.map(ShreddedKey::of).collect();
        let retires = |key: &ShreddedKey| {
            let known = self.inner.provider_client.config.providers.key(&key.provider, &key.key);
            key.own_key && known.is_ok_and(|key| key.retires_versions())
        };
        let unprovable_claim =
            |key: &ShreddedKey| if retires(key) { key.pending_retirement() } else { key.unprovable_claim() };
        let mut unprovable: Vec<_> = destroyed.iter().map(unprovable_claim).collect();
        unprovable.dedup();
        let statement = RotationStatement {
            statement: "key epochs destroyed: no key of the tenant is wrapped under them",
            version: 0,
            mode,
            tenant: tenant.id.as_str(),
            incarnation: tenant.incarnation.to_string(),
            at: at.to_string(),
            destroyed,
            current_epoch: epoch.0,
            keys_by_epoch: [(epoch.0, keys)].into(),
            cannot_be_proven: unprovable,
        };
        Certificate::sign(&self.inner.signer, &tenant.id, tenant.incarnation, RETIRED, at, &statement)
    }

    fn report(&self, open_tenant: &OpenTenant, epoch: KeyEpoch, progress: &(dyn Fn(u64, u64) + Sync)) {
        let record = self.inner.control.read(|s| s.by_incarnation(open_tenant.incarnation()).cloned());
        if let Some(record) = record {
            let keyspaces = keyspace_epochs(&record, Some(open_tenant));
            progress(keyspaces.iter().filter(|p| **p == epoch.0).count() as u64, keyspaces.len() as u64);
        }
    }
}

impl Inner {
    fn next_rotation(&self, record: &TenantRecord) -> Option<Timestamp> {
        let own = record.rotate_days.map(|days| Duration::from_secs(u64::from(days) * 86_400));
        let every = own.or(self.provider_client.config.rotate_every)?;
        let created_at = record.keys.epochs.last()?.created_at;
        Some(Timestamp::from_millis(created_at.as_millis().saturating_add(i64::try_from(every.as_millis()).ok()?)))
    }
}

fn age(then: Timestamp, now: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(now.as_millis().saturating_sub(then.as_millis())).unwrap_or(0))
}

/// Kind of a certificate about key epochs.
const RETIRED: &str = "epochs.destroyed";
/// Number of the tenant's own keyspaces, the directory and the audit: each epoch wraps each of them once.
const OWN_KEYSPACES: u64 = 2;

/// Returns the epoch under which each of the tenant's keyspace keys is wrapped.
pub(crate) fn keyspace_epochs(record: &TenantRecord, open_tenant: Option<&OpenTenant>) -> Vec<u32> {
    let own = [&record.directory, &record.audit].into_iter().flatten();
    let mut keyspaces: Vec<_> = own.map(|p| p.wrapped.epoch).collect();
    if let Some(open_tenant) = open_tenant {
        open_tenant.directory().read(|s| keyspaces.extend(s.namespaces.values().map(|n| n.keyspace.wrapped.epoch)));
    }
    keyspaces
}
