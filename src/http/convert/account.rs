//! The API key of a request.

use super::Convert;
use api::account::{ServerLimits, VisibleUsage, Whoami};

impl Convert<Whoami> for engine::WhoamiReply {
    fn convert(self) -> Whoami {
        use kernel::limits as l;
        Whoami {
            tenant: self.tenant.as_str().to_owned(),
            key_id: self.key_id.as_str().to_owned(),
            name: self.name,
            scopes: self.scopes.iter().map(|s| s.as_str().into()).collect(),
            principals: self.principals.iter().map(|p| p.as_str().to_owned()).collect(),
            namespaces: self.namespaces.iter().map(|n| n.as_str().to_owned()).collect(),
            expires_at: self.expires_at.map(|t| t.to_string()),
            quotas: self.quotas.convert(),
            usage: VisibleUsage {
                documents: self.usage.documents,
                bytes: self.usage.bytes,
                namespaces: self.usage.namespaces,
                requests: self.usage.requests,
            },
            limits: ServerLimits {
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
