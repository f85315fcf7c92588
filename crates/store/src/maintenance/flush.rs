//! Flushes the memtable into an object (or, while it is small, into the checkpoint), compacts small and half-deleted
//! objects, and truncates the log. Writers and readers continue meanwhile. Large merges are built concurrently
//! (`merge`), so that flushes never wait for them.
//!
//! Each step turns the value of the previous one into the next: [`Frozen`], then [`Built`], which is installed.
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
    cpu::on_maintenance_pool,
    maintenance::{
        picker::{MaintenanceJob, is_long_merge, pick},
        state::{MaintenanceState, NewSegment, ObsoleteObject},
    },
    state::{
        core::NamespaceCore,
        index::Index,
        live_segment::{Durability, LiveSegment},
        manifest,
        objects::put_object,
        rebuild,
        tombstones::earlier,
        version::{first_expiry, with_frozen},
    },
};
use journal::Seq;
use kernel::{CommitNo, Timestamp};
use segment::{GraphMode, Segment, StopFlag};
use std::sync::{Arc, atomic::Ordering};

/// Runs every job that is due; with `flush`, first flushes the memtable whatever its size. `start_merge` starts a large
/// merge of segments as they are at a time.
///
/// # Errors
/// The error that stopped it. What was published and logged remains; the log is not truncated.
pub(super) async fn run(
    core: &Arc<NamespaceCore>,
    state: &mut MaintenanceState,
    flush: bool,
    start_merge: impl Fn(&mut MaintenanceState, Vec<LiveSegment>, Timestamp),
) -> Result<(), Error> {
    delete_obsolete(core, state, false).await?;
    if flush && core.journal.last() > state.covers {
        run_job(core, state, MaintenanceJob::Flush).await?;
    }
    let mut covered = false;
    while !core.has_failed() {
        let now = core.shared.config.clock.now();
        match pick(core, state.merge.as_ref(), Some(now)) {
            None => break,
            Some(MaintenanceJob::Flush) if core.journal.last() == state.covers => break,
            // Only once: if the log is due again after that, the next maintenance covers it.
            Some(MaintenanceJob::RestartLog) if covered => break,
            Some(MaintenanceJob::RestartLog) => {
                covered = true;
                cover_all(core, state).await?;
            }
            Some(MaintenanceJob::Compact(segments))
                if is_long_merge(&segments, core.shared.config.short_merge_bytes_max) =>
            {
                start_merge(state, segments, now);
            }
            Some(job) => run_job(core, state, job).await?,
        }
    }
    // The jobs held references to the segments that they replaced.
    delete_obsolete(core, state, false).await
}

/// Restarts the log: after this none of its present files and objects is left.
///
/// # Errors
/// The error that stopped it; see [`run`].
pub(super) async fn cover_all(core: &Arc<NamespaceCore>, state: &mut MaintenanceState) -> Result<(), Error> {
    run_job(core, state, MaintenanceJob::Flush).await?;
    // Entries that arrived while the checkpoint was written are in the previous log file. A new file began with the
    // checkpoint, so one more checkpoint covers all of them.
    if core.journal.last() != state.covers {
        run_job(core, state, MaintenanceJob::Flush).await?;
    }
    Ok(())
}

