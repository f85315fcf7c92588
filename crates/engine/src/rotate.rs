//! Rotation and erasure: background work under a custodial grant. Their whole state lies in the
//! registry's journals, so a restart goes on from there.

use crate::Engine;
use access::{Erase, Grant, RotateKey};
use ledger::Deed;
use registry::{OperationHandle, Unfinished};

impl Engine {
    /// Rewraps every key of a tenant under a new epoch, then destroys the old one.
    pub(crate) fn start_rotate(&self, grant: Grant<RotateKey>, operation: OperationHandle) {
        let engine = self.clone();
        self.inner.tracker.spawn(async move {
            let result = engine.inner.registry.rotate(&grant, &operation).await;
            let end = result.as_ref().map(|_| ((), Deed::success())).map_err(copy);
            // Best effort: the operators' line stood before the effect.
            let _ = engine.settle(grant, end).await;
            match result {
                Ok(epoch) => operation.succeed(vec![("epoch", u64::from(epoch.0))]).await,
                Err(error) => operation.fail(&error).await,
            }
        });
    }

    /// Destroys a tenant's keys, then its bytes.
    pub(crate) fn start_erase(&self, grant: Grant<Erase>, operation: OperationHandle) {
        let engine = self.clone();
        self.inner.tracker.spawn(async move {
            engine.inner.stores.forget(grant.incarnation()).await;
            engine.inner.trail.forget(grant.incarnation()).await;
            match engine.inner.registry.erase(&grant).await {
                Ok(places) => operation.succeed(vec![("places", places as u64)]).await,
                Err(error) => operation.fail(&error).await,
            }
        });
    }

    /// Goes on with what a stop left unfinished.
    pub(crate) async fn resume_operations(&self) {
        for unfinished in self.inner.registry.unfinished().await {
            match unfinished {
                Unfinished::Rotate { grant, operation } => self.start_rotate(grant, operation),
                Unfinished::Erase { grant, operation } => self.start_erase(grant, operation),
            }
        }
    }
}

/// The same code and message, for the audit line: errors are not clonable.
fn copy(error: &kernel::Error) -> kernel::Error {
    kernel::Error::new(error.code, error.message.clone())
}
