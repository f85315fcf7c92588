//! Who may do upkeep now: permits for jobs at once and for the bytes that they take together.
//!
//! Promises that tenants take turns, the one served longest ago first, and that within a tenant
//! the oldest waits no longer than the others; so a busy tenant delays another by one job at most.
//! A job that is larger than the whole budget runs alone. Who is next is never overtaken by a
//! smaller one: else a stream of small jobs would starve a large one.

use kernel::Incarnation;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::oneshot;

/// See the module.
pub(crate) struct Schedule {
    jobs_max: usize,
    bytes_max: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    jobs: usize,
    bytes: u64,
    waiting: BTreeMap<Incarnation, VecDeque<Waiting>>,
    /// When a tenant was served last, as a count of permits. Only of tenants that wait or run.
    served: BTreeMap<Incarnation, Served>,
    came: u64,
    permits: u64,
}

#[derive(Clone, Copy, Default)]
struct Served {
    at: u64,
    running: usize,
}

struct Waiting {
    bytes: u64,
    came: u64,
    go: oneshot::Sender<Permit>,
}

/// The right to one job, given back when it is dropped.
pub(crate) struct Permit {
    schedule: Arc<Schedule>,
    tenant: Incarnation,
    bytes: u64,
}

/// Numbers for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) running: u64,
    pub(crate) waiting: u64,
    pub(crate) bytes: u64,
}

impl Schedule {
    pub(crate) fn new(jobs_max: usize, bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { jobs_max: jobs_max.max(1), bytes_max, state: Mutex::default() })
    }

    /// Waits for a permit for a job of this tenant that takes so many bytes. Who goes away while
    /// it waits is passed over.
    pub(crate) async fn permit(self: &Arc<Self>, tenant: Incarnation, bytes: u64) -> Permit {
        loop {
            let (go, permit) = oneshot::channel();
            {
                let mut state = self.state();
                state.came += 1;
                let came = state.came;
                state.waiting.entry(tenant).or_default().push_back(Waiting { bytes, came, go });
            }
            self.serve();
            // Never dropped unsent while the schedule lives; if it were, asking again is right.
            if let Ok(permit) = permit.await {
                return permit;
            }
        }
    }

    pub(crate) fn load(&self) -> Load {
        let state = self.state();
        let waiting = state.waiting.values().map(VecDeque::len).sum::<usize>() as u64;
        Load { running: state.jobs as u64, waiting, bytes: state.bytes }
    }

    /// Gives out what there is.
    fn serve(self: &Arc<Self>) {
        loop {
            let mut state = self.state();
            let Some(tenant) = state.next() else { return };
            let Some(bytes) = state.first(tenant).map(|first| first.bytes) else { return };
            let room = state.jobs < self.jobs_max && state.bytes.saturating_add(bytes) <= self.bytes_max;
            if !room && state.jobs > 0 {
                return;
            }
            let Some(waiting) = state.take(tenant, bytes) else { return };
            drop(state);
            // Outside of the lock: a permit that nobody takes comes back through its drop.
            let _asker_gone = waiting.go.send(Permit { schedule: self.clone(), tenant, bytes });
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Counters and queues are changed together, by code that does not panic between.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whose turn it is.
    fn next(&self) -> Option<Incarnation> {
        let turn = |(tenant, queue): (&Incarnation, &VecDeque<Waiting>)| {
            let served = self.served.get(tenant).map_or(0, |served| served.at);
            Some((served, queue.front()?.came, *tenant))
        };
        self.waiting.iter().filter_map(turn).min_by_key(|(served, came, _)| (*served, *came)).map(|(.., tenant)| tenant)
    }

    fn first(&self, tenant: Incarnation) -> Option<&Waiting> {
        self.waiting.get(&tenant)?.front()
    }

    fn take(&mut self, tenant: Incarnation, bytes: u64) -> Option<Waiting> {
        let queue = self.waiting.get_mut(&tenant)?;
        let first = queue.pop_front()?;
        if queue.is_empty() {
            self.waiting.remove(&tenant);
        }
        self.jobs += 1;
        self.bytes += bytes;
        self.permits += 1;
        let served = self.served.entry(tenant).or_default();
        (served.at, served.running) = (self.permits, served.running + 1);
        Some(first)
    }

    fn give_back(&mut self, tenant: Incarnation, bytes: u64) {
        self.jobs -= 1;
        self.bytes -= bytes;
        if let Some(served) = self.served.get_mut(&tenant) {
            served.running -= 1;
        }
        // While others wait, the order in which tenants were served still matters.
        if self.waiting.is_empty() {
            self.served.retain(|_, served| served.running > 0);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.schedule.state().give_back(self.tenant, self.bytes);
        self.schedule.serve();
    }
}

#[cfg(test)]
mod tests;
