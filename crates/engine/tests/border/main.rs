//! What callers meet at the border of the engine: for each flow a table of requests with the result or the error of
//! each. The rows of a table run in order on one engine in a folder.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail their test")]

mod control;
mod documents;
mod fixture;
mod ingest;
mod namespaces;
mod search;
