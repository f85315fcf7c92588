//! Documents: stored, shown, listed, changed, reviewed, deleted.

use super::{
    App,
    call::{Call, Nothing},
    reply::{Outcome, Reply},
    wire::{
        common::{Commit, Started, include},
        documents::{
            Counted, Document, DocumentDelete, DocumentList, DocumentPage, DocumentPatch, Matched, Stored, Upsert,
            UpsertReply,
        },
        review::{Review, ReviewResults},
    },
};
use access::{Delete, Grant, Ingest, Patch, Read, Review as ReviewAction};
use axum::http::StatusCode;
use engine::Selection;
use kernel::{DocumentId, Error};

pub(super) async fn upsert(app: App, grant: Grant<Ingest>, call: Call<Upsert>) -> Outcome<UpsertReply> {
    if call.prefers_async() {
        let operation = app.engine().ingest_later(grant, call.body).await?;
        let started = Reply::audited(operation, |id| UpsertReply::Started(Started { operation: id.to_string() }));
        return Ok(started.status(StatusCode::ACCEPTED));
    }
    let reply = app.engine().ingest(grant, call.body).await?;
    Ok(Reply::audited(reply, |r| UpsertReply::Stored(Stored::from(r))))
}

pub(super) async fn get(app: App, grant: Grant<Read>, call: Call<Nothing>) -> Outcome<Document> {
    let ask = || -> Result<(DocumentId, engine::Include), Error> {
        let words = call.query("include").map(|list| list.split(',').map(str::to_owned).collect::<Vec<_>>());
        let mut shown = include(words.as_deref(), &["text", "attributes", "vector"])?.unwrap_or_default();
        shown.attributes = true;
        Ok((call.document()?, shown))
    };
    let (id, shown) = match ask() {
        Ok(ask) => ask,
        Err(error) => return Err(app.engine().trail().refuse(grant, error).await),
    };
    let reply = app.engine().get_document(grant, id, shown).await?;
    Ok(Reply::audited(reply, |r| Document::new(r.document, r.include, r.quarantine)))
}

pub(super) async fn list(app: App, grant: Grant<Read>, call: Call<DocumentList>) -> Outcome<DocumentPage> {
    let page = app.engine().list_documents(grant, call.body).await?;
    Ok(Reply::audited(page, DocumentPage::from))
}

pub(super) async fn delete_one(app: App, grant: Grant<Delete>, call: Call<Nothing>) -> Outcome<Counted> {
    let id = match call.document() {
        Ok(id) => id,
        Err(error) => return Err(app.engine().trail().refuse(grant, error).await),
    };
    let reply = app.engine().delete_documents(grant, Selection::Ids(vec![id]), false).await?;
    Ok(Reply::audited(reply, Counted::from))
}

pub(super) async fn delete(app: App, grant: Grant<Delete>, call: Call<DocumentDelete>) -> Outcome<Counted> {
    let (which, erase) = call.body;
    let reply = app.engine().delete_documents(grant, which, erase).await?;
    Ok(Reply::audited(reply, Counted::from))
}

pub(super) async fn patch(app: App, grant: Grant<Patch>, call: Call<DocumentPatch>) -> Outcome<Matched> {
    let reply = app.engine().patch_documents(grant, call.body).await?;
    Ok(Reply::audited(reply, |r| Matched { matched: r.matched, commit: Commit::from(r.commit) }))
}

pub(super) async fn review(app: App, grant: Grant<ReviewAction>, call: Call<Review>) -> Outcome<ReviewResults> {
    let reply = app.engine().review(grant, call.body).await?;
    Ok(Reply::audited(reply, ReviewResults::from))
}
