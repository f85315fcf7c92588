//! Rotation and erasure of tenants, as background work under a custodial grant. Their whole state is in the registry's
//! journals, so a restart continues from there.

use crate::{
    Engine,
    retry::{RotationAttempt, RotationEnd},
    sweeper::Exclusion,
};
use access::{Erase, Grant, RotateKey};
use kernel::{Code, Error};
use ledger::AuditEvent;
use registry::{Erasure, FinishedRotation, OperationHandle, OperationKind};
use serde_json::json;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

impl Engine {
    /// Rewraps every key of a tenant under a new epoch, then destroys the old one.
    pub(crate) fn start_rotate(&self, grant: Grant<RotateKey>, operation: OperationHandle) {
        let engine = self.clone();
        self.inner.tracker.spawn(async move {
            let first = engine.inner.registry.rotate(&grant, &operation).await;
            // The audit records the first attempt; the operation has the final result.
            let event = match &first {
                Ok(Some(rotated)) => AuditEvent::success().count("epoch", u64::from(rotated.epoch.0)),
                Ok(None) => AuditEvent::success(),
                Err(error) => AuditEvent::failure(error.code),
            };
            let _ = engine.finish_read(grant, Ok(((), event))).await;
            let end = engine.retry_transient(&operation, None, first).await;
            end_rotation(operation, end).await;
        });
    }

    /// Destroys a tenant's keys, then its bytes.
    pub(crate) fn start_erase(&self, grant: Grant<Erase>, operation: OperationHandle) {
        let engine = self.clone();
        self.inner.tracker.spawn(async move {
            let incarnation = grant.incarnation();
            let exclusion = engine.exclude_from_maintenance(incarnation).await;
            engine.drop_erased(incarnation).await;
            let result = engine.inner.registry.erase(&grant).await;
            drop(exclusion);
            // After this the directory no longer resolves the tenant. If erasure failed, its audit log reopens with the
            // next record.
            engine.inner.audit_log.forget(incarnation).await;
            end_erasure(operation, result).await;
        });
    }

    /// Resumes the operations that a stop left unfinished. The operators' audit recorded each before it began.
    pub(crate) fn resume_operations(&self) {
        self.resume_server_rotation();
        for operation in self.inner.registry.unfinished_operations() {
            let engine = self.clone();
            self.inner.tracker.spawn(async move {
                let registry = &engine.inner.registry;
                match operation.kind() {
                    OperationKind::RotateKey | OperationKind::Reencrypt => engine.run_rotation(operation, None).await,
                    OperationKind::EraseTenant => {
                        let exclusion = engine.exclude_from_maintenance(operation.incarnation()).await;
                        engine.drop_from_memory(operation.incarnation()).await;
                        let result = registry.resume_erasure(&operation).await;
                        drop(exclusion);
                        end_erasure(operation, result).await;
                    }
                    OperationKind::Ingest => {
                        let error =
                            Error::new(Code::Conflict, "the server stopped before the end; send the documents again");
                        operation.fail(&error).await;
                    }
                }
            });
        }
    }

    /// Resumes a rotation of the system's keys that a stop or an error interrupted.
    pub(crate) fn resume_server_rotation(&self) {
        if !self.inner.registry.server_rotation_in_progress() {
            return;
        }
        let engine = self.clone();
        self.inner.tracker.spawn(async move {
            if let Err(error) = engine.run_server_rotation().await {
                tracing::warn!(%error, "the rotation of the system's keys is incomplete and will be retried; all data stays readable");
            }
        });
    }

    /// Runs a rotation of the system's keys that has begun to its end. Only one runs at a time; a second call finds it
    /// done.
    pub(crate) async fn run_server_rotation(&self) -> Result<(), Error> {
        let Some(work) = self.inner.registry.server_rotation().await? else { return Ok(()) };
        if let Some(keyspace) = work.begin_audit().await? {
            self.inner.audit_log.reencrypt_operators(&keyspace).await?;
            work.end_audit(&keyspace).await?;
        }
        work.control().await?;
        work.finish().await.map(drop)
    }

