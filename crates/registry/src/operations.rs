//! Long-running operations: their beginning and end are recorded; progress is kept in memory.

use crate::{
    Registry,
    control::ControlEvent,
    erase::check_erasable,
    record::{Lifecycle, OperationEnd, OperationFailure, OperationKind, OperationRecord, OperationStatus},
};
use access::{Action, Grant, Identity, Operations, Operator};
use kernel::{Code, Error, Incarnation, KeyEpoch, KeyId, OperationId, Result, Scope, TenantId, Timestamp, limits};
use parking_lot::{Mutex, MutexGuard};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// An operation as it is shown to operators, to the key that began it, and to keys that see all of its tenant.
#[derive(Clone, Debug)]
pub struct OperationView {
    /// Id of the operation.
    pub id: OperationId,
    /// Kind of the operation.
    pub kind: OperationKind,
    /// Name of its tenant.
    pub tenant: TenantId,
    /// Status of the operation.
    pub status: OperationStatus,
    /// Progress of the operation.
    pub progress: OperationProgress,
    /// When it was requested.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// When it should have ended.
    pub deadline: Option<Timestamp>,
    /// Result of a success.
    pub result: Option<serde_json::Value>,
    /// Why it failed.
    pub error: Option<OperationFailure>,
    /// Error whose cause it waits out while it is in progress.
    pub waits_for: Option<Code>,
}

/// Progress of an operation. Zero of zero means unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperationProgress {
    /// Units that are done.
    pub done: u64,
    /// All units.
    pub total: u64,
    /// Name of the unit.
    pub unit: &'static str,
}

/// Result of a request to begin an operation.
pub enum BegunOperation {
    /// The operation is recorded; the holder of this runs it.
    Fresh(OperationHandle),
    /// An operation of that kind is in progress already.
    Running(OperationView),
}

/// An operation in progress. If it is dropped without an end, it stays unfinished, and the next start resumes or fails
/// it.
pub struct OperationHandle {
    registry: Registry,
    id: OperationId,
    kind: OperationKind,
    tenant: TenantId,
    incarnation: Incarnation,
    created_at: Timestamp,
    deadline: Option<Timestamp>,
    live: Arc<LiveOperation>,
}

/// State of an unfinished operation that is not in its record.
#[derive(Default)]
pub(crate) struct LiveOperation {
    started: AtomicBool,
    cancelled: AtomicBool,
    done: AtomicU64,
    total: AtomicU64,
    waits_for: Mutex<Option<Code>>,
    target_epoch: Mutex<Option<KeyEpoch>>,
}

impl LiveOperation {
    fn progress(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }
}

impl OperationHandle {
    /// Returns the id of the operation.
    pub fn id(&self) -> OperationId {
        self.id
    }

    /// Returns the kind of the operation.
    pub fn kind(&self) -> OperationKind {
        self.kind
    }

    /// Returns the name of its tenant.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Returns the incarnation of its tenant.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Returns when it was requested.
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// Returns when it should have ended.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.deadline
    }

    /// Reports progress.
    pub fn progress(&self, done: u64, total: u64) {
        self.live.started.store(true, Ordering::Relaxed);
        self.live.done.store(done, Ordering::Relaxed);
        self.live.total.store(total, Ordering::Relaxed);
    }

    /// The epoch that a rotation leads to, as far as this process knows.
    pub(crate) fn target_epoch(&self) -> MutexGuard<'_, Option<KeyEpoch>> {
        self.live.target_epoch.lock()
    }

    /// Sets the error that it waits out, or `None` when it continues. Returns the previous one.
    pub fn waits_for(&self, code: Option<Code>) -> Option<Code> {
        std::mem::replace(&mut *self.live.waits_for.lock(), code)
    }

    /// Whether a request to end it was made.
    pub fn cancelled(&self) -> bool {
        self.live.cancelled.load(Ordering::Relaxed)
    }

    /// Ends it successfully.
    pub async fn succeed(self, result: serde_json::Value) {
        self.end(OperationStatus::Succeeded, Some(result), None).await;
    }

    /// Ends it with an error.
    pub async fn fail(self, error: &Error) {
        self.end(OperationStatus::Failed, None, Some(OperationFailure::of(error.code, &error.message))).await;
    }

    /// Ends it as cancelled.
    pub async fn stop(self) {
        self.end(OperationStatus::Cancelled, None, None).await;
    }

    /// Records the end. If that fails, the operation stays unfinished for the next start: what it did is done, and
    /// doing it again changes nothing.
    async fn end(self, status: OperationStatus, result: Option<serde_json::Value>, error: Option<OperationFailure>) {
        if let Err(error) = self.registry.end_operation(self.id, status, result, error).await {
            tracing::error!(operation = %self.id, error = &error as &dyn std::error::Error, "an operation's end could not be written");
        }
    }
}

impl Registry {
    /// Records an operation. Of a kind that resumes, a tenant has one at a time: if one is in progress, it is returned.
    ///
    /// # Errors
    /// `not_found`; `not_suspended` for an erasure; `overloaded` for too many at once.
    pub async fn begin_operation(&self, tenant: &TenantId, kind: OperationKind) -> Result<BegunOperation> {
        self.begin_operation_until(tenant, kind, None).await
    }

