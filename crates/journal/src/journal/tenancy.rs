//! What a process keeps of a place that it has left in peace, to come back as the same writer.
//!
//! A place that is closed for memory and written again would otherwise be taken over each time: a
//! claim and a seal for ever, and some requests. With this it goes on in its epoch, as if it had
//! stayed open.
//!
//! It is given out once, by a journal that takes nothing from then on, and only if the outcome of
//! every object of the log is known. The next opening uses it up, and drops it unless the log ends in
//! the very bytes in which it was left and nothing stands under a newer epoch. It is in memory only:
//! an epoch never has a second process. It holds no key.

use super::{Journal, lock};
use crate::names::PartId;

/// See the module.
pub struct Tenancy {
    /// The last object of the log, ours. Its epoch is the one to go on in.
    pub(crate) end: PartId,
    /// Of that object.
    pub(crate) end_digest: [u8; 32],
    /// The last number that was given to a checkpoint's object.
    pub(crate) numbered: u64,
}

impl Journal {
    /// Ends this opening: from here on it takes no entry, no checkpoint and no sweep. In a bucket gives
    /// what the next opening by this process needs to stay the writer ([`Journal::resume`]); none if this
    /// one is not the writer, or has stopped. While any of these is on its way nothing ends and nothing
    /// is given.
    pub fn leave(&self) -> Option<Tenancy> {
        let inner = &*self.0;
        let _no_sweep = inner.sweeping.try_lock().ok()?;
        let _no_checkpoint = inner.checkpointing.try_lock().ok()?;
        // Whoever puts an object of the log holds this until the outcome is known.
        let mut log = inner.log.try_lock().ok()?;
        if !lock(&inner.queue).waiting.is_empty() {
            return None;
        }
        let left = log.leave();
        *lock(&inner.view) = log.standing();
        left
    }
}

impl std::fmt::Debug for Tenancy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tenancy(epoch {}, part {})", self.end.epoch, self.end.part)
    }
}

#[cfg(test)]
mod tests;
