//! The settings that the server uses: every value is parsed and within its bounds.

use super::{
    Config, Environment, Format, GraphBuilderSetting, KeySettings, Level, ListenerSection, ProviderSetting,
    StorageLocation,
};
use crate::descriptors::Descriptors;
use anyhow::{Context, Result, bail, ensure};
use kernel::limits;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use zeroize::Zeroizing;

/// Everything that [`crate::start`] needs.
#[derive(Clone)]
pub struct Settings {
    /// Listener for tenants' API keys.
    pub data_plane: ListenSettings,
    /// Listener for operators' tokens.
    pub control_plane: ListenSettings,
    /// Location of all data.
    pub storage: StorageLocation,
    /// Source of the root key.
    pub root_key: RootKeySource,
    /// Source of the previous root key, while it is being replaced.
    pub old_root_key: Option<RootKeySource>,
    /// Other providers of root keys, leases and rotation.
    pub keys: KeySettings,
    /// Operator token to adopt on the first start.
    pub operator_token: Option<Zeroizing<String>>,
    /// File to create, into which the token of the first operator is written.
    pub operator_token_file: Option<PathBuf>,
    /// Models for embedding and reranking.
    pub models: ModelSettings,
    /// Number of threads for searches and screening; `None` means as many as there are cores.
    pub cpu_threads: Option<usize>,
    /// Maximum number of concurrent searches.
    pub searches_max: Option<usize>,
    /// Maximum number of concurrent writes.
    pub writes_max: Option<usize>,
    /// Time within which a deleted document is removed from every object and log; zero leaves that to merges.
    pub erase_within: Duration,
    /// Memory that open namespaces may take, in bytes.
    pub memory_bytes_max: Option<u64>,
    /// Size of the documents in memory at which a namespace is flushed, in bytes.
    pub flush_bytes_max: Option<u64>,
    /// Number of rows in memory at which a namespace is flushed.
    pub flush_rows_max: Option<u64>,
    /// Whether `hnsw_rs` builds the HNSW graphs.
    pub reference_graphs: bool,
    /// Shares of the files that the process may open.
    pub descriptors: Descriptors,
    /// Least severe level that is logged.
    pub log_level: Level,
    /// Format of the log.
    pub log_format: LogFormat,
    /// Whether the reply to a read waits until its audit record is durable.
    pub strict_audit: bool,
}

/// Settings of one listener.
#[derive(Clone, Debug)]
pub struct ListenSettings {
    /// Address; with port 0 the system chooses a port.
    pub address: SocketAddr,
    /// Paths of the certificate chain and of its private key (PEM).
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// Source of the root key.
#[derive(Clone)]
pub enum RootKeySource {
    /// Value of `RINGFENCE_ROOT_KEY`: 32 bytes as hex or base64.
    Value(Zeroizing<String>),
    /// A file outside the data folder, created with mode 0600 if it does not exist.
    File(PathBuf),
}

/// Models for embedding and reranking.
#[derive(Clone, Debug)]
pub struct ModelSettings {
    /// Whether to load models; without them only text search and callers' own vectors work.
    pub enabled: bool,
    /// Path of ONNX Runtime, if the user named one; then a failure to load is fatal.
    pub runtime: Option<PathBuf>,
    /// Folder of the models, if the user named one; then a failure to load is fatal.
    pub folder: Option<PathBuf>,
    /// Name of the default model.
    pub default: String,
    /// Name of the default reranker.
    pub reranker: Option<String>,
    /// Where models run.
    pub provider: models::Provider,
    /// Number of model threads; with 0 the number depends on the cores.
    pub threads: usize,
    /// Whether the user set anything in this section.
    pub configured: bool,
}

/// Format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, otherwise JSON.
    Auto,
    /// One JSON object per line.
    Json,
    /// Text for people.
    Text,
}

impl Settings {
    /// Checks a configuration. `data` is `--data` or `RINGFENCE_DATA`, which take precedence over the file.
    ///
    /// # Errors
    /// An error that names the key, its value and a valid value.
    pub fn new(config: &Config, data: Option<&Path>, environment: &Environment) -> Result<Self> {
        let storage = StorageLocation::new(config, data, environment)?;
        let (operator_token, operator_token_file) = operator_token(environment)?;
        let mib = |key: &str, v: Option<u64>| v.map(|v| bounded(key, v, 1, 1 << 30).map(|v| v << 20)).transpose();
        let count = |key: &str, v: Option<usize>| v.map(|v| bounded(key, v, 1, 1 << 20)).transpose();
        Ok(Self {
            data_plane: listener("data_plane", &config.data_plane, DATA_PLANE)?,
            control_plane: listener("control_plane", &config.control_plane, CONTROL_PLANE)?,
            root_key: root_key(environment)?,
            old_root_key: root_key_from(environment, "RINGFENCE_OLD_ROOT_KEY")?,
            keys: KeySettings::new(config, environment)?,
            storage,
            operator_token,
            operator_token_file,
            models: models_choice(config, environment),
            cpu_threads: count("limits.cpu_threads", config.limits.cpu_threads)?,
            searches_max: count("limits.searches", config.limits.searches)?,
            writes_max: count("limits.writes", config.limits.writes)?,
            erase_within: config.storage.erase_within_hours.map_or(Ok(limits::ERASE_WITHIN), |hours| {
                bounded("storage.erase_within_hours", hours, 0, limits::ERASE_WITHIN_HOURS_MAX)
                    .map(|hours| Duration::from_secs(hours * 3_600))
            })?,
            memory_bytes_max: mib("limits.memory_mib", config.limits.memory_mib)?,
            flush_bytes_max: mib("limits.flush_mib", config.limits.flush_mib)?,
            flush_rows_max: config
                .limits
                .flush_rows
                .map(|v| bounded("limits.flush_rows", v, 1, 1 << 32))
                .transpose()?,
            reference_graphs: config.index.graph_builder == Some(GraphBuilderSetting::HnswRs),
            descriptors: Descriptors::of_process(
                count("limits.connections", config.limits.connections)?.unwrap_or(limits::CONNECTIONS_MAX),
            ),
            log_level: config.log.level.unwrap_or(Level::Info),
            log_format: match config.log.format {
                None => LogFormat::Auto,
                Some(Format::Json) => LogFormat::Json,
                Some(Format::Text) => LogFormat::Text,
            },
            strict_audit: config.audit.strict.unwrap_or(false),
        })
    }
}

