//! client: a typed, blocking client of the HTTP contract, for the command line and for eval, and files of rows that it
//! can send.
//!
//! It knows only the types of `api`. It retries requests that were refused because of load (429, 503), with the pause that
//! the server asks for.

mod call;
mod error;
mod ranking;
mod rows;

pub use call::{Client, RecordPage, encode};
pub use error::{ApiProblem, Error};
pub use ranking::{fusion, rerank};
pub use rows::{Row, RowReader, RowWriter, RowsError};
