//! What an object store did wrong, in words for who has to choose another.

use object_store::Error as StoreError;

/// Why a store is refused.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The fault that loses writes.
    #[error(
        "{winners} of {writers} writers created the same key: this store does not honour If-None-Match; Ringfence \
         would lose writes on it"
    )]
    ManyWinners {
        /// Writers that were told so.
        winners: usize,
        /// Writers at all.
        writers: usize,
    },
    /// One winner by the answers, another by the bytes.
    #[error(
        "one writer was told that it created a key, and the key holds something else: this store writes although it \
         refuses; Ringfence would lose writes on it"
    )]
    NotTheWinners,
    /// A create long after the first.
    #[error(
        "a key was created a second time over the first: this store ignores If-None-Match; Ringfence would lose \
         writes on it"
    )]
    CreatedTwice,
    /// Told no, and did it.
    #[error(
        "a second create was refused and still changed the object: this store does not honour If-None-Match; \
         Ringfence would lose writes on it"
    )]
    RefusedAndWritten,
    /// All are turned away.
    #[error(
        "{races} times in a row all of {writers} writers were told that a key exists, and nothing was there: nothing \
         can be written to this store"
    )]
    NobodyWins {
        /// Writers of a race.
        writers: usize,
        /// Races.
        races: usize,
    },
    /// The client has no such operation for it.
    #[error("this store cannot create an object only if it is absent, which Ringfence stands on")]
    NoCreate(#[source] StoreError),
    /// Something where nothing was.
    #[error("this store says that an object exists which was never written")]
    Invented,
    /// Not read after written.
    #[error(
        "an object that was just written is not there for a reader: this store is not read-after-write consistent; \
         Ringfence would take acknowledged writes for lost"
    )]
    Unread,
    /// Other bytes than asked for.
    #[error("a range of an object came back as other bytes: this store does not honour Range")]
    Range,
    /// Not listed after written.
    #[error(
        "a list misses objects that were just written: this store's lists are not consistent; Ringfence would take \
         acknowledged writes for lost"
    )]
    ListMisses,
    /// Others' names.
    #[error("a list holds objects from outside the prefix that was asked for")]
    ListStrays,
    /// Seen after deleted.
    #[error(
        "an object that was just deleted is still there for a reader: this store's deletes are not consistent, or it \
         keeps them back"
    )]
    Undeleted,
    /// It could not be asked.
    #[error(
        "{doing} failed; check that the store can be reached and that its credentials may read, write, list and delete"
    )]
    Asked {
        /// What was tried.
        doing: &'static str,
        /// Its answer.
        #[source]
        source: StoreError,
    },
}

pub(super) fn asked(doing: &'static str, source: StoreError) -> ProbeError {
    ProbeError::Asked { doing, source }
}