    /// Does the same, with a time at which it should have ended.
    ///
    /// # Errors
    /// As [`Registry::begin_operation`]; `conflict` for a rotation while another is in progress.
    pub async fn begin_operation_until(
        &self,
        tenant: &TenantId,
        kind: OperationKind,
        deadline: Option<Timestamp>,
    ) -> Result<BegunOperation> {
        self.begin(tenant, kind, deadline, None).await
    }

    /// Does the same for the API key that a grant was given to, which owns the operation.
    ///
    /// # Errors
    /// As [`Registry::begin_operation`].
    pub async fn begin_own_operation<A: Action>(
        &self,
        grant: &Grant<A>,
        kind: OperationKind,
    ) -> Result<BegunOperation> {
        self.begin(grant.tenant(), kind, None, key_of(grant)).await
    }

    async fn begin(
        &self,
        tenant: &TenantId,
        kind: OperationKind,
        deadline: Option<Timestamp>,
        key: Option<KeyId>,
    ) -> Result<BegunOperation> {
        let inner = &self.inner;
        let id = OperationId::random(&*inner.env.entropy);
        let created_at = inner.env.clock.now();
        let (record, fresh) = inner
            .write(|state| {
                let owner = state.tenants.get(tenant).ok_or_else(Error::not_found)?;
                let mut running =
                    state.operations.iter().filter(|o| o.end.is_none() && o.incarnation == owner.incarnation);
                // A kind that resumes is in progress at most once.
                if kind.resumes()
                    && let Some(known) = running.clone().find(|o| o.kind == kind)
                {
                    return Ok((None, (known.clone(), false)));
                }
                // Rotations of different kinds exclude each other as well.
                if kind.rotates() && running.clone().any(|o| o.kind.rotates()) {
                    let message =
                        "another rotation of this tenant's keys is in progress; wait for it to end, or cancel it";
                    return Err(Error::new(Code::Conflict, message).into());
                }
                if running.by_ref().count() >= limits::OPERATIONS_RUNNING_PER_TENANT_MAX {
                    return Err(too_many_operations().into());
                }
                if kind == OperationKind::EraseTenant {
                    check_erasable(owner.life)?;
                } else if owner.life == Lifecycle::Deleting {
                    return Err(Error::new(Code::Conflict, "the tenant is being erased").into());
                }
                let incarnation = owner.incarnation;
                let tenant = tenant.clone();
                let record = OperationRecord { id, kind, tenant, incarnation, key, created_at, deadline, end: None };
                Ok((Some(ControlEvent::OperationBegun(record.clone())), (record, true)))
            })
            .await?;
        Ok(if fresh {
            BegunOperation::Fresh(self.handle(&record))
        } else {
            BegunOperation::Running(self.operation_view(&record))
        })
    }

    /// Returns the operation of this kind that a tenant has in progress.
    pub fn running_operation(&self, tenant: &TenantId, kind: OperationKind) -> Option<OperationId> {
        self.inner.control.read(|s| {
            let mut open = s.operations.iter().filter(|o| o.end.is_none());
            open.find(|o| o.kind == kind && o.tenant == *tenant).map(|o| o.id)
        })
    }

    /// Returns operations that should have ended by now and have not.
    pub fn overdue_operations(&self) -> Vec<(OperationId, TenantId)> {
        let now = self.inner.env.clock.now();
        self.inner.control.read(|s| {
            let late = s.operations.iter().filter(|o| o.end.is_none() && o.deadline.is_some_and(|at| at < now));
            late.map(|o| (o.id, o.tenant.clone())).collect()
        })
    }

    /// Returns the operations that a stop interrupted and that continue. The caller runs them.
    pub fn unfinished_operations(&self) -> Vec<OperationHandle> {
        let records: Vec<_> =
            self.inner.control.read(|s| s.operations.iter().filter(|o| o.end.is_none()).cloned().collect());
        let live = self.inner.live.read();
        let waiting: Vec<_> = records.into_iter().filter(|o| !live.contains_key(&o.id)).collect();
        drop(live);
        waiting.iter().map(|o| self.handle(o)).collect()
    }

    /// Returns operations, newest first, and where the next page begins.
    pub fn operations(
        &self,
        _: &Operator,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<OperationView>, Option<String>)> {
        let after = after.map(OperationId::parse).transpose().map_err(|e| e.with_param("after"))?;
        let page: Vec<_> = self.inner.control.read(|s| {
            let newest = s.operations.iter().rev();
            match after {
                Some(id) => newest.skip_while(|o| o.id != id).skip(1).take(limit.saturating_add(1)).cloned().collect(),
                None => newest.take(limit.saturating_add(1)).cloned().collect(),
            }
        });
        let next = (page.len() > limit && limit > 0).then(|| page[limit - 1].id.to_string());
        Ok((page.iter().take(limit).map(|o| self.operation_view(o)).collect(), next))
    }

