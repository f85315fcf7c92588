//! What all open namespaces share: configuration and sums, nothing that belongs to a tenant.

use crate::{CpuPool, counters::Counters, job_scheduler::JobScheduler, tenant_counter::TenantCounters};
use journal::Storage;
use kernel::{AuditSink, Clock, Entropy, WriteMemory, limits};
use segment::GraphMode;
use std::{
    sync::{Arc, OnceLock, atomic::Ordering},
    time::Duration,
};
use tokio_util::task::TaskTracker;
use vault::Directory;

/// Configuration and dependencies of all namespaces.
pub struct StoresConfig {
    /// The data folder.
    pub storage: Storage,
    /// The source of keyspaces.
    pub directory: Arc<dyn Directory>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The sink for audit records.
    pub sink: Arc<dyn AuditSink>,
    /// The pools for long work.
    pub cpu: Arc<dyn CpuPool>,
    /// Tracks background tasks, so that a shutdown can wait for them.
    pub tracker: TaskTracker,
    /// A memtable above this is flushed, bytes.
    pub flush_bytes_max: u64,
    /// A memtable above this is flushed, rows.
    pub flush_rows_max: u64,
    /// Bytes of open namespaces above which those that no request holds are closed.
    pub memory_bytes_max: u64,
    /// Bucket storage only: maximum age of what is read while another server writes there. Zero allows no staleness, at
    /// the cost of one request to the object store for each read.
    pub stale_reads_max: Duration,
    /// Flushes and short compactions that run at once over all namespaces. As many large merges may run in addition.
    pub maintenance_jobs_max: usize,
    /// Bytes that all of these jobs may use together. A larger job runs alone among its kind.
    pub maintenance_bytes_max: u64,
    /// A merge of more bytes is built concurrently with the namespace's flushes: [`crate::SHORT_MERGE_BYTES_MAX`].
    pub short_merge_bytes_max: u64,
    /// Time within which no object and no log file holds a document that was deleted, overwritten, patched or has
    /// expired. Zero sets no bound: such documents stay until a merge rewrites their segment.
    pub erase_within: Duration,
    /// How a merge builds the graph of a segment.
    pub graphs: GraphMode,
    /// A flushed segment of up to this many bytes is stored in the checkpoint itself: [`crate::INLINE_BYTES_MAX`].
    pub inline_bytes_max: usize,
}

/// See the module documentation.
pub(crate) struct Shared {
    pub(crate) config: StoresConfig,
    pub(crate) counters: Counters,
    pub(crate) tenants: TenantCounters,
    /// Scheduler of flushes and short compactions.
    pub(crate) schedule: Arc<JobScheduler>,
    /// Scheduler of large merges, which flushes must not wait for.
    pub(crate) merges: Arc<JobScheduler>,
    /// A segment whose paged part is at most this many bytes is kept in memory in full.
    pub(crate) resident_bytes_max: u64,
    /// Number of open namespaces above which those that no request uses are closed.
    pub(crate) namespaces_open_max: u64,
    /// Log files and objects that the process may have open.
    pub(crate) files_max: u64,
    /// Memory budget for patches, reviews and deletions. Without one, they are not limited.
    pub(crate) write_memory: Option<Arc<dyn WriteMemory>>,
    /// Closes namespaces that no request uses; called when a budget is exceeded.
    pub(crate) evict: OnceLock<Box<dyn Fn() + Send + Sync>>,
    #[cfg(test)]
    pub(crate) steps: crate::tests::Steps,
}

impl Shared {
    pub(crate) fn new(config: StoresConfig) -> Self {
        Self {
            schedule: JobScheduler::new(config.maintenance_jobs_max, config.maintenance_bytes_max / 2),
            merges: JobScheduler::new(config.maintenance_jobs_max, config.maintenance_bytes_max / 2),
            config,
            counters: Counters::default(),
            tenants: TenantCounters::default(),
            resident_bytes_max: limits::RESIDENT_PAGES_BYTES_MAX,
            namespaces_open_max: limits::NAMESPACES_OPEN_MAX,
            files_max: u64::MAX,
            write_memory: None,
            evict: OnceLock::new(),
            #[cfg(test)]
            steps: crate::tests::Steps::default(),
        }
    }

    /// Reports that a step of maintenance is done, for tests that inspect the disk.
    pub(crate) fn step(&self, step: &'static str) {
        #[cfg(test)]
        self.steps.done(step);
        let _in_tests_only = step;
    }

    /// Closes namespaces that no request uses, in the background, if a budget is exceeded.
    pub(crate) fn evict_if_over_budget(&self) {
        if let Some(evict) = self.evict.get().filter(|_| self.is_over_budget(0)) {
            evict();
        }
    }

    /// Whether a budget is exceeded when one part in `slack` of it (0: none) is to stay free.
    pub(crate) fn is_over_budget(&self, slack: u64) -> bool {
        let memory = self.counters.memory.load(Ordering::Relaxed);
        let open = self.counters.open.load(Ordering::Relaxed);
        exceeds(memory, self.config.memory_bytes_max, slack)
            || exceeds(open, self.namespaces_open_max, slack)
            // Keeps an eighth of the files for namespaces that are opened while others are closed.
            || exceeds(journal::open_files(), self.files_max - self.files_max / 8, slack)
    }
}

fn exceeds(now: u64, max: u64, slack: u64) -> bool {
    now > max - max.checked_div(slack).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Observed with 25,000 namespaces in one process that may open 20,000 files: memory was far below its budget, and
    /// a write failed.
    #[test]
    fn namespaces_are_closed_before_the_process_runs_out_of_files() {
        let max = limits::NAMESPACES_OPEN_MAX;
        assert!(max < 20_000 && exceeds(max + 1, max, 0) && !exceeds(max, max, 0));
        assert!(exceeds(max, max, 16), "a pass frees more than the one that was too many");
    }
}
