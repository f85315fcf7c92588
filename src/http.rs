//! HTTP: the route table, the one wrapper that every route passes through, and one file per resource.

mod account;
mod admin;
mod app;
mod body;
mod convert;
mod documents;
mod error;
mod health;
mod metrics;
mod namespaces;
mod openapi;
mod reply;
mod request_data;
mod route;
mod router;
mod routes;
mod search;

pub(crate) use app::App;
pub use openapi::openapi;
pub use route::{Plane, RequiredCredential, Route};
pub(crate) use router::router;
pub use routes::routes;
