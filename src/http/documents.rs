//! Handlers that store, show, list, patch, review and delete documents.

use super::{
    App,
    convert::{Convert, common, documents::shown},
    reply::{DataResult, Reply},
    request_data::{NoBody, RequestData},
};
use access::{Delete, Grant, Ingest, Patch, Read, Review as ReviewAction};
use api::{
    common::Started,
    documents::{
        DeletedDocuments, DocumentDelete, DocumentList, DocumentPage, DocumentPatch, Matched, ShownDocument,
        UpsertReply, UpsertRequest,
    },
    review::{Review, ReviewResults},
};
use axum::http::StatusCode;
use engine::Selection;
use kernel::{DocumentId, Error, json_bytes};

pub(super) async fn upsert(
    app: App,
    grant: Grant<Ingest>,
    mut request: RequestData<UpsertRequest>,
) -> DataResult<UpsertReply> {
    if request.prefers_async() {
        let operation = app.engine().ingest_in_background(grant, request.body, request.share.take()).await?;
        let started = Reply::audited(operation, |id| UpsertReply::Started(Started { operation: id.to_string() }));
        return Ok(started.status(StatusCode::ACCEPTED));
    }
    // The reply lists what was stored, so its memory is reserved before anything is stored.
    let ids = request.body.documents.iter().map(|d| d.id.as_ref().map_or(0, |id| json_bytes(id.as_str())));
    let bytes = ids.map(|id| id + RESULT_BYTES).sum();
    let memory = match app.engine().reply_permit(&grant, bytes) {
        Ok(memory) => memory,
        Err(error) => return Err(app.engine().audit_log().refuse(grant, error).await),
    };
    let reply = app.engine().ingest(grant, request.body).await?;
    Ok(Reply::audited(reply, |r| UpsertReply::Stored(r.convert())).with_permit(memory))
}

pub(super) async fn get(app: App, grant: Grant<Read>, request: RequestData<NoBody>) -> DataResult<ShownDocument> {
    let parse = || -> Result<(DocumentId, engine::Include), Error> {
        let words = request.query("include").map(|list| list.split(',').map(str::to_owned).collect::<Vec<_>>());
        let mut parts = common::include(words.as_deref(), &["text", "attributes", "vector"])?.unwrap_or_default();
        parts.attributes = true;
        Ok((request.document()?, parts))
    };
    let (id, parts) = match parse() {
        Ok(parsed) => parsed,
        Err(error) => return Err(app.engine().audit_log().refuse(grant, error).await),
    };
    let reply = app.engine().get_document(grant, id, parts).await?;
    Ok(Reply::permitted(&app, reply, |r| shown(r.document, r.include, r.quarantine)).await)
}

pub(super) async fn list(app: App, grant: Grant<Read>, request: RequestData<DocumentList>) -> DataResult<DocumentPage> {
    let page = app.engine().list_documents(grant, request.body).await?;
    Ok(Reply::permitted(&app, page, Convert::convert).await)
}

pub(super) async fn delete_one(
    app: App,
    grant: Grant<Delete>,
    request: RequestData<NoBody>,
) -> DataResult<DeletedDocuments> {
    let id = match request.document() {
        Ok(id) => id,
        Err(error) => return Err(app.engine().audit_log().refuse(grant, error).await),
    };
    let reply = app.engine().delete_documents(grant, Selection::Ids(vec![id]), false).await?;
    Ok(Reply::audited(reply, Convert::convert))
}

pub(super) async fn delete(
    app: App,
    grant: Grant<Delete>,
    request: RequestData<DocumentDelete>,
) -> DataResult<DeletedDocuments> {
    let (which, erase) = request.body;
    let reply = app.engine().delete_documents(grant, which, erase).await?;
    Ok(Reply::audited(reply, Convert::convert))
}

pub(super) async fn patch(app: App, grant: Grant<Patch>, request: RequestData<DocumentPatch>) -> DataResult<Matched> {
    let reply = app.engine().patch_documents(grant, request.body).await?;
    Ok(Reply::audited(reply, |r| Matched { matched: r.matched, commit: r.commit.convert() }))
}

pub(super) async fn review(
    app: App,
    grant: Grant<ReviewAction>,
    request: RequestData<Review>,
) -> DataResult<ReviewResults> {
    let bytes = request.body.documents.iter().map(|d| json_bytes(d.id.as_str()) + REVIEWED_BYTES).sum();
    let memory = match app.engine().reply_permit(&grant, bytes) {
        Ok(memory) => memory,
        Err(error) => return Err(app.engine().audit_log().refuse(grant, error).await),
    };
    let reply = app.engine().review(grant, request.body).await?;
    Ok(Reply::audited(reply, Convert::convert).with_permit(memory))
}

/// Size of one document's result without its id, in bytes: with some findings, or with the reason of a failure.
const RESULT_BYTES: u64 = 1_024;
/// Size of one reviewed document's result without its id, in bytes.
const REVIEWED_BYTES: u64 = 64;
