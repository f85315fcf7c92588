//! `application/problem+json` (RFC 9457) with the member that OpenAI clients read.

use serde::Serialize;
use utoipa::ToSchema;

/// An error reply.
#[derive(Serialize, ToSchema)]
pub(crate) struct Problem {
    /// URN of the error code.
    #[schema(example = "urn:ringfence:problem:not_found")]
    pub(crate) r#type: String,
    /// Short description of the error code.
    pub(crate) title: String,
    /// The HTTP status.
    pub(crate) status: u16,
    /// Description of this error.
    pub(crate) detail: String,
    /// Template of the route.
    pub(crate) instance: String,
    /// Id of the request; it is also in the audit and in the header `x-request-id`.
    pub(crate) request_id: String,
    /// `unknown` if a write may have happened; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<String>,
    /// The same error in the form that OpenAI clients read.
    pub(crate) error: Detail,
}

/// An error in the form that OpenAI clients read.
#[derive(Serialize, ToSchema)]
pub(crate) struct Detail {
    /// Description of the error and what to do about it.
    pub(crate) message: String,
    /// Class of the error in OpenAI's terms.
    pub(crate) r#type: String,
    /// The invalid member, parameter or header.
    pub(crate) param: Option<String>,
    /// One of the codes that the response `problem` lists.
    #[schema(example = "not_found")]
    pub(crate) code: String,
}
