//! Maintenance of one namespace: flushes the memtable into an object (or, while it is small, into the checkpoint),
//! compacts small and half-deleted objects, and truncates the log. Writers and readers continue meanwhile. Long merges
//! are built concurrently (`merge`), so that flushes never wait for them.
//!
//! 1. Deliver the audit records so far to the sink, then acquire a permit: jobs of all namespaces share a bounded
//!    number of cores and bytes, and tenants take turns.
//! 2. Freeze: under the publish lock, note the segments, the newest log entry and its commit.
//! 3. Deliver the last audit records up to that commit: the log may then drop them.
//! 4. Make the new object durable. A crash leaves an object that no checkpoint names, which the sweep at the next
//!    opening deletes.
//! 5. Make a checkpoint that names it durable. A crash leaves the old objects, which the sweep at the next opening
//!    deletes.
//! 6. Replace the old segments by the new one under the publish lock; documents deleted meanwhile are deleted in it
//!    too.
//! 7. Delete objects that the checkpoint no longer names. In a folder this takes nothing away from a snapshot, which
//!    holds the file open. In a bucket they are deleted once the last snapshot that reads them is dropped: maintenance
//!    tries again later, and a crash leaves them to the sweep at the next opening.

use crate::{
    Error,
    compaction_picker::{MaintenanceJob, overdue, pick},
    cpu::{TaskClass, on_maintenance_pool},
    index::Index,
    indexing::with_frozen,
    live_segment::{Durability, LiveSegment},
    manifest, merge,
    namespace::Namespace,
    open::open_object,
    rebuild,
    tombstones::earlier,
    version::first_expiry,
};
use journal::{ObjectRef, Seq};
use kernel::{CommitNo, Plaintext, Timestamp};
use segment::{GraphMode, Segment, Spec, StopFlag};
use std::{
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};
use vault::ObjectKind;

/// State that maintenance jobs share: what the newest checkpoint covers, and which objects are obsolete.
pub(crate) struct MaintenanceState {
    pub(crate) named: Vec<ObjectRef>,
    pub(crate) covers: Seq,
    pub(crate) commit: CommitNo,
    /// Objects that the checkpoint no longer names and that may still exist.
    pub(crate) obsolete: Vec<ObsoleteObject>,
    /// Whether objects that earlier writers left behind were swept since this process became the writer. On bucket
    /// storage a sweep while opening is too early: another task may be about to name an object that nothing names yet.
    pub(crate) swept: bool,
}

/// An object that no checkpoint names any more.
pub(crate) struct ObsoleteObject {
    pub(crate) object: ObjectRef,
    /// Index that snapshots hold while they read the object.
    pub(crate) readers: Weak<Index>,
}

/// Starts maintenance in the background if something is due and no maintenance runs.
pub(crate) fn start_if_due(namespace: &Arc<Namespace>) {
    let now = namespace.shared.config.clock.monotonic();
    let is_paused = millis(now) < namespace.maintenance_not_before.load(Ordering::Relaxed);
    let is_due = || {
        pick(namespace, None).is_some() || overdue(namespace, namespace.shared.config.clock.now(), u64::MAX).is_some()
    };
    if is_paused || !namespace.is_open() || !is_due() || namespace.maintenance_running.swap(true, Ordering::AcqRel) {
        return;
    }
    let held = namespace.clone();
    namespace.shared.config.tracker.spawn(async move {
        if let Err(error) = run(&held, false).await {
            failed(&held, &error);
        }
        held.maintenance_running.store(false, Ordering::Release);
        let shared = held.shared.clone();
        drop(held);
        shared.evict_if_over_budget();
    });
}

/// Waits for the running flush while the memtable is much larger than the flush threshold: writers are slowed to the
/// speed of flushing, and refused only if that does not suffice.
pub(crate) async fn throttle(namespace: &Arc<Namespace>) {
    let (_, bytes) = namespace.version().memtable_size();
    if bytes > namespace.shared.config.flush_bytes_max.saturating_mul(MEMTABLE_THROTTLE_FACTOR) {
        start_if_due(namespace);
        drop(namespace.maintenance.lock().await);
    }
}

/// Flushes the memtable whatever its size. Runs in a separate task, which finishes what it started.
///
/// # Errors
/// As [`run`].
pub(crate) async fn flush(namespace: &Arc<Namespace>) -> Result<(), Error> {
    let held = namespace.clone();
    let task = async move { run(&held, true).await.inspect_err(|error| failed(&held, error)) };
    namespace.shared.config.tracker.spawn(task).await.map_err(|_| Error::Panicked)?
}

