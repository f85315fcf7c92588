//! Re-encrypts everything of a namespace under the newest key of its home: after that no object and no log file needs
//! an older one.
//!
//! 1. objects under older keys are opened and sealed again under fresh ones, some together; a checkpoint names them, then
//!    the view, then the old ones are deleted. Documents keep their numbers, and no graph is built again
//! 2. a checkpoint that covers the whole log: a new log file under the newest key begins with it. Entries that came
//!    while it was written stand in the file before; then a second one covers them too
//! 3. what lies there is looked at: its prologues say under which keys it stands
//!
//! Reads and writes go on meanwhile. A crash leaves both keys with the home, and what is left is done when it is asked for
//! again. Stopped between two objects, it loses nothing.

use crate::{
    Error,
    due::Job,
    index::Index,
    manifest,
    namespace::Namespace,
    part::Part,
    upkeep::{self, JOB_FACTOR, Retired, Upkeep, delete_retired, round},
    view::View,
};
use journal::ObjectRef;
use kernel::KeyEpoch;
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

/// What was re-encrypted, and which of the home's keys seals what now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renewal {
    /// Objects that were sealed again.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects, logs and checkpoints by the epoch that they stand under.
    pub under: BTreeMap<KeyEpoch, u64>,
}

/// Re-encrypts everything that is not under the home's newest key.
///
/// # Errors
/// What stopped it, such as a full disk; [`Error::Unrenewed`] when something stands under an older key all the same.
pub(crate) async fn renew(namespace: &Arc<Namespace>) -> Result<Renewal, Error> {
    let held = namespace.clone();
    // A task of its own: it ends the object that it began.
    let task = async move { run(&held).await.inspect_err(|error| upkeep::failed(&held, error)) };
    namespace.shared.config.tracker.spawn(task).await.map_err(|_| Error::Panicked)?
}

async fn run(namespace: &Arc<Namespace>) -> Result<Renewal, Error> {
    let mut renewal = Renewal::default();
    loop {
        // A merge that has written its object names it first. One that is still building finds its inputs gone.
        let _no_merge = namespace.merge_puts.lock().await;
        let mut upkeep = namespace.upkeep.lock().await;
        let parts = older(namespace);
        if parts.is_empty() {
            break;
        }
        reseal(namespace, &mut upkeep, &parts, &mut renewal).await?;
    }
    let _no_merge = namespace.merge_puts.lock().await;
    let mut upkeep = namespace.upkeep.lock().await;
    round(namespace, &mut upkeep, Job::Flush).await?;
    if namespace.journal.last() > upkeep.covers {
        round(namespace, &mut upkeep, Job::Flush).await?;
    }
    // Who still reads one of them in a bucket is told that it is gone.
    delete_retired(namespace, &mut upkeep, true).await?;
    namespace.journal.disown(&upkeep.named);
    renewal.under = namespace.journal.under_epochs(&upkeep.named).await?;
    let newest = namespace.home.epoch();
    if renewal.under.keys().any(|epoch| *epoch != newest) {
        // What an earlier writer left, or a deletion that failed: the sweep takes it, and then it is looked at again.
        namespace.journal.sweep(&upkeep.named).await?;
        renewal.under = namespace.journal.under_epochs(&upkeep.named).await?;
    }
    match renewal.under.iter().filter(|(epoch, _)| **epoch != newest).map(|(_, count)| *count).sum() {
        0 => Ok(renewal),
        left => Err(Error::Unrenewed(left)),
    }
}

/// Sealed parts under keys that are not the newest, up to some bytes: they share a checkpoint.
fn older(namespace: &Namespace) -> Vec<Part> {
    let newest = namespace.home.epoch();
    let is_older = |part: &Part| part.object().is_some_and(|object| object.key.epoch != newest);
    let mut bytes = 0;
    let fits = |part: &Part| {
        let first = bytes == 0;
        bytes += part.size();
        first || bytes <= TOGETHER_BYTES_MAX
    };
    namespace.view().sealed().into_iter().filter(is_older).take_while(fits).collect()
}

async fn reseal(
    namespace: &Arc<Namespace>,
    upkeep: &mut Upkeep,
    parts: &[Part],
    renewal: &mut Renewal,
) -> Result<(), Error> {
    let (shared, journal) = (&namespace.shared, &namespace.journal);
    let bytes = parts.iter().map(Part::size).sum::<u64>().saturating_mul(JOB_FACTOR);
    let _permit = shared.schedule.permit(namespace.incarnation, bytes).await;
    let mut fresh = Vec::with_capacity(parts.len());
    for part in parts {
        match seal_again(namespace, part).await {
            Ok(sealed) => fresh.push(sealed),
            Err(error) => {
                // A full disk, say: what was written for nothing goes before it is tried again.
                let _litter = forget(namespace, &fresh).await;
                return Err(error);
            }
        }
    }
    let prepared = {
        let _turn = namespace.turn.lock().await;
        resealed(namespace, &fresh)
    };
    let Some(next) = prepared else {
        // The namespace was emptied meanwhile: neither is needed.
        return forget(namespace, &fresh).await;
    };
    let body = manifest::write(&next, namespace.lines.at(upkeep.commit)?)?;
    namespace.tidy.store(false, Ordering::Release);
    journal.checkpoint(&body, upkeep.covers).await?;
    shared.counters.written(body.len() as u64);
    shared.step("checkpoint");
    for sealed in &fresh {
        let readers = Arc::downgrade(&sealed.part.index);
        upkeep.retired.extend(sealed.part.object().map(|old| Retired { object: old.clone(), readers }));
    }
    upkeep.named = next.objects();
    {
        let _turn = namespace.turn.lock().await;
        if let Some(view) = resealed(namespace, &fresh) {
            namespace.publish(view);
        }
    }
    shared.step("swap");
    renewal.objects += fresh.len() as u64;
    renewal.bytes += fresh.iter().map(|sealed| sealed.object.bytes).sum::<u64>();
    shared.counters.resealed.fetch_add(fresh.len() as u64, Ordering::Relaxed);
    drop(fresh);
    delete_retired(namespace, upkeep, false).await
}

/// A part, and what it is sealed again as.
struct Sealed {
    part: Part,
    index: Arc<Index>,
    object: ObjectRef,
}

async fn seal_again(namespace: &Arc<Namespace>, part: &Part) -> Result<Sealed, Error> {
    let old = part.object().ok_or(Error::NotFound)?;
    let bytes = namespace.journal.whole_object(old).await?;
    let (object, segment) = upkeep::put(namespace, namespace.view().spec, bytes).await?;
    Ok(Sealed { part: part.clone(), index: Arc::new(Index::Segment(segment)), object })
}

/// The view as it is now, reading all of these from their new objects; `None` when one of them is no longer in it.
fn resealed(namespace: &Namespace, fresh: &[Sealed]) -> Option<View> {
    let view = (*namespace.view()).clone();
    fresh.iter().try_fold(view, |view, sealed| view.resealed(&sealed.part, &sealed.index, &sealed.object))
}

/// Takes back what nothing names.
async fn forget(namespace: &Namespace, fresh: &[Sealed]) -> Result<(), Error> {
    for sealed in fresh {
        namespace.journal.delete(&sealed.object).await?;
    }
    Ok(())
}

/// Objects of this many bytes together share a checkpoint; a larger one has its own. Bounds what exists twice.
const TOGETHER_BYTES_MAX: u64 = 32 << 20;
