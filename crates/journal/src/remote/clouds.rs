//! The three clients, each told everything: nothing is read from the process's environment here.

use super::{Backend, Credentials, RemoteError, RemoteOptions, RemoteUrl};
use object_store::{BackoffConfig, Certificate, ClientOptions, ObjectStore, RetryConfig};
use std::sync::Arc;

type Made = Result<Arc<dyn ObjectStore>, RemoteError>;

#[cfg(feature = "s3")]
pub(super) fn s3(url: &RemoteUrl, options: &RemoteOptions) -> Made {
    use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
    only_elsewhere("account", options.account.is_some(), "is Azure's; leave it out for S3")?;
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(url.bucket())
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_virtual_hosted_style_request(options.virtual_hosted)
        .with_retry(retry(options))
        .with_client_options(client(options)?);
    if let Some(region) = &options.region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = endpoint(options)? {
        builder = builder.with_endpoint(if options.virtual_hosted { hosted(endpoint, url) } else { endpoint.into() });
    }
    builder = match &options.credentials {
        Credentials::Key { id, secret, token } => {
            needed("access_key_id", !id.is_empty(), "is missing: S3 signs with a key's id and its secret")?;
            let builder = builder.with_access_key_id(id).with_secret_access_key(secret.as_str());
            token.iter().fold(builder, |b, t| b.with_token(t.as_str()))
        }
        Credentials::Role(pairs) => pairs.iter().fold(builder, |b, (name, value)| match name.to_lowercase().parse() {
            Ok(key) if name.starts_with("AWS_") => b.with_config(key, value.as_str()),
            _ => b,
        }),
        Credentials::Anonymous => builder.with_skip_signature(true),
    };
    built(url, builder.build())
}

#[cfg(feature = "gcs")]
pub(super) fn gcs(url: &RemoteUrl, options: &RemoteOptions) -> Made {
    use object_store::gcp::GoogleCloudStorageBuilder;
    only_elsewhere("account", options.account.is_some(), "is Azure's; leave it out for Google")?;
    only_elsewhere("region", options.region.is_some(), "is S3's; leave it out for Google")?;
    only_elsewhere("virtual_hosted", options.virtual_hosted, "is S3's; leave it out for Google")?;
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(url.bucket())
        .with_retry(retry(options))
        .with_client_options(client(options)?);
    if let Some(endpoint) = endpoint(options)? {
        builder = builder.with_base_url(endpoint);
    }
    builder = match &options.credentials {
        Credentials::Key { secret, .. } => builder.with_service_account_key(secret.as_str()),
        Credentials::Role(pairs) => {
            let path = pairs.iter().find(|(name, _)| name == "GOOGLE_APPLICATION_CREDENTIALS");
            path.into_iter().fold(builder, |b, (_, path)| b.with_application_credentials(path.as_str()))
        }
        Credentials::Anonymous => builder.with_skip_signature(true),
    };
    built(url, builder.build())
}

#[cfg(feature = "azure")]
pub(super) fn azure(url: &RemoteUrl, options: &RemoteOptions) -> Made {
    use object_store::azure::MicrosoftAzureBuilder;
    only_elsewhere("region", options.region.is_some(), "is S3's; leave it out for Azure")?;
    only_elsewhere("virtual_hosted", options.virtual_hosted, "is S3's; leave it out for Azure")?;
    let account = options.account.as_deref().unwrap_or_default();
    needed("account", !account.is_empty(), "is missing: Azure wants the storage account's name")?;
    let mut builder = MicrosoftAzureBuilder::new()
        .with_account(account)
        .with_container_name(url.bucket())
        .with_retry(retry(options))
        .with_client_options(client(options)?);
    if let Some(endpoint) = endpoint(options)? {
        builder = builder.with_endpoint(endpoint.to_owned());
    }
    builder = match &options.credentials {
        Credentials::Key { secret, .. } => builder.with_access_key(secret.as_str()),
        Credentials::Role(pairs) => pairs.iter().fold(builder, |b, (name, value)| match name.to_lowercase().parse() {
            Ok(key) if name.starts_with("AZURE_") => b.with_config(key, value.as_str()),
            _ => b,
        }),
        Credentials::Anonymous => builder.with_skip_signature(true),
    };
    built(url, builder.build())
}

fn built<S: ObjectStore>(url: &RemoteUrl, made: object_store::Result<S>) -> Made {
    let backend: Backend = url.backend();
    let store = made.map_err(|source| RemoteError::Refused { backend, source })?;
    Ok(Arc::new(store))
}

fn retry(options: &RemoteOptions) -> RetryConfig {
    let written = options.retry;
    // The library draws a wait between the first and twice the last: an empty range would stop it.
    let least = std::time::Duration::from_millis(1);
    let backoff = BackoffConfig {
        init_backoff: written.backoff_first.max(least),
        max_backoff: written.backoff_max.max(least),
        base: 2.0,
    };
    RetryConfig { backoff, max_retries: written.retries_max, retry_timeout: written.timeout }
}

fn client(options: &RemoteOptions) -> Result<ClientOptions, RemoteError> {
    let mut client = ClientOptions::new()
        .with_allow_http(options.allow_http)
        .with_timeout(options.request_timeout)
        .with_connect_timeout(options.connect_timeout);
    if let Some(path) = &options.ca_certificates {
        let file = |source| RemoteError::File { option: "ca_certificates", path: path.clone(), source };
        let pem = std::fs::read(path).map_err(|e| file(e.into()))?;
        let authorities = Certificate::from_pem_bundle(&pem).map_err(|e| file(e.into()))?;
        if authorities.is_empty() {
            return Err(file("it holds no certificate".into()));
        }
        client = authorities.into_iter().fold(client, ClientOptions::with_root_certificate);
    }
    Ok(client)
}

/// The endpoint, if one is named and may be used.
fn endpoint(options: &RemoteOptions) -> Result<Option<&str>, RemoteError> {
    let Some(endpoint) = options.endpoint.as_deref() else { return Ok(None) };
    let wrong = |reason| Err(RemoteError::Option { option: "endpoint", reason });
    let Some((scheme, host)) = endpoint.split_once("://") else {
        return wrong("must be a URL such as https://s3.example.com");
    };
    if host.is_empty() || host.contains(['@', '?', '#', ' ']) {
        return wrong("must be a host, a port if need be, and no credentials: https://s3.example.com:9000");
    }
    match scheme {
        "https" => Ok(Some(endpoint)),
        "http" if options.allow_http => Ok(Some(endpoint)),
        "http" => wrong("is http://, which anybody on the way can read and change; use https:// or set allow_http"),
        _ => wrong("must begin with https://"),
    }
}

/// `https://host` as `https://bucket.host`.
#[cfg(feature = "s3")]
fn hosted(endpoint: &str, url: &RemoteUrl) -> String {
    match endpoint.split_once("://") {
        Some((scheme, host)) if !host.starts_with(&format!("{}.", url.bucket())) => {
            format!("{scheme}://{}.{host}", url.bucket())
        }
        _ => endpoint.to_owned(),
    }
}

fn needed(option: &'static str, given: bool, reason: &'static str) -> Result<(), RemoteError> {
    if given { Ok(()) } else { Err(RemoteError::Option { option, reason }) }
}

fn only_elsewhere(option: &'static str, given: bool, reason: &'static str) -> Result<(), RemoteError> {
    needed(option, !given, reason)
}