/// Runs one job, in the steps that the module documentation lists.
///
/// # Errors
/// The error that stopped it; see [`run`].
pub(super) async fn run_job(
    core: &Arc<NamespaceCore>,
    state: &mut MaintenanceState,
    job: MaintenanceJob,
) -> Result<(), Error> {
    let shared = &core.shared;
    // Documents deleted from here on, also while this waits for its permit, are not yet deleted in what it builds.
    let as_of = shared.config.clock.now();
    let version = core.version();
    // The inline segment is always included: thus there is at most one, and no job has to write bytes again that it has
    // not just produced.
    let inline = || version.checkpointed().into_iter().filter(|segment| segment.durability == Durability::Inline);
    let size = |inputs: &[LiveSegment]| inputs.iter().map(LiveSegment::size).sum::<u64>().saturating_mul(JOB_FACTOR);
    match job {
        MaintenanceJob::Flush | MaintenanceJob::RestartLog => {
            // Done before the permit is acquired, because other tenants wait for permits and the audit log may wait for
            // this tenant's keys.
            core.outbox.deliver_through(&*shared.config.sink, version.commit).await?;
            let inputs: Vec<LiveSegment> = version.memtable().into_iter().chain(inline()).collect();
            let _permit = shared.schedule.acquire(core.incarnation, size(&inputs)).await;
            let outcome = flush(core, state, as_of).await;
            // Segments that were frozen for this job and not replaced, because it failed, are released.
            let _no_indexing = core.indexing.lock().await;
            let mut publishing = core.published.lock().await;
            let version = publishing.version();
            publishing.publish(with_frozen(&version, &version.segments, false));
            shared.counters.flushes.fetch_add(u64::from(outcome.is_ok()), Ordering::Relaxed);
            outcome
        }
        MaintenanceJob::Compact(segments) => {
            let more = inline().filter(|segment| !segments.iter().any(|p| p.is(segment)));
            let inputs: Vec<LiveSegment> = segments.iter().cloned().chain(more).collect();
            let _permit = shared.schedule.acquire(core.incarnation, size(&inputs)).await;
            let frozen = Frozen::as_checkpointed(inputs, state, as_of);
            shared.step("freeze");
            frozen.build(core, state).await?.install(core, state).await?;
            shared.counters.compactions.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }
}

async fn flush(core: &NamespaceCore, state: &mut MaintenanceState, as_of: Timestamp) -> Result<(), Error> {
    let frozen = Frozen::of_memtable(core, as_of).await;
    core.shared.step("freeze");
    if frozen.covers > state.covers {
        core.outbox.deliver_through(&*core.shared.config.sink, frozen.commit).await?;
    }
    frozen.build(core, state).await?.install(core, state).await
}

/// What a job replaces: its input segments, and what the checkpoint that replaces them will cover.
pub(super) struct Frozen {
    old: Vec<LiveSegment>,
    /// Last log entry that the checkpoint will cover, and its commit.
    covers: Seq,
    commit: CommitNo,
    /// Documents deleted since then are not yet deleted in what the job builds.
    as_of: Timestamp,
}

/// What a job replaces, and the segment that it has built for it.
pub(super) struct Built {
    frozen: Frozen,
    fresh: NewSegment,
}

impl Frozen {
    /// Freezes the memtable: the segments that are not in an object, up to the newest log entry.
    async fn of_memtable(core: &NamespaceCore, as_of: Timestamp) -> Self {
        let _no_indexing = core.indexing.lock().await;
        let mut publishing = core.published.lock().await;
        let version = publishing.version();
        let old: Vec<LiveSegment> = version
            .segments
            .iter()
            .filter(|segment| segment.in_log() || segment.durability == Durability::Inline)
            .cloned()
            .collect();
        let mut next = with_frozen(&version, &old, true);
        let now = core.shared.config.clock.now();
        next.log.freeze(first_expiry(&old).filter(|at| *at <= now));
        publishing.publish(next);
        Self { old, covers: publishing.last_entry(), commit: version.commit, as_of }
    }

    /// Segments of the newest checkpoint; the checkpoint that replaces them covers no more of the log.
    pub(super) fn as_checkpointed(old: Vec<LiveSegment>, state: &MaintenanceState, as_of: Timestamp) -> Self {
        Self { old, covers: state.covers, commit: state.commit, as_of }
    }

    /// Writes the live documents as one segment and opens it: an object, or bytes for the checkpoint if it is small.
    ///
    /// # Errors
    /// The error that stopped it; see [`run`].
    async fn build(self, core: &NamespaceCore, state: &mut MaintenanceState) -> Result<Built, Error> {
        let config = &core.shared.config;
        if self.old.iter().all(|segment| segment.counts.documents == 0) {
            return Ok(self.built(None));
        }
        let (spec, now, segments) = (core.version().spec, config.clock.now(), self.old.clone());
        // Building a graph takes minutes, so a concurrent merge adds it later.
        let written = on_maintenance_pool(&*config.cpu, move || {
            rebuild::write(spec, &segments, now, GraphMode::Deferred, &StopFlag::default())
        });
        let Some(bytes) = written.await?? else { return Ok(self.built(None)) };
        core.shared.step("build");
        if bytes.len() <= config.inline_bytes_max {
            let segment = on_maintenance_pool(&*config.cpu, move || Segment::open(&spec, bytes)).await??;
            return Ok(self.built(Some((Arc::new(Index::Segment(segment)), Durability::Inline))));
        }
        // The checkpoint will name the object, or it becomes an orphan.
        state.orphan_free = false;
        let (object, segment) = put_object(core, spec, bytes).await?;
        Ok(self.built(Some((Arc::new(Index::Segment(segment)), Durability::Object(object)))))
    }

    /// With the segment that replaces these.
    pub(super) fn built(self, fresh: NewSegment) -> Built {
        Built { frozen: self, fresh }
    }
}

impl Built {
    /// Replaces the frozen segments by the new one: steps 5 to 7. First checks that they are still part of the
    /// namespace.
    ///
    /// # Errors
    /// The error that stopped it; see [`run`].
    pub(super) async fn install(self, core: &NamespaceCore, state: &mut MaintenanceState) -> Result<(), Error> {
        let Self { frozen: Frozen { old, covers, commit, as_of }, fresh } = self;
        let shared = &core.shared;
        let covered = covers > state.covers;
        let expires = fresh.as_ref().and_then(|(index, _)| index.next_expiry(as_of));
        // The manifest is written from the version as it will be, but the version is published only after the
        // checkpoint.
        let prepared = core.published.lock().await.version().replaced(&old, fresh.clone(), as_of)?;
        let Some(mut next) = prepared else {
            // The namespace was emptied and has another spec now, so the object is not needed.
            return match fresh {
                Some((_, Durability::Object(object))) => Ok(core.journal.delete(&object).await?),
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
        let body = manifest::write(&next, core.outbox.at(commit)?)?;
        // Covered log files may fail to be deleted.
        state.orphan_free = false;
        core.journal.checkpoint(&body, covers).await?;
        core.outbox.covered(commit);
        let covers_all = core.journal.last() == covers;
        shared.counters.written(body.len() as u64);
        shared.step("checkpoint");
        state.checkpoint_names(next.objects(), &old);
        (state.covers, state.commit) = (covers, commit);
        sweep_once(core, state).await;
        let mut publishing = core.published.lock().await;
        if let Some(mut version) = publishing.version().replaced(&old, fresh, as_of)? {
            if covered {
                version.log.cover(expires);
            }
            // If all entries are covered, no earlier file is left.
            version.log.covered = if covers_all { None } else { earlier(version.log.covered, inline) };
            publishing.publish(version);
        }
        drop(publishing);
        shared.step("replace");
        delete_obsolete(core, state, false).await
    }
}

/// Sweeps what earlier writers left, once: the first checkpoint of this writer makes it safe.
async fn sweep_once(core: &NamespaceCore, state: &mut MaintenanceState) {
    if state.swept {
        return;
    }
    match core.journal.sweep(&state.kept_objects()).await {
        Ok(_) => state.swept = true,
        Err(error) => {
            tracing::warn!(namespace = %core.keyspace.uuid(), %error, "files that earlier writers left are kept for now");
        }
    }
}

/// Deletes objects that no checkpoint names and no request reads; with `at_once`, also those that a request reads from
/// a bucket, which then fails with an error. Objects that stay or cannot be deleted now are tried again by the next
/// maintenance, and by the sweep at the next opening.
///
/// # Errors
/// Errors of the journal.
pub(super) async fn delete_obsolete(
    core: &NamespaceCore,
    state: &mut MaintenanceState,
    at_once: bool,
) -> Result<(), Error> {
    let at_once = at_once || !core.shared.config.storage.is_shared();
    let is_deletable = |obsolete: &ObsoleteObject| at_once || obsolete.readers.strong_count() == 0;
    while let Some(at) = state.obsolete.iter().rposition(is_deletable) {
        core.journal.delete(&state.obsolete[at].object).await?;
        state.obsolete.remove(at);
        core.shared.step("delete");
    }
    Ok(())
}

/// Size in bytes up to which a segment is stored in the checkpoint itself. With the manifest around it the body stays
/// below 256 KiB, up to which a journal needs no separate object for it.
pub const INLINE_BYTES_MAX: usize = 240 << 10;
/// Bytes that a job uses per byte of its inputs: sections, the container, its sealed form, and the segment opened from
/// it.
pub(crate) const JOB_FACTOR: u64 = 4;
