//! What a process keeps of a keyspace that it closed cleanly, in order to resume as the same writer.
//!
//! A keyspace that is closed to save memory and then written again would otherwise be taken over each time: a claim and
//! a seal, both kept for ever, and several requests. With a session the process continues in its epoch, as if the
//! keyspace had stayed open.
//!
//! A session is returned once, by a journal that accepts nothing from then on, and only if the outcome of every object
//! of the log is known. The next opening consumes it, and ignores it unless the log ends in exactly the bytes in which
//! it was left and nothing has a newer epoch. It exists in memory only, so an epoch never has a second process. It
//! holds no key.

use super::Journal;
use crate::names::LogFileId;

/// State with which a process resumes as the writer of a keyspace; see the module.
pub struct WriterSession {
    /// The last object of the log, which this process wrote. Its epoch is the one to continue in.
    pub(crate) end: LogFileId,
    /// Digest of that object.
    pub(crate) end_digest: [u8; 32],
    /// The last number that was given to a checkpoint's object.
    pub(crate) last_checkpoint_number: u64,
}

impl Journal {
    /// Ends this opening: the journal accepts no more entries, checkpoints or sweeps. In a bucket returns what the next
    /// opening by this process needs to stay the writer ([`Journal::resume`]); `None` if this journal is not the writer
    /// or has stopped. While an entry, a checkpoint or a sweep is in progress, nothing ends and nothing is returned.
    pub fn detach(&self) -> Option<WriterSession> {
        let inner = &*self.0;
        let _no_sweep = inner.sweeping.try_lock().ok()?;
        let _no_checkpoint = inner.checkpointing.try_lock().ok()?;
        // Held by a put of an object of the log until its outcome is known. While appends wait for it, it is never free.
        let mut log = inner.log.try_lock().ok()?;
        let session = log.detach();
        *inner.status.lock() = log.status();
        session
    }
}

impl std::fmt::Debug for WriterSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WriterSession(epoch {}, number {})", self.end.epoch, self.end.number)
    }
}

#[cfg(test)]
mod tests;
