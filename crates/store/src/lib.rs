//! Storage of one namespace over time. The entry point is [`Stores`].
//!
//! A grant opens a [`NamespaceHandle`], which has the methods of that grant's action and no others. Writes are queued
//! to the namespace's single writer, which puts several of them into one log entry and answers once the entry is
//! durable and searchable. Reads use an immutable [`Snapshot`].
//!
//! ```text
//! handle.append -> queue -> writer: prepare (plan, check, encode) -> journal.append -> publish -> reply
//! handle.snapshot -> the version published last; a search indexes what is not indexed yet
//! indexing: long write buffers -> a segment in memory -> replace segments
//! maintenance: memtable full -> permit -> segment::write -> journal.put -> journal.checkpoint -> replace segments
//! merge: many objects -> separate permit -> segment::write, concurrent with the above -> put, checkpoint, replace
//! ```
//!
//! Guarantees: an acknowledged write survives a crash; a deleted document is in no answer sent after the delete was
//! acknowledged; a namespace that cannot be opened fails alone. Other crates are responsible for access (`access`),
//! sealing (`vault`), durable bytes (`journal`) and ranking (`segment`).

mod audit_queue;
mod codec;
mod compaction_picker;
mod cost;
mod counters;
mod cpu;
mod entry;
mod erase;
mod error;
mod evict;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod idle_maintenance;
mod index;
mod indexing;
mod job_scheduler;
mod live_segment;
mod maintenance;
mod manifest;
mod merge;
mod namespace;
mod namespace_handle;
mod open;
mod ownership;
mod plan;
mod prepare;
mod rebuild;
mod reencrypt;
mod request;
mod slot;
mod snapshot;
mod stores;
mod tenant_counter;
mod tombstones;
mod version;
mod version_builder;
mod visibility;
mod writer;

pub use counters::StoresStats;
pub use cpu::{CpuPool, TaskClass};
pub use erase::{DocumentErasure, DocumentErasureResult};
pub use error::Error;
pub use idle_maintenance::MaintenanceReport;
pub use live_segment::Totals;
pub use maintenance::INLINE_BYTES_MAX;
pub use merge::SHORT_MERGE_BYTES_MAX;
pub use namespace_handle::NamespaceHandle;
pub use reencrypt::NamespaceReencryption;
pub use request::{
    Decision, ExistingDocument, MakeAuditRecord, OnConflict, Quarantine, Reviewed, ReviewedState, Selection, Upsert,
    UpsertResult, UpsertStatus, WriteOutcome,
};
pub use segment::{Extent, TextQuery, codec::Sizes};
pub use snapshot::{
    Address, DocumentHandle, Eligible, Hit, ListOptions, Page, PageEnd, PassageHandle, PassageReader, PassageText,
    PhraseMatches, SegmentSearchStats, Snapshot,
};
pub use stores::{Stores, StoresConfig};

#[cfg(test)]
mod tests;
