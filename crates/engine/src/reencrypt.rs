//! Re-encryption of a tenant: the registry gives each keyspace a fresh key, the store and the ledger re-encrypt
//! everything in it, and the registry removes the old key. Reads and writes continue meanwhile. The state is in the
//! registry's journals, so a restart continues from there.

use crate::{
    Engine,
    retry::{RotationAttempt, is_transient},
};
use futures::{StreamExt as _, stream};
use kernel::{Error, NamespaceName, NamespaceSettings, RetryPolicy, limits};
use registry::{OperationHandle, Reencryption};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use vault::Keyspace;

impl Engine {
    /// Re-encrypts everything of a tenant. Returns `None` if it was cancelled between two keyspaces: those that are
    /// done stay done, and everything still opens.
    ///
    /// # Errors
    /// The error that stopped it. Another call does what is left.
    pub(crate) async fn reencrypt(&self, operation: &OperationHandle) -> RotationAttempt {
        let work = self.inner.registry.reencrypt(operation).await?;
        let report = || {
            let (done, all) = work.progress();
            operation.progress(done, all);
        };
        report();
        work.directory().await?;
        self.reencrypt_audit(&work).await?;
        report();
        let (mut last, mut failed) = (None, None);
        loop {
            let some = work.next(last.as_ref(), BATCH);
            let Some((name, _)) = some.last() else { break };
            last = Some(name.clone());
            let outcome = self.reencrypt_batch(&work, operation, some).await;
            report();
            if operation.cancelled() {
                return Ok(None);
            }
            match outcome {
                // Every remaining namespace would hit the same error.
                Err(error) if is_transient(error.code) => return Err(error),
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

    /// Re-encrypts a batch of namespaces: writes their new keys in one write, re-encrypts each namespace, and removes
    /// the old keys in one write. When the operation is cancelled, namespaces in progress are finished; the others keep
    /// both keys and still open. A failed namespace does not hold up the others.
    ///
    /// # Errors
    /// The last failure of a namespace, or an error of the tenant's directory.
    async fn reencrypt_batch(
        &self,
        work: &Reencryption,
        operation: &OperationHandle,
        some: Vec<(NamespaceName, Arc<NamespaceSettings>)>,
    ) -> Result<(), Error> {
        let names: Vec<_> = some.iter().map(|(name, _)| name.clone()).collect();
        let settings: BTreeMap<_, _> = some.into_iter().collect();
        let (done, total) = work.progress();
        let left = AtomicU64::new(total.saturating_sub(done).max(1));
        let each = work
            .begin(&names)
            .await?
            .into_iter()
            .filter_map(|namespace| Some((settings.get(&namespace.0)?.clone(), namespace)));
        let left = &left;
        let each = each.map(|(settings, namespace)| async move {
            if operation.cancelled() || self.inner.stopping.is_cancelled() {
                return Ok(None);
            }
            let begun = self.inner.clock.monotonic();
            let reencrypted = self.reencrypt_namespace(&namespace.1, &settings).await;
            self.throttle(begun, operation, left.fetch_sub(1, Ordering::Relaxed)).await;
            reencrypted.map(|()| Some(namespace))
        });
        let (mut reencrypted, mut failed) = (Vec::new(), None);
        let mut outcomes = stream::iter(each).buffer_unordered(limits::REENCRYPTIONS_AT_ONCE);
        while let Some(outcome) = outcomes.next().await {
            match outcome {
                Ok(namespace) => reencrypted.extend(namespace),
                Err(error) => {
                    tracing::warn!(%error, "a namespace could not be re-encrypted; the others are");
                    failed = Some(error);
                }
            }
        }
        work.end(&reencrypted).await?;
        failed.map_or(Ok(()), Err)
    }

    /// Pauses after a namespace that was started at `begun`, when `left` namespaces remained. While requests arrive,
    /// most of the time is left to them, as far as the deadline allows. Without requests there is no pause.
    async fn throttle(&self, begun: Duration, operation: &OperationHandle, left: u64) {
        if !self.inner.work.was_active_since(begun) {
            return;
        }
        let took = self.inner.clock.monotonic().saturating_sub(begun);
        let until = operation.deadline().map(|at| at.since(self.now()));
        // After a large namespace the pause may last minutes; a cancellation ends it.
        self.pause(operation, throttle_pause(took, until, left)).await;
    }

    async fn reencrypt_namespace(&self, keyspace: &Arc<Keyspace>, settings: &NamespaceSettings) -> Result<(), Error> {
        let mut pauses = RETRIES.pauses();
        loop {
            let pause = match self.inner.stores.reencrypt(keyspace.clone(), settings).await {
                // `NotFound`: it was deleted meanwhile.
                Ok(_) | Err(store::Error::NotFound) => return Ok(()),
                Err(error @ store::Error::Closing) if self.inner.stopping.is_cancelled() => return Err(error.into()),
                // It was being closed, or a writer interfered.
                Err(error @ (store::Error::Closing | store::Error::NotReencrypted(_))) => pauses.next().ok_or(error)?,
                Err(error) => return Err(error.into()),
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn reencrypt_audit(&self, work: &Reencryption) -> Result<(), Error> {
        let Some(keyspace) = work.begin_audit().await? else { return Ok(()) };
        let mut pauses = RETRIES.pauses();
        while let Err(error) = self.inner.audit_log.reencrypt(&keyspace).await {
            tokio::time::sleep(pauses.next().ok_or(error)?).await;
        }
        work.end_audit(&keyspace).await
    }
}

/// Pause after work that took this long, with this time until the deadline and `left` namespaces to do, the last one
/// included.
fn throttle_pause(took: Duration, until: Option<Duration>, left: u64) -> Duration {
    let pause = took * THROTTLE_FACTOR;
    // Plans with half of the remaining time, because the next namespaces may be larger than the last one.
    let share = |until: Duration| until / 2 / u32::try_from(left).unwrap_or(u32::MAX).max(1);
    until.map_or(pause, |until| pause.min(share(until).saturating_sub(took)))
}

/// Namespaces whose new keys are written together. A crash leaves at most this number with two keys.
const BATCH: usize = 32;
/// Length of a pause relative to the work before it. [`limits::REENCRYPTIONS_AT_ONCE`] namespaces work and pause
/// concurrently, so that together they work about a fifth of the time.
const THROTTLE_FACTOR: u32 = 4 * limits::REENCRYPTIONS_AT_ONCE as u32;
/// Attempts at a keyspace that another task is using.
const RETRIES: RetryPolicy = RetryPolicy {
    pause_min: Duration::from_millis(200),
    pause_max: Duration::from_millis(200),
    attempts_max: Some(10),
};

#[cfg(test)]
mod tests;
