//! api: the JSON of the HTTP API, once for the server, its client, the evaluation and the command line.
//!
//! Each type of a request or a reply is defined here with its JSON in both directions and its OpenAPI schema. It stands
//! over `kernel` alone, because requests are parsed into kernel's names within kernel's limits: a body takes no memory
//! for what is refused anyway ([`strict`]). Checks that need the server, and conversions from and to the engine's types,
//! are in the server. A name that means something else within the server has another one here, and `schema(as = …)`
//! gives the one of the contract. The schemas are no optional feature: utoipa is small next to the JSON itself.
#![expect(missing_docs, reason = "the sentences are those of the OpenAPI document, where most names need none")]

pub mod account;
pub mod admin;
pub mod attributes;
pub mod common;
pub mod context;
pub mod documents;
pub mod error;
mod exact;
pub mod fusion;
pub mod keys;
pub mod namespaces;
pub mod operations;
pub mod recall;
pub mod rerank;
pub mod review;
pub mod search;
pub mod strict;

pub use exact::{exact_json, has_long_integer};

#[cfg(test)]
mod tests;
