//! Operations of all tenants: listed, shown, cancelled.

use crate::http::{
    App,
    call::{Call, Nothing},
    reply::Reply,
    wire::operations::{Operation, OperationList},
};
use access::Operator;
use kernel::{Error, OperationId};

type Told<W> = Result<Reply<W>, Error>;

pub(in crate::http) async fn list(app: App, operator: Operator, call: Call<Nothing>) -> Told<OperationList> {
    let page = app.engine().operations(&operator, call.page()?)?;
    Ok(Reply::operated(&operator, OperationList::from(page)))
}

pub(in crate::http) async fn get(app: App, operator: Operator, call: Call<Nothing>) -> Told<Operation> {
    let view = app.engine().operation_for(&operator, id(&call)?)?;
    Ok(Reply::operated(&operator, Operation::from(view)))
}

pub(in crate::http) async fn cancel(app: App, operator: Operator, call: Call<Nothing>) -> Told<Operation> {
    let view = app.engine().cancel_operation(&operator, id(&call)?).await?;
    Ok(Reply::operated(&operator, Operation::from(view)))
}

fn id(call: &Call<Nothing>) -> Result<OperationId, Error> {
    OperationId::parse(call.path("operation")).map_err(|_| Error::not_found())
}
