//! The storage of the data: a folder, or a bucket of a server that the first process starts and the other two use.
//!
//! `RINGFENCE_MANY_STORE` names it: `moto` (S3 in Python; its listings examine every key of the bucket, so they take
//! longer the more keys there are), `ceph`, or `fake` (a fast S3 in the memory of this process: it shows the cost of a
//! bucket without the time of its store, and counts the requests). All of them are removed when the process ends.

use anyhow::{Context, Result, bail};
use journal::{Blocking, PROBE_ROUNDS, RemoteOptions, RemoteUrl, RetryLimits, Storage, StorageCredentials};
use kernel::OsEntropy;
use std::{collections::BTreeMap, path::Path, process::Command};
use testkit::{Ceph, FakeS3, Moto, StoreKey};
use zeroize::Zeroizing;

/// A running object store.
pub(crate) enum ObjectStoreServer {
    Moto(Moto),
    Ceph(Ceph),
    Fake(FakeS3),
}

impl ObjectStoreServer {
    /// Starts the store that the environment names; `None` for a folder.
    pub(crate) fn from_environment() -> Result<Option<Self>> {
        let Some(name) = var("STORE") else { return Ok(None) };
        let missing = || format!("{name} is not installed; run scripts/servers {name}");
        Ok(Some(match name.as_str() {
            "moto" | "s3" => Self::Moto(Moto::start().with_context(missing)?),
            "ceph" => Self::Ceph(Ceph::start().with_context(missing)?),
            "fake" => Self::Fake(FakeS3::start()),
            _ => bail!("RINGFENCE_MANY_STORE must be moto, ceph or fake"),
        }))
    }

    /// Passes the address to a child process.
    pub(crate) fn pass_to(&self, child: &mut Command) {
        let (endpoint, bucket, StoreKey { id, secret }) = match self {
            Self::Moto(it) => (it.endpoint(), it.bucket(), it.credentials()),
            Self::Ceph(it) => (it.endpoint(), it.bucket(), it.credentials()),
            Self::Fake(it) => {
                let nobody = StoreKey { id: "id".to_owned(), secret: "secret".to_owned() };
                (it.endpoint(), it.bucket(), nobody)
            }
        };
        child.env("RINGFENCE_MANY_ENDPOINT", endpoint).env("RINGFENCE_MANY_BUCKET", bucket);
        child.env("RINGFENCE_MANY_KEY", format!("{id}:{secret}"));
    }

    /// Requests since the start, by operation and kind of object, if the store counts them.
    pub(crate) fn requests(&self) -> Option<BTreeMap<String, u64>> {
        let Self::Fake(fake) = self else { return None };
        let mut counts = BTreeMap::new();
        for seen in fake.seen() {
            let place = seen.key.split('/').next().unwrap_or_default();
            *counts.entry(format!("{:?} {place}", seen.op)).or_default() += 1;
        }
        Some(counts)
    }

    /// Number and bytes of objects of each kind, if the store reports them.
    pub(crate) fn objects(&self) -> Option<BTreeMap<String, (u64, u64)>> {
        let Self::Fake(fake) = self else { return None };
        let mut kinds: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for key in fake.keys() {
            let kind = key.split('/').next().unwrap_or_default().to_owned();
            let sum = kinds.entry(kind).or_default();
            *sum = (sum.0 + 1, sum.1 + fake.object(&key).map_or(0, |bytes| bytes.len() as u64));
        }
        Some(kinds)
    }
}

/// Opens the storage that the environment names, as the server does.
pub(crate) async fn storage(folder: &Path) -> Result<Storage> {
    let Some(endpoint) = var("ENDPOINT") else { return Ok(Storage::open(&folder.join("data")).await?) };
    let (bucket, key) = var("BUCKET").zip(var("KEY")).context("RINGFENCE_MANY_BUCKET and _KEY")?;
    let (id, secret) = key.split_once(':').context("RINGFENCE_MANY_KEY")?;
    let secret = Zeroizing::new(secret.to_owned());
    let credentials = StorageCredentials::Key { id: id.to_owned(), secret, token: None };
    let options = RemoteOptions { endpoint: Some(endpoint), allow_http: true, credentials, ..RemoteOptions::default() };
    let url = RemoteUrl::parse(&format!("s3://{bucket}"))?;
    let store = journal::connect(&url, &options)?;
    let once = journal::connect(&url, &RemoteOptions { retry: RetryLimits::NONE, ..options })?;
    journal::probe(&*store, &OsEntropy, PROBE_ROUNDS).await?;
    Ok(Storage::remote(store, once, Blocking::Threads).await?)
}

/// Whether the data is in a bucket, for a child process.
pub(crate) fn in_bucket() -> bool {
    var("ENDPOINT").is_some()
}

fn var(name: &str) -> Option<String> {
    std::env::var(format!("RINGFENCE_MANY_{name}")).ok().filter(|value| !value.is_empty())
}
