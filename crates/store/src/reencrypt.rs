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
    compaction_picker::MaintenanceJob,
    index::Index,
    live_segment::LiveSegment,
    maintenance::{self, JOB_FACTOR, MaintenanceState, ObsoleteObject, delete_obsolete, run_job},
    manifest,
    namespace::Namespace,
    version::Version,
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

/// Re-encrypts everything that is not under the keyspace's newest key.
///
/// # Errors
/// The error that stopped it, such as a full disk; [`Error::NotReencrypted`] if something is still under an older key.
pub(crate) async fn reencrypt(namespace: &Arc<Namespace>) -> Result<NamespaceReencryption, Error> {
    let held = namespace.clone();
    // Runs in a separate task, which finishes the object that it started.
    let task = async move { run(&held).await.inspect_err(|error| maintenance::failed(&held, error)) };
    namespace.shared.config.tracker.spawn(task).await.map_err(|_| Error::Panicked)?
}

async fn run(namespace: &Arc<Namespace>) -> Result<NamespaceReencryption, Error> {
    let mut report = NamespaceReencryption::default();
    loop {
        // A merge that has written its object names it first. One that is still building finds its inputs gone and
        // ends.
        let _no_merge = namespace.merge_puts.lock().await;
        let mut maintenance = namespace.maintenance.lock().await;
        let segments = older(namespace);
        if segments.is_empty() {
            break;
        }
        rewrite(namespace, &mut maintenance, &segments, &mut report).await?;
    }
    let _no_merge = namespace.merge_puts.lock().await;
    let mut maintenance = namespace.maintenance.lock().await;
    run_job(namespace, &mut maintenance, MaintenanceJob::Flush).await?;
    if namespace.journal.last() > maintenance.covers {
        run_job(namespace, &mut maintenance, MaintenanceJob::Flush).await?;
    }
    // A snapshot that still reads one of them from a bucket gets an error.
    delete_obsolete(namespace, &mut maintenance, true).await?;
    namespace.journal.release_uncommitted(&maintenance.named);
    report.under = namespace.journal.count_by_key_epoch(&maintenance.named).await?;
    let newest = namespace.keyspace.epoch();
    if report.under.keys().any(|epoch| *epoch != newest) {
        // An earlier writer or a failed deletion has left something: the sweep deletes it, and then the files are
        // inspected again.
        namespace.journal.sweep(&maintenance.named).await?;
        report.under = namespace.journal.count_by_key_epoch(&maintenance.named).await?;
    }
    match report.under.iter().filter(|(epoch, _)| **epoch != newest).map(|(_, count)| *count).sum() {
        0 => Ok(report),
        left => Err(Error::NotReencrypted(left)),
    }
}

/// Sealed segments under keys that are not the newest, up to a number of bytes: they share a checkpoint.
fn older(namespace: &Namespace) -> Vec<LiveSegment> {
    let newest = namespace.keyspace.epoch();
    let is_older = |old_segment: &LiveSegment| old_segment.object().is_some_and(|object| object.key.epoch != newest);
    let mut bytes = 0;
    let fits = |old_segment: &LiveSegment| {
        let first = bytes == 0;
        bytes += old_segment.size();
        first || bytes <= TOGETHER_BYTES_MAX
    };
    namespace.version().checkpointed().into_iter().filter(is_older).take_while(fits).collect()
}

async fn rewrite(
    namespace: &Arc<Namespace>,
    maintenance: &mut MaintenanceState,
    segments: &[LiveSegment],
    report: &mut NamespaceReencryption,
) -> Result<(), Error> {
    let (shared, journal) = (&namespace.shared, &namespace.journal);
    let bytes = segments.iter().map(LiveSegment::size).sum::<u64>().saturating_mul(JOB_FACTOR);
    let _permit = shared.schedule.acquire(namespace.incarnation, bytes).await;
    let mut fresh = Vec::with_capacity(segments.len());
    for old_segment in segments {
        match rewrite_object(namespace, old_segment).await {
            Ok(rewritten) => fresh.push(rewritten),
            Err(error) => {
                // A full disk, for example: the useless new objects are deleted before a retry.
                let _orphans = delete_unnamed(namespace, &fresh).await;
                return Err(error);
            }
        }
    }
    let prepared = {
        let _publishing = namespace.publish_lock.lock().await;
        version_with(namespace, &fresh)
    };
    let Some(next) = prepared else {
        // The namespace was emptied meanwhile, so neither the old nor the new objects are needed.
        return delete_unnamed(namespace, &fresh).await;
    };
    let body = manifest::write(&next, namespace.audit.at(maintenance.commit)?)?;
    namespace.orphan_free.store(false, Ordering::Release);
    journal.checkpoint(&body, maintenance.covers).await?;
    shared.counters.written(body.len() as u64);
    shared.step("checkpoint");
    for rewritten in &fresh {
        let readers = Arc::downgrade(&rewritten.old_segment.index);
        maintenance
            .obsolete
            .extend(rewritten.old_segment.object().map(|old| ObsoleteObject { object: old.clone(), readers }));
    }
    maintenance.named = next.objects();
    {
        let _publishing = namespace.publish_lock.lock().await;
        if let Some(version) = version_with(namespace, &fresh) {
            namespace.publish(version);
        }
    }
    shared.step("replace");
    report.objects += fresh.len() as u64;
    report.bytes += fresh.iter().map(|rewritten| rewritten.object.bytes).sum::<u64>();
    shared.counters.reencrypted_objects.fetch_add(fresh.len() as u64, Ordering::Relaxed);
    drop(fresh);
    delete_obsolete(namespace, maintenance, false).await
}

/// A segment with the object that replaces its old one.
struct RewrittenSegment {
    old_segment: LiveSegment,
    index: Arc<Index>,
    object: ObjectRef,
}

async fn rewrite_object(namespace: &Arc<Namespace>, old_segment: &LiveSegment) -> Result<RewrittenSegment, Error> {
    let old = old_segment.object().ok_or(Error::NotFound)?;
    let bytes = namespace.journal.read_whole_object(old).await?;
    let (object, segment) = maintenance::put(namespace, namespace.version().spec, bytes).await?;
    Ok(RewrittenSegment { old_segment: old_segment.clone(), index: Arc::new(Index::Segment(segment)), object })
}

/// The current version with all of these segments read from their new objects; `None` if it lacks one of them.
fn version_with(namespace: &Namespace, fresh: &[RewrittenSegment]) -> Option<Version> {
    let version = (*namespace.version()).clone();
    fresh.iter().try_fold(version, |version, rewritten| {
        version.with_rewritten(&rewritten.old_segment, &rewritten.index, &rewritten.object)
    })
}

/// Deletes new objects that no checkpoint names.
async fn delete_unnamed(namespace: &Namespace, fresh: &[RewrittenSegment]) -> Result<(), Error> {
    for rewritten in fresh {
        namespace.journal.delete(&rewritten.object).await?;
    }
    Ok(())
}

/// Total bytes of objects that share a checkpoint; a larger object has its own. Bounds what is stored twice.
const TOGETHER_BYTES_MAX: u64 = 32 << 20;
