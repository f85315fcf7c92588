//! The one writer of a namespace: takes what waits, writes it as one entry, publishes, answers.
//!
//! A crash before the append is durable leaves nothing; after it, everything, answered or not.
//! While one entry is on its way to the disk the next requests gather: that is the group commit.

use crate::{
    Error,
    cpu::on_cpu,
    namespace::Namespace,
    rebuild,
    stage::{Staged, Write, stage},
    view::View,
};
use journal::Seq;
use std::{collections::VecDeque, sync::Arc};

/// Writes until nobody waits.
pub(crate) async fn run(namespace: Arc<Namespace>) {
    while step(&namespace).await {}
}

/// Writes one entry; whether there was anything to write.
pub(crate) async fn step(namespace: &Arc<Namespace>) -> bool {
    namespace.lines_keep_up().await;
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
    if let Err(error) = tidy(namespace).await {
        tracing::error!(namespace = %namespace.home.uuid(), %error, "the memtable does not merge");
        namespace.fail();
    }
    drop(turn);
    crate::upkeep::start_if_due(namespace);
    true
}

/// Stages, appends, publishes, answers: in this order.
///
/// # Errors
/// What ends this opening of the namespace. Everybody in the batch has been told.
async fn commit(namespace: &Arc<Namespace>, turn: &mut Seq, batch: VecDeque<Write>) -> Result<(), Error> {
    let (view, now) = (namespace.view(), namespace.shared.config.clock.now());
    let Staged { entry, view, done, lines, rest } =
        on_cpu(&*namespace.shared.config.cpu, move || stage(&view, batch, now)).await??;
    namespace.put_back(rest);
    let Some(entry) = entry else { return Ok(()) };
    *turn = match namespace.journal.append(entry).await {
        Ok(seq) => seq,
        Err(error) => {
            let error = kernel::Error::from(error);
            for (reply, _) in done {
                let _asker_gone = reply.send(Err(append_failed(&error)));
            }
            // Refused before a byte was written, and the log goes on: so does the namespace.
            let refused = matches!(error.code, kernel::Code::TooLarge | kernel::Code::StorageFull);
            return if refused && namespace.journal.failed().is_none() { Ok(()) } else { Err(append_failed(&error)) };
        }
    };
    namespace.publish(view);
    namespace.lines.push(lines);
    namespace.absorb_soon();
    for (reply, outcome) in done {
        let _asker_gone = reply.send(Ok(outcome));
    }
    Ok(())
}

fn append_failed(error: &kernel::Error) -> Error {
    Error::Append { code: error.code, message: error.message.clone(), outcome_unknown: error.outcome_unknown }
}

/// Merges small segments in memory, so that a search never looks into many. A document is indexed
/// again once a tier: about log4 of the memtable's size.
async fn tidy(namespace: &Arc<Namespace>) -> Result<(), Error> {
    while let Some(old) = due(&namespace.view(), namespace.shared.config.flush_rows_max) {
        let (spec, now) = (namespace.view().spec, namespace.shared.config.clock.now());
        let parts = old.clone();
        let built = on_cpu(&*namespace.shared.config.cpu, move || rebuild::in_memory(spec, &parts, now)).await??;
        // The turn is ours: nothing else has changed the view meanwhile.
        let Some(view) = namespace.view().replaced(&old, built.map(|segment| (segment, None)))? else {
            return Ok(());
        };
        namespace.publish(view);
    }
    Ok(())
}

/// Segments in memory of one tier that have become too many.
fn due(view: &View, flush_rows_max: u64) -> Option<Vec<crate::part::Part>> {
    let mut tiers: Vec<Vec<crate::part::Part>> = Vec::new();
    for part in view.memtable() {
        let rows = u64::from(part.segment.rows());
        // The largest stay as they are until the flush: rebuilding them would hold up writers.
        if part.frozen || rows * TIER_FACTOR > flush_rows_max {
            continue;
        }
        let tier = rows.max(1).ilog(TIER_FACTOR) as usize;
        tiers.resize(tiers.len().max(tier + 1), Vec::new());
        tiers[tier].push(part);
    }
    tiers.into_iter().find(|tier| tier.len() as u64 >= TIER_FACTOR)
}

/// Segments of one size that become one of the next.
const TIER_FACTOR: u64 = 4;