pub(super) fn bounded<N: PartialOrd + std::fmt::Display>(key: &str, value: N, least: N, most: N) -> Result<N> {
    ensure!(value >= least && value <= most, "{key} = {value}: must be {least} to {most}");
    Ok(value)
}

fn listener(name: &str, section: &ListenerSection, default: &str) -> Result<ListenSettings> {
    let text = section.listen.as_deref().unwrap_or(default);
    let address: SocketAddr = text.parse().ok().with_context(|| {
        format!("{name}.listen = {text:?}: must be an address and a port such as {default:?} or \"[::1]:7171\"")
    })?;
    let tls = match (&section.tls_cert, &section.tls_key) {
        (Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
        (None, None) => None,
        (Some(_), None) => bail!("{name}.tls_key is missing: a certificate needs its key"),
        (None, Some(_)) => bail!("{name}.tls_cert is missing: a key needs its certificate"),
    };
    if !address.ip().is_loopback() && tls.is_none() && section.insecure != Some(true) {
        bail!(
            "{name}.listen = {text:?} is reachable from other machines without TLS: set {name}.tls_cert and \
             {name}.tls_key, or {name}.insecure = true if a proxy in front of it terminates TLS"
        );
    }
    Ok(ListenSettings { address, tls })
}

fn root_key(environment: &Environment) -> Result<RootKeySource> {
    if let Some(given) = root_key_from(environment, "RINGFENCE_ROOT_KEY")? {
        return Ok(given);
    }
    let base = environment.path("XDG_CONFIG_HOME").or_else(|| environment.path("HOME").map(|h| h.join(".config")));
    base.map(|b| RootKeySource::File(b.join("ringfence/root.key")))
        .context("there is no path for the root key: set RINGFENCE_ROOT_KEY, RINGFENCE_ROOT_KEY_FILE or HOME")
}

/// The token to adopt, or the file that is to hold a new one: `RINGFENCE_OPERATOR_TOKEN_FILE` may name a file that does
/// not exist yet.
fn operator_token(environment: &Environment) -> Result<(Option<Zeroizing<String>>, Option<PathBuf>)> {
    let name = "RINGFENCE_OPERATOR_TOKEN";
    let file = environment.path("RINGFENCE_OPERATOR_TOKEN_FILE");
    match file.filter(|path| environment.get(name).is_none() && !path.exists()) {
        Some(path) => Ok((None, Some(path))),
        None => Ok((environment.secret(name)?, None)),
    }
}

/// The root key that `NAME` or `NAME_FILE` gives.
fn root_key_from(environment: &Environment, name: &str) -> Result<Option<RootKeySource>> {
    let file = format!("{name}_FILE");
    match (environment.get(name), environment.path(&file)) {
        (Some(_), Some(_)) => bail!("{name} and {file} are both set; remove one of them"),
        (Some(value), None) => Ok(Some(RootKeySource::Value(Zeroizing::new(value.to_owned())))),
        (None, path) => Ok(path.map(RootKeySource::File)),
    }
}

fn models_choice(config: &Config, environment: &Environment) -> ModelSettings {
    let section = &config.models;
    let runtime = environment.path("RINGFENCE_ONNXRUNTIME").or_else(|| section.runtime.clone());
    let folder = environment.path("RINGFENCE_MODELS").or_else(|| section.folder.clone());
    let provider = match section.provider {
        Some(ProviderSetting::Cuda) => models::Provider::Cuda {
            device: i32::from(section.device.unwrap_or(0)),
            allow_cpu: section.allow_cpu.unwrap_or(false),
        },
        Some(ProviderSetting::Cpu) | None => models::Provider::Cpu,
    };
    ModelSettings {
        enabled: section.enabled.unwrap_or(true),
        configured: runtime.is_some()
            || folder.is_some()
            || section.default.is_some()
            || section.reranker.is_some()
            || section.provider.is_some()
            || section.enabled == Some(true),
        runtime,
        folder,
        default: section.default.clone().unwrap_or_else(|| models::ModelsConfig::default().default),
        reranker: section.reranker.clone(),
        provider,
        threads: section.threads.unwrap_or(0),
    }
}

const DATA_PLANE: &str = "127.0.0.1:7171";
const CONTROL_PLANE: &str = "127.0.0.1:7172";
