//! The JSON of the API and nothing else. Requests are parsed strictly and checked here, and become engine types; engine
//! types become plain data for replies.

pub(crate) mod account;
pub(crate) mod admin;
pub(crate) mod common;
pub(crate) mod documents;
pub(crate) mod error;
pub(crate) mod fusion;
pub(crate) mod keys;
pub(crate) mod namespaces;
pub(crate) mod operations;
pub(crate) mod recall;
pub(crate) mod rerank;
pub(crate) mod review;
pub(crate) mod search;

#[cfg(test)]
mod tests;
