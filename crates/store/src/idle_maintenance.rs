//! Maintenance of namespaces without writes. Writes start maintenance, and deleted documents must be erased without
//! one.
//!
//! A closed namespace is examined without opening it: its checkpoint records since when something in its objects has
//! been deleted, its log when the first entry was written that may have deleted something, and the object names show
//! orphans. No segment is read. The namespace is opened only if one of these requires it, and then ordinary maintenance
//! rewrites what is due.

use crate::{
    Error,
    compaction_picker::has_overdue_rewrite,
    entry,
    maintenance::{self, MaintenanceState, cover_all, delete_obsolete},
    manifest,
    namespace::Namespace,
    slot::Slot,
    stores::Shared,
    tombstones::{earlier, rewrite_due_after},
};
use journal::{Journal, ObjectRef};
use kernel::Timestamp;
use std::sync::{Arc, atomic::Ordering};
use vault::Keyspace;

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

/// Examines a closed namespace without opening it. `None` if it has to be opened.
///
/// # Errors
/// Errors of the journal; fails if something cannot be read.
pub(crate) async fn inspect(
    shared: &Shared,
    slot: &Slot,
    keyspace: Arc<Keyspace>,
) -> Result<Option<MaintenanceReport>, Error> {
    let mut opening = slot.opening().await;
    // Another task has opened it first, or it is destroyed, or opening it failed a moment ago. A failed namespace is
    // closed by the next opening.
    if slot.ready(shared)?.is_some() || slot.is_loaded() {
        return Ok(None);
    }
    let config = &shared.config;
    let (clock, entropy) = (config.clock.clone(), config.entropy.clone());
    let (journal, found) = Journal::resume(&config.storage, keyspace, clock, entropy, opening.take()).await?;
    let inspection = async {
        if found.dropped {
            return Ok(None);
        }
        let now = config.clock.now();
        let (mut deleted_since, named) = match &found.checkpoint {
            Some(body) => deletions_and_objects(manifest::read(body)?.clamped_to(now), found.entries.is_empty()),
            None => (None, Vec::new()),
        };
        for (_, body) in &found.entries {
            deleted_since = earlier(deleted_since, entry::first_change(body)?.map(|at| at.min(now)));
        }
        let due = is_due(shared, deleted_since, now) || journal.count_orphans(&named).await? > 0;
        Ok((!due).then(|| MaintenanceReport { deleted_since, ..MaintenanceReport::default() }))
    };
    let report = inspection.await;
    *opening = journal.detach();
    if let Ok(Some(MaintenanceReport { deleted_since, .. })) = report {
        slot.set_idle_hint(Some(deleted_since));
    }
    report
}

/// The objects that a checkpoint names, and since when something in them or in the log is deleted.
fn deletions_and_objects(manifest: manifest::Manifest, covers_all: bool) -> (Option<Timestamp>, Vec<ObjectRef>) {
    let log = manifest.log_deleted_since.filter(|_| !covers_all);
    let inline = manifest.inline.and_then(|inline| inline.tombstones.deleted_since());
    let objects = manifest.segments.iter().filter_map(|entry| entry.tombstones.deleted_since());
    let from = objects.chain(inline).chain(log).min();
    (from, manifest.segments.into_iter().map(|entry| entry.object).collect())
}

impl Namespace {
    /// Since when something in it is deleted, as a hint for when it is closed; `None` if it must be examined.
    pub(crate) fn idle_hint(&self) -> Option<Option<Timestamp>> {
        let is_clean = !self.has_failed() && self.orphan_free.load(Ordering::Acquire);
        let is_clean = is_clean && self.maintenance.try_lock().is_ok_and(|maintenance| maintenance.obsolete.is_empty());
        is_clean.then(|| self.version().deleted_since())
    }
}

/// Runs what is due in an open namespace and waits for it. Runs in a separate task, which finishes what it started.
///
/// # Errors
/// The error that stopped it.
pub(crate) async fn maintain(namespace: &Arc<Namespace>) -> Result<MaintenanceReport, Error> {
    let held = namespace.clone();
    let task = async move { run(&held).await.inspect_err(|error| maintenance::failed(&held, error)) };
    namespace.shared.config.tracker.spawn(task).await.map_err(|_| Error::Panicked)?
}

async fn run(namespace: &Arc<Namespace>) -> Result<MaintenanceReport, Error> {
    let shared = &namespace.shared;
    let has_overdue_rewrite = || namespace.is_open() && has_overdue_rewrite(namespace, shared.config.clock.now());
    collect_orphans(namespace).await?;
    for _ in 0..ROUNDS_MAX {
        if !has_overdue_rewrite() {
            break;
        }
        // A merge holds the namespace open anyway, and one at a time is enough.
        namespace.merging.wait_until_idle().await;
        let previous = Arc::downgrade(&namespace.version());
        maintenance::run(namespace, false).await?;
        namespace.merging.wait_until_idle().await;
        // The disk has no room, or the merge failed and was logged: the next sweep of retention tries again.
        if std::ptr::eq(previous.as_ptr(), Arc::as_ptr(&namespace.version())) {
            break;
        }
    }
    let orphans = !collect_orphans(namespace).await?;
    Ok(MaintenanceReport { deleted_since: namespace.version().deleted_since(), orphans, opened: true })
}

/// Deletes orphans, which a crash between two steps or a failed deletion has left. Returns whether none is left.
async fn collect_orphans(namespace: &Arc<Namespace>) -> Result<bool, Error> {
    let _no_merge = namespace.merge_puts.lock().await;
    let mut maintenance = namespace.maintenance.lock().await;
    if !namespace.is_open() {
        return Ok(false);
    }
    delete_obsolete(namespace, &mut maintenance, false).await?;
    collect_orphans_locked(namespace, &mut maintenance).await?;
    Ok(namespace.orphan_free.load(Ordering::Acquire) && maintenance.obsolete.is_empty())
}

/// Deletes orphans. The caller holds both the maintenance lock and the merge lock: thus nothing is put meanwhile, and
/// an object that is not named now never will be.
pub(crate) async fn collect_orphans_locked(
    namespace: &Arc<Namespace>,
    maintenance: &mut MaintenanceState,
) -> Result<(), Error> {
    if namespace.orphan_free.load(Ordering::Acquire) {
        return Ok(());
    }
    let journal = &namespace.journal;
    let kept_objects = |maintenance: &MaintenanceState| -> Vec<ObjectRef> {
        let obsolete = maintenance.obsolete.iter().map(|obsolete| obsolete.object.clone());
        maintenance.named.iter().cloned().chain(obsolete).collect()
    };
    journal.release_uncommitted(&kept_objects(maintenance));
    let mut orphans = journal.count_orphans(&kept_objects(maintenance)).await?;
    if orphans > 0 {
        // Writing a checkpoint deletes the covered part of the log; only the writer may sweep a bucket; and after this
        // checkpoint no earlier one whose outcome is unknown can take effect.
        cover_all(namespace, maintenance).await?;
        journal.sweep(&kept_objects(maintenance)).await?;
        orphans = journal.count_orphans(&kept_objects(maintenance)).await?;
    }
    namespace.orphan_free.store(orphans == 0, Ordering::Release);
    Ok(())
}

/// Most rounds of one call. Merges of a namespace run one after another; the next sweep continues after this many.
const ROUNDS_MAX: u32 = 64;
