//! One row of the table, and the way every request goes: credential -> gate -> body -> flow ->
//! audit -> reply. A flow runs as a tracked task to its end, also when the caller has gone, so
//! that the audit line comes before the reply and is never missing.

use super::{
    app::App,
    body,
    call::{Call, Head, Incoming},
    error,
    openapi::Forms,
    reply::{Outcome, Reply},
};
use access::{Action, Ask, Grant, Operator};
use axum::{
    body::Body,
    http::{Method, Request, Response},
};
use futures::{FutureExt, future::BoxFuture};
use kernel::{Error, Presence, RequestId, Role, Scope};
use serde::Serialize;
use std::{panic::AssertUnwindSafe, sync::Arc};
use utoipa::ToSchema;

/// Which listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    /// Tenants'.
    Data,
    /// Operators'.
    Control,
    /// Both.
    Both,
}

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// An API key for this action, with this scope if there is one.
    Key {
        /// The action's name in the audit.
        action: &'static str,
        /// The scope it wants.
        scope: Option<Scope>,
    },
    /// An operator with one of these roles, or an admin.
    Operator(&'static [Role]),
    /// No credential.
    Nothing,
}

/// What a row says, without its handler.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Listener.
    pub plane: Plane,
    /// Method.
    pub method: Method,
    /// Path template.
    pub path: &'static str,
    /// Who may call.
    pub needs: Needs,
    /// Parameters of the query string; others are refused.
    pub query: &'static [&'static str],
    /// Operation id in the OpenAPI document.
    pub id: &'static str,
    /// One sentence for readers of the OpenAPI document.
    pub summary: &'static str,
}

/// One row.
#[derive(Clone)]
pub struct Route {
    /// What it says.
    pub facts: Arc<Facts>,
    pub(crate) forms: Arc<Forms>,
    pub(crate) run: Run,
}

/// Everything between a request and its reply.
pub(crate) type Run = Arc<dyn Fn(App, Request<Body>) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// A row's constant part, as it stands in the table.
pub(crate) struct Row {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) query: &'static [&'static str],
    pub(crate) id: &'static str,
    pub(crate) summary: &'static str,
}

