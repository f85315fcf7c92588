//! Upkeep of one namespace: the memtable becomes an object (or, while it is small, part of the
//! checkpoint), small and half-dead objects become one, the log is cut. Writers and readers go on.
//! Merges that take long are built beside it (`merge`), so that flushes never wait for them.
//!
//! 1. audit lines so far are with the sink, then a permit: jobs of all namespaces share bounded cores and memory, and
//!    tenants take turns
//! 2. cut: under the turn, note the parts, the newest log entry and its commit
//! 3. the last audit lines up to the cut are with the sink: the log may lose them
//! 4. the new object durable: a crash leaves an object that nothing names, swept at the next open
//! 5. a checkpoint that names it durable: a crash leaves the old objects, swept at the next open
//! 6. under the turn, swap: the new part takes the place of the old ones; what died meanwhile is
//!    dead in it too
//! 7. objects that the checkpoint no longer names are deleted. In a folder this takes nothing away
//!    from a snapshot, which holds the file open; in a bucket they wait until the last snapshot that
//!    reads them has gone: upkeep comes back to them, and a crash leaves them to the next open's sweep

use crate::{
    Error,
    age::earlier,
    cpu::{Errand, in_upkeep},
    due::{Job, due, overdue},
    index::Index,
    indexing::frozen,
    manifest, merge,
    namespace::Namespace,
    open::opened,
    part::{Durable, Part},
    rebuild,
    view::first_expiry,
};
use journal::{ObjectRef, Seq};
use kernel::{CommitNo, Plaintext, Timestamp};
use segment::{Links, Segment, Spec, Stop};
use std::{
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};
use vault::ObjectKind;

/// What the newest checkpoint says.
pub(crate) struct Upkeep {
    pub(crate) named: Vec<ObjectRef>,
    pub(crate) covers: Seq,
    pub(crate) commit: CommitNo,
    /// Objects that it no longer names and that may still be there.
    pub(crate) retired: Vec<Retired>,
    /// What earlier writers left behind was looked for since this process became the writer. In a
    /// bucket the sweep at the open comes too early: another task may be about to name what nothing names yet.
    pub(crate) swept: bool,
}

/// An object that no checkpoint names any more.
pub(crate) struct Retired {
    pub(crate) object: ObjectRef,
    /// Who may still read it.
    pub(crate) readers: Weak<Index>,
}

/// Starts upkeep in the background if there is something to do and none runs.
pub(crate) fn start_if_due(namespace: &Arc<Namespace>) {
    let now = namespace.shared.config.clock.monotonic();
    let rests = millis(now) < namespace.upkeep_after.load(Ordering::Relaxed);
    let wanted = || {
        due(namespace, None).is_some() || overdue(namespace, namespace.shared.config.clock.now(), u64::MAX).is_some()
    };
    if rests || !namespace.is_open() || !wanted() || namespace.upkeep_runs.swap(true, Ordering::AcqRel) {
        return;
    }
    let held = namespace.clone();
    namespace.shared.config.tracker.spawn(async move {
        if let Err(error) = run(&held, false).await {
            failed(&held, &error);
        }
        held.upkeep_runs.store(false, Ordering::Release);
        let shared = held.shared.clone();
        drop(held);
        shared.make_room();
    });
}

/// Waits for the flush that runs while much more is in memory than a flush takes: writers go as fast as what they
/// write can be flushed, and are refused only when even that does not help.
pub(crate) async fn keeps_up(namespace: &Arc<Namespace>) {
    let (_, bytes) = namespace.view().memtable_size();
    if bytes > namespace.shared.config.flush_bytes_max.saturating_mul(BRAKE_FACTOR) {
        start_if_due(namespace);
        drop(namespace.upkeep.lock().await);
    }
}

/// Flushes the memtable whatever its size. A task of its own: it ends what it began.
///
/// # Errors
/// As [`run`].
pub(crate) async fn flush(namespace: &Arc<Namespace>) -> Result<(), Error> {
    let held = namespace.clone();
    let task = async move { run(&held, true).await.inspect_err(|error| failed(&held, error)) };
    namespace.shared.config.tracker.spawn(task).await.map_err(|_| Error::Panicked)?
}

