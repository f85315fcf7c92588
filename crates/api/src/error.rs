//! `application/problem+json` (RFC 9457) with the member that OpenAI clients read.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An error reply.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct Problem {
    /// URN of the error code.
    #[schema(example = "urn:ringfence:problem:not_found")]
    pub r#type: String,
    /// Short description of the error code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Description of this error.
    pub detail: String,
    /// Template of the route.
    pub instance: String,
    /// Id of the request; it is also in the audit and in the header `x-request-id`.
    pub request_id: String,
    /// `unknown` if a write may have happened; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The same error in the form that OpenAI clients read.
    pub error: Detail,
}

/// An error in the form that OpenAI clients read.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct Detail {
    /// Description of the error and what to do about it.
    pub message: String,
    /// Class of the error in OpenAI's terms.
    pub r#type: String,
    /// The invalid member, parameter or header.
    pub param: Option<String>,
    /// One of the codes that the response `problem` lists.
    #[schema(example = "not_found")]
    pub code: String,
}
