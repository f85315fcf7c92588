//! Long-running operations: written down when they begin and when they end; progress is in memory.

use crate::{
    Registry,
    control::ControlEvent,
    erase::may_erase,
    record::{End, Failure, Life, OperationKind, OperationRecord, OperationStatus},
};
use access::{Action, Grant, Identity, Operations, Operator};
use kernel::{Code, Error, Incarnation, KeyEpoch, KeyId, OperationId, Result, Scope, TenantId, Timestamp, limits};
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// An operation as operators see it, the key that began it, and keys that see all of its tenant.
#[derive(Clone, Debug)]
pub struct OperationView {
    /// Its id.
    pub id: OperationId,
    /// What it is.
    pub kind: OperationKind,
    /// Whose.
    pub tenant: TenantId,
    /// Where it is.
    pub status: OperationStatus,
    /// How far it is.
    pub progress: Progress,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// When it should have ended.
    pub deadline: Option<Timestamp>,
    /// What it answered.
    pub result: Option<serde_json::Value>,
    /// Why it failed.
    pub error: Option<Failure>,
    /// What it waits for to pass, while it is under way.
    pub waits_for: Option<Code>,
}

/// How far an operation is. Zero of zero: not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Done.
    pub done: u64,
    /// Of how many.
    pub total: u64,
    /// Of what.
    pub unit: &'static str,
}

/// What asking for an operation leads to.
pub enum Begun {
    /// It is written down; whoever holds this runs it.
    Fresh(OperationHandle),
    /// One of that kind runs already.
    Running(OperationView),
}

/// An operation under way. Dropped without an end, it stays unfinished and is resumed or failed at the next start.
pub struct OperationHandle {
    registry: Registry,
    id: OperationId,
    kind: OperationKind,
    tenant: TenantId,
    incarnation: Incarnation,
    created_at: Timestamp,
    deadline: Option<Timestamp>,
    live: Arc<Live>,
}

/// What is known of an unfinished operation beside its record.
#[derive(Default)]
pub(crate) struct Live {
    started: AtomicBool,
    cancelled: AtomicBool,
    done: AtomicU64,
    total: AtomicU64,
    waits_for: Mutex<Option<Code>>,
    leads_to: Mutex<Option<KeyEpoch>>,
}

impl Live {
    fn progress(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }

    fn waits_for(&self) -> MutexGuard<'_, Option<Code>> {
        self.waits_for.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OperationHandle {
    /// Its id.
    pub fn id(&self) -> OperationId {
        self.id
    }

    /// What it is.
    pub fn kind(&self) -> OperationKind {
        self.kind
    }

    /// Whose.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Which life of it.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// When it was asked for.
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// When it should have ended.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.deadline
    }

    /// Says how far it is.
    pub fn progress(&self, done: u64, total: u64) {
        self.live.started.store(true, Ordering::Relaxed);
        self.live.done.store(done, Ordering::Relaxed);
        self.live.total.store(total, Ordering::Relaxed);
    }

    /// The epoch that a rotation has begun to lead to, as far as this process knows.
    pub(crate) fn leads_to(&self) -> MutexGuard<'_, Option<KeyEpoch>> {
        self.live.leads_to.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what it waits for, or that it goes on. Gives what was said before.
    pub fn waits_for(&self, code: Option<Code>) -> Option<Code> {
        std::mem::replace(&mut *self.live.waits_for(), code)
    }

    /// Whether somebody asked for it to end.
    pub fn cancelled(&self) -> bool {
        self.live.cancelled.load(Ordering::Relaxed)
    }

    /// Ends well.
    pub async fn succeed(self, result: serde_json::Value) {
        self.end(OperationStatus::Succeeded, Some(result), None).await;
    }

    /// Ends with an error.
    pub async fn fail(self, error: &Error) {
        self.end(OperationStatus::Failed, None, Some(Failure::of(error.code, &error.message))).await;
    }

    /// Ends because somebody asked.
    pub async fn stop(self) {
        self.end(OperationStatus::Cancelled, None, None).await;
    }

    /// An end that cannot be written leaves the operation unfinished for the next start: what it
    /// did is done, and doing it again changes nothing.
    async fn end(self, status: OperationStatus, result: Option<serde_json::Value>, error: Option<Failure>) {
        if let Err(error) = self.registry.end_operation(self.id, status, result, error).await {
            tracing::error!(operation = %self.id, error = &error as &dyn std::error::Error, "an operation's end could not be written");
        }
    }
}