/// A row of the data plane. The handler's types say which action it is and what goes over the wire.
pub(crate) fn data<A, B, W, F, Fut>(row: Row, handler: F) -> Route
where
    A: Action,
    B: Incoming,
    W: Serialize + ToSchema + 'static,
    F: Fn(App, Grant<A>, Call<B>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Outcome<W>> + Send + 'static,
{
    let facts = row.facts(Plane::Data, Needs::Key { action: A::NAME, scope: A::SCOPE });
    let table = facts.clone();
    let run: Run = Arc::new(move |app, request| {
        let (facts, handler) = (table.clone(), handler.clone());
        tracked(app.clone(), facts.path, request, move |request| enter(app, facts, handler, request))
    });
    Route { facts, forms: Arc::new(Forms::of::<B, W>()), run }
}

/// The data plane's way.
async fn enter<A, B, W, F, Fut>(
    app: App,
    facts: Arc<Facts>,
    handler: F,
    request: Request<Body>,
) -> Result<Response<Body>, Error>
where
    A: Action,
    B: Incoming,
    F: Fn(App, Grant<A>, Call<B>) -> Fut,
    Fut: Future<Output = Outcome<W>> + Send,
{
    let trail = app.engine().trail();
    let (head, mut body) = Head::of(request).await;
    let headers = head.headers.clone();
    let ask = Ask {
        namespace: head.namespace(),
        request: head.request,
        trace: head.trace.clone(),
        presence: head.presence.clone(),
    };
    let mut who = None;
    let end = match app.engine().admit::<A>(head.bearer(), ask).await {
        Err(refusal) => Err(trail.refused(refusal, facts.path).await),
        Ok(grant) => {
            who = Some(grant.incarnation());
            match Call::read(&app, &facts, &grant, head, &mut body).await {
                Ok(call) => handler(app.clone(), grant, call).await,
                Err(error) => Err(trail.refuse(grant, error).await),
            }
        }
    };
    if end.is_err() {
        body::discard(&app, &headers, body);
    }
    let reply = end.map_err(engine::Audited::into_body)?;
    reply.into_response(|bytes| app.engine().hold_reply(who, bytes))
}

/// A row of the control plane.
pub(crate) fn control<B, W, F, Fut>(row: Row, roles: &'static [Role], handler: F) -> Route
where
    B: Incoming,
    W: Serialize + ToSchema + 'static,
    F: Fn(App, Operator, Call<B>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Reply<W>, Error>> + Send + 'static,
{
    let facts = row.facts(Plane::Control, Needs::Operator(roles));
    let table = facts.clone();
    let run: Run = Arc::new(move |app, request| {
        let (facts, handler) = (table.clone(), handler.clone());
        tracked(app.clone(), facts.path, request, move |request| operate(app, facts, roles, handler, request))
    });
    Route { facts, forms: Arc::new(Forms::of::<B, W>()), run }
}

/// The control plane's way.
async fn operate<B, W, F, Fut>(
    app: App,
    facts: Arc<Facts>,
    roles: &'static [Role],
    handler: F,
    request: Request<Body>,
) -> Result<Response<Body>, Error>
where
    B: Incoming,
    F: Fn(App, Operator, Call<B>) -> Fut,
    Fut: Future<Output = Result<Reply<W>, Error>> + Send,
{
    let (head, mut body) = Head::of(request).await;
    let headers = head.headers.clone();
    let end = match app.engine().gate().operator(head.bearer(), roles, head.request) {
        Err(refusal) => Err(app.engine().trail().refused(refusal, facts.path).await.into_body()),
        Ok(operator) => match Call::read(&app, &facts, &operator, head, &mut body).await {
            Ok(call) => handler(app.clone(), operator, call).await,
            Err(error) => Err(error),
        },
    };
    if end.is_err() {
        body::discard(&app, &headers, body);
    }
    end?.into_response(|bytes| app.engine().hold_reply(None, bytes))
}

/// A row that needs no credential. It gets nothing but the process's own state.
pub(crate) fn open(row: Row, handler: fn(&App) -> Result<Response<Body>, Error>) -> Route {
    let facts = row.facts(Plane::Both, Needs::Nothing);
    let path = facts.path;
    let run: Run =
        Arc::new(move |app, request| tracked(app.clone(), path, request, move |_| async move { handler(&app) }));
    Route { facts, forms: Arc::new(Forms::plain()), run }
}

/// A row of the control plane whose reply is not JSON.
pub(crate) fn page(row: Row, roles: &'static [Role], handler: fn(&App) -> Result<Response<Body>, Error>) -> Route {
    let facts = row.facts(Plane::Control, Needs::Operator(roles));
    let path = facts.path;
    let run: Run = Arc::new(move |app, request| {
        tracked(app.clone(), path, request, move |request| async move {
            let (head, _) = Head::of(request).await;
            match app.engine().gate().operator(head.bearer(), roles, head.request) {
                Err(refusal) => Err(app.engine().trail().refused(refusal, path).await.into_body()),
                Ok(_) => handler(&app),
            }
        })
    });
    Route { facts, forms: Arc::new(Forms::plain()), run }
}

impl Row {
    fn facts(self, plane: Plane, needs: Needs) -> Arc<Facts> {
        let Row { method, path, query, id, summary } = self;
        Arc::new(Facts { plane, method, path, needs, query, id, summary })
    }
}

/// Runs to the end on the tracker, which is told when the caller goes; turns an error, or a panic, into its reply.
fn tracked<F, Fut>(
    app: App,
    path: &'static str,
    mut request: Request<Body>,
    work: F,
) -> BoxFuture<'static, Response<Body>>
where
    F: FnOnce(Request<Body>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Response<Body>, Error>> + Send + 'static,
{
    let presence = Presence::default();
    let watch = presence.watch();
    request.extensions_mut().insert(presence);
    let id = *request.extensions().get::<RequestId>().expect("the router gives every request its id");
    let task = app.tracker().spawn(async move {
        match AssertUnwindSafe(work(request)).catch_unwind().await {
            Ok(Ok(response)) => response,
            Ok(Err(failure)) => fail(&failure, path, id),
            // The hook has logged where; what it said may be a customer's.
            Err(_) => fail(&uncertain(), path, id),
        }
    });
    Box::pin(async move {
        let reply = task.await.unwrap_or_else(|_| fail(&uncertain(), path, id));
        watch.answered();
        reply
    })
}

fn uncertain() -> Error {
    let mut error = Error::internal("the request ended in a fault of the server");
    error.outcome_unknown = true;
    error
}

/// Logs a fault with its causes; other errors are the caller's and stand in the audit.
fn fail(failure: &Error, path: &'static str, id: RequestId) -> Response<Body> {
    if failure.code == kernel::Code::Internal {
        tracing::error!(route = path, request = %id, cause = crate::parts::chain(failure), "a request failed");
    }
    error::response(failure, path, id)
}
