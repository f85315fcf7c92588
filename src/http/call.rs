//! A request as handlers see it: parsed, checked, with every member known.

use super::{app::App, body, route::Facts};
use crate::{
    listen::Place,
    shares::{Caller, Share},
};
use access::{Action, Grant, Operator};
use axum::{
    RequestPartsExt,
    body::Body,
    extract::{Query, RawPathParams},
    http::{HeaderMap, Request, header, request::Parts},
};
use kernel::{Code, DocumentId, Error, NamespaceName, Presence, RequestId, Timestamp, limits};
use serde::de::DeserializeOwned;
use std::{collections::BTreeMap, sync::Arc};
use utoipa::ToSchema;

/// A body's form on the wire and what it becomes.
pub(crate) trait Incoming: DeserializeOwned + ToSchema + Send + 'static {
    /// What handlers get.
    type Checked: Send;
    /// `false` for requests without a body.
    const BODY: bool = true;
    /// Checks values. The types were checked by reading.
    ///
    /// # Errors
    /// Names the member.
    fn check(self) -> Result<Self::Checked, Error>;
}

/// No body.
#[derive(serde::Deserialize, ToSchema)]
pub(crate) struct Nothing;

impl Incoming for Nothing {
    type Checked = ();
    const BODY: bool = false;
    fn check(self) -> Result<(), Error> {
        Ok(())
    }
}

/// What is known before the body is read.
pub(crate) struct Head {
    pub(crate) request: RequestId,
    pub(crate) headers: HeaderMap,
    pub(crate) trace: Option<String>,
    pub(crate) presence: Presence,
    place: Option<Arc<Place>>,
    path: Result<BTreeMap<String, String>, Error>,
    query: Result<Vec<(String, String)>, Error>,
}

/// A whole request.
pub(crate) struct Call<B: Incoming> {
    head: Head,
    /// Checked.
    pub(crate) body: B::Checked,
    /// What the body takes of the memory for bodies, until what it became is done with.
    pub(crate) share: Option<Share>,
    path: BTreeMap<String, String>,
    query: BTreeMap<String, String>,
}

/// Proof of an admitted caller, whose share of memory a request takes and in whose turn its body is parsed.
pub(crate) trait LetIn: Sync {
    /// Whose credential it was.
    fn caller(&self) -> Caller;

    /// Runs `f`, which takes longer than a thread of the runtime may be held.
    ///
    /// # Errors
    /// As [`engine::Engine::in_turn`].
    fn in_turn<T: Send + 'static>(
        &self,
        app: &App,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Result<T, Error>> + Send;
}

impl<A: Action> LetIn for Grant<A> {
    fn caller(&self) -> Caller {
        Caller::Tenant(self.incarnation())
    }

    async fn in_turn<T: Send + 'static>(&self, app: &App, f: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        app.engine().in_turn(self, f).await
    }
}

impl LetIn for Operator {
    fn caller(&self) -> Caller {
        Caller::Operator(self.name().clone())
    }

    /// Runs `f` here: the largest body of the control plane is small enough to be parsed on this thread.
    async fn in_turn<T: Send + 'static>(&self, _: &App, f: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        Ok(f())
    }
}

