//! Information about the caller's own tenant: `GET /v1/whoami`, `/v1/operations/{id}`, `/v1/audit`.

use super::{
    App,
    convert::Convert,
    reply::{DataResult, Reply},
    request_data::{NoBody, RequestData},
};
use access::{Audit, Grant, Operations};
use api::{account::Whoami, common::Event, operations::Operation};
use engine::AuditQuery;
use kernel::{DocumentId, Error, OperationId, Principal};

pub(super) async fn whoami(
    app: App,
    grant: Grant<access::Whoami>,
    _request: RequestData<NoBody>,
) -> DataResult<Whoami> {
    let account = app.engine().whoami(grant).await?;
    Ok(Reply::audited(account, Convert::convert))
}

pub(super) async fn operation(
    app: App,
    grant: Grant<Operations>,
    request: RequestData<NoBody>,
) -> DataResult<Operation> {
    // A text that cannot be an id gets the same 404 as an unknown operation.
    let Ok(id) = OperationId::parse(request.path("operation")) else {
        return Err(app.engine().audit_log().refuse(grant, Error::not_found()).await);
    };
    let view = app.engine().operation(grant, id).await?;
    Ok(Reply::audited(view, Convert::convert))
}

pub(super) async fn audit(app: App, grant: Grant<Audit>, request: RequestData<NoBody>) -> DataResult<Event> {
    match query(&request) {
        Err(error) => Err(app.engine().audit_log().refuse(grant, error).await),
        Ok(query) => {
            let page = app.engine().audit(grant, query).await?;
            Ok(Reply::audited_records(page))
        }
    }
}

fn query(request: &RequestData<NoBody>) -> Result<AuditQuery, Error> {
    Ok(AuditQuery {
        since: request.time("since")?,
        until: request.time("until")?,
        document: request.query("document").map(DocumentId::parse).transpose().map_err(|e| e.with_param("document"))?,
        principal: request.query("principal").map(Principal::parse).transpose()?,
        after: request.sequence("after")?,
        limit: request.limit()?,
    })
}
