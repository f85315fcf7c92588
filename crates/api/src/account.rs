//! The API key of a request, with its tenant's quotas and usage.

use crate::admin::QuotasBody;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use utoipa::ToSchema;

/// The API key of the request.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct Whoami {
    pub tenant: String,
    pub key_id: String,
    pub name: String,
    pub scopes: Vec<Cow<'static, str>>,
    /// The principals as which the key reads. Empty: it reads only documents without readers.
    pub principals: Vec<String>,
    /// The namespaces that the key may use. Empty: all of them.
    pub namespaces: Vec<String>,
    pub expires_at: Option<String>,
    pub quotas: QuotasBody,
    pub usage: VisibleUsage,
    pub limits: ServerLimits,
}

/// Usage of the tenant, as far as the key may know it. A key that is limited to namespaces gets sums over those.
#[derive(Deserialize, Serialize, ToSchema)]
#[schema(as = Usage)]
pub struct VisibleUsage {
    /// Number of documents that the key sees. Null for a key without `read_all` that may use more than 16 namespaces,
    /// or if one of them cannot be opened.
    pub documents: Option<u64>,
    /// Bytes of those documents as the quota counts them: ids, titles, addresses, attributes, readers, findings, text
    /// and vectors. Null under the same conditions as `documents`.
    pub bytes: Option<u64>,
    /// Number of namespaces that the key may use; for a key without `read_all` that may use at most 16, the number of
    /// those in which it sees a document.
    pub namespaces: u64,
    /// Number of requests since the tenant was created. Null for a key without `read_all` or one that is limited to
    /// namespaces.
    pub requests: Option<u64>,
}

/// The server's limits.
#[derive(Deserialize, Serialize, ToSchema)]
#[schema(as = Limits)]
pub struct ServerLimits {
    pub request_bytes: usize,
    pub document_bytes: usize,
    pub documents_per_request: usize,
    pub ids_per_request: usize,
    pub top_k: usize,
    pub context_tokens: usize,
    pub filter_depth: usize,
    pub vector_dimensions: usize,
}
