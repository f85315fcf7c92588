//! `Config` is what a person wrote; [`Settings`] is what the server uses: parsed, bounded, with units.
//!
//! A file in TOML, then `RINGFENCE__SECTION__KEY` over it. Nothing is ignored: an error names the
//! source, the key and what would be right.

mod environment;
mod keys;
mod reference;
mod settings;
mod storage;

pub use environment::Environment;
pub use keys::{AwsKmsChoice, AwsKmsCredentials, KeysChoice, Pkcs11Choice, ProviderChoice, TransitChoice};
pub use reference::reference;
pub use settings::{Listen, LogFormat, ModelsChoice, RootKey, Settings};
pub use storage::{Place, RemoteConfig};

use crate::strict;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Everything that can be written in the configuration file.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where tenants' keys are taken.
    pub data_plane: Listener,
    /// Where operators' tokens are taken.
    pub control_plane: Listener,
    /// Where everything is kept.
    pub storage: Storage,
    /// Whose keys, and for how long.
    pub keys: Keys,
    /// Key management services, by a name of the user's.
    pub key_providers: BTreeMap<String, KeyProviderConfig>,
    /// What embeds.
    pub models: Models,
    /// How much at once.
    pub limits: Limits,
    /// How large segments are indexed.
    pub index: Index,
    /// What is told on stderr.
    pub log: Log,
    /// How reads are audited.
    pub audit: Audit,
}

/// One listener.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listener {
    /// Address and port; port 0 lets the system choose.
    pub listen: Option<String>,
    /// Certificate chain, PEM.
    pub tls_cert: Option<PathBuf>,
    /// Its key, PEM.
    pub tls_key: Option<PathBuf>,
    /// Serve beyond loopback without TLS.
    pub insecure: Option<bool>,
}

/// Where everything is kept.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// `file:///var/lib/ringfence`, a path, or `s3://bucket/prefix`, `gs://…`, `az://…`.
    pub url: Option<String>,
    /// Where the object store answers.
    pub endpoint: Option<String>,
    /// S3's region.
    pub region: Option<String>,
    /// Azure's storage account.
    pub account: Option<String>,
    /// S3's access key; its secret comes from the environment.
    pub access_key_id: Option<String>,
    /// Take an endpoint without TLS.
    pub allow_http: Option<bool>,
    /// S3: the bucket in the host's name.
    pub virtual_hosted: Option<bool>,
    /// Certificate authorities to trust beside the system's, PEM.
    pub ca_certificates: Option<PathBuf>,
    /// Tries of a request after the first.
    pub retries: Option<usize>,
    /// Seconds after which no further try begins.
    pub retry_timeout_s: Option<u64>,
    /// Longest time for one try, seconds.
    pub request_timeout_s: Option<u64>,
    /// Longest time to connect, seconds.
    pub connect_timeout_s: Option<u64>,
    /// Hours in which a deleted document leaves every object and log.
    pub erase_within_hours: Option<u64>,
}

/// Whose keys, and for how long.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// The provider of tenants that name none.
    pub default: Option<String>,
    /// Seconds that a provider's yes holds.
    pub lease_s: Option<u64>,
    /// Seconds that a provider's silence is ridden out.
    pub outage_s: Option<u64>,
    /// Days after which keys are rotated.
    pub rotate_days: Option<u32>,
}

/// A key management service.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeyProviderConfig {
    /// What it is.
    pub kind: KeyProviderKind,
    /// Where it answers.
    #[serde(default)]
    pub address: Option<String>,
    /// Where the engine is mounted.
    #[serde(default)]
    pub mount: Option<String>,
    /// Vault's namespace.
    #[serde(default)]
    pub namespace: Option<String>,
    /// The key of tenants that name none, or the prefix of keys' names.
    #[serde(default)]
    pub key: Option<String>,
    /// A key for each tenant.
    #[serde(default)]
    pub key_per_tenant: Option<bool>,
    /// A file with the token, read at each call.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// The library of a hardware module's vendor.
    #[serde(default)]
    pub module: Option<PathBuf>,
    /// The token's label.
    #[serde(default)]
    pub token_label: Option<String>,
    /// Amazon's region.
    #[serde(default)]
    pub region: Option<String>,
    /// Where Amazon's service answers, if not in its usual place.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Amazon's access key; its secret comes from the environment.
    #[serde(default)]
    pub access_key_id: Option<String>,
    /// Certificate authorities, PEM.
    #[serde(default)]
    pub ca_certificates: Option<PathBuf>,
    /// Send keys without TLS.
    #[serde(default)]
    pub allow_http: Option<bool>,
    /// Of one call, seconds.
    #[serde(default)]
    pub timeout_s: Option<u64>,
}

