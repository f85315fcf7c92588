//! State of a namespace: versions made of segments, how they are stored, and what all parts of an open namespace share.

pub(crate) mod audit_outbox;
pub(crate) mod codec;
pub(crate) mod core;
pub(crate) mod index;
pub(crate) mod live_segment;
pub(crate) mod log_entry;
pub(crate) mod manifest;
pub(crate) mod objects;
pub(crate) mod published;
pub(crate) mod rebuild;
pub(crate) mod tombstones;
pub(crate) mod totals;
pub(crate) mod version;
pub(crate) mod visibility;
