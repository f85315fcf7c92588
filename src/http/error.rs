//! The only table that maps an error's code to an HTTP status, and the body of an error reply: RFC 9457, with the
//! member that OpenAI clients read.

use api::error::{Detail, Problem};
use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Response, StatusCode, header},
};
use kernel::{Code, Error, RequestId};
use std::time::Duration;

/// HTTP form of an error code.
struct ErrorRow {
    status: StatusCode,
    title: &'static str,
    /// Class of the error in OpenAI's terms.
    kind: &'static str,
    /// Whether repeating the request can help.
    retry: RetryAdvice,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RetryAdvice {
    /// A retry can help after this time, unless the error has its own.
    After(Duration),
    /// The status already implies the advice, so there is no header.
    Implied,
    /// Clients usually retry this status, but here a retry cannot help.
    Never,
}

/// The table of error codes.
fn row(code: Code) -> ErrorRow {
    use RetryAdvice::{After, Implied, Never};
    let second = Duration::from_secs(1);
    let (status, title, kind, retry) = match code {
        Code::InvalidRequest => (400, "The request is malformed", INVALID, Implied),
        Code::UnknownField => (400, "The request has an unknown member", INVALID, Implied),
        Code::Unauthenticated => (401, "No valid credential", "authentication_error", Implied),
        Code::Forbidden => (403, "The credential does not allow this", "permission_error", Implied),
        Code::NotFound => (404, "Not found", INVALID, Implied),
        Code::AlreadyExists => (409, "The name is taken", INVALID, Never),
        Code::Conflict => (409, "Changed concurrently; try again", "conflict_error", After(second)),
        Code::Immutable => (422, "Fixed once the namespace holds documents", INVALID, Implied),
        Code::TooLarge => (413, "Larger than the limit", INVALID, Implied),
        Code::DimensionMismatch => (422, "The vector has the wrong length", INVALID, Implied),
        Code::ModelUnavailable => (503, "No model is available", "server_error", After(Duration::from_secs(30))),
        Code::QuotaExceeded => (429, "The tenant's quota is used up", "insufficient_quota", Never),
        Code::RateLimited => (429, "Too many requests", "rate_limit_error", After(Duration::from_secs(60))),
        Code::Overloaded => (503, "The server is busy", "server_error", After(second)),
        Code::TenantSuspended => (423, "The tenant is suspended", "permission_error", Never),
        Code::NotSuspended => (422, "The tenant must be suspended first", INVALID, Implied),
        Code::KeyUnavailable => (423, "The tenant's key is unavailable", "permission_error", Never),
        Code::RolledBack => (423, "The namespace does not match what the audit recorded", "permission_error", Never),
        Code::StorageFull => (503, "The storage is full", "server_error", After(Duration::from_secs(60))),
        Code::TimedOut => (503, "The request took too long", "server_error", After(Duration::from_secs(30))),
        Code::Internal => (500, "Internal server error", "server_error", Implied),
    };
    let status = StatusCode::from_u16(status).expect("the table holds valid statuses");
    ErrorRow { status, title, kind, retry }
}

/// The reply for an error. `route` is the route's template, never the address that was requested.
pub(crate) fn response(error: &Error, route: &'static str, request: RequestId) -> Response<Body> {
    let row = row(error.code);
    let body = problem(error, &row, route, request);
    let mut response = Response::new(Body::from(serde_json::to_vec(&body).expect("a problem is plain data")));
    *response.status_mut() = row.status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if row.status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    add_retry_headers(error, &row, &mut response);
    response.extensions_mut().insert(error.code);
    response
}

/// The error of one document of a batch.
pub(crate) fn detail(error: &Error) -> Detail {
    Detail {
        message: error.to_string(),
        r#type: row(error.code).kind.to_owned(),
        param: error.param.clone(),
        code: error.code.as_str().to_owned(),
    }
}

/// All codes with their status and meaning, for readers of the OpenAPI document.
pub(crate) fn code_list() -> String {
    let codes = Code::ALL.iter().map(|code| {
        let row = row(*code);
        format!("`{}` ({}): {}", code.as_str(), row.status.as_u16(), row.title)
    });
    let codes: Vec<String> = codes.collect();
    format!("RFC 9457 problem. `error.code` is one of: {}.", codes.join("; "))
}

fn problem(error: &Error, row: &ErrorRow, route: &'static str, request: RequestId) -> Problem {
    // The cause of an internal error belongs in the log: it may name internals.
    let message = match error.code {
        Code::Internal => "the server failed; its log has the cause under this request id".to_owned(),
        _ => error.message.clone(),
    };
    Problem {
        r#type: format!("urn:ringfence:problem:{}", error.code.as_str()),
        title: row.title.to_owned(),
        status: row.status.as_u16(),
        detail: match &error.param {
            Some(param) if error.code != Code::Internal => format!("{param}: {message}"),
            _ => message.clone(),
        },
        instance: route.to_owned(),
        request_id: request.to_string(),
        outcome: error.outcome_unknown.then(|| "unknown".to_owned()),
        error: Detail {
            message,
            r#type: row.kind.to_owned(),
            param: error.param.clone(),
            code: error.code.as_str().to_owned(),
        },
    }
}

/// Adds headers that say whether and when to retry.
fn add_retry_headers(error: &Error, row: &ErrorRow, response: &mut Response<Body>) {
    let headers = response.headers_mut();
    let wait = error.retry_after.or(match row.retry {
        RetryAdvice::After(wait) => Some(wait),
        RetryAdvice::Implied | RetryAdvice::Never => None,
    });
    if row.retry == RetryAdvice::Never {
        headers.insert(HeaderName::from_static("x-should-retry"), HeaderValue::from_static("false"));
    }
    let Some(wait) = wait else { return };
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    if row.status == StatusCode::TOO_MANY_REQUESTS {
        let left = HeaderValue::from_str(&format!("\"tenant\";r=0;t={}", seconds.max(1))).expect("digits and quotes");
        headers.insert(HeaderName::from_static("ratelimit"), left);
    }
}

/// The 405 reply, which has no code of its own: the route exists but does not support the method.
pub(crate) fn method_not_allowed(route: &'static str, request: RequestId) -> Response<Body> {
    let error = Error::new(Code::InvalidRequest, "this route does not support this method");
    let mut row = row(Code::InvalidRequest);
    row.status = StatusCode::METHOD_NOT_ALLOWED;
    row.title = "Method not allowed";
    let body = problem(&error, &row, route, request);
    let mut response = Response::new(Body::from(serde_json::to_vec(&body).expect("a problem is plain data")));
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

const INVALID: &str = "invalid_request_error";

#[cfg(test)]
mod tests;
