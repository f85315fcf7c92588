//! A tenant's API keys, and the keys that its data is sealed under.

use super::tenant;
use crate::http::{
    App,
    call::{Call, Nothing},
    reply::Reply,
    wire::{
        admin::{ApiKeyList, ApiKeyMade, ApiKeyNew},
        common::Deleted,
        keys::{
            Certificate, CertificateList, Keys, Rotate, RotateAll, RotateServer, Rotating, RotatingAll, ServerKeys,
            SigningKey,
        },
    },
};
use access::Operator;
use axum::http::StatusCode;
use kernel::{Error, KeyId, TenantId};

type Told<W> = Result<Reply<W>, Error>;

pub(in crate::http) async fn create(app: App, operator: Operator, call: Call<ApiKeyNew>) -> Told<ApiKeyMade> {
    let id = tenant(&call)?;
    let (view, secret) = app.engine().create_api_key(&operator, &id, call.body).await?;
    Ok(Reply::operated(&operator, ApiKeyMade::new(view, &secret)).status(StatusCode::CREATED))
}

pub(in crate::http) async fn list(app: App, operator: Operator, call: Call<Nothing>) -> Told<ApiKeyList> {
    let page = app.engine().api_keys(&operator, &tenant(&call)?, call.page()?).await?;
    Ok(Reply::operated(&operator, ApiKeyList::from(page)))
}

pub(in crate::http) async fn revoke(app: App, operator: Operator, call: Call<Nothing>) -> Told<Deleted> {
    let key = KeyId::parse(call.path("key")).map_err(|_| Error::not_found())?;
    app.engine().revoke_api_key(&operator, &tenant(&call)?, &key).await?;
    Ok(Reply::operated(&operator, Deleted { deleted: true }))
}

pub(in crate::http) async fn rotate(app: App, operator: Operator, call: Call<Rotate>) -> Told<Rotating> {
    let id = tenant(&call)?;
    let (mode, key) = call.body;
    let (operation, epoch) = app.engine().rotate_keys(&operator, &id, mode, key).await?;
    let rotating = Rotating { operation: operation.to_string(), epoch: epoch.0 };
    Ok(Reply::operated(&operator, rotating).status(StatusCode::ACCEPTED))
}

pub(in crate::http) async fn rotate_all(app: App, operator: Operator, call: Call<RotateAll>) -> Told<RotatingAll> {
    let (reencrypt, concurrency) = call.body;
    let campaign = app.engine().rotate_all(&operator, reencrypt, concurrency).await?;
    Ok(Reply::operated(&operator, RotatingAll::from(campaign)).status(StatusCode::ACCEPTED))
}

pub(in crate::http) async fn rotating_all(app: App, operator: Operator, _call: Call<Nothing>) -> Told<RotatingAll> {
    let campaign = app.engine().rotating_all(&operator).ok_or_else(Error::not_found)?;
    Ok(Reply::operated(&operator, RotatingAll::from(campaign)))
}

pub(in crate::http) async fn stop_rotating_all(app: App, operator: Operator, _call: Call<Nothing>) -> Told<Deleted> {
    app.engine().stop_rotating_all(&operator).await?;
    Ok(Reply::operated(&operator, Deleted { deleted: true }))
}

pub(in crate::http) async fn rotate_server(
    app: App,
    operator: Operator,
    call: Call<RotateServer>,
) -> Told<Certificate> {
    let (reencrypt, key) = call.body;
    let certificate = app.engine().rotate_server_keys(&operator, &key.unwrap_or_default(), reencrypt).await?;
    Ok(Reply::operated(&operator, Certificate::from(certificate)))
}

pub(in crate::http) async fn server(app: App, operator: Operator, _call: Call<Nothing>) -> Told<ServerKeys> {
    Ok(Reply::operated(&operator, ServerKeys::from(app.engine().server_keys(&operator))))
}

pub(in crate::http) async fn certificates(app: App, operator: Operator, call: Call<Nothing>) -> Told<CertificateList> {
    let tenant = call.query("tenant").map(TenantId::parse).transpose().map_err(|e| e.with_param("tenant"))?;
    let certificates = app.engine().certificates(&operator, tenant.as_ref()).into_iter().map(Certificate::from);
    Ok(Reply::operated(&operator, CertificateList { certificates: certificates.collect(), next: None }))
}

pub(in crate::http) async fn signing_key(app: App, operator: Operator, _call: Call<Nothing>) -> Told<SigningKey> {
    Ok(Reply::operated(&operator, SigningKey { key: app.engine().signing_key() }))
}

pub(in crate::http) async fn status(app: App, operator: Operator, call: Call<Nothing>) -> Told<Keys> {
    let status = app.engine().key_status(&operator, &tenant(&call)?).await?;
    Ok(Reply::operated(&operator, Keys::from(status)))
}
