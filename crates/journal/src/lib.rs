//! journal: the durable life of one place: its sealed log, its checkpoints, its immutable objects.
//!
//! A [`Storage`] is a data folder, locked for this process, or a bucket that others may use too. A
//! [`Journal`] is the one writer of one place in it. What [`Journal::append`] acknowledged is there after a crash at
//! any moment; what it did not is there whole or not at all; bytes that were changed are an error and
//! never a silent loss. What the bytes mean is the business of the floors above.
//!
//! Byte layouts: `schemas/log.md`.

mod blocks;
mod bucket;
pub mod disk;
mod error;
mod faults;
mod file_log;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod journal;
mod local;
mod log;
mod names;
mod object_log;
mod objects;
mod outside;
mod probe;
mod remote;
mod sources;
mod storage;
mod tasks;

pub use disk::open_files;
pub use error::{Error, Stopped};
pub use journal::{Fetched, Journal, Recovered, Tenancy};
pub use objects::ObjectRef;
pub use outside::Witness;
pub use probe::{PROBE_ROUNDS, ProbeError, probe};
pub use remote::{
    Backend, CONNECT_TIMEOUT, Credentials, REQUEST_TIMEOUT, RETRIES_MAX, RETRY_TIMEOUT, ROLE_VARIABLES, RemoteError,
    RemoteOptions, RemoteUrl, Retry, connect,
};
pub use storage::{Blocking, Storage};

/// Position of an entry in its place's life: 1, 2, 3, … without a gap, across restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seq(pub u64);

impl Seq {
    /// The one after.
    ///
    /// # Panics
    /// When 2^64 entries were written, which takes longer than any machine lives.
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
