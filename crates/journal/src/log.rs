//! The log of a keyspace, independent of its backend.
//!
//! [`FileLog`](crate::file_log) appends to files of a locked folder. [`ObjectLog`](crate::object_log) puts one object
//! per entry into a bucket to which other processes may write. Both make the same promise: the next process that opens
//! the keyspace finds everything that was committed, in order, and a writer that has been overtaken commits nothing
//! more.

use crate::{
    Error, Stopped, Storage, WriterSession,
    names::{LogFileId, Name},
};
use futures::future::BoxFuture;
use kernel::{Clock, Entropy, LogEpoch, ObjectUuid, Plaintext};
use std::sync::Arc;
use vault::Keyspace;

/// The log of one keyspace, as used by one writer.
///
/// Every future must be driven to its end: after a dropped future the log has to be opened again.
pub(crate) trait CommitLog: Send {
    /// Makes this process the writer, unless it already is, and returns its epoch.
    fn claim(&mut self) -> BoxFuture<'_, Result<LogEpoch, Error>>;

    /// Makes an entry durable and returns its number. Requires a claimed epoch.
    fn commit(&mut self, body: Plaintext) -> BoxFuture<'_, Result<u64, Error>>;

    /// Reserves a name for the object of a checkpoint. Requires a claimed epoch.
    fn reserve_checkpoint_id(&mut self) -> BoxFuture<'_, Result<LogFileId, Error>>;

    /// Makes a checkpoint the newest one. Returns the log files that no recovery needs any more, in the order in which
    /// they must be deleted. Requires a claimed epoch.
    fn install_checkpoint(&mut self, checkpoint: Checkpoint, covers: u64) -> BoxFuture<'_, Result<Truncation, Error>>;

    /// Records in the log that the keyspace is to be destroyed; afterwards the log accepts nothing. Requires a claimed
    /// epoch.
    fn drop_keyspace(&mut self) -> BoxFuture<'_, Result<(), Error>>;

    /// Marks a clean shutdown, where the kind of log benefits from it.
    fn mark_clean(&mut self) -> BoxFuture<'_, Result<(), Error>>;

    /// Fails if another process has written, or may write, since this log was opened or last written.
    fn check(&mut self) -> BoxFuture<'_, Result<(), Error>>;

    /// Ends this opening: the log accepts nothing more. Returns what is needed to continue in the same epoch, provided
    /// that this process owns the epoch, every outcome is known, and this kind of log supports it.
    fn detach(&mut self) -> Option<WriterSession>;

    /// Number of the given log files and checkpoints that no recovery needs.
    fn count_obsolete(&self, names: &[Name]) -> usize;

    /// Current status of the log.
    fn status(&self) -> LogStatus;
}

/// A checkpoint that is about to become the newest.
pub(crate) enum Checkpoint {
    /// A small checkpoint, whose body goes into the log.
    Inline(Plaintext),
    /// An object that is durable under the name that [`CommitLog::reserve_checkpoint_id`] returned.
    Object(LogFileId, ObjectUuid),
}

/// What a new checkpoint makes obsolete; see [`CommitLog::install_checkpoint`].
pub(crate) struct Truncation {
    /// Name of the newest checkpoint's object, or the log file that holds it; older checkpoints are obsolete.
    pub(crate) checkpoint: LogFileId,
    /// Log files that no recovery needs any more, in the order in which they must be deleted.
    pub(crate) covered: Vec<LogFileId>,
}

/// Status of a log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LogStatus {
    /// Number of the last durable entry.
    pub(crate) last: u64,
    /// Number of the last entry that the newest checkpoint covers.
    pub(crate) covers: u64,
    /// Bytes of log that a recovery reads.
    pub(crate) log_bytes: u64,
    /// The newest epoch of anything in the keyspace when it was read or claimed.
    pub(crate) newest: LogEpoch,
    /// Epoch of this writer, once claimed.
    pub(crate) epoch: Option<LogEpoch>,
    /// Why the log accepts no more writes; `None` while it does.
    pub(crate) stopped: Option<Stopped>,
}

/// A log and what it held when it was opened.
pub(crate) struct OpenedLog {
    pub(crate) log: Box<dyn CommitLog>,
    pub(crate) checkpoint: Option<Plaintext>,
    pub(crate) entries: Vec<(u64, Plaintext)>,
    pub(crate) dropped: bool,
}

/// Storage, keys, clock and randomness of one journal, shared by all of its parts.
pub(crate) struct JournalEnv {
    pub(crate) storage: Storage,
    pub(crate) keyspace: Arc<Keyspace>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// Prefix of every name of the keyspace; ends with a slash.
    pub(crate) prefix: String,
}

impl JournalEnv {
    /// Full name of `name`, relative to the folder or bucket.
    pub(crate) fn name(&self, name: Name) -> String {
        format!("{}{name}", self.prefix)
    }
}

/// Logs and returns the error for bytes that this keyspace did not write.
pub(crate) fn corrupt(env: &JournalEnv, name: Name, epoch: LogEpoch, offset: u64, why: &'static str) -> Error {
    tracing::error!(keyspace = ?env.keyspace.kind(), uuid = %env.keyspace.uuid(), inside = %name, %epoch, offset, why, "corrupt");
    Error::Corrupt { file: env.name(name), epoch, offset, why }
}
