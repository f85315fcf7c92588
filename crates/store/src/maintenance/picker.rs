//! Picks the maintenance job that a namespace needs most.
//!
//! Guarantees, when it is given the time, that a rewrite is picked only if the disk has room for its output at that
//! moment (nothing is reserved), that the rewrite which frees most for its cost comes first, and that objects without
//! live documents are removed without a rewrite. Thus deletes need no more room than they free plus one segment. An
//! object that has held a deleted document for as long as the bound allows takes precedence over other rewrites.

use crate::{
    maintenance::state::RunningMerge,
    state::{core::NamespaceCore, live_segment::LiveSegment, tombstones::rewrite_due_after},
};
use kernel::{Timestamp, limits};

/// A maintenance job.
pub(super) enum MaintenanceJob {
    /// Flush the memtable.
    Flush,
    /// Checkpoint until none of the log's present files is left (`cover_all`), because something in them was deleted
    /// long ago.
    RestartLog,
    /// Compact these objects into one, or into none.
    Compact(Vec<LiveSegment>),
}

/// Whether a job may be due, by a look that costs little. A running merge may be doing it already.
pub(super) fn may_be_due(core: &NamespaceCore) -> bool {
    is_due(core, None)
}

/// Whether a job is due, by a look that costs little. The running merge does its part.
pub(super) fn is_due(core: &NamespaceCore, merge: Option<&RunningMerge>) -> bool {
    pick(core, merge, None).is_some() || overdue(core, merge, core.shared.config.clock.now(), u64::MAX).is_some()
}

/// Picks the next job. With `now`, expired documents count as deleted and the disk is asked for free space; that visits
/// every segment. The running merge owns its inputs until it ends.
pub(super) fn pick(
    core: &NamespaceCore,
    merge: Option<&RunningMerge>,
    now: Option<Timestamp>,
) -> Option<MaintenanceJob> {
    let config = &core.shared.config;
    let version = core.version();
    let (rows, bytes) = version.memtable_size();
    let log_bytes_max = config.flush_bytes_max.saturating_mul(LOG_FACTOR).max(LOG_BYTES_MIN);
    if rows > config.flush_rows_max || bytes > config.flush_bytes_max || core.journal.log_bytes() > log_bytes_max {
        return Some(MaintenanceJob::Flush);
    }
    let free_bytes = now.and_then(|_| config.storage.disk_free().ok()?).unwrap_or(u64::MAX);
    if let Some(job) = now.and_then(|now| overdue(core, merge, now, free_bytes)) {
        return Some(job);
    }
    let is_input = |segment: &LiveSegment| merge.is_some_and(|merge| merge.is_input(segment));
    let candidates = version.checkpointed().into_iter().filter(|segment| !is_input(segment)).collect();
    let segments = compactable(candidates, now, free_bytes)?;
    // A long merge waits for the running one, and nothing else is compacted meanwhile.
    let must_wait = merge.is_some() && is_long_merge(&segments, config.short_merge_bytes_max);
    (!must_wait).then_some(MaintenanceJob::Compact(segments))
}

/// Picks the log or an object that has held a deleted document for so long that it must be rewritten now. An object
/// without room for its rewrite, one that a merge reads, or one whose merge has to wait for another is left for the
/// next time.
fn overdue(
    core: &NamespaceCore,
    merge: Option<&RunningMerge>,
    now: Timestamp,
    free_bytes: u64,
) -> Option<MaintenanceJob> {
    let config = &core.shared.config;
    let after = rewrite_due_after(config.erase_within)?;
    let is_due = |from: Option<Timestamp>| from.is_some_and(|from| from.plus(after) <= now);
    let version = core.version();
    if is_due(version.log_deleted_since()) {
        return Some(MaintenanceJob::RestartLog);
    }
    let can_rewrite_now = |segment: &LiveSegment| {
        let waits = merge.is_some_and(|merge| {
            merge.is_input(segment) || is_long_merge(std::slice::from_ref(segment), config.short_merge_bytes_max)
        });
        !waits && bytes_written(segment, segment.deleted_share(Some(now))) <= free_bytes
    };
    let mut objects =
        version.segments.iter().filter(|segment| segment.object().is_some() && is_due(segment.deleted_since()));
    objects.find(|segment| can_rewrite_now(segment)).map(|segment| MaintenanceJob::Compact(vec![segment.clone()]))
}

/// Whether a rewrite is overdue, even if a job is working on it already.
pub(super) fn has_overdue_rewrite(core: &NamespaceCore, now: Timestamp) -> bool {
    let Some(after) = rewrite_due_after(core.shared.config.erase_within) else { return false };
    core.version().deleted_since().is_some_and(|from| from.plus(after) <= now)
}

