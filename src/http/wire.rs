//! The JSON of the contract: what goes over the wire and nothing else. Reading is strict, values
//! are checked here, and engine types come out; engine types go in, and plain data comes out.

pub(crate) mod admin;
pub(crate) mod common;
pub(crate) mod documents;
pub(crate) mod error;
pub(crate) mod fusion;
pub(crate) mod keys;
pub(crate) mod me;
pub(crate) mod namespaces;
pub(crate) mod operations;
pub(crate) mod recall;
pub(crate) mod rerank;
pub(crate) mod review;
pub(crate) mod search;

#[cfg(test)]
mod tests;
