//! The log of a place, whatever it stands on.
//!
//! [`FileLog`](crate::file_log) appends to files of a locked folder; [`ObjectLog`](crate::object_log)
//! puts one object a group into a bucket that other processes may write to. Both promise the same:
//! what was committed is found by whoever opens the place next, in its order, and nobody who has
//! been overtaken commits anything.

use crate::{
    Error, Stopped, Storage, Tenancy,
    names::{Name, PartId},
};
use futures::future::BoxFuture;
use kernel::{Clock, Entropy, LogEpoch, ObjectUuid, Plaintext};
use std::sync::Arc;
use vault::Home;

/// One writer's log of one place.
///
/// The futures must be driven to their end: whoever drops one in the middle leaves a log that has
/// to be opened again.
pub(crate) trait CommitLog: Send {
    /// Makes this process the writer, if it is not yet, and gives its epoch.
    fn claim(&mut self) -> BoxFuture<'_, Result<LogEpoch, Error>>;

    /// Makes entries durable as one group and gives the first one's number. Ours already.
    fn commit(&mut self, bodies: Vec<Plaintext>) -> BoxFuture<'_, Result<u64, Error>>;

    /// A name for a checkpoint's object. Ours already.
    fn number(&mut self) -> BoxFuture<'_, Result<PartId, Error>>;

    /// Makes a checkpoint the newest, and says what of the log a recovery needs no more, in the
    /// order in which it is to be deleted. Ours already.
    fn point(&mut self, checkpoint: Checkpoint, covers: u64) -> BoxFuture<'_, Result<Turned, Error>>;

    /// Says in the log that the place is to be destroyed; from here on it takes nothing. Ours already.
    fn drop_place(&mut self) -> BoxFuture<'_, Result<(), Error>>;

    /// Marks a clean end where that adds something.
    fn end(&mut self) -> BoxFuture<'_, Result<(), Error>>;

    /// Fails when somebody else has written, or may write, since this log was opened or last wrote.
    fn check(&mut self) -> BoxFuture<'_, Result<(), Error>>;

    /// Takes no more from here on. What is needed to go on in this epoch, if it is ours, every outcome
    /// is known, and its kind of log can be gone on with.
    fn leave(&mut self) -> Option<Tenancy>;

    /// Those of these parts of the log and checkpoints that no recovery needs.
    fn needless(&self, names: &[Name]) -> usize;

    /// Where it stands.
    fn standing(&self) -> Standing;
}

/// A checkpoint that is to become the newest.
pub(crate) enum Checkpoint {
    /// Small: its body goes into the log.
    Inline(Plaintext),
    /// An object, durable under the name that [`CommitLog::number`] gave.
    Object(PartId, ObjectUuid),
}

/// After [`CommitLog::point`].
pub(crate) struct Turned {
    /// The newest checkpoint's name or place in the log; older checkpoints are litter.
    pub(crate) checkpoint: PartId,
    /// Parts of the log that nobody needs any more.
    pub(crate) covered: Vec<PartId>,
}

/// Where a log stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    /// Last durable entry.
    pub(crate) last: u64,
    /// Last entry that the newest checkpoint covers.
    pub(crate) covers: u64,
    /// Bytes that a recovery reads.
    pub(crate) log_bytes: u64,
    /// The newest epoch that anything stood under when it was read or claimed.
    pub(crate) newest: LogEpoch,
    /// Ours, once claimed.
    pub(crate) epoch: Option<LogEpoch>,
    /// Why it takes no more.
    pub(crate) stopped: Option<Stopped>,
}

/// A log and what it held when it was opened.
pub(crate) struct Found {
    pub(crate) log: Box<dyn CommitLog>,
    pub(crate) checkpoint: Option<Plaintext>,
    pub(crate) entries: Vec<(u64, Plaintext)>,
    pub(crate) dropped: bool,
}

/// Where a journal stands: what all of its parts need.
pub(crate) struct Place {
    pub(crate) storage: Storage,
    pub(crate) home: Arc<Home>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// Ends with a slash.
    pub(crate) prefix: String,
}

impl Place {
    /// A name inside the prefix, relative to the folder or bucket.
    pub(crate) fn name(&self, inside: Name) -> String {
        format!("{}{inside}", self.prefix)
    }
}

/// Says where the bytes are that are not ours.
pub(crate) fn corrupt(place: &Place, inside: Name, epoch: LogEpoch, offset: u64, why: &'static str) -> Error {
    tracing::error!(place = ?place.home.kind(), uuid = %place.home.uuid(), %inside, %epoch, offset, why, "corrupt");
    Error::Corrupt { file: place.name(inside), epoch, offset, why }
}