impl Head {
    pub(crate) async fn of(request: Request<Body>) -> (Self, Body) {
        let (mut parts, body) = request.into_parts();
        let head = Self {
            request: *parts.extensions.get::<RequestId>().expect("the router gives every request its id"),
            trace: trace_id(&parts.headers),
            presence: parts.extensions.get().cloned().unwrap_or_default(),
            place: parts.extensions.get().cloned(),
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

    /// The namespace in the path, if it can be the name of one.
    pub(crate) fn namespace(&self) -> Option<NamespaceName> {
        let name = self.path.as_ref().ok()?.get("ns")?;
        NamespaceName::parse(name).ok()
    }
}

impl<B: Incoming> Call<B> {
    /// Reads and checks all that the gate did not need.
    pub(crate) async fn read(
        app: &App,
        facts: &Facts,
        who: &impl LetIn,
        mut head: Head,
        body: &mut Body,
    ) -> Result<Self, Error> {
        if let Some(place) = &head.place {
            place.serve(who.caller())?;
        }
        let path = std::mem::replace(&mut head.path, Ok(BTreeMap::new()))?;
        if let Some(name) = path.get("ns") {
            NamespaceName::parse(name)?;
        }
        let query = known(std::mem::replace(&mut head.query, Ok(Vec::new()))?, facts.query)?;
        let (body, share) = Self::read_body(app, who, &head, body).await?;
        Ok(Self { head, body, share, path, query })
    }

    async fn read_body(
        app: &App,
        who: &impl LetIn,
        head: &Head,
        body: &mut Body,
    ) -> Result<(B::Checked, Option<Share>), Error> {
        if !B::BODY {
            let nothing: B = serde_json::from_str("null").expect("a request without a body reads as nothing");
            return Ok((nothing.check()?, None));
        }
        body::check_headers(&head.headers)?;
        let caller = who.caller();
        let read = app.bodies(&caller).read(caller, body).await?;
        let length = read.length();
        let parse = move || {
            let (bytes, mut share) = read.join();
            let body: B = crate::strict::json(&bytes).map_err(|c| {
                let code = if c.unknown { Code::UnknownField } else { Code::InvalidRequest };
                Error::new(code, c.rule).with_param(c.path)
            })?;
            drop(bytes);
            // What it became takes about as much. Less than before is never refused.
            let _ = share.resize(length);
            Ok((body.check()?, Some(share)))
        };
        if length > PARSE_INLINE_BYTES_MAX { who.in_turn(app, parse).await? } else { parse() }
    }

    /// A value of the path template.
    pub(crate) fn path(&self, name: &str) -> &str {
        self.path.get(name).map_or("", String::as_str)
    }

    /// The document in the path.
    ///
    /// # Errors
    /// `invalid_request` when it can be no id.
    pub(crate) fn document(&self) -> Result<DocumentId, Error> {
        DocumentId::parse(self.path("id"))
    }

    /// A value of the query string.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// `limit`, within the bounds of lists.
    ///
    /// # Errors
    /// `invalid_request` when it is no number or out of bounds.
    pub(crate) fn limit(&self) -> Result<usize, Error> {
        let Some(text) = self.query("limit") else { return Ok(limits::LIST_LIMIT_DEFAULT) };
        text.parse()
            .ok()
            .filter(|n| (1..=limits::LIST_LIMIT_MAX).contains(n))
            .ok_or_else(|| Error::invalid("limit", "must be 1 to 1000"))
    }

    /// `limit` and `after`.
    ///
    /// # Errors
    /// See [`Call::limit`].
    pub(crate) fn page(&self) -> Result<engine::Page, Error> {
        Ok(engine::Page { limit: self.limit()?, after: self.query("after").map(str::to_owned) })
    }

    /// The number of a line, as `x-next-after` gave it.
    ///
    /// # Errors
    /// `invalid_request` when it is none.
    pub(crate) fn sequence(&self, name: &str) -> Result<Option<u64>, Error> {
        let number = |text: &str| {
            text.parse().map_err(|_| Error::invalid(name, "must be a whole number, as the header x-next-after gave it"))
        };
        self.query(name).map(number).transpose()
    }

    /// A time of the query string.
    ///
    /// # Errors
    /// `invalid_request` when it is none.
    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, Error> {
        self.query(name).map(|text| Timestamp::parse(text).map_err(|e| e.with_param(name))).transpose()
    }

    /// Whether the caller prefers not to wait (RFC 7240).
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
        .map_err(|_| Error::invalid("path", "is not valid UTF-8 once its percent-encoding is taken away"))?;
    Ok(values.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

fn query_values(parts: &Parts) -> Result<Vec<(String, String)>, Error> {
    Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
        .map(|Query(pairs)| pairs)
        .map_err(|_| Error::invalid("query", "is no valid query string"))
}

/// Each parameter known, each once.
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

/// The trace id of a well-formed `traceparent` (W3C Trace Context); anything else is as absent.
fn trace_id(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("traceparent")?.to_str().ok()?;
    let hex = |s: &str, n: usize| s.len() == n && s.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let fields: Vec<&str> = value.split('-').collect();
    let [version, trace, parent, flags, ..] = fields.as_slice() else { return None };
    let whole = hex(version, 2) && *version != "ff" && (*version != "00" || fields.len() == 4);
    let named =
        hex(trace, 32) && trace.bytes().any(|b| b != b'0') && hex(parent, 16) && parent.bytes().any(|b| b != b'0');
    (whole && named && hex(flags, 2)).then(|| (*trace).to_owned())
}

/// Bodies up to this length are parsed on the request's thread; larger ones in their tenant's turn.
const PARSE_INLINE_BYTES_MAX: usize = limits::CONTROL_BODY_BYTES_MAX;

#[cfg(test)]
mod tests;
