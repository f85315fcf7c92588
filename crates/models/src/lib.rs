//! models: text in, unit vectors or scores out, through ONNX Runtime on threads of its own.
//!
//! Promises: a vector depends on its own text alone, whatever else is served; tenants share the threads fairly; every
//! queue is bounded; the reported provider is the one that serves; no text reaches an error or a log. Leaves to others:
//! authorization, the choice of what to embed, and the use of the vectors.

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

pub use config::{
    Callback, EmbedJob, ModelInfo, ModelStats, ModelsConfig, Provider, QueueStats, Reranks, TaskKind, TenantQueueId,
};
pub use discover::{DiscoveredPaths, discover};
pub use error::Error;
pub use models::Models;
