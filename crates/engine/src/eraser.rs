//! The walk that keeps the bound on erasure: upkeep begins with writes, and a namespace that nobody writes to, or that
//! nobody has opened since the start, has to be looked at by somebody.
//!
//! A walk goes over all tenants, some at a time, each with its namespaces one after another and with rests, so that it
//! takes a quarter of a core at most; what it has rewritten is done in the lanes of upkeep. There are
//! [`limits::ERASE_WALKS`] within the bound. A tenant that has much to rewrite is not waited for: the next walk leaves it
//! out while the one before is still at it.
//! Whatever cannot be looked at (keys that are away, a disk that is full), or not be removed, is met again by the next
//! walk; when that has lasted so long that the bound may not hold, operators are told.

use crate::Engine;
use futures::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use kernel::{Error, Incarnation, NamespaceName, TenantId, Timestamp, limits};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use store::Tended;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

/// See the module.
pub(crate) struct Eraser {
    within: Duration,
    stop: CancellationToken,
    health: Mutex<ErasureHealth>,
    /// Whose namespaces are looked after now; changed with `left` in hand.
    at: watch::Sender<HashSet<Incarnation>>,
    /// Tenants that a walk is at, with its rests.
    walked: Mutex<HashSet<Incarnation>>,
    /// So many at once.
    walkers: Arc<Semaphore>,
    /// Tenants that are not looked after, for they are being erased.
    left: Mutex<Vec<Incarnation>>,
}

/// While this lives a tenant's namespaces are not looked after.
pub(crate) struct Left<'a>(&'a Eraser, Incarnation);

impl Left<'_> {
    /// Waits until nobody is at its namespaces. Whoever is there ends soon if the store has been told to forget the
    /// tenant.
    pub(crate) async fn alone(&self) {
        let mut at = self.0.at.subscribe();
        // Its sender is in this very hand.
        let _gone = at.wait_for(|at| !at.contains(&self.1)).await.is_err();
    }
}

impl Drop for Left<'_> {
    fn drop(&mut self) {
        let mut left = self.0.left();
        let at = left.iter().position(|incarnation| *incarnation == self.1);
        at.map(|at| left.swap_remove(at));
    }
}

/// A namespace is looked after.
struct Turn<'a>(&'a Eraser, Incarnation);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.at.send_if_modified(|at| at.remove(&self.1));
    }
}

/// A walk is at a tenant. Dropped also when the look at it panics, so that the next walk comes again.
struct Walked(Engine, Incarnation);

impl Drop for Walked {
    fn drop(&mut self) {
        self.0.inner.eraser.walked().remove(&self.1);
    }
}

/// What was found of one tenant, and what kept it closed.
type Look = (ErasureHealth, Option<Error>);

/// What the last walk over all namespaces found. No names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErasureHealth {
    /// Walks that ended, since the start.
    pub walks: u64,
    /// And those that began.
    pub begun: u64,
    /// Namespaces that it looked at.
    pub namespaces: u64,
    /// Those of them that hold a dead document for longer than the bound.
    pub overdue: u64,
    /// Namespaces, or whole tenants, that could not be looked at, or not in time, or of which something could not be
    /// removed.
    pub unseen: u64,
    /// Since when the oldest dead document stands that it left, because it is not due yet or could not be rewritten.
    pub oldest: Option<Timestamp>,
}

/// What is remembered from walk to walk.
#[derive(Default)]
struct Walks {
    /// Tenants of which something could not be looked at, since when.
    unseen: HashMap<Incarnation, Timestamp>,
    /// Tenants for which operators were told.
    told: HashSet<Incarnation>,
}

impl Eraser {
    pub(crate) fn new(within: Duration) -> Self {
        Self {
            within,
            stop: CancellationToken::new(),
            health: Mutex::default(),
            at: watch::Sender::default(),
            walked: Mutex::default(),
            walkers: Arc::new(Semaphore::new(limits::ERASE_TENANTS_AT_ONCE)),
            left: Mutex::default(),
        }
    }