/// Runs every job that is due; with `flush`, first flushes the memtable whatever its size.
///
/// # Errors
/// The error that stopped it. What was published and logged remains; the log is not truncated.
pub(crate) async fn run(namespace: &Arc<Namespace>, flush: bool) -> Result<(), Error> {
    let mut maintenance = namespace.maintenance.lock().await;
    delete_obsolete(namespace, &mut maintenance, false).await?;
    if flush && namespace.journal.last() > maintenance.covers {
        run_job(namespace, &mut maintenance, MaintenanceJob::Flush).await?;
    }
    let mut covered = false;
    while !namespace.has_failed() {
        let now = namespace.shared.config.clock.now();
        match pick(namespace, Some(now)) {
            None => break,
            Some(MaintenanceJob::Flush) if namespace.journal.last() == maintenance.covers => break,
            // Only once: if the log is due again after that, the next maintenance covers it.
            Some(MaintenanceJob::RestartLog) if covered => break,
            Some(MaintenanceJob::RestartLog) => {
                covered = true;
                cover_all(namespace, &mut maintenance).await?;
            }
            Some(MaintenanceJob::Compact(segments))
                if merge::is_long_merge(&segments, namespace.shared.config.short_merge_bytes_max) =>
            {
                merge::start(namespace, segments, now);
            }
            Some(job) => run_job(namespace, &mut maintenance, job).await?,
        }
    }
    // The jobs held references to the segments that they replaced.
    delete_obsolete(namespace, &mut maintenance, false).await
}

/// Restarts the log: after this none of its present files and objects is left.
///
/// # Errors
/// The error that stopped it; see [`run`].
pub(crate) async fn cover_all(namespace: &Arc<Namespace>, maintenance: &mut MaintenanceState) -> Result<(), Error> {
    run_job(namespace, maintenance, MaintenanceJob::Flush).await?;
    // Entries that arrived while the checkpoint was written are in the previous log file. A new file began with the
    // checkpoint, so one more checkpoint covers all of them.
    if namespace.journal.last() != maintenance.covers {
        run_job(namespace, maintenance, MaintenanceJob::Flush).await?;
    }
    Ok(())
}

/// Records a failure, and when maintenance is retried.
pub(crate) fn failed(namespace: &Arc<Namespace>, error: &Error) {
    namespace.shared.counters.maintenance_failures.fetch_add(1, Ordering::Relaxed);
    tracing::warn!(namespace = %namespace.keyspace.uuid(), %error, "maintenance is postponed");
    let again = namespace.shared.config.clock.monotonic() + AGAIN_AFTER;
    namespace.maintenance_not_before.store(millis(again), Ordering::Relaxed);
    if namespace.journal.failed().is_some() {
        namespace.fail();
    }
}

/// Runs one job, in the steps that the module documentation lists.
///
/// # Errors
/// The error that stopped it; see [`run`].
pub(crate) async fn run_job(
    namespace: &Arc<Namespace>,
    maintenance: &mut MaintenanceState,
    job: MaintenanceJob,
) -> Result<(), Error> {
    let shared = &namespace.shared;
    let flush = matches!(job, MaintenanceJob::Flush | MaintenanceJob::RestartLog);
    // Documents deleted from here on, also while this waits for its permit, are not yet deleted in what it builds.
    let as_of = shared.config.clock.now();
    let version = namespace.version();
    // The inline segment is always included: thus there is at most one, and no job has to write bytes again that it has
    // not just produced.
    let inline = || version.checkpointed().into_iter().filter(|segment| segment.durability == Durability::Inline);
    let inputs: Vec<LiveSegment> = match &job {
        MaintenanceJob::Flush | MaintenanceJob::RestartLog => version.memtable().into_iter().chain(inline()).collect(),
        MaintenanceJob::Compact(segments) => {
            let more = inline().filter(|segment| !segments.iter().any(|p| p.is(segment)));
            segments.iter().cloned().chain(more).collect()
        }
    };
    let bytes = inputs.iter().map(LiveSegment::size).sum::<u64>().saturating_mul(JOB_FACTOR);
    if flush {
        // Done before the permit is acquired, because other tenants wait for permits and the audit log may wait for
        // this tenant's keys.
        namespace.audit.deliver_through(&*shared.config.sink, version.commit).await?;
    }
    let _permit = shared.schedule.acquire(namespace.incarnation, bytes).await;
    let (old, covers, commit) = match job {
        MaintenanceJob::Compact(_) => (inputs, maintenance.covers, maintenance.commit),
        MaintenanceJob::Flush | MaintenanceJob::RestartLog => {
            freeze_memtable(namespace, shared.config.clock.now()).await
        }
    };
    shared.step("freeze");
    // Steps 3 to 7.
    let outcome = replace(namespace, maintenance, &old, covers, commit, as_of).await;
    if flush {
        // Segments that were frozen for this job and not replaced, because it failed, are released.
        let _no_indexing = namespace.indexing.lock().await;
        let _publishing = namespace.publish_lock.lock().await;
        let version = namespace.version();
        namespace.publish(with_frozen(&version, &version.segments, false));
    }
    let counter = if flush { &shared.counters.flushes } else { &shared.counters.compactions };
    counter.fetch_add(u64::from(outcome.is_ok()), Ordering::Relaxed);
    outcome
}

