//! Re-encrypts everything of a namespace under the newest key of its keyspace: afterwards no object and no log file
//! needs an older key.
//!
//! 1. Objects under older keys are decrypted and sealed again under new ones, several at a time. A checkpoint and then
//!    the version name the new objects, and the old ones are deleted. Documents keep their numbers, and no graph is
//!    built again.
//! 2. A checkpoint covers the whole log: a new log file under the newest key begins with it. Entries that arrived while
//!    it was written are in the previous file; then a second checkpoint covers them too.
//! 3. The stored files are inspected: their headers name the keys that they are sealed under.
//!
//! Reads and writes continue meanwhile. A crash leaves both keys in the keyspace, and calling this again does the rest.
//! Interrupted between two objects, it loses no work.

use crate::{
    Error,
    maintenance::{
        flush::{JOB_FACTOR, cover_all, delete_obsolete},
        state::MaintenanceState,
    },
    state::{
        core::NamespaceCore, index::Index, live_segment::LiveSegment, manifest, objects::put_object, version::Version,
    },
};
use journal::ObjectRef;
use kernel::KeyEpoch;
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

/// What was re-encrypted, and how many files each of the keyspace's key epochs seals now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceReencryption {
    /// Number of objects that were sealed again.
    pub objects: u64,
    /// Total bytes of these objects.
    pub bytes: u64,
    /// Number of objects, logs and checkpoints under each key epoch.
    pub under: BTreeMap<KeyEpoch, u64>,
}

/// Seals some of the objects again that are not under the keyspace's newest key. Nothing is sealed if there is none.
///
/// # Errors
/// The error that stopped it, such as a full disk.
pub(super) async fn objects(
    core: &NamespaceCore,
    state: &mut MaintenanceState,
) -> Result<NamespaceReencryption, Error> {
    let mut report = NamespaceReencryption::default();
    let segments = older(core);
    if !segments.is_empty() {
        rewrite(core, state, &segments, &mut report).await?;
    }
    Ok(report)
}

/// Covers the whole log under the newest key, and counts what each key seals.
///
/// # Errors
/// The error that stopped it; [`Error::NotReencrypted`] if something is still under an older key.
pub(super) async fn log(
    core: &Arc<NamespaceCore>,
    state: &mut MaintenanceState,
) -> Result<NamespaceReencryption, Error> {
    cover_all(core, state).await?;
    // A snapshot that still reads one of them from a bucket gets an error.
    delete_obsolete(core, state, true).await?;
    core.journal.release_uncommitted(&state.named);
    let mut under = core.journal.count_by_key_epoch(&state.named).await?;
    let newest = core.keyspace.epoch();
    if under.keys().any(|epoch| *epoch != newest) {
        // An earlier writer or a failed deletion has left something: the sweep deletes it, and then the files are
        // inspected again.
        core.journal.sweep(&state.named).await?;
        under = core.journal.count_by_key_epoch(&state.named).await?;
    }
    match under.iter().filter(|(epoch, _)| **epoch != newest).map(|(_, count)| *count).sum() {
        0 => Ok(NamespaceReencryption { under, ..NamespaceReencryption::default() }),
        left => Err(Error::NotReencrypted(left)),
    }
}

/// Sealed segments under keys that are not the newest, up to a number of bytes: they share a checkpoint.
fn older(core: &NamespaceCore) -> Vec<LiveSegment> {
    let newest = core.keyspace.epoch();
    let is_older = |old_segment: &LiveSegment| old_segment.object().is_some_and(|object| object.key.epoch != newest);
    let mut bytes = 0;
    let fits = |old_segment: &LiveSegment| {
        let first = bytes == 0;
        bytes += old_segment.size();
        first || bytes <= TOGETHER_BYTES_MAX
    };
    core.version().checkpointed().into_iter().filter(is_older).take_while(fits).collect()
}

async fn rewrite(
    core: &NamespaceCore,
    state: &mut MaintenanceState,
    segments: &[LiveSegment],
    report: &mut NamespaceReencryption,
) -> Result<(), Error> {
    let (shared, journal) = (&core.shared, &core.journal);
    let bytes = segments.iter().map(LiveSegment::size).sum::<u64>().saturating_mul(JOB_FACTOR);
    let _permit = shared.schedule.acquire(core.incarnation, bytes).await;
    let mut fresh = Vec::with_capacity(segments.len());
    // A checkpoint will name the objects, or they become orphans.
    state.orphan_free = false;
    for old_segment in segments {
        match rewrite_object(core, old_segment).await {
            Ok(rewritten) => fresh.push(rewritten),
            Err(error) => {
                // A full disk, for example: the useless new objects are deleted before a retry.
                let _orphans = delete_unnamed(core, &fresh).await;
                return Err(error);
            }
        }
    }
    let prepared = version_with(&core.published.lock().await.version(), &fresh);
    let Some(next) = prepared else {
        // The namespace was emptied meanwhile, so neither the old nor the new objects are needed.
        return delete_unnamed(core, &fresh).await;
    };
    let body = manifest::write(&next, core.outbox.at(state.commit)?)?;
    journal.checkpoint(&body, state.covers).await?;
    shared.counters.written(body.len() as u64);
    shared.step("checkpoint");
    state.checkpoint_names(next.objects(), segments);
    {
        let mut publishing = core.published.lock().await;
        if let Some(version) = version_with(&publishing.version(), &fresh) {
            publishing.publish(version);
        }
    }
    shared.step("replace");
    report.objects += fresh.len() as u64;
    report.bytes += fresh.iter().map(|rewritten| rewritten.object.bytes).sum::<u64>();
    shared.counters.reencrypted_objects.fetch_add(fresh.len() as u64, Ordering::Relaxed);
    drop(fresh);
    delete_obsolete(core, state, false).await
}

/// A segment with the object that replaces its old one.
struct RewrittenSegment {
    old_segment: LiveSegment,
    index: Arc<Index>,
    object: ObjectRef,
}

async fn rewrite_object(core: &NamespaceCore, old_segment: &LiveSegment) -> Result<RewrittenSegment, Error> {
    let old = old_segment.object().ok_or(Error::NotFound)?;
    let bytes = core.journal.read_whole_object(old).await?;
    let (object, segment) = put_object(core, core.version().spec, bytes).await?;
    Ok(RewrittenSegment { old_segment: old_segment.clone(), index: Arc::new(Index::Segment(segment)), object })
}

/// The version with all of these segments read from their new objects; `None` if it lacks one of them.
fn version_with(version: &Version, fresh: &[RewrittenSegment]) -> Option<Version> {
    fresh.iter().try_fold(version.clone(), |version, rewritten| {
        version.with_rewritten(&rewritten.old_segment, &rewritten.index, &rewritten.object)
    })
}

/// Deletes new objects that no checkpoint names.
async fn delete_unnamed(core: &NamespaceCore, fresh: &[RewrittenSegment]) -> Result<(), Error> {
    for rewritten in fresh {
        core.journal.delete(&rewritten.object).await?;
    }
    Ok(())
}

/// Total bytes of objects that share a checkpoint; a larger object has its own. Bounds what is stored twice.
const TOGETHER_BYTES_MAX: u64 = 32 << 20;
