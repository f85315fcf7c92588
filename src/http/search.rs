//! `POST …/search`, `POST …/context` and `POST …/recall`.

use super::{
    App,
    call::Call,
    reply::{Outcome, Reply},
    wire::{
        recall::{Recall, RecallReply},
        search::{Context, ContextReply, Search, SearchReply},
    },
};
use access::Grant;

pub(super) async fn search(app: App, grant: Grant<access::Search>, call: Call<Search>) -> Outcome<SearchReply> {
    let found = app.engine().search(grant, call.body).await?;
    Ok(Reply::permitted(&app, found, SearchReply::from).await)
}

pub(super) async fn context(app: App, grant: Grant<access::Search>, call: Call<Context>) -> Outcome<ContextReply> {
    let found = app.engine().context(grant, call.body).await?;
    Ok(Reply::permitted(&app, found, ContextReply::from).await)
}

pub(super) async fn recall(app: App, grant: Grant<access::Search>, call: Call<Recall>) -> Outcome<RecallReply> {
    let measured = app.engine().recall(grant, call.body).await?;
    Ok(Reply::audited(measured, RecallReply::from))
}
