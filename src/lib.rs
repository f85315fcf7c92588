//! The top crate of the server: the only one that serves HTTP, and that knows the environment and signals.
//!
//! Start reading at `http/routes.rs`: each route is one row of the table there.

pub mod commands;
pub mod config;
mod descriptors;
mod first_token;
pub mod http;
mod listen;
mod memory;
mod parts;
pub mod server;
mod shares;
pub mod telemetry;

pub use config::Settings;
pub use parts::Dependencies;
pub use server::{Running, runtime, start, start_with};
