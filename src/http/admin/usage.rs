//! Handlers of tenants' usage and of the operators' audit.

use super::AdminResult;
use crate::http::{
    App,
    reply::Reply,
    request_data::{NoBody, RequestData},
};
use access::Operator;
use api::{
    admin::{TenantUsage, UsageList},
    common::Event,
};

pub(in crate::http) async fn usage(
    app: App,
    operator: Operator,
    request: RequestData<NoBody>,
) -> AdminResult<UsageList> {
    let page = app.engine().usage(&operator, request.page()?).await;
    let tenants = page.items.into_iter().map(|(id, used)| TenantUsage {
        tenant: id.as_str().to_owned(),
        requests: used.requests,
        searches: used.searches,
        documents: used.documents,
        tokens: used.tokens,
        bytes_in: used.bytes_in,
    });
    Ok(Reply::for_operator(&operator, UsageList { tenants: tenants.collect(), next: page.next }))
}

pub(in crate::http) async fn audit(app: App, operator: Operator, request: RequestData<NoBody>) -> AdminResult<Event> {
    let (since, after) = (request.time("since")?, request.sequence("after")?);
    let page = app.engine().operator_audit(&operator, since, after, request.limit()?).await?;
    Ok(Reply::operator_records(&operator, page))
}