/// Does what is due; with `flush`, the memtable whatever its size.
///
/// # Errors
/// What stopped it. What was published and logged stands; the log is not cut.
pub(crate) async fn run(namespace: &Arc<Namespace>, flush: bool) -> Result<(), Error> {
    let mut upkeep = namespace.upkeep.lock().await;
    delete_retired(namespace, &mut upkeep, false).await?;
    if flush && namespace.journal.last() > upkeep.covers {
        round(namespace, &mut upkeep, Job::Flush).await?;
    }
    let mut covered = false;
    while !namespace.has_failed() {
        let now = namespace.shared.config.clock.now();
        match due(namespace, Some(now)) {
            None => break,
            Some(Job::Flush) if namespace.journal.last() == upkeep.covers => break,
            // Once: what is due again after that waits for the next time.
            Some(Job::Cover) if covered => break,
            Some(Job::Cover) => {
                covered = true;
                cover_all(namespace, &mut upkeep).await?;
            }
            Some(Job::Compact(parts)) if merge::takes_long(&parts, namespace.shared.config.short_merge_bytes_max) => {
                merge::start(namespace, parts, now);
            }
            Some(job) => round(namespace, &mut upkeep, job).await?,
        }
    }
    // The rounds held what they replaced.
    delete_retired(namespace, &mut upkeep, false).await
}

/// Restarts the log: after this none of its present files and objects is left.
///
/// # Errors
/// What stopped it; see [`run`].
pub(crate) async fn cover_all(namespace: &Arc<Namespace>, upkeep: &mut Upkeep) -> Result<(), Error> {
    round(namespace, upkeep, Job::Flush).await?;
    // Entries that came while that was written stand in the last of the files before it. A new file began with the
    // checkpoint, so one more covers all of them.
    if namespace.journal.last() != upkeep.covers {
        round(namespace, upkeep, Job::Flush).await?;
    }
    Ok(())
}

/// Notes a failure, and when to try again.
pub(crate) fn failed(namespace: &Arc<Namespace>, error: &Error) {
    namespace.shared.counters.upkeep_failures.fetch_add(1, Ordering::Relaxed);
    tracing::warn!(namespace = %namespace.home.uuid(), %error, "upkeep is put off");
    let again = namespace.shared.config.clock.monotonic() + AGAIN_AFTER;
    namespace.upkeep_after.store(millis(again), Ordering::Relaxed);
    if namespace.journal.failed().is_some() {
        namespace.fail();
    }
}

/// One job, step by step as the module says.
///
/// # Errors
/// What stopped it; see [`run`].
pub(crate) async fn round(namespace: &Arc<Namespace>, upkeep: &mut Upkeep, job: Job) -> Result<(), Error> {
    let shared = &namespace.shared;
    let flush = matches!(job, Job::Flush | Job::Cover);
    // What dies from here on, also while this waits for its turn, is not yet dead in what it builds.
    let seen = shared.config.clock.now();
    let view = namespace.view();
    // What is inline always goes along: so there is one such part at most, and no job has to
    // write bytes again that it has not just made.
    let inline = || view.sealed().into_iter().filter(|part| part.durable == Durable::Inline);
    let inputs: Vec<Part> = match &job {
        Job::Flush | Job::Cover => view.memtable().into_iter().chain(inline()).collect(),
        Job::Compact(parts) => {
            let more = inline().filter(|part| !parts.iter().any(|p| p.is(part)));
            parts.iter().cloned().chain(more).collect()
        }
    };
    let bytes = inputs.iter().map(Part::size).sum::<u64>().saturating_mul(JOB_FACTOR);
    if flush {
        // Before the permit, for which other tenants wait: the chain may wait for this tenant's keys.
        namespace.lines.absorb_through(&*shared.config.sink, view.commit).await?;
    }
    let _permit = shared.schedule.permit(namespace.incarnation, bytes).await;
    let (old, covers, commit) = match job {
        Job::Compact(_) => (inputs, upkeep.covers, upkeep.commit),
        Job::Flush | Job::Cover => cut(namespace, shared.config.clock.now()).await,
    };
    shared.step("cut");
    let swapped = replace(namespace, upkeep, &old, covers, commit, seen).await;
    if flush {
        let _nobody_indexes = namespace.indexing.lock().await;
        let _turn = namespace.turn.lock().await;
        let view = namespace.view();
        namespace.publish(frozen(&view, &view.parts, false));
    }
    let counter = if flush { &shared.counters.flushes } else { &shared.counters.compactions };
    counter.fetch_add(u64::from(swapped.is_ok()), Ordering::Relaxed);
    swapped
}

