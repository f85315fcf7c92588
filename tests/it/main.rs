//! The integration test binary: the real server from outside, and checks of the repository's own rules.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api;
mod at_rest;
mod audits;
mod bucket;
mod cli;
mod cost;
mod disconnects;
mod durability;
mod edge;
mod erasing;
mod faults;
mod flush;
mod hidden;
mod hostile;
mod in_process;
mod isolation;
mod keys;
mod language;
mod layouts;
mod limits;
mod load;
mod memory;
mod probe;
mod process;
mod readers;
mod replies;
mod reports;
mod rotations;
mod server_keys;
mod shares;
mod text;
mod tidy;

/// The real binary with a folder and ports of its own: the one that was built with the tests, or another build that
/// `RINGFENCE_BINARY` names.
pub(crate) fn server() -> testkit::ServerBuilder {
    let built = std::path::PathBuf::from(env!("CARGO_BIN_EXE_ringfence"));
    testkit::ServerBuilder::new(std::env::var_os("RINGFENCE_BINARY").map_or(built, Into::into))
}
