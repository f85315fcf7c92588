//! Erasure: documents are deleted, and afterwards no object and no log file of the namespace holds them.
//!
//! 1. The delete is a commit like any other; from its reply on, the documents are in no answer.
//! 2. A flush whose checkpoint covers everything that the log held replaces the log files that have the documents.
//!    Entries that arrived while it was written are in the last of those files; then a second flush covers them too.
//! 3. Every object with a deleted copy under one of the ids is rewritten without it.
//!
//! A crash on the way leaves the delete; an erasure of the same ids does the rest.

use crate::{
    Error,
    cpu::{TaskClass, on_cpu},
    maintenance::{
        flush::{cover_all, delete_obsolete, run_job},
        orphans,
        picker::MaintenanceJob,
        state::MaintenanceState,
    },
    state::{
        core::NamespaceCore,
        live_segment::LiveSegment,
        version::{Version, expired},
    },
};
use journal::Seq;
use kernel::{Audience, CommitNo, DocumentId, Timestamp};
use std::sync::Arc;

/// Result of an erasure: the checkpoint from which on no object and no log file holds the documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentErasureResult {
    /// Newest commit that the checkpoint covers.
    pub commit: CommitNo,
    /// Newest log entry that the checkpoint covers.
    pub covers: Seq,
    /// The requested ids under which nothing is left that the caller could read; for a caller that reads everything,
    /// nothing at all.
    pub free: Vec<DocumentId>,
    /// Commit as of which that was checked.
    pub checked_at: CommitNo,
}

/// Erases the bytes of deleted documents, as the module documentation lists.
///
/// # Errors
/// The error that stopped it.
pub(super) async fn erase(
    core: &Arc<NamespaceCore>,
    state: &mut MaintenanceState,
    ids: &[DocumentId],
    audience: &Audience,
) -> Result<DocumentErasureResult, Error> {
    if core.journal.last() > state.covers {
        cover_all(core, state).await?;
    }
    let config = &core.shared.config;
    loop {
        // Heads may be in pages that have to be fetched.
        let (version, requested, now) = (core.version(), ids.to_vec(), config.clock.now());
        let find = move || segment_with_copies(&version, &requested, now);
        let Some(segment) = on_cpu(&*config.cpu, TaskClass::Write(core.incarnation), find).await? else { break };
        run_job(core, state, MaintenanceJob::Compact(vec![segment])).await?;
    }
    // A reader that still uses one of them in a bucket gets an error: the promise to erase takes precedence.
    delete_obsolete(core, state, true).await?;
    // Objects that a failed checkpoint left unnamed may hold the documents as well.
    orphans::collect(core, state).await?;
    let MaintenanceState { commit, covers, .. } = *state;
    let (version, requested, audience) = (core.version(), ids.to_vec(), audience.clone());
    let check = move || {
        // A deleted copy that is still stored is not erased. A live document under the same id that the caller cannot
        // see is a different document.
        let hidden = |segment: &LiveSegment, doc: u32| {
            let head = segment.index.head(doc);
            !segment.deleted.contains(doc) && head.is_ok_and(|head| !audience.may_see(head.readers.as_deref()))
        };
        let all_hidden = |segment: &LiveSegment, id: &DocumentId| {
            segment.index.named(id).into_iter().all(|doc| hidden(segment, doc))
        };
        let is_free = |id: &DocumentId| version.segments.iter().all(|segment| all_hidden(segment, id));
        (requested.into_iter().filter(is_free).collect(), version.commit)
    };
    let (free, checked_at) = on_cpu(&*config.cpu, TaskClass::Write(core.incarnation), check).await?;
    Ok(DocumentErasureResult { commit, covers, free, checked_at })
}

/// A sealed segment that still holds a deleted or expired document under one of these ids, whatever its key.
fn segment_with_copies(version: &Version, ids: &[DocumentId], now: Timestamp) -> Option<LiveSegment> {
    let is_deleted = |segment: &LiveSegment, doc: u32| {
        segment.deleted.contains(doc) || segment.index.head(doc).is_ok_and(|head| expired(&head, now))
    };
    let holds = |segment: &LiveSegment| {
        ids.iter().any(|id| segment.index.named(id).into_iter().any(|doc| is_deleted(segment, doc)))
    };
    version.checkpointed().into_iter().find(holds)
}