/// Picks segments that are worth rewriting: those without live documents, one that is mostly deleted, the smallest if
/// there are too many, or together those that need a graph.
fn compactable(mut sealed: Vec<LiveSegment>, now: Option<Timestamp>, free_bytes: u64) -> Option<Vec<LiveSegment>> {
    let deleted: Vec<LiveSegment> =
        sealed.iter().filter(|segment| segment.deleted_share(now) >= 1.0).cloned().collect();
    if !deleted.is_empty() {
        return Some(deleted);
    }
    let mut mostly_deleted: Vec<(f64, &LiveSegment)> = sealed
        .iter()
        .map(|segment| (segment.deleted_share(now), segment))
        .filter(|(share, _)| *share > DELETED_SHARE_MAX)
        .collect();
    // The larger the share of deleted documents, the more a rewrite frees for what it writes.
    mostly_deleted.sort_by(|a, b| b.0.total_cmp(&a.0));
    if let Some((_, segment)) =
        mostly_deleted.into_iter().find(|(share, segment)| bytes_written(segment, *share) <= free_bytes)
    {
        return Some(vec![segment.clone()]);
    }
    // Otherwise merge the smallest segments, or build graphs.
    let count = sealed.len();
    sealed.sort_by_key(|segment| segment.index.rows());
    let (without_graph, others): (Vec<LiveSegment>, Vec<LiveSegment>) =
        sealed.into_iter().partition(LiveSegment::wants_graph);
    // Fewer segments wait until there are enough: two would be rewritten with every small flush.
    if count > OBJECTS_MAX && others.len() >= MERGE_MIN {
        let merged = fitting(&others, now, free_bytes, u64::from(limits::SEGMENT_ROWS_MAX), MERGE_MIN);
        if merged.len() > 1 {
            return Some(merged.to_vec());
        }
    }
    let for_graph = fitting(&without_graph, now, free_bytes, GRAPH_ROWS_AT_ONCE_MAX, usize::MAX);
    (!for_graph.is_empty()).then(|| for_graph.to_vec())
}

/// Whether merging these segments builds a graph, extends one, or produces more bytes than a flush should wait for.
pub(super) fn is_long_merge(segments: &[LiveSegment], bytes_max: u64) -> bool {
    let live = || segments.iter().filter(|segment| segment.counts.documents > 0);
    let has_large_graph =
        |segment: &LiveSegment| segment.linked().is_some() && segment.counts.passages > limits::GRAPH_ROWS_MIN as u64;
    live().any(|segment| segment.wants_graph() || has_large_graph(segment))
        || live().map(LiveSegment::size).sum::<u64>() > bytes_max
}

/// The first of these segments whose rewrite the disk has room for, up to `rows_max` rows. Once there are `enough`,
/// stops before a segment larger than all previous ones together and before one that would turn a short merge into a
/// long one.
fn fitting(
    segments: &[LiveSegment],
    now: Option<Timestamp>,
    free_bytes: u64,
    rows_max: u64,
    enough: usize,
) -> &[LiveSegment] {
    let (mut rows, mut take, mut bytes, mut size) = (0, 0, 0, 0);
    for segment in segments {
        let more = u64::from(segment.index.rows());
        bytes += bytes_written(segment, segment.deleted_share(now));
        // A single segment is never too large: a rewrite does not make it larger.
        let full = (take > 0 && rows + more > rows_max) || bytes > free_bytes;
        let longer = size <= SHORT_MERGE_BYTES_MAX && size + segment.size() > SHORT_MERGE_BYTES_MAX;
        if (take >= enough && (more > rows || longer)) || full {
            break;
        }
        rows += more;
        size += segment.size();
        take += 1;
    }
    &segments[..take]
}

/// Bytes that writing the live documents of a segment takes.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate")]
fn bytes_written(segment: &LiveSegment, deleted: f64) -> u64 {
    let size = segment.object().map_or_else(|| segment.index.bytes(), |object| object.bytes);
    (size as f64 * (1.0 - deleted)) as u64
}

/// Merges of up to this many bytes take some tenths of a second and run like flushes, without a graph.
pub const SHORT_MERGE_BYTES_MAX: u64 = 64 << 20;
/// Number of objects above which they are merged. Every search reads each of them.
const OBJECTS_MAX: usize = 8;
/// Least number of segments in such a merge.
const MERGE_MIN: usize = 4;
/// Most rows for which one graph is built at once: five to twenty minutes of one core. A crash loses as much work.
const GRAPH_ROWS_AT_ONCE_MAX: u64 = 1 << 20;
/// Share of deleted documents above which an object is rewritten. They use memory and must not stay forever.
const DELETED_SHARE_MAX: f64 = 0.3;
/// The log is truncated at this many times the flush threshold even if the memtable is small (deletes, overwrites).
const LOG_FACTOR: u64 = 4;
/// Size in bytes below which the log is never truncated for its size: a checkpoint costs more than replaying so little.
const LOG_BYTES_MIN: u64 = 1 << 20;

#[cfg(test)]
mod tests;
