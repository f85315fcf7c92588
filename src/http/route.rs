//! One row of the route table, and the path of every request: credential -> gate -> body -> flow -> audit -> reply. A
//! flow runs as a tracked task to its end, even if the caller has disconnected, so that the audit record precedes the
//! reply and is never missing.

use super::{
    app::App,
    body, error,
    openapi::RouteSchemas,
    reply::{DataResult, Reply},
    request_data::{RequestBody, RequestData, RequestHead},
};
use access::{Action, Grant, Operator, RequestInfo};
use axum::{
    body::Body,
    http::{Method, Request, Response},
};
use futures::{FutureExt, future::BoxFuture};
use kernel::{CancelFlag, Error, RequestId, Role, Scope};
use serde::Serialize;
use std::{panic::AssertUnwindSafe, sync::Arc};
use utoipa::ToSchema;

/// The listener that serves a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    /// The tenants' listener.
    Data,
    /// The operators' listener.
    Control,
    /// Both listeners.
    Both,
}

/// Credential that a route requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequiredCredential {
    /// An API key for this action, with this scope if there is one.
    Key {
        /// Name of the action in the audit.
        action: &'static str,
        /// Scope that the action requires.
        scope: Option<Scope>,
    },
    /// An operator with one of these roles, or an admin.
    Operator(&'static [Role]),
    /// No credential.
    Nothing,
}

/// A route without its handler.
#[derive(Clone, Debug)]
pub struct RouteSpec {
    /// Listener that serves the route.
    pub plane: Plane,
    /// HTTP method.
    pub method: Method,
    /// Template of the path.
    pub path: &'static str,
    /// Credential that the route requires.
    pub needs: RequiredCredential,
    /// Parameters of the query string; others are refused.
    pub query: &'static [&'static str],
    /// Operation id in the OpenAPI document.
    pub id: &'static str,
    /// One sentence for readers of the OpenAPI document.
    pub summary: &'static str,
}

/// A route with its handler.
#[derive(Clone)]
pub struct Route {
    /// The route's description.
    pub spec: Arc<RouteSpec>,
    pub(crate) schemas: Arc<RouteSchemas>,
    pub(crate) run: Run,
}

/// The function from a request to its response.
pub(crate) type Run = Arc<dyn Fn(App, Request<Body>) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// The constant part of a row in the table.
pub(crate) struct RouteRow {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) query: &'static [&'static str],
    pub(crate) id: &'static str,
    pub(crate) summary: &'static str,
}

