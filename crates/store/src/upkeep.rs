//! Upkeep of one namespace: the memtable becomes an object, small and half-dead objects become
//! one, the log is cut. Writers and readers go on meanwhile.
//!
//! 1. cut: under the turn, note the parts, the newest log entry and its commit
//! 2. audit lines up to the cut are with the sink: the log may lose them
//! 3. the new object durable: a crash leaves an object that nothing names, swept at the next open
//! 4. a checkpoint that names it durable: a crash leaves the old objects, swept at the next open
//! 5. under the turn, swap: the new part takes the place of the old ones; what died meanwhile is
//!    dead in it too
//! 6. objects that the checkpoint no longer names are deleted. Snapshots hold opened segments
//!    whole in memory, so this takes nothing away from them.

use crate::{Error, cpu::in_upkeep, manifest, namespace::Namespace, part::Part, rebuild, view::View};
use journal::{ObjectRef, Seq};
use kernel::{CommitNo, Timestamp, limits};
use segment::Segment;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use vault::ObjectKind;

/// What the newest checkpoint says.
pub(crate) struct Upkeep {
    pub(crate) named: Vec<ObjectRef>,
    pub(crate) covers: Seq,
    pub(crate) commit: CommitNo,
}

/// What is to be done.
enum Job {
    /// The memtable.
    Flush,
    /// These objects become one.
    Compact(Vec<Part>),
}