    /// Returns one operation.
    ///
    /// # Errors
    /// `not_found`.
    pub fn operation(&self, _: &Operator, id: OperationId) -> Result<OperationView> {
        let record = self.inner.control.read(|s| s.operations.iter().find(|o| o.id == id).cloned());
        Ok(self.operation_view(&record.ok_or_else(Error::not_found)?))
    }

    /// Returns an operation of the grant's tenant, if the grant's key began it. Operations that operators and other
    /// keys began are shown only to keys that see all of the tenant: with `read_all`, and without namespaces of their
    /// own.
    pub fn operation_of(&self, grant: &Grant<Operations>, id: OperationId) -> Option<OperationView> {
        let (incarnation, key) = (grant.incarnation(), key_of(grant));
        let sees_all = grant.has(Scope::ReadAll) && grant.allowed_namespaces().is_none();
        let own = |o: &OperationRecord| key.is_some() && o.key == key;
        let is_visible = |o: &&OperationRecord| o.id == id && o.incarnation == incarnation && (sees_all || own(o));
        let record = self.inner.control.read(|s| s.operations.iter().find(is_visible).cloned());
        record.map(|o| self.operation_view(&o))
    }

    /// Requests the end of an operation, which its runner notices at its next step.
    ///
    /// # Errors
    /// `not_found`; `invalid_request` for one that has ended or cannot be undone.
    pub fn cancel(&self, operator: &Operator, id: OperationId) -> Result<OperationView> {
        let view = self.operation(operator, id)?;
        if view.status.ended() {
            return Err(Error::invalid("id", "the operation has ended"));
        }
        if view.kind == OperationKind::EraseTenant {
            return Err(Error::invalid("id", "an erasure cannot be cancelled: the keys are gone"));
        }
        if let Some(live) = self.live(id) {
            live.cancelled.store(true, Ordering::Relaxed);
        }
        Ok(view)
    }

    /// At a start, records the failure of the operations that cannot continue.
    pub(crate) async fn fail_interrupted(&self) -> Result<()> {
        let interrupted: Vec<_> = self.inner.control.read(|s| {
            let interrupted = s.operations.iter().filter(|o| o.end.is_none() && !o.kind.resumes());
            interrupted.map(|o| o.id).collect()
        });
        for id in interrupted {
            let why =
                "the server stopped before this was done; what had been acknowledged is kept, send the rest again";
            self.end_operation(id, OperationStatus::Failed, None, Some(OperationFailure::of(Code::Internal, why)))
                .await?;
        }
        Ok(())
    }

    async fn end_operation(
        &self,
        id: OperationId,
        status: OperationStatus,
        result: Option<serde_json::Value>,
        error: Option<OperationFailure>,
    ) -> Result<()> {
        let at = self.inner.env.clock.now();
        let progress = self.live(id).map_or((0, 0), |live| live.progress());
        let end = OperationEnd { status, at, result, error, progress };
        self.inner.write(|_| Ok((Some(ControlEvent::OperationEnded { id, end }), ()))).await?;
        self.inner.live.write().remove(&id);
        Ok(())
    }

    fn handle(&self, record: &OperationRecord) -> OperationHandle {
        let live = Arc::new(LiveOperation::default());
        self.inner.live.write().insert(record.id, live.clone());
        OperationHandle {
            registry: self.clone(),
            id: record.id,
            kind: record.kind,
            tenant: record.tenant.clone(),
            incarnation: record.incarnation,
            created_at: record.created_at,
            deadline: record.deadline,
            live,
        }
    }

    fn live(&self, id: OperationId) -> Option<Arc<LiveOperation>> {
        self.inner.live.read().get(&id).cloned()
    }

    fn operation_view(&self, record: &OperationRecord) -> OperationView {
        let live = self.live(record.id);
        let running = || live.as_deref().map_or((0, 0), LiveOperation::progress);
        let (done, total) = record.end.as_ref().map_or_else(running, |end| end.progress);
        let started = live.as_deref().is_some_and(|l| l.started.load(Ordering::Relaxed));
        let waiting = if started { OperationStatus::Running } else { OperationStatus::Pending };
        OperationView {
            id: record.id,
            kind: record.kind,
            tenant: record.tenant.clone(),
            status: record.end.as_ref().map_or(waiting, |e| e.status),
            progress: OperationProgress { done, total, unit: record.kind.unit() },
            created_at: record.created_at,
            finished_at: record.end.as_ref().map(|e| e.at),
            deadline: record.deadline,
            result: record.end.as_ref().and_then(|e| e.result.clone()),
            error: record.end.as_ref().and_then(|e| e.error.clone()),
            waits_for: live.filter(|_| record.end.is_none()).and_then(|live| *live.waits_for.lock()),
        }
    }
}

/// Returns the API key that a grant was given to.
fn key_of<A: Action>(grant: &Grant<A>) -> Option<KeyId> {
    match grant.identity() {
        Identity::Key(key) => Some(key.clone()),
        Identity::Operator(_) => None,
    }
}

fn too_many_operations() -> Error {
    let wait = std::time::Duration::from_secs(5);
    Error::overloaded("the tenant has too many operations in progress; wait for one to end", wait)
}
