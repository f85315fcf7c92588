//! The data of a request as handlers receive it: parsed, checked, and without unknown members.

use super::{app::App, body, route::RouteSpec};
use crate::{
    listen::ConnectionSlot,
    shares::{Share, ShareHolder},
};
use access::{Action, Grant, Operator};
use axum::{
    RequestPartsExt,
    body::Body,
    extract::{Query, RawPathParams},
    http::{HeaderMap, Request, header, request::Parts},
};
use kernel::{CancelFlag, Code, DocumentId, Error, NamespaceName, RequestId, Timestamp, limits};
use serde::de::DeserializeOwned;
use std::{collections::BTreeMap, sync::Arc};
use utoipa::ToSchema;

/// A body as sent, and the type that it is checked into.
pub(crate) trait RequestBody: DeserializeOwned + ToSchema + Send + 'static {
    /// The type that handlers receive.
    type Checked: Send;
    /// `false` for requests without a body.
    const BODY: bool = true;
    /// Checks the values. The JSON types have been checked by parsing.
    ///
    /// # Errors
    /// An error that names the member.
    fn check(self) -> Result<Self::Checked, Error>;
}

/// A request without a body.
#[derive(serde::Deserialize, ToSchema)]
pub(crate) struct NoBody;

impl RequestBody for NoBody {
    type Checked = ();
    const BODY: bool = false;
    fn check(self) -> Result<(), Error> {
        Ok(())
    }
}

/// The parts of a request that are known before its body is read.
pub(crate) struct RequestHead {
    pub(crate) request: RequestId,
    pub(crate) headers: HeaderMap,
    pub(crate) trace: Option<String>,
    pub(crate) cancel: CancelFlag,
    slot: Option<Arc<ConnectionSlot>>,
    path: Result<BTreeMap<String, String>, Error>,
    query: Result<Vec<(String, String)>, Error>,
}

/// The data of a request.
pub(crate) struct RequestData<B: RequestBody> {
    head: RequestHead,
    /// The checked body.
    pub(crate) body: B::Checked,
    /// The body's share of the memory for bodies, until the value made from it has been processed.
    pub(crate) share: Option<Share>,
    path: BTreeMap<String, String>,
    query: BTreeMap<String, String>,
}

/// Proof of an admitted caller. The request takes this caller's share of memory, and its body is parsed in this
/// caller's turn.
pub(crate) trait AdmittedCaller: Sync {
    /// The owner of the credential.
    fn caller(&self) -> ShareHolder;

    /// Runs `f`, which takes longer than a thread of the runtime may be blocked.
    ///
    /// # Errors
    /// The errors of [`engine::Engine::run_in_turn`].
    fn in_turn<T: Send + 'static>(
        &self,
        app: &App,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Result<T, Error>> + Send;
}

impl<A: Action> AdmittedCaller for Grant<A> {
    fn caller(&self) -> ShareHolder {
        ShareHolder::Tenant(self.incarnation())
    }

    async fn in_turn<T: Send + 'static>(&self, app: &App, f: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        app.engine().run_in_turn(self, f).await
    }
}

impl AdmittedCaller for Operator {
    fn caller(&self) -> ShareHolder {
        ShareHolder::Operator(self.name().clone())
    }

    /// Runs `f` on this thread: the largest body of the control plane is small enough to be parsed here.
    async fn in_turn<T: Send + 'static>(&self, _: &App, f: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        Ok(f())
    }
}

impl RequestHead {
    pub(crate) async fn of(request: Request<Body>) -> (Self, Body) {
        let (mut parts, body) = request.into_parts();
        let head = Self {
            request: *parts.extensions.get::<RequestId>().expect("the router gives every request its id"),
            trace: trace_id(&parts.headers),
            cancel: parts.extensions.get().cloned().unwrap_or_default(),
            slot: parts.extensions.get().cloned(),
            path: path_values(&mut parts).await,
            query: query_values(&parts),
            headers: parts.headers,
        };
        (head, body)
    }

    /// The credential after `Bearer` in the header `authorization`.
    pub(crate) fn bearer(&self) -> Option<&str> {
        let value = self.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }

    /// The namespace in the path, if it is a valid name.
    pub(crate) fn namespace(&self) -> Option<NamespaceName> {
        let name = self.path.as_ref().ok()?.get("ns")?;
        NamespaceName::parse(name).ok()
    }
}

impl<B: RequestBody> RequestData<B> {
    /// Reads and checks everything that the gate did not need.
    pub(crate) async fn read(
        app: &App,
        spec: &RouteSpec,
        caller: &impl AdmittedCaller,
        mut head: RequestHead,
        body: &mut Body,
    ) -> Result<Self, Error> {
        if let Some(slot) = &head.slot {
            slot.serve(caller.caller())?;
        }
        let path = std::mem::replace(&mut head.path, Ok(BTreeMap::new()))?;
        if let Some(name) = path.get("ns") {
            NamespaceName::parse(name)?;
        }
        let query = known(std::mem::replace(&mut head.query, Ok(Vec::new()))?, spec.query)?;
        let (body, share) = Self::read_body(app, caller, &head, body).await?;
        Ok(Self { head, body, share, path, query })
    }

