//! Handlers that list, show and cancel the operations of all tenants.

use super::AdminResult;
use crate::http::{
    App,
    convert::Convert,
    reply::Reply,
    request_data::{NoBody, RequestData},
};
use access::Operator;
use api::operations::{Operation, OperationList};
use kernel::{Error, OperationId};

pub(in crate::http) async fn list(
    app: App,
    operator: Operator,
    request: RequestData<NoBody>,
) -> AdminResult<OperationList> {
    let page = app.engine().operations(&operator, request.page()?)?;
    Ok(Reply::for_operator(&operator, page.convert()))
}

pub(in crate::http) async fn get(app: App, operator: Operator, request: RequestData<NoBody>) -> AdminResult<Operation> {
    let view = app.engine().operation_for(&operator, id(&request)?)?;
    Ok(Reply::for_operator(&operator, view.convert()))
}

pub(in crate::http) async fn cancel(
    app: App,
    operator: Operator,
    request: RequestData<NoBody>,
) -> AdminResult<Operation> {
    let view = app.engine().cancel_operation(&operator, id(&request)?).await?;
    Ok(Reply::for_operator(&operator, view.convert()))
}

fn id(request: &RequestData<NoBody>) -> Result<OperationId, Error> {
    OperationId::parse(request.path("operation")).map_err(|_| Error::not_found())
}
