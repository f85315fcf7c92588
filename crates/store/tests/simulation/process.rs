//! One simulated server process: its stores, its way to the bytes, its clock.
//!
//! A killed process hears nothing any more: whatever it waits for never comes. What it still would
//! do needs an answer first, so it does nothing.

use crate::{
    crash_disk::Door,
    faulty::Handle,
    rng::Rng,
    world::{Chain, SimClock, World},
};
use journal::Storage;
use kernel::{Absorbed, AuditMark, AuditSink, BoxFuture, CommitNo, Incarnation, NamespaceUuid};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use store::{Cpu, Stores, StoresConfig};
use tokio_util::task::TaskTracker;

pub(crate) struct Process {
    pub(crate) stores: Stores,
    pub(crate) storage: Storage,
    pub(crate) handle: Handle,
    door: Option<Door>,
}

/// What a run chooses about its processes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) flush_rows_max: u64,
    pub(crate) flush_bytes_max: u64,
    pub(crate) memory_bytes_max: u64,
    pub(crate) inline_bytes_max: usize,
    pub(crate) short_merge_bytes_max: u64,
    pub(crate) erase_within: Duration,
}

impl Process {
    pub(crate) fn new(
        world: &World,
        storage: Storage,
        ways: (Handle, Option<Door>),
        sizes: Sizes,
        mut rng: Rng,
    ) -> Self {
        let (handle, door) = ways;
        let clock = SimClock::new(world.began, rng.millis(0, 7_200_000));
        let tracker = TaskTracker::new();
        let cpu = Inline(Mutex::new(Rng::new(rng.next(), 7)), tracker.clone());
        let sink = Sink { chain: world.chain.clone(), handle: handle.clone(), rng: Mutex::new(rng) };
        let stores = Stores::new(StoresConfig {
            storage: storage.clone(),
            directory: world.directory.clone(),
            clock: Arc::new(clock),
            entropy: world.entropy.clone(),
            sink: Arc::new(sink),
            cpu: Arc::new(cpu),
            tracker,
            flush_bytes_max: sizes.flush_bytes_max,
            flush_rows_max: sizes.flush_rows_max,
            memory_bytes_max: sizes.memory_bytes_max,
            stale_reads_max: std::time::Duration::ZERO,
            upkeep_jobs_max: 2,
            upkeep_bytes_max: 1 << 20,
            short_merge_bytes_max: sizes.short_merge_bytes_max,
            erase_within: sizes.erase_within,
            graphs: segment::Links::Built,
            inline_bytes_max: sizes.inline_bytes_max,
        });
        Self { stores, storage, handle, door }
    }

    /// It does nothing more, and nobody hears of it.
    pub(crate) fn kill(&self) {
        self.handle.kill();
        if let Some(door) = &self.door {
            door.close();
        }
    }

    /// What the process does for a caller: `None` when it died meanwhile or took too long, and then
    /// nobody knows whether it happened. A frozen process neither takes a call nor answers.
    pub(crate) async fn serve<T>(&self, patience: Duration, call: impl Future<Output = T>) -> Option<T> {
        let served = async {
            self.handle.running().await;
            let answer = call.await;
            self.handle.running().await;
            answer
        };
        let served = tokio::time::timeout(patience, served);
        tokio::select! {
            biased;
            () = self.handle.killed() => None,
            answer = served => answer.ok(),
        }
    }
}

/// Work is done at once: a simulation has one thread. What takes minutes is done after a while.
struct Inline(Mutex<Rng>, TaskTracker);

impl Cpu for Inline {
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

/// The audit chain, as one process reaches it.
struct Sink {
    chain: Arc<Chain>,
    handle: Handle,
    rng: Mutex<Rng>,
}

impl AuditSink for Sink {
    fn absorb(&self, line: Absorbed) -> BoxFuture<'_, Result<(), kernel::Error>> {
        Box::pin(async move {
            self.handle.running().await;
            let (wait, refuses) = {
                let mut rng = self.rng.lock().unwrap();
                (rng.millis(0, 5), rng.chance(10) && !self.handle.is_calm())
            };
            tokio::time::sleep(wait).await;
            self.handle.running().await;
            if refuses {
                return Err(kernel::Error::internal("the chain refuses"));
            }
            self.chain.absorb(line);
            Ok(())
        })
    }

    fn recorded(
        &self,
        _: Incarnation,
        namespace: NamespaceUuid,
    ) -> BoxFuture<'_, Result<Option<AuditMark>, kernel::Error>> {
        Box::pin(async move {
            self.handle.running().await;
            Ok(self.chain.mark(namespace))
        })
    }

    fn rolled_back(&self, _: Incarnation, namespace: NamespaceUuid, recorded: AuditMark, found: CommitNo) {
        panic!("no file was put back, and {namespace} is at {found} where {} is recorded", recorded.commit);
    }
}
