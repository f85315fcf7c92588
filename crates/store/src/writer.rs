//! The one writer of a namespace: takes what waits, writes it as one entry, publishes, answers.
//!
//! A crash before the append is durable leaves nothing; after it, everything, answered or not.
//! While one entry is on its way to the disk the next requests gather: that is the group commit.

use crate::{
    Error, cost,
    cpu::{Errand, here, on_cpu},
    indexing,
    namespace::Namespace,
    stage::{Staged, Write, stage},
};
use journal::Seq;
use kernel::cost::RunOn;
use std::{collections::VecDeque, sync::Arc};

/// Writes until no request waits.
pub(crate) async fn run(namespace: Arc<Namespace>) {
    while step(&namespace).await {}
}

/// Writes one entry; whether there was anything to write.
pub(crate) async fn step(namespace: &Arc<Namespace>) -> bool {
    namespace.lines_keep_up().await;
    indexing::keeps_up(namespace).await;
    crate::upkeep::keeps_up(namespace).await;
    let mut turn = namespace.turn.lock().await;
    let batch = namespace.next_batch();
    if batch.is_empty() {
        return false;
    }
    if let Err(error) = commit(namespace, &mut turn, batch).await {
        tracing::error!(namespace = %namespace.home.uuid(), %error, "the namespace is closed and opened again");
        namespace.fail();
        return true;
    }
    drop(turn);
    crate::upkeep::start_if_due(namespace);
    indexing::start_if_due(namespace);
    namespace.shared.make_room();
    true
}

/// Stages, appends, publishes, answers: in this order.
///
/// # Errors
/// What ends this opening of the namespace. Everybody in the batch has been told.
async fn commit(namespace: &Arc<Namespace>, turn: &mut Seq, batch: VecDeque<Write>) -> Result<(), Error> {
    let (view, clock) = (namespace.view(), namespace.shared.config.clock.clone());
    // What may wait for a page or take long is not for a thread that others wait for.
    let (counter, retention) = (namespace.counter.clone(), namespace.retention());
    let staged = match cost::of_batch(&view, &batch).run_on() {
        RunOn::Caller(short) => here(&short, || stage(&view, batch, &clock, &counter, retention))?,
        RunOn::Pool => {
            let staged = move || stage(&view, batch, &clock, &counter, retention);
            on_cpu(&*namespace.shared.config.cpu, Errand::Write(namespace.incarnation), staged).await?
        }
    };
    let Staged { entry, view, done, lines, rest, accepted, reserved, permits } = match staged {
        Ok(staged) => staged,
        // Everybody has been told, nothing was written, and another try may read it.
        Err(error) if error.is_transient() => return Ok(()),
        Err(error) => return Err(error),
    };
    namespace.put_back(rest);
    let Some(entry) = entry else { return Ok(()) };
    let logged = entry.len() as u64;
    *turn = match namespace.journal.append(entry).await {
        Ok(seq) => {
            namespace.shared.counters.accepted(accepted, logged);
            seq
        }
        Err(error) => {
            let error = kernel::Error::from(error);
            if let Some(reserved) = reserved.filter(|_| error.outcome_unknown) {
                reserved.assume_stored(namespace.home.uuid());
            }
            for (reply, _) in done {
                let _asker_gone = reply.send(Err(append_failed(&error)));
            }
            // Refused before a byte was written: log and namespace continue.
            let refused = matches!(error.code, kernel::Code::TooLarge | kernel::Code::StorageFull);
            return if refused && namespace.journal.failed().is_none() { Ok(()) } else { Err(append_failed(&error)) };
        }
    };
    let totals = view.totals();
    namespace.publish_write(view, reserved);
    namespace.lines.push(lines, totals);
    namespace.absorb_soon();
    // What was planned is written, and counts as what the namespace holds.
    drop(permits);
    for (reply, outcome) in done {
        let _asker_gone = reply.send(Ok(outcome));
    }
    Ok(())
}

fn append_failed(error: &kernel::Error) -> Error {
    Error::Append { code: error.code, message: error.message.clone(), outcome_unknown: error.outcome_unknown }
}
