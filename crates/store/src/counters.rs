//! Sums over all namespaces, for metrics and the memory budget. Nothing of a tenant's.

use crate::namespace::Weight;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// See the module. All since the start, or of what is open now.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) memory: AtomicU64,
    pub(crate) open: AtomicU64,
    pub(crate) flushes: AtomicU64,
    pub(crate) compactions: AtomicU64,
    pub(crate) resealed: AtomicU64,
    pub(crate) upkeep_failures: AtomicU64,
    pub(crate) evictions: AtomicU64,
    pub(crate) quarantined: AtomicU64,
    pub(crate) queued: AtomicU64,
    documents: AtomicU64,
    dead: AtomicU64,
    graphless: AtomicU64,
    accepted: AtomicU64,
    written: AtomicU64,
}

/// Numbers for metrics. No names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoresStats {
    /// Open namespaces.
    pub open: u64,
    /// Their heap estimate.
    pub memory_bytes: u64,
    /// Since the start.
    pub flushes: u64,
    /// Since the start.
    pub compactions: u64,
    /// Objects sealed anew under other keys, since the start.
    pub resealed: u64,
    /// Flushes and compactions that were put off, since the start.
    pub upkeep_failures: u64,
    /// Namespaces closed for memory, since the start.
    pub evictions: u64,
    /// Namespaces that do not open because their bytes are not what was written.
    pub quarantined: u64,
    /// Documents in the indexes of open namespaces, dead ones among them.
    pub documents: u64,
    /// Dead ones of those: they leave with compaction.
    pub tombstones: u64,
    /// Living rows of large segments without a graph yet: searches scan them.
    pub rows_without_graph: u64,
    /// Bytes of documents and ids that were accepted, since the start.
    pub bytes_accepted: u64,
    /// Bytes of log entries, objects and checkpoints that were written for them, since the start.
    pub bytes_written: u64,
    /// Writes that wait for their namespace's writer.
    pub writes_waiting: u64,
    /// Upkeep jobs that wait for a permit.
    pub upkeep_waiting: u64,
    /// Upkeep jobs that have one.
    pub upkeep_running: u64,
    /// Bytes that those may take.
    pub upkeep_bytes: u64,
}

impl StoresStats {
    /// Share of dead documents over all open namespaces, 0 to 1.
    pub fn tombstone_share(&self) -> f64 {
        ratio(self.tombstones, self.documents)
    }

    /// Bytes written for each byte accepted; 0 before the first.
    pub fn write_amplification(&self) -> f64 {
        ratio(self.bytes_written, self.bytes_accepted)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share for people to read")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl Counters {
    /// A namespace weighs something else now.
    pub(crate) fn weigh(&self, before: Weight, now: Weight) {
        let sums = [&self.memory, &self.documents, &self.dead, &self.graphless];
        let parts = |w: Weight| [w.bytes, w.documents, w.dead, w.graphless];
        for ((sum, before), now) in sums.into_iter().zip(parts(before)).zip(parts(now)) {
            sum.fetch_add(now, Relaxed);
            sum.fetch_sub(before, Relaxed);
        }
    }

    /// A log entry was written.
    pub(crate) fn accepted(&self, accepted: u64, logged: u64) {
        self.accepted.fetch_add(accepted, Relaxed);
        self.written.fetch_add(logged, Relaxed);
    }

    /// An object or a checkpoint was written.
    pub(crate) fn written(&self, bytes: u64) {
        self.written.fetch_add(bytes, Relaxed);
    }

    /// As they are now; what the schedule knows is left out.
    pub(crate) fn read(&self) -> StoresStats {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        StoresStats {
            open: read(&self.open),
            memory_bytes: read(&self.memory),
            flushes: read(&self.flushes),
            compactions: read(&self.compactions),
            resealed: read(&self.resealed),
            upkeep_failures: read(&self.upkeep_failures),
            evictions: read(&self.evictions),
            quarantined: read(&self.quarantined),
            documents: read(&self.documents),
            tombstones: read(&self.dead),
            rows_without_graph: read(&self.graphless),
            bytes_accepted: read(&self.accepted),
            bytes_written: read(&self.written),
            writes_waiting: read(&self.queued),
            ..StoresStats::default()
        }
    }
}
