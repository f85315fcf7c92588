//! What a key is told about itself.

use super::admin::QuotasBody;
use serde::Serialize;
use utoipa::ToSchema;

/// The caller.
#[derive(Serialize, ToSchema)]
pub(crate) struct Whoami {
    tenant: String,
    key_id: String,
    name: String,
    scopes: Vec<&'static str>,
    /// Whom it reads as.
    principals: Vec<String>,
    /// The namespaces it may enter; empty is all of them.
    namespaces: Vec<String>,
    expires_at: Option<String>,
    quotas: QuotasBody,
    usage: Usage,
    limits: Limits,
}

/// What the tenant has and has done, as far as the key may know; over its namespaces, if it has some of its own.
#[derive(Serialize, ToSchema)]
pub(crate) struct Usage {
    /// Documents that the key sees. Null for a key without `read_all` that may enter more than 16 namespaces.
    documents: Option<u64>,
    /// Bytes that count for the quota; null as above.
    bytes: Option<u64>,
    /// Namespaces that the key may enter.
    namespaces: u64,
    /// Requests of the tenant since it exists; null for a key without `read_all` or with namespaces of its own.
    requests: Option<u64>,
}

/// The server's limits.
#[derive(Serialize, ToSchema)]
pub(crate) struct Limits {
    request_bytes: usize,
    document_bytes: usize,
    documents_per_request: usize,
    ids_per_request: usize,
    top_k: usize,
    context_tokens: usize,
    filter_depth: usize,
    vector_dimensions: usize,
}

impl From<engine::Whoami> for Whoami {
    fn from(me: engine::Whoami) -> Self {
        use kernel::limits as l;
        Self {
            tenant: me.tenant.as_str().to_owned(),
            key_id: me.key_id.as_str().to_owned(),
            name: me.name,
            scopes: me.scopes.iter().map(|s| s.as_str()).collect(),
            principals: me.principals.iter().map(|p| p.as_str().to_owned()).collect(),
            namespaces: me.namespaces.iter().map(|n| n.as_str().to_owned()).collect(),
            expires_at: me.expires_at.map(|t| t.to_string()),
            quotas: QuotasBody::from(me.quotas),
            usage: Usage {
                documents: me.usage.documents,
                bytes: me.usage.bytes,
                namespaces: me.usage.namespaces,
                requests: me.usage.requests,
            },
            limits: Limits {
                request_bytes: l::BODY_BYTES_MAX,
                document_bytes: l::DOCUMENT_BYTES_MAX,
                documents_per_request: l::DOCUMENTS_PER_REQUEST_MAX,
                ids_per_request: l::IDS_PER_REQUEST_MAX,
                top_k: l::TOP_K_MAX,
                context_tokens: l::CONTEXT_TOKENS_MAX,
                filter_depth: l::FILTER_DEPTH_MAX,
                vector_dimensions: l::DIMENSIONS_MAX,
            },
        }
    }
}