/// Kinds of key management services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyProviderKind {
    /// OpenBao's or Vault's Transit engine.
    Transit,
    /// A hardware module, or what speaks like one.
    Pkcs11,
    /// Amazon's Key Management Service.
    AwsKms,
}

impl KeyProviderKind {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            KeyProviderKind::Transit => "transit",
            KeyProviderKind::Pkcs11 => "pkcs11",
            KeyProviderKind::AwsKms => "aws-kms",
        }
    }
}

/// What embeds.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Models {
    /// Whether to embed at all.
    pub enabled: Option<bool>,
    /// `libonnxruntime.so`, or its folder.
    pub runtime: Option<PathBuf>,
    /// One folder per model inside.
    pub folder: Option<PathBuf>,
    /// The model for namespaces that name none.
    pub default: Option<String>,
    /// The model for searches that want to be reranked and name none.
    pub reranker: Option<String>,
    /// `cpu` or `cuda`.
    pub provider: Option<Provider>,
    /// GPU number.
    pub device: Option<u16>,
    /// Serve from the processor when the GPU cannot be had.
    pub allow_cpu: Option<bool>,
    /// Model threads.
    pub threads: Option<usize>,
}

/// Where the models compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// The processor.
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
}

/// How much at once.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Threads for searches and screening.
    pub cpu_threads: Option<usize>,
    /// Searches at once.
    pub searches: Option<usize>,
    /// Writes at once.
    pub writes: Option<usize>,
    /// Memory that open namespaces may hold, MiB.
    pub memory_mib: Option<u64>,
    /// Text in memory before a namespace is flushed, MiB.
    pub flush_mib: Option<u64>,
    /// Rows in memory before a namespace is flushed.
    pub flush_rows: Option<u64>,
    /// Connections of one listener.
    pub connections: Option<usize>,
}

/// How large segments are indexed.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Index {
    /// `own` or `hnsw_rs`.
    pub graph_builder: Option<GraphBuilder>,
}

/// What links the vectors of a large segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GraphBuilder {
    /// The builder of this project.
    Own,
    /// The reference.
    HnswRs,
}

/// What is told on stderr.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Least grave level told.
    pub level: Option<Level>,
    /// `json` or `text`.
    pub format: Option<Format>,
}

/// How grave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One object a line.
    Json,
    /// For people.
    Text,
}

/// How reads are audited.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// Hold a read's reply until its line is durable.
    pub strict: Option<bool>,
}

impl Config {
    /// Reads the file, if there is one, and lays the environment over it.
    ///
    /// # Errors
    /// A file that cannot be read or is no TOML; a key that is unknown or does not fit.
    pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Self> {
        let mut table = match file {
            Some(path) => read(path)?,
            None => toml::Table::new(),
        };
        let source = file.map_or("configuration".to_owned(), |f| f.display().to_string());
        for (key, value) in environment.overrides() {
            lay(&mut table, &key.path, &value).with_context(|| format!("{}: does not name a key", key.variable))?;
        }
        strict::table(table.clone()).map_err(|c| {
            let variable = environment.overrides().map(|(k, _)| k).find(|k| k.path.join(".") == c.path);
            let source = variable.map_or(source, |k| k.variable);
            let value = value_at(&table, &c.path).map(|v| format!(" (it is {v})")).unwrap_or_default();
            anyhow::anyhow!("{source}: {} {}{value}", c.path, c.rule)
        })
    }
}

fn read(path: &Path) -> Result<toml::Table> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
    text.parse::<toml::Table>().with_context(|| format!("{} is not valid TOML", path.display()))
}

/// A value that reads as TOML is that; anything else is a string.
fn lay(table: &mut toml::Table, path: &[String], text: &str) -> Result<()> {
    let [sections @ .., key] = path else { bail!("wants the form RINGFENCE__SECTION__KEY") };
    if sections.is_empty() || path.iter().any(String::is_empty) {
        bail!("wants the form RINGFENCE__SECTION__KEY");
    }
    let value = format!("x = {text}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut t| t.remove("x"))
        .filter(|v| !v.is_datetime() && !v.is_table())
        .unwrap_or_else(|| toml::Value::String(text.to_owned()));
    let mut section = table;
    for name in sections {
        let entry = section.entry(name.clone()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        let toml::Value::Table(inner) = entry else { bail!("the section is not a table") };
        section = inner;
    }
    section.insert(key.clone(), value);
    Ok(())
}

fn value_at(table: &toml::Table, path: &str) -> Option<String> {
    let (section, rest) = path.split_once('.')?;
    let value = rest.split('.').try_fold(table.get(section)?, |value, key| value.get(key))?;
    Some(value.to_string())
}

#[cfg(test)]
mod tests;