    /// Has a tenant left alone from now on.
    pub(crate) fn leave(&self, incarnation: Incarnation) -> Left<'_> {
        self.left().push(incarnation);
        Left(self, incarnation)
    }

    /// A turn at a tenant's namespace; `None` if the tenant is left alone.
    fn turn(&self, incarnation: Incarnation) -> Option<Turn<'_>> {
        let left = self.left();
        if left.contains(&incarnation) {
            return None;
        }
        self.at.send_if_modified(|at| at.insert(incarnation));
        Some(Turn(self, incarnation))
    }

    fn walked(&self) -> MutexGuard<'_, HashSet<Incarnation>> {
        self.walked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn left(&self) -> MutexGuard<'_, Vec<Incarnation>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins. It holds no engine while it rests, so that one which is dropped is gone.
    pub(crate) fn start(&self, engine: &Engine) {
        if self.within.is_zero() {
            return;
        }
        let (inner, stop, every) =
            (Arc::downgrade(&engine.inner), self.stop.clone(), self.within / limits::ERASE_WALKS);
        let mut next = engine.inner.clock.monotonic() + every.min(limits::ERASE_FIRST_WALK);
        engine.inner.tracker.spawn(async move {
            let mut walks = Walks::default();
            while rest(&stop, limits::ERASE_CHECK).await {
                let Some(inner) = inner.upgrade() else { return };
                let engine = Engine { inner };
                let begun = engine.inner.clock.monotonic();
                if begun < next {
                    continue;
                }
                next = begun + every;
                engine.walk(&mut walks, every).await;
                if engine.inner.clock.monotonic() > next {
                    tracing::warn!(
                        ?every,
                        "a walk over all namespaces takes longer than the bound on erasure leaves for it"
                    );
                }
            }
        });
    }

    /// Ends it.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// What the last walk found.
    pub(crate) fn health(&self) -> ErasureHealth {
        *self.noted()
    }

    fn noted(&self) -> MutexGuard<'_, ErasureHealth> {
        // One assignment under it.
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it goes on after so long.
async fn rest(stop: &CancellationToken, time: Duration) -> bool {
    stop.run_until_cancelled(tokio::time::sleep(time)).await.is_some()
}

impl Engine {
    async fn walk(&self, walks: &mut Walks, every: Duration) {
        let eraser = &self.inner.eraser;
        eraser.noted().begun += 1;
        let tenants = self.inner.registry.tended_tenants();
        let mut looks = HashMap::new();
        // Behind that the next walk is due.
        let _late = tokio::time::timeout(every, self.look_at(&tenants, &mut looks)).await.is_err();
        if eraser.stop.is_cancelled() || self.inner.ownership.sure().is_err() {
            return;
        }
        let mut found = ErasureHealth::default();
        for (tenant, incarnation) in &tenants {
            let late = || (ErasureHealth::default(), Some(Error::internal("a tenant was not looked at in time")));
            let (of_it, why) = looks.remove(incarnation).unwrap_or_else(late);
            found.namespaces += of_it.namespaces;
            found.overdue += of_it.overdue;
            found.unseen += of_it.unseen.max(u64::from(why.is_some()));
            found.oldest = found.oldest.into_iter().chain(of_it.oldest).min();
            let unseen = || Error::internal("a namespace could not be looked at, or something not be removed");
            let why = why.or_else(|| (of_it.unseen > 0).then(unseen));
            self.tell(walks, (tenant, *incarnation), of_it.overdue > 0, why).await;
        }
        let lives = |incarnation: &Incarnation| tenants.iter().any(|(_, living)| living == incarnation);
        walks.unseen.retain(|incarnation, _| lives(incarnation));
        walks.told.retain(lives);
        let mut health = eraser.noted();
        *health = ErasureHealth { walks: health.walks + 1, begun: health.begun, ..found };
    }

    /// Looks at tenants, some at once, each in a task of its own that ends what it began.
    async fn look_at(&self, tenants: &[(TenantId, Incarnation)], looks: &mut HashMap<Incarnation, Look>) {
        let eraser = &self.inner.eraser;
        let mut running = FuturesUnordered::new();
        for (_, incarnation) in tenants {
            // Another server's bucket is another server's to look after.
            if eraser.stop.is_cancelled() || self.inner.ownership.sure().is_err() {
                return;
            }
            let Ok(turn) = eraser.walkers.clone().acquire_owned().await else { return };
            while let Some(Some(Ok((incarnation, look)))) = running.next().now_or_never() {
                looks.insert(incarnation, look);
            }
            if !eraser.walked().insert(*incarnation) {
                // The walk before is still at it.
                continue;
            }
            let walked = Walked(self.clone(), *incarnation);
            running.push(self.inner.tracker.spawn(async move {
                let _turn = turn;
                let mut found = ErasureHealth::default();
                let why = walked.0.walk_tenant(walked.1, &mut found).await.err();
                (walked.1, (found, why))
            }));
        }
        while let Some(ended) = running.next().await {
            looks.extend(ended);
        }
    }

