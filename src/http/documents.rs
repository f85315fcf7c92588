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
use kernel::{DocumentId, Error, json_bytes};

pub(super) async fn upsert(app: App, grant: Grant<Ingest>, mut call: Call<Upsert>) -> Outcome<UpsertReply> {
    if call.prefers_async() {
        let operation = app.engine().ingest_later(grant, call.body, call.share.take()).await?;
        let started = Reply::audited(operation, |id| UpsertReply::Started(Started { operation: id.to_string() }));
        return Ok(started.status(StatusCode::ACCEPTED));
    }
    // What is stored is answered: the memory for that is had before.
    let ids = call.body.documents.iter().map(|d| d.id.as_ref().map_or(0, |id| json_bytes(id.as_str())));
    let bytes = ids.map(|id| id + RESULT_BYTES).sum();
    let memory = match app.engine().reply_permit(&grant, bytes) {
        Ok(memory) => memory,
        Err(error) => return Err(app.engine().trail().refuse(grant, error).await),
    };
    let reply = app.engine().ingest(grant, call.body).await?;
    Ok(Reply::audited(reply, |r| UpsertReply::Stored(Stored::from(r))).holding(memory))
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
    Ok(Reply::permitted(&app, reply, |r| Document::new(r.document, r.include, r.quarantine)).await)
}

pub(super) async fn list(app: App, grant: Grant<Read>, call: Call<DocumentList>) -> Outcome<DocumentPage> {
    let page = app.engine().list_documents(grant, call.body).await?;
    Ok(Reply::permitted(&app, page, DocumentPage::from).await)
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
    let bytes = call.body.documents.iter().map(|d| json_bytes(d.id.as_str()) + REVIEWED_BYTES).sum();
    let memory = match app.engine().reply_permit(&grant, bytes) {
        Ok(memory) => memory,
        Err(error) => return Err(app.engine().trail().refuse(grant, error).await),
    };
    let reply = app.engine().review(grant, call.body).await?;
    Ok(Reply::audited(reply, ReviewResults::from).holding(memory))
}

/// Of one document's result beside its id, bytes: with some findings, or the reason why it failed.
const RESULT_BYTES: u64 = 1_024;
/// Of one reviewed document beside its id, bytes.
const REVIEWED_BYTES: u64 = 64;
