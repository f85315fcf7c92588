//! Re-encryption of a tenant: the registry gives each place a fresh key, the store and the ledger seal everything in it
//! anew, the registry forgets the old key. Reads and writes go on. Its state lies in the registry's journals, so a
//! restart goes on from there.

use crate::Engine;
use futures::{StreamExt as _, stream};
use kernel::{Error, NamespaceName, NamespaceSettings, limits};
use registry::{OperationHandle, Reencryption, Rotated};
use std::{sync::Arc, time::Duration};

/// How a re-encryption ended, if nothing went wrong.
pub(crate) enum Reencrypted {
    /// Everything is done.
    Done(Rotated),
    /// Somebody asked it to stop between two places. What is done stays done, and everything opens.
    Cancelled,
}

impl Engine {
    /// Seals everything of a tenant anew.
    ///
    /// # Errors
    /// What stopped it; asked again, it does what is left.
    pub(crate) async fn reencrypt(&self, operation: &OperationHandle) -> Result<Reencrypted, Error> {
        let work = self.inner.registry.reencrypt(operation).await?;
        let report = || {
            let (done, all) = work.progress();
            operation.progress(done, all);
        };
        report();
        work.directory().await?;
        self.renew_audit(&work).await?;
        report();
        let (mut last, mut failed) = (None, None);
        loop {
            let some = work.next(last.as_ref(), PAGE);
            let Some((name, _)) = some.last() else { break };
            last = Some(name.clone());
            let each = some.into_iter().map(|(name, settings)| self.renew(&work, name, settings));
            let mut each = stream::iter(each).buffer_unordered(limits::REENCRYPTIONS_AT_ONCE);
            while let Some(outcome) = each.next().await {
                if let Err(error) = outcome {
                    tracing::warn!(%error, "a namespace is not sealed anew; the others are");
                    failed = Some(error);
                }
                report();
                if operation.cancelled() {
                    break;
                }
            }
            // Those that have begun end what they began.
            while each.next().await.is_some() {}
            if operation.cancelled() {
                return Ok(Reencrypted::Cancelled);
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        Ok(Reencrypted::Done(work.finish().await?))
    }

    async fn renew(
        &self,
        work: &Reencryption,
        name: NamespaceName,
        settings: Arc<NamespaceSettings>,
    ) -> Result<(), Error> {
        let Some(home) = work.begin(&name).await? else { return Ok(()) };
        let mut tries = 1;
        loop {
            match self.inner.stores.renew(home.clone(), &settings).await {
                Ok(_) => return work.end(&name, &home).await,
                // It was deleted meanwhile.
                Err(store::Error::NotFound) => return Ok(()),
                // It was being closed, or a writer came between.
                Err(store::Error::Closing | store::Error::Unrenewed(_)) if tries < TRIES => tries += 1,
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn renew_audit(&self, work: &Reencryption) -> Result<(), Error> {
        let Some(home) = work.begin_audit().await? else { return Ok(()) };
        let mut tries = 1;
        while let Err(error) = self.inner.trail.renew(&home).await {
            if tries == TRIES {
                return Err(error);
            }
            tries += 1;
            tokio::time::sleep(PAUSE).await;
        }
        work.end_audit(&home).await
    }
}

/// Namespaces that are looked up at once.
const PAGE: usize = 256;
/// How often a place is tried that somebody is at.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(200);