    /// Looks after a tenant's namespaces.
    ///
    /// # Errors
    /// What keeps the tenant closed.
    async fn walk_tenant(&self, incarnation: Incarnation, found: &mut ErasureHealth) -> Result<(), Error> {
        let (eraser, clock) = (&self.inner.eraser, &self.inner.clock);
        let mut last = None;
        loop {
            let some = self.inner.registry.tended_namespaces(incarnation, last.as_ref(), PAGE).await?;
            let Some(name) = some.last() else { return Ok(()) };
            last = Some(name.clone());
            for name in &some {
                let begun = clock.monotonic();
                match self.tend(incarnation, name).await {
                    Ok(None) => {}
                    Ok(Some(tended)) => {
                        let now = clock.now();
                        found.namespaces += 1;
                        let dead = tended.dead_from.filter(|from| *from <= now);
                        found.oldest = found.oldest.into_iter().chain(dead).min();
                        found.overdue += u64::from(dead.is_some_and(|from| from.plus(eraser.within) <= now));
                        found.unseen += u64::from(tended.litter);
                    }
                    Err(error) => {
                        found.unseen += 1;
                        tracing::warn!(%error, "a namespace could not be looked at for what is dead in it");
                    }
                }
                let took = clock.monotonic().saturating_sub(begun);
                let walkers = u32::try_from(eraser.walked().len()).unwrap_or(u32::MAX).max(1);
                let time = took.saturating_mul((1 + limits::ERASE_REST).saturating_mul(walkers) - 1);
                if !rest(&eraser.stop, time.min(limits::ERASE_REST_MAX)).await {
                    return Ok(());
                }
            }
        }
    }

    async fn tend(&self, incarnation: Incarnation, name: &NamespaceName) -> Result<Option<Tended>, Error> {
        let inner = &self.inner;
        let Some(_turn) = inner.eraser.turn(incarnation) else { return Ok(None) };
        let Some(namespace) = inner.registry.tend(incarnation, name).await? else { return Ok(None) };
        let tended = match inner.stores.tend(namespace.home.clone(), &namespace.settings).await {
            // It was deleted meanwhile.
            Err(store::Error::NotFound) => Ok(None),
            tended => tended.map(Some).map_err(Error::from),
        };
        drop(namespace);
        // Of a tenant that is not served nothing stays in memory, also if it was suspended or sealed while this went on.
        if !matches!(&tended, Ok(Some(tended)) if !tended.opened) && !inner.registry.is_active(incarnation) {
            self.let_go(incarnation).await;
        }
        tended
    }

    /// Has operators told, once, when the bound does not hold for a tenant, or may not: for as long as is left of it
    /// when a rewrite is due, not everything of it could be looked at.
    async fn tell(
        &self,
        walks: &mut Walks,
        (tenant, incarnation): (&TenantId, Incarnation),
        overdue: bool,
        unseen: Option<Error>,
    ) {
        let now = self.inner.clock.now();
        let lasts = match &unseen {
            None => {
                walks.unseen.remove(&incarnation);
                false
            }
            Some(_) => {
                let since = *walks.unseen.entry(incarnation).or_insert(now);
                since.plus(self.inner.eraser.within * (4 - limits::ERASE_DUE_QUARTERS) / 4) <= now
            }
        };
        if !overdue && !lasts {
            walks.told.remove(&incarnation);
            return;
        }
        if !walks.told.insert(incarnation) {
            return;
        }
        let why = unseen.map(|error| error.code.as_str());
        tracing::warn!(%incarnation, why, "what was deleted may be in objects for longer than the bound on erasure");
        if let Err(error) = self.inner.trail.server_act("erase.overdue", Some(tenant), why).await {
            tracing::warn!(%error, "an overdue erasure is in no audit line");
        }
    }
}

/// Namespaces that are looked up at once.
const PAGE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_erases_a_tenant_waits_for_its_turn_to_end_and_for_nobody_elses() {
        let eraser = Eraser::new(limits::ERASE_WITHIN);
        let (a, b) = (Incarnation::from_bytes([1; 16]), Incarnation::from_bytes([2; 16]));
        let turn = eraser.turn(a).unwrap();
        let (others, left) = (eraser.leave(b), eraser.leave(a));
        assert!(others.alone().now_or_never().is_some());
        assert!(left.alone().now_or_never().is_none(), "somebody is there");
        drop(turn);
        left.alone().await;
        assert!(eraser.turn(a).is_none() && eraser.turn(b).is_none());
        drop(others);
        assert!(eraser.turn(a).is_none() && eraser.turn(b).is_some());
        drop(left);
        assert!(eraser.turn(a).is_some(), "an erasure that failed");
    }
}
