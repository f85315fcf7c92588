//! Collects orphans: objects that no checkpoint names, which a crash between two steps or a failed deletion has left.

use crate::{
    Error,
    maintenance::{
        flush::{cover_all, delete_obsolete},
        state::MaintenanceState,
    },
    state::core::NamespaceCore,
};
use std::sync::Arc;

/// Deletes orphans. Returns whether none is left. No merge writes its object meanwhile, so that an object that is not
/// named now never will be.
///
/// # Errors
/// The error that stopped it.
pub(super) async fn collect(core: &Arc<NamespaceCore>, state: &mut MaintenanceState) -> Result<bool, Error> {
    delete_obsolete(core, state, false).await?;
    if !state.orphan_free {
        core.journal.release_uncommitted(&state.kept_objects());
        let mut orphans = core.journal.count_orphans(&state.kept_objects()).await?;
        if orphans > 0 {
            // Writing a checkpoint deletes the covered part of the log; only the writer may sweep a bucket; and after
            // this checkpoint no earlier one whose outcome is unknown can take effect.
            cover_all(core, state).await?;
            core.journal.sweep(&state.kept_objects()).await?;
            orphans = core.journal.count_orphans(&state.kept_objects()).await?;
        }
        state.orphan_free = orphans == 0;
    }
    Ok(state.orphan_free && state.obsolete.is_empty())
}
