//! One integration binary: the real server from outside, and the house rules.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api;
mod at_rest;
mod cli;
mod durability;
mod house;
mod isolation;
mod probe;
mod process;
mod tidy;

/// The real binary, on a folder and ports of its own.
pub(crate) fn server() -> testkit::ServerBuilder {
    testkit::ServerBuilder::new(env!("CARGO_BIN_EXE_ringfence"))
}