async fn freeze_memtable(namespace: &Arc<Namespace>, now: Timestamp) -> (Vec<LiveSegment>, Seq, CommitNo) {
    let _no_indexing = namespace.indexing.lock().await;
    let covers = namespace.publish_lock.lock().await;
    let version = namespace.version();
    let old: Vec<LiveSegment> = version
        .segments
        .iter()
        .filter(|segment| segment.in_log() || segment.durability == Durability::Inline)
        .cloned()
        .collect();
    let mut next = with_frozen(&version, &old, true);
    next.log.freeze(first_expiry(&old).filter(|at| *at <= now));
    namespace.publish(next);
    (old, *covers, version.commit)
}

async fn replace(
    namespace: &Arc<Namespace>,
    maintenance: &mut MaintenanceState,
    old: &[LiveSegment],
    covers: Seq,
    commit: CommitNo,
    as_of: Timestamp,
) -> Result<(), Error> {
    let shared = &namespace.shared;
    if covers > maintenance.covers {
        namespace.audit.deliver_through(&*shared.config.sink, commit).await?;
    }
    let fresh = build(namespace, old).await?;
    install(namespace, maintenance, old, fresh, covers, commit, as_of).await
}

/// Replaces `old` by `fresh`, which was built from what was live in `old` at `as_of`: steps 5 to 7. First checks that
/// `old` is still part of the namespace.
///
/// # Errors
/// The error that stopped it; see [`run`].
pub(crate) async fn install(
    namespace: &Arc<Namespace>,
    maintenance: &mut MaintenanceState,
    old: &[LiveSegment],
    fresh: NewSegment,
    covers: Seq,
    commit: CommitNo,
    as_of: Timestamp,
) -> Result<(), Error> {
    let shared = &namespace.shared;
    let covered = covers > maintenance.covers;
    let expires = fresh.as_ref().and_then(|(index, _)| index.next_expiry(as_of));
    // The manifest is written from the version as it will be, but the version is published only after the checkpoint.
    let prepared = {
        let _publishing = namespace.publish_lock.lock().await;
        namespace.version().replaced(old, fresh.clone(), as_of)?
    };
    let Some(mut next) = prepared else {
        // The namespace was emptied and has another spec now, so the object is not needed.
        return match fresh {
            Some((_, Durability::Object(object))) => Ok(namespace.journal.delete(&object).await?),
            _ => Ok(()),
        };
    };
    if covered {
        next.log.cover(expires);
    }
    // The log file that holds them inline exists as long as it has entries after those that are covered.
    let inline = old
        .iter()
        .filter(|segment| segment.durability == Durability::Inline)
        .filter_map(LiveSegment::deleted_since)
        .min();
    next.log.covered = earlier(next.log.covered, inline);
    let body = manifest::write(&next, namespace.audit.at(commit)?)?;
    // Covered log files may fail to be deleted.
    namespace.orphan_free.store(false, Ordering::Release);
    namespace.journal.checkpoint(&body, covers).await?;
    namespace.audit.covered(commit);
    let covers_all = namespace.journal.last() == covers;
    shared.counters.written(body.len() as u64);
    shared.step("checkpoint");
    // Objects that only the previous checkpoint named are obsolete from here on.
    let named = next.objects();
    for object in maintenance.named.iter().filter(|object| !named.contains(object)) {
        let segment = old.iter().find(|segment| segment.object() == Some(object));
        let readers = segment.map_or_else(Weak::new, |segment| Arc::downgrade(&segment.index));
        maintenance.obsolete.push(ObsoleteObject { object: object.clone(), readers });
    }
    (maintenance.named, maintenance.covers, maintenance.commit) = (named, covers, commit);
    // The first checkpoint of this writer makes it safe to sweep what earlier writers left.
    if !std::mem::replace(&mut maintenance.swept, true) {
        let obsolete = maintenance.obsolete.iter().map(|obsolete| obsolete.object.clone());
        let keep: Vec<ObjectRef> = maintenance.named.iter().cloned().chain(obsolete).collect();
        if let Err(error) = namespace.journal.sweep(&keep).await {
            tracing::warn!(namespace = %namespace.keyspace.uuid(), %error, "files that earlier writers left are kept for now");
            maintenance.swept = false;
        }
    }
    {
        let _publishing = namespace.publish_lock.lock().await;
        if let Some(mut version) = namespace.version().replaced(old, fresh, as_of)? {
            if covered {
                version.log.cover(expires);
            }
            // If all entries are covered, no earlier file is left.
            version.log.covered = if covers_all { None } else { earlier(version.log.covered, inline) };
            namespace.publish(version);
        }
    }
    shared.step("replace");
    delete_obsolete(namespace, maintenance, false).await
}

