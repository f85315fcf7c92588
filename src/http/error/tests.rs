//! The table of error codes as callers see it.

use super::*;

fn id() -> RequestId {
    RequestId::from_bytes([7; 16])
}

#[test]
fn the_table() {
    let table: Vec<String> = Code::ALL
        .iter()
        .map(|&code| {
            let r = response(&Error::new(code, "m"), "/v1/x", id());
            let header = |name: &str| r.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or("-").to_owned();
            format!(
                "{} {} retry-after={} x-should-retry={}",
                code.as_str(),
                r.status().as_u16(),
                header("retry-after"),
                header("x-should-retry")
            )
        })
        .collect();
    assert_eq!(
        table,
        [
            "invalid_request 400 retry-after=- x-should-retry=-",
            "unknown_field 400 retry-after=- x-should-retry=-",
            "unauthenticated 401 retry-after=- x-should-retry=-",
            "forbidden 403 retry-after=- x-should-retry=-",
            "not_found 404 retry-after=- x-should-retry=-",
            "already_exists 409 retry-after=- x-should-retry=false",
            "conflict 409 retry-after=1 x-should-retry=-",
            "immutable 422 retry-after=- x-should-retry=-",
            "too_large 413 retry-after=- x-should-retry=-",
            "dimension_mismatch 422 retry-after=- x-should-retry=-",
            "model_unavailable 503 retry-after=30 x-should-retry=-",
            "quota_exceeded 429 retry-after=- x-should-retry=false",
            "rate_limited 429 retry-after=60 x-should-retry=-",
            "overloaded 503 retry-after=1 x-should-retry=-",
            "tenant_suspended 423 retry-after=- x-should-retry=false",
            "not_suspended 422 retry-after=- x-should-retry=-",
            "key_unavailable 423 retry-after=- x-should-retry=false",
            "rolled_back 423 retry-after=- x-should-retry=false",
            "storage_full 503 retry-after=60 x-should-retry=-",
            "timed_out 503 retry-after=30 x-should-retry=-",
            "internal 500 retry-after=- x-should-retry=-",
        ]
    );
}

#[tokio::test]
async fn the_body_follows_rfc_9457_and_openai() {
    let error = Error::invalid("documents[3].vector", "has 5 numbers where 8 are wanted");
    let reply = response(&error, "/v1/namespaces/{ns}/documents", id());
    assert_eq!(reply.headers()["content-type"], "application/problem+json");
    let bytes = axum::body::to_bytes(reply.into_body(), 10_000).await.expect("whole");
    let body: serde_json::Value = serde_json::from_slice(&bytes).expect("json");
    assert_eq!(
        body,
        serde_json::json!({
            "type": "urn:ringfence:problem:invalid_request",
            "title": "The request is malformed",
            "status": 400,
            "detail": "documents[3].vector: has 5 numbers where 8 are wanted",
            "instance": "/v1/namespaces/{ns}/documents",
            "request_id": "07070707-0707-0707-0707-070707070707",
            "error": {
                "message": "has 5 numbers where 8 are wanted",
                "type": "invalid_request_error",
                "param": "documents[3].vector",
                "code": "invalid_request"
            }
        })
    );
}

#[tokio::test]
async fn an_internal_error_does_not_show_its_message() {
    let mut error = Error::internal("sealed object does not open: /srv/data/ns/x");
    error.outcome_unknown = true;
    let reply = response(&error, "/v1/x", id());
    let bytes = axum::body::to_bytes(reply.into_body(), 10_000).await.expect("whole");
    let text = String::from_utf8(bytes.to_vec()).expect("utf-8");
    assert!(!text.contains("srv") && text.contains("\"outcome\":\"unknown\""), "{text}");
}

#[test]
fn the_errors_own_wait_takes_precedence() {
    let mut error = Error::new(Code::RateLimited, "m");
    error.retry_after = Some(Duration::from_millis(2_100));
    let reply = response(&error, "/v1/x", id());
    assert_eq!(reply.headers()["retry-after"], "3");
    assert_eq!(reply.headers()["ratelimit"], "\"tenant\";r=0;t=3");
}

/// The whole body of each code, as callers parse it.
#[tokio::test]
async fn bodies_of_all_codes() {
    let mut bodies = Vec::new();
    for code in Code::ALL {
        let error = Error::new(code, "what to do about it").with_param("field");
        let reply = response(&error, "/v1/namespaces/{ns}/search", id());
        let bytes = axum::body::to_bytes(reply.into_body(), 10_000).await.expect("whole");
        let body: serde_json::Value = serde_json::from_slice(&bytes).expect("json");
        bodies.push(serde_json::to_string_pretty(&body).expect("json"));
    }
    insta::assert_snapshot!(bodies.join("\n"));
}
