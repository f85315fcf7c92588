//! Handlers of namespaces: `PUT GET DELETE /v1/namespaces/{ns}`, `GET /v1/namespaces`.

use super::{
    App,
    convert::Convert,
    reply::{DataResult, Reply},
    request_data::{NoBody, RequestData},
};
use access::{Browse, Grant, Manage};
use api::{
    common::Deleted,
    namespaces::{NamespaceInfo, NamespaceList, NamespacePut},
};

pub(super) async fn put(
    app: App,
    grant: Grant<Manage>,
    request: RequestData<NamespacePut>,
) -> DataResult<NamespaceInfo> {
    let view = app.engine().put_namespace(grant, request.body).await?;
    Ok(Reply::audited(view, Convert::convert))
}

pub(super) async fn get(app: App, grant: Grant<Browse>, _request: RequestData<NoBody>) -> DataResult<NamespaceInfo> {
    let view = app.engine().get_namespace(grant).await?;
    Ok(Reply::audited(view, Convert::convert))
}

pub(super) async fn list(app: App, grant: Grant<Browse>, request: RequestData<NoBody>) -> DataResult<NamespaceList> {
    let page = match request.page() {
        Ok(page) => page,
        Err(error) => return Err(app.engine().audit_log().refuse(grant, error).await),
    };
    let list = app.engine().list_namespaces(grant, page).await?;
    Ok(Reply::audited(list, Convert::convert))
}

pub(super) async fn delete(app: App, grant: Grant<Manage>, _request: RequestData<NoBody>) -> DataResult<Deleted> {
    let deleted = app.engine().delete_namespace(grant).await?;
    Ok(Reply::audited(deleted, |_| Deleted { deleted: true }))
}
