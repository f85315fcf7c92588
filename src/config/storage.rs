//! The location of all data: a folder of this machine, or an object store and how to reach it.

use super::{Config, Environment, StorageSection, settings::bounded};
use anyhow::{Context, Result, bail, ensure};
use journal::{ROLE_VARIABLES, RemoteBackend, RemoteOptions, RemoteUrl, RetryLimits, StorageCredentials};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use zeroize::Zeroizing;

/// Location of all data.
#[derive(Clone, Debug)]
pub enum StorageLocation {
    /// A folder of this machine.
    Folder(PathBuf),
    /// An object store.
    Remote(Box<RemoteSettings>),
}

/// An object store and how to reach it.
#[derive(Clone, Debug)]
pub struct RemoteSettings {
    /// Address of the object store.
    pub url: RemoteUrl,
    /// Further options; their `Debug` output shows no secret.
    pub options: RemoteOptions,
}

impl StorageLocation {
    /// Reads the location from a configuration. `folder` is `--data` or `RINGFENCE_DATA`.
    ///
    /// # Errors
    /// An error that names the key, its value and a valid value.
    pub(super) fn new(config: &Config, folder: Option<&Path>, environment: &Environment) -> Result<Self> {
        let section = &config.storage;
        let folder = folder.map(Path::to_path_buf).or_else(|| environment.path("RINGFENCE_DATA"));
        if let Some(url) = section.url.as_deref().filter(|url| RemoteUrl::is_remote(url)) {
            if let Some(folder) = folder {
                bail!(
                    "storage.url = {url:?} names an object store, but --data or RINGFENCE_DATA names the folder {}; \
                     remove one of them",
                    folder.display()
                );
            }
            return Ok(Self::Remote(Box::new(remote(url, section, environment)?)));
        }
        if let Some(key) = object_store_key(section) {
            bail!(
                "storage.{key} is for an object store, but storage.url names none: remove this key or name an object \
                 store"
            );
        }
        match folder {
            Some(folder) => Ok(Self::Folder(folder)),
            None => local(section.url.as_deref(), environment).map(Self::Folder),
        }
    }
}

impl StorageLocation {
    /// The folder, if the location is a folder.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(path) => Some(path),
            Self::Remote(_) => None,
        }
    }
}

impl std::fmt::Display for StorageLocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Remote(remote) => remote.url.fmt(f),
        }
    }
}

fn local(url: Option<&str>, environment: &Environment) -> Result<PathBuf> {
    match url {
        Some(url) => match url.split_once("://") {
            Some(("file", path)) if path.starts_with('/') => Ok(PathBuf::from(path)),
            Some(_) => bail!(
                "storage.url = {url:?}: must be file:///an/absolute/path, a path, or s3://bucket/prefix (gs://, az://)"
            ),
            None => Ok(PathBuf::from(url)),
        },
        None => {
            let base =
                environment.path("XDG_DATA_HOME").or_else(|| environment.path("HOME").map(|h| h.join(".local/share")));
            base.map(|b| b.join("ringfence"))
                .context("there is no data folder: set --data, RINGFENCE_DATA or storage.url")
        }
    }
}

/// The first key that is set although it has no meaning for a folder.
fn object_store_key(section: &StorageSection) -> Option<&'static str> {
    let StorageSection {
        url: _,
        endpoint,
        region,
        account,
        access_key_id,
        allow_http,
        virtual_hosted,
        ca_certificates,
        retries,
        retry_timeout_s,
        request_timeout_s,
        connect_timeout_s,
        erase_within_hours: _,
    } = section;
    let keys = [
        ("endpoint", endpoint.is_some()),
        ("region", region.is_some()),
        ("account", account.is_some()),
        ("access_key_id", access_key_id.is_some()),
        ("allow_http", allow_http.is_some()),
        ("virtual_hosted", virtual_hosted.is_some()),
        ("ca_certificates", ca_certificates.is_some()),
        ("retries", retries.is_some()),
        ("retry_timeout_s", retry_timeout_s.is_some()),
        ("request_timeout_s", request_timeout_s.is_some()),
        ("connect_timeout_s", connect_timeout_s.is_some()),
    ];
    keys.into_iter().find(|(_, given)| *given).map(|(key, _)| key)
}

