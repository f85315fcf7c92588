//! Examines a closed namespace without opening it, so that deleted documents are erased even in a namespace without writes.
//!
//! Its checkpoint records since when something in its objects has been deleted, its log when the first entry was written
//! that may have deleted something, and the object names show orphans. No segment is read. The namespace is opened only
//! if one of these requires it, and then ordinary maintenance rewrites what is due.

use crate::{
    Error, MaintenanceReport,
    entry::slot::Slot,
    maintenance::is_due,
    shared::Shared,
    state::{log_entry, manifest, tombstones::earlier},
};
use journal::{Journal, ObjectRef};
use kernel::Timestamp;
use std::sync::Arc;
use vault::Keyspace;

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
            deleted_since = earlier(deleted_since, log_entry::first_change(body)?.map(|at| at.min(now)));
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
