//! Storage of one namespace over time. The entry point is [`Stores`].
//!
//! A grant opens a [`NamespaceHandle`], which has the methods of that grant's action and no others. Writes are queued
//! to the namespace's single writer, which puts several of them into one log entry and answers once the entry is
//! durable and searchable. Reads use an immutable [`Snapshot`].
//!
//! ```text
//! handle.append -> queue -> writer task: prepare (plan, check, encode) -> journal.append -> publish -> reply
//! handle.snapshot -> the version published last; a search indexes what is not indexed yet
//! indexing: long write buffers -> a segment in memory -> replace segments
//! maintenance task: memtable full -> permit -> segment::write -> journal.put -> journal.checkpoint -> replace segments
//! merge: many objects -> separate permit -> segment::write, concurrent with the above -> put, checkpoint, replace
//! ```
//!
//! An open namespace is a core that all share (`state`), a writer (`write`) and a maintenance task (`maintenance`) with
//! state of their own, and snapshots (`read`). `entry` opens, closes and evicts namespaces and wires their parts.
//!
//! Guarantees: an acknowledged write survives a crash; a deleted document is in no answer sent after the delete was
//! acknowledged; a namespace that cannot be opened fails alone. Other crates are responsible for access (`access`),
//! sealing (`vault`), durable bytes (`journal`) and ranking (`segment`).

mod cost;
mod counters;
mod cpu;
mod entry;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod job_scheduler;
mod maintenance;
mod read;
mod request;
mod shared;
mod single_task;
mod state;
mod tenant_counter;
mod write;

pub use counters::StoresStats;
pub use cpu::{CpuPool, TaskClass};
pub use entry::{NamespaceHandle, Stores};
pub use error::Error;
pub use maintenance::{
    DocumentErasure, DocumentErasureResult, INLINE_BYTES_MAX, MaintenanceReport, NamespaceReencryption,
    SHORT_MERGE_BYTES_MAX,
};
pub use read::snapshot::{
    Address, DocumentHandle, Eligible, Hit, ListOptions, Page, PageEnd, PassageHandle, PassageReader, PassageText,
    PhraseMatches, SegmentSearchStats, Snapshot,
};
pub use request::{
    Decision, ExistingDocument, MakeAuditRecord, OnConflict, Quarantine, Reviewed, ReviewedState, Selection, Upsert,
    UpsertResult, UpsertStatus, WriteOutcome,
};
pub use segment::{Extent, TextQuery, codec::Sizes};
pub use shared::StoresConfig;
pub use state::totals::Totals;

#[cfg(test)]
mod tests;
