//! Maintenance of namespaces without writes. Writes start maintenance, and deleted documents must be erased without one:
//! from time to time each namespace is swept for copies that are due and for orphans.

use crate::{
    Error,
    maintenance::{picker, queue::MaintenanceQueue},
    shared::Shared,
    state::{core::NamespaceCore, tombstones::rewrite_due_after},
};
use kernel::Timestamp;
use std::sync::Arc;

/// Copies of deleted documents that a namespace still holds, as far as is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaintenanceReport {
    /// When the oldest document of which a copy remains was deleted, overwritten or expired, or when the next one will
    /// expire.
    pub deleted_since: Option<Timestamp>,
    /// Whether unneeded objects remain, because a task reads them or because they could not be deleted.
    pub orphans: bool,
    /// Whether the namespace had to be open for this.
    pub opened: bool,
}

/// Whether something that was deleted at this time is due for erasure.
pub(crate) fn is_due(shared: &Shared, from: Option<Timestamp>, now: Timestamp) -> bool {
    let after = rewrite_due_after(shared.config.erase_within);
    after.zip(from).is_some_and(|(after, from)| from.plus(after) <= now)
}

impl MaintenanceQueue {
    /// Runs what is due in an open namespace and waits for it.
    ///
    /// # Errors
    /// The error that stopped it.
    pub(crate) async fn sweep(&self, core: &Arc<NamespaceCore>) -> Result<MaintenanceReport, Error> {
        let has_overdue = || core.is_open() && picker::has_overdue_rewrite(core, core.shared.config.clock.now());
        self.collect_orphans(core).await?;
        for _ in 0..ROUNDS_MAX {
            if !has_overdue() {
                break;
            }
            // A merge holds the namespace open anyway, and one at a time is enough.
            self.wait_for_merge(core).await?;
            let previous = Arc::downgrade(&core.version());
            self.run(core).await?;
            self.wait_for_merge(core).await?;
            // The disk has no room, or the merge failed and was logged: the next sweep of retention tries again.
            if std::ptr::eq(previous.as_ptr(), Arc::as_ptr(&core.version())) {
                break;
            }
        }
        let orphans = !self.collect_orphans(core).await?;
        Ok(MaintenanceReport { deleted_since: core.version().deleted_since(), orphans, opened: true })
    }
}

/// Most rounds of one call. Merges of a namespace run one after another; the next sweep continues after this many.
const ROUNDS_MAX: u32 = 64;
