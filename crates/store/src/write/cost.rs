//! Estimates the cost of preparing a batch of writes.

use crate::{
    cost::of_heads,
    request::Selection,
    state::version::Version,
    write::{
        plan::{WriteAction, WriteOp},
        prepare::QueuedWrite,
    },
};
use kernel::cost::Cost;

/// Cost of preparing a batch of writes.
pub(crate) fn of_batch<'a>(version: &Version, batch: impl IntoIterator<Item = &'a QueuedWrite>) -> Cost {
    let batch = batch.into_iter().map(|write| of_op(version, &write.op));
    batch.fold(of_publishing(version), Cost::and)
}

fn of_op(version: &Version, op: &WriteOp) -> Cost {
    match &op.action {
        WriteAction::Append(upserts, _) => {
            let brought: u64 = upserts.iter().map(|upsert| upsert.admitted.bytes() + 512).sum();
            let heads = of_heads(version, upserts.iter().map(|upsert| upsert.admitted.id()));
            heads.and(Cost::steps(brought).times(STAGED_BYTE))
        }
        WriteAction::Delete(Selection::Ids(ids)) => {
            of_heads(version, ids).and(Cost::steps(ids.len() as u64).times(512))
        }
        WriteAction::Delete(Selection::Filter(_))
        | WriteAction::Patch(..)
        | WriteAction::Decide(..)
        | WriteAction::Shorten => Cost::UNBOUNDED,
    }
}

/// Cost that every batch has: deletions are marked, and small write buffers are joined.
fn of_publishing(version: &Version) -> Cost {
    let extent = version.extent();
    let joined: u64 = version
        .segments
        .iter()
        .filter_map(|segment| segment.index.write_buffer())
        .map(|write_buffer| u64::from(write_buffer.documents()))
        .sum();
    Cost::steps(extent.documents / 8).and(Cost::steps(joined.min(JOINED_DOCUMENTS_MAX)).times(JOINED_DOCUMENT))
}

/// Steps per submitted byte: it is checked, encoded and copied.
const STAGED_BYTE: u64 = 64;
/// Most documents of write buffers that one batch joins, and the steps for each: see `version_builder`.
const JOINED_DOCUMENTS_MAX: u64 = 4_096;
const JOINED_DOCUMENT: u64 = 128;
