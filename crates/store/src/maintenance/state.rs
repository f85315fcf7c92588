//! What maintenance remembers between jobs.

use crate::state::{
    index::Index,
    live_segment::{Durability, LiveSegment},
};
use journal::{ObjectRef, Seq};
use kernel::{CommitNo, Timestamp};
use std::sync::{Arc, Weak};
use tokio::sync::oneshot;

/// What maintenance remembers between jobs: what the newest checkpoint covers, which objects are obsolete, and the
/// running merge.
pub(crate) struct MaintenanceState {
    /// Objects that the newest checkpoint names.
    pub(crate) named: Vec<ObjectRef>,
    pub(crate) covers: Seq,
    pub(crate) commit: CommitNo,
    /// Objects that the checkpoint no longer names and that may still exist.
    pub(crate) obsolete: Vec<ObsoleteObject>,
    /// Whether objects that earlier writers left behind were swept since this process became the writer. On bucket
    /// storage a sweep while opening is too early: another task may be about to name an object that nothing names yet.
    pub(crate) swept: bool,
    /// Whether a check found no orphaned object in the keyspace, and nothing has been written since then.
    pub(crate) orphan_free: bool,
    /// The large merge that runs, if any.
    pub(crate) merge: Option<RunningMerge>,
}

/// An object that no checkpoint names any more.
pub(crate) struct ObsoleteObject {
    pub(crate) object: ObjectRef,
    /// Index that snapshots hold while they read the object.
    pub(crate) readers: Weak<Index>,
}

/// The merge that runs.
pub(crate) struct RunningMerge {
    pub(super) inputs: Vec<LiveSegment>,
    /// Documents deleted since then are not yet deleted in what it builds.
    pub(super) as_of: Timestamp,
    pub(super) is_putting: bool,
    /// Callers that wait for its end.
    pub(super) waiting: Vec<oneshot::Sender<()>>,
}

/// Segment that replaces others; `None` if none of their documents is live.
pub(super) type NewSegment = Option<(Arc<Index>, Durability)>;

impl MaintenanceState {
    /// State after opening a namespace whose newest checkpoint names these objects.
    pub(crate) fn new(named: Vec<ObjectRef>, covers: Seq, commit: CommitNo, swept: bool) -> Self {
        Self { named, covers, commit, obsolete: Vec::new(), swept, orphan_free: false, merge: None }
    }

    /// Objects that must not be swept.
    pub(super) fn kept_objects(&self) -> Vec<ObjectRef> {
        let obsolete = self.obsolete.iter().map(|obsolete| obsolete.object.clone());
        self.named.iter().cloned().chain(obsolete).collect()
    }

    /// Records which objects a new checkpoint names. Those that only the previous one named are obsolete; `old` are the
    /// segments that the checkpoint replaced.
    pub(super) fn checkpoint_names(&mut self, named: Vec<ObjectRef>, old: &[LiveSegment]) {
        for object in self.named.iter().filter(|object| !named.contains(object)) {
            let segment = old.iter().find(|segment| segment.object() == Some(object));
            let readers = segment.map_or_else(Weak::new, |segment| Arc::downgrade(&segment.index));
            self.obsolete.push(ObsoleteObject { object: object.clone(), readers });
        }
        self.named = named;
    }
}

impl RunningMerge {
    /// Whether it will replace this segment.
    pub(super) fn is_input(&self, segment: &LiveSegment) -> bool {
        self.inputs.iter().any(|input| input.is(segment))
    }

    /// Answers the callers that wait for its end.
    pub(super) fn end(self) {
        for waiting in self.waiting {
            let _caller_has_gone = waiting.send(());
        }
    }
}
