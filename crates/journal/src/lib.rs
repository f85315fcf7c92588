//! journal: durable storage of one keyspace: its sealed log, its checkpoints and its immutable objects.
//!
//! A [`Storage`] is a data folder, locked for this process, or a bucket that other processes may use too. A [`Journal`]
//! is the only writer of one keyspace in it. What [`Journal::append`] acknowledged survives a crash at any moment; what
//! it did not acknowledge is there whole or not at all; altered bytes are an error and never a silent loss. The journal
//! does not interpret the bytes; the crates above it do.
//!
//! Byte layouts: `schemas/log.md`.

mod block_cache;
mod bucket;
mod data_folder;
pub mod disk;
mod error;
mod faults;
mod file_log;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod journal;
mod log;
mod names;
mod object_log;
mod objects;
mod probe;
mod raw_objects;
mod remote;
mod sources;
mod storage;
mod tasks;

pub use disk::open_files;
pub use error::{Error, Stopped};
pub use journal::{Fetched, Journal, Recovered, WriterSession};
pub use objects::ObjectRef;
pub use probe::{PROBE_ROUNDS, ProbeError, probe};
pub use raw_objects::ObjectSample;
pub use remote::{
    CONNECT_TIMEOUT, REQUEST_TIMEOUT, RETRIES_MAX, RETRY_TIMEOUT, ROLE_VARIABLES, RemoteBackend, RemoteError,
    RemoteOptions, RemoteUrl, RetryLimits, StorageCredentials, connect,
};
pub use storage::{Blocking, Storage};

/// Number of an entry, unique over the lifetime of its keyspace: 1, 2, 3, … without a gap, across restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seq(pub u64);

impl Seq {
    /// The next sequence number.
    ///
    /// # Panics
    /// After 2^64 entries, which would take longer than any machine lasts.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("sequence numbers are not used up"))
    }
}

impl std::fmt::Display for Seq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
