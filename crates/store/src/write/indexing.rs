//! Background indexing: write buffers become a segment in memory, and small segments are merged.
//!
//! A write only adds to a write buffer. The number of unindexed rows is bounded here, because the first search would
//! have to index them. A crash leaves nothing: everything here is in memory.

use crate::{
    Error,
    cpu::{TaskClass, on_cpu},
    maintenance::MaintenanceQueue,
    state::{
        core::NamespaceCore,
        index::Index,
        live_segment::{Durability, LiveSegment},
        rebuild,
        version::{Version, first_expiry, with_frozen},
    },
};
use kernel::Timestamp;
use segment::{Segment, Spec, WriteBuffer};
use std::sync::Arc;
use tokio::task::JoinHandle;

/// The background task that indexes, if one was started. The writer owns it.
#[derive(Default)]
pub(super) struct IndexingTask(Option<JoinHandle<()>>);

impl IndexingTask {
    /// Starts indexing in the background if enough rows wait and no other task indexes them.
    pub(super) fn start_if_due(&mut self, core: &Arc<NamespaceCore>, maintenance: &MaintenanceQueue) {
        let version = core.version();
        // While a flush runs, the next one is near: what it will write anyway is not indexed twice.
        let flush_is_near = maintenance.is_busy() && version.unindexed_rows() < UNINDEXED_ROWS_MAX / 2;
        let is_running = self.0.as_ref().is_some_and(|task| !task.is_finished());
        if flush_is_near || is_running || due(&version, core.shared.config.flush_rows_max).is_none() {
            return;
        }
        let held = core.clone();
        self.0 = Some(core.shared.config.tracker.spawn(async move { while index_batch(&held).await {} }));
    }
}

/// Whether enough rows wait to be indexed.
pub(super) fn is_due(core: &NamespaceCore) -> bool {
    due(&core.version(), core.shared.config.flush_rows_max).is_some()
}

/// Makes the writer wait while more rows are unindexed than a search should have to index.
pub(super) async fn throttle(core: &NamespaceCore) {
    while core.version().unindexed_rows() > UNINDEXED_ROWS_MAX {
        if !index_batch(core).await {
            return;
        }
    }
}

/// Indexes one batch. Returns whether it indexed one.
async fn index_batch(core: &NamespaceCore) -> bool {
    let _indexing = core.indexing.lock().await;
    let old = {
        let mut publishing = core.published.lock().await;
        let version = publishing.version();
        let Some(old) = due(&version, core.shared.config.flush_rows_max) else { return false };
        publishing.publish(with_frozen(&version, &old, true));
        old
    };
    let outcome = replace(core, &old).await;
    if let Err(error) = &outcome {
        tracing::error!(namespace = %core.keyspace.uuid(), %error, "indexing the memtable failed");
        core.fail();
    }
    outcome.is_ok()
}

async fn replace(core: &NamespaceCore, old: &[LiveSegment]) -> Result<(), Error> {
    let config = &core.shared.config;
    let (spec, now, segments) = (core.version().spec, config.clock.now(), old.to_vec());
    let built = on_cpu(&*config.cpu, TaskClass::Write(core.incarnation), move || build(spec, &segments, now)).await??;
    // Documents deleted while this was built are deleted in the new segment too.
    let mut publishing = core.published.lock().await;
    let fresh = built.map(|segment| (Arc::new(Index::Segment(segment)), Durability::Log));
    let nothing_lives = fresh.is_none();
    if let Some(mut version) = publishing.version().replaced(old, fresh, now)? {
        if nothing_lives {
            version.log.record_deletion(first_expiry(old));
        }
        publishing.publish(version);
    }
    Ok(())
}

fn build(spec: Spec, segments: &[LiveSegment], now: Timestamp) -> Result<Option<Segment>, Error> {
    let write_buffers: Option<Vec<_>> =
        segments.iter().map(|segment| Some((segment.index.write_buffer()?, &*segment.deleted))).collect();
    let Some(write_buffers) = write_buffers else { return rebuild::in_memory(spec, segments, now) };
    let joined = WriteBuffer::joined(&spec, write_buffers)?;
    Ok(if joined.documents() == 0 { None } else { Some(joined.build()?) })
}

/// Segments that are worth indexing now: write buffers that have many rows together, or enough segments of one size
/// class. Frozen segments belong to another task.
fn due(version: &Version, flush_rows_max: u64) -> Option<Vec<LiveSegment>> {
    let free = || version.segments.iter().filter(|segment| segment.in_log() && !segment.frozen);
    let write_buffers: Vec<LiveSegment> =
        free().filter(|segment| segment.index.write_buffer().is_some()).cloned().collect();
    if write_buffers.iter().map(rows).sum::<u64>() >= INDEXED_AT_ONCE {
        return Some(oldest_batch(write_buffers));
    }
    let mut tiers: Vec<Vec<LiveSegment>> = Vec::new();
    for segment in free().filter(|segment| segment.index.write_buffer().is_none()) {
        // The largest stay as they are until the flush.
        if rows(segment) * TIER_FACTOR > flush_rows_max {
            continue;
        }
        let tier = rows(segment).max(1).ilog(TIER_FACTOR) as usize;
        tiers.resize(tiers.len().max(tier + 1), Vec::new());
        tiers[tier].push(segment.clone());
    }
    tiers.into_iter().find(|tier| tier.len() as u64 >= TIER_FACTOR)
}

/// The oldest write buffers, of bounded size.
fn oldest_batch(write_buffers: Vec<LiveSegment>) -> Vec<LiveSegment> {
    let mut before = 0;
    let mut fits = |segment: &LiveSegment| {
        let fits = before < INDEXED_AT_ONCE;
        before += rows(segment);
        fits
    };
    write_buffers.into_iter().take_while(&mut fits).collect()
}

fn rows(segment: &LiveSegment) -> u64 {
    u64::from(segment.index.rows())
}

/// Rows in write buffers from which they are indexed: about a tenth of a second of one core, at some 20 µs per row of 1
/// KiB. Long rows are flushed before they reach this number, and are then indexed once instead of twice.
const INDEXED_AT_ONCE: u64 = 4_096;
/// Unindexed rows above which writers wait: a few tenths of a second for the search that would index them.
const UNINDEXED_ROWS_MAX: u64 = 16_384;
/// Segments in memory of one size class that are merged into one of the next.
const TIER_FACTOR: u64 = 8;
