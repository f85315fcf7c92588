//! Large merges: objects are merged into one, with a graph, beside the namespace's other maintenance.
//!
//! Building a large segment takes minutes because of its graph, and a flush must not wait for that: writes would be
//! refused meanwhile. Therefore a merge runs in a task of its own, which holds the segments that it reads, and comes back
//! to the maintenance task when it needs the namespace's state.
//!
//! 1. Acquire a permit of a separate kind: flushes of all namespaces continue during merges.
//! 2. Build the segment in memory. A crash leaves nothing, and closing the namespace does not wait for the build. If an
//!    erasure replaces an input or the namespace is emptied, the merge is useless, and it is stopped at once.
//! 3. In the maintenance task: check that the inputs are still part of the namespace.
//! 4. Make the object durable. Flushes continue; closing the namespace and jobs that delete objects wait for it.
//! 5. In the maintenance task: make the checkpoint durable and replace the inputs, as all maintenance does.
//!
//! A namespace runs one merge at a time; what comes due meanwhile is merged by the next one.

use crate::{
    Error,
    cpu::on_merge_pool,
    job_scheduler::JobPermit,
    maintenance::{
        flush::{Frozen, JOB_FACTOR, delete_obsolete},
        queue::{BuiltMerge, Job, JobMessage, MergeStep},
        state::{MaintenanceState, RunningMerge},
    },
    state::{
        core::{HeldCore, NamespaceCore},
        index::Index,
        live_segment::{Durability, LiveSegment},
        objects::put_object,
        rebuild,
    },
};
use kernel::Timestamp;
use segment::StopFlag;
use std::sync::{Arc, atomic::Ordering};
use tokio::sync::mpsc::UnboundedSender;
use zeroize::Zeroizing;

/// Starts a merge of segments as they were at `as_of`. Its task sends its steps as messages.
pub(super) fn start(
    core: &Arc<NamespaceCore>,
    state: &mut MaintenanceState,
    inputs: Vec<LiveSegment>,
    as_of: Timestamp,
    messages: UnboundedSender<JobMessage>,
) {
    if state.merge.is_some() {
        return;
    }
    state.merge = Some(RunningMerge { inputs: inputs.clone(), as_of, is_putting: false, waiting: Vec::new() });
    let held = core.clone();
    core.shared.config.tracker.spawn(async move {
        let built = build(&held, &inputs).await;
        drop(inputs);
        send(&messages, &held, MergeStep::Built(built));
    });
}

fn send(messages: &UnboundedSender<JobMessage>, core: &Arc<NamespaceCore>, step: MergeStep) {
    let _namespace_is_closed = messages.send(JobMessage { core: HeldCore::new(core), job: Box::new(Job::Merge(step)) });
}

async fn build(core: &NamespaceCore, inputs: &[LiveSegment]) -> Result<Option<BuiltMerge>, Error> {
    let shared = &core.shared;
    let bytes = inputs.iter().map(LiveSegment::size).sum::<u64>().saturating_mul(JOB_FACTOR);
    let Some(permit) = core.unless_closed(shared.merges.acquire(core.incarnation, bytes)).await else {
        return Ok(None);
    };
    let (spec, now, segments) = (core.version().spec, shared.config.clock.now(), inputs.to_vec());
    let (graphs, stop) = (shared.config.graphs, StopFlag::default());
    let build_stop = stop.clone();
    let built = on_merge_pool(&*shared.config.cpu, move || rebuild::write(spec, &segments, now, graphs, &build_stop));
    let built = async {
        tokio::pin!(built);
        tokio::select! {
            biased;
            built = &mut built => return built,
            () = core.published.wait_until_replaced(inputs) => stop.stop(),
        }
        // Its memory and its core are free only once it has noticed.
        built.await
    };
    let Some(built) = core.unless_closed(built).await else {
        stop.stop();
        return Ok(None);
    };
    match built? {
        Err(Error::Segment(segment::Error::Stopped)) => Ok(None),
        built => {
            let bytes = built?;
            shared.step("merged");
            Ok(Some(BuiltMerge { bytes, permit }))
        }
    }
}

/// Continues the running merge after a step of its task. Afterwards it runs on if [`MaintenanceState::merge`] still
/// holds it.
///
/// # Errors
/// The error that ended it. Its inputs stay as they are.
pub(super) async fn next_step(
    core: &Arc<NamespaceCore>,
    state: &mut MaintenanceState,
    step: MergeStep,
    messages: UnboundedSender<JobMessage>,
) -> Result<(), Error> {
    let outcome = take_step(core, state, step, messages).await;
    if matches!(outcome, Ok(Next::Put)) {
        return Ok(());
    }
    if let Some(merge) = state.merge.take() {
        merge.end();
    }
    outcome?;
    // The merge held references to the segments that it replaced.
    delete_obsolete(core, state, false).await
}

/// What follows a step.
enum Next {
    Put,
    End,
}

async fn take_step(
    core: &Arc<NamespaceCore>,
    state: &mut MaintenanceState,
    step: MergeStep,
    messages: UnboundedSender<JobMessage>,
) -> Result<Next, Error> {
    let Some(merge) = &mut state.merge else { return Ok(Next::End) };
    let (inputs, as_of) = (merge.inputs.clone(), merge.as_of);
    let (fresh, _permit) = match step {
        MergeStep::Put(fresh, permit) => (fresh?, permit),
        MergeStep::Built(built) => {
            let Some(BuiltMerge { bytes, permit }) = built? else { return Ok(Next::End) };
            let inputs_are_live = core.version().replaced(&inputs, None, as_of)?.is_some();
            if !core.is_open() || !inputs_are_live {
                return Ok(Next::End);
            }
            match bytes {
                None => (None, permit),
                Some(bytes) => {
                    merge.is_putting = true;
                    // A checkpoint will name the object, or it becomes an orphan.
                    state.orphan_free = false;
                    start_put(core, bytes, permit, messages);
                    return Ok(Next::Put);
                }
            }
        }
    };
    let frozen = Frozen::as_checkpointed(inputs, state, as_of);
    frozen.built(fresh).install(core, state).await?;
    core.shared.counters.compactions.fetch_add(1, Ordering::Relaxed);
    Ok(Next::End)
}

fn start_put(
    core: &Arc<NamespaceCore>,
    bytes: Zeroizing<Vec<u8>>,
    permit: JobPermit,
    messages: UnboundedSender<JobMessage>,
) {
    let held = core.clone();
    core.shared.config.tracker.spawn(async move {
        let spec = held.version().spec;
        let put = put_object(&held, spec, bytes).await;
        let fresh = put.map(|(object, segment)| Some((Arc::new(Index::Segment(segment)), Durability::Object(object))));
        send(&messages, &held, MergeStep::Put(fresh, permit));
    });
}
