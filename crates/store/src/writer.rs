//! The single writer of a namespace: takes the waiting writes, logs them as one entry, publishes, answers.
//!
//! A crash before the append is durable leaves nothing of the entry; a crash after it leaves all of it, answered or
//! not. While one entry is being written to disk, the next requests queue up: this is group commit.

use crate::{
    Error, cost,
    cpu::{TaskClass, on_cpu, run_inline},
    indexing,
    namespace::Namespace,
    prepare::{PreparedBatch, QueuedWrite, prepare},
};
use journal::Seq;
use kernel::cost::RunOn;
use std::{collections::VecDeque, sync::Arc};

/// Writes until no request waits.
pub(crate) async fn run(namespace: Arc<Namespace>) {
    while step(&namespace).await {}
}

/// Writes one entry. Returns whether there was anything to write.
pub(crate) async fn step(namespace: &Arc<Namespace>) -> bool {
    namespace.throttle_on_audit().await;
    indexing::throttle(namespace).await;
    crate::maintenance::throttle(namespace).await;
    let mut last_entry = namespace.publish_lock.lock().await;
    let batch = namespace.next_batch();
    if batch.is_empty() {
        return false;
    }
    if let Err(error) = commit(namespace, &mut last_entry, batch).await {
        tracing::error!(namespace = %namespace.keyspace.uuid(), %error, "the namespace is closed and opened again");
        namespace.fail();
        return true;
    }
    drop(last_entry);
    crate::maintenance::start_if_due(namespace);
    indexing::start_if_due(namespace);
    namespace.shared.evict_if_over_budget();
    true
}

/// Prepares, appends, publishes and answers, in this order.
///
/// # Errors
/// An error that ends this opening of the namespace. All callers in the batch have been answered.
async fn commit(namespace: &Arc<Namespace>, last_entry: &mut Seq, batch: VecDeque<QueuedWrite>) -> Result<(), Error> {
    let (version, clock) = (namespace.version(), namespace.shared.config.clock.clone());
    // Work that may wait for a page or take long must not block a thread that other tasks need.
    let (counter, retention) = (namespace.counter.clone(), namespace.retention());
    let prepared = match cost::of_batch(&version, &batch).run_on() {
        RunOn::Caller(short) => run_inline(&short, || prepare(&version, batch, &clock, &counter, retention))?,
        RunOn::Pool => {
            let prepared = move || prepare(&version, batch, &clock, &counter, retention);
            on_cpu(&*namespace.shared.config.cpu, TaskClass::Write(namespace.incarnation), prepared).await?
        }
    };
    let PreparedBatch { entry, version, to_answer, records, remaining, accepted, reserved, permits } = match prepared {
        Ok(prepared) => prepared,
        // All callers have been answered and nothing was written; a retry may be able to read it.
        Err(error) if error.is_transient() => return Ok(()),
        Err(error) => return Err(error),
    };
    namespace.put_back(remaining);
    let Some(entry) = entry else { return Ok(()) };
    let logged = entry.len() as u64;
    *last_entry = match namespace.journal.append(entry).await {
        Ok(seq) => {
            namespace.shared.counters.accepted(accepted, logged);
            seq
        }
        Err(error) => {
            let error = kernel::Error::from(error);
            if let Some(reserved) = reserved.filter(|_| error.outcome_unknown) {
                reserved.assume_stored(namespace.keyspace.uuid());
            }
            for (reply, _) in to_answer {
                let _caller_has_gone = reply.send(Err(append_failed(&error)));
            }
            // Refused before a byte was written, so log and namespace remain usable.
            let refused = matches!(error.code, kernel::Code::TooLarge | kernel::Code::StorageFull);
            return if refused && namespace.journal.failed().is_none() { Ok(()) } else { Err(append_failed(&error)) };
        }
    };
    // The entry is durable: publish first, so that an answered caller finds its write.
    let totals = version.totals();
    namespace.publish_write(version, reserved);
    namespace.audit.push(records, totals);
    namespace.deliver_audit_soon();
    // The prepared batch is written and now counts towards the namespace's own memory.
    drop(permits);
    for (reply, outcome) in to_answer {
        let _caller_has_gone = reply.send(Ok(outcome));
    }
    Ok(())
}

fn append_failed(error: &kernel::Error) -> Error {
    Error::Append { code: error.code, message: error.message.clone(), outcome_unknown: error.outcome_unknown }
}
