//! Builds axum's router from the route table, and wraps every request whatever its route: an id, a line in the log, and
//! a count.

use super::{App, Plane, Route, error, routes};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, Response, Version, header, uri::Authority},
    middleware::{Next, from_fn_with_state},
    routing::{MethodFilter, MethodRouter, on},
};
use kernel::{Code, Error, RequestId};
use std::collections::BTreeMap;

/// The router of one listener.
pub(crate) fn router(app: &App, plane: Plane) -> Router {
    let mut paths: BTreeMap<&'static str, MethodRouter> = BTreeMap::new();
    let mut methods: BTreeMap<&'static str, Vec<&'static str>> = BTreeMap::new();
    for route in routes().into_iter().filter(|r| r.spec.plane == plane || r.spec.plane == Plane::Both) {
        let path = route.spec.path;
        methods.entry(path).or_default().push(name(&route.spec.method));
        let method_router = method_router(app, route);
        let existing = paths.remove(path).unwrap_or_default();
        paths.insert(path, existing.merge(method_router));
    }
    let mut router = Router::new();
    for (path, path_methods) in paths {
        let allowed = methods[path].join(", ");
        router = router.route(path, path_methods.fallback(move |r: Request| refuse_method(r, path, allowed.clone())));
    }
    router.fallback(unknown).layer(from_fn_with_state(app.clone(), observe))
}

fn method_router(app: &App, route: Route) -> MethodRouter {
    let filter = MethodFilter::try_from(route.spec.method.clone()).expect("the table holds ordinary methods");
    let app = app.clone();
    on(filter, move |request: Request| {
        let (run, path, app) = (route.run.clone(), route.spec.path, app.clone());
        async move {
            let mut response = run(app, request).await;
            response.extensions_mut().insert(Template(path));
            response
        }
    })
}

fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        _ => "DELETE",
    }
}

async fn refuse_method(request: Request, path: &'static str, allowed: String) -> Response<Body> {
    let mut response = error::method_not_allowed(path, request_id(&request));
    if let Ok(allowed) = HeaderValue::from_str(&allowed) {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response.extensions_mut().insert(Template(path));
    response
}

async fn unknown(request: Request) -> Response<Body> {
    error::response(&Error::not_found(), UNKNOWN, request_id(&request))
}

fn request_id(request: &Request) -> RequestId {
    *request.extensions().get::<RequestId>().expect("every request gets its id first")
}

/// Assigns the request its id, and logs and counts its result. The route's template stands for the address; nothing of
/// the request's content is logged.
async fn observe(State(app): State<App>, mut request: Request, next: Next) -> Response<Body> {
    let id = app.engine().request_id();
    let started = app.monotonic();
    let method = request.method().clone();
    request.extensions_mut().insert(id);
    let mut response = match check_host(&request) {
        Ok(()) => next.run(request).await,
        Err(error) => error::response(&error, UNKNOWN, id),
    };
    let route = response.extensions().get::<Template>().map_or(UNKNOWN, |t| t.0);
    let code = response.extensions().get::<Code>().map_or("", |c| c.as_str());
    let took = app.monotonic().saturating_sub(started);
    let status = response.status().as_u16();
    app.metrics().observe(name_or_other(&method), route, status, took);
    tracing::info!(
        method = name_or_other(&method),
        route,
        status,
        code,
        ms = took.as_secs_f64() * 1_000.0,
        request = %id,
        "request"
    );
    let id = HeaderValue::from_str(&id.to_string()).expect("a UUID is a header value");
    response.headers_mut().insert(HeaderName::from_static("x-request-id"), id);
    response
}

/// HTTP/1.1 requires exactly one `host` (RFC 9112, section 3.2). Its value has no effect here.
fn check_host(request: &Request) -> Result<(), Error> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if request.version() < Version::HTTP_11 => Ok(()),
        (None, _) => Err(Error::invalid("host", "is missing: HTTP/1.1 requires this header")),
        (Some(_), Some(_)) => Err(Error::invalid("host", "is given twice")),
        (Some(host), None) if host.is_empty() || Authority::try_from(host.as_bytes()).is_ok() => Ok(()),
        (Some(_), None) => Err(Error::invalid("host", "is not a host and port")),
    }
}

fn name_or_other(method: &Method) -> &'static str {
    match *method {
        Method::DELETE => "DELETE",
        Method::GET | Method::PUT | Method::POST | Method::PATCH => name(method),
        Method::HEAD => "HEAD",
        _ => "other",
    }
}

/// Template of the route that answered.
#[derive(Clone, Copy)]
struct Template(&'static str);

/// Stands for every address that matches no route.
const UNKNOWN: &str = "unknown";
