//! The open log of one chain, as the table of open logs keeps it.

use crate::{
    audit_log_file::AuditLogFile,
    chain::{RecordQueue, lock},
};
use kernel::Incarnation;
use lifecycle::{Backoff, Guard, OpenTable, Openable};
use parking_lot::Mutex;
use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, OwnedSemaphorePermit};

/// Open logs by tenant; `None` is the server itself.
pub(crate) type OpenLogs = OpenTable<Option<Incarnation>, OpenLog>;

/// An open log. One task at a time uses it.
pub(crate) struct OpenLog {
    pub(crate) file: Arc<AsyncMutex<AuditLogFile>>,
    /// Records that are about to be written to this log.
    pub(crate) queue: Arc<Mutex<RecordQueue>>,
    /// Permit for one open file among the tenants' logs; `None` for the operators' log.
    pub(crate) _permit: Option<OwnedSemaphorePermit>,
}

/// A usable log that one task has locked.
pub(crate) struct LockedLog {
    // The lock is released before the guard.
    file: OwnedMutexGuard<AuditLogFile>,
    _open: Guard<OpenLog>,
}

impl LockedLog {
    /// Locks the log; `None` if it must be opened again, because it failed or was closed while this task waited.
    pub(crate) async fn lock(open: Guard<OpenLog>) -> Option<Self> {
        let file = open.file.clone().lock_owned().await;
        file.is_usable().then_some(Self { file, _open: open })
    }
}

impl Deref for LockedLog {
    type Target = AuditLogFile;

    fn deref(&self) -> &AuditLogFile {
        &self.file
    }
}

impl DerefMut for LockedLog {
    fn deref_mut(&mut self) -> &mut AuditLogFile {
        &mut self.file
    }
}

impl Openable for OpenLog {
    type Failure = Arc<kernel::Error>;

    /// A record that a request awaits opens the log at once. The pauses between other attempts are the queue's.
    fn backoff(_: &Self::Failure) -> Option<Backoff> {
        None
    }

    fn is_usable(&self) -> bool {
        // A task that has locked the log finds out itself.
        self.file.try_lock().map_or(true, |file| file.is_usable())
    }

    fn is_idle(&self) -> bool {
        // A reader or a compaction may hold the journal, and a chain must never have two journals.
        lock(&self.queue).waiting.is_empty()
            && self.file.try_lock().is_ok_and(|file| Arc::strong_count(&file.journal) == 1)
    }

    /// Marks the log's clean end, so that its next opening is quick.
    async fn before_eviction(&self) -> bool {
        if !self.is_idle() {
            return false;
        }
        if let Err(error) = self.file.lock().await.journal.close().await {
            tracing::warn!(%error, "an audit log could not be marked as cleanly closed");
        }
        true
    }

    async fn end(&self) -> bool {
        self.file.lock().await.retire();
        true
    }
}
