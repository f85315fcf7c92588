//! Operators: made, listed, revoked.

use crate::http::{
    App,
    call::{Call, Nothing},
    reply::Reply,
    wire::{
        admin::{self, OperatorList, OperatorMade, OperatorNew},
        common::Deleted,
    },
};
use access::Operator;
use axum::http::StatusCode;
use kernel::{Error, KeyId};

type Told<W> = Result<Reply<W>, Error>;

pub(in crate::http) async fn create(app: App, operator: Operator, call: Call<OperatorNew>) -> Told<OperatorMade> {
    let (name, role) = call.body;
    let (view, token) = app.engine().create_operator(&operator, name, role).await?;
    Ok(Reply::operated(&operator, OperatorMade::new(view, &token)).status(StatusCode::CREATED))
}

pub(in crate::http) async fn list(app: App, operator: Operator, _call: Call<Nothing>) -> Told<OperatorList> {
    let operators = app.engine().operators(&operator).into_iter().map(admin::Operator::from).collect();
    Ok(Reply::operated(&operator, OperatorList { operators, next: None }))
}

pub(in crate::http) async fn revoke(app: App, operator: Operator, call: Call<Nothing>) -> Told<Deleted> {
    let id = KeyId::parse(call.path("operator")).map_err(|_| Error::not_found())?;
    app.engine().revoke_operator(&operator, &id).await?;
    Ok(Reply::operated(&operator, Deleted { deleted: true }))
}
