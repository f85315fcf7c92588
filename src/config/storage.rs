//! Where everything is kept: a folder of this machine, or an object store and how to reach it.

use super::{Config, Environment, Storage, settings::bounded};
use anyhow::{Context, Result, bail, ensure};
use journal::{Backend, Credentials, ROLE_VARIABLES, RemoteOptions, RemoteUrl, Retry};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use zeroize::Zeroizing;

/// Where everything is kept.
#[derive(Clone, Debug)]
pub enum Place {
    /// A folder of this machine.
    Folder(PathBuf),
    /// An object store.
    Remote(Box<RemoteConfig>),
}

/// An object store and how to reach it.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    /// Its address.
    pub url: RemoteUrl,
    /// The rest. Shows no secret.
    pub options: RemoteOptions,
}

impl Place {
    /// From what was written. `folder` is `--data` or `RINGFENCE_DATA`.
    ///
    /// # Errors
    /// Names the key, its value and what would be right.
    pub(super) fn new(config: &Config, folder: Option<&Path>, environment: &Environment) -> Result<Self> {
        let written = &config.storage;
        let folder = folder.map(Path::to_path_buf).or_else(|| environment.path("RINGFENCE_DATA"));
        if let Some(url) = written.url.as_deref().filter(|url| RemoteUrl::is_remote(url)) {
            if let Some(folder) = folder {
                bail!(
                    "storage.url = {url:?} names an object store, and --data or RINGFENCE_DATA the folder {}; keep one",
                    folder.display()
                );
            }
            return Ok(Self::Remote(Box::new(remote(url, written, environment)?)));
        }
        if let Some(key) = only_remote(written) {
            bail!("storage.{key} is for an object store, and storage.url names none: leave it out, or name one");
        }
        match folder {
            Some(folder) => Ok(Self::Folder(folder)),
            None => local(written.url.as_deref(), environment).map(Self::Folder),
        }
    }
}

impl Place {
    /// The folder, if it is one.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(path) => Some(path),
            Self::Remote(_) => None,
        }
    }
}

impl std::fmt::Display for Place {
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
            base.map(|b| b.join("ringfence")).context("no data folder: give --data, RINGFENCE_DATA or storage.url")
        }
    }
}

/// A key that is written and means nothing to a folder.
fn only_remote(written: &Storage) -> Option<&'static str> {
    let Storage {
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
    } = written;
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

fn remote(text: &str, written: &Storage, environment: &Environment) -> Result<RemoteConfig> {
    let url = RemoteUrl::parse(text).context("storage.url")?;
    ensure!(
        url.backend() != Backend::Memory,
        "storage.url = \"memory:\" keeps nothing beyond the process; name a folder or an object store"
    );
    let seconds = |key: &str, value: Option<u64>, otherwise: Duration| {
        value.map_or(Ok(otherwise), |v| bounded(key, v, 1, SECONDS_MAX).map(Duration::from_secs))
    };
    let default = Retry::default();
    let retry = Retry {
        retries_max: bounded("storage.retries", written.retries.unwrap_or(default.retries_max), 0, RETRIES_MAX)?,
        timeout: seconds("storage.retry_timeout_s", written.retry_timeout_s, default.timeout)?,
        ..default
    };
    let default = RemoteOptions::default();
    let options = RemoteOptions {
        endpoint: written.endpoint.clone(),
        region: written.region.clone(),
        account: written.account.clone(),
        credentials: credentials(&url, written, environment)?,
        allow_http: written.allow_http.unwrap_or(false),
        virtual_hosted: written.virtual_hosted.unwrap_or(false),
        ca_certificates: written.ca_certificates.clone(),
        retry,
        request_timeout: seconds("storage.request_timeout_s", written.request_timeout_s, default.request_timeout)?,
        connect_timeout: seconds("storage.connect_timeout_s", written.connect_timeout_s, default.connect_timeout)?,
    };
    Ok(RemoteConfig { url, options })
}

/// A key when a secret is given, else what the platform hands to this machine.
fn credentials(url: &RemoteUrl, written: &Storage, environment: &Environment) -> Result<Credentials> {
    let secret = environment.secret("RINGFENCE_STORAGE_SECRET")?;
    let token = environment.secret("RINGFENCE_STORAGE_TOKEN")?;
    let id = written.access_key_id.clone();
    let s3 = url.backend() == Backend::S3;
    ensure!(s3 || id.is_none(), "storage.access_key_id is S3's; leave it out for {}", url.backend());
    ensure!(s3 || token.is_none(), "RINGFENCE_STORAGE_TOKEN is S3's; leave it out for {}", url.backend());
    match (id, secret) {
        (None, Some(_)) if s3 => bail!(
            "storage.access_key_id is missing: RINGFENCE_STORAGE_SECRET is set, and S3 signs with a key's id and its \
             secret"
        ),
        (Some(_), None) => bail!(
            "RINGFENCE_STORAGE_SECRET (or RINGFENCE_STORAGE_SECRET_FILE) is missing: storage.access_key_id needs its \
             secret; leave both out to use the machine's role"
        ),
        (id, Some(secret)) => Ok(Credentials::Key { id: id.unwrap_or_default(), secret, token }),
        (None, None) => {
            ensure!(token.is_none(), "RINGFENCE_STORAGE_TOKEN wants RINGFENCE_STORAGE_SECRET beside it");
            let given = |name: &&str| Some(((*name).to_owned(), Zeroizing::new(environment.get(name)?.to_owned())));
            Ok(Credentials::Role(ROLE_VARIABLES.iter().filter_map(given).collect()))
        }
    }
}

/// An hour: a longer wait is an outage that somebody should see.
const SECONDS_MAX: u64 = 3600;

/// More retries than fit into any timeout.
const RETRIES_MAX: usize = 100;
