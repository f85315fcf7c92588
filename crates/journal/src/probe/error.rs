//! Defects of an object store, described for the operator who has to choose another.

use object_store::Error as StoreError;

/// Why a store is refused.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// More than one create of the same key succeeded: the defect that loses writes.
    #[error(
        "{winners} of {writers} writers created the same key: this store does not honour If-None-Match; Ringfence \
         would lose writes on it"
    )]
    ManyWinners {
        /// Number of writers whose create succeeded.
        winners: usize,
        /// Number of all writers.
        writers: usize,
    },
    /// The stored bytes are not those of the writer whose create succeeded.
    #[error(
        "one writer was told that it created a key, and the key holds something else: this store writes although it \
         refuses; Ringfence would lose writes on it"
    )]
    WrongBytes,
    /// A create succeeded long after the first one.
    #[error(
        "a key was created a second time over the first: this store ignores If-None-Match; Ringfence would lose \
         writes on it"
    )]
    CreatedTwice,
    /// A create was refused but changed the object.
    #[error(
        "a second create was refused and still changed the object: this store does not honour If-None-Match; \
         Ringfence would lose writes on it"
    )]
    RefusedButWritten,
    /// Every create was refused.
    #[error(
        "{races} times in a row all of {writers} writers were told that a key exists, and nothing was there: nothing \
         can be written to this store"
    )]
    NoWinner {
        /// Number of writers per race.
        writers: usize,
        /// Number of races.
        races: usize,
    },
    /// The client library does not support conditional creation for this store.
    #[error("this store cannot create an object only if it is absent, which Ringfence relies on")]
    NoConditionalCreate(#[source] StoreError),
    /// A key that was never written exists.
    #[error("this store says that an object exists which was never written")]
    UnwrittenExists,
    /// An object is missing right after it was written.
    #[error(
        "an object that was just written is not there for a reader: this store is not read-after-write consistent; \
         Ringfence would take acknowledged writes for lost"
    )]
    NotReadable,
    /// A range request returned other bytes.
    #[error("a range of an object came back as other bytes: this store does not honour Range")]
    Range,
    /// A list misses an object that was just written.
    #[error(
        "a list misses objects that were just written: this store's lists are not consistent; Ringfence would take \
         acknowledged writes for lost"
    )]
    ListMisses,
    /// A list contains objects outside the prefix.
    #[error("a list holds objects from outside the prefix that was asked for")]
    ListOutsidePrefix,
    /// An object is visible after it was deleted.
    #[error(
        "an object that was just deleted is still there for a reader: this store's deletes are not consistent, or it \
         keeps them back"
    )]
    NotDeleted,
    /// The store could not be tested.
    #[error(
        "{operation} failed; check that the store can be reached and that its credentials may read, write, list and delete"
    )]
    RequestFailed {
        /// Operation that failed.
        operation: &'static str,
        /// Error of the store.
        #[source]
        source: StoreError,
    },
}

pub(super) fn request_failed(operation: &'static str, source: StoreError) -> ProbeError {
    ProbeError::RequestFailed { operation, source }
}
