//! Schedules maintenance: permits that bound the number of concurrent jobs and the bytes that they use together.
//!
//! Tenants take turns, the one served longest ago first, and the oldest job of a tenant comes first. So besides jobs
//! that run already, a tenant waits for at most one job of each other tenant. A job larger than the whole budget runs alone. The next
//! job in line is never overtaken by a smaller one: otherwise a stream of small jobs would starve a large one.

use kernel::Incarnation;
use parking_lot::{Mutex, MutexGuard};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};
use tokio::sync::oneshot;

/// Scheduler of maintenance jobs; see the module documentation.
pub(crate) struct JobScheduler {
    jobs_max: usize,
    bytes_max: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    jobs: usize,
    bytes: u64,
    waiting: BTreeMap<Incarnation, VecDeque<WaitingJob>>,
    /// When each tenant was served last, as a count of permits. A tenant without jobs is forgotten once no other waits;
    /// one that is not listed is served first.
    served: BTreeMap<Incarnation, ServedTenant>,
    arrivals: u64,
    permits: u64,
}

#[derive(Clone, Copy, Default)]
struct ServedTenant {
    last_permit: u64,
    running: usize,
}

struct WaitingJob {
    /// Memory that the job is expected to use.
    bytes: u64,
    /// Position in the order of arrival.
    arrival: u64,
    reply: oneshot::Sender<JobPermit>,
}

/// Permission to run one job, returned when it is dropped.
pub(crate) struct JobPermit {
    schedule: Arc<JobScheduler>,
    tenant: Incarnation,
    bytes: u64,
}

/// Load of the scheduler, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SchedulerLoad {
    pub(crate) running: u64,
    pub(crate) waiting: u64,
    pub(crate) bytes: u64,
}

impl JobScheduler {
    pub(crate) fn new(jobs_max: usize, bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { jobs_max: jobs_max.max(1), bytes_max, state: Mutex::default() })
    }

    /// Waits for a permit for a job of this tenant that uses `bytes` of memory. A caller that stops waiting is skipped.
    /// A job must not acquire a second permit: it could wait for itself.
    pub(crate) async fn acquire(self: &Arc<Self>, tenant: Incarnation, bytes: u64) -> JobPermit {
        loop {
            let (reply, permit) = oneshot::channel();
            {
                let mut state = self.state();
                state.arrivals += 1;
                let arrival = state.arrivals;
                state.waiting.entry(tenant).or_default().push_back(WaitingJob { bytes, arrival, reply });
            }
            self.serve();
            // Never dropped unsent while the scheduler lives; if it were, asking again would be right.
            if let Ok(permit) = permit.await {
                return permit;
            }
        }
    }

    pub(crate) fn load(&self) -> SchedulerLoad {
        let state = self.state();
        let waiting = state.waiting.values().map(VecDeque::len).sum::<usize>() as u64;
        SchedulerLoad { running: state.jobs as u64, waiting, bytes: state.bytes }
    }

    /// Grants permits as far as the budget allows. Called after every change of the queue or the budget.
    fn serve(self: &Arc<Self>) {
        loop {
            let mut state = self.state();
            let Some(tenant) = state.next() else { return };
            let Some(first) = state.first(tenant) else { return };
            if first.reply.is_closed() {
                state.skip(tenant);
                continue;
            }
            let bytes = first.bytes;
            let fits = state.jobs < self.jobs_max && state.bytes.saturating_add(bytes) <= self.bytes_max;
            if !fits && state.jobs > 0 {
                return;
            }
            // A job larger than the budget starts once nothing else runs.
            let Some(waiting) = state.take(tenant, bytes) else { return };
            drop(state);
            // Sent outside the lock: if the receiver is gone, the permit returns itself when it is dropped.
            let _caller_has_gone = waiting.reply.send(JobPermit { schedule: self.clone(), tenant, bytes });
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    /// Tenant that is served next.
    fn next(&self) -> Option<Incarnation> {
        let priority = |(tenant, queue): (&Incarnation, &VecDeque<WaitingJob>)| {
            let served = self.served.get(tenant).map_or(0, |served| served.last_permit);
            Some((served, queue.front()?.arrival, *tenant))
        };
        self.waiting
            .iter()
            .filter_map(priority)
            .min_by_key(|(served, arrival, _)| (*served, *arrival))
            .map(|(.., tenant)| tenant)
    }

    fn first(&self, tenant: Incarnation) -> Option<&WaitingJob> {
        self.waiting.get(&tenant)?.front()
    }

    /// Removes the first job of a tenant without a permit.
    fn skip(&mut self, tenant: Incarnation) -> Option<WaitingJob> {
        let queue = self.waiting.get_mut(&tenant)?;
        let first = queue.pop_front()?;
        if queue.is_empty() {
            self.waiting.remove(&tenant);
        }
        Some(first)
    }

    fn take(&mut self, tenant: Incarnation, bytes: u64) -> Option<WaitingJob> {
        let first = self.skip(tenant)?;
        self.jobs += 1;
        self.bytes += bytes;
        self.permits += 1;
        let served = self.served.entry(tenant).or_default();
        (served.last_permit, served.running) = (self.permits, served.running + 1);
        Some(first)
    }

    fn give_back(&mut self, tenant: Incarnation, bytes: u64) {
        self.jobs -= 1;
        self.bytes -= bytes;
        if let Some(served) = self.served.get_mut(&tenant) {
            served.running -= 1;
        }
        // While other jobs wait, the order in which tenants were served still matters.
        if self.waiting.is_empty() {
            self.served.retain(|_, served| served.running > 0);
        }
    }
}

impl Drop for JobPermit {
    fn drop(&mut self) {
        self.schedule.state().give_back(self.tenant, self.bytes);
        self.schedule.serve();
    }
}

#[cfg(test)]
mod tests;
