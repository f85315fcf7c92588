//! What the server uses: every value parsed and within its bounds.

use super::{Config, Environment, Format, GraphBuilder, KeysChoice, Level, Listener, Place, Provider};
use crate::descriptors::Descriptors;
use anyhow::{Context, Result, bail, ensure};
use kernel::limits;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use zeroize::Zeroizing;

/// Everything [`crate::start`] needs.
#[derive(Clone)]
pub struct Settings {
    /// Where tenants' keys are taken.
    pub data_plane: Listen,
    /// Where operators' tokens are taken.
    pub control_plane: Listen,
    /// Where everything is kept.
    pub place: Place,
    /// Where the root key comes from.
    pub root_key: RootKey,
    /// The one before it, while it is changed.
    pub old_root_key: Option<RootKey>,
    /// Who else keeps root keys.
    pub keys: KeysChoice,
    /// An operator token to adopt.
    pub operator_token: Option<Zeroizing<String>>,
    /// A file that is not there yet: the token of the first operator is written into it.
    pub operator_token_file: Option<PathBuf>,
    /// What embeds.
    pub models: ModelsChoice,
    /// Threads for searches and screening; absent: as many as there are cores.
    pub cpu_threads: Option<usize>,
    /// Searches at once.
    pub searches_max: Option<usize>,
    /// Writes at once.
    pub writes_max: Option<usize>,
    /// By when a deleted document is in no object and no log; zero: whenever merges get there.
    pub erase_within: Duration,
    /// Bytes that open namespaces may hold.
    pub memory_bytes_max: Option<u64>,
    /// Bytes of text in memory before a flush.
    pub flush_bytes_max: Option<u64>,
    /// Rows in memory before a flush.
    pub flush_rows_max: Option<u64>,
    /// Whether `hnsw_rs` builds graphs.
    pub reference_graphs: bool,
    /// How the files that the process may open are shared.
    pub descriptors: Descriptors,
    /// Least grave level told.
    pub log_level: Level,
    /// How it is written.
    pub log_format: LogFormat,
    /// Whether a read waits for its audit line.
    pub strict_audit: bool,
}

/// One listener.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Address; port 0 lets the system choose.
    pub address: SocketAddr,
    /// Certificate and key, PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// Where the root key comes from.
#[derive(Clone)]
pub enum RootKey {
    /// `RINGFENCE_ROOT_KEY`: 32 bytes as hex or base64.
    Value(Zeroizing<String>),
    /// A file outside the data folder, created 0600 when absent.
    File(PathBuf),
}

/// What embeds.
#[derive(Clone, Debug)]
pub struct ModelsChoice {
    /// `false`: text search and own vectors only.
    pub enabled: bool,
    /// Named by the user: then failing to load is fatal.
    pub runtime: Option<PathBuf>,
    /// See `runtime`.
    pub folder: Option<PathBuf>,
    /// Default model.
    pub default: String,
    /// Default reranker.
    pub reranker: Option<String>,
    /// Where to compute.
    pub provider: models::Provider,
    /// Model threads; 0 chooses.
    pub threads: usize,
    /// Whether the user named anything of this section.
    pub configured: bool,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    /// One object a line.
    Json,
    /// For people.
    Text,
}