async fn cut(namespace: &Arc<Namespace>, now: Timestamp) -> (Vec<Part>, Seq, CommitNo) {
    let _nobody_indexes = namespace.indexing.lock().await;
    let covers = namespace.turn.lock().await;
    let view = namespace.view();
    let old: Vec<Part> =
        view.parts.iter().filter(|part| part.in_log() || part.durable == Durable::Inline).cloned().collect();
    let mut next = frozen(&view, &old, true);
    next.log.cut(first_expiry(&old).filter(|at| *at <= now));
    namespace.publish(next);
    (old, *covers, view.commit)
}

async fn replace(
    namespace: &Arc<Namespace>,
    upkeep: &mut Upkeep,
    old: &[Part],
    covers: Seq,
    commit: CommitNo,
    seen: Timestamp,
) -> Result<(), Error> {
    let shared = &namespace.shared;
    if covers > upkeep.covers {
        namespace.lines.absorb_through(&*shared.config.sink, commit).await?;
    }
    let fresh = build(namespace, old).await?;
    install(namespace, upkeep, old, fresh, covers, commit, seen).await
}

/// Puts `fresh`, built of what lived in `old` at `seen`, in its place: steps 5 to 7. Whether `old` is still there is looked
/// at first.
///
/// # Errors
/// What stopped it; see [`run`].
pub(crate) async fn install(
    namespace: &Arc<Namespace>,
    upkeep: &mut Upkeep,
    old: &[Part],
    fresh: Fresh,
    covers: Seq,
    commit: CommitNo,
    seen: Timestamp,
) -> Result<(), Error> {
    let shared = &namespace.shared;
    let covered = covers > upkeep.covers;
    let expires = fresh.as_ref().and_then(|(index, _)| index.next_expiry(seen));
    let prepared = {
        let _turn = namespace.turn.lock().await;
        namespace.view().replaced(old, fresh.clone(), seen)?
    };
    let Some(mut next) = prepared else {
        // The namespace was emptied and takes other vectors now: the object is not needed.
        return match fresh {
            Some((_, Durable::Object(object))) => Ok(namespace.journal.delete(&object).await?),
            _ => Ok(()),
        };
    };
    if covered {
        next.log.cover(expires);
    }
    // The file that holds them inline exists as long as it has entries after what is covered.
    let inline = old.iter().filter(|part| part.durable == Durable::Inline).filter_map(Part::dead_from).min();
    next.log.covered = earlier(next.log.covered, inline);
    let body = manifest::write(&next, namespace.lines.at(commit)?)?;
    // What it covers may not be deleted.
    namespace.tidy.store(false, Ordering::Release);
    namespace.journal.checkpoint(&body, covers).await?;
    namespace.lines.covered(commit);
    let alone = namespace.journal.last() == covers;
    shared.counters.written(body.len() as u64);
    shared.step("checkpoint");
    let named = next.objects();
    for object in upkeep.named.iter().filter(|object| !named.contains(object)) {
        let part = old.iter().find(|part| part.object() == Some(object));
        let readers = part.map_or_else(Weak::new, |part| Arc::downgrade(&part.index));
        upkeep.retired.push(Retired { object: object.clone(), readers });
    }
    (upkeep.named, upkeep.covers, upkeep.commit) = (named, covers, commit);
    if !std::mem::replace(&mut upkeep.swept, true) {
        let retired = upkeep.retired.iter().map(|retired| retired.object.clone());
        let keep: Vec<ObjectRef> = upkeep.named.iter().cloned().chain(retired).collect();
        if let Err(error) = namespace.journal.sweep(&keep).await {
            tracing::warn!(namespace = %namespace.home.uuid(), %error, "what earlier writers left stays for now");
            upkeep.swept = false;
        }
    }
    {
        let _turn = namespace.turn.lock().await;
        if let Some(mut view) = namespace.view().replaced(old, fresh, seen)? {
            if covered {
                view.log.cover(expires);
            }
            // With all entries covered no earlier file is left.
            view.log.covered = if alone { None } else { earlier(view.log.covered, inline) };
            namespace.publish(view);
        }
    }
    shared.step("swap");
    delete_retired(namespace, upkeep, false).await
}

