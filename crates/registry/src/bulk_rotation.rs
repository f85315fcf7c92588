//! A rotation of all tenants. It is recorded once; every tenant whose current epoch is older than the record is then
//! due, so after a restart it continues from the tenants' own records.

use crate::{
    Registry,
    control::ControlEvent,
    record::{Lifecycle, TenantRecord},
};
use access::Operator;
use kernel::{Code, Error, Result, TenantId, Timestamp, limits};
use serde::{Deserialize, Serialize};

/// A rotation of all tenants in progress, as the control journal records it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BulkRotationRecord {
    pub(crate) reencrypt: bool,
    #[serde(with = "crate::codec::millis")]
    pub(crate) begun_at: Timestamp,
    /// Tenants that are rotated at the same time.
    pub(crate) concurrency: u32,
}

/// A rotation of all tenants in progress, as operators see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkRotation {
    /// Whether every object is re-encrypted, or only the keys are rewrapped.
    pub reencrypt: bool,
    /// When it began.
    pub begun_at: Timestamp,
    /// Tenants that are rotated at the same time.
    pub concurrency: u32,
    /// Tenants whose keys have been rotated since it began.
    pub done: u64,
    /// Number of all tenants.
    pub total: u64,
}

impl Registry {
    /// Starts a rotation of all tenants.
    ///
    /// # Errors
    /// `conflict` while one is in progress; `invalid_request` for a `concurrency` out of range.
    pub async fn begin_bulk_rotation(&self, _: &Operator, reencrypt: bool, concurrency: u32) -> Result<BulkRotation> {
        let most = limits::BULK_ROTATION_CONCURRENCY_MAX;
        if concurrency == 0 || concurrency as usize > most {
            return Err(Error::invalid("concurrency", format!("must be 1 to {most}")));
        }
        let record = BulkRotationRecord { reencrypt, begun_at: self.inner.env.clock.now(), concurrency };
        self.inner
            .write(|state| {
                if state.bulk_rotation.is_some() {
                    let message = "a rotation of all tenants is in progress; wait for it to end, or cancel it";
                    return Err(Error::new(Code::Conflict, message).into());
                }
                Ok((Some(ControlEvent::BulkRotationBegun(record)), ()))
            })
            .await?;
        Ok(self.bulk_rotation_view(record))
    }

    /// Returns the rotation of all tenants that is in progress, if there is one.
    pub fn bulk_rotation(&self) -> Option<BulkRotation> {
        self.inner.control.read(|s| s.bulk_rotation).map(|record| self.bulk_rotation_view(record))
    }

    /// Starts no further tenant; rotations in progress finish.
    ///
    /// # Errors
    /// `not_found` when none is in progress.
    pub async fn end_bulk_rotation(&self) -> Result<()> {
        let ended = self.inner.write(|state| match state.bulk_rotation {
            Some(_) => Ok((Some(ControlEvent::BulkRotationEnded), ())),
            None => Err(Error::not_found().into()),
        });
        Ok(ended.await?)
    }

    /// Returns the tenants that still have to be rotated and are not being rotated now, and whether any rotation is in
    /// progress.
    pub fn bulk_rotation_due(&self) -> (Vec<TenantId>, bool) {
        self.inner.control.read(|s| {
            let Some(bulk_rotation) = s.bulk_rotation else { return (Vec::new(), false) };
            let running = |t: &TenantRecord| {
                s.operations.iter().any(|o| o.end.is_none() && o.kind.rotates() && o.incarnation == t.incarnation)
            };
            let undeleted = s.tenants.values().filter(|t| t.life != Lifecycle::Deleting);
            let (busy, free): (Vec<_>, Vec<_>) = undeleted.partition(|t| running(t));
            (free.into_iter().filter(|t| bulk_rotation.is_due_for(t)).map(|t| t.id.clone()).collect(), !busy.is_empty())
        })
    }

    fn bulk_rotation_view(&self, record: BulkRotationRecord) -> BulkRotation {
        let BulkRotationRecord { reencrypt, begun_at, concurrency } = record;
        let (done, total) = self.inner.control.read(|s| {
            let undeleted = || s.tenants.values().filter(|t| t.life != Lifecycle::Deleting);
            (undeleted().filter(|t| !record.is_due_for(t) && t.keys.epochs.len() == 1).count(), undeleted().count())
        });
        BulkRotation { reencrypt, begun_at, concurrency, done: done as u64, total: total as u64 }
    }
}

impl BulkRotationRecord {
    fn is_due_for(self, tenant: &TenantRecord) -> bool {
        tenant.keys.epochs.last().is_some_and(|epoch| epoch.created_at < self.begun_at)
    }
}