impl Settings {
    /// Checks what was written. `data` is `--data` or `RINGFENCE_DATA`, which win over the file.
    ///
    /// # Errors
    /// Names the key, its value and what would be right.
    pub fn new(config: &Config, data: Option<&Path>, environment: &Environment) -> Result<Self> {
        let place = Place::new(config, data, environment)?;
        let (operator_token, operator_token_file) = operator_token(environment)?;
        let mib = |key: &str, v: Option<u64>| v.map(|v| bounded(key, v, 1, 1 << 30).map(|v| v << 20)).transpose();
        let count = |key: &str, v: Option<usize>| v.map(|v| bounded(key, v, 1, 1 << 20)).transpose();
        Ok(Self {
            data_plane: listener("data_plane", &config.data_plane, DATA_PLANE)?,
            control_plane: listener("control_plane", &config.control_plane, CONTROL_PLANE)?,
            root_key: root_key(environment)?,
            old_root_key: given_root_key(environment, "RINGFENCE_OLD_ROOT_KEY")?,
            keys: KeysChoice::new(config, environment)?,
            place,
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
            reference_graphs: config.index.graph_builder == Some(GraphBuilder::HnswRs),
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

fn listener(section: &str, written: &Listener, default: &str) -> Result<Listen> {
    let text = written.listen.as_deref().unwrap_or(default);
    let address: SocketAddr = text.parse().ok().with_context(|| {
        format!("{section}.listen = {text:?}: must be an address and a port such as {default:?} or \"[::1]:7171\"")
    })?;
    let tls = match (&written.tls_cert, &written.tls_key) {
        (Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
        (None, None) => None,
        (Some(_), None) => bail!("{section}.tls_key is missing: a certificate needs its key"),
        (None, Some(_)) => bail!("{section}.tls_cert is missing: a key needs its certificate"),
    };
    if !address.ip().is_loopback() && tls.is_none() && written.insecure != Some(true) {
        bail!(
            "{section}.listen = {text:?} is reachable from other machines without TLS: set {section}.tls_cert and \
             {section}.tls_key, or {section}.insecure = true if something in front of it does TLS"
        );
    }
    Ok(Listen { address, tls })
}

fn root_key(environment: &Environment) -> Result<RootKey> {
    if let Some(given) = given_root_key(environment, "RINGFENCE_ROOT_KEY")? {
        return Ok(given);
    }
    let base = environment.path("XDG_CONFIG_HOME").or_else(|| environment.path("HOME").map(|h| h.join(".config")));
    base.map(|b| RootKey::File(b.join("ringfence/root.key")))
        .context("no place for the root key: set RINGFENCE_ROOT_KEY, RINGFENCE_ROOT_KEY_FILE or HOME")
}

/// The token to adopt, or the file that is to hold a fresh one: `RINGFENCE_OPERATOR_TOKEN_FILE` may name one that is not
/// there.
fn operator_token(environment: &Environment) -> Result<(Option<Zeroizing<String>>, Option<PathBuf>)> {
    let name = "RINGFENCE_OPERATOR_TOKEN";
    let file = environment.path("RINGFENCE_OPERATOR_TOKEN_FILE");
    match file.filter(|path| environment.get(name).is_none() && !path.exists()) {
        Some(path) => Ok((None, Some(path))),
        None => Ok((environment.secret(name)?, None)),
    }
}

/// From `NAME` or `NAME_FILE`.
fn given_root_key(environment: &Environment, name: &str) -> Result<Option<RootKey>> {
    let file = format!("{name}_FILE");
    match (environment.get(name), environment.path(&file)) {
        (Some(_), Some(_)) => bail!("{name} and {file} are both set; keep one"),
        (Some(value), None) => Ok(Some(RootKey::Value(Zeroizing::new(value.to_owned())))),
        (None, path) => Ok(path.map(RootKey::File)),
    }
}

fn models_choice(config: &Config, environment: &Environment) -> ModelsChoice {
    let written = &config.models;
    let runtime = environment.path("RINGFENCE_ONNXRUNTIME").or_else(|| written.runtime.clone());
    let folder = environment.path("RINGFENCE_MODELS").or_else(|| written.folder.clone());
    let provider = match written.provider {
        Some(Provider::Cuda) => models::Provider::Cuda {
            device: i32::from(written.device.unwrap_or(0)),
            allow_cpu: written.allow_cpu.unwrap_or(false),
        },
        Some(Provider::Cpu) | None => models::Provider::Cpu,
    };
    ModelsChoice {
        enabled: written.enabled.unwrap_or(true),
        configured: runtime.is_some()
            || folder.is_some()
            || written.default.is_some()
            || written.reranker.is_some()
            || written.provider.is_some()
            || written.enabled == Some(true),
        runtime,
        folder,
        default: written.default.clone().unwrap_or_else(|| models::ModelsConfig::default().default),
        reranker: written.reranker.clone(),
        provider,
        threads: written.threads.unwrap_or(0),
    }
}

const DATA_PLANE: &str = "127.0.0.1:7171";
const CONTROL_PLANE: &str = "127.0.0.1:7172";
