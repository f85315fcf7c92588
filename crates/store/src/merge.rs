//! Merges that take long: objects become one, with a graph, beside the namespace's other upkeep.
//!
//! Building a large segment takes minutes (its graph), and a flush must not wait for that: writes would be refused
//! meanwhile. So the build holds nothing but the parts that it reads.
//!
//! 1. a permit of its own kind: flushes of all namespaces go on beside merges
//! 2. the segment built in memory: a crash leaves nothing. Whoever closes the namespace does not wait for it
//! 3. the inputs still stand? An erasure or an emptied namespace may have taken them: then the work was in vain, and
//!    as soon as that is known it is stopped
//! 4. the object durable, the checkpoint, the swap: as every upkeep does it
//!
//! One at a time for a namespace; what waits meanwhile is merged by the next.

use crate::{
    Error,
    cpu::in_merge,
    index::Index,
    namespace::Namespace,
    part::{Durable, Part},
    rebuild, upkeep,
    view::View,
};
use kernel::{Timestamp, limits};
use segment::Stop;
use std::sync::{Arc, Mutex, PoisonError, atomic::Ordering};
use tokio::sync::Notify;

/// What a merge is reading, if one runs.
#[derive(Default)]
pub(crate) struct Merging(Mutex<(Vec<Part>, Stop)>, Notify);

impl Merging {
    /// Whether this part is about to be replaced.
    pub(crate) fn has(&self, part: &Part) -> bool {
        self.mine().0.iter().any(|mine| mine.is(part))
    }

    /// Whether one runs.
    pub(crate) fn runs(&self) -> bool {
        !self.mine().0.is_empty()
    }

    /// Stops a merge that reads what this view no longer has: it would be in vain, and it holds memory and a core.
    pub(crate) fn heed(&self, view: &View) {
        let mine = self.mine();
        if !mine.0.iter().all(|part| view.parts.iter().any(|stands| stands.is(part))) {
            mine.1.stop();
        }
    }

    fn begin(&self, parts: &[Part]) -> Option<Stop> {
        let mut mine = self.mine();
        if !mine.0.is_empty() {
            return None;
        }
        let stop = Stop::default();
        *mine = (parts.to_vec(), stop.clone());
        Some(stop)
    }

    fn end(&self) {
        *self.mine() = Default::default();
        self.1.notify_waiters();
    }

    /// Waits until none runs.
    pub(crate) async fn ended(&self) {
        loop {
            let end = self.1.notified();
            if !self.runs() {
                return;
            }
            end.await;
        }
    }

    fn mine(&self) -> std::sync::MutexGuard<'_, (Vec<Part>, Stop)> {
        // One assignment under it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether this is a merge for a graph, or goes on with one, or makes one segment of more bytes than a flush should wait
/// for.
pub(crate) fn takes_long(parts: &[Part], bytes_max: u64) -> bool {
    let living = || parts.iter().filter(|part| part.counts.documents > 0);
    let linked = |part: &Part| part.linked().is_some() && part.counts.passages > limits::GRAPH_ROWS_MIN as u64;
    living().any(|part| part.wants_graph() || linked(part)) || living().map(Part::size).sum::<u64>() > bytes_max
}

/// Starts it in the background, of parts as they were at `seen`. The caller holds the upkeep, and none runs.
pub(crate) fn start(namespace: &Arc<Namespace>, parts: Vec<Part>, seen: Timestamp) {
    let Some(stop) = namespace.merging.begin(&parts) else { return };
    let held = namespace.clone();
    namespace.shared.config.tracker.spawn(async move {
        let outcome = merge(&held, &parts, stop, seen).await;
        held.merging.end();
        drop(parts);
        match outcome {
            Ok(()) => upkeep::start_if_due(&held),
            Err(error) => upkeep::failed(&held, &error),
        }
        let shared = held.shared.clone();
        drop(held);
        shared.make_room();
    });
}

async fn merge(namespace: &Arc<Namespace>, old: &[Part], stop: Stop, seen: Timestamp) -> Result<(), Error> {
    let shared = &namespace.shared;
    let bytes = old.iter().map(Part::size).sum::<u64>().saturating_mul(upkeep::JOB_FACTOR);
    let permit = shared.merges.permit(namespace.incarnation, bytes);
    let Some(_permit) = namespace.unless_it_ends(permit).await else { return Ok(()) };
    let (spec, now, parts) = (namespace.view().spec, shared.config.clock.now(), old.to_vec());
    let (graphs, theirs) = (shared.config.graphs, stop.clone());
    let built = in_merge(&*shared.config.cpu, move || rebuild::write(spec, &parts, now, graphs, &theirs));
    let Some(built) = namespace.unless_it_ends(built).await else {
        stop.stop();
        return Ok(());
    };
    let built = match built? {
        Err(Error::Segment(segment::Error::Stopped)) => return Ok(()),
        built => built?,
    };
    shared.step("merged");

    // From here on it uses the journal: who closes the namespace waits.
    let _journal = namespace.merge_puts.lock().await;
    let stands = namespace.view().replaced(old, None, seen)?.is_some();
    if !namespace.is_open() || !stands {
        return Ok(());
    }
    let fresh = match built {
        None => None,
        Some(bytes) => {
            let (object, segment) = upkeep::put(namespace, spec, bytes).await?;
            Some((Arc::new(Index::Segment(segment)), Durable::Object(object)))
        }
    };
    let mut upkeep = namespace.upkeep.lock().await;
    let (covers, commit) = (upkeep.covers, upkeep.commit);
    upkeep::install(namespace, &mut upkeep, old, fresh, covers, commit, seen).await?;
    shared.counters.compactions.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// A merge of so many bytes takes some tenths of a second and is done where flushes are, without a graph.
pub const SHORT_MERGE_BYTES_MAX: u64 = 64 << 20;
