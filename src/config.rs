//! [`Config`] holds what a person wrote; [`Settings`] holds what the server uses: parsed, checked against bounds, and
//! with units.
//!
//! The environment variables `RINGFENCE__SECTION__KEY` override a file in TOML. Nothing is ignored: an error names the
//! source, the key and a valid value.

mod environment;
mod keys;
mod reference;
mod settings;
mod storage;

pub use environment::Environment;
pub use keys::{AwsKmsCredentials, AwsKmsSettings, KeyProviderSettings, KeySettings, Pkcs11Settings, TransitSettings};
pub use reference::reference;
pub use settings::{ListenSettings, LogFormat, ModelSettings, RootKeySource, Settings};
pub use storage::{RemoteSettings, StorageLocation};

use anyhow::{Context, Result, bail};
use api::strict::InputError;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Everything that the configuration file can contain.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Listener for tenants' API keys.
    pub data_plane: ListenerSection,
    /// Listener for operators' tokens.
    pub control_plane: ListenerSection,
    /// Storage of all data.
    pub storage: StorageSection,
    /// Providers of root keys, leases and rotation.
    pub keys: KeysSection,
    /// Key management services, by names that the user chooses.
    pub key_providers: BTreeMap<String, KeyProviderSection>,
    /// Models for embedding and reranking.
    pub models: ModelsSection,
    /// Limits of concurrency and memory.
    pub limits: LimitsSection,
    /// Indexing of large segments.
    pub index: IndexSection,
    /// Logging on stderr.
    pub log: LogSection,
    /// Auditing of reads.
    pub audit: AuditSection,
}

/// Settings of one listener.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenerSection {
    /// Address and port; with port 0 the system chooses one.
    pub listen: Option<String>,
    /// Path of the certificate chain (PEM).
    pub tls_cert: Option<PathBuf>,
    /// Path of the certificate's private key (PEM).
    pub tls_key: Option<PathBuf>,
    /// Whether to serve other machines without TLS.
    pub insecure: Option<bool>,
}

/// Storage of all data.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageSection {
    /// URL of the storage: `file:///var/lib/ringfence`, a path, or `s3://bucket/prefix`, `gs://…`, `az://…`.
    pub url: Option<String>,
    /// Address of the object store.
    pub endpoint: Option<String>,
    /// S3 region.
    pub region: Option<String>,
    /// Azure storage account.
    pub account: Option<String>,
    /// S3 access key id; its secret comes from the environment.
    pub access_key_id: Option<String>,
    /// Whether to accept an endpoint without TLS.
    pub allow_http: Option<bool>,
    /// S3: whether the bucket is part of the host name.
    pub virtual_hosted: Option<bool>,
    /// Certificate authorities (PEM) to trust in addition to the system's.
    pub ca_certificates: Option<PathBuf>,
    /// Number of retries of a request.
    pub retries: Option<usize>,
    /// Seconds after which no retry begins.
    pub retry_timeout_s: Option<u64>,
    /// Timeout of one attempt in seconds.
    pub request_timeout_s: Option<u64>,
    /// Timeout of a connection attempt in seconds.
    pub connect_timeout_s: Option<u64>,
    /// Hours within which a deleted document is removed from every object and log.
    pub erase_within_hours: Option<u64>,
}

/// Providers of root keys, leases and rotation.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeysSection {
    /// Provider of tenants that name none.
    pub default: Option<String>,
    /// Seconds for which a provider's confirmation is valid.
    pub lease_s: Option<u64>,
    /// Seconds for which an outage of a provider is tolerated.
    pub outage_s: Option<u64>,
    /// Days after which keys are rotated.
    pub rotate_days: Option<u32>,
}

/// A key management service.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeyProviderSection {
    /// Kind of the service.
    pub kind: KeyProviderKind,
    /// Transit: address of the service.
    #[serde(default)]
    pub address: Option<String>,
    /// Transit: path where the engine is mounted.
    #[serde(default)]
    pub mount: Option<String>,
    /// Transit: Vault namespace.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Key of tenants that name none, or the prefix of their keys' names.
    #[serde(default)]
    pub key: Option<String>,
    /// Whether each tenant gets a key of its own.
    #[serde(default)]
    pub key_per_tenant: Option<bool>,
    /// Transit: file with the token, read at each call.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// PKCS #11: the vendor's library.
    #[serde(default)]
    pub module: Option<PathBuf>,
    /// PKCS #11: label of the token.
    #[serde(default)]
    pub token_label: Option<String>,
    /// AWS region.
    #[serde(default)]
    pub region: Option<String>,
    /// Address of AWS KMS, if it is not Amazon's own.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// AWS access key id; its secret comes from the environment.
    #[serde(default)]
    pub access_key_id: Option<String>,
    /// Certificate authorities to trust (PEM).
    #[serde(default)]
    pub ca_certificates: Option<PathBuf>,
    /// Whether to send keys without TLS.
    #[serde(default)]
    pub allow_http: Option<bool>,
    /// Timeout of one call in seconds.
    #[serde(default)]
    pub timeout_s: Option<u64>,
}

