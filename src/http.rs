//! HTTP: the route table, the one wrapper that every route goes through, and a file per resource.

mod admin;
mod app;
mod body;
mod call;
mod documents;
mod error;
mod health;
mod me;
mod metrics;
mod namespaces;
mod openapi;
mod reply;
mod route;
mod router;
mod routes;
mod search;
mod wire;

pub(crate) use app::App;
pub use openapi::openapi;
pub use route::{Needs, Plane, Route};
pub(crate) use router::router;
pub use routes::routes;