/// A route of the data plane. The handler's types determine the action and the wire types.
pub(crate) fn data<A, B, W, F, Fut>(row: RouteRow, handler: F) -> Route
where
    A: Action,
    B: RequestBody,
    W: Serialize + ToSchema + 'static,
    F: Fn(App, Grant<A>, RequestData<B>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = DataResult<W>> + Send + 'static,
{
    let spec = row.spec(Plane::Data, RequiredCredential::Key { action: A::NAME, scope: A::SCOPE });
    let table = spec.clone();
    let run: Run = Arc::new(move |app, request| {
        let (spec, handler) = (table.clone(), handler.clone());
        run_tracked(app.clone(), spec.path, request, move |request| handle_data(app, spec, handler, request))
    });
    Route { spec, schemas: Arc::new(RouteSchemas::of::<B, W>()), run }
}

/// Handles a request of the data plane.
async fn handle_data<A, B, W, F, Fut>(
    app: App,
    spec: Arc<RouteSpec>,
    handler: F,
    request: Request<Body>,
) -> Result<Response<Body>, Error>
where
    A: Action,
    B: RequestBody,
    F: Fn(App, Grant<A>, RequestData<B>) -> Fut,
    Fut: Future<Output = DataResult<W>> + Send,
{
    let audit_log = app.engine().audit_log();
    let (head, mut body) = RequestHead::of(request).await;
    let headers = head.headers.clone();
    let info = RequestInfo {
        namespace: head.namespace(),
        request: head.request,
        trace: head.trace.clone(),
        cancel: head.cancel.clone(),
    };
    let mut caller = None;
    let result = match app.engine().admit::<A>(head.bearer(), info).await {
        Err(refusal) => Err(audit_log.refused(refusal, spec.path).await),
        Ok(grant) => {
            caller = Some(grant.incarnation());
            match RequestData::read(&app, &spec, &grant, head, &mut body).await {
                Ok(data) => handler(app.clone(), grant, data).await,
                Err(error) => Err(audit_log.refuse(grant, error).await),
            }
        }
    };
    if result.is_err() {
        body::discard(&app, &headers, body);
    }
    let reply = result.map_err(engine::Audited::into_body)?;
    reply.into_response(|bytes| app.engine().count_reply(caller, bytes))
}

/// A route of the control plane.
pub(crate) fn control<B, W, F, Fut>(row: RouteRow, roles: &'static [Role], handler: F) -> Route
where
    B: RequestBody,
    W: Serialize + ToSchema + 'static,
    F: Fn(App, Operator, RequestData<B>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Reply<W>, Error>> + Send + 'static,
{
    let spec = row.spec(Plane::Control, RequiredCredential::Operator(roles));
    let table = spec.clone();
    let run: Run = Arc::new(move |app, request| {
        let (spec, handler) = (table.clone(), handler.clone());
        run_tracked(app.clone(), spec.path, request, move |request| handle_control(app, spec, roles, handler, request))
    });
    Route { spec, schemas: Arc::new(RouteSchemas::of::<B, W>()), run }
}

/// Handles a request of the control plane.
async fn handle_control<B, W, F, Fut>(
    app: App,
    spec: Arc<RouteSpec>,
    roles: &'static [Role],
    handler: F,
    request: Request<Body>,
) -> Result<Response<Body>, Error>
where
    B: RequestBody,
    F: Fn(App, Operator, RequestData<B>) -> Fut,
    Fut: Future<Output = Result<Reply<W>, Error>> + Send,
{
    let (head, mut body) = RequestHead::of(request).await;
    let headers = head.headers.clone();
    let result = match app.engine().gate().operator(head.bearer(), roles, head.request) {
        Err(refusal) => Err(app.engine().audit_log().refused(refusal, spec.path).await.into_body()),
        Ok(operator) => match RequestData::read(&app, &spec, &operator, head, &mut body).await {
            Ok(data) => handler(app.clone(), operator, data).await,
            Err(error) => Err(error),
        },
    };
    if result.is_err() {
        body::discard(&app, &headers, body);
    }
    result?.into_response(|bytes| app.engine().count_reply(None, bytes))
}

/// A route that needs no credential. Its handler sees only the process's own state.
pub(crate) fn open(row: RouteRow, handler: fn(&App) -> Result<Response<Body>, Error>) -> Route {
    let spec = row.spec(Plane::Both, RequiredCredential::Nothing);
    let path = spec.path;
    let run: Run =
        Arc::new(move |app, request| run_tracked(app.clone(), path, request, move |_| async move { handler(&app) }));
    Route { spec, schemas: Arc::new(RouteSchemas::plain()), run }
}

/// A route of the control plane whose reply is not JSON.
pub(crate) fn page(row: RouteRow, roles: &'static [Role], handler: fn(&App) -> Result<Response<Body>, Error>) -> Route {
    let spec = row.spec(Plane::Control, RequiredCredential::Operator(roles));
    let path = spec.path;
    let run: Run = Arc::new(move |app, request| {
        run_tracked(app.clone(), path, request, move |request| async move {
            let (head, _) = RequestHead::of(request).await;
            match app.engine().gate().operator(head.bearer(), roles, head.request) {
                Err(refusal) => Err(app.engine().audit_log().refused(refusal, path).await.into_body()),
                Ok(_) => handler(&app),
            }
        })
    });
    Route { spec, schemas: Arc::new(RouteSchemas::plain()), run }
}

impl RouteRow {
    fn spec(self, plane: Plane, needs: RequiredCredential) -> Arc<RouteSpec> {
        let RouteRow { method, path, query, id, summary } = self;
        Arc::new(RouteSpec { plane, method, path, needs, query, id, summary })
    }
}

/// Runs `work` to its end as a tracked task, and sets its [`CancelFlag`] if the caller disconnects. Turns an error or a
/// panic into a reply.
fn run_tracked<F, Fut>(
    app: App,
    path: &'static str,
    mut request: Request<Body>,
    work: F,
) -> BoxFuture<'static, Response<Body>>
where
    F: FnOnce(Request<Body>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Response<Body>, Error>> + Send + 'static,
{
    let cancel = CancelFlag::default();
    let guard = cancel.drop_guard();
    request.extensions_mut().insert(cancel);
    let id = *request.extensions().get::<RequestId>().expect("the router gives every request its id");
    let task = app.tracker().spawn(async move {
        match AssertUnwindSafe(work(request)).catch_unwind().await {
            Ok(Ok(response)) => response,
            Ok(Err(failure)) => error_response(&failure, path, id),
            // The panic hook has logged the location; the message may quote a customer's data.
            Err(_) => error_response(&outcome_unknown_error(), path, id),
        }
    });
    // If the caller disconnects, this future is dropped and the guard sets the flag, while the task continues.
    Box::pin(async move {
        let reply = task.await.unwrap_or_else(|_| error_response(&outcome_unknown_error(), path, id));
        guard.disarm();
        reply
    })
}

fn outcome_unknown_error() -> Error {
    let mut error = Error::internal("the request ended in an internal error");
    error.outcome_unknown = true;
    error
}

/// Logs an internal error with its causes; other errors are the caller's and are recorded in the audit.
fn error_response(failure: &Error, path: &'static str, id: RequestId) -> Response<Body> {
    if failure.code == kernel::Code::Internal {
        tracing::error!(route = path, request = %id, cause = crate::parts::chain(failure), "a request failed");
    }
    error::response(failure, path, id)
}