/// Kinds of key management services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyProviderKind {
    /// The Transit engine of OpenBao or Vault.
    Transit,
    /// A hardware security module, or another token behind a PKCS #11 library.
    Pkcs11,
    /// AWS Key Management Service.
    AwsKms,
}

impl KeyProviderKind {
    /// Name of the kind in the configuration file.
    pub fn as_str(self) -> &'static str {
        match self {
            KeyProviderKind::Transit => "transit",
            KeyProviderKind::Pkcs11 => "pkcs11",
            KeyProviderKind::AwsKms => "aws-kms",
        }
    }
}

/// Models for embedding and reranking.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelsSection {
    /// Whether to load models.
    pub enabled: Option<bool>,
    /// Path of `libonnxruntime.so`, or of its folder.
    pub runtime: Option<PathBuf>,
    /// Folder that contains one folder per model.
    pub folder: Option<PathBuf>,
    /// Model of namespaces that name none.
    pub default: Option<String>,
    /// Model of searches with reranking that name none.
    pub reranker: Option<String>,
    /// Where models run: `cpu` or `cuda`.
    pub provider: Option<ProviderSetting>,
    /// Index of the GPU.
    pub device: Option<u16>,
    /// Whether to run on the CPU if the GPU is not available.
    pub allow_cpu: Option<bool>,
    /// Number of model threads.
    pub threads: Option<usize>,
}

/// Where models run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderSetting {
    /// The CPU.
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
}

/// Limits of concurrency and memory.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSection {
    /// Number of threads for searches and screening.
    pub cpu_threads: Option<usize>,
    /// Maximum number of concurrent searches.
    pub searches: Option<usize>,
    /// Maximum number of concurrent writes.
    pub writes: Option<usize>,
    /// Memory that open namespaces may take, in MiB.
    pub memory_mib: Option<u64>,
    /// Size of the documents in memory at which a namespace is flushed, in MiB.
    pub flush_mib: Option<u64>,
    /// Number of rows in memory at which a namespace is flushed.
    pub flush_rows: Option<u64>,
    /// Maximum number of connections per listener.
    pub connections: Option<usize>,
}

/// Indexing of large segments.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct IndexSection {
    /// Builder of HNSW graphs: `own` or `hnsw_rs`.
    pub graph_builder: Option<GraphBuilderSetting>,
}

/// Builder of the HNSW graphs of large segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GraphBuilderSetting {
    /// The builder of this project.
    Own,
    /// The `hnsw_rs` crate, the reference of benchmarks.
    HnswRs,
}

/// Logging on stderr.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    /// Least severe level that is logged.
    pub level: Option<Level>,
    /// Format of the log: `json` or `text`.
    pub format: Option<Format>,
}

/// Severity of a log event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are self-explanatory")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object per line.
    Json,
    /// Text for people.
    Text,
}

/// Auditing of reads.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditSection {
    /// Whether the reply to a read waits until its audit record is durable.
    pub strict: Option<bool>,
}

impl Config {
    /// Reads the file, if one is given, and applies the environment's overrides.
    ///
    /// # Errors
    /// The file cannot be read or is not TOML; or a key is unknown or has an invalid value.
    pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Self> {
        let mut table = match file {
            Some(path) => read(path)?,
            None => toml::Table::new(),
        };
        let source = file.map_or("configuration".to_owned(), |f| f.display().to_string());
        for (key, value) in environment.overrides() {
            set_key(&mut table, &key.path, &value).with_context(|| format!("{} does not name a key", key.variable))?;
        }
        parse(table.clone()).map_err(|c| {
            let variable = environment.overrides().map(|(k, _)| k).find(|k| k.path.join(".") == c.path);
            let source = variable.map_or(source, |k| k.variable);
            let value = value_at(&table, &c.path).map(|v| format!(" (it is {v})")).unwrap_or_default();
            anyhow::anyhow!("{source}: {} {}{value}", c.path, c.rule)
        })
    }
}

/// Parses a table that was merged from several sources. An error names the key and the rule, and quotes no value.
fn parse(table: toml::Table) -> Result<Config, InputError> {
    serde_path_to_error::deserialize(toml::Value::Table(table))
        .map_err(|e| InputError::of(&e.path().to_string(), e.inner().message()))
}

fn read(path: &Path) -> Result<toml::Table> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
    text.parse::<toml::Table>().with_context(|| format!("{} is not valid TOML", path.display()))
}

/// Sets one key. A text that parses as a TOML value becomes that value; any other text becomes a string.
fn set_key(table: &mut toml::Table, path: &[String], text: &str) -> Result<()> {
    let [sections @ .., key] = path else { bail!("the form must be RINGFENCE__SECTION__KEY") };
    if sections.is_empty() || path.iter().any(String::is_empty) {
        bail!("the form must be RINGFENCE__SECTION__KEY");
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
