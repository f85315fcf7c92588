//! The control plane. None of these handlers receives a grant: an [`access::Operator`] gives no access to a tenant's
//! documents.

pub(super) mod keys;
pub(super) mod operations;
pub(super) mod operators;
pub(super) mod tenants;
pub(super) mod usage;

use super::{
    reply::Reply,
    request_data::{RequestBody, RequestData},
};
use kernel::{Error, TenantId};

/// What a control-plane handler returns.
type AdminResult<W> = Result<Reply<W>, Error>;

/// The tenant in the path. A text that cannot be a tenant's name gets the same 404 as an unknown tenant.
fn tenant<B: RequestBody>(request: &RequestData<B>) -> Result<TenantId, Error> {
    TenantId::parse(request.path("tenant")).map_err(|_| Error::not_found())
}
