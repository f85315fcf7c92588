//! Rotation and erasure: background work under a custodial grant. Their whole state lies in the
//! registry's journals, so a restart goes on from there.

use crate::Engine;
use access::{Erase, Grant, RotateKey};
use kernel::{Code, Error, KeyEpoch};
use ledger::Deed;
use registry::{OperationHandle, OperationKind};
use serde_json::json;

impl Engine {
    /// Rewraps every key of a tenant under a new epoch, then destroys the old one.
    pub(crate) fn start_rotate(&self, grant: Grant<RotateKey>, operation: OperationHandle) {
        let engine = self.clone();
        self.inner.tracker.spawn(async move {
            let result = engine.inner.registry.rotate(&grant, &operation).await;
            let deed = match &result {
                Ok(epoch) => Deed::success().count("epoch", u64::from(epoch.0)),
                Err(error) => Deed::failure(error.code),
            };
            let _ = engine.settle(grant, Ok(((), deed))).await;
            end_rotation(operation, result).await;
        });
    }

    /// Destroys a tenant's keys, then its bytes.
    pub(crate) fn start_erase(&self, grant: Grant<Erase>, operation: OperationHandle) {
        let engine = self.clone();
        self.inner.tracker.spawn(async move {
            engine.let_go(grant.incarnation()).await;
            let result = engine.inner.registry.erase(&grant).await;
            end_erasure(operation, result).await;
        });
    }

    /// Goes on with what a stop left unfinished. Its operators' line stood before it began.
    pub(crate) fn resume_operations(&self) {
        for operation in self.inner.registry.unfinished() {
            let engine = self.clone();
            self.inner.tracker.spawn(async move {
                let registry = &engine.inner.registry;
                match operation.kind() {
                    OperationKind::RotateKey => {
                        let result = registry.resume_rotation(&operation).await;
                        end_rotation(operation, result).await;
                    }
                    OperationKind::EraseTenant => {
                        let result = registry.resume_erasure(&operation).await;
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

    /// Drops a tenant's data from memory.
    pub(crate) async fn let_go(&self, incarnation: kernel::Incarnation) {
        self.inner.stores.forget(incarnation).await;
        self.inner.trail.forget(incarnation).await;
    }
}

async fn end_rotation(operation: OperationHandle, result: Result<KeyEpoch, Error>) {
    match result {
        Ok(epoch) => operation.succeed(json!({"epoch": epoch.0})).await,
        Err(error) => operation.fail(&error).await,
    }
}

async fn end_erasure(operation: OperationHandle, result: Result<Vec<String>, Error>) {
    match result {
        Ok(places) => operation.succeed(json!({"places_removed": places.len()})).await,
        Err(error) => operation.fail(&error).await,
    }
}
