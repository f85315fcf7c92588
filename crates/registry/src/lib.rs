//! registry: what exists. Tenants and their incarnations, namespaces, credentials, operators,
//! wrapped keys and long operations.
//!
//! Everything is the fold of sealed journals: one of the server's own (`_control`) and one per
//! tenant, its directory. A change is acknowledged when it is durable. A start opens the first
//! only; a tenant's directory is opened by its first request, and closed again when memory
//! asks. Data and what was done with it are the store's and the ledger's.
//!
//! Entry and checkpoint forms: `schemas/registry.md`.

mod api_keys;
mod book;
mod campaign;
mod certificate;
mod codec;
mod control;
mod directory;
mod erase;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod house;
mod key_events;
mod key_names;
mod keys;
mod lease;
mod namespaces;
mod numbers;
mod opening;
mod operations;
mod operators;
mod record;
mod reencrypt;
mod registry;
mod residence;
mod rotate;
mod seats;
mod tenants;
mod tend;
mod trial;
mod watch;

pub use api_keys::{KeyView, NewKey};
pub use campaign::Campaign;
pub use certificate::{Certificate, SIGNED_BY, SignedHead};
pub use erase::Erasure;
pub use error::{Error, Result};
pub use house::{ServerKeys, ServerRotation};
pub use key_events::KeyEvent;
pub use keys::{KeyChoice, KeyConfig, ProviderHealth};
pub use lease::KeyState;
pub use namespaces::NamespaceRecord;
pub use operations::{Begun, OperationHandle, OperationView, Progress};
pub use operators::OperatorView;
pub use record::{Failure, OperationKind, OperationStatus};
pub use reencrypt::{Reencryption, Renewing};
pub use registry::Registry;
pub use rotate::{EpochStatus, KeyStatus, Rotated};
pub use seats::SeatStats;
pub use tenants::{NewTenant, TenantChange, TenantView};
pub use tend::Tending;
pub use watch::Lapsed;

#[cfg(test)]
mod tests;
