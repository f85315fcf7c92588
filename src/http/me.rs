//! What a tenant asks about itself: `GET /v1/whoami`, `/v1/operations/{id}`, `/v1/audit`.

use super::{
    App,
    call::{Call, Nothing},
    reply::{Outcome, Reply},
    wire::{common::Event, me::Whoami, operations::Operation},
};
use access::{Audit, Grant, Operations};
use engine::AuditQuery;
use kernel::{DocumentId, Error, OperationId, Principal};

pub(super) async fn whoami(app: App, grant: Grant<access::Whoami>, _call: Call<Nothing>) -> Outcome<Whoami> {
    let me = app.engine().whoami(grant).await?;
    Ok(Reply::audited(me, Whoami::from))
}

pub(super) async fn operation(app: App, grant: Grant<Operations>, call: Call<Nothing>) -> Outcome<Operation> {
    // What can be no id never was one: the same 404.
    let Ok(id) = OperationId::parse(call.path("operation")) else {
        return Err(app.engine().trail().refuse(grant, Error::not_found()).await);
    };
    let view = app.engine().operation(grant, id).await?;
    Ok(Reply::audited(view, Operation::from))
}

pub(super) async fn audit(app: App, grant: Grant<Audit>, call: Call<Nothing>) -> Outcome<Event> {
    match query(&call) {
        Err(error) => Err(app.engine().trail().refuse(grant, error).await),
        Ok(query) => {
            let page = app.engine().audit(grant, query).await?;
            Ok(Reply::audited_lines(page))
        }
    }
}

fn query(call: &Call<Nothing>) -> Result<AuditQuery, Error> {
    Ok(AuditQuery {
        since: call.time("since")?,
        until: call.time("until")?,
        document: call.query("document").map(DocumentId::parse).transpose().map_err(|e| e.with_param("document"))?,
        principal: call.query("principal").map(Principal::parse).transpose()?,
        after: call.sequence("after")?,
        limit: call.limit()?,
    })
}