    /// Runs a rotation of either kind to its end, with retries. It may have been started by a request, a restart or a
    /// rule.
    pub(crate) async fn run_rotation(&self, operation: OperationHandle, turn: Option<OwnedSemaphorePermit>) {
        let first = self.attempt_rotation(&operation).await;
        let end = self.retry_transient(&operation, turn, first).await;
        end_rotation(operation, end).await;
    }

    /// Attempts the rest of a rotation once.
    pub(crate) async fn attempt_rotation(&self, operation: &OperationHandle) -> RotationAttempt {
        match operation.kind() {
            OperationKind::Reencrypt => self.reencrypt(operation).await,
            _ => self.inner.registry.resume_rotation(operation).await,
        }
    }

    /// Re-encrypts everything, in the background.
    pub(crate) fn start_reencrypt(&self, grant: Grant<RotateKey>, operation: OperationHandle) {
        let engine = self.clone();
        self.inner.tracker.spawn(async move {
            let _ = engine.finish_read(grant, Ok(((), AuditEvent::success()))).await;
            engine.run_rotation(operation, None).await;
        });
    }

    /// Excludes a tenant from maintenance while its namespaces are removed, and waits until no maintenance runs there.
    /// Until then it drops the tenant's namespaces repeatedly, because running maintenance may open them again.
    async fn exclude_from_maintenance(&self, incarnation: kernel::Incarnation) -> Exclusion<'_> {
        let exclusion = self.inner.sweeper.exclude(incarnation);
        loop {
            self.inner.stores.close_tenant(incarnation).await;
            if tokio::time::timeout(DROP_INTERVAL, exclusion.idle()).await.is_ok() {
                return exclusion;
            }
        }
    }

    /// Drops the data of a tenant that is being erased from memory, and ends its audit log.
    async fn drop_erased(&self, incarnation: kernel::Incarnation) {
        self.inner.stores.close_tenant(incarnation).await;
        self.inner.stores.forget_totals(incarnation);
        self.inner.audit_log.end(incarnation).await;
        self.wipe_stacks();
    }

    /// Drops a tenant's data from memory: its namespaces once their accepted writes and running merges have ended, and
    /// its audit log once earlier requests have written their records. Stops when the tenant is served again.
    pub(crate) async fn drop_from_memory(&self, incarnation: kernel::Incarnation) {
        let registry = &self.inner.registry;
        self.inner.stores.close_tenant_while(incarnation, || !registry.is_active(incarnation)).await;
        self.close_audit(incarnation, || true).await;
        self.wipe_stacks();
    }

    /// Like [`Engine::drop_from_memory`], but the caller waits at most [`DROP_WAIT`], however long the tenant's merges,
    /// writes and disk take. The tenant's requests are already refused, and the tenant must not be able to delay the
    /// reply to the operator who suspends it.
    pub(crate) async fn drop_from_memory_soon(&self, incarnation: kernel::Incarnation) {
        let engine = self.clone();
        let dropped = self.inner.tracker.spawn(async move { engine.drop_from_memory(incarnation).await });
        if tokio::time::timeout(DROP_WAIT, dropped).await.is_err() {
            self.wipe_stacks();
        }
    }
}

/// How long an operator waits for a suspended tenant's data to be dropped from memory. After that, dropping continues
/// in the background.
const DROP_WAIT: Duration = Duration::from_millis(500);
/// Pause before a tenant's namespaces are dropped again while maintenance still runs there.
const DROP_INTERVAL: Duration = Duration::from_millis(200);

async fn end_rotation(operation: OperationHandle, end: RotationEnd) {
    match end {
        RotationEnd::Finished(FinishedRotation { epoch, certificate }) => {
            operation.succeed(json!({"epoch": epoch.0, "certificate": certificate.map(|c| c.note)})).await;
        }
        RotationEnd::Cancelled => operation.stop().await,
        RotationEnd::Failed(error) => operation.fail(&error).await,
        RotationEnd::ServerStops => {}
    }
}

async fn end_erasure(operation: OperationHandle, result: Result<Erasure, Error>) {
    match result {
        Ok(Erasure { removed, certificate }) => {
            let result = json!({"keyspaces_removed": removed.len(), "certificate": certificate.map(|c| c.note)});
            operation.succeed(result).await;
        }
        Err(error) => operation.fail(&error).await,
    }
}
