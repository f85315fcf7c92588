//! Handlers of `POST …/search`, `POST …/context` and `POST …/recall`.

use super::{
    App,
    reply::{DataResult, Reply},
    request_data::RequestData,
    wire::{
        recall::{Recall, RecallReply},
        search::{Context, ContextReply, Search, SearchReply},
    },
};
use access::Grant;

pub(super) async fn search(
    app: App,
    grant: Grant<access::Search>,
    request: RequestData<Search>,
) -> DataResult<SearchReply> {
    let found = app.engine().search(grant, request.body).await?;
    Ok(Reply::permitted(&app, found, SearchReply::from).await)
}

pub(super) async fn context(
    app: App,
    grant: Grant<access::Search>,
    request: RequestData<Context>,
) -> DataResult<ContextReply> {
    let found = app.engine().context(grant, request.body).await?;
    Ok(Reply::permitted(&app, found, ContextReply::from).await)
}

pub(super) async fn recall(
    app: App,
    grant: Grant<access::Search>,
    request: RequestData<Recall>,
) -> DataResult<RecallReply> {
    let measured = app.engine().recall(grant, request.body).await?;
    Ok(Reply::audited(measured, RecallReply::from))
}
