//! store: one namespace over time; the door to it is [`Stores`].
//!
//! A grant opens a [`Room`], which knows the deeds of that grant's action and no others. Writes
//! are queued to the namespace's one writer, which puts several of them into one log entry and
//! answers when it is durable and searchable. Reads stand on an immutable [`Snapshot`].
//!
//! ```text
//! Room::append -> queue -> writer: stage (plan, check, encode) -> journal.append -> publish -> reply
//! Room::snapshot -> the view that was published last; a search indexes what is not indexed yet
//! indexing: tails long -> a segment in memory -> swap parts
//! upkeep: memtable full -> permit -> segment::write -> journal.put -> journal.checkpoint -> swap parts
//! merge: many objects -> a permit of its own -> segment::write beside all that -> put, checkpoint, swap
//! ```
//!
//! Promises: what was acknowledged is found after a crash, what was deleted is in no answer from
//! the reply on, a namespace that does not open fails alone. Leaves to others: who may enter
//! (`access`), sealing (`vault`), durable bytes (`journal`), ranking (`segment`).

mod age;
mod codec;
mod cost;
mod counters;
mod cpu;
mod due;
mod entry;
mod erase;
mod error;
mod evict;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod index;
mod indexing;
mod lines;
mod manifest;
mod merge;
mod namespace;
mod open;
mod part;
mod plan;
mod proof;
mod rebuild;
mod renew;
mod request;
mod room;
mod schedule;
mod sight;
mod slot;
mod snapshot;
mod stage;
mod stores;
mod tenant_counter;
mod tend;
mod upkeep;
mod view;
mod working;
mod writer;

pub use counters::StoresStats;
pub use cpu::{Cpu, Errand};
pub use erase::{Erased, Erasing};
pub use error::Error;
pub use merge::SHORT_MERGE_BYTES_MAX;
pub use part::Totals;
pub use renew::Renewal;
pub use request::{
    Decision, Known, Line, OnConflict, Outcome, Quarantine, Reviewed, ReviewedState, Selection, Upsert, UpsertResult,
    UpsertStatus,
};
pub use room::Room;
pub use segment::{Extent, TextQuery, codec::Sizes};
pub use snapshot::{
    Address, Eligible, Hit, Listed, Located, Look, Page, PageEnd, PassageText, Passages, Quoted, Snapshot, Unread,
};
pub use stores::{Stores, StoresConfig};
pub use tend::Tended;
pub use upkeep::INLINE_BYTES_MAX;

#[cfg(test)]
mod tests;
