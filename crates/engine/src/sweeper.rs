//! The sweep that enforces the bound on erasure. Maintenance is started by writes, so a namespace without writes, or
//! one that was not opened since the start, needs a sweep to find what is due.
//!
//! A sweep visits all tenants, a few at a time, and the namespaces of each one after another with pauses, so that it
//! takes at most a quarter of a core; rewrites run on the threads of maintenance. There are [`limits::ERASE_SWEEPS`]
//! sweeps within the bound. A sweep does not wait for a tenant with much to rewrite; the next sweep skips a tenant that
//! is still being swept. Anything that cannot be examined (unavailable keys, a full disk) or removed is retried by the
//! next sweep. When that lasts so long that the bound may not hold, operators are told.

use crate::Engine;
use futures::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use kernel::{Error, Incarnation, NamespaceName, TenantId, Timestamp, limits};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use store::MaintenanceReport;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

/// The sweep's settings and state; see the module.
pub(crate) struct RetentionSweeper {
    within: Duration,
    stop: CancellationToken,
    health: Mutex<ErasureHealth>,
    /// Tenants with a namespace that is being maintained now. Changed under the lock of `excluded`.
    active: watch::Sender<HashSet<Incarnation>>,
    /// Tenants that a sweep has started and not finished, its pauses included.
    in_sweep: Mutex<HashSet<Incarnation>>,
    /// One permit for each tenant that may be swept at the same time.
    sweepers: Arc<Semaphore>,
    /// Tenants that are not maintained, because they are being erased.
    excluded: Mutex<Vec<Incarnation>>,
}

/// Guard: while it lives, the tenant's namespaces are not maintained.
pub(crate) struct Exclusion<'a>(&'a RetentionSweeper, Incarnation);

impl Exclusion<'_> {
    /// Waits until none of the tenant's namespaces is being maintained. Maintenance ends soon after the store has
    /// closed them.
    pub(crate) async fn idle(&self) {
        let mut active = self.0.active.subscribe();
        // The sender lives as long as this borrow, so waiting cannot fail.
        let _closed = active.wait_for(|active| !active.contains(&self.1)).await.is_err();
    }
}

impl Drop for Exclusion<'_> {
    fn drop(&mut self) {
        let mut excluded = self.0.excluded.lock();
        let at = excluded.iter().position(|incarnation| *incarnation == self.1);
        at.map(|at| excluded.swap_remove(at));
    }
}

/// Held while one of a tenant's namespaces is maintained.
struct MaintenanceTurn<'a>(&'a RetentionSweeper, Incarnation);

impl Drop for MaintenanceTurn<'_> {
    fn drop(&mut self) {
        self.0.active.send_if_modified(|active| active.remove(&self.1));
    }
}

/// Held while a tenant is swept. A panic drops it too, so that the next sweep tries the tenant again.
struct InSweep(Engine, Incarnation);

impl Drop for InSweep {
    fn drop(&mut self) {
        self.0.inner.sweeper.in_sweep.lock().remove(&self.1);
    }
}

/// The findings in one tenant, and the error that kept the tenant closed, if any.
type SweepResult = (ErasureHealth, Option<Error>);

/// Findings of the last sweep over all namespaces, without names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErasureHealth {
    /// Sweeps that have ended since the start.
    pub sweeps: u64,
    /// Sweeps that have begun since the start.
    pub started: u64,
    /// Namespaces that the sweep examined.
    pub namespaces: u64,
    /// Namespaces among them that have held a deleted document for longer than the bound.
    pub overdue: u64,
    /// Namespaces, or whole tenants, that could not be examined in time or from which something could not be removed.
    pub unexamined: u64,
    /// Deletion time of the oldest deleted document that is still stored, because it is not due yet or could not be
    /// removed.
    pub oldest: Option<Timestamp>,
}

/// State that is kept from one sweep to the next.
#[derive(Default)]
struct SweepHistory {
    /// Tenants that could not be examined completely, and since when.
    unseen: HashMap<Incarnation, Timestamp>,
    /// Tenants that were reported to operators.
    reported: HashSet<Incarnation>,
}

impl RetentionSweeper {
    pub(crate) fn new(within: Duration) -> Self {
        Self {
            within,
            stop: CancellationToken::new(),
            health: Mutex::default(),
            active: watch::Sender::default(),
            in_sweep: Mutex::default(),
            sweepers: Arc::new(Semaphore::new(limits::ERASE_TENANTS_AT_ONCE)),
            excluded: Mutex::default(),
        }
    }

