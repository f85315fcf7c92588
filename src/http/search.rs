//! Handlers of `POST …/search`, `POST …/context` and `POST …/recall`.

use super::{
    App,
    convert::Convert,
    reply::{DataResult, Reply},
    request_data::RequestData,
};
use access::Grant;
use api::{
    context::{Context, RenderedContext},
    recall::{Recall, RecallResults},
    search::{Search, SearchResults},
};

pub(super) async fn search(
    app: App,
    grant: Grant<access::Search>,
    request: RequestData<Search>,
) -> DataResult<SearchResults> {
    let found = app.engine().search(grant, request.body).await?;
    Ok(Reply::permitted(&app, found, Convert::convert).await)
}

pub(super) async fn context(
    app: App,
    grant: Grant<access::Search>,
    request: RequestData<Context>,
) -> DataResult<RenderedContext> {
    let found = app.engine().context(grant, request.body).await?;
    Ok(Reply::permitted(&app, found, Convert::convert).await)
}

pub(super) async fn recall(
    app: App,
    grant: Grant<access::Search>,
    request: RequestData<Recall>,
) -> DataResult<RecallResults> {
    let measured = app.engine().recall(grant, request.body).await?;
    Ok(Reply::audited(measured, Convert::convert))
}
