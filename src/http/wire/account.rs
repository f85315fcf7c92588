//! Wire types of the API key's own information.

use super::admin::QuotasBody;
use serde::Serialize;
use utoipa::ToSchema;

/// The API key of the request.
#[derive(Serialize, ToSchema)]
pub(crate) struct Whoami {
    tenant: String,
    key_id: String,
    name: String,
    scopes: Vec<&'static str>,
    /// The principals as which the key reads. Empty: it reads only documents without readers.
    principals: Vec<String>,
    /// The namespaces that the key may use. Empty: all of them.
    namespaces: Vec<String>,
    expires_at: Option<String>,
    quotas: QuotasBody,
    usage: Usage,
    limits: Limits,
}

/// Usage of the tenant, as far as the key may know it. A key that is limited to namespaces gets sums over those.
#[derive(Serialize, ToSchema)]
pub(crate) struct Usage {
    /// Number of documents that the key sees. Null for a key without `read_all` that may use more than 16 namespaces,
    /// or if one of them cannot be opened.
    documents: Option<u64>,
    /// Bytes of those documents as the quota counts them: ids, titles, addresses, attributes, readers, findings, text
    /// and vectors. Null under the same conditions as `documents`.
    bytes: Option<u64>,
    /// Number of namespaces that the key may use; for a key without `read_all` that may use at most 16, the number of
    /// those in which it sees a document.
    namespaces: u64,
    /// Number of requests since the tenant was created. Null for a key without `read_all` or one that is limited to
    /// namespaces.
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

impl From<engine::WhoamiReply> for Whoami {
    fn from(account: engine::WhoamiReply) -> Self {
        use kernel::limits as l;
        Self {
            tenant: account.tenant.as_str().to_owned(),
            key_id: account.key_id.as_str().to_owned(),
            name: account.name,
            scopes: account.scopes.iter().map(|s| s.as_str()).collect(),
            principals: account.principals.iter().map(|p| p.as_str().to_owned()).collect(),
            namespaces: account.namespaces.iter().map(|n| n.as_str().to_owned()).collect(),
            expires_at: account.expires_at.map(|t| t.to_string()),
            quotas: QuotasBody::from(account.quotas),
            usage: Usage {
                documents: account.usage.documents,
                bytes: account.usage.bytes,
                namespaces: account.usage.namespaces,
                requests: account.usage.requests,
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