/// Deletes objects that no checkpoint names and no request reads; with `at_once`, also those that a request reads from
/// a bucket, which then fails with an error. Objects that stay or cannot be deleted now are tried again by the next
/// maintenance, and by the sweep at the next opening.
pub(crate) async fn delete_obsolete(
    namespace: &Arc<Namespace>,
    maintenance: &mut MaintenanceState,
    at_once: bool,
) -> Result<(), Error> {
    let at_once = at_once || !namespace.shared.config.storage.is_shared();
    let is_deletable = |obsolete: &ObsoleteObject| at_once || obsolete.readers.strong_count() == 0;
    while let Some(at) = maintenance.obsolete.iter().rposition(is_deletable) {
        namespace.journal.delete(&maintenance.obsolete[at].object).await?;
        maintenance.obsolete.remove(at);
        namespace.shared.step("delete");
    }
    Ok(())
}

/// Segment that replaces others; `None` if none of their documents is live.
pub(crate) type NewSegment = Option<(Arc<Index>, Durability)>;

/// Writes the live documents of `old` as one segment and opens it: an object, or bytes for the checkpoint if it is
/// small.
async fn build(namespace: &Arc<Namespace>, old: &[LiveSegment]) -> Result<NewSegment, Error> {
    let config = &namespace.shared.config;
    if old.iter().all(|segment| segment.counts.documents == 0) {
        return Ok(None);
    }
    let (spec, now, segments) = (namespace.version().spec, config.clock.now(), old.to_vec());
    // Building a graph takes minutes, so a concurrent merge adds it later.
    let written = on_maintenance_pool(&*config.cpu, move || {
        rebuild::write(spec, &segments, now, GraphMode::Deferred, &StopFlag::default())
    });
    let Some(bytes) = written.await?? else {
        return Ok(None);
    };
    namespace.shared.step("build");
    if bytes.len() <= config.inline_bytes_max {
        let segment = on_maintenance_pool(&*config.cpu, move || Segment::open(&spec, bytes)).await??;
        return Ok(Some((Arc::new(Index::Segment(segment)), Durability::Inline)));
    }
    let (object, segment) = put(namespace, spec, bytes).await?;
    Ok(Some((Arc::new(Index::Segment(segment)), Durability::Object(object))))
}

/// Makes a segment's object durable and opens it: from the bytes in memory or, if these are too many to keep, as the
/// next opening of the namespace will.
pub(crate) async fn put(
    namespace: &Namespace,
    spec: Spec,
    bytes: impl Into<Plaintext>,
) -> Result<(ObjectRef, Segment), Error> {
    let bytes = bytes.into();
    let (shared, journal) = (&namespace.shared, &namespace.journal);
    let split = Segment::split(&bytes)?;
    // A checkpoint will name the object, or it becomes an orphan.
    namespace.orphan_free.store(false, Ordering::Release);
    let (object, bytes) = journal.put_split(ObjectKind::Segment, bytes, split).await?;
    shared.counters.written(object.bytes);
    shared.step("object");
    let segment = if (bytes.len() - split) as u64 > shared.resident_bytes_max {
        drop(bytes);
        open_object(shared, journal, TaskClass::OpenInBackground, spec, &object).await
    } else {
        on_maintenance_pool(&*shared.config.cpu, move || Segment::open(&spec, bytes).map_err(Error::from)).await?
    };
    match segment {
        Ok(segment) => Ok((object, segment)),
        Err(error) => {
            // No checkpoint names it; if it cannot be deleted now, the sweep at the next opening does so.
            let _orphan = journal.delete(&object).await;
            Err(error)
        }
    }
}

pub(crate) fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

/// Size in bytes up to which a segment is stored in the checkpoint itself. With the manifest around it the body stays
/// below 256 KiB, up to which a journal needs no separate object for it.
pub const INLINE_BYTES_MAX: usize = 240 << 10;
/// Writers wait for a flush when the memtable exceeds the flush threshold by this factor.
const MEMTABLE_THROTTLE_FACTOR: u64 = 2;
/// Bytes that a job uses per byte of its inputs: sections, the container, its sealed form, and the segment opened from
/// it.
pub(crate) const JOB_FACTOR: u64 = 4;
/// Pause after a failure, such as a full disk.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