    /// Stops the maintenance of a tenant from now on.
    pub(crate) fn exclude(&self, incarnation: Incarnation) -> Exclusion<'_> {
        self.excluded.lock().push(incarnation);
        Exclusion(self, incarnation)
    }

    /// The right to maintain one of a tenant's namespaces; `None` if the tenant is excluded.
    fn turn(&self, incarnation: Incarnation) -> Option<MaintenanceTurn<'_>> {
        let excluded = self.excluded.lock();
        if excluded.contains(&incarnation) {
            return None;
        }
        self.active.send_if_modified(|active| active.insert(incarnation));
        Some(MaintenanceTurn(self, incarnation))
    }

    /// Starts the sweeps. Between two of them no engine is held, so that a dropped engine is freed.
    pub(crate) fn start(&self, engine: &Engine) {
        if self.within.is_zero() {
            return;
        }
        let (inner, stop, every) =
            (Arc::downgrade(&engine.inner), self.stop.clone(), self.within / limits::ERASE_SWEEPS);
        let mut next = engine.inner.clock.monotonic() + every.min(limits::ERASE_FIRST_SWEEP);
        engine.inner.tracker.spawn(async move {
            let mut history = SweepHistory::default();
            while pause(&stop, limits::ERASE_CHECK).await {
                let Some(inner) = inner.upgrade() else { return };
                let engine = Engine { inner };
                let begun = engine.inner.clock.monotonic();
                if begun < next {
                    continue;
                }
                next = begun + every;
                engine.sweep(&mut history, every).await;
                if engine.inner.clock.monotonic() > next {
                    tracing::warn!(
                        ?every,
                        "a sweep over all namespaces takes longer than the bound on erasure leaves for it"
                    );
                }
            }
        });
    }

    /// Stops the sweeps.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Returns the findings of the last sweep.
    pub(crate) fn health(&self) -> ErasureHealth {
        *self.health.lock()
    }
}

/// Pauses, and returns whether the sweep continues afterwards.
async fn pause(stop: &CancellationToken, time: Duration) -> bool {
    stop.run_until_cancelled(tokio::time::sleep(time)).await.is_some()
}

impl Engine {
    async fn sweep(&self, history: &mut SweepHistory, every: Duration) {
        let sweeper = &self.inner.sweeper;
        sweeper.health.lock().started += 1;
        let tenants = self.inner.registry.maintained_tenants();
        let mut results = HashMap::new();
        // The timeout is the interval after which the next sweep is due.
        let _late = tokio::time::timeout(every, self.sweep_tenants(&tenants, &mut results)).await.is_err();
        if sweeper.stop.is_cancelled() || self.inner.ownership.check().is_err() {
            return;
        }
        let mut found = ErasureHealth::default();
        for (tenant, incarnation) in &tenants {
            let late = || (ErasureHealth::default(), Some(Error::internal("a tenant was not examined in time")));
            let (result, why) = results.remove(incarnation).unwrap_or_else(late);
            found.namespaces += result.namespaces;
            found.overdue += result.overdue;
            found.unexamined += result.unexamined.max(u64::from(why.is_some()));
            found.oldest = found.oldest.into_iter().chain(result.oldest).min();
            let unseen =
                || Error::internal("a namespace could not be examined, or something in it could not be removed");
            let why = why.or_else(|| (result.unexamined > 0).then(unseen));
            self.report(history, (tenant, *incarnation), result.overdue > 0, why).await;
        }
        let exists = |incarnation: &Incarnation| tenants.iter().any(|(_, living)| living == incarnation);
        history.unseen.retain(|incarnation, _| exists(incarnation));
        history.reported.retain(exists);
        let mut health = sweeper.health.lock();
        *health = ErasureHealth { sweeps: health.sweeps + 1, started: health.started, ..found };
    }

    /// Sweeps the tenants, a few at the same time, each in a separate task that finishes even if the sweep times out.
    async fn sweep_tenants(
        &self,
        tenants: &[(TenantId, Incarnation)],
        results: &mut HashMap<Incarnation, SweepResult>,
    ) {
        let sweeper = &self.inner.sweeper;
        let mut running = FuturesUnordered::new();
        for (_, incarnation) in tenants {
            // A bucket that another server owns is maintained by that server.
            if sweeper.stop.is_cancelled() || self.inner.ownership.check().is_err() {
                return;
            }
            let Ok(turn) = sweeper.sweepers.clone().acquire_owned().await else { return };
            while let Some(Some(Ok((incarnation, result)))) = running.next().now_or_never() {
                results.insert(incarnation, result);
            }
            if !sweeper.in_sweep.lock().insert(*incarnation) {
                // The previous sweep has not finished with it.
                continue;
            }
            let in_sweep = InSweep(self.clone(), *incarnation);
            running.push(self.inner.tracker.spawn(async move {
                let _turn = turn;
                let mut found = ErasureHealth::default();
                let why = in_sweep.0.sweep_tenant(in_sweep.1, &mut found).await.err();
                (in_sweep.1, (found, why))
            }));
        }
        while let Some(ended) = running.next().await {
            results.extend(ended);
        }
    }

