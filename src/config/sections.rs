//! Sections of the configuration file. The comment of each key is its row in `schemas/config.md`: its meaning, then its
//! values and default after *Value:*.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use utoipa::ToSchema;

/// Settings of one listener.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ListenerSection {
    /// Address of the listener. The data plane accepts tenants' API keys, the control plane operators' tokens. With
    /// port 0 the system chooses a port. Value: address, `127.0.0.1:7171`; control plane: `127.0.0.1:7172`.
    pub listen: Option<String>,
    /// Certificate chain (PEM) of the listener. Value: path, none.
    #[schema(value_type = Option<String>)]
    pub tls_cert: Option<PathBuf>,
    /// Private key (PEM) of that certificate. Value: path, none.
    #[schema(value_type = Option<String>)]
    pub tls_key: Option<PathBuf>,
    /// Serve other machines without TLS, for example behind a proxy that terminates TLS. Value: true or false, `false`.
    pub insecure: Option<bool>,
}

/// Storage of all data.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StorageSection {
    /// Location of all data. `--data` and `RINGFENCE_DATA` override a folder that is named here, and are refused
    /// together with an object store. An object store must support creating an object only if it does not exist; every
    /// start tests this. `gs` and `az` need a build with `--features gcs` or `azure`. Value: `file:///path`, a path,
    /// `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`, the user's data folder.
    pub url: Option<String>,
    /// Address of the object store, if it is not the vendor's own. Value: URL, the vendor's.
    pub endpoint: Option<String>,
    /// S3 region. Value: name, `us-east-1`.
    pub region: Option<String>,
    /// Azure storage account. Value: name, none.
    pub account: Option<String>,
    /// S3 access key id; its secret is `RINGFENCE_STORAGE_SECRET`. Without both, the machine's role is used. Value:
    /// text, none.
    pub access_key_id: Option<String>,
    /// Accept an endpoint without TLS. Value: true or false, `false`.
    pub allow_http: Option<bool>,
    /// S3: address objects as `https://bucket.host/key` instead of `https://host/bucket/key`. Value: true or false,
    /// `false`.
    pub virtual_hosted: Option<bool>,
    /// Certificate authorities (PEM) to trust in addition to the system's. Value: path, none.
    #[schema(value_type = Option<String>)]
    pub ca_certificates: Option<PathBuf>,
    /// Retries of a request when the store fails or is unreachable. Value: number, 6.
    pub retries: Option<usize>,
    /// Time after which no retry begins. Value: seconds, 30.
    pub retry_timeout_s: Option<u64>,
    /// Timeout of one attempt. Value: seconds, 30.
    pub request_timeout_s: Option<u64>,
    /// Timeout of a connection attempt. Value: seconds, 5.
    pub connect_timeout_s: Option<u64>,
    /// Time within which the bytes of a deleted, overwritten, patched or expired document are removed from every object
    /// and log. At most 744. With `0` they are removed when segments are merged. Value: hours, 24.
    pub erase_within_hours: Option<u64>,
}

/// Providers of root keys, leases and rotation.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeysSection {
    /// Provider that wraps the keys of tenants that name none, and the server's own keys. For the server's own keys,
    /// the first start fixes the provider; `ringfence key rotate --server` changes it. Value: `local` or a provider's
    /// name, `local`.
    pub default: Option<String>,
    /// How long unwrapped keys stay usable after the provider last confirmed them. At most 60. Value: seconds, 45.
    pub lease_s: Option<u64>,
    /// How long unwrapped keys stay usable while the provider does not answer at all. A refusal is not an outage.
    /// Value: seconds, 300.
    pub outage_s: Option<u64>,
    /// Age at which keys are rotated, unless their tenant has a rule of its own. Value: days, never.
    pub rotate_days: Option<u32>,
}

