//! Tenants: made, shown, changed, suspended, resumed, erased.

use super::tenant;
use crate::http::{
    App,
    call::{Call, Nothing},
    reply::Reply,
    wire::{
        admin::{Tenant, TenantList, TenantNew, TenantPatch},
        common::{Accepted, Started},
    },
};
use access::Operator;
use axum::http::StatusCode;
use kernel::{Error, NamespaceName};

type Told<W> = Result<Reply<W>, Error>;

pub(in crate::http) async fn create(app: App, operator: Operator, call: Call<TenantNew>) -> Told<Tenant> {
    let view = app.engine().create_tenant(&operator, call.body).await?;
    Ok(Reply::operated(&operator, Tenant::from(view)).status(StatusCode::CREATED))
}

pub(in crate::http) async fn list(app: App, operator: Operator, call: Call<Nothing>) -> Told<TenantList> {
    let page = app.engine().tenants(&operator, call.page()?).await?;
    Ok(Reply::operated(&operator, TenantList::from(page)))
}

pub(in crate::http) async fn get(app: App, operator: Operator, call: Call<Nothing>) -> Told<Tenant> {
    let view = app.engine().tenant(&operator, &tenant(&call)?).await?;
    Ok(Reply::operated(&operator, Tenant::from(view)))
}

pub(in crate::http) async fn update(app: App, operator: Operator, call: Call<TenantPatch>) -> Told<Tenant> {
    let id = tenant(&call)?;
    let view = app.engine().update_tenant(&operator, &id, call.body).await?;
    Ok(Reply::operated(&operator, Tenant::from(view)))
}

pub(in crate::http) async fn delete(app: App, operator: Operator, call: Call<Nothing>) -> Told<Started> {
    let operation = app.engine().delete_tenant(&operator, &tenant(&call)?).await?;
    let started = Started { operation: operation.to_string() };
    Ok(Reply::operated(&operator, started).status(StatusCode::ACCEPTED))
}

pub(in crate::http) async fn suspend(app: App, operator: Operator, call: Call<Nothing>) -> Told<Tenant> {
    let view = app.engine().suspend_tenant(&operator, &tenant(&call)?).await?;
    Ok(Reply::operated(&operator, Tenant::from(view)))
}

pub(in crate::http) async fn resume(app: App, operator: Operator, call: Call<Nothing>) -> Told<Tenant> {
    let view = app.engine().resume_tenant(&operator, &tenant(&call)?).await?;
    Ok(Reply::operated(&operator, Tenant::from(view)))
}

pub(in crate::http) async fn accept_rollback(app: App, operator: Operator, call: Call<Nothing>) -> Told<Accepted> {
    let namespace = NamespaceName::parse(call.path("ns")).map_err(|_| Error::not_found())?;
    let accepted = app.engine().accept_rollback(&operator, &tenant(&call)?, &namespace).await?;
    Ok(Reply::operated(&operator, Accepted { accepted }))
}
