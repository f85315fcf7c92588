//! models: text in, unit vectors or scores out, through ONNX Runtime on threads of its own.
//!
//! Promises: a vector depends on its own text alone, whoever else is being served; lanes (tenants) share the
//! threads fairly; every queue is bounded; which provider serves is told truthfully; no text reaches an error or a
//! log. Leaves to others: who may ask, what to embed, and where the vectors go.

mod config;
mod discover;
mod embedder;
mod error;
mod fake;
mod folder;
mod models;
mod onnx;
mod pending;
mod schedule;
mod tokens;
mod work;

pub use config::{Done, Job, Kind, Lane, ModelInfo, ModelStats, ModelsConfig, Provider, Reranks, Stats};
pub use discover::{Found, discover};
pub use error::Error;
pub use models::Models;
