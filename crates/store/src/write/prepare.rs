//! Prepares a batch of requests: plans and checks them before anything is written. They are indexed later.
//!
//! Guarantees that what cannot be indexed is never logged, so the log holds nothing that replay could not read. Runs on
//! the pool.

use crate::{
    Error, MakeAuditRecord, WriteOutcome,
    state::{
        log_entry::{Changes, EntryWriter},
        version::Version,
    },
    tenant_counter::{Reservation, TenantCounter},
    write::{
        plan::{CommitPlanner, PlanError, WriteOp},
        version_builder::VersionBuilder,
    },
};
use kernel::{CancelFlag, Clock, CommitNo, Interrupt, Retention, WritePermit, limits};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

/// Channel to the caller that waits for the outcome.
pub(crate) type WriteReply = oneshot::Sender<Result<WriteOutcome, Error>>;

/// A write in the queue of the namespace's writer.
pub(crate) struct QueuedWrite {
    pub(crate) op: WriteOp,
    pub(crate) record: MakeAuditRecord,
    pub(crate) reply: WriteReply,
    /// Whether its caller still waits.
    pub(crate) cancel: CancelFlag,
    /// Permit for the memory that the write uses.
    pub(crate) permit: Option<Box<dyn WritePermit>>,
}

/// A batch that is ready to be logged.
pub(crate) struct PreparedBatch {
    /// The encoded entry; `None` if every request was rejected.
    pub(crate) entry: Option<Zeroizing<Vec<u8>>>,
    /// Version to publish once the entry is durable.
    pub(crate) version: Version,
    /// Callers to answer once the entry is durable.
    pub(crate) to_answer: Vec<(WriteReply, WriteOutcome)>,
    /// Audit records for the sink, in order.
    pub(crate) records: Vec<(CommitNo, Vec<u8>)>,
    /// Writes that did not fit into this entry.
    pub(crate) remaining: VecDeque<QueuedWrite>,
    /// Bytes of documents and ids in it.
    pub(crate) accepted: u64,
    /// Reservation of the tenant's quotas, held until the version is published.
    pub(crate) reserved: Option<Reservation>,
    /// Memory permits of the planned writes, held until they are written.
    pub(crate) permits: Vec<Box<dyn WritePermit>>,
}

/// Size in bytes from which on an entry takes no further request. Bounds memory and the time of one write.
const ENTRY_BYTES_SOFT: u64 = 16 << 20;

/// Prepares a batch under the namespace's retention. Rejected requests are answered here; after a fatal error, all
/// requests are.
///
/// # Errors
/// A fault of the namespace: bytes that cannot be read, an index that cannot be built.
pub(crate) fn prepare(
    version: &Version,
    batch: VecDeque<QueuedWrite>,
    clock: &Arc<dyn Clock>,
    counter: &Arc<TenantCounter>,
    retention: Retention,
) -> Result<PreparedBatch, Error> {
    let now = clock.now();
    let mut builder = VersionBuilder::new(version, now);
    let mut entry = EntryWriter::new();
    let mut to_answer = Vec::new();
    let (mut records, mut permits) = (Vec::new(), Vec::new());
    let mut remaining = batch;
    let (mut bytes, mut accepted) = (0, 0);
    let mut reserved: Option<Reservation> = None;
    while bytes < ENTRY_BYTES_SOFT {
        let Some(write) = remaining.pop_front() else { break };
        // The request ended while it was queued, so no caller waits.
        if write.reply.is_closed() {
            continue;
        }
        // Each request becomes a commit of its own, so that a rejected one can be undone.
        let commit = builder.commit.next();
        let outcome = WriteOutcome { commit, ..WriteOutcome::default() };
        builder.begin();
        let interrupt = Interrupt::new(write.cancel, clock.clone(), limits::SELECTION_WORK_MAX);
        let WriteOp { audience, action } = write.op;
        let changes = Changes::default();
        let mut planner = CommitPlanner {
            builder: &mut builder,
            audience,
            retention,
            changes,
            commit,
            now,
            outcome,
            disambiguated: 0,
            interrupt,
            permit: write.permit,
            looked_up: HashMap::new(),
        };
        match planner.run(action) {
            Ok(()) => {}
            Err(PlanError::Reject(error)) => {
                // Released before the caller is answered, because the caller may retry at once.
                drop(planner.permit.take());
                builder.undo();
                let _caller_has_gone = write.reply.send(Err(error));
                continue;
            }
            Err(PlanError::Fatal(error)) => {
                let waiting = to_answer.into_iter().map(|(reply, _)| reply).chain(std::iter::once(write.reply));
                waiting.chain(remaining.into_iter().map(|w| w.reply)).for_each(|reply| send_fault(reply, &error));
                return Err(error);
            }
        }
        let CommitPlanner { changes, outcome, permit, .. } = planner;
        // Checked for every action, so that no kind of write bypasses the quotas.
        match counter.reserve(builder.growth()) {
            Ok(reservation) => match &mut reserved {
                Some(reserved) => reserved.join(reservation),
                None => reserved = Some(reservation),
            },
            Err(error) => {
                drop(permit);
                builder.undo();
                let _caller_has_gone = write.reply.send(Err(error));
                continue;
            }
        }
        permits.extend(permit);
        // The audit record needs the final outcome, so it is made after the quota check.
        let record = (write.record)(&outcome);
        entry.push(commit, now, builder.spec, &changes, &record);
        builder.commit = commit;
        accepted += changes.bytes();
        bytes += changes.bytes() + record.len() as u64;
        records.push((commit, record));
        to_answer.push((write.reply, outcome));
    }
    // Building the version fails if the batch has too many rows for a write buffer; nothing has been logged yet.
    match builder.finish() {
        Ok(version) => Ok(PreparedBatch {
            entry: entry.finish(),
            version,
            to_answer,
            records,
            remaining,
            accepted,
            reserved,
            permits,
        }),
        Err(error) => {
            let waiting = to_answer.into_iter().map(|(reply, _)| reply).chain(remaining.into_iter().map(|w| w.reply));
            waiting.for_each(|reply| send_fault(reply, &error));
            Err(error)
        }
    }
}

/// Reports a fault. It is known that nothing was written.
fn send_fault(reply: WriteReply, error: &Error) {
    let code = if error.is_transient() { kernel::Code::Overloaded } else { kernel::Code::Internal };
    let _caller_has_gone = reply.send(Err(Error::Append { code, message: error.to_string(), outcome_unknown: false }));
}
