//! Replies. One can be made only from what stands in the audit: an [`Audited`] of the ledger, or
//! an operator's act, which the engine writes down before its effect.

use access::Operator;
use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use engine::Audited;
use kernel::Error;
use serde::Serialize;
use std::marker::PhantomData;

/// What a data-plane handler ends with.
pub(crate) type Outcome<W> = Result<Reply<W>, Audited<Error>>;

/// A reply of the form `W`.
pub(crate) struct Reply<W> {
    status: StatusCode,
    kind: &'static str,
    body: Vec<u8>,
    form: PhantomData<fn() -> W>,
}

impl<W: Serialize> Reply<W> {
    /// Renders what the engine answered.
    pub(crate) fn audited<E>(sealed: Audited<E>, render: impl FnOnce(E) -> W) -> Self {
        Self::json(render(sealed.into_body()))
    }

    /// Renders what an operator did.
    pub(crate) fn operated(_proof: &Operator, body: W) -> Self {
        Self::json(body)
    }

    fn json(body: W) -> Self {
        let body = serde_json::to_vec(&body).expect("wire types are plain data with string keys");
        Self { status: StatusCode::OK, kind: "application/json", body, form: PhantomData }
    }

    /// One object a line.
    pub(crate) fn audited_lines<E>(sealed: Audited<Vec<E>>, render: impl Fn(E) -> W) -> Self {
        Self::ndjson(sealed.into_body().into_iter().map(render))
    }

    /// See [`Reply::audited_lines`].
    pub(crate) fn operated_lines(_proof: &Operator, lines: impl IntoIterator<Item = W>) -> Self {
        Self::ndjson(lines)
    }

    fn ndjson(lines: impl IntoIterator<Item = W>) -> Self {
        let mut body = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut body, &line).expect("wire types are plain data with string keys");
            body.push(b'\n');
        }
        Self { status: StatusCode::OK, kind: "application/x-ndjson", body, form: PhantomData }
    }
}

impl<W> Reply<W> {
    /// With another status than 200.
    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// As HTTP.
    pub(crate) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        // What one tenant was told is nobody else's to keep.
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