fn remote(text: &str, section: &StorageSection, environment: &Environment) -> Result<RemoteSettings> {
    let url = RemoteUrl::parse(text).context("storage.url")?;
    ensure!(
        url.backend() != RemoteBackend::Memory,
        "storage.url = \"memory:\" keeps nothing after the process ends; name a folder or an object store"
    );
    let seconds = |key: &str, value: Option<u64>, otherwise: Duration| {
        value.map_or(Ok(otherwise), |v| bounded(key, v, 1, SECONDS_MAX).map(Duration::from_secs))
    };
    let default = RetryLimits::default();
    let retry = RetryLimits {
        retries_max: bounded("storage.retries", section.retries.unwrap_or(default.retries_max), 0, RETRIES_MAX)?,
        timeout: seconds("storage.retry_timeout_s", section.retry_timeout_s, default.timeout)?,
        ..default
    };
    let default = RemoteOptions::default();
    let options = RemoteOptions {
        endpoint: section.endpoint.clone(),
        region: section.region.clone(),
        account: section.account.clone(),
        credentials: credentials(&url, section, environment)?,
        allow_http: section.allow_http.unwrap_or(false),
        virtual_hosted: section.virtual_hosted.unwrap_or(false),
        ca_certificates: section.ca_certificates.clone(),
        retry,
        request_timeout: seconds("storage.request_timeout_s", section.request_timeout_s, default.request_timeout)?,
        connect_timeout: seconds("storage.connect_timeout_s", section.connect_timeout_s, default.connect_timeout)?,
    };
    Ok(RemoteSettings { url, options })
}

/// An access key if a secret is set, otherwise the role that the platform gives to this machine.
fn credentials(url: &RemoteUrl, section: &StorageSection, environment: &Environment) -> Result<StorageCredentials> {
    let secret = environment.secret("RINGFENCE_STORAGE_SECRET")?;
    let token = environment.secret("RINGFENCE_STORAGE_TOKEN")?;
    let id = section.access_key_id.clone();
    let s3 = url.backend() == RemoteBackend::S3;
    ensure!(s3 || id.is_none(), "storage.access_key_id is only for S3; remove it for {}", url.backend());
    ensure!(s3 || token.is_none(), "RINGFENCE_STORAGE_TOKEN is only for S3; remove it for {}", url.backend());
    match (id, secret) {
        (None, Some(_)) if s3 => bail!(
            "storage.access_key_id is missing: RINGFENCE_STORAGE_SECRET is set, and S3 needs both the key's id and its \
             secret"
        ),
        (Some(_), None) => bail!(
            "RINGFENCE_STORAGE_SECRET (or RINGFENCE_STORAGE_SECRET_FILE) is missing: storage.access_key_id needs its \
             secret; remove both to use the machine's role"
        ),
        (id, Some(secret)) => Ok(StorageCredentials::Key { id: id.unwrap_or_default(), secret, token }),
        (None, None) => {
            ensure!(token.is_none(), "RINGFENCE_STORAGE_TOKEN also needs RINGFENCE_STORAGE_SECRET");
            let given = |name: &&str| Some(((*name).to_owned(), Zeroizing::new(environment.get(name)?.to_owned())));
            Ok(StorageCredentials::Role(ROLE_VARIABLES.iter().filter_map(given).collect()))
        }
    }
}

/// One hour: a longer wait is an outage that the operator should notice.
const SECONDS_MAX: u64 = 3600;

/// More retries than fit into any timeout.
const RETRIES_MAX: usize = 100;
