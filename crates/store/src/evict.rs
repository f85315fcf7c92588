//! Eviction: when open namespaces pass the memory budget or are too many for the files that a process
//! may hold open, those that no request holds are closed, the longest unused first.
//!
//! One whose log is long is flushed before it goes, and where something was written the log gets its
//! mark of a clean end, so that it opens quickly again. Nothing is lost at any moment: what was
//! acknowledged is in the log. Runs in the background, once at a time.

use crate::{
    namespace::Namespace,
    slot::Slot,
    stores::{Shared, Slots},
    upkeep,
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// Whether a pass is running, and whether another was asked for meanwhile.
#[derive(Default)]
pub(crate) struct Evictor {
    runs: AtomicBool,
    asked: AtomicBool,
    turn: tokio::sync::Mutex<()>,
}

/// Before a namespace is opened: waits until there are files for it, closing others if need be. False: those that are
/// open are all in use.
pub(crate) async fn make_way(shared: &Arc<Shared>, slots: &Slots) -> bool {
    let is_full = || journal::open_files() >= shared.files_max;
    if is_full() {
        pass(shared, slots).await;
    }
    !is_full()
}

/// Starts a pass if the budget is passed and none runs.
pub(crate) fn start_if_due(shared: &Arc<Shared>, slots: &Arc<Slots>) {
    if !over(shared, 0) {
        return;
    }
    let evictor = shared.evictor();
    evictor.asked.store(true, Ordering::Release);
    if evictor.runs.swap(true, Ordering::AcqRel) {
        return;
    }
    let (theirs, slots) = (shared.clone(), slots.clone());
    let passes = async move {
        let evictor = theirs.evictor();
        loop {
            while evictor.asked.swap(false, Ordering::AcqRel) {
                pass(&theirs, &slots).await;
            }
            evictor.runs.store(false, Ordering::Release);
            // A request that came between the last look and this found a pass running and started none.
            if !evictor.asked.load(Ordering::Acquire) || evictor.runs.swap(true, Ordering::AcqRel) {
                return;
            }
        }
    };
    shared.config.tracker.spawn_on(passes, shared.runtime());
}

async fn pass(shared: &Arc<Shared>, slots: &Slots) {
    let _one = shared.evictor().turn.lock().await;
    let open = |slot: Arc<Slot>| Some((slot.used()?, slot));
    let mut candidates: Vec<(u64, Arc<Slot>)> = slots.all().into_iter().filter_map(open).collect();
    candidates.sort_by_key(|(used, _)| *used);
    for (used, slot) in candidates {
        if !over(shared, SLACK_SHARE) {
            return;
        }
        // A request entered it meanwhile: it is no longer the longest unused.
        if slot.used() != Some(used) || !slot.is_idle() {
            continue;
        }
        if let Some(namespace) = slot.current().filter(opens_slowly) {
            // What cannot be flushed goes all the same: the memory is what is short.
            if let Err(error) = upkeep::flush(&namespace).await {
                tracing::warn!(namespace = %namespace.home.uuid(), %error, "not flushed before it was let go");
            }
        }
        if let Some(namespace) = slot.current()
            && let Err(error) = namespace.journal.close().await
        {
            tracing::warn!(namespace = %namespace.home.uuid(), %error, "the log has no mark of a clean end");
        }
        if slot.let_go() {
            shared.counters.evictions.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Whether its next opening would replay much.
pub(crate) fn opens_slowly(namespace: &Arc<Namespace>) -> bool {
    namespace.journal.log_bytes() > SLOW_LOG_BYTES && namespace.view().memtable_size().0 > 0
}

/// Whether there is too much, with one part in `slack` (0: nothing) to be free beside it.
fn over(shared: &Shared, slack: u64) -> bool {
    let now = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let counters = &shared.counters;
    passed(now(&counters.memory), shared.config.memory_bytes_max, slack)
        || passed(now(&counters.open), shared.namespaces_open_max, slack)
        // Some are left for those that are opened while others are closed.
        || passed(journal::open_files(), shared.files_max - shared.files_max / 8, slack)
}

fn passed(now: u64, max: u64, slack: u64) -> bool {
    now > max - max.checked_div(slack).unwrap_or(0)
}

/// A pass continues until this share of the budget is free: it looks at every namespace, and must not be due again at
/// the next opening.
const SLACK_SHARE: u64 = 16;
/// A log above this is flushed before its namespace is let go, bytes.
const SLOW_LOG_BYTES: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::limits;

    /// Found by 25,000 namespaces in one process that may open 20,000 files: the budget of bytes was far, and a write failed.
    #[test]
    fn namespaces_are_closed_before_the_process_has_no_more_files_to_open() {
        let max = limits::NAMESPACES_OPEN_MAX;
        assert!(max < 20_000 && passed(max + 1, max, 0) && !passed(max, max, 0));
        assert!(passed(max, max, SLACK_SHARE), "a pass frees more than the one that was too many");
    }
}
