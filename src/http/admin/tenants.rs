//! Handlers that create, show, change, suspend, resume and erase tenants.

use super::{AdminResult, tenant};
use crate::http::{
    App,
    convert::Convert,
    reply::Reply,
    request_data::{NoBody, RequestData},
};
use access::Operator;
use api::{
    admin::{Tenant, TenantList, TenantNew, TenantPatch},
    common::{Accepted, Started},
};
use axum::http::StatusCode;
use kernel::{Error, NamespaceName};

pub(in crate::http) async fn create(
    app: App,
    operator: Operator,
    request: RequestData<TenantNew>,
) -> AdminResult<Tenant> {
    let view = app.engine().create_tenant(&operator, request.body).await?;
    Ok(Reply::for_operator(&operator, view.convert()).status(StatusCode::CREATED))
}

pub(in crate::http) async fn list(
    app: App,
    operator: Operator,
    request: RequestData<NoBody>,
) -> AdminResult<TenantList> {
    let page = app.engine().tenants(&operator, request.page()?).await?;
    Ok(Reply::for_operator(&operator, page.convert()))
}

pub(in crate::http) async fn get(app: App, operator: Operator, request: RequestData<NoBody>) -> AdminResult<Tenant> {
    let view = app.engine().tenant(&operator, &tenant(&request)?).await?;
    Ok(Reply::for_operator(&operator, view.convert()))
}

pub(in crate::http) async fn update(
    app: App,
    operator: Operator,
    request: RequestData<TenantPatch>,
) -> AdminResult<Tenant> {
    let id = tenant(&request)?;
    let view = app.engine().update_tenant(&operator, &id, request.body).await?;
    Ok(Reply::for_operator(&operator, view.convert()))
}

pub(in crate::http) async fn delete(
    app: App,
    operator: Operator,
    request: RequestData<NoBody>,
) -> AdminResult<Started> {
    let operation = app.engine().delete_tenant(&operator, &tenant(&request)?).await?;
    let started = Started { operation: operation.to_string() };
    Ok(Reply::for_operator(&operator, started).status(StatusCode::ACCEPTED))
}

pub(in crate::http) async fn suspend(
    app: App,
    operator: Operator,
    request: RequestData<NoBody>,
) -> AdminResult<Tenant> {
    let view = app.engine().suspend_tenant(&operator, &tenant(&request)?).await?;
    Ok(Reply::for_operator(&operator, view.convert()))
}

pub(in crate::http) async fn resume(app: App, operator: Operator, request: RequestData<NoBody>) -> AdminResult<Tenant> {
    let view = app.engine().resume_tenant(&operator, &tenant(&request)?).await?;
    Ok(Reply::for_operator(&operator, view.convert()))
}

pub(in crate::http) async fn accept_rollback(
    app: App,
    operator: Operator,
    request: RequestData<NoBody>,
) -> AdminResult<Accepted> {
    let namespace = NamespaceName::parse(request.path("ns")).map_err(|_| Error::not_found())?;
    let accepted = app.engine().accept_rollback(&operator, &tenant(&request)?, &namespace).await?;
    Ok(Reply::for_operator(&operator, Accepted { accepted }))
}
