//! Re-encryption of a tenant: the registry gives each place a fresh key, the store and the ledger seal everything in it
//! anew, the registry forgets the old key. Reads and writes go on. Its state lies in the registry's journals, so a
//! restart goes on from there.

use crate::{
    Engine,
    patience::{Outcome, passes},
};
use futures::{StreamExt as _, stream};
use kernel::{Error, NamespaceName, NamespaceSettings, limits};
use registry::{OperationHandle, Reencryption};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use vault::Home;

impl Engine {
    /// Seals everything of a tenant anew. `None`: somebody cancelled it between two places; what is done stays done, and
    /// everything opens.
    ///
    /// # Errors
    /// What stopped it; asked again, it does what is left.
    pub(crate) async fn reencrypt(&self, operation: &OperationHandle) -> Outcome {
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
            let some = work.next(last.as_ref(), BATCH);
            let Some((name, _)) = some.last() else { break };
            last = Some(name.clone());
            let outcome = self.renew_some(&work, operation, some).await;
            report();
            if operation.cancelled() {
                return Ok(None);
            }
            match outcome {
                // Of the others each would meet it too.
                Err(error) if passes(error.code) => return Err(error),
                outcome => failed = outcome.err().or(failed),
            }
            if self.inner.stopping.is_cancelled() {
                return Err(store::Error::Closing.into());
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        work.finish().await.map(Some)
    }

    /// Some namespaces: their next keys in one write, what lies in each sealed anew, their old keys forgotten in one
    /// write. Those that have begun when it is cancelled end what they began; the others keep both keys, and open. One
    /// that fails holds up no other.
    ///
    /// # Errors
    /// The last failure; what stops the tenant's directory.
    async fn renew_some(
        &self,
        work: &Reencryption,
        operation: &OperationHandle,
        some: Vec<(NamespaceName, Arc<NamespaceSettings>)>,
    ) -> Result<(), Error> {
        let names: Vec<_> = some.iter().map(|(name, _)| name.clone()).collect();
        let settings: BTreeMap<_, _> = some.into_iter().collect();
        let (done, total) = work.progress();
        let left = AtomicU64::new(total.saturating_sub(done).max(1));
        let each =
            work.begin(&names).await?.into_iter().filter_map(|place| Some((settings.get(&place.0)?.clone(), place)));
        let left = &left;
        let each = each.map(|(settings, place)| async move {
            if operation.cancelled() || self.inner.stopping.is_cancelled() {
                return Ok(None);
            }
            let begun = self.inner.clock.monotonic();
            let renewed = self.renew(&place.1, &settings).await;
            self.rest(begun, operation, left.fetch_sub(1, Ordering::Relaxed)).await;
            renewed.map(|()| Some(place))
        });
        let (mut renewed, mut failed) = (Vec::new(), None);
        let mut outcomes = stream::iter(each).buffer_unordered(limits::REENCRYPTIONS_AT_ONCE);
        while let Some(outcome) = outcomes.next().await {
            match outcome {
                Ok(place) => renewed.extend(place),
                Err(error) => {
                    tracing::warn!(%error, "a namespace could not be re-encrypted; the others are");
                    failed = Some(error);
                }
            }
        }
        work.end(&renewed).await?;
        failed.map_or(Ok(()), Err)
    }

    /// Rests behind one of `left` namespaces that was begun then: while requests come, most of the time is theirs, as
    /// far as the deadline allows. Where nobody asks for anything there is nobody to give way to.
    async fn rest(&self, begun: Duration, operation: &OperationHandle, left: u64) {
        if !self.inner.work.was_asked_since(begun) {
            return;
        }
        let took = self.inner.clock.monotonic().saturating_sub(begun);
        let until = operation.deadline().map(|at| at.since(self.now()));
        // Behind a large namespace that is minutes: whoever cancels does not wait for them.
        self.pause(operation, rest(took, until, left)).await;
    }

    async fn renew(&self, home: &Arc<Home>, settings: &NamespaceSettings) -> Result<(), Error> {
        let mut tries = 1;
        loop {
            match self.inner.stores.renew(home.clone(), settings).await {
                // Or it was deleted meanwhile.
                Ok(_) | Err(store::Error::NotFound) => return Ok(()),
                Err(error @ store::Error::Closing) if self.inner.stopping.is_cancelled() => return Err(error.into()),
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

/// How long to rest behind work that took so long, with so much of it left until the deadline.
fn rest(took: Duration, until: Option<Duration>, left: u64) -> Duration {
    let wanted = took * REST;
    // Half of the time that is left, for what comes larger than what was.
    let share = |until: Duration| until / 2 / u32::try_from(left).unwrap_or(u32::MAX).max(1);
    until.map_or(wanted, |until| wanted.min(share(until).saturating_sub(took)))
}

/// Namespaces whose next keys are written together. A crash leaves so many with two keys.
const BATCH: usize = 32;
/// Rests are so many times as long as the work before. As many rest beside each other as work at once: together they
/// work about a fifth of the time.
const REST: u32 = 4 * limits::REENCRYPTIONS_AT_ONCE as u32;
/// How often a place is tried that somebody is at.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests;
