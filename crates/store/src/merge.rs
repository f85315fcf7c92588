//! Long merges: objects are merged into one, with a graph, concurrently with the namespace's other maintenance.
//!
//! Building a large segment takes minutes because of its graph, and a flush must not wait for that: writes would be
//! refused meanwhile. Therefore the build locks nothing; it only holds the segments that it reads.
//!
//! 1. Acquire a permit of a separate kind: flushes of all namespaces continue during merges.
//! 2. Build the segment in memory. A crash leaves nothing, and closing the namespace does not wait for the build.
//! 3. Check that the inputs are still part of the namespace. If an erasure replaced them or the namespace was emptied,
//!    the merge is useless, and it is stopped as soon as that is known.
//! 4. Make the object and the checkpoint durable and replace the inputs, as all maintenance does.
//!
//! A namespace runs one merge at a time; what comes due meanwhile is merged by the next one.

use crate::{
    Error,
    cpu::on_merge_pool,
    index::Index,
    live_segment::{Durability, LiveSegment},
    maintenance,
    namespace::Namespace,
    rebuild,
    version::Version,
};
use kernel::{Timestamp, limits};
use segment::StopFlag;
use std::sync::{Arc, Mutex, PoisonError, atomic::Ordering};
use tokio::sync::Notify;

/// The running merge, if any, with its inputs.
#[derive(Default)]
pub(crate) struct MergeTracker(Mutex<(Vec<LiveSegment>, StopFlag)>, Notify);

impl MergeTracker {
    /// Whether the running merge will replace this segment.
    pub(crate) fn is_input(&self, segment: &LiveSegment) -> bool {
        self.current().0.iter().any(|input| input.is(segment))
    }

    /// Whether a merge is running.
    pub(crate) fn is_running(&self) -> bool {
        !self.current().0.is_empty()
    }

    /// Stops the merge if this version lacks one of its inputs: its result would be useless, and it uses memory and a
    /// core.
    pub(crate) fn cancel_if_stale(&self, version: &Version) {
        let current = self.current();
        if !current.0.iter().all(|segment| version.segments.iter().any(|live| live.is(segment))) {
            current.1.stop();
        }
    }

    fn begin(&self, segments: &[LiveSegment]) -> Option<StopFlag> {
        let mut current = self.current();
        if !current.0.is_empty() {
            return None;
        }
        let stop = StopFlag::default();
        *current = (segments.to_vec(), stop.clone());
        Some(stop)
    }

    fn end(&self) {
        *self.current() = Default::default();
        self.1.notify_waiters();
    }

    /// Waits until no merge is running.
    pub(crate) async fn wait_until_idle(&self) {
        loop {
            let end = self.1.notified();
            if !self.is_running() {
                return;
            }
            end.await;
        }
    }

    fn current(&self) -> std::sync::MutexGuard<'_, (Vec<LiveSegment>, StopFlag)> {
        // Safe after a panic: only single assignments happen under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether merging these segments builds a graph, extends one, or produces more bytes than a flush should wait for.
pub(crate) fn is_long_merge(segments: &[LiveSegment], bytes_max: u64) -> bool {
    let live = || segments.iter().filter(|segment| segment.counts.documents > 0);
    let has_large_graph =
        |segment: &LiveSegment| segment.linked().is_some() && segment.counts.passages > limits::GRAPH_ROWS_MIN as u64;
    live().any(|segment| segment.wants_graph() || has_large_graph(segment))
        || live().map(LiveSegment::size).sum::<u64>() > bytes_max
}

/// Starts a merge of segments as they were at `as_of`, in the background. The caller holds the maintenance lock.
pub(crate) fn start(namespace: &Arc<Namespace>, segments: Vec<LiveSegment>, as_of: Timestamp) {
    let Some(stop) = namespace.merging.begin(&segments) else { return };
    let held = namespace.clone();
    namespace.shared.config.tracker.spawn(async move {
        let outcome = merge(&held, &segments, stop, as_of).await;
        held.merging.end();
        drop(segments);
        match outcome {
            Ok(()) => maintenance::start_if_due(&held),
            Err(error) => maintenance::failed(&held, &error),
        }
        let shared = held.shared.clone();
        drop(held);
        shared.evict_if_over_budget();
    });
}

async fn merge(namespace: &Arc<Namespace>, old: &[LiveSegment], stop: StopFlag, as_of: Timestamp) -> Result<(), Error> {
    let shared = &namespace.shared;
    let bytes = old.iter().map(LiveSegment::size).sum::<u64>().saturating_mul(maintenance::JOB_FACTOR);
    let permit = shared.merges.acquire(namespace.incarnation, bytes);
    let Some(_permit) = namespace.unless_closed(permit).await else { return Ok(()) };
    let (spec, now, segments) = (namespace.version().spec, shared.config.clock.now(), old.to_vec());
    let (graphs, build_stop) = (shared.config.graphs, stop.clone());
    let built = on_merge_pool(&*shared.config.cpu, move || rebuild::write(spec, &segments, now, graphs, &build_stop));
    let Some(built) = namespace.unless_closed(built).await else {
        stop.stop();
        return Ok(());
    };
    let built = match built? {
        Err(Error::Segment(segment::Error::Stopped)) => return Ok(()),
        built => built?,
    };
    shared.step("merged");

    // From here on the merge uses the journal, so closing the namespace waits for it.
    let _journal = namespace.merge_puts.lock().await;
    let inputs_are_live = namespace.version().replaced(old, None, as_of)?.is_some();
    if !namespace.is_open() || !inputs_are_live {
        return Ok(());
    }
    let fresh = match built {
        None => None,
        Some(bytes) => {
            let (object, segment) = maintenance::put(namespace, spec, bytes).await?;
            Some((Arc::new(Index::Segment(segment)), Durability::Object(object)))
        }
    };
    let mut maintenance = namespace.maintenance.lock().await;
    let (covers, commit) = (maintenance.covers, maintenance.commit);
    maintenance::install(namespace, &mut maintenance, old, fresh, covers, commit, as_of).await?;
    shared.counters.compactions.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Merges of up to this many bytes take some tenths of a second and run like flushes, without a graph.
pub const SHORT_MERGE_BYTES_MAX: u64 = 64 << 20;
