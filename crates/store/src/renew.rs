//! Everything of a namespace sealed anew, under the newest key of its home: behind that no object and no log file needs
//! an older one.
//!
//! 1. each object under an older key is opened and sealed again under a fresh one; a checkpoint names it, then the view,
//!    then the old one is deleted. Documents keep their numbers, and a graph is not built again
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
};
use kernel::KeyEpoch;
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

/// What was sealed anew, and what stands under which of the home's keys now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renewal {
    /// Objects that were sealed again.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects, logs and checkpoints by the epoch that they stand under.
    pub under: BTreeMap<KeyEpoch, u64>,
}

/// Seals everything anew that is not under the home's newest key.
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
        let Some(part) = older(namespace) else { break };
        reseal(namespace, &mut upkeep, &part, &mut renewal).await?;
    }
    let _no_merge = namespace.merge_puts.lock().await;
    let mut upkeep = namespace.upkeep.lock().await;
    round(namespace, &mut upkeep, Job::Flush).await?;
    if namespace.journal.last() > upkeep.covers {
        round(namespace, &mut upkeep, Job::Flush).await?;
    }
    // Who still reads one of them in a bucket is told that it is gone.
    delete_retired(namespace, &mut upkeep, true).await?;
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

/// A sealed part under a key that is not the newest.
fn older(namespace: &Namespace) -> Option<Part> {
    let newest = namespace.home.epoch();
    let is_older = |part: &Part| part.object().is_some_and(|object| object.key.epoch != newest);
    namespace.view().sealed().into_iter().find(is_older)
}

async fn reseal(
    namespace: &Arc<Namespace>,
    upkeep: &mut Upkeep,
    part: &Part,
    renewal: &mut Renewal,
) -> Result<(), Error> {
    let (shared, journal) = (&namespace.shared, &namespace.journal);
    let Some(old) = part.object().cloned() else { return Ok(()) };
    let permit = shared.schedule.permit(namespace.incarnation, part.size().saturating_mul(JOB_FACTOR));
    let _permit = permit.await;
    let bytes = journal.whole_object(&old).await?;
    let (object, segment) = upkeep::put(namespace, namespace.view().spec, bytes).await?;
    let index = Arc::new(Index::Segment(segment));
    let prepared = {
        let _turn = namespace.turn.lock().await;
        namespace.view().resealed(part, &index, &object)
    };
    let Some(next) = prepared else {
        // The namespace was emptied meanwhile: nobody wants either.
        return Ok(journal.delete(&object).await?);
    };
    let body = manifest::write(&next, upkeep.commit)?;
    journal.checkpoint(&body, upkeep.covers).await?;
    shared.counters.written(body.len() as u64);
    shared.step("checkpoint");
    upkeep.retired.push(Retired { object: old, readers: Arc::downgrade(&part.index) });
    upkeep.named = next.objects();
    {
        let _turn = namespace.turn.lock().await;
        if let Some(view) = namespace.view().resealed(part, &index, &object) {
            namespace.publish(view);
        }
    }
    shared.step("swap");
    renewal.objects += 1;
    renewal.bytes += object.bytes;
    shared.counters.resealed.fetch_add(1, Ordering::Relaxed);
    delete_retired(namespace, upkeep, false).await
}
