//! `application/problem+json` (RFC 9457) with the member that OpenAI clients read.

use serde::Serialize;
use utoipa::ToSchema;

/// An error reply.
#[derive(Serialize, ToSchema)]
pub(crate) struct Problem {
    /// A URN of the code.
    #[schema(example = "urn:ringfence:problem:not_found")]
    pub(crate) r#type: String,
    /// The code in words.
    pub(crate) title: String,
    /// The HTTP status again.
    pub(crate) status: u16,
    /// What is wrong here.
    pub(crate) detail: String,
    /// The route's template.
    pub(crate) instance: String,
    /// Stands in the audit and in the header `x-request-id`.
    pub(crate) request_id: String,
    /// `unknown` where a write may have happened; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<String>,
    /// The same for OpenAI clients.
    pub(crate) error: Detail,
}

/// An error as OpenAI clients read it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Detail {
    /// What is wrong and what to do about it.
    pub(crate) message: String,
    /// Its class in OpenAI's terms.
    pub(crate) r#type: String,
    /// The member, parameter or header that is wrong.
    pub(crate) param: Option<String>,
    /// One of the codes that the response `problem` lists.
    #[schema(example = "not_found")]
    pub(crate) code: String,
}
