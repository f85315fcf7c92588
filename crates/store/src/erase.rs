//! Erasure: documents are deleted, and then no object and no log file of the namespace holds them.
//!
//! 1. the delete is one commit like any other; from its reply on they are in no answer
//! 2. a flush whose checkpoint covers all that the log held: it takes the place of the log files
//!    that have the documents. Entries that came while it was written stand in the last of those
//!    files; then a second flush covers them too
//! 3. every object with a dead copy under one of the ids is rewritten without it
//!
//! A crash on the way leaves the delete; asked again for the same ids, it does what is left.

use crate::{
    Error, Outcome,
    cpu::{Errand, on_cpu},
    due::Job,
    namespace::Namespace,
    part::Part,
    tend::clear,
    upkeep::{Upkeep, cover_all, delete_retired, failed, round, start_if_due},
    view::View,
};
use journal::Seq;
use kernel::{Audience, CommitNo, DocumentId, Timestamp};
use std::sync::Arc;
use tokio::task::JoinHandle;

/// An erasure in progress; it continues whether or not a caller waits for it.
#[derive(Debug)]
pub struct Erasing {
    /// The delete, which is durable.
    pub outcome: Outcome,
    rest: JoinHandle<Result<Erased, Error>>,
}

/// The checkpoint from which on no object and no log file holds the documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erased {
    /// The newest commit that it covers.
    pub commit: CommitNo,
    /// The newest log entry that it covers.
    pub covers: Seq,
    /// The ids among those asked for under which nothing is left that the caller could read; for a caller that reads
    /// everything, nothing at all.
    pub free: Vec<DocumentId>,
    /// The commit as of which that was checked.
    pub looked_at: CommitNo,
}

impl Erasing {
    /// Starts what is left to do after the delete.
    pub(crate) fn start(
        namespace: &Arc<Namespace>,
        ids: Vec<DocumentId>,
        audience: Audience,
        outcome: Outcome,
    ) -> Self {
        let held = namespace.clone();
        let rest = async move { erase(&held, &ids, &audience).await.inspect_err(|error| failed(&held, error)) };
        Self { outcome, rest: namespace.shared.config.tracker.spawn(rest) }
    }

    /// Waits until the bytes are gone.
    ///
    /// # Errors
    /// What stopped it, such as a full disk; ask again for the same ids.
    pub async fn erased(self) -> Result<Erased, Error> {
        self.rest.await.map_err(|_| Error::Panicked)?
    }
}

async fn erase(namespace: &Arc<Namespace>, ids: &[DocumentId], audience: &Audience) -> Result<Erased, Error> {
    // A merge that has written its object names it first. One that is still building finds its inputs gone.
    let _no_merge = namespace.merge_puts.lock().await;
    let mut upkeep = namespace.upkeep.lock().await;
    if namespace.journal.last() > upkeep.covers {
        cover_all(namespace, &mut upkeep).await?;
    }
    let config = &namespace.shared.config;
    loop {
        // Heads may lie in pages that have to be fetched.
        let (view, asked, now) = (namespace.view(), ids.to_vec(), config.clock.now());
        let look = move || holder(&view, &asked, now);
        let Some(part) = on_cpu(&*config.cpu, Errand::Write(namespace.incarnation), look).await? else { break };
        round(namespace, &mut upkeep, Job::Compact(vec![part])).await?;
    }
    // A reader that still uses one of them in a bucket gets an error: the promise to erase comes first.
    delete_retired(namespace, &mut upkeep, true).await?;
    // What a failed checkpoint left unnamed may hold them as well.
    clear(namespace, &mut upkeep).await?;
    let Upkeep { commit, covers, .. } = *upkeep;
    drop(upkeep);
    let (view, asked, audience) = (namespace.view(), ids.to_vec(), audience.clone());
    let look = move || {
        // A deleted copy that is still stored is not gone. A living one under the same id that the caller does not see
        // is another document.
        let hidden = |part: &Part, doc: u32| {
            let head = part.index.head(doc);
            !part.dead.contains(doc) && head.is_ok_and(|head| !audience.may_see(head.readers.as_deref()))
        };
        let apart = |part: &Part, id: &DocumentId| part.index.named(id).into_iter().all(|doc| hidden(part, doc));
        let free = |id: &DocumentId| view.parts.iter().all(|part| apart(part, id));
        (asked.into_iter().filter(free).collect(), view.commit)
    };
    let (free, looked_at) = on_cpu(&*config.cpu, Errand::Write(namespace.incarnation), look).await?;
    // What was rewritten may want its graph back.
    start_if_due(namespace);
    Ok(Erased { commit, covers, free, looked_at })
}

/// A sealed part that still has a dead or expired document under one of these ids, whichever key it has.
fn holder(view: &View, ids: &[DocumentId], now: Timestamp) -> Option<Part> {
    let gone = |part: &Part, doc: u32| {
        part.dead.contains(doc) || part.index.head(doc).is_ok_and(|head| crate::plan::expired(&head, now))
    };
    let holds = |part: &Part| ids.iter().any(|id| part.index.named(id).into_iter().any(|doc| gone(part, doc)));
    view.sealed().into_iter().find(holds)
}
