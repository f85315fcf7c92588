//! Handlers of tenants' API keys, and of the keys that encrypt data.

use super::{AdminResult, tenant};
use crate::http::{
    App,
    convert::{Convert, admin::api_key_made},
    reply::Reply,
    request_data::{NoBody, RequestData},
};
use access::Operator;
use api::{
    admin::{ApiKeyList, ApiKeyMade, ApiKeyNew},
    common::Deleted,
    keys::{
        CertificateList, Keys, Rotate, RotateAll, RotateServer, Rotating, RotatingAll, ServerKeyStatus,
        SignedCertificate, SigningKey,
    },
};
use axum::http::StatusCode;
use kernel::{Error, KeyId, TenantId};

pub(in crate::http) async fn create(
    app: App,
    operator: Operator,
    request: RequestData<ApiKeyNew>,
) -> AdminResult<ApiKeyMade> {
    let id = tenant(&request)?;
    let (view, secret) = app.engine().create_api_key(&operator, &id, request.body).await?;
    Ok(Reply::for_operator(&operator, api_key_made(view, &secret)).status(StatusCode::CREATED))
}

pub(in crate::http) async fn list(
    app: App,
    operator: Operator,
    request: RequestData<NoBody>,
) -> AdminResult<ApiKeyList> {
    let page = app.engine().api_keys(&operator, &tenant(&request)?, request.page()?).await?;
    Ok(Reply::for_operator(&operator, page.convert()))
}

pub(in crate::http) async fn revoke(
    app: App,
    operator: Operator,
    request: RequestData<NoBody>,
) -> AdminResult<Deleted> {
    let key = KeyId::parse(request.path("key")).map_err(|_| Error::not_found())?;
    app.engine().revoke_api_key(&operator, &tenant(&request)?, &key).await?;
    Ok(Reply::for_operator(&operator, Deleted { deleted: true }))
}

pub(in crate::http) async fn rotate(
    app: App,
    operator: Operator,
    request: RequestData<Rotate>,
) -> AdminResult<Rotating> {
    let id = tenant(&request)?;
    let (mode, key) = request.body;
    let (operation, epoch) = app.engine().rotate_keys(&operator, &id, mode, key).await?;
    let rotating = Rotating { operation: operation.to_string(), epoch: epoch.0 };
    Ok(Reply::for_operator(&operator, rotating).status(StatusCode::ACCEPTED))
}

pub(in crate::http) async fn rotate_all(
    app: App,
    operator: Operator,
    request: RequestData<RotateAll>,
) -> AdminResult<RotatingAll> {
    let (reencrypt, concurrency) = request.body;
    let bulk_rotation = app.engine().start_bulk_rotation(&operator, reencrypt, concurrency).await?;
    Ok(Reply::for_operator(&operator, bulk_rotation.convert()).status(StatusCode::ACCEPTED))
}

pub(in crate::http) async fn rotating_all(
    app: App,
    operator: Operator,
    _request: RequestData<NoBody>,
) -> AdminResult<RotatingAll> {
    let bulk_rotation = app.engine().bulk_rotation(&operator).ok_or_else(Error::not_found)?;
    Ok(Reply::for_operator(&operator, bulk_rotation.convert()))
}

pub(in crate::http) async fn stop_rotating_all(
    app: App,
    operator: Operator,
    _request: RequestData<NoBody>,
) -> AdminResult<Deleted> {
    app.engine().stop_bulk_rotation(&operator).await?;
    Ok(Reply::for_operator(&operator, Deleted { deleted: true }))
}

pub(in crate::http) async fn rotate_server(
    app: App,
    operator: Operator,
    request: RequestData<RotateServer>,
) -> AdminResult<SignedCertificate> {
    let (reencrypt, key) = request.body;
    let certificate = app.engine().rotate_server_keys(&operator, &key.unwrap_or_default(), reencrypt).await?;
    Ok(Reply::for_operator(&operator, certificate.convert()))
}

pub(in crate::http) async fn server(
    app: App,
    operator: Operator,
    _request: RequestData<NoBody>,
) -> AdminResult<ServerKeyStatus> {
    Ok(Reply::for_operator(&operator, app.engine().server_keys(&operator).convert()))
}

pub(in crate::http) async fn certificates(
    app: App,
    operator: Operator,
    request: RequestData<NoBody>,
) -> AdminResult<CertificateList> {
    let tenant = request.query("tenant").map(TenantId::parse).transpose().map_err(|e| e.with_param("tenant"))?;
    let certificates = app.engine().certificates(&operator, tenant.as_ref()).into_iter().map(Convert::convert);
    Ok(Reply::for_operator(&operator, CertificateList { certificates: certificates.collect(), next: None }))
}

pub(in crate::http) async fn signing_key(
    app: App,
    operator: Operator,
    _request: RequestData<NoBody>,
) -> AdminResult<SigningKey> {
    Ok(Reply::for_operator(&operator, SigningKey { key: app.engine().signing_key() }))
}

pub(in crate::http) async fn status(app: App, operator: Operator, request: RequestData<NoBody>) -> AdminResult<Keys> {
    let status = app.engine().key_status(&operator, &tenant(&request)?).await?;
    Ok(Reply::for_operator(&operator, status.convert()))
}