    /// Maintains a tenant's namespaces.
    ///
    /// # Errors
    /// The error that keeps the tenant closed.
    async fn sweep_tenant(&self, incarnation: Incarnation, found: &mut ErasureHealth) -> Result<(), Error> {
        let (sweeper, clock) = (&self.inner.sweeper, &self.inner.clock);
        let mut last = None;
        loop {
            let some = self.inner.registry.maintained_namespaces(incarnation, last.as_ref(), NAMES_PER_PAGE).await?;
            let Some(name) = some.last() else { return Ok(()) };
            last = Some(name.clone());
            for name in &some {
                let begun = clock.monotonic();
                match self.maintain(incarnation, name).await {
                    Ok(None) => {}
                    Ok(Some(report)) => {
                        let now = clock.now();
                        found.namespaces += 1;
                        let since = report.deleted_since.filter(|from| *from <= now);
                        found.oldest = found.oldest.into_iter().chain(since).min();
                        found.overdue += u64::from(since.is_some_and(|from| from.plus(sweeper.within) <= now));
                        found.unexamined += u64::from(report.orphans);
                    }
                    Err(error) => {
                        found.unexamined += 1;
                        tracing::warn!(%error, "a namespace could not be examined for deleted documents");
                    }
                }
                // The pause grows with the number of tenants in a sweep, so that all together stay within their share.
                let took = clock.monotonic().saturating_sub(begun);
                let sweepers = u32::try_from(sweeper.in_sweep.lock().len()).unwrap_or(u32::MAX).max(1);
                let time = took.saturating_mul((1 + limits::ERASE_THROTTLE).saturating_mul(sweepers) - 1);
                if !pause(&sweeper.stop, time.min(limits::ERASE_THROTTLE_MAX)).await {
                    return Ok(());
                }
            }
        }
    }

    async fn maintain(
        &self,
        incarnation: Incarnation,
        name: &NamespaceName,
    ) -> Result<Option<MaintenanceReport>, Error> {
        let inner = &self.inner;
        let Some(_turn) = inner.sweeper.turn(incarnation) else { return Ok(None) };
        let Some(namespace) = inner.registry.maintain(incarnation, name).await? else { return Ok(None) };
        let report = match inner.stores.maintain(namespace.keyspace.clone(), &namespace.settings).await {
            // The namespace was deleted meanwhile.
            Err(store::Error::NotFound) => Ok(None),
            report => report.map(Some).map_err(Error::from),
        };
        drop(namespace);
        // No data of a tenant that is not served stays in memory, even if the tenant was suspended or sealed during
        // this call.
        if !matches!(&report, Ok(Some(report)) if !report.opened) && !inner.registry.is_active(incarnation) {
            self.drop_from_memory_soon(incarnation).await;
        }
        report
    }

    /// Tells operators once when the bound on erasure does not hold for a tenant, or may not hold: when part of the
    /// tenant could not be examined for as long as remains of the bound once a rewrite is due.
    async fn report(
        &self,
        history: &mut SweepHistory,
        (tenant, incarnation): (&TenantId, Incarnation),
        overdue: bool,
        unseen: Option<Error>,
    ) {
        let now = self.inner.clock.now();
        let persists = match &unseen {
            None => {
                history.unseen.remove(&incarnation);
                false
            }
            Some(_) => {
                let since = *history.unseen.entry(incarnation).or_insert(now);
                since.plus(self.inner.sweeper.within * (4 - limits::ERASE_DUE_QUARTERS) / 4) <= now
            }
        };
        if !overdue && !persists {
            history.reported.remove(&incarnation);
            return;
        }
        if !history.reported.insert(incarnation) {
            return;
        }
        let why = unseen.map(|error| error.code.as_str());
        tracing::warn!(%incarnation, why, "deleted documents may stay in objects for longer than the bound on erasure");
        if let Err(error) = self.inner.audit_log.server_act("erase.overdue", Some(tenant), why).await {
            tracing::warn!(%error, "an overdue erasure could not be recorded in the audit");
        }
    }
}

/// Namespaces that are listed at a time.
const NAMES_PER_PAGE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_exclusion_waits_for_the_maintenance_of_its_tenant_only() {
        let sweeper = RetentionSweeper::new(limits::ERASE_WITHIN);
        let (a, b) = (Incarnation::from_bytes([1; 16]), Incarnation::from_bytes([2; 16]));
        let turn = sweeper.turn(a).unwrap();
        let (others, excluded) = (sweeper.exclude(b), sweeper.exclude(a));
        assert!(others.idle().now_or_never().is_some());
        assert!(excluded.idle().now_or_never().is_none(), "its namespace is being maintained");
        drop(turn);
        excluded.idle().await;
        assert!(sweeper.turn(a).is_none() && sweeper.turn(b).is_none());
        drop(others);
        assert!(sweeper.turn(a).is_none() && sweeper.turn(b).is_some());
        drop(excluded);
        assert!(sweeper.turn(a).is_some(), "an erasure that failed");
    }
}
