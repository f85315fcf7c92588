//! Writing to a namespace: the writer and its queue, planning, and the indexing of what was just written.

pub(crate) mod cost;
mod indexing;
pub(crate) mod plan;
mod prepare;
pub(crate) mod version_builder;
mod writer;

pub(crate) use writer::WriteQueue;
