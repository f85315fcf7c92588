//! Sums over all namespaces, for metrics and the memory budget. They hold nothing about a single tenant.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Contribution of a version to the sums over all namespaces.
#[derive(Clone, Copy, Default)]
pub(crate) struct VersionStats {
    pub(crate) bytes: u64,
    pub(crate) documents: u64,
    pub(crate) deleted: u64,
    pub(crate) graphless: u64,
}

/// Counters since the start, or of the namespaces that are open now.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) memory: AtomicU64,
    pub(crate) open: AtomicU64,
    pub(crate) flushes: AtomicU64,
    pub(crate) compactions: AtomicU64,
    pub(crate) reencrypted_objects: AtomicU64,
    pub(crate) maintenance_failures: AtomicU64,
    pub(crate) evictions: AtomicU64,
    pub(crate) quarantined: AtomicU64,
    pub(crate) queued: AtomicU64,
    documents: AtomicU64,
    deleted: AtomicU64,
    graphless: AtomicU64,
    accepted: AtomicU64,
    written: AtomicU64,
}

/// Numbers for metrics; they contain no names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoresStats {
    /// Number of open namespaces.
    pub open: u64,
    /// Estimated heap size of the open namespaces.
    pub memory_bytes: u64,
    /// Number of flushes since the start.
    pub flushes: u64,
    /// Number of compactions since the start.
    pub compactions: u64,
    /// Number of objects that were re-encrypted under newer keys since the start.
    pub reencrypted_objects: u64,
    /// Number of flushes and compactions that failed and were postponed since the start.
    pub maintenance_failures: u64,
    /// Number of namespaces that were closed to free memory or files since the start.
    pub evictions: u64,
    /// Number of namespaces that cannot be opened because their bytes are not what was written.
    pub quarantined: u64,
    /// Number of documents in the indexes of open namespaces, including deleted ones.
    pub documents: u64,
    /// Number of deleted documents among them; compaction removes these.
    pub tombstones: u64,
    /// Live rows of large segments without a graph yet; searches scan them.
    pub rows_without_graph: u64,
    /// Bytes of documents and ids that were accepted since the start.
    pub bytes_accepted: u64,
    /// Bytes of log entries, objects and checkpoints that were written for them since the start.
    pub bytes_written: u64,
    /// Number of writes that wait for their namespace's writer.
    pub writes_waiting: u64,
    /// Number of maintenance jobs that wait for a permit.
    pub maintenance_waiting: u64,
    /// Number of maintenance jobs that hold a permit.
    pub maintenance_jobs_running: u64,
    /// Bytes that those jobs may use.
    pub maintenance_bytes: u64,
}

impl StoresStats {
    /// Share of deleted documents over all open namespaces, 0 to 1.
    pub fn tombstone_share(&self) -> f64 {
        ratio(self.tombstones, self.documents)
    }

    /// Bytes written per byte accepted; 0 before the first write.
    pub fn write_amplification(&self) -> f64 {
        ratio(self.bytes_written, self.bytes_accepted)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share for people to read")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl Counters {
    /// Replaces what a namespace contributes to the sums.
    pub(crate) fn replace_stats(&self, before: VersionStats, now: VersionStats) {
        let sums = [&self.memory, &self.documents, &self.deleted, &self.graphless];
        let values = |w: VersionStats| [w.bytes, w.documents, w.deleted, w.graphless];
        for ((sum, before), now) in sums.into_iter().zip(values(before)).zip(values(now)) {
            sum.fetch_add(now, Relaxed);
            sum.fetch_sub(before, Relaxed);
        }
    }

    /// Counts a log entry that was written.
    pub(crate) fn accepted(&self, accepted: u64, logged: u64) {
        self.accepted.fetch_add(accepted, Relaxed);
        self.written.fetch_add(logged, Relaxed);
    }

    /// Counts the bytes of an object or a checkpoint that was written.
    pub(crate) fn written(&self, bytes: u64) {
        self.written.fetch_add(bytes, Relaxed);
    }

    /// The current numbers, without those of the schedulers.
    pub(crate) fn read(&self) -> StoresStats {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        StoresStats {
            open: read(&self.open),
            memory_bytes: read(&self.memory),
            flushes: read(&self.flushes),
            compactions: read(&self.compactions),
            reencrypted_objects: read(&self.reencrypted_objects),
            maintenance_failures: read(&self.maintenance_failures),
            evictions: read(&self.evictions),
            quarantined: read(&self.quarantined),
            documents: read(&self.documents),
            tombstones: read(&self.deleted),
            rows_without_graph: read(&self.graphless),
            bytes_accepted: read(&self.accepted),
            bytes_written: read(&self.written),
            writes_waiting: read(&self.queued),
            ..StoresStats::default()
        }
    }
}
