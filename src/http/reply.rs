//! Replies. One can be made only from what stands in the audit: an [`Audited`] of the ledger, or
//! an operator's act, which the engine writes down before its effect.

use access::Operator;
use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use engine::{AuditReply, Audited};
use kernel::Error;
use serde::Serialize;
use std::marker::PhantomData;

/// Of a reply in lines: where the next page begins, to be given as `after`.
const NEXT_AFTER: &str = "x-next-after";
/// Of an audit: where it ended when the page was begun, as a signed note in base64.
const AUDIT_HEAD: &str = "x-audit-head";

/// What a data-plane handler ends with.
pub(crate) type Outcome<W> = Result<Reply<W>, Audited<Error>>;

/// A reply of the form `W`.
pub(crate) struct Reply<W> {
    status: StatusCode,
    kind: &'static str,
    headers: Vec<(&'static str, HeaderValue)>,
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
        Self { status: StatusCode::OK, kind: "application/json", headers: Vec::new(), body, form: PhantomData }
    }

    /// A page of an audit: one object a line, as it is stored.
    pub(crate) fn audited_lines(sealed: Audited<AuditReply>) -> Self {
        Self::ndjson(sealed.into_body())
    }

    /// See [`Reply::audited_lines`].
    pub(crate) fn operated_lines(_proof: &Operator, page: AuditReply) -> Self {
        Self::ndjson(page)
    }

    fn ndjson(page: AuditReply) -> Self {
        let mut body = Vec::with_capacity(page.lines.iter().map(|line| line.len() + 1).sum());
        for line in page.lines {
            body.extend_from_slice(&line);
            body.push(b'\n');
        }
        let next = page.next.map(|next| (NEXT_AFTER, HeaderValue::from(next)));
        let head = page.head.and_then(|head| HeaderValue::try_from(BASE64_STANDARD.encode(head.note)).ok());
        let headers = next.into_iter().chain(head.map(|head| (AUDIT_HEAD, head))).collect();
        Self { status: StatusCode::OK, kind: "application/x-ndjson", headers, body, form: PhantomData }
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
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        // What one tenant was told is nobody else's to keep.
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