/// Starts upkeep in the background if there is something to do and none runs.
pub(crate) fn start_if_due(namespace: &Arc<Namespace>) {
    let now = namespace.shared.config.clock.monotonic();
    let rests = millis(now) < namespace.upkeep_after.load(Ordering::Relaxed);
    if rests
        || !namespace.is_open()
        || due(namespace, None).is_none()
        || namespace.upkeep_runs.swap(true, Ordering::AcqRel)
    {
        return;
    }
    let held = namespace.clone();
    namespace.shared.config.tracker.spawn(async move {
        if let Err(error) = run(&held, false).await {
            failed(&held, &error);
        }
        held.upkeep_runs.store(false, Ordering::Release);
    });
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
async fn run(namespace: &Arc<Namespace>, flush: bool) -> Result<(), Error> {
    let mut upkeep = namespace.upkeep.lock().await;
    if flush && namespace.journal.last() > upkeep.covers {
        round(namespace, &mut upkeep, Job::Flush).await?;
    }
    while !namespace.has_failed() {
        let Some(job) = due(namespace, Some(namespace.shared.config.clock.now())) else { break };
        if matches!(job, Job::Flush) && namespace.journal.last() == upkeep.covers {
            break;
        }
        round(namespace, &mut upkeep, job).await?;
    }
    Ok(())
}

/// Notes a failure, and when to try again.
fn failed(namespace: &Arc<Namespace>, error: &Error) {
    namespace.shared.upkeep_failures.fetch_add(1, Ordering::Relaxed);
    tracing::warn!(namespace = %namespace.home.uuid(), %error, "upkeep is put off");
    let again = namespace.shared.config.clock.monotonic() + AGAIN_AFTER;
    namespace.upkeep_after.store(millis(again), Ordering::Relaxed);
    if namespace.journal.failed().is_some() {
        namespace.fail();
    }
}

/// What is due. With `now`, expired documents count as dead; that costs a look at every segment.
fn due(namespace: &Namespace, now: Option<Timestamp>) -> Option<Job> {
    let config = &namespace.shared.config;
    let view = namespace.view();
    let (rows, bytes) = view.memtable_size();
    let log_bytes_max = config.flush_bytes_max.saturating_mul(LOG_FACTOR).max(LOG_BYTES_MIN);
    if rows > config.flush_rows_max || bytes > config.flush_bytes_max || namespace.journal.log_bytes() > log_bytes_max {
        return Some(Job::Flush);
    }
    compactable(view.sealed(), now).map(Job::Compact)
}

/// Objects that are worth rewriting: a mostly dead one, or the smallest of too many.
fn compactable(mut sealed: Vec<Part>, now: Option<Timestamp>) -> Option<Vec<Part>> {
    if let Some(at) = sealed.iter().position(|part| part.dead_share(now) > DEAD_SHARE_MAX) {
        return Some(vec![sealed.swap_remove(at)]);
    }
    if sealed.len() <= OBJECTS_MAX {
        return None;
    }
    sealed.sort_by_key(|part| part.segment.rows());
    let mut rows = 0;
    let mut take = 0;
    for part in &sealed {
        let more = u64::from(part.segment.rows());
        if (take >= MERGE_MIN && more > rows) || rows + more > u64::from(limits::SEGMENT_ROWS_MAX) {
            break;
        }
        rows += more;
        take += 1;
    }
    sealed.truncate(take);
    (take > 1).then_some(sealed)
}

/// One job, step by step as the module says.
async fn round(namespace: &Arc<Namespace>, upkeep: &mut Upkeep, job: Job) -> Result<(), Error> {
    let flush = matches!(job, Job::Flush);
    let (old, covers, commit) = match job {
        Job::Compact(parts) => (parts, upkeep.covers, upkeep.commit),
        Job::Flush => cut(namespace).await,
    };
    let swapped = replace(namespace, upkeep, &old, covers, commit).await;
    if flush {
        let _turn = namespace.turn.lock().await;
        namespace.publish(frozen(&namespace.view(), false));
    }
    let counter = if flush { &namespace.shared.flushes } else { &namespace.shared.compactions };
    counter.fetch_add(u64::from(swapped.is_ok()), Ordering::Relaxed);
    swapped
}

async fn cut(namespace: &Arc<Namespace>) -> (Vec<Part>, Seq, CommitNo) {
    let covers = namespace.turn.lock().await;
    let view = namespace.view();
    namespace.publish(frozen(&view, true));
    (view.memtable(), *covers, view.commit)
}

fn frozen(view: &View, frozen: bool) -> View {
    let mut view = view.clone();
    view.parts.iter_mut().for_each(|part| part.frozen = frozen && part.object.is_none());
    view
}

async fn replace(
    namespace: &Arc<Namespace>,
    upkeep: &mut Upkeep,
    old: &[Part],
    covers: Seq,
    commit: CommitNo,
) -> Result<(), Error> {
    let config = &namespace.shared.config;
    if covers > upkeep.covers {
        namespace.lines.absorb(&*config.sink).await?;
    }
    let fresh = build(namespace, old).await?;
    let prepared = {
        let _turn = namespace.turn.lock().await;
        namespace.view().replaced(old, fresh.clone())?
    };
    let Some(next) = prepared else {
        // The namespace was emptied and takes other vectors now: nobody wants the object.
        return match fresh.and_then(|(_, object)| object) {
            Some(object) => Ok(namespace.journal.delete(&object).await?),
            None => Ok(()),
        };
    };
    namespace.journal.checkpoint(&manifest::write(&next, commit), covers).await?;
    let named = next.objects();
    let retired: Vec<ObjectRef> = upkeep.named.iter().filter(|object| !named.contains(object)).cloned().collect();
    *upkeep = Upkeep { named, covers, commit };
    {
        let _turn = namespace.turn.lock().await;
        if let Some(view) = namespace.view().replaced(old, fresh)? {
            namespace.publish(view);
        }
    }
    for object in retired {
        namespace.journal.delete(&object).await?;
    }
    Ok(())
}

type Fresh = Option<(Arc<Segment>, Option<ObjectRef>)>;

/// Writes what lives in `old` as one object and opens it. `None` when nothing lives there.
async fn build(namespace: &Arc<Namespace>, old: &[Part]) -> Result<Fresh, Error> {
    let config = &namespace.shared.config;
    let (spec, now, parts) = (namespace.view().spec, config.clock.now(), old.to_vec());
    let Some(bytes) = in_upkeep(&*config.cpu, move || rebuild::write(spec, &parts, now)).await?? else {
        return Ok(None);
    };
    let object = namespace.journal.put(ObjectKind::Segment, &bytes).await?;
    let segment = in_upkeep(&*config.cpu, move || Segment::open(&spec, bytes)).await??;
    Ok(Some((Arc::new(segment), Some(object))))
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

/// More objects than this are merged. Every search looks into each.
const OBJECTS_MAX: usize = 8;
/// A merge takes at least so many.
const MERGE_MIN: usize = 4;
/// An object is rewritten when more of it is dead. The dead cost memory and may not stay for ever.
const DEAD_SHARE_MAX: f64 = 0.3;
/// A log of so many flushes is cut even when the memtable is small (deletes, overwrites).
const LOG_FACTOR: u64 = 4;
/// And never below this, bytes: a checkpoint costs more than replaying so little.
const LOG_BYTES_MIN: u64 = 1 << 20;
/// After a failure, such as a full disk.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