/// A key management service.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyProviderSection {
    /// Kind of the service: the Transit engine of OpenBao or Vault; a token with a PKCS #11 library; or AWS KMS, which
    /// needs a build with `--features aws-kms`. Value: `transit`, `pkcs11` or `aws-kms`.
    #[schema(value_type = String)]
    pub kind: KeyProviderKind,
    /// Transit: address of the service. Value: URL.
    #[serde(default)]
    pub address: Option<String>,
    /// Transit: path where the engine is mounted. Value: path, `transit`.
    #[serde(default)]
    pub mount: Option<String>,
    /// Transit: Vault namespace. Value: name, none.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Key of tenants that name none: in Transit a derived key; in a PKCS #11 token an AES key with this label that
    /// cannot be extracted; in KMS an id, ARN or alias. With `key_per_tenant` this is the prefix of the tenants' key
    /// names. Value: name, `ringfence`; KMS: `alias/ringfence`.
    #[serde(default)]
    pub key: Option<String>,
    /// The server creates a key for each tenant and destroys it with the tenant; after that, backups cannot be opened
    /// either. KMS refuses the key at once and deletes it after seven days. Value: true or false, `false`.
    #[serde(default)]
    pub key_per_tenant: Option<bool>,
    /// Transit: file with the token, read at each call, so that an agent can renew it. Alternatively, set
    /// `RINGFENCE_<NAME>_TOKEN`. Value: path, none.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub token_file: Option<PathBuf>,
    /// PKCS #11: the vendor's library. It becomes part of the server: anyone who can write this file can obtain all
    /// keys. Value: path.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub module: Option<PathBuf>,
    /// PKCS #11: label of the token. The user PIN is in `RINGFENCE_<NAME>_PIN` or in the file that
    /// `RINGFENCE_<NAME>_PIN_FILE` names; a wrong PIN is tried only once. Value: text.
    #[serde(default)]
    pub token_label: Option<String>,
    /// KMS: AWS region. Value: name.
    #[serde(default)]
    pub region: Option<String>,
    /// KMS: address of the service, if it is not Amazon's own. Value: URL, Amazon's.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// KMS: AWS access key id. Its secret is `RINGFENCE_<NAME>_SECRET`; the session token of a temporary key is
    /// `RINGFENCE_<NAME>_TOKEN`; each may also be given as `_FILE`. Without an access key the usual AWS credential
    /// chain applies: `AWS_ACCESS_KEY_ID` and the related variables, the files in `~/.aws`, a web identity, the role of
    /// a container or of an instance. Value: text, none.
    #[serde(default)]
    pub access_key_id: Option<String>,
    /// Transit, KMS: certificate authorities (PEM) to trust instead of the default ones. Value: path, none.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub ca_certificates: Option<PathBuf>,
    /// Transit, KMS: allow sending keys to other machines without TLS. Value: true or false, `false`.
    #[serde(default)]
    pub allow_http: Option<bool>,
    /// Transit, KMS: timeout of one call. A PKCS #11 library has its own timeout. Value: seconds, 5.
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
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModelsSection {
    /// Whether to load models. With `false`, only text search and callers' own vectors work. Value: true or false,
    /// `true`.
    pub enabled: Option<bool>,
    /// `libonnxruntime.so` or its folder. `RINGFENCE_ONNXRUNTIME` takes precedence. If neither is set, it is looked for
    /// in `.cache/onnxruntime` of a checkout, in the working folder, beside the program, and in `../lib/ringfence` from
    /// there. Value: path, found.
    #[schema(value_type = Option<String>)]
    pub runtime: Option<PathBuf>,
    /// Folder that contains one folder per model. `RINGFENCE_MODELS` takes precedence. If neither is set, it is
    /// `.cache/models` of a checkout, `models` in the working folder or beside the program, or
    /// `../share/ringfence/models` from there. Value: path, found.
    #[schema(value_type = Option<String>)]
    pub folder: Option<PathBuf>,
    /// Model of namespaces that name none. Value: name, `all-MiniLM-L6-v2`.
    pub default: Option<String>,
    /// Model of searches with `rerank` that name none. Value: name, the first cross-encoder.
    pub reranker: Option<String>,
    /// Where models run. A configured GPU is never silently replaced by the CPU. Value: `cpu` or `cuda`, `cpu`.
    #[schema(value_type = Option<String>)]
    pub provider: Option<ProviderSetting>,
    /// Index of the GPU. Value: number, 0.
    pub device: Option<u16>,
    /// Run on the CPU, with a warning, when the GPU is not available. Value: true or false, `false`.
    pub allow_cpu: Option<bool>,
    /// Number of model threads. Value: number, by cores.
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
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSection {
    /// Number of threads for searches and screening. Value: number, by cores.
    pub cpu_threads: Option<usize>,
    /// Maximum number of concurrent searches of all tenants; one tenant gets at most half. Value: number, 512.
    pub searches: Option<usize>,
    /// Maximum number of concurrent writes of all tenants; one tenant gets at most half. Value: number, 256.
    pub writes: Option<usize>,
    /// Memory that open namespaces may take before idle ones are closed. In addition, replies and writes may each take
    /// an eighth of this number, but at least 256 MiB and 512 MiB respectively; one tenant gets at most half of either.
    /// Value: MiB, 4096.
    pub memory_mib: Option<u64>,
    /// Size of the documents in memory, with everything that they hold, at which a namespace is flushed. Value: MiB,
    /// 16.
    pub flush_mib: Option<u64>,
    /// Number of rows in memory at which a namespace is flushed. Value: rows, 20000.
    pub flush_rows: Option<u64>,
    /// Maximum number of connections per listener; at most a sixth of the files that the process may open. At the
    /// limit, a new connection displaces one that is not serving a request of an authenticated caller. Value: number,
    /// 1024.
    pub connections: Option<usize>,
}

/// Indexing of large segments.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IndexSection {
    /// Builder of the HNSW graphs of large segments. `hnsw_rs` is the reference that benchmarks compare with (`cargo
    /// bench --bench graph`); it is slower and builds each graph from scratch. Value: `own` or `hnsw_rs`, `own`.
    #[schema(value_type = Option<String>)]
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
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    /// Least severe level that is logged. Value: `error` `warn` `info` `debug` `trace`, `info`.
    #[schema(value_type = Option<String>)]
    pub level: Option<Level>,
    /// Format of the log. By default text on a terminal, otherwise one JSON object per line. Value: `json` or `text`,
    /// by stderr.
    #[schema(value_type = Option<String>)]
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
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditSection {
    /// Hold back the reply to a read until its audit record is durable. Value: true or false, `false`.
    pub strict: Option<bool>,
}
