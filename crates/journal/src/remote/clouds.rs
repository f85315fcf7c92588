//! The three clients. Each gets every option explicitly; nothing is read from the environment of the process here.

use super::{RemoteBackend, RemoteError, RemoteOptions, RemoteUrl, StorageCredentials};
use object_store::{BackoffConfig, Certificate, ClientOptions, ObjectStore, RetryConfig};
use std::sync::Arc;

type StoreResult = Result<Arc<dyn ObjectStore>, RemoteError>;

#[cfg(feature = "s3")]
pub(super) fn s3(url: &RemoteUrl, options: &RemoteOptions) -> StoreResult {
    use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
    forbid("account", options.account.is_some(), "is Azure's; leave it out for S3")?;
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
        builder = builder.with_endpoint(if options.virtual_hosted {
            virtual_hosted_endpoint(endpoint, url)
        } else {
            endpoint.into()
        });
    }
    builder = match &options.credentials {
        StorageCredentials::Key { id, secret, token } => {
            require("access_key_id", !id.is_empty(), "is missing: S3 signs with a key's id and its secret")?;
            let builder = builder.with_access_key_id(id).with_secret_access_key(secret.as_str());
            token.iter().fold(builder, |b, t| b.with_token(t.as_str()))
        }
        StorageCredentials::Role(pairs) => {
            pairs.iter().fold(builder, |b, (name, value)| match name.to_lowercase().parse() {
                Ok(key) if name.starts_with("AWS_") => b.with_config(key, value.as_str()),
                _ => b,
            })
        }
        StorageCredentials::Anonymous => builder.with_skip_signature(true),
    };
    finish(url, builder.build())
}

#[cfg(feature = "gcs")]
pub(super) fn gcs(url: &RemoteUrl, options: &RemoteOptions) -> StoreResult {
    use object_store::gcp::GoogleCloudStorageBuilder;
    forbid("account", options.account.is_some(), "is Azure's; leave it out for Google")?;
    forbid("region", options.region.is_some(), "is S3's; leave it out for Google")?;
    forbid("virtual_hosted", options.virtual_hosted, "is S3's; leave it out for Google")?;
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(url.bucket())
        .with_retry(retry(options))
        .with_client_options(client(options)?);
    if let Some(endpoint) = endpoint(options)? {
        builder = builder.with_base_url(endpoint);
    }
    builder = match &options.credentials {
        StorageCredentials::Key { secret, .. } => builder.with_service_account_key(secret.as_str()),
        StorageCredentials::Role(pairs) => {
            let path = pairs.iter().find(|(name, _)| name == "GOOGLE_APPLICATION_CREDENTIALS");
            path.into_iter().fold(builder, |b, (_, path)| b.with_application_credentials(path.as_str()))
        }
        StorageCredentials::Anonymous => builder.with_skip_signature(true),
    };
    finish(url, builder.build())
}

#[cfg(feature = "azure")]
pub(super) fn azure(url: &RemoteUrl, options: &RemoteOptions) -> StoreResult {
    use object_store::azure::MicrosoftAzureBuilder;
    forbid("region", options.region.is_some(), "is S3's; leave it out for Azure")?;
    forbid("virtual_hosted", options.virtual_hosted, "is S3's; leave it out for Azure")?;
    let account = options.account.as_deref().unwrap_or_default();
    require("account", !account.is_empty(), "is missing: Azure needs the storage account's name")?;
    let mut builder = MicrosoftAzureBuilder::new()
        .with_account(account)
        .with_container_name(url.bucket())
        .with_retry(retry(options))
        .with_client_options(client(options)?);
    if let Some(endpoint) = endpoint(options)? {
        builder = builder.with_endpoint(endpoint.to_owned());
    }
    builder = match &options.credentials {
        StorageCredentials::Key { secret, .. } => builder.with_access_key(secret.as_str()),
        StorageCredentials::Role(pairs) => {
            pairs.iter().fold(builder, |b, (name, value)| match name.to_lowercase().parse() {
                Ok(key) if name.starts_with("AZURE_") => b.with_config(key, value.as_str()),
                _ => b,
            })
        }
        StorageCredentials::Anonymous => builder.with_skip_signature(true),
    };
    finish(url, builder.build())
}

fn finish<S: ObjectStore>(url: &RemoteUrl, built: object_store::Result<S>) -> StoreResult {
    let backend: RemoteBackend = url.backend();
    let store = built.map_err(|source| RemoteError::Refused { backend, source })?;
    Ok(Arc::new(store))
}

fn retry(options: &RemoteOptions) -> RetryConfig {
    let limits = options.retry;
    // The library draws each wait between the first backoff and twice the last wait; an empty range would make it
    // panic.
    let least = std::time::Duration::from_millis(1);
    let backoff = BackoffConfig {
        init_backoff: limits.backoff_first.max(least),
        max_backoff: limits.backoff_max.max(least),
        base: 2.0,
    };
    RetryConfig { backoff, max_retries: limits.retries_max, retry_timeout: limits.timeout }
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

/// The endpoint, if one is given and allowed.
fn endpoint(options: &RemoteOptions) -> Result<Option<&str>, RemoteError> {
    let Some(endpoint) = options.endpoint.as_deref() else { return Ok(None) };
    let wrong = |reason| Err(RemoteError::Option { option: "endpoint", reason });
    let Some((scheme, host)) = endpoint.split_once("://") else {
        return wrong("must be a URL such as https://s3.example.com");
    };
    if host.is_empty() || host.contains(['@', '?', '#', ' ']) {
        return wrong("must be a host, optionally a port, and no credentials: https://s3.example.com:9000");
    }
    match scheme {
        "https" => Ok(Some(endpoint)),
        "http" if options.allow_http => Ok(Some(endpoint)),
        "http" => {
            wrong("is http://, which anyone on the network path can read and change; use https:// or set allow_http")
        }
        _ => wrong("must begin with https://"),
    }
}

/// `https://host` as `https://bucket.host`.
#[cfg(feature = "s3")]
fn virtual_hosted_endpoint(endpoint: &str, url: &RemoteUrl) -> String {
    match endpoint.split_once("://") {
        Some((scheme, host)) if !host.starts_with(&format!("{}.", url.bucket())) => {
            format!("{scheme}://{}.{host}", url.bucket())
        }
        _ => endpoint.to_owned(),
    }
}

fn require(option: &'static str, given: bool, reason: &'static str) -> Result<(), RemoteError> {
    if given { Ok(()) } else { Err(RemoteError::Option { option, reason }) }
}

fn forbid(option: &'static str, given: bool, reason: &'static str) -> Result<(), RemoteError> {
    require(option, !given, reason)
}