/// Deletes what no checkpoint names and no request reads; with `at_once`, also what a request reads in a bucket, which
/// then told so. What stays or cannot be deleted now is tried again by the next upkeep, and by the sweep of the next
/// open.
pub(crate) async fn delete_retired(
    namespace: &Arc<Namespace>,
    upkeep: &mut Upkeep,
    at_once: bool,
) -> Result<(), Error> {
    let at_once = at_once || !namespace.shared.config.storage.is_shared();
    let gone = |retired: &Retired| at_once || retired.readers.strong_count() == 0;
    while let Some(at) = upkeep.retired.iter().rposition(gone) {
        namespace.journal.delete(&upkeep.retired[at].object).await?;
        upkeep.retired.remove(at);
        namespace.shared.step("delete");
    }
    Ok(())
}

/// What takes the place of other parts; nothing when nothing lives there.
pub(crate) type Fresh = Option<(Arc<Index>, Durable)>;

/// Writes what lives in `old` as one segment and opens it: an object, or bytes for the checkpoint
/// while they are few.
async fn build(namespace: &Arc<Namespace>, old: &[Part]) -> Result<Fresh, Error> {
    let config = &namespace.shared.config;
    if old.iter().all(|part| part.counts.documents == 0) {
        return Ok(None);
    }
    let (spec, now, parts) = (namespace.view().spec, config.clock.now(), old.to_vec());
    // A graph takes minutes; a merge gives it one, beside.
    let written = in_upkeep(&*config.cpu, move || rebuild::write(spec, &parts, now, Links::Later, &Stop::default()));
    let Some(bytes) = written.await?? else {
        return Ok(None);
    };
    namespace.shared.step("build");
    if bytes.len() <= config.inline_bytes_max {
        let segment = in_upkeep(&*config.cpu, move || Segment::open(&spec, bytes)).await??;
        return Ok(Some((Arc::new(Index::Segment(segment)), Durable::Inline)));
    }
    let (object, segment) = put(namespace, spec, bytes).await?;
    Ok(Some((Arc::new(Index::Segment(segment)), Durable::Object(object))))
}

/// Makes a segment's object durable and opens it: from the bytes that are here, or, where those are too many to be
/// held, as the next opening of the namespace will.
pub(crate) async fn put(
    namespace: &Namespace,
    spec: Spec,
    bytes: impl Into<Plaintext>,
) -> Result<(ObjectRef, Segment), Error> {
    let bytes = bytes.into();
    let (shared, journal) = (&namespace.shared, &namespace.journal);
    let split = Segment::split(&bytes)?;
    // It is named, or lies there for nothing.
    namespace.tidy.store(false, Ordering::Release);
    let (object, bytes) = journal.put_split(ObjectKind::Segment, bytes, split).await?;
    shared.counters.written(object.bytes);
    shared.step("object");
    let segment = if (bytes.len() - split) as u64 > shared.resident_bytes_max {
        drop(bytes);
        opened(shared, journal, Errand::OpenAside, spec, &object).await
    } else {
        in_upkeep(&*shared.config.cpu, move || Segment::open(&spec, bytes).map_err(Error::from)).await?
    };
    match segment {
        Ok(segment) => Ok((object, segment)),
        Err(error) => {
            // Nothing names it; what cannot be deleted now goes with the next open's sweep.
            let _litter = journal.delete(&object).await;
            Err(error)
        }
    }
}

pub(crate) fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

/// A segment up to this stands in the checkpoint itself, bytes. With the manifest around it the
/// body stays under 256 KiB, up to which a journal needs no object for it.
pub const INLINE_BYTES_MAX: usize = 240 << 10;
/// How many times over what a flush takes may be in memory before writers wait for it.
const BRAKE_FACTOR: u64 = 2;
/// What a job takes for each byte of its inputs: sections, the container, its sealed form, the
/// segment opened from it.
pub(crate) const JOB_FACTOR: u64 = 4;
/// After a failure, such as a full disk.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
