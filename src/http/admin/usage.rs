//! What tenants used and what operators did.

use crate::http::{
    App,
    call::{Call, Nothing},
    reply::Reply,
    wire::{
        admin::{TenantUsage, UsageList},
        common::Event,
    },
};
use access::Operator;
use kernel::Error;

type Told<W> = Result<Reply<W>, Error>;

pub(in crate::http) async fn usage(app: App, operator: Operator, _call: Call<Nothing>) -> Told<UsageList> {
    let tenants = app.engine().usage(&operator).await.into_iter().map(|(id, used)| TenantUsage {
        tenant: id.as_str().to_owned(),
        requests: used.requests,
        searches: used.searches,
        documents: used.documents,
        tokens: used.tokens,
        bytes_in: used.bytes_in,
    });
    Ok(Reply::operated(&operator, UsageList { tenants: tenants.collect() }))
}

pub(in crate::http) async fn audit(app: App, operator: Operator, call: Call<Nothing>) -> Told<Event> {
    let lines = app.engine().operator_audit(&operator, call.time("since")?, call.limit()?).await?;
    Ok(Reply::operated_lines(&operator, lines.into_iter().map(Event)))
}
