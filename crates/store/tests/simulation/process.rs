//! One simulated server process: its store, its access to storage, its clock.
//!
//! A killed process receives no answers: everything it waits for stays pending. Whatever it would still do needs an
//! answer first, so it does nothing.

use crate::{
    crash_disk::DiskClient,
    env::{SimAudit, SimClock, SimEnv},
    faulty::Handle,
    rng::Rng,
};
use journal::Storage;
use kernel::{AuditOutboxRecord, AuditPosition, AuditSink, BoxFuture, CommitNo, Incarnation, NamespaceUuid};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use store::{CpuPool, Stores, StoresConfig};
use tokio_util::task::TaskTracker;

pub(crate) struct Process {
    pub(crate) stores: Stores,
    pub(crate) storage: Storage,
    pub(crate) handle: Handle,
    disk_client: Option<DiskClient>,
}

/// Limits that a run chooses for its processes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SimLimits {
    pub(crate) flush_rows_max: u64,
    pub(crate) flush_bytes_max: u64,
    pub(crate) memory_bytes_max: u64,
    pub(crate) inline_bytes_max: usize,
    pub(crate) short_merge_bytes_max: u64,
    pub(crate) erase_within: Duration,
}

impl Process {
    pub(crate) fn new(
        env: &SimEnv,
        storage: Storage,
        access: (Handle, Option<DiskClient>),
        sizes: SimLimits,
        mut rng: Rng,
    ) -> Self {
        let (handle, disk_client) = access;
        let clock = SimClock::new(env.began, rng.millis(0, 7_200_000));
        let tracker = TaskTracker::new();
        let cpu = InlinePool(Mutex::new(Rng::new(rng.next(), 7)), tracker.clone());
        let sink = Sink { audit: env.audit.clone(), handle: handle.clone(), rng: Mutex::new(rng) };
        let stores = Stores::new(StoresConfig {
            storage: storage.clone(),
            directory: env.directory.clone(),
            clock: Arc::new(clock),
            entropy: env.entropy.clone(),
            sink: Arc::new(sink),
            cpu: Arc::new(cpu),
            tracker,
            flush_bytes_max: sizes.flush_bytes_max,
            flush_rows_max: sizes.flush_rows_max,
            memory_bytes_max: sizes.memory_bytes_max,
            stale_reads_max: std::time::Duration::ZERO,
            maintenance_jobs_max: 2,
            maintenance_bytes_max: 1 << 20,
            short_merge_bytes_max: sizes.short_merge_bytes_max,
            erase_within: sizes.erase_within,
            graphs: segment::GraphMode::Built,
            inline_bytes_max: sizes.inline_bytes_max,
        });
        Self { stores, storage, handle, disk_client }
    }

    /// Kills the process: it does nothing more, and its callers get no answer.
    pub(crate) fn kill(&self) {
        self.handle.kill();
        if let Some(disk_client) = &self.disk_client {
            disk_client.close();
        }
    }

    /// Makes a call on behalf of a client. Returns `None` if the process was killed meanwhile or took too long; then it
    /// is unknown whether the call happened. A frozen process neither takes a call nor answers.
    pub(crate) async fn serve<T>(&self, call_timeout: Duration, call: impl Future<Output = T>) -> Option<T> {
        let served = async {
            self.handle.until_running().await;
            let answer = call.await;
            self.handle.until_running().await;
            answer
        };
        let served = tokio::time::timeout(call_timeout, served);
        tokio::select! {
            biased;
            () = self.handle.until_killed() => None,
            answer = served => answer.ok(),
        }
    }
}

/// CPU pool that runs work at once, because a simulation has one thread. Work that takes minutes is run after a delay.
struct InlinePool(Mutex<Rng>, TaskTracker);

impl CpuPool for InlinePool {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }

    fn run_merge(&self, work: Box<dyn FnOnce() + Send>) {
        let wait = self.0.lock().unwrap().millis(0, 60_000);
        self.1.spawn(async move {
            tokio::time::sleep(wait).await;
            work();
        });
    }
}

/// The audit log, as one process accesses it.
struct Sink {
    audit: Arc<SimAudit>,
    handle: Handle,
    rng: Mutex<Rng>,
}

impl AuditSink for Sink {
    fn append_from_outbox(&self, line: AuditOutboxRecord) -> BoxFuture<'_, Result<(), kernel::Error>> {
        Box::pin(async move {
            self.handle.until_running().await;
            let (wait, refuses) = {
                let mut rng = self.rng.lock().unwrap();
                (rng.millis(0, 5), rng.chance(10) && !self.handle.faults_stopped())
            };
            tokio::time::sleep(wait).await;
            self.handle.until_running().await;
            if refuses {
                return Err(kernel::Error::internal("the audit log refuses"));
            }
            self.audit.append_from_outbox(line);
            Ok(())
        })
    }

    fn recorded(
        &self,
        _: Incarnation,
        namespace: NamespaceUuid,
    ) -> BoxFuture<'_, Result<Option<AuditPosition>, kernel::Error>> {
        Box::pin(async move {
            self.handle.until_running().await;
            Ok(self.audit.mark(namespace))
        })
    }

    fn rolled_back(&self, _: Incarnation, namespace: NamespaceUuid, recorded: AuditPosition, found: CommitNo) {
        panic!("no file was put back, and {namespace} is at {found} where {} is recorded", recorded.commit);
    }
}
