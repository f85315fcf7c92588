//! Rotation and erasure: background work under a custodial grant. Their whole state lies in the
//! registry's journals, so a restart continues from there.

use crate::{Engine, eraser::Left, patience::Outcome};
use access::{Erase, Grant, RotateKey};
use kernel::{Code, Error};
use ledger::Deed;
use registry::{Erasure, OperationHandle, OperationKind, Rotated};
use serde_json::json;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

impl Engine {
    /// Rewraps every key of a tenant under a new epoch, then destroys the old one.
    pub(crate) fn start_rotate(&self, grant: Grant<RotateKey>, operation: OperationHandle) {
        let engine = self.clone();
        self.inner.tracker.spawn(async move {
            let first = engine.inner.registry.rotate(&grant, &operation).await;
            let deed = match &first {
                Ok(Some(rotated)) => Deed::success().count("epoch", u64::from(rotated.epoch.0)),
                Ok(None) => Deed::success(),
                Err(error) => Deed::failure(error.code),
            };
            let _ = engine.settle(grant, Ok(((), deed))).await;
            let result = engine.patiently(&operation, None, first).await;
            end_rotation(operation, result).await;
        });
    }

    /// Destroys a tenant's keys, then its bytes.
    pub(crate) fn start_erase(&self, grant: Grant<Erase>, operation: OperationHandle) {
        let engine = self.clone();
        self.inner.tracker.spawn(async move {
            let incarnation = grant.incarnation();
            let nobody_tends = engine.leave_alone(incarnation).await;
            engine.drop_erased(incarnation).await;
            let result = engine.inner.registry.erase(&grant).await;
            drop(nobody_tends);
            // After this the directory no longer resolves the tenant. If erasure failed, its audit log reopens with the
            // next record.
            engine.inner.trail.forget(incarnation).await;
            end_erasure(operation, result).await;
        });
    }

    /// Goes on with what a stop left unfinished. Its operators' line stood before it began.
    pub(crate) fn resume_operations(&self) {
        self.go_on_with_server_rotation();
        for operation in self.inner.registry.unfinished() {
            let engine = self.clone();
            self.inner.tracker.spawn(async move {
                let registry = &engine.inner.registry;
                match operation.kind() {
                    OperationKind::RotateKey | OperationKind::Reencrypt => engine.run_rotation(operation, None).await,
                    OperationKind::EraseTenant => {
                        let nobody_tends = engine.leave_alone(operation.incarnation()).await;
                        engine.let_go(operation.incarnation()).await;
                        let result = registry.resume_erasure(&operation).await;
                        drop(nobody_tends);
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

    /// Goes on with a rotation of the server's own keys that a stop or an error interrupted.
    pub(crate) fn go_on_with_server_rotation(&self) {
        if !self.inner.registry.server_rotates() {
            return;
        }
        let engine = self.clone();
        self.inner.tracker.spawn(async move {
            if let Err(error) = engine.run_server_rotation().await {
                tracing::warn!(%error, "the server's own keys are not all rotated; everything opens, and it is tried again");
            }
        });
    }

    /// Runs a rotation of the server's own keys that has begun to its end. One at a time: a second call finds it done.
    pub(crate) async fn run_server_rotation(&self) -> Result<(), Error> {
        let Some(work) = self.inner.registry.server_rotation().await? else { return Ok(()) };
        if let Some(home) = work.begin_audit().await? {
            self.inner.trail.renew_operators(&home).await?;
            work.end_audit(&home).await?;
        }
        work.control().await?;
        work.finish().await.map(drop)
    }

    /// A rotation of either kind that starts without a request: after a restart, or by a rule.
    pub(crate) async fn run_rotation(&self, operation: OperationHandle, turn: Option<OwnedSemaphorePermit>) {
        let first = self.try_rotating(&operation).await;
        let result = self.patiently(&operation, turn, first).await;
        end_rotation(operation, result).await;
    }

    /// What is left of a rotation, as far as it goes.
    pub(crate) async fn try_rotating(&self, operation: &OperationHandle) -> Outcome {
        match operation.kind() {
            OperationKind::Reencrypt => self.reencrypt(operation).await,
            _ => self.inner.registry.resume_rotation(operation).await,
        }
    }

    /// Re-encrypts everything, in the background.
    pub(crate) fn start_reencrypt(&self, grant: Grant<RotateKey>, operation: OperationHandle) {
        let engine = self.clone();
        self.inner.tracker.spawn(async move {
            let _ = engine.settle(grant, Ok(((), Deed::success()))).await;
            engine.run_rotation(operation, None).await;
        });
    }

    /// Maintenance does not run in a tenant's namespaces while they are removed. What they have opened is
    /// dropped until they have seen it.
    async fn leave_alone(&self, incarnation: kernel::Incarnation) -> Left<'_> {
        let left = self.inner.eraser.leave(incarnation);
        loop {
            self.inner.stores.forget(incarnation).await;
            if tokio::time::timeout(AGAIN, left.alone()).await.is_ok() {
                return left;
            }
        }
    }

    /// Drops the data of a tenant that is being erased from memory, and ends its audit chain.
    async fn drop_erased(&self, incarnation: kernel::Incarnation) {
        self.inner.stores.forget(incarnation).await;
        self.inner.stores.forget_totals(incarnation);
        self.inner.trail.end(incarnation).await;
        self.wipe_stacks();
    }

    /// Drops a suspended tenant's data from memory: what is unused at once, the audit log when earlier requests have
    /// written their lines. Waits a moment for that, not as long as a busy disk may take: the operator is answered within
    /// a second, and the tenant is refused already.
    pub(crate) async fn let_go(&self, incarnation: kernel::Incarnation) {
        self.inner.stores.forget(incarnation).await;
        let engine = self.clone();
        let closing = self.inner.tracker.spawn(async move {
            engine.close_audit(incarnation, || true).await;
            engine.wipe_stacks();
        });
        if tokio::time::timeout(AUDIT_CLOSE_WAIT, closing).await.is_err() {
            self.wipe_stacks();
        }
    }
}

/// How long an operator waits for the audit log of a tenant that is suspended; then it is closed in the background.
const AUDIT_CLOSE_WAIT: Duration = Duration::from_millis(500);
/// How often what looks after a tenant's namespaces has them dropped.
const AGAIN: Duration = Duration::from_millis(200);

async fn end_rotation(operation: OperationHandle, result: Option<Outcome>) {
    match result {
        Some(Ok(Some(Rotated { epoch, certificate }))) => {
            operation.succeed(json!({"epoch": epoch.0, "certificate": certificate.map(|c| c.note)})).await;
        }
        Some(Ok(None)) => operation.stop().await,
        Some(Err(error)) => operation.fail(&error).await,
        // The server stops: the next start continues it.
        None => {}
    }
}

async fn end_erasure(operation: OperationHandle, result: Result<Erasure, Error>) {
    match result {
        Ok(Erasure { removed, certificate }) => {
            let result = json!({"places_removed": removed.len(), "certificate": certificate.map(|c| c.note)});
            operation.succeed(result).await;
        }
        Err(error) => operation.fail(&error).await,
    }
}