    async fn read_body(
        app: &App,
        caller: &impl AdmittedCaller,
        head: &RequestHead,
        body: &mut Body,
    ) -> Result<(B::Checked, Option<Share>), Error> {
        if !B::BODY {
            let nothing: B = serde_json::from_str("null").expect("a request without a body reads as nothing");
            return Ok((nothing.check()?, None));
        }
        body::check_headers(&head.headers)?;
        let owner = caller.caller();
        let read = app.bodies(&owner).read(owner, body).await?;
        let length = read.length();
        let parse = move || {
            let (bytes, mut share) = read.join();
            let body: B = api::strict::json(&bytes).map_err(|c| {
                let code = if c.unknown { Code::UnknownField } else { Code::InvalidRequest };
                Error::new(code, c.rule).with_param(c.path)
            })?;
            drop(bytes);
            // The parsed value takes about as much memory as the body. Shrinking is never refused.
            let _ = share.resize(length);
            Ok((body.check()?, Some(share)))
        };
        if length > PARSE_INLINE_BYTES_MAX { caller.in_turn(app, parse).await? } else { parse() }
    }

    /// Value of a parameter in the path, by its name in the template.
    pub(crate) fn path(&self, name: &str) -> &str {
        self.path.get(name).map_or("", String::as_str)
    }

    /// The document in the path.
    ///
    /// # Errors
    /// `invalid_request` if it cannot be an id.
    pub(crate) fn document(&self) -> Result<DocumentId, Error> {
        DocumentId::parse(self.path("id"))
    }

    /// Value of a parameter in the query string.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// The parameter `limit`, within the bounds of lists.
    ///
    /// # Errors
    /// `invalid_request` if it is not a number or out of bounds.
    pub(crate) fn limit(&self) -> Result<usize, Error> {
        let Some(text) = self.query("limit") else { return Ok(limits::LIST_LIMIT_DEFAULT) };
        text.parse()
            .ok()
            .filter(|n| (1..=limits::LIST_LIMIT_MAX).contains(n))
            .ok_or_else(|| Error::invalid("limit", "must be 1 to 1000"))
    }

    /// The parameters `limit` and `after`.
    ///
    /// # Errors
    /// The errors of [`RequestData::limit`].
    pub(crate) fn page(&self) -> Result<engine::PageRequest, Error> {
        Ok(engine::PageRequest { limit: self.limit()?, after: self.query("after").map(str::to_owned) })
    }

    /// The number of an audit record, as the header `x-next-after` gave it.
    ///
    /// # Errors
    /// `invalid_request` if the value is invalid.
    pub(crate) fn sequence(&self, name: &str) -> Result<Option<u64>, Error> {
        let number = |text: &str| {
            text.parse().map_err(|_| Error::invalid(name, "must be a whole number from the header x-next-after"))
        };
        self.query(name).map(number).transpose()
    }

    /// A time in the query string.
    ///
    /// # Errors
    /// `invalid_request` if the value is invalid.
    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, Error> {
        self.query(name).map(|text| Timestamp::parse(text).map_err(|e| e.with_param(name))).transpose()
    }

    /// Whether the caller prefers an asynchronous reply (RFC 7240).
    pub(crate) fn prefers_async(&self) -> bool {
        let values = self.head.headers.get_all("prefer").iter().filter_map(|v| v.to_str().ok());
        values
            .flat_map(|v| v.split(','))
            .any(|p| p.split(';').next().is_some_and(|p| p.trim().eq_ignore_ascii_case("respond-async")))
    }
}

async fn path_values(parts: &mut Parts) -> Result<BTreeMap<String, String>, Error> {
    let values = parts
        .extract::<RawPathParams>()
        .await
        .map_err(|_| Error::invalid("path", "is not valid UTF-8 after percent-decoding"))?;
    Ok(values.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

fn query_values(parts: &Parts) -> Result<Vec<(String, String)>, Error> {
    Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
        .map(|Query(pairs)| pairs)
        .map_err(|_| Error::invalid("query", "is not a valid query string"))
}

/// Checks that each parameter is known and occurs only once.
fn known(pairs: Vec<(String, String)>, names: &[&str]) -> Result<BTreeMap<String, String>, Error> {
    let mut values = BTreeMap::new();
    for (name, value) in pairs {
        let shown: String = name.chars().take(64).collect();
        if !names.contains(&name.as_str()) {
            let known = if names.is_empty() { "no parameters".to_owned() } else { names.join(", ") };
            let rule = format!("is unknown in this query string; known are {known}");
            return Err(Error::new(Code::UnknownField, rule).with_param(shown));
        }
        if values.insert(name, value).is_some() {
            return Err(Error::invalid(shown, "is given twice"));
        }
    }
    Ok(values)
}

/// The trace id of a well-formed `traceparent` (W3C Trace Context); a malformed header counts as absent.
fn trace_id(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("traceparent")?.to_str().ok()?;
    let hex = |s: &str, n: usize| s.len() == n && s.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let fields: Vec<&str> = value.split('-').collect();
    let [version, trace, parent, flags, ..] = fields.as_slice() else { return None };
    let well_formed = hex(version, 2) && *version != "ff" && (*version != "00" || fields.len() == 4);
    let named =
        hex(trace, 32) && trace.bytes().any(|b| b != b'0') && hex(parent, 16) && parent.bytes().any(|b| b != b'0');
    (well_formed && named && hex(flags, 2)).then(|| (*trace).to_owned())
}

/// Bodies up to this length, in bytes, are parsed on the request's thread; longer ones in their tenant's turn.
const PARSE_INLINE_BYTES_MAX: usize = limits::CONTROL_BODY_BYTES_MAX;

#[cfg(test)]
mod tests;
