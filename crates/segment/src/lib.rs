//! segment: an immutable index of passages. It turns documents into searchable bytes and opens those bytes again.
//!
//! A [`WriteBuffer`] holds documents that were just written, without indexing them. A [`Segment`] is built from
//! documents in memory ([`Segment::in_memory`]) or opened from bytes: all of them ([`Segment::open`] of what
//! [`Segment::write`] made), or only the first part, in which case texts, vectors and postings stay in their source and
//! are read page by page ([`Segment::open_sealed`]). All of them answer alike: filters and readers first become a
//! bitmap of documents, and only rows of that bitmap are ranked, by BM25 or by vector.
//!
//! Promises: the crate opens no file or socket, reads no clock and starts no thread; building a graph uses the threads
//! of the caller's rayon pool. Every byte that is read back is checked. Scores do not depend on how documents are
//! spread over segments.
//! Leaves to others: sealing (`vault` through `store`), which rows are live, and the fusion of scores.

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
mod segment;
mod simd;
#[cfg(test)]
mod test_documents;
mod text;
mod top;
mod vectors;
mod write_buffer;

pub use build::{GraphMode, GraphSource, StopFlag};
pub use error::Error;
pub use highlight::Highlighter;
pub use plan::{ScanStrategy, SearchStats, calibrate};
pub use query::{Expansion, TextQuery};
pub use segment::{Extent, Segment, Spec};
pub use text::{TextLengths, TextStats};
pub use top::Scored;
pub use vectors::VectorSearchResult;
pub use write_buffer::{WriteBuffer, check};
