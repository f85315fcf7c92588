//! Eviction: when open namespaces exceed the memory budget or the number of files that the process may have open, those
//! that no request uses are closed, least recently used first.
//!
//! A namespace with a long log is flushed first, and a log that was written to gets its clean-shutdown mark, so that it
//! opens quickly again. Nothing is lost at any moment: everything acknowledged is in the log. Runs in the background,
//! one pass at a time.

use crate::{
    entry::slot::{Slot, Slots},
    shared::Shared,
    single_task::SingleTask,
};
use std::sync::{Arc, atomic::Ordering};
use tokio::runtime::Handle;

/// Evicts namespaces; see the module documentation.
pub(crate) struct Evictor {
    slots: Arc<Slots>,
    passes: SingleTask,
    /// Held during a pass.
    pass_lock: tokio::sync::Mutex<()>,
    /// Runtime for the passes: a snapshot may be dropped on a thread outside it, and may be what was too much.
    runtime: Handle,
}

impl Evictor {
    /// Creates an evictor.
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub(crate) fn new(slots: Arc<Slots>) -> Arc<Self> {
        let (passes, pass_lock) = (SingleTask::default(), tokio::sync::Mutex::default());
        Arc::new(Self { slots, passes, pass_lock, runtime: Handle::current() })
    }

    /// Makes `shared` start a pass when a budget is exceeded.
    pub(crate) fn attach(self: &Arc<Self>, shared: &Arc<Shared>) {
        let attached = || -> Box<dyn Fn() + Send + Sync> {
            // Weak, because the slots hold namespaces, and these hold `shared`.
            let (evictor, shared) = (Arc::downgrade(self), Arc::downgrade(shared));
            Box::new(move || {
                if let (Some(evictor), Some(shared)) = (evictor.upgrade(), shared.upgrade()) {
                    evictor.start(shared);
                }
            })
        };
        let _attached = shared.evict.get_or_init(attached);
    }

    /// Makes sure that a namespace can open its files, closing others if necessary. Returns false if all open
    /// namespaces are in use.
    pub(crate) async fn free_files(&self, shared: &Shared) -> bool {
        let is_full = || journal::open_files() >= shared.files_max;
        if is_full() {
            self.pass(shared).await;
        }
        !is_full()
    }

    fn start(self: Arc<Self>, shared: Arc<Shared>) {
        if !self.passes.request() {
            return;
        }
        let (tracker, runtime) = (shared.config.tracker.clone(), self.runtime.clone());
        let passes = async move {
            loop {
                self.pass(&shared).await;
                if !self.passes.again() {
                    return;
                }
            }
        };
        tracker.spawn_on(passes, &runtime);
    }

    async fn pass(&self, shared: &Shared) {
        let _one_pass = self.pass_lock.lock().await;
        let open = |slot: Arc<Slot>| Some((slot.used()?, slot));
        let mut candidates: Vec<(u64, Arc<Slot>)> = self.slots.all().into_iter().filter_map(open).collect();
        candidates.sort_by_key(|(used, _)| *used);
        for (used, slot) in candidates {
            if !shared.is_over_budget(SLACK_SHARE) {
                return;
            }
            // A request has used it meanwhile, so it is no longer the least recently used.
            if slot.used() != Some(used) || !slot.is_idle() {
                continue;
            }
            if let Some(namespace) = slot.current() {
                // A namespace that cannot be flushed is closed nevertheless: memory is what is short.
                if namespace.opens_slowly()
                    && let Err(error) = namespace.flush().await
                {
                    tracing::warn!(namespace = %slot.uuid(), %error, "not flushed before it was evicted");
                }
                if let Err(error) = namespace.core.journal.close().await {
                    tracing::warn!(namespace = %slot.uuid(), %error, "the log has no clean-shutdown mark");
                }
            }
            // A request may have come since; then the namespace stays open.
            if slot.evict_if_idle() {
                shared.counters.evictions.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// A pass continues until one part in this number of the budget is free: it visits every namespace, and must not be due
/// again at the next opening.
const SLACK_SHARE: u64 = 16;
