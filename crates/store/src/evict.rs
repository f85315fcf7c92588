//! Eviction: when open namespaces exceed the memory budget or the number of files that the process may have open, those
//! that no request uses are closed, least recently used first.
//!
//! A namespace with a long log is flushed first, and a log that was written to gets its clean-shutdown mark, so that it
//! opens quickly again. Nothing is lost at any moment: everything acknowledged is in the log. Runs in the background,
//! one pass at a time.

use crate::{
    maintenance,
    namespace::Namespace,
    slot::Slot,
    stores::{Shared, Slots},
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// Whether a pass is running, and whether another was requested meanwhile.
#[derive(Default)]
pub(crate) struct Evictor {
    is_running: AtomicBool,
    requested: AtomicBool,
    pass_lock: tokio::sync::Mutex<()>,
}

/// Makes sure that a namespace can open its files, closing others if necessary. Returns false if all open namespaces
/// are in use.
pub(crate) async fn free_files(shared: &Arc<Shared>, slots: &Slots) -> bool {
    let is_full = || journal::open_files() >= shared.files_max;
    if is_full() {
        pass(shared, slots).await;
    }
    !is_full()
}

/// Starts a pass if a budget is exceeded and no pass is running.
pub(crate) fn start_if_due(shared: &Arc<Shared>, slots: &Arc<Slots>) {
    if !is_over_budget(shared, 0) {
        return;
    }
    let evictor = shared.evictor();
    evictor.requested.store(true, Ordering::Release);
    if evictor.is_running.swap(true, Ordering::AcqRel) {
        return;
    }
    let (shared_by_passes, slots) = (shared.clone(), slots.clone());
    let passes = async move {
        let evictor = shared_by_passes.evictor();
        loop {
            while evictor.requested.swap(false, Ordering::AcqRel) {
                pass(&shared_by_passes, &slots).await;
            }
            evictor.is_running.store(false, Ordering::Release);
            // A request between the last check and this store found a pass running and started none.
            if !evictor.requested.load(Ordering::Acquire) || evictor.is_running.swap(true, Ordering::AcqRel) {
                return;
            }
        }
    };
    shared.config.tracker.spawn_on(passes, shared.runtime());
}

async fn pass(shared: &Arc<Shared>, slots: &Slots) {
    let _one_pass = shared.evictor().pass_lock.lock().await;
    let open = |slot: Arc<Slot>| Some((slot.used()?, slot));
    let mut candidates: Vec<(u64, Arc<Slot>)> = slots.all().into_iter().filter_map(open).collect();
    candidates.sort_by_key(|(used, _)| *used);
    for (used, slot) in candidates {
        if !is_over_budget(shared, SLACK_SHARE) {
            return;
        }
        // A request has used it meanwhile, so it is no longer the least recently used.
        if slot.used() != Some(used) || !slot.is_idle() {
            continue;
        }
        if let Some(namespace) = slot.current().filter(opens_slowly) {
            // A namespace that cannot be flushed is closed nevertheless: memory is what is short.
            if let Err(error) = maintenance::flush(&namespace).await {
                tracing::warn!(namespace = %namespace.keyspace.uuid(), %error, "not flushed before it was evicted");
            }
        }
        if let Some(namespace) = slot.current()
            && let Err(error) = namespace.journal.close().await
        {
            tracing::warn!(namespace = %namespace.keyspace.uuid(), %error, "the log has no clean-shutdown mark");
        }
        // A request may have come since; then the namespace stays open.
        if slot.evict_if_idle() {
            shared.counters.evictions.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Whether its next opening would replay much.
pub(crate) fn opens_slowly(namespace: &Arc<Namespace>) -> bool {
    namespace.journal.log_bytes() > SLOW_LOG_BYTES && namespace.version().memtable_size().0 > 0
}

/// Whether a budget is exceeded when one part in `slack` of it (0: none) is to stay free.
fn is_over_budget(shared: &Shared, slack: u64) -> bool {
    let now = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let counters = &shared.counters;
    exceeds(now(&counters.memory), shared.config.memory_bytes_max, slack)
        || exceeds(now(&counters.open), shared.namespaces_open_max, slack)
        // Keeps an eighth of the files for namespaces that are opened while others are closed.
        || exceeds(journal::open_files(), shared.files_max - shared.files_max / 8, slack)
}

fn exceeds(now: u64, max: u64, slack: u64) -> bool {
    now > max - max.checked_div(slack).unwrap_or(0)
}

/// A pass continues until one part in this number of the budget is free: it visits every namespace, and must not be due
/// again at the next opening.
const SLACK_SHARE: u64 = 16;
/// Size in bytes above which a log is flushed before its namespace is closed.
const SLOW_LOG_BYTES: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::limits;

    /// Observed with 25,000 namespaces in one process that may open 20,000 files: memory was far below its budget, and
    /// a write failed.
    #[test]
    fn namespaces_are_closed_before_the_process_runs_out_of_files() {
        let max = limits::NAMESPACES_OPEN_MAX;
        assert!(max < 20_000 && exceeds(max + 1, max, 0) && !exceeds(max, max, 0));
        assert!(exceeds(max, max, SLACK_SHARE), "a pass frees more than the one that was too many");
    }
}
