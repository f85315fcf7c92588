//! A batch of requests, planned and checked before anything is written; indexed later.
//!
//! Promises that what cannot be indexed is never logged: the log holds nothing that replay could
//! not read. Runs on the pool.

use crate::{
    Error, Line, Outcome,
    entry::{Changes, EntryWriter},
    plan::{Deed, Plan, Stop},
    tenant_counter::{Reservation, TenantCounter},
    view::View,
    working::Working,
};
use kernel::{Clock, CommitNo, Interrupt, Presence, Retention, WritePermit, limits};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

/// Where the asker waits.
pub(crate) type Reply = oneshot::Sender<Result<Outcome, Error>>;

/// A request that waits for the writer.
pub(crate) struct Write {
    pub(crate) deed: Deed,
    pub(crate) line: Line,
    pub(crate) reply: Reply,
    /// Whether its caller still waits.
    pub(crate) presence: Presence,
    /// What it takes of the memory for writes.
    pub(crate) permit: Option<Box<dyn WritePermit>>,
}

/// A batch that is ready to be written.
pub(crate) struct Staged {
    /// `None` when every request was refused.
    pub(crate) entry: Option<Zeroizing<Vec<u8>>>,
    /// What is published once the entry is durable.
    pub(crate) view: View,
    /// Who is told then.
    pub(crate) done: Vec<(Reply, Outcome)>,
    /// For the audit sink, in order.
    pub(crate) lines: Vec<(CommitNo, Vec<u8>)>,
    /// What did not fit into this entry.
    pub(crate) rest: VecDeque<Write>,
    /// Bytes of documents and ids in it.
    pub(crate) accepted: u64,
    /// Of the tenant's quotas, for as long as it is not published.
    pub(crate) reserved: Option<Reservation>,
    /// Memory of what was planned, for as long as it is not written.
    pub(crate) permits: Vec<Box<dyn WritePermit>>,
}

/// Above this an entry takes no further request, bytes. Bounds memory and the time of one write.
const ENTRY_BYTES_SOFT: u64 = 16 << 20;

/// Stages a batch under the namespace's retention. Refused requests are answered here; so is everybody when there is a fault.
///
/// # Errors
/// A fault of the namespace: bytes that do not read, an index that does not build.
pub(crate) fn stage(
    view: &View,
    batch: VecDeque<Write>,
    clock: &Arc<dyn Clock>,
    counter: &Arc<TenantCounter>,
    retention: Retention,
) -> Result<Staged, Error> {
    let now = clock.now();
    let mut working = Working::new(view, now);
    let mut entry = EntryWriter::new();
    let mut done = Vec::new();
    let (mut lines, mut permits) = (Vec::new(), Vec::new());
    let mut rest = batch;
    let (mut bytes, mut accepted) = (0, 0);
    let mut reserved: Option<Reservation> = None;
    while bytes < ENTRY_BYTES_SOFT {
        let Some(write) = rest.pop_front() else { break };
        // The request ended before its job began, so nothing waits.
        if write.reply.is_closed() {
            continue;
        }
        let commit = working.commit.next();
        let outcome = Outcome { commit, ..Outcome::default() };
        working.begin();
        let interrupt = Interrupt::new(write.presence, clock.clone(), limits::SELECTION_WORK_MAX);
        let Deed { audience, act } = write.deed;
        let changes = Changes::default();
        let mut plan = Plan {
            working: &mut working,
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
        match plan.run(act) {
            Ok(()) => {}
            Err(Stop::Refused(error)) => {
                // Given back before its caller hears of it, and asks again.
                drop(plan.permit.take());
                working.take_back();
                let _asker_gone = write.reply.send(Err(error));
                continue;
            }
            Err(Stop::Fault(error)) => {
                let waiting = done.into_iter().map(|(reply, _)| reply).chain(std::iter::once(write.reply));
                waiting.chain(rest.into_iter().map(|w| w.reply)).for_each(|reply| tell_fault(reply, &error));
                return Err(error);
            }
        }
        let Plan { changes, outcome, permit, .. } = plan;
        // Whatever it did: no way of writing leads past the quotas.
        match counter.reserve(working.growth()) {
            Ok(room) => match &mut reserved {
                Some(reserved) => reserved.join(room),
                None => reserved = Some(room),
            },
            Err(error) => {
                drop(permit);
                working.take_back();
                let _asker_gone = write.reply.send(Err(error));
                continue;
            }
        }
        permits.extend(permit);
        let line = (write.line)(&outcome);
        entry.push(commit, now, working.spec, &changes, &line);
        working.commit = commit;
        accepted += changes.bytes();
        bytes += changes.bytes() + line.len() as u64;
        lines.push((commit, line));
        done.push((write.reply, outcome));
    }
    match working.finish() {
        Ok(view) => Ok(Staged { entry: entry.finish(), view, done, lines, rest, accepted, reserved, permits }),
        Err(error) => {
            let waiting = done.into_iter().map(|(reply, _)| reply).chain(rest.into_iter().map(|w| w.reply));
            waiting.for_each(|reply| tell_fault(reply, &error));
            Err(error)
        }
    }
}

/// Nothing was written, and that is known.
fn tell_fault(reply: Reply, error: &Error) {
    let code = if error.is_transient() { kernel::Code::Overloaded } else { kernel::Code::Internal };
    let _asker_gone = reply.send(Err(Error::Append { code, message: error.to_string(), outcome_unknown: false }));
}
