//! segment: an immutable index of passages. Documents in, searchable bytes out, and back.
//!
//! A [`Tail`] holds documents just written, as they came. A [`Segment`] is either built of them in
//! memory ([`Segment::in_memory`]) or an opened object: whole ([`Segment::open`] of what
//! [`Segment::write`] made), or with its texts, vectors and postings left where they lie and read in
//! pages ([`Segment::open_sealed`]). All answer alike: filters and readers become a bitmap of
//! documents first, and only rows of that bitmap
//! are ever ranked, by BM25 or by vector.
//!
//! Promises: no file, socket or clock, and no thread but those of the caller's rayon pool while a
//! graph is built; every byte that is read back is checked; scores do not depend on how documents
//! are spread over segments.
//! Leaves to others: sealing (`vault` through `store`), which rows live, fusion of scores.

mod analysis;
mod attributes;
mod build;
mod bytes;
pub mod codec;
mod container;
mod documents;
mod error;
mod filter;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod graph;
mod highlight;
mod pages;
mod plan;
mod postings;
mod query;
#[cfg(test)]
mod sample;
mod segment;
mod simd;
mod tail;
mod text;
mod top;
mod vectors;

pub use build::{Links, Reused, Stop};
pub use error::Error;
pub use highlight::Highlighter;
pub use plan::{Trace, Way, calibrate};
pub use query::{Expansion, TextQuery};
pub use segment::{Extent, Segment, Spec};
pub use tail::{Tail, check};
pub use text::{TextLengths, TextStats};
pub use top::Scored;
pub use vectors::Found;