impl Registry {
    /// Writes an operation down. Of a kind that resumes, a tenant has one at a time: the one that
    /// runs is returned.
    ///
    /// # Errors
    /// `not_found`; `not_suspended` for an erasure; `overloaded` for too many at once.
    pub async fn begin_operation(&self, tenant: &TenantId, kind: OperationKind) -> Result<Begun> {
        self.begin_operation_until(tenant, kind, None).await
    }

    /// The same, with a time at which it should have ended.
    ///
    /// # Errors
    /// As [`Registry::begin_operation`]; `conflict` for one rotation beside another.
    pub async fn begin_operation_until(
        &self,
        tenant: &TenantId,
        kind: OperationKind,
        deadline: Option<Timestamp>,
    ) -> Result<Begun> {
        self.begin(tenant, kind, deadline, None).await
    }

    /// The same for the API key that a grant was given to: from then on it is that key's own.
    ///
    /// # Errors
    /// As [`Registry::begin_operation`].
    pub async fn begin_own_operation<A: Action>(&self, grant: &Grant<A>, kind: OperationKind) -> Result<Begun> {
        self.begin(grant.tenant(), kind, None, key_of(grant)).await
    }

    async fn begin(
        &self,
        tenant: &TenantId,
        kind: OperationKind,
        deadline: Option<Timestamp>,
        key: Option<KeyId>,
    ) -> Result<Begun> {
        let inner = &self.inner;
        let id = OperationId::random(&*inner.world.entropy);
        let created_at = inner.world.clock.now();
        let (record, fresh) = inner
            .write(|state| {
                let owner = state.tenants.get(tenant).ok_or_else(Error::not_found)?;
                let mut running =
                    state.operations.iter().filter(|o| o.end.is_none() && o.incarnation == owner.incarnation);
                if kind.resumes()
                    && let Some(known) = running.clone().find(|o| o.kind == kind)
                {
                    return Ok((None, (known.clone(), false)));
                }
                if kind.rotates() && running.clone().any(|o| o.kind.rotates()) {
                    let message =
                        "another rotation of this tenant's keys is under way; wait for it to end, or cancel it";
                    return Err(Error::new(Code::Conflict, message).into());
                }
                if running.by_ref().count() >= limits::OPERATIONS_RUNNING_PER_TENANT_MAX {
                    return Err(busy().into());
                }
                if kind == OperationKind::EraseTenant {
                    may_erase(owner.life)?;
                } else if owner.life == Life::Deleting {
                    return Err(Error::new(Code::Conflict, "the tenant is being erased").into());
                }
                let incarnation = owner.incarnation;
                let tenant = tenant.clone();
                let record = OperationRecord { id, kind, tenant, incarnation, key, created_at, deadline, end: None };
                Ok((Some(ControlEvent::OperationBegun(record.clone())), (record, true)))
            })
            .await?;
        Ok(if fresh { Begun::Fresh(self.handle(&record)) } else { Begun::Running(self.operation_view(&record)) })
    }

    /// The one of this kind that a tenant has under way.
    pub fn running_operation(&self, tenant: &TenantId, kind: OperationKind) -> Option<OperationId> {
        self.inner.control.read(|s| {
            let mut open = s.operations.iter().filter(|o| o.end.is_none());
            open.find(|o| o.kind == kind && o.tenant == *tenant).map(|o| o.id)
        })
    }

    /// Operations that should have ended by now and have not.
    pub fn overdue(&self) -> Vec<(OperationId, TenantId)> {
        let now = self.inner.world.clock.now();
        self.inner.control.read(|s| {
            let late = s.operations.iter().filter(|o| o.end.is_none() && o.deadline.is_some_and(|at| at < now));
            late.map(|o| (o.id, o.tenant.clone())).collect()
        })
    }

    /// Operations that a stop interrupted and that go on, each to be run by whoever takes it.
    pub fn unfinished(&self) -> Vec<OperationHandle> {
        let records: Vec<_> =
            self.inner.control.read(|s| s.operations.iter().filter(|o| o.end.is_none()).cloned().collect());
        let live = self.inner.live.read().unwrap_or_else(PoisonError::into_inner);
        let waiting: Vec<_> = records.into_iter().filter(|o| !live.contains_key(&o.id)).collect();
        drop(live);
        waiting.iter().map(|o| self.handle(o)).collect()
    }

