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

pub(in crate::http) async fn usage(app: App, operator: Operator, call: Call<Nothing>) -> Told<UsageList> {
    let page = app.engine().usage(&operator, call.page()?).await;
    let tenants = page.items.into_iter().map(|(id, used)| TenantUsage {
        tenant: id.as_str().to_owned(),
        requests: used.requests,
        searches: used.searches,
        documents: used.documents,
        tokens: used.tokens,
        bytes_in: used.bytes_in,
    });
    Ok(Reply::operated(&operator, UsageList { tenants: tenants.collect(), next: page.next }))
}

pub(in crate::http) async fn audit(app: App, operator: Operator, call: Call<Nothing>) -> Told<Event> {
    let (since, after) = (call.time("since")?, call.sequence("after")?);
    let page = app.engine().operator_audit(&operator, since, after, call.limit()?).await?;
    Ok(Reply::operated_lines(&operator, page))
}
