//! client: a typed, blocking client of the HTTP contract, for the command line and for eval, and files of rows that it
//! can send.
//!
//! It knows only the wire format. It retries requests that were refused because of load (429, 503), with the pause that
//! the server asks for.

mod call;
mod error;
mod ranking;
mod rows;
mod types;

pub use call::{Client, Page, encode};
pub use error::{ApiProblem, Error};
pub use ranking::{fusion, rerank};
pub use rows::{Row, RowReader, RowWriter, RowsError};
pub use types::{Counts, DocumentFinding, DocumentResult, Hit, Scores, SearchReply, UpsertReply};
