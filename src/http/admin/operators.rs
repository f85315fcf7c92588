//! Handlers that create, list and revoke operators.

use super::AdminResult;
use crate::http::{
    App,
    convert::{Convert, admin::operator_made},
    reply::Reply,
    request_data::{NoBody, RequestData},
};
use access::Operator;
use api::{
    admin::{OperatorList, OperatorMade, OperatorNew},
    common::Deleted,
};
use axum::http::StatusCode;
use kernel::{Error, KeyId};

pub(in crate::http) async fn create(
    app: App,
    operator: Operator,
    request: RequestData<OperatorNew>,
) -> AdminResult<OperatorMade> {
    let (name, role) = request.body;
    let (view, token) = app.engine().create_operator(&operator, name, role).await?;
    Ok(Reply::for_operator(&operator, operator_made(view, &token)).status(StatusCode::CREATED))
}

pub(in crate::http) async fn list(
    app: App,
    operator: Operator,
    _request: RequestData<NoBody>,
) -> AdminResult<OperatorList> {
    let operators = app.engine().operators(&operator).into_iter().map(Convert::convert).collect();
    Ok(Reply::for_operator(&operator, OperatorList { operators, next: None }))
}

pub(in crate::http) async fn revoke(
    app: App,
    operator: Operator,
    request: RequestData<NoBody>,
) -> AdminResult<Deleted> {
    let id = KeyId::parse(request.path("operator")).map_err(|_| Error::not_found())?;
    app.engine().revoke_operator(&operator, &id).await?;
    Ok(Reply::for_operator(&operator, Deleted { deleted: true }))
}