    /// Operations, newest first, and where the next page begins.
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

    /// One operation.
    ///
    /// # Errors
    /// `not_found`.
    pub fn operation(&self, _: &Operator, id: OperationId) -> Result<OperationView> {
        let found = self.inner.control.read(|s| s.operations.iter().find(|o| o.id == id).cloned());
        Ok(self.operation_view(&found.ok_or_else(Error::not_found)?))
    }

    /// An operation of the grant's tenant, if the grant's key began it. The others, which operators and other keys began,
    /// are for keys that see all of the tenant: with `read_all`, and without namespaces of their own.
    pub fn operation_of(&self, grant: &Grant<Operations>, id: OperationId) -> Option<OperationView> {
        let (incarnation, key) = (grant.incarnation(), key_of(grant));
        let sees_all = grant.has(Scope::ReadAll) && grant.fence().is_none();
        let own = |o: &OperationRecord| key.is_some() && o.key == key;
        let mine = |o: &&OperationRecord| o.id == id && o.incarnation == incarnation && (sees_all || own(o));
        let found = self.inner.control.read(|s| s.operations.iter().find(mine).cloned());
        found.map(|o| self.operation_view(&o))
    }

    /// Asks an operation to end. Whoever runs it sees that at its next step.
    ///
    /// # Errors
    /// `not_found`; `invalid_request` for one that ended or that cannot be undone.
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

    /// At a start: what cannot go on has failed, and says so.
    pub(crate) async fn fail_interrupted(&self) -> Result<()> {
        let dead: Vec<_> = self.inner.control.read(|s| {
            let lost = s.operations.iter().filter(|o| o.end.is_none() && !o.kind.resumes());
            lost.map(|o| o.id).collect()
        });
        for id in dead {
            let why =
                "the server stopped before this was done; what had been acknowledged is kept, send the rest again";
            self.end_operation(id, OperationStatus::Failed, None, Some(Failure::of(Code::Internal, why))).await?;
        }
        Ok(())
    }

    async fn end_operation(
        &self,
        id: OperationId,
        status: OperationStatus,
        result: Option<serde_json::Value>,
        error: Option<Failure>,
    ) -> Result<()> {
        let at = self.inner.world.clock.now();
        let progress = self.live(id).map_or((0, 0), |live| live.progress());
        let end = End { status, at, result, error, progress };
        self.inner.write(|_| Ok((Some(ControlEvent::OperationEnded { id, end }), ()))).await?;
        self.inner.live.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        Ok(())
    }

    fn handle(&self, record: &OperationRecord) -> OperationHandle {
        let live = Arc::new(Live::default());
        self.inner.live.write().unwrap_or_else(PoisonError::into_inner).insert(record.id, live.clone());
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

    fn live(&self, id: OperationId) -> Option<Arc<Live>> {
        self.inner.live.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    fn operation_view(&self, record: &OperationRecord) -> OperationView {
        let live = self.live(record.id);
        let running = || live.as_deref().map_or((0, 0), Live::progress);
        let (done, total) = record.end.as_ref().map_or_else(running, |end| end.progress);
        let started = live.as_deref().is_some_and(|l| l.started.load(Ordering::Relaxed));
        let waiting = if started { OperationStatus::Running } else { OperationStatus::Pending };
        OperationView {
            id: record.id,
            kind: record.kind,
            tenant: record.tenant.clone(),
            status: record.end.as_ref().map_or(waiting, |e| e.status),
            progress: Progress { done, total, unit: record.kind.unit() },
            created_at: record.created_at,
            finished_at: record.end.as_ref().map(|e| e.at),
            deadline: record.deadline,
            result: record.end.as_ref().and_then(|e| e.result.clone()),
            error: record.end.as_ref().and_then(|e| e.error.clone()),
            waits_for: live.filter(|_| record.end.is_none()).and_then(|live| *live.waits_for()),
        }
    }
}

/// The API key that a grant was given to.
fn key_of<A: Action>(grant: &Grant<A>) -> Option<KeyId> {
    match grant.identity() {
        Identity::Key(key) => Some(key.clone()),
        Identity::Operator(_) => None,
    }
}

fn busy() -> Error {
    let wait = std::time::Duration::from_secs(5);
    Error::overloaded("the tenant has too many operations under way; wait for one to end", wait)
}
