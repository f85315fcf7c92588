//! Which upkeep a namespace needs most.
//!
//! Promises that a rewrite is chosen only where the disk has room for what it writes, that what
//! frees most for least goes first, and that objects in which nothing lives go without any rewrite.
//! So deletes need no more room than they free and one segment. Before all that comes what has held a dead document for
//! as long as the bound allows.

use crate::{
    age::due_after,
    merge::{SHORT_MERGE_BYTES_MAX, takes_long},
    namespace::Namespace,
    part::Part,
};
use kernel::{Timestamp, limits};

/// What is to be done.
pub(crate) enum Job {
    /// The memtable.
    Flush,
    /// The log begins anew, whatever it holds: something in it has been dead for long.
    Cover,
    /// These objects become one, or none.
    Compact(Vec<Part>),
}

/// What is due. With `now`, expired documents count as dead and the disk is asked for its room;
/// that costs a look at every segment.
pub(crate) fn due(namespace: &Namespace, now: Option<Timestamp>) -> Option<Job> {
    let config = &namespace.shared.config;
    let view = namespace.view();
    let (rows, bytes) = view.memtable_size();
    let log_bytes_max = config.flush_bytes_max.saturating_mul(LOG_FACTOR).max(LOG_BYTES_MIN);
    if rows > config.flush_rows_max || bytes > config.flush_bytes_max || namespace.journal.log_bytes() > log_bytes_max {
        return Some(Job::Flush);
    }
    let room = now.and_then(|_| config.storage.disk_free().ok()?).unwrap_or(u64::MAX);
    if let Some(job) = now.and_then(|now| overdue(namespace, now, room)) {
        return Some(job);
    }
    // What a merge reads is its own until it ends.
    let free = view.sealed().into_iter().filter(|part| !namespace.merging.has(part)).collect();
    let parts = compactable(free, now, room)?;
    let waits = namespace.merging.runs() && takes_long(&parts, config.short_merge_bytes_max);
    (!waits).then_some(Job::Compact(parts))
}

/// What holds a dead document for so long that it must be rewritten now: the log, or an object. One that there is no
/// room for, or that a merge reads, or whose merge has to wait for another, is left for the next time.
pub(crate) fn overdue(namespace: &Namespace, now: Timestamp, room: u64) -> Option<Job> {
    let config = &namespace.shared.config;
    let after = due_after(config.erase_within)?;
    let is_due = |from: Option<Timestamp>| from.is_some_and(|from| from.plus(after) <= now);
    let view = namespace.view();
    if is_due(view.log_dead_from()) {
        return Some(Job::Cover);
    }
    let may = |part: &Part| {
        let waits = namespace.merging.runs() && takes_long(std::slice::from_ref(part), config.short_merge_bytes_max);
        !namespace.merging.has(part) && !waits && needed(part, part.dead_share(Some(now))) <= room
    };
    let mut objects = view.parts.iter().filter(|part| part.object().is_some() && is_due(part.dead_from()));
    objects.find(|part| may(part)).map(|part| Job::Compact(vec![part.clone()]))
}

/// Whether anything of it is due, whoever is at it.
pub(crate) fn owes(namespace: &Namespace, now: Timestamp) -> bool {
    let Some(after) = due_after(namespace.shared.config.erase_within) else { return false };
    namespace.view().dead_from().is_some_and(|from| from.plus(after) <= now)
}

/// Parts that are worth rewriting: those where nothing lives, a mostly dead one, the smallest of
/// too many, or those that want a graph, together.
fn compactable(mut sealed: Vec<Part>, now: Option<Timestamp>, room: u64) -> Option<Vec<Part>> {
    let dead: Vec<Part> = sealed.iter().filter(|part| part.dead_share(now) >= 1.0).cloned().collect();
    if !dead.is_empty() {
        return Some(dead);
    }
    let mut half_dead: Vec<(f64, &Part)> =
        sealed.iter().map(|part| (part.dead_share(now), part)).filter(|(share, _)| *share > DEAD_SHARE_MAX).collect();
    // The larger the dead share, the more a rewrite frees for what it writes.
    half_dead.sort_by(|a, b| b.0.total_cmp(&a.0));
    if let Some((_, part)) = half_dead.into_iter().find(|(share, part)| needed(part, *share) <= room) {
        return Some(vec![part.clone()]);
    }
    let count = sealed.len();
    sealed.sort_by_key(|part| part.index.rows());
    let (flat, others): (Vec<Part>, Vec<Part>) = sealed.into_iter().partition(Part::wants_graph);
    // Fewer wait until they are so many: two would be written again with each small flush.
    if count > OBJECTS_MAX && others.len() >= MERGE_MIN {
        let merged = fitting(&others, now, room, u64::from(limits::SEGMENT_ROWS_MAX), MERGE_MIN);
        if merged.len() > 1 {
            return Some(merged.to_vec());
        }
    }
    let linked = fitting(&flat, now, room, GRAPH_ROWS_AT_ONCE_MAX, usize::MAX);
    (!linked.is_empty()).then(|| linked.to_vec())
}

/// The first of these whose rewrite there is room for, up to so many rows. At `enough`, none that is larger than all
/// before it, and none that would make a short merge a long one.
fn fitting(parts: &[Part], now: Option<Timestamp>, room: u64, rows_max: u64, enough: usize) -> &[Part] {
    let (mut rows, mut take, mut bytes, mut size) = (0, 0, 0, 0);
    for part in parts {
        let more = u64::from(part.index.rows());
        bytes += needed(part, part.dead_share(now));
        // One alone is never too large: a rewrite does not make it larger.
        let full = (take > 0 && rows + more > rows_max) || bytes > room;
        let longer = size <= SHORT_MERGE_BYTES_MAX && size + part.size() > SHORT_MERGE_BYTES_MAX;
        if (take >= enough && (more > rows || longer)) || full {
            break;
        }
        rows += more;
        size += part.size();
        take += 1;
    }
    &parts[..take]
}

/// Bytes that writing what lives in a part takes.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate")]
fn needed(part: &Part, dead: f64) -> u64 {
    let size = part.object().map_or_else(|| part.index.bytes(), |object| object.bytes);
    (size as f64 * (1.0 - dead)) as u64
}

/// More objects than this are merged. Every search looks into each.
const OBJECTS_MAX: usize = 8;
/// A merge takes at least so many.
const MERGE_MIN: usize = 4;
/// Parts get one graph together up to so many rows: five to twenty minutes of one core. What a crash undoes is as long.
const GRAPH_ROWS_AT_ONCE_MAX: u64 = 1 << 20;
/// An object is rewritten when more of it is dead. The dead cost memory and may not stay for ever.
const DEAD_SHARE_MAX: f64 = 0.3;
/// A log of so many flushes is cut even when the memtable is small (deletes, overwrites).
const LOG_FACTOR: u64 = 4;
/// And never below this, bytes: a checkpoint costs more than replaying so little.
const LOG_BYTES_MIN: u64 = 1 << 20;

#[cfg(test)]
mod tests;
