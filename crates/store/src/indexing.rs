//! Background indexing: write buffers become a segment in memory, and small segments are merged.
//!
//! A write only adds to a write buffer. The number of unindexed rows is bounded here, because the first search would
//! have to index them. A crash leaves nothing: everything here is in memory.

use crate::{
    Error,
    cpu::{TaskClass, on_cpu},
    index::Index,
    live_segment::{Durability, LiveSegment},
    namespace::Namespace,
    rebuild,
    version::{Version, first_expiry},
};
use kernel::Timestamp;
use segment::{Segment, Spec, WriteBuffer};
use std::sync::{Arc, atomic::Ordering};

/// Starts indexing in the background if enough rows wait and no other task indexes them.
pub(crate) fn start_if_due(namespace: &Arc<Namespace>) {
    let version = namespace.version();
    // While a flush runs, the next one is near: what it will write anyway is not indexed twice.
    let flush_is_near =
        namespace.maintenance_running.load(Ordering::Acquire) && version.unindexed_rows() < UNINDEXED_ROWS_MAX / 2;
    if flush_is_near
        || due(&version, namespace.shared.config.flush_rows_max).is_none()
        || namespace.indexing_runs.swap(true, Ordering::AcqRel)
    {
        return;
    }
    let held = namespace.clone();
    namespace.shared.config.tracker.spawn(async move {
        while index_batch(&held).await {}
        held.indexing_runs.store(false, Ordering::Release);
    });
}

/// Makes the writer wait while more rows are unindexed than a search should have to index.
pub(crate) async fn throttle(namespace: &Arc<Namespace>) {
    while namespace.version().unindexed_rows() > UNINDEXED_ROWS_MAX {
        if !index_batch(namespace).await {
            return;
        }
    }
}

/// Indexes one batch. Returns whether it indexed one.
async fn index_batch(namespace: &Arc<Namespace>) -> bool {
    let indexing = namespace.indexing.lock().await;
    let old = {
        let _publishing = namespace.publish_lock.lock().await;
        let version = namespace.version();
        let Some(old) = due(&version, namespace.shared.config.flush_rows_max) else { return false };
        namespace.publish(with_frozen(&version, &old, true));
        old
    };
    let outcome = replace(namespace, &old).await;
    if let Err(error) = &outcome {
        tracing::error!(namespace = %namespace.keyspace.uuid(), %error, "indexing the memtable failed");
        namespace.fail();
    }
    drop(indexing);
    outcome.is_ok()
}

async fn replace(namespace: &Arc<Namespace>, old: &[LiveSegment]) -> Result<(), Error> {
    let config = &namespace.shared.config;
    let (spec, now, segments) = (namespace.version().spec, config.clock.now(), old.to_vec());
    let built =
        on_cpu(&*config.cpu, TaskClass::Write(namespace.incarnation), move || build(spec, &segments, now)).await??;
    // Documents deleted while this was built are deleted in the new segment too.
    let _publishing = namespace.publish_lock.lock().await;
    let fresh = built.map(|segment| (Arc::new(Index::Segment(segment)), Durability::Log));
    let nothing_lives = fresh.is_none();
    if let Some(mut version) = namespace.version().replaced(old, fresh, now)? {
        if nothing_lives {
            version.log.record_deletion(first_expiry(old));
        }
        namespace.publish(version);
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

/// The version with these segments marked as frozen or not.
pub(crate) fn with_frozen(version: &Version, which: &[LiveSegment], frozen: bool) -> Version {
    let mut version = version.clone();
    for segment in version.segments.iter_mut().filter(|segment| which.iter().any(|w| w.is(segment))) {
        segment.frozen = frozen;
    }
    version
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
