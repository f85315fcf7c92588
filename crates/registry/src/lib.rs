//! registry: the directory of everything that exists. It holds tenants and their incarnations, namespaces, credentials,
//! operators, wrapped keys and long operations.
//!
//! All state is replayed from sealed journals: one of the server's own (`_control`) and one per tenant, its directory.
//! A change is acknowledged once it is durable. A start opens the control journal only; the first request of a tenant
//! opens its directory, which is closed again when memory is short. The documents themselves belong to the store, and
//! the record of what was done with them to the ledger.
//!
//! The format of entries and checkpoints is in `schemas/registry.md`.

mod api_keys;
mod bulk_rotation;
mod certificate;
mod codec;
mod control;
mod decryption_check;
mod directory;
mod erase;
mod error;
mod event_store;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod key_events;
mod key_names;
mod keys;
mod keyspace_ids;
mod lease;
mod maintain;
mod namespaces;
mod open_tenant;
mod opening;
mod operations;
mod operators;
mod record;
mod reencrypt;
mod registry;
mod rotate;
mod system_keys;
mod tenant_table;
mod tenants;
mod watch;

pub use api_keys::{ApiKeyView, NewApiKey};
pub use bulk_rotation::BulkRotation;
pub use certificate::{Certificate, SIGNED_BY, SignedHead};
pub use erase::Erasure;
pub use error::{Error, Result};
pub use key_events::KeyEvent;
pub use keys::{KeyChoice, KeyConfig, ProviderHealth};
pub use lease::KeyState;
pub use maintain::MaintainedNamespace;
pub use namespaces::NamespaceRecord;
pub use operations::{BegunOperation, OperationHandle, OperationProgress, OperationView};
pub use operators::OperatorView;
pub use record::{OperationFailure, OperationKind, OperationStatus};
pub use reencrypt::{ReencryptingNamespaces, Reencryption};
pub use registry::Registry;
pub use rotate::{EpochStatus, FinishedRotation, KeyStatus};
pub use system_keys::{ServerKeys, ServerRotation};
pub use tenant_table::TenantStats;
pub use tenants::{NewTenant, TenantChange, TenantView};
pub use watch::LapsedTenant;

#[cfg(test)]
mod tests;
