//! State of the process: `/healthz`, `/readyz`, `/openapi.json`, `/metrics`.

use super::App;
use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use bytes::Bytes;
use kernel::Error;
use serde_json::json;
use std::sync::OnceLock;

/// Liveness: a process that answers is alive.
pub(super) fn live(_: &App) -> Result<Response<Body>, Error> {
    Ok(json_response(StatusCode::OK, json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") })))
}

/// Readiness: whether requests can be served, and with which models.
pub(super) fn ready(app: &App) -> Result<Response<Body>, Error> {
    let engine = app.engine();
    let models: Vec<_> = engine
        .models()
        .list()
        .into_iter()
        .map(|m| {
            let reranks = m.reranks.map(models::Reranks::as_str);
            json!({ "name": m.name, "dimensions": m.dimensions, "provider": m.provider, "reranks": reranks })
        })
        .collect();
    let modes =
        if models.is_empty() { json!(["text", "vector (own vectors)"]) } else { json!(["hybrid", "vector", "text"]) };
    let mut body = json!({ "status": "ready", "models": models, "modes": modes });
    body["reranker"] = json!(engine.models().reranker(None).map(|m| m.name));
    if engine.models().default_model().is_none() {
        body["models_unavailable"] = json!("no model is available: only text search and callers' own vectors work");
    }
    if let Err(error) = engine.ready() {
        body["status"] = json!("unavailable");
        body["code"] = json!(error.code.as_str());
        return Ok(json_response(StatusCode::SERVICE_UNAVAILABLE, body));
    }
    Ok(json_response(StatusCode::OK, body))
}

/// The OpenAPI document of both planes. It is made only once, because callers without a credential may request it as
/// often as they like.
pub(super) fn document(_: &App) -> Result<Response<Body>, Error> {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    let document = DOCUMENT.get_or_init(|| super::openapi().to_string().into());
    Ok(json_bytes_response(StatusCode::OK, document.clone()))
}

/// Metrics in the OpenMetrics text format.
pub(super) fn metrics(app: &App) -> Result<Response<Body>, Error> {
    let text = app.metrics().render(app.engine())?;
    let mut response = Response::new(Body::from(text));
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

fn json_response(status: StatusCode, body: serde_json::Value) -> Response<Body> {
    json_bytes_response(status, body.to_string().into())
}

fn json_bytes_response(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
