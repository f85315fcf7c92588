//! ringfence: the edge of the process. Alone in knowing HTTP, argv, the environment and signals.
//!
//! Read `http/routes.rs` first: every route is one row there.

pub mod cli;
pub mod config;
mod descriptors;
mod first_token;
pub mod http;
mod listen;
mod memory;
mod parts;
pub mod server;
mod shares;
mod strict;
pub mod telemetry;

pub use config::Settings;
pub use parts::Parts;
pub use server::{Running, runtime, start, start_with};
