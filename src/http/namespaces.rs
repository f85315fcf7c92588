//! Namespaces: `PUT GET DELETE /v1/namespaces/{ns}`, `GET /v1/namespaces`.

use super::{
    App,
    call::{Call, Nothing},
    reply::{Outcome, Reply},
    wire::{
        common::Deleted,
        namespaces::{Namespace, NamespaceList, NamespacePut},
    },
};
use access::{Browse, Grant, Manage};

pub(super) async fn put(app: App, grant: Grant<Manage>, call: Call<NamespacePut>) -> Outcome<Namespace> {
    let view = app.engine().put_namespace(grant, call.body).await?;
    Ok(Reply::audited(view, Namespace::from))
}

pub(super) async fn get(app: App, grant: Grant<Browse>, _call: Call<Nothing>) -> Outcome<Namespace> {
    let view = app.engine().get_namespace(grant).await?;
    Ok(Reply::audited(view, Namespace::from))
}

pub(super) async fn list(app: App, grant: Grant<Browse>, call: Call<Nothing>) -> Outcome<NamespaceList> {
    let page = match call.page() {
        Ok(page) => page,
        Err(error) => return Err(app.engine().trail().refuse(grant, error).await),
    };
    let list = app.engine().list_namespaces(grant, page).await?;
    Ok(Reply::audited(list, NamespaceList::from))
}

pub(super) async fn delete(app: App, grant: Grant<Manage>, _call: Call<Nothing>) -> Outcome<Deleted> {
    let gone = app.engine().delete_namespace(grant).await?;
    Ok(Reply::audited(gone, |_| Deleted { deleted: true }))
}
