//! The control plane. None of these handlers gets a grant: an [`access::Operator`] has no way to
//! a tenant's documents.

pub(super) mod keys;
pub(super) mod operations;
pub(super) mod operators;
pub(super) mod tenants;
pub(super) mod usage;

use super::call::{Call, Incoming};
use kernel::{Error, TenantId};

/// The tenant in the path. What can be no tenant's name never was one.
fn tenant<B: Incoming>(call: &Call<B>) -> Result<TenantId, Error> {
    TenantId::parse(call.path("tenant")).map_err(|_| Error::not_found())
}
